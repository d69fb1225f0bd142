"""What each pool adds to the log of the error: one concave function of its weight, with exact one-sided slopes.

    F(w) = sum_i f_i(w_i),   f_i(w) = sum_m q_m w beta_mi G_mi(w) - linear_i w - kappa w log w,   beta = |b|
    f_i'(w) = sum_m q_m beta_mi (G_mi - (1 - delta^k) - gamma Q1_mi) - linear_i - kappa (log w + 1)

with k = floor(K) whole epochs, K = n w / N, and G, delta^k and Q1 from one call of the closed form. For b < 0 and
dilution gamma in [0, 1] each f_i is concave (proof in the docstring of `slopes`), so that F has one maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from qqtjax.laws.closed_form import value_and_slopes
from qqtjax.laws.law import Law
from qqtjax.laws.power import power
from qqtjax.laws.repetition import LOG2, SNAP_ULPS, real
from qqtjax.laws.utility import UtilityParams, utility


class Terms(NamedTuple):
    """The functions f_i of one problem; M laws (metrics or draws) on P pools.

    Attributes:
        utility: `[M, P]` q_m |b_mi|, positive.
        fresh: `[M, P]` log(n / n0).
        rate: `[M, P]` lam at one epoch: log(2) / tau (Nref / N)^gamma (N / n)^gamma.
        dilution: `[M, 1]` gamma, or `[M, P]` where it differs between pools.
        epoch: `[P]` N / n, the weight at which a pool is gone through once; `inf` where it is never repeated.
        linear: `[P]` price subtracted for each unit of weight.
        entropy: `[]` kappa >= 0, the strength of a pull towards a reference mix.
    """

    utility: Array
    fresh: Array
    rate: Array
    dilution: Array
    epoch: Array
    linear: Array
    entropy: Array


def utility_terms(params: Any, sizes: Array, samples_seen: Array) -> Terms:
    """The functions f_i of `laws.utility` with the paper's decay, one law: log(y - d) = -F(w) where d is shared.

    Args:
        params: `UtilityParams`; the floor is left out, log A0 enters as a price.
        sizes: `[P]` samples.
        samples_seen: `[]`.
    """
    sizes, seen = jnp.asarray(real(sizes)), jnp.asarray(real(samples_seen))
    shape, dtype = sizes.shape, sizes.dtype
    unknown = jnp.isinf(sizes)
    known = jnp.where(unknown, 1.0, sizes)
    relative = jnp.where(unknown, 1.0, jnp.where(unknown, 1.0, real(params.reference_size)) / known)
    gamma = jnp.asarray(params.dilution, dtype)
    epoch = jnp.where(unknown, jnp.inf, known / seen)
    rate = LOG2 / jnp.asarray(params.half_life) * (relative * jnp.where(unknown, 1.0, epoch)) ** gamma
    amplitude = jnp.broadcast_to(jnp.log(jnp.asarray(params.amplitude, dtype)), shape)
    return Terms(
        utility=jnp.broadcast_to(-jnp.asarray(params.utility), shape)[None],
        fresh=jnp.broadcast_to(jnp.log(seen / jnp.asarray(real(params.scale))), shape)[None],
        rate=jnp.broadcast_to(rate, shape)[None],
        dilution=jnp.atleast_1d(gamma)[None],
        epoch=epoch,
        linear=amplitude,
        entropy=jnp.zeros((), dtype),
    )


def is_separable(law: Law, params: Any, seen_before: np.ndarray | None) -> bool:
    """Is log(y - d) a sum of concave functions of one weight each, whose slopes `mix.separable` knows."""
    if seen_before is not None:
        return False
    if law == power:
        return bool(law.convex(params))
    return law == utility and params.decay_shape is None and bool(law.convex(params))


def separable_terms(law: Law, params: Any, sizes: Any, samples_seen: Any) -> Terms:
    """The functions f_i of a law for which `is_separable`; a repetition-blind one has pools without end."""
    if law == power:
        sizes = jnp.full_like(jnp.asarray(sizes), jnp.inf)
        params = UtilityParams(
            scale=params.scale,
            floor=params.floor,
            utility=params.utility,
            half_life=1.0,
            reference_size=sizes,
            amplitude=params.amplitude,
        )
    return utility_terms(params, sizes, samples_seen)


def subset(terms: Terms, pools: ArrayLike) -> Terms:
    """The functions of some of the pools, whose places are given."""
    chosen = jnp.asarray(pools)

    def of(leaf: Array) -> Array:
        return leaf if leaf.shape[-1] != terms.epoch.shape[0] else leaf[..., chosen]

    return jax.tree.map(of, terms._replace(entropy=None))._replace(entropy=terms.entropy)


def stacked(parts: Sequence[Terms]) -> Terms:
    """The functions of laws on the same pools and budget, with a leading axis on every leaf, as `joined` takes."""
    width = parts[0].epoch.shape[0]
    whole = [each._replace(dilution=np.broadcast_to(each.dilution, (1, width))) for each in parts]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *whole)


def joined(parts: Terms, factors: ArrayLike) -> Terms:
    """The functions of sum_m q_m F_m, of laws on the same pools and budget, without an entropy of their own.

    Args:
        parts: M functions of one law each, with a leading axis of M on every leaf.
        factors: `[M]` q_m >= 0.
    """
    shares = jnp.asarray(factors)
    return Terms(
        utility=shares[:, None] * parts.utility[:, 0],
        fresh=parts.fresh[:, 0],
        rate=parts.rate[:, 0],
        dilution=parts.dilution[:, 0],
        epoch=parts.epoch[0],
        linear=shares @ parts.linear,
        entropy=jnp.zeros_like(parts.entropy[0]),
    )


class Piece(NamedTuple):
    """One pool's f_i at a weight, seen from inside one epoch; all `[P]`.

    Attributes:
        value: f_i(w).
        slope: f_i'(w) with k whole epochs: the right slope where w is the start of the epoch.
        drop: how far the slope falls at the start of the epoch: left slope less right slope at w = k N / n.
    """

    value: Array
    slope: Array
    drop: Array


def inside(terms: Terms, whole: Array, weights: Array) -> Piece:
    """f_i and its slope at weights inside the epochs `whole`, where k N / n <= w <= (k + 1) N / n.

    The number of whole epochs is given, never recomputed, so that both slopes at a kink can be had.

    Args:
        terms: the functions.
        whole: `[P]` k, whole numbers as floats.
        weights: `[P]`.
    """
    started = whole >= 1
    start = jnp.where(started, whole * jnp.where(started, terms.epoch, 1.0), 1.0)
    beyond = jnp.where(started & (weights >= start), (weights - start) / start, 0.0)
    log_ratio = jnp.log1p(beyond)
    log_epochs = jnp.where(started, jnp.log(jnp.where(started, whole, 1.0)) + log_ratio, 0.0)
    rate = jnp.where(started, terms.rate * jnp.exp(terms.dilution * log_epochs), 0.0)
    kept, power, lost = value_and_slopes(whole, log_ratio, rate)
    gained = terms.fresh - log_epochs + kept
    slope = jnp.sum(terms.utility * (gained - (1.0 - power) - terms.dilution * lost), axis=0)
    value = weights * jnp.sum(terms.utility * gained, axis=0)
    before = jnp.exp(-rate * jnp.maximum(whole - 1.0, 0.0))
    drop = jnp.sum(terms.utility * jnp.where(started, before - power, 0.0), axis=0)
    log_weight = jnp.log(jnp.where(weights > 0, weights, 1.0))
    pull = terms.entropy * jnp.where(weights > 0, log_weight + 1.0, -jnp.inf)
    pull = jnp.where(terms.entropy > 0, pull, 0.0)
    return Piece(
        value - terms.linear * weights - terms.entropy * weights * log_weight,
        slope - terms.linear - pull,
        drop,
    )


def whole_epochs(terms: Terms, weights: Array) -> tuple[Array, Array, Array]:
    """Whole epochs k of any weights, the weights, those within 4 ulp of a kink set on it, and which they are; `[P]`."""
    counted = weights / terms.epoch
    nearest = jnp.round(counted)
    close = jnp.abs(counted - nearest) <= SNAP_ULPS * jnp.finfo(counted.dtype).eps * counted
    close = close & (nearest >= 1)
    whole = lax.stop_gradient(jnp.where(close, nearest, jnp.floor(counted)))
    return whole, jnp.where(close, nearest * jnp.where(close, terms.epoch, 1.0), weights), close


def slopes(terms: Terms, weights: Array) -> tuple[Array, Array, Array]:
    """f_i, its left and its right slope at any weights, `[P]` each; they differ where a pool ends an epoch.

    Concavity: inside an epoch, with lam the rate and H, Q1 as in `laws.closed_form`,

        w f'' / beta <= -(1 - gamma^2)(1 - delta^k) - gamma (1 + gamma) Q1 - 2 gamma lam k delta^k <= 0

    for gamma in [0, 1], since lam^2 sum_m m^2 delta^m log(1 + 1/m) <= lam^2 sum_m m delta^m <= 1 - delta^k; and
    at the end of an epoch the slope falls by beta (delta^(k-1) - delta^k). Source: ours, for the law of
    arXiv 2404.07177 with continuous weights.

    Args:
        terms: the functions.
        weights: `[P]`.

    Example:
        >>> import numpy as np
        >>> from qqtjax.laws import UtilityParams
        >>> params = UtilityParams(scale=4e6, floor=0.1, utility=np.array([-0.16]), half_life=np.array([6.7]),
        ...                        reference_size=np.array([12.8e6]))
        >>> _, left, right = slopes(utility_terms(params, np.array([12.8e6]), 64e6), np.array([0.8]))
        >>> print(f"{left[0]:.3f} {right[0]:.3f}")  # 0.8 x 64M are 4 epochs
        0.353 0.343
    """
    whole, weights, kink = whole_epochs(terms, weights)
    piece = inside(terms, whole, weights)
    return piece.value, piece.slope + jnp.where(kink, piece.drop, 0.0), piece.slope


def total(terms: Terms, weights: Array) -> Array:
    """F(w), `[]`: log A0 - log(y - d) without its sign; differentiable in the terms and the weights."""
    whole, weights, _ = whole_epochs(terms, weights)
    return jnp.sum(inside(terms, whole, weights).value)


def curvature(terms: Terms, whole: Array, weights: Array) -> Array:
    """f_i''(w) <= 0 inside the epochs `whole`, `[P]`."""
    whole = lax.stop_gradient(whole)
    return jax.jvp(lambda w: inside(terms, whole, w).slope, (weights,), (jnp.ones_like(weights),))[1]
