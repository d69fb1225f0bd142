"""How fast are many fits at once, against SciPy in a process pool and optimistix under vmap?

    python -m benchmarks.fit_many
    python -m benchmarks.fit_many --bootstraps 50 --lanes 40     # a quicker look

16 pools with 5 checkpoints each, 1,000 parametric bootstraps, 64 starts each: every lane is one joint least-squares
problem in 2 x 16 + 2 parameters (half-life and utility of each pool, one scale, one floor), followed to convergence;
counted by pool these are over a million problems. SciPy's `least_squares` (trf, bounds, analytic Jacobian, its default
tolerances) solves sampled lanes from the same starts, one process a core, twice: with the project's compiled Jacobian,
and with the law written out in lean NumPy. With tolerances of 1e-14 it is what the end points are checked against.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

# One thread for the linear algebra of each SciPy process: there is one a core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.optimize import least_squares

from benchmarks import planted, record

POOLS, STARTS, EPOCHS, NOISE = 16, 64, (0.25, 1.0, 2.0, 5.0, 10.0), 0.003
TIGHT = dict.fromkeys(("ftol", "xtol", "gtol"), 1e-14)
SCAN = 12
WORKER: dict[str, Any] = {}


def table(bootstraps: int):
    """The measured table and its bootstraps: new Gaussian noise on what was planted."""
    planted.POOLS = POOLS
    rng = np.random.default_rng(0)
    truth = planted.draw_truth(rng)
    exact = planted.curves(truth, EPOCHS)
    return exact, exact.error + NOISE * rng.normal(size=(bootstraps, len(exact)))


def lean(coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predicted errors and their Jacobian in lean NumPy, for the coordinates [log n0, d, log -b, log tau]."""
    log_scale, floor = coordinates[:2]
    utility = -np.exp(coordinates[2 : 2 + POOLS])[:, None]
    rate = np.log(2.0) * np.exp(-coordinates[2 + POOLS :])[:, None]
    left = np.exp(-rate * WORKER["m"])
    fresh = WORKER["fresh"] - log_scale + left @ WORKER["spans"]
    excess = np.exp(utility * fresh)
    pull = utility * excess
    jacobian = np.zeros((POOLS, len(EPOCHS), 2 + 2 * POOLS))
    pools = np.arange(POOLS)
    jacobian[:, :, 0], jacobian[:, :, 1] = -pull, 1.0
    jacobian[pools, :, 2 + pools] = pull * fresh
    jacobian[pools, :, 2 + POOLS + pools] = pull * rate * ((left * WORKER["m"]) @ WORKER["spans"])
    return (floor + excess).ravel(), jacobian.reshape(POOLS * len(EPOCHS), -1)


def begin_worker(compiled: bool) -> None:
    """What a SciPy process needs, compiled before the clock starts."""
    runs, _ = table(1)
    m, epochs = np.arange(1.0, 11.0), np.array(EPOCHS)
    whole = np.floor(epochs)
    WORKER["m"] = m
    WORKER["spans"] = np.where(m[:, None] < whole, np.log1p(1 / m)[:, None], 0.0)
    WORKER["fresh"] = np.log(epochs * planted.SIZE) - np.log(np.maximum(epochs, 1.0))
    WORKER["value"], WORKER["jacobian"] = (lambda x: lean(x)[0]), (lambda x: lean(x)[1])
    if not compiled:
        return
    import jax

    from qqtjax.fit.objective import Data, Objective, gather, linearise, residuals
    from qqtjax.fit.parameters import search_space
    from qqtjax.laws import utility

    jax.config.update("jax_enable_x64", True)
    space = search_space(utility, runs)
    run, drawn = gather(runs)
    objective = Objective(space.layout, SCAN, False, None)
    data = jax.tree.map(jax.numpy.asarray, Data(run, drawn, 0.0 * runs.error, np.ones(len(runs)), space.fixed))
    value, slopes = (jax.jit(f, static_argnums=0) for f in (residuals, lambda *given: linearise(*given)[1]))
    WORKER["value"] = lambda x: np.asarray(value(objective, x, data))
    WORKER["jacobian"] = lambda x: np.asarray(slopes(objective, x, data))
    WORKER["value"](space.draw_starts(1, 0)[0])
    WORKER["jacobian"](space.draw_starts(1, 0)[0])


def by_scipy(lane: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, float]]) -> float:
    """The objective at which SciPy ends from one start."""
    start, low, high, error, tolerances = lane
    ended = least_squares(
        lambda x: WORKER["value"](x) - error, start, WORKER["jacobian"], bounds=(low, high), max_nfev=2000, **tolerances
    )
    return float(ended.cost)


