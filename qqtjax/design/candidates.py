"""Training runs that may be made next, and what may be decided at the target budget."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw, Shares
from qqtjax.mix.filters import Option, nested_filters, quality_order
from qqtjax.runs import Runs

# Where a training run is measured on its way, in epochs of what it draws from.
CHECKPOINTS = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0, 20.0)
MOST_OPTIONS = 300
STEPS = (10, 5, 4, 3, 2, 1)
ALREADY = 1 + 1e-9  # relative, for the rounding of counts
FURTHER = 1.05  # a run that goes on is measured at so many times its last checkpoint at least: closer by is the same


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A training run that may be made; its checkpoints come for free along the way.

    Attributes:
        name: what it trains on.
        weights: `[P]` shares.
        checkpoints: samples seen at each of its new measurements, rising; the last is where it ends.
        cost: samples that it trains on, those of a run that it goes on from not counted.
        resumes: the measured run that it goes on from, or None.
    """

    name: str
    weights: np.ndarray
    checkpoints: np.ndarray
    cost: float
    resumes: str | None = None


def candidates_for(
    fitted: FittedLaw,
    runs: Runs,
    mixtures: Mapping[str, Shares],
    checkpoints: Sequence[float],
    longest: float,
    resume: bool,
) -> list[Candidate]:
    """Every pool alone, the unions of the best 2, 3, .. pools, and the mixtures given, each to every length.

    Args:
        fitted: the law, for the order of its pools.
        runs: what was measured; each of its runs may be continued.
        mixtures: `{name: {pool: share}}` besides.
        checkpoints: in epochs of all pools that a run draws from; where a size is not known, of the most samples seen.
        longest: no run ends beyond so many samples seen.
        resume: may runs be continued (their learning rate must allow it).

    Raises:
        InputError: checkpoints that are not positive and rising, or no run that is short enough.
    """
    ladder = np.asarray(checkpoints, np.float64)
    if ladder.ndim != 1 or not len(ladder) or not np.all(ladder > 0) or not np.all(np.diff(ladder) > 0):
        raise InputError(f"checkpoints {list(checkpoints)}: expected positive epochs, rising")
    pools = fitted.pools
    chosen = [Option(name, np.eye(len(pools))[place], 0) for place, name in enumerate(pools.names)]
    chosen += [each for each in nested_filters(pools, quality_order(fitted)) if np.count_nonzero(each.weights) > 1]
    chosen += [Option(name, pools.weights(shares), 0) for name, shares in mixtures.items()]
    found = []
    for option in chosen:
        size = float(pools.sizes[option.weights > 0].sum())
        marks = ladder * (size if np.isfinite(size) else float(runs.samples_seen.max()))
        found += [
            Candidate(option.name, option.weights, marks[: end + 1], float(marks[end]))
            for end in range(len(marks))
            if marks[end] <= longest * ALREADY
        ]
        if resume:
            found += _continued(option, runs, marks[marks <= longest * ALREADY])
    if not found:
        raise InputError(
            f"no run of at most {longest:g} samples: expected a larger longest run, or earlier checkpoints"
        )
    return found


def _continued(option: Option, runs: Runs, marks: np.ndarray) -> list[Candidate]:
    """The runs on the same weights, each from its last checkpoint on; of equal ones the first."""
    same = np.all(np.isclose(runs.weights, option.weights), axis=1) & np.all(
        (runs.sizes == runs.pools.sizes) | (runs.weights == 0), axis=1
    )
    ends: dict[float, int] = {}
    for run, seed in dict.fromkeys(zip(runs.run[same].tolist(), runs.seed[same].tolist(), strict=True)):
        mine = same & (runs.run == run) & (runs.seed == seed)
        ends.setdefault(float(runs.samples_seen[mine].max()), run)
    found = []
    for end, run in ends.items():
        rest = marks[marks > end * FURTHER]
        found += [
            Candidate(option.name, option.weights, rest[: count + 1], float(rest[count] - end), runs.run_names[run])
            for count in range(len(rest))
        ]
    return found


def options_for(fitted: FittedLaw, filters_only: bool) -> list[Option]:
    """What may be trained at the target budget: nested filters, pools alone and an even grid of mixes.

    The grid has the finest step of 1/10, 1/5, 1/4, .. that gives at most 300 mixes.

    Args:
        fitted: the law, for the order of its pools.
        filters_only: without the grid.
    """
    pools = fitted.pools
    found = nested_filters(pools, quality_order(fitted))
    found += [Option(name, np.eye(len(pools))[place], 0) for place, name in enumerate(pools.names)]
    if not filters_only:
        found += [Option("mix", each, 0) for each in simplex_grid(len(pools))]
    kept: dict[bytes, Option] = {}
    for option in found:
        kept.setdefault(np.round(option.weights, 9).tobytes(), option)
    return list(kept.values())


def simplex_grid(pools: int) -> np.ndarray:
    """`[A, P]` all weights in multiples of one step, the finest of 1/10, 1/5, .. with at most 300 of them.

    Example:
        >>> [len(simplex_grid(pools)) for pools in (1, 2, 4, 10)]
        [1, 11, 286, 220]
    """
    step = next((n for n in STEPS if math.comb(n + pools - 1, n) <= MOST_OPTIONS), 1)
    # Where to put the bars between so many stars.
    places = list(itertools.combinations(range(step + pools - 1), pools - 1))
    bars = np.array(places, int).reshape(len(places), pools - 1)
    ends = np.hstack([np.full((len(bars), 1), -1), bars, np.full((len(bars), 1), step + pools - 1)])
    return (np.diff(ends, axis=1) - 1) / step
