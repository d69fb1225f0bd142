"""`fit_pooled`: pools with few checkpoints borrow strength from each other (partial pooling, empirical Bayes)."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from qqtjax.checks import check_runs
from qqtjax.errors import InputError, QQTWarning
from qqtjax.fit.diagnose import errors_as_params, spread_of
from qqtjax.fit.fitting import SHORT_SCAN, check_settings, checked_importance
from qqtjax.fit.hierarchy import Given, Latent, Population, latents
from qqtjax.fit.importance import Sample, sample
from qqtjax.fit.objective import Data, Objective, gather
from qqtjax.fit.parameters import Bounds, Fixed, Share, Space, search_space
from qqtjax.fit.shared import Outer, outer_of
from qqtjax.laws import Diagnostics, FittedLaw, Law, Seen, utility
from qqtjax.laws.fitted import Pooled, evaluate
from qqtjax.laws.repetition import bucket
from qqtjax.runs import Run, Runs

# Steps of a lane: enough for all that matter; where they are not, the shared values are far from possible.
MOST_STEPS = 12
# Numbers in a block of lanes at most, so that many pools fit into memory.
ENTRIES = 2**24
# Rounds' worth of equally likely points that the report on one fit rests on.
LANES_KEPT = 4
# Effective points below which a result is called unfinished.
FEW = 30.0
# A shared parameter of which the data leave so much of its prior's spread is called weak.
LITTLE_LEARNT = 0.8


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


class PooledFits(NamedTuple):
    """Many pooled fits of one law; B tables, K pooled fields.

    Attributes:
        params: the law's parameters with a leading axis of B on every leaf.
        fields: `[K]` names of the pooled fields.
        spread: `[B, K]` s.
        noise: `[B]` sigma.
        effective: `[B]` effective points behind each.
    """

    params: Any
    fields: tuple[str, ...]
    spread: np.ndarray
    noise: np.ndarray
    effective: np.ndarray


class _Prepared(NamedTuple):
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


def fit_pooled(
    runs: Runs,
    law: Law = utility,
    *,
    pooling: Pooling | None = None,
    share: Share | None = None,
    fixed: Fixed | None = None,
    free: Iterable[str] = (),
    bounds: Bounds | None = None,
    importance: np.ndarray | None = None,
    seed: int = 0,
    max_epochs: int | None = None,
) -> FittedLaw:
    """Fit a law to pools with one to three checkpoints each: their parameters as draws from a common distribution.

        log|b_i| ~ N(m_b + c_b z_i, s_b^2),   log tau_i ~ N(m_tau + c_tau z_i, s_tau^2),   y ~ N(f, sigma^2)

    and so for every field that has one value a pool; scale, floor and what else is shared stay so. All of s, sigma,
    m, c and the shared parameters are estimated together: the pools' own parameters by Laplace's approximation
    (`fit.hierarchy`), the rest by importance sampling (`fit.importance`). The fit is the member of the posterior whose
    predictions lie nearest to the posterior mean of predictions, for each pool alone and for all in equal parts;
    standard errors and draws are those of the whole posterior about it. s -> 0 is complete
    pooling, s -> infinity independent pools.

    Weak priors: m and each shared logarithm normal around the middle of the law's starting range, its half width;
    c times the standard deviation of the covariate normal around 0 with the same width; other shared parameters
    uniform in their bounds; s half normal of half that width (for utility 0.8 e-folds, for half-life 0.9); sigma
    log-normal around 0.5 % of the range of the errors, a factor e either way.

    Args:
        runs: the measured table (one metric); M checkpoints on P pools.
        law: the law to fit.
        pooling: covariate, and what is known of spread and noise.
        share: as for `fit`; a field that all pools share is not pooled.
        fixed: as for `fit`.
        free: as for `fit`.
        bounds: as for `fit`.
        importance: as for `fit`.
        seed: of the points; the same seed gives the same bytes.
        max_epochs: as for `fit`.

    Returns:
        A `FittedLaw`; `diagnostics.pooled` says how much each pool was drawn to the others.

    Raises:
        InputError: as `fit`; fewer than two pools with values of their own; a covariate that lacks a pool or does
            not vary; a spread of an unknown field; settings out of range.

    Source: ours; partial pooling as in Gelman, Hill, Data Analysis Using Regression and Multilevel/Hierarchical
    Models (2007), chapter 12.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> alone = runs.select(runs.single)
        >>> few = alone.select(np.isin(alone.samples_seen, np.unique(alone.samples_seen)[[0, -1]]))
        >>> fitted = fit_pooled(few)
        >>> sorted(fitted.diagnostics.pooled.spread)
        ['half_life', 'utility']
    """
    pooling = pooling or Pooling()
    check_settings(runs, 1, seed, None)
    warned = check_runs(runs, law.ranges(runs))
    for line in warned:
        warnings.warn(line, QQTWarning, stacklevel=2)
    settings = (share, fixed, _names(free), bounds)
    weight = checked_importance(runs, importance)
    with jax.enable_x64(True):
        ready = _prepare(runs, law, pooling, np.asarray(runs.error, np.float64)[None], weight, settings, max_epochs)
        points = _sampled(ready, pooling, seed)
        found = _posterior(ready, points.resampled(LANES_KEPT * pooling.lanes), _reference(runs))
        params = jax.tree.map(np.asarray, ready.space.layout.unpack(jnp.asarray(found.x), ready.data.fixed))
    each = evaluate(law, params, runs.as_run()) - runs.error
    space = ready.space
    deviation = np.sqrt(np.diag(found.covariance))
    logs = np.array([one.log for one in space.ranges])
    errors = deviation * np.where(logs, np.abs(space.natural(found.x)), 1.0)
    effective = float(points.effective[0])
    settled = effective >= FEW
    reason = f"{effective:.0f} effective points of {points.points.shape[1]}"
    diagnostics = Diagnostics(
        converged=settled,
        reason=f"converged, {reason}" if settled else f"not converged, {reason}: allow more rounds",
        objective=float(0.5 * np.sum(weight * each**2)),
        rmse=float(np.sqrt(np.mean(each**2))),
        mae=float(np.mean(np.abs(each))),
        agreeing=1,
        starts=1,
        standard_errors=errors_as_params(space, errors),
        bounds_hit=(),
        unidentified=_weak(ready, deviation),
        warnings=tuple(warned),
        residuals=each,
        settings={
            "free": list(space.names),
            "share": dict(share or {}),
            "fixed": dict(fixed or {}),
            "bounds": dict(bounds or {}),
            "importance": "given" if importance is not None else "eval_size" if runs.eval_size is not None else None,
            "log": False,
            "huber": None,
            "solver": "pooled",
            "seed": seed,
            "max_epochs": ready.objective.max_epochs,
        },
        spread=spread_of(space, np.linalg.cholesky(found.covariance).T),
        pooled=_described(ready, found, effective),
    )
    epochs = runs.epochs
    seen = Seen(
        samples_seen=(float(runs.samples_seen.min()), float(runs.samples_seen.max())),
        epochs=epochs.max(axis=0),
        checkpoints=len(runs),
        runs=len(set(zip(runs.run.tolist(), runs.seed.tolist(), strict=True))),
        mixtures=int(np.sum(np.sum(np.asarray(runs.weights) > 0, axis=1) > 1)),
    )
    return FittedLaw(law, params, runs.pools, seen, diagnostics, metric=str(*runs.metric_names))


def fit_pooled_many(
    runs: Runs,
    law: Law = utility,
    *,
    errors: ArrayLike,
    pooling: Pooling | None = None,
    share: Share | None = None,
    fixed: Fixed | None = None,
    free: Iterable[str] = (),
    bounds: Bounds | None = None,
    importance: np.ndarray | None = None,
    seed: int = 0,
    max_epochs: int | None = None,
) -> PooledFits:
    """Pooled fits of B versions of a table whose measured errors differ, side by side, as `fit_pooled` does one.

    Args:
        runs: the measured table (one metric); M checkpoints on P pools.
        law: the law to fit.
        errors: `[B, M]` measured errors; the weak priors of the pools' own parameters are those of the table.
        pooling: as for `fit_pooled`.
        share: as for `fit`.
        fixed: as for `fit`.
        free: as for `fit`.
        bounds: as for `fit`.
        importance: `[M]`, as for `fit`.
        seed: of the points; the same seed gives the same bytes.
        max_epochs: as for `fit`.

    Returns:
        `PooledFits`.

    Raises:
        InputError: as `fit_pooled`; errors that are not `[B, M]` finite numbers.
    """
    pooling = pooling or Pooling()
    check_settings(runs, 1, seed, None)
    measured = np.asarray(errors, np.float64)
    if measured.ndim != 2 or measured.shape[1] != len(runs) or not len(measured) or not np.all(np.isfinite(measured)):
        raise InputError(f"errors of shape {measured.shape}: expected [B, {len(runs)}] finite numbers")
    weight = checked_importance(runs, importance)
    with jax.enable_x64(True):
        ready = _prepare(runs, law, pooling, measured, weight, (share, fixed, _names(free), bounds), max_epochs)
        points = _sampled(ready, pooling, seed)
        z = points.resampled(pooling.lanes)
        reference = _reference(runs)
        found = [_posterior(ready, z[b : b + 1], reference, b) for b in range(len(measured))]
        x = np.stack([each.x for each in found])
        unpack = jax.vmap(ready.space.layout.unpack, in_axes=(0, None))
        params = jax.tree.map(np.asarray, unpack(jnp.asarray(x), ready.data.fixed))
    spread, noise = np.stack([each.spread for each in found]), np.array([each.noise for each in found])
    return PooledFits(params, ready.fields, spread, noise, points.effective)


def _names(free: Iterable[str]) -> tuple[str, ...]:
    return (free,) if isinstance(free, str) else tuple(free)


def _prepare(
    runs: Runs,
    law: Law,
    pooling: Pooling,
    measured: np.ndarray,
    weight: np.ndarray,
    settings: tuple[Any, ...],
    max_epochs: int | None,
) -> _Prepared:
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
    return _Prepared(
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


def _blocks(ready: _Prepared, values: tuple[np.ndarray, ...], which: np.ndarray) -> Iterator[Latent]:
    """The pools' parameters at outer values `[R, L, ..]` of R versions, block by block, lanes in a row."""
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


