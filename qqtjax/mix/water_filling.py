"""The best weights under bounds per pool, by one price for all pools: exact at kinks, with a proof of optimality.

At the optimum of F = sum_i f_i(w_i), sum_i w_i = 1, one price mu lies between the right and the left slope of every
pool's f_i (or beyond them at a bound), so that the search is for one number:

    S(mu) = sum_i w_i(mu),   w_i(mu) = argmax f_i(w) - mu w,   S falls with mu;   S(mu*) = 1

First every weight is bracketed down to one epoch. The searches for mu and for each w_i(mu) share one loop with one
evaluation of all slopes a step; a price is given up as soon as the brackets of the weights show on which side of 1
their sum lies, and the next price inherits them. Inside the epochs F is smooth, and Newton's method ends the search.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from qqtjax.mix.bracket import End, at_price, between, choose, past, settled, squeeze, straight, whole_range
from qqtjax.mix.separable import Terms, curvature, inside, slopes, whole_epochs

MOST_STEPS, MOST_NEWTON_STEPS = 300, 30
MODEL_STEPS = 6
HALVINGS = 56
NEAR = 0.25
SLOW = 1e-3  # against the pool whose weight follows the price fastest


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


class _State(NamedTuple):
    """Brackets of w* (low, high), of w(mu) (near, far) and of mu* (least, most)."""

    low: End
    high: End
    near: End
    far: End
    side: Array  # [P] which end of w(mu) moved last: 1 the lower, -1 the upper
    again: Array  # [P] how often in a row
    least: Array
    most: Array
    price: Array
    turn: Array  # which end of mu moved last
    turns: Array  # how often in a row
    steps: Array
    done: Array


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
    """
    state = lax.while_loop(
        lambda state: ~state.done & (state.steps < MOST_STEPS),
        lambda state: _step(terms, state),
        _begin(terms, low, high),
    )
    return _polish(terms, low, high, state)


def _begin(terms: Terms, low: Array, high: Array) -> _State:
    bottom, top = whole_range(terms, low, high)
    fixed = bottom.weight >= top.weight
    # A pull towards a reference mix has an infinite slope at 0: some pool has 1 / P or more.
    share = jnp.clip(1.0 / low.shape[0], low, high)
    finite = jnp.where(jnp.isinf(bottom.slope), slopes(terms, share)[1], bottom.slope)
    most = jnp.max(jnp.where(fixed, -jnp.inf, finite))
    least = jnp.min(jnp.where(fixed, jnp.inf, top.slope))
    alone = jnp.all(fixed)
    least, most = jnp.where(alone, 0.0, least), jnp.where(alone, 0.0, most)
    # A hair wider, so that mu* lies strictly between them.
    hair = jnp.finfo(low.dtype).eps * jnp.maximum(jnp.abs(least), jnp.abs(most)) + jnp.finfo(low.dtype).tiny
    least, most = least - hair, jnp.maximum(least, most) + hair
    price = _next_price(bottom, top, least, most, jnp.zeros(()), jnp.zeros(()))
    near, far = at_price(bottom, top, price)
    blank, zero = jnp.zeros_like(low), jnp.zeros((), low.dtype)
    return _State(
        low=bottom,
        high=top,
        near=near,
        far=far,
        side=blank,
        again=blank,
        least=least,
        most=most,
        price=price,
        turn=zero,
        turns=zero,
        steps=jnp.zeros((), jnp.int32),
        done=alone,
    )


def _pruned(low: End, high: End, least: Array, most: Array) -> tuple[End, End]:
    """Brackets of w* for a price strictly between these: a pool whose slope at one end is out of reach stays there."""
    at_low = low.slope <= least
    at_high = ~at_low & (high.slope >= most)
    return choose(at_high, high, low), choose(at_low, low, high)


