"""Differences between two laws on the same held-out checkpoints, with intervals over whole blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RESAMPLES = 999


class Difference(NamedTuple):
    """Mean absolute error of one law minus that of another.

    Attributes:
        first: name of the one.
        second: name of the other.
        mean: below 0: the first is closer.
        low: lower end of the 95 % interval.
        high: its upper end; NaN with one block.
        blocks: how many runs or mixtures it rests on.
    """

    first: str
    second: str
    mean: float
    low: float
    high: float
    blocks: int


def difference(
    first: tuple[str, np.ndarray], second: tuple[str, np.ndarray], block: np.ndarray, seed: int
) -> Difference:
    """Compare the absolute misses of two laws, blocks drawn with replacement (percentile bootstrap by SciPy).

    Args:
        first: name and `[M]` absolute misses.
        second: the same of the other.
        block: `[M]` the run or mixture of each checkpoint; checkpoints of one block are never independent.
        seed: of the resampling.

    Example:
        >>> misses = np.array([0.1, 0.2, 0.1, 0.2])
        >>> found = difference(("a", misses), ("b", misses + 0.1), np.array([0, 0, 1, 1]), seed=0)
        >>> round(found.mean, 6), round(found.low, 6), round(found.high, 6), found.blocks
        (-0.1, -0.1, -0.1, 2)
    """
    from scipy import stats

    gap = first[1] - second[1]
    place = np.unique(block, return_inverse=True)[1].ravel()
    total, count = np.bincount(place, gap), np.bincount(place).astype(float)
    if len(total) < 2:
        return Difference(first[0], second[0], float(gap.mean()), np.nan, np.nan, len(total))

    def mean(total: np.ndarray, count: np.ndarray, axis: int) -> np.ndarray:
        return np.sum(total, axis) / np.sum(count, axis)

    found = stats.bootstrap(
        (total, count), mean, paired=True, vectorized=True, n_resamples=RESAMPLES, method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Difference(first[0], second[0], float(gap.mean()), float(found.low), float(found.high), len(total))
