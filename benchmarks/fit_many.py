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
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any, NamedTuple

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


def by_scipy(lane: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, float]]) -> tuple[float, float]:
    """The objective at which SciPy ends from one start, and the CPU seconds that it took."""
    start, low, high, error, tolerances = lane
    began = time.process_time()
    ended = least_squares(
        lambda x: WORKER["value"](x) - error, start, WORKER["jacobian"], bounds=(low, high), max_nfev=2000, **tolerances
    )
    return float(ended.cost), time.process_time() - began


def pooled(lanes: list, compiled: bool, cores: int) -> tuple[np.ndarray, float, float]:
    """Objectives of the lanes, seconds of the pool once it is warm, and CPU seconds of its processes."""
    with ProcessPoolExecutor(cores, get_context("spawn"), begin_worker, (compiled,)) as pool:
        list(pool.map(by_scipy, lanes[: 4 * cores]))
        start = time.perf_counter()
        found = list(pool.map(by_scipy, lanes, chunksize=max(1, len(lanes) // (8 * cores))))
        objectives, cpu = np.array(found).T
        return objectives, time.perf_counter() - start, float(cpu.sum())


def by_optimistix(runs, starts: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, float, float]:
    """End objectives of optimistix's Levenberg-Marquardt under vmap (no bounds), seconds when warm, CPU seconds."""
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
        start, cpu = time.perf_counter(), time.process_time()
        found = np.asarray(every(*given))
        return found, time.perf_counter() - start, time.process_time() - cpu


def timed(
    call: Callable[[], Any], count: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[Any, list[float]]:
    seconds, found = [], None
    for _ in range(count):
        start = clock()
        found = call()
        seconds.append(clock() - start)
    return found, seconds


def refit_floor(objective, x, at, lanes):
    """The floor at its bounded best given the rest, exactly: residuals are linear in it, its column is constant."""
    import jax.numpy as jnp

    from qqtjax.fit import arrow

    own, shared = arrow.divide(objective.layout)
    place, first = [slot.field for slot in shared].index("floor"), len(own) * POOLS
    floor, hessian = first + place, at.hessian
    pull, curvature = at.gradient[floor], hessian.corner[place][place]
    moved = jnp.clip(x[floor] - pull / curvature, lanes.low[floor], lanes.high[floor]) - x[floor]
    moved = jnp.where(jnp.isfinite(moved), moved, 0.0)
    crossed = [row[place] for row in hessian.border]
    corner = [hessian.corner[max(k, place)][min(k, place)] for k in range(len(shared))]
    slopes = jnp.concatenate([*crossed, *(one[None] for one in corner)])
    objective_there = at.objective + pull * moved + 0.5 * curvature * moved**2
    return x.at[floor].add(moved), at._replace(objective=objective_there, gradient=at.gradient + slopes * moved)


def refit_scale_and_floor(block, rows, x, at, lanes):
    """A Gauss-Newton step in scale and floor alone, evaluated, the floor's best there; kept where it is better."""
    import jax
    import jax.numpy as jnp

    from qqtjax.fit.lanes import _many
    from qqtjax.fit.levenberg_marquardt import FURTHEST_DOWN, FURTHEST_UP

    first = len(x) - 2
    (one, both), other = (row[-1] for row in at.hessian.corner), at.hessian.corner[1][0]
    pull, also = at.gradient[first:]
    step = jnp.stack([other * also - both * pull, other * pull - one * also]) / (one * both - other**2)
    step = jnp.clip(jnp.where(jnp.isfinite(step), step, 0.0), -FURTHEST_DOWN, FURTHEST_UP)
    trial = x.at[first:].set(jnp.clip(x[first:] + step, lanes.low[first:], lanes.high[first:]))
    trial, there = refit_floor(block.objective, trial, _many(block, rows, trial, lanes), lanes)
    better = there.objective < at.objective
    return jax.tree.map(lambda new, old: jnp.where(better, new, old), (trial, there), (x, at))


def projected(both: bool):
    """`lanes._advanced` with variable projection: what is (nearly) linear is fitted again at every trial.

    The step itself needs no change: with the linear parameters at their best, Kaufman's step is the Schur complement
    that the arrow takes anyway.
    """
    import jax
    import jax.numpy as jnp

    from qqtjax.fit.arrow import ARROW
    from qqtjax.fit.lanes import _many
    from qqtjax.fit.levenberg_marquardt import begin, judge, propose

    def advanced(block, rows, lanes, fresh, state):
        begun = begin(jnp.asarray(lanes.start), state.at.hessian)
        state = jax.tree.map(lambda new, old: jnp.where(fresh, new, old), begun, state)

        def body(carry):
            count, state = carry
            proposal = propose(ARROW, state, lanes.low, lanes.high)
            x, new = refit_floor(block.objective, proposal.trial, _many(block, rows, proposal.trial, lanes), lanes)
            if both:
                x, new = refit_scale_and_floor(block, rows, x, new, lanes)
            return count + 1, judge(state, proposal._replace(trial=x, moved=x - state.x), new, block.tolerance)

        def unfinished(carry):
            return (carry[0] < block.iterations) & ~jnp.all(carry[1].done)

        return jax.lax.while_loop(unfinished, body, (jnp.asarray(0), state))[1]

    return advanced


class Counted:
    """In place of `lanes.compiled`: counts iterations of lanes that are not done, where a call makes one."""

    def __init__(self, compiled: Callable[[str], Callable[..., Any]]) -> None:
        self.compiled, self.iterations = compiled, 0

    def __call__(self, platform: str) -> Callable[..., Any]:
        """The program for a platform, watched."""
        advanced = self.compiled(platform)

        def counting(blocks, rows, given, fresh, states):
            moving = [new | ~np.asarray(state.done) for new, state in zip(fresh, states, strict=True)]
            self.iterations += int(np.sum(moving))
            return advanced(blocks, rows, given, fresh, states)

        return counting


class Way(NamedTuple):
    """How lanes are run: what of the package is replaced."""

    name: str
    width: int | None = 128
    iterations: int = 4
    dense: bool = False
    furthest: tuple[float, float] = (0.5, 1.0)
    advanced: Callable[..., Any] | None = None


def strategies(runs, errors: np.ndarray) -> list[dict[str, Any]]:
    """Ways to run the same lanes by one worker, each warm; how many end at the best objective of their version."""
    from unittest.mock import patch

    import jax

    from qqtjax.fit import arrow, candidates, fit_many, lanes, levenberg_marquardt

    count = len(errors) * STARTS
    ways = [
        Way("dense, all lanes wait for the slowest", count, 500, dense=True),
        Way("dense, places refilled after 4 iterations", dense=True),
        Way("arrow, all lanes wait for the slowest", count, 500),
        Way("arrow, 128 wait for the slowest of them", iterations=500),
        Way("arrow, 128 refilled after 16 iterations", iterations=16),
        Way("arrow, 128 refilled after 4 iterations (chosen)"),
        Way("arrow, 512 refilled after 4 iterations", 512),
        Way("arrow, 128 refilled after 5, steps of any length", iterations=5, furthest=(np.inf, np.inf)),
        Way("chosen, and the floor projected out (its best at each trial)", advanced=projected(both=False)),
        Way("chosen, and scale and floor projected out (a second evaluation a trial)", advanced=projected(both=True)),
    ]
    rows = []
    for way in ways:
        settings = {"errors": errors, "starts": STARTS, "width": way.width, "workers": 1}
        with ExitStack() as stack:

            def put(place, name, value, stack=stack):
                stack.enter_context(patch.object(place, name, value))

            jax.clear_caches()
            put(candidates, "ITERATIONS", way.iterations)
            put(levenberg_marquardt, "FURTHEST_DOWN", way.furthest[0])
            put(levenberg_marquardt, "FURTHEST_UP", way.furthest[1])
            put(lanes, "_advanced", way.advanced or lanes._advanced)
            put(arrow, "divide", (lambda layout: None) if way.dense else arrow.divide)
            _, first = timed(lambda settings=settings: fit_many(runs, **settings), 1)
            found, seconds = timed(
                lambda settings=settings: fit_many(runs, **settings), 1 if way.dense else 5, time.process_time
            )
            counted = Counted(lanes.compiled)
            put(candidates, "ITERATIONS", 1)
            put(lanes, "compiled", counted)
            if not way.dense:
                fit_many(runs, **settings)
        rows.append(
            {
                "way": way.name,
                "microseconds_a_lane": min(seconds) / count * 1e6,
                "first_seconds": first[0],
                "iterations_a_lane": counted.iterations / count if counted.iterations else None,
                "at_best": float(np.mean(found.objectives <= found.objective[:, None] + 1e-9)),
            }
        )
        print(rows[-1], flush=True)
    jax.clear_caches()
    return rows


def several_laws(runs, errors: np.ndarray) -> dict[str, Any]:
    """Three laws in one call against one after the other: first calls with compilation, warm ones, how far apart."""
    import jax

    from qqtjax import laws
    from qqtjax.fit import Model, fit_laws, fit_many

    models = Model(laws.utility), Model(laws.effective_data), Model(laws.power)
    settings = {"errors": errors, "starts": STARTS}

    def together():
        return fit_laws(runs, models, **settings)

    def in_turn():
        return [fit_many(runs, model.law, **settings) for model in models]

    one, first = timed(together, 1)
    jax.clear_caches()
    other, first_in_turn = timed(in_turn, 1)
    both = [[timed(way, 1, time.process_time)[1][0] for way in (together, in_turn)] for _ in range(5)]
    seconds, seconds_in_turn = zip(*both, strict=True)
    apart = max(float(np.max(np.abs(a.objectives / b.objectives - 1))) for a, b in zip(one, other, strict=True))
    found = {
        "lanes": len(models) * len(errors) * STARTS,
        "together": {"first": first[0], "seconds": seconds},
        "in_turn": {"first": first_in_turn[0], "seconds": seconds_in_turn},
        "apart": apart,
    }
    print(found, flush=True)
    return found


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _median(measured: dict[str, Any]) -> str:
    return f"{statistics.median(measured['seconds']):.2f}"


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
    began = time.process_time()
    fits, seconds = timed(lambda: fit_many(runs, errors=errors, starts=STARTS), arguments.repeats)
    cpu = (time.process_time() - began) / arguments.repeats / lanes
    ours = statistics.median(seconds)
    print(f"ours: first {first[0]:.2f} s, {seconds} s for {lanes} lanes", flush=True)

    picked = np.random.default_rng(1).choice(lanes, arguments.lanes, replace=False)
    asked = []
    for version, start in zip(*np.divmod(picked, STARTS), strict=True):
        space = search_space(utility, dataclasses.replace(runs, error=errors[version]))
        asked.append((space.draw_starts(STARTS, 0)[start], *space.box(), errors[version]))
    reached = fits.objectives.ravel()[picked]
    load.append(os.getloadavg()[0])
    compiled = pooled([(*lane, {}) for lane in asked], True, cores)
    written = pooled([(*lane, {}) for lane in asked], False, cores)
    tight = pooled([(*lane, TIGHT) for lane in asked], False, cores)
    # The machine is shared: ours again beside SciPy's, so that both saw the same company.
    _, again = timed(lambda: fit_many(runs, errors=errors, starts=STARTS), 1)
    load.append(os.getloadavg()[0])
    few = min(64, len(asked))
    optimistix = by_optimistix(
        runs, np.stack([lane[0] for lane in asked[:few]]), np.stack([lane[3] for lane in asked[:few]])
    )
    table_of_ways = strategies(runs, errors[: min(32, len(errors))])
    laws_at_once = several_laws(runs, errors[: min(32, len(errors))])
    load.append(os.getloadavg()[0])

    above = reached - tight[0]
    rate = lanes / ours
    peers = {
        "SciPy, the project's compiled Jacobian": compiled,
        "SciPy, lean NumPy Jacobian": written,
        "SciPy, lean NumPy Jacobian, tolerances 1e-14": tight,
        "optimistix LevenbergMarquardt under vmap, 64 lanes": optimistix,
    }
    ratios = {
        name: {"wall": rate * wall / len(found), "cpu": spent / len(found) / cpu}
        for name, (found, wall, spent) in peers.items()
    }
    peer_rows = "\n".join(
        f"| {name} | {len(found) / wall:.1f} | {ratios[name]['wall']:.0f} | {spent / len(found) * 1e3:.2f} | "
        f"{ratios[name]['cpu']:.0f} | {np.max(found - tight[0][: len(found)]):.1e} |"
        for name, (found, wall, spent) in peers.items()
    )
    way_rows = "\n".join(
        f"| {row['way']} | {row['microseconds_a_lane']:.0f} | {_number(row['iterations_a_lane'])} | "
        f"{row['first_seconds']:.1f} | {100 * row['at_best']:.1f} |"
        for row in table_of_ways
    )
    page = f"""# Many fits at once

{POOLS} pools x {STARTS} starts x {len(errors)} bootstraps: {lanes:,} joint fits in {2 * POOLS + 2} parameters (by pool
{lanes * POOLS:,} problems), {len(EPOCHS)} checkpoints a pool, float64, every lane to convergence. **{ours:.2f} s** warm
(all: {", ".join(f"{each:.2f}" for each in [*seconds, *again])}; the last beside SciPy), {rate:,.0f} lanes a second,
{cpu * 1e3:.3f} ms of CPU time a lane. The
first call, 4 bootstraps with compilation: {first[0]:.2f} s. Load average of the machine before, before and after SciPy,
and at the end: {", ".join(f"{each:.1f}" for each in load)}.

| peer, {cores} cores | lanes a second | ours faster by | CPU ms a lane | by CPU time | highest end above tight |
|---|---|---|---|---|---|
{peer_rows}

Of {len(asked)} sampled lanes {int(np.sum(above > 1e-9))} end more than 1e-9 above SciPy (tolerances 1e-14) from
the same start, {int(np.sum(above < -1e-9))} more than 1e-9 below; the highest is {above.max():.1e} above, the lowest
{-above.min():.1e} below. Converged: {int(fits.converged.sum())} of {len(errors)} bootstraps; of all lanes
{100 * np.mean(fits.objectives <= fits.objective[:, None] + 1e-9):.2f} % end within 1e-9 of the best of their bootstrap.

Ways to run {min(32, len(errors)) * STARTS:,} of these lanes by one worker:

| way | us of CPU a lane, warm | iterations a lane | first call, s | ends within 1e-9 of the best, % |
|---|---|---|---|---|
{way_rows}

Projecting out: the floor is linear and its best costs nothing; the scale is a factor of its own for each pool (to the
power of minus its utility), so that its best needs another evaluation.

Three laws (utility, effective_data, power), {laws_at_once["lanes"]:,} lanes, on all cores:

| way | warm, CPU s (median of 5) | first call, s |
|---|---|---|
| one call (`fit_laws`) | {_median(laws_at_once["together"])} | {laws_at_once["together"]["first"]:.1f} |
| one after the other (`fit_many`) | {_median(laws_at_once["in_turn"])} | {laws_at_once["in_turn"]["first"]:.1f} |

Objectives of the two differ by at most {laws_at_once["apart"]:.1e} of themselves.
"""
    figures = {
        "lanes": lanes,
        "seconds": seconds,
        "seconds_beside_scipy": again,
        "first_seconds": first[0],
        "load": load,
        "cpu_seconds_a_lane": cpu,
        "peers_lanes_a_second": {name: len(found) / wall for name, (found, wall, _) in peers.items()},
        "ratios": ratios,
        "above_scipy": {"count": int(np.sum(above > 1e-9)), "highest": above.max(), "lowest": above.min()},
        "ways": table_of_ways,
        "laws": laws_at_once,
    }
    record.write("fit_many", "python -m benchmarks.fit_many", figures, page)


if __name__ == "__main__":
    main()