def _next_price(low: End, high: End, least: Array, most: Array, turn: Array, turns: Array) -> Array:
    """The model's price, or that of the nearest straight line: there the sum of the weights jumps."""
    price = past(_model_price(low, high, least, most), least, most, turn, turns)
    line = straight(low, high) & (low.slope > least) & (low.slope < most)
    away = jnp.where(line, jnp.abs(low.slope - price), jnp.inf)
    nearest = jnp.argmin(away)
    return jnp.where(away[nearest] <= NEAR * (most - least), low.slope[nearest], price)


def _model_price(low: End, high: End, least: Array, most: Array) -> Array:
    """The price at which the weights would sum to 1 if every slope were linear between its ends."""

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        below, above = ends
        price = 0.5 * (below + above)
        much = jnp.sum(between(low, high, price)) > 1.0
        return jnp.where(much, price, below), jnp.where(much, above, price)

    below, above = lax.fori_loop(0, MODEL_STEPS, halve, (least, most), unroll=True)
    much, little = jnp.sum(between(low, high, below)), jnp.sum(between(low, high, above))
    fall = much - little
    part = jnp.where(fall > 0, (much - 1.0) / jnp.where(fall > 0, fall, 1.0), 0.5)
    return below + jnp.clip(part, 0.0, 1.0) * (above - below)


def _step(terms: Terms, state: _State) -> _State:
    near, far, price = state.near, state.far, state.price
    tiny = jnp.finfo(price.dtype).eps
    near, far, side, again = squeeze(terms, near, far, price, state.side, state.again)

    # On which side of 1 is their sum?
    sum_near, sum_far = jnp.sum(near.weight), jnp.sum(far.weight)
    too_low, too_high = sum_near > 1.0, sum_far < 1.0
    stuck = ~too_low & ~too_high & jnp.all(settled(near, far, price))
    decided = too_low | too_high
    least, most = jnp.where(too_low, price, state.least), jnp.where(too_high, price, state.most)
    low, high = choose(too_high, near, state.low), choose(too_low, far, state.high)
    low, high = _pruned(low, high, least, most)
    low, high = choose(stuck, near, low), choose(stuck, far, high)
    least, most = jnp.where(stuck, price, least), jnp.where(stuck, price, most)
    turn = jnp.where(too_low, 1.0, jnp.where(too_high, -1.0, state.turn))
    turns = jnp.where(decided, jnp.where(turn == state.turn, state.turns + 1.0, 0.0), state.turns)
    price = jnp.where(decided, _next_price(low, high, least, most, turn, turns), price)
    fresh = at_price(low, high, price)
    near, far = choose(decided, fresh[0], near), choose(decided, fresh[1], far)

    # Down to one epoch each, or to kinks that differ by nothing.
    spread = jnp.where(high.weight > low.weight, (low.slope - high.slope) * (high.weight - low.weight), 0.0)
    small = spread <= tiny * jnp.maximum(1.0, jnp.abs(price)) / low.weight.shape[0]
    narrow = most - least <= 2 * tiny * jnp.maximum(jnp.abs(most), jnp.abs(least))
    return _State(
        low=low,
        high=high,
        near=near,
        far=far,
        side=jnp.where(decided, 0.0, side),
        again=jnp.where(decided, 0.0, again),
        least=least,
        most=most,
        price=price,
        turn=turn,
        turns=turns,
        steps=state.steps + 1,
        done=stuck | narrow | jnp.all((high.whole <= low.whole) | small),
    )


class _Polish(NamedTuple):
    weights: Array
    trial: Array
    aim: Array
    price: Array
    gap: Array
    steps: Array
    failures: Array


