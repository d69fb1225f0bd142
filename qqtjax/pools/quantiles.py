"""Pools by quantiles of a score: the best tenth, the next one, and so on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.pools.partition import NO_POOL, Partition, finite_scores


def quantile_pools(
    scores: ArrayLike,
    edges: Sequence[float],
    names: Sequence[str] | None = None,
    descending: bool = True,
    ids: ArrayLike | None = None,
) -> Partition:
    """Disjoint pools of the samples between quantiles of a score.

        pool j has the samples of ranks round(e_(j-1) N) to round(e_j N) from the best,   e_0 = 0

    The sizes are those and no others: samples of equal scores on an edge are parted in the order of their rows.

    Args:
        scores: `[N]` finite numbers, such as CLIP similarities.
        edges: P rising shares in (0, 1]: 0.1, 0.2, 0.3 are the best tenth, the next and the third. Samples beyond the
            last edge are in no pool.
        names: P names; by default `top10`, `10-20`, `20-30` in per cent.
        descending: is a higher score better; the first pool has the best.
        ids: `[N]` what the samples are called, or None.

    Returns:
        `Partition` with the scores, whose pools come best first.

    Raises:
        InputError: a score that is not finite (its row is named), edges that do not rise in (0, 1], another number of
            names, a pool without a sample.

    Source: buckets of arXiv 2404.07177 (T-MARS and CLIP scores on DataComp).

    Example:
        >>> found = quantile_pools([0.3, 0.1, 0.9, 0.5, 0.2], [0.2, 0.6])
        >>> found.pools.names, found.index.tolist()
        (('top20', '20-60'), [1, -1, 0, 1, -1])
    """
    values = finite_scores(scores)
    shares = np.asarray(edges, np.float64)
    if shares.ndim != 1 or not len(shares) or not np.all(np.diff(shares, prepend=0.0) > 0) or not shares[-1] <= 1:
        raise InputError(
            f"edges {list(edges)}: expected shares that rise, above 0 and at most 1, such as 0.1, 0.2, 0.3"
        )
    if names is None:
        starts = [0.0, *shares[:-1]]
        names = [_percent_name(start, end) for start, end in zip(starts, shares, strict=True)]
    elif len(names) != len(shares):
        raise InputError(f"{len(names)} names: expected one for each of {len(shares)} pools")
    ends = np.rint(shares * len(values)).astype(np.int64)
    sizes = np.diff(ends, prepend=0)
    if not np.all(sizes):
        place = int(np.argmin(sizes))
        raise InputError(f"pool {names[place]!r}: no sample of {len(values)} is in it; expected edges farther apart")
    best_first = np.argsort(-values if descending else values, kind="stable")
    index = np.full(len(values), NO_POOL, np.int32)
    index[best_first[: ends[-1]]] = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    return Partition.of(index, names, values, ids)


def _percent_name(start: float, end: float) -> str:
    """`top10` for the first, `10-20` for the others."""
    return f"top{100 * end:.6g}" if start == 0 else f"{100 * start:.6g}-{100 * end:.6g}"
