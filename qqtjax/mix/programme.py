"""The best weights under rows, distances and diversity: linear programmes on ever finer pieces, with a dual bound.

    minimise  max over q of  sum_m q_m (a_m - F_m(w)),   0 <= q_m <= c_m,  sum q = C,   F_m(w) = sum_i f_mi(w_i) concave

With C = sum c that is a weighted sum, with c = C = 1 the largest part, between them the mean of the worst parts
(`mix.objectives`).

Every f_i is replaced by chords between breakpoints, exact at kinks; HiGHS solves the linear programme; its multipliers
give each pool a price, at which the exact best weight of that pool (`bracket.respond`) is the next breakpoint. The sum
of the exact best responses is a lower bound of the problem (Lagrangian duality), which certifies the weights.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from qqtjax.errors import QQTError
from qqtjax.mix.bracket import respond
from qqtjax.mix.feasible import TOLERANCE as MET
from qqtjax.mix.feasible import Feasible, violation
from qqtjax.mix.objectives import Judging
from qqtjax.mix.separable import Terms, joined, slopes

ROUNDS, KEPT_ROUNDS = 30, 2
FIRST_WIDTH, NARROWING, LAST_WIDTH = 0.3, 0.1, 1e-9
TOLERANCE = 1e-12
CLOSED = 1e-9  # a gap above it is worth a second search
LOOSE = 8e-10  # by which limits give way in it: below what counts as met, so that limits without room have some
MISSING = 1e6  # price of missing a limit by one nat
ROUNDING = 1e-15  # of an entropy, nats
SHORTEST = 4e-15  # a chord whose slope can be told from rounding
POINTS = 8  # breakpoints are evaluated so many a pool at a time


class Settled(NamedTuple):
    """What a programme ended with.

    Attributes:
        weights: `[P]`, within all constraints.
        cost: the objective at them.
        bound: no weights that satisfy the constraints have a lower objective.
        shares: `[M]` multipliers of the parts, q_m.
    """

    weights: np.ndarray
    cost: float
    bound: float
    shares: np.ndarray


class _Problem(NamedTuple):
    """What is minimised, and every constraint as a function of one pool's weight, summed over pools.

    Attributes:
        parts: M functions F_m, stacked.
        constants: `[M]` a_m.
        judging: c and C.
        low: `[P]`.
        high: `[P]`.
        total: what the weights sum to: 1, or the nearest to it that the bounds allow.
        linear: `[R, P]` rows that are at most `most`.
        most: `[R]`.
        feasible: the distances, diversity and penalties.
    """

    parts: Terms
    constants: np.ndarray
    judging: Judging
    low: np.ndarray
    high: np.ndarray
    total: float
    linear: np.ndarray
    most: np.ndarray
    feasible: Feasible


class _Prices(NamedTuple):
    """Multipliers: of the parts `[M]`, of sum w, of the rows `[R]`, of the entropies and of the distance."""

    shares: np.ndarray
    total: float
    linear: np.ndarray
    entropies: np.ndarray
    distance: float


@jax.jit
def _values(parts: Terms, points: Array) -> Array:
    """`[M, B, P]`."""
    return jax.vmap(lambda terms: jax.vmap(lambda weights: slopes(terms, weights)[0])(points))(parts)


@jax.jit
def _respond(
    parts: Terms, shares: Array, linear: Array, entropy: Array, low: Array, high: Array, prices: Array
) -> tuple[Array, Array]:
    terms = joined(parts, shares)
    terms = terms._replace(linear=terms.linear + linear, entropy=entropy)
    weights = respond(terms, low, high, prices)
    return weights, slopes(terms, weights)[0]


def values(parts: Terms, weights: np.ndarray) -> np.ndarray:
    """`[M]` F_m(w)."""
    return _each_value(parts, weights[:, None])[..., 0].sum(axis=1)


def solve(
    parts: Terms,
    constants: np.ndarray,
    judging: Judging,
    feasible: Feasible,
    start: np.ndarray,
) -> Settled:
    """Weights that minimise a sum, a tail or the largest of separable convex costs under a `Feasible`.

    The penalties of `feasible` are added to the cost. The certificate is `cost - bound`; the search ends at 1e-12.
    Limits that leave no room (a divergence that only one mix attains) have no finite prices: where the gap stays
    open, limits looser by 8e-10 are searched too, whose bound holds for the tighter ones as well. The weights then
    miss a limit by less than 1e-9, and their cost may lie below the bound.

    Args:
        parts: M functions F_m of one law each, with a leading axis of M on every leaf.
        constants: `[M]` a_m.
        judging: c and C, how the parts become one cost.
        feasible: bounds, rows, entropies, distance and penalties; known to be satisfiable.
        start: `[P]` weights to look around first.

    Raises:
        QQTError: no weights were found that meet all constraints to 1e-9.
    """
    pinned = _pinned(feasible)
    found = _search(parts, constants, judging, pinned, feasible, start)
    if found is None or not found.cost - found.bound <= CLOSED:
        wider = _search(parts, constants, judging, _loosened(pinned), feasible, start)
        if found is None or (wider is not None and wider.cost - wider.bound < found.cost - found.bound):
            found = wider
    if found is None or not np.isfinite(found.cost):
        raise QQTError("no weights were found that satisfy all constraints to 1e-9: loosen one of them a little")
    return found


def _pinned(feasible: Feasible) -> Feasible:
    """The same, the bounds closed on the one mix that an entropy leaves where it is to be at its minimum."""
    for each in feasible.entropies:
        mass = each.reference.sum()
        if each.most + np.log(mass) <= ROUNDING:
            return feasible._replace(low=each.reference / mass, high=each.reference / mass)
    return feasible


def _loosened(feasible: Feasible) -> Feasible:
    return feasible._replace(
        row_low=feasible.row_low - LOOSE,
        row_high=feasible.row_high + LOOSE,
        entropies=tuple(each._replace(most=each.most + LOOSE) for each in feasible.entropies),
        l1=None if feasible.l1 is None else (feasible.l1[0], feasible.l1[1] + LOOSE),
    )


def _search(
    parts: Terms,
    constants: np.ndarray,
    judging: Judging,
    searched: Feasible,
    feasible: Feasible,
    start: np.ndarray,
) -> Settled | None:
    """The best weights within `searched` that meet `feasible`; None where no programme could be solved."""
    low, high = searched.low, np.maximum(searched.high, searched.low)
    upper, lower = np.isfinite(searched.row_high), np.isfinite(searched.row_low)
    problem = _Problem(
        parts=parts,
        constants=constants,
        judging=judging,
        low=low,
        high=high,
        total=float(np.clip(1.0, low.sum(), high.sum())),
        linear=np.concatenate([searched.rows[upper], -searched.rows[lower]]),
        most=np.concatenate([searched.row_high[upper], -searched.row_low[lower]]),
        feasible=searched,
    )
    epoch = np.asarray(parts.epoch[0], np.float64)
    base, width = _base_grid(problem), FIRST_WIDTH
    recent = [_around(start, low, high, epoch, width)]
    best, bound, least = None, -np.inf, (np.inf, np.inf)
    for _ in range(ROUNDS):
        grid = np.sort(np.concatenate([base, *recent[-KEPT_ROUNDS:]], axis=1), axis=1)
        master = _master(problem, grid)
        if master is None:
            break
        weights, prices = master
        response, below = _lagrangian(problem, prices)
        bound = max(bound, below)
        missed = max(violation(feasible, weights) - MET, 0.0)
        cost = _cost(problem, weights)
        if (missed, cost) < least:
            least = (missed, cost)
            best = Settled(weights, np.inf if missed else cost, bound, prices.shares)
        assert best is not None
        best = best._replace(bound=bound)
        if best.cost - bound <= TOLERANCE:
            break
        width = max(width * NARROWING, LAST_WIDTH)
        centers = (response, best.weights)
        recent.append(np.concatenate([_around(each, low, high, epoch, width) for each in centers], axis=1))
    return best


def _base_grid(problem: _Problem) -> np.ndarray:
    """The ends, where a distance bends, and, for what bends everywhere, some between."""
    low, high, feasible = problem.low, problem.high, problem.feasible
    columns = [low, high]
    if feasible.entropies or feasible.kl_penalty is not None:
        columns += [share / len(low) for share in (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)]
        columns += [each.reference for each in feasible.entropies if each.reference.sum() < len(low)]
    columns += [each[0] for each in (feasible.l1, feasible.l1_penalty) if each is not None]
    return np.stack([np.clip(each, low, high) for each in columns], axis=1)


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


def _each_value(parts: Terms, points: np.ndarray) -> np.ndarray:
    """`[M, P, B]` f_mi at `[P, B]` points."""
    count = points.shape[1]
    padded = np.pad(points, [(0, 0), (0, -count % POINTS)], mode="edge")
    chunks = [np.asarray(_values(parts, padded[:, k : k + POINTS].T)) for k in range(0, padded.shape[1], POINTS)]
    return np.swapaxes(np.concatenate(chunks, axis=1)[:, :count], 1, 2)


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


def _cost(problem: _Problem, weights: np.ndarray) -> float:
    chosen = problem.judging.of(problem.constants - values(problem.parts, weights))
    return float(chosen + _extras(problem.feasible, weights[:, None]).sum())


def _master(problem: _Problem, grid: np.ndarray) -> tuple[np.ndarray, _Prices] | None:
    """The linear programme over the chords between the breakpoints `[P, B]`: weights `[P]` and multipliers."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    feasible, judging = problem.feasible, problem.judging
    length = np.diff(grid, axis=1)
    kept = length > SHORTEST
    pool = np.broadcast_to(np.arange(len(grid))[:, None], length.shape)[kept]
    span, begin = length[kept], grid[:, 0]

    def chords(values: np.ndarray) -> np.ndarray:
        return np.diff(values, axis=-1)[..., kept] / span

    gained = _each_value(problem.parts, grid)
    gains = chords(gained)
    charged = chords(_extras(feasible, grid))
    bends = [_logs(grid, each.reference) for each in feasible.entropies]
    limits = [each.most for each in feasible.entropies]
    if feasible.l1 is not None:
        bends.append(np.abs(grid - feasible.l1[0][:, None]))
        limits.append(feasible.l1[1])
    matrix = np.concatenate([problem.linear[:, pool], *(chords(each)[None] for each in bends)])
    right = np.append(
        problem.most - problem.linear @ begin,
        [limit - each[:, 0].sum() for limit, each in zip(limits, bends, strict=True)],
    )
    objective = charged - judging.most @ gains if judging.fixed else charged
    bounds = np.stack([np.zeros_like(span), span], axis=1)
    rows, convex, limited = len(problem.most), len(feasible.entropies), len(right)
    # Chords overestimate what bends: until they are fine enough it may be missed, at a price.
    extra = np.zeros((limited, convex))
    extra[rows : rows + convex] = -np.eye(convex)
    matrix = np.concatenate([matrix, extra], axis=1)
    objective = np.append(objective, np.full(convex, MISSING))
    bounds = np.concatenate([bounds, np.tile([0.0, np.inf], (convex, 1))])
    if not judging.fixed:  # C t + sum_m c_m u_m,  a_m - F_m(w) <= t + u_m
        tail = np.flatnonzero(judging.most < judging.total)
        over = np.zeros((len(gains), matrix.shape[1] + 1 + len(tail)))
        over[:, : len(span)], over[:, matrix.shape[1]] = -gains, -1.0
        over[tail, matrix.shape[1] + 1 + np.arange(len(tail))] = -1.0
        matrix = np.concatenate([np.pad(matrix, [(0, 0), (0, 1 + len(tail))]), over])
        right = np.append(right, gained[..., 0].sum(axis=1) - problem.constants)
        objective = np.concatenate([objective, [judging.total], judging.most[tail]])
        bounds = np.concatenate([bounds, [[-np.inf, np.inf]], np.tile([0.0, np.inf], (len(tail), 1))])
    if not len(objective):  # nothing can move
        return begin, _Prices(judging.most, 0.0, np.zeros(rows), np.zeros(0), 0.0)
    equal = np.zeros((1, len(objective)))
    equal[0, : len(span)] = 1.0
    found = linprog(
        objective,
        A_ub=csr_array(matrix) if len(right) else None,
        b_ub=right if len(right) else None,
        A_eq=csr_array(equal),
        b_eq=[problem.total - begin.sum()],
        bounds=bounds,
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if not found.success:
        return None
    weights = begin + np.bincount(pool, found.x[: len(span)], minlength=len(grid))
    prices = np.maximum(-np.asarray(found.ineqlin.marginals), 0.0) if len(right) else np.zeros(0)
    shares = judging.most if judging.fixed else judging.within(prices[limited:])
    return weights, _Prices(
        shares=np.asarray(shares, np.float64),
        total=-float(found.eqlin.marginals[0]),
        linear=prices[:rows],
        entropies=prices[rows : rows + convex],
        distance=float(prices[limited - 1]) if feasible.l1 is not None else 0.0,
    )


def _lagrangian(problem: _Problem, prices: _Prices) -> tuple[np.ndarray, float]:
    """Every pool's exact best weight at its price, and the lower bound of the cost that they prove."""
    feasible, low, high = problem.feasible, problem.low, problem.high
    pulls = [(each.reference, price) for each, price in zip(feasible.entropies, prices.entropies, strict=True)]
    if feasible.kl_penalty is not None:
        pulls.append(feasible.kl_penalty)
    inward = sum((price * np.log(np.where(r > 0, r, 1.0)) for r, price in pulls), np.zeros(len(low)))
    entropy = np.float64(sum(price for _, price in pulls))
    turns = []
    if feasible.l1 is not None and prices.distance > 0:
        turns.append((feasible.l1[0], prices.distance))
    if feasible.l1_penalty is not None:
        turns.append(feasible.l1_penalty)
    paid = prices.total + prices.linear @ problem.linear
    # Each distance bends every f_i once more, at its reference: the best of the intervals between them.
    edges = np.sort(np.stack([low, high, *(np.clip(each, low, high) for each, _ in turns)], axis=1), axis=1)
    gained, response = np.full(len(low), -np.inf), low
    for left, right in zip(edges.T[:-1], edges.T[1:], strict=True):
        middle = 0.5 * (left + right)
        toll = sum((strength * np.sign(middle - reference) for reference, strength in turns), np.zeros(len(low)))
        weights, worth = map(
            np.asarray, _respond(problem.parts, prices.shares, -inward, entropy, left, right, paid + toll)
        )
        away = sum((strength * np.abs(weights - reference) for reference, strength in turns), np.zeros(len(low)))
        gain = worth - paid * weights - away
        response = np.where(gain > gained, weights, response)
        gained = np.maximum(gain, gained)
    spent = prices.total * problem.total + prices.linear @ problem.most
    spent += sum(price * each.most for each, price in zip(feasible.entropies, prices.entropies, strict=True))
    if feasible.l1 is not None:
        spent += prices.distance * feasible.l1[1]
    return response, float(prices.shares @ problem.constants - gained.sum() - spent)
