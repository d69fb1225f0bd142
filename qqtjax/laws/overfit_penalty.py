"""Chinchilla's law with a penalty of repetition: repeats can hurt, large models most."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.capacity import capacity_ranges, model_size_of, shortfall
from qqtjax.laws.continued import refuse_seen_before
from qqtjax.laws.guarded import power_from_zero
from qqtjax.laws.law import Law, Range
from qqtjax.laws.repetition import real
from qqtjax.laws.utility import mixed, utility_ranges
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class OverfitPenaltyParams:
    """Parameters of the law with an overfitting penalty; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        scale: n0_i = B_i^(1/beta), `[P]`, samples of pool i alone at which the data term is 1.
        floor: E, the irreducible error (`[P]`: a mixture's floor is the weighted mean).
        exponent: beta > 0.
        model_scale: m0 = A^(1/alpha), parameters at which the model's term is 1.
        model_exponent: alpha > 0.
        penalty: P > 0, error: what one repeat costs a model with as many parameters as unique samples.
        penalty_exponent: delta > 0, of the repeats.
        crowding: kappa > 0, of the parameters a unique sample.
    """

    scale: ArrayLike
    floor: ArrayLike
    exponent: ArrayLike
    model_scale: ArrayLike
    model_exponent: ArrayLike
    penalty: ArrayLike
    penalty_exponent: ArrayLike
    crowding: ArrayLike


def overfit_penalty_law(params: OverfitPenaltyParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error when repeated samples count as fresh but overfitting is paid for.

        L = E + A / M^alpha + B / D^beta + P sum_i w_i R_i^delta (M / U_i)^kappa,   R_i = max(n w_i / U_i - 1, 0)

    with D / n0 = sum_i w_i n / n0_i; for one pool D = U (1 + R) while it repeats.

    Source: arXiv 2605.01640, as told by a third party: the paper itself was not at hand. The weighted mean of the
    penalty over pools is ours.

    Args:
        params: see `OverfitPenaltyParams`.
        run: one run with `model_size`; an infinite size means samples that never repeat.
        max_epochs: not needed; here for the common signature.

    Returns:
        `[]` error; `inf` at zero samples seen.

    Raises:
        InputError: no `model_size`, or `seen_before`.

    Example:
        >>> import numpy as np
        >>> p = OverfitPenaltyParams(scale=np.array([1e9]), floor=1.5, exponent=0.5, model_scale=1e6,
        ...                          model_exponent=0.5, penalty=0.1, penalty_exponent=1.0, crowding=0.5)
        >>> r = Run(weights=np.array([1.0]), sizes=np.array([1e10]), samples_seen=1e11, model_size=1e8)
        >>> round(float(overfit_penalty_law(p, r)), 6)
        1.79
    """
    refuse_seen_before("overfit_penalty", run)
    drawn, sizes = jnp.asarray(real(run.samples_seen)) * run.weights, jnp.asarray(real(run.sizes))
    unknown = jnp.isinf(sizes)
    known = jnp.where(unknown, 1.0, sizes)
    repeats = jnp.where(unknown, 0.0, jnp.maximum(drawn / known - 1, 0.0))
    crowded = jnp.exp(jnp.asarray(params.crowding) * jnp.log(model_size_of("overfit_penalty", run) / known))
    penalties = jnp.asarray(params.penalty) * power_from_zero(repeats, params.penalty_exponent) * crowded
    of_data = jnp.exp(-jnp.asarray(params.exponent) * jnp.log(jnp.sum(drawn / jnp.asarray(real(params.scale)))))
    of_model = shortfall("overfit_penalty", run, params.model_scale, params.model_exponent)
    return mixed(params.floor, run.weights) + of_model + of_data + jnp.sum(run.weights * penalties)


def overfit_penalty_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    shared = utility_ranges(runs)
    return {
        "scale": shared["scale"],
        "floor": shared["floor"],
        "exponent": Range(1e-3, 3.0, 0.1, 0.7, log=True),
        **capacity_ranges(runs),
        "penalty": Range(1e-12, 1e3, 1e-3, 1e-1, log=True),
        "penalty_exponent": Range(1e-2, 2.0, 0.3, 1.5, log=True),
        "crowding": Range(1e-2, 2.0, 0.1, 1.0, log=True),
    }


overfit_penalty = Law(
    name="overfit_penalty",
    function=overfit_penalty_law,
    params=OverfitPenaltyParams,
    ranges=overfit_penalty_ranges,
    per_pool=("scale",),
    scans=lambda params: False,
    # w (n w / U - 1)_+^delta is convex for delta >= 1 only, and the fit decides on delta.
    convex=lambda params: False,
    symbols={
        "scale": "n0",
        "floor": "E",
        "exponent": "beta",
        "model_scale": "m0",
        "model_exponent": "alpha",
        "penalty": "P",
        "penalty_exponent": "delta",
        "crowding": "kappa",
    },
    needs=("model_size", "samples_seen", "sizes"),
)
