"""Train the real model on every pool alone, and on what each rule and the plan keep.

    python -m benchmarks.circle.train --roles pool
    python -m benchmarks.circle.predict          # chooses, predicts; commit its files before going on
    python -m benchmarks.circle.train

A finished run is one small file in `benchmarks/circle/runs/`: stop with Ctrl-C, start again, and only what is
missing is trained.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.circle import rules
from benchmarks.circle.raw import REDRAWS
from benchmarks.circle.scores import trainer
from benchmarks.wordclip.data import Pool, draw_order
from benchmarks.wordclip.model import Config
from benchmarks.wordclip.stored import environment, has_vectors, read, say, train_missing

TABLE = Path(__file__).parents[1] / "results" / "circle_runs.csv"
ROLES = ("pool", "rule", "plan", "later")
SEEDS = {"pool": (0, 1), "rule": (0, 1, 2), "plan": (0, 1, 2), "later": (0, 1, 2)}
QUARTERS = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128)
UNIT = 4 * Config().steps_per_quarter * Config().batch_size
BUDGETS = (8, 16, 32)  # units of 9,984 samples


def plan_name(units: int) -> str:
    """The plan for a budget."""
    return f"plan for {units}"


@dataclass(frozen=True)
class Job:
    """One training run: what is trained on, in which redraw, with which seed."""

    role: str
    name: str
    redraw: int
    seed: int

    @property
    def path(self) -> Path:
        """Where the finished run is stored."""
        name = self.name.replace(", ", "-").replace(" ", "-")
        return rules.RUNS / f"{self.role}.{name}.redraw{self.redraw}.seed{self.seed}.json"

    @property
    def choice(self) -> rules.Choice:
        """The rows that it draws from."""
        made = {"pool": rules.pool_choices, "later": rules.later_choices}.get(self.role, rules.choices)
        return made(self.redraw)[self.name]

    @property
    def quarters(self) -> tuple[int, ...]:
        """Where it is evaluated: a plan up to its budget."""
        last = 4 * int(self.name.split()[-1]) if self.role == "plan" else QUARTERS[-1]
        return tuple(each for each in QUARTERS if each <= last)

    def describe(self) -> dict:
        """What makes a run this run."""
        described = asdict(self) | {
            "config": asdict(Config()),
            "evaluated_at": self.quarters,
            "digest": self.choice.digest,
        }
        return json.loads(json.dumps(described))

    def train(self) -> dict:
        """Train on the rows, part by part at its weight, each gone through epoch by epoch."""
        started = time.perf_counter()
        heap, choice = rules.raw(self.redraw).heap, self.choice
        rows = np.concatenate(choice.parts)
        samples = self.quarters[-1] * UNIT // 4
        order = draw_order([len(part) for part in choice.parts], list(choice.weights), samples, self.seed)
        checkpoints = trainer().train(Pool(heap.words[rows], heap.vectors[rows]), order, self.quarters, self.seed)
        return {
            **self.describe(),
            "checkpoints": checkpoints,
            "environment": environment(),
            "seconds": round(time.perf_counter() - started, 2),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def all_jobs(roles: tuple[str, ...] | list[str]) -> list[Job]:
    """Every run; a redraw is finished before the next."""
    names = {"pool": rules.POOLS, "rule": rules.RULES, "plan": tuple(map(plan_name, BUDGETS))}
    names["later"] = (rules.LATER,)
    return [
        Job(role, name, redraw, seed)
        for redraw in REDRAWS
        for role in roles
        for seed in SEEDS[role]
        for name in names[role]
    ]


def write_table() -> None:
    """One row a checkpoint of every finished run, and when and on what they were trained."""
    found = [(job, run) for job in all_jobs(ROLES) if (run := read(job))]
    rows = [
        {
            **asdict(job),
            "samples_seen": checkpoint["samples_seen"],
            "error": f"{checkpoint['error']:.5g}",
        }
        for job, run in found
        for checkpoint in run["checkpoints"]
    ]
    pd.DataFrame(rows).to_csv(TABLE, index=False, lineterminator="\n")
    dates: dict[str, list[str]] = {}
    for job, run in found:
        dates.setdefault(job.role, []).append(run["date"])
    provenance = {
        "command": "python -m benchmarks.circle.train",
        "runs": len(found),
        "training_seconds": round(sum(run["seconds"] for _, run in found)),
        "trained": {role: {"first": min(each), "last": max(each)} for role, each in dates.items()},
        "environments": list({json.dumps(run["environment"]): run["environment"] for _, run in found}.values()),
        "config": asdict(Config()),
    }
    TABLE.with_suffix(".json").write_text(json.dumps(provenance, indent=1) + "\n")
    say(f"wrote {TABLE.name}: {len(rows)} checkpoints of {len(found)} runs")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.circle.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--roles", nargs="+", choices=ROLES, default=ROLES)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="runs at a time, one core each")
    args = parser.parse_args(arguments)
    if args.processes < 1:
        parser.error(f"--processes {args.processes}: expected at least 1")
    if not has_vectors():
        return 2
    for redraw in REDRAWS:
        # Here, so that workers only read them.
        say(f"redraw {redraw}: scored in {sum(rules.scored(redraw).seconds.values()):.0f} s")
    try:
        train_missing(all_jobs(args.roles), args.processes)
    except KeyboardInterrupt:
        say("\nstopped; the same command goes on after the last finished run")
        return 130
    if {*args.roles} == {*ROLES}:
        write_table()
    return 0


if __name__ == "__main__":
    sys.exit(main())
