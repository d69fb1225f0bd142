"""Predict every mixture, and choose optimised weights, from the runs on single pools.

    python -m benchmarks.wordclip.train --roles single fresh
    python -m benchmarks.evidence.predict

To be run, and its files committed, before the mixtures are trained: `predictions.csv` (one row a setting and
checkpoint, one column a predictor), `weights.csv` (optimised weights) and `fits.json` (parameters). The carried
dilution needs the mixtures of the development drawings of C and R, and no others. Where nothing has been trained here,
the table that comes with the package is read: what comes out is then to be compared with the committed files.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

import qqtjax as qqt
from benchmarks import record
from benchmarks.evidence.measured import (
    HEADLINE,
    OPTIMISED_UNITS,
    QUARTER,
    UNIT,
    WINDOWS,
    inside,
    read_finished,
    read_table,
    scored,
)
from benchmarks.wordclip import settings
from qqtjax.errors import QQTWarning
from qqtjax.laws import FittedLaw, effective_data, effective_samples, power
from qqtjax.mix import optimize_mix
from qqtjax.mix.predict import errors_with_sizes
from qqtjax.plain import to_plain
from qqtjax.runs import Runs

HERE = Path(__file__).parent
SMALLEST_WEIGHT = 0.005
OPTIMISED = {
    "utility1": "utility, dilution 1",
    "utility0": "utility, dilution 0",
    "shaped1": "utility, shape free, dilution 1",
    "effective": "effective samples",
}


def to_runs(family: str, frame: pd.DataFrame) -> Runs:
    """A table of one redraw as `Runs`, every checkpoint with the same weight."""
    kept = frame[["run", "seed", "pool", "pool_size", "samples_seen", "error"]].reset_index(drop=True)
    return qqt.read_runs(kept, pools=settings.FAMILIES[family])


def fit_laws(alone: Runs) -> dict[str, FittedLaw]:
    """Every law, fitted to the single pools of one redraw and window."""
    return {
        "utility": qqt.fit(alone),
        "utility, shape free": qqt.fit(alone, free=["decay_shape"]),
        "effective data": qqt.fit(alone, effective_data),
        "effective samples": qqt.fit(alone, effective_samples),
        "effective samples, one saturation": qqt.fit(alone, effective_samples, share={"saturation": True}),
        "blind": qqt.fit(alone, power),
    }


def predictors(fits: Mapping[str, FittedLaw], carried: Mapping[str, float]) -> dict[str, FittedLaw]:
    """The protocol's predictors. Alone on its own pool a sample is undiluted: one fit serves every dilution."""
    found = {}
    for name in ("utility", "utility, shape free"):
        for label, dilution in (("1", 1.0), ("0", 0.0), ("carried", carried[name])):
            found[f"{name}, dilution {label}"] = fits[name].with_params(dilution=dilution)
    for dilution in (1.0, 0.0):
        found[f"effective data, dilution {dilution:g}"] = fits["effective data"].with_params(dilution=dilution)
    return found | {name: fits[name] for name in ("effective samples", "effective samples, one saturation", "blind")}


def grid(family: str, units: tuple[float, float], roles: tuple[str, ...]) -> pd.DataFrame:
    """Settings and samples seen at which errors are predicted, with weights and sizes."""
    pools = settings.FAMILIES[family]
    rows = [
        {
            "run": setting.name,
            "samples_seen": quarters * QUARTER,
            "weights": [setting.weights.get(pool, 0.0) for pool in pools],
            "sizes": [setting.subsample * size for size in pools.values()],
        }
        for setting in scored(family)
        if setting.role in roles
        for quarters in setting.checkpoints
        if units[0] <= quarters / 4 <= units[1]
    ]
    return pd.DataFrame(rows)


def predict(fitted: FittedLaw, where: pd.DataFrame) -> np.ndarray:
    """Errors of the settings of a grid."""
    return errors_with_sizes(
        fitted, np.stack(where["weights"]), np.stack(where["sizes"]), where["samples_seen"].to_numpy(float)
    )


def best_dilution(cases: list[tuple[FittedLaw, pd.DataFrame, np.ndarray]]) -> float:
    """The dilution in [0, 2] with the least squared error over measured mixtures, all else as fitted."""

    def cost(dilution: float) -> float:
        off = [predict(fitted.with_params(dilution=dilution), where) - error for fitted, where, error in cases]
        return float(np.sum(np.concatenate(off) ** 2))

    return float(minimize_scalar(cost, bounds=(0.0, 2.0), method="bounded", options={"xatol": 1e-4}).x)


def measured_on(where: pd.DataFrame, mixtures: pd.DataFrame) -> np.ndarray:
    """Mean measured error over seeds of the settings of a grid."""
    mean = mixtures.groupby(["run", "samples_seen"])["error"].mean()
    return mean.loc[list(zip(where["run"], where["samples_seen"], strict=True))].to_numpy()


