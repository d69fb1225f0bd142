"""The multi-epoch recursion: epoch counts, the decay of repeats, and the sum that both kernels evaluate.

For a pool of N_i samples drawn with weight w_i, K_i = n w_i / N_i epochs have passed after n samples, and

    G_i(n) = log(n / n0) - sum_{j >= 1} (D_i(j - 1) - D_i(j)) relu(log(K_i / j))
           = log(n / n0) - [K_i >= 1] (log K_i - H_i),
    H_i    = sum_{m=1}^{k-1} D_i(m) log((m + 1) / m) + D_i(k) log(K_i / k),      k = floor(K_i)

(the second line by Abel summation). D_i(k) is what a sample is still worth on its (k+1)-th showing: delta^k with
delta = 2^(-1 / tau_hat) in the paper (arXiv 2404.07177, its multi-epoch equation), 2^(-(k / tau_hat)^s) with a
decay shape s. The geometric case has a closed form whose cost does not grow with K; the `lax.scan` serves any
shape and is the oracle of the closed form.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.errors import TracerArrayConversionError
from jax.typing import ArrayLike

from qqtjax.errors import MaxEpochsError
from qqtjax.laws.closed_form import decayed_epochs
from qqtjax.laws.logarithm import log, log1p_unit

LOG2 = math.log(2.0)
LOG_LOG2 = math.log(LOG2)
SNAP_ULPS = 4.0
SMALLEST_BUCKET = 16


class Epochs(NamedTuple):
    """Epochs that a pool has been through, split so that nothing is lost at a boundary.

    Attributes:
        whole: k = floor(K), a whole number stored as a float; carries no gradient.
        log_ratio: log(K / k) >= 0 (0 where k = 0); its gradient is that of log K.
        log_epochs: log K where K >= 1, else 0.
    """

    whole: Array
    log_ratio: Array
    log_epochs: Array


def real(count: ArrayLike) -> ArrayLike:
    """The same count as a float: integers above 2^31 would wrap in JAX's default 32 bits."""
    if isinstance(count, int):
        return float(count)
    if isinstance(count, np.ndarray | np.generic) and count.dtype.kind in "iu":
        return count.astype(np.float64)
    return count


def epochs_through(drawn: ArrayLike, sizes: ArrayLike) -> Array:
    """Epochs K_i of so many samples of every pool, with K within 4 ulp of a whole number taken as that number.

    The quotient is formed in counts, before any logarithm. Infinite sizes give K = 0.

    Args:
        drawn: samples drawn from each pool, repeats counted.
        sizes: N_i, samples; `inf` where repetition is unknown.

    Example:
        >>> import numpy as np
        >>> epochs_through(np.array([3e6, 5e5, 1e9]), np.array([1e6, 1e6, np.inf])).tolist()
        [3.0, 0.5, 0.0]
    """
    sizes = jnp.asarray(real(sizes))
    unknown = jnp.isinf(sizes)
    counted = jnp.where(unknown, 0.0, jnp.asarray(drawn) / jnp.where(unknown, 1.0, sizes))
    nearest = jnp.round(counted)
    close = jnp.abs(counted - nearest) <= SNAP_ULPS * jnp.finfo(counted.dtype).eps * counted
    # Only the value snaps; the gradient stays that of the quotient.
    return counted + lax.stop_gradient(jnp.where(close, nearest - counted, 0.0))


def split_epochs(counted: Array) -> Epochs:
    """The parts of K, as counted by `epochs_through`, that the sums need."""
    whole = lax.stop_gradient(jnp.floor(counted))
    started = whole >= 1
    divisor = jnp.where(started, whole, 1.0)
    inside = jnp.where(started, counted, 1.0)
    log_ratio = log1p_unit((inside - divisor) / divisor)
    return Epochs(whole, log_ratio, log_ratio + log(divisor))


