"""Laws against each other on every public table, and on the word-CLIP runs that come with qqtjax.

    QQTJAX_DATA=... python -m benchmarks.bakeoff [--why "..."] [--seed 1] [--only datablations] [--work FOLDER]

Two tables at a time, in processes of their own; about a core each. Without QQTJAX_DATA: the word-CLIP runs alone. A run
of everything writes `results/bakeoff.{md,json}`; every run adds to `attempts.csv`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks import record
from benchmarks.bakeoff import page, tables
from benchmarks.bakeoff.attempts import log
from benchmarks.bakeoff.scoring import PERMUTATIONS, run
from qqtjax.bakeoff import Bakeoff, parse_split
from qqtjax.plain import to_plain

# The tables that take longest first, so that two processes end together.
LONGEST = ("datablations", "slimpajama", "regmix", "mixinglaws 3Mix", "mixinglaws 2Mix", "openclip")


def main() -> None:
    """Score all tables and write the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--why", default="")
    options.add_argument("--only", nargs="*", default=(), help="names of tables; nothing is written but the log")
    options.add_argument("--finished", action="store_true", help="write the page of the tables that --work holds")
    options.add_argument("--work", type=Path, help="folder that keeps finished tables, to go on from")
    asked = options.parse_args()
    folder = os.environ.get("QQTJAX_DATA")
    wanted = (*(tables.public(Path(folder)) if folder else ()), *tables.embedded())
    wanted = [each for each in wanted if not asked.only or each.name in asked.only]
    if asked.work:
        asked.work.mkdir(parents=True, exist_ok=True)
    missing = []
    if asked.finished:
        missing = [each.name for each in wanted if not (asked.work / f"{each.name}.json").exists()]
        wanted = [each for each in wanted if each.name not in missing]
    first = sorted(wanted, key=lambda each: LONGEST.index(each.name) if each.name in LONGEST else len(LONGEST))
    resumed = asked.work is not None and any(asked.work.iterdir())
    began = time.perf_counter()
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(run, table, asked.seed, asked.work) for table in first]
        done = {}
        for each in waiting:
            found = each.result()
            done[found.table.name] = found
            print(f"{found.table.name}: {found.seconds:.0f} s, {found.processor:.0f} s of processor", flush=True)
    seconds = np.nan if resumed else time.perf_counter() - began
    processor = sum(each.processor for each in done.values())
    ordered = [done[each.name] for each in wanted]
    sections, figures = [], {"seconds": seconds, "processor_seconds": processor, "tables": {}}
    for table, results, tests, took, used, kept in ordered:
        figures["tables"][table.name] = {"seconds": took, "processor_seconds": used}
        for result in results:
            if not kept:
                log(table.name, result, asked.why)
            marks = {str(parse_split(split)): known for split, known in table.marks.items()}
            sections.append(page.section(table.name, table.about, result, marks.get(result.split, {})))
            figures["tables"][table.name][result.split] = {
                "held_out": result.checkpoints[1],
                "scores": [each._asdict() for each in result.scores],
                "left_out": result.left_out,
                "weights": result.weights,
            }
        if tests:
            sections.append(page.permutation_section(tests, PERMUTATIONS))
            figures["permutation"] = {
                name: {"blind": test.blind, "law": test.law, "p": test.p, "largest": float(test.permuted.max())}
                for name, test in tests.items()
            }
        if table.name == "openclip":
            (each_run,) = (result for result in results if result.split == "runs:each")
            sections.append(page.capacity_section(each_run, architectures(table, each_run)))
    text = page.whole([(each.table, each.results) for each in ordered], sections, (seconds, processor), asked.seed)
    if missing:
        text += f"\nNot run, for want of time: {', '.join(missing)}.\n"
    if asked.only:
        print(text)
    else:
        record.write("bakeoff", "QQTJAX_DATA=... python -m benchmarks.bakeoff", to_plain(figures), text)


def architectures(table: tables.Table, result: Bakeoff) -> np.ndarray:
    """`[H]` name of the architecture of each held-out run."""
    names = [table.runs.run_names[run] for run in table.runs.run[result.rows]]
    return np.array([name.split("_")[0].removeprefix("Model-") for name in names])


if __name__ == "__main__":
    main()
