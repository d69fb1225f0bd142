"""Reliability tables of studies, and intervals of their figures over studies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def table_rows(stated: Sequence[float], happened: Sequence[float], count: Sequence[int]) -> str:
    """A reliability diagram as lines of a table: stated, happened, count."""
    cells = zip(stated, happened, count, strict=True)
    return "\n".join(f"| {said:.3f} | {came:.3f} | {events:,} |" for said, came, events in cells)


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
