"""The best weights and the best error as functions of everything they depend on: derivatives without the search.

At the optimum every pool is held by one of: a bound l or u, a kink k N / n at the end of an epoch, or the price mu,
f_i'(w_i) = mu (`mix.water_filling`). A small change d of the parameters, sizes, budget and bounds keeps what holds it:

    dw_i = dl_i, du_i or k_i d(N_i / n)                                      held by a bound or a kink
    dw_i = (dmu - d f_i') / f_i''                                            free, d f_i' at the weight as it is
    dmu  = (sum_free d f_i' / f_i'' - sum_held dw_i) / sum_free 1 / f_i''    for the sum of the weights stays 1

    dF*  = sum_i d f_i at the weights as they are + sum_held (f_i' - mu) dw_i       (envelope theorem)

In its first epoch f_i is a straight line, f_i'' = 0: that pool takes what the others leave, and mu is its slope.
The rules are written once, for first derivatives, in terms of the optimum itself, so that JAX can differentiate them
again: higher derivatives are exact as well.

Where nothing is free (all at bounds or kinks, such as the published pools at 64M samples) the price is an interval,
from the largest right slope of the pools that can grow to the smallest left slope of those that can shrink, and
derivatives are one-sided. Those here are for changes that free some weight, sum_held dw_i <= 0: more samples seen,
smaller pools, lower bounds; the price is the lower end, the slope of the pool that takes the weight. Changes that
move no held weight (utility, half-life, scale, floor, dilution) have the same derivatives of the error either way.
`mix.prices` has both sides. Source: ours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.mix.separable import Terms, curvature, inside, utility_terms, whole_epochs
from qqtjax.mix.water_filling import water_fill

AT_BOUND = 16  # ulps of 1: rounding in the sum of the weights may leave so much on a pool that gets nothing


class Held(NamedTuple):
    """What holds every pool at its best weight.

    Attributes:
        weights: `[P]`, exactly on the bounds or, where both are within 4 ulps, the kinks.
        whole: `[P]` whole epochs, one less than begun for a pool that can only shrink and marks the price.
        kink: `[P]` bool, at the end of an epoch.
        at_low: `[P]` bool.
        at_high: `[P]` bool; an upper bound of 1 or more holds nothing.
        left: `[P]` left slope of f_i.
        right: `[P]` right slope; the same off kinks.
        bend: `[P]` f_i'' <= 0 inside the epoch.
        free: `[P]` bool: held by the price alone. Where none is, the one pool that takes weight as it comes free.
        pivot: `[P]` bool: the free pool with the least curvature.
        least: `[]` lower end of the interval of prices.
        most: `[]` its upper end; the same where some pool is free, infinite where no pool could give or take weight.
        price: `[]` the slope of the free pools: `least`, or `most` where that is infinite.
    """

    weights: Array
    whole: Array
    kink: Array
    at_low: Array
    at_high: Array
    left: Array
    right: Array
    bend: Array
    free: Array
    pivot: Array
    least: Array
    most: Array
    price: Array


def held(terms: Terms, weights: Array, low: Array, high: Array) -> Held:
    """What holds every pool at the best weights.

    Args:
        terms: the functions f_i.
        weights: `[P]`, the best within the bounds, to a few ulps.
        low: `[P]` lower bounds.
        high: `[P]` upper bounds.
    """
    close = AT_BOUND * jnp.finfo(weights.dtype).eps
    at_low = weights <= low + close
    at_high = (weights >= high - close) & (high < 1)
    weights = jnp.where(at_low, low, jnp.where(at_high, high, weights))
    whole, weights, kink = whole_epochs(terms, weights)
    piece = inside(terms, whole, weights)
    left, right = piece.slope + jnp.where(kink, piece.drop, 0.0), piece.slope
    inner = ~(at_low | at_high | kink)
    settled = jnp.any(inner)

    rises = jnp.where(at_high, -jnp.inf, right)
    falls = jnp.where(at_low, jnp.inf, left)
    full = ~settled & jnp.all(at_high)
    taker = jnp.arange(weights.shape[0]) == jnp.where(full, jnp.argmin(falls), jnp.argmax(rises))
    free = jnp.where(settled, inner, taker)
    own = jnp.where(free & full & kink, whole - 1.0, whole)
    slope = jnp.where(free & full, left, right)
    bend = jnp.minimum(curvature(terms, own, weights), 0.0)
    pivot = free & (jnp.arange(weights.shape[0]) == jnp.argmax(jnp.where(free, bend, -jnp.inf)))
    share = _shares(free, pivot, bend)
    price = jnp.sum(share * jnp.where(free, slope, 0.0))
    return Held(
        weights=weights,
        whole=own,
        kink=kink,
        at_low=at_low,
        at_high=at_high,
        left=left,
        right=right,
        bend=bend,
        free=free,
        pivot=pivot,
        least=jnp.where(settled, price, jnp.max(rises)),
        most=jnp.where(settled, price, jnp.min(falls)),
        price=price,
    )


def _shares(free: Array, pivot: Array, bend: Array) -> Array:
    """1 / f_i'' of the free pools over their sum: what each takes of a weight that comes free, `[P]`."""
    curved = bend < 0
    ratio = jnp.sum(jnp.where(pivot, bend, 0.0)) / jnp.where(curved, bend, -1.0)
    ratio = jnp.where(pivot, 1.0, jnp.where(free & curved, ratio, 0.0))
    return ratio / jnp.sum(ratio)


def _tied(at: Held, terms: Terms, low: Array, high: Array) -> Array:
    """Change `[P]` of the weights held by bounds and kinks, from those of the terms and bounds; 0 for the free ones."""
    moved = jnp.where(at.at_low, low, jnp.where(at.at_high, high, at.whole * terms.epoch))
    return jnp.where(at.free, 0.0, moved)


@jax.custom_jvp
def best_point(terms: Terms, low: Array, high: Array) -> tuple[Array, Array]:
    """Best weights `[P]` and their price `[]` for any concave functions f_i, differentiable in all arguments."""
    at = held(terms, water_fill(terms, low, high).weights, low, high)
    return at.weights, at.price


@best_point.defjvp
def _best_point_jvp(primals: tuple, tangents: tuple) -> tuple:
    terms, low, high = primals
    weights, price = best_point(terms, low, high)
    at = held(terms, weights, low, high)
    tied = _tied(at, *tangents)
    turned = jax.jvp(lambda one: inside(one, at.whole, weights).slope, (terms,), (tangents[0],))[1]
    bend = jnp.sum(jnp.where(at.pivot, at.bend, 0.0))
    share = _shares(at.free, at.pivot, at.bend)
    risen = jnp.sum(share * turned) - bend * jnp.sum(jnp.where(at.pivot, share, 0.0)) * jnp.sum(tied)
    curved = at.free & ~at.pivot & (at.bend < 0)
    moved = jnp.where(curved, (risen - turned) / jnp.where(curved, at.bend, -1.0), tied)
    moved = jnp.where(at.pivot, -jnp.sum(jnp.where(at.pivot, 0.0, moved)), moved)
    return (weights, price), (moved, risen)


def best_value(terms: Terms, low: Array, high: Array) -> Array:
    """F* = max F, `[]`, for any concave functions f_i, differentiable in all arguments."""
    return value_at(terms, low, high, *best_point(terms, low, high))


@jax.custom_jvp
def value_at(terms: Terms, low: Array, high: Array, weights: Array, price: Array) -> Array:
    """F* from a best point that is there already, `[]`; its derivatives are those of the whole search."""
    return jnp.sum(inside(terms, held(terms, weights, low, high).whole, weights).value)


@value_at.defjvp
def _value_at_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    terms, low, high, weights, price = primals
    at = held(terms, weights, low, high)
    # The envelope theorem: what the free weights do counts for nothing.
    tied = _tied(at, *tangents[:3])
    kept = jax.jvp(lambda one: jnp.sum(inside(one, at.whole, weights).value), (terms,), (tangents[0],))[1]
    slope = inside(terms, at.whole, weights).slope
    return value_at(*primals), kept + jnp.sum(jnp.where(at.free, 0.0, (slope - price) * tied))


def best_weights(
    params: Any, sizes: ArrayLike, samples_seen: ArrayLike, low: ArrayLike, high: ArrayLike
) -> tuple[Array, Array]:
    """The weights that minimise the error of `laws.utility` at one budget, and their price mu.

        w* = argmin y(w, n)   over   l_i <= w_i <= u_i,  sum_i w_i = 1;      mu = -d log(y* - d) / d(sum of weights)

    A pure function: `jit`, `vmap`, `grad` and `jacobian` apply. Derivatives in every parameter, the sizes, the budget
    and the bounds are exact while each pool keeps what holds it (module docstring). They jump where a pool enters or
    leaves, or meets a bound or the end of an epoch; there, and where no pool is free, they are one-sided. Of pools in
    their first epoch with the same slope the optimum does not say which to draw from: one takes the changes.

    A limit r on epochs is a bound that moves: pass it as a function of the sizes and the budget, inside what is
    differentiated, so that its derivative counts (`high = r * sizes / samples_seen`, as in the example).

    Args:
        params: `UtilityParams` with every utility below 0, dilution in [0, 1], no decay shape and one floor.
        sizes: `[P]` unique samples N_i; `inf` where repetition is unknown.
        samples_seen: `[]` n.
        low: `[P]` or `[]` l, with sum l <= 1.
        high: `[P]` or `[]` u, with sum u >= 1.

    Returns:
        weights `[P]` and price `[]`, in the caller's precision: float64 under `jax.enable_x64(True)`.

    Raises:
        InputError: a decay shape, or a floor per pool.

    Source: ours, for the law of arXiv 2404.07177.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> def weights(n, most=50.0):
        ...     sizes = jnp.asarray(paper.pools.sizes)
        ...     return best_weights(paper.params, sizes, n, 0.0, jnp.minimum(1.0, most * sizes / n))[0]
        >>> with jax.enable_x64(True):
        ...     found, per_sample = jax.device_get(jax.jit(lambda n: jax.jvp(weights, (n,), (1.0,)))(2e9))
        >>> found.round(3).tolist(), (2e9 * per_sample).round(3).tolist()  # at 50 epochs two pools shrink as 1 / n
        ([0.32, 0.32, 0.239, 0.121], [-0.32, -0.32, 0.359, 0.281])
    """
    return best_point(*_problem(params, sizes, samples_seen, low, high))


def best_error(params: Any, sizes: ArrayLike, samples_seen: ArrayLike, low: ArrayLike, high: ArrayLike) -> Array:
    """The least error of `laws.utility` that any weights within the bounds reach at one budget.

        y* = d + exp(-F*),   F* = max_w sum_i f_i(w_i)

    A pure function: `jit`, `vmap`, `grad` and `jacobian` apply; its derivatives are those of `best_weights`, and jump
    only where bounds or kinks leave no pool free, which are kinks of y* itself.

    Args:
        params: as in `best_weights`, whose note on limits on epochs holds here too.
        sizes: `[P]` N_i, samples.
        samples_seen: `[]` n.
        low: `[P]` or `[]`.
        high: `[P]` or `[]`.

    Returns:
        `[]` error in the unit of the measured metric.

    Raises:
        InputError: a decay shape, or a floor per pool.

    Source: ours, for the law of arXiv 2404.07177.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> with jax.enable_x64(True):
        ...     both = jax.value_and_grad(lambda sizes: best_error(paper.params, sizes, 128e6, 0.0, 1.0))
        ...     error, per_sample = jax.device_get(jax.jit(both)(paper.pools.sizes))
        >>> print(f"{error:.4f}", [f"{each:.4f}" for each in per_sample * paper.pools.sizes])
        0.7183 ['-0.0395', '-0.0032', '0.0000', '0.0000']
    """
    return jnp.asarray(params.floor) + jnp.exp(-best_value(*_problem(params, sizes, samples_seen, low, high)))


def _problem(
    params: Any, sizes: ArrayLike, samples_seen: ArrayLike, low: ArrayLike, high: ArrayLike
) -> tuple[Terms, Array, Array]:
    if params.decay_shape is not None:
        raise InputError("decay_shape is set: expected None, for the optimum is proved for the geometric decay only")
    if jnp.ndim(params.floor):
        raise InputError(f"floor of shape {jnp.shape(params.floor)}: expected one floor shared by all pools")
    terms = utility_terms(params, jnp.asarray(sizes), jnp.asarray(samples_seen))
    dtype, shape = terms.epoch.dtype, terms.epoch.shape
    terms = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), terms)
    return terms, jnp.broadcast_to(jnp.asarray(low, dtype), shape), jnp.broadcast_to(jnp.asarray(high, dtype), shape)
