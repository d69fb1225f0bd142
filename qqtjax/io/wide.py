"""Wide tables, one column a run, as trackers export them: turned into the tidy form."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qqtjax.errors import InputError, QQTWarning
from qqtjax.io.cells import Place, numbers
from qqtjax.text import did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame

STEP_COLUMNS = ("step", "_step", "global_step")
SAMPLE_COLUMNS = ("samples_seen", "samples")
COMPANIONS = ("__MIN", "__MAX")
IGNORED = ("_step", "_runtime", "_timestamp", "step", "wall time", "walltime", "relative time (process)")
KINDS = {"loss": "loss", "perplexity": "loss", "acc": "accuracy", "accuracy": "accuracy", "top1": "accuracy"}
KINDS |= {"top5": "accuracy", "err": "error", "error": "error"}
SEED = re.compile(r"seed[\s_=:-]*(\d+)", re.IGNORECASE)


def is_wide(frame: DataFrame) -> bool:
    """Does a table look like a tracker's export: a step column, and none of the tidy form."""
    columns = [str(column) for column in frame.columns]
    tidy = {"pool", "error", "accuracy", "loss", "weights"}.intersection(columns)
    return not tidy and any(last_part(column) in STEP_COLUMNS for column in columns)


def tidy_from_wide(
    frame: DataFrame,
    place: Place,
    *,
    pools: Mapping[str, float | str] | None,
    metric: Sequence[str] | None = None,
    value: str | None = None,
    samples_per_step: float | None = None,
) -> tuple[DataFrame, Place]:
    """One row a filled cell. A header such as `top10 - val/error` names the run, and the metric after ` - `.

    The run's pool is the one of `pools` whose name is in the run's name, or the run's name is weights such as
    `top10=.7 top20=.3`. A `seed3` in it is the seed. Empty cells, `__MIN` and `__MAX` columns are skipped; so
    are cells at step 0, with a warning: the laws begin after the first sample.

    Args:
        frame: a step column (or `samples_seen`) and one column a run.
        place: where a cell stands.
        pools: sizes in samples of the pools that the headers name.
        metric: the metrics to keep, None for all.
        value: what the cells are (error, accuracy, loss), where the metric's name does not tell.
        samples_per_step: samples seen in one step (the global batch size).

    Raises:
        InputError: no step column, a run that names no pool or two, a metric whose kind cannot be told.
    """
    import pandas as pd

    if not pools:
        raise InputError(f"{place()}: a wide table needs pools={{name: size in samples}} for the names in its headers")
    columns = [str(column) for column in frame.columns]
    axis, scale = step_axis(columns, samples_per_step, place)
    samples_seen = numbers(frame, axis, place) * scale
    parts, cells, untrained = [], [], 0
    for column in columns:
        name, _, measure = column.rpartition(" - ")
        name, measure = (name, measure) if name else (column, "")
        if column == axis or column.endswith(COMPANIONS) or (measure or name).lower() in IGNORED:
            continue
        if metric is not None and measure and measure not in metric:
            continue
        found = numbers(frame, column, place)
        rows = np.flatnonzero(~np.isnan(found))
        untrained += int(np.count_nonzero(samples_seen[rows] == 0))
        rows = rows[samples_seen[rows] != 0]
        kind = value or value_kind(measure, column, place)
        seed = SEED.search(name)
        part = pd.DataFrame({"samples_seen": samples_seen[rows], "run": name, "metric": measure or kind})
        part["value"] = found[rows]
        part["kind"] = kind
        part["seed"] = int(seed[1]) if seed else 0
        part["weights" if "=" in name else "pool"] = (
            name if "=" in name else match_pool(name, pools, place(None, column))
        )
        parts.append(part)
        cells += [(int(row), column) for row in rows]
    if not cells:
        wanted = f" of the metric= or tasks= {', '.join(metric)}" if metric else ""
        raise InputError(f"{place()}: no run column{wanted} with a number in it beside {axis!r}")
    if untrained:
        warnings.warn(f"{place()}: cells at step 0 are left out ({untrained} of them)", QQTWarning, stacklevel=3)
    table = pd.concat(parts, ignore_index=True)
    kinds = table["kind"].unique()
    if len(kinds) > 1:
        raise InputError(f"{place()}: columns of {' and '.join(kinds)} together: choose with metric=")

    def tidy_place(row: int | None = None, column: str | None = None) -> str:
        if row is None:
            return place()
        at, header = cells[row]
        return place(at, axis if column == "samples_seen" else header)

    return table.rename(columns={"value": str(kinds[0])}).drop(columns="kind"), tidy_place


def last_part(column: str) -> str:
    """`trainer/global_step` is `global_step`."""
    return column.strip().lower().rsplit("/", 1)[-1]


def step_axis(columns: Sequence[str], samples_per_step: float | None, place: Place) -> tuple[str, float]:
    """The column of steps or samples, and the samples in one of its units.

    Raises:
        InputError: no such column, or steps without `samples_per_step`.
    """
    for column in columns:
        if last_part(column) in SAMPLE_COLUMNS:
            return column, 1.0
    for column in columns:
        if last_part(column) in STEP_COLUMNS:
            if samples_per_step is None:
                raise InputError(f"{place(None, column)}: steps, expected samples_per_step= (the global batch size)")
            if not 0 < samples_per_step < np.inf:
                raise InputError(f"samples_per_step={samples_per_step!r}: expected a positive number of samples")
            return column, float(samples_per_step)
    raise InputError(f"{place()}: no column 'Step' or 'samples_seen'; the columns are {', '.join(columns)}")


def value_kind(measure: str, column: str, place: Place) -> str:
    """Error, accuracy or loss, as told by the words of a metric's name.

    Raises:
        InputError: none of the words tells.
    """
    for word in reversed(re.split(r"[^a-z0-9]+", measure.lower().replace("top-", "top"))):
        if word in KINDS:
            return KINDS[word]
    raise InputError(f"{place(None, column)}: error, accuracy or loss? The name does not tell: say value='error' or so")


def pools_named(name: str, pools: Iterable[str]) -> list[str]:
    """The pools that a run's or folder's name contains: itself, or the longest ones between separators."""
    spans = {}
    for pool in pools:
        match = re.search(rf"(?<![A-Za-z0-9.]){re.escape(pool)}(?![A-Za-z0-9.])", name)
        if pool == name:
            return [pool]
        if match:
            spans[pool] = match.span()
    inner = {
        pool
        for pool, (start, end) in spans.items()
        for other, (low, high) in spans.items()
        if other != pool and low <= start and end <= high
    }
    return [pool for pool in spans if pool not in inner]


def match_pool(name: str, pools: Mapping[str, float | str], where: str) -> str:
    """The one pool that a run's or folder's name contains.

    Raises:
        InputError: none, or two.
    """
    found = pools_named(name, pools)
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{where}: {name!r} names the pools {' and '.join(found)}, expected one")
    known = f"the pools are {', '.join(pools)}{did_you_mean(name, pools)}"
    raise InputError(f"{where}: no pool in the name {name!r}; {known}")
