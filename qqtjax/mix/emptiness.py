"""Is there any mix that satisfies its constraints: by sums, by one linear programme, by a concave dual."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qqtjax.errors import QQTError
from qqtjax.mix.feasible import TOLERANCE, Feasible

NEWTON_STEPS = 200
HALVINGS = 50
SETTLED = 1e-12  # slope of the dual, in shares or nats, below which it is at its maximum
DAMPING = 0.1  # of the slope, added to the curvature: Newton near the maximum, short steps where it is flat


def is_empty(feasible: Feasible) -> bool:
    """Does no mix satisfy all constraints to 1e-9, in shares or nats.

    Bounds alone are decided by their sums, in O(P). Groups, cost and L1 distance by one linear programme,

        min t >= 0   with   rows w <= row_high + t,   rows w >= row_low - t,   sum_i |w_i - r_i| <= most + t

    within the bounds. Entropies by the dual of their least excess over the linear part, see `_entropies_collide`.

    Args:
        feasible: the constraints of P pools.

    Raises:
        QQTError: the linear programme could not be solved.

    Example:
        >>> from qqtjax.mix.constraints import Constraints
        >>> from qqtjax.runs import Pools
        >>> pools = Pools.of({"top10": 1e6, "web": 1e8})
        >>> is_empty(Constraints(min_pools=2, caps={"top10": 0.4}).bind(pools, 1e6))
        True
    """
    low, high = feasible.low, feasible.high
    for entropy in feasible.entropies:
        high = np.where(entropy.reference > 0, high, 0.0)
    if np.any(low > high + TOLERANCE) or low.sum() > 1 + TOLERANCE or high.sum() < 1 - TOLERANCE:
        return True
    high = np.maximum(low, high)
    if not len(feasible.rows) and feasible.l1 is None and not feasible.entropies:
        return False
    linear = _linear(feasible, low, high)
    if (len(linear.most) or linear.l1) and _least_excess(linear) > TOLERANCE:
        return True
    return bool(feasible.entropies) and _entropies_collide(feasible, linear)


class _Linear(NamedTuple):
    """The linear part: low <= w <= high, sum w = total, rows w <= most, and the L1 distance."""

    low: np.ndarray
    high: np.ndarray
    total: float
    rows: np.ndarray
    most: np.ndarray
    l1: tuple[np.ndarray, float] | None


def _linear(feasible: Feasible, low: np.ndarray, high: np.ndarray) -> _Linear:
    upper, lower = np.isfinite(feasible.row_high), np.isfinite(feasible.row_low)
    return _Linear(
        low,
        high,
        float(np.clip(1, low.sum(), high.sum())),
        np.concatenate([feasible.rows[upper], -feasible.rows[lower]]),
        np.concatenate([feasible.row_high[upper], -feasible.row_low[lower]]),
        feasible.l1,
    )


def _least_excess(linear: _Linear) -> float:
    """The least t by which all rows and the L1 distance must give way.

    The distance enters by w = r + p - q with p, q >= 0, whose bounds follow from those of w.
    """
    from scipy.optimize import linprog

    rows, most, total = linear.rows, linear.most, np.ones(len(linear.low))
    low, high, sum_to = linear.low, linear.high, linear.total
    if linear.l1:
        reference, distance = linear.l1
        rows = np.concatenate([np.hstack([rows, -rows]), np.ones((1, 2 * len(total)))])
        most = np.append(most - linear.rows @ reference, distance)
        low = np.maximum(np.concatenate([low - reference, reference - high]), 0)
        high = np.maximum(np.concatenate([linear.high - reference, reference - linear.low]), 0)
        total, sum_to = np.concatenate([total, -total]), sum_to - reference.sum()
    found = linprog(
        np.append(np.zeros(len(low)), 1.0),
        A_ub=np.hstack([rows, np.full((len(rows), 1), -1.0)]),
        b_ub=most,
        A_eq=np.append(total, 0.0)[None],
        b_eq=[sum_to],
        bounds=np.column_stack([np.append(low, 0.0), np.append(high, np.inf)]),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if not found.success:
        raise QQTError(f"the linear programme of the constraints could not be solved: {found.message}")
    return float(found.fun)


def _entropies_collide(feasible: Feasible, linear: _Linear) -> bool:
    """Is the larger excess of two entropies (or of one) above 0 everywhere on the linear part; found by its dual.

        max over 0 <= lambda <= 1, y >= 0, mu >= 0, nu of   min over low <= w <= high of
          lambda (KL_1(w) - m_1) + (1 - lambda) (KL_2(w) - m_2)
          + y (rows w - most) + mu (|w - r|_1 - most) + nu (sum w - 1)

    The inner minimum is separable: with s_i the slope of everything linear in w_i,

        w_i = clip(median(e^(-1 - s_i - mu), r_i, e^(-1 - s_i + mu)), low_i, high_i)

    The dual is concave and its variables few, one for each row, so that damped Newton steps projected on their
    bounds climb it in O(P R^2) each, whatever P. A positive value proves that nothing satisfies all; every limit is
    loosened by 1e-9 first.
    """
    first, last = feasible.entropies[0], feasible.entropies[-1]  # one and the same, or two: then lambda weighs them
    log_first, log_last = (np.log(np.where(each.reference > 0, each.reference, 1.0)) for each in (first, last))
    reference, distance = linear.l1 or (linear.low, np.inf)
    rows = np.concatenate([np.ones((1, len(linear.low))), [log_last - log_first], linear.rows])
    limits = np.concatenate([[linear.total, first.most - last.most], linear.most + TOLERANCE])
    lower = np.concatenate([[-np.inf, 0], np.zeros(len(linear.most) + 1)])
    upper = np.concatenate([[np.inf, 1], np.full(len(linear.most), np.inf), [np.inf if linear.l1 else 0]])
    finite_distance = distance + TOLERANCE if linear.l1 else 0.0

    def climb(at: np.ndarray) -> tuple[float, np.ndarray]:
        """The dual's value and the weights that attain the inner minimum."""
        slope = at[:-1] @ rows - log_last
        towards = np.exp(np.minimum(-1 - slope - at[-1], 1)), np.exp(np.minimum(-1 - slope + at[-1], 1))
        weights = np.clip(np.clip(reference, *towards) if linear.l1 else towards[0], linear.low, linear.high)
        logs = np.log(np.where(weights > 0, weights, 1.0))
        inner = weights @ (logs + slope) + at[-1] * (np.abs(weights - reference).sum() - finite_distance)
        return float(inner - at[:-1] @ limits - last.most - TOLERANCE), weights

    at = np.zeros(len(limits) + 1)
    value, weights = climb(at)
    for _ in range(NEWTON_STEPS):
        if value > 0:
            return True
        side = np.sign(weights - reference) if linear.l1 else np.zeros(len(weights))
        away = np.abs(weights - reference).sum() - finite_distance if linear.l1 else 0.0
        slope = np.append(rows @ weights - limits, away)
        held = ((at <= lower) & (slope <= 0)) | ((at >= upper) & (slope >= 0))
        steepest = np.max(np.abs(slope[~held]), initial=0.0)
        if steepest <= SETTLED:
            return False
        moves = (weights > linear.low) & (weights < linear.high) & ((side != 0) | (linear.l1 is None))
        free = np.concatenate([rows, side[None]])[np.ix_(~held, moves)]
        curvature = (free * weights[moves]) @ free.T + DAMPING * steepest * np.eye(len(free))
        step = np.zeros(len(at))
        step[~held] = np.linalg.solve(curvature, slope[~held])
        for halving in range(HALVINGS):
            trial = np.clip(at + step / 2**halving, lower, upper)
            reached, weights_there = climb(trial)
            if reached > value and reached >= value + 1e-4 * slope @ (trial - at):
                break
        else:
            return False  # no step climbs any more: the maximum to rounding, and it is not above 0
        at, value, weights = trial, reached, weights_there
    return False
