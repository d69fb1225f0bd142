"""One table: every law on every split, and on datablations the permutation test."""

from __future__ import annotations

import time
from typing import NamedTuple

from benchmarks.bakeoff import tables
from benchmarks.bakeoff.permutation import Test, permutation_test
from qqtjax.bakeoff import Bakeoff, bakeoff, default_contestants
from qqtjax.bakeoff.baselines import BASELINES

PERMUTATIONS = 999


class Done(NamedTuple):
    """One table's results, and the seconds that they took by the clock and of processor time."""

    table: tables.Table
    results: tuple[Bakeoff, ...]
    tests: dict[str, Test]
    seconds: float
    processor: float


def run(table: tables.Table, seed: int) -> Done:
    """Every split of one table."""
    began, used = time.perf_counter(), time.process_time()
    laws = (*default_contestants(), *BASELINES)
    results = tuple(bakeoff(table.runs, laws, split, seed=seed, starts=table.starts) for split in table.splits)
    tests = permutation_test(table.runs, PERMUTATIONS, seed) if table.name == "datablations" else {}
    return Done(table, results, tests, time.perf_counter() - began, time.process_time() - used)
