"""Score the committed predictions against the runs that test them, as `benchmarks/PROTOCOL.md` says.

    python -m benchmarks.evidence.score

Errors come from the table that `benchmarks.wordclip.train` wrote and that comes with the package, predictions from the
files that `benchmarks.evidence.predict` wrote before those runs were made: nothing has to be trained. Nothing is fitted
here but the dilution that sees mixtures and the fits without the remainder, which are reported apart.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import record
from benchmarks.evidence import metrics, page
from benchmarks.evidence.measured import (
    BUDGETS,
    HEADLINE,
    OPTIMISED_UNITS,
    PILOT_BUDGETS,
    UNIT,
    WINDOWS,
    inside,
    read_table,
)
from benchmarks.evidence.metrics import Interval, interval
from benchmarks.evidence.page import FIRST
from benchmarks.evidence.predict import best_dilution, fit_laws, grid, measured_on, predict, to_runs
from benchmarks.wordclip import settings
from benchmarks.wordclip.train import SHIPPED
from qqtjax.errors import QQTWarning
from qqtjax.laws import FittedLaw, UtilityParams, utility
from qqtjax.runs import Pools

HERE = Path(__file__).parent
KEYS = ("family", "redraw", "window", "run", "samples_seen")
SHAPES = ("utility", "utility, shape free")
ORDER = ("V", "C", "R")


@dataclasses.dataclass(frozen=True)
class Table:
    """Figures of one family and window.

    Attributes:
        per_redraw: metric to a table, a row a redraw, a column a predictor or rule.
        mixtures: how many mixtures.
        checkpoints: how many of their checkpoints, of one redraw.
        budgets: at how many budgets something is chosen.
    """

    per_redraw: dict[str, pd.DataFrame]
    mixtures: int
    checkpoints: int
    budgets: int

    def show(self, metric: str, name: str) -> Interval | None:
        """Mean over redraws with its interval; None where the predictor has no such figure."""
        column = self.per_redraw[metric].get(name)
        return None if column is None or column.isna().any() else interval(column)

    def paired(self, metric: str, name: str, against: str = FIRST) -> Interval | None:
        """The interval of `against` less `name`: below 0 `against` is better."""
        table = self.per_redraw[metric]
        if name not in table or table[name].isna().any():
            return None
        return interval(table[against] - table[name])


def with_fitted_dilution(
    predictions: pd.DataFrame, measured: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, list[float]]]:
    """Two more predictors: the dilution that suits the mixtures of the other redraws of the family best."""
    stored = json.loads((HERE / "fits.json").read_text())["fits"]
    found, dilutions = [], {}
    for family, window in predictions[["family", "window"]].drop_duplicates().itertuples(index=False):
        pools = Pools.of(settings.FAMILIES[family])
        redraws = settings.REDRAWS[family]
        where = grid(family, WINDOWS[window][1], ("mixture",))
        truth = {
            r: measured_on(where, measured.loc[(measured["family"] == family) & (measured["redraw"] == r)])
            for r in redraws
        }
        everywhere = grid(family, WINDOWS[window][1], ("single", "mixture"))
        for shape in SHAPES:
            fits = {r: restore(stored[f"{window} | {family} | {r}"][shape]["params"], pools) for r in redraws}
            for redraw in redraws:
                others = [(fits[r], where, truth[r]) for r in redraws if r != redraw]
                dilution = best_dilution(others)
                dilutions.setdefault(f"{family} | {window} | {shape}", []).append(dilution)
                values = predict(fits[redraw].with_params(dilution=dilution), everywhere)
                found.append(
                    everywhere[["run", "samples_seen"]].assign(
                        family=family, window=window, redraw=redraw, name=f"{shape}, dilution fitted", value=values
                    )
                )
    wide = pd.concat(found).pivot(index=list(KEYS), columns="name", values="value").reset_index()
    return predictions.merge(wide, on=list(KEYS)), dilutions


def restore(params: dict[str, Any], pools: Pools) -> FittedLaw:
    """The utility law with stored parameters."""
    arrays = {name: np.array(value) if isinstance(value, list) else value for name, value in params.items()}
    return FittedLaw(utility, UtilityParams(**arrays), pools)


def score(family: str, window: str, predictions: pd.DataFrame, frame: pd.DataFrame) -> Table:
    """All metrics of one family and window."""
    rows = predictions.loc[(predictions["family"] == family) & (predictions["window"] == window)]
    names = [name for name in rows.columns if name not in KEYS and rows[name].notna().all()]
    measured = frame.loc[frame["family"] == family]
    by_redraw = {}
    for redraw, own in rows.groupby("redraw"):
        mean = measured.loc[(measured["redraw"] == redraw) & measured["seed"].isin(settings.SEEDS)]
        errors = mean.groupby(["run", "samples_seen"])["error"].mean()
        by_redraw[redraw] = metrics.prediction_metrics(own, errors, family, names)
    figures = {
        metric: pd.DataFrame({redraw: table[metric] for redraw, table in by_redraw.items()}).T
        for metric in ("mixture error", "bias", "differences", "pairs right")
    }
    budgets = [round(units * UNIT) for units in (PILOT_BUDGETS if window == "pilot" else BUDGETS)]
    predicted_at = set(rows["samples_seen"])
    budgets = [n for n in budgets if n in predicted_at]
    for metric, only_filters in (("regret of filters", True), ("regret", False)):
        allowed = [each.name for each in metrics.options(family) if metrics.is_filter(each.name) or not only_filters]
        choices = {name: metrics.choose(rows, family, name, only_filters) for name in (*names, *metrics.RULES)}
        lost = metrics.regrets(choices, measured, allowed, budgets)
        figures[metric] = pd.DataFrame({name: table.mean(axis=1) for name, table in lost.items()})
        figures[f"hits, {metric}"] = pd.DataFrame(
            {name: (table <= metrics.HIT).mean(axis=1) for name, table in lost.items()}
        )
    mixtures = [each for each in metrics.scored(family) if each.role == "mixture"]
    points = rows.loc[(rows["redraw"] == 0) & rows["run"].isin([each.name for each in mixtures])]
    return Table(figures, len(mixtures), len(points), len(budgets))


def without_remainder(frame: pd.DataFrame, family: str) -> dict[str, pd.DataFrame]:
    """Headline window, remainder neither fitted nor drawn from: mixture error and regret; a row a redraw."""
    *kept, last = settings.FAMILIES[family]
    where = grid(family, WINDOWS[HEADLINE][1], ("single", "mixture"))
    where = where.loc[[weights[-1] == 0 for weights in where["weights"]]].reset_index(drop=True)
    for column in ("weights", "sizes"):
        where[column] = [values[:-1] for values in where[column]]
    mixed = where["run"].str.contains("-").to_numpy()
    rows = frame.loc[(frame["family"] == family) & frame["seed"].isin(settings.SEEDS)]
    alone = inside(rows.loc[(rows["role"] == "single") & (rows["pool"] != last)], WINDOWS[HEADLINE][0])
    tables, off = [], {}
    for redraw in settings.REDRAWS[family]:
        own = to_runs(family, alone.loc[alone["redraw"] == redraw]).for_pools(kept)
        predicted = {name: predict(fitted, where) for name, fitted in fit_laws(own).items()}
        tables.append(where[["run", "samples_seen"]].assign(redraw=redraw, **predicted))
        truth = measured_on(where, rows.loc[rows["redraw"] == redraw])
        off[redraw] = {name: np.mean(np.abs(values - truth)[mixed]) for name, values in predicted.items()}
    table = pd.concat(tables)
    names = [each.name for each in metrics.options(family) if each.name in set(where["run"])]
    choices = {name: metrics.choose(table, family, name, False) for name in off[0]}
    lost = metrics.regrets(choices, rows, names, [round(units * UNIT) for units in BUDGETS])
    regret = pd.DataFrame({name: each.mean(axis=1) for name, each in lost.items()})
    return {"mixture error": pd.DataFrame(off).T, "regret": regret}


def optimised(frame: pd.DataFrame, family: str) -> pd.DataFrame:
    """Trained optimised weights against the best filter and the best hand-made mix, both valued on the other half."""
    weights = pd.read_csv(HERE / "weights.csv")
    seeds = (*settings.SEEDS, settings.THIRD_SEED)
    measured = frame.loc[(frame["family"] == family) & frame["redraw"].isin(settings.THIRD_SEED_REDRAWS)]
    names = [each.name for each in metrics.options(family)]
    filters = [name for name in names if metrics.is_filter(name)]
    rows = []
    for units in OPTIMISED_UNITS:
        best = {
            kind: metrics.best_on_halves(metrics.cells_of(measured, some, units * UNIT, seeds))
            for kind, some in (("filter", filters), ("mix", [name for name in names if name not in filters]))
        }
        for law in dict.fromkeys(weights["law"]):
            name = f"{family}-{law}-{units}"
            own = metrics.cells_of(measured, [name], units * UNIT, seeds)[name]
            predicted = weights.query("family == @family and law == @law and units == @units")["predicted"].mean()
            row = {"units": units, "law": law, "measured": own.mean(), "predicted": predicted}
            for kind, value in best.items():
                row[f"best {kind}"] = value.mean()
                for redraw, less in (own - value).groupby(level=0):
                    row[f"less {kind}, redraw {redraw}"] = less.mean()
                    row[f"sd {kind}, redraw {redraw}"] = less.std(ddof=1)
            rows.append(row)
    return pd.DataFrame(rows)


def spread(frame: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Root mean square sd over seeds and over redraws (seeds averaged), all single pools and mixtures."""
    found = {}
    for family, rows in frame.loc[frame["role"].isin(["single", "mixture"])].groupby("family"):
        rows = rows.loc[rows["seed"].isin(settings.SEEDS)]
        over_seeds = rows.groupby(["redraw", "run", "samples_seen"])["error"].var(ddof=1).mean()
        means = rows.groupby(["redraw", "run", "samples_seen"])["error"].mean()
        total = means.groupby(["run", "samples_seen"]).var(ddof=1).mean()
        pools = max(total - over_seeds / len(settings.SEEDS), 0.0)
        found[str(family)] = {"seeds": float(over_seeds**0.5), "redraws beyond seeds": float(pools**0.5)}
    return found