def _sampled(ready: _Prepared, pooling: Pooling, seed: int) -> Sample:
    def evidence(z: np.ndarray, which: np.ndarray) -> np.ndarray:
        values = ready.outer.of(which).at(z)
        return np.concatenate([each.evidence for each in _blocks(ready, values, which)]).reshape(z.shape[:2])

    versions = len(ready.measured)
    return sample(evidence, versions, ready.outer.dimensions, pooling.lanes, pooling.rounds, pooling.enough, seed)


def _reference(runs: Runs) -> Run:
    """Where members of the posterior are compared: each pool alone, and all in equal parts.

    Alone at five counts through the measured range; together at as many times that as there are pools.
    """
    pools = len(runs.pools)
    counts = np.geomspace(runs.samples_seen.min(), runs.samples_seen.max(), 5)
    weights = np.concatenate([np.repeat(np.eye(pools), 5, axis=0), np.full((5, pools), 1.0 / pools)])
    return Run(
        weights=weights,
        sizes=np.broadcast_to(runs.pools.sizes, weights.shape),
        samples_seen=np.concatenate([np.tile(counts, pools), pools * counts]),
        model_size=None if runs.model_size is None else np.full(len(weights), np.median(runs.model_size)),
    )


@partial(jax.jit, static_argnums=0)
def _predicted(objective: Objective, x: Array, fixed: Any, reference: Run) -> Array:
    """`[L, R]` errors of the reference under the parameters of each lane."""

    def one(x: Array) -> Array:
        params = objective.layout.unpack(x, fixed)
        return jax.vmap(lambda run: objective.layout.law(params, run, objective.max_epochs))(reference)

    return jax.vmap(one)(x)


