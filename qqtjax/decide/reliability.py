"""Do stated probabilities come true: events in bins, calibration error and Brier score."""

from __future__ import annotations

import dataclasses

import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError

BINS = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """N events in K bins of equally many, in the order of their stated probability.

    Attributes:
        stated: `[K]` mean stated probability.
        happened: `[K]` share that happened.
        count: `[K]` events; they sum to N.
        brier: mean squared difference of stated probability and what happened (1) or not (0).
        rate: share of all events that happened; stating it always would score `rate * (1 - rate)`.
    """

    stated: np.ndarray
    happened: np.ndarray
    count: np.ndarray
    brier: float
    rate: float

    @property
    def error(self) -> float:
        """Calibration error: mean of |stated - happened|, weighted by the count."""
        return float(np.average(np.abs(self.stated - self.happened), weights=self.count))

    def interval(self, level: float = 0.95) -> np.ndarray:
        """`[2, K]` ends of the exact interval of each true share, had the events nothing to do with each other.

        Source: Clopper and Pearson, Biometrika 26 (1934).

        Raises:
            InputError: a level that is not between 0 and 1.
        """
        from scipy.stats import beta

        if not 0 < level < 1:
            raise InputError(f"level {level!r}: expected a number between 0 and 1, for example 0.95")
        hits, tail = np.round(self.happened * self.count), (1 - level) / 2
        low = beta.ppf(tail, np.maximum(hits, 1), self.count - hits + 1)
        high = beta.ppf(1 - tail, hits + 1, np.maximum(self.count - hits, 1))
        return np.stack([np.where(hits > 0, low, 0.0), np.where(hits < self.count, high, 1.0)])

    def __str__(self) -> str:
        rows = zip(self.stated, self.happened, self.count, strict=True)
        lines = [f"{stated:>7.3f}{happened:>10.3f}{count:>8}" for stated, happened, count in rows]
        score = f"{self.count.sum():,} events: calibration error {self.error:.3f}, Brier score {self.brier:.3f} ("
        score += f"{self.rate * (1 - self.rate):.3f} for the base rate alone)"
        return "\n".join([" stated  happened  events", *lines, score])


def reliability(probability: ArrayLike, happened: ArrayLike, bins: int = BINS) -> Reliability:
    """Sort events by their stated probability and compare each of so many equal parts with what happened.

        ECE = sum_k |mean p_k - mean o_k| N_k / N,   Brier = mean (p - o)^2

    Source: Brier, Mon. Weather Rev. 78 (1950); bins of equal mass, Nguyen and O'Connor, arXiv 1508.05154.

    Args:
        probability: `[N]` stated, from 0 to 1.
        happened: `[N]` 1 or True where the event happened, else 0.
        bins: K; fewer where there are fewer events.

    Returns:
        A `Reliability`: print it, or draw it with `qqtjax.plot.reliability`.

    Raises:
        InputError: no event, other lengths, a probability outside 0 to 1, an outcome other than 0 or 1, no bin.

    Example:
        >>> found = reliability([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], bins=2)
        >>> found.stated.round(2).tolist(), found.happened.tolist(), round(found.error, 2), round(found.brier, 3)
        ([0.15, 0.85], [0.0, 1.0], 0.15, 0.025)
    """
    stated, outcome = np.asarray(probability, np.float64), np.asarray(happened, np.float64)
    if stated.ndim != 1 or stated.shape != outcome.shape or not len(stated):
        raise InputError(f"probabilities {stated.shape}, outcomes {outcome.shape}: expected one or more of each")
    if not np.all((stated >= 0) & (stated <= 1)):
        raise InputError("probabilities: expected numbers from 0 to 1")
    if not np.all((outcome == 0) | (outcome == 1)):
        raise InputError("outcomes: expected 1 where an event happened and 0 where it did not")
    if bins < 1:
        raise InputError(f"bins {bins!r}: expected 1 or more")
    order = np.argsort(stated, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return Reliability(
        stated=np.array([stated[part].mean() for part in parts]),
        happened=np.array([outcome[part].mean() for part in parts]),
        count=np.array([len(part) for part in parts]),
        brier=brier(stated, outcome),
        rate=float(outcome.mean()),
    )


def brier(probability: np.ndarray, happened: np.ndarray) -> float:
    """Mean squared difference of stated probability and what happened; that of the base rate p is p (1 - p)."""
    return float(np.mean((probability - happened) ** 2))
