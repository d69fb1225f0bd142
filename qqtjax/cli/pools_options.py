"""What the `qqt pools` commands share: their options, and the score tables that they read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from qqtjax.cli import interrupt
from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.errors import InputError
from qqtjax.text import did_you_mean

SCORES, WORK = "Scores", "How it is done"
ScoresArgument = Annotated[
    str,
    typer.Argument(
        metavar="SCORES",
        help="One row a sample: Parquet, CSV, JSON lines, a .npy of numbers, or - for standard input.",
        show_default=False,
    ),
]
Column = Annotated[str | None, o.option(group=SCORES, metavar="NAME", help="The column of scores.")]
IdColumn = Annotated[
    str | None,
    o.option("--id", group=SCORES, metavar="NAME", help="The column of sample ids; by default row numbers from 0."),
]
Kept = Annotated[
    str | None,
    o.option("-o", "--output", group=o.OUTPUT, metavar="FILE", help="Write the samples as Parquet."),
]

Scored = Annotated[
    str | None,
    o.option(
        "-o",
        "--output",
        group=o.OUTPUT,
        metavar="FILE",
        help="Write a Parquet file: columns sample, pool (the class) and score, for qqt pools select and flexrand.",
    ),
]
Work = Annotated[
    str | None,
    o.option(
        group=WORK,
        metavar="FOLDER",
        help="Keep there what is finished; run again after a stop, it goes on there.",
    ),
]


class Scores(NamedTuple):
    """The columns of a table that a command needs.

    Attributes:
        scores: `[N]` float64.
        ids: `[N]`, or None.
        labels: `[N]`, or None.
    """

    scores: np.ndarray
    ids: np.ndarray | None
    labels: np.ndarray | None


def read_scores(path: str, column: str | None, id_column: str | None = None, label_column: str | None = None) -> Scores:
    """Read the scores of samples, and what the samples are called.

    Args:
        path: as `ScoresArgument` says.
        column: of the scores; may be None where there is no choice.
        id_column: of the ids, or None.
        label_column: of the labels, or None.

    Raises:
        InputError: what is wrong, with the file, row and column.
        MissingExtraError: Parquet without pyarrow.
    """
    if not path.strip():
        raise InputError("SCORES: empty, expected a file, or - for standard input")
    if path.lower().endswith(".npy"):
        return Scores(_array(path, {"--column": column, "--id": id_column, "--label": label_column}), None, None)
    from qqtjax.io.cells import numbers, refuse, require

    if path == "-":
        o.check_standard_input()
    frame, place = _frame(path, [each for each in (column, id_column, label_column) if each is not None])
    if column is None:
        others = [str(name) for name in frame.columns if name not in (id_column, label_column)]
        if len(others) != 1:
            raise InputError(f"--column: missing, expected one of {', '.join(map(str, frame.columns))}")
        column = others[0]
    for name in (column, id_column, label_column):
        if name is not None:
            require(frame, name, place)
    scores = numbers(frame, column, place)
    refuse(~np.isfinite(scores), lambda row: scores[row], "a finite number", place, column)
    named: list[np.ndarray | None] = []
    for name in (id_column, label_column):
        if name is None:
            named.append(None)
            continue
        refuse(frame[name].isna().to_numpy(), lambda row: None, "a name or number", place, name)
        cells = frame[name].to_numpy()
        named.append(cells.astype(str) if cells.dtype == object else cells)
    return Scores(scores, *named)


def _frame(path: str, columns: list[str]) -> tuple[Any, Any]:
    """A table as a frame; of Parquet only the columns that are named."""
    from qqtjax.io.cells import table_place
    from qqtjax.io.files import arrow_frame, read_table
    from qqtjax.pools.stored import parquet

    if not columns or not path.lower().endswith((".parquet", ".pq")):
        return read_table(path)
    pyarrow, reader = parquet()
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        with reader.ParquetFile(path) as file:
            known = list(file.schema_arrow.names)
            for name in columns:
                if name not in known:
                    near = did_you_mean(name, known)
                    raise InputError(f"{path}: no column {name!r}; the columns are {', '.join(known)}{near}")
            table = file.read(columns=columns)
    except (pyarrow.ArrowException, OSError) as problem:
        raise InputError(f"{path}: not a Parquet file: {str(problem).splitlines()[0]}") from None
    if not len(table):
        raise InputError(f"{path}: no rows, expected one row a sample")
    return arrow_frame(table), table_place(path)


def _array(path: str, unused: dict[str, str | None]) -> np.ndarray:
    """Scores from a `.npy` file."""
    for option, given in unused.items():
        if given is not None:
            raise InputError(f"{option}: {path} has no columns")
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as problem:
        raise InputError(f"{path}: not a .npy file of numbers: {str(problem).splitlines()[0]}") from None
    if found.ndim != 1 or not len(found) or not np.issubdtype(found.dtype, np.number):
        raise InputError(f"{path}: shape {found.shape} of {found.dtype}, expected one number a sample")
    wrong = np.flatnonzero(~np.isfinite(found))
    if len(wrong):
        more = f" (and {len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
        raise InputError(f"{path}, row {wrong[0] + 1}: found {found[wrong[0]]}, expected a finite number{more}")
    return found.astype(np.float64)


def check_kept(path: str | None) -> None:
    """Find out before the work whether the samples can be written.

    Raises:
        InputError: they cannot, or standard output is named.
        MissingExtraError: pyarrow is not installed.
    """
    if path is None:
        return
    if path == "-":
        raise InputError("-o: found -, expected a file name: Parquet is not text")
    from qqtjax.pools.stored import parquet

    parquet()
    out.check_writable(path)


def answer(schema: str, found: Any, document: dict[str, Any], path: str | None, as_document: bool) -> out.Answer:
    """Write the samples that were asked for; what goes to standard output.

    Args:
        schema: of the document.
        found: a `Partition` or `Selection`.
        document: the result as plain data.
        path: the file, or None.
        as_document: is the document wanted on standard output, or the text.
    """
    import sys

    if path is not None:
        with interrupt.writing:
            found.save(path)
        print(f"qqt: wrote {path}", file=sys.stderr)
    if as_document:
        return out.Answer(out.as_json({"schema": schema, "schema_version": 1, "file": path, **document}), True)
    return out.Answer(str(found), False)
