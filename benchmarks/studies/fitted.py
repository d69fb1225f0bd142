"""Many studies fitted at once, and parameters drawn around each fit as `fit.covariance` draws them for one."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import qqtjax as qqt
from benchmarks.studies.truths import NOISE, POOLS
from qqtjax.fit.clusters import Unit, units_of
from qqtjax.fit.covariance import noise_sizes, sandwich
from qqtjax.fit.objective import Data, Objective, gather, linearise
from qqtjax.fit.parameters import search_space
from qqtjax.laws import UtilityParams
from qqtjax.runs import Runs

STARTS = 16
AT_BOUND = 1e-7


class Studies(NamedTuple):
    """B fitted studies; F coordinates: log scale, floor, log|b| and log tau of each pool.

    Attributes:
        params: the fits, stacked.
        x: `[B, F]`.
        factor: `[B, K, F]` square roots of the covariances.
        freedom: `[B, F]` degrees of freedom of each coordinate.
        at_bound: `[B, F]`.
        names: `[F]`.
        low: `[B, F]` bounds of the fits.
        high: `[B, F]`.
    """

    params: UtilityParams
    x: np.ndarray
    factor: np.ndarray
    freedom: np.ndarray
    at_bound: np.ndarray
    names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray


def coordinates(params: UtilityParams) -> np.ndarray:
    """`[B, F]` of stacked parameters."""
    shared = np.stack([np.log(params.scale), np.asarray(params.floor)], axis=1)
    return np.concatenate([shared, np.log(-np.asarray(params.utility)), np.log(params.half_life)], axis=1)


def params_at(x: np.ndarray, like: UtilityParams) -> UtilityParams:
    """Stacked parameters at coordinates `[B, F]`, or `[B, S, F]` made one stack of B S."""
    flat = x.reshape(-1, x.shape[-1])
    times = len(flat) // len(like.scale)
    return UtilityParams(
        scale=np.exp(flat[:, 0]),
        floor=flat[:, 1],
        utility=-np.exp(flat[:, 2 : 2 + POOLS]),
        half_life=np.exp(flat[:, 2 + POOLS :]),
        reference_size=np.repeat(like.reference_size, times, axis=0),
        dilution=np.ones(len(flat)),
        amplitude=np.ones(len(flat)),
    )


@partial(jax.jit, static_argnums=0)
def _every(objective: Objective, x: jax.Array, errors: jax.Array, data: Data) -> tuple[jax.Array, jax.Array]:
    """`[B, M]` residuals and `[B, M, F]` their derivatives."""
    return jax.vmap(lambda own, error: linearise(objective, own, data._replace(error=error)))(x, errors)


def fit_studies(runs: Runs, measured: np.ndarray, by_run: bool = False, seed: int = 0) -> Studies:
    """Fit `laws.utility` to every study and take the covariance of each fit."""
    fits = qqt.fit_many(runs, errors=measured, starts=STARTS, seed=seed)
    space = search_space(qqt.laws.utility, runs)
    order = _order(runs)
    places = [space.names.index(name) for name in order]
    x = coordinates(fits.params)
    in_space = np.empty_like(x)
    in_space[:, places] = x
    run, drawn = gather(runs)
    objective = Objective(space.layout, 16, False, None)
    data = Data(run, drawn, runs.error, np.ones(len(runs)), space.fixed)

    with jax.enable_x64(True):
        residuals, slopes = jax.tree.map(
            np.asarray, _every(objective, jnp.asarray(in_space), jnp.asarray(measured), data)
        )
    slopes = slopes[:, :, places]
    ceiling = measured.min(axis=1) * (1 - 1e-9)
    low = np.tile(np.concatenate([[-np.inf, 0.0], np.full(2 * POOLS, np.log(1e-4))]), (len(x), 1))
    low[:, 2 + POOLS :] = np.log(1e-2)
    high = np.full_like(x, np.log(1e6))
    high[:, 2 : 2 + POOLS], high[:, 0], high[:, 1] = np.log(2.0), np.inf, ceiling
    width = np.where(np.isfinite(high - low), high - low, 1.0)
    at_bound = (x <= low + AT_BOUND * width) | (x >= high - AT_BOUND * width)
    moving = ~at_bound
    labels = units_of(runs, Unit.RUN) if by_run else None
    each = [_covariance(slopes[b] * moving[b], residuals[b], labels) for b in range(len(x))]
    factor, freedom = (np.stack(parts) for parts in zip(*each, strict=True))
    return Studies(fits.params, x, factor, freedom, at_bound, tuple(order), low, high)


def errors_at_the_truth(runs: Runs, params: UtilityParams) -> np.ndarray:
    """`[B, F]` standard errors that studies of these truths can have: noise times the root of (J'J)^-1 at the truth."""
    space = search_space(qqt.laws.utility, runs)
    places = [space.names.index(name) for name in _order(runs)]
    x = np.empty((len(params.scale), len(places)))
    x[:, places] = coordinates(params)
    run, drawn = gather(runs)
    data = Data(run, drawn, runs.error, np.ones(len(runs)), space.fixed)
    with jax.enable_x64(True):
        objective = Objective(space.layout, 16, False, None)
        slopes = np.asarray(_every(objective, jnp.asarray(x), np.zeros((len(x), len(runs))), data)[1])[:, :, places]
    inverse = np.linalg.pinv(slopes.transpose(0, 2, 1) @ slopes, rcond=1e-14, hermitian=True)
    return NOISE * np.sqrt(np.diagonal(inverse, axis1=1, axis2=2))


def _order(runs: Runs) -> list[str]:
    """Names of the coordinates."""
    each = (f"{field} of {name}" for field in ("utility", "half_life") for name in runs.pools.names)
    return ["scale", "floor", *each]


def _covariance(slopes: np.ndarray, residuals: np.ndarray, labels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """`[K, F]` a square root, and `[F]` degrees of freedom: of independent checkpoints, or of whole runs."""
    if labels is not None:
        return sandwich(slopes, -residuals, labels)
    norms = np.linalg.norm(slopes, axis=0)
    safe = np.where(norms > 0, norms, 1.0)
    _, singular, right = np.linalg.svd(slopes / safe, full_matrices=False)
    inverse = np.where(singular > 1e-9 * singular[0], 1 / np.maximum(singular, 1e-300), 0.0)
    freedom = float(len(slopes) - np.count_nonzero(norms))
    factor = np.sqrt(np.sum(residuals**2) / freedom) * inverse[:, None] * right / safe
    return factor, np.full(len(norms), freedom)


def draws_of(studies: Studies, count: int, rng: np.random.Generator) -> np.ndarray:
    """`[B, S, F]` coordinates drawn from Student's t around every fit, kept to its bounds."""
    shape = len(studies.x), count
    steps = rng.standard_normal((*shape, studies.factor.shape[1]))
    sizes = np.stack([noise_sizes(own, (count,), rng) for own in studies.freedom])
    moved = studies.x[:, None] + sizes * (steps @ studies.factor)
    return np.clip(moved, studies.low[:, None], studies.high[:, None])
