"""Tables of model size, tokens, unique tokens and loss, as datablations': turned into the tidy form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.cells import Place, numbers, refuse
from qqtjax.io.columns import (
    MODEL_SIZES,
    PLANNED,
    RUNS,
    SAMPLES,
    Asked,
    Column,
    annealed_column,
    copied,
    first_of,
    losses,
    melted,
    pool_column,
    run_column,
)
from qqtjax.io.sizes import argument_size

if TYPE_CHECKING:
    from pandas import DataFrame

UNIQUE = ("unique_tokens", "unique_samples", "U")
EPOCHS = ("epochs", "epoch")
EPOCHS_TOLERANCE = 0.01


def is_repeated(columns: Sequence[str]) -> bool:
    """Samples, unique samples (or epochs) and losses, and neither pools nor weights."""
    repeats = first_of(columns, UNIQUE) or first_of(columns, EPOCHS)
    other = "pool" in columns or "weights" in columns or any(name.startswith(("w_", "weight_")) for name in columns)
    return bool(repeats and first_of(columns, SAMPLES) and losses(columns)) and not other


def tidy_from_repeated(frame: DataFrame, place: Place, asked: Asked) -> tuple[DataFrame, Place]:
    """One row a loss that was measured, each run on a subset of a pool.

    Columns: `tokens` (or `samples_seen`, `D`, ..); `unique_tokens` (or `unique_samples`, `U`), or `epochs`, from which
    it is tokens / epochs; `loss`, `loss_<target>` or `<target>_loss`; and, if there, the model's size, the run, the
    pool (`dataset`, `train_set`), the seed, and the planned tokens, which tell finished runs. A pool is as large as
    its largest subset, unless `pools=` gives its size.

    Raises:
        InputError: a column is missing; epochs that contradict tokens / unique tokens; a subset larger than its pool.

    Source: the columns of huggingface/datablations.
    """
    names = [str(column) for column in frame.columns]
    seen = first_of(names, SAMPLES)
    if not is_repeated(names) or seen is None:
        raise InputError(
            f"{place()}: expected tokens, unique_tokens (or epochs) and loss; the columns are {', '.join(names)}"
        )
    samples = numbers(frame, seen, place)
    unique, origin = _unique(frame, place, samples)
    columns = {
        **subsets(frame, place, asked, Column(unique, origin)),
        "samples_seen": Column(samples, seen),
        "run": run_column(frame, (*RUNS, *PLANNED)),
        **annealed_column(frame, samples, place),
        **copied(frame, {"model_size": first_of(names, MODEL_SIZES), "seed": first_of(names, ["seed"])}),
    }
    return melted(frame, place, columns, losses(names), asked, "loss")


def _unique(frame: DataFrame, place: Place, samples: np.ndarray) -> tuple[np.ndarray, str]:
    """Unique samples, and the column that they come from.

    Raises:
        InputError: a cell that is no positive number, or epochs that contradict it.
    """
    names = [str(column) for column in frame.columns]
    given, written = first_of(names, UNIQUE), first_of(names, EPOCHS)
    epochs = np.full(len(samples), np.nan) if written is None else numbers(frame, written, place)
    if given is None:
        refuse(~((epochs > 0) & np.isfinite(epochs)), lambda row: epochs[row], "epochs > 0", place, written)
        return samples / epochs, str(written)
    unique = numbers(frame, given, place)
    refuse(~((unique > 0) & np.isfinite(unique)), lambda row: unique[row], "unique samples > 0", place, given)
    bad = np.abs(epochs * unique / samples - 1) > EPOCHS_TOLERANCE
    expected = f"samples / unique samples, to {EPOCHS_TOLERANCE:.0%}"
    refuse(bad, lambda row: epochs[row], expected, place, written)
    return unique, given


def subsets(frame: DataFrame, place: Place, asked: Asked, unique: Column) -> dict[str, Column]:
    """The columns `pool`, `pool_size` and `subsample` of runs on so many unique samples of a pool.

    Raises:
        InputError: as in `pool_column`, or a subset larger than its pool.
    """
    code, pools, origin = pool_column(frame, place, asked)
    given = asked.pools or {}
    size = np.array(
        [
            argument_size(pool, given[pool]) if pool in given else unique.cells[code == each].max()
            for each, pool in enumerate(pools)
        ]
    )[code]
    bad = unique.cells > size
    expected = "at most the size of its pool"
    refuse(bad, lambda row: unique.cells[row], expected, place, unique.origin)
    return {
        "pool": Column(np.array(pools, object)[code], origin),
        "pool_size": Column(size, unique.origin),
        "subsample": Column(unique.cells / size, unique.origin),
    }
