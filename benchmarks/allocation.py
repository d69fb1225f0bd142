"""How long does it take to decide how many samples of each cluster to keep, and how exact is it, against QP solvers?

    python -m benchmarks.allocation

Density-based pruning keeps N = argmin 1/2 |N - P M|^2 with a total and bounds. Clusters are drawn with log-normal
sizes (277 million samples in all) and complexities; temperature 0.1, keep 0.8. Warm medians, compilation apart, all in
one process. `density_counts` is the whole answer: checks, softmax, projection in float64 and exact rounding; the others
solve the quadratic programme alone. Peers through qpsolvers, on sparse matrices: OSQP with its default tolerance (what
the released script calls), and with 1e-9 and at most 20,000 steps. Of dense matrices: quadprog, left out beyond 1,000
clusters.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from benchmarks import record
from qqtjax.pools.density import density_counts, density_floor
from qqtjax.pools.projection import project

CLUSTERS = (500, 10_000)
SAMPLES, KEEP, TEMPERATURE = 277e6, 0.8, 0.1
ASKED = 5.0  # ms at the largest number of clusters
REPEATS = 9
DENSE = 1_000


def problem(count: int) -> dict[str, Any]:
    """Complexities, whole sizes, targets and bounds."""
    rng = np.random.default_rng(count)
    sizes = rng.lognormal(0.0, 1.0, count)
    sizes = np.maximum(np.rint(sizes / sizes.sum() * SAMPLES), 1)
    complexity = rng.lognormal(np.log(0.15), 0.5, count)
    total = int(KEEP * sizes.sum())
    shares = np.exp((complexity - complexity.max()) / TEMPERATURE)
    with jax.enable_x64(True):
        lower = np.asarray(density_floor(sizes, float(total), 0.0))
    return {
        "complexity": complexity,
        "sizes": sizes,
        "total": total,
        "target": total * shares / shares.sum(),
        "lower": lower,
    }


def clock(call: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, float, Any]:
    """Milliseconds of the first call, the median of warm ones, the last result."""
    start = time.perf_counter()
    found = call()
    first = time.perf_counter() - start
    warm = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = call()
        warm.append(time.perf_counter() - start)
    return 1e3 * first, 1e3 * statistics.median(warm), found


def solver(asked: dict[str, Any], name: str, **options: Any) -> Callable[[], Any]:
    """A call that solves the programme by one of the peers."""
    import qpsolvers
    import scipy.sparse as sparse

    count = len(asked["sizes"])
    dense = name == "quadprog"
    matrix = np.eye(count) if dense else sparse.eye(count, format="csc")
    ones = np.ones((1, count)) if dense else sparse.csc_matrix(np.ones((1, count)))

    def call() -> Any:
        return qpsolvers.solve_qp(
            matrix,
            -asked["target"],
            A=ones,
            b=np.array([float(asked["total"])]),
            lb=asked["lower"],
            ub=asked["sizes"],
            solver=name,
            **options,
        )

    return call


def measure(count: int) -> list[dict[str, Any]]:
    """One row a method."""
    asked = problem(count)
    total = asked["total"]
    with jax.enable_x64(True):
        compiled = jax.jit(project)
        on_device = jax.device_put((asked["target"], asked["lower"], asked["sizes"], float(total)))
        first, warm, exact = clock(lambda: jax.block_until_ready(compiled(*on_device)))
    exact = np.asarray(exact)

    def row(name: str, first: float, warm: float, kept: Any) -> dict[str, Any]:
        off = None if kept is None else float(np.abs(kept - exact).max())
        missed = None if kept is None else float(np.abs(np.sum(np.rint(kept)) - total))
        return {"clusters": count, "method": name, "first_ms": first, "ms": warm, "worst": off, "total_off": missed}

    rows = [row("project (real numbers)", first, warm, exact)]
    first, warm, counts = clock(lambda: density_counts(asked["complexity"], asked["sizes"], total, TEMPERATURE))
    assert counts.sum() == total
    rows.append(row("density_counts (whole samples)", first, warm, counts))
    peers: list[tuple[str, str, dict[str, Any], int]] = [
        ("OSQP, default tolerance", "osqp", {}, REPEATS),
        ("OSQP, 1e-9", "osqp", {"eps_abs": 1e-9, "eps_rel": 1e-9, "max_iter": 20_000}, 1),
    ]
    if count <= DENSE:
        peers.append(("quadprog (dense)", "quadprog", {}, 3))
    for name, which, options, repeats in peers:
        rows.append(row(name, *clock(solver(asked, which, **options), repeats)))
    return rows


def main() -> None:
    """Measure and write the page."""
    load = os.getloadavg()[0]
    rows = [row for count in CLUSTERS for row in measure(count)]

    def cell(value: float | None) -> str:
        return "no solution" if value is None else f"{value:,.3g}"

    lines = "\n".join(
        f"| {row['clusters']:,} | {row['method']} | {row['ms']:.2f} | {row['first_ms']:.0f} | {cell(row['worst'])} | "
        f"{cell(row['total_off'])} |"
        for row in rows
    )
    ours = next(row for row in rows if row["clusters"] == CLUSTERS[-1] and row["method"].startswith("density"))
    page = f"""# Speed and exactness of allocation

{SAMPLES / 1e6:,.0f} million samples, keep {KEEP}, temperature {TEMPERATURE}; medians of warm calls in one process.
"Worst cluster" is the largest distance from the exact solution, in samples (for whole samples the rounding); "total" is
by how much the counts miss M when every cluster is rounded to a whole number. Asked: under {ASKED:.0f} ms at
{CLUSTERS[-1]:,} clusters; the whole answer took {ours["ms"]:.2f} ms. Load average before: {load:.1f} on
{os.cpu_count()} cores.

| clusters | method | ms | first call, ms | worst cluster | total off by |
|---|---|---|---|---|---|
{lines}
"""
    peers = {name: version(name) for name in ("qpsolvers", "osqp", "quadprog")}
    page += f"\nPeers: {', '.join(f'{name} {number}' for name, number in peers.items())}.\n"
    figures = {"asked_ms": ASKED, "load_average": load, "rows": rows, "peers": peers}
    record.write("allocation", "python -m benchmarks.allocation", figures, page)


if __name__ == "__main__":
    main()
