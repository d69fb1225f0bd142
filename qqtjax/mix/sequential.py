"""From a start to a good mix under rows, distances and entropies: SciPy's SLSQP, and a point with room to spare."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qqtjax.mix.combined import LEAST_WEIGHT, Combined, penalty, rows_at
from qqtjax.mix.feasible import Feasible, violation

MOST_ITERATIONS, PRECISION = 50, 1e-10  # the finish does the rest


def descend_from(combined: Combined, feasible: Feasible, start: np.ndarray) -> np.ndarray:
    """`[P]` weights that SLSQP reaches, which may miss the limits a little; kinks may stop it early.

    The worst case enters by t >= q_m y_m; absolute differences by their slopes, kinks and all.

    Args:
        combined: the objective.
        feasible: the constraints.
        start: `[P]` weights, which need not be feasible.
    """
    count = len(start)
    # Of a tail SLSQP sees the slopes of the rows that are in it; what that leaves rough, the finish does.
    several = combined.judging is not None and bool(np.all(combined.judging.most >= combined.judging.total))
    rows, _ = rows_at(combined, start[None])
    begin = np.append(start, rows.max()) if several else start
    held: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def at(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        key = x[:count].tobytes()
        if key not in held:
            held.clear()
            values, slopes = rows_at(combined, np.clip(x[:count], feasible.low, feasible.high)[None])
            held[key] = np.nan_to_num(values[0]), np.nan_to_num(slopes[0])
        return held[key]

    def smooth(x: np.ndarray) -> tuple[float, np.ndarray]:
        weights, slope = np.clip(x[:count], 0, 1), np.zeros(len(x))
        used = combined.reference > 0
        ratio = np.maximum(weights, LEAST_WEIGHT) / np.where(used, combined.reference, 1.0)
        slope[:count] = np.where(used, combined.kl * (np.log(ratio) + 1), 0.0)
        slope[:count] += combined.l1 * np.sign(weights - combined.reference)
        value = float(penalty(combined, weights[None])[0])
        if several:
            slope[-1] = 1.0
            return value + x[-1], slope
        values, slopes = at(x)
        shares = np.ones(1) if combined.judging is None else combined.judging.worst(values)
        slope[:count] += shares @ slopes
        return value + float(shares @ values), slope

    constraints = _limits(feasible, len(begin), None, None)
    if feasible.l1:
        reference, most = feasible.l1

        def close(x: np.ndarray) -> float:
            return most - float(np.abs(x[:count] - reference).sum())

        def close_slope(x: np.ndarray) -> np.ndarray:
            return -np.append(np.sign(x[:count] - reference), np.zeros(len(x) - count))

        constraints.append({"type": "ineq", "fun": close, "jac": close_slope})
    if several:

        def above(x: np.ndarray) -> np.ndarray:
            return x[-1] - at(x)[0]

        def above_slope(x: np.ndarray) -> np.ndarray:
            slope = np.zeros((len(at(x)[0]), len(x)))
            slope[:, :count], slope[:, -1] = -at(x)[1], 1.0
            return slope

        constraints.append({"type": "ineq", "fun": above, "jac": above_slope})
    return _solve(smooth, begin, feasible, constraints)


def roomy(feasible: Feasible) -> np.ndarray:
    """`[P]` weights that meet rows, distance and entropies with as much room as there is.

    least s   with   rows w <= most + s,   distance <= most + s,   entropies <= most + s   within the bounds
    """
    count = len(feasible.low)
    middle = _within(feasible, np.full(count, 1.0 / count))
    reference = feasible.l1[0] if feasible.l1 else None
    begin = np.concatenate([middle, [] if reference is None else np.abs(middle - reference), [0.0]])
    begin[-1] = violation(feasible, middle) + 0.1
    slope = np.zeros(len(begin))
    slope[-1] = 1.0
    constraints = _limits(feasible, len(begin), reference, -1)
    found = _solve(lambda x: (x[-1], slope), begin, feasible, constraints)
    return _within(feasible, found)


def _within(feasible: Feasible, weights: np.ndarray) -> np.ndarray:
    """Moved within the bounds, sum 1."""
    point = np.clip(weights, feasible.low, feasible.high)
    for _ in range(4):
        missing = 1.0 - point.sum()
        room = np.where(missing > 0, feasible.high - point, point - feasible.low)
        point = np.clip(point + missing * room / max(room.sum(), LEAST_WEIGHT), feasible.low, feasible.high)
    return point


def _limits(feasible: Feasible, width: int, reference: np.ndarray | None, slack: int | None) -> list[dict]:
    """SLSQP's constraints on x = (w, ...), or x = (w, a, ...) with a_i >= |w_i - r_i| and the limit on their sum.

    With `slack` all limits give way by that variable.
    """
    count = len(feasible.low)
    total = np.zeros((1, width))
    total[0, :count] = 1.0
    constraints = [{"type": "eq", "fun": lambda x: total @ x - 1.0, "jac": lambda x: total}]
    same = feasible.row_low == feasible.row_high
    upper, lower = np.isfinite(feasible.row_high) & ~same, np.isfinite(feasible.row_low) & ~same
    parts = [-feasible.rows[upper], feasible.rows[lower]]
    most = [feasible.row_high[upper], -feasible.row_low[lower]]
    block = np.zeros((int(upper.sum() + lower.sum()), width))
    block[:, :count] = np.concatenate(parts)
    if slack is not None:
        block[:, slack] = 1.0
    blocks, limits = [block], [np.concatenate(most)]
    if np.any(same):
        exact = np.zeros((int(same.sum()), width))
        exact[:, :count] = feasible.rows[same]
        target = feasible.row_high[same]
        constraints.append({"type": "eq", "fun": lambda x: exact @ x - target, "jac": lambda x: exact})
    if reference is not None:
        side = np.zeros((2 * count, width))
        side[:count, :count], side[count:, :count] = -np.eye(count), np.eye(count)
        side[:count, count : 2 * count] = side[count:, count : 2 * count] = np.eye(count)
        blocks.append(side)
        limits.append(np.concatenate([reference, -reference]))
    if reference is not None and feasible.l1 is not None:
        together = np.zeros((1, width))
        together[0, count : 2 * count] = -1.0
        if slack is not None:
            together[0, slack] = 1.0
        blocks.append(together)
        limits.append(np.array([feasible.l1[1]]))
    linear, bounds = np.concatenate(blocks), np.concatenate(limits)
    if len(linear):
        constraints.append({"type": "ineq", "fun": lambda x: linear @ x + bounds, "jac": lambda x: linear})
    for each in feasible.entropies:
        constraints.append(_entropy_limit(each.reference, each.most, count, width, slack))
    return constraints


def _entropy_limit(reference: np.ndarray, most: float, count: int, width: int, slack: int | None) -> dict:
    used = reference > 0
    known = np.where(used, reference, 1.0)

    def room(x: np.ndarray) -> float:
        weights = np.where(used, x[:count], 0.0)
        logs = np.log(np.maximum(weights, LEAST_WEIGHT) / known)
        return most - float(weights @ logs) + (0.0 if slack is None else x[slack])

    def slope(x: np.ndarray) -> np.ndarray:
        found = np.zeros(width)
        found[:count] = np.where(used, -np.log(np.maximum(x[:count], 1e-12) / known) - 1.0, 0.0)
        if slack is not None:
            found[slack] = 1.0
        return found

    return {"type": "ineq", "fun": room, "jac": slope}


def _solve(
    smooth: Callable[[np.ndarray], tuple[float, np.ndarray]],
    begin: np.ndarray,
    feasible: Feasible,
    constraints: list[dict],
) -> np.ndarray:
    from scipy.optimize import minimize

    count = len(feasible.low)
    bounds = np.full((len(begin), 2), (-np.inf, np.inf))
    bounds[:count] = np.column_stack([feasible.low, np.maximum(feasible.low, feasible.high)])
    with np.errstate(all="ignore"):
        found = minimize(
            smooth,
            begin,
            jac=True,
            method="SLSQP",
            bounds=bounds,
            constraints=constraints,
            options={"maxiter": MOST_ITERATIONS, "ftol": PRECISION},
        )
    weights = found.x[:count]
    return np.clip(weights if np.all(np.isfinite(weights)) else begin[:count], feasible.low, feasible.high)
