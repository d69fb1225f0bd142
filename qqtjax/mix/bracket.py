"""The weight at which each pool's slope meets a price: a model from one evaluation, iterated until it is exact.

    w_i(mu) = argmax_w f_i(w) - mu w

Inside an epoch the slope is nearly linear in log w, and at its end it falls by a known drop; a pool below one epoch
earns the same for every sample. Farther away, with K epochs, half-life tau and dilution gamma, the slope follows

    f'(w) ~ constant - beta log(1 + c w^(1 + gamma)),   the large-tau form of G, with c from the slope's own slope

A weight where the slopes were evaluated bounds w_i(mu) for good: w_i(mu) >= w for mu <= f'(w-), w_i(mu) <= w for
mu >= f'(w+), by concavity. Two such weights, one on each side of the price, bracket what the model says.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from qqtjax.mix.separable import Terms, inside, whole_epochs

MOST_RESPONSE_STEPS = 200
LARGEST_EXPONENT = 80.0  # exp of it is finite in float32


class Known(NamedTuple):
    """A weight of every pool with its slopes from the left and the right, all `[P]`."""

    weight: Array
    left: Array
    right: Array


class Bracket(NamedTuple):
    """Two known weights: f'(lower-) >= mu >= f'(upper+) at the price last tried."""

    lower: Known
    upper: Known


class First(NamedTuple):
    """The end of the first epoch, or the upper bound where that comes before, all `[P]`.

    Attributes:
        at: the weight, with the slopes there: the left one is that of every smaller weight unless there is a pull.
        entry: the price from which a pool is not drawn at all; infinite with a pull towards a reference mix.
        rate: d f' / d log w just after it.
    """

    at: Known
    entry: Array
    rate: Array


class Model(NamedTuple):
    """What one evaluation says of every pool's w(mu), all `[P]`; `start` and `end` are the kinks on both sides."""

    base: Known
    up: Array  # d f' / d log w on the right
    down: Array  # on the left
    start: Known
    end: Known
    bend: Array  # c w^(1 + gamma) at the base
    strength: Array  # beta
    power: Array  # 1 / (1 + gamma)


def pick(condition: Array, yes: Known, no: Known) -> Known:
    """One or the other, pool by pool."""
    return Known(*(jnp.where(condition, one, other) for one, other in zip(yes, no, strict=True)))


