"""Time of one evaluation of H: the closed form against two `lax.scan`s over epochs.

    python benchmarks/closed_form/speed.py

All evaluate the same H at the same points in the same process. The plain scan carries delta^m as a running
product and reads log(1 + 1/m) from a table: the least work a scan can do. The library's scan
(`qqtjax.laws.repetition`) serves any shape of decay, so it takes an exponential in every step. Both get
exactly as many steps as there are epochs. Each figure is the median over repetitions, after compilation, of
one call on an array of points, divided by its size; the kernels take turns, so that a busy machine slows them
alike. Results go to `benchmarks/results/`.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from qqtjax.laws.closed_form import decayed_epochs, value_and_slopes
from qqtjax.laws.repetition import Epochs, scan_decayed_epochs

RESULTS = Path(__file__).resolve().parents[1] / "results"
POINTS = 16_384
EPOCHS = (10, 64, 1000)
REPETITIONS = 11
HALF_LIVES = (1.0, 20.0)  # epochs; the range of the fits in the paper, and a margin


def processor() -> str:
    """Model name of the processor."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def timed(functions: dict, *arguments: jax.Array) -> dict:
    """Nanoseconds per point (median and least) and seconds to compile, of every function, run in turns."""
    compiled, seconds, samples = {}, {}, {name: [] for name in functions}
    for name, function in functions.items():
        start = time.perf_counter()
        compiled[name] = jax.jit(function).lower(*arguments).compile()
        seconds[name] = time.perf_counter() - start
        jax.block_until_ready(compiled[name](*arguments))
    for _ in range(REPETITIONS):
        for name, call in compiled.items():
            start = time.perf_counter()
            jax.block_until_ready(call(*arguments))
            samples[name].append(time.perf_counter() - start)
    scale = 1e9 / POINTS
    return {name: (statistics.median(v) * scale, min(v) * scale, seconds[name]) for name, v in samples.items()}


def measure(dtype: np.dtype, epochs: int) -> list[dict]:
    """One row for every way to evaluate, at `epochs` complete epochs and a bit."""
    generator = np.random.default_rng(0)
    k = jnp.full(POINTS, epochs, dtype)
    r = jnp.asarray(generator.uniform(size=POINTS) * np.log1p(1 / epochs), dtype)
    half_lives = np.exp(generator.uniform(*np.log(HALF_LIVES), size=POINTS))
    lam = jnp.asarray(np.log(2) / half_lives, dtype)

    def closed(k: jax.Array, r: jax.Array, lam: jax.Array) -> jax.Array:
        return decayed_epochs(k, r, lam)

    def library_scan(k: jax.Array, r: jax.Array, lam: jax.Array) -> jax.Array:
        return scan_decayed_epochs(Epochs(k, r, r + jnp.log(k)), lam, epochs)

    numbers = np.arange(1, epochs + 1, dtype=dtype)
    log_steps = np.log1p(1 / numbers).astype(dtype)

    def plain_scan(k: jax.Array, r: jax.Array, lam: jax.Array) -> jax.Array:
        delta = jnp.exp(-lam)

        def step(carry: tuple, row: tuple) -> tuple:
            total, power = carry
            m, log_step = row
            power = power * delta
            span = jnp.where(m < k, log_step, jnp.where(m == k, r, 0.0))
            return (total + power * span, power), None

        return jax.lax.scan(step, (jnp.zeros_like(lam), jnp.ones_like(lam)), (numbers, log_steps))[0][0]

    def with_gradient(function: Callable) -> Callable:
        return jax.value_and_grad(lambda *arguments: function(*arguments).sum(), argnums=(1, 2))

    kernels = {"closed form": closed, "plain scan": plain_scan, "library scan": library_scan}
    differences = {name: float(jnp.max(jnp.abs(f(k, r, lam) - closed(k, r, lam)))) for name, f in kernels.items()}
    ways = {(name, "value"): function for name, function in kernels.items()}
    ways |= {(name, "value and gradient"): with_gradient(function) for name, function in kernels.items()}
    ways["closed form", "`value_and_slopes`"] = lambda *arguments: value_and_slopes(*arguments)
    return [
        {
            "kernel": kernel,
            "what": what,
            "epochs": epochs,
            "dtype": np.dtype(dtype).name,
            "ns_per_point": round(median, 2),
            "least_ns_per_point": round(least, 2),
            "compile_seconds": round(compile_seconds, 3),
            "max_difference_from_closed_form": differences[kernel],
        }
        for (kernel, what), (median, least, compile_seconds) in timed(ways, k, r, lam).items()
    ]


def table(rows: list[dict]) -> str:
    """The figures as Markdown."""
    cells = {(r["dtype"], r["what"], r["epochs"], r["kernel"]): r["ns_per_point"] for r in rows}
    lines = [
        "| dtype | what | K | closed form, ns | plain scan, ns (ratio) | library scan, ns (ratio) |",
        "|---|---|---|---|---|---|",
    ]
    for dtype, what, epochs in dict.fromkeys(key[:3] for key in cells):
        closed = cells[dtype, what, epochs, "closed form"]
        scans = (cells.get((dtype, what, epochs, kernel)) for kernel in ("plain scan", "library scan"))
        others = " | ".join("" if ns is None else f"{ns:.1f} ({ns / closed:.2f})" for ns in scans)
        lines.append(f"| {dtype} | {what} | {epochs} | {closed:.1f} | {others} |")
    return "\n".join(lines)


def main() -> None:
    rows = []
    for dtype in (np.float64, np.float32):
        with jax.enable_x64(dtype is np.float64):
            for epochs in EPOCHS:
                rows += measure(dtype, epochs)
    hardware = {
        "backend": jax.default_backend(),
        "device": processor() if jax.default_backend() == "cpu" else jax.devices()[0].device_kind,
        "versions": {"jax": jax.__version__, "numpy": np.__version__, "python": platform.python_version()},
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "points": POINTS,
        "repetitions": REPETITIONS,
    }
    compiled: dict[str, list[float]] = {}
    for row in rows:
        compiled.setdefault(row["kernel"], []).append(row["compile_seconds"])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "closed_form.json").write_text(json.dumps({**hardware, "rows": rows}, indent=1) + "\n")
    versions = ", ".join(f"{name} {version}" for name, version in hardware["versions"].items())
    spans = "; ".join(f"{kernel} {min(v):.2f} to {max(v):.2f} s" for kernel, v in compiled.items())
    text = f"""# Closed form against scans over epochs

`python benchmarks/closed_form/speed.py` on {hardware["device"]} ({hardware["backend"]}); {versions}.
Nanoseconds per point, median of {REPETITIONS} calls on {POINTS:,} points; in brackets, over the closed form.
Compilation apart: {spans}.
{hardware["cores"]} cores, load average {hardware["load_average"]}: if above the cores, trust the ratios only.
Half-lives from {HALF_LIVES[0]:g} to {HALF_LIVES[1]:g} epochs; the gradient is in log(K/k) and the rate,
by reverse mode. The plain scan carries delta^m as a product; the library's serves any shape of decay.
The gradient of a scan keeps what every step computed, which for many epochs is hundreds of megabytes here.

{table(rows)}
"""
    (RESULTS / "closed_form.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