def plain(tables: dict[tuple[str, str], Table]) -> dict[str, Any]:
    """Every per-redraw figure, for the record."""
    return {
        f"{family} | {window}": {metric: frame.round(6).to_dict() for metric, frame in table.per_redraw.items()}
        for (family, window), table in tables.items()
    }


def committed(path: Path) -> str:
    """When a file was last changed in the history of the repository; empty where there is none."""
    command = ["git", "log", "-1", "--format=%cI", "--", str(path)]
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def order_of_events() -> dict[str, str]:
    """Last change of the protocol and of the predictions, and the first of the runs that test them."""
    trained = json.loads((SHIPPED / "wordclip.json").read_text())["trained"]["V"]
    return {
        "protocol, last change": committed(HERE.parent / "PROTOCOL.md"),
        "predictions, last change": committed(HERE / "predictions.csv"),
        "first mixture of family V": min(trained[role]["first"] for role in ("mixture", "optimised")),
    }


def main() -> None:
    """Score everything and write the page."""
    frame = read_table(("single", "mixture", "optimised"))
    measured = frame.loc[(frame["role"] == "mixture") & frame["seed"].isin(settings.SEEDS)]
    predictions = pd.read_csv(HERE / "predictions.csv")
    predictions, dilutions = with_fitted_dilution(predictions, measured)
    tables = {(family, window): score(family, window, predictions, frame) for family in ORDER for window in WINDOWS}
    best = {family: optimised(frame, family) for family in ORDER}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QQTWarning)
        rest = {family: without_remainder(frame, family) for family in ORDER}
    carried = json.loads((HERE / "fits.json").read_text())["carried_dilution"]
    spreads = spread(frame)
    events = order_of_events()
    text = page.write(tables, best, rest, carried, dilutions, spreads, events)
    figures = {
        "order": events,
        "per_redraw": plain(tables),
        "optimised": {family: table.round(6).to_dict("records") for family, table in best.items()},
        "without_remainder": {
            f"{family} | {metric}": table.round(6).to_dict()
            for family, both in rest.items()
            for metric, table in both.items()
        },
        "carried_dilution": carried,
        "fitted_dilution": dilutions,
        "spread": spreads,
    }
    record.write("evidence", "python -m benchmarks.evidence.score", figures, text)


if __name__ == "__main__":
    main()
