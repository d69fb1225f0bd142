"""How fast are predictions, against the law written in NumPy and in Numba on the same cores?

    python -m benchmarks.predict_speed
    python -m benchmarks.predict_speed --rounds 5      # a quicker look

`laws.utility` for mixtures of 4 pools, every pool's epochs log-uniform from 1 to 60, in float32 and float64: one warm
call on 65,536 runs, medians over rounds in which everything takes its turn, compilation apart. The baselines are in
`benchmarks/predict_baselines.py`; each is checked against ours before it is timed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numba
import numpy as np

from benchmarks import predict_baselines as baselines
from benchmarks import record
from qqtjax.laws import UtilityParams, utility
from qqtjax.laws.law import errors_of, wide
from qqtjax.runs import Run

POOLS, POINTS, CALLS = 4, 1 << 16, 1000
EPOCHS = (1.0, 60.0)
UTILITY, HALF_LIFE, REFERENCE = (-0.16, -0.125, -0.1, -0.085), (6.7, 8.5, 5.3, 2.3), 12.8e6
SCALE, FLOOR = 4e6, 0.1
ASKED = {
    "released form, call by call": {"float32": 5000.0, "float64": 1500.0},
    "NumPy, vectorised": {"float32": 3.0, "float64": 3.0},
    "Numba, its better form": {"float32": 0.9, "float64": 0.9},
}
ASKED_EPOCHS, ASKED_GRADIENT = 1.2, 2.5


class Problem(NamedTuple):
    """Parameters and runs; pools first, runs last."""

    params: UtilityParams
    runs: Run


def problem(dtype: Any, low: float, high: float, points: int = POINTS) -> Problem:
    """Random mixtures whose pools all go through between so many epochs."""
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(POOLS), points).T
    epochs = np.exp(rng.uniform(np.log(low), np.log(high), (POOLS, points)))
    seen = 10 ** rng.uniform(7, 9, points)
    params = UtilityParams(
        scale=SCALE, floor=FLOOR, utility=UTILITY, half_life=HALF_LIFE, reference_size=np.full(POOLS, REFERENCE)
    )
    fields = {name: value for name, value in vars(params).items() if value is not None}
    params = UtilityParams(**{name: jnp.asarray(value, dtype) for name, value in fields.items()})
    runs = Run(weights=weights, sizes=seen * weights / epochs, samples_seen=seen)
    return Problem(params, jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), runs))


def value(params: UtilityParams, runs: Run) -> jax.Array:
    """`[M]` errors."""
    return errors_of(utility, params, runs)


def value_and_gradient(params: UtilityParams, runs: Run) -> tuple[jax.Array, jax.Array]:
    """`[M]` errors and their `[P, M]` derivatives in the weights."""

    def of(weights: jax.Array) -> jax.Array:
        return value(params, Run(weights=weights, sizes=runs.sizes, samples_seen=runs.samples_seen))

    errors, pull = jax.vjp(of, jnp.asarray(runs.weights))
    return errors, pull(jnp.ones_like(errors))[0]


def runs_first(params: UtilityParams, runs: Run) -> jax.Array:
    """The same by `vmap`, from arrays with the runs first."""
    return jax.vmap(lambda run: utility(params, run))(runs)


def compiled(function: Callable[..., Any], *arguments: Any, options: Any = None) -> tuple[Callable[[], Any], float]:
    """A warm call, and the seconds that compilation took."""
    start = time.perf_counter()
    program = jax.jit(function, compiler_options=options).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    return lambda: jax.block_until_ready(program(*arguments)), seconds


def numba_kernels(given: Problem, dtype: Any) -> dict[str, tuple[Callable[[], Any], np.ndarray]]:
    """Calls of the Numba kernels, and where their results lie."""
    params, runs = jax.tree.map(np.asarray, given)
    tables = baselines.tables(dtype)
    calls = {}
    for name, kernel in {"Numba, recursion": baselines.recursion, "Numba, closed form": baselines.closed}.items():
        out = np.empty(POINTS, dtype)
        own = (
            *(runs.weights, runs.sizes, runs.samples_seen),
            *(params.utility, params.half_life, params.reference_size),
            *(dtype(each) for each in (params.dilution, params.amplitude, params.scale, params.floor)),
            tables,
            out,
        )
        calls[name] = (lambda kernel=kernel, own=own: kernel(*own), out)
    return calls


def by_call(predict: Callable[..., float], given: Problem) -> tuple[Callable[[], Any], int]:
    """A loop over the first runs, one call each as its users make it."""
    params, runs = jax.tree.map(np.asarray, given)
    points = [(runs.weights[:, m].copy(), runs.sizes[:, m].copy(), runs.samples_seen[m]) for m in range(CALLS)]
    pools = (params.utility, params.half_life, params.reference_size, float(params.scale), float(params.floor))
    return lambda: np.array([predict(*point, *pools) for point in points]), CALLS


def rounds(calls: dict[str, tuple[Callable[[], Any], int]], count: int) -> dict[str, list[float]]:
    """Nanoseconds a prediction, in every round, of everything in turn."""
    for call, _ in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(count):
        for name, (call, points) in calls.items():
            start = time.perf_counter()
            call()
            taken[name].append((time.perf_counter() - start) * 1e9 / points)
    return taken


def check(name: str, found: Any, ours: np.ndarray, dtype: Any) -> float:
    """Largest difference from ours; a baseline that computes something else is not timed."""
    found = np.asarray(found)
    gap = float(np.max(np.abs(found - ours[: len(found)])))
    if gap > (2e-6 if dtype is np.float32 else 1e-12):
        raise SystemExit(f"{name} differs from ours by {gap:.1e}")
    return gap


def measure(dtype: Any, count: int) -> dict[str, Any]:
    """Everything at one precision."""
    given = problem(dtype, *EPOCHS)
    options = wide(jax.default_backend())
    swapped = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), given.runs)
    programs = {
        "ours": compiled(value, *given, options=options),
        "ours, value and gradient": compiled(value_and_gradient, *given, options=options),
        "ours, compiled by default": compiled(value, *given),
        "ours, by vmap with the runs first": compiled(runs_first, given.params, swapped),
        "ours at 10 epochs": compiled(value, *problem(dtype, 9.0, 11.0), options=options),
        "ours at a million epochs": compiled(value, *problem(dtype, 9e5, 1.1e6), options=options),
    }
    ours = np.asarray(programs["ours"][0]())
    kernels = numba_kernels(given, dtype)
    calls: dict[str, tuple[Callable[[], Any], int]] = {name: (call, POINTS) for name, (call, _) in programs.items()}
    calls |= {name: (call, POINTS) for name, (call, _) in kernels.items()}
    arrays = jax.tree.map(np.asarray, given)
    calls["NumPy, vectorised"] = (lambda: baselines.vectorised(*arrays), POINTS)
    calls["released form, call by call"] = by_call(baselines.released, given)
    calls["leanest NumPy, call by call"] = by_call(baselines.lean, given)
    gaps = {}
    for name, (call, out) in kernels.items():
        call()
        gaps[name] = check(name, out, ours, dtype)
    for name in ("NumPy, vectorised", "released form, call by call", "leanest NumPy, call by call"):
        gaps[name] = check(name, calls[name][0](), ours, dtype)
    taken = rounds(calls, count)
    better = min(("Numba, recursion", "Numba, closed form"), key=lambda name: statistics.median(taken[name]))
    taken["Numba, its better form"] = taken[better]

    def ratio(name: str, over: str) -> float:
        """Median over rounds of how many times as long one takes as the other."""
        return statistics.median(a / b for a, b in zip(taken[name], taken[over], strict=True))

    least = {name: min(each) for name, each in taken.items()}
    return {
        "least_nanoseconds": least,
        "least_times_ours": {name: each / least["ours"] for name, each in least.items() if not name.startswith("ours")},
        "least_gradient_over_value": least["ours, value and gradient"] / least["ours"],
        "nanoseconds": {name: statistics.median(each) for name, each in taken.items()},
        "rounds": taken,
        "compile_seconds": {name: seconds for name, (_, seconds) in programs.items()},
        "times_ours": {name: ratio(name, "ours") for name in taken if not name.startswith("ours")},
        "better_numba": better,
        "million_over_ten": ratio("ours at a million epochs", "ours at 10 epochs"),
        "gradient_over_value": ratio("ours, value and gradient", "ours"),
        "largest_difference": gaps,
    }


def rows(found: dict[str, dict[str, Any]]) -> str:
    """The table of baselines."""
    lines = []
    for name in found["float32"]["times_ours"]:
        asked = ASKED.get(name)
        cells = [name]
        for dtype, each in found.items():
            bar = "" if asked is None else f", asked {asked[dtype]:,g}"
            cells += [
                f"{each['nanoseconds'][name]:,.0f} ({each['least_nanoseconds'][name]:,.0f})",
                f"{each['times_ours'][name]:,.1f} ({each['least_times_ours'][name]:,.1f}){bar}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def own_rows(found: dict[str, dict[str, Any]]) -> str:
    """The table of our own programs."""
    lines = []
    for name in found["float32"]["compile_seconds"]:
        cells = [name]
        for each in found.values():
            both = f"{each['nanoseconds'][name]:.1f} ({each['least_nanoseconds'][name]:.1f})"
            cells += [both, f"{each['compile_seconds'][name]:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Time all of it and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    found = {}
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype is np.float64):
            found[np.dtype(dtype).name] = measure(dtype, arguments.rounds)
    single, double = found["float32"], found["float64"]
    vectors = "with" if numba.config.USING_SVML else "without"
    page = f"""# Speed of predictions

