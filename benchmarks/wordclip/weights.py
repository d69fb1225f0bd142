"""Optimised weights: written down by `benchmarks.evidence.predict` before they are trained on."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from .settings import FAMILIES, Setting

# Checkpoints kept of a run on optimised weights: the budgets that weights are chosen for, up to its own.
BUDGET_QUARTERS = (16, 32, 64, 128)
WEIGHTS = Path(__file__).parents[1] / "evidence" / "weights.csv"


def optimised_settings(families: Iterable[str]) -> Iterator[tuple[Setting, int]]:
    """Each optimised mix with the redraw that it was optimised for, trained up to its budget."""
    if not WEIGHTS.exists():
        return
    with WEIGHTS.open(newline="") as file:
        for row in csv.DictReader(file):
            family, quarters = row["family"], 4 * int(row["units"])
            if family not in families:
                continue
            shares = [float(row[f"weight_{place}"]) for place in range(1, 6)]
            weights = {pool: share for pool, share in zip(FAMILIES[family], shares, strict=True) if share}
            name = f"{family}-{row['law']}-{row['units']}"
            upto = tuple(q for q in BUDGET_QUARTERS if q <= quarters)
            yield Setting(family, "optimised", name, weights, checkpoints=upto), int(row["redraw"])
