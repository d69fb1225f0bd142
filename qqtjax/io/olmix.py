"""A pair of files as olmix reads them, `ratios.csv` and `metrics.csv`: joined and turned into the tidy form."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qqtjax.errors import InputError, QQTWarning
from qqtjax.io.cells import Place, refuse, texts
from qqtjax.io.columns import MODEL_SIZES, SAMPLES, STEPS, Asked, first_of
from qqtjax.io.files import read_table
from qqtjax.io.weighted import tidy_from_mixtures

if TYPE_CHECKING:
    from pandas import DataFrame

RATIOS, METRICS = "ratios.csv", "metrics.csv"
KEYS = ("run", "run_id", "index")
LABELS = (*KEYS, "name", "seed", *SAMPLES, *STEPS, *MODEL_SIZES)


def is_olmix(folder: Path) -> bool:
    """Does a folder hold the two files."""
    return (folder / RATIOS).is_file() and (folder / METRICS).is_file()


def tidy_from_olmix(folder: Path, asked: Asked) -> tuple[DataFrame, Place]:
    """One row a metric of a run.

    `ratios.csv` has a column a pool beside the run (`run`, `run_id` or `index`), with a row a run; `metrics.csv` a
    column a metric (lower is better) beside the run, with a row a run, or several at different samples seen.

    Args:
        folder: holds both files.
        asked: what the user said; `samples_seen` where no column has it, as in olmix's own files.

    Raises:
        InputError: a file is missing; no run in common; a run with two rows of ratios, or with metrics alone.

    Warns:
        QQTWarning: runs without metrics, which are left out; pools whose size is not known.

    Source: allenai/olmix, README, "Input format".
    """
    for name in (RATIOS, METRICS):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: no {name}, expected {RATIOS} and {METRICS}")
    ratios, ratios_at = read_table(folder / RATIOS)
    metrics, metrics_at = read_table(folder / METRICS)
    key = first_of([name for name in ratios.columns if name in metrics.columns], KEYS)
    if key is None:
        raise InputError(f"{folder}: no column run, run_id or index in both {RATIOS} and {METRICS}")
    code, runs = _coded(ratios, key, ratios_at)
    twice = np.ones(len(code), bool)
    twice[np.unique(code, return_index=True)[1]] = False
    refuse(twice, lambda row: runs[code[row]], "one row of ratios a run", ratios_at, key)
    measured, known = _coded(metrics, key, metrics_at)
    row_of = {run: row for row, run in enumerate(runs[each] for each in code)}
    rows = np.array([row_of.get(run, -1) for run in known])[measured]
    refuse(rows < 0, lambda row: known[measured[row]], f"a run of {RATIOS}", metrics_at, key)
    lost = len(runs) - len(known)
    if lost:
        text = f"{folder}: {lost} of {len(runs)} runs have no metrics and are left out"
        warnings.warn(text, QQTWarning, stacklevel=2)

    pools = [name for name in ratios.columns if name not in LABELS]
    labels = [name for name in LABELS if name in ratios.columns and name not in metrics.columns]
    measures = [name for name in metrics.columns if name not in LABELS]
    # A pool and a metric may share a name.
    drawn = ratios.iloc[rows].reset_index(drop=True)[[*labels, *pools]]
    joined = metrics.join(drawn.rename(columns={pool: f"{RATIOS} {pool}" for pool in pools}))

    def place(row: int | None = None, column: str | None = None) -> str:
        if column is None or column in metrics.columns:
            return metrics_at(row, column)
        return ratios_at(None if row is None else int(rows[row]), column.removeprefix(f"{RATIOS} "))

    weights = {f"{RATIOS} {pool}": pool for pool in pools}
    return tidy_from_mixtures(joined, place, asked, weights, measures)


def _coded(frame: DataFrame, key: str, place: Place) -> tuple[np.ndarray, list[str]]:
    """`[M]` codes into the names of the runs.

    Raises:
        InputError: a row that names no run.
    """
    code, runs = texts(frame, key)
    refuse(code < 0, lambda row: None, "the name of a run", place, key)
    return code, runs
