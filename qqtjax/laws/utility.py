"""The utility law: each pool's utility halves every tau epochs; mixtures average the decayed exponents."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.law import Law, Range
from qqtjax.laws.repetition import Epochs, bucket_for, count_epochs, decay_rate, lost_exponent, real
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class UtilityParams:
    """Parameters of the laws with decaying utility; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        scale: n0, samples: where every pool's y - d = A0 (the paper's normaliser / a).
        floor: d, the irreducible error (`[P]`: a mixture's floor is the weighted mean).
        utility: b_i < 0, `[P]`: log-log slope on fresh data.
        half_life: tau_i > 0, `[P]`, epochs, as measured on `reference_size` samples trained alone.
        reference_size: Nref_i, `[P]`, samples; `inf` together with an infinite pool size.
        dilution: gamma: 1 is the paper's Theorem 1, 0 exposure only.
        decay_shape: s of D(k) = 2^(-(k / tau)^s); None is the paper's geometric decay.
        amplitude: A0, error at n0 above the floor.
    """

    scale: ArrayLike
    floor: ArrayLike
    utility: ArrayLike
    half_life: ArrayLike
    reference_size: ArrayLike
    dilution: ArrayLike = 1.0
    decay_shape: ArrayLike | None = None
    amplitude: ArrayLike = 1.0


def mixed(value: ArrayLike, weights: ArrayLike) -> Array:
    """A parameter of the mixture: itself where shared, the weighted mean where it is `[P]`."""
    return jnp.asarray(value) if jnp.ndim(value) == 0 else jnp.sum(jnp.asarray(weights) * value)


def fresh_exponent(slopes: Array, samples_seen: ArrayLike, scale: ArrayLike) -> Array:
    """sum_i w_i b_i log(n / n0), what fresh data would give.

    With one scale for all pools the logarithm stays outside the sum, so that an unused pool is not 0 times log 0
    before the first sample.
    """
    fresh = jnp.log(jnp.asarray(real(samples_seen)) / real(scale))
    return jnp.sum(slopes) * fresh if jnp.ndim(fresh) == 0 else jnp.sum(slopes * fresh)


def lost_exponents(params: UtilityParams, run: Run, max_epochs: int | None) -> tuple[Array, Epochs]:
    """log(n / n0) - G_i(n) of every pool, `[P]`, with the epochs it was computed from.

    Raises:
        MaxEpochsError: a decay shape is set and the run is traced without `max_epochs`.
    """
    epochs = count_epochs(run.samples_seen, run.weights, run.sizes)
    rate = decay_rate(params.half_life, params.dilution, run.weights, run.sizes, params.reference_size)
    if params.decay_shape is not None and max_epochs is None:
        max_epochs = bucket_for(run.samples_seen, run.weights, run.sizes)
    return lost_exponent(epochs, rate, max_epochs, params.decay_shape), epochs


def utility_law(params: UtilityParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error of any mixture of pools, each of whose utilities halves every tau epochs.

        y = d + A0 exp(sum_i w_i b_i G_i(n)),
        G_i = log(n / n0) - sum_{j>=1} (D_i(j-1) - D_i(j)) relu(log(n w_i / (j N_i))),
        D_i(k) = 2^(-(k / tau_hat_i)^s),   tau_hat_i = tau_i (N_i / (w_i Nref_i))^gamma

    Source: arXiv 2404.07177, the multi-epoch recursion and Theorem 1; for equal pools sampled uniformly this is
    the theorem exactly, general weights and sizes are its continuous extension. The kernel is the closed form
    when `decay_shape` and `max_epochs` are None, the scan over epochs else; both agree to 1e-12 in G.

    Args:
        params: see `UtilityParams`.
        run: one run; every array is a scalar or `[P]`.
        max_epochs: static scan length; an epoch count beyond it gives NaN. Needed only with a decay
            shape, and then only under `jit`, `vmap` or `grad`.

    Returns:
        `[]` error in the unit of the measured metric; `inf` at zero samples seen, where the law diverges.

    Raises:
        MaxEpochsError: a decay shape is set and the run is traced without `max_epochs`.

    Example:
        >>> p = UtilityParams(scale=4e6, floor=0.1, utility=np.array([-0.16]), half_life=np.array([5.0]),
        ...                   reference_size=np.array([1e6]))
        >>> r = Run(weights=np.array([1.0]), sizes=np.array([1e6]), samples_seen=64e6)
        >>> round(float(utility_law(p, r)), 4)
        1.0612
    """
    weights = jnp.asarray(run.weights)
    lost, _ = lost_exponents(params, run, max_epochs)
    log_amplitude = mixed(jnp.log(params.amplitude), weights)
    slopes = weights * params.utility
    fresh = fresh_exponent(slopes, run.samples_seen, params.scale)
    excess = jnp.exp(log_amplitude + fresh - jnp.sum(slopes * lost))
    return mixed(params.floor, weights) + excess


def utility_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    most, least = float(np.max(runs.samples_seen)), float(np.min(runs.samples_seen))
    ceiling = float(np.min(runs.error))
    return {
        "scale": Range(least * 1e-6, most * 1e6, least * 1e-2, most, log=True),
        "floor": Range(0.0, ceiling * (1 - 1e-9), 0.0, ceiling * 0.9),
        "utility": Range(-2.0, -1e-4, -0.5, -0.02, log=True),
        "half_life": Range(1e-2, 1e6, 0.7, 30.0, log=True),
        "dilution": Range(0.0, 2.0, 0.0, 1.0, fitted=False, default=1.0),
        "decay_shape": Range(0.2, 10.0, 0.7, 3.0, log=True, fitted=False),
        "amplitude": Range(1e-3, 1e3, 0.3, 3.0, log=True, fitted=False, default=1.0),
    }


SYMBOLS = {
    "scale": "n0",
    "floor": "d",
    "utility": "b",
    "half_life": "tau",
    "reference_size": "Nref",
    "dilution": "gamma",
    "decay_shape": "s",
    "amplitude": "A0",
}

utility = Law(
    name="utility",
    function=utility_law,
    params=UtilityParams,
    ranges=utility_ranges,
    per_pool=("utility", "half_life"),
    scans=lambda params: params.decay_shape is not None,
    symbols=SYMBOLS,
)
