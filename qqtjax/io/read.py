"""`read_runs`: from a file, a folder or a data frame to `Runs`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.cells import Place
from qqtjax.io.columns import Asked
from qqtjax.io.datacomp import tidy_from_datacomp
from qqtjax.io.files import any_frame, read_table
from qqtjax.io.fresh import is_fresh, tidy_from_fresh
from qqtjax.io.olmix import is_olmix, tidy_from_olmix
from qqtjax.io.openclip import is_openclip, tidy_from_openclip
from qqtjax.io.repeated import is_repeated, tidy_from_repeated
from qqtjax.io.tidy import make_runs
from qqtjax.io.weighted import is_weighted, tidy_from_weighted
from qqtjax.io.wide import is_wide, tidy_from_wide
from qqtjax.runs import Runs
from qqtjax.text import did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame


class Layout(NamedTuple):
    """How others lay out a table, one row a checkpoint.

    Attributes:
        name: what `format=` calls it.
        matches: do columns of these names look like it; no table of the tidy form does.
        tidy: turns a frame into the tidy form.
    """

    name: str
    matches: Callable[[Sequence[str]], bool]
    tidy: Callable[[DataFrame, Place, Asked], tuple[DataFrame, Place]]


WEIGHTED = Layout("regmix", is_weighted, tidy_from_weighted)
OPENCLIP = Layout("openclip", is_openclip, tidy_from_openclip)
REPEATED = Layout("datablations", is_repeated, tidy_from_repeated)
FRESH = Layout("chinchilla", is_fresh, tidy_from_fresh)
LAYOUTS = (WEIGHTED, OPENCLIP, REPEATED, FRESH)
FILES, FOLDERS = ("csv", "jsonl", "parquet"), ("datacomp", "olmix")
FORMATS = (*FILES, "wide", *FOLDERS, *(layout.name for layout in LAYOUTS))


def read_runs(
    source: Any,
    *,
    format: str | None = None,
    pools: Mapping[str, float | str] | None = None,
    nested: Sequence[str] | None = None,
    disjoint: bool = False,
    metric: str | Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    value: str | None = None,
    samples_per_step: float | None = None,
    samples_per_epoch: float | str | Mapping[str, float | str] | None = None,
    samples_seen: float | None = None,
) -> Runs:
    """Read measured runs: a table with one row a checkpoint, a wide export, or a folder of evaluations.

    The table has the columns `pool, pool_size, samples_seen, error` (or `accuracy`, taken as 1 - error, or
    `loss`), and, if wanted, `run, seed, metric, model_size, annealed, eval_size`. Mixtures have `weights`
    (text such as `top10=.7 top20=.3`) or columns `weight_<pool>`, and `subsample` (the share of each pool's
    samples that the run draws from); their `pool_size` may be empty, or is what the run draws from in all.
    A pool known only from mixtures has its size in a column `size_<pool>` or in `pools`. Counts may be written
    32M, 1.28e7 or 0.64B; a pool's size may be inf. Filters that contain each other are declared by `nested` or
    by a column `includes` (the next smaller filter), and become disjoint shells.

    Tables of others are told by their columns: mixtures with `w_<pool>` and `loss_<target>` (regmix); model size,
    tokens or compute, and loss (chinchilla); tokens, unique tokens and loss (datablations); architecture, dataset,
    samples seen and top-1 (openclip); a folder with `ratios.csv` and `metrics.csv` (olmix). Each measured column is
    a metric; its name is the column's.

    Args:
        source: a path to CSV, JSON lines or Parquet; `-` for CSV or JSON lines on standard input; a folder of
            DataComp-style evaluations or an olmix pair; or a data frame (pandas, polars, Arrow).
        format: csv, jsonl, parquet, wide, datacomp, olmix, regmix, openclip, datablations or chinchilla, where the
            source does not tell.
        pools: sizes in unique samples by pool name, in order of quality; beside or instead of `pool_size`.
        nested: names of filters that contain each other, smallest first.
        disjoint: pools whose names and sizes read as nested filters share no samples. They read so where the
            names are equal apart from one number and the sizes grow in proportion to it, to 5 % (top10 and
            top20, 30% and 60%, clip_30 and clip_60; not R1, R2, R3, which count, nor LAION-80M, a size).
        metric: the metric to keep, or several to keep side by side; None keeps all (of a folder: ImageNet).
        tasks: metrics to average into one.
        value: which of error, accuracy and loss is meant, where a table has several or does not tell.
        samples_per_step: samples seen in one step (the global batch size) of a table with steps: wide, or mixtures.
        samples_per_epoch: samples seen in one epoch of a folder's trainer, for all pools or by pool.
        samples_seen: samples that every run has seen, for mixtures (regmix, olmix) without a column for it.

    Returns:
        `Runs`: the measured table as arrays.

    Raises:
        InputError: the first thing that is wrong: the file, the row and column, what was found and expected.
        MissingExtraError: Parquet without pyarrow.

    Warns:
        QQTWarning: parts of an export that were left out. What the checkpoints leave open, `fit` says (see
            `check_runs`).

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"pool": "top10", "pool_size": 12.8e6, "samples_seen": [6.4e6, 12.8e6, 64e6],
        ...                       "accuracy": [0.1, 0.2, 0.3]})
        >>> runs = read_runs(table)
        >>> runs.pools.names, runs.error.round(3).tolist(), runs.epochs[:, 0].tolist()
        (('top10',), [0.9, 0.8, 0.7], [0.5, 1.0, 5.0])
    """
    if format is not None and format not in FORMATS:
        raise InputError(f"format={format!r}: expected one of {', '.join(FORMATS)}{did_you_mean(format, FORMATS)}")
    if metric is not None and tasks is not None:
        raise InputError("metric= and tasks= together: expected metrics to keep, or tasks to average")
    if isinstance(tasks, str) or (tasks is not None and not len(tasks)):
        raise InputError(f"tasks={tasks!r}: expected a list of metric names to average")
    if pools is not None and not isinstance(pools, Mapping):
        raise InputError(f"pools={pools!r}: expected a mapping, pools={{name: size in samples}}")
    kept = [metric] if isinstance(metric, str) else None if metric is None else list(metric)
    wanted = list(tasks) if tasks is not None else kept
    if samples_seen is not None and not 0 < samples_seen < np.inf:
        raise InputError(f"samples_seen={samples_seen!r}: expected a positive number of samples")
    is_path = isinstance(source, str | os.PathLike)
    is_folder = is_path and (format in FOLDERS or Path(source).is_dir())
    asked = Asked(pools, wanted, value, samples_per_step, samples_seen)
    applies: tuple[str, ...] = ()
    if is_folder:
        folder = Path(source)
        if not folder.is_dir():
            raise InputError(f"{source}: no such folder")
        if format == "olmix" or (format is None and is_olmix(folder)):
            frame, place = tidy_from_olmix(folder, asked)
            value, applies = None, ("samples_per_step", "samples_seen")
        else:
            frame, place = tidy_from_datacomp(folder, pools=pools, samples_per_epoch=samples_per_epoch, tasks=wanted)
            applies = ("samples_per_epoch",)
    else:
        frame, place = read_table(source, format if format in FILES else None) if is_path else any_frame(source)
        layout = layout_of(frame, format)
        if layout is not None:
            frame, place = layout.tidy(frame, place, asked)
            value = None
            applies = ("samples_per_step", "samples_seen") if layout is WEIGHTED else ()
        elif format == "wide" or (format is None and (samples_per_step is not None or is_wide(frame))):
            frame, place = tidy_from_wide(
                frame, place, pools=pools, metric=wanted, value=value, samples_per_step=samples_per_step
            )
            value, applies = None, ("samples_per_step",)
    given = {
        "samples_per_step": samples_per_step,
        "samples_per_epoch": samples_per_epoch,
        "samples_seen": samples_seen,
    }
    for name in (name for name, said in given.items() if said is not None and name not in applies):
        raise InputError(f"{place()}: {name}= does not apply to this source")
    runs = make_runs(frame, place, pools=pools, nested=nested, disjoint=disjoint, value=value)
    if tasks is not None:
        runs = runs.average_metrics(known_metrics(runs, tasks, "tasks", place()), f"average of {len(tasks)} tasks")
    elif kept is not None:
        runs = keep_metrics(runs, known_metrics(runs, kept, "metric", place()))
    return runs


def layout_of(frame: DataFrame, format: str | None) -> Layout | None:
    """The layout of that name, or without a name the first one that a table looks like; None is none of them."""
    if format is None:
        names = [str(column) for column in frame.columns]
        return next((layout for layout in LAYOUTS if layout.matches(names)), None)
    return next((layout for layout in LAYOUTS if layout.name == format), None)


def known_metrics(runs: Runs, names: Sequence[str], argument: str, where: str) -> list[str]:
    """The names themselves.

    Raises:
        InputError: one that is no metric of the table.
    """
    for name in names:
        if name not in runs.metric_names:
            known = f"the metrics are {', '.join(runs.metric_names)}{did_you_mean(name, runs.metric_names)}"
            raise InputError(f"{where}: unknown metric {name!r} ({argument}=); {known}")
    return list(names)


def keep_metrics(runs: Runs, names: Sequence[str]) -> Runs:
    """The checkpoints of some metrics, in the order of the names."""
    position = np.full(len(runs.metric_names), -1)
    position[[runs.metric_names.index(name) for name in names]] = np.arange(len(names))
    kept = runs.select(position[runs.metric] >= 0)
    return dataclasses.replace(kept, metric=position[kept.metric], metric_names=tuple(names))
