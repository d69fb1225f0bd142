"""Files, standard input and data frames, each read into one pandas frame and a `Place`."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qqtjax.errors import InputError, MissingExtraError
from qqtjax.io.cells import Place, table_place
from qqtjax.text import did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame

NUMBER_COLUMNS = ("pool_size", "subsample", "samples_seen", "error", "accuracy", "loss")
NUMBER_COLUMNS += ("seed", "model_size", "eval_size")
NUMBER_PREFIXES = ("weight_", "size_")
KINDS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
KINDS |= {".parquet": "parquet", ".pq": "parquet"}
PARQUET_HINT = "needs pyarrow: pip install 'qqtjax[parquet]'"


def read_bytes(source: str | os.PathLike[str]) -> tuple[bytes, str]:
    """The bytes of a file (`-`: standard input) and its name for messages.

    Raises:
        InputError: no such file, or one that cannot be read.
    """
    if os.fspath(source) == "-":
        return sys.stdin.buffer.read(), "standard input"
    path = Path(source)
    try:
        return path.read_bytes(), str(path)
    except FileNotFoundError:
        siblings = (entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else ()
        raise InputError(f"{path}: no such file or folder{did_you_mean(path.name, siblings)}") from None
    except OSError as problem:
        raise InputError(f"{path}: cannot be read: {problem.strerror}") from None


def read_table(source: str | os.PathLike[str], kind: str | None = None) -> tuple[DataFrame, Place]:
    """A CSV, JSONL or Parquet file as a frame; the kind is told from the suffix, or else from the content.

    Raises:
        InputError: a missing, empty, binary or broken file, or one without data rows.
        MissingExtraError: Parquet without pyarrow.
    """
    data, name = read_bytes(source)
    kind = kind or KINDS.get(Path(name).suffix.lower())
    if kind == "parquet" or (kind is None and data[:4] == b"PAR1"):
        frame, place = parquet_frame(data, name)
    else:
        check_text(data, name)
        json_like = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
        kind = kind or ("jsonl" if json_like else "csv")
        frame, place = jsonl_frame(data, name) if kind == "jsonl" else csv_frame(data, name)
    if not len(frame):
        raise InputError(f"{name}: a header but no data rows, expected one row a checkpoint")
    return frame, place


def check_text(data: bytes, name: str) -> None:
    """Raise `InputError` unless the bytes are non-empty UTF-8 text."""
    if not data.strip():
        raise InputError(f"{name}: empty file, expected a table with a header")
    offset = data.find(b"\0")
    if offset < 0:
        try:
            data.decode("utf-8")
            return
        except UnicodeDecodeError as problem:
            offset = problem.start
    line = data.count(b"\n", 0, offset) + 1
    raise InputError(
        f"{name}: binary file (byte 0x{data[offset]:02x} on line {line}), expected CSV or JSON lines in UTF-8"
    )


def csv_records(data: bytes, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV, each with the line that it starts on; blank lines are skipped."""
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delimiter)
    start = 1
    for fields in reader:
        if fields and (len(fields) > 1 or fields[0].strip()):
            yield start, fields
        start = reader.line_num + 1


def csv_frame(data: bytes, name: str) -> tuple[DataFrame, Place]:
    """A CSV (comma or tab) as a frame: known numbers as float64 where they all are, text as categories.

    Raises:
        InputError: a record with too many fields, an unclosed quote, a column named twice.
    """
    import pandas as pd

    delimiter = "\t" if b"\t" in data.lstrip(b"\xef\xbb\xbf\r\n").split(b"\n", 1)[0] else ","
    try:
        first = next(csv_records(data, delimiter))[1]
    except csv.Error as problem:
        raise InputError(f"{name}: not a CSV: {problem}") from None
    header = [column.strip() or f"unnamed {position}" for position, column in enumerate(first, 1)]
    check_header(header, name)

    def line(row: int) -> int:
        return next(itertools.islice(csv_records(data, delimiter), row + 1, None))[0]

    types = {column: "float64" if is_number_column(column) else "category" for column in header}
    options: dict[str, Any] = dict(
        sep=delimiter,
        header=0,
        names=header,
        index_col=False,
        encoding="utf-8-sig",
        skipinitialspace=True,
        keep_default_na=False,
        na_values=[""],
        low_memory=False,  # else the cells of one column may come in several types
    )
    if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):  # later versions round correctly by default
        options["float_precision"] = "round_trip"

    def read(types: Any) -> DataFrame:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(io.BytesIO(data), dtype=types, **options)

    try:
        try:
            frame = read(types)
        except (pd.errors.ParserError, pd.errors.ParserWarning):
            raise
        except ValueError:  # a number as 32M, or no number at all: `numbers` tells them apart
            frame = read({column: kind for column, kind in types.items() if kind == "category"})
    except (pd.errors.ParserError, pd.errors.ParserWarning) as problem:
        raise InputError(csv_problem(data, delimiter, len(header), name, str(problem))) from None
    return frame, table_place(name, line)


