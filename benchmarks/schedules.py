"""How close do 64 segments come to the best order of all, and how long does a gradient of a long schedule take?

    python -m benchmarks.schedules

The shipped pools without dilution (arXiv 2404.07177's constants), the first 4M samples drawn from the best pool. The
best order is known in closed form (`qqtjax.mix.best_first`); the search starts from its average over each segment
and from the best static weights. The gradient: 64 pools, 1,000 segments to 2 billion samples, with respect to all
weights, ends, sizes and the warm-up at once.
"""

from __future__ import annotations

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import record

BUDGETS = (64e6, 128e6, 640e6, 2e9)
SEGMENTS = (4, 16, 64)
POOLS, LONG = 64, 1000
REPEATS = 15


def long_gradient() -> dict[str, float]:
    """Seconds to compile and to run value and gradient of 64 pools x 1,000 segments."""
    from qqtjax.laws import UtilityParams
    from qqtjax.mix.schedule import Schedule, epochs_needed, schedule_error

    rng = np.random.default_rng(0)
    sizes = rng.uniform(5e6, 2e7, POOLS)
    params = UtilityParams(
        scale=4e6,
        floor=0.1,
        utility=-rng.uniform(0.05, 0.2, POOLS),
        half_life=rng.uniform(1, 10, POOLS),
        reference_size=sizes,
        dilution=0.0,
    )
    schedule = Schedule(
        weights=rng.dirichlet(np.ones(POOLS), LONG),
        ends=np.geomspace(4e6, 2e9, LONG + 1)[1:],
        sizes=sizes,
        warmup=np.eye(POOLS)[0],
    )
    max_epochs = epochs_needed(schedule, 4e6)
    with jax.enable_x64(True):
        schedule = jax.tree.map(jnp.asarray, schedule)
        function = jax.jit(jax.value_and_grad(lambda one: schedule_error(params, one, max_epochs)))
        start = time.perf_counter()
        compiled = function.lower(schedule).compile()
        compilation = time.perf_counter() - start
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            jax.block_until_ready(compiled(schedule))
            seconds.append(time.perf_counter() - start)
    return {
        "compile": compilation,
        "warm": statistics.median(seconds),
        "slowest": max(seconds),
        "max_epochs": max_epochs,
    }


def main() -> None:
    """Measure both and write the results."""
    from qqtjax.io.published import published
    from qqtjax.mix.best_first import best_first
    from qqtjax.mix.schedule import predict_schedule
    from qqtjax.mix.schedules import optimize_schedule

    fitted = published("datacomp-tmars").utility.with_params(dilution=0.0)
    worst = {fitted.pools.names[-1]: 1.0}
    figures: dict[str, object] = {}
    rows, orders = [], []
    for budget in BUDGETS:
        best = best_first(fitted, budget)
        burnt = best_first(fitted, budget, worst).error
        epochs = ", ".join(f"{each:g}" for each in best.epochs.round(2))
        orders.append(f"| {budget / 1e6:,.0f}M | {best.error:.10f} | {epochs} | {burnt:.6f} |")
        for segments in SEGMENTS:
            start = time.perf_counter()
            mix = optimize_schedule(fitted, budget, segments=segments)
            cold = time.perf_counter() - start
            start = time.perf_counter()
            mix = optimize_schedule(fitted, budget, segments=segments)
            warm = time.perf_counter() - start
            averaged = predict_schedule(fitted, best.averaged(mix.ends), mix.ends)
            figures[f"{budget:g}/{segments}"] = {
                "error": mix.error,
                "best_first": best.error,
                "averaged": averaged,
                "static": mix.static_error,
                "gap": mix.gap,
                "cold_seconds": cold,
                "warm_seconds": warm,
            }
            rows.append(
                f"| {budget / 1e6:,.0f}M | {segments} | {mix.error:.7f} | {mix.error - best.error:.1e} | "
                f"{averaged - best.error:.1e} | {mix.static_error - best.error:.1e} | {mix.gap:.1e} | "
                f"{warm:.2f} ({cold:.2f}) |"
            )
    timed = long_gradient()
    figures["gradient"] = timed
    order_table, excess_table = "\n".join(orders), "\n".join(rows)
    page = f"""# Schedules against the best order of all

Weights that change over training, the shipped pools without dilution, the first 4M samples from the best pool. The law
was never validated on data whose order was planned.

The best order in closed form; "burnt" is the same with the 4M drawn from the worst pool instead, which looks better
only because the law counts from 4M on:

| budget | error | epochs of each pool | burnt |
|---|---|---|---|
{order_table}

Excess error over it. "averaged" is the best order averaged over each segment, one of the two starts; "static" the best
constant weights after the same warm-up, the other; "gap" bounds how far other weights of the same segments could still
lower log(y - d); "cold" is the first call, with what earlier rows have not yet compiled:

| budget | segments | error | excess | averaged | static | gap | s, warm (cold) |
|---|---|---|---|---|---|---|---|
{excess_table}

Value and gradient of {POOLS} pools x {LONG:,} segments (to 2 billion samples, float64): {timed["warm"] * 1e3:.1f} ms
(median of {REPEATS}, slowest {timed["slowest"] * 1e3:.1f} ms), {timed["compile"]:.2f} s to compile.
"""
    record.write("schedules", "python -m benchmarks.schedules", figures, page)


if __name__ == "__main__":
    main()
