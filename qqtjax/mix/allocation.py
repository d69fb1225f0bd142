"""From shares to whole samples."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError


def whole_samples(weights: ArrayLike, total: int) -> list[int]:
    """Whole samples of each pool with an exact total, by the method of largest remainders.

        floor(w_i T) each, then one more to the largest w_i T - floor(w_i T) until the total is T

    Ties go to the larger weight, then to the earlier pool. Computed in exact fractions, so that totals beyond
    2^53 are exact too; a pool of weight 0 gets nothing.

    Args:
        weights: `[P]` shares >= 0; their sum is taken as 1.
        total: T >= 0, samples.

    Returns:
        P whole numbers that sum to T.

    Raises:
        InputError: a weight that is negative or not finite, no positive weight, or a negative total.

    Example:
        >>> whole_samples([0.5, 0.25, 0.25], 10)
        [5, 3, 2]
    """
    shares = np.asarray(weights, np.float64)
    if not np.all(np.isfinite(shares)) or np.any(shares < 0) or not np.any(shares > 0):
        raise InputError(f"weights {shares.tolist()}: expected finite shares >= 0, at least one above 0")
    if total < 0:
        raise InputError(f"total {total}: expected a whole number of samples >= 0")
    exact = [Fraction(float(share)) for share in shares]
    whole = sum(exact)
    quotas = [share * total / whole for share in exact]
    counts = [int(quota) for quota in quotas]
    order = sorted(range(len(exact)), key=lambda i: (counts[i] - quotas[i], -exact[i], i))
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts
