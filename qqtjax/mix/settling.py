"""The last digits of a mix: onto the kinks, bounds and limits that hold it, and by Newton's method between them.

Each step first asks a linear programme, whose model knows both slopes at every kink, which pools a small move would
keep on their kink or bound and which limits it would keep active; then Newton's method moves the others within these.
The better of both moves, or of shorter ones, is taken; where none is better the linear programme looks less far.
Source: sequential linear-quadratic programming, as in Byrd, Gould, Nocedal and Waltz (2004), with kinks; ours.
"""

from __future__ import annotations

import numpy as np

from qqtjax.mix.combined import (
    ASIDE,
    LEAST_WEIGHT,
    Combined,
    Local,
    kinks_around,
    look,
    near,
    objective,
    rows_at,
)
from qqtjax.mix.feasible import Feasible, violation
from qqtjax.mix.stationarity import Move, best_move, residual

MOST_STEPS = 60
SETTLED = 1e-11  # residual at which the search ends
FIRST_RADIUS, LEAST_RADIUS = 1e-2, 1e-12
EQUAL = 1e-13  # of objectives: below it the residual decides
PROBE = 1e-6  # by which weights are moved for second derivatives
NARROW = 4e-6  # epochs shorter than this share are looked past
SHORTER = 0.25 ** np.arange(5)
SMALL = 1e-6  # weights that an entropy rules alone
PARTLY = 1e-9  # of its limit: a share so near to it is at it
MET = 1e-12  # by which results may miss a limit


def settle(
    combined: Combined, feasible: Feasible, weights: np.ndarray, anchor: np.ndarray, most_steps: int = MOST_STEPS
) -> np.ndarray:
    """A better mix near a feasible one: `[P]` weights whose objective is no higher, to rounding.

    Args:
        combined: the objective.
        feasible: the constraints.
        weights: `[P]`, feasible.
        anchor: `[P]`, feasible with room to spare where there is any: what misses a limit is moved towards it.
        most_steps: after which the search ends.
    """
    radius = FIRST_RADIUS
    value = float(objective(combined, weights[None])[0])
    left = residual(combined, feasible, weights)
    for number in range(most_steps):
        if left <= SETTLED or not np.isfinite(left) or radius < LEAST_RADIUS:
            break
        local = look(combined, weights)
        # At a concave kink each side's slope alone is an upper model; they take turns.
        local = _one_sided(local, number % 2 == 0)
        move = best_move(combined, feasible, local, np.maximum(weights, LEAST_WEIGHT), radius)
        if move is None:
            break
        newton = _newton_moves(combined, feasible, local, move)
        steps = [move.step, *newton]
        tried = np.concatenate([local.point + SHORTER[:, None] * step for step in steps])
        if combined.kl > 0 or feasible.entropies:
            tried = np.concatenate([tried, _small_by_entropy(tried, move)])
        points = [repaired(feasible, each, anchor) for each in tried]
        kept = np.array([each for each in points if each is not None])
        if not len(kept):
            radius *= 0.1
            continue
        values = objective(combined, kept)
        best = int(np.argmin(values))
        if values[best] < value - EQUAL:
            weights, value = kept[best], float(values[best])
            left = residual(combined, feasible, weights)
            radius = min(0.1, max(radius, 2 * float(np.abs(weights - local.point).max())))
            continue
        even = np.flatnonzero(values <= value + EQUAL)
        rest = [residual(combined, feasible, kept[each]) for each in even[:4]]
        if rest and min(rest) < 0.5 * left:
            chosen = even[int(np.argmin(rest))]
            weights, value, left = kept[chosen], min(value, float(values[chosen])), min(rest)
            continue
        radius *= 0.1
    return weights


def repaired(feasible: Feasible, weights: np.ndarray, anchor: np.ndarray) -> np.ndarray | None:
    """The nearest feasible point on the way to the anchor, its sum 1 to rounding; None where there is none."""
    point = np.clip(weights, feasible.low, feasible.high)
    for _ in range(3):
        missing = 1.0 - point.sum()
        room = np.where(missing > 0, feasible.high - point, point - feasible.low)
        place = int(np.argmax(np.where(room > abs(missing), point, -1.0)))
        spread = room.sum()
        if abs(missing) <= 1e-15 or spread <= 0:
            break
        if abs(missing) < 1e-9 and room[place] > abs(missing):
            point[place] += missing
        else:
            point = np.clip(point + missing * room / spread, feasible.low, feasible.high)
    allowed = max(MET, violation(feasible, anchor))
    if violation(feasible, point) <= allowed:
        return point
    if violation(feasible, anchor) > 5e-10:
        return None
    near_end, far_end = 0.0, 1.0
    for _ in range(50):
        middle = 0.5 * (near_end + far_end)
        met = violation(feasible, point + middle * (anchor - point)) <= allowed
        near_end, far_end = (near_end, middle) if met else (middle, far_end)
    return point + far_end * (anchor - point)


def _one_sided(local: Local, right: bool) -> Local:
    concave = local.left > local.right
    chosen = local.right if right else local.left
    return local._replace(left=np.where(concave, chosen, local.left), right=np.where(concave, chosen, local.right))


def _small_by_entropy(tried: np.ndarray, move: Move) -> np.ndarray:
    """Small weights set to what the multipliers ask for, so that their logarithms are right too."""
    small = np.minimum(tried, move.tangents) < SMALL
    return np.where(small, move.tangents, tried)


