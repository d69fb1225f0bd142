"""A table with its folds: what each fit sees, and what it predicts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qqtjax.bakeoff.splits import Split, held_out
from qqtjax.bakeoff.versions import Version
from qqtjax.errors import InputError
from qqtjax.runs import Runs


class Table(NamedTuple):
    """One table with its folds; K folds, T targets, J inner folds of each fold, M checkpoints.

    `inner` is `[K, J, M]`: what each inner fold of a fold holds out of what the fold fits.
    """

    runs: Runs
    metrics: tuple[str, ...]
    errors: np.ndarray
    folds: np.ndarray
    inner: np.ndarray
    seed: int
    starts: int

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The fold and target of each outer fit."""
        return [(fold, target) for fold in range(len(self.folds)) for target in range(len(self.errors))]

    def outer_versions(self) -> list[Version]:
        """The fits of `pairs`."""
        return [Version(i, t, ~self.folds[k], self.folds[k]) for i, (k, t) in enumerate(self.pairs)]

    def inner_versions(self) -> list[Version]:
        """The fits of the inner folds: J for each of `pairs`."""
        count = self.inner.shape[1]
        return [
            Version(i * count + j, t, ~self.folds[k] & ~self.inner[k, j], self.inner[k, j])
            for i, (k, t) in enumerate(self.pairs)
            for j in range(count)
        ]


def folded(runs: Runs, split: Split, seed: int, starts: int) -> Table:
    """A table with the folds of a split, and those of the same kind inside what each fits.

    Raises:
        InputError: a fold without something to fit or to score, or metrics measured at different checkpoints.
    """
    tables = [runs.for_metric(name) for name in runs.metric_names]
    first = tables[0]
    for name, each in zip(runs.metric_names, tables, strict=True):
        fields = ("source", "samples_seen", "run", "seed", "model_size")
        if not all(np.array_equal(getattr(each, field), getattr(first, field)) for field in fields):
            raise InputError(f"metric {name!r} was measured at other checkpoints than {runs.metric_names[0]!r}")
    folds = held_out(split, first, seed)
    parts = [split.inner(first.select(~fold), seed) for fold in folds]
    inner = np.zeros((len(folds), min(len(each) for each in parts), len(first)), bool)
    for fold, held, found in zip(folds, inner, parts, strict=True):
        held[:, ~fold] = found[: len(held)]
    return Table(first, runs.metric_names, np.stack([each.error for each in tables]), folds, inner, seed, starts)
