"""How long do draws and the decisions that rest on them take, from the table of runs on?

    python -m benchmarks.studies.decision_speed

Four pools, checkpoints at epochs .25, 1, 2, 5, 10, noise .003: the fit, 1,000 bootstrap draws, intervals of every
parameter, errors with intervals, P(best) and expected regret of the nested filters at 20 budgets, and the crossover set
of each filter with the next, with the share of draws in which they never cross. Every stage is timed warm (median of
several studies of the same shape, each with its own truth) and cold.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import record
from benchmarks.planted import POOLS, SIZE, curves, draw_truth
from qqtjax.decide.crossing import crossover_set
from qqtjax.decide.probabilities import decide
from qqtjax.fit.bootstrap import Bootstrap, ResidualBootstrap, WildBootstrap, bootstrap, refit
from qqtjax.fit.fitting import fit
from qqtjax.fit.many import fit_many
from qqtjax.fit.problem import problem_of
from qqtjax.laws.intervals import parameter_intervals

EPOCHS = (0.25, 1.0, 2.0, 5.0, 10.0)
NOISE, DRAWS, REPEATS, SEED = 3e-3, 1000, 7, 2024
BUDGETS = np.geomspace(SIZE, 50 * SIZE, 20)
ASKED = 5.0
COLD_STARTS = 64


def filters() -> dict[str, np.ndarray]:
    """Nested filters: the best pool, the best two, .., all."""
    return {f"best {count}": (np.arange(POOLS) < count) / count for count in range(1, POOLS + 1)}


def stages(seed: int, kind: Bootstrap) -> dict[str, float]:
    """Seconds of every stage on one study."""
    rng = np.random.default_rng([SEED, seed])
    runs = curves(draw_truth(rng), EPOCHS, NOISE, rng)
    spent: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        found = work()
        spent[name] = time.perf_counter() - start
        return found

    fitted = timed("fit", lambda: fit(runs))
    draws = timed("draws", lambda: bootstrap(fitted, runs, kind, DRAWS, seed=seed))
    timed("intervals of parameters", lambda: parameter_intervals(draws))
    options = filters()
    timed("errors, P(best), regret", lambda: decide(draws, options, BUDGETS))
    names = list(options)
    timed(
        "crossover sets",
        lambda: [
            crossover_set(draws, options[one], options[other], SIZE, 50 * SIZE)
            for one, other in itertools.pairwise(names)
        ],
    )
    return spent


def agreement(studies: int, tables: int) -> tuple[float, float]:
    """Share of refits from the estimate that end where starts from everywhere end, and the worst ratio of objectives.

    Args:
        studies: how many fits.
        tables: with fresh noise around each of them.
    """
    ratios = []
    for seed in range(studies):
        rng = np.random.default_rng([SEED, 1000 + seed])
        runs = curves(draw_truth(rng), EPOCHS, NOISE, rng)
        fitted = fit(runs)
        problem = problem_of(fitted, runs)
        errors = runs.error + problem.residuals + NOISE * rng.normal(size=(tables, len(runs)))
        warm = refit(fitted, runs, problem, errors, np.ones(errors.shape), 1, 0)
        cold = fit_many(runs, errors=errors, starts=COLD_STARTS)
        ratios.append(warm.objective / cold.objective)
    ratio = np.concatenate(ratios)
    return float(np.mean(ratio <= 1 + 1e-6)), float(ratio.max())


def main() -> None:
    cold = stages(0, ResidualBootstrap())
    rows, figures = [], {}
    for kind in (ResidualBootstrap(), WildBootstrap()):
        warm = [stages(1 + each, kind) for each in range(REPEATS)]
        median = {name: statistics.median(each[name] for each in warm) for name in cold}
        total = statistics.median(sum(each.values()) for each in warm)
        name = type(kind).__name__
        figures[name] = {"stages": median, "total": total, "slowest": max(sum(each.values()) for each in warm)}
        shown = " | ".join(f"{value:.2f}" for value in median.values())
        rows.append(f"| {name} | {shown} | **{total:.2f}** | {DRAWS / median['draws']:,.0f} |")
    share, worst = agreement(10, 100)
    figures |= {"cold": cold, "same end": share, "worst ratio": worst}
    head = " | ".join(cold)
    page = f"""# Draws and decisions, {POOLS} pools x {DRAWS:,} bootstrap draws

Seconds, warm, median of {REPEATS} studies with truths of their own; asked: within {ASKED:g} s on two cores.

| bootstrap | {head} | in all | draws a second |
|---|{"---|" * (len(cold) + 2)}
{chr(10).join(rows)}

Cold (the first study of a process, every program compiled): {sum(cold.values()):.1f} s in all, of which the fit
{cold["fit"]:.1f} s and the draws {cold["draws"]:.1f} s.

Every draw starts from the estimate alone. Of 1,000 tables of 10 other studies {100 * share:.1f} % end where the best of
{COLD_STARTS} starts from everywhere ends (1e-6 of the objective); the largest ratio of the two is {worst:.9f}.
"""
    record.write("studies_decision_speed", "python -m benchmarks.studies.decision_speed", figures, page)


if __name__ == "__main__":
    main()