def _polish(terms: Terms, low: Array, high: Array, state: _State) -> Filled:
    """Newton's method on the sum of the weights inside the epochs that the brackets leave."""
    tiny = jnp.finfo(low.dtype).eps
    bottom, top = state.low, state.high
    room = jnp.sum(top.weight - bottom.weight)
    part = jnp.clip((1.0 - jnp.sum(bottom.weight)) / jnp.where(room > 0, room, 1.0), 0.0, 1.0)
    mixed = bottom.weight + part * (top.weight - bottom.weight)

    def step(now: _Polish) -> _Polish:
        whole, weights, kink = whole_epochs(terms, now.trial)
        piece = inside(terms, whole, weights)
        left = piece.slope + jnp.where(kink, piece.drop, 0.0)
        # Inside the bracket's own epoch, whichever of its ends the trial lies on.
        own = jnp.minimum(bottom.whole, whole)
        slope = jnp.where(kink & (whole > bottom.whole), left, piece.slope)
        bend = jnp.minimum(curvature(terms, own, weights), 0.0)
        free = top.weight > bottom.weight
        flat = tiny * jnp.max(jnp.where(free, jnp.abs(slope), 0.0)) + jnp.finfo(low.dtype).tiny
        straight = free & (-bend <= flat)
        pace = jnp.where(free, 1.0 / jnp.maximum(-bend, flat), 0.0)

        def moved(price: Array) -> Array:
            return jnp.clip(now.trial + (slope - price) * pace, bottom.weight, top.weight)

        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = 0.5 * (ends[0] + ends[1])
            much = jnp.sum(moved(middle)) > 1.0
            return jnp.where(much, middle, ends[0]), jnp.where(much, ends[1], middle)

        # The price of the trial: that of the weights inside their epochs, as far as all one-sided slopes allow it.
        inner = free & (now.trial > bottom.weight) & (now.trial < top.weight)
        used = jnp.sum(jnp.where(inner, pace, 0.0))
        price = jnp.sum(jnp.where(inner, pace * slope, 0.0)) / jnp.where(used > 0, used, 1.0)
        price = jnp.where(used > 0, price, now.aim)
        above = jnp.max(jnp.where(now.trial < high, piece.slope, -jnp.inf))
        below = jnp.min(jnp.where(now.trial > low, left, jnp.inf))
        price = jnp.clip(price, jnp.minimum(above, below), jnp.maximum(above, below))
        gap = gap_bound(terms, now.trial, price, low, high, (left, piece.slope))
        better = gap < now.gap
        ends = lax.fori_loop(0, HALVINGS, halve, (state.least, state.most))
        aim = 0.5 * (ends[0] + ends[1])
        trial = moved(aim)
        # What a jump or rounding left over goes to the pools that a price moves most.
        left_over = 1.0 - jnp.sum(trial)
        slack = jnp.where(left_over > 0, top.weight - trial, trial - bottom.weight)
        jumps = straight & (jnp.abs(slope - aim) <= 4 * flat)
        within = jumps | (~straight & (trial > bottom.weight) & (trial < top.weight))
        quick = jnp.where(within & (pace >= SLOW * jnp.max(jnp.where(within, pace, 0.0))), slack, 0.0)
        slack = jnp.where(jnp.sum(quick) >= jnp.abs(left_over), quick, slack)
        given = jnp.sum(slack)
        trial = jnp.clip(trial + left_over * slack / jnp.where(given > 0, given, 1.0), bottom.weight, top.weight)
        return _Polish(
            weights=jnp.where(better, now.trial, now.weights),
            trial=trial,
            aim=aim,
            price=jnp.where(better, price, now.price),
            gap=jnp.where(better, gap, now.gap),
            steps=now.steps + 1,
            failures=jnp.where(better, 0, now.failures + 1),
        )

    def unfinished(now: _Polish) -> Array:
        open_gap = now.gap > tiny * jnp.maximum(1.0, jnp.abs(now.price))
        return open_gap & (now.steps < MOST_NEWTON_STEPS) & (now.failures < 3)

    infinite = jnp.full((), jnp.inf, low.dtype)
    zero = jnp.zeros((), jnp.int32)
    found = lax.while_loop(
        lambda now: (
            (now.steps < MOST_NEWTON_STEPS)
            & (now.gap > tiny * jnp.maximum(1.0, jnp.abs(now.price)))
            & (now.failures < 3)
        ),
        step,
        _Polish(mixed, mixed, state.price, state.price, infinite, zero, zero),
    )
    return Filled(found.weights, found.price, found.gap, state.steps + found.steps)