def count_epochs(samples_seen: ArrayLike, weights: ArrayLike, sizes: ArrayLike) -> Epochs:
    """Epochs K_i = n w_i / N_i of every pool, with K within 4 ulp of a whole number taken as that number.

    At a boundary k = K, so derivatives are those from the right in n and w (from the left in N).

    Args:
        samples_seen: n, samples, broadcastable against `weights`.
        weights: w_i, shares.
        sizes: N_i, samples; `inf` where repetition is unknown.

    Example:
        >>> [float(x) for x in count_epochs(3.0, 1.0, 1.0)][:2]
        [3.0, 0.0]
    """
    return split_epochs(epochs_through(jnp.asarray(real(samples_seen)) * weights, sizes))


def decay_rate(
    half_life: ArrayLike, dilution: ArrayLike, weights: ArrayLike, sizes: ArrayLike, reference_size: ArrayLike
) -> Array:
    """Loss of utility per epoch, lam_i = (log 2 / tau_i) (w_i Nref_i / N_i)^gamma, so that delta_i = exp(-lam_i).

    Nref / N counts as 1 where N is infinite. At weight 0 the rate is its limit, 0 or with dilution 0 that of the pool
    alone, with gradient 0.

    Args:
        half_life: tau_i, epochs, as measured on a pool of `reference_size` samples trained alone.
        dilution: gamma; 1 is Theorem 1 of the paper (tau_hat = (N_hat / N) tau), 0 is exposure only.
        weights: w_i.
        sizes: N_i, samples.
        reference_size: Nref_i, samples.
    """
    sizes = jnp.asarray(real(sizes))
    unknown = jnp.isinf(sizes)
    relative = jnp.where(unknown, 1.0, real(reference_size) / jnp.where(unknown, 1.0, sizes))
    share = weights * relative
    drawn = share > 0
    undrawn = jnp.where(jnp.asarray(dilution) == 0, 1.0, 0.0)
    return jnp.where(drawn, jnp.where(drawn, share, 1.0) ** dilution, undrawn) * (LOG2 / half_life)


def log_decay_rate(
    half_life: ArrayLike, dilution: ArrayLike, counted: Array, samples_seen: ArrayLike, reference_size: ArrayLike
) -> Array:
    """Logarithm of the lam_i of `decay_rate`, from the epochs: w_i Nref_i / N_i = K_i Nref_i / n; 0 counts as 1.

    Where a pool is not drawn from, no epoch of it ends and nothing depends on its rate.

    Args:
        half_life: tau_i, epochs, as measured on a pool of `reference_size` samples trained alone.
        dilution: gamma.
        counted: K_i, as counted by `epochs_through`; 0 where the size is infinite.
        samples_seen: n, samples.
        reference_size: Nref_i, samples.
    """
    seen, reference = jnp.asarray(real(samples_seen)), jnp.asarray(real(reference_size))
    known = jnp.where(jnp.isinf(reference), 1.0, reference)
    share = counted * known * (1.0 / jnp.where(seen > 0, seen, 1.0))
    return jnp.asarray(dilution) * log(jnp.where(share > 0, share, 1.0)) + (LOG_LOG2 - jnp.log(half_life))


def decay(epochs: ArrayLike, rate: ArrayLike, decay_shape: ArrayLike | None = None) -> Array:
    """D(k), what a sample is worth on its (k+1)-th showing, with 1 at k = 0.

    exp(-lam k) = delta^k, or 2^(-(k / tau_hat)^s) with a decay shape s, where tau_hat = log 2 / lam.

    Args:
        epochs: k.
        rate: lam per epoch.
        decay_shape: s, or None for the paper's geometric decay.
    """
    if decay_shape is None:
        return jnp.exp(-jnp.asarray(rate) * epochs)
    half_lives = jnp.asarray(rate) * epochs / LOG2
    decays = half_lives > 0
    return jnp.exp(-LOG2 * jnp.where(decays, jnp.where(decays, half_lives, 1.0) ** decay_shape, 0.0))


