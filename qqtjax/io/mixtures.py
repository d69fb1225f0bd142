"""Weights of mixtures, from text such as `top10=.7 top20=.3` or from columns `weight_<pool>`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.cells import Place, first_rows, numbers, refuse, texts
from qqtjax.io.counts import parse_count
from qqtjax.runs import WEIGHT_SUM_TOLERANCE

if TYPE_CHECKING:
    from pandas import DataFrame

SHARE = re.compile(r"[\s,;]*([^=;,]+?)\s*=\s*([^\s,;=]+)(?=[\s,;]|$)")
PREFIX = "weight_"


class Mixtures(NamedTuple):
    """The distinct weights of a table.

    Attributes:
        code: `[M]` index into `shares`, -1 for a row without weights.
        shares: what each mixture draws from each pool; the shares sum to 1.
        rows: the first row of each mixture, for messages.
        columns: the column that each mixture stands in, for messages.
    """

    code: np.ndarray
    shares: list[dict[str, float]]
    rows: list[int]
    columns: list[str]


def parse_weights(text: str) -> dict[str, float]:
    """Weights from text such as `top10=.7 top20=.3`; commas and semicolons separate as well.

    Args:
        text: `name=share` pairs; a name may contain spaces. Shares sum to 1.

    Raises:
        InputError: anything else: a share that is negative or infinite, a pool twice, a sum other than 1.

    Example:
        >>> parse_weights("top 10%=.7; top 20%=.3")
        {'top 10%': 0.7, 'top 20%': 0.3}
    """
    shares: dict[str, float] = {}
    end = 0
    while rest := text[end:].strip(" \t,;"):
        match = SHARE.match(text, end)
        if match is None:
            raise InputError(f"found {rest!r}, expected weights such as 'top10=.7 top20=.3'")
        name, share = match.groups()
        if name in shares:
            raise InputError(f"found pool {name!r} twice, expected one weight a pool")
        shares[name] = parse_count(share)
        end = match.end()
    check_shares(shares)
    return shares


def check_shares(shares: dict[str, float]) -> None:
    """Raise `InputError` unless weights are finite, >= 0 and sum to 1."""
    for name, share in shares.items():
        if not 0 <= share < np.inf:
            raise InputError(f"found weight {share:.9g} of pool {name!r}, expected a finite number >= 0")
    total = sum(shares.values())
    if abs(total - 1) > WEIGHT_SUM_TOLERANCE:
        raise InputError(f"found weights that sum to {total:.9g}, expected 1")


def read_mixtures(frame: DataFrame, place: Place) -> Mixtures:
    """The weights of every row that has some.

    Raises:
        InputError: bad weights, or a row that gives them twice.
    """
    code = np.full(len(frame), -1, np.intp)
    mixtures = Mixtures(code, [], [], [])
    if "weights" in frame:
        written, words = texts(frame, "weights")
        for word, row in zip(words, first_rows(written), strict=True):
            try:
                mixtures.shares.append(parse_weights(word))
            except InputError as problem:
                raise InputError(f"{place(row, 'weights')}: {problem}") from None
            mixtures.rows.append(row)
            mixtures.columns.append("weights")
        code[:] = written
    columns = weight_columns(frame)
    if columns:
        add_columns(frame, columns, mixtures, place)
    return mixtures


def add_columns(frame: DataFrame, columns: list[str], mixtures: Mixtures, place: Place) -> None:
    """Add the mixtures of the columns `weight_<pool>`; an empty cell is 0, a row of zeros has no weights."""
    import pandas as pd

    table = np.stack([numbers(frame, column, place) for column in columns], axis=1)
    for position, column in enumerate(columns):
        cells = table[:, position]
        bad = (cells < 0) | np.isinf(cells)
        refuse(bad, lambda row, cells=cells: cells[row], "a finite weight >= 0", place, column)
    table = np.nan_to_num(table)
    rows = np.flatnonzero(table.any(axis=1))
    if not len(rows):
        return
    twice = np.zeros(len(frame), bool)
    twice[rows] = mixtures.code[rows] >= 0
    refuse(twice, lambda row: "weights", f"them here or in {columns[0]!r}, not both", place, "weights")
    found = pd.DataFrame(table[rows]).groupby(list(range(len(columns))), sort=False).ngroup().to_numpy()
    known = len(mixtures.shares)
    for first in first_rows(found):
        row = int(rows[first])
        used = np.flatnonzero(table[row])
        shares = {columns[each].removeprefix(PREFIX): float(table[row, each]) for each in used}
        try:
            check_shares(shares)
        except InputError as problem:
            raise InputError(f"{place(row, f'{PREFIX}...')}: {problem}") from None
        mixtures.shares.append(shares)
        mixtures.rows.append(row)
        mixtures.columns.append(columns[used[0]])
    mixtures.code[rows] = found + known


def weight_columns(frame: DataFrame) -> list[str]:
    """The columns `weight_<pool>`; a `weight_decay` is one only where `decay` is a pool."""
    columns = [str(column) for column in frame.columns if str(column).startswith(PREFIX)]
    if f"{PREFIX}decay" in columns and "size_decay" not in frame:
        is_pool = "pool" in frame and "decay" in texts(frame, "pool")[1]
        columns = [column for column in columns if is_pool or column != f"{PREFIX}decay"]
    return columns


def write_weights(shares: dict[str, float]) -> str:
    """Weights as text that `parse_weights` reads.

    Example:
        >>> write_weights({"top10": 0.7, "top20": 0.3})
        'top10=0.7 top20=0.3'
    """
    return " ".join(f"{name}={share:.6g}" for name, share in shares.items() if share > 0)
