"""The joint law of optimal mixtures: the weights also set how much samples and model size bring."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.capacity import capacity_ranges, log_capacity
from qqtjax.laws.continued import refuse_seen_before
from qqtjax.laws.guarded import power_from_zero
from qqtjax.laws.law import Law, Range
from qqtjax.laws.optimal_additive import optimal_additive_ranges
from qqtjax.laws.repetition import real
from qqtjax.laws.utility import mixed
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class OptimalJointParams:
    """Parameters of the joint law; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        floor: E, the irreducible error (`[P]`: a mixture's floor is the weighted mean).
        worth: C_i > 0, `[P]`, 1 / error.
        curvature: gamma_i > 0, `[P]`.
        scale: n0_i, `[P]`, samples of pool i alone at which the data term is 1: C^B_i = n0_i^(beta / gamma_B).
        exponent: beta > 0.
        blend: gamma_B > 0.
        model_scale: m0_i, `[P]`, parameters at which the model's term of pool i alone is 1; None without one.
        model_exponent: alpha > 0 of the model's term; None without one.
        model_blend: gamma_A > 0.
    """

    floor: ArrayLike
    worth: ArrayLike
    curvature: ArrayLike
    scale: ArrayLike
    exponent: ArrayLike
    blend: ArrayLike
    model_scale: ArrayLike | None = None
    model_exponent: ArrayLike | None = None
    model_blend: ArrayLike = 1.0


def optimal_joint_law(params: OptimalJointParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error of a mixture; the best weights move with the budget and the model.

        L = E + 1 / (sum_i C_i w_i^(gamma_i)) + A(w) / M^alpha + B(w) / n^beta,
        A(w) = (sum_i C^A_i w_i)^(gamma_A),   B(w) = (sum_i C^B_i w_i)^(gamma_B)

    repeats as if fresh. At w_i = 0 and gamma_i < 1 the slope is infinite; 0 is returned.

    Source: Shukor et al., "Scaling Laws for Optimal Data Mixtures", arXiv 2507.09404, the joint law, from memory: not
    confirmed.

    Args:
        params: see `OptimalJointParams`.
        run: one run; its sizes are not looked at.
        max_epochs: not needed; here for the common signature.

    Returns:
        `[]` error; `inf` at zero samples seen.

    Raises:
        InputError: no `model_size` although there is a model's term, or `seen_before`.

    Example:
        >>> import numpy as np
        >>> p = OptimalJointParams(floor=1.0, worth=np.array([2.0, 2.0]), curvature=np.array([0.5, 0.5]),
        ...                        scale=np.array([1e6, 4e6]), exponent=0.5, blend=1.0)
        >>> r = Run(weights=np.array([0.25, 0.25]), sizes=np.full(2, np.inf), samples_seen=4e6)
        >>> round(float(optimal_joint_law(p, r)), 6)
        1.875
    """
    refuse_seen_before("optimal_joint", run)
    worth = jnp.sum(jnp.asarray(params.worth) * power_from_zero(run.weights, params.curvature))
    log_count = jnp.log(jnp.asarray(real(run.samples_seen)) / jnp.asarray(real(params.scale)))
    error = mixed(params.floor, run.weights) + 1 / worth + _blended(log_count, params.exponent, params.blend, run)
    if params.model_scale is None or params.model_exponent is None:
        return error
    log_size = log_capacity("optimal_joint", run, params.model_scale)
    return error + _blended(log_size, params.model_exponent, params.model_blend, run)


def _blended(log_count: Array, exponent: ArrayLike, blend: ArrayLike, run: Run) -> Array:
    """(sum_i w_i x_i^(-exponent / blend))^blend of log x `[P]` or `[]`."""
    each = jnp.exp(-jnp.asarray(exponent) / jnp.asarray(blend) * log_count)
    return jnp.exp(jnp.asarray(blend) * jnp.log(mixed(each, run.weights)))


def optimal_joint_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    model = capacity_ranges(runs)
    return {
        **optimal_additive_ranges(runs),
        "blend": Range(0.02, 50.0, 0.3, 3.0, log=True),
        "model_blend": Range(0.02, 50.0, 0.3, 3.0, log=True, fitted=model["model_scale"].fitted, default=1.0),
    }


optimal_joint = Law(
    name="optimal_joint",
    function=optimal_joint_law,
    params=OptimalJointParams,
    ranges=optimal_joint_ranges,
    per_pool=("worth", "curvature", "scale", "model_scale"),
    scans=lambda params: False,
    # For blends below 1 a term is concave in the weights.
    convex=lambda params: False,
    symbols={
        "floor": "E",
        "worth": "C",
        "curvature": "gamma",
        "scale": "n0",
        "exponent": "beta",
        "blend": "gamma_B",
        "model_scale": "m0",
        "model_exponent": "alpha",
        "model_blend": "gamma_A",
    },
    needs=("weights", "samples_seen"),
)
