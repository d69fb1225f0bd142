"""Sweeps: 10^8 predictions through one command against the kernel alone, and best mixes over budgets and draws.

    python -m benchmarks.sweep_speed

The command runs as a user types it, a new process, and is charged for all of it; the same sweep is timed in this
process too, compilation apart. The kernel's own rate is that of the same compiled block on arrays that are there
already.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import qqtjax as qqt
from benchmarks.record import write
from qqtjax.laws import UtilityParams
from qqtjax.runs import Pools
from qqtjax.sweep import blocks
from qqtjax.sweep.evaluate import errors
from qqtjax.sweep.grid import grid_of

PAPER = qqt.published("datacomp-tmars").utility
STEP, BUDGETS = 0.05, 56_465  # 1,771 mixes: 10^8 points
REPEATS = 5
ASKED = {"reduce": 0.8, "write": 0.5, "memory": 1.5, "solves": 60.0}
POOLS, SOLVES, MANY_SOLVES = 16, (1000, 100), (10_000, 100)
COMMAND = ["sweep", "--published", "datacomp-tmars", "--weights", f"simplex:{STEP}", "--dtype", "float32"]


def clock(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Warm median seconds."""
    jax.block_until_ready(work())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(work())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def kernel_rate() -> float:
    """Predictions a second of one block, again and again, on arrays that are on the device."""
    grid = grid_of(PAPER, np.geomspace(1e7, 1e10, BUDGETS), qqt.Simplex(STEP), None, False, None, None, 0, False)
    cut = errors(grid, "float32", 2**30).tiling
    mesh = blocks.devices()
    places = np.arange(cut.row_block)
    rows = grid.rows(np.zeros_like(places), np.zeros_like(places), places)
    rows = jax.tree.map(lambda leaf: np.float32(leaf)[None], rows)
    arguments = jax.device_put((rows, np.float32(grid.weights(np.arange(cut.column_block)))))
    seconds = clock(lambda: [blocks.predicted(mesh, PAPER.law, None, *arguments) for _ in range(20)])
    return 20 * cut.row_block * cut.column_block / seconds


def command(budgets: int, *more: str) -> tuple[float, float]:
    """Seconds and peak memory, in GB, of one command."""
    words = [sys.executable, "-m", "qqtjax.cli", *COMMAND, "--budgets", f"10M:10B:log:{budgets}", *more]
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} ended with {status}")
    return time.perf_counter() - start, used.ru_maxrss * resource_unit() / 1e9


def in_process(**more: Any) -> float:
    """Seconds of the same sweep in this process, warm."""
    ask = {"budgets": np.geomspace(1e7, 1e10, BUDGETS), "weights": qqt.Simplex(STEP), "dtype": "float32", **more}
    start = time.perf_counter()
    qqt.sweep(PAPER, **ask)
    return time.perf_counter() - start


def resource_unit() -> int:
    """Bytes of one unit of ru_maxrss."""
    return 1 if sys.platform == "darwin" else 1024


def commands() -> dict[str, Any]:
    """10^8 predictions, kept as the best of each budget and written whole; the kernel before and after."""
    points = BUDGETS * qqt.Simplex(STEP).count(len(PAPER.pools))
    found: dict[str, Any] = {"points": points}
    rates = [kernel_rate()]
    with tempfile.TemporaryDirectory() as folder:
        for name, more, reduce in (("reduce", ("--reduce", "best"), qqt.TopK(1)), ("write", (), None)):
            runs, warm = [], []
            for repeat in range(3):
                runs.append(command(BUDGETS, *more, "-o", str(Path(folder, f"{name}{repeat}"))))
                rates.append(kernel_rate())
                warm.append(in_process(reduce=reduce, out=Path(folder, f"{name}-warm{repeat}")))
                rates.append(kernel_rate())
            found[name] = {
                "command_seconds": statistics.median(each for each, _ in runs),
                "peak_gb": max(peak for _, peak in runs),
                "warm_seconds": statistics.median(warm),
            }
    found["kernel_rate"] = statistics.median(rates)
    for each in (found["reduce"], found["write"]):
        each["command_ratio"] = points / each["command_seconds"] / found["kernel_rate"]
        each["ratio"] = points / each["warm_seconds"] / found["kernel_rate"]
    return found