`laws.utility`, closed form, mixtures of {POOLS} pools, every pool's epochs log-uniform from {EPOCHS[0]:g} to
{EPOCHS[1]:g}; {POINTS:,} runs in one call ({CALLS:,} for what is called run by run). Median of {arguments.rounds} warm
rounds in which everything takes its turn; ratios are medians of those within a round; compilation apart. In brackets
the least of all rounds and its ratio, which others on the machine disturb least. Load average before and after:
{load:.1f} and {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores (ours alone loads both: what is above, others were at
work). Numba {version("numba")}, {vectors} a vector mathematics library (SVML); its better form here:
{single["better_numba"]} (float32), {double["better_numba"]} (float64).

| baseline | float32, ns | times ours | float64, ns | times ours |
|---|---|---|---|---|
{rows(found)}

| our program | float32, ns | compilation, s | float64, ns | compilation, s |
|---|---|---|---|---|
{own_rows(found)}

A million epochs cost {single["million_over_ten"]:.2f} (float32) and {double["million_over_ten"]:.2f} (float64) times
10 epochs (asked: at most {ASKED_EPOCHS}). Value and gradient in the weights cost {single["gradient_over_value"]:.2f}
and {double["gradient_over_value"]:.2f} times the value (asked: at most {ASKED_GRADIENT}), by the least of the rounds
{single["least_gradient_over_value"]:.2f} and {double["least_gradient_over_value"]:.2f}.
"""
    record.write("predict_speed", "python -m benchmarks.predict_speed", found, page)


if __name__ == "__main__":
    main()
