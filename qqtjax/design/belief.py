"""What is believed of the parameters: measured runs and a weak prior, as one normal distribution."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.fit.levenberg_marquardt import Quadratic, levenberg_marquardt
from qqtjax.fit.objective import Data, Objective, linearise, quadratic
from qqtjax.fit.parameters import Bounds, Fixed, Share, Space, search_space
from qqtjax.laws import FittedLaw, Law, utility
from qqtjax.runs import Runs

ROWS = 32
STARTS, LOOK, FINALISTS, MOST_ITERATIONS = 16, 20, 2, 200
NOISE_ROUNDS = 8
FIRST_NOISE = 0.01  # of the mean error, where the noise is to be found


class Prior(NamedTuple):
    """Independent normal distributions of the coordinates of a fit (logarithms of most parameters).

    Attributes:
        centre: `[F]`.
        sd: `[F]`.
    """

    centre: Any
    sd: Any


class Posterior(NamedTuple):
    """A normal approximation at the most probable parameters.

    Attributes:
        x: `[F]` coordinates.
        covariance: `[F, F]`.
        residuals: `[M]` predicted minus measured there.
        jacobian: `[M, F]` their derivative.
    """

    x: Any
    covariance: Any
    residuals: Any
    jacobian: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Belief:
    """What measured runs and a weak prior say of the parameters of a law.

    Attributes:
        fitted: the law at the most probable parameters, with its pools.
        space: what was free.
        objective: how its coordinates become predictions.
        x: `[F]` the most probable coordinates.
        covariance: `[F, F]` of the coordinates about it.
        noise: standard deviation of one measured error.
        noise_given: was it given, or found from the residuals.
        prior: of the coordinates.
        runs: what was measured.
    """

    fitted: FittedLaw
    space: Space
    objective: Objective
    x: np.ndarray
    covariance: np.ndarray
    noise: float
    noise_given: bool
    prior: Prior
    runs: Runs

    def standard_deviations(self) -> dict[str, float]:
        """Of every coordinate, by its name: relative ones for parameters that are fitted as logarithms."""
        return dict(zip(self.space.names, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))


def weak_prior(space: Space, given: Bounds | None = None) -> Prior:
    """A prior that says little: the range in which a fit starts to look, as one standard deviation either side.

    Args:
        space: what is free.
        given: `{field: (low, high)}` in the parameter's own unit: one standard deviation either side instead.

    Raises:
        InputError: a field that is not fitted, or a range that is empty or of the wrong sign.
    """
    given = dict(given or {})
    fields = [name.split(" of ")[0] for name in space.names]
    for field in given:
        if field not in fields:
            raise InputError(f"prior: {field!r} is not fitted; these are: {', '.join(dict.fromkeys(fields))}")
    ends = []
    for field, spread in zip(fields, space.ranges, strict=True):
        low, high = (float(each) for each in given.get(field, (spread.start_low, spread.start_high)))
        if not low < high or (spread.log and low * spread.low <= 0) or (spread.log and low * high <= 0):
            raise InputError(f"prior of {field}: ({low:g}, {high:g}), expected low < high, of the parameter's sign")
        if spread.log:
            low, high = sorted((np.log(abs(low)), np.log(abs(high))))
        ends.append((low, high))
    low, high = np.array(ends).T
    return Prior((low + high) / 2, (high - low) / 2)


def posterior(
    objective: Objective, data: Data, prior: Prior, noise: ArrayLike, starts: Array, low: Array, high: Array
) -> Posterior:
    """The most probable coordinates and the covariance about them, of one table.

        x* = argmin sum_r v_r (f_r(x) - y_r)^2 / (2 s^2) + sum_j (x_j - m_j)^2 / (2 t_j^2),
        S  = (J^T V J / s^2 + diag(1 / t^2))^-1

    Args:
        objective: what is minimised (squares).
        data: the table; `importance` v_r counts measurements, 0 where a row was not measured.
        prior: m and t.
        noise: s, of one measurement.
        starts: `[S, F]`.
        low: `[F]` bounds of the coordinates.
        high: `[F]`.
    """
    precision = 1.0 / prior.sd**2

    def augmented(x: Array) -> Quadratic:
        at = quadratic(objective, x, data)
        off = x - prior.centre
        return Quadratic(
            at.objective / noise**2 + 0.5 * jnp.sum(precision * off**2),
            at.gradient / noise**2 + precision * off,
            at.hessian / noise**2 + jnp.diag(precision),
        )

    ended = levenberg_marquardt(augmented, starts, low, high, LOOK, min(FINALISTS, len(starts)), MOST_ITERATIONS)
    x = ended.x[jnp.nanargmin(ended.at.objective)]
    each, jacobian = linearise(objective, x, data)
    known = jnp.einsum("m,mf,mg->fg", data.importance, jacobian, jacobian) / noise**2
    return Posterior(x, inverse(known + jnp.diag(precision)), each, jacobian)


def inverse(precision: Array) -> Array:
    """The covariance of a precision matrix, scaled to a unit diagonal before it is factorised."""
    root = jnp.sqrt(jnp.diagonal(precision))
    scaled = precision / (root[:, None] * root[None, :])
    identity = jnp.eye(len(root), dtype=precision.dtype)
    solved = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(scaled), True), identity)
    return solved / (root[:, None] * root[None, :])


_posterior = partial(jax.jit, static_argnums=0)(posterior)


def believe(
    runs: Runs,
    law: Law = utility,
    *,
    noise: float | None = None,
    prior: Bounds | None = None,
    share: Share | None = None,
    fixed: Fixed | None = None,
    free: Iterable[str] = (),
    bounds: Bounds | None = None,
    seed: int = 0,
) -> Belief:
    """Fit a law with a weak prior on its coordinates, so that what the runs leave open has a width, too.

    Where nothing is known of a parameter (a half-life before any pool is repeated) a fit runs off to a bound; here it
    stays near the range in which a fit starts to look, with that range as its uncertainty. Checkpoints count as
    independent given the law. The noise, where it is not given, is that of the residuals:

        s^2 = sum_r r_r^2 / (M - tr(S J^T J / s^2))

    Source: the Laplace approximation; penalised least squares with effective degrees of freedom (Hastie, Tibshirani,
    Friedman, The Elements of Statistical Learning, section 7.6).

    Args:
        runs: the measured table (one metric).
        law: the law.
        noise: s, standard deviation of one measured error.
        prior: `{field: (low, high)}` in the parameter's own unit, one standard deviation either side of the middle
            (logarithms for parameters fitted so); by default the law's starting ranges.
        share: as for `fit`.
        fixed: as for `fit`.
        free: as for `fit`.
        bounds: as for `fit`.
        seed: of the starting points.

    Raises:
        InputError: no checkpoint, several metrics, a wrong prior, a noise that is not positive, or none given and
            too few checkpoints to find it.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> first = runs.select(runs.single & (runs.samples_seen <= 20e3))
        >>> believe(first, noise=0.01).covariance.shape
        (12, 12)
    """
    if len(runs) == 0:
        raise InputError("no checkpoints: expected at least one measured row")
    if len(runs.metric_names) > 1:
        raise InputError(f"the table has {len(runs.metric_names)} metrics: choose one (runs.for_metric)")
    if noise is not None and not (np.isfinite(noise) and noise > 0):
        raise InputError(f"noise {noise!r}: expected a positive number, in the unit of the error")
    space = search_space(law, runs, share, fixed, free, bounds)
    if len(space) == 0:
        raise InputError("nothing to fit: every parameter is fixed")
    of_prior = weak_prior(space, prior)
    objective = Objective(space.layout, None, False, None)
    if law.scans(space.layout.sketch(space.fixed)):
        raise InputError(f"law {law.name} scans over epochs: planning of runs needs one with a closed form")
    low, high = space.box()
    starts = np.vstack([np.clip(of_prior.centre, low, high), space.draw_starts(STARTS - 1, seed)])
    with jax.enable_x64(True):
        data = table_data(runs, space)
        sd = float(noise or FIRST_NOISE * np.mean(np.abs(runs.error)))
        found = _posterior(objective, data, of_prior, sd, starts, low, high)
        for _ in range(0 if noise is not None else NOISE_ROUNDS):
            sd = _noise_of(found, sd, len(runs))
            found = _posterior(objective, data, of_prior, sd, starts, low, high)
        x, covariance = np.asarray(found.x), np.asarray(found.covariance)
        params = jax.tree.map(np.asarray, space.layout.unpack(jnp.asarray(x), space.fixed))
    if not np.all(np.isfinite(covariance)):
        raise InputError(f"law {law.name} cannot be fitted to this table")
    fitted = FittedLaw(law, params, runs.pools, metric=str(*runs.metric_names))
    return Belief(fitted, space, objective, x, covariance, sd, noise is not None, of_prior, runs)


def table_data(runs: Runs, space: Space) -> Data:
    """A measured table with equal weights, all pools of every row kept; to be called in float64.

    Rows that do not count fill it up to a multiple of 32, so that a few more checkpoints rarely compile anew.
    """
    spare = -len(runs) % ROWS
    dense = jax.tree.map(
        lambda leaf: np.pad(np.asarray(leaf, np.float64), [(0, spare)] + [(0, 0)] * (np.ndim(leaf) - 1), "edge"),
        runs.as_run(),
    )
    everyone = np.broadcast_to(np.arange(len(runs.pools)), np.shape(dense.weights))
    fixed = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), space.fixed)
    error = np.pad(np.asarray(runs.error, np.float64), (0, spare), "edge")
    return Data(dense, everyone, error, np.pad(np.ones(len(runs)), (0, spare)), fixed)


def _noise_of(found: Posterior, sd: float, count: int) -> float:
    residuals, jacobian = np.asarray(found.residuals)[:count], np.asarray(found.jacobian)[:count]
    spent = float(np.einsum("mf,fg,mg->", jacobian, np.asarray(found.covariance), jacobian)) / sd**2
    left = count - spent
    if left < 1:
        raise InputError(
            f"{count} checkpoints leave too little to find their noise: expected more, or noise= (the "
            "standard deviation of one measured error)"
        )
    return max(float(np.sqrt(np.sum(residuals**2) / left)), 1e-9 * float(np.max(np.abs(residuals)) + 1e-9))
