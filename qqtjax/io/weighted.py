"""Tables of mixtures with a column a weight and a column a loss, as RegMix and others publish: to the tidy form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.cells import Place, numbers, refuse
from qqtjax.io.columns import (
    MODEL_SIZES,
    SAMPLES,
    STEPS,
    Asked,
    Column,
    copied,
    first_of,
    losses,
    melted,
    run_column,
    warn_endless,
)
from qqtjax.io.mixtures import PREFIX

if TYPE_CHECKING:
    from pandas import DataFrame

WEIGHT = re.compile(r"(?:weight|w)_(.+)|(w\d+)")
# Published weights are rounded: sums within this of 1 are taken as 1.
ROUNDED = 0.01


def is_weighted(columns: Sequence[str]) -> bool:
    """Weights and losses by the names that others give them; not the tidy form, with its `samples_seen`."""
    weights, measured = weight_columns(columns), losses(columns)
    tidy = "samples_seen" in columns or "pool" in columns or "weights" in columns
    return len(weights) > 1 and bool(measured) and not (tidy and all(name.startswith(PREFIX) for name in weights))


def weight_columns(columns: Sequence[str]) -> dict[str, str]:
    """`{column: pool}` of the columns `weight_<pool>`, `w_<pool>`, `w1`, `w2`, ..; not `weight_decay`."""
    found = {name: WEIGHT.fullmatch(name) for name in columns if name != "weight_decay"}
    return {name: match[1] or match[2] for name, match in found.items() if match}


def tidy_from_weighted(frame: DataFrame, place: Place, asked: Asked) -> tuple[DataFrame, Place]:
    """One row a loss that was measured.

    Columns: `w_<pool>`, `weight_<pool>` or `w1`, `w2`, ..; `loss_<target>`, `<target>_loss` or `loss`; samples or
    tokens (`samples_seen`, `tokens`, `D`, ..) or `step`; and, if there, the model's size (`params`, `N`, ..), the
    run (`run`, `run_id`, `mixture_id`, `index`), `size_<pool>` and `seed`. A pool without a size never repeats.

    Raises:
        InputError: no weights or losses; weights that are no shares; samples seen that cannot be told.

    Source: the columns of RegMix (sail-sg/regmix, its csv files joined), of mixinglaws (yegcjs/mixinglaws) and of
    meiqwq/Explaining-Data-Mixing-Scaling-Laws.
    """
    names = [str(column) for column in frame.columns]
    weights, measured = weight_columns(names), losses(names)
    for found, expected in ((weights, "weights (w_<pool>)"), (measured, "losses (loss_<target>)")):
        if not found:
            raise InputError(f"{place()}: no columns of {expected}; the columns are {', '.join(names)}")
    return tidy_from_mixtures(frame, place, asked, weights, measured)


def tidy_from_mixtures(
    frame: DataFrame, place: Place, asked: Asked, weights: Mapping[str, str], measured: Sequence[str]
) -> tuple[DataFrame, Place]:
    """The tidy form of a table whose columns of weights (`{column: pool}`) and measures are known.

    Raises:
        InputError: as in `tidy_from_weighted`.

    Warns:
        QQTWarning: pools whose size is not known.
    """
    names = [str(column) for column in frame.columns]
    columns = {
        **_shares(frame, place, weights),
        **_sizes(frame, place, asked, list(weights.values())),
        "samples_seen": _samples_seen(frame, place, asked),
        "run": run_column(frame),
        **copied(frame, {"model_size": first_of(names, MODEL_SIZES), "seed": first_of(names, ["seed"])}),
    }
    return melted(frame, place, columns, measured, asked, "loss")


def _shares(frame: DataFrame, place: Place, weights: Mapping[str, str]) -> dict[str, Column]:
    """The columns `weight_<pool>`, each row's sum made 1."""
    table = np.stack([numbers(frame, column, place) for column in weights], axis=1)
    for cells, column in zip(table.T, weights, strict=True):
        bad = (cells < 0) | np.isinf(cells)
        refuse(bad, lambda row, cells=cells: cells[row], "a weight >= 0", place, column)
    table = np.nan_to_num(table)
    total = table.sum(axis=1)
    first = next(iter(weights))
    expected = f"1, to {ROUNDED:.0%}, as the sum of the weights"
    refuse(np.abs(total - 1) > ROUNDED, lambda row: total[row], expected, place, f"{first} ..")
    shares = table / total[:, None]
    return {f"{PREFIX}{pool}": Column(shares[:, i], column) for i, (column, pool) in enumerate(weights.items())}


def _sizes(frame: DataFrame, place: Place, asked: Asked, pools: Sequence[str]) -> dict[str, Column]:
    """The columns `size_<pool>`: as given, else inf; those that `pools=` has are left out."""
    found, endless = {}, []
    for pool in pools:
        column = f"size_{pool}"
        if column in frame:
            found[column] = Column(frame[column], column)
        elif pool not in (asked.pools or ()):
            found[column] = Column(np.full(len(frame), np.inf), None)
            endless.append(pool)
    warn_endless(endless, place)
    return found


def _samples_seen(frame: DataFrame, place: Place, asked: Asked) -> Column:
    names = [str(column) for column in frame.columns]
    samples, steps = first_of(names, SAMPLES), first_of(names, STEPS)
    if samples is not None:
        for said, name in ((asked.samples_seen, "samples_seen"), (asked.samples_per_step, "samples_per_step")):
            if said is not None:
                raise InputError(f"{place(None, samples)}: samples are there, expected no {name}=")
        return Column(frame[samples], samples)
    if steps is not None and asked.samples_per_step is not None:
        return Column(numbers(frame, steps, place) * asked.samples_per_step, steps)
    if asked.samples_seen is not None:
        return Column(np.full(len(frame), asked.samples_seen), None)
    hint = "samples_per_step= (the global batch size)" if steps else "samples_seen= (of every run)"
    raise InputError(f"{place()}: no column of samples seen ({', '.join(SAMPLES)}), expected one or {hint}")
