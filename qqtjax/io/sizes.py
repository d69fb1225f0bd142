"""Sizes of pools, from `pools=`, the column `pool_size` or columns `size_<pool>`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.cells import Place, first_of_each, numbers, refuse, require
from qqtjax.io.counts import parse_count
from qqtjax.io.mixtures import Mixtures
from qqtjax.text import did_you_mean, show_count

if TYPE_CHECKING:
    from pandas import DataFrame

SIZE_EXPECTED = "a positive number of samples"


def pool_sizes(
    frame: DataFrame,
    alone: np.ndarray,
    pool_names: list[str],
    mixtures: Mixtures,
    pools: Mapping[str, float | str] | None,
    place: Place,
) -> dict[str, float]:
    """Sizes of all pools as declared, by `pools`, the column `pool_size` or a column `size_<pool>`.

    Order: that of `pools`, then of first appearance, then pools known only from mixtures.

    Raises:
        InputError: no size, a bad one, or two that differ.
    """
    sizes = {str(name): argument_size(str(name), size) for name, size in (pools or {}).items()}
    used = [pool_names[code] for code in dict.fromkeys(alone[first_of_each(alone)].tolist()) if code >= 0]
    if "pool_size" in frame:
        add_pool_sizes(frame, alone, pool_names, sizes, place)
    mixed = dict.fromkeys(name for shares in mixtures.shares for name in shares)
    for name in dict.fromkeys([*used, *mixed]):
        add_size_column(frame, name, sizes, place)
    for name in used:
        if name not in sizes:
            if "pool_size" not in frame and not pools:
                require(frame, "pool_size", place)
            row = int(np.argmax(alone == list(pool_names).index(name)))
            raise InputError(f"{place(row, 'pool')}: pool {name!r} has no size{needs_size(name, sizes)}")
    order: list[str] = [*map(str, pools or {}), *used, *mixed]
    return {name: sizes[name] for name in dict.fromkeys(order) if name in sizes}


def argument_size(name: str, size: float | str, argument: str = "pools=") -> float:
    """A count of samples that was given for a pool.

    Raises:
        InputError: no positive number.
    """
    try:
        number = parse_count(size)
    except InputError as problem:
        raise InputError(f"{argument}, pool {name!r}: {problem}") from None
    if not number > 0:
        raise InputError(f"{argument}, pool {name!r}: found {number:.9g}, expected {SIZE_EXPECTED}")
    return number


def needs_size(name: str, sizes: Mapping[str, float]) -> str:
    """How to give a pool its size, for the end of a message."""
    known = f"; the pools are {', '.join(sizes)}{did_you_mean(name, sizes)}" if sizes else ""
    return f"{known} (a new pool needs its size: a column 'size_{name}' or pools={{{name!r}: samples}})"


def add_pool_sizes(
    frame: DataFrame, alone: np.ndarray, pool_names: list[str], sizes: dict[str, float], place: Place
) -> None:
    """Add what the column `pool_size` says of the pools that are trained alone."""
    found = numbers(frame, "pool_size", place)
    in_pool = alone >= 0
    given = np.array([sizes.get(name, np.nan) for name in pool_names] + [np.nan])
    elsewhere = np.array([name in sizes or f"size_{name}" in frame for name in pool_names] + [True])[alone]
    empty = np.isnan(found)
    bad = in_pool & ~(found > 0) & ~(empty & elsewhere)
    refuse(bad, lambda row: found[row], SIZE_EXPECTED, place, "pool_size")
    rows = np.flatnonzero(in_pool & ~empty)
    first = np.full(len(pool_names) + 1, -1)
    first[alone[rows][::-1]] = rows[::-1]  # the first row of a pool is written last
    said = np.where(np.isnan(given), np.where(first >= 0, found[first], np.nan), given)
    differs = np.zeros(len(frame), bool)
    differs[rows] = found[rows] != said[alone[rows]]
    if differs.any():
        pool = int(alone[np.argmax(differs)])
        origin = "as given by pools=" if not np.isnan(given[pool]) else f"as in row {first[pool] + 1}"
        expected = f"{show_count(said[pool])} {origin}: one size for pool {pool_names[pool]!r}"
        refuse(differs, lambda row: found[row], expected, place, "pool_size")
    for pool in dict.fromkeys(alone[np.sort(first[:-1][first[:-1] >= 0])].tolist()):
        sizes.setdefault(pool_names[pool], float(said[pool]))


def add_size_column(frame: DataFrame, name: str, sizes: dict[str, float], place: Place) -> None:
    """Add what a column `size_<pool>` says, if there is one."""
    column = f"size_{name}"
    if column not in frame:
        return
    found = numbers(frame, column, place)
    bad = ~np.isnan(found) & ~(found > 0)
    refuse(bad, lambda row: found[row], SIZE_EXPECTED, place, column)
    given = found[~np.isnan(found)]
    if len(given):
        size = sizes.setdefault(name, float(given[0]))
        differs = ~np.isnan(found) & (found != size)
        refuse(differs, lambda row: found[row], f"{show_count(size)}: one size for pool {name!r}", place, column)
