"""The tidy form, one row a checkpoint, checked and turned into `Runs`: the one way in for every reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.cells import Place, flags, numbers, refuse, require, texts
from qqtjax.io.checkpoints import drop_repeats, name_runs
from qqtjax.io.mixtures import read_mixtures
from qqtjax.io.nested import contained, make_shells, refuse_cumulative
from qqtjax.io.sizes import pool_sizes
from qqtjax.io.sources import read_sources
from qqtjax.runs import Pools, Runs
from qqtjax.text import did_you_mean

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
        disjoint: pools whose names and sizes read as nested filters share no samples.
        value: which of the columns error, accuracy and loss is meant, where several are there.

    Raises:
        InputError: the first thing that is wrong, with its row and column.
    """
    spare = [column for column in OPTIONAL if column in frame and bool(np.all(frame[column].isna()))]
    frame = frame.drop(columns=spare)
    measured = value_column(frame, value, place)
    require(frame, "samples_seen", place)
    samples_seen = positive(frame, "samples_seen", "a positive number of samples", place)
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
    shells = make_shells(sizes, contains, place())
    if not disjoint:
        refuse_cumulative(sizes, contains, place())
    subsample = read_subsample(frame, place)
    pool_size = numbers(frame, "pool_size", place) if "pool_size" in frame else np.full(len(frame), np.nan)
    sources = read_sources(pool, pool_names, mixtures, subsample, pool_size, shells, place)

    seed = read_seed(frame, place)
    model_size = (
        positive(frame, "model_size", "a positive number of parameters", place) if "model_size" in frame else None
    )
    eval_size = positive(frame, "eval_size", "a positive number of examples", place) if "eval_size" in frame else None
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
        hint = next((text for text in (did_you_mean(name, names) for name in VALUES) if text), "")
        columns = f"the columns are {', '.join(names)}{hint}"
        raise InputError(f"{place()}: no column 'error' (or 'accuracy', or 'loss'); {columns}")
    if len(there) > 1:
        raise InputError(f"{place()}: columns {' and '.join(there)} are all there: say which with value={there[0]!r}")
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
        refuse(~((found > 0) & np.isfinite(found)), lambda row: found[row], "a finite loss > 0", place, column)
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
    """`[M]` the share of each pool's samples that a run draws from, NaN where not given.

    Raises:
        InputError: a number outside (0, 1].
    """
    if "subsample" not in frame:
        return np.full(len(frame), np.nan)
    found = numbers(frame, "subsample", place)
    refuse(
        ~np.isnan(found) & ~((found > 0) & (found <= 1)),
        lambda row: found[row],
        "a share in (0, 1]",
        place,
        "subsample",
    )
    return found


def read_metric(frame: DataFrame, measured: str, place: Place) -> tuple[np.ndarray, list[str]]:
    """`[M]` index of the metric, and the names of the metrics."""
    if "metric" not in frame:
        return np.zeros(len(frame), np.intp), ["loss" if measured == "loss" else "error"]
    metric, names = texts(frame, "metric")
    refuse(metric < 0, lambda row: None, "the name of a metric", place, "metric")
    return metric, names
