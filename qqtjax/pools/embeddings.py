"""Embeddings from wherever they are: an array, `.npy`, Parquet or safetensors shards, read in chunks of unit rows."""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from qqtjax.errors import InputError, MissingExtraError
from qqtjax.pools.tensors import open_tensors
from qqtjax.text import did_you_mean

FORMATS = (".npy", ".parquet", ".safetensors")
# Squares of float32 numbers between these are far from its ends.
SMALL, LARGE = 1e-15, 1e15
FINGERPRINT_ROWS = 64


class Shard(Protocol):
    """A stretch of rows in one file or array."""

    @property
    def name(self) -> str:
        """What an error message calls it."""
        ...

    @property
    def rows(self) -> int:
        """How many."""
        ...

    @property
    def width(self) -> int:
        """Numbers in a row."""
        ...

    def take(self, rows: np.ndarray) -> np.ndarray:
        """`[R, width]` as stored, of sorted row numbers `[R]`."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Embeddings:
    """N vectors as they are stored, read a chunk at a time as float32 of length 1.

    Attributes:
        shards: one behind the other.
        subset: `[N]` sorted numbers of the stored rows that count, or None for all of them.

    Example:
        >>> embeddings = Embeddings.of(np.array([[3.0, 4.0], [0.0, 2.0]]))
        >>> len(embeddings), embeddings.width, embeddings.read(0, 2).round(3).tolist()
        (2, 2, [[0.6000000238418579, 0.800000011920929], [0.0, 1.0]])
    """

    shards: tuple[Shard, ...]
    subset: np.ndarray | None = None

    @classmethod
    def of(cls, source: Any, column: str | None = None) -> Embeddings:
        """Open embeddings without reading them.

        Args:
            source: `[N, d]` array, the name of a `.npy`, `.parquet` or `.safetensors` file, of a folder of one kind of
                these (in order of their names), a list of names, or `Embeddings`.
            column: the Parquet column of lists, or the tensor, that holds them; needed where there are several.

        Raises:
            InputError: nothing there, no matrix of numbers, shards of different widths, a column that is missing.
            MissingExtraError: Parquet without pyarrow.
        """
        if isinstance(source, Embeddings):
            return source
        if isinstance(source, str | os.PathLike):
            paths = _files(Path(source))
        elif isinstance(source, Sequence) and source and all(isinstance(each, str | os.PathLike) for each in source):
            paths = [path for each in source for path in _files(Path(each))]
        else:
            return cls((_Stored("embeddings", _matrix(np.asarray(source), "embeddings")),))
        shards = tuple(_open(path, column) for path in paths)
        for shard in shards[1:]:
            if shard.width != shards[0].width:
                raise InputError(
                    f"{shard.name}: rows of {shard.width} numbers, expected {shards[0].width} as in {shards[0].name}"
                )
        if not sum(shard.rows for shard in shards):
            raise InputError(f"{source}: no rows")
        return cls(shards)

    def __len__(self) -> int:
        return self.stored if self.subset is None else len(self.subset)

    @property
    def stored(self) -> int:
        """Rows in the shards, of which `subset` may pick some."""
        return sum(shard.rows for shard in self.shards)

    @property
    def width(self) -> int:
        """Numbers in a row (d)."""
        return self.shards[0].width

    def of_rows(self, rows: np.ndarray) -> Embeddings:
        """Only some of the rows, in ascending order.

        Args:
            rows: numbers of rows of this source, each at most once.
        """
        rows = np.sort(np.asarray(rows, np.int64))
        return Embeddings(self.shards, rows if self.subset is None else self.subset[rows])

    def read(self, start: int, stop: int) -> np.ndarray:
        """`[R, d]` float32 rows `start` to `stop`, each divided by its length.

        Raises:
            InputError: a row with a number that is not finite, or of zeros; the file and the row in it, counted from
                0, are named.
        """
        return self.take(np.arange(start, min(stop, len(self))))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """`[R, d]` float32 rows of ascending numbers `[R]`, each divided by its length.

        Raises:
            InputError: as `read`.
        """
        wanted = np.asarray(rows, np.int64)
        wanted = wanted if self.subset is None else self.subset[wanted]
        first = 0
        found = []
        for shard in self.shards:
            begin, end = np.searchsorted(wanted, (first, first + shard.rows))
            if end > begin:
                inside = wanted[begin:end] - first
                found.append(_unit(shard.take(inside), inside, shard.name))
            first += shard.rows
        return found[0] if len(found) == 1 else np.concatenate([np.zeros((0, self.width), np.float32), *found])

    def chunks(self, rows: int) -> Iterator[np.ndarray]:
        """All rows in order, `rows` at a time; the last chunk may be shorter."""
        for start in range(0, len(self), rows):
            yield self.read(start, start + rows)

    def column(self, name: str) -> np.ndarray:
        """`[N]` another column of the Parquet files that hold the embeddings, such as what the samples are called.

        Args:
            name: of the column.

        Raises:
            InputError: no such column, or embeddings in files of another kind.
        """
        found = []
        for shard in self.shards:
            if not isinstance(shard, _Parquet):
                raise InputError(f"{shard.name}: has no columns beside the embeddings, expected Parquet with {name!r}")
            known = shard.file.schema_arrow.names
            if name not in known:
                raise InputError(
                    f"{shard.name}: no column {name!r}, found {', '.join(known)}{did_you_mean(name, known)}"
                )
            found.append(shard.file.read(columns=[name]).column(0).to_numpy())
        whole = np.concatenate(found)
        return whole if self.subset is None else whole[self.subset]

    def fingerprint(self) -> str:
        """16 hexadecimal digits of what is stored: names, shapes, the subset, and some rows."""
        found = hashlib.sha256()
        for shard in self.shards:
            found.update(f"{Path(shard.name).name} {shard.rows} {shard.width};".encode())
        if self.subset is not None:
            found.update(np.ascontiguousarray(self.subset).tobytes())
        found.update(self.take(np.unique(np.linspace(0, len(self) - 1, FINGERPRINT_ROWS).astype(np.int64))).tobytes())
        return found.hexdigest()[:16]


def _unit(values: np.ndarray, rows: np.ndarray, name: str) -> np.ndarray:
    """Rows divided by their lengths.

    Raises:
        InputError: a row that has none.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        dense = np.ascontiguousarray(values, np.float32)
        length = np.sqrt(np.einsum("rd,rd->r", dense, dense))
    odd = np.flatnonzero(~((length > SMALL) & (length < LARGE)))
    if not len(odd):
        return dense / length[:, None]
    exact = np.asarray(values[odd], np.float64)
    largest = np.abs(exact).max(axis=1, keepdims=True)
    for row, most in zip(odd, largest[:, 0], strict=True):
        if not np.isfinite(most):
            place = np.flatnonzero(~np.isfinite(np.asarray(values[row], np.float64)))[0]
            raise InputError(f"{name}, row {rows[row]}, column {place}: {values[row][place]}, expected a finite number")
        if most == 0:
            raise InputError(f"{name}, row {rows[row]}: only zeros, expected a vector with a direction")
    length[odd] = 1
    unit = dense / length[:, None]
    exact /= largest
    unit[odd] = exact / np.sqrt(np.einsum("rd,rd->r", exact, exact))[:, None]
    return unit


