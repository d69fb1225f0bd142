"""The best weights under rows, distances and diversity: linear programmes on ever finer pieces, with a dual bound.

    minimise  sum_m q_m (a_m - F_m(w))   or   max_m (a_m - F_m(w)),   F_m(w) = sum_i f_mi(w_i) concave

Every f_i is replaced by chords between breakpoints, exact at kinks; HiGHS solves the linear programme; its multipliers
give each pool a price, at which the exact best weight of that pool (`bracket.respond`) is the next breakpoint. The sum
of the exact best responses is a lower bound of the problem (Lagrangian duality), which certifies the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from qqtjax.mix.bracket import respond
from qqtjax.mix.feasible import Entropy, Feasible, violation
from qqtjax.mix.separable import Terms, slopes

ROUNDS, KEPT_ROUNDS = 30, 2
FIRST_WIDTH, NARROWING, LAST_WIDTH = 0.3, 0.1, 1e-9
TOLERANCE = 1e-12
MISSING = 1e3  # price of missing a limit by one nat
FEASIBLE = 1e-9
POINTS = 8  # breakpoints are evaluated so many a pool at a time


class Settled(NamedTuple):
    """What a programme ended with.

    Attributes:
        weights: `[P]`, within all constraints.
        cost: the objective at them.
        bound: no weights that satisfy the constraints have a lower objective.
        shares: `[M]` multipliers of the parts, q_m or, for the worst case, what each part weighs in it.
        price: the multiplier of sum w = 1.
        row_prices: `[R]` of the rows, positive where the upper side binds, negative where the lower one does.
    """

    weights: np.ndarray
    cost: float
    bound: float
    shares: np.ndarray
    price: float
    row_prices: np.ndarray


class _Rows(NamedTuple):
    """All constraints but the bounds, each a function of one pool's weight summed over pools: `sum g_ri(w_i) <= most`.

    Attributes:
        linear: `[R, P]`.
        most: `[R]`.
        origin: `[R]` which row of `Feasible` and, as its sign, which side.
        entropies: the convex ones.
        distance: `(reference, most)` or None.
    """

    linear: np.ndarray
    most: np.ndarray
    origin: list[tuple[int, float]]
    entropies: tuple[Entropy, ...]
    distance: tuple[np.ndarray, float] | None


@jax.jit
def _values(terms: Terms, points: Array) -> Array:
    return jax.vmap(lambda weights: slopes(terms, weights)[0])(points)


@jax.jit
def _respond(terms: Terms, low: Array, high: Array, prices: Array) -> tuple[Array, Array]:
    weights = respond(terms, low, high, prices)
    return weights, slopes(terms, weights)[0]


def solve(
    parts: Sequence[Terms],
    constants: np.ndarray,
    factors: np.ndarray | None,
    feasible: Feasible,
    start: np.ndarray,
    tolerance: float = TOLERANCE,
) -> Settled:
    """Weights that minimise a sum or the largest of separable convex costs under all constraints of a `Feasible`.

    The penalties of `feasible` are added to the cost. The certificate is `cost - bound`.

    Args:
        parts: M functions F_m, one law each.
        constants: `[M]` a_m.
        factors: `[M]` q_m >= 0; None takes the largest part instead of a sum.
        feasible: bounds, rows, entropies, distance and penalties; known to be satisfiable.
        start: `[P]` weights to look around first.
        tolerance: stop once `cost - bound` is below it.
    """
    rows = _rows(feasible)
    low, high = feasible.low, np.maximum(feasible.high, feasible.low)
    epoch = np.asarray(parts[0].epoch, np.float64)
    base = _base_grid(low, high, feasible)
    width = FIRST_WIDTH
    recent = [_around(start, low, high, epoch, width)]
    best: Settled | None = None
    for _ in range(ROUNDS):
        grid = np.sort(np.concatenate([base, *recent[-KEPT_ROUNDS:]], axis=1), axis=1)
        weights, shares, price, linear_prices, convex_prices, distance_price = _master(
            parts, constants, factors, feasible, rows, grid
        )
        response, least = _lagrangian(
            parts, constants, shares, price, linear_prices, convex_prices, distance_price, feasible, rows
        )
        cost = _cost(parts, constants, factors, feasible, weights)
        bound = least if best is None else max(best.bound, least)
        if violation(feasible, weights) > FEASIBLE:
            cost = np.inf
        if best is None or cost < best.cost:
            prices = np.zeros(len(feasible.rows))
            for (row, sign), value in zip(rows.origin, linear_prices, strict=True):
                prices[row] += sign * value
            best = Settled(weights, cost, bound, shares, price, prices)
        best = best._replace(bound=bound)
        if best.cost - best.bound <= tolerance:
            break
        width = max(width * NARROWING, LAST_WIDTH)
        recent.append(
            np.concatenate(
                [_around(response, low, high, epoch, width), _around(best.weights, low, high, epoch, width)], axis=1
            )
        )
    assert best is not None
    return best


def _rows(feasible: Feasible) -> _Rows:
    linear, most, origin = [], [], []
    for index, row in enumerate(feasible.rows):
        if np.isfinite(feasible.row_high[index]):
            linear.append(row)
            most.append(feasible.row_high[index])
            origin.append((index, 1.0))
        if np.isfinite(feasible.row_low[index]):
            linear.append(-row)
            most.append(-feasible.row_low[index])
            origin.append((index, -1.0))
    count = feasible.rows.shape[1]
    return _Rows(np.reshape(linear, (-1, count)), np.array(most), origin, feasible.entropies, feasible.l1)


def _base_grid(low: np.ndarray, high: np.ndarray, feasible: Feasible) -> np.ndarray:
    """The ends, where a distance bends, and, for what bends everywhere, some between."""
    columns = [low, high]
    if feasible.entropies or feasible.kl_penalty is not None:
        columns += [np.clip(share / len(low), low, high) for share in (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)]
        references = [each.reference for each in feasible.entropies if each.reference.sum() < len(low)]
        columns += [np.clip(each, low, high) for each in references]
    for kind in (feasible.l1, feasible.l1_penalty):
        if kind is not None:
            columns.append(np.clip(kind[0], low, high))
    return np.stack(columns, axis=1)


def _around(center: np.ndarray, low: np.ndarray, high: np.ndarray, epoch: np.ndarray, width: float) -> np.ndarray:
    """Breakpoints near weights: themselves, the kinks on both sides, and a step away."""
    finite = np.isfinite(epoch)
    whole = np.floor(center / np.where(finite, epoch, 1.0) * (1 + 1e-12))
    kinks = [np.where(finite, (whole + up) * np.where(finite, epoch, 1.0), center) for up in (0.0, 1.0)]
    step = width * np.maximum(center, 1.0 / len(center))
    points = np.stack([center, *kinks, center - step, center + step], axis=1)
    # A pool at a bound gets more breakpoints once its price moves it.
    points = np.where(((center > low) & (center < high))[:, None], points, center[:, None])
    return np.clip(points, low[:, None], high[:, None])


def _each_value(terms: Terms, points: np.ndarray) -> np.ndarray:
    """f_i at `[P, B]` points."""
    count = points.shape[1]
    padded = np.pad(points, [(0, 0), (0, -count % POINTS)], mode="edge")
    chunks = [
        np.asarray(_values(terms, jnp.asarray(padded[:, k : k + POINTS].T))) for k in range(0, padded.shape[1], POINTS)
    ]
    return np.concatenate(chunks)[:count].T


def _logs(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`w log(w / r)` at `[P, B]` points; 0 at 0."""
    ratio = np.where(points > 0, points, 1.0) / np.where(reference > 0, reference, 1.0)[:, None]
    return points * np.log(np.where(points > 0, ratio, 1.0))


