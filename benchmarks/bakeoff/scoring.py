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
    """One table's results."""

    table: tables.Table
    results: tuple[Bakeoff, ...]
    tests: dict[str, Test]
    seconds: float


def run(table: tables.Table, seed: int) -> Done:
    """Every split of one table."""
    began = time.perf_counter()
    laws = (*default_contestants(), *BASELINES)
    results = tuple(bakeoff(table.runs, laws, split, seed=seed) for split in table.splits)
    tests = permutation_test(table.runs, PERMUTATIONS, seed) if table.name == "datablations" else {}
    return Done(table, results, tests, time.perf_counter() - began)
