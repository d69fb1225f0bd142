"""Moderate coresets: samples neither near their class centre nor far from it."""

from __future__ import annotations

import numpy as np
from jax.typing import ArrayLike

from qqtjax.pools.picking import checked_features, checked_groups


def moderate(features: ArrayLike, groups: ArrayLike | None = None) -> np.ndarray:
    """How far a sample's distance to its class centre is from the median of its class.

        score_i = | d_i - median_{j in class} d_j |,   d_i = || x_i - mean of the class ||

    Args:
        features: `[N, D]`.
        groups: `[N]` class of each sample, or None for one class.

    Returns:
        `[N]` float64 scores; the moderate samples have the least. As the scores of a `Partition`, draw the easiest.

    Raises:
        InputError: features that are no finite matrix, or groups that do not match them.

    Source: Xia et al. (ICLR 2023), whose distances are taken over all classes together; here a class has its own
    median, so that a draw within classes is moderate in each.

    Example:
        >>> moderate(np.array([[0.0], [1.0], [2.0], [9.0]]))  # distances 3, 2, 1, 6 to the mean
        array([0.5, 0.5, 1.5, 3.5])
    """
    rows = checked_features(features).astype(np.float64)
    known = np.zeros(len(rows), int) if groups is None else checked_groups(groups, len(rows))
    found = np.empty(len(rows))
    for group in np.unique(known):
        members = known == group
        distance = np.linalg.norm(rows[members] - rows[members].mean(axis=0), axis=1)
        found[members] = np.abs(distance - np.median(distance))
    return found
