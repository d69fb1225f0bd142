"""The utility law with a term of the model's size, so that models of several sizes are fitted together."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.capacity import capacity_ranges, log_capacity
from qqtjax.laws.continued import refuse_seen_before
from qqtjax.laws.law import Law, Range
from qqtjax.laws.utility import SYMBOLS, UtilityParams, mixed, run_exponent, utility_convex, utility_ranges
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class UtilityCapacityParams:
    """Parameters of the utility law with capacity; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        scale: n0, samples: where every pool's y - d = A0 besides the model's term.
        floor: d, the irreducible error of an endless model (`[P]`: a mixture's floor is the weighted mean).
        utility: b_i < 0, `[P]`, of a model of size m0.
        half_life: tau_i > 0, `[P]`, epochs, as measured on `reference_size` samples trained alone, of that model.
        reference_size: Nref_i, `[P]`, samples; `inf` together with an infinite pool size.
        model_scale: m0, parameters at which the model's term is 1.
        model_exponent: alpha > 0 of the model's term.
        utility_growth: eta: larger models use samples better for eta > 0; 0 unless fitted.
        half_life_growth: zeta: larger models wear samples out sooner for zeta < 0; 0 unless fitted.
        dilution: gamma: 1 is Theorem 1 of the utility law, 0 exposure only.
        amplitude: A0, error at n0 above the rest.
    """

    scale: ArrayLike
    floor: ArrayLike
    utility: ArrayLike
    half_life: ArrayLike
    reference_size: ArrayLike
    model_scale: ArrayLike
    model_exponent: ArrayLike
    utility_growth: ArrayLike = 0.0
    half_life_growth: ArrayLike = 0.0
    dilution: ArrayLike = 1.0
    amplitude: ArrayLike = 1.0


def utility_capacity_law(params: UtilityCapacityParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error of any mixture of pools and any size of the model.

        y = d + (M / m0)^(-alpha) + A0 exp(sum_i w_i b_i(M) G_i(n; tau_i(M))),
        b_i(M) = b_i (M / m0)^eta,   tau_i(M) = tau_i (M / m0)^zeta

    with G_i of `laws.utility` (geometric decay). As Chinchilla's law adds a term of size to one of samples, so is the
    size's added here, on the error; with eta = zeta = 0, the default, the choice among mixes does not depend on it.

    Source: ours: the utility law of arXiv 2404.07177 and the additive capacity of arXiv 2203.15556.

    Args:
        params: see `UtilityCapacityParams`.
        run: one run with `model_size`; parameters, or any other measure of size that is used throughout.
        max_epochs: as `laws.utility`: by the scan of this length; None: the closed form.

    Returns:
        `[]` error; `inf` at zero samples seen.

    Raises:
        InputError: no `model_size`, or `seen_before`.

    Example:
        >>> import numpy as np
        >>> p = UtilityCapacityParams(scale=4e6, floor=0.1, utility=np.array([-0.16]), half_life=np.array([5.0]),
        ...                           reference_size=np.array([1e6]), model_scale=1e4, model_exponent=0.5)
        >>> r = Run(weights=np.array([1.0]), sizes=np.array([1e6]), samples_seen=64e6, model_size=1e8)
        >>> round(float(utility_capacity_law(p, r)), 4)  # .01 above the utility law's
        1.0712
    """
    refuse_seen_before("utility_capacity", run)
    log_size = log_capacity("utility_capacity", run, params.model_scale)
    alone = UtilityParams(
        scale=params.scale,
        floor=params.floor,
        utility=jnp.asarray(params.utility) * jnp.exp(jnp.asarray(params.utility_growth) * log_size),
        half_life=jnp.asarray(params.half_life) * jnp.exp(jnp.asarray(params.half_life_growth) * log_size),
        reference_size=params.reference_size,
        dilution=params.dilution,
        amplitude=params.amplitude,
    )
    log_amplitude = mixed(jnp.log(jnp.asarray(params.amplitude)), run.weights)
    of_model = jnp.exp(-jnp.asarray(params.model_exponent) * log_size)
    of_data = jnp.exp(log_amplitude + run_exponent(alone, run, max_epochs))
    return mixed(params.floor, run.weights) + of_model + of_data


def utility_capacity_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    shared = utility_ranges(runs)
    return {
        **{name: shared[name] for name in ("scale", "floor", "utility", "half_life", "dilution", "amplitude")},
        **capacity_ranges(runs),
        "utility_growth": Range(-1.0, 1.0, -0.05, 0.1, fitted=False, default=0.0),
        "half_life_growth": Range(-2.0, 2.0, -0.2, 0.2, fitted=False, default=0.0),
    }


def utility_capacity_convex(params: UtilityCapacityParams) -> bool:
    """Is the error proved convex in the weights: where that of the utility law is; the rest is linear or constant."""
    return utility_convex(
        UtilityParams(
            scale=params.scale,
            floor=params.floor,
            utility=params.utility,
            half_life=params.half_life,
            reference_size=params.reference_size,
            dilution=params.dilution,
        )
    )


utility_capacity = Law(
    name="utility_capacity",
    function=utility_capacity_law,
    params=UtilityCapacityParams,
    ranges=utility_capacity_ranges,
    per_pool=("utility", "half_life"),
    scans=lambda params: False,
    convex=utility_capacity_convex,
    symbols={
        **{name: SYMBOLS[name] for name in ("scale", "floor", "utility", "half_life", "reference_size")},
        "model_scale": "m0",
        "model_exponent": "alpha",
        "utility_growth": "eta",
        "half_life_growth": "zeta",
        "dilution": "gamma",
        "amplitude": "A0",
    },
    needs=("model_size", "samples_seen"),
)
