"""Tables of results of OpenCLIP models, a row an evaluated checkpoint: turned into the tidy form."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from qqtjax.errors import InputError, QQTWarning
from qqtjax.io.cells import Place, numbers, texts
from qqtjax.io.columns import (
    DATA,
    MODEL_SIZES,
    RUNS,
    SAMPLES,
    Asked,
    Column,
    annealed_column,
    copied,
    first_of,
    melted,
    pool_column,
    run_column,
)
from qqtjax.io.repeated import UNIQUE, subsets

if TYPE_CHECKING:
    from pandas import DataFrame

ARCHITECTURES = ("arch", "architecture", "model")
MILLIONS = "params_m"
ACCURACY = re.compile(r"(?:.*_)?(?:top-?[15]|acc(?:uracy|[15])?)(?:_.*)?", re.IGNORECASE)


def is_openclip(columns: Sequence[str]) -> bool:
    """Architecture, data, samples seen and accuracies, and no pools."""
    needed = (ARCHITECTURES, DATA, SAMPLES)
    return all(first_of(columns, among) for among in needed) and bool(accuracies(columns)) and "pool" not in columns


def accuracies(columns: Sequence[str]) -> list[str]:
    """The columns whose name has top1, top5, acc or accuracy as a word."""
    return [name for name in columns if ACCURACY.fullmatch(name)]


def tidy_from_openclip(frame: DataFrame, place: Place, asked: Asked) -> tuple[DataFrame, Place]:
    """One row an accuracy that was measured; each dataset is a pool.

    Columns: `arch` (or `architecture`, `model`), `dataset`, `samples_seen`, accuracies by name (`imagenet_top1`,
    `acc1`, ..) as fractions; and, if there, `unique_samples`, the model's size (`params`, or `params_m` in millions),
    the run, the seed, and the planned `total_samples`, which tell finished runs. A dataset's size is its largest
    number of unique samples, or is in `pools=`.

    Raises:
        InputError: a column is missing, or a dataset has no size.

    Warns:
        QQTWarning: several architectures, and no size that tells them apart.

    Source: the columns of LAION-AI/scaling-laws-openclip.
    """
    names = [str(column) for column in frame.columns]
    if not is_openclip(names):
        raise InputError(
            f"{place()}: expected architecture, dataset, samples_seen and top-1 (such as imagenet_top1); the columns "
            f"are {', '.join(names)}"
        )
    unique, seen = first_of(names, UNIQUE), str(first_of(names, SAMPLES))
    samples = numbers(frame, seen, place)
    if unique is None:
        drawn = _whole(frame, place, asked)
    else:
        drawn = subsets(frame, place, asked, Column(numbers(frame, unique, place), unique))
    columns = {
        **drawn,
        "samples_seen": Column(samples, seen),
        "run": run_column(frame, (*RUNS, *ARCHITECTURES)),
        **_model_size(frame, place),
        **annealed_column(frame, samples, place),
        **copied(frame, {"seed": first_of(names, ["seed"])}),
    }
    return melted(frame, place, columns, accuracies(names), asked, "accuracy")


def _whole(frame: DataFrame, place: Place, asked: Asked) -> dict[str, Column]:
    """The column `pool` of runs on whole datasets, whose sizes `pools=` has.

    Raises:
        InputError: it lacks one.
    """
    code, pools, origin = pool_column(frame, place, asked)
    for pool in pools:
        if pool not in (asked.pools or ()):
            hint = f"expected a column unique_samples, or pools={{{pool!r}: samples}}"
            raise InputError(f"{place(None, origin)}: {pool!r} has no size; {hint}")
    return {"pool": Column(np.array(pools, object)[code], origin)}


def _model_size(frame: DataFrame, place: Place) -> dict[str, Column]:
    names = [str(column) for column in frame.columns]
    if MILLIONS in names:
        return {"model_size": Column(1e6 * numbers(frame, MILLIONS, place), MILLIONS)}
    sized = first_of(names, MODEL_SIZES)
    architecture = str(first_of(names, ARCHITECTURES))
    kinds = texts(frame, architecture)[1]
    if sized is None and len(kinds) > 1:
        text = f"{place(None, architecture)}: {', '.join(kinds)} without model sizes (params): read each by itself"
        warnings.warn(text, QQTWarning, stacklevel=2)
    return copied(frame, {"model_size": sized})