class _Posterior(NamedTuple):
    """What equally likely points of a posterior say together.

    Attributes:
        x: `[N]` the member whose predictions lie nearest to the mean of all members' predictions.
        covariance: `[N, N]` mean square of the coordinates about it.
        shrinkage: `[F]` mean.
        common: `[C]` mean.
        common_error: `[C]` standard deviation.
        spread: `[K]` median.
        noise: `[]` median.
    """

    x: np.ndarray
    covariance: np.ndarray
    shrinkage: np.ndarray
    common: np.ndarray
    common_error: np.ndarray
    spread: np.ndarray
    noise: float


def _posterior(ready: _Prepared, z: np.ndarray, reference: Run, version: int = 0) -> _Posterior:
    """Of equally likely points `[1, L, D]` of one version."""
    values = ready.outer.of(np.array([version])).at(z)
    place, count = np.asarray(ready.population.place), z.shape[1]
    members, predicted, within, shrinkage, common, square = [], [], 0.0, 0.0, 0.0, 0.0
    for each in _blocks(ready, values, np.array([version])):
        members.append(each.x)
        predicted.append(np.asarray(_predicted(ready.objective, each.x, ready.data.fixed, reference)))
        within = within + np.sum(each.covariance, axis=0) / count
        shrinkage = shrinkage + np.sum(each.shrinkage, axis=0) / count
        common = common + np.sum(each.common, axis=0) / count
        spread = np.diagonal(each.common_covariance, axis1=1, axis2=2)
        square = square + np.sum(spread + each.common**2, axis=0) / count
    x, errors = np.concatenate(members), np.concatenate(predicted)
    # A member rather than the mean of the coordinates: what is left open is curved, and its mean fits no checkpoint.
    nearest = x[np.argmin(np.sum((errors - errors.mean(axis=0)) ** 2, axis=1))]
    away = x - nearest
    covariance = away.T @ away / count
    covariance[np.ix_(place, place)] += within
    # Where all members agree (one value for all pools), its square root still needs a little of everything.
    covariance += 1e-12 * np.diag(1e-12 + np.diag(covariance))
    return _Posterior(
        nearest,
        covariance,
        np.asarray(shrinkage),
        np.asarray(common),
        np.sqrt(np.maximum(square - np.asarray(common) ** 2, 0.0)),
        np.median(values[1][0], axis=0),
        float(np.median(values[2][0])),
    )


