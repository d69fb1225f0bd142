"""How long does the best mix take, against SciPy's SLSQP on the same law, with the certificate that it comes with?

    python -m benchmarks.mix_speed
    python -m benchmarks.mix_speed --budgets 200     # a quicker look

Random problems of `laws.utility` in which many pools are drawn from: utilities within 15 % of -0.15, half-lives from
0.3 to 100 epochs, sizes over three decades, dilution 1, budgets from 1 to 30 times all samples. Every figure is warm
(median of several, compilation apart); SLSQP runs in the same process on the same compiled value and gradient.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from benchmarks import record
from qqtjax.io.tables import published
from qqtjax.laws import FittedLaw, UtilityParams, utility
from qqtjax.mix import Group, optimize_mix
from qqtjax.mix.separable import total, utility_terms
from qqtjax.mix.water_filling import water_fill
from qqtjax.runs import Pools

REPEATS = 7
TOGETHER = {4: 0.2, 16: 0.6}  # pools: asked, ms per budget
AGAINST = {16: 20, 256: 100}  # pools: asked, how many times faster than SLSQP
SINGLE = (1, 2, 4, 8, 16, 30)  # budgets, in multiples of all samples
MANY, GROUPS = 4096, 20
SHIPPED = published("datacomp-tmars").utility


def problem(count: int, seed: int = 0) -> tuple[FittedLaw, float]:
    """A law on so many pools, and all of their samples."""
    rng = np.random.default_rng(seed)
    sizes = 10 ** rng.uniform(5, 8, count)
    params = UtilityParams(
        scale=1e6,
        floor=0.1,
        utility=-0.15 * (1 + 0.15 * rng.uniform(-1, 1, count)),
        half_life=10 ** rng.uniform(-0.5, 2, count),
        reference_size=sizes,
    )
    pools = Pools.of({f"p{place}": size for place, size in enumerate(sizes)})
    return FittedLaw(utility, params, pools), float(sizes.sum())


def clock(call: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, float, Any]:
    """Seconds of the first call less a warm one, median seconds of the warm ones, the result."""
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    warm = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = jax.block_until_ready(call())
        warm.append(time.perf_counter() - start)
    median = statistics.median(warm)
    return first - median, median, result


def together(count: int, budgets: int) -> dict[str, Any]:
    """Many budgets in one call of the public function; four pools are the published ones."""
    if count == len(SHIPPED.pools):
        fitted, seen = SHIPPED, np.geomspace(16e6, 1e10, budgets)
    else:
        fitted, samples = problem(count, count)
        seen = samples * np.geomspace(1, 30, budgets)
    compiled, warm, mixes = clock(lambda: optimize_mix(fitted, seen))
    return {
        "pools": count,
        "budgets": budgets,
        "ms_per_budget": 1e3 * warm / budgets,
        "asked_ms": TOGETHER[count],
        "compile_seconds": compiled,
        "largest_gap": float(mixes.gap.max()),
        "pools_drawn_from": float(np.mean(np.sum(mixes.weights > 0, axis=1))),
    }


def against_slsqp(count: int) -> dict[str, Any]:
    """Single budgets by water-filling and by SLSQP, the objective log(y - d) of both."""
    fitted, samples = problem(count, count)
    low, high, even = np.zeros(count), np.ones(count), np.full(count, 1 / count)
    rows = []
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), fitted.params)
        solve = jax.jit(water_fill)
        value = jax.jit(jax.value_and_grad(lambda weights, terms: -total(terms, weights)))
        for times in SINGLE:
            terms = jax.jit(utility_terms)(params, jnp.asarray(fitted.pools.sizes), times * samples)

            def both(weights: np.ndarray, terms: Any = terms) -> tuple[float, np.ndarray]:
                error, slope = value(weights, terms)
                return float(error), np.asarray(slope)

            def theirs(both: Any = both) -> Any:
                return minimize(
                    both,
                    even,
                    jac=True,
                    method="SLSQP",
                    bounds=[(0, 1)] * count,
                    constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(count)},
                    options={"maxiter": 500, "ftol": 1e-12},
                )

            _, ours, found = clock(lambda terms=terms: solve(terms, low, high), 50)
            _, slsqp, other = clock(theirs, 3)
            reached = np.clip(other.x, 0, 1)
            rows.append(
                {
                    "budget": times,
                    "ms": 1e3 * ours,
                    "slsqp_ms": 1e3 * slsqp,
                    "ratio": slsqp / ours,
                    "log_excess_above_ours": both(reached / reached.sum())[0] - both(np.asarray(found.weights))[0],
                    "gap": float(found.gap),
                }
            )
    return {"pools": count, "asked_ratio": AGAINST[count], "median_ratio": median(rows, "ratio"), "rows": rows}


def median(rows: list[dict[str, Any]], name: str) -> float:
    """Median of one figure over rows."""
    return statistics.median(row[name] for row in rows)


def many_pools() -> dict[str, Any]:
    """4,096 pools under bounds, and with caps on repeats and 20 group bounds."""
    fitted, samples = problem(MANY, MANY)
    seen = 8 * samples
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), fitted.params)
        terms = utility_terms(params, jnp.asarray(fitted.pools.sizes), seen)
        solve = jax.jit(water_fill)
        compiled, alone, found = clock(lambda: solve(terms, jnp.zeros(MANY), jnp.ones(MANY)))
    _, public, _ = clock(lambda: optimize_mix(fitted, seen))
    free = np.asarray(found.weights)
    rng = np.random.default_rng(1)
    groups = {}
    for place in range(GROUPS):
        members = rng.choice(MANY, MANY // 5, replace=False)
        # Half of the bounds bite, half do not.
        high = float(free[members].sum()) * (0.97 if place % 2 else 1.01)
        groups[f"g{place}"] = Group(tuple(f"p{member}" for member in members), high=min(high, 1.0))
    _, grouped, mix = clock(lambda: optimize_mix(fitted, seen, max_epochs=30, groups=groups), 3)
    return {
        "pools": MANY,
        "drawn_from": int(np.sum(free > 0)),
        "bounds_ms": 1e3 * public,
        "solver_ms": 1e3 * alone,
        "bounds_gap": float(found.gap),
        "compile_seconds": compiled,
        "groups_seconds": grouped,
        "groups_gap": mix.certificate.log_gap,
        "groups_active": len([line for line in mix.active if line.startswith("group")]),
    }


def main() -> None:
    """Time all of it and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", type=int, default=1000)
    arguments = parser.parse_args()
    batches = [together(count, arguments.budgets) for count in TOGETHER]
    races = [against_slsqp(count) for count in AGAINST]
    many = many_pools()
    rows = "\n".join(
        f"| {each['pools']} | {each['budgets']} | {each['ms_per_budget']:.3f} | {each['asked_ms']} | "
        f"{each['compile_seconds']:.1f} | {each['largest_gap']:.1e} | {each['pools_drawn_from']:.1f} |"
        for each in batches
    )
    duels = "\n".join(
        f"| {each['pools']} | {row['budget']} | {row['ms']:.2f} | {row['slsqp_ms']:.1f} | {row['ratio']:.0f} | "
        f"{row['log_excess_above_ours']:.1e} | {row['gap']:.1e} |"
        for each in races
        for row in each["rows"]
    )
    medians = "; ".join(
        f"{each['pools']} pools {each['median_ratio']:.1f} times (asked: {each['asked_ratio']})" for each in races
    )
    page = f"""# Speed of the best mix

`laws.utility`, dilution 1, float64; four pools are the published ones, others are drawn at random. Warm, median of
{REPEATS}; compilation apart.

## Many budgets in one call of `optimize_mix`

| pools | budgets | ms per budget | asked | compilation, s | largest certificate (error) | pools drawn from, mean |
|---|---|---|---|---|---|---|
{rows}

## One budget against SciPy's SLSQP

Same process, same compiled value and gradient of log(y - d), started from equal weights; budgets in multiples of all
samples. A positive difference: SLSQP ended above ours. Median of the ratios: {medians}.

| pools | budget | ms | SLSQP, ms | ratio | log(y - d) of SLSQP less ours | our certificate |
|---|---|---|---|---|---|---|
{duels}

## {MANY:,} pools, one budget

Bounds alone: {many["bounds_ms"]:.0f} ms through `optimize_mix` (asked: 50), {many["solver_ms"]:.0f} ms in its solver;
certificate {many["bounds_gap"]:.1e}, {many["drawn_from"]} pools drawn from.

With caps on repeats and {GROUPS} group bounds: {many["groups_seconds"]:.2f} s (asked: 2), certificate
{many["groups_gap"]:.1e}, {many["groups_active"]} group bounds active.
"""
    figures = {"together": batches, "against_slsqp": races, "many_pools": many}
    record.write("mix_speed", "python -m benchmarks.mix_speed", figures, page)


if __name__ == "__main__":
    main()
