"""What each row of a table was trained on: a pool alone, or a mixture, each distinct one once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.cells import Place, first_of_each, refuse
from qqtjax.io.mixtures import Mixtures, write_weights
from qqtjax.io.nested import Shells
from qqtjax.io.sizes import SIZE_EXPECTED, needs_size
from qqtjax.runs import WEIGHT_SUM_TOLERANCE
from qqtjax.text import show_count

SIZE_TOLERANCE = 1e-6
UNIFORM_TOLERANCE = 1e-3


class Sources(NamedTuple):
    """What the rows were trained on.

    Attributes:
        code: `[M]` as `Runs.source`.
        mixes: `[K, P]` weights.
        subsamples: `[K]` share of each pool's samples that the mixture draws from.
        labels: P + K texts for run names.
    """

    code: np.ndarray
    mixes: np.ndarray
    subsamples: np.ndarray
    labels: list[str]


def read_sources(
    pool: np.ndarray,
    pool_names: list[str],
    mixtures: Mixtures,
    subsample: np.ndarray,
    pool_size: np.ndarray,
    shells: Shells,
    place: Place,
) -> Sources:
    """What each row was trained on: a pool alone, or a mixture, each distinct one once.

    Args:
        pool: `[M]` index into `pool_names`, -1 where a row names no pool.
        pool_names: names in the column `pool`.
        mixtures: the weights of the rows that have some.
        subsample: `[M]` share of each pool's samples that a row draws from, NaN where not given.
        pool_size: `[M]` the column `pool_size`, NaN where not given.
        shells: the disjoint pools.
        place: where a cell stands.

    Raises:
        InputError: weights that cannot be, or that the pool or the pool size of their row contradicts.
    """
    import pandas as pd

    row_of = {name: row for row, name in enumerate(shells.named)}
    named = np.array([row_of.get(name, -1) for name in pool_names] + [-1])
    mixed = mix_weights(mixtures, shells, row_of, place)
    refuse_contradiction(pool, pool_names, named, mixtures, mixed, shells, place)
    subsample = settle_subsample(subsample, pool_size, mixtures, mixed, shells, place)
    weights = np.concatenate([shells.weights, mixed])
    labels = [*shells.named, *(write_weights(shares) for shares in mixtures.shares)]
    base = np.where(mixtures.code >= 0, mixtures.code + len(shells.named), named[pool])
    combination = pd.DataFrame({"base": base, "subsample": subsample}).groupby(["base", "subsample"], sort=False)
    code = combination.ngroup().to_numpy()

    source = np.empty(combination.ngroups, np.intp)
    mix_of: dict[tuple[bytes, float], int] = {}
    mixes, subsamples, names = [], [], list(shells.names)
    for each, row in enumerate(first_of_each(code)):
        share, part = weights[base[row]], float(subsample[row])
        if part == 1 and share.max() == 1:
            source[each] = np.argmax(share)
            continue
        key = (np.round(share, 12).tobytes(), part)
        if key not in mix_of:
            mix_of[key] = len(mixes)
            mixes.append(share)
            subsamples.append(part)
            names.append(labels[base[row]] + (f" subsample {part:.6g}" if part < 1 else ""))
        source[each] = len(shells.names) + mix_of[key]
    shape = (len(mixes), len(shells.names))
    return Sources(source[code], np.array(mixes).reshape(shape), np.array(subsamples), names)


def mix_weights(mixtures: Mixtures, shells: Shells, row_of: Mapping[str, int], place: Place) -> np.ndarray:
    """`[K, S]` weights over the disjoint pools of each mixture.

    Raises:
        InputError: an unknown pool, or pools that overlap.
    """
    uniform = shells.weights
    mixed = np.zeros((len(mixtures.shares), len(shells.names)))
    for each, shares in enumerate(mixtures.shares):
        at = mixtures.rows[each], mixtures.columns[each]
        owner = np.full(len(shells.names), -1)
        for name, share in shares.items():
            if name not in row_of:
                known = dict.fromkeys(shells.named, 0.0)
                raise InputError(f"{place(*at)}: unknown pool {name!r}{needs_size(name, known)}")
            if share == 0:
                continue
            row = row_of[name]
            clash = owner[shells.members[row]].max()
            if clash >= 0:
                raise InputError(
                    f"{place(*at)}: pools {shells.named[clash]!r} and {name!r} are declared as disjoint but "
                    "overlapping: one contains the other; expected weights on disjoint pools among "
                    f"{', '.join(shells.names)}"
                )
            owner[shells.members[row]] = row
            mixed[each] += share * uniform[row]
        mixed[each] /= mixed[each].sum()
    return mixed


def refuse_contradiction(
    pool: np.ndarray,
    pool_names: list[str],
    named: np.ndarray,
    mixtures: Mixtures,
    mixed: np.ndarray,
    shells: Shells,
    place: Place,
) -> None:
    """Raise `InputError` where a row names one pool and its weights say another; other names are labels."""
    both = np.flatnonzero((mixtures.code >= 0) & (named[pool] >= 0))
    gap = np.zeros(len(pool))
    if len(both):
        pairs, inverse = np.unique(np.stack([named[pool[both]], mixtures.code[both]]), axis=1, return_inverse=True)
        gaps = np.abs(shells.weights[pairs[0]] - mixed[pairs[1]]).max(axis=1)
        gap[both] = gaps[inverse.reshape(-1)]
    expected = "a row with weights to name no pool, or the one that they say"
    refuse(gap > WEIGHT_SUM_TOLERANCE, lambda row: pool_names[pool[row]], expected, place, "pool")


def settle_subsample(
    subsample: np.ndarray, pool_size: np.ndarray, mixtures: Mixtures, mixed: np.ndarray, shells: Shells, place: Place
) -> np.ndarray:
    """`[M]` the share of each pool's samples that a row draws from: as given, or as its pool size tells, or 1.

    The pool size of a row with weights is what the pools that it draws from hold together, times `subsample`.
    A smaller one, of a row without `subsample` that draws uniformly from several pools, says what it is.

    Raises:
        InputError: a row with weights whose pool size is another one.
    """
    given = np.where(np.isnan(subsample), 1.0, subsample)
    rows = np.flatnonzero((mixtures.code >= 0) & ~np.isnan(pool_size))
    if not len(rows):
        return given
    found = np.full(len(given), np.nan)
    found[rows] = pool_size[rows]
    refuse(found <= 0, lambda row: found[row], SIZE_EXPECTED, place, "pool_size")
    parts = np.where(mixed > 0, shells.sizes, 0.0)
    totals = parts.sum(axis=1)
    with np.errstate(invalid="ignore"):  # of an infinite pool: no uniform sampling
        gaps = np.abs(mixed - parts / totals[:, None]).max(axis=1)
    several = np.array([sum(share > 0 for share in shares.values()) > 1 for shares in mixtures.shares])
    infers = (several & (gaps < UNIFORM_TOLERANCE))[mixtures.code] & np.isnan(subsample)
    total = np.where(np.isnan(found), np.nan, totals[mixtures.code])
    expected = given * total
    agrees = np.isclose(found, expected, rtol=SIZE_TOLERANCE, atol=0)
    inferred = ~agrees & infers & (found < total)
    settled = given.copy()
    settled[inferred] = found[inferred] / total[inferred]
    bad = ~np.isnan(found) & ~agrees & ~inferred
    if bad.any():
        row = int(np.argmax(bad))
        part = "" if np.isnan(subsample[row]) else f" times subsample {subsample[row]:.6g}"
        held = f"{show_count(total[row])} that the pools of {write_weights(mixtures.shares[mixtures.code[row]])!r} hold"
        hint = "a run on a part of each pool has that share in a column 'subsample'"
        refuse(bad, lambda row: found[row], f"the {held}{part}, or an empty cell ({hint})", place, "pool_size")
    return settled
