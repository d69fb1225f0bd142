"""Fit the law to the pools, choose the plans and FlexRand's split, and predict every rule; before any is trained.

    python -m benchmarks.circle.train --roles pool
    python -m benchmarks.circle.predict

Writes `predictions.csv` (one row a redraw, rule and checkpoint, one column a law) and `chosen.json` (fits, splits,
plans, digests of what is kept, seconds of scoring), both to be committed before the rules are trained.
"""

import dataclasses
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import qqtjax as qqt
from benchmarks import record
from benchmarks.circle import rules
from benchmarks.circle.raw import REDRAWS
from benchmarks.circle.train import BUDGETS, QUARTERS, TABLE, UNIT, all_jobs, plan_name
from benchmarks.wordclip.stored import read
from qqtjax.errors import QQTWarning
from qqtjax.laws import FittedLaw, power
from qqtjax.mix import Mix, optimize_mix
from qqtjax.mix.predict import errors_with_sizes
from qqtjax.plain import to_plain
from qqtjax.pools.planned import select_planned
from qqtjax.runs import Runs

HERE = Path(__file__).parent
SPLIT_UNITS = 16  # FlexRand's split has the least predicted error here
SAMPLES = np.array(QUARTERS) * UNIT / 4


def measured(redraw: int) -> Runs:
    """The runs on single pools of one redraw; where nothing has been trained here, those of the table that was kept."""
    sizes = dict(zip(rules.POOLS, rules.pools(redraw).counts.tolist(), strict=True))
    rows = [
        {"run": job.name, "seed": job.seed} | checkpoint
        for job in all_jobs(["pool"])
        if job.redraw == redraw and (run := read(job))
        for checkpoint in run["checkpoints"]
    ]
    if not rows and TABLE.exists():
        table = pd.read_csv(TABLE).query("role == 'pool' and redraw == @redraw")
        rows = table.rename(columns={"name": "run"}).to_dict("records")
    if len(rows) < 2 * len(rules.POOLS) * len(QUARTERS):
        raise SystemExit("runs on single pools are missing: python -m benchmarks.circle.train --roles pool")
    frame = pd.DataFrame(rows)[["run", "seed", "samples_seen", "error"]]
    frame["pool"], frame["pool_size"] = frame["run"], [sizes[name] for name in frame["run"]]
    return qqt.read_runs(frame, pools=sizes)


def predicted(fitted: FittedLaw, kept: np.ndarray, weights: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Errors of a mixture of `kept[P]` pairs of the pools at some samples seen."""
    count = len(samples)
    sizes = np.where(kept > 0, kept, 1.0)
    return errors_with_sizes(fitted, np.tile(weights, (count, 1)), np.tile(sizes, (count, 1)), samples)


def main() -> None:
    """Fit, choose, predict, write."""
    tables, chosen = [], {"environment": record.environment(), "redraws": {}}
    for redraw in REDRAWS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", QQTWarning)
            runs = measured(redraw)
            utility, blind = qqt.fit(runs), qqt.fit(runs, power)
        laws = {f"utility, dilution {each:g}": utility.with_params(dilution=each) for each in (1.0, 0.2, 0.0)}
        headline = laws["utility, dilution 1"]
        laws["blind"] = blind

        def error_of(rows: np.ndarray, redraw: int = redraw, headline: FittedLaw = headline) -> float:
            kept = rules.counts(redraw, rows)
            return float(predicted(headline, kept, kept / kept.sum(), np.array([SPLIT_UNITS * float(UNIT)]))[0])

        by_split = {split: error_of(rules.by_flexrand(redraw, split)) for split in rules.SPLITS}
        split = min(by_split, key=lambda each: by_split[each])
        choices = {name: rules.Choice((rows,), (1.0,)) for name, rows in rules.kept(redraw, split).items()}
        partition = rules.pools(redraw)
        plans = {}
        for units in BUDGETS:
            mix = optimize_mix(headline, float(units * UNIT))
            assert isinstance(mix, Mix)
            selection = select_planned(partition, mix, order="random", seed=redraw)
            used = np.flatnonzero(selection.kept)
            parts = tuple(selection.rows[partition.index[selection.rows] == place] for place in used)
            shares = np.asarray(mix.weights)[used]
            choices[plan_name(units)] = rules.Choice(parts, tuple((shares / shares.sum()).tolist()))
            plans[plan_name(units)] = {
                "weights": dict(zip(rules.POOLS, np.round(mix.weights, 4).tolist(), strict=True)),
                "kept": dict(zip(rules.POOLS, selection.kept.tolist(), strict=True)),
            }
        rules.store_choices(redraw, choices)
        for name, choice in choices.items():
            parts = np.stack([rules.counts(redraw, part) for part in choice.parts])
            weights = np.array(choice.weights) @ (parts / parts.sum(axis=1, keepdims=True))
            table = pd.DataFrame({"redraw": redraw, "rule": name, "units": np.array(QUARTERS) / 4})
            for law, fitted in laws.items():
                table[law] = predicted(fitted, parts.sum(axis=0), weights, SAMPLES).round(5)
            tables.append(table)
        chosen["redraws"][redraw] = {
            "seconds": rules.scored(redraw).seconds,
            "pool_sizes": dict(zip(rules.POOLS, partition.counts.tolist(), strict=True)),
            "params": to_plain(dataclasses.asdict(utility.params)),
            "rmse": utility.diagnostics.rmse if utility.diagnostics else None,
            "bounds_hit": list(utility.diagnostics.bounds_hit) if utility.diagnostics else [],
            "flexrand": {"split": split, "predicted": {f"{key:g}": round(value, 5) for key, value in by_split.items()}},
            "plans": plans,
            "kept_of_pools": {
                name: rules.counts(redraw, np.concatenate(choice.parts)).tolist() for name, choice in choices.items()
            },
            "digests": {name: choice.digest for name, choice in choices.items()},
        }
        print(f"redraw {redraw}: rmse {chosen['redraws'][redraw]['rmse']:.4f}, split {split}", file=sys.stderr)
    pd.concat(tables).to_csv(HERE / "predictions.csv", index=False, lineterminator="\n")
    (HERE / "chosen.json").write_text(json.dumps(chosen, indent=1) + "\n")


if __name__ == "__main__":
    main()
