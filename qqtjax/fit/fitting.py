"""`fit`: from measured runs to a fitted law."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from qqtjax.checks import check_runs
from qqtjax.errors import InputError, QQTWarning
from qqtjax.fit.diagnose import diagnose, errors_as_params, linearised, spread_of
from qqtjax.fit.objective import Data, Objective, gather
from qqtjax.fit.parameters import Bounds, Fixed, Share, search_space
from qqtjax.fit.solvers import LevenbergMarquardt, Solver
from qqtjax.fit.weakness import weak_points
from qqtjax.laws import Diagnostics, FittedLaw, Law, Seen, utility
from qqtjax.laws.fitted import evaluate
from qqtjax.laws.repetition import bucket
from qqtjax.runs import Runs

AGREEMENT = 1e-6
# An optimum: no residuals, or none that lean on a parameter (the cosine between the two).
EXACT, LEAN = 1e-12, 1e-4
# Up to so many epochs a whole fit is sooner done by the scan, compilation included (benchmarks/solver_choice.py);
# beyond, by the closed form.
SHORT_SCAN = 16


def fit(
    runs: Runs,
    law: Law = utility,
    *,
    share: Share | None = None,
    fixed: Fixed | None = None,
    free: Iterable[str] = (),
    bounds: Bounds | None = None,
    log: bool = False,
    huber: float | None = None,
    importance: np.ndarray | None = None,
    solver: Solver | None = None,
    starts: int = 64,
    seed: int = 0,
    max_epochs: int | None = None,
) -> FittedLaw:
    """Fit a law to all checkpoints of all pools at once, in float64, from many starts.

    Minimises sum_r v_r rho(f_r(params) - y_r) over the free parameters in their bounds; rho is half the square,
    or Huber's loss. Single pools, nested filters and mixtures are rows alike.

    Args:
        runs: the measured table (one metric); M checkpoints on P pools.
        law: the law to fit.
        share: `{field: True | False | [[pool, ...], ...]}`: one value for all pools, one a pool, one a group.
        fixed: `{field: value | [P] values | {pool: value}}`: not fitted.
        free: fields with a default (dilution, decay_shape, amplitude) to be fitted as well.
        bounds: `{field: (low, high)}` in the parameter's own unit.
        log: residuals of the log excess error log(y - d) instead of the error.
        huber: where the loss turns linear, in the unit of the residual (error, or log error); None: squares.
        importance: `[M]` weight of each checkpoint; default `eval_size` where the table has it, else equal.
        solver: `LevenbergMarquardt()` (default), `Adam()` or `LBFGS()`.
        starts: number of starting points, stratified over the law's starting ranges.
        seed: of the starting points; the same seed gives the same bytes.
        max_epochs: evaluate by the scan of this length; by default the scan up to 16 epochs, and beyond it the
            closed form where the law has one.

    Returns:
        A `FittedLaw` with `diagnostics`: print it for the table of parameters with standard errors.

    Raises:
        InputError: no checkpoint, several metrics, an unknown parameter or pool, unusable bounds.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> fitted = qqt.fit(runs.select(runs.single))
        >>> fitted.diagnostics.converged
        True
    """
    check_settings(runs, starts, seed, huber)
    solver = solver or LevenbergMarquardt()
    warned = check_runs(runs, law.ranges(runs))
    for line in warned:
        warnings.warn(line, QQTWarning, stacklevel=2)
    space = search_space(law, runs, share, fixed, free, bounds)
    if len(space) == 0:
        raise InputError("nothing to fit: every parameter is fixed")
    weight = checked_importance(runs, importance)
    epochs = runs.epochs
    with jax.enable_x64(True):
        run, drawn = gather(runs)
        run, fixed_values = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (run, space.fixed))
        data = Data(run, drawn, np.asarray(runs.error, np.float64), weight, fixed_values)
        low, high = space.box()
        length = bucket(float(epochs.max()) * (1 + 1e-6))
        if max_epochs is None and (length <= SHORT_SCAN or law.scans(space.layout.sketch(space.fixed))):
            max_epochs = length
        objective = Objective(space.layout, max_epochs, log, huber)
        solution = solver.solve(objective, data, space.draw_starts(starts, seed), low, high)
        if not np.isfinite(solution.objective[0]):
            raise InputError(f"law {law.name} cannot be fitted to this table: {solution.reason}")
        x = solution.x[0]
        params, each, slopes = jax.tree.map(np.asarray, linearised(objective, x, data))
    findings = diagnose(space, x, each, slopes, weight, huber)
    freedom = float(np.count_nonzero(weight) - len(findings.factor))
    weak = weak_points(runs, space, x, findings.errors, freedom)
    exact = np.sqrt(np.mean(each**2)) <= EXACT * np.mean(np.abs(runs.error))
    optimum = exact or findings.lean <= LEAN
    reason = solution.reason
    if solution.converged and not optimum:
        reason = f"stopped short of an optimum: the residuals lean on a parameter by {findings.lean:.1e}"
    miss = evaluate(law, params, runs.as_run()) - runs.error if log else each
    best = solution.objective[0]
    tie = best * (1 + AGREEMENT) + 1e-20 * float(np.sum(weight * runs.error**2))
    diagnostics = Diagnostics(
        converged=bool(solution.converged and optimum),
        reason=reason,
        objective=float(best),
        rmse=float(np.sqrt(np.mean(miss**2))),
        mae=float(np.mean(np.abs(miss))),
        agreeing=int(np.sum(solution.objective <= tie)),
        starts=len(solution.objective),
        standard_errors=errors_as_params(space, findings.errors),
        bounds_hit=findings.bounds_hit,
        unidentified=findings.unidentified + weak,
        warnings=tuple(warned),
        residuals=miss,
        settings={
            "free": list(space.names),
            "share": dict(share or {}),
            "fixed": dict(fixed or {}),
            "bounds": dict(bounds or {}),
            "importance": "given" if importance is not None else "eval_size" if runs.eval_size is not None else None,
            "log": log,
            "huber": huber,
            "solver": type(solver).__name__,
            "starts": starts,
            "seed": seed,
            "max_epochs": max_epochs,
        },
        spread=spread_of(space, findings.factor),
    )
    seen = Seen(
        samples_seen=(float(runs.samples_seen.min()), float(runs.samples_seen.max())),
        epochs=epochs.max(axis=0),
        checkpoints=len(runs),
        runs=len(set(zip(runs.run.tolist(), runs.seed.tolist(), strict=True))),
        mixtures=int(np.sum(np.sum(np.asarray(run.weights) > 0, axis=1) > 1)),
    )
    return FittedLaw(law, params, runs.pools, seen, diagnostics, metric=str(*runs.metric_names))


def fit_metrics(runs: Runs, law: Law = utility, **settings: Any) -> dict[str, FittedLaw]:
    """Fit every metric of a table on its own, side by side.

    Args:
        runs: the measured table.
        law: the law to fit to each metric.
        **settings: as for `fit`.

    Returns:
        `{metric: fitted law}` in the table's order.

    Raises:
        InputError: as for `fit`.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> list(fit_metrics(runs.select(runs.single)))
        ['error']
    """
    return {name: fit(runs.for_metric(name), law, **settings) for name in runs.metric_names}


def check_settings(runs: Runs, starts: int, seed: int, huber: float | None) -> None:
    """Raise `InputError` unless there is one metric to fit, from at least one start."""
    if len(runs) == 0:
        raise InputError("no checkpoints to fit: expected at least one measured row")
    if len(runs.metric_names) > 1:
        raise InputError(
            f"the table has {len(runs.metric_names)} metrics ({', '.join(runs.metric_names)}): fit one of them "
            "(runs.for_metric), their mean (runs.average_metrics), or each (fit_metrics)"
        )
    if starts < 1:
        raise InputError(f"starts {starts}: expected at least 1")
    if seed < 0:
        raise InputError(f"seed {seed}: expected a whole number >= 0")
    if huber is not None and not huber > 0:
        raise InputError(f"huber {huber!r}: expected a positive number")


def checked_importance(runs: Runs, given: np.ndarray | None) -> np.ndarray:
    """`[M]` weights of mean 1: those given, else the sizes of the evaluations, else equal ones.

    Raises:
        InputError: not M finite numbers >= 0 of which one is positive.
    """
    weight = given if given is not None else runs.eval_size
    if weight is None:
        return np.ones(len(runs))
    weight = np.asarray(weight, np.float64)
    if weight.shape != (len(runs),) or not np.all(np.isfinite(weight)) or np.any(weight < 0):
        raise InputError(f"importance: expected {len(runs)} finite numbers >= 0, one a checkpoint")
    if weight.sum() <= 0:
        raise InputError("importance sums to 0: expected at least one positive number")
    return weight / weight.mean()
