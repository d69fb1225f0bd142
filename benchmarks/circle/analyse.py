"""What is each rule worth, and did the law see it coming?

    python -m benchmarks.circle.analyse

Reads `benchmarks/results/circle_runs.csv` and the predictions beside this file: nothing has to be trained.
"""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import record
from benchmarks.circle.raw import REDRAWS, SIZE
from benchmarks.circle.rules import LATER, RULES, TOTAL
from benchmarks.circle.train import BUDGETS, TABLE, UNIT, plan_name
from benchmarks.evidence.metrics import Interval, interval
from benchmarks.evidence.page import grid

HERE = Path(__file__).parent
HEADLINE = "utility, dilution 1"
ALL = "everything"


def reached(units: np.ndarray, error: np.ndarray, wanted: float) -> float:
    """Units at which a curve first is as low as wanted, linear in log units; `inf` where it never is."""
    places = np.flatnonzero(error <= wanted)
    if not len(places):
        return np.inf
    last = int(places[0])
    if last == 0:
        return float(units[0])
    share = (error[last - 1] - wanted) / (error[last - 1] - error[last])
    return float(units[last - 1] * (units[last] / units[last - 1]) ** share)


def costs_of(curve: Any, whole: Any, budget: float) -> float:
    """Cost of one curve relative to another's at a budget; both by units."""
    curve = curve.dropna()
    return reached(curve.index.to_numpy(float), curve.to_numpy(), whole.loc[budget]) / budget


