"""How much a small move could still lower an objective: the certificate of a local search, and its next step.

Around the weights w, with slopes g- and g+ on both sides of every pool, the model of a move v - w = p - q is

    model(v) = J of the rows  value_r + g+_r p - g-_r q,   p, q >= 0

and the residual is how far its least value over the feasible v lies below J(w). Entropies, in limits and penalty, are
replaced by tangents, sum_i (log(t_i / r_i) + 1) v_i - t_i, which lie below them. Where J is convex the model lies
below J everywhere, so that J(w) - J(v) <= residual for every feasible v.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qqtjax.mix.combined import LEAST_WEIGHT, Combined, Local, look, objective
from qqtjax.mix.feasible import Feasible

ROUNDS = 4  # of tangents, each from the multipliers of the last
EXACT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


class Move(NamedTuple):
    """The best move of the model.

    Attributes:
        least: the model's least value.
        step: `[P]` v - w.
        held: `[P]` is the pool kept where it is by a bound or by the kink that it lies on.
        shares: `[R]` multipliers of the rows of the objective, which sum to 1, or 1 for the only row.
        entropy_prices: `[E]` multipliers of the limits on entropies, error a nat.
        active: `[A, 1 + P]` equations `coefficients . step = first` that hold at the move: sum, rows and entropies.
        distance: is the limit on the summed absolute difference active.
        tangents: `[P]` where each pool's entropies would have the slope that these multipliers ask for.
    """

    least: float
    step: np.ndarray
    held: np.ndarray
    shares: np.ndarray
    entropy_prices: np.ndarray
    active: np.ndarray
    distance: bool
    tangents: np.ndarray


def box_fall(
    left: np.ndarray, right: np.ndarray, point: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[float, float]:
    """The most that weights within bounds can lower a sum of slopes, by its dual in one price.

        min over mu of  sum_i (s_i - mu)_+ (w_i - l_i) + (mu - s_i)_+ (u_i - w_i) + mu (sum w - 1),
        s_i = clip(mu, g-_i, g+_i)

    A convex function of mu, linear between the slopes, whose minimum lies on one of them: found exactly.

    Args:
        left: `[P]` g-, slopes of the error towards less of a pool.
        right: `[P]` g+, slopes towards more of it.
        point: `[P]` w.
        low: `[P]` l.
        high: `[P]` u.

    Returns:
        The fall, in error, and the price mu.

    Example:
        >>> fall, price = box_fall(*np.array([[0.2, 0.1], [0.2, 0.1], [0.5, 0.5], [0.0, 0.0], [1.0, 1.0]]))
        >>> round(fall, 12)  # half of all samples at 0.1 less each
        0.05
    """
    down, up = np.maximum(point - low, 0.0), np.maximum(high - point, 0.0)
    prices = np.concatenate([left, right])
    order = np.argsort(prices, kind="stable")
    # The slope in mu just above each price: all that can still be given up counts against it.
    rises = np.cumsum(np.concatenate([down, up])[order]) - down.sum() + (point.sum() - 1.0)
    price = float(prices[order[np.argmax(rises >= 0)]]) if np.any(rises >= 0) else float(prices[order[-1]])
    fall = np.maximum(left - price, 0) @ down + np.maximum(price - right, 0) @ up + price * (point.sum() - 1.0)
    return float(fall), price


def best_move(
    combined: Combined, feasible: Feasible, local: Local, tangents: np.ndarray, radius: float | None = None
) -> Move | None:
    """The feasible move that lowers the model most, by one linear programme.

    Args:
        combined: the objective.
        feasible: the constraints.
        local: its values and slopes.
        tangents: `[P]` t_i, where the entropies' tangents touch.
        radius: the most that any weight may move, or None.

    Returns:
        The move; None where the linear programme has no solution, because rounding leaves none within the radius.
    """
    from scipy.optimize import linprog

    point, count = local.point, len(local.point)
    unit = 1.0 if radius is None else radius
    limit = np.inf if radius is None else 1.0
    judging, l1 = combined.judging, feasible.l1 is not None
    several = judging is not None
    tail = np.flatnonzero(judging.most < judging.total) if judging is not None else np.zeros(0, int)
    level = 2 * count + count * l1  # where t and the u_r of C t + sum_r c_r u_r, row_r <= t + u_r, begin
    width = level + several + len(tail)
    logs = np.log(tangents)
    divergence, base = _tangent(combined.reference, logs, tangents, point)
    cost = np.zeros(width)
    offset = combined.kl * base + (0.0 if several else local.values[0])
    cost[:count], cost[count : 2 * count] = combined.kl * divergence, -combined.kl * divergence
    blocks, limits = [], []

    def add(rows: np.ndarray, slack: np.ndarray) -> None:
        """Rows on the step, in units of the radius."""
        blocks.append(np.hstack([rows, -rows, np.zeros((len(rows), width - 2 * count))]))
        limits.append(np.maximum(slack, 0.0) / unit)  # a point that misses a limit by rounding need not come back

    upper, lower = np.isfinite(feasible.row_high), np.isfinite(feasible.row_low)
    coefficients = np.concatenate([feasible.rows[upper], -feasible.rows[lower]])
    add(coefficients, np.concatenate([feasible.row_high[upper], -feasible.row_low[lower]]) - coefficients @ point)
    touching = [_tangent(each.reference, logs, tangents, point) for each in feasible.entropies]
    for each, (slope, value) in zip(feasible.entropies, touching, strict=True):
        add(slope[None], np.array([each.most - value]))
    linear = sum(len(each) for each in blocks)
    if judging is not None:
        top = judging.of(local.values) / judging.total
        offset += judging.total * top
        block = np.hstack([local.right, -local.left, np.zeros((len(local.values), width - 2 * count))])
        block[:, level], block[tail, level + 1 + np.arange(len(tail))] = -1.0, -1.0
        blocks.append(block)
        limits.append((top - local.values) / unit)
        cost[level], cost[level + 1 :] = judging.total, judging.most[tail]
    else:
        cost[:count] += local.right[0]
        cost[count : 2 * count] -= local.left[0]
    if l1:
        reference, most = feasible.l1  # type: ignore[misc]
        away, side = np.abs(point - reference), np.eye(count)
        rest = np.zeros((count, width - level))
        blocks += [np.hstack([side, -side, -side, rest]), np.hstack([-side, side, -side, rest])]
        limits += [(away - (point - reference)) / unit, (away + (point - reference)) / unit]
        blocks.append(np.concatenate([np.zeros(2 * count), np.ones(count), rest[0]])[None])
        limits.append(np.array([max(most - away.sum(), 0.0) / unit]))
    sums = np.concatenate([np.ones(count), -np.ones(count), np.zeros(width - 2 * count)])
    missing = 1.0 - point.sum()
    bounds = np.full((width, 2), (-np.inf, np.inf))
    bounds[level + several :, 0] = 0.0
    bounds[:count] = np.column_stack([np.zeros(count), np.minimum(np.maximum(feasible.high - point, 0) / unit, limit)])
    bounds[count : 2 * count] = np.column_stack(
        [np.zeros(count), np.minimum(np.maximum(point - feasible.low, 0) / unit, limit)]
    )
    matrix, most_of = np.concatenate(blocks), np.concatenate(limits)
    # Differences of slopes decide; the sum takes no part in them.
    middle = np.median(cost[:count])
    found = linprog(
        cost - middle * sums,
        A_ub=matrix if len(matrix) else None,
        b_ub=most_of if len(matrix) else None,
        A_eq=sums[None],
        b_eq=[missing / unit],
        bounds=bounds,
        method="highs",
        options=EXACT,
    )
    if found.x is None:
        return None
    step = (found.x[:count] - found.x[count : 2 * count]) * unit
    prices = -found.ineqlin.marginals if len(matrix) else np.zeros(0)
    entropy_prices = prices[linear - len(feasible.entropies) : linear]
    tight = np.flatnonzero(prices[:linear] > 0)
    equations = np.vstack(
        [
            np.concatenate([[missing], np.ones(count)]),
            *[np.concatenate([[most_of[row] * unit], matrix[row, :count]]) for row in tight],
        ]
    )
    reduced = found.lower.marginals + found.upper.marginals
    more, less = reduced[:count], reduced[count : 2 * count]
    ask = np.where(more < 0, more, np.where(less < 0, -less, 0.0))
    strength = combined.kl + entropy_prices.sum()
    asked = tangents if strength <= 0 else np.exp(np.clip(logs - ask / strength, np.log(LEAST_WEIGHT), 0.0))
    still = np.abs(step) <= 1e-9 * unit
    at_reference = point == feasible.l1[0] if feasible.l1 else np.zeros(count, bool)
    held = still & ((point <= feasible.low) | (point >= feasible.high) | local.kink | at_reference)
    return Move(
        least=float(found.fun) * unit + middle * missing + offset,
        step=step,
        held=held,
        shares=prices[linear : linear + len(local.values)] if several else np.ones(1),
        entropy_prices=entropy_prices,
        active=equations,
        distance=bool(l1 and prices[-1] > 0),
        tangents=np.clip(asked, np.maximum(feasible.low, LEAST_WEIGHT), np.maximum(feasible.high, LEAST_WEIGHT)),
    )


def _tangent(
    reference: np.ndarray, logs: np.ndarray, tangents: np.ndarray, point: np.ndarray
) -> tuple[np.ndarray, float]:
    """Slopes of sum_i w_i log(w_i / r_i) at the tangents' points, and the tangents' value at another point."""
    used = reference > 0
    slope = np.where(used, logs - np.log(np.where(used, reference, 1.0)) + 1.0, 0.0)
    return slope, float(np.sum(np.where(used, slope * point - tangents, 0.0)))


def residual(combined: Combined, feasible: Feasible, weights: np.ndarray) -> float:
    """How much the objective could fall at most by any feasible first-order move from these weights, in its unit.

    Bounds alone are certified by `box_fall`, all else by linear programmes; entropies by the best of a few tangents.
    At concave kinks, where both sides fall, the model may use both at once: still an upper bound.

    Args:
        combined: the objective.
        feasible: the constraints.
        weights: `[P]`, feasible.

    Returns:
        The residual, >= 0; inf where a slope is not a number. For a convex objective J(w) - J* <= residual.
    """
    local = look(combined, weights)
    value = float(objective(combined, weights[None])[0])
    return _residual(combined, feasible, weights, local, value)


def _residual(combined: Combined, feasible: Feasible, weights: np.ndarray, local: Local, value: float) -> float:
    if not (np.all(np.isfinite(local.left)) and np.all(np.isfinite(local.right)) and np.isfinite(value)):
        return np.inf
    linear = feasible.l1 is None and not feasible.entropies and not len(feasible.rows)
    if linear and combined.kl == 0 and combined.judging is None:
        fall, _ = box_fall(local.left[0], local.right[0], local.point, feasible.low, feasible.high)
        return max(0.0, float(value - local.values[0] + fall))
    tangents = np.maximum(weights, LEAST_WEIGHT)
    least = -np.inf
    for _ in range(ROUNDS if combined.kl > 0 or feasible.entropies else 1):
        move = best_move(combined, feasible, local, tangents)
        if move is None:
            break
        least = max(least, move.least)
        tangents = move.tangents
    return max(0.0, float(value - least))
