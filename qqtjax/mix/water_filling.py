"""The best weights under bounds per pool, by one price for all pools: exact at kinks, with a proof of optimality.

At the optimum of F = sum_i f_i(w_i), sum_i w_i = 1, one price mu lies between the right and the left slope of every
pool's f_i (or beyond them at a bound), so that the search is for one number:

    S(mu) = sum_i w_i(mu),   w_i(mu) = argmax f_i(w) - mu w,   S falls with mu;   S(mu*) = 1

One evaluation of all slopes gives a model of every w_i(mu) (`mix.bracket`); the price at which the modelled weights
sum to 1 gives the next weights. They are always feasible, so that each step has its certificate, and the search ends
when that closes. Once every pool is in its epoch or on its kink this is Newton's method.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from qqtjax.mix.bracket import Bracket, First, first_epoch, look, modelled, narrowed, outermost
from qqtjax.mix.separable import Terms, slopes

MOST_STEPS, MOST_PRICES, MOST_WIDENINGS = 60, 60, 8
ROUGH, ROUGH_GAP = 1e-9, 1e-7  # relative width of prices that is close enough while the gap is above that
CLOSED = 4.0  # eps: a gap that rounding alone leaves
NEARLY, PATIENCE = 1e3, 3  # eps, steps: stop where a gap as small as this no longer falls
OFF = 64.0  # eps: weights whose sum is farther from 1 have no certificate


class Filled(NamedTuple):
    """The best weights of one problem.

    Attributes:
        weights: `[P]`, their sum is 1.
        price: `[]` mu.
        gap: `[]` F* - F(w) is at most this.
        steps: `[]` evaluations of all slopes.
    """

    weights: Array
    price: Array
    gap: Array
    steps: Array


class _Search(NamedTuple):
    best: Filled
    trial: Array  # [P] weights to evaluate next
    aim: Array  # their price
    known: Bracket
    least: Array  # mu* lies between these
    most: Array
    failures: Array


def gap_bound(
    terms: Terms, weights: Array, price: Array, low: Array, high: Array, ends: tuple[Array, Array] | None = None
) -> Array:
    """How much better than these weights any others can be: F* - F(w) <= gap, at a cost of one evaluation.

        gap = sum_i (s_i - mu)_+ (u_i - w_i) + (mu - s_i)_+ (w_i - l_i),   s_i = clip(mu, f_i'(w+), f_i'(w-))

    For any price mu and any weights within the bounds l, u that sum to 1, whoever found them. Clipping the price to
    the slopes on both sides of a kink is what lets the gap close there. The first sum is also bounded by what moving
    all free weight to the pool of the largest s_i would gain, (1 - sum l) max (s_i - mu)_+ - sum (s_i - mu)_+ (w_i -
    l_i), which many pools without upper bounds need.

    Args:
        terms: the functions f_i.
        weights: `[P]`.
        price: `[]` mu.
        low: `[P]` l.
        high: `[P]` u.
        ends: left and right slopes `[P]` where they are known already.

    Returns:
        `[]`, in log excess error for one law: y - y* <= (y - d)(1 - exp(-gap)).
    """
    if ends is None:
        _, left, right = slopes(terms, weights)
    else:
        left, right = ends
    left = jnp.where(weights <= low, jnp.inf, left)
    right = jnp.where(weights >= high, -jnp.inf, right)
    held = jnp.clip(price, right, left)
    over, under = jnp.maximum(held - price, 0.0), jnp.maximum(price - held, 0.0)
    each = jnp.sum(over * (high - weights))
    alone = jnp.max(over) * (1.0 - jnp.sum(low)) - jnp.sum(over * (weights - low))
    return jnp.minimum(each, jnp.maximum(alone, 0.0)) + jnp.sum(under * (weights - low))


def water_fill(terms: Terms, low: Array, high: Array) -> Filled:
    """Weights that maximise F(w) = sum_i f_i(w_i) with l_i <= w_i <= u_i and sum w = 1: the global optimum.

    Args:
        terms: concave functions f_i, as `utility_terms` makes them for b < 0 and dilution in [0, 1].
        low: `[P]` l, with sum l <= 1.
        high: `[P]` u, with sum u >= 1.

    Returns:
        `Filled`; the certificate says what was reached, whatever happened.

    Source: ours; the law is that of arXiv 2404.07177.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from qqtjax.laws import UtilityParams
        >>> from qqtjax.mix.separable import utility_terms
        >>> params = UtilityParams(scale=4e6, floor=0.1, utility=np.array([-0.16, -0.125]),
        ...                        half_life=np.array([6.727, 8.545]), reference_size=np.full(2, 12.8e6))
        >>> with jax.enable_x64(True):
        ...     best = jax.jit(water_fill)(utility_terms(params, np.full(2, 12.8e6), 64e6), jnp.zeros(2), jnp.ones(2))
        >>> [f"{weight:.6f}" for weight in best.weights], float(best.gap) < 1e-14  # 4 epochs and 1
        (['0.800000', '0.200000'], True)
    """
    eps = jnp.finfo(low.dtype).eps
    first = first_epoch(terms, high)
    widest = outermost(terms, first, low, high)
    start = _like_sizes(terms, low, high)
    infinite, zero = jnp.full((), jnp.inf, low.dtype), jnp.zeros((), low.dtype)
    none = jnp.zeros((), jnp.int32)

    def unfinished(search: _Search) -> Array:
        unit = eps * jnp.maximum(1.0, jnp.abs(search.best.price))
        stalled = (search.best.gap <= NEARLY * unit) & (search.failures >= PATIENCE)
        return (search.best.gap > CLOSED * unit) & ~stalled & (search.best.steps < MOST_STEPS)

    return lax.while_loop(
        unfinished,
        lambda search: _step(terms, first, widest, low, high, search),
        _Search(Filled(start, zero, infinite, none), start, zero, widest, -infinite, infinite, none),
    ).best


def _step(terms: Terms, first: First, widest: Bracket, low: Array, high: Array, search: _Search) -> _Search:
    """One evaluation: the certificate of the trial, and the next trial."""
    eps, tiny = jnp.finfo(low.dtype).eps, jnp.finfo(low.dtype).tiny
    # With a pull the slope at 0 is infinite.
    trial = jnp.where(terms.entropy > 0, jnp.maximum(search.trial, jnp.minimum(tiny, high)), search.trial)
    here, model = look(terms, first, trial)

    # For any feasible weights mu* lies between the least left and the largest right slope.
    weights, left, right = here
    above = jnp.max(jnp.where(weights < high, right, -jnp.inf))
    below = jnp.min(jnp.where(weights > low, left, jnp.inf))
    above, below = jnp.where(jnp.isinf(above), below, above), jnp.where(jnp.isinf(below), above, below)
    settled = jnp.isinf(above)
    above, below = jnp.where(settled, 0.0, above), jnp.where(settled, 0.0, below)
    price = jnp.clip(search.aim, jnp.minimum(above, below), jnp.maximum(above, below))
    least, most = jnp.maximum(search.least, below), jnp.minimum(search.most, above)
    least, most = jnp.minimum(least, most), jnp.maximum(least, most)

    gap = gap_bound(terms, weights, price, low, high, (left, right))
    gap = jnp.where(jnp.abs(jnp.sum(weights) - 1.0) <= OFF * eps, gap, jnp.inf)
    better = gap < search.best.gap
    best = Filled(
        weights=jnp.where(better, weights, search.best.weights),
        price=jnp.where(better, price, search.best.price),
        gap=jnp.where(better, gap, search.best.gap),
        steps=search.best.steps + 1,
    )

    known = narrowed(search.known, widest, here, price)
    width = jnp.where(best.gap > ROUGH_GAP, jnp.maximum(eps, ROUGH), eps)
    aim, trial = _summing_to_one(lambda mu: modelled(terms, model, first, known, low, high, mu), least, most, width)
    return _Search(best, trial, aim, known, least, most, jnp.where(better, 0, search.failures + 1))


def _like_sizes(terms: Terms, low: Array, high: Array) -> Array:
    """Weights in proportion to the sizes, as far as the bounds allow."""
    sizes = jnp.where(jnp.isfinite(terms.epoch), terms.epoch, 1.0)
    least = jnp.log(jnp.min(sizes)) - 1.0
    most = jnp.log(jnp.max(sizes)) + math.log(2.0 * low.shape[0])
    return _summing_to_one(lambda mu: jnp.clip(jnp.exp(-mu) * sizes, low, high), least, most, ROUGH)[1]


def _summing_to_one(
    weights: Callable[[Array], Array], least: Array, most: Array, width: Array | float
) -> tuple[Array, Array]:
    """The price at which falling weights sum to 1, and weights that do: where the sum jumps, a mean of both sides."""
    eps = jnp.finfo(least.dtype).eps
    size = jnp.maximum(jnp.abs(least), jnp.abs(most))
    none, zero = jnp.zeros((), jnp.int32), jnp.zeros((), least.dtype)

    def excess(price: Array) -> Array:
        return jnp.sum(weights(price)) - 1.0

    # A model that errs may have its price outside of where mu* must lie.
    def wider(ends: tuple) -> tuple:
        least, most, over, under, count = ends
        step = jnp.maximum(1.0, size) * eps ** (1.0 - 0.2 * count.astype(size.dtype))
        least, most = jnp.where(over < 0, least - step, least), jnp.where(under > 0, most + step, most)
        return least, most, excess(least), excess(most), count + 1

    hair = eps * size + jnp.finfo(least.dtype).tiny
    least, most = least - hair, most + hair
    least, most, over, under, _ = lax.while_loop(
        lambda ends: ((ends[2] < 0) | (ends[3] > 0)) & (ends[4] < MOST_WIDENINGS),
        wider,
        (least, most, excess(least), excess(most), none),
    )

    # Regula falsi that halves what one end keeps too long (Illinois), and every third time the bracket.
    def closer(ends: tuple) -> tuple:
        least, most, over, under, side, count = ends
        part = over / (over - under)
        part = jnp.where((count % 3 == 2) | ~jnp.isfinite(part), 0.5, jnp.clip(part, 0.0, 1.0))
        middle = least + part * (most - least)
        middle = jnp.where((middle <= least) | (middle >= most), 0.5 * (least + most), middle)
        left = excess(middle)
        exact = jnp.abs(left) <= 2 * eps
        up, down = (left >= 0) | exact, (left < 0) | exact
        return (
            jnp.where(up, middle, least),
            jnp.where(down, middle, most),
            jnp.where(up, left, jnp.where(side < 0, 0.5 * over, over)),
            jnp.where(down, left, jnp.where(side > 0, 0.5 * under, under)),
            2 * up.astype(least.dtype) - 1,
            count + 1,
        )

    least, most, *_ = lax.while_loop(
        lambda ends: (ends[1] - ends[0] > width * size) & (ends[5] < MOST_PRICES),
        closer,
        (least, most, over, under, zero, none),
    )
    much, little = weights(least), weights(most)
    room = jnp.sum(much) - jnp.sum(little)
    part = jnp.clip((1.0 - jnp.sum(little)) / jnp.where(room > 0, room, 1.0), 0.0, 1.0)
    # Every weight stays between its two sides, so within its bounds.
    mixed = jnp.clip(little + part * (much - little), little, jnp.maximum(much, little))
    return 0.5 * (least + most), mixed
