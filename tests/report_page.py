"""A small table with a hostile name, its report, and what `qqt plan` says of the same."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

import qqtjax as qqt
from qqtjax.cli.main import main

HOSTILE = "B</script><b>&\"'"
SIZES = {"A": 10e3, HOSTILE: 20e3, "C": 20e3}
EPOCHS = (0.25, 0.5, 1, 2, 4, 8)
MIX = {"A": 0.5, HOSTILE: 0.3, "C": 0.2}
BUDGETS = "10k,20k,40k,80k"
OPTIONS = ("--budgets", BUDGETS, "--starts", "4", "--draws", "40", "--seed", "3")
# Options of `qqt plan` that plan for the same pools.
PRESETS = {
    "as measured": (),
    "half of the best pool": ("--sizes", "A=5k"),
    "twice the best pool": ("--sizes", "A=20k"),
    "ten times everything": ("--sizes", f"A=100k,{HOSTILE}=200k,C=200k"),
}


def truth() -> qqt.FittedLaw:
    """The law that the table comes from."""
    params = qqt.laws.UtilityParams(
        scale=1e3,
        floor=0.05,
        utility=np.array([-0.3, -0.2, -0.1]),
        half_life=np.array([3.0, 6.0, 6.0]),
        reference_size=np.array(list(SIZES.values())),
    )
    return qqt.FittedLaw(qqt.laws.utility, params, qqt.Pools.of(SIZES))


def write_runs(path: Path) -> None:
    """Errors of the truth with noise: three pools alone, two runs each, and a mixture."""
    law = truth()
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["pool", "pool_size", "samples_seen", "error", "run", *(f"weight_{name}" for name in SIZES)])
        for run in (1, 2):
            for name, size in SIZES.items():
                for epoch in EPOCHS:
                    error = float(law.predict({name: 1}, epoch * size)) + rng.normal(0, 0.004)
                    out.writerow([name, f"{size:g}", f"{epoch * size:g}", f"{error:.6f}", f"{name} {run}", "", "", ""])
            for epoch in EPOCHS:
                error = float(law.predict(MIX, epoch * 20e3)) + rng.normal(0, 0.004)
                out.writerow(["", "", f"{epoch * 20e3:g}", f"{error:.6f}", f"mixture {run}", *MIX.values()])


def typed(*words: str | Path) -> Any:
    """The JSON document that a command prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        main([str(word) for word in words])
    return json.loads(said.getvalue())


def made(folder: Path, *more: str) -> tuple[Path, Any]:
    """A report in a folder: the page and the JSON document beside it."""
    write_runs(folder / "runs.csv")
    page = folder / "report.html"
    question = ("--max-epochs", "1.5", "--laws", "", "--date", "1 May 2026")
    return page, typed("report", folder / "runs.csv", *OPTIONS, *question, *more, "-o", page, "--json")


def planned(folder: Path, preset: str) -> Any:
    """What `qqt plan --json` says for the sizes of a preset."""
    return typed("plan", folder / "runs.csv", *OPTIONS, *PRESETS[preset], "--json")
