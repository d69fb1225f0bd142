"""Tables of model size, samples and loss without repetition, as Chinchilla's: turned into the tidy form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.cells import Place, numbers
from qqtjax.io.columns import (
    MODEL_SIZES,
    SAMPLES,
    Asked,
    Column,
    copied,
    first_of,
    losses,
    melted,
    pool_column,
    run_column,
    warn_endless,
)
from qqtjax.io.repeated import is_repeated
from qqtjax.io.weighted import weight_columns

if TYPE_CHECKING:
    from pandas import DataFrame

COMPUTE = ("C", "flop", "flops", "compute")
FLOP_PER_TOKEN = 6.0


def is_fresh(columns: Sequence[str]) -> bool:
    """Model size, samples (or compute) and losses, and neither pools, weights nor repetition."""
    seen = first_of(columns, SAMPLES) or first_of(columns, COMPUTE)
    sized = first_of(columns, MODEL_SIZES)
    other = "pool" in columns or "weights" in columns or weight_columns(columns) or is_repeated(columns)
    return bool(seen and sized and losses(columns)) and not other


def tidy_from_fresh(frame: DataFrame, place: Place, asked: Asked) -> tuple[DataFrame, Place]:
    """One row a loss that was measured, of a pool that never repeats.

        D = C / (6 N)   where a table has compute C (FLOP) and model size N, but no samples D

    Columns: `N` (or `params`, ..); `D` (or `tokens`, ..), or `C` (or `flop`, ..); `loss`, `loss_<target>` or
    `<target>_loss`; and, if there, the run and the pool (`dataset`, `train_set`). A row without a run's name is a run
    of its own.

    Raises:
        InputError: a column is missing; several pools in `pools=` and no column that tells them apart.

    Warns:
        QQTWarning: pools whose size is not known.

    Source: the columns of epoch-research/analyzing-chinchilla and of mlfoundations/scaling; C = 6 N D is Kaplan et
    al., arXiv 2001.08361, section 2.1.
    """
    names = [str(column) for column in frame.columns]
    sized, samples, compute = (first_of(names, among) for among in (MODEL_SIZES, SAMPLES, COMPUTE))
    if sized is None or (samples is None and compute is None) or not losses(names):
        raise InputError(
            f"{place()}: expected model size (N, params), samples (D, tokens) or compute (C, flop), and loss; the "
            f"columns are {', '.join(names)}"
        )
    code, pools, origin = pool_column(frame, place, asked)
    endless = [pool for pool in pools if pool not in (asked.pools or ())]
    warn_endless(endless, place)
    size = np.array([np.inf if pool in endless else np.nan for pool in pools])  # NaN: pools= has it
    if samples is not None:
        seen = Column(frame[samples], samples)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            made = numbers(frame, str(compute), place) / (FLOP_PER_TOKEN * numbers(frame, sized, place))
        seen = Column(made, compute)
    columns = {
        "pool": Column(np.array(pools, object)[code], origin),
        "pool_size": Column(size[code], origin),
        "samples_seen": seen,
        "run": run_column(frame),
        **copied(frame, {"model_size": sized, "seed": first_of(names, ["seed"])}),
    }
    return melted(frame, place, columns, losses(names), asked, "loss")
