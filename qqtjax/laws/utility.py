"""The utility law: each pool's utility halves every tau epochs; mixtures average the decayed exponents."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array, lax, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.closed_form import lost_to_repetition
from qqtjax.laws.continued import earlier, lost_exponent_since, overall_weights
from qqtjax.laws.law import Law, Range
from qqtjax.laws.logarithm import log
from qqtjax.laws.repetition import (
    bucket_for,
    count_epochs,
    decay_rate,
    epochs_through,
    log_decay_rate,
    lost_exponent,
    real,
    split_epochs,
)
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


# Least share of a run that earlier training must have for epochs of it to count.
LEAST_BEFORE = 1e-12


def over_pools(terms: Array) -> Array:
    """Sum over the leading axis, that of the pools.

    As a product with ones: on a CPU, XLA's own sum over a short axis takes longer than the law itself.
    """
    ones = jnp.ones(terms.shape[0], terms.dtype)
    return lax.dot_general(ones, terms, (((0,), (0,)), ((), ())), precision=lax.Precision.HIGHEST)


def mixed(value: ArrayLike, weights: ArrayLike) -> Array:
    """A parameter of the mixture: itself where shared, the weighted mean where it is `[P]`."""
    shared = jnp.ndim(value) < max(jnp.ndim(weights), 1)
    return jnp.asarray(value) if shared else over_pools(jnp.asarray(weights) * value)


def fresh_exponent(slopes: Array, samples_seen: ArrayLike, scale: ArrayLike) -> Array:
    """sum_i w_i b_i log(n / n0), what fresh data would give.

    With one scale for all pools the logarithm stays outside the sum, so that an unused pool is not 0 times log 0
    before the first sample.
    """
    fresh = log(jnp.asarray(real(samples_seen) / jnp.asarray(real(scale))))
    return over_pools(slopes) * fresh if fresh.ndim < slopes.ndim else over_pools(slopes * fresh)


def run_fresh_exponent(utility: ArrayLike, scale: ArrayLike, run: Run) -> Array:
    """What the samples of a run would give if all were fresh, after those of earlier training.

        sum_i w_i b_i log(n / n0), or sum_i v_i b_i log(lo / n0) + sum_i w_i b_i log(n_T / lo), lo = max(n_b, n0)

    Symbols and source as in `laws.continued`.
    """
    slopes = jnp.asarray(run.weights) * utility
    if run.seen_before is None:
        return fresh_exponent(slopes, run.samples_seen, scale)
    before, shares = earlier(run.seen_before)
    # Not jnp.maximum, which halves the derivative at n_b = n0.
    start = jnp.where(before >= real(scale), before, real(scale))
    total = before + real(run.samples_seen)
    return fresh_exponent(shares * utility, start, scale) + fresh_exponent(slopes, total, start)


def lost_exponents(params: UtilityParams, run: Run, max_epochs: int | None) -> Array:
    """log(n / n0) - G_i(n) of every pool, `[P]`: by the closed form without `max_epochs` and decay shape, else by scan.

    Raises:
        MaxEpochsError: a decay shape is set and the run is traced without `max_epochs`.
    """
    if max_epochs is None and params.decay_shape is None:
        counted = epochs_through(jnp.asarray(real(run.samples_seen)) * run.weights, run.sizes)
        of_rate = (params.half_life, params.dilution, counted, run.samples_seen, params.reference_size)
        return lost_to_repetition(counted, log_decay_rate(*of_rate))
    if max_epochs is None:
        max_epochs = bucket_for(run.samples_seen, run.weights, run.sizes)
    epochs = count_epochs(run.samples_seen, run.weights, run.sizes)
    rate = decay_rate(params.half_life, params.dilution, run.weights, run.sizes, params.reference_size)
    return lost_exponent(epochs, rate, max_epochs, params.decay_shape)


def run_exponent(params: UtilityParams, run: Run, max_epochs: int | None) -> Array:
    """log((y - d) / A0) = sum_i w_i b_i G_i, `[]`; `inf` at zero samples seen.

    For a model that is trained on, B + C of `laws.continued`.

    Raises:
        MaxEpochsError: `seen_before` or a decay shape is set and the run is traced without `max_epochs`.
    """
    weights, seen = jnp.asarray(run.weights), jnp.asarray(real(run.samples_seen))
    if run.seen_before is None:
        started = seen > 0
        fresh = log(jnp.where(started, seen, 1.0) / jnp.asarray(real(params.scale)))
        gained = fresh - lost_exponents(params, run, max_epochs)
        # One sum for both: at zero samples an unused pool would be 0 times infinity.
        return jnp.where(started, over_pools(weights * params.utility * gained), jnp.inf)
    fresh = run_fresh_exponent(params.utility, params.scale, run)
    return fresh - _lost_exponent_since(params, run, run.seen_before, max_epochs)


def _lost_exponent_since(params: UtilityParams, run: Run, seen_before: ArrayLike, max_epochs: int | None) -> Array:
    """The sums over epochs in B and C of `laws.continued`, times v_i b_i and w_i b_i, `[]`."""
    weights, seen = jnp.asarray(run.weights), real(run.samples_seen)
    if max_epochs is None:
        max_epochs = bucket_for(run.samples_seen, run.weights, run.sizes, seen_before)
    exposure, sizes = jnp.asarray(real(seen_before)), jnp.asarray(real(run.sizes))
    before, shares = earlier(seen_before)
    counted = epochs_through(exposure, sizes)
    rate_before, rate = (
        decay_rate(params.half_life, params.dilution, each, sizes, params.reference_size) for each in (shares, weights)
    )
    length = None if params.decay_shape is None else max_epochs
    lost_before = lost_exponent(split_epochs(counted), rate_before, length, params.decay_shape)
    # Epochs that ended before need n_b >= N; below this, nothing does within any scan.
    some = before > LEAST_BEFORE * seen
    lost = lost_exponent_since(
        at_start=counted,
        at_end=epochs_through(exposure + seen * weights, sizes),
        started=jnp.where(jnp.isinf(sizes), 0.0, before * weights / jnp.where(jnp.isinf(sizes), 1.0, sizes)),
        grown=jnp.where(some, jnp.log1p(seen / jnp.where(some, before, 1.0)), 0.0),
        rate=rate,
        max_epochs=max_epochs,
        decay_shape=params.decay_shape,
    )
    return over_pools(shares * params.utility * lost_before + weights * params.utility * lost)


def utility_law(params: UtilityParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error of any mixture of pools, each of whose utilities halves every tau epochs.

        y = d + A0 exp(sum_i w_i b_i G_i(n)),
        G_i = log(n / n0) - sum_{j>=1} (D_i(j-1) - D_i(j)) relu(log(n w_i / (j N_i))),
        D_i(k) = 2^(-(k / tau_hat_i)^s),   tau_hat_i = tau_i (N_i / (w_i Nref_i))^gamma

    Source: arXiv 2404.07177, the multi-epoch recursion and Theorem 1; for equal pools sampled uniformly this is
    the theorem exactly, general weights and sizes are its continuous extension. The kernel is the closed form
    when `decay_shape` and `max_epochs` are None, the scan over epochs else; both agree to 1e-12 in G. A run with
    `seen_before` goes on from earlier training, by the formula and with the properties in `laws.continued` (ours).

    Args:
        params: see `UtilityParams`.
        run: one run; every array is a scalar or `[P]`. From scratch, arrays may have axes of runs behind that of the
            pools, in `params` too (`errors_of` of `laws.law`).
        max_epochs: static scan length; an epoch count beyond it, earlier training included, gives NaN. Needed
            only with a decay shape or `seen_before`, and then only under `jit`, `vmap` or `grad`.

    Returns:
        `[]` error in the unit of the measured metric; `inf` at zero samples seen, where the law diverges. In float32
        the closed form is within 1e-6 of float64 relative to y, from 1e-3 to 1e9 epochs, half-lives from 0.05 to 1e7.

    Raises:
        MaxEpochsError: a decay shape or `seen_before` is set and the run is traced without `max_epochs`.

    Example:
        >>> p = UtilityParams(scale=4e6, floor=0.1, utility=np.array([-0.16]), half_life=np.array([5.0]),
        ...                   reference_size=np.array([1e6]))
        >>> r = Run(weights=np.array([1.0]), sizes=np.array([1e6]), samples_seen=64e6)
        >>> round(float(utility_law(p, r)), 4)
        1.0612
        >>> second_half = Run(weights=r.weights, sizes=r.sizes, samples_seen=32e6, seen_before=np.array([32e6]))
        >>> round(float(utility_law(p, second_half)), 4)
        1.0612
    """
    weights = overall_weights(run)
    log_amplitude = mixed(jnp.log(params.amplitude), weights)
    excess = jnp.exp(log_amplitude + run_exponent(params, run, max_epochs))
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


def utility_convex(params: UtilityParams) -> bool:
    """Is the error proved convex in the weights: every sum_i w_i b_i G_i is, and exp and a linear floor keep it.

    Every b < 0, and either the geometric decay with 0 <= gamma <= 1, or gamma = 0 with any decay that never rises.
    With `seen_before` gamma = 0 is needed (`laws.continued`).
    """
    dilution = np.asarray(params.dilution)
    if params.decay_shape is None:
        proved = np.all((dilution >= 0) & (dilution <= 1))
    else:
        proved = np.all(dilution == 0) and np.all(np.asarray(params.decay_shape) > 0)
    return bool(proved and np.all(np.asarray(params.utility) < 0))


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
    convex=utility_convex,
    symbols=SYMBOLS,
    trailing=True,
)
