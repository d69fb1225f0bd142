"""Finished runs of word-CLIP as tables, and the windows that the protocol names."""

from __future__ import annotations

import pandas as pd

from benchmarks.wordclip import settings, train
from benchmarks.wordclip.model import Config
from benchmarks.wordclip.stored import read
from benchmarks.wordclip.table import table_rows

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


def read_runs(roles: tuple[str, ...]) -> pd.DataFrame:
    """One row a checkpoint of every finished run with one of these roles; `units` beside the table's columns.

    Raises:
        SystemExit: no run has been finished.
    """
    jobs = train.all_jobs(list(settings.FAMILIES), roles)
    runs = [run for job in jobs if (run := read(job))]
    if not runs:
        raise SystemExit("no finished runs: python -m benchmarks.wordclip.train")
    frame = pd.DataFrame(table_rows(runs))
    frame["error"] = frame["error"].astype(float)
    frame["units"] = frame["samples_seen"] / UNIT
    return frame


def inside(frame: pd.DataFrame, units: tuple[float, float]) -> pd.DataFrame:
    """The checkpoints from so many to so many units, ends included."""
    return frame.loc[(frame["units"] >= units[0]) & (frame["units"] <= units[1])].reset_index(drop=True)


def options(family: str) -> list[settings.Setting]:
    """What a plan may choose."""
    return [each for each in settings.all_settings([family]) if each.is_option]


def scored(family: str) -> list[settings.Setting]:
    """Single pools and mixtures."""
    return [each for each in settings.all_settings([family]) if each.role in ("single", "mixture")]
