"""Weibull benefit and softplus harm: each pool helps up to a limit, and hurts once it is repeated too often."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.continued import refuse_seen_before
from qqtjax.laws.guarded import power_from_zero
from qqtjax.laws.law import Law, Range
from qqtjax.laws.repetition import real
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class WeibullBenefitParams:
    """Parameters of the law of benefit and harm; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        start: error with no samples, beta_0 + sum_i gamma_i softplus(-tau)^2.
        benefit: alpha_i > 0, `[P]`, error that pool i can take away.
        harm: gamma_i > 0, `[P]`, error.
        rate: rho, 1 / epochs.
        shape: p of the Weibull curve.
        onset: tau, in ln(1 + epochs): where harm sets in.
    """

    start: ArrayLike
    benefit: ArrayLike
    harm: ArrayLike
    rate: ArrayLike
    shape: ArrayLike
    onset: ArrayLike


def weibull_benefit_law(params: WeibullBenefitParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error from the epochs E_i = n w_i / N_i of each pool alone.

        y = beta_0 - sum_i alpha_i (1 - exp(-(rho E_i)^p)) + sum_i gamma_i softplus(ln(1 + E_i) - tau)^2

    The constant of the harm, gamma_i softplus(-tau)^2, is counted in `start`, so that a pool of weight 0 does not
    matter. At E_i = 0 and p < 1 the benefit's slope is infinite; 0 is returned.

    Source: slides of the Marin project's observatory, 2026-09-02, as told by a third party; the signs of alpha and
    gamma and the shared rho, p and tau are theirs.

    Args:
        params: see `WeibullBenefitParams`.
        run: one run; a pool of infinite size is at zero epochs.
        max_epochs: not needed; here for the common signature.

    Returns:
        `[]` error.

    Raises:
        InputError: `seen_before`.

    Example:
        >>> p = WeibullBenefitParams(start=3.0, benefit=np.array([1.0]), harm=np.array([0.1]), rate=1.0, shape=1.0,
        ...                          onset=2.0)
        >>> r = Run(weights=np.array([1.0]), sizes=np.array([1e6]), samples_seen=1e6)
        >>> round(float(weibull_benefit_law(p, r)), 4)
        2.372
    """
    refuse_seen_before("weibull_benefit", run)
    epochs = jnp.asarray(real(run.samples_seen)) * run.weights / jnp.asarray(real(run.sizes))
    helped = -jnp.expm1(-power_from_zero(jnp.asarray(params.rate) * epochs, params.shape))
    onset = jnp.asarray(params.onset)
    hurt = jax.nn.softplus(jnp.log1p(epochs) - onset) ** 2 - jax.nn.softplus(-onset) ** 2
    return jnp.asarray(params.start) + jnp.sum(jnp.asarray(params.harm) * hurt - jnp.asarray(params.benefit) * helped)


def weibull_benefit_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    least, most = float(np.min(runs.error)), float(np.max(runs.error))
    spread = max(most - least, 1e-3 * most)
    busiest = max(float(np.max(runs.epochs)), 1e-12)
    return {
        "start": Range(least, most + 1e3 * spread, most, most + 3 * spread),
        "benefit": Range(1e-9 * spread, 1e3 * spread, 0.1 * spread, 3 * spread, log=True),
        "harm": Range(1e-12 * spread, 1e2 * spread, 1e-3 * spread, 0.1 * spread, log=True),
        "rate": Range(1e-6 / busiest, 1e6 / busiest, 0.3 / busiest, 30 / busiest, log=True),
        "shape": Range(0.05, 5.0, 0.3, 1.5, log=True),
        "onset": Range(-3.0, 15.0, 0.0, 4.0),
    }


weibull_benefit = Law(
    name="weibull_benefit",
    function=weibull_benefit_law,
    params=WeibullBenefitParams,
    ranges=weibull_benefit_ranges,
    per_pool=("benefit", "harm"),
    scans=lambda params: False,
    # For shapes p <= 1 the benefit is concave, but the harm, a square of a softplus of a logarithm, is not convex.
    convex=lambda params: False,
    symbols={
        "start": "beta_0",
        "benefit": "alpha",
        "harm": "gamma",
        "rate": "rho",
        "shape": "p",
        "onset": "tau",
    },
    needs=("sizes", "weights"),
)
