"""The protocol's metrics, from predicted and measured errors alone: no law is evaluated here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.evidence.measured import options, scored
from benchmarks.wordclip import settings

HIT = 0.005
BEST_POOL, FOUR_EPOCHS = "always the best pool", "at most 4 epochs"
RULES = (BEST_POOL, FOUR_EPOCHS)


@dataclasses.dataclass(frozen=True)
class Interval:
    """Mean over redraws and half the width of its 95 % interval (Student's t over redraws)."""

    mean: float
    half: float
    count: int

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half

    def show(self, digits: int = 4, sign: bool = False) -> str:
        """As text."""
        if not np.isfinite(self.mean):
            return "-"
        return f"{self.mean:{'+' if sign else ''}.{digits}f} ± {self.half:.{digits}f}"


def interval(values: Sequence[float] | np.ndarray) -> Interval:
    """The interval of one figure per redraw."""
    values = np.asarray(values, float)
    count = len(values)
    half = stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count) if count > 1 else np.nan
    return Interval(float(values.mean()), float(half), count)


def is_filter(name: str) -> bool:
    """One pool, or a natural union of the best pools."""
    return "-" not in name or name.split("-", 1)[1] in ("nat2", "nat3", "nat4", "all")


def nested(family: str) -> list[str]:
    """The filters that contain each other, smallest first."""
    first = next(iter(settings.FAMILIES[family]))
    return [first, *(f"{family}-{name}" for name in ("nat2", "nat3", "nat4", "all"))]


def follow_rule(rule: str, family: str, samples_seen: float) -> str:
    """The filter that a rule of thumb chooses."""
    filters = nested(family)
    if rule == BEST_POOL:
        return filters[0]
    sizes = np.cumsum(list(settings.FAMILIES[family].values()))
    enough = np.flatnonzero(samples_seen <= 4 * sizes)
    return filters[enough[0] if len(enough) else -1]


def prediction_metrics(predicted: pd.DataFrame, measured: pd.Series, family: str, names: Sequence[str]) -> pd.DataFrame:
    """Mixture error, bias, error of differences and pairs right of one redraw; one row a predictor.

    Args:
        predicted: one row a setting and checkpoint, one column a predictor.
        measured: error by (run, samples_seen), seeds averaged.
        family: whose settings these are.
        names: the predictors.
    """
    mixed = {each.name for each in scored(family) if each.role == "mixture"}
    known = pd.MultiIndex.from_frame(predicted[["run", "samples_seen"]])
    truth = measured.reindex(known).to_numpy()
    is_mixture = predicted["run"].isin(mixed).to_numpy()
    groups = predicted.reset_index(drop=True).groupby("samples_seen").indices.values()
    pairs = np.array([(i, j) for rows in groups for a, i in enumerate(rows) for j in rows[a + 1 :]])
    pairs = pairs[is_mixture[pairs].any(axis=1)]
    actual = truth[pairs[:, 0]] - truth[pairs[:, 1]]
    found = {}
    for name in names:
        values = predicted[name].to_numpy()
        off = (values - truth)[is_mixture]
        expected = values[pairs[:, 0]] - values[pairs[:, 1]]
        right = np.where(expected == 0, 0.5, np.sign(expected) == np.sign(actual))[actual != 0]
        found[name] = {
            "mixture error": np.mean(np.abs(off)),
            "bias": np.mean(off),
            "differences": np.mean(np.abs(expected - actual)),
            "pairs right": np.mean(right) if np.isfinite(values).all() else np.nan,
        }
    return pd.DataFrame(found).T


def cells_of(frame: pd.DataFrame, names: Sequence[str], samples_seen: float, seeds: Sequence[int]) -> pd.DataFrame:
    """Measured errors at one budget: a row a cell (redraw, seed), a column a setting."""
    rows = frame.loc[frame["run"].isin(names) & (frame["samples_seen"] == samples_seen) & frame["seed"].isin(seeds)]
    return rows.pivot(index=["redraw", "seed"], columns="run", values="error")[list(names)]


def halves(cells: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray]]:
    """Masks of the cells to choose on and to value on: redraw + seed even and odd, both ways."""
    even = (cells.index.get_level_values("redraw") + cells.index.get_level_values("seed")) % 2 == 0
    return [(even, ~even), (~even, even)]


def best_on_halves(cells: pd.DataFrame) -> pd.Series:
    """For every cell the measured error, in that cell, of the option that is best over the other half."""
    value = pd.Series(np.nan, index=cells.index)
    for choose, judge in halves(cells):
        best = cells.loc[choose].mean().idxmin()
        value[judge] = cells.loc[judge, best]
    return value


def regrets(
    choices: Mapping[str, Mapping[tuple[int, int], str]],
    frame: pd.DataFrame,
    names: Sequence[str],
    budgets: Sequence[int],
) -> dict[str, pd.DataFrame]:
    """Regret of every chooser; a row a redraw, a column a budget, both halves averaged.

    Args:
        choices: chooser to {(redraw, samples seen): setting}.
        frame: measured checkpoints of one family.
        names: the settings to choose from.
        budgets: samples seen.
    """
    found: dict[str, dict[int, pd.Series]] = {name: {} for name in choices}
    for budget in budgets:
        cells = cells_of(frame, names, budget, settings.SEEDS)
        best = best_on_halves(cells)
        for name, chosen in choices.items():
            own = pd.Series({cell: cells.loc[cell, chosen[cell[0], budget]] for cell in cells.index})
            found[name][budget] = (own - best).groupby(level=0).mean()
    return {name: pd.DataFrame(columns) for name, columns in found.items()}


def choose(predicted: pd.DataFrame, family: str, name: str, only_filters: bool) -> dict[tuple[int, int], str]:
    """What a predictor or a rule chooses for every redraw and budget."""
    allowed = [each.name for each in options(family) if is_filter(each.name) or not only_filters]
    rows = predicted.loc[predicted["run"].isin(allowed)]
    chosen = {}
    for (redraw, budget), group in rows.groupby(["redraw", "samples_seen"]):
        if name in RULES:
            chosen[int(redraw), int(budget)] = follow_rule(name, family, float(budget))
        elif group[name].notna().all():
            chosen[int(redraw), int(budget)] = str(group["run"].iloc[int(np.argmin(group[name]))])
    return chosen
