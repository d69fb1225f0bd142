"""Our Levenberg-Marquardt lanes against optimistix's under vmap, on the same residuals and starts.

    python -m benchmarks.solver_choice

Same process, float64, 4 pools with 5 checkpoints, 64 starts. Ours works in the box; optimistix has no bounds, so it
gets the same box through a sigmoid. Compilation apart, median of several, both objectives printed.
"""

from __future__ import annotations

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

from benchmarks import record
from benchmarks.fit_speed import table
from qqtjax.fit.levenberg_marquardt import levenberg_marquardt
from qqtjax.fit.objective import Data, Objective, gather, quadratic, residuals
from qqtjax.fit.parameters import search_space
from qqtjax.laws import utility

REPETITIONS = 9


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


def main() -> None:
    """Time both and write the results."""
    runs, _ = table()
    space = search_space(utility, runs)
    with jax.enable_x64(True):
        run, drawn = gather(runs)
        data = Data(
            jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), run),
            jnp.asarray(drawn),
            jnp.asarray(runs.error),
            jnp.ones(len(runs)),
            jax.tree.map(jnp.asarray, space.fixed),
        )
        objective = Objective(space.layout, None, False, None)
        low, high = (jnp.asarray(end) for end in space.box())
        starts = jnp.asarray(space.draw_starts(64, 0))

        def ours(starts):
            at = levenberg_marquardt(lambda x: quadratic(objective, x, data), starts, low, high, 25, 4, 1000)
            return at.at.objective

        def theirs(starts, tolerance):
            def boxed(u, _):
                return residuals(objective, low + (high - low) * jax.nn.sigmoid(u), data)

            share = jnp.clip((starts - low) / (high - low), 1e-9, 1 - 1e-9)
            solver = optx.LevenbergMarquardt(rtol=tolerance, atol=tolerance)

            def one(u):
                found = optx.least_squares(boxed, solver, u, max_steps=300, throw=False)
                return 0.5 * jnp.sum(boxed(found.value, None) ** 2)

            return jax.vmap(one)(jnp.log(share) - jnp.log1p(-share))

        rows = {"ours": timed(ours, starts)}
        for tolerance in (1e-6, 1e-10):
            rows[f"optimistix, tolerance {tolerance:g}"] = timed(lambda s, t=tolerance: theirs(s, t), starts)
    lines, figures = [], {}
    for name, (compile_seconds, seconds, found) in rows.items():
        best = float(np.nanmin(found))
        hits = int(np.sum(np.asarray(found) <= best * (1 + 1e-6)))
        lines.append(f"| {name} | {compile_seconds:.2f} | {1e3 * seconds:.1f} | {best:.10e} | {hits} |")
        figures[name] = {"compile": compile_seconds, "seconds": seconds, "objective": best, "agreeing": hits}
    page = f"""# Which least-squares solver

| | compile, s | 64 starts, ms | best objective | starts there |
|---|---|---|---|---|
{chr(10).join(lines)}

Ours stops once the best four lanes are done; under `vmap` optimistix runs until its slowest lane is.
"""
    record.write("solver_choice", "python -m benchmarks.solver_choice", figures, page)


if __name__ == "__main__":
    main()
