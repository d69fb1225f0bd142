"""Threshold rules as counts a pool: the best p per cent of a score over all pools, and scores from x on."""

from __future__ import annotations

import numpy as np

from qqtjax.errors import InputError
from qqtjax.pools.partition import Partition
from qqtjax.pools.rounding import checked_share


def top_counts(partition: Partition, keep: float) -> np.ndarray:
    """How many of the samples of highest scores, over all pools together, each pool has.

        M = round(keep N);   samples that tie at the M-th place in the order of their rows

    `draw(partition, top_counts(partition, keep), "hardest")` is the filter itself: LAION's, DataComp's, T-MARS'.

    Args:
        partition: pools with scores; samples in no pool are not counted.
        keep: share of the samples in pools.

    Returns:
        `[P]` int64 with sum M.

    Raises:
        InputError: no scores, or a share outside [0, 1].

    Example:
        >>> split = Partition.of([0, 0, 1, 1], ["web", "books"], scores=[0.3, 0.9, 0.5, 0.7])
        >>> top_counts(split, 0.5).tolist()
        [1, 1]
    """
    scores = _scores(partition)
    inside = np.flatnonzero(partition.index >= 0)
    total = round(checked_share(keep) * len(inside))
    best = inside[np.argsort(-scores[inside], kind="stable")[:total]]
    return np.bincount(partition.index[best], minlength=len(partition.pools))


def above_counts(partition: Partition, threshold: float) -> np.ndarray:
    """How many samples of each pool have at least a given score, such as a CLIP similarity of 0.28.

    `draw(partition, above_counts(partition, threshold), "hardest")` is the filter itself.

    Args:
        partition: pools with scores.
        threshold: in the unit of the scores.

    Returns:
        `[P]` int64.

    Raises:
        InputError: no scores, or a threshold that is no number.

    Example:
        >>> split = Partition.of([0, 0, 1, 1], ["web", "books"], scores=[0.3, 0.9, 0.5, 0.7])
        >>> above_counts(split, 0.5).tolist()
        [1, 2]
    """
    if np.isnan(threshold):
        raise InputError("threshold nan: expected a number")
    above = (_scores(partition) >= threshold) & (partition.index >= 0)
    return np.bincount(partition.index[above], minlength=len(partition.pools))


def _scores(partition: Partition) -> np.ndarray:
    if partition.scores is None:
        raise InputError("these pools have no scores: expected a partition with scores")
    return partition.scores