def carried_dilutions(fits: Mapping[str, Mapping[str, FittedLaw]], mixtures: pd.DataFrame) -> dict[str, float]:
    """Dilution that suits the mixtures of the development drawings best, for both decay shapes."""
    carried = {}
    for name in ("utility", "utility, shape free"):
        cases = []
        for family in ("C", "R"):
            where = grid(family, WINDOWS[HEADLINE][1], ("mixture",))
            rows = mixtures.loc[(mixtures["family"] == family) & (mixtures["redraw"] == 0)]
            cases.append((fits[family][name], where, measured_on(where, rows)))
        carried[name] = best_dilution(cases)
    return carried


def interpolate(where: pd.DataFrame, alone: pd.DataFrame, family: str) -> np.ndarray:
    """Weighted mean of the single pools' measured errors at the same samples seen, seeds averaged."""
    curves = alone.pivot_table(index="samples_seen", columns="pool", values="error")[list(settings.FAMILIES[family])]
    found = curves.reindex(where["samples_seen"]).to_numpy()
    return np.sum(np.stack(where["weights"]) * found, axis=1)


def optimised(fits: Mapping[tuple[str, int], Mapping[str, FittedLaw]]) -> pd.DataFrame:
    """Weights over the five pools with the least predicted error, for each law, budget and redraw."""
    rows = []
    for (family, redraw), laws in fits.items():
        for short, name in OPTIMISED.items():
            mixes = optimize_mix(laws[name], np.array(OPTIMISED_UNITS) * UNIT)
            for units, weights in zip(OPTIMISED_UNITS, mixes.weights, strict=True):
                kept = np.where(weights < SMALLEST_WEIGHT, 0.0, weights)
                kept = np.round(kept / kept.sum(), 4)
                kept[np.argmax(kept)] += 1 - kept.sum()
                error = laws[name].predict(kept, units * UNIT)
                shares = {f"weight_{place}": f"{share:.4f}" for place, share in enumerate(kept, 1)}
                row = {"family": family, "redraw": redraw, "law": short, "units": units} | shares
                rows.append(row | {"predicted": f"{error:.4f}"})
    return pd.DataFrame(rows)


def main() -> None:
    """Fit, predict, optimise, write."""
    started = time.perf_counter()
    frame = read_finished(("single", "mixture"))
    if frame.empty:
        print("no run has been trained here: the table that comes with the package is read", file=sys.stderr)
        frame = read_table(("single", "mixture"))
    frame = frame.loc[frame["seed"].isin(settings.SEEDS)]
    alone, mixtures = frame.loc[frame["role"] == "single"], frame.loc[frame["role"] == "mixture"]
    if not {*mixtures["family"]} <= {"C", "R"} or {*mixtures["redraw"]} != {0}:
        print("note: mixtures of redraws have been trained already; they are not read", file=sys.stderr)
    if not {("C", 0), ("R", 0)} <= {*zip(mixtures["family"], mixtures["redraw"], strict=True)}:
        raise SystemExit(
            "the mixtures of the first drawings of C and R are missing: python -m benchmarks.wordclip.train "
            "--families C R"
        )
    fits: dict[tuple[str, str, int], dict[str, FittedLaw]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QQTWarning)
        for window, (units, _) in WINDOWS.items():
            for (family, redraw), rows in inside(alone, units).groupby(["family", "redraw"]):
                fits[window, str(family), int(redraw)] = fit_laws(to_runs(str(family), rows))
                print(f"fitted {window}, {family}, redraw {redraw}", file=sys.stderr, flush=True)
    carried = carried_dilutions({family: fits[HEADLINE, family, 0] for family in ("C", "R")}, mixtures)
    tables, chosen = [], {}
    for (window, family, redraw), laws in fits.items():
        found = predictors(laws, carried)
        if window == HEADLINE and redraw in settings.THIRD_SEED_REDRAWS:
            chosen[family, redraw] = found
        where = grid(family, WINDOWS[window][1], ("single", "mixture"))
        table = where[["run", "samples_seen"]].copy()
        for place, (column, value) in enumerate((("family", family), ("redraw", redraw), ("window", window))):
            table.insert(place, column, value)
        for name, fitted in found.items():
            table[name] = predict(fitted, where).round(5)
        rows = alone.loc[(alone["family"] == family) & (alone["redraw"] == redraw)]
        table["interpolation"] = interpolate(where, rows, family).round(5) if window != "pilot" else np.nan
        tables.append(table)
    pd.concat(tables).to_csv(HERE / "predictions.csv", index=False, lineterminator="\n")
    optimised(chosen).to_csv(HERE / "weights.csv", index=False, lineterminator="\n")
    parameters = {
        "environment": record.environment(),
        "seconds": round(time.perf_counter() - started),
        "carried_dilution": carried,
        "fits": {
            " | ".join(map(str, key)): {
                name: {
                    "params": to_plain(dataclasses.asdict(fitted.params)),
                    "rmse": fitted.diagnostics.rmse if fitted.diagnostics else None,
                    "bounds_hit": list(fitted.diagnostics.bounds_hit) if fitted.diagnostics else [],
                }
                for name, fitted in laws.items()
            }
            for key, laws in fits.items()
        },
    }
    (HERE / "fits.json").write_text(json.dumps(parameters, indent=1) + "\n")
    print(f"carried dilution: {carried}", file=sys.stderr)


if __name__ == "__main__":
    main()
