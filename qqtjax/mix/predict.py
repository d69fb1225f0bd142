"""Predictions for any number of mixes and budgets, in batches of one shape, so that little is compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from qqtjax.laws.fitted import FittedLaw, evaluate
from qqtjax.runs import Run

BATCH = 1024
SMALL_BATCH, MIDDLE_BATCH = 64, 256  # for laws that scan, whose cost is in each row
FEW = 8  # an eighth of the most epochs is few


def errors_of(fitted: FittedLaw, weights: np.ndarray, samples_seen: np.ndarray) -> np.ndarray:
    """Predicted errors y(w_m, n_m) of M runs on the law's own pools.

    Args:
        fitted: the law.
        weights: `[M, P]`.
        samples_seen: `[M]`.

    Returns:
        `[M]`, float64.
    """
    weights = np.asarray(weights, np.float64)
    return errors_with_sizes(fitted, weights, np.broadcast_to(fitted.pools.sizes, weights.shape), samples_seen)


def errors_with_sizes(
    fitted: FittedLaw, weights: np.ndarray, sizes: np.ndarray, samples_seen: np.ndarray
) -> np.ndarray:
    """Predicted errors `[M]` of M runs whose pools have their own sizes `[M, P]`; see `errors_of`."""
    seen = np.asarray(samples_seen, np.float64)
    if not len(seen):
        return np.zeros(0)
    scans = fitted.law.scans(fitted.params)
    size = BATCH
    if scans and len(seen) <= BATCH:
        size = SMALL_BATCH if len(seen) <= SMALL_BATCH else MIDDLE_BATCH
    epochs = np.max(weights / sizes, axis=1) * seen
    # A law that scans is as slow as the most epochs of a batch and compiles for each length: few epochs apart
    # from many, and one length each, by a last row of the most epochs in every batch.
    apart = scans and len(seen) > BATCH
    few = epochs < np.max(epochs) / FEW if apart else np.zeros(len(seen), bool)
    errors = np.empty(len(seen))
    for group in (np.flatnonzero(few), np.flatnonzero(~few)):
        step = size - 1 if scans else size
        for start in range(0, len(group), step):
            rows = group[start : start + step]
            last = group[np.argmax(epochs[group])] if scans else rows[-1]
            padded = np.concatenate([rows, np.full(size - len(rows), last)])
            batch = Run(weights=weights[padded], sizes=sizes[padded], samples_seen=seen[padded])
            errors[rows] = evaluate(fitted.law, fitted.params, batch)[: len(rows)]
    return errors


def error_table(fitted: FittedLaw, weights: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """`[F, B]` predicted errors of F mixes `[F, P]` at B budgets."""
    rows = np.repeat(weights, len(budgets), axis=0)
    return errors_of(fitted, rows, np.tile(budgets, len(weights))).reshape(len(weights), len(budgets))


def largest(params: Any, name: str) -> float | None:
    """The largest value of a parameter over the pools, or None for a law without it."""
    value = getattr(params, name, None)
    return None if value is None else float(np.max(np.asarray(value)))


def tie_of_pools(params: Any) -> float | None:
    """`scale`, in samples, where all pools tie and below which a law ranks them in reverse, or None.

    Only laws whose pools differ in their slopes (`utility`) have one: where they differ in `scale` itself, as in
    `laws.effective_samples`, they never tie on fresh data, and the law holds below it.
    """
    return largest(params, "scale") if hasattr(params, "utility") else None
