"""Shadow prices of the best mix in the user's units: what more data, more compute or a better pool would change.

By the envelope theorem the derivative of y* = d + exp(-F*) is that of the law at the best weights and their price mu:

    dF*/dlog N_i   = f_i - mu w_i                              Nref_i held: the half-life stays as measured
    dF*/dlog n     = sum_i w_i (beta_i delta_i^k + [kink or limit on epochs] (mu - f_i'))
    dF*/dlog tau_i = w_i beta_i Q1_i,    dF*/db_i = -w_i G_i,    dy* = -(y* - d) dF*

with f_i' of a pool held by a fixed bound in place of mu in the first. Without limits F* = mu + sum_i dF*/dlog N_i.
Where no pool is free (`mix.optimum`) mu is an interval and F* has a kink in the sizes and the budget: it has the
upper end of the interval as its price on the side where held weights grow (larger pools, a smaller budget), the
lower end on the other. Source: ours, for the law of arXiv 2404.07177.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw
from qqtjax.laws.utility import UtilityParams, utility
from qqtjax.mix.asked import check_numbers, numbers
from qqtjax.mix.collisions import largest_budget, refuse_empty
from qqtjax.mix.constraints import Constraints
from qqtjax.mix.feasible import Feasible
from qqtjax.mix.optimum import Held, best_error, best_point, held
from qqtjax.mix.separable import inside, utility_terms, whole_epochs
from qqtjax.runs import Pools

FIRST_SAMPLES = 1e-9  # of the budget: so small a pool moves no price
MOST_COMPUTE = 40  # doublings of the budget within which compute must match a new pool


class Sides(NamedTuple):
    """A derivative from below and from above: the same number twice but at a kink of the best error.

    Attributes:
        left: from below: of the last one that is there.
        right: from above: of the first one more.
    """

    left: np.ndarray
    right: np.ndarray


class Prices(NamedTuple):
    """Derivatives of the best error y* at one budget; a negative one is a gain. P pools.

    Attributes:
        weights: `[P]` the best weights.
        error: `[]` y*.
        price: `[]` mu, -dlog(y* - d) for one more unit of weight; at a kink just below and just above the budget.
        price_error: `[]` the same in error, -(y* - d) mu.
        size: `[P]` dy*/dN_i, error per unique sample of the pool, with the half-life held.
        log_size: `[P]` dy*/dlog N_i.
        budget: `[]` dy*/dn, error per sample seen; infinite to the right where the limits on epochs allow no more.
        log_budget: `[]` dy*/dlog n.
        half_life: `[P]` dy*/dtau_i, error per epoch.
        log_half_life: `[P]` dy*/dlog tau_i.
        utility: `[P]` dy*/db_i.
    """

    weights: np.ndarray
    error: float
    price: Sides
    price_error: Sides
    size: Sides
    log_size: Sides
    budget: Sides
    log_budget: Sides
    half_life: np.ndarray
    log_half_life: np.ndarray
    utility: np.ndarray


class NewPool(NamedTuple):
    """A pool that nobody has measured, by assumption.

    Attributes:
        utility: b < 0.
        half_life: tau, epochs, of `reference_size` samples trained alone.
        reference_size: Nref, samples.
    """

    utility: float
    half_life: float
    reference_size: float


class _Point(NamedTuple):
    at: Held
    value: Array  # [P] f_i
    by_log_budget: Array  # [P] at the weights as they are, each pool in the epoch to the right
    by_half_life: Array
    by_utility: Array


@jax.jit
def _point(params: UtilityParams, sizes: Array, seen: Array, low: Array, high: Array) -> _Point:
    terms = utility_terms(params, sizes, seen)
    at = held(terms, best_point(terms, low, high)[0], low, high)
    whole = whole_epochs(terms, at.weights)[0]

    def value(half_life: Any, slopes: Any, seen: Array) -> Array:
        changed = dataclasses.replace(params, half_life=half_life, utility=slopes)
        return inside(utility_terms(changed, sizes, seen), whole, at.weights).value

    own = (params.half_life, params.utility)
    gained, per_seen = jax.jvp(lambda n: value(*own, n), (seen,), (seen,))
    per_half_life, per_utility = jax.grad(lambda *each: jnp.sum(value(each[0], each[1], seen)), (0, 1))(*own)
    return _Point(at, gained, per_seen, per_half_life, per_utility)


_best_error = jax.jit(best_error)


def shadow_prices(fitted: FittedLaw, budget: float, constraints: Constraints | None = None) -> Prices:
    """What one more unique sample, one more sample seen, or a better pool would change in the best error.

    The formulas are those of the module docstring. A limit on epochs moves with the pool's size and the budget, other
    bounds stay where they are.

    Args:
        fitted: `laws.utility` with every utility below 0, dilution in [0, 1], no decay shape and one floor.
        budget: n, samples seen.
        constraints: bounds on single pools (`caps`, `minimums`, `fixed`, `bounds`, `max_epochs`), or None.

    Raises:
        InputError: another law or parameters, a budget that is no positive number, constraints on more than single
            pools, or constraints that no weights satisfy.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> prices = shadow_prices(paper, 64e6)  # here pool 1 ends its fourth epoch and pool 2 its first
        >>> prices.weights.round(3).tolist(), [f"{side:.4f}" for side in prices.log_budget]
        ([0.8, 0.2, 0.0, 0.0], ['-0.0800', '-0.0786'])
    """
    params, bound = certain(fitted, budget, constraints)
    refuse_empty(bound)
    sizes = fitted.pools.sizes
    with jax.enable_x64(True):
        point = jax.device_get(_point(params, sizes, float(budget), bound.low, bound.high))
    at, floor = point.at, float(np.asarray(params.floor))
    excess = float(np.exp(-np.sum(point.value)))
    log_size, log_budget = _one_sided(point, bound.high_kinds == "max_epochs")
    known = np.isfinite(sizes)
    log_size = Sides(*(np.where(known, -excess * each, 0.0) for each in log_size))
    log_budget = Sides(*(-excess * each for each in log_budget))
    return Prices(
        weights=np.asarray(at.weights),
        error=floor + excess,
        price=Sides(np.asarray(at.most), np.asarray(at.least)),
        price_error=Sides(-excess * at.most, -excess * at.least),
        size=Sides(*(each / sizes for each in log_size)),
        log_size=log_size,
        budget=Sides(*(each / budget for each in log_budget)),
        log_budget=log_budget,
        half_life=-excess * np.asarray(point.by_half_life),
        log_half_life=-excess * np.asarray(point.by_half_life) * params.half_life,
        utility=-excess * np.asarray(point.by_utility),
    )


def _one_sided(point: _Point, moving: np.ndarray) -> tuple[Sides, Sides]:
    """dF*/dlog N_i `[P]` and dF*/dlog n `[]`, from below and above.

    A pool on a kink that is a fixed bound as well can leave the kink to one side only.
    """
    at, weights, value = point.at, np.asarray(point.at.weights), np.asarray(point.value)
    least, most, left, right = (np.asarray(each) for each in (at.least, at.most, at.left, at.right))
    low, high = np.asarray(at.at_low), np.asarray(at.at_high) & ~moving

    def each(slope: np.ndarray) -> np.ndarray:
        return weights * np.where(weights > 0, slope, 0.0)

    shrunk = np.where(low, right, np.where(high, np.maximum(least, right), least))
    grown = np.where(high, left, np.where(low, np.minimum(most, left), most))
    sizes = Sides(value - each(shrunk), value - each(grown))

    follows = np.asarray(at.kink) | (np.asarray(at.at_high) & moving)
    less = np.where(high, 0.0, np.where(low, np.minimum(most - left, 0.0), np.where(follows, most - left, 0.0)))
    more = np.where(low, 0.0, np.where(high, np.maximum(least - right, 0.0), np.where(follows, least - right, 0.0)))
    per_budget = np.asarray(point.by_log_budget)
    return sizes, Sides(
        np.sum(per_budget + each(left - right) + each(less)),
        np.sum(per_budget + each(more)),
    )


def break_even(
    fitted: FittedLaw, budget: float, price_per_sample_seen: float = 1.0, constraints: Constraints | None = None
) -> np.ndarray:
    """What one new unique sample of each pool is worth: below this price it beats buying compute.

        c (dy*/dN_i) / (dy*/dn)

    both from above. With the default c = 1 the price is in samples seen: so many more samples of training improve
    the error as much as one more unique sample of the pool.

    Args:
        fitted: as in `shadow_prices`.
        budget: n, samples seen.
        price_per_sample_seen: c > 0, what training on one more sample costs.
        constraints: as in `shadow_prices`.

    Returns:
        `[P]` in the unit of c; 0 for pools that the best mix leaves out, `inf` where more compute improves nothing.

    Raises:
        InputError: as in `shadow_prices`, or a price that is no positive number.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> break_even(paper, 640e6).round(1).tolist()
        [77.0, 30.1, 2.3, 0.0]
    """
    cost = _positive(price_per_sample_seen, "price per sample seen")
    prices = shadow_prices(fitted, budget, constraints)
    return cost * _ratio(prices.size.right, prices.budget.right)


def _ratio(per_unique: np.ndarray, per_seen: np.ndarray) -> np.ndarray:
    """Samples seen that improve the error as one unique sample does."""
    gains = per_seen < 0
    worth = np.where(gains, per_unique / np.where(gains, per_seen, -1.0), np.inf)
    return np.where(per_unique < 0, worth, 0.0)


def worth_of_new_pool(
    fitted: FittedLaw,
    budget: float,
    new: NewPool,
    size: float | None = None,
    price_per_sample_seen: float = 1.0,
    constraints: Constraints | None = None,
) -> float:
    """What one unique sample of a pool that nobody has measured is worth, if it is as assumed.

        c (n' - n) / N,    y*(n' without it) = y*(n with N samples of it)

    and for its first samples the limit of small N, c (dy*/dN) / (dy*/dn).

    Args:
        fitted: as in `shadow_prices`, with one scale and amplitude.
        budget: n, samples seen.
        new: the pool.
        size: N, unique samples bought; None for the price of the first.
        price_per_sample_seen: c > 0; with 1 the price is in samples seen.
        constraints: as in `shadow_prices`; a limit on epochs for all pools holds for the new one too.

    Returns:
        The price of one unique sample, in the unit of c, below which buying the pool beats buying compute; 0 where
        the best mix would leave it out, `inf` where no compute is worth as much (up to 2^40 times the budget).

    Raises:
        InputError: as in `shadow_prices`, a scale or amplitude per pool, or numbers that make no pool.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> as_good_as_top_10 = NewPool(utility=-0.16, half_life=6.7, reference_size=12.8e6)
        >>> worth = [worth_of_new_pool(paper, 640e6, as_good_as_top_10, size) for size in (None, 1e6, 12.8e6)]
        >>> [f"{each:.1f}" for each in worth]  # samples seen for each unique one
        ['76.8', '83.5', 'inf']
    """
    cost = _positive(price_per_sample_seen, "price per sample seen")
    if not isinstance(new, NewPool):
        raise InputError(f"new pool {new!r}: expected NewPool(utility, half_life, reference_size)")
    asked = budget * FIRST_SAMPLES if size is None else _positive(size, "size of the new pool")
    alone = shadow_prices(fitted, budget, constraints)
    extended = _extended(fitted, new, asked)
    joined = shadow_prices(extended, budget, constraints)
    if size is None:
        return float(cost * _ratio(joined.size.right[-1], alone.budget.right))
    if joined.error >= alone.error:
        return 0.0
    floor = float(np.asarray(fitted.params.floor))

    def ahead(log_more: float) -> float:
        samples = budget * float(np.exp(log_more))
        params, bound = certain(fitted, samples, constraints)
        with jax.enable_x64(True):
            error = float(_best_error(params, fitted.pools.sizes, samples, bound.low, bound.high))
        return float(np.log((error - floor) / (joined.error - floor)))

    limit = largest_budget((constraints or Constraints()).bind(fitted.pools, budget * 2.0**MOST_COMPUTE))
    steps = np.arange(MOST_COMPUTE + 1) * np.log(2.0)
    steps = np.unique(np.minimum(steps, np.log(limit / budget)))
    for before, after in pairwise(steps.tolist()):
        if ahead(after) <= 0:
            from scipy.optimize import root_scalar

            root = root_scalar(ahead, bracket=(before, after), method="brentq", xtol=1e-15, rtol=1e-15).root
            return float(cost * budget * np.expm1(root) / asked)
    return float("inf")


def certain(
    fitted: FittedLaw, budget: float, constraints: Constraints | None, what: str = "budget"
) -> tuple[UtilityParams, Feasible]:
    """Parameters in float64, utility and half-life as `[P]`, and the bounds, if the best mix is certain for them.

    Whether any weights satisfy the bounds is not checked.

    Raises:
        InputError: as in `shadow_prices`.
    """
    if not isinstance(fitted, FittedLaw):
        raise InputError(f"fit of type {type(fitted).__name__}: expected a fitted law")
    if constraints is not None and not isinstance(constraints, Constraints):
        raise InputError(f"constraints of type {type(constraints).__name__}: expected Constraints(caps=...)")
    if fitted.law != utility:
        raise InputError(f"law {fitted.law.name!r}: prices of the best mix are defined for laws.utility only")
    params, shape = fitted.params, (len(fitted.pools),)
    check_numbers("the fit's", params, fitted.pools.names)
    if params.decay_shape is not None or not utility.convex(params):
        raise InputError("the best mix is not certain: expected utilities below 0, dilution in [0, 1], no decay shape")
    if np.ndim(params.floor):
        raise InputError(f"floor {np.asarray(params.floor).tolist()}: expected one floor shared by all pools")
    _positive(budget, what)
    bound = (constraints or Constraints()).bind(fitted.pools, float(budget))
    if not bound.plain:
        raise InputError("constraints on more than single pools: expected caps, minimums, fixed shares and max_epochs")
    wide = dataclasses.replace(
        params,
        utility=np.broadcast_to(np.asarray(params.utility), shape),
        half_life=np.broadcast_to(np.asarray(params.half_life), shape),
    )
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), wide), bound


def _positive(value: float, what: str) -> float:
    found = float(numbers(what, value, ()))
    if not 0 < found < np.inf:
        raise InputError(f"{what} {value!r}: expected a positive number")
    return found


def _extended(fitted: FittedLaw, new: NewPool, size: float) -> FittedLaw:
    """The law with one more pool, the last."""
    params, count = fitted.params, len(fitted.pools)
    for name in ("scale", "amplitude"):
        if np.ndim(getattr(params, name)):
            raise InputError(f"{name} {np.asarray(getattr(params, name)).tolist()}: expected one shared by all pools")
    if not -np.inf < float(numbers("utility of the new pool", new.utility, ())) < 0:
        raise InputError(f"utility of the new pool {new.utility!r}: expected a number below 0")
    for name in ("half_life", "reference_size"):
        _positive(getattr(new, name), f"{name} of the new pool")
    changes = {
        name: np.append(np.broadcast_to(np.asarray(getattr(params, name), np.float64), count), getattr(new, name))
        for name in ("utility", "half_life", "reference_size")
    }
    name = "new pool"
    while name in fitted.pools.names:
        name += "'"
    pools = Pools.of({**dict(zip(fitted.pools.names, fitted.pools.sizes, strict=True)), name: size})
    return dataclasses.replace(fitted, params=dataclasses.replace(params, **changes), pools=pools)
