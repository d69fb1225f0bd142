"""Nested filters (each contains the smaller one) turned into disjoint shells."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.cells import Place, refuse, texts
from qqtjax.text import did_you_mean, show_count

if TYPE_CHECKING:
    from pandas import DataFrame

NUMBER = re.compile(r"(\d+(?:\.\d+)?)")
SEPARATORS = re.compile(r"[\s_-]+")
RANKED = re.compile(r"(?:top|best|first)$")
PERCENT = ("%", "p", "pc", "pct", "percent")
COUNT_SUFFIX = re.compile(r"(?:[kmbgt]|thousand|million|billion)(?![a-z])")
PROPORTION_TOLERANCE = 0.05


class Shells(NamedTuple):
    """Disjoint pools, and how everything that a table names is made of them.

    Attributes:
        names: S names of the disjoint pools.
        sizes: `[S]` unique samples in each.
        named: F names that a row may use: the pools as declared, then the shells that have new names.
        members: `[F, S]` bool: which shells a named pool consists of.
    """

    names: list[str]
    sizes: np.ndarray
    named: list[str]
    members: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """`[F, S]` weights of uniform sampling from each named pool: 1 for a pool that is one shell."""
        parts = np.where(self.members, self.sizes, 0.0)
        alone = self.members.sum(axis=1, keepdims=True) == 1
        with np.errstate(invalid="ignore"):
            return np.where(alone, self.members, parts / parts.sum(axis=1, keepdims=True))


def make_shells(sizes: Mapping[str, float], contains: Mapping[str, str], where: str) -> Shells:
    """Shells of pools, given for each nested filter the next smaller one that it contains.

    Args:
        sizes: unique samples in each pool as declared.
        contains: `{filter: the next smaller filter}`; pools that are not in it are disjoint from the rest.
        where: the table, for messages.

    Raises:
        InputError: an unknown filter, one that contains itself, two filters that contain the same one, sizes
            that do not grow.

    Example:
        >>> shells = make_shells({"top10": 10.0, "top20": 25.0}, {"top20": "top10"}, "runs.csv")
        >>> shells.names, shells.sizes.tolist(), shells.weights.tolist()
        (['top10', 'top20 minus top10'], [10.0, 15.0], [[1.0, 0.0], [0.4, 0.6], [0.0, 1.0]])
    """
    outer: dict[str, str] = {}
    for larger, smaller in contains.items():
        for name in (larger, smaller):
            if name not in sizes:
                known = f"the pools are {', '.join(sizes)}{did_you_mean(name, sizes)}"
                raise InputError(f"{where}: nested filter {name!r} (nested=) is no pool; {known}")
        if smaller in outer:
            raise InputError(
                f"{where}: both {outer[smaller]!r} and {larger!r} contain {smaller!r}; "
                "expected a chain of filters, each with one next larger filter"
            )
        outer[smaller] = larger
        if not sizes[smaller] < sizes[larger] < np.inf:
            raise InputError(
                f"{where}: pool {larger!r} ({show_count(sizes[larger])} samples) cannot contain {smaller!r} "
                f"({show_count(sizes[smaller])}); expected finite sizes that grow"
            )
    names = [f"{name} minus {contains[name]}" if name in contains else name for name in sizes]
    for name, shell in zip(sizes, names, strict=True):
        if shell != name and shell in sizes:
            hint = f"give its rows the weights '{shell}=1'"
            raise InputError(f"{where}: pool {shell!r} is also a part of nested filter {name!r}; {hint}")
    shell_sizes = np.array([size - sizes.get(contains.get(name, ""), 0.0) for name, size in sizes.items()])
    position = {name: row for row, name in enumerate(sizes)}
    members = np.eye(len(names), dtype=bool)
    for name, row in position.items():
        inside = name
        while inside in contains:  # ends: sizes fall at every step
            inside = contains[inside]
            members[row, position[inside]] = True
    extra = [row for row, name in enumerate(names) if name not in sizes]
    members = np.concatenate([members, np.eye(len(names), dtype=bool)[extra]])
    return Shells(names, shell_sizes, [*sizes, *(names[row] for row in extra)], members)


def contained(
    frame: DataFrame,
    pool: np.ndarray,
    pool_names: list[str],
    nested: Sequence[str] | None,
    known: Mapping[str, float],
    place: Place,
) -> dict[str, str]:
    """What `nested` or the column `includes` says: `{filter: the next smaller filter}`.

    Args:
        frame: the table.
        pool: `[M]` index into `pool_names`, -1 where a row names no pool.
        pool_names: names in the column `pool`.
        nested: filters from the smallest to the largest, or None.
        known: all pools, with their sizes.
        place: where a cell stands.

    Raises:
        InputError: both are given, or a pool includes an unknown filter, or different ones in different rows.
    """
    written, words = texts(frame, "includes") if "includes" in frame else (np.full(len(frame), -1), [])
    written = np.where(pool >= 0, written, -1)
    rows = np.flatnonzero(written >= 0)
    if nested is not None:
        if len(rows):
            raise InputError(f"{place()}: nested= given beside a column 'includes', expected one of them")
        nested = nested if isinstance(nested, str) else list(nested)
        if isinstance(nested, str) or len(nested) < 2 or len(set(nested)) < len(nested):
            raise InputError(f"nested={nested!r}: expected two or more different filters, smallest first")
        return {larger: smaller for smaller, larger in itertools.pairwise(nested)}
    if not len(rows):
        return {}
    for code, word in enumerate(words):
        if word not in known:
            expected = f"one of the pools {', '.join(known)}{did_you_mean(word, known)}"
            refuse(written == code, lambda row, word=word: word, expected, place, "includes")
    said = np.full(len(pool_names), -1)
    said[pool[rows][::-1]] = written[rows][::-1]  # the first row of a pool is written last
    bad = np.zeros(len(frame), bool)
    bad[rows] = written[rows] != said[pool[rows]]
    first = int(np.argmax(bad))
    expected = f"{words[said[pool[first]]]!r} as in the other rows of {pool_names[pool[first]]!r}" if bad.any() else ""
    refuse(bad, lambda row: words[written[row]], expected, place, "includes")
    return {name: words[said[index]] for index, name in enumerate(pool_names) if said[index] >= 0}


def refuse_cumulative(sizes: Mapping[str, float], contains: Mapping[str, str], where: str) -> None:
    """Raise `InputError` if the names and sizes of pools that were not declared as nested read as nested filters.

    They do where two names are equal apart from one number (separators, case and a percent sign at the end aside)
    and the sizes grow in proportion to it, to 5 %: top10 and top20, 30% and 60%, clip_30 and clip_60. They do not
    where the numbers only count the pools (R1, R2, R3) or count samples (LAION-80M), for such a size is in
    proportion whatever the pool holds; after top, best or first (top1, top2; top10M, top20M) they do.
    """
    declared = set(contains) | set(contains.values())
    for group in numbered(sizes):
        numbers, amounts, names = (list(column) for column in zip(*sorted(group), strict=True))
        chained = np.array([name in declared for name in names])
        for row, name in enumerate(names):
            growth = np.array(amounts[row + 1 :]) / amounts[row]
            off = growth / (np.array(numbers[row + 1 :]) / numbers[row]) - 1
            hits = (np.abs(off) < PROPORTION_TOLERANCE) & (growth > 1 + PROPORTION_TOLERANCE)
            hits &= ~(chained[row] & chained[row + 1 :])
            if hits.any():
                larger = row + 1 + int(np.argmax(hits))
                raise InputError(
                    f"{where}: pools {name!r} ({show_count(amounts[row])} samples) and {names[larger]!r} "
                    f"({show_count(amounts[larger])}) are declared as disjoint but read as nested filters, each "
                    f"containing the smaller one: say nested={names!r} or add a column 'includes' (the "
                    "next smaller filter) if they are, disjoint=True if they share no samples"
                )


def numbered(sizes: Mapping[str, float]) -> list[list[tuple[float, float, str]]]:
    """Pools of finite size whose names are equal apart from one number > 0, as (number, size, name)."""
    groups: dict[tuple[str, ...], list[tuple[float, float, str]]] = {}
    for name, size in sizes.items():
        parts = NUMBER.split(SEPARATORS.sub(" ", name.strip().casefold()))  # text, number, text, ..., text
        parts[::2] = [text.strip() for text in parts[::2]]
        percent = parts[-1] in PERCENT
        parts[-1] = "" if percent else parts[-1]
        for at in range(1, len(parts), 2):
            ranked = RANKED.search(parts[at - 1]) is not None
            number = float(parts[at])
            if not np.isfinite(size) or number == 0:
                continue
            counts_samples = COUNT_SUFFIX.match(parts[at + 1]) or abs(size / number - 1) < PROPORTION_TOLERANCE
            if counts_samples and not ranked:
                continue
            key = ("share" if ranked or percent else "bare", *parts[:at], "#", *parts[at + 1 :])
            groups.setdefault(key, []).append((number, size, name))
    return [group for key, group in groups.items() if key[0] == "share" or not counts_up(group)]


def counts_up(group: Sequence[tuple[float, float, str]]) -> bool:
    """Do the numbers of a group only count its pools: 1, 2, 3, ...?"""
    return sorted(number for number, _, _ in group) == list(range(1, len(group) + 1))
