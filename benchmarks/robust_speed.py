"""One mix for many draws: its certificate, its time, and SciPy's SLSQP on the same epigraph."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import record
from qqtjax.laws import FittedLaw, UtilityParams, utility
from qqtjax.laws.draws import Draws
from qqtjax.mix import CVaR, Mean, Mix, Worst, robust_mix
from qqtjax.runs import Pools, Run

SIZE, PROBLEMS, SEED = 12.8e6, 8, 0
SHAPES = ((64, 4), (256, 4), (64, 16), (256, 16))
OBJECTIVES = (Mean(), CVaR(0.9), Worst())


def draw_problem(rng: np.random.Generator, count: int, width: int) -> tuple[Draws, float]:
    """Draws: 10 % on b, 40 % on tau, 20 % on the scale, dilution anywhere in [0, 1]; a budget of 1 to 20 epochs."""
    best = -np.exp(rng.uniform(np.log(0.08), np.log(0.3), width))
    half = np.exp(rng.uniform(np.log(2), np.log(15), width))
    size = np.full(width, SIZE)
    params = UtilityParams(
        scale=4e6 * np.exp(0.2 * rng.normal(size=count)),
        floor=0.1 + 0.02 * rng.normal(size=count),
        utility=best * np.exp(0.1 * rng.normal(size=(count, width))),
        half_life=half * np.exp(0.4 * rng.normal(size=(count, width))),
        reference_size=np.full((count, width), SIZE),
        dilution=rng.uniform(0, 1, count),
        amplitude=np.ones(count),
    )
    centre = UtilityParams(scale=4e6, floor=0.1, utility=best, half_life=half, reference_size=size)
    fitted = FittedLaw(utility, centre, Pools.of({f"p{place}": SIZE for place in range(width)}))
    return Draws(fitted, params, "made up", np.inf, ()), SIZE * width * float(np.exp(rng.uniform(0, np.log(20))))


@jax.jit
def _errors(params: UtilityParams, weights: jax.Array, budget: float) -> jax.Array:
    run = Run(weights=weights, sizes=jnp.full(weights.shape, SIZE), samples_seen=budget)
    return jax.vmap(lambda own: utility(own, run))(params)


_slopes = jax.jit(jax.jacfwd(_errors, argnums=1))


def slsqp(draws: Draws, budget: float, tail: float) -> tuple[float, float]:
    """CVaR of the end of SLSQP on  min t + sum_s u_s / (S tail),  y_s(w) <= t + u_s,  and its seconds."""
    from scipy.optimize import minimize

    count, width = len(draws), len(draws.fitted.pools)
    cost = np.concatenate([np.zeros(width), [1.0], np.full(count, 1 / (count * tail))])
    fixed = np.concatenate([np.zeros((count, width)), np.ones((count, 1)), np.eye(count)], axis=1)
    start = np.full(width, 1 / width)

    def errors(weights: np.ndarray) -> np.ndarray:
        return np.asarray(_errors(draws.params, weights, budget))

    def steep(x: np.ndarray) -> np.ndarray:
        return fixed - np.pad(np.asarray(_slopes(draws.params, x[:width], budget)), [(0, 0), (0, 1 + count)])

    def room(x: np.ndarray) -> np.ndarray:
        return x[width] + x[width + 1 :] - errors(x[:width])

    with jax.enable_x64(True):
        level = errors(start)
        steep(np.concatenate([start, level[:1], level]))
        began = time.perf_counter()
        ended = minimize(
            lambda x: (cost @ x, cost),
            np.concatenate([start, [level.min()], level - level.min()]),
            jac=True,
            method="SLSQP",
            bounds=[(0, 1)] * width + [(None, None)] + [(0, None)] * count,
            constraints=[
                {"type": "eq", "fun": lambda x: x[:width].sum() - 1},
                {"type": "ineq", "fun": room, "jac": steep},
            ],
            options={"maxiter": 200, "ftol": 1e-12},
        )
        seconds = time.perf_counter() - began
        weights = np.clip(ended.x[:width], 0, 1)
        each = errors(weights / weights.sum())
    return CVaR(1 - tail).judging(np.full(count, 1 / count)).of(each), seconds


def main() -> None:
    """Write the page."""
    lines = ["| draws x pools | objective | largest relative gap | seconds, median | longest | first call |"]
    lines += ["|---|---|---:|---:|---:|---:|"]
    figures, against = {}, []
    for count, width in SHAPES:
        problems = [draw_problem(np.random.default_rng([SEED, number]), count, width) for number in range(PROBLEMS)]
        for objective in OBJECTIVES:
            began = time.perf_counter()
            robust_mix(*problems[0], objective)
            first, gaps, seconds = time.perf_counter() - began, [], []
            for number, (draws, budget) in enumerate(problems):
                began = time.perf_counter()
                found = robust_mix(draws, budget, objective)
                assert isinstance(found, Mix)
                seconds.append(time.perf_counter() - began)
                gaps.append(found.certificate.gap / found.error)
                if objective == CVaR(0.9) and count == 64 and number < 3:
                    value, taken = slsqp(draws, budget, 0.1)
                    against.append((f"{count} x {width}", value - found.error, taken, seconds[-1]))
            name = f"{count} x {width}"
            figures[f"{name}, {objective}"] = {"gaps": gaps, "seconds": seconds, "first": first}
            times = f"{np.median(seconds):.3f} | {max(seconds):.3f} | {first:.1f}"
            lines.append(f"| {name} | {objective} | {max(gaps):.0e} | {times} |")
    page = "\n".join(
        [
            "# One mix for many draws",
            "",
            f"{PROBLEMS} random problems of each shape, budgets of 1 to 20 epochs of all pools; whole calls of",
            "`robust_mix`, the plug-in mix and the runner-ups included. The first call compiles.",
            "",
            *lines,
            "",
            "SLSQP on the epigraph of CVaR .9, with exact slopes, from an even mix; its end less ours, in error:",
            "",
            "| draws x pools | SLSQP - ours | seconds of SLSQP | ours |",
            "|---|---:|---:|---:|",
            *(f"| {name} | {more:+.1e} | {taken:.2f} | {own:.2f} |" for name, more, taken, own in against),
        ]
    )
    record.write("robust_speed", "python -m benchmarks.robust_speed", {"robust_mix": figures, "slsqp": against}, page)


if __name__ == "__main__":
    main()
