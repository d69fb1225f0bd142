"""The weight at which one pool's slope meets a price: bracketed for all pools at once, exact at kinks.

    w_i(mu) = argmax_w f_i(w) - mu w

An end of a bracket knows the epoch on its inner side and the slope there; a trial on a kink is given as a whole number
of epochs, so that the slopes on both sides of it come from one evaluation and w = k N / n is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from qqtjax.mix.separable import Terms, inside, whole_epochs

MOST_RESPONSE_STEPS = 200


class End(NamedTuple):
    """One end of every pool's bracket: the weight, the epoch inside the bracket next to it, the slope towards it."""

    weight: Array
    whole: Array
    slope: Array


def choose(condition: Array, yes: End, no: End) -> End:
    """Ends of one bracket or another, pool by pool."""
    return End(*(jnp.where(condition, one, other) for one, other in zip(yes, no, strict=True)))


def between(near: End, far: End, price: Array) -> Array:
    """Where the slope equals the price if it is linear in the weight between both ends, `[P]`."""
    fall = near.slope - far.slope
    part = jnp.where(fall > 0, (near.slope - price) / jnp.where(fall > 0, fall, 1.0), 0.5)
    part = jnp.clip(jnp.where(jnp.isfinite(near.slope), part, 0.5), 0.0, 1.0)
    return near.weight + part * (far.weight - near.weight)


def past(guess: Array, low: Array, high: Array, side: Array, again: Array) -> Array:
    """A guess, or where one end alone keeps moving a double step past it, then the middle: the other end must move."""
    end = jnp.where(side > 0, low, high)
    double = jnp.clip(2.0 * guess - end, low, high)
    return jnp.where(again >= 2, 0.5 * (low + high), jnp.where(again >= 1, double, guess))


def straight(low: End, high: End) -> Array:
    """Is f_i a straight line between both ends: the first epoch."""
    return (high.weight > low.weight) & (low.slope == high.slope)


def settled(near: End, far: End, price: Array) -> Array:
    """Is there nothing more to search: one point, or a straight line at its own price, every weight of it as good."""
    return (near.weight >= far.weight) | (straight(near, far) & (near.slope == price))


def whole_range(terms: Terms, low: Array, high: Array) -> tuple[End, End]:
    """The bracket from l to u, with the slopes at its ends."""
    whole, low, _ = whole_epochs(terms, low)
    bottom = End(low, whole, inside(terms, whole, low).slope)
    whole, high, kink = whole_epochs(terms, high)
    whole = jnp.where(kink, whole - 1.0, whole)
    top = End(high, whole, inside(terms, whole, high).slope)
    return bottom, choose(low >= high, bottom, top)


def at_price(low: End, high: End, price: Array) -> tuple[End, End]:
    """Brackets of w(mu) from those of w*; open where every weight between its ends is as good."""
    jump = straight(low, high) & (low.slope == price)
    at_low = (low.slope <= price) & ~jump
    at_high = ~at_low & (high.slope >= price) & ~jump
    return choose(at_high, high, low), choose(at_low, low, high)


def squeeze(
    terms: Terms, near: End, far: End, price: Array, side: Array, again: Array
) -> tuple[End, End, Array, Array]:
    """One evaluation of all slopes, by which every bracket of w(mu) that is not settled shrinks.

    Args:
        terms: the functions f_i.
        near: lower ends, where the slope is above the price.
        far: upper ends, where it is below.
        price: `[]` or `[P]` mu.
        side: `[P]` which end moved last: 1 the lower, -1 the upper, 0 neither.
        again: `[P]` how often in a row.

    Returns:
        `near`, `far`, `side` and `again` afterwards.
    """
    tiny = jnp.finfo(near.weight.dtype).eps
    # One trial weight a pool: at a whole epoch where the bracket holds one, else inside the epoch.
    done = settled(near, far, price)
    guess = past(between(near, far, price), near.weight, far.weight, side, again)
    on_kink = (far.whole > near.whole) & ~done
    epochs = jnp.clip(jnp.round(guess / terms.epoch), near.whole + 1.0, far.whole)
    whole = jnp.where(on_kink, epochs, near.whole)
    weight = jnp.where(on_kink, whole * jnp.where(on_kink, terms.epoch, 1.0), guess)
    piece = inside(terms, whole, weight)
    right, left = piece.slope, piece.slope + jnp.where(on_kink, piece.drop, 0.0)
    # The first epoch is a straight line: no rounding between its ends.
    line = on_kink & (whole == 1.0) & (terms.entropy == 0)
    left = jnp.where(line, near.slope, left)

    # Brackets of w(mu).
    up, down = ~done & (right > price), ~done & ((left < price) | (line & (left == price)))
    here = ~done & ~up & ~down
    below, above = End(weight, whole, right), End(weight, jnp.where(on_kink, whole - 1.0, whole), left)
    near, far = choose(up | here, below, near), choose(down | here, above, far)
    closed = ~done & (far.whole <= near.whole) & (far.weight - near.weight <= 2 * tiny * far.weight)
    near, far = choose(closed & up, far, near), choose(closed & down, near, far)
    moved = jnp.where(up, 1.0, jnp.where(down, -1.0, 0.0))
    again = jnp.where((moved == side) & (moved != 0), again + 1.0, 0.0)
    return near, far, moved, again


def respond(terms: Terms, low: Array, high: Array, prices: Array) -> Array:
    """The best weight of each pool at its own price, w_i(mu_i), within l_i and u_i; they need not sum to anything.

    Args:
        terms: the functions f_i.
        low: `[P]` l.
        high: `[P]` u.
        prices: `[P]` mu_i.

    Returns:
        `[P]` weights.
    """
    near, far = at_price(*whole_range(terms, low, high), prices)
    blank = jnp.zeros_like(low)

    def unsettled(state: tuple) -> Array:
        near, far, _, _, steps = state
        return ~jnp.all(settled(near, far, prices)) & (steps < MOST_RESPONSE_STEPS)

    def step(state: tuple) -> tuple:
        near, far, side, again, steps = state
        return *squeeze(terms, near, far, prices, side, again), steps + 1

    near, far, *_ = lax.while_loop(unsettled, step, (near, far, blank, blank, jnp.zeros((), jnp.int32)))
    return jnp.where(settled(near, far, prices), near.weight, 0.5 * (near.weight + far.weight))
