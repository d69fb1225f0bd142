"""Does the number of unique tokens carry what the laws say: a permutation test on datablations."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from qqtjax.fit.many import fit_laws
from qqtjax.fit.model import Model
from qqtjax.laws import chinchilla, data_constrained, utility_capacity
from qqtjax.laws.fitted import evaluate
from qqtjax.runs import Runs

LIMIT, STARTS = 8.0, 2
BLIND = Model(chinchilla)
LAWS = {
    "data_constrained": Model(data_constrained),
    "utility_capacity, dilution 0": Model(utility_capacity, fixed={"dilution": 0.0}),
}


class Test(NamedTuple):
    """One law against the blind one.

    Attributes:
        blind: held-out mean absolute error of the blind law, as measured.
        law: that of the law.
        permuted: `[B]` the statistic, blind minus law, of each permutation.
        p: (1 + how many of them reach the measured statistic) / (1 + B).
    """

    blind: float
    law: float
    permuted: np.ndarray
    p: float


def permuted_errors(runs: Runs, count: int, seed: int) -> np.ndarray:
    """`[count + 1, M]` errors, the measured ones first, then with unique sizes permuted.

    Runs of one model size and number of samples seen differ in their unique size alone: to permute the sizes among
    them is to permute their errors. Unique <= seen is kept, since all of them have seen the same.
    """
    rng = np.random.default_rng(seed)
    cell = np.unique(np.stack([runs.model_size, runs.samples_seen]), axis=1, return_inverse=True)[1].ravel()
    groups = [np.flatnonzero(cell == each) for each in np.unique(cell)]
    found = np.tile(runs.error, (count + 1, 1))
    for version in found[1:]:
        for group in groups:
            version[group] = version[rng.permutation(group)]
    return found


def permutation_test(runs: Runs, count: int, seed: int) -> dict[str, Test]:
    """Refit the laws to every permutation at once and score them on the runs of more than 8 epochs.

    Args:
        runs: one pool, subsets of it.
        count: B permutations.
        seed: of permutations and starts.
    """
    out = runs.epochs.max(axis=1) > LIMIT
    errors = permuted_errors(runs, count, seed)
    # What is held out is not seen by any bound or starting range.
    fitted = np.where(out, errors[:, ~out].max(axis=1, keepdims=True), errors)
    importance = np.tile(np.where(out, 0.0, 1.0), (count + 1, 1))
    models = (BLIND, *LAWS.values())
    fits = fit_laws(runs, models, errors=fitted, importance=importance, starts=STARTS, seed=seed)
    missed = []
    batch = runs.as_run()
    for model, found in zip(models, fits, strict=True):
        versions = (jax.tree.map(lambda leaf, b=b: leaf[b], found.params) for b in range(count + 1))
        predicted = np.stack([evaluate(model.law, params, batch) for params in versions])
        missed.append(np.mean(np.abs(predicted - errors)[:, out], axis=1))
    tests = {}
    for name, mae in zip(LAWS, missed[1:], strict=True):
        statistic = missed[0] - mae
        reached = int(np.sum(statistic[1:] >= statistic[0]))
        tests[name] = Test(float(missed[0][0]), float(mae[0]), statistic[1:], (1 + reached) / (1 + count))
    return tests
