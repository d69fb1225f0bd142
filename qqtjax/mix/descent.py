"""The best mix for any law under any constraints: many starts, a finish that knows kinks, and a certificate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw
from qqtjax.laws.repetition import SMALLEST_BUCKET
from qqtjax.mix.collisions import refuse_empty
from qqtjax.mix.combined import (
    Combined,
    combine,
    epochs_at,
    is_convex,
    judged,
    objective,
    scanned_to,
    values_at,
    work_of,
)
from qqtjax.mix.feasible import TOLERANCE, Feasible, violation
from qqtjax.mix.objectives import Judging
from qqtjax.mix.scanned import LAST_SEARCH, RAISED, Effort, binds, effort, first_limit, held_to, start_limit
from qqtjax.mix.sequential import descend_from, roomy
from qqtjax.mix.settling import repaired, settle
from qqtjax.mix.stationarity import residual
from qqtjax.mix.subgradient import search

GLOBAL, LOCAL = "global: the error is convex in the weights", "local"
RANDOM_STARTS, MOST_ALONE = 4, 32
ALIKE = 1e-3  # mixes nearer to each other than this count as one
SMALLER = 8  # times smaller a budget whose best mix is compared where this one is not searched
AGREE = 1e-5  # of the value: starts that end so near to the best one agree with it


class Descended(NamedTuple):
    """The best mix that was found.

    Attributes:
        weights: `[P]`, their sum is 1; every constraint is met to 1e-9.
        error: the combined error of the laws.
        objective: the same plus what the penalties add; this was minimised.
        residual: the objective can fall by at most this by any feasible move, to first order (and to the 1e-10 to
            which linear programmes are solved, where there are more than bounds); inf where slopes are not numbers.
        proof: "global: the error is convex in the weights": then no feasible mix is better by more than the
            residual; or "local".
        searched: False where a law that scans goes through too many epochs, so that only mixes with fewer of them were
            searched, or only the starts were compared.
        starts_agreeing: how many starts ended within 1e-5 of the objective (relative) of the best.
        starts: how many there were.
    """

    weights: np.ndarray
    error: float
    objective: float
    residual: float
    proof: str
    searched: bool
    starts_agreeing: int
    starts: int


def descend(
    fitted: FittedLaw | Sequence[FittedLaw],
    samples_seen: float,
    feasible: Feasible,
    *,
    metric_weights: ArrayLike | None = None,
    worst_case: bool = False,
    seen_before: ArrayLike | None = None,
    starts: ArrayLike | None = None,
    seed: int = 0,
    drawn: Judging | None = None,
    least: np.ndarray | None = None,
) -> Descended:
    """Weights that minimise the error of one law or several, of any kind, under any constraints.

        J(w) = sum_m q_m y_m(w)  or  max_m q_m y_m(w),   + kappa sum_i w_i log(w_i / r_i) + rho sum_i |w_i - r_i|

    From the starts given, a uniform mix, each pool alone and random ones, each brought within the bounds: projected
    subgradients where there are only bounds and penalties, SLSQP else. The best of the mixes that they end at are
    finished by steps that know the kinks at whole epochs. The result is never worse than a feasible start. Where a law
    scans too many epochs the search is held to fewer of them, from fewer starts (`mix.scanned`), and where even that is
    too much the best mix of a smaller budget is compared.

    Args:
        fitted: one law, or M laws of the same pools.
        samples_seen: the budget n.
        feasible: the constraints, bound to these pools, this budget and `seen_before`; their penalties count too.
        metric_weights: `[M]` q_m >= 0; ones by default.
        worst_case: minimise the largest q_m y_m instead of their sum.
        seen_before: `[P]` samples e_i of earlier training, or None.
        starts: `[S, P]` weights to start from beside the others.
        seed: of the random starts.
        drawn: how the errors of all draws become one number, where the laws' parameters have a leading axis of draws;
            in place of `metric_weights` and `worst_case`.
        least: `[M]` what is subtracted from the error of each draw, or None.

    Raises:
        InputError: nothing satisfies the constraints; laws, constraints, weights or starts that do not fit together.

    Example:
        >>> from qqtjax.laws import UtilityParams, utility
        >>> from qqtjax.mix.constraints import Constraints
        >>> from qqtjax.runs import Pools
        >>> params = UtilityParams(scale=4e6, floor=0.1, utility=np.array([-0.16, -0.125]),
        ...                        half_life=np.array([6.73, 8.55]), reference_size=np.full(2, 12.8e6))
        >>> fitted = FittedLaw(utility, params, Pools.of({"top10": 12.8e6, "top20": 12.8e6}))
        >>> found = descend(fitted, 64e6, Constraints(caps={"top10": 0.7}).bind(fitted.pools, 64e6))
        >>> found.weights.round(6).tolist(), found.residual < 1e-9, found.proof
        ([0.7, 0.3], True, 'global: the error is convex in the weights')
    """
    laws = [fitted] if isinstance(fitted, FittedLaw) else list(fitted)
    if not laws:
        raise InputError("no laws: expected at least one")
    weighed = None if metric_weights is None else np.asarray(metric_weights, np.float64)
    before = None if seen_before is None else np.asarray(seen_before, np.float64)
    combined = combine(laws, float(samples_seen), feasible, weighed, worst_case, before, drawn, least)
    refuse_empty(feasible)
    width = len(feasible.low)
    given = np.zeros((0, width)) if starts is None else np.asarray(starts, np.float64)
    if given.ndim != 2 or given.shape[1] != width or not np.all(np.isfinite(given)):
        raise InputError(f"starts of shape {given.shape}: expected [S, {width}] finite weights")
    fewest = first_limit(combined, feasible)
    if np.isfinite(fewest):
        combined = scanned_to(combined, fewest)
    begin = np.concatenate([given, _own_starts(combined, width, seed)])
    options = _feasible_starts(feasible, begin, roomy(feasible))
    options = np.concatenate([given[[violation(feasible, each) <= TOLERANCE for each in given]], options])
    values = objective(combined, options)
    limit = start_limit(combined, fewest, options[int(np.argmin(values))])
    searched, agreeing = False, 1
    # Where the least limit on epochs leaves hardly any room there is nothing to search.
    many = SMALLEST_BUCKET < fewest < np.inf
    while not many or work_of(combined, fewest * RAISED) <= LAST_SEARCH:
        epochs = min(limit, float(epochs_at(combined, feasible.high)))
        work = work_of(combined, epochs)
        if work > LAST_SEARCH:
            break
        tight, combined = held_to(feasible, combined, limit), scanned_to(combined, epochs)
        best = options[int(np.argmin(values))]
        found, agreeing = _best_within(combined, tight, np.concatenate([begin, best[None]]), effort(work))
        options = np.concatenate([options, found[None]])
        values = np.concatenate([values, objective(combined, found[None])])
        searched = not binds(feasible, combined, limit, found)
        if searched:
            break
        limit *= RAISED
    if many and not searched:
        less = samples_seen / SMALLER
        weighing = {"metric_weights": metric_weights, "worst_case": worst_case, "drawn": drawn, "least": least}
        of_less = descend(
            fitted, less, feasible.at(less), **weighing, seen_before=seen_before, starts=starts, seed=seed
        )
        near = _feasible_starts(feasible, of_less.weights[None], options[int(np.argmin(values))])
        options, values = np.concatenate([options, near]), np.concatenate([values, objective(combined, near)])
    weights = options[int(np.argmin(values))]
    convex = is_convex(combined)
    return Descended(
        weights=weights,
        error=float(judged(combined, values_at(combined, weights[None]))[0]),
        objective=float(objective(combined, weights[None])[0]),
        residual=residual(combined, feasible, weights),
        proof=GLOBAL if convex else LOCAL,
        searched=searched,
        starts_agreeing=agreeing,
        starts=len(begin),
    )


def _best_within(combined: Combined, feasible: Feasible, begin: np.ndarray, doing: Effort) -> tuple[np.ndarray, int]:
    """`[P]` the best mix that a search from the best of the starts ends at, and how many of them agree with it."""
    anchor = roomy(feasible)
    if len(begin) > doing.starts:
        inside = _feasible_starts(feasible, begin, anchor)
        begin = inside[np.argsort(objective(combined, inside), kind="stable")[: doing.starts]]
    ends, values = _ends(combined, feasible, begin, anchor, doing)
    return _finished(combined, feasible, ends, values, anchor, doing)


def _own_starts(combined: Combined, width: int, seed: int) -> np.ndarray:
    """Uniform, pools alone (the best of them where they are many), and random mixes."""
    alone = np.eye(width)
    if width > MOST_ALONE:
        alone = alone[np.sort(np.argsort(objective(combined, alone), kind="stable")[:MOST_ALONE])]
    drawn = np.random.default_rng(seed).dirichlet(np.ones(width), RANDOM_STARTS)
    return np.concatenate([np.full((1, width), 1 / width), alone, drawn])


def _feasible_starts(feasible: Feasible, begin: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    points = [repaired(feasible, each, anchor) for each in begin]
    return np.array([each for each in points if each is not None] or [anchor])


def _ends(
    combined: Combined, feasible: Feasible, begin: np.ndarray, anchor: np.ndarray, doing: Effort
) -> tuple[np.ndarray, np.ndarray]:
    """`[S, P]` feasible mixes that the starts end at, and their objective."""
    if len(feasible.rows) or feasible.entropies or feasible.l1 is not None:
        reached = np.array([descend_from(combined, feasible, each) for each in begin])
        ends = _feasible_starts(feasible, reached, anchor)
        return ends, objective(combined, ends)
    return search(combined, feasible.low, np.maximum(feasible.low, feasible.high), begin, doing.steps)


def _finished(
    combined: Combined, feasible: Feasible, ends: np.ndarray, values: np.ndarray, anchor: np.ndarray, doing: Effort
) -> tuple[np.ndarray, int]:
    """The best mix after the finish of the best few distinct ones, and how many starts agree with it."""
    chosen: list[int] = []
    for place in np.argsort(values, kind="stable"):
        alike = any(np.abs(ends[place] - ends[other]).max() <= ALIKE for other in chosen)
        if len(chosen) < doing.finished and not alike:
            chosen.append(int(place))
    points = np.array([settle(combined, feasible, each, anchor, doing.finish_steps) for each in ends[chosen]])
    finished = objective(combined, points)
    best = int(np.argmin(finished))
    agreeing = int(np.sum(values <= finished[best] + AGREE * abs(finished[best])))
    return points[best], agreeing
