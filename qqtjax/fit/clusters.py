"""Which checkpoints move together from one repetition of a study to the next."""

from __future__ import annotations

import enum

import numpy as np

from qqtjax.errors import InputError
from qqtjax.runs import Runs


class Unit(enum.Enum):
    """What is repeated as a whole."""

    RUN = "run"
    """One training run."""
    REDRAW = "redraw"
    """One drawing of what is trained on: runs whose names differ by their seed alone."""
    SEED = "seed"
    """One seed: all runs that share it, whatever their pools."""


def units_of(runs: Runs, unit: Unit) -> np.ndarray:
    """`[M]` to which unit each checkpoint belongs, 0 .. G - 1.

    Readers end the name of a run by its seed where the rest does not tell runs apart ("C00 redraw 3, seed 1"); what
    stands before is the redraw.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C", roles=("single",), redraws=None)
        >>> [int(units_of(runs, unit).max()) + 1 for unit in Unit]
        [40, 15, 3]
    """
    names = [
        str(runs.run_names[run]).removesuffix(f", seed {seed}") for run, seed in zip(runs.run, runs.seed, strict=True)
    ]
    of = {
        Unit.RUN: np.stack([runs.run, runs.seed]),
        Unit.REDRAW: np.unique(names, return_inverse=True)[1][None],
        Unit.SEED: runs.seed[None],
    }[unit]
    return np.unique(of, axis=1, return_inverse=True)[1].reshape(-1)


def units_by_source(runs: Runs, unit: Unit) -> dict[int, np.ndarray]:
    """Units of everything that was trained on, `{source: [g] units}`; two or more of each.

    Raises:
        InputError: a pool or mixture with one unit; a unit on several sources that misses one of them.
    """
    labels = units_of(runs, unit)
    found = {int(source): np.unique(labels[runs.source == source]) for source in np.unique(runs.source)}
    for source, own in found.items():
        if len(own) < 2:
            alone = source < len(runs.pools)
            what = f"pool {runs.pools.names[source]}" if alone else f"mixture {source - len(runs.pools)}"
            raise InputError(
                f"{what} has one {unit.value}: {unit.value}-to-{unit.value} noise is not known; expected two or more "
                f"{unit.value}s of every pool and mixture"
            )
        if unit is Unit.SEED and len(own) != len(np.unique(labels)):
            raise InputError(f"seeds {own.tolist()} are not those of every pool: expected each seed at every pool")
    return found


def run_notes(runs: Runs, by: Unit | None) -> tuple[str, ...]:
    """What draws do not know of the noise between runs.

    Args:
        runs: the table.
        by: what they repeat as a whole; None: checkpoints, as if they were independent.
    """
    if not several_runs(runs):
        return ("run-to-run noise is not known: some pools have one run",)
    if by is None:
        return ("run-to-run noise is left out: checkpoints of a run were taken as independent",)
    return ()


def several_runs(runs: Runs) -> bool:
    """Has everything that was trained on two training runs or more."""
    labels = units_of(runs, Unit.RUN)
    return all(len(np.unique(labels[runs.source == source])) > 1 for source in np.unique(runs.source))
