"""By what a mix is judged when its error is uncertain: the mean, a tail or the worst of many errors.

All three are the largest mean of errors y_s over weights q of the draws that a limit allows,

    max over q of  sum_s q_s y_s,   0 <= q_s <= c_s,   sum q = C

which is convex in the weights of a mix wherever every y_s is. Source: Rockafellar and Uryasev, "Optimization of
conditional value-at-risk", Journal of Risk 2 (2000), for the tail; Artzner et al., "Coherent measures of risk",
Mathematical Finance 9 (1999), for the form as a maximum.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from qqtjax.errors import InputError


class Judging(NamedTuple):
    """How M errors become one number: the largest sum_m q_m y_m with 0 <= q_m <= c_m and sum q = C.

    Attributes:
        most: `[M]` c_m >= 0.
        total: C, at most their sum.
    """

    most: np.ndarray
    total: float

    @property
    def fixed(self) -> bool:
        """Is there only one q, the limits themselves."""
        return bool(self.total >= self.most.sum())

    def worst(self, costs: np.ndarray) -> np.ndarray:
        """`[M]` the q of the largest sum: the largest costs get all that they may, until C is spent.

        Args:
            costs: `[M]` y_m.

        Example:
            >>> Judging(np.full(4, 0.5), 1.0).worst(np.array([1.0, 4.0, 2.0, 3.0])).tolist()
            [0.0, 0.5, 0.0, 0.5]
        """
        if self.fixed:
            return self.most
        order = np.argsort(-costs, kind="stable")
        left = self.total - np.concatenate([[0.0], np.cumsum(self.most[order])[:-1]])
        shares = np.empty_like(self.most)
        shares[order] = np.clip(left, 0.0, self.most[order])
        return shares

    def within(self, shares: np.ndarray) -> np.ndarray:
        """`[M]` multipliers q that rounding left a little off, brought back within the limits."""
        if not np.any(shares > 0):
            return self.total * self.most / self.most.sum()
        kept = np.clip(shares, 0.0, self.most)
        short = self.total - kept.sum()
        if short <= 0:
            return kept * (self.total / kept.sum())
        room = self.most - kept
        return kept + room * (short / room.sum())

    def of(self, costs: np.ndarray) -> float:
        """The largest sum.

        Args:
            costs: `[M]` y_m.
        """
        return float(self.worst(costs) @ costs)


def weighted(factors: np.ndarray | None, count: int) -> Judging:
    """The sum of M errors with factors `[M]`, or the largest of them where these are None."""
    return Judging(np.ones(count), 1.0) if factors is None else Judging(factors, float(factors.sum()))


@dataclasses.dataclass(frozen=True)
class Mean:
    """The mean over draws, each with its probability: sum_s p_s y_s.

    Example:
        >>> Mean().judging(np.full(4, 0.25)).of(np.array([1.0, 2.0, 3.0, 6.0]))
        3.0
    """

    def judging(self, probabilities: np.ndarray) -> Judging:
        """With c = p, C = 1.

        Args:
            probabilities: `[S]` p_s, of sum 1.
        """
        return Judging(probabilities, float(probabilities.sum()))

    def __str__(self) -> str:
        return "mean"


@dataclasses.dataclass(frozen=True)
class CVaR:
    """The mean of the worst draws, which have 1 - level of the probability: conditional value at risk.

        min over t of  t + sum_s p_s (y_s - t)_+ / (1 - level)

    Attributes:
        level: in [0, 1); 0 is the mean, and near 1 only the worst draw is left.

    Raises:
        InputError: a level outside of that.

    Example:
        >>> CVaR(0.5).judging(np.full(4, 0.25)).of(np.array([1.0, 2.0, 3.0, 6.0]))
        4.5
    """

    level: float = 0.9

    def __post_init__(self) -> None:
        if not (isinstance(self.level, int | float | np.number) and 0 <= self.level < 1):
            raise InputError(f"level {self.level!r}: expected a number from 0 to below 1, such as 0.9")

    def judging(self, probabilities: np.ndarray) -> Judging:
        """With c = p / (1 - level), C = 1.

        Args:
            probabilities: `[S]` p_s, of sum 1.
        """
        return Judging(np.minimum(probabilities / (1.0 - self.level), 1.0), 1.0)

    def __str__(self) -> str:
        return f"CVaR {self.level:g}"


@dataclasses.dataclass(frozen=True)
class Worst:
    """The worst draw, whatever its probability: max_s y_s.

    Example:
        >>> Worst().judging(np.full(4, 0.25)).of(np.array([1.0, 2.0, 3.0, 6.0]))
        6.0
    """

    def judging(self, probabilities: np.ndarray) -> Judging:
        """With c = C = 1, and 0 for draws without probability.

        Args:
            probabilities: `[S]` p_s, of sum 1.
        """
        return Judging((probabilities > 0).astype(np.float64), 1.0)

    def __str__(self) -> str:
        return "worst case"
