"""Runs of word-CLIP as tables, and the windows that the protocol names."""

from __future__ import annotations

import pandas as pd

from benchmarks.wordclip import settings, train
from benchmarks.wordclip.model import Config
from benchmarks.wordclip.stored import read
from benchmarks.wordclip.table import COLUMNS, table_rows

QUARTER = Config().steps_per_quarter * Config().batch_size
UNIT = 4 * QUARTER

# Name: units fitted, units scored.
WINDOWS = {
    "0.25 to 20": ((0.25, 20), (0.25, 20)),
    "0.5 to 20": ((0.5, 20), (0.5, 20)),
    "1 to 20": ((1, 20), (1, 20)),
    "2 to 10": ((2, 10), (2, 10)),
    "pilot": ((0.25, 8), (10, 32)),
}
HEADLINE = "0.25 to 20"
BUDGETS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
PILOT_BUDGETS = (10, 12, 16, 20, 24, 32)
OPTIMISED_UNITS = (4, 8, 16, 32)


def read_table(roles: tuple[str, ...]) -> pd.DataFrame:
    """One row a checkpoint of the runs with these roles in the table that comes with the package.

    The table's columns, and `units` (samples seen over 9,984). Nothing has to be trained for it.
    """
    return with_units(pd.read_csv(train.SHIPPED / "wordclip.csv"), roles)


def read_finished(roles: tuple[str, ...]) -> pd.DataFrame:
    """As `read_table`, of the runs trained here so far; empty where none has been finished."""
    runs = [run for job in train.all_jobs(list(settings.FAMILIES), roles) if (run := read(job))]
    frame = pd.DataFrame(table_rows(runs), columns=list(COLUMNS))
    return with_units(frame.astype({"error": float}), roles)


def with_units(frame: pd.DataFrame, roles: tuple[str, ...]) -> pd.DataFrame:
    """The rows with these roles, with their samples seen in units."""
    kept = frame.loc[frame["role"].isin(roles)].reset_index(drop=True)
    return kept.assign(units=kept["samples_seen"] / UNIT)


def inside(frame: pd.DataFrame, units: tuple[float, float]) -> pd.DataFrame:
    """The checkpoints from so many to so many units, ends included."""
    return frame.loc[(frame["units"] >= units[0]) & (frame["units"] <= units[1])].reset_index(drop=True)


def options(family: str) -> list[settings.Setting]:
    """What a plan may choose."""
    return [each for each in settings.all_settings([family]) if each.is_option]


def scored(family: str) -> list[settings.Setting]:
    """Single pools and mixtures."""
    return [each for each in settings.all_settings([family]) if each.role in ("single", "mixture")]
