"""One table: every law on every split, and on datablations the permutation test."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.bakeoff import tables
from benchmarks.bakeoff.permutation import Test, permutation_test
from qqtjax.bakeoff import Bakeoff, bakeoff, default_contestants, load_bakeoff
from qqtjax.bakeoff.baselines import BASELINES

PERMUTATIONS = 999


class Done(NamedTuple):
    """One table's results, the seconds that they took by the clock and of processor time, and were they kept."""

    table: tables.Table
    results: tuple[Bakeoff, ...]
    tests: dict[str, Test]
    seconds: float
    processor: float
    kept: bool = False


def run(table: tables.Table, seed: int, work: Path | None) -> Done:
    """Every split of one table; what the folder `work` holds is not done again."""
    if work is not None and (kept := _load(table, work)):
        return kept
    began, used = time.perf_counter(), time.process_time()
    laws = (*default_contestants(), *BASELINES)
    found = (
        bakeoff(table.runs, laws, split, seed=seed, starts=table.starts, huber=table.huber) for split in table.splits
    )
    # Between processes goes what a file holds.
    results = tuple(dataclasses.replace(each, models={}) for each in found)
    tests = permutation_test(table.runs, PERMUTATIONS, seed) if table.name == "datablations" else {}
    done = Done(table, results, tests, time.perf_counter() - began, time.process_time() - used)
    if work is not None:
        _save(done, work)
    return done


def _save(done: Done, work: Path) -> None:
    for place, result in enumerate(done.results):
        (work / f"{done.table.name}.{place}.json").write_text(json.dumps(result.to_dict()))
    tests = {name: test._asdict() | {"permuted": test.permuted.tolist()} for name, test in done.tests.items()}
    # Last, so that a table without this file is done again.
    end = {"tests": tests, "seconds": done.seconds, "processor": done.processor}
    (work / f"{done.table.name}.json").write_text(json.dumps(end))


def _load(table: tables.Table, work: Path) -> Done | None:
    end = work / f"{table.name}.json"
    if not end.exists():
        return None
    found = json.loads(end.read_text())
    results = tuple(load_bakeoff(work / f"{table.name}.{place}.json") for place in range(len(table.splits)))
    tests = {name: Test(**{**each, "permuted": np.array(each["permuted"])}) for name, each in found["tests"].items()}
    return Done(table, results, tests, found["seconds"], found["processor"], kept=True)
