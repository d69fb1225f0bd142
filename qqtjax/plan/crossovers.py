"""The budgets at which one filter overtakes another: bracketed at every epoch boundary, solved on the law."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from qqtjax.laws.fitted import FittedLaw
from qqtjax.laws.repetition import bucket
from qqtjax.mix.predict import error_table, errors_of, tie_of_pools

# Two predictions this close (in log error) are a tie: rounding must not look like a crossing.
TIE = 1e-12
LOG_STEPS = 1024
MOST_BOUNDARIES = 50_000
MOST_SCANNED_EPOCHS = 512
COARSE_WORK, FEWEST_COARSE = 1 << 23, 16  # scan steps beyond those epochs, over all rows
BEYOND_LARGEST_BUDGET = 100.0
ROOT_TOLERANCE = 1e-13
GOLDEN = (5**0.5 - 1) / 2


class Crossing(NamedTuple):
    """A budget at which two options tie and change places.

    Attributes:
        below: the option that is better at smaller budgets.
        above: the option that is better at larger budgets.
        samples_seen: the budget, solved on the law.
    """

    below: int
    above: int
    samples_seen: float


def search_range(
    fitted: FittedLaw, weights: np.ndarray, budgets: np.ndarray, horizon: float | None = None
) -> tuple[float, float]:
    """Where crossings are searched: from just above `scale`, if all pools tie there, to the horizon.

    A law whose pools do not tie is searched from a thousandth of the least budget. The default horizon is 100 times
    the largest budget (or the most samples fitted, or 1,000 times `scale` or the largest pool). For laws that
    scan it is at most 512 epochs of the smallest pool or the largest budget, if that is more; 512 epochs where
    even 16 budgets beyond them would take more than 2^23 scan steps.

    Args:
        fitted: the law.
        weights: `[F, P]`.
        budgets: `[B]`, may be empty.
        horizon: the caller's own, samples seen.
    """
    scale, sizes = tie_of_pools(fitted.params), fitted.pools.sizes
    unit = scale or float(np.max(sizes[np.isfinite(sizes)], initial=1.0))
    known = list(budgets) or [fitted.seen.samples_seen[1] if fitted.seen else 1e3 * unit]
    reach = float(max(known))
    low = scale * (1 + 1e-6) if scale else 1e-3 * float(min(known))
    high = horizon or BEYOND_LARGEST_BUDGET * max(reach, low)
    lengths = _epoch_lengths(weights, fitted.pools.sizes)
    if fitted.law.scans(fitted.params) and len(lengths):
        scanned = MOST_SCANNED_EPOCHS * lengths[0]
        high = min(high, max(scanned, reach))
        if high > scanned and _coarse_steps(weights, lengths, high) < FEWEST_COARSE:
            high = scanned
    return low, high


def every_epoch_until(fitted: FittedLaw, weights: np.ndarray, high: float) -> float:
    """The budget up to which crossings are bracketed at every epoch boundary; beyond it at coarser steps.

    All of them up to `high` where there are at most 50,000; else, of each mix, the first 25,000 / F. Beyond,
    every further one is at a whole epoch too, but they are spaced evenly in log n. Laws that scan: 512 epochs of
    the smallest pool.

    Args:
        fitted: the law.
        weights: `[F, P]`.
        high: where the search ends, samples seen.
    """
    lengths = _epoch_lengths(weights, fitted.pools.sizes)
    if not len(lengths):
        return high
    if fitted.law.scans(fitted.params):
        return float(min(high, MOST_SCANNED_EPOCHS * lengths[0]))
    if np.sum(high / lengths) <= MOST_BOUNDARIES:
        return high
    return float(min(high, MOST_BOUNDARIES // (2 * len(lengths)) * lengths[0]))


def find_crossings(fitted: FittedLaw, weights: np.ndarray, low: float, high: float) -> list[Crossing]:
    """All budgets in (low, high) at which two options tie, for every pair, ascending.

    For `laws.utility` log(y - d) of fixed weights is linear in log n between the epoch boundaries
    n = j N_i / w_i, so a sign change between neighbouring boundaries is one crossing and there are no others.
    Laws that bend between boundaries are bracketed on 1,024 log-spaced budgets as well, and where two curves
    nearly touch the least gap is searched for. Every bracket is then solved to 1e-13 in log n. Beyond
    `every_epoch_until` the brackets are coarser: a pair that crosses twice within one step is missed there where
    the curves do not visibly dip.

    Args:
        fitted: the law.
        weights: `[F, P]`, all different.
        low: samples seen; at `scale` itself all pools tie, which is no crossing.
        high: samples seen.
    """
    if high <= low or len(weights) < 2:
        return []
    budgets = _boundaries(fitted, weights, low, high)
    grid = np.log(budgets)
    scans = fitted.law.scans(fitted.params)
    # A law that scans takes as long as the most epochs of a batch: the many epochs beyond apart, no dips there.
    exact = every_epoch_until(fitted, weights, high) if scans else high
    fine = int(np.searchsorted(budgets, exact, side="right"))
    logs = np.log(np.hstack([error_table(fitted, weights, part) for part in (budgets[:fine], budgets[fine:])]))
    first, second = np.triu_indices(len(weights), 1)
    brackets = []
    for i, j in zip(first, second, strict=True):
        gap = logs[i] - logs[j]
        brackets += [(i, j, left, right) for left, right in _sign_changes(grid, gap)]
        brackets += _touching(fitted, weights, int(i), int(j), grid[:fine], gap[:fine])
    if not brackets:
        return []
    pairs = np.array([(i, j) for i, j, _, _ in brackets])
    left, right = np.array([(a, b) for _, _, a, b in brackets]).T

    found = []
    beyond = right > np.log(exact)
    for group in (np.flatnonzero(~beyond), np.flatnonzero(beyond)):
        if not len(group):
            continue
        first, second = weights[pairs[group, 0]], weights[pairs[group, 1]]
        gap_at = partial(log_gap, fitted, first, second)
        roots = np.exp(solve_brackets(gap_at, left[group], right[group]))
        starts_better = gap_at(left[group]) < 0
        found += [
            Crossing(int(i if better else j), int(j if better else i), float(root))
            for (i, j), better, root in zip(pairs[group], starts_better, roots, strict=True)
        ]
    return sorted(found, key=lambda crossing: crossing.samples_seen)


def frontier(
    fitted: FittedLaw, weights: np.ndarray, crossings: list[Crossing], low: float, high: float
) -> list[tuple[float, int]]:
    """The best option from each budget on: `(samples seen, option)`, ascending, starting at `low`.

    Between two neighbouring crossings no two options change places, so one evaluation between them decides.
    """
    edges = [low, *(crossing.samples_seen for crossing in crossings), max(high, low)]
    inside = np.sqrt(np.array(edges[:-1]) * np.array(edges[1:]))
    best = np.argmin(error_table(fitted, weights, inside), axis=0)
    steps: list[tuple[float, int]] = []
    for start, option in zip(edges[:-1], best, strict=True):
        if not steps or steps[-1][1] != option:
            steps.append((float(start), int(option)))
    return steps


def log_gap(fitted: FittedLaw, first: np.ndarray, second: np.ndarray, position: np.ndarray) -> np.ndarray:
    """`[M]` log y of one mix less log y of another at n = exp(position), from `[M, P]`, `[M, P]`, `[M]`."""
    seen = np.exp(np.concatenate([position, position]))
    errors = np.log(errors_of(fitted, np.concatenate([first, second]), seen))
    return errors[: len(position)] - errors[len(position) :]


def solve_brackets(function: Callable[[np.ndarray], np.ndarray], left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Roots of M scalar functions of opposite signs at both ends, by Ridders' method on all of them at once.

    Source: C. Ridders, IEEE Trans. Circuits and Systems 26 (1979) 979-980.

    Args:
        function: `[M]` positions to `[M]` values.
        left: `[M]` lower ends.
        right: `[M]` upper ends.

    Example:
        >>> solve_brackets(lambda x: x**2 - 2, np.array([0.0]), np.array([2.0])).round(9)
        array([1.41421356])
    """
    left, right = left.copy(), right.copy()
    at_left, at_right = function(left), function(right)
    best = np.where(np.abs(at_left) < np.abs(at_right), left, right)
    for _ in range(80):
        narrow = right - left <= ROOT_TOLERANCE * np.maximum(1.0, np.abs(left))
        if np.all(narrow | (at_left == 0) | (at_right == 0)):
            break
        middle = (left + right) / 2
        at_middle = function(middle)
        spread = np.sqrt(np.maximum(at_middle**2 - at_left * at_right, 0.0))
        step = np.where(spread > 0, at_middle / np.where(spread > 0, spread, 1.0), 0.0)
        guess = np.clip(middle + (middle - left) * np.sign(at_left - at_right) * step, left, right)
        for point, value in ((middle, at_middle), (guess, function(guess))):
            inside = (point >= left) & (point <= right)
            same = inside & (np.sign(value) == np.sign(at_left))
            other = inside & ~same
            left, at_left = np.where(same, point, left), np.where(same, value, at_left)
            right, at_right = np.where(other, point, right), np.where(other, value, at_right)
        best = np.where(np.abs(at_left) < np.abs(at_right), left, right)
    return best


