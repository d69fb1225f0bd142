"""Which pool each sample is in: what every method that makes pools gives, and every rule for keeping takes."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.plain import to_plain
from qqtjax.pools.stored import parquet, read_columns, write_columns
from qqtjax.runs import Pools

if TYPE_CHECKING:
    from pandas import DataFrame

SCHEMA, SCHEMA_VERSION = "qqtjax.partition", 1
NO_POOL = -1
SHOWN = 30  # pools in a printed table


@dataclasses.dataclass(frozen=True, eq=False)
class Partition:
    """N samples in P disjoint pools, ready for training: a pool index a sample.

    Attributes:
        pools: names and sizes; a size is the number of samples of that pool.
        index: `[N]` int32, the pool of each sample; -1: in none.
        ids: `[N]` what the samples are called, numbers or text; None where they are called by their row number.
        scores: `[N]` float, what orders the samples of a pool: higher is harder, farther from the centroid, or
            better by the user's score; None where there is no order.

    Example:
        >>> split = Partition.of([0, 0, 1, -1, 1], ["web", "books"], scores=[0.1, 0.9, 0.5, 0.2, 0.3])
        >>> split.counts.tolist(), split.members("books").tolist(), len(split)
        ([2, 2], [2, 4], 5)
        >>> split.table()[["pool", "pool_size"]].to_dict("list")
        {'pool': ['web', 'books'], 'pool_size': [2, 2]}
    """

    pools: Pools
    index: np.ndarray
    ids: np.ndarray | None = None
    scores: np.ndarray | None = None

    @classmethod
    def of(
        cls, index: ArrayLike, names: Sequence[str], scores: ArrayLike | None = None, ids: ArrayLike | None = None
    ) -> Partition:
        """Make a partition, checking everything.

        Args:
            index: `[N]` whole numbers, the pool of each sample; -1: in none.
            names: P distinct names; a pool may be empty.
            scores: `[N]` finite numbers, or None.
            ids: `[N]` numbers or text, distinct, or None.

        Raises:
            InputError: no sample, a pool that does not exist, a name given twice, a score that is not finite, other
                lengths, an id given twice; the row is named, counted from 0.
        """
        rows = np.asarray(index)
        if rows.ndim != 1 or not len(rows):
            raise InputError(f"pool indices of shape {rows.shape}: expected one for each of at least one sample")
        if not np.issubdtype(rows.dtype, np.integer):
            raise InputError(f"pool indices of type {rows.dtype}: expected whole numbers")
        if not len(names):
            raise InputError("no pools: expected at least one name")
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise InputError(f"two pools are named {name!r}: expected distinct names")
            seen.add(name)
        wrong = np.flatnonzero((rows < NO_POOL) | (rows >= len(names)))
        if len(wrong):
            raise InputError(
                f"sample {wrong[0]}: pool index {rows[wrong[0]]}, expected 0 to {len(names) - 1}, or -1 for none"
            )
        rows = rows.astype(np.int32)
        sizes = np.bincount(rows[rows >= 0], minlength=len(names)).astype(np.float64)
        return cls(
            Pools(tuple(map(str, names)), sizes),
            rows,
            None if ids is None else distinct_ids(np.asarray(ids), len(rows)),
            None if scores is None else finite_scores(scores, len(rows)),
        )

    @classmethod
    def by_label(cls, labels: ArrayLike, scores: ArrayLike | None = None, ids: ArrayLike | None = None) -> Partition:
        """One pool a distinct label, such as the class of a sample; pools in the order of their labels.

        Args:
            labels: `[N]` numbers or text.
            scores: as in `of`.
            ids: as in `of`.

        Raises:
            InputError: as in `of`.

        Example:
            >>> Partition.by_label(["cat", "dog", "cat"]).pools.sizes.tolist()
            [2.0, 1.0]
        """
        found, index = np.unique(np.asarray(labels), return_inverse=True)
        return cls.of(index, [str(each) for each in found], scores, ids)

    def __len__(self) -> int:
        return len(self.index)

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """`[P]` int64 samples of each pool."""
        return self.pools.sizes.astype(np.int64)

    def members(self, name: str) -> np.ndarray:
        """Row numbers of the samples of a pool, ascending.

        Raises:
            InputError: no such pool.
        """
        return np.flatnonzero(self.index == self.pools.index(name))

    def table(self) -> DataFrame:
        """One row a pool that has samples: `pool, pool_size`, and `samples_seen, error` to be filled in.

        With a row a checkpoint filled in it is what `read_runs` reads.
        """
        import pandas as pd

        full = self.counts > 0
        names = [name for name, any_there in zip(self.pools.names, full, strict=True) if any_there]
        empty = np.full(len(names), np.nan)
        return pd.DataFrame({"pool": names, "pool_size": self.counts[full], "samples_seen": empty, "error": empty})

    def report(self) -> DataFrame:
        """One row a pool: `pool, pool_size, share`, and `lowest, highest` score where there are scores (NaN: empty)."""
        import pandas as pd

        table = pd.DataFrame(
            {"pool": self.pools.names, "pool_size": self.counts, "share": self.counts / max(len(self), 1)}
        )
        if self.scores is None:
            return table
        ends = np.full((2, len(self.pools) + 1), [[np.inf], [-np.inf]])  # the last one is what -1 picks
        np.minimum.at(ends[0], self.index, self.scores)
        np.maximum.at(ends[1], self.index, self.scores)
        lowest, highest = np.where(np.isfinite(ends), ends, np.nan)[:, :-1]
        return table.assign(lowest=lowest, highest=highest)

    def to_dict(self) -> dict[str, Any]:
        """The pools as plain data that strict JSON holds; which sample is where is what `save` writes."""
        return {
            "samples": len(self),
            "in_no_pool": int(np.sum(self.index < 0)),
            "pools": to_plain(self.report().to_dict("records")),
        }

    def __str__(self) -> str:
        table = self.report()
        formats: dict[str, Any] = {"pool_size": "{:,.0f}".format, "share": "{:.1%}".format}
        formats |= {name: "{:.6g}".format for name in ("lowest", "highest")}
        text = text_table(table, formats)
        outside = int(np.sum(self.index < 0))
        rest = f", {outside:,} in no pool" if outside else ""
        return f"{text}\n{len(self):,} samples in {len(self.pools)} pools{rest}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as Parquet: columns `sample` (id or row number), `pool` (null: in none) and, if any, `score`.

        Args:
            path: the file; it is written whole or not at all.

        Raises:
            InputError: it cannot be written.
            MissingExtraError: pyarrow is not installed.
        """
        about = {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "names": list(self.pools.names),
            "ids": self.ids is not None,
        }
        columns = {"sample": self.called(), "pool": pool_column(self.index, self.pools.names)}
        if self.scores is not None:
            columns["score"] = self.scores
        write_columns(columns, about, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Partition:
        """Read what `save` wrote.

        Args:
            path: the file.

        Raises:
            InputError: no such file, or one that `save` did not write.
            MissingExtraError: pyarrow is not installed.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     Partition.of([0, 1, 1], ["a", "b"]).save(f"{folder}/pools.parquet")
            ...     Partition.load(f"{folder}/pools.parquet").index.tolist()
            [0, 1, 1]
        """
        table, about = read_columns(path, SCHEMA, SCHEMA_VERSION, "qqt pools quantile -o")
        try:
            codes = table["pool"].combine_chunks()
            # Row groups may number the names in orders of their own.
            place = np.array([about["names"].index(name) for name in codes.dictionary.to_pylist()] + [NO_POOL])
            index = place[codes.indices.fill_null(len(place) - 1).to_numpy(zero_copy_only=False)]
            scores = table["score"].to_numpy() if "score" in table.column_names else None
            return cls.of(index, about["names"], scores, table["sample"].to_numpy() if about["ids"] else None)
        except (KeyError, ValueError, AttributeError) as problem:
            raise InputError(f"{path}: damaged ({type(problem).__name__}: {problem})") from None

    def called(self, rows: np.ndarray | None = None) -> np.ndarray:
        """What samples are called: their ids, or their row numbers.

        Args:
            rows: row numbers; None for all.
        """
        if self.ids is not None:
            return self.ids if rows is None else self.ids[rows]
        return np.arange(len(self)) if rows is None else rows


def text_table(table: DataFrame, formats: dict[str, Any]) -> str:
    """The first pools of a table as text; the others are counted."""
    shown = table.head(SHOWN)
    text = shown.to_string(index=False, formatters={name: formats[name] for name in table.columns if name in formats})
    return text if len(table) <= SHOWN else f"{text}\n.. and {len(table) - SHOWN} more pools"


def pool_column(index: np.ndarray, names: tuple[str, ...]) -> Any:
    """Pool indices as a column of names, null where a sample is in none."""
    pyarrow, _ = parquet()
    return pyarrow.DictionaryArray.from_arrays(
        pyarrow.array(index.astype(np.int32), mask=index < 0), pyarrow.array(list(names), pyarrow.string())
    )


def finite_scores(scores: ArrayLike, length: int | None = None) -> np.ndarray:
    """`[N]` float64 of scores.

    Args:
        scores: `[N]`.
        length: N, where it is known.

    Raises:
        InputError: not a row of numbers, another length, one that is not finite; its row is named, counted from 0.
    """
    found = np.asarray(scores)
    if found.ndim != 1 or not (np.issubdtype(found.dtype, np.number) or found.dtype == bool):
        raise InputError(f"scores of shape {found.shape} and type {found.dtype}: expected one number a sample")
    if length is not None and len(found) != length:
        raise InputError(f"{len(found)} scores: expected one for each of {length} samples")
    wrong = np.flatnonzero(~np.isfinite(found))
    if len(wrong):
        more = f" (and {len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
        raise InputError(f"sample {wrong[0]}: score {found[wrong[0]]}, expected a finite number{more}")
    return found.astype(np.float64)


def distinct_ids(ids: np.ndarray, length: int) -> np.ndarray:
    """`[N]` what samples are called.

    Args:
        ids: `[N]` numbers or text.
        length: N.

    Raises:
        InputError: another length, an id given twice; the row is named, counted from 0.
    """
    if ids.shape != (length,):
        raise InputError(f"ids of shape {ids.shape}: expected one for each of {length} samples")
    values, first, counts = np.unique(ids, return_index=True, return_counts=True)
    if len(values) < length:
        place = int(np.flatnonzero(counts > 1)[0])
        raise InputError(f"sample {first[place]}: its id {values[place].item()!r} is given {counts[place]} times")
    return ids
