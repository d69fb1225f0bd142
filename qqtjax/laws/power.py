"""The repetition-blind law: a power of the samples seen, whatever was seen before."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.continued import overall_weights
from qqtjax.laws.law import Law, Range
from qqtjax.laws.utility import SYMBOLS, mixed, run_fresh_exponent, utility_ranges
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PowerParams:
    """Parameters of the power law; P pools.

    Attributes:
        scale: n0, samples.
        floor: d, the irreducible error.
        utility: b_i < 0, `[P]`.
        amplitude: A0, error at n0 above the floor.
    """

    scale: ArrayLike
    floor: ArrayLike
    utility: ArrayLike
    amplitude: ArrayLike = 1.0


def power_law(params: PowerParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error when every sample counts as fresh: y = d + A0 (n / n0)^(sum_i w_i b_i).

    A run with `seen_before` adds its samples to the n_b of earlier training, which had the shares v:
    y = d + A0 (lo / n0)^(sum_i v_i b_i) ((n_b + n) / lo)^(sum_i w_i b_i) with lo = max(n_b, n0).

    Source: the base law of arXiv 2404.07177 (its equation 1), with the mixture's averaged exponent; trained on, ours.

    Args:
        params: see `PowerParams`.
        run: one run; its sizes are not looked at.
        max_epochs: not needed; here for the common signature.

    Returns:
        `[]` error.

    Example:
        >>> import numpy as np
        >>> p = PowerParams(scale=1e6, floor=0.1, utility=np.array([-0.5]))
        >>> r = Run(weights=np.array([1.0]), sizes=np.array([1e6]), samples_seen=4e6)
        >>> round(float(power_law(p, r)), 6)
        0.6
    """
    weights = overall_weights(run)
    fresh = run_fresh_exponent(params.utility, params.scale, run)
    log_excess = mixed(jnp.log(params.amplitude), weights) + fresh
    return mixed(params.floor, weights) + jnp.exp(log_excess)


def power_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    shared = utility_ranges(runs)
    return {name: shared[name] for name in ("scale", "floor", "utility", "amplitude")}


power = Law(
    name="power",
    function=power_law,
    params=PowerParams,
    ranges=power_ranges,
    per_pool=("utility",),
    scans=lambda params: False,
    # exp of a linear function, and a floor that is linear.
    convex=lambda params: True,
    symbols={name: SYMBOLS[name] for name in ("scale", "floor", "utility", "amplitude")},
)
