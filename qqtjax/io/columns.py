"""Columns that other people's tables have, under the names that they give them, and the tidy form made of them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qqtjax.errors import InputError, QQTWarning
from qqtjax.io.cells import Place, numbers, refuse, texts
from qqtjax.text import did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame

SAMPLES = ("samples_seen", "tokens", "n_tokens", "num_tokens", "tokens_seen", "D")
STEPS = ("step", "steps")
MODEL_SIZES = ("model_size", "params", "parameters", "n_params", "num_params", "N", "params_nonembed")
RUNS = ("run", "run_id", "name", "mixture_id", "index")
DATA = ("dataset", "train_set", "train_and_val_set")
PLANNED = ("planned_tokens", "total_samples")
LOSS = re.compile(r"loss|loss_.+|.+_loss")
# The pool of a table that has one and does not name it.
NAMELESS = "data"
# Pools that a warning names.
NAMED = 4
# A checkpoint counts as the last of its schedule from this share of the planned samples on.
FINISHED = 0.999


class Asked(NamedTuple):
    """What the user said about a table, beside its format; None where nothing was said.

    Attributes:
        pools: sizes in samples by name.
        metrics: columns to keep.
        value: error, accuracy or loss.
        samples_per_step: samples in one step.
        samples_seen: samples that every row has seen.
    """

    pools: Mapping[str, float | str] | None
    metrics: Sequence[str] | None
    value: str | None
    samples_per_step: float | None
    samples_seen: float | None


class Column(NamedTuple):
    """A column of the tidy form: its `[M]` cells, and the column of the table that they come from, for messages."""

    cells: Any
    origin: str | None


def first_of(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The first of some names that is a column, or None."""
    return next((name for name in names if name in columns), None)


def losses(columns: Sequence[str]) -> list[str]:
    """The columns `loss`, `loss_<target>` and `<target>_loss`."""
    return [name for name in columns if LOSS.fullmatch(name)]


def copied(frame: DataFrame, found: Mapping[str, str | None]) -> dict[str, Column]:
    """Columns as they are, under their names in the tidy form; those that the table lacks are left out."""
    return {name: Column(frame[origin], origin) for name, origin in found.items() if origin is not None}


def run_column(frame: DataFrame, among: Sequence[str] = RUNS) -> Column:
    """The names of the runs; where no column has them, every row is a run of its own."""
    origin = first_of(list(frame.columns), among)
    if origin is not None:
        return Column(frame[origin], origin)
    return Column(np.array([f"row {row + 1}" for row in range(len(frame))], object), None)


def pool_column(frame: DataFrame, place: Place, asked: Asked) -> tuple[np.ndarray, list[str], str | None]:
    """`[M]` codes into the names of the pools, the names, and the column that they stand in, if any.

    Raises:
        InputError: a row that names no pool; several pools in `pools=` and no column that tells them apart.
    """
    origin = first_of(list(frame.columns), DATA)
    if origin is not None:
        code, pools = texts(frame, origin)
        refuse(code < 0, lambda row: None, "the name of the data", place, origin)
        return code, pools, origin
    given = [str(name) for name in asked.pools or ()]
    if len(given) > 1:
        hint = f"no column tells them apart ({', '.join(DATA)})"
        raise InputError(f"{place()}: pools= has {len(given)} pools, expected one, since {hint}")
    return np.zeros(len(frame), int), given or [NAMELESS], None


def warn_endless(pools: Sequence[str], place: Place) -> None:
    """Say which pools are taken to be without end."""
    if pools:
        named = ", ".join(pools[:NAMED]) + (f" and {len(pools) - NAMED} more" if len(pools) > NAMED else "")
        text = f"{place()}: no size of {named}: taken to never repeat (pools= gives sizes)"
        warnings.warn(text, QQTWarning, stacklevel=2)


def annealed_column(frame: DataFrame, samples_seen: np.ndarray, place: Place) -> dict[str, Column]:
    """Whether each checkpoint ends its schedule, where the table says how many samples were planned."""
    planned = first_of(list(frame.columns), PLANNED)
    if planned is None:
        return {}
    return {"annealed": Column(samples_seen >= FINISHED * numbers(frame, planned, place), planned)}


def melted(
    frame: DataFrame,
    place: Place,
    columns: Mapping[str, Column],
    measures: Sequence[str],
    asked: Asked,
    kind: str,
) -> tuple[DataFrame, Place]:
    """The tidy form of a table with several measures a row: one row a filled cell, the metric named as its column.

    Args:
        frame: the table, M rows.
        place: where a cell of it stands.
        columns: the columns of the tidy form, `[M]` each.
        measures: the columns that were measured; those of `asked.metrics` are kept.
        asked: what the user said; its `value` comes before `kind`.
        kind: error, accuracy or loss.

    Raises:
        InputError: a measured cell that is no number, or no measure left.
    """
    import pandas as pd

    kept = [name for name in measures if asked.metrics is None or name in asked.metrics]
    if not kept:
        wanted = asked.metrics or ["loss"]
        hint = did_you_mean(wanted[0], measures)
        raise InputError(f"{place()}: none of {', '.join(wanted)} was measured; there are {', '.join(measures)}{hint}")
    kind = asked.value or kind
    table = pd.DataFrame({name: np.asarray(column.cells) for name, column in columns.items()})
    parts, cells = [], []
    for measure in kept:
        found = numbers(frame, measure, place)
        rows = np.flatnonzero(~np.isnan(found))
        parts.append(table.iloc[rows].assign(**{"metric": measure, kind: found[rows]}))
        cells += [(row, measure) for row in rows.tolist()]
    if not cells:
        raise InputError(f"{place()}: no number in the columns {', '.join(kept)}")

    def tidy_place(row: int | None = None, column: str | None = None) -> str:
        at, measure = (None, None) if row is None else cells[row]
        if column == kind and measure is not None:
            return place(at, measure)
        return place(at, (column in columns and columns[str(column)].origin) or column)

    return pd.concat(parts, ignore_index=True), tidy_place