def _newton_moves(combined: Combined, feasible: Feasible, local: Local, move: Move) -> list[np.ndarray]:
    """Newton's steps of the pools that are not held: within the epochs that the move enters, and across them."""
    point = local.point
    below, _, above = kinks_around(combined, point)
    side = np.where(move.step < 0, -1.0, 1.0)
    # The epoch next to a kink that a pool is to leave.
    low_end = np.where(local.kink & (side > 0), point, below)
    high_end = np.where(local.kink & (side < 0), point, above)
    slopes = np.where(local.kink & (side < 0), local.left, local.right)
    free = np.flatnonzero(~move.held)
    if not len(free):
        return []
    curved = _curvature(combined, local, move, free, (low_end, high_end, side))
    slope = move.shares @ slopes + _entropy_slope(combined, point)
    equations = [move.active]
    if combined.judging is not None:
        # Rows that are in the tail in part, not as a whole, stay level.
        rows = np.flatnonzero((move.shares > 0) & (move.shares < combined.judging.most * (1 - PARTLY)))
        rows = rows if len(rows) else np.flatnonzero(move.shares > 0)[:1]
        first = rows[0]
        equations.append(
            np.column_stack([local.values[first] - local.values[rows[1:]], slopes[rows[1:]] - slopes[first]])
        )
    if move.distance:
        reference, most = feasible.l1  # type: ignore[misc]
        away = point - reference
        equations.append(np.append(most - np.abs(away).sum(), np.where(away == 0, side, np.sign(away)))[None])
    stacked = np.concatenate(equations)
    inner = (np.maximum(low_end, feasible.low) - point, np.minimum(high_end, feasible.high) - point)
    outer = (feasible.low - point, feasible.high - point)
    return [_within(curved, slope, stacked, free, *ends) for ends in (inner, outer)]


def _within(
    curved: np.ndarray, slope: np.ndarray, equations: np.ndarray, free: np.ndarray, least: np.ndarray, most: np.ndarray
) -> np.ndarray:
    """Newton's step; pools that would leave their range stop at its end, one after the other."""
    step = np.zeros(len(slope))
    stopped: dict[int, float] = {}
    for _ in range(len(free)):
        moving = np.array([each for each in free if each not in stopped], int)
        fixed = np.zeros(len(slope))
        for place, end in stopped.items():
            fixed[place] = end
        if not len(moving):
            return fixed
        matrix = equations[:, 1 + moving]
        goal = equations[:, 0] - equations[:, 1:] @ fixed
        step = fixed
        base, *_ = np.linalg.lstsq(matrix, goal, rcond=1e-11)
        _, sizes, basis = np.linalg.svd(matrix)
        rank = int(np.sum(sizes > 1e-11 * max(1.0, sizes[0])))
        null = basis[rank:].T
        inner = curved[np.ix_(moving, moving)]
        across = slope[moving] + inner @ base + curved[np.ix_(moving, np.arange(len(slope)))] @ fixed
        bends, vectors = np.linalg.eigh(null.T @ inner @ null)
        bends = np.maximum(np.abs(bends), 1e-8 * max(1.0, np.abs(bends).max(initial=0.0)))
        step[moving] = base - null @ (vectors @ ((vectors.T @ (null.T @ across)) / bends))
        over = np.where(step > most, (step - most) / np.maximum(np.abs(step), 1e-300), 0.0)
        under = np.where(step < least, (least - step) / np.maximum(np.abs(step), 1e-300), 0.0)
        worst = np.maximum(over, under)
        worst[list(stopped)] = 0.0
        place = int(np.argmax(worst))
        if worst[place] <= 1e-12:
            break
        stopped[place] = float(most[place] if over[place] > 0 else least[place])
    return step


def _entropy_slope(combined: Combined, point: np.ndarray) -> np.ndarray:
    """`[P]` slope of the entropy penalty."""
    used = combined.reference > 0
    ratio = np.maximum(point, LEAST_WEIGHT) / np.where(used, combined.reference, 1.0)
    return np.where(used, combined.kl * (np.log(ratio) + 1.0), 0.0)


def _curvature(
    combined: Combined,
    local: Local,
    move: Move,
    free: np.ndarray,
    epoch: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """`[P, P]` second derivatives of the Lagrangian: differences of slopes within an epoch, entropies exactly."""
    low_end, high_end, side = epoch
    point = local.point
    room_up, room_down = high_end - point, point - np.maximum(low_end, 0.0)
    ahead = np.where(local.kink, side, np.where((room_up >= room_down) | (point <= 0), 1.0, -1.0))
    room = np.where(ahead > 0, room_up, room_down)
    width = np.where(ahead > 0, PROBE, -PROBE) * np.where(high_end - low_end < NARROW, 100.0, 1.0)
    inside = np.minimum(np.abs(width), 0.5 * room) * ahead
    width = np.where(high_end - low_end < NARROW, width, inside)
    aside = np.where(local.kink, ahead * (ASIDE * point + 2 * near(combined, point) * 1e-3), 0.0)
    base = np.maximum(point + aside, 0.0)
    probes = np.repeat(base[None], len(free) + 1, axis=0)
    probes[1 + np.arange(len(free)), free] += width[free]
    _, slopes = rows_at(combined, probes)
    slopes = np.einsum("r,brp->bp", move.shares, slopes)
    curved = np.zeros((len(point), len(point)))
    curved[:, free] = ((slopes[1:] - slopes[0]) / width[free, None]).T
    curved = np.where(np.isin(np.arange(len(point)), free)[:, None], curved, curved.T)
    curved = 0.5 * (curved + curved.T)
    strength = combined.kl + move.entropy_prices.sum()
    return np.nan_to_num(curved) + np.diag(strength / np.maximum(point, 1e-9))
