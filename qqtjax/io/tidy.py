"""The tidy form, one row a checkpoint, checked and turned into `Runs`: the one way in for every reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.cells import Place, flags, nearest, numbers, refuse, texts
from qqtjax.io.counts import parse_count, show_count
from qqtjax.io.mixtures import Mixtures, read_mixtures, write_weights
from qqtjax.io.nested import Shells, contained, make_shells, refuse_cumulative
from qqtjax.runs import Pools, Runs

if TYPE_CHECKING:
    from pandas import DataFrame

VALUES = ("error", "accuracy", "loss")
OPTIONAL = (
    "run",
    "seed",
    "metric",
    "model_size",
    "annealed",
    "eval_size",
    "weights",
    "subsample",
    "includes",
)
LARGEST_SEED = 2.0**53
SIZE_EXPECTED = "a positive number of samples"


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


def make_runs(
    frame: DataFrame,
    place: Place,
    *,
    pools: Mapping[str, float | str] | None = None,
    nested: Sequence[str] | None = None,
    disjoint: bool = False,
    value: str | None = None,
) -> Runs:
    """Check a table in the tidy form and turn it into arrays.

    Args:
        frame: one row a checkpoint, rows counted from 0.
        place: where a cell stands, for messages.
        pools: sizes in samples, in order of quality; beside or instead of a column `pool_size`.
        nested: filters that contain each other, smallest first.
        disjoint: pools whose names read as nested filters share no samples.
        value: which of the columns error, accuracy and loss is meant, where several are there.

    Raises:
        InputError: the first thing that is wrong, with its row and column.
    """
    spare = [column for column in OPTIONAL if column in frame and frame[column].isna().all()]
    frame = frame.drop(columns=spare)
    measured = value_column(frame, value, place)
    require(frame, "samples_seen", place)
    samples_seen = positive(frame, "samples_seen", SIZE_EXPECTED, place)
    error = read_error(frame, measured, place)
    mixtures = read_mixtures(frame, place)
    if not len(mixtures.shares):
        require(frame, "pool", place)
    pool, pool_names = texts(frame, "pool") if "pool" in frame else (np.full(len(frame), -1), [])
    bad = (pool < 0) & (mixtures.code < 0)
    refuse(bad, lambda row: None, "the name of a pool, or weights", place, "pool")

    alone = np.where(mixtures.code < 0, pool, -1)
    sizes = pool_sizes(frame, alone, pool_names, mixtures, pools, place)
    contains = contained(frame, alone, pool_names, nested, sizes, place)
    if not disjoint:
        refuse_cumulative(sizes, contains, place())
    shells = make_shells(sizes, contains, place())
    subsample = read_subsample(frame, place)
    sources = read_sources(pool, pool_names, mixtures, subsample, shells, place)

    seed = read_seed(frame, place)
    model_size = (
        positive(frame, "model_size", "a positive number of parameters", place)
        if "model_size" in frame
        else None
    )
    eval_size = (
        positive(frame, "eval_size", "a positive number of examples", place) if "eval_size" in frame else None
    )
    annealed = flags(frame, "annealed", place) if "annealed" in frame else None
    metric, metric_names = read_metric(frame, measured, place)
    tag = np.where(mixtures.code >= 0, pool, -1)
    run, run_names = name_runs(frame, sources, tag, pool_names, seed, model_size)
    keep = drop_repeats(run, metric, samples_seen, error, measured, place)

    runs = Runs(
        pools=Pools.of(dict(zip(shells.names, shells.sizes.tolist(), strict=True))),
        source=sources.code,
        mixes=sources.mixes,
        mix_sizes=sources.subsamples[:, None] * shells.sizes,
        samples_seen=samples_seen,
        error=error,
        run=run,
        run_names=tuple(run_names),
        seed=seed,
        metric=metric,
        metric_names=tuple(metric_names),
        eval_size=eval_size,
        model_size=model_size,
        annealed=annealed,
    )
    return runs if keep.all() else runs.select(keep)


def require(frame: DataFrame, column: str, place: Place) -> None:
    """Raise `InputError` if a column is not there, saying which are."""
    if column not in frame:
        names = [str(name) for name in frame.columns]
        raise InputError(
            f"{place()}: no column {column!r}; the columns are {', '.join(names)}{nearest(column, names)}"
        )


def value_column(frame: DataFrame, value: str | None, place: Place) -> str:
    """The column that was measured: error, accuracy or loss.

    Raises:
        InputError: none of them, or several and no choice.
    """
    if value is not None:
        if value not in VALUES:
            raise InputError(f"value={value!r}: expected one of {', '.join(VALUES)}")
        require(frame, value, place)
        return value
    there = [name for name in VALUES if name in frame]
    if not there:
        names = [str(name) for name in frame.columns]
        hint = next((text for text in (nearest(name, names) for name in VALUES) if text), "")
        raise InputError(
            f"{place()}: no column 'error' (or 'accuracy', or 'loss'); the columns are {', '.join(names)}{hint}"
        )
    if len(there) > 1:
        raise InputError(
            f"{place()}: columns {' and '.join(there)} are all there: say which with value={there[0]!r}"
        )
    return there[0]


def positive(frame: DataFrame, column: str, expected: str, place: Place) -> np.ndarray:
    """`[M]` a column of finite numbers > 0.

    Raises:
        InputError: an empty cell, or anything else.
    """
    found = numbers(frame, column, place)
    refuse(~((found > 0) & np.isfinite(found)), lambda row: found[row], expected, place, column)
    return found


def read_error(frame: DataFrame, column: str, place: Place) -> np.ndarray:
    """`[M]` the measured metric, lower is better: an error rate in (0, 1], or a loss > 0.

    Raises:
        InputError: a number out of range, NaN or infinite, or no number.
    """
    found = numbers(frame, column, place)
    if column == "loss":
        refuse(
            ~((found > 0) & np.isfinite(found)), lambda row: found[row], "a finite loss > 0", place, column
        )
        return found
    error = 1 - found if column == "accuracy" else found
    expected = "an accuracy in [0, 1)" if column == "accuracy" else "an error rate in (0, 1]"
    if np.any((found > 1) & (found <= 100)) and not np.any(found > 100):
        expected += " (divide percentages by 100)"
    elif column == "error":
        expected += " (call the column 'loss' if it is one)"
    refuse(~((error > 0) & (error <= 1)), lambda row: found[row], expected, place, column)
    return error


def read_seed(frame: DataFrame, place: Place) -> np.ndarray:
    """`[M]` int seeds, 0 where not given.

    Raises:
        InputError: no whole number.
    """
    if "seed" not in frame:
        return np.zeros(len(frame), np.int64)
    found = numbers(frame, "seed", place)
    found = np.where(np.isnan(found), 0.0, found)
    bad = (np.abs(found) > LARGEST_SEED) | (found != np.floor(found))
    refuse(bad, lambda row: found[row], "a whole number", place, "seed")
    return found.astype(np.int64)


def read_subsample(frame: DataFrame, place: Place) -> np.ndarray:
    """`[M]` the share of each pool's samples that a run draws from, 1 where not given.

    Raises:
        InputError: a number outside (0, 1].
    """
    if "subsample" not in frame:
        return np.ones(len(frame))
    found = numbers(frame, "subsample", place)
    found = np.where(np.isnan(found), 1.0, found)
    refuse(~((found > 0) & (found <= 1)), lambda row: found[row], "a share in (0, 1]", place, "subsample")
    return found


def read_metric(frame: DataFrame, measured: str, place: Place) -> tuple[np.ndarray, list[str]]:
    """`[M]` index of the metric, and the names of the metrics."""
    if "metric" not in frame:
        return np.zeros(len(frame), np.intp), ["loss" if measured == "loss" else "error"]
    metric, names = texts(frame, "metric")
    refuse(metric < 0, lambda row: None, "the name of a metric", place, "metric")
    return metric, names


def pool_sizes(
    frame: DataFrame,
    alone: np.ndarray,
    pool_names: Sequence[str],
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
    return {name: sizes[name] for name in dict.fromkeys([*(pools or {}), *used, *mixed]) if name in sizes}


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
    known = f"; the pools are {', '.join(sizes)}{nearest(name, sizes)}" if sizes else ""
    return f"{known} (a new pool needs its size: a column 'size_{name}' or pools={{{name!r}: samples}})"


def first_of_each(code: np.ndarray) -> np.ndarray:
    """The first row of each distinct code, in order of the rows."""
    return np.sort(np.unique(code, return_index=True)[1])


def add_pool_sizes(
    frame: DataFrame, alone: np.ndarray, pool_names: Sequence[str], sizes: dict[str, float], place: Place
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
        refuse(
            differs, lambda row: found[row], f"{show_count(size)}: one size for pool {name!r}", place, column
        )


def read_sources(
    pool: np.ndarray,
    pool_names: Sequence[str],
    mixtures: Mixtures,
    subsample: np.ndarray,
    shells: Shells,
    place: Place,
) -> Sources:
    """What each row was trained on: a pool alone, or a mixture, each distinct one once."""
    import pandas as pd

    row_of = {name: row for row, name in enumerate(shells.named)}
    named = np.array([row_of.get(name, -1) for name in pool_names] + [-1])
    mixed = mix_weights(mixtures, shells, row_of, place)
    refuse_contradiction(pool, pool_names, named, mixtures, mixed, shells, place)
    weights = np.concatenate([shells.weights, mixed])
    labels = [*shells.named, *(write_weights(shares) for shares in mixtures.shares)]
    base = np.where(mixtures.code >= 0, mixtures.code + len(shells.named), named[pool])
    combination = pd.DataFrame({"base": base, "subsample": subsample}).groupby(
        ["base", "subsample"], sort=False
    )
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
                    f"{place(*at)}: pools {shells.named[clash]!r} and {name!r} are declared as disjoint but overlapping: "
                    f"one contains the other; expected weights on disjoint pools among {', '.join(shells.names)}"
                )
            owner[shells.members[row]] = row
            mixed[each] += share * uniform[row]
        mixed[each] /= mixed[each].sum()
    return mixed


def refuse_contradiction(
    pool: np.ndarray,
    pool_names: Sequence[str],
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
        pairs, inverse = np.unique(
            np.stack([named[pool[both]], mixtures.code[both]]), axis=1, return_inverse=True
        )
        gaps = np.abs(shells.weights[pairs[0]] - mixed[pairs[1]]).max(axis=1)
        gap[both] = gaps[inverse.reshape(-1)]
    expected = "a row with weights to name no pool, or the one that they say"
    refuse(gap > 1e-6, lambda row: pool_names[pool[row]], expected, place, "pool")


def name_runs(
    frame: DataFrame,
    sources: Sources,
    tag: np.ndarray,
    pool_names: Sequence[str],
    seed: np.ndarray,
    model_size: np.ndarray | None,
) -> tuple[np.ndarray, list[str]]:
    """`[M]` index of the training run, and distinct names of the runs.

    A run is what shares its name in the column `run`, what it was trained on, its seed and its model size; what
    the name does not tell apart is added to it. Without a name it is called by its pool or mixture, or by the
    text (`tag`) that a row with weights has in the column `pool`.
    """
    import pandas as pd

    written, words = texts(frame, "run") if "run" in frame else (np.full(len(frame), -1), [])
    keys = pd.DataFrame({"word": written, "source": sources.code, "seed": seed})
    keys["model_size"] = 0.0 if model_size is None else model_size
    run = keys.groupby(list(keys.columns), sort=False).ngroup().to_numpy()
    runs = keys.iloc[first_of_each(run)].reset_index(drop=True)
    labels = np.array(sources.labels, object)[runs["source"]]
    tags = tag[first_of_each(run)]
    labels = np.where(tags >= 0, np.array([*pool_names, ""], object)[tags], labels)
    name = pd.Series(np.where(runs["word"] >= 0, np.array([*words, ""], object)[runs["word"]], labels))
    details = {
        "source": pd.Series(np.array(sources.labels, object)[runs["source"]]),
        "model_size": runs["model_size"].map(lambda size: f"model {show_count(size)}"),
        "seed": "seed " + runs["seed"].astype(str),
    }
    base = name.copy()
    for column, detail in details.items():
        varies = runs[column].groupby(base).transform("nunique") > 1
        name = name.where(~varies, name + ", " + detail)
    return run, [str(each) for each in name]


def drop_repeats(
    run: np.ndarray,
    metric: np.ndarray,
    samples_seen: np.ndarray,
    error: np.ndarray,
    measured: str,
    place: Place,
) -> np.ndarray:
    """`[M]` bool: rows to keep; of equal checkpoints the first.

    Raises:
        InputError: one checkpoint measured twice with different results.
    """
    import pandas as pd

    keys = pd.DataFrame({"run": run, "metric": metric, "samples_seen": samples_seen})
    repeated = keys.duplicated().to_numpy()
    if not repeated.any():
        return ~repeated
    first = keys.groupby(list(keys.columns), sort=False).ngroup().to_numpy()
    first = first_of_each(first)[first]
    shown = 1 - error if measured == "accuracy" else error
    bad = error != error[first]
    if bad.any():
        row = int(np.argmax(bad))
        expected = (
            f"{shown[first[row]]:.9g} as in row {first[row] + 1}: the same run, seed, metric and samples_seen "
            f"({show_count(samples_seen[row])})"
        )
        refuse(bad, lambda row: shown[row], expected, place, measured)
    return ~repeated
