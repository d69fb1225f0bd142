"""`fit_pooled`: pools with few checkpoints borrow strength from each other (partial pooling, empirical Bayes)."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from qqtjax.checks import check_runs
from qqtjax.errors import InputError, QQTWarning
from qqtjax.fit.diagnose import errors_as_params, spread_of
from qqtjax.fit.fitting import check_settings, checked_importance
from qqtjax.fit.parameters import Bounds, Fixed, Share
from qqtjax.fit.pooled_posterior import described, posterior_of, reference_of, weak
from qqtjax.fit.pooled_problem import Pooling, prepare, sampled
from qqtjax.laws import Diagnostics, FittedLaw, Law, Seen, utility
from qqtjax.laws.fitted import evaluate
from qqtjax.runs import Runs

# Rounds' worth of equally likely points that the report on one fit rests on.
LANES_KEPT = 4
# Checkpoints a pool from which pools need no help (benchmarks/studies/pooling.py).
ENOUGH_ALONE = 3
# Effective points below which a result is called unfinished.
FEW = 30.0


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
    """Fit a law to pools with few checkpoints each: their parameters as draws from a common distribution.

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

    For one or two checkpoints a pool. With three, `fit` predicts as well, and better where pools hardly differ
    (`benchmarks/results/studies_pooling.md`): what the checkpoints then say, priors on the floor can only blur.

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
        >>> few = alone.select(np.isin(alone.samples_seen, np.unique(alone.samples_seen)[[0, 5]]))
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
        ready = prepare(runs, law, pooling, np.asarray(runs.error, np.float64)[None], weight, settings, max_epochs)
        points = sampled(ready, pooling, seed)
        found = posterior_of(ready, points.resampled(LANES_KEPT * pooling.lanes), reference_of(runs))
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
        unidentified=weak(ready, deviation),
        warnings=(*warned, *_many_checkpoints(runs)),
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
            "pooling": dataclasses.asdict(pooling),
            "seed": seed,
            "max_epochs": ready.objective.max_epochs,
        },
        spread=spread_of(space, np.linalg.cholesky(found.covariance).T),
        pooled=described(ready, found, effective),
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
        ready = prepare(runs, law, pooling, measured, weight, (share, fixed, _names(free), bounds), max_epochs)
        points = sampled(ready, pooling, seed)
        z = points.resampled(pooling.lanes)
        reference = reference_of(runs)
        found = [posterior_of(ready, z[b : b + 1], reference, b) for b in range(len(measured))]
        x = np.stack([each.x for each in found])
        unpack = jax.vmap(ready.space.layout.unpack, in_axes=(0, None))
        params = jax.tree.map(np.asarray, unpack(jnp.asarray(x), ready.data.fixed))
    spread, noise = np.stack([each.spread for each in found]), np.array([each.noise for each in found])
    return PooledFits(params, ready.fields, spread, noise, points.effective)


def _many_checkpoints(runs: Runs) -> tuple[str, ...]:
    least = np.bincount(runs.source, minlength=len(runs.pools))[: len(runs.pools)].min()
    if least < ENOUGH_ALONE:
        return ()
    return (f"every pool has {least} checkpoints or more: a fit without pooling predicts as well or better",)


def _names(free: Iterable[str]) -> tuple[str, ...]:
    return (free,) if isinstance(free, str) else tuple(free)
