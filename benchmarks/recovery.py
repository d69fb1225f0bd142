"""Do fits find what was planted, do the solvers agree, and is the released grid ever better?

    python -m benchmarks.recovery
    python -m benchmarks.recovery --truths 20 --noisy 5

1. Noise-free curves of 4 pools with 8 checkpoints each: largest error over all parameters, per truth.
2. Curves with noise of standard deviation 0.003: mean squared error of Adam and L-BFGS above that of
   Levenberg-Marquardt, all through the scan; and per pool, with the floor and law of the fit, the fit's mean squared
   error against the best of all 10^6 cells of the released grid.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from benchmarks import planted, record, released_grid
from qqtjax.fit import LBFGS, Adam, fit
from qqtjax.laws import UtilityParams
from qqtjax.runs import Runs

NOISE = 0.003
SCAN = 16


def largest_error(found: UtilityParams, truth: UtilityParams) -> float:
    """Largest relative error over scale, utility and half-life, and absolute error of the floor."""
    relative = [
        np.max(np.abs(np.asarray(getattr(found, name)) / np.asarray(getattr(truth, name)) - 1))
        for name in ("scale", "utility", "half_life")
    ]
    return float(max(*relative, abs(found.floor - truth.floor)))


def recover(count: int, seed: int = 0) -> np.ndarray:
    """`[count]` largest parameter errors of fits to noise-free curves."""
    rng = np.random.default_rng(seed)
    errors = []
    for index in range(count):
        truth = planted.draw_truth(rng)
        errors.append(largest_error(fit(planted.curves(truth), seed=index).params, truth))
    return np.array(errors)


def grid_excess(runs: Runs, floor: float) -> float:
    """Largest, over pools, mean squared error of a pool's own fit less that of the best grid cell."""
    worst = -np.inf
    for name in runs.pools.names:
        own = runs.for_pools([name])
        # The pool alone, with the floor given, as the released code fits it; its grid's own box.
        box = {
            "scale": (released_grid.NORMALISER / 0.2, released_grid.NORMALISER / 1e-4),
            "utility": (-0.5, -0.005),
            "half_life": (1.0, 10.0),
        }
        fitted = fit(own, fixed={"floor": floor}, bounds=box)
        assert fitted.diagnostics is not None
        cell = released_grid.best_cell(own.samples_seen, own.error, planted.SIZE, floor)
        worst = max(worst, (2 * fitted.diagnostics.objective - cell) / len(own))
    return worst


def compare(count: int, seed: int = 1) -> dict[str, list[float]]:
    """Mean squared errors of the other solvers, and of our fit against the grid, on noisy curves."""
    rng = np.random.default_rng(seed)
    excess: dict[str, list[float]] = {"L-BFGS": [], "Adam": [], "grid": []}
    for index in range(count):
        truth = planted.draw_truth(rng)
        runs = planted.curves(truth, noise=NOISE, rng=rng)
        reference = fit(runs, max_epochs=SCAN, seed=index)
        assert reference.diagnostics is not None
        for name, solver in (("L-BFGS", LBFGS()), ("Adam", Adam())):
            other = fit(runs, max_epochs=SCAN, solver=solver, starts=16, seed=index)
            assert other.diagnostics is not None
            excess[name].append(other.diagnostics.rmse**2 - reference.diagnostics.rmse**2)
        excess["grid"].append(grid_excess(runs, float(reference.params.floor)))
    return excess


def main() -> None:
    """Run both parts and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truths", type=int, default=200)
    parser.add_argument("--noisy", type=int, default=50)
    arguments = parser.parse_args()
    errors = recover(arguments.truths)
    print(f"recovered {np.sum(errors <= 1e-6)} of {len(errors)}", file=sys.stderr)
    excess = compare(arguments.noisy)
    rows = "\n".join(f"| {name} | {max(values):.1e} | {min(values):.1e} |" for name, values in excess.items())
    page = f"""# Recovery of planted parameters

{len(errors)} noise-free tables (4 pools, checkpoints at {", ".join(f"{e:g}" for e in planted.EPOCHS)} epochs): all
parameters within 1e-6 in {np.sum(errors <= 1e-6)}; median largest error {np.median(errors):.1e}, worst
{errors.max():.1e} (relative; floor absolute).

{arguments.noisy} tables with noise {NOISE}: mean squared error above Levenberg-Marquardt's (negative: below), all
through the scan; "grid": our fit of one pool, floor given, above the best of all 10^6 cells of the released grid.

| | largest | smallest |
|---|---|---|
{rows}
"""
    record.write(
        "recovery",
        "python -m benchmarks.recovery",
        {"largest_error": errors.tolist(), "mse_excess": excess},
        page,
    )


if __name__ == "__main__":
    main()