def _weak(ready: _Prepared, deviation: np.ndarray) -> tuple[str, ...]:
    outer = ready.outer
    before = np.where(outer.logs, outer.size[0], outer.size[0] / np.sqrt(12.0))
    weak = deviation[outer.place] > LITTLE_LEARNT * before
    return tuple(f"{ready.space.names[i]}: the data say little more than its prior" for i in outer.place[weak])


def _described(ready: _Prepared, found: _Posterior, effective: float) -> Pooled:
    population, count = ready.population, len(ready.fields)
    place, field = np.asarray(population.place), np.asarray(population.field)
    middle, size = np.asarray(population.centre), np.asarray(population.common)
    mean, error = found.common, found.common_error
    centres, slopes, slope_errors, shrinkage = {}, {}, {}, {}
    for k, name in enumerate(ready.fields):
        first = np.flatnonzero(field == k)[0]
        typical = np.zeros(len(ready.space))
        typical[place[first]] = middle[first] + size[first, k] * mean[k]
        centres[name] = float(ready.space.natural(typical)[place[first]])
        if ready.score is not None:
            unit = size[first, k] / ready.score[1]
            slopes[name], slope_errors[name] = float(unit * mean[count + k]), float(unit * error[count + k])
        slot = next(slot for slot in ready.space.layout.slots if slot.field == name)
        of_place = dict(zip(place.tolist(), found.shrinkage.tolist(), strict=True))
        shrinkage[name] = tuple(of_place.get(position, 0.0) for position in slot.positions)
    return Pooled(
        spread=dict(zip(ready.fields, found.spread.tolist(), strict=True)),
        centre=centres,
        slope=slopes,
        slope_error=slope_errors,
        shrinkage=shrinkage,
        noise=found.noise,
        effective=effective,
    )


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
