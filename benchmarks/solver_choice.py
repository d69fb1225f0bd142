"""Which least-squares solver, and which kernel inside it?

    python -m benchmarks.solver_choice

Our Levenberg-Marquardt lanes against optimistix's under `vmap`, on the same residuals and starts; and ours with the
recursion evaluated by the scan, by the closed form, and as one matrix product with precomputed relu(log(K / j)).

Same process, float64, 4 pools with 5 checkpoints, 64 starts. Ours works in the box; optimistix has no bounds, so it
gets the same box through a sigmoid. Compilation apart, median of several, both objectives printed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

from benchmarks import record
from benchmarks.fit_speed import table
from qqtjax.fit.levenberg_marquardt import Quadratic, levenberg_marquardt
from qqtjax.fit.objective import Data, Objective, gather, quadratic, residuals
from qqtjax.fit.parameters import search_space
from qqtjax.fit.solvers import LevenbergMarquardt
from qqtjax.laws import utility

REPETITIONS = 9
PROCESSES = 4
WHOLE_FIT = """
import statistics, sys, time
import jax, jax.numpy as jnp
from benchmarks.fit_speed import table
from qqtjax.fit import fit, fitting
fitting.SHORT_SCAN = int(sys.argv[1])
runs, _ = table()
jax.block_until_ready(jnp.ones(3) + 1)
seconds = []
for _ in range(16):
    start = time.perf_counter()
    fit(runs)
    seconds.append(time.perf_counter() - start)
print(seconds[0], statistics.median(seconds[1:]))
"""
LENGTH = 16


def timed(function, *arguments):
    """Seconds to compile, median seconds a call, and the result."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    compile_seconds = time.perf_counter() - start
    result = jax.block_until_ready(compiled(*arguments))
    samples = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        samples.append(time.perf_counter() - start)
    return compile_seconds, statistics.median(samples), result


def whole_fit(short_scan: int) -> tuple[float, float]:
    """Median first and later seconds of `fit` in new processes, with the scan up to so many epochs."""
    command = [sys.executable, "-c", WHOLE_FIT, str(short_scan)]
    done = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(PROCESSES)]
    first, later = zip(*([float(part) for part in each.split()] for each in done), strict=True)
    return statistics.median(first), statistics.median(later)


def main() -> None:
    """Time both and write the results."""
    runs, _ = table()
    space = search_space(utility, runs)
    with jax.enable_x64(True):
        run, drawn = gather(runs)
        data = Data(*jax.tree.map(jnp.asarray, (run, drawn, runs.error, np.ones(len(runs)), space.fixed)))
        scanned, closed = (Objective(space.layout, length, False, None) for length in (LENGTH, None))
        low, high = (jnp.asarray(end) for end in space.box())
        starts = jnp.asarray(space.draw_starts(64, 0))
        solver = LevenbergMarquardt()
        lost = np.maximum(np.log(runs.epochs.max(axis=1)[:, None] / np.arange(1, LENGTH + 1)), 0.0)

        def product(x):
            """Residuals of single pools: log(n / n0) - relu(log(K / j)) (delta^(j-1) - delta^j), summed over j."""
            params = space.layout.unpack(x, data.fixed)
            decay = jnp.exp(-jnp.log(2.0) / params.half_life[:, None] * np.arange(LENGTH + 1))
            grown = jnp.log(runs.samples_seen / params.scale) - jnp.sum(
                lost * (decay[:, :-1] - decay[:, 1:])[runs.source], axis=1
            )
            return params.floor + jnp.exp(params.utility[runs.source] * grown) - runs.error

        def product_quadratic(x):
            jacobian, each = jax.jacfwd(lambda x: (product(x),) * 2, has_aux=True)(x)
            return Quadratic(0.5 * jnp.sum(each**2), jacobian.T @ each, jacobian.T @ jacobian)

        def ours(quadratic_at):
            def solve(starts):
                settings = (solver.look, solver.finalists, solver.max_iterations)
                return levenberg_marquardt(quadratic_at, starts, low, high, *settings).at.objective

            return solve

        def theirs(starts, tolerance):
            def boxed(u, _):
                return residuals(scanned, low + (high - low) * jax.nn.sigmoid(u), data)

            share = jnp.clip((starts - low) / (high - low), 1e-9, 1 - 1e-9)
            solver = optx.LevenbergMarquardt(rtol=tolerance, atol=tolerance)

            def one(u):
                found = optx.least_squares(boxed, solver, u, max_steps=300, throw=False)
                return 0.5 * jnp.sum(boxed(found.value, None) ** 2)

            return jax.vmap(one)(jnp.log(share) - jnp.log1p(-share))

        timed(lambda s: jnp.linalg.cholesky(s.T @ s), starts)  # the first compilation of a process is slower
        rows = {
            "ours, scan": timed(ours(lambda x: quadratic(scanned, x, data)), starts),
            "ours, closed form": timed(ours(lambda x: quadratic(closed, x, data)), starts),
            "ours, precomputed matrix product": timed(ours(product_quadratic), starts),
        }
        for tolerance in (1e-6, 1e-10):
            rows[f"optimistix, scan, tolerance {tolerance:g}"] = timed(lambda s, t=tolerance: theirs(s, t), starts)
    lines, figures = [], {}
    for name, (compile_seconds, seconds, found) in rows.items():
        best = float(np.nanmin(found))
        hits = int(np.sum(np.asarray(found) <= best * (1 + 1e-6)))
        lines.append(f"| {name} | {compile_seconds:.2f} | {1e3 * seconds:.1f} | {best:.10e} | {hits} |")
        figures[name] = {"compile": compile_seconds, "seconds": seconds, "objective": best, "agreeing": hits}
    whole = {"scan": whole_fit(LENGTH), "closed form": whole_fit(0)}
    figures["whole fit"] = whole
    fits = "\n".join(f"| {name} | {first:.2f} | {1e3 * later:.1f} |" for name, (first, later) in whole.items())
    page = f"""# Which least-squares solver

| | compile, s | 64 starts, ms | best objective | starts there |
|---|---|---|---|---|
{chr(10).join(lines)}

Ours looks at every start for {solver.look} iterations and stops once the best {solver.finalists} are done, so that
fewer starts get to the best objective; under `vmap` optimistix runs until its slowest lane is done, in coordinates
without bounds.

Whole `fit` calls in new processes, median of {PROCESSES}:

| kernel | first call, compilation included, s | later calls, ms |
|---|---|---|
{fits}
"""
    record.write("solver_choice", "python -m benchmarks.solver_choice", figures, page)


if __name__ == "__main__":
    main()