def _matrix(values: Any, name: str) -> Any:
    """A matrix of real numbers as it is.

    Raises:
        InputError: it is none.
    """
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(f"{name}: shape {tuple(values.shape)}, expected [rows, width], neither of them 0")
    is_real = np.issubdtype(values.dtype, np.floating) or values.dtype.kind in "iub" or values.dtype.name == "bfloat16"
    if not is_real:
        raise InputError(f"{name}: numbers of type {values.dtype}, expected real numbers")
    return values


@dataclasses.dataclass(frozen=True, eq=False)
class _Stored:
    """Rows of an array, in memory or mapped from a file."""

    name: str
    values: Any

    @property
    def rows(self) -> int:
        return self.values.shape[0]

    @property
    def width(self) -> int:
        return self.values.shape[1]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Rows as they are stored; a stretch without gaps is read as one."""
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
            return self.values[rows[0] : rows[-1] + 1]
        return self.values[rows]


@dataclasses.dataclass(eq=False)
class _Parquet:
    """Rows of a Parquet column of lists, read a row group at a time; the last one read is kept."""

    name: str
    file: Any
    column: str
    width: int
    starts: list[int]
    held: tuple[int, np.ndarray] | None = None

    @property
    def rows(self) -> int:
        return self.starts[-1]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Rows as they are stored."""
        found = []
        begin = 0
        while begin < len(rows):
            group = bisect.bisect_right(self.starts, rows[begin]) - 1
            end = int(np.searchsorted(rows, self.starts[group + 1]))
            found.append(self._group(group)[rows[begin:end] - self.starts[group]])
            begin = end
        return np.concatenate(found) if len(found) != 1 else found[0]

    def _group(self, group: int) -> np.ndarray:
        if self.held is None or self.held[0] != group:
            self.held = None
            values = self.file.read_row_group(group, columns=[self.column]).column(0)
            self.held = group, _lists(values.combine_chunks(), self.width, self.name, self.starts[group])
        return self.held[1]


