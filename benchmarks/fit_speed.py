"""How long does the whole joint fit take, against the released grid search in NumPy?

    python -m benchmarks.fit_speed
    python -m benchmarks.fit_speed --cells 5000      # a quicker look, scaled up

Same process, same 4 pools with 5 checkpoints each. The search: 100,000 cells a pool, one call a cell and checkpoint,
the call written in three ways: in the released form, as lean as NumPy allows, and without NumPy. Ours: 64 starts, all
pools jointly with a shared scale and floor. Cold counts tracing and compilation; a second process shows the fit with
the persistent cache warm.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import planted, record, released_grid

EPOCHS = (0.5, 1.0, 2.0, 5.0, 10.0)
NOISE = 0.003
CACHED = """
import sys, time
sys.argv = ["fit_speed"]
import jax
jax.config.update("jax_compilation_cache_dir", {folder!r})
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
from benchmarks import fit_speed
from qqtjax.fit import fit
runs, _ = fit_speed.table()
start = time.perf_counter()
fit(runs)
print(time.perf_counter() - start)
"""


def table():
    """The measured table and the truth behind it."""
    rng = np.random.default_rng(0)
    truth = planted.draw_truth(rng)
    return planted.curves(truth, EPOCHS, NOISE, rng), truth


def main() -> None:
    """Time both and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100_000)
    arguments = parser.parse_args()
    from qqtjax.fit import fit

    runs, _ = table()
    start = time.perf_counter()
    fitted = fit(runs)
    cold = time.perf_counter() - start
    warm = []
    for _ in range(15):
        start = time.perf_counter()
        fit(runs)
        warm.append(time.perf_counter() - start)
    fit_seconds = statistics.median(warm)

    floor = float(fitted.params.floor)
    searches = {}
    for name, predict in released_grid.FORMS.items():
        start = time.perf_counter()
        objective = 0.0
        for index in range(planted.POOLS):
            own = runs.select(runs.source == index)
            objective += released_grid.search(
                predict, own.samples_seen, own.error, planted.SIZE, floor, arguments.cells, seed=index
            )[0]
        searches[name] = (time.perf_counter() - start) * 100_000 / arguments.cells

    with tempfile.TemporaryDirectory() as folder:
        script = CACHED.format(folder=folder)
        cached = [
            float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
            for _ in range(2)
        ][1]
    assert fitted.diagnostics is not None
    ours = 2 * fitted.diagnostics.objective
    ways = {
        f"warm (median of {len(warm)})": fit_seconds,
        "cold (with compilation)": cold,
        "first in a process, persistent cache warm": cached,
    }
    calls = 100_000 * planted.POOLS * len(EPOCHS)
    rows = "\n".join(
        f"| {name} | {seconds:.2f} ({seconds / calls * 1e6:.2f}) | "
        + " | ".join(f"{seconds / each:.1f}" for each in ways.values())
        + " |"
        for name, seconds in searches.items()
    )
    scaled = "" if arguments.cells == 100_000 else f" Measured on {arguments.cells:,} cells and scaled up."
    page = f"""# Speed of the whole joint fit

4 pools, 5 checkpoints each ({", ".join(f"{each:g}" for each in EPOCHS)} epochs), 64 starts, float64, one
process. The fit takes {"; ".join(f"{seconds:.4g} s {name}" for name, seconds in ways.items())}.

| released search, 100,000 cells a pool, called as | s (us a call) | over warm | over cold | over cached |
|---|---|---|---|---|
{rows}
{scaled}
Sum of squares: {ours:.3e} (joint fit, one scale and floor for all pools) against {objective:.3e} (search, a scale for
each pool, given our floor).
"""
    figures = {
        "search_seconds": searches,
        "warm_seconds": warm,
        "cold_seconds": cold,
        "cached_seconds": cached,
        "objective": ours,
        "search_objective": objective,
    }
    record.write("fit_speed", "python -m benchmarks.fit_speed", figures, page)


if __name__ == "__main__":
    main()
