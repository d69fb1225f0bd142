"""How often do nominal 95 % intervals hold the truth: parameters, predictions at 5 times the budget, crossovers?

    python -m benchmarks.studies.coverage
    python -m benchmarks.studies.coverage --studies 200     # a quicker look

Truths and noise are those of `benchmarks/studies/truths.py`. Intervals are those of Student's t draws around each fit
(`qqtjax.fit.covariance`): of independent checkpoints with one run a pool, of whole runs with three.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import record
from benchmarks.studies import truths as made
from benchmarks.studies.fitted import STARTS, Studies, coordinates, draws_of, fit_studies, params_at
from qqtjax.laws import utility
from qqtjax.runs import Run

SEED, DRAWS, LEVEL = 20261126, 400, 0.95
FAR = 5 * max(made.EPOCHS) * made.SIZE
HORIZON = (0.5 * made.SIZE, 100 * made.SIZE)
GRID = np.geomspace(*HORIZON, 48)
CASES = {
    "independent noise": {"runs": 1, "asked": (0.93, 0.97)},
    "run effects, correlation .5": {"runs": 3, "correlation": 0.5, "asked": (0.90, 0.98)},
    "pools redrawn": {"runs": 3, "redraws": (0.03, 0.08), "asked": (0.90, 0.98)},
    "independent noise, three runs": {"runs": 3, "by_run": False, "asked": (0.93, 0.97)},
}
PARTS = ("scale", "floor", "utility", "half-life")
PART_OF = np.array([0, 1, *[2] * made.POOLS, *[3] * made.POOLS])


def options(truths: made.Truths) -> tuple[np.ndarray, np.ndarray]:
    """`[B, 4]` weights of the best pool and of the union of the best two, by true utility."""
    order = np.argsort(truths.utility, axis=1)
    first = np.eye(made.POOLS)[order[:, 0]]
    return first, (first + np.eye(made.POOLS)[order[:, 1]]) / 2


@jax.jit
def _each(params: Any, weights: jax.Array, seen: jax.Array) -> jax.Array:
    sizes = jnp.full(made.POOLS, made.SIZE)
    one = lambda own, shares, n: utility(own, Run(weights=shares, sizes=sizes, samples_seen=n))  # noqa: E731
    return jax.vmap(one)(params, weights, seen)


def errors_each(params: Any, weights: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """`[B]` errors of one run a study, `weights [B, 4]`, `seen [B]`."""
    with jax.enable_x64(True):
        return np.asarray(_each(params, weights, seen))


def crossing(truths: made.Truths) -> np.ndarray:
    """`[B]` budget at which the union of the best two first beats the best pool alone; NaN where beyond the horizon."""
    own = made.params_of(truths)
    gaps = np.stack([errors_each(own, w, np.full(len(w), n)) for n in GRID for w in options(truths)])
    gaps = np.log(gaps[0::2]) - np.log(gaps[1::2])
    found = np.full(len(truths.scale), np.nan)
    place = np.argmax(gaps > 0, axis=0)
    has = (gaps.max(axis=0) > 0) & (place > 0)
    low, high = np.log(GRID[np.maximum(place - 1, 0)]), np.log(GRID[place])
    for _ in range(40):
        middle = (low + high) / 2
        one, two = (errors_each(own, w, np.exp(middle)) for w in options(truths))
        above = one > two
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    found[has] = np.exp(high[has])
    return found


def gaps_at(studies: Studies, drawn: np.ndarray, truths: made.Truths, seen: np.ndarray) -> np.ndarray:
    """`[B, S]` log error of the best pool less that of the union, under every draw, at a budget for each study."""
    count = drawn.shape[1]
    own = params_at(drawn, studies.params)
    one, two = (errors_each(own, np.repeat(w, count, axis=0), np.repeat(seen, count)) for w in options(truths))
    return (np.log(one) - np.log(two)).reshape(len(seen), count)


def case(name: str, count: int, rng: np.random.Generator) -> dict[str, Any]:
    """One kind of noise: all coverages."""
    about = CASES[name]
    truths = made.draw_truths(rng, count)
    runs = made.table(runs_per_pool=about["runs"])
    measured = made.measure(
        rng, truths, runs, correlation=about.get("correlation", 0.0), redraws=about.get("redraws", (0.0, 0.0))
    )
    studies = fit_studies(runs, measured, by_run=about.get("by_run", about["runs"] > 1))
    true = coordinates(made.params_of(truths))
    drawn = draws_of(studies, DRAWS, rng)
    ends = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = np.quantile(drawn, ends, axis=1)
    inside = (true >= low) & (true <= high)
    found: dict[str, Any] = {part: float(inside[:, PART_OF == place].mean()) for place, part in enumerate(PARTS)}
    held = []
    for weights in (*options(truths), np.full((count, made.POOLS), 1 / made.POOLS)):
        seen = np.full(count, FAR)
        own = params_at(drawn, studies.params)
        errors = errors_each(own, np.repeat(weights, DRAWS, axis=0), np.repeat(seen, DRAWS)).reshape(count, DRAWS)
        bottom, top = np.quantile(errors, ends, axis=1)
        exact = errors_each(made.params_of(truths), weights, seen)
        held.append((exact >= bottom) & (exact <= top))
    found["predictions"] = float(np.mean(held))
    root = crossing(truths)
    has = np.isfinite(root)
    bottom, top = np.quantile(gaps_at(studies, drawn, truths, np.where(has, root, 1e8)), ends, axis=1)
    found["crossovers"] = float(np.mean(((bottom <= 0) & (top >= 0))[has]))
    sets = np.stack(
        [np.quantile(gaps_at(studies, drawn, truths, np.full(count, n)), ends, axis=1) for n in GRID], axis=-1
    )
    tied = (sets[0] <= 0) & (sets[1] >= 0)
    step = np.log(GRID[1] / GRID[0])
    bounded = tied.any(axis=1) & ~tied[:, 0] & ~tied[:, -1] & has
    found["width"] = float(np.median(np.exp(tied[bounded].sum(axis=1) * step)))
    found["open"] = float(np.mean(tied[has, -1]))
    found["crossing"] = int(has.sum())
    found["floor at its bound"] = float(studies.at_bound[:, 1].mean())
    found["half-life at its bound"] = float(studies.at_bound[:, 2 + made.POOLS :].mean())
    return found


def main() -> None:
    """Run every case and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    start = time.perf_counter()
    found = {}
    for place, name in enumerate(CASES):
        found[name] = case(name, arguments.studies, np.random.default_rng([arguments.seed, place]))
        print(name, found[name], flush=True)
    columns = (*PARTS, "predictions", "crossovers")
    rows = []
    for name, each in found.items():
        low, high = CASES[name]["asked"]
        cells = [f"{each[column]:.3f}{'' if low <= each[column] <= high else ' (missed)'}" for column in columns]
        rows.append(f"| {name} | {low:.2f} to {high:.2f} | {' | '.join(cells)} |")
    widths = "\n".join(
        f"| {name} | {each['crossing']} | {each['width']:.2f} | {each['open']:.1%} | "
        f"{each['floor at its bound']:.1%} | {each['half-life at its bound']:.1%} |"
        for name, each in found.items()
    )
    lines = "\n".join(rows)
    page = f"""# Coverage of 95 % intervals

{arguments.studies:,} studies a row: 4 pools of 12.8M samples measured alone at epochs .25, 1, 2, 5, 10, noise
{made.NOISE}; fits of `laws.utility` from {STARTS} starts; intervals are quantiles of {DRAWS} Student's t draws around
each fit: of independent checkpoints with one run a pool, of whole runs where there are three (the last row takes the
checkpoints of three runs as independent, which they are there). Redrawn pools scatter by .03 in log|b| and .08 in
log tau. Predictions are of the best pool, the union of the best two and of all at {FAR / 1e6:.0f}M samples, 5 times
the most fitted. A crossover is the budget from which the union of the best two beats the best pool; its set is the
budgets at which the interval of the difference holds 0, from {HORIZON[0] / 1e6:.1f}M to {HORIZON[1] / 1e9:.2f}B.

| noise | asked | {" | ".join(columns)} |
|---|---|{"---|" * len(columns)}
{lines}

Of the studies with a true crossover: the median of highest over lowest budget of the bounded sets, and how many sets
have no upper end; and how many floors and half-lives were fitted at a bound.

| noise | with a crossover | width | no upper end | floors at a bound | half-lives at a bound |
|---|---|---|---|---|---|
{widths}

{time.perf_counter() - start:.0f} s.
"""
    command = f"python -m benchmarks.studies.coverage --studies {arguments.studies} --seed {arguments.seed}"
    record.write("studies_coverage", command, found, page)


if __name__ == "__main__":
    main()
