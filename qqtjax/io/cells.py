"""Cells of a table turned into arrays; the first wrong cell is named by file, row and column."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.counts import parse_count
from qqtjax.text import did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame

Place = Callable[..., str]
"""`place(row=None, column=None)` says where: `runs.csv, row 3 (line 4), column 'error'`; rows from 0."""

FLAGS = {"true": True, "t": True, "yes": True, "y": True, "1": True, "1.0": True}
FLAGS |= {"false": False, "f": False, "no": False, "n": False, "0": False, "0.0": False}


def table_place(name: str, line: Callable[[int], int] | None = None) -> Place:
    """The `Place` of a table: its name, the row as people count (from 1), and the line of a file."""

    def place(row: int | None = None, column: str | None = None) -> str:
        text = name
        if row is not None:
            text += f", row {row + 1}"
            if line is not None:
                text += f" (line {line(row)})"
        if column is not None:
            text += f", column {column!r}"
        return text

    return place


def show(value: object) -> str:
    """A cell for a message."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return "an empty cell or NaN"
    if isinstance(value, int | float | np.number):
        return f"{value:.9g}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def others(rows: np.ndarray) -> str:
    """` (and 3 more rows like it)` for the end of a message about the first of some rows, or nothing."""
    further = len(rows) - 1
    return f" (and {further} more row{'s' * (further > 1)} like it)" if further else ""


def refuse(bad: np.ndarray, found: Callable[[int], object], expected: str, place: Place, column: str | None) -> None:
    """Raise `InputError` for the first row of a boolean mask, with a count of the others; return if none."""
    rows = np.flatnonzero(bad)
    if len(rows):
        row = int(rows[0])
        raise InputError(f"{place(row, column)}: found {show(found(row))}, expected {expected}{others(rows)}")


def plain(value: object) -> object:
    """A cell that can be hashed: a mapping `{name: share}` becomes weights as text."""
    if isinstance(value, Mapping):
        return " ".join(f"{name}={share}" for name, share in value.items())
    return repr(value) if isinstance(value, list | dict | set | np.ndarray) else value


def distinct(series: Any) -> tuple[np.ndarray, list[Any]]:
    """`[M]` codes (-1 where empty) into the distinct cells, in order of appearance."""
    import pandas as pd

    try:
        codes, values = pd.factorize(series)
    except TypeError:
        codes, values = pd.factorize(series.map(plain))
    return np.asarray(codes, np.intp), list(values)


def numbers(frame: DataFrame, column: str, place: Place) -> np.ndarray:
    """`[M]` float64 of a column; NaN where empty.

    Raises:
        InputError: a cell that is neither empty nor a number.
    """
    from pandas.api import types

    series = frame[column]
    if types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype):
        return series.to_numpy(np.float64, na_value=np.nan)
    codes, cells = distinct(series)
    values = np.full(len(cells) + 1, np.nan)  # the last one is what code -1 picks
    wrong: dict[int, InputError] = {}
    for code, cell in enumerate(cells):
        if isinstance(cell, str) and not cell.strip():
            continue
        try:
            values[code] = parse_count(cell)
        except InputError as problem:
            wrong[code] = problem
    if wrong:
        rows = np.flatnonzero(np.isin(codes, list(wrong)))
        row = int(rows[0])
        raise InputError(f"{place(row, column)}: {wrong[int(codes[row])]}{others(rows)}")
    return values[codes]


def texts(frame: DataFrame, column: str) -> tuple[np.ndarray, list[str]]:
    """`[M]` codes (-1 where empty) into the distinct stripped texts of a column, in order of appearance."""
    import pandas as pd

    codes, cells = distinct(frame[column])
    words = []
    for cell in cells:
        whole = isinstance(cell, float) and cell.is_integer()  # 10 in a column that also has empty cells
        words.append(str(int(cell) if whole else cell).strip())
    known = pd.factorize(pd.Series([word or None for word in words], dtype=object))
    recoded = np.append(np.asarray(known[0], np.intp), -1)
    return recoded[codes], [str(word) for word in known[1]]


def flags(frame: DataFrame, column: str, place: Place) -> np.ndarray:
    """`[M]` bool of a column that says yes or no.

    Raises:
        InputError: an empty cell, or one that says neither.
    """
    codes, words = texts(frame, column)
    meanings = np.array([FLAGS.get(word.lower(), -1) for word in words] + [-1], int)[codes]
    refuse(
        meanings < 0,
        lambda row: words[codes[row]] if codes[row] >= 0 else None,
        "true or false",
        place,
        column,
    )
    return meanings.astype(bool)


def require(frame: DataFrame, column: str, place: Place) -> None:
    """Raise `InputError` if a column is not there, saying which are."""
    if column not in frame:
        names = [str(name) for name in frame.columns]
        raise InputError(
            f"{place()}: no column {column!r}; the columns are {', '.join(names)}{did_you_mean(column, names)}"
        )


def first_rows(code: np.ndarray) -> list[int]:
    """The first row of each code; -1 is none."""
    values, rows = np.unique(code, return_index=True)
    return rows[values >= 0].tolist()


def first_of_each(code: np.ndarray) -> np.ndarray:
    """The first row of each distinct code, in order of the rows."""
    return np.sort(np.unique(code, return_index=True)[1])