def costs(curves: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Cost of each rule relative to everything, at each budget; `curves` has one column a rule, by keys and units."""
    rows = []
    for key, own in curves.groupby(level=keys):
        own = own.droplevel(keys)
        for budget in BUDGETS:
            named = dict(zip(keys, key if isinstance(key, tuple) else (key,), strict=True))
            found = {name: costs_of(own[name], own[ALL], budget) for name in own.columns}
            rows.append(named | {"budget": budget} | found)
    return pd.DataFrame(rows).set_index([*keys, "budget"])


def shown_cost(of_redraws: np.ndarray, cells: np.ndarray) -> str:
    """Mean and interval over redraws, or how many runs never get there."""
    missing = int(np.sum(~np.isfinite(cells)))
    if missing == len(cells):
        return "never"
    if missing:
        return f"{missing} of {len(cells)} never; else {cells[np.isfinite(cells)].mean():.2f}"
    return interval(of_redraws).show(2)


def pairs_right(predicted: pd.Series, measured: pd.Series) -> float:
    """Share of pairs of rules whose order is predicted; a predicted tie is half right."""
    signs = [
        (np.sign(predicted[a] - predicted[b]), np.sign(measured[a] - measured[b]))
        for a, b in combinations(predicted.index, 2)
    ]
    return float(np.mean([0.5 if p == 0 else p == m for p, m in signs if m != 0]))


def main() -> None:
    """Compare and write the page."""
    runs = pd.read_csv(TABLE)
    runs["units"] = runs["samples_seen"] / UNIT
    chosen = json.loads((HERE / "chosen.json").read_text())
    predictions = pd.read_csv(HERE / "predictions.csv")
    laws = list(predictions.columns[3:])
    of_rules = runs.loc[runs["role"].isin(("rule", "later"))]
    cells = of_rules.pivot_table(index=["redraw", "seed", "units"], columns="name", values="error")
    curves = cells.groupby(["redraw", "units"]).mean()
    forecast = predictions.set_index(["redraw", "rule", "units"])
    figures: dict = {"errors": {}, "cost": {}, "predicted_cost": {}, "laws": {}}

    def over_redraws(values: list[float]) -> Interval:
        return interval(np.array(values))

    cost, cost_of_cells = costs(curves, ["redraw"]), costs(cells, ["redraw", "seed"])
    expected = costs(forecast.pivot_table(HEADLINE, ["redraw", "units"], "rule"), ["redraw"])
    rows = []
    for name in (*RULES, LATER):
        row = [name]
        for budget in BUDGETS:
            error = over_redraws([curves.loc[(redraw, budget), name] for redraw in REDRAWS])
            asked = [forecast.loc[(redraw, name, budget), HEADLINE] for redraw in REDRAWS] if name in RULES else []
            seen = float(np.mean(asked)) if asked else None
            figures["errors"][f"{name} at {budget}"] = {"mean": error.mean, "half": error.half, "predicted": seen}
            row.append(error.show() + (f" ({seen:.4f})" if seen is not None else ""))
        for budget in BUDGETS:
            own = np.asarray(cost.xs(budget, level="budget")[name])
            each = np.asarray(cost_of_cells.xs(budget, level="budget")[name])
            figures["cost"][f"{name} at {budget}"] = [None if np.isinf(one) else one for one in each]
            if name in RULES:
                figures["predicted_cost"][f"{name} at {budget}"] = [
                    None if np.isinf(one) else one for one in expected.xs(budget, level="budget")[name]
                ]
            row.append("1" if name == ALL else shown_cost(own, each))
        rows.append(row)
    of_plans = runs.loc[runs["role"] == "plan"].pivot_table(["error"], ["redraw", "seed", "units"], "name")["error"]
    plans = of_plans.groupby(["redraw", "units"]).mean()
    for budget in BUDGETS:
        name = plan_name(budget)
        error = over_redraws([plans.loc[(redraw, budget), name] for redraw in REDRAWS])
        seen = np.mean([forecast.loc[(redraw, name, budget), HEADLINE] for redraw in REDRAWS])
        figures["errors"][f"{name} at {budget}"] = {"mean": error.mean, "half": error.half, "predicted": seen}
        # The samples that the plan for this budget needs to be as good as everything is with all of it.
        own, each = (
            np.array([costs_of(planned[name], whole[ALL], budget) for planned, whole in pairs])
            for pairs in (
                [(plans.loc[redraw], curves.loc[redraw]) for redraw in REDRAWS],
                [(of_plans.loc[cell], cells.loc[cell]) for cell in of_plans.index.droplevel("units").unique()],
            )
        )
        figures["cost"][f"{name} at {budget}"] = [None if np.isinf(one) else one for one in each]
        errors = [f"{error.show()} ({seen:.4f})" if one == budget else "" for one in BUDGETS]
        rows.append([name, *errors, *(shown_cost(own, each) if one == budget else "" for one in BUDGETS)])
    table = grid(["kept", *(f"error at {each}" for each in BUDGETS), *(f"cost at {each}" for each in BUDGETS)], rows)

    against = []
    for budget in BUDGETS:
        own = [plans.loc[(redraw, budget), plan_name(budget)] for redraw in REDRAWS]
        best = min(RULES, key=lambda name, budget=budget: curves.xs(budget, level="units")[name].mean())
        for other in dict.fromkeys((best, "match", LATER, ALL)):
            paired = over_redraws([p - curves.loc[(r, budget), other] for p, r in zip(own, REDRAWS, strict=True)])
            label = f"{other} (the best rule)" if other == best else other
            against.append([str(budget), label, paired.show(4, sign=True)])
            figures["laws"][f"plan less {label} at {budget}"] = {"mean": paired.mean, "half": paired.half}
    plan_table = grid(["budget", "plan's error less that of", "difference"], against)

    scored = []
    for law in laws:
        off, right, regret = [], [], []
        for redraw in REDRAWS:
            seen = forecast[law].loc[redraw].unstack("rule")[list(RULES)].loc[list(BUDGETS)]
            got = curves.loc[redraw].loc[list(BUDGETS)][list(RULES)]
            off.append(float(np.mean(np.abs(seen.to_numpy() - got.to_numpy()))))
            right.append(float(np.mean([pairs_right(seen.loc[each], got.loc[each]) for each in BUDGETS])))
            picked = [got.loc[each, seen.loc[each].idxmin()] - got.loc[each].min() for each in BUDGETS]
            regret.append(float(np.mean(picked)))
        measures = [over_redraws(each) for each in (off, right, regret)]
        scored.append([law, measures[0].show(), measures[1].show(2), measures[2].show()])
        figures["laws"][law] = dict(zip(("error", "pairs", "regret"), [each.mean for each in measures], strict=True))
    law_table = grid(["law", "error of its predictions", "pairs of rules in order", "regret of its choice"], scored)

    seconds = pd.DataFrame([each["seconds"] for each in chosen["redraws"].values()]).mean()
    trained = json.loads(TABLE.with_suffix(".json").read_text())
    splits = [each["flexrand"]["split"] for each in chosen["redraws"].values()]
    page = f"""# From raw data to the samples to keep

{len(REDRAWS)} heaps of {SIZE:,} pairs (half right, a fifth vague, three tenths wrong), {TOTAL:,} kept by every rule
but *everything*; protocol in `benchmarks/circle/README.md`, written before. Budgets in units of {UNIT:,} samples.
Errors are means of three seeds and three redraws with 95 % intervals over redraws, in brackets what the law (dilution
1), fitted to six pools alone, had predicted. Cost: samples until the rule's curve is as low as that of everything at
the budget, over the budget; "never" means not within 32 units.

{table}

The plan spreads its budget over the pools as the law wants it, with any number of pairs; it is trained up to its
budget. Its pilot, twelve runs of 32 units on the pools, is not counted in its cost. The best rule of a budget is
chosen on the runs that it is judged by, which favours the rule. *{LATER}* keeps the better-matching 60 %; it was
decided on and trained after all else had been seen.

{plan_table}

Ten rules at three budgets, predicted before they were trained:

{law_table}

FlexRand's split, chosen by predicted error: {", ".join(f"{each:g}" for each in splits)}. Seconds of scoring {SIZE:,}
pairs, mean of the redraws, the machine shared with other work:
{", ".join(f"{name} {value:.1f}" for name, value in seconds.items())}
(match and DLC need the scoring network too). {trained["runs"]} runs, {trained["training_seconds"]:,} s of run time.
"""
    record.write("circle", "python -m benchmarks.circle.analyse", figures, page)


if __name__ == "__main__":
    main()