def _extras(feasible: Feasible, points: np.ndarray) -> np.ndarray:
    """The penalties at `[P, B]` points."""
    total = np.zeros_like(points)
    if feasible.kl_penalty is not None:
        total += feasible.kl_penalty[1] * _logs(points, feasible.kl_penalty[0])
    if feasible.l1_penalty is not None:
        total += feasible.l1_penalty[1] * np.abs(points - feasible.l1_penalty[0][:, None])
    return total


def _cost(
    parts: Sequence[Terms], constants: np.ndarray, factors: np.ndarray | None, feasible: Feasible, weights: np.ndarray
) -> float:
    column = weights[:, None]
    each = constants - np.array([_each_value(part, column).sum() for part in parts])
    return float((np.max(each) if factors is None else factors @ each) + _extras(feasible, column).sum())


def _master(
    parts: Sequence[Terms],
    constants: np.ndarray,
    factors: np.ndarray | None,
    feasible: Feasible,
    rows: _Rows,
    grid: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray, np.ndarray, float]:
    """The linear programme over the chords between the breakpoints `[P, B]`: weights and multipliers."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    length = np.diff(grid, axis=1)
    # A chord too short for its slope to be told from rounding is joined to its neighbour.
    kept = length > 4e-15
    pool = np.broadcast_to(np.arange(len(grid))[:, None], length.shape)[kept]
    span = length[kept]
    begin = grid[:, 0]

    def chords(values: np.ndarray) -> np.ndarray:
        return np.diff(values, axis=1)[kept] / span

    values = [_each_value(part, grid) for part in parts]
    gains = np.stack([chords(each) for each in values])
    charged = chords(_extras(feasible, grid))
    upper = [rows.linear[:, pool]]
    limits = [rows.most - rows.linear @ begin]
    for each in rows.entropies:
        logs = _logs(grid, each.reference)
        upper.append(chords(logs)[None])
        limits.append(np.array([each.most - logs[:, 0].sum()]))
    if rows.distance is not None:
        reference, most = rows.distance
        away = np.abs(grid - reference[:, None])
        upper.append(chords(away)[None])
        limits.append(np.array([most - away[:, 0].sum()]))
    objective = charged if factors is None else charged - factors @ gains
    matrix, right = np.concatenate(upper), np.concatenate(limits)
    bounds = np.stack([np.zeros_like(span), span], axis=1)
    fixed = len(right)
    equal = np.ones((1, len(span)))
    if factors is None:  # the largest part, t: a_m - F_m(w) <= t
        starts = np.array([each[:, 0].sum() for each in values])
        matrix = np.block([[matrix, np.zeros((fixed, 1))], [-gains, -np.ones((len(parts), 1))]])
        right = np.concatenate([right, starts - constants])
        objective = np.append(objective, 1.0)
        bounds = np.concatenate([bounds, [[-np.inf, np.inf]]])
        equal = np.append(equal, [[0.0]], axis=1)
    if rows.entropies:  # chords overestimate what bends: it may be missed, at a price, until they are fine enough
        slack = np.zeros((len(matrix), len(rows.entropies)))
        slack[len(rows.most) : len(rows.most) + len(rows.entropies)] = -np.eye(len(rows.entropies))
        matrix = np.concatenate([matrix, slack], axis=1)
        objective = np.concatenate([objective, np.full(len(rows.entropies), MISSING)])
        bounds = np.concatenate([bounds, np.tile([0.0, np.inf], (len(rows.entropies), 1))])
        equal = np.concatenate([equal, np.zeros((1, len(rows.entropies)))], axis=1)
    found = linprog(
        objective,
        A_ub=csr_array(matrix) if len(right) else None,
        b_ub=right if len(right) else None,
        A_eq=csr_array(equal),
        b_eq=[1.0 - begin.sum()],
        bounds=bounds,
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    weights = begin + np.bincount(pool, found.x[: len(span)], minlength=len(grid))
    multipliers = np.maximum(-np.asarray(found.ineqlin.marginals), 0.0) if len(right) else np.zeros(0)
    shares = multipliers[fixed:] if factors is None else np.asarray(factors, np.float64)
    if factors is None:
        shares = shares / shares.sum() if shares.sum() > 0 else np.full(len(parts), 1.0 / len(parts))
    count, convex = len(rows.most), len(rows.entropies)
    return (
        weights,
        shares,
        -float(found.eqlin.marginals[0]),
        multipliers[:count],
        multipliers[count : count + convex],
        float(multipliers[count + convex]) if rows.distance is not None else 0.0,
    )


def _lagrangian(
    parts: Sequence[Terms],
    constants: np.ndarray,
    shares: np.ndarray,
    price: float,
    linear_prices: np.ndarray,
    convex_prices: np.ndarray,
    distance_price: float,
    feasible: Feasible,
    rows: _Rows,
) -> tuple[np.ndarray, float]:
    """Every pool's exact best weight at its price, and the lower bound of the cost that they prove."""
    pulls = [(each.reference, value) for each, value in zip(rows.entropies, convex_prices, strict=True)]
    if feasible.kl_penalty is not None:
        pulls.append(feasible.kl_penalty)
    entropy, inward = 0.0, np.zeros(len(feasible.low))
    for reference, strength in pulls:
        entropy += strength
        inward += strength * np.log(np.where(reference > 0, reference, 1.0))
    merged = Terms(
        utility=jnp.concatenate([share * part.utility for share, part in zip(shares, parts, strict=True)]),
        fresh=jnp.concatenate([part.fresh for part in parts]),
        rate=jnp.concatenate([part.rate for part in parts]),
        dilution=jnp.concatenate([part.dilution for part in parts]),
        epoch=parts[0].epoch,
        linear=sum(share * part.linear for share, part in zip(shares, parts, strict=True)) - jnp.asarray(inward),
        entropy=jnp.asarray(entropy),
    )
    prices = price + linear_prices @ rows.linear
    low, high = feasible.low, np.maximum(feasible.high, feasible.low)
    turns = []
    if rows.distance is not None and distance_price > 0:
        turns.append((rows.distance[0], distance_price))
    if feasible.l1_penalty is not None:
        turns.append(feasible.l1_penalty)
    # Each distance bends every f_i once more, at its reference: the best of the intervals between them.
    edges = np.sort(np.stack([low, high, *(np.clip(each, low, high) for each, _ in turns)], axis=1), axis=1)
    gained, response = np.full(len(low), -np.inf), low
    for left, right in zip(edges.T[:-1], edges.T[1:], strict=True):
        middle = 0.5 * (left + right)
        toll = sum((strength * np.sign(middle - reference) for reference, strength in turns), np.zeros(len(low)))
        weights, value = (
            np.asarray(each)
            for each in _respond(merged, jnp.asarray(left), jnp.asarray(right), jnp.asarray(prices + toll))
        )
        paid = sum((strength * np.abs(weights - reference) for reference, strength in turns), prices * weights)
        gain = value - paid
        response = np.where(gain > gained, weights, response)
        gained = np.maximum(gain, gained)
    spent = price + linear_prices @ rows.most
    spent += sum(value * each.most for each, value in zip(rows.entropies, convex_prices, strict=True))
    if rows.distance is not None:
        spent += distance_price * rows.distance[1]
    return response, float(shares @ constants - gained.sum() - spent)
