"""Train clean pools of seven sizes at three batch sizes, drawn three times: does the half-life grow with the pool?

A finished run is one small file in `benchmarks/theorem/runs/`: stop with Ctrl-C, start again, and only what is
missing is trained.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.wordclip import data
from benchmarks.wordclip.model import Config, Trainer
from benchmarks.wordclip.stored import environment, has_vectors, read, say, train_missing

RUNS = Path(__file__).parent / "runs"
TABLE = Path(__file__).parents[1] / "results" / "theorem_runs.csv"
SEED = 31_500  # draws the pools
SIZES = (2_500, 5_000, 10_000, 20_000, 40_000, 80_000, 160_000)
REFERENCE = 0  # stands for all words but the target
BATCHES = (16, 64, 256)
REDRAWS = range(3)
MOST_EPOCHS, MOST_SAMPLES = 16, 480_000
STRIDE = 2_560  # samples between two possible checkpoints: whole batches of every size
EXAMPLE = """example:
  python -m benchmarks.theorem.train                    # all runs, then benchmarks/results/theorem_runs.csv
  python -m benchmarks.theorem.train --batches 64"""


def configure(batch: int, scaled: bool) -> Config:
    """Settings of a batch size: learning rate and weight decay by its root, 1 - b2 and warm-up by itself."""
    ratio = batch / Config().batch_size
    root = ratio**0.5 if scaled else 1.0
    return Config(
        batch_size=batch,
        steps_per_quarter=STRIDE // batch,
        learning_rate=3e-3 * root,
        weight_decay=0.05 * root,
        b2=1 - 0.01 * ratio if scaled else 0.99,
        warmup_steps=round(20 / ratio),
    )


@cache
def trainer(batch: int, scaled: bool) -> Trainer:
    """The compiled training loop of a batch size."""
    return Trainer(configure(batch, scaled), data.load_vocabulary(), data.draw_targets()[0])


def draw_pool(size: int, redraw: int) -> data.Pool:
    """Clean pairs of any rank; pools of different sizes are drawn independently."""
    rng = np.random.default_rng([SEED, redraw, size])
    words = data.free_words(rng, 0, data.VOCABULARY, data.draw_targets()[0])
    words = words[:size] if size != REFERENCE else words
    return data.Pool(words, words)


@dataclass(frozen=True)
class Job:
    """One training run: a batch size, a pool size, a redraw (which is its seed too)."""

    batch: int
    size: int
    redraw: int
    scaled: bool = True

    @property
    def path(self) -> Path:
        """Where the finished run is stored."""
        kind = "" if self.scaled else ".unscaled"
        return RUNS / f"batch{self.batch}.size{self.size}.redraw{self.redraw}{kind}.json"

    @property
    def evaluated_at(self) -> list[int]:
        """Multiples of `STRIDE`: a grid with eight checkpoints for each doubling of the samples seen."""
        most = MOST_SAMPLES if self.size == REFERENCE else min(MOST_EPOCHS * self.size, MOST_SAMPLES)
        last = most // STRIDE
        grid = np.unique(np.round(2 ** np.arange(0, np.log2(last) + 1e-9, 1 / 8)).astype(int))
        return sorted({*grid.tolist(), last})

    def describe(self) -> dict:
        """What makes a run this run."""
        described = asdict(self) | {
            "config": asdict(configure(self.batch, self.scaled)),
            "evaluated_at": self.evaluated_at,
        }
        return json.loads(json.dumps(described))

    def train(self) -> dict:
        """Train on the pool, epoch by epoch."""
        loop, pool = trainer(self.batch, self.scaled), draw_pool(self.size, self.redraw)
        started = time.perf_counter()
        order = data.draw_order([len(pool.words)], [1.0], self.evaluated_at[-1] * STRIDE, self.redraw)
        checkpoints = loop.train(pool, order, self.evaluated_at, self.redraw)
        return {
            **self.describe(),
            "checkpoints": checkpoints,
            "environment": environment(),
            "seconds": round(time.perf_counter() - started, 2),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def all_jobs() -> list[Job]:
    """Every run; those of one compiled program stand together."""
    sizes = (*SIZES, REFERENCE)
    jobs = [Job(batch, size, redraw) for batch in BATCHES for redraw in REDRAWS for size in sizes]
    return jobs + [Job(batch, size, 0, False) for batch in BATCHES if batch != 64 for size in sizes]


def write_table(jobs: list[Job]) -> None:
    """One row a checkpoint."""
    rows = [
        {
            "batch": job.batch,
            "scaled": job.scaled,
            "pool_size": job.size or len(draw_pool(job.size, job.redraw).words),
            "reference": job.size == REFERENCE,
            "redraw": job.redraw,
            "samples_seen": checkpoint["samples_seen"],
            "error": f"{checkpoint['error']:.5g}",
        }
        for job in jobs
        if (run := read(job))
        for checkpoint in run["checkpoints"]
    ]
    pd.DataFrame(rows).to_csv(TABLE, index=False, lineterminator="\n")
    runs = [run for job in jobs if (run := read(job))]
    provenance = {
        "command": "python -m benchmarks.theorem.train",
        "runs": len(runs),
        "wall_time_seconds": round(sum(run["seconds"] for run in runs)),
        "first_run": min(run["date"] for run in runs),
        "last_run": max(run["date"] for run in runs),
        "environments": list({json.dumps(run["environment"]): run["environment"] for run in runs}.values()),
        "configs": {
            f"batch {job.batch}{'' if job.scaled else ', unscaled'}": asdict(configure(job.batch, job.scaled))
            for job in jobs
        },
    }
    TABLE.with_suffix(".json").write_text(json.dumps(provenance, indent=1) + "\n")
    say(f"wrote {TABLE.name}: {len(rows)} checkpoints")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.theorem.train",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--batches", nargs="+", type=int, choices=BATCHES, default=BATCHES)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="runs at a time, one core each")
    args = parser.parse_args(arguments)
    if args.processes < 1:
        parser.error(f"--processes {args.processes}: expected at least 1")
    if not has_vectors():
        return 2
    jobs = [job for job in all_jobs() if job.batch in args.batches]
    try:
        train_missing(jobs, args.processes)
    except KeyboardInterrupt:
        say("\nstopped; the same command goes on after the last finished run")
        return 130
    if {*args.batches} == {*BATCHES}:
        write_table(jobs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
