"""What the posterior of a pooled fit says: the member to report, how far others lie from it, draws."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from qqtjax.fit.objective import Objective
from qqtjax.fit.pooled_problem import Prepared, blocks
from qqtjax.laws.fitted import Pooled
from qqtjax.runs import Run, Runs

# A shared parameter of which the data leave so much of its prior's spread is called weak.
LITTLE_LEARNT = 0.8


def reference_of(runs: Runs) -> Run:
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


class PooledPosterior(NamedTuple):
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


def posterior_of(ready: Prepared, z: np.ndarray, reference: Run, version: int = 0) -> PooledPosterior:
    """What equally likely points of one version say.

    Args:
        ready: the pooled fit.
        z: `[1, L, D]` the points.
        reference: where members are compared.
        version: which of the B versions.
    """
    values = ready.outer.of(np.array([version])).at(z)
    place, count = np.asarray(ready.population.place), z.shape[1]
    members, predicted, within, shrinkage, common, square = [], [], 0.0, 0.0, 0.0, 0.0
    for each in blocks(ready, values, np.array([version])):
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
    return PooledPosterior(
        nearest,
        covariance,
        np.asarray(shrinkage),
        np.asarray(common),
        np.sqrt(np.maximum(square - np.asarray(common) ** 2, 0.0)),
        np.median(values[1][0], axis=0),
        float(np.median(values[2][0])),
    )


def weak(ready: Prepared, deviation: np.ndarray) -> tuple[str, ...]:
    """Which shared parameters the data hardly tell.

    Args:
        ready: the pooled fit.
        deviation: `[N]` posterior standard deviations of the coordinates.
    """
    outer = ready.outer
    before = np.where(outer.logs, outer.size[0], outer.size[0] / np.sqrt(12.0))
    weak = deviation[outer.place] > LITTLE_LEARNT * before
    return tuple(f"{ready.space.names[i]}: the data say little more than its prior" for i in outer.place[weak])


def described(ready: Prepared, found: PooledPosterior, effective: float) -> Pooled:
    """What a fit reports of pools at large, in the parameters' own units.

    Args:
        ready: the pooled fit.
        found: its posterior.
        effective: points behind it.
    """
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
