"""The same fraction of every pool, with a floor that keeps small pools alive (SSP)."""

from __future__ import annotations

import jax
import numpy as np
from numpy.typing import ArrayLike

from qqtjax.pools.projection import project
from qqtjax.pools.rounding import checked_share, round_exact, whole_sizes, whole_total


def uniform_counts(sizes: ArrayLike, total: int, balance: float = 0.5) -> np.ndarray:
    """Samples to keep of each pool: one fraction for all, but from every pool a part of an equal share.

        N = Proj(M n / sum n),   sum_j N_j = M,   min(floor(B M / P), n_j) <= N_j <= n_j

    Pools below the floor B of an equal share M / P are lifted to it, and the others give the same number less.
    Without a floor (B = 0) it is M n_j / sum n, rounded.

    Args:
        sizes: `[P]` n, samples.
        total: M, samples to keep.
        balance: B in [0, 1].

    Returns:
        `[P]` int64 with sum M.

    Raises:
        InputError: sizes that are not whole, a total above their sum, a balance outside [0, 1].

    Source: self-supervised prototype pruning (Sorscher et al. 2022) as the baseline of arXiv 2401.04578, with its
    cluster balance of 0.5. The released code of the floor is not public; lifting by projection is ours.

    Example:
        >>> uniform_counts([800, 150, 50], 500, balance=0.5).tolist()
        [367, 83, 50]
    """
    whole = whole_sizes(sizes)
    wanted = whole_total(total, int(whole.sum()))
    floor = np.minimum(np.floor(checked_share(balance, "balance") * wanted / len(whole)), whole)
    if not wanted:
        return np.zeros_like(whole)
    with jax.enable_x64(True):
        kept = project(wanted * (whole / whole.sum()), floor, whole.astype(np.float64), float(wanted))
    return round_exact(kept, wanted, floor, whole)
