"""Do intervals from bootstraps and profiles hold the truth as often as they say?

    python -m benchmarks.studies.bootstrap_coverage
    python -m benchmarks.studies.bootstrap_coverage --studies 20     # a quicker look

Truths from the stated prior (`truths`, every heterogeneity), four pools, checkpoints at epochs .25, 1, 2, 5, 10, noise
.003. Nominal 95 % intervals of scale, floor, every b and tau, and of the errors of each pool alone and of equal weights
at 5 times the fitted budget. Independent noise with one run a pool; run effects (intra-run correlation .5) with three
runs a pool; and three redraws a pool whose log b and log tau scatter by .02 and .05.
"""

from __future__ import annotations

import argparse
import dataclasses
import warnings

import jax
import numpy as np

from benchmarks import record
from benchmarks.studies.truths import EPOCHS, POOLS, SIZE, draw_truths, errors, measure, params_of, table
from qqtjax.errors import QQTWarning
from qqtjax.fit.bootstrap import ResidualBootstrap, RunBootstrap, WildBootstrap, bootstrap
from qqtjax.fit.clusters import Unit
from qqtjax.fit.fitting import fit
from qqtjax.fit.profile import profile
from qqtjax.laws import FittedLaw
from qqtjax.laws.draws import Draws, draw_params
from qqtjax.runs import Runs

STUDIES, DRAWS, SEED = 120, 500, 20261201
FIELDS = ("scale", "floor", "utility", "half_life")
COLUMNS = (*FIELDS, "predictions")
WEIGHTS = np.vstack([np.eye(POOLS), np.full(POOLS, 1 / POOLS)])
BUDGET = 5 * max(EPOCHS) * SIZE
ONE = {"residual": ResidualBootstrap(), "wild": WildBootstrap()}
SEVERAL = {
    "residual, checkpoints": ResidualBootstrap(),
    "residual, by run": ResidualBootstrap(Unit.RUN),
    "wild, by run": WildBootstrap(Unit.RUN),
    "whole runs": RunBootstrap(),
}
SCENARIOS = {
    "independent noise, 1 run a pool": (1, {}, ONE),
    "run effects, 3 runs a pool": (3, {"correlation": 0.5}, SEVERAL),
    "redraws, 3 runs a pool": (3, {"redraws": (0.02, 0.05)}, SEVERAL),
}

Ends = dict[str, tuple[np.ndarray, np.ndarray]]


def of_draws(draws: Draws) -> Ends:
    """Ends of the intervals of every quantity."""
    drawn = {field: np.asarray(getattr(draws.params, field)).reshape(len(draws), -1) for field in FIELDS}
    drawn["predictions"] = draws.predict(WEIGHTS, BUDGET)
    return {name: tuple(np.quantile(each, [0.025, 0.975], axis=0)) for name, each in drawn.items()}


def of_profiles(fitted: FittedLaw, runs: Runs) -> Ends:
    found = {field: profile(fitted, runs, field) for field in FIELDS}
    return {
        field: (np.array([each.low for each in own]), np.array([each.high for each in own]))
        for field, own in found.items()
    }


def intervals(runs: Runs, several: bool, kinds: dict, seed: int) -> dict[str, Ends]:
    """The intervals of one study by every method."""
    fitted = fit(runs, starts=32)
    found = {name: of_draws(bootstrap(fitted, runs, kind, DRAWS, seed=seed)) for name, kind in kinds.items()}
    normal = Draws(fitted, draw_params(fitted, DRAWS, seed), "normal", np.inf, ())
    found["normal approximation"] = of_draws(normal)
    if not several:
        found["profile"] = of_profiles(fitted, runs)
    return found


def scenario(name: str, studies: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Coverage and median width of every quantity by every method."""
    times, noise, kinds = SCENARIOS[name]
    rng = np.random.default_rng([SEED, list(SCENARIOS).index(name)])
    truths = draw_truths(rng, studies)
    params, empty = params_of(truths), table(runs_per_pool=times)
    measured = measure(rng, truths, empty, **noise)
    future = errors(params, WEIGHTS, np.array(BUDGET))
    held: dict[str, dict[str, list[np.ndarray]]] = {}
    wide: dict[str, dict[str, list[np.ndarray]]] = {}
    for place in range(studies):
        own = jax.tree.map(lambda leaf, place=place: leaf[place], params)
        truth = {field: np.atleast_1d(getattr(own, field)) for field in FIELDS} | {"predictions": future[place]}
        found = intervals(dataclasses.replace(empty, error=measured[place]), times > 1, kinds, place)
        for method, ends in found.items():
            for what, (low, high) in ends.items():
                inside = (low <= truth[what]) & (truth[what] <= high)
                held.setdefault(method, {}).setdefault(what, []).append(inside)
                size = (high - low) / (truth[what] if what == "scale" else 1.0)
                wide.setdefault(method, {}).setdefault(what, []).append(size)
    return {
        method: {what: (float(np.mean(each)), float(np.median(wide[method][what]))) for what, each in own.items()}
        for method, own in held.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=STUDIES)
    studies = parser.parse_args().studies
    warnings.simplefilter("ignore", QQTWarning)
    figures, parts = {}, []
    for name in SCENARIOS:
        found = figures[name] = scenario(name, studies)
        lines = [f"| {name} | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
        for method, own in found.items():
            cells = (f"{100 * own[what][0]:.1f} ({own[what][1]:.2g})" if what in own else "" for what in COLUMNS)
            lines.append(f"| {method} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    tables = "\n\n".join(parts)
    page = f"""# Coverage of 95 % intervals by bootstraps and profiles

Per cent of {studies} studies a table (four times as many intervals for b and tau, five for predictions) whose interval
holds the truth; in brackets the median width (of the scale: relative). The standard error of a coverage of 95 % is
{100 * np.sqrt(0.95 * 0.05 / studies):.1f} points for scale and floor. {DRAWS} draws a study.

{tables}
"""
    record.write("studies_bootstrap_coverage", "python -m benchmarks.studies.bootstrap_coverage", figures, page)


if __name__ == "__main__":
    main()
