"""The additive law of optimal mixtures: weights, samples and model size each have a term of their own."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.capacity import capacity_ranges, shortfall
from qqtjax.laws.continued import refuse_seen_before
from qqtjax.laws.guarded import power_from_zero
from qqtjax.laws.law import Law, Range
from qqtjax.laws.repetition import real
from qqtjax.laws.utility import mixed, utility_ranges
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class OptimalAdditiveParams:
    """Parameters of the additive law; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        floor: E, the irreducible error (`[P]`: a mixture's floor is the weighted mean).
        worth: C_i > 0, `[P]`, 1 / error: pool i alone adds 1 / C_i to the error.
        curvature: gamma_i > 0, `[P]`.
        scale: n0 = B^(1/beta), samples at which the data term is 1.
        exponent: beta > 0.
        model_scale: m0 = A^(1/alpha), parameters at which the model's term is 1; None without one.
        model_exponent: alpha > 0 of the model's term; None without one.
    """

    floor: ArrayLike
    worth: ArrayLike
    curvature: ArrayLike
    scale: ArrayLike
    exponent: ArrayLike
    model_scale: ArrayLike | None = None
    model_exponent: ArrayLike | None = None


def optimal_additive_law(params: OptimalAdditiveParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error of a mixture; the best weights do not depend on the budget or the model.

        L = E + 1 / (sum_i C_i w_i^(gamma_i)) + A / M^alpha + B / n^beta

    repeats as if fresh. At w_i = 0 and gamma_i < 1 the slope is infinite; 0 is returned.

    Source: Shukor et al., "Scaling Laws for Optimal Data Mixtures", arXiv 2507.09404, the additive law, as told by a
    third party.

    Args:
        params: see `OptimalAdditiveParams`.
        run: one run; its sizes are not looked at.
        max_epochs: not needed; here for the common signature.

    Returns:
        `[]` error; `inf` at zero samples seen.

    Raises:
        InputError: no `model_size` although there is a model's term, or `seen_before`.

    Example:
        >>> p = OptimalAdditiveParams(floor=1.0, worth=np.array([2.0, 2.0]), curvature=np.array([0.5, 0.5]),
        ...                           scale=1e6, exponent=0.5)
        >>> r = Run(weights=np.array([0.25, 0.25]), sizes=np.full(2, np.inf), samples_seen=4e6)
        >>> round(float(optimal_additive_law(p, r)), 6)
        2.0
    """
    refuse_seen_before("optimal_additive", run)
    worth = jnp.sum(jnp.asarray(params.worth) * power_from_zero(run.weights, params.curvature))
    log_count = jnp.log(jnp.asarray(real(run.samples_seen)) / jnp.asarray(real(params.scale)))
    of_data = jnp.exp(-jnp.asarray(params.exponent) * log_count)
    of_model = shortfall("optimal_additive", run, params.model_scale, params.model_exponent)
    return mixed(params.floor, run.weights) + 1 / worth + of_data + of_model


def optimal_additive_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    shared = utility_ranges(runs)
    worst = float(np.max(runs.error))
    return {
        "floor": shared["floor"],
        "worth": Range(1e-6 / worst, 1e6 / worst, 0.3 / worst, 30 / worst, log=True),
        "curvature": Range(1e-3, 3.0, 0.05, 1.0, log=True),
        "scale": shared["scale"],
        "exponent": Range(1e-3, 3.0, 0.1, 0.7, log=True),
        **capacity_ranges(runs),
    }


def optimal_additive_convex(params: OptimalAdditiveParams) -> bool:
    """Is the error convex in the weights: 1 over a concave positive function is; it is concave for gamma_i <= 1."""
    curvature = np.asarray(params.curvature)
    return bool(np.all(curvature > 0) and np.all(curvature <= 1) and np.all(np.asarray(params.worth) > 0))


optimal_additive = Law(
    name="optimal_additive",
    function=optimal_additive_law,
    params=OptimalAdditiveParams,
    ranges=optimal_additive_ranges,
    per_pool=("worth", "curvature"),
    scans=lambda params: False,
    convex=optimal_additive_convex,
    symbols={
        "floor": "E",
        "worth": "C",
        "curvature": "gamma",
        "scale": "n0",
        "exponent": "beta",
        "model_scale": "m0",
        "model_exponent": "alpha",
    },
    needs=("weights", "samples_seen"),
)
