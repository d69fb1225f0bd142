"""The same programs on an accelerator and on the processor beside it: predictions, fits, best mixes, sweeps.

    python -m benchmarks.devices
    python -m benchmarks.devices --small     # a quicker look

On a machine with an accelerator this runs on it and then, in a process of its own, on the CPU; without one on the CPU
alone. Every figure is warm, the median of several, compilation apart; the answers of the two are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import qqtjax as qqt
from benchmarks import record
from benchmarks.fit_many import STARTS, table
from benchmarks.predict_speed import EPOCHS, POOLS, problem, value, value_and_gradient
from benchmarks.sweep_speed import PAPER, sixteen
from qqtjax.laws.law import wide

REPEATS = 5


class Sizes(NamedTuple):
    """How much of everything."""

    predictions: tuple[int, ...]
    bootstraps: int
    widths: tuple[int, ...]
    solves: tuple[tuple[int, int], ...]
    budgets: int
    step: float


FULL = Sizes((1 << 16, 1 << 20, 1 << 24), 1000, (8192, 32768), ((1000, 100), (10_000, 100)), 56_465, 0.05)
# A million best mixes take minutes on a CPU: `benchmarks/sweep_speed.py` times them there.
BESIDE = FULL._replace(solves=FULL.solves[:1])
SMALL = Sizes((1 << 12,), 10, (256,), ((10, 10),), 100, 0.2)


def clock(call: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, float, Any]:
    """Seconds of the first call, median seconds of the warm ones, the last result."""
    start = time.perf_counter()
    result = jax.block_until_ready(call())
    first, warm = time.perf_counter() - start, []
    for _ in range(repeats):
        start = time.perf_counter()
        result = jax.block_until_ready(call())
        warm.append(time.perf_counter() - start)
    return first, statistics.median(warm), result


def predictions(sizes: Sizes) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Value, and value and gradient, at several numbers of runs in one call."""
    rows, answers = [], {}
    for dtype in (np.float32, np.float64):
        name = np.dtype(dtype).name
        with jax.enable_x64(dtype is np.float64):
            for points in sizes.predictions:
                given = problem(dtype, *EPOCHS, points)
                for what, function in (("value", value), ("value and gradient", value_and_gradient)):
                    start = time.perf_counter()
                    lowered = jax.jit(function, compiler_options=wide(jax.default_backend())).lower(*given)
                    program = lowered.compile()
                    compiled = time.perf_counter() - start
                    _, seconds, found = clock(lambda program=program, given=given: program(*given))
                    if what == "value" and points == sizes.predictions[0]:
                        answers[f"predictions in {name}"] = np.asarray(found)
                    row = {"dtype": name, "points": points, "what": what, "ns": seconds * 1e9 / points}
                    rows.append(row | {"compile_seconds": compiled})
    return rows, answers


def fits(sizes: Sizes) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Joint fits of 16 pools, every bootstrap from 64 starts."""
    exact, errors = table(sizes.bootstraps)
    rows, answers = [], {}
    on_cpu = jax.default_backend() == "cpu"
    for width in (None,) if on_cpu else sizes.widths:
        ask = {"starts": STARTS, "width": width}
        first, seconds, found = clock(lambda ask=ask: qqt.fit_many(exact, errors=errors, **ask), 3)
        answers["objectives of fits"] = found.objective
        row = {"lanes": len(errors) * STARTS, "width": width, "first": first, "seconds": seconds}
        rows.append(row | {"converged": float(found.converged.mean())})
    return rows, answers


def mixes(sizes: Sizes) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """The best mix of 16 pools at every budget under every draw."""
    rows, answers = [], {}
    for draws, budgets in sizes.solves:
        fitted, scattered = sixteen(draws)
        ask = {"budgets": np.geomspace(1e7, 1e11, budgets), "optimize": True, "draws": scattered}
        first, seconds, found = clock(lambda ask=ask, fitted=fitted: qqt.sweep(fitted, **ask), 1)
        answers.setdefault("errors of best mixes", found.error.ravel())
        row = {"solves": found.error.size, "first": first, "seconds": seconds}
        rows.append(row | {"worst_gap": float(found.gap.max())})
    return rows, answers


def sweeps(sizes: Sizes) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """The best of all mixes at every budget, kept on the device."""
    rows, answers = [], {}
    budgets, weights = np.geomspace(1e7, 1e10, sizes.budgets), qqt.Simplex(sizes.step)
    points = sizes.budgets * weights.count(len(PAPER.pools))
    for dtype in ("float32", "float64"):
        ask = {"budgets": budgets, "weights": weights, "dtype": dtype, "reduce": qqt.TopK(1)}
        first, seconds, found = clock(lambda ask=ask: qqt.sweep(PAPER, **ask), 3)
        answers[f"best of a sweep in {dtype}"] = found.error.ravel()
        rows.append({"points": points, "dtype": dtype, "first": first, "seconds": seconds})
    return rows, answers


PARTS = {"predictions": predictions, "fits": fits, "mixes": mixes, "sweeps": sweeps}


def here(sizes: Sizes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Everything on the device that JAX finds."""
    figures: dict[str, Any] = {"device": str(jax.devices()[0].device_kind), "cores": os.cpu_count()}
    answers: dict[str, np.ndarray] = {}
    for name, part in PARTS.items():
        figures[name], found = part(sizes)
        answers |= found
        print(figures["device"], name, json.dumps(figures[name]), file=sys.stderr, flush=True)
    return figures, answers


