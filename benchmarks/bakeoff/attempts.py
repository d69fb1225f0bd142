"""The log of attempts: a line for every time that a split of a table was scored."""

from __future__ import annotations

import csv
import datetime
import subprocess
from pathlib import Path

from qqtjax.bakeoff import Bakeoff

LOG = Path(__file__).with_name("attempts.csv")


def commit() -> str:
    """The commit that is checked out; with a + where files differ from it."""
    folder = Path(__file__).parent
    found = [
        subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False).stdout.strip()
        for words in (
            ("rev-parse", "--short", "HEAD"),
            ("status", "--porcelain", "--untracked-files=no", "../../qqtjax"),
        )
    ]
    return found[0] + "+" * bool(found[1])


def log(table: str, result: Bakeoff, why: str) -> None:
    """Add a line."""
    best = result.laws[0]
    row = [
        datetime.date.today().isoformat(), commit(), table, result.split, result.seed, len(result.laws), best,
        f"{result.score(best).mae:.4g}", why,
    ]  # fmt: skip
    with LOG.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerow(row)