def scan_decayed_epochs(
    epochs: Epochs, rate: ArrayLike, max_epochs: int, decay_shape: ArrayLike | None = None
) -> Array:
    """H = sum_{m<k} D(m) log((m+1)/m) + D(k) log(K/k) by one `lax.scan` over epochs 1 .. max_epochs.

    Args:
        epochs: as counted by `count_epochs`, any shape.
        rate: lam = log 2 / tau_hat, per epoch, broadcastable.
        max_epochs: static length; an entry with k > max_epochs gives NaN.
        decay_shape: s, or None for the geometric decay.

    Returns:
        H, shape of `epochs.whole`, in log samples.
    """
    whole, log_ratio, _ = epochs
    rate = jnp.broadcast_to(jnp.asarray(rate), whole.shape)

    def step(total: Array, m: Array) -> tuple[Array, None]:
        span = jnp.where(m < whole, jnp.log1p(1.0 / m), jnp.where(m == whole, log_ratio, 0.0))
        return total + decay(m, rate, decay_shape) * span, None

    numbers = jnp.arange(1, max_epochs + 1, dtype=whole.dtype)
    start = jnp.zeros_like(whole) + 0.0 * rate
    # Not unrolled: measured on a CPU, two steps at once save a fifth of the value and cost the gradient up to double.
    total, _ = lax.scan(step, start, numbers)
    # Added, not selected, so that derivatives are NaN too.
    return total + jnp.where(whole <= max_epochs, 0.0, jnp.nan)


def lost_exponent(
    epochs: Epochs, rate: ArrayLike, max_epochs: int | None = None, decay_shape: ArrayLike | None = None
) -> Array:
    """What repetition costs: log(n / n0) - G_i(n) = log K_i - H_i; 0 in the first epoch.

    Args:
        epochs: as counted by `count_epochs`, `[P]`.
        rate: lam_i, `[P]`.
        max_epochs: static scan length; None takes the closed form, which needs decay_shape None.
        decay_shape: s, or None for the geometric decay.

    Returns:
        `[P]`, log samples. From the paper's recursion n = 64M, n0 = 4M, N = 1M, tau = 5 keeps G = 0.2473 of
        log(n / n0) = 2.7726.
    """
    if max_epochs is None:
        kept = decayed_epochs(epochs.whole, epochs.log_ratio, rate)
    else:
        kept = scan_decayed_epochs(epochs, rate, max_epochs, decay_shape)
    return jnp.where(epochs.whole >= 1, epochs.log_epochs - kept, 0.0)


def bucket(epochs: float) -> int:
    """The static scan length that covers so many epochs: a power of two, so that few lengths are compiled.

    Example:
        >>> bucket(3.2), bucket(17), bucket(1000)
        (16, 32, 1024)
    """
    return max(SMALLEST_BUCKET, 1 << math.ceil(math.log2(max(epochs, 1.0))))


def bucket_for(
    samples_seen: ArrayLike, weights: ArrayLike, sizes: ArrayLike, seen_before: ArrayLike | None = None
) -> int:
    """`bucket` of the most epochs that any pool of any run goes through, those of earlier training included.

    Args:
        samples_seen: n, samples; inputs may carry leading axes.
        weights: w_i, `[..., P]`.
        sizes: N_i, `[..., P]`, samples.
        seen_before: e_i, `[..., P]`, samples of earlier training, or None.

    Raises:
        MaxEpochsError: the inputs are traced, so that their values are not known.
    """
    try:
        given = (samples_seen, weights, sizes, 0.0 if seen_before is None else seen_before)
        seen, shares, counts, before = (np.asarray(each, np.float64) for each in given)
    except TracerArrayConversionError:
        raise MaxEpochsError(
            "this law scans over epochs and was traced without a length: pass max_epochs=<the most epochs "
            "that any pool goes through>, for example law(params, run, max_epochs=64)"
        ) from None
    if shares.ndim > seen.ndim:
        seen = seen[..., None]
    most = float(np.max((before + seen * shares) / counts, initial=0.0))
    return bucket(most * (1 + 1e-6))
