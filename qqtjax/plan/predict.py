"""Predictions for any number of mixes and budgets in batches of two shapes, so that little is compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from qqtjax.laws.fitted import FittedLaw, evaluate
from qqtjax.runs import Run

SMALL_BATCH, BATCH = 64, 1024


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
    return errors_with_sizes(
        fitted, weights, np.broadcast_to(fitted.pools.sizes, weights.shape), samples_seen
    )


def errors_with_sizes(
    fitted: FittedLaw, weights: np.ndarray, sizes: np.ndarray, samples_seen: np.ndarray
) -> np.ndarray:
    """Predicted errors `[M]` of M runs whose pools have their own sizes `[M, P]`; see `errors_of`."""
    seen = np.asarray(samples_seen, np.float64)
    count = len(weights)
    size = SMALL_BATCH if count <= SMALL_BATCH else BATCH
    # Laws that scan pay for the most epochs in a batch: like with like.
    order = np.argsort(np.max(weights / sizes, axis=1) * seen, kind="stable")
    errors = np.empty(count)
    for start in range(0, count, size):
        rows = order[start : start + size]
        padded = np.pad(rows, (0, size - len(rows)), mode="edge")
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