def _steepness(terms: Terms, whole: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Right slope, drop at the start of the epoch and d f' / d log w inside it, in one pass."""
    piece, tangent = jax.jvp(lambda w: inside(terms, whole, w), (weights,), (jnp.ones_like(weights),))
    return piece.slope, piece.drop, weights * tangent.slope


def _falling(rate: Array, slope: Array) -> Array:
    """A rate that is below 0 by at least what rounding makes of the slope."""
    size = jnp.maximum(jnp.abs(jnp.where(jnp.isfinite(slope), slope, 1.0)), 1e-3)
    return jnp.minimum(rate, -jnp.finfo(rate.dtype).eps * size)


def first_epoch(terms: Terms, high: Array) -> First:
    """The end of every pool's first epoch: one evaluation for a whole search."""
    reached = terms.epoch < high
    weight = jnp.where(reached, terms.epoch, jnp.maximum(high, jnp.finfo(high.dtype).tiny))
    right, drop, rate = _steepness(terms, jnp.where(reached, 1.0, 0.0), weight)
    left = right + drop
    return First(
        at=Known(weight, left, jnp.where(reached, right, -jnp.inf)),
        entry=jnp.where(terms.entropy > 0, jnp.inf, left),
        rate=_falling(rate, left),
    )


def outermost(terms: Terms, first: First, low: Array, high: Array) -> Bracket:
    """What is known of w(mu) without any search."""
    pulled = terms.entropy > 0
    nothing = Known(low, jnp.full_like(low, jnp.inf), jnp.full_like(low, jnp.inf))
    bottomless = jnp.full_like(high, -jnp.inf)
    return Bracket(pick(pulled, nothing, first.at), Known(high, bottomless, bottomless))


def look(terms: Terms, first: First, weights: Array) -> tuple[Known, Model]:
    """The slopes at these weights, those within 4 ulp of a kink set on it, and the model of w(mu) that they give.

    Args:
        terms: the functions f_i.
        first: from `first_epoch`.
        weights: `[P]`; above 0 where there is a pull.
    """
    tiny = jnp.finfo(weights.dtype).tiny
    whole, weights, kink = whole_epochs(terms, weights)
    right, drop, rate = _steepness(terms, whole, weights)
    here = Known(weights, right + jnp.where(kink, drop, 0.0), right)
    # Below one epoch nothing changes up to its end: the model starts from there.
    early = (whole == 0) & (terms.entropy == 0)
    base = pick(early, first.at, here)
    epoch = jnp.where(jnp.isfinite(terms.epoch), terms.epoch, 2.0)
    count = jnp.where(early, 1.0, whole)
    ended = kink | early
    next_drop = jnp.where(whole == 0, first.at.left - first.at.right, drop)
    next_drop = jnp.where(jnp.isfinite(next_drop), next_drop, 0.0)
    up = jnp.where(early, first.rate, _falling(rate, here.left))
    before = jnp.where(ended, count - 1.0, count)
    # In the epoch before a kink fewer epochs are lost.
    down = jnp.where(ended, _falling(up * before / count, base.left), up)
    end, start = (count + 1.0) * epoch, before * epoch
    end_left = base.right + up * jnp.log(end / base.weight)
    above = jnp.maximum(base.weight, tiny) / jnp.where(start > 0, start, 1.0)
    start_right = jnp.where(start > 0, base.left - down * jnp.log(above), jnp.inf)
    strength = jnp.sum(terms.utility, axis=0) + terms.entropy
    power = 1.0 / (1.0 + jnp.max(terms.dilution))
    share = jnp.clip((next_drop * count - up) * power / strength, 1e-9, 1.0 - 1e-3)
    model = Model(
        base=base,
        up=up,
        down=down,
        start=Known(start, start_right + next_drop, start_right),
        end=Known(end, end_left, end_left - next_drop),
        bend=share / (1.0 - share),
        strength=strength,
        power=power,
    )
    return here, model


def narrowed(bracket: Bracket, widest: Bracket, here: Known, price: Array) -> Bracket:
    """The bracket once the slopes at other weights are known; what contradicts them for this price is given up."""
    lower, upper = bracket
    more = (here.left >= price) & ((here.weight >= lower.weight) | (lower.left < price))
    less = (here.right <= price) & ((here.weight <= upper.weight) | (upper.right > price))
    lower, upper = pick(more, here, lower), pick(less, here, upper)
    crossed = lower.weight > upper.weight
    return Bracket(pick(crossed & ~more, widest.lower, lower), pick(crossed & ~less, widest.upper, upper))


def modelled(
    terms: Terms, model: Model, first: First, bracket: Bracket, low: Array, high: Array, price: Array
) -> Array:
    """The model's w(mu), `[P]`, within everything known of it; it does not rise with the price.

    Args:
        terms: the functions f_i.
        model: from `look`.
        first: from `first_epoch`.
        bracket: what is known.
        low: `[P]` l.
        high: `[P]` u.
        price: `[]` or `[P]` mu.
    """
    base, start, end = model.base, model.start, model.end
    more, less = price < base.right, price > base.left
    beyond, behind = price < end.right, price > start.left
    far = beyond | behind
    slope = jnp.where(more, base.right, base.left)
    rate = jnp.where(far, -model.strength, jnp.where(more, -model.up, -model.down))
    grown = jnp.exp(jnp.clip((slope - price) / jnp.abs(rate), -LARGEST_EXPONENT, LARGEST_EXPONENT))
    # Inside the epoch.
    near_weight = jnp.where(more, jnp.minimum(base.weight * grown, end.weight), base.weight)
    near_weight = jnp.where(less, jnp.maximum(base.weight * grown, start.weight), near_weight)
    # Beyond it, at the nearest kink.
    inner = ((1.0 + model.bend) * grown - 1.0) / model.bend
    ratio = jnp.where(inner > 0, jnp.exp(model.power * jnp.log(jnp.where(inner > 0, inner, 1.0))), 0.0)
    far_weight = base.weight * ratio
    epoch = jnp.where(jnp.isfinite(terms.epoch), terms.epoch, 1.0)
    whole = jnp.round(far_weight / epoch)
    far_weight = jnp.where(whole >= 1, whole * epoch, far_weight)
    far_weight = jnp.where(beyond, jnp.maximum(far_weight, end.weight), jnp.minimum(far_weight, start.weight))
    weight = jnp.where(far, far_weight, near_weight)
    # What is known for certain.
    lower, upper = bracket
    floor = jnp.where(price <= first.at.left, first.at.weight, 0.0)
    floor = jnp.where(terms.entropy > 0, 0.0, floor)
    floor = jnp.maximum(floor, jnp.where(price <= lower.left, lower.weight, 0.0))
    floor = jnp.maximum(floor, jnp.where(price < upper.right, upper.weight, 0.0))
    roof = jnp.where(price >= upper.right, upper.weight, high)
    roof = jnp.minimum(roof, jnp.where(price > lower.left, lower.weight, high))
    weight = jnp.where(price >= first.entry, 0.0, jnp.clip(weight, floor, jnp.maximum(roof, floor)))
    return jnp.clip(weight, low, high)


def respond(terms: Terms, low: Array, high: Array, prices: Array) -> Array:
    """The best weight of each pool at its own price, w_i(mu_i), within l_i and u_i; they need not sum to anything.

    Args:
        terms: the functions f_i.
        low: `[P]` l.
        high: `[P]` u.
        prices: `[P]` mu_i.

    Returns:
        `[P]` weights; where every weight up to one epoch is as good, the least.
    """
    eps, tiny = jnp.finfo(low.dtype).eps, jnp.finfo(low.dtype).tiny
    first = first_epoch(terms, high)
    widest = outermost(terms, first, low, high)
    least = jnp.where(terms.entropy > 0, jnp.maximum(low, tiny), low)

    def step(state: tuple) -> tuple:
        trial, settled, bracket, steps = state
        here, model = look(terms, first, trial)
        bracket = narrowed(bracket, widest, here, prices)
        aim = modelled(terms, model, first, bracket, least, high, prices)
        # A third of the steps halve the bracket, whatever the model says.
        middle = 0.5 * (bracket.lower.weight + bracket.upper.weight)
        whole = jnp.round(middle / terms.epoch)
        kink = whole * jnp.where(whole >= 1, terms.epoch, 1.0)
        inner = (kink > bracket.lower.weight) & (kink < bracket.upper.weight)
        halved = jnp.clip(jnp.where(inner, kink, middle), least, high)
        aim = jnp.where((steps % 3 == 2) & (aim > least) & (aim < high), halved, aim)
        found = (prices <= here.left) & (prices >= here.right)
        close = jnp.abs(aim - trial) <= 2 * eps * trial
        settled = settled | found | close
        return jnp.where(settled, here.weight, aim), settled, bracket, steps + 1

    start = jnp.clip(jnp.minimum(first.at.weight, high), least, high)
    state = (start, low >= high, widest, jnp.zeros((), jnp.int32))
    return lax.while_loop(lambda state: ~jnp.all(state[1]) & (state[3] < MOST_RESPONSE_STEPS), step, state)[0]
