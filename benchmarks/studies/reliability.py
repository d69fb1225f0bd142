"""Do stated probabilities come true: reliability tables, calibration error and Brier scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Reliability(NamedTuple):
    """K bins of equally many events, in the order of their stated probability.

    Attributes:
        stated: `[K]` mean stated probability.
        happened: `[K]` share that happened.
        count: `[K]` events.
    """

    stated: np.ndarray
    happened: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """Calibration error: mean of |stated - happened|, weighted by the count."""
        return float(np.average(np.abs(self.stated - self.happened), weights=self.count))

    def rows(self) -> str:
        """The reliability diagram as lines of a table: stated, happened, count."""
        cells = zip(self.stated, self.happened, self.count, strict=True)
        return "\n".join(f"| {stated:.3f} | {happened:.3f} | {count:,} |" for stated, happened, count in cells)


def reliability(probability: np.ndarray, happened: np.ndarray, bins: int) -> Reliability:
    """Sort `[N]` events by their stated probability and compare each of so many equal parts with what happened."""
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return Reliability(
        stated=np.array([probability[part].mean() for part in parts]),
        happened=np.array([happened[part].mean() for part in parts]),
        count=np.array([len(part) for part in parts]),
    )


def brier(probability: np.ndarray, happened: np.ndarray) -> float:
    """Mean squared difference of stated probability and what happened; that of the base rate p is p (1 - p)."""
    return float(np.mean((probability - happened) ** 2))


def over_studies(
    figure: Callable[[np.ndarray], float], study: np.ndarray, rng: np.random.Generator, resamples: int = 500
) -> tuple[float, float]:
    """95 % bootstrap interval of a figure of events, whole studies drawn with replacement.

    Args:
        figure: of the places of events.
        study: `[N]` to which study each event belongs.
        rng: of the resamples.
        resamples: how many.
    """
    order = np.argsort(study, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(study[order])) + 1)
    found = [
        figure(np.concatenate([groups[place] for place in rng.integers(len(groups), size=len(groups))]))
        for _ in range(resamples)
    ]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