def sixteen(draws: int) -> tuple[qqt.FittedLaw, UtilityParams]:
    """16 pools and parameters scattered around theirs."""
    rng = np.random.default_rng(0)
    sizes = 10 ** rng.uniform(6, 8.5, POOLS)
    utility = -np.sort(rng.uniform(0.05, 0.2, POOLS))[::-1]
    half_life = rng.uniform(2, 20, POOLS)
    params = UtilityParams(scale=4e6, floor=0.1, utility=utility, half_life=half_life, reference_size=sizes)
    fitted = qqt.FittedLaw(qqt.laws.utility, params, Pools(tuple(f"p{place}" for place in range(POOLS)), sizes))
    scattered = UtilityParams(
        scale=4e6 * np.exp(0.2 * rng.normal(size=draws)),
        floor=rng.uniform(0.05, 0.15, draws),
        utility=utility * np.exp(0.1 * rng.normal(size=(draws, POOLS))),
        half_life=half_life * np.exp(0.3 * rng.normal(size=(draws, POOLS))),
        reference_size=np.tile(sizes, (draws, 1)),
        dilution=np.ones(draws),
        amplitude=np.ones(draws),
    )
    return fitted, scattered


def best_mixes(draws: int, budgets: int) -> dict[str, Any]:
    """The best mix of every budget under every draw, with its certificate."""
    fitted, scattered = sixteen(draws)
    ask = {"budgets": np.geomspace(1e7, 1e11, budgets), "optimize": True}
    few = jax.tree.map(lambda leaf: leaf[:20], scattered)
    qqt.sweep(fitted, draws=few, **ask)  # compiles
    start = time.perf_counter()
    found = qqt.sweep(fitted, draws=scattered, **ask)
    seconds = time.perf_counter() - start
    count = found.error.size
    drawn = float(np.mean(np.sum(found.weights > 1e-9, axis=-1)))
    return {
        "solves": count,
        "seconds": seconds,
        "rate": count / seconds,
        "worst_gap": float(found.gap.max()),
        "pools_drawn": drawn,
    }


def main() -> None:
    """Measure and write the page."""
    through = commands()
    solves = [best_mixes(*SOLVES), best_mixes(*MANY_SOLVES)]
    lines = "\n".join(
        f"| {label} | {through[name]['warm_seconds']:.1f} | {through[name]['ratio']:.2f} | {ASKED[name]} | "
        f"{through[name]['command_seconds']:.1f} | {through[name]['command_ratio']:.2f} | "
        f"{through[name]['peak_gb']:.2f} |"
        for name, label in (("reduce", "`--reduce best`"), ("write", "all errors to float32 Parquet"))
    )
    mixes = "\n".join(
        f"| {each['solves']:,} | {each['seconds']:.1f} | {each['rate']:,.0f} | {each['worst_gap']:.1e} | "
        f"{each['pools_drawn']:.1f} |"
        for each in solves
    )
    page = f"""# Speed of sweeps

## {through["points"]:,} predictions through one command

Four published pools, float32, {BUDGETS:,} budgets x 1,771 mixes, medians of 3. The kernel alone, a block on arrays
that are there already, does {through["kernel_rate"] / 1e6:.1f} million predictions a second (median of {1 + 2 * 2 * 3}
looks in between). "Warm" is `qqtjax.sweep` in a process that has compiled it; the whole command counts its start, its
compilation and the reading of its constants. Peak memory is the command's (asked: {ASKED["memory"]} GB).

| kept | warm, s | of the kernel's rate | asked | whole command, s | of the kernel's rate | peak memory, GB |
|---|---|---|---|---|---|---|
{lines}

## Best mixes over budgets and parameter draws

{POOLS} pools, float64, each with its certificate; compilation apart. Asked: 10^5 in at most {ASKED["solves"]:.0f} s.

| solves | seconds | a second | worst gap, in error | pools in the best mix, on average |
|---|---|---|---|---|
{mixes}
"""
    write("sweep_speed", "python -m benchmarks.sweep_speed", {"through": through, "solves": solves}, page)


if __name__ == "__main__":
    main()
