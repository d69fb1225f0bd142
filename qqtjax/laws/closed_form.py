"""The multi-epoch sum of the law at a cost that does not depend on the number of epochs.

On its (m+1)-th epoch a pool's utility is b delta^m, delta = exp(-lam) = 2^(-1/tau) with tau the half-life
in epochs (Goyal et al., arXiv 2404.07177). Summed by parts, the exponent of the law after K >= 1 epochs is
G = log(n / n0) - log K + H, with H evaluated here. `benchmarks/closed_form/derive.py` holds the derivation
and generates the coefficients:

    sum_{m=1}^{k-1} delta^m log(1 + 1/m) = A (lam R(lam) + U) - e^{lam/2 - z} P(lam, 1/k),    z = lam k
    A = (e^lam - 1) / lam,   U = -log lam - gamma_E - E1(z) = log k - Ein(z)

with R and P power series about lam = 0. Few epochs, or a fast decay, take the sum itself.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from qqtjax.laws.closed_form_coefficients import FLOAT32, FLOAT64, Coefficients
from qqtjax.laws.logarithm import log, log1p_unit
from qqtjax.laws.polynomial import derivative, polynomial

__all__ = ["decayed_epochs", "lost_to_repetition", "value_and_slopes"]

_EULER_GAMMA = 0.5772156649015329  # https://oeis.org/A001620


def _direct_sum(table: Coefficients, k: Array, delta: Array) -> tuple[Array, Array]:
    """Sum of delta^m log(1 + 1/m) over m < k up to the stored terms, and minus its derivative in lam."""
    steps = tuple(jnp.where(k > m, step, 0.0).astype(delta.dtype) for m, step in enumerate(table.log_steps, 1))
    terms = (0.0, *steps)
    return polynomial(terms, delta), delta * polynomial(derivative(terms), delta)


class _Point(NamedTuple):
    """Where the expansion is evaluated: k, 1/k, lam, e^(lam/2), e^-(lam k), the logarithms of k and lam or None."""

    k: Array
    inverse: Array
    lam: Array
    root: Array
    power: Array
    log_k: Array | None
    log_lam: Array | None


def _expansion(table: Coefficients, at: _Point) -> tuple[Array, Array]:
    """The same for more epochs than the stored terms and lam below the rate switch."""
    k, lam, root, power = at.k, at.lam, at.root, at.power
    z = lam * k
    # Beyond this exponent e^-z is zero in the dtype; the clip keeps z e^-z and the powers of z finite.
    z_clip = -math.log(jnp.finfo(z.dtype).smallest_subnormal) + 1.0
    z = jnp.where(z < z_clip, z, z_clip)
    small = z < table.exponent_switch
    z_small, z_large = jnp.where(small, z, 0.0), jnp.where(small, table.exponent_switch, z)

    u = lam * (2.0 / table.rate_switch) - 1.0
    zeta = polynomial(table.zeta, u)
    zeta_slope = polynomial(derivative(table.zeta), u) * (2.0 / table.rate_switch)
    growth, growth_slope = polynomial(table.growth, lam), polynomial(derivative(table.growth), lam)  # A

    u = z_small * (2.0 / table.exponent_switch) - 1.0
    ratio = polynomial(table.ein, u)
    ratio_slope = polynomial(derivative(table.ein), u) * (2.0 / table.exponent_switch)
    # -dU/dlam = (1 - e^-z) / lam = k Ein'(z), the second form free of cancellation for small z
    fall = jnp.where(small, k * (ratio + z_small * ratio_slope), (1.0 - power) / jnp.where(small, 1.0, lam))
    numerator = polynomial(table.e1_numerator, z_large)
    e1 = power * numerator / (z_large * polynomial(table.e1_denominator, z_large))
    if at.log_k is None or at.log_lam is None:
        log_k = log_lam = log(jnp.where(small, k, lam))
    else:
        log_k, log_lam = at.log_k, at.log_lam
    exponential = jnp.where(small, log_k - z_small * ratio, -log_lam - _EULER_GAMMA - e1)  # U

    inverse, square = at.inverse, at.inverse * at.inverse
    rows = [polynomial(row, square) * (square if i % 2 else inverse) for i, row in enumerate(table.tail)]
    tail, tail_slope = polynomial((0.0, *rows), lam), polynomial(derivative((0.0, *rows)), lam)
    fade = root * power

    bracket = lam * zeta + exponential
    value = growth * bracket - fade * tail
    slope = growth * (fall - zeta - lam * zeta_slope) - growth_slope * bracket + fade * (tail_slope + (0.5 - k) * tail)
    return value, slope


def _from_one(
    table: Coefficients, k: Array, r: Array, lam: Array, log_k: Array | None = None, log_lam: Array | None = None
) -> tuple[Array, Array, Array]:
    """H, delta^k and -dH/dlam for k >= 1."""
    k = jax.lax.stop_gradient(k)
    first = len(table.log_steps) + 2  # the fewest epochs that the stored terms do not cover
    direct = (k < first) | (lam >= table.rate_switch)
    # Exponentials are half of the cost: one for every power of delta below k, one for delta^k.
    half = jnp.exp(-0.5 * lam)
    power = jnp.exp(-lam * k)
    # Without the least number XLA would make a third exponential of the product of two.
    value, slope = _direct_sum(table, k, half * (half + jnp.finfo(half.dtype).tiny))
    # Both branches are evaluated; the one not taken gets arguments at which it and its slopes are finite. Each is
    # clipped by itself: a condition that many selections share is kept in memory, which on a CPU can turn the loop
    # around all of this into scalar code.
    least = math.exp(-0.5 * table.rate_switch)
    at = _Point(
        k=jnp.where(k < first, first, k),
        inverse=jnp.where(k < first, 1.0 / first, 1.0 / k),
        lam=jnp.where(lam < table.rate_switch, lam, table.rate_switch),
        root=1.0 / jnp.where(half > least, half, least),
        power=power,
        log_k=log_k,
        log_lam=log_lam,
    )
    wide, wide_slope = _expansion(table, at)
    last = power * r
    return jnp.where(direct, value, wide) + last, power, jnp.where(direct, slope, wide_slope) + k * last


# Compiled at once where it is called outside `jit`, instead of operation by operation.
@functools.partial(jax.jit, static_argnums=0)
def _evaluate(table: Coefficients, k: Array, r: Array, lam: Array) -> tuple[Array, Array, Array]:
    """H, delta^k and -dH/dlam; zero, one and zero where k < 1."""
    seen = k >= 1
    value, power, slope = _from_one(table, jnp.where(seen, k, 1.0), jnp.where(seen, r, 0.0), lam)
    return value, jnp.where(seen, power, 1.0), slope


def _table(dtype: jnp.dtype) -> Coefficients:
    return FLOAT64 if dtype == jnp.float64 else FLOAT32


@jax.custom_jvp
def _decayed_epochs(k: Array, r: Array, lam: Array) -> Array:
    return _evaluate(_table(k.dtype), k, r, lam)[0]


@_decayed_epochs.defjvp
def _decayed_epochs_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    k, r, lam = primals
    _, r_dot, lam_dot = tangents
    value, power, slope = _evaluate(_table(k.dtype), k, r, lam)
    return value, jnp.where(jax.lax.stop_gradient(k) >= 1, power * r_dot, 0.0) - slope * lam_dot


def _lost(counted: Array, log_rate: Array) -> tuple[Array, Array, Array]:
    """What repetition takes, log K - H, its derivative in K and that in log lam; all zero where K < 1."""
    started = counted >= 1
    # Before the first epoch has ended K counts as 1, where the loss and its derivative in the rate are zero.
    epochs = jnp.where(started, counted, 1.0)
    k = jax.lax.stop_gradient(jnp.floor(epochs))
    r = log1p_unit((epochs - k) * (1.0 / k))
    log_k, lam = log(k), jnp.exp(log_rate)
    kept, power, slope = _from_one(_table(counted.dtype), k, r, lam, log_k, log_rate)
    return log_k + r - kept, jnp.where(started, (1.0 - power) / epochs, 0.0), lam * slope


@jax.custom_jvp
def _lost_to_repetition(counted: Array, log_rate: Array) -> Array:
    return _lost(counted, log_rate)[0]


@_lost_to_repetition.defjvp
def _lost_to_repetition_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    value, by_epochs, by_log_rate = _lost(*primals)
    return value, by_epochs * tangents[0] + by_log_rate * tangents[1]


def _prepare(*arguments: ArrayLike) -> tuple[jnp.dtype, list[Array]]:
    """The dtype of the result, and the arguments as float64 or float32 arrays."""
    dtype = jnp.result_type(float, *arguments)
    compute = dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32
    return dtype, [jnp.asarray(x, compute) for x in arguments]


def decayed_epochs(epochs: ArrayLike, log_ratio: ArrayLike, rate: ArrayLike) -> Array:
    """Logarithm of the epochs seen, weighted by the utility that repetition leaves; cost flat in the epochs.

        H(k, r, lam) = sum_{m=1}^{k-1} delta^m log((m+1)/m) + delta^k r,    delta = exp(-lam)

    A rate of 0 gives H = log K. The derivatives are those of the formula, dH/dr = delta^k and dH/dlam =
    -(sum_m m delta^m log((m+1)/m) + k delta^k r), and may be differentiated again; `epochs`, a floor,
    carries none. At an integer K the forms (K, 0) and (K - 1, log(K / (K - 1))) agree in value, and
    their slopes in r are the right and the left one. Where `epochs` < 1, H and its derivatives are 0
    whatever `log_ratio`.

    Args:
        epochs: k = floor(K), complete epochs, integer valued, of any shape that broadcasts with the others.
        log_ratio: r = log(K / k) >= 0, the logarithm of the part of an epoch beyond the last complete one.
        rate: lam = log(2) / tau >= 0, the decay of the utility per epoch, tau the half-life in epochs.

    Returns:
        H, dimensionless, in the broadcast shape and the promoted float dtype. For up to 1e9 epochs the
        error is below 1e-13 in float64 and 3e-6 in float32, where log K is near 20; half precision
        computes in float32.

    Source: the multi-epoch product of Goyal et al., arXiv 2404.07177, summed by parts; the closed form is
    derived in benchmarks/closed_form/derive.py.

    >>> import jax.numpy as jnp
    >>> from qqtjax.laws.closed_form import decayed_epochs
    >>> half_life = jnp.array([1.0, 5.0, 1e6])
    >>> [f"{value:.4f}" for value in decayed_epochs(10.0, 0.0, jnp.log(2.0) / half_life)]
    ['0.5077', '1.5066', '2.3026']
    """
    dtype, arrays = _prepare(epochs, log_ratio, rate)
    return _decayed_epochs(*arrays).astype(dtype)


def value_and_slopes(epochs: ArrayLike, log_ratio: ArrayLike, rate: ArrayLike) -> tuple[Array, Array, Array]:
    """H of `decayed_epochs`, delta^k and Q1 = -lam dH/dlam in one pass: all that a solver for weights needs.

        Q1(k, r, lam) = lam (sum_{m=1}^{k-1} m delta^m log((m+1)/m) + k delta^k r),    delta = exp(-lam)

    With G = log(n / n0) - log K + H and a rate that grows as the weight w to the power gamma, the
    derivative of w |b| G in w is |b| (G - (1 - delta^k) - gamma Q1). Below one epoch G = log(n / n0) and
    the three are 0, 1 and 0, so that the expression still holds. Differentiate `decayed_epochs`, not these.

    Args:
        epochs: k = floor(K), complete epochs, integer valued, of any shape that broadcasts with the others.
        log_ratio: r = log(K / k) >= 0.
        rate: lam = log(2) / tau >= 0, per epoch.

    Returns:
        H, delta^k and Q1, dimensionless, each in the broadcast shape and the promoted float dtype.

    Source: as `decayed_epochs`.

    >>> from qqtjax.laws.closed_form import value_and_slopes
    >>> value, power, slope = value_and_slopes(2.0, 0.25, 0.5)
    >>> print(f"{value:.4f} {power:.4f} {slope:.4f}")
    0.5124 0.3679 0.3022
    """
    dtype, (k, r, lam) = _prepare(epochs, log_ratio, rate)
    value, power, slope = _evaluate(_table(k.dtype), k, r, lam)
    shape = jnp.broadcast_shapes(k.shape, r.shape, lam.shape)

    def finish(x: Array) -> Array:
        return jnp.broadcast_to(x, shape).astype(dtype)

    return finish(value), finish(power), finish(lam * slope)


def lost_to_repetition(epochs: ArrayLike, log_rate: ArrayLike) -> Array:
    """What repetition takes from the logarithm of the epochs seen, for any number of epochs at one cost.

        L(K, lam) = log K - H(k, log(K / k), lam) for K >= 1, else 0;    k = floor(K), H as in `decayed_epochs`

    From the epochs and the logarithm of the rate, so that the logarithms in it are taken once: the kernel of
    predictions. dL/dK = (1 - delta^k) / K, that from the right where an epoch ends, and dL/dlog lam = Q1; both may
    be differentiated again.

    Args:
        epochs: K >= 0, up to 1e37, a whole number where an epoch has just ended.
        log_rate: log lam, of a shape that broadcasts with the epochs; -inf, no decay, is allowed.

    Returns:
        L, dimensionless, in the broadcast shape and the promoted float dtype; half precision computes in float32.
        From 1e-3 to 1e9 epochs and half-lives from 0.05 to 1e7 the error of float32 is below 4e-6.

    Source: as for `decayed_epochs`.

    >>> import jax.numpy as jnp
    >>> from qqtjax.laws.closed_form import lost_to_repetition
    >>> half_life = jnp.array([1.0, 5.0, 1e6])
    >>> [f"{value:.4f}" for value in lost_to_repetition(10.0, jnp.log(jnp.log(2.0) / half_life))]
    ['1.7949', '0.7960', '0.0000']
    """
    dtype, arguments = _prepare(epochs, log_rate)
    return _lost_to_repetition(*arguments).astype(dtype)
