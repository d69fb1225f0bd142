"""FlexRand: a random draw from the easy and one from the hard part of each pool."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.pools.drawing import Selection, draw
from qqtjax.pools.partition import Partition
from qqtjax.pools.rounding import checked_share, round_exact, whole_sizes


class FlexRandCounts(NamedTuple):
    """Two regions of each pool, and how many samples to draw from each.

    Attributes:
        region: `[P]` int64 samples of least score that are the easy region; the rest is the hard one.
        easy: `[P]` int64 samples to draw from the easy region.
        hard: `[P]` int64 samples to draw from the hard region.
    """

    region: np.ndarray
    easy: np.ndarray
    hard: np.ndarray


def flexrand_shares(keep: float, split: float) -> tuple[float, float]:
    """Shares of a pool to draw from its easy and its hard region.

        e = min(g, b/2), h = b - e   for g <= 1/2;   h = min(1 - g, b/2), e = b - h   for g > 1/2

    The budget is halved between the regions unless the smaller one runs out. A sample is included with probability
    e / g in the easy region and h / (1 - g) in the hard one: g < 1/2 over-samples the easy tail, g > 1/2 the hard one.

    Args:
        keep: b in [0, 1], share of the pool to keep.
        split: g in (0, 1), share of the pool that is the easy region.

    Returns:
        e and h, with sum b.

    Raises:
        InputError: a share outside its range.

    Source: arXiv 2402.05356v2, FlexRand.

    Example:
        >>> flexrand_shares(0.4, 0.9)  # the hardest tenth is kept whole
        (0.30000000000000004, 0.09999999999999998)
    """
    kept = checked_share(keep)
    if not 0 < split < 1:
        raise InputError(f"split {split:.12g}: expected a share above 0 and below 1")
    if split <= 0.5:
        easy = min(split, kept / 2)
        return easy, kept - easy
    hard = min(1 - split, kept / 2)
    return kept - hard, hard


def flexrand_counts(sizes: ArrayLike, keep: float, split: float, exact: bool = True) -> FlexRandCounts:
    """Whole samples to draw from the two regions of each pool.

        region_j = round(n_j g),   easy_j = round(n_j e),   hard_j = N_j - easy_j,   sum_j N_j = round(b sum n)

    where N are b n by largest remainders, and what a region cannot give the other one gives. Rounding is half to even.

    Args:
        sizes: `[P]` n, samples of each pool.
        keep: b, share to keep.
        split: g, share that is the easy region.
        exact: False for the counts of the released code, hard_j = round(n_j h), which miss the total of many pools
            by one. Where a region has fewer than it is to give, so that the released code raises an error, it gives
            all that it has.

    Returns:
        `FlexRandCounts`.

    Raises:
        InputError: sizes that are not whole, a share outside its range.

    Source: arXiv 2402.05356v2, and its released code for the rounding.

    Example:
        >>> [each.tolist() for each in flexrand_counts([10, 7], 0.5, 0.75)]
        [[8, 5], [3, 2], [2, 1]]
    """
    whole = whole_sizes(sizes)
    easy_share, hard_share = flexrand_shares(keep, split)
    region = np.rint(whole * split).astype(np.int64)
    easy = np.rint(whole * easy_share).astype(np.int64)
    if not exact:
        hard = np.rint(whole * hard_share).astype(np.int64)
        return FlexRandCounts(region, np.minimum(easy, region), np.minimum(hard, whole - region))
    real = whole * keep
    total = round_exact(real, round(keep * int(whole.sum())), 0, whole)
    easy = np.clip(easy, np.maximum(total - (whole - region), 0), np.minimum(region, total))
    return FlexRandCounts(region, easy, total - easy)


def flexrand(partition: Partition, keep: float, split: float, seed: int = 0, exact: bool = True) -> Selection:
    """Draw at random from the easy and the hard region of every pool, in the numbers of `flexrand_counts`.

    Args:
        partition: pools with scores, low is easy; a pool is a class where samples have one.
        keep: share of each pool to keep.
        split: share of each pool that is its easy region. The paper tunes it on a held-out fifth of the data.
        seed: of the draw; the same seed gives the same samples.
        exact: as in `flexrand_counts`.

    Returns:
        `Selection`.

    Raises:
        InputError: no scores, a share outside its range.

    Source: arXiv 2402.05356v2, FlexRand.

    Example:
        >>> split = Partition.of([0] * 10, ["cat"], scores=range(10))
        >>> flexrand(split, keep=0.4, split=0.8).rows.tolist()  # the hardest two, and two of the easiest eight
        [2, 3, 8, 9]
    """
    if partition.scores is None:
        raise InputError("these pools have no scores: expected a partition with scores, low for easy samples")
    counts = flexrand_counts(partition.counts, keep, split, exact)
    easy = draw(partition, counts.region, "easiest").rows
    region = partition.index * 2 + 1
    region[easy] -= 1
    region = np.where(partition.index < 0, -1, region)
    names = [f"{name} {part}" for name in partition.pools.names for part in ("easy", "hard")]
    both = Partition.of(region, names)
    drawn = draw(both, np.stack([counts.easy, counts.hard], axis=1).ravel(), "random", seed)
    return Selection(partition, drawn.rows)