def csv_problem(data: bytes, delimiter: str, width: int, name: str, reason: str) -> str:
    """What is wrong with a CSV that pandas refuses."""
    try:
        for row, (line, fields) in enumerate(csv_records(data, delimiter)):
            if len(fields) > width:
                where = f"{name}, row {row} (line {line})"
                return f"{where}: found {len(fields)} fields, expected {width} as in the header"
    except csv.Error as problem:
        reason = str(problem)
    if "EOF inside string" in reason:
        row = int(re.findall(r"\d+", reason)[-1])
        line = next(itertools.islice(csv_records(data, delimiter), row, None))[0]
        return f"{name}, row {row} (line {line}): a quote that is never closed"
    return f"{name}: not a CSV: {reason.strip()}"


def jsonl_frame(data: bytes, name: str) -> tuple[DataFrame, Place]:
    """JSON lines, one object a checkpoint, as a frame.

    Raises:
        InputError: a line that is no JSON object.
    """
    import pandas as pd

    def lines() -> Iterator[tuple[int, str]]:
        for number, text in enumerate(io.StringIO(data.decode("utf-8-sig")), 1):
            if text.strip():
                yield number, text

    columns: dict[str, list[Any]] = {}
    rows = 0
    for rows, (number, text) in enumerate(lines(), 1):
        record = json_object(text, f"{name}, row {rows} (line {number})")
        for column, cells in columns.items():
            cells.append(record.pop(column, None))
        for column, cell in record.items():
            columns[column] = [None] * (rows - 1) + [cell]
    check_header([column.strip() for column in columns], name)
    frame = pd.DataFrame({column.strip(): pd.Series(cells) for column, cells in columns.items()})
    return frame, table_place(name, lambda row: next(itertools.islice(lines(), row, None))[0])


def json_object(text: str, where: str) -> dict[str, Any]:
    """One line of JSON; equal texts are stored once.

    Raises:
        InputError: anything but an object.
    """
    try:
        record = json.loads(text)
    except ValueError as problem:
        reason = getattr(problem, "msg", str(problem))
        raise InputError(f"{where}: not JSON ({reason}), expected one object a line") from None
    if not isinstance(record, dict):
        raise InputError(f"{where}: a JSON {type(record).__name__}, expected one object a line")
    return {key: sys.intern(cell) if type(cell) is str else cell for key, cell in record.items()}


def parquet_frame(data: bytes, name: str) -> tuple[DataFrame, Place]:
    """A Parquet file as a frame.

    Raises:
        InputError: not a Parquet file.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(f"{name}: reading Parquet {PARQUET_HINT}") from None
    if not data:
        raise InputError(f"{name}: empty file, expected a table")
    try:
        table = parquet.read_table(io.BytesIO(data))
    except (pyarrow.ArrowException, OSError) as problem:
        raise InputError(f"{name}: not a Parquet file: {str(problem).splitlines()[0]}") from None
    return arrow_frame(table), table_place(name)


def arrow_frame(table: Any) -> DataFrame:
    """A `pyarrow.Table` as a frame, text as categories."""
    return table.to_pandas(strings_to_categorical=True, ignore_metadata=True)


def any_frame(source: Any) -> tuple[DataFrame, Place]:
    """A pandas, polars, Arrow or other data frame as a pandas frame with rows counted from 0.

    Raises:
        InputError: not a data frame, or one without rows.
        MissingExtraError: a data frame that only pyarrow can convert, and no pyarrow.
    """
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        frame = source.reset_index(drop=True)
    elif hasattr(source, "__arrow_c_stream__") or hasattr(source, "__dataframe__"):
        frame = foreign_frame(source)
    else:
        raise InputError(
            f"runs given as {type(source).__name__}: expected a path, '-' (standard input) or a data frame"
        )
    frame = frame.set_axis([str(column).strip() for column in frame.columns], axis="columns")
    check_header(list(frame.columns), "DataFrame")
    if not len(frame):
        raise InputError("DataFrame: no rows, expected one row a checkpoint")
    return frame, table_place("DataFrame")


def foreign_frame(source: Any) -> DataFrame:
    """A data frame of another library as a pandas frame: through Arrow, else by the interchange protocol."""
    import pandas as pd

    try:
        import pyarrow
    except ImportError:
        pyarrow = None
    if pyarrow is not None and hasattr(source, "__arrow_c_stream__"):
        return arrow_frame(pyarrow.table(source))
    if hasattr(source, "__dataframe__"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas points to Arrow, which cannot serve here
            return pd.api.interchange.from_dataframe(source)
    raise MissingExtraError(f"reading a {type(source).__name__} {PARQUET_HINT}")


def check_header(header: list[str], name: str) -> None:
    """Raise `InputError` if two columns share a name."""
    twice = [column for column in dict.fromkeys(header) if header.count(column) > 1]
    if twice:
        raise InputError(f"{name}: two columns are named {twice[0]!r}, expected distinct names")


def is_number_column(column: str) -> bool:
    """Is this a column of the tidy form that holds numbers."""
    return column in NUMBER_COLUMNS or column.startswith(NUMBER_PREFIXES)
