"""Bootstraps: what the fit would have been, had the noise fallen otherwise.

Every draw is a full fit, started from the estimate. Residuals r are those of the weighted problem, measured less
predicted, times the square root of a checkpoint's weight; H is its hat matrix. What a fit explains away of the noise is
given back, r_g -> (I - H_gg)^-1/2 r_g for each unit g (Bell and McCaffrey, Survey Methodology 28, 2002, "CR2"; for
single checkpoints "HC2"), so that with noise of one size its covariance is right on average. And the size of the noise
is itself an estimate: each draw's residuals are multiplied by

    sqrt(nu / c),   c ~ chi^2_nu,

nu their degrees of freedom. In a linear model with normal noise the draws are then those of Student's t around the
estimate, as they should be; without it a few checkpoints give intervals that are too short.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from qqtjax.errors import InputError
from qqtjax.fit.candidates import Candidates
from qqtjax.fit.clusters import Unit, run_notes, units_by_source, units_of
from qqtjax.fit.diagnose import NULL_DIRECTION, diagnose
from qqtjax.fit.many import Fits, solved
from qqtjax.fit.problem import Problem, problem_of, refitted_by, space_of
from qqtjax.laws import FittedLaw
from qqtjax.laws.draws import Draws
from qqtjax.laws.utility import mixed
from qqtjax.runs import Runs

# Where else a draw starts, in standard deviations from the estimate.
AWAY = 2.0
# Noise of a pool alone is scaled by itself from so many degrees of freedom on; below, together with the others.
LEAST_FREEDOM = 2.0
# Of n < 8 units an interval of 95 % that takes their spread for known holds less than 91 % (Student's t).
FEW_UNITS = 8
# Webb's six points: mean 0, variance 1, third moment 0.
WEBB = np.sqrt([0.5, 1.0, 1.5]) * np.array([[-1.0], [1.0]])


@dataclasses.dataclass(frozen=True)
class ResidualBootstrap:
    """Residuals change places: noise of one size everywhere.

    Attributes:
        by: None: those of checkpoints; a unit: the residuals of whole runs (redraws, seeds), kept together.
    """

    by: Unit | None = None


@dataclasses.dataclass(frozen=True)
class WildBootstrap:
    """Residuals stay where they are and are multiplied by Webb's six points: noise of any size.

    Source: Webb, "Reworking wild bootstrap-based inference for clustered errors", 2014: +-sqrt(1/2), +-1, +-sqrt(3/2).

    Attributes:
        by: None: each checkpoint has its own factor; a unit: all checkpoints of a run (redraw, seed) have one.
    """

    by: Unit | None = None


@dataclasses.dataclass(frozen=True)
class RunBootstrap:
    """Whole runs (redraws, seeds) are drawn again with replacement, within each pool.

    Of n units n - 1 are drawn and weighed by n / (n - 1), so that the variance is right for small n. Source: Rao and
    Wu, "Resampling inference with complex survey data", JASA 83 (1988). Of a few units there are few ways to draw, and
    the size of the noise stays as measured: with three runs a pool intervals of 95 % hold the truth 78 to 88 % of the
    time, those from residuals of whole runs 90 to 97 % (benchmarks/studies/bootstrap_coverage.py).

    Attributes:
        by: what is drawn.
    """

    by: Unit = Unit.RUN


Bootstrap = ResidualBootstrap | WildBootstrap | RunBootstrap


def bootstrap(
    fitted: FittedLaw,
    runs: Runs,
    kind: Bootstrap | None = None,
    count: int = 1000,
    *,
    seed: int = 0,
    importance: np.ndarray | None = None,
    starts: int = 1,
) -> Draws:
    """Draw parameters by fitting the law again to measurements as they might have been; `draw` has an example.

    Args:
        fitted: a fit.
        runs: the table that was fitted.
        kind: `ResidualBootstrap()` (default), `WildBootstrap()` or `RunBootstrap()`, each `by` a `Unit`.
        count: S >= 1 draws.
        seed: of the random numbers; the same seed gives the same bytes.
        importance: `[M]` weights of the checkpoints, if the fit was given any.
        starts: of each draw: the estimate, and with more also points two standard deviations away.

    Returns:
        `Draws`.

    Raises:
        InputError: as `problem_of`; as many parameters as checkpoints; whole runs asked for where a pool has one, or,
            to exchange their residuals, where they differ in their number of checkpoints.
    """
    kind = kind or ResidualBootstrap()
    if not (isinstance(count, int | np.integer) and count >= 1):
        raise InputError(f"draws {count!r}: expected a whole number >= 1")
    if starts < 1:
        raise InputError(f"starts {starts}: expected at least 1")
    problem = problem_of(fitted, runs, importance)
    rng = np.random.default_rng(seed)
    errors, weights, freedom = _versions(problem, runs, kind, count, rng)
    fits = refit(fitted, runs, problem, errors, weights, starts, seed)
    notes = run_notes(runs, kind.by)
    if isinstance(kind, RunBootstrap):
        fewest = min(map(len, units_by_source(runs, kind.by).values()))
        if fewest < FEW_UNITS:
            notes += (f"whole {kind.by.value}s drawn from {fewest} of a pool: intervals are too short",)
    unsound = int(np.sum(~fits.converged))
    if unsound:
        notes += (f"{unsound} of {count} draws did not converge; they are where their fit stopped",)
    return Draws(fitted, fits.params, _in_words(kind), freedom, notes)


def refit(
    fitted: FittedLaw, runs: Runs, problem: Problem, errors: np.ndarray, weights: np.ndarray, starts: int, seed: int
) -> Fits:
    """Fit a law again to B versions of its table, from the estimate and points around it.

    Args:
        fitted: the fit.
        runs: the table.
        problem: the fit stated again.
        errors: `[B, M]` measured errors; bounds follow from them as in `fit`.
        weights: `[B, M]` importance of the checkpoints.
        starts: S: the estimate, then points two standard deviations away, the same for all versions.
        seed: of those points.
    """
    space, objective = problem.space, refitted_by(problem, runs)
    importance = np.asarray(problem.data.importance)
    factor = diagnose(space, problem.x, problem.residuals, problem.slopes, importance, objective.huber).factor
    steps = np.random.default_rng([seed, 1]).standard_normal((starts - 1, len(factor)))
    points = np.concatenate([problem.x[None], problem.x + AWAY * steps @ factor])
    boxes = np.array([space_of(fitted, dataclasses.replace(runs, error=error)).box() for error in errors])
    return solved([Candidates(runs, objective, space, errors, weights, boxes, starts, lambda _, start: points[start])])[
        0
    ]


def _in_words(kind: Bootstrap) -> str:
    names = {ResidualBootstrap: "residual bootstrap", WildBootstrap: "wild bootstrap", RunBootstrap: "bootstrap"}
    return f"{names[type(kind)]} of {'checkpoints' if kind.by is None else f'whole {kind.by.value}s'}"


def _versions(
    problem: Problem, runs: Runs, kind: Bootstrap, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """`[B, M]` errors and weights of the checkpoints, and the degrees of freedom of the noise."""
    importance = np.asarray(problem.data.importance)
    if isinstance(kind, RunBootstrap):
        times, freedom = _drawn_again(runs, kind.by, count, rng)
        return np.broadcast_to(runs.error, (count, len(runs))), importance * times, freedom
    root = np.sqrt(importance)
    basis = column_space(root[:, None] * problem.slopes)
    counted = importance > 0
    if np.sum(counted) <= basis.shape[1]:
        raise InputError(
            f"{basis.shape[1]} free parameters from {np.sum(counted)} checkpoints: no residuals to draw from"
        )
    noise = -root * problem.residuals
    if kind.by is None:
        labels, left = np.arange(len(runs)), counted - np.sum(basis**2, axis=1)
        freedom_of = {source: float(np.sum(left[runs.source == source])) for source in np.unique(runs.source)}
        total = float(np.sum(counted) - basis.shape[1])
    else:
        freedom_of = {source: len(own) - 1.0 for source, own in units_by_source(runs, kind.by).items()}
        labels, total = units_of(runs, kind.by), float(sum(freedom_of.values()))
    noise = given_back(noise, basis, labels)
    if isinstance(kind, ResidualBootstrap):
        drawn = _exchanged(noise, labels, counted, runs, kind.by, count, rng)
        drawn = drawn * np.sqrt(total / rng.chisquare(total, (count, 1)))
    else:
        factors = rng.choice(WEBB.ravel(), (count, labels.max() + 1))
        drawn = noise * factors[:, labels] * _sizes(runs, freedom_of, total, count, rng)
    drawn = np.where(counted, drawn / np.where(counted, root, 1.0), 0.0)
    return _measured(problem, runs, drawn), np.broadcast_to(importance, drawn.shape), total


def column_space(weighted: np.ndarray) -> np.ndarray:
    """`[M, K]` an orthonormal basis of what the parameters can move; H is it times its transpose."""
    norms = np.linalg.norm(weighted, axis=0)
    used = norms > 1e-12 * max(norms.max(initial=0.0), 1e-300)
    left, singular, _ = np.linalg.svd(weighted[:, used] / norms[used], full_matrices=False)
    return left[:, singular > NULL_DIRECTION * singular.max(initial=0.0)]


def given_back(noise: np.ndarray, basis: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(I - H_gg)^-1/2 r_g of every unit, for `[M]` or `[M, ...]`.

    Along directions that the fit explains whole there is nothing to give back.
    """
    found = np.empty_like(noise)
    for label in range(labels.max() + 1):
        own = labels == label
        values, vectors = np.linalg.eigh(np.eye(own.sum()) - basis[own] @ basis[own].T)
        inverse = np.where(values > 1e-6, 1.0 / np.sqrt(np.maximum(values, 1e-6)), 0.0)
        found[own] = (vectors * inverse) @ (vectors.T @ noise[own])
    return found


