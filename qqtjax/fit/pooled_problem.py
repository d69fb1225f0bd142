"""A pooled fit made ready: which parameters pools have of their own, their weak priors, and its lanes in blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from qqtjax.errors import InputError
from qqtjax.fit.fitting import SHORT_SCAN
from qqtjax.fit.hierarchy import Given, Latent, Population, latents
from qqtjax.fit.importance import Sample, sample
from qqtjax.fit.objective import Data, Objective, gather
from qqtjax.fit.parameters import Space, search_space
from qqtjax.fit.shared import Outer, outer_of
from qqtjax.laws import Law
from qqtjax.laws.repetition import bucket
from qqtjax.runs import Runs

# Steps of a lane: enough for all that matter; where they are not, the shared values are far from possible.
MOST_STEPS = 12
# Numbers in a block of lanes at most, so that many pools fit into memory.
ENTRIES = 2**24


@dataclasses.dataclass(frozen=True, eq=False)
class Pooling:
    """How pools are taken to resemble each other, and how long to look.

    Attributes:
        covariate: `{pool: score}` or `[P]`: what the mean of a pool's parameters may follow in a straight line, for
            example its mean CLIP score, its complexity or its rank; None: one mean for all.
        spread: `{field: s}` where it is known: standard deviation across pools, in e-folds where the law has
            logarithms (utility, half-life); 0 is one value for all, large is nothing in common. Others are estimated.
        noise: sigma of a checkpoint where it is known, in the unit of the error; None: estimated.
        lanes: points of a round of importance sampling, a power of two.
        rounds: most rounds.
        enough: effective points at which the rounds end.

    Example:
        >>> Pooling(covariate={"top10": 0.31, "top20": 0.29}, noise=0.003).lanes
        128
    """

    covariate: Mapping[str, float] | Sequence[float] | np.ndarray | None = None
    spread: Mapping[str, float] = dataclasses.field(default_factory=dict)
    noise: float | None = None
    lanes: int = 128
    rounds: int = 32
    enough: float = 100.0


class Prepared(NamedTuple):
    """A pooled fit of B versions of a table, made ready.

    Attributes:
        space: the search space of the table.
        objective: what is minimised.
        data: the checkpoints.
        measured: `[B, M]`.
        population: the latent half.
        outer: the shared half.
        fields: `[K]` the pooled fields.
        score: centre and standard deviation of the covariate, or None.
        width: lanes of one block.
    """

    space: Space
    objective: Objective
    data: Data
    measured: np.ndarray
    population: Population
    outer: Outer
    fields: tuple[str, ...]
    score: tuple[float, float] | None
    width: int


def prepare(
    runs: Runs,
    law: Law,
    pooling: Pooling,
    measured: np.ndarray,
    weight: np.ndarray,
    settings: tuple[Any, ...],
    max_epochs: int | None,
) -> Prepared:
    """State a pooled fit of B versions of a table.

    Args:
        runs: the table.
        law: the law.
        pooling: how pools are taken to resemble each other.
        measured: `[B, M]` errors.
        weight: `[M]` weights of the checkpoints, mean 1.
        settings: share, fixed, free and bounds, as for `parameters.search_space`.
        max_epochs: as for `fit`.

    Raises:
        InputError: settings of the pooling out of range, no two pools with parameters of their own; as
            `parameters.search_space`.
    """
    _check(pooling)
    space = search_space(law, runs, *settings)
    spaces = [search_space(law, dataclasses.replace(runs, error=error), *settings) for error in measured]
    units = {slot.field: sorted(set(slot.positions) - {-1}) for slot in space.layout.slots if not slot.scalar}
    units = {field: places for field, places in units.items() if len(places) > 1}
    if not units:
        raise InputError("pooling: expected two pools or more with parameters of their own")
    place = np.concatenate([np.array(places) for places in units.values()])
    field = np.repeat(np.arange(len(units)), [len(places) for places in units.values()])
    ends = space.place(np.array([[0.0], [1.0]]))[:, place]
    width = 0.5 * np.abs(ends[1] - ends[0])
    columns = [np.where(field == k, width, 0.0) for k in range(len(units))]
    score = None
    if pooling.covariate is not None:
        scores = _scores(pooling.covariate, runs)
        score = (float(np.mean(scores)), float(np.std(scores)))
        of_unit = np.array([np.mean(scores[_members(space, name, each)]) for name in units for each in units[name]])
        columns += [column * (of_unit - score[0]) / score[1] for column in columns]
    low, high = (bound[place] for bound in space.box())
    population = Population(place, field, ends.mean(axis=0), np.stack(columns, axis=1), low, high)
    first = [np.flatnonzero(field == k)[0] for k in range(len(units))]
    shared = np.setdiff1d(np.arange(len(space)), place)
    known = _known_spreads(pooling.spread, tuple(units))
    outer = outer_of(spaces, shared, width[first], known, measured, pooling.noise)
    length = bucket(float(runs.epochs.max()) * (1 + 1e-6))
    if max_epochs is None and (length <= SHORT_SCAN or law.scans(space.layout.sketch(space.fixed))):
        max_epochs = length
    run, drawn = gather(runs)
    run, fixed = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (run, space.fixed))
    return Prepared(
        space,
        Objective(space.layout, max_epochs, False, None),
        Data(run, drawn, measured[0], weight, fixed),
        measured,
        population,
        outer,
        tuple(units),
        score,
        max(8, min(pooling.lanes, ENTRIES // (len(place) * (len(place) + len(runs))))),
    )


def blocks(ready: Prepared, values: tuple[np.ndarray, ...], which: np.ndarray) -> Iterator[Latent]:
    """The pools' parameters at outer values, block by block.

    Args:
        ready: the pooled fit.
        values: shared coordinates, spreads and noises, `[R, L, ..]`.
        which: `[R]` the versions that they are for.

    Yields:
        `Latent` with NumPy arrays, the R L lanes in a row.
    """
    count = values[0].shape[1]
    lanes = [np.reshape(each, (-1, *each.shape[2:])) for each in values]
    version = np.repeat(which, count)
    for start in range(0, len(version), ready.width):
        # The last block is filled up with its last lane: one shape, one program.
        chosen = np.minimum(np.arange(start, start + ready.width), len(version) - 1)
        shared, spread, noise = (each[chosen] for each in lanes)
        given = Given(shared, spread, noise, ready.measured[version[chosen]])
        found = latents(ready.objective, ready.data, ready.population, given, MOST_STEPS)
        inside = min(ready.width, len(version) - start)
        yield jax.tree.map(lambda leaf, inside=inside: np.asarray(leaf)[:inside], found)


def sampled(ready: Prepared, pooling: Pooling, seed: int) -> Sample:
    """Weighted points of the posterior of what pools share, for each version."""

    def evidence(z: np.ndarray, which: np.ndarray) -> np.ndarray:
        values = ready.outer.of(which).at(z)
        return np.concatenate([each.evidence for each in blocks(ready, values, which)]).reshape(z.shape[:2])

    versions = len(ready.measured)
    return sample(evidence, versions, ready.outer.dimensions, pooling.lanes, pooling.rounds, pooling.enough, seed)


def _members(space: Space, field: str, position: int) -> np.ndarray:
    slot = next(slot for slot in space.layout.slots if slot.field == field)
    return np.flatnonzero(np.array(slot.positions) == position)


def _scores(covariate: Mapping[str, float] | Sequence[float] | np.ndarray, runs: Runs) -> np.ndarray:
    """`[P]` scores of the pools."""
    pools = runs.pools
    if isinstance(covariate, Mapping):
        for name in covariate:
            pools.index(name)
        missing = [name for name in pools.names if name not in covariate]
        if missing:
            raise InputError(f"covariate: pool {missing[0]!r} has no score, expected one for each pool")
        covariate = [covariate[name] for name in pools.names]
    try:
        scores = np.asarray(covariate, np.float64)
    except (TypeError, ValueError):
        raise InputError("covariate: expected numbers") from None
    if scores.shape != (len(pools),) or not np.all(np.isfinite(scores)):
        raise InputError(
            f"covariate of shape {scores.shape}: expected one finite number for each of {len(pools)} pools"
        )
    if np.ptp(scores) == 0:
        raise InputError("covariate: the same for all pools, expected one that varies")
    return scores


def _known_spreads(given: Mapping[str, float], fields: tuple[str, ...]) -> np.ndarray:
    for name, value in given.items():
        if name not in fields:
            raise InputError(f"pooling: spread of {name!r}, expected one of the pooled parameters {', '.join(fields)}")
        if not (np.isfinite(value) and value >= 0):
            raise InputError(f"pooling: spread of {name}: {value!r}, expected a finite number >= 0")
    return np.array([float(given.get(name, np.nan)) for name in fields])


def _check(pooling: Pooling) -> None:
    lanes = pooling.lanes
    if lanes < 8 or lanes & (lanes - 1):
        raise InputError(f"pooling: lanes {lanes}, expected a power of two, 8 or more")
    if pooling.rounds < 1:
        raise InputError(f"pooling: rounds {pooling.rounds}, expected at least 1")
    if pooling.noise is not None and not (np.isfinite(pooling.noise) and pooling.noise > 0):
        raise InputError(f"pooling: noise {pooling.noise!r}, expected a positive number")