def _epoch_lengths(weights: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The different N_i / w_i of all mixes, ascending: samples seen by a run during one epoch of a pool."""
    lengths = {float(size / share) for row in weights for size, share in zip(sizes, row, strict=True) if share > 0}
    return np.array(sorted(length for length in lengths if np.isfinite(length)))


def _coarse_steps(weights: np.ndarray, lengths: np.ndarray, high: float) -> int:
    """How many budgets a law that scans is evaluated at beyond 512 epochs."""
    return int(min(LOG_STEPS, COARSE_WORK // (weights.size * bucket(high / lengths[0]))))


def _boundaries(fitted: FittedLaw, weights: np.ndarray, low: float, high: float) -> np.ndarray:
    """Sorted budgets from low to high: every n = j N_i / w_i, or some of them, and log-spaced ones."""
    lengths = _epoch_lengths(weights, fitted.pools.sizes)
    exact = every_epoch_until(fitted, weights, high)
    if fitted.law.scans(fitted.params):
        points = [np.array([low, high])]
        if low < exact:
            points += [np.geomspace(low, exact, LOG_STEPS), *(_whole_epochs(length, low, exact) for length in lengths)]
        if exact < high:
            points.append(np.geomspace(max(low, exact), high, max(2, _coarse_steps(weights, lengths, high))))
        return np.unique(np.concatenate(points))
    points = [np.geomspace(low, high, LOG_STEPS)]
    most = MOST_BOUNDARIES // max(1, len(lengths))
    for length in lengths:
        if exact == high or high / length <= most:
            points.append(_whole_epochs(length, low, high))
        else:
            first = most // 2 * length
            points.append(_whole_epochs(length, low, first))
            points.append(length * np.rint(np.geomspace(max(low, first), high, most // 2) / length)[1:-1])
    return np.unique(np.concatenate(points))


def _whole_epochs(length: float, low: float, high: float) -> np.ndarray:
    return length * np.arange(max(1, np.ceil(low / length)), np.floor(high / length) + 1)


def _sign_changes(grid: np.ndarray, gap: np.ndarray) -> list[tuple[float, float]]:
    """Neighbouring positions of opposite sign, ties passed over."""
    clear = np.flatnonzero(np.abs(gap) > TIE)
    signs = np.sign(gap[clear])
    changes = np.flatnonzero(signs[1:] != signs[:-1])
    return [(float(grid[clear[c]]), float(grid[clear[c + 1]])) for c in changes]


def _touching(
    fitted: FittedLaw, weights: np.ndarray, i: int, j: int, grid: np.ndarray, gap: np.ndarray
) -> list[tuple[int, int, float, float]]:
    """Two brackets wherever the gap dips through zero and back between grid points."""
    size = np.abs(gap)
    middle = size[1:-1]
    drop = np.maximum(size[:-2], size[2:]) - middle
    same = (np.sign(gap[:-2]) == np.sign(gap[1:-1])) & (np.sign(gap[2:]) == np.sign(gap[1:-1]))
    dips = np.flatnonzero(same & (middle <= np.minimum(size[:-2], size[2:])) & (middle < drop) & (middle > TIE)) + 1
    if not len(dips):
        return []
    sign = np.sign(gap[dips])
    left, right = grid[dips - 1], grid[dips + 1]
    ends = left.copy(), right.copy()

    def height(position: np.ndarray) -> np.ndarray:
        shape = (len(position), weights.shape[1])
        return sign * log_gap(fitted, np.broadcast_to(weights[i], shape), np.broadcast_to(weights[j], shape), position)

    for _ in range(40):
        inner, outer = right - GOLDEN * (right - left), left + GOLDEN * (right - left)
        lower = height(inner) < height(outer)
        left, right = np.where(lower, left, inner), np.where(lower, outer, right)
    lowest = (left + right) / 2
    through = height(lowest) < -TIE
    found = []
    for start, bottom, end in zip(ends[0][through], lowest[through], ends[1][through], strict=True):
        found += [(i, j, float(start), float(bottom)), (i, j, float(bottom), float(end))]
    return found
