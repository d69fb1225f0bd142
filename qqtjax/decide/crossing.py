"""The budgets at which two options may tie: a set, which may have no end."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import Shares
from qqtjax.text import show_count

GRID = 256
TIE = 1e-12


@dataclasses.dataclass(frozen=True)
class CrossoverSet:
    """At which budgets two options may change places.

    Attributes:
        estimates: budgets at which they tie under the fit itself, ascending.
        spans: the set, as closed intervals of budgets, ascending; empty where they surely do not tie.
        low: least budget that was looked at.
        high: largest.
        level: probability with which the set holds a budget at which they truly tie.
        never: share of the draws in which they do not tie between low and high.
    """

    estimates: tuple[float, ...]
    spans: tuple[tuple[float, float], ...]
    low: float
    high: float
    level: float
    never: float

    @property
    def open_above(self) -> bool:
        """Does the set go on beyond the largest budget that was looked at."""
        return bool(self.spans) and self.spans[-1][1] >= self.high

    @property
    def open_below(self) -> bool:
        """Does the set begin before the least budget that was looked at."""
        return bool(self.spans) and self.spans[0][0] <= self.low

    def __str__(self) -> str:
        if not self.spans:
            return f"no tie up to {show_count(self.high, 3)}"
        parts = []
        for place, (first, last) in enumerate(self.spans):
            start = "" if place == 0 and self.open_below else show_count(first, 3)
            final = place == len(self.spans) - 1 and self.open_above
            if final and place == 0:
                parts.append(f"never below {start}, perhaps never" if start else "anywhere")
            elif final:
                parts.append(f"above {start}")
            else:
                parts.append(f"{start} to {show_count(last, 3)}" if start else f"below {show_count(last, 3)}")
        return " or ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; an end that was not found is None."""
        spans: list[list[float | None]] = [[first, last] for first, last in self.spans]
        if self.open_below:
            spans[0][0] = None
        if self.open_above:
            spans[-1][1] = None
        about = {"low": self.low, "high": self.high, "level": self.level, "never": self.never}
        return {"estimates": list(self.estimates), "spans": spans, **about}


def crossover_set(
    draws: Draws, first: Shares, second: Shares, low: float, high: float, level: float = 0.95
) -> CrossoverSet:
    """All budgets at which the interval of the difference between two errors holds 0.

        {n : q_lo(n) <= 0 <= q_hi(n)},   q(n) quantiles over s of log y_s(w_1, n) - log y_s(w_2, n)

    A test turned round (as Fieller's set for a ratio): it holds the budget of a true tie as often as the interval at
    that budget holds 0, also where curves are so close that the set has no end. Looked at on 256 budgets, evenly in
    log n, its ends interpolated between them.

    Source: Fieller, J. R. Stat. Soc. B 16 (1954); the application is ours.

    Args:
        draws: S draws of a fit.
        first: `{pool: share}` or `[P]` shares.
        second: the other option.
        low: least budget, samples seen.
        high: largest budget.
        level: of the intervals, equal tails.

    Returns:
        A `CrossoverSet`.

    Raises:
        InputError: wrong shares, not 0 < low < high, a level that is not between 0 and 1.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C", roles=("single",))
        >>> draws = qqt.draw(qqt.fit(runs), runs, 200)
        >>> found = crossover_set(draws, {"C00": 1}, {"C00": 0.5, "C20": 0.5}, 10e3, 320e3)
        >>> [start < found.estimates[0] < end for start, end in found.spans]
        [True]
    """
    if not 0 < low < high < np.inf:
        raise InputError(f"budgets from {low!r} to {high!r}: expected 0 < low < high")
    if not 0 < level < 1:
        raise InputError(f"level {level!r}: expected a number between 0 and 1, for example 0.95")
    pools = draws.fitted.pools
    weights = np.stack([pools.weights(first), pools.weights(second)])[:, None, :]
    grid = np.geomspace(low, high, GRID)
    drawn = np.log(draws.predict(weights, grid))
    gaps = drawn[:, 0] - drawn[:, 1]
    fitted = np.log(draws.fitted.predict(weights, grid))
    below, above = np.quantile(gaps, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return CrossoverSet(
        estimates=tuple(float(each) for each in _zeros(np.log(grid), fitted[0] - fitted[1])),
        spans=_spans(np.log(grid), below, above),
        low=float(low),
        high=float(high),
        level=level,
        never=float(np.mean(np.all(gaps > TIE, axis=1) | np.all(gaps < -TIE, axis=1))),
    )


def _zeros(position: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Budgets of the sign changes of a curve on a grid in log n, by straight lines between its points."""
    change = np.flatnonzero(np.sign(value[1:]) * np.sign(value[:-1]) < 0)
    share = value[change] / (value[change] - value[change + 1])
    return np.exp(position[change] + share * (position[change + 1] - position[change]))


def _spans(position: np.ndarray, below: np.ndarray, above: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Where 0 lies between two curves, as intervals of budgets; one may be a single point between grid points."""
    ends = [np.log(_zeros(position, curve)) for curve in (below, above)]
    points = np.sort(np.concatenate([position, *ends]))
    inside = (np.interp(points, position, below) <= TIE) & (np.interp(points, position, above) >= -TIE)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]])))
    budgets = np.exp(points)
    return tuple((float(budgets[first]), float(budgets[last - 1])) for first, last in edges.reshape(-1, 2))
