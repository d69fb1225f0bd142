"""All fits of one law on one table in a few batched calls: outer folds, inner folds, targets and sizes of models."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from qqtjax.bakeoff.contestants import Baseline
from qqtjax.fit.fitting import AGREEMENT
from qqtjax.fit.many import fit_laws
from qqtjax.fit.model import Model
from qqtjax.laws.fitted import evaluate
from qqtjax.runs import Runs

# Lanes of a block, whatever the number of versions: so that inner and outer fits are one compiled program.
WIDTH = 32
# A start that needs more is left where it is.
ITERATIONS = 100


class Version(NamedTuple):
    """One fit and what it predicts.

    Attributes:
        slot: where its predictions belong; the fits of several sizes of the model share one.
        target: which metric.
        fitted: `[M]` bool.
        predicted: `[M]` bool.
    """

    slot: int
    target: int
    fitted: np.ndarray
    predicted: np.ndarray


class Outcome(NamedTuple):
    """What came of fits; S slots.

    Attributes:
        predicted: `[S, M]` errors; NaN where nothing is predicted.
        converged: `[S]` did all fits of the slot converge.
        agreeing: `[S]` share of the starts that ended at the best objective.
    """

    predicted: np.ndarray
    converged: np.ndarray
    agreeing: np.ndarray


def split_by_size(versions: Sequence[Version], model_size: np.ndarray) -> list[Version]:
    """Versions fitted to one size of the model each; those without something to fit and to predict are left out."""
    found = []
    for slot, target, fitted, predicted in versions:
        for size in np.unique(model_size):
            same = model_size == size
            if np.any(fitted & same) and np.any(predicted & same):
                found.append(Version(slot, target, fitted & same, predicted & same))
    return found


def fit_law(
    runs: Runs, errors: np.ndarray, versions: Sequence[Version], model: Model, slots: int, starts: int, seed: int
) -> Outcome:
    """Fit a law to every version at once.

    A checkpoint that is not fitted has no importance, and its error is replaced by the largest fitted one, so that no
    bound or starting range knows it.

    Args:
        runs: the table; its errors are not looked at.
        errors: `[T, M]` measured errors of each target.
        versions: the fits.
        model: the law and how it is fitted.
        slots: S.
        starts: of each version.
        seed: of the starts.
    """
    outcome = Outcome(np.full((slots, len(runs)), np.nan), np.ones(slots, bool), np.ones(slots))
    if not versions:
        return outcome
    fitted = np.array([each.fitted for each in versions])
    measured = errors[[each.target for each in versions]]
    most = np.max(np.where(fitted, measured, -np.inf), axis=1, keepdims=True)
    size = 1.0 if runs.eval_size is None else runs.eval_size
    fits = fit_laws(
        runs,
        (model,),
        errors=np.where(fitted, measured, most),
        importance=fitted * size,
        starts=starts,
        seed=seed,
        max_iterations=ITERATIONS,
        width=WIDTH,
        # Two programs at a time can wait for each other's threads without end where the fits are large.
        workers=1,
    )[0]
    batch = runs.as_run()
    best = fits.objective[:, None]
    tie = best * (1 + AGREEMENT) + 1e-20 * np.sum(measured**2, axis=1, keepdims=True)
    agreeing = np.mean(fits.objectives <= tie, axis=1)
    for row, (slot, _, _, wanted) in enumerate(versions):
        params = jax.tree.map(lambda leaf, row=row: leaf[row], fits.params)
        outcome.predicted[slot, wanted] = evaluate(model.law, params, batch)[wanted]
        outcome.converged[slot] &= fits.converged[row]
        outcome.agreeing[slot] = min(outcome.agreeing[slot], agreeing[row])
    return outcome


def fit_baseline(
    runs: Runs, errors: np.ndarray, versions: Sequence[Version], baseline: Baseline, slots: int
) -> Outcome:
    """Fit a baseline to every version, one after the other; it sees the fitted checkpoints only."""
    outcome = Outcome(np.full((slots, len(runs)), np.nan), np.ones(slots, bool), np.ones(slots))
    # What is predicted is handed over without what was measured.
    unknown = dataclasses.replace(runs, error=np.full(len(runs), np.nan))
    for slot, target, fitted, wanted in versions:
        table = dataclasses.replace(runs, error=errors[target])
        outcome.predicted[slot, wanted] = baseline.fit(table.select(fitted))(unknown.select(wanted))
    return outcome
