"""Train every run of the word-CLIP testbed and write the table of its errors.

A finished run is one small file in `benchmarks/wordclip/runs/`; a run that has its file is not made again, so
the command can be stopped and started at any time.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from . import data
from .data import Pool, Vocabulary, draw_order
from .model import Config, Trainer
from .settings import FAMILIES, REDRAWS, SEEDS, THIRD_SEED, THIRD_SEED_REDRAWS, Setting, all_settings
from .stored import environment, has_vectors, read, say, train_missing
from .table import write_table
from .weights import optimised_settings

RUNS = Path(__file__).parent / "runs"
SHIPPED = Path(__file__).parents[2] / "qqtjax" / "data"
ROLES = ("single", "fresh", "mixture", "optimised")
EXAMPLE = """example:
  python -m benchmarks.wordclip.train                             # all runs, then the table in qqtjax/data
  python -m benchmarks.wordclip.train --families V --roles single fresh
  python -m benchmarks.wordclip.train --table-only                # the table again, from the finished runs"""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wordclip.train",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--roles", nargs="+", choices=ROLES, default=ROLES, help="default: all of them")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="runs at a time, one core each; default: all cores"
    )
    parser.add_argument("--table-only", action="store_true", help="train nothing; use the finished runs")
    parser.add_argument(
        "--output", type=Path, help="folder for the table; default: qqtjax/data, and no table for a part of the runs"
    )
    parsed = parser.parse_args(arguments)
    if parsed.processes < 1:
        parser.error(f"--processes {parsed.processes}: expected at least 1")
    return parsed


@cache
def vocabulary() -> Vocabulary:
    """The words, once a process."""
    return data.load_vocabulary()


@lru_cache(maxsize=4)
def drawn_pools(vague: bool, redraw: int) -> dict[str, Pool]:
    """The pools of family V, or of C and R, in one redraw."""
    return data.draw_vague_pools(vocabulary().vectors, redraw) if vague else data.draw_pools(redraw)


def is_vague(family: str) -> bool:
    """Family V has its own target."""
    return family == "V"


@cache
def trainer(vague: bool) -> Trainer:
    """The compiled training loop for one target."""
    return Trainer(Config(), vocabulary(), data.draw_targets()[vague])


@cache
def digest(family: str, redraw: int) -> str:
    """Digest of the target words and of every pair of every pool that the family's redraw could use."""
    vague = is_vague(family)
    pools = drawn_pools(vague, redraw).values()
    arrays = [data.draw_targets()[vague], *(array for pool in pools for array in (pool.words, pool.vectors))]
    return hashlib.sha256(b"".join(array.astype("<i4").tobytes() for array in arrays)).hexdigest()


@dataclass(frozen=True)
class Job:
    """One training run: a setting, a redraw of the pools and a seed."""

    setting: Setting
    redraw: int
    seed: int

    @property
    def path(self) -> Path:
        """Where the finished run is stored."""
        return RUNS / f"{self.setting.name}.redraw{self.redraw}.seed{self.seed}.json"

    def describe(self) -> dict:
        """What makes a run this run: a stored one with another description is made again."""
        described = asdict(self.setting) | {
            "redraw": self.redraw,
            "seed": self.seed,
            "config": asdict(Config()),
            "drawn": digest(self.setting.family, self.redraw),
        }
        described["evaluated_at"] = described.pop("checkpoints")
        return json.loads(json.dumps(described))

    def train(self) -> dict:
        """Train one setting with one seed. A subsampled pool is its first pairs; pools are in random order."""
        setting = self.setting
        pools, loop = drawn_pools(is_vague(setting.family), self.redraw), trainer(is_vague(setting.family))
        sizes = {name: round(setting.subsample * len(pools[name].words)) for name in setting.weights}
        union = Pool(
            np.concatenate([pools[name].words[:size] for name, size in sizes.items()]),
            np.concatenate([pools[name].vectors[:size] for name, size in sizes.items()]),
        )
        quarter = loop.config.steps_per_quarter * loop.config.batch_size
        quarters = [q for q in setting.checkpoints if setting.role != "fresh" or q * quarter <= len(union.words)]
        started = time.perf_counter()
        samples = quarters[-1] * quarter
        order = draw_order(list(sizes.values()), list(setting.weights.values()), samples, self.seed)
        checkpoints = loop.train(union, order, quarters, self.seed)
        return {
            **self.describe(),
            "checkpoints": checkpoints,
            "environment": environment(),
            "seconds": round(time.perf_counter() - started, 2),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def all_jobs(families: Sequence[str], roles: Sequence[str]) -> list[Job]:
    """Every run: what shares compiled programs and pools stands together."""
    jobs = []
    for setting in all_settings(families):
        for redraw in REDRAWS[setting.family]:
            third = setting.is_option and redraw in THIRD_SEED_REDRAWS
            jobs += [Job(setting, redraw, seed) for seed in (*SEEDS, *([THIRD_SEED] if third else []))]
    for setting, redraw in optimised_settings(families):
        jobs += [Job(setting, redraw, seed) for seed in (*SEEDS, THIRD_SEED)]
    jobs = [job for job in jobs if job.setting.role in roles]
    return sorted(jobs, key=lambda job: (is_vague(job.setting.family), job.redraw))


def main(arguments: list[str] | None = None) -> int:
    args = parse_arguments(arguments)
    if not has_vectors():
        return 2
    jobs = all_jobs(args.families, args.roles)
    if not args.table_only:
        try:
            train_missing(jobs, args.processes)
        except KeyboardInterrupt:
            say("\nstopped; the same command goes on after the last finished run")
            return 130
    runs = [run for job in jobs if (run := read(job))]
    if not runs:
        say("no finished runs, so no table")
        return 2
    whole = len(runs) == len(jobs) and {*FAMILIES} <= {*args.families} and {*ROLES} <= {*args.roles}
    folder = args.output or (SHIPPED if whole else None)
    if folder is None:
        say(f"{len(runs)} finished runs are only a part of all, so no table; --output FOLDER writes one")
        return 2 if args.table_only else 0
    path = write_table(runs, folder)
    say(f"wrote {path} and {path.with_suffix('.json').name}: {len(runs)} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