def pooled(lanes: list, compiled: bool, cores: int) -> tuple[np.ndarray, float]:
    """Objectives of the lanes, and seconds of the pool once it is warm."""
    with ProcessPoolExecutor(cores, get_context("spawn"), begin_worker, (compiled,)) as pool:
        list(pool.map(by_scipy, lanes[: 4 * cores]))
        start = time.perf_counter()
        found = list(pool.map(by_scipy, lanes, chunksize=max(1, len(lanes) // (8 * cores))))
        return np.array(found), time.perf_counter() - start


def by_optimistix(runs, starts: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, float]:
    """End objectives of optimistix's Levenberg-Marquardt under vmap (it knows no bounds), and seconds when warm."""
    import jax
    import jax.numpy as jnp
    import optimistix

    from qqtjax.fit.objective import Data, Objective, gather, residuals
    from qqtjax.fit.parameters import search_space
    from qqtjax.laws import utility

    with jax.enable_x64(True):
        space = search_space(utility, runs)
        run, drawn = gather(runs)
        objective = Objective(space.layout, SCAN, False, None)
        data = jax.tree.map(jnp.asarray, Data(run, drawn, runs.error, np.ones(len(runs)), space.fixed))
        solver = optimistix.LevenbergMarquardt(rtol=1e-8, atol=1e-8)

        def one(start, error):
            def function(x, error):
                return residuals(objective, x, data._replace(error=error))

            ended = optimistix.least_squares(function, solver, start, args=error, max_steps=500, throw=False)
            return 0.5 * jnp.sum(function(ended.value, error) ** 2)

        every = jax.jit(jax.vmap(one))
        given = jnp.asarray(starts), jnp.asarray(error)
        jax.block_until_ready(every(*given))
        start = time.perf_counter()
        found = np.asarray(every(*given))
        return found, time.perf_counter() - start


def timed(call: Callable[[], Any], count: int) -> tuple[Any, list[float]]:
    seconds, found = [], None
    for _ in range(count):
        start = time.perf_counter()
        found = call()
        seconds.append(time.perf_counter() - start)
    return found, seconds


def strategies(runs, errors: np.ndarray) -> list[dict[str, Any]]:
    """Ways to run the same lanes on one thread, each warm; how many end at the best objective of their version."""
    from qqtjax.fit import arrow, fit_many, levenberg_marquardt, many

    lanes = len(errors) * STARTS
    chosen, divide = many.ITERATIONS, arrow.divide
    limits = levenberg_marquardt.FURTHEST_DOWN, levenberg_marquardt.FURTHEST_UP
    ways = [
        ("dense, all lanes wait for the slowest", True, lanes, 500, limits),
        ("dense, places refilled after 4 iterations", True, 128, 4, limits),
        ("arrow, all lanes wait for the slowest", False, lanes, 500, limits),
        ("arrow, 128 wait for the slowest of them", False, 128, 500, limits),
        ("arrow, 128 refilled after 16 iterations", False, 128, 16, limits),
        ("arrow, 128 refilled after 4 iterations (chosen)", False, 128, 4, limits),
        ("arrow, 512 refilled after 4 iterations", False, 512, 4, limits),
        ("arrow, 128 refilled after 5, steps of any length", False, 128, 5, (np.inf, np.inf)),
    ]
    rows = []
    for name, dense, width, iterations, (down, up) in ways:
        many.ITERATIONS = iterations
        levenberg_marquardt.FURTHEST_DOWN, levenberg_marquardt.FURTHEST_UP = down, up
        if dense:
            arrow.divide = lambda layout: None
        try:
            settings = {"errors": errors, "starts": STARTS, "width": width, "workers": 1}
            _, first = timed(lambda settings=settings: fit_many(runs, **settings), 1)
            found, seconds = timed(lambda settings=settings: fit_many(runs, **settings), 1 if dense else 3)
        finally:
            many.ITERATIONS, arrow.divide = chosen, divide
            levenberg_marquardt.FURTHEST_DOWN, levenberg_marquardt.FURTHEST_UP = limits
        rows.append(
            {
                "way": name,
                "microseconds_a_lane": min(seconds) / lanes * 1e6,
                "first_seconds": first[0],
                "at_best": float(np.mean(found.objectives <= found.objective[:, None] + 1e-9)),
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Time all and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstraps", type=int, default=1000)
    parser.add_argument("--lanes", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    from qqtjax.fit import fit_many
    from qqtjax.fit.parameters import search_space
    from qqtjax.laws import utility

    cores = os.cpu_count() or 1
    load = [os.getloadavg()[0]]
    runs, errors = table(arguments.bootstraps)
    lanes = len(errors) * STARTS
    _, first = timed(lambda: fit_many(runs, errors=errors[:4], starts=STARTS), 1)
    fits, seconds = timed(lambda: fit_many(runs, errors=errors, starts=STARTS), arguments.repeats)
    ours = statistics.median(seconds)
    print(f"ours: first {first[0]:.2f} s, {seconds} s for {lanes} lanes", flush=True)

    picked = np.random.default_rng(1).choice(lanes, arguments.lanes, replace=False)
    asked = []
    for version, start in zip(*np.divmod(picked, STARTS), strict=True):
        space = search_space(utility, dataclasses.replace(runs, error=errors[version]))
        asked.append((space.draw_starts(STARTS, 0)[start], *space.box(), errors[version]))
    reached = fits.objectives.ravel()[picked]
    load.append(os.getloadavg()[0])
    compiled, compiled_seconds = pooled([(*lane, {}) for lane in asked], True, cores)
    written, lean_seconds = pooled([(*lane, {}) for lane in asked], False, cores)
    tight, tight_seconds = pooled([(*lane, TIGHT) for lane in asked], False, cores)
    # The machine is shared: ours again beside SciPy's, so that both saw the same company.
    _, again = timed(lambda: fit_many(runs, errors=errors, starts=STARTS), 1)
    load.append(os.getloadavg()[0])
    few = min(64, len(asked))
    optimistix, optimistix_seconds = by_optimistix(
        runs, np.stack([lane[0] for lane in asked[:few]]), np.stack([lane[3] for lane in asked[:few]])
    )
    table_of_ways = strategies(runs, errors[: min(32, len(errors))])
    load.append(os.getloadavg()[0])

    above = reached - tight
    rate = lanes / ours
    peers = {
        "SciPy, the project's compiled Jacobian": (len(asked) / compiled_seconds, compiled),
        "SciPy, lean NumPy Jacobian": (len(asked) / lean_seconds, written),
        "SciPy, lean NumPy Jacobian, tolerances 1e-14": (len(asked) / tight_seconds, tight),
        "optimistix LevenbergMarquardt under vmap, 64 lanes": (few / optimistix_seconds, optimistix),
    }
    peer_rows = "\n".join(
        f"| {name} | {each:.1f} | {rate / each:.0f} | {np.max(found - tight[: len(found)]):.1e} |"
        for name, (each, found) in peers.items()
    )
    way_rows = "\n".join(
        f"| {row['way']} | {row['microseconds_a_lane']:.0f} | {row['first_seconds']:.1f} | {100 * row['at_best']:.1f} |"
        for row in table_of_ways
    )
    page = f"""# Many fits at once

{POOLS} pools x {STARTS} starts x {len(errors)} bootstraps: {lanes:,} joint fits in {2 * POOLS + 2} parameters (by pool
{lanes * POOLS:,} problems), {len(EPOCHS)} checkpoints a pool, float64, every lane to convergence. **{ours:.2f} s** warm
(all: {", ".join(f"{each:.2f}" for each in [*seconds, *again])}; the last beside SciPy), {rate:,.0f} lanes a second. The
first call, 4 bootstraps with compilation: {first[0]:.2f} s. Load average of the machine before, before and after SciPy,
and at the end: {", ".join(f"{each:.1f}" for each in load)}.

| peer, {cores} cores | lanes a second | ours is faster by | its highest end above SciPy's tight one |
|---|---|---|---|
{peer_rows}

Of {len(asked)} sampled lanes {int(np.sum(above > 1e-9))} end more than 1e-9 above SciPy (tolerances 1e-14) from
the same start, {int(np.sum(above < -1e-9))} more than 1e-9 below; the highest is {above.max():.1e} above, the lowest
{-above.min():.1e} below. Converged: {int(fits.converged.sum())} of {len(errors)} bootstraps; of all lanes
{100 * np.mean(fits.objectives <= fits.objective[:, None] + 1e-9):.2f} % end within 1e-9 of the best of their bootstrap.

Ways to run {min(32, len(errors)) * STARTS:,} of these lanes on one thread:

| way | us a lane, warm | first call, s | ends within 1e-9 of the best, % |
|---|---|---|---|
{way_rows}
"""
    figures = {
        "lanes": lanes,
        "seconds": seconds,
        "seconds_beside_scipy": again,
        "first_seconds": first[0],
        "load": load,
        "peers_lanes_a_second": {name: each for name, (each, _) in peers.items()},
        "ratios": {name: rate / each for name, (each, _) in peers.items()},
        "above_scipy": {"count": int(np.sum(above > 1e-9)), "highest": above.max(), "lowest": above.min()},
        "ways": table_of_ways,
    }
    record.write("fit_many", "python -m benchmarks.fit_many", figures, page)


if __name__ == "__main__":
    main()
