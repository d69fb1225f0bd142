"""All mixes whose shares are multiples of one step, numbered: a million of them are described by two numbers."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from qqtjax.errors import InputError

MOST_MIXES = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Simplex:
    """Every mix of P pools with shares in multiples of `step`: pass it as `weights` of a sweep.

    There are C(s + P - 1, P - 1) of them, s = 1 / step, numbered in the order in which the first share grows, then the
    second, and so on: mix 0 is the last pool alone, the last mix is the first pool alone. Source: the combinatorial
    number system (Knuth, The Art of Computer Programming 4A, section 7.2.1.3), ours for shares.

    Attributes:
        step: distance of neighbouring shares, 1 / s for a whole number s >= 1.

    Example:
        >>> Simplex(0.5).rows(np.arange(3), pools=2).tolist()
        [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
        >>> Simplex(0.05).count(pools=4)
        1771
    """

    step: float

    def __post_init__(self) -> None:
        number = isinstance(self.step, int | float | np.number)
        if not number or not (0 < self.step <= 1) or abs(1 / self.step - round(1 / self.step)) > 1e-6 / self.step:
            raise InputError(f"simplex step {self.step!r}: expected 1 / s for a whole number s, such as 0.05")

    @property
    def steps(self) -> int:
        """s, how many steps there are from 0 to 1."""
        return round(1 / self.step)

    def count(self, pools: int) -> int:
        """How many mixes there are.

        Args:
            pools: P.

        Raises:
            InputError: more than 2^31 - 1.
        """
        found = math.comb(self.steps + pools - 1, pools - 1)
        if found > MOST_MIXES:
            raise InputError(
                f"simplex step {self.step:g} of {pools} pools: {found:.3g} mixes, expected at most {MOST_MIXES:.3g}; "
                "give a larger step"
            )
        return found

    def rows(self, numbers: np.ndarray, pools: int) -> np.ndarray:
        """`[M, P]` shares of the mixes with these numbers, float64.

        Args:
            numbers: `[M]` from 0 to `count(pools) - 1`.
            pools: P.
        """
        steps = self.steps
        left = np.asarray(numbers, np.int64)
        rest = np.full(left.shape, steps)
        shares = np.empty((len(left), pools))
        for pool in range(pools - 1):
            others = pools - 1 - pool
            # Mixes of r steps over the others and this pool: C(r + others, others); fewer as this pool takes more.
            ways = np.array([math.comb(r + others, others) for r in range(steps + 1)], np.int64)
            kept = np.searchsorted(ways, ways[rest] - left)
            left = left - (ways[rest] - ways[kept])
            shares[:, pool] = rest - kept
            rest = kept
        shares[:, -1] = rest
        return shares / steps
