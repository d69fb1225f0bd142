"""Which samples of each pool are kept: the one draw that every rule for counts ends in, and what it kept."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.plain import to_plain
from qqtjax.pools.partition import Partition, pool_column, text_table
from qqtjax.pools.stored import write_columns
from qqtjax.text import did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame

SCHEMA, SCHEMA_VERSION = "qqtjax.selection", 1
Order = Literal["hardest", "easiest", "random"]
ORDERS = ("hardest", "easiest", "random")


@dataclasses.dataclass(frozen=True, eq=False)
class Selection:
    """The samples of a partition that are kept.

    Attributes:
        partition: what they were chosen from.
        rows: `[M]` int64 row numbers of the samples kept, ascending.
        epochs: `[P]` how often training is to go through what is kept of each pool, or None where nothing says so.
    """

    partition: Partition
    rows: np.ndarray
    epochs: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> np.ndarray:
        """`[M]` what the kept samples are called: ids, or row numbers."""
        return self.partition.called(self.rows)

    @functools.cached_property
    def kept(self) -> np.ndarray:
        """`[P]` int64 samples kept of each pool."""
        inside = self.partition.index[self.rows]
        return np.bincount(inside[inside >= 0], minlength=len(self.partition.pools))

    @property
    def removed(self) -> np.ndarray:
        """`[P]` int64 samples of each pool that are not kept."""
        return self.partition.counts - self.kept

    def report(self) -> DataFrame:
        """One row a pool: `pool, pool_size, kept, removed, share_kept`, and `epochs` where they are known."""
        import pandas as pd

        sizes = self.partition.counts
        table = pd.DataFrame(
            {
                "pool": self.partition.pools.names,
                "pool_size": sizes,
                "kept": self.kept,
                "removed": self.removed,
                "share_kept": self.kept / np.maximum(sizes, 1),
            }
        )
        return table if self.epochs is None else table.assign(epochs=self.epochs)

    def narrowed(self) -> Partition:
        """The kept samples as a partition of their own, with the ids that they had."""
        whole = self.partition
        scores = None if whole.scores is None else whole.scores[self.rows]
        return Partition.of(whole.index[self.rows], whole.pools.names, scores, self.ids)

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain data that strict JSON holds; the samples themselves are what `save` writes."""
        return {
            "samples": len(self.partition),
            "kept": len(self.rows),
            "removed": len(self.partition) - len(self.rows),
            "in_no_pool": int(np.sum(self.partition.index < 0)),
            "pools": to_plain(self.report().to_dict("records")),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the kept samples as Parquet: columns `sample` (id or row number) and `pool`, and where they are known
        `score` and `epochs`.

        Args:
            path: the file; it is written whole or not at all.

        Raises:
            InputError: it cannot be written.
            MissingExtraError: pyarrow is not installed.
        """
        whole = self.partition
        inside = whole.index[self.rows]
        columns = {"sample": self.ids, "pool": pool_column(inside, whole.pools.names)}
        if whole.scores is not None:
            columns["score"] = whole.scores[self.rows]
        if self.epochs is not None:
            columns["epochs"] = np.append(self.epochs, 0.0)[inside]  # the last is what -1 picks
        about = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "names": list(whole.pools.names)}
        write_columns(columns, about, path)

    def __str__(self) -> str:
        formats: dict[str, Any] = {name: "{:,.0f}".format for name in ("pool_size", "kept", "removed")}
        formats |= {"share_kept": "{:.1%}".format, "epochs": "{:.3g}".format}
        text = text_table(self.report(), formats)
        total, kept = len(self.partition), len(self.rows)
        share = kept / total
        return f"{text}\nkept {kept:,} of {total:,} samples ({share:.1%}), removed {total - kept:,}"


def draw(
    partition: Partition, counts: Mapping[str, float] | ArrayLike, order: Order = "random", seed: int = 0
) -> Selection:
    """Keep so many samples of each pool: the hardest, the easiest, or random ones without replacement.

    The hardest are those of the highest scores. Samples that tie are taken in the order of their rows. Of the same
    seed fewer random samples are a part of more, and one pool's do not depend on how many others give.

    Args:
        partition: the pools.
        counts: `[P]` whole numbers, samples to keep of each pool, or `{pool: samples}` (pools not named give none).
        order: hardest, easiest or random; the first two need `partition.scores`.
        seed: of the random keys; the same seed gives the same samples.

    Returns:
        `Selection`; every count is met exactly.

    Raises:
        InputError: an unknown pool or order, no scores to order by, a count that is negative, not whole, or larger
            than the pool.

    Example:
        >>> split = Partition.of([0, 0, 0, 1, 1], ["web", "books"], scores=[0.1, 0.9, 0.5, 0.7, 0.3])
        >>> draw(split, {"web": 2, "books": 1}, "hardest").rows.tolist()
        [1, 2, 3]
        >>> print(draw(split, [1, 2], "easiest"))
         pool pool_size kept removed share_kept
          web         3    1       2      33.3%
        books         2    2       0     100.0%
        kept 3 of 5 samples (60.0%), removed 2
    """
    if order not in ORDERS:
        raise InputError(f"order {order!r}: expected one of {', '.join(ORDERS)}{did_you_mean(str(order), ORDERS)}")
    wanted = checked_counts(partition, counts)
    if order == "random":
        key = np.random.default_rng(seed).random(len(partition))
    elif partition.scores is None:
        raise InputError(f"order {order!r}: these pools have no scores to order by; expected order 'random'")
    else:
        key = -partition.scores if order == "hardest" else partition.scores
    return Selection(partition, first_of_each_pool(partition.index, key, partition.counts, wanted))


def checked_counts(partition: Partition, counts: Mapping[str, float] | ArrayLike) -> np.ndarray:
    """`[P]` int64 of counts that the pools can give.

    Raises:
        InputError: as in `draw`.
    """
    pools = partition.pools
    if isinstance(counts, Mapping):
        dense = np.zeros(len(pools))
        for name, count in counts.items():
            dense[pools.index(name)] += float(count)
    else:
        dense = np.asarray(counts, np.float64)
        if dense.shape != (len(pools),):
            raise InputError(f"counts of shape {dense.shape}: expected one for each of {len(pools)} pools")
    sizes = partition.counts
    wrong = np.flatnonzero(~(dense >= 0) | (dense != np.floor(dense)) | (dense > sizes))
    if len(wrong):
        place = int(wrong[0])
        raise InputError(
            f"pool {pools.names[place]!r}: {dense[place]:.12g} samples to keep, expected a whole number from 0 to its "
            f"size {sizes[place]}"
        )
    return dense.astype(np.int64)


def first_of_each_pool(index: np.ndarray, key: np.ndarray, sizes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Row numbers, ascending, of the `counts[j]` samples of least key in every pool j; ties in the order of rows.

    Args:
        index: `[N]` pool of each sample, -1: in none.
        key: `[N]`.
        sizes: `[P]` samples of each pool.
        counts: `[P]` at most `sizes`.
    """
    grouped = np.argsort(index, kind="stable")
    ends = len(index) - sizes.sum() + np.cumsum(sizes)
    kept = []
    for end, size, count in zip(ends, sizes, counts, strict=True):
        rows = grouped[end - size : end]
        if count == size:
            kept.append(rows)
        elif count:
            kept.append(rows[np.argsort(key[rows], kind="stable")[:count]])
    return np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.int64)