def _lists(column: Any, width: int, name: str, first: int) -> np.ndarray:
    """`[R, width]` from an Arrow column of lists.

    Raises:
        InputError: a row without a list, or one of another length.
    """
    if column.null_count:
        raise InputError(f"{name}, row {first + column.is_null().index(True).as_py()}: no vector")
    lengths = np.asarray(column.value_lengths())
    wrong = np.flatnonzero(lengths != width)
    if len(wrong):
        raise InputError(f"{name}, row {first + wrong[0]}: {lengths[wrong[0]]} numbers, expected {width}")
    flat = column.flatten()  # a null inside a list becomes NaN, which `_unit` names
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), width)


def _files(path: Path) -> list[Path]:
    """The file itself, or the embeddings in a folder in order of their names.

    Raises:
        InputError: nothing there, or files of several kinds.
    """
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.suffix in FORMATS and not each.name.startswith("."))
        kinds = sorted({each.suffix for each in found})
        if len(kinds) > 1:
            raise InputError(f"{path}: holds {' and '.join(kinds)} files, expected one kind")
        if not found:
            raise InputError(f"{path}: no {', '.join(FORMATS)} file in this folder")
        return found
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: expected embeddings as {', '.join(FORMATS)}, or a folder of them")
    return [path]


def _open(path: Path, column: str | None) -> Shard:
    """One file as a shard.

    Raises:
        InputError: it cannot be read, or holds no matrix.
    """
    if path.suffix == ".parquet":
        return _open_parquet(path, column)
    if path.suffix == ".safetensors":
        tensors = open_tensors(path)
        matrices = [name for name, values in tensors.items() if values.ndim == 2]
        name = _chosen(column, matrices, f"{path}: matrices")
        return _Stored(f"{path}", _matrix(tensors[name], f"{path}: {name}"))
    if column is not None:
        raise InputError(f"{path}: a single array, without a column {column!r}")
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        raise InputError(f"{path}: cannot be read as .npy ({str(problem).splitlines()[0]})") from None
    return _Stored(f"{path}", _matrix(values, f"{path}"))


def _open_parquet(path: Path, column: str | None) -> _Parquet:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("Parquet embeddings need pyarrow: pip install 'qqtjax[parquet]'") from None
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as problem:
        raise InputError(f"{path}: cannot be read as Parquet ({str(problem).splitlines()[0]})") from None
    types = {field.name: field.type for field in file.schema_arrow}
    is_list = (pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list)
    lists = [name for name, kind in types.items() if any(test(kind) for test in is_list)]
    name = _chosen(column, lists, f"{path}: columns of lists")
    inner = types[name].value_type
    if not (pyarrow.types.is_floating(inner) or pyarrow.types.is_integer(inner)):
        raise InputError(f"{path}: column {name!r} holds lists of {inner}, expected numbers")
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    starts = [0, *itertools.accumulate(sizes)]
    width = getattr(types[name], "list_size", -1)
    if width <= 0 and starts[-1]:
        rows = next(file.iter_batches(1, columns=[name])).column(0)
        width = len(rows[0].as_py() or ())
    if width <= 0:
        raise InputError(f"{path}: column {name!r} has no numbers in its first row")
    return _Parquet(f"{path}", file, name, width, starts)


def _chosen(column: str | None, found: Sequence[str], what: str) -> str:
    """The one that was named, or the only one.

    Raises:
        InputError: it is not there, or several are and none was named.
    """
    if not found:
        raise InputError(f"{what}: none, expected one that holds the embeddings")
    if column is not None and column not in found:
        raise InputError(f"{what}: {', '.join(found)}; expected {column!r}{did_you_mean(column, found)}")
    if column is None and len(found) != 1:
        raise InputError(f"{what}: {', '.join(found)}; name the one that holds the embeddings (column)")
    return column or found[0]