def on_cpu(small: bool) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The same in a new process that sees no accelerator."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "benchmarks.devices", "--into", folder, *(["--small"] if small else [])]
        subprocess.run(words, check=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})
        figures = json.loads(Path(folder, "figures.json").read_text())
        with np.load(Path(folder, "answers.npz")) as stored:
            return figures, dict(stored)


def lines(ran: list[dict[str, Any]]) -> dict[str, str]:
    """The rows of each table, one block of rows a device."""
    told: dict[str, list[str]] = {name: [] for name in PARTS}
    for each in ran:
        device = each["device"] if each["device"] != "cpu" else f"CPU, {each['cores']} cores"
        for row in each["predictions"]:
            cells = row["dtype"], row["what"], f"{row['points']:,}", f"{row['ns']:.3g}", f"{row['compile_seconds']:.1f}"
            told["predictions"].append(" | ".join((device, *cells)))
        for row in each["fits"]:
            width = "default" if row["width"] is None else f"{row['width']:,}"
            cells = f"{row['lanes']:,}", width, f"{row['seconds']:.2f}", f"{row['lanes'] / row['seconds']:,.0f}"
            told["fits"].append(" | ".join((device, *cells, f"{row['first']:.1f}", f"{row['converged']:.2%}")))
        for row in each["mixes"]:
            cells = f"{row['solves']:,}", f"{row['seconds']:.2f}", f"{row['solves'] / row['seconds']:,.0f}"
            told["mixes"].append(" | ".join((device, *cells, f"{row['first']:.1f}", f"{row['worst_gap']:.1e}")))
        for row in each["sweeps"]:
            rate = f"{row['points'] / row['seconds'] / 1e6:,.0f}"
            cells = row["dtype"], f"{row['points']:,}", f"{row['seconds']:.2f}", rate, f"{row['first']:.1f}"
            told["sweeps"].append(" | ".join((device, *cells)))
    return {name: "\n".join(f"| {row} |" for row in rows) for name, rows in told.items()}


def agreement(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest difference of every answer, relative to it."""
    return {name: float(np.max(np.abs(first[name] / second[name] - 1))) for name in first}


def main() -> None:
    """Run everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    figures, answers = here(SMALL if arguments.small else BESIDE if arguments.into else FULL)
    if arguments.into:
        (arguments.into / "figures.json").write_text(json.dumps(figures))
        np.savez(arguments.into / "answers.npz", **answers)  # pyright: ignore[reportArgumentType]
        return
    ran, gaps = [figures], {}
    if jax.default_backend() != "cpu":
        beside, theirs = on_cpu(arguments.small)
        ran.append(beside)
        gaps = agreement(answers, theirs)
    told = lines(ran)
    agree = "\n".join(f"| {name} | {gap:.1e} |" for name, gap in gaps.items())
    compared = f"""
## Do they agree?

Largest relative difference between the answers of the accelerator and of the CPU.

| answer | difference |
|---|---|
{agree}
"""
    page = f"""# The same programs on several devices

Warm medians of {REPEATS} (predictions), 3 (fits, sweeps) and 1 (best mixes); the first call counts compilation.

## Predictions

`laws.utility`, closed form, mixtures of {POOLS} pools, {EPOCHS[0]:g} to {EPOCHS[1]:g} epochs of each, the arrays on the
device.

| device | precision | what | runs in a call | ns a prediction | compilation, s |
|---|---|---|---|---|---|
{told["predictions"]}

## Many fits (`fit_many`)

16 pools with 5 checkpoints each, {STARTS} starts a bootstrap, 34 parameters, float64, every lane to convergence.

| device | joint fits | lanes in a block | seconds | a second | first call, s | bootstraps converged |
|---|---|---|---|---|---|---|
{told["fits"]}

## Best mixes (`sweep(optimize=True)`)

16 pools, float64, each with its certificate.

| device | solves | seconds | a second | first call, s | worst gap, in error |
|---|---|---|---|---|---|
{told["mixes"]}

## A sweep kept as the best mix of each budget

Four published pools, {FULL.budgets:,} budgets x 1,771 mixes.

| device | precision | predictions | seconds | millions a second | first call, s |
|---|---|---|---|---|---|
{told["sweeps"]}
{compared if gaps else ""}"""
    record.write("devices", "python -m benchmarks.devices", {"ran": ran, "agreement": gaps}, page)


if __name__ == "__main__":
    main()