def _exchanged(
    noise: np.ndarray,
    labels: np.ndarray,
    counted: np.ndarray,
    runs: Runs,
    by: Unit | None,
    count: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """`[B, M]` residuals that have changed places, their mean taken off."""
    if by is None:
        pool = noise[counted] - noise[counted].mean()
        return rng.choice(pool, (count, len(noise)))
    # Checkpoints of a unit in the order of its training, so that early ones trade places with early ones.
    order = np.lexsort((runs.samples_seen, labels))
    counts = np.bincount(labels)
    if len(np.unique(counts)) > 1:
        raise InputError(
            f"{by.value}s of {counts.min()} to {counts.max()} checkpoints: expected as many of each to exchange their "
            f"residuals; the wild bootstrap does without"
        )
    rows = order.reshape(len(counts), -1)
    vectors = noise[rows] - noise[rows].mean(axis=0)
    drawn = np.empty((count, len(noise)))
    drawn[:, rows] = vectors[rng.integers(len(counts), size=(count, len(counts)))]
    return drawn


def _sizes(runs: Runs, freedom_of: dict[int, float], total: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """`[B, M]` sqrt(nu / c) of what each checkpoint was trained on; sources of too little freedom share one."""
    together = {source for source, freedom in freedom_of.items() if freedom < LEAST_FREEDOM}
    shared = np.sqrt(total / rng.chisquare(total, count))
    found = np.empty((count, len(runs)))
    for source, freedom in freedom_of.items():
        own = np.sqrt(freedom / rng.chisquare(freedom, count)) if source not in together else shared
        found[:, runs.source == source] = own[:, None]
    return found


def _measured(problem: Problem, runs: Runs, noise: np.ndarray) -> np.ndarray:
    """`[B, M]` errors with the estimate as truth and this noise, on the scale that was fitted."""
    if not problem.objective.log:
        return runs.error + problem.residuals + noise
    floor = np.asarray(mixed(problem.params.floor, runs.weights.T))
    return floor + (runs.error - floor) * np.exp(problem.residuals + noise)


def _drawn_again(runs: Runs, by: Unit, count: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """`[B, M]` how often each checkpoint counts, mean 1; and the degrees of freedom."""
    labels, by_source = units_of(runs, by), units_by_source(runs, by)
    times = np.zeros((count, labels.max() + 1))
    # Seeds are drawn once for all pools, runs and redraws in each pool for itself.
    for own in list(by_source.values())[: 1 if by is Unit.SEED else None]:
        size = len(own)
        drawn = rng.multinomial(size - 1, np.full(size, 1 / size), count)
        times[:, own] = drawn * size / (size - 1)
    freedom = len(times[0]) - (1 if by is Unit.SEED else len(by_source))
    return times[:, labels], float(freedom)
