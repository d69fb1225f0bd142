"""Predictions with intervals, each labelled as interpolation or as an extrapolation that says how far."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import Shares


class Prediction(NamedTuple):
    """One predicted error and how sure it is.

    Attributes:
        error: of the fit.
        low: lower end of the interval.
        high: upper end.
        level: share of the draws inside.
        extrapolation: how far outside what was fitted, in words; empty for an interpolation.
        notes: what the interval does not know.
    """

    error: float
    low: float
    high: float
    level: float
    extrapolation: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        where = f"extrapolation: {self.extrapolation}" if self.extrapolation else "interpolation"
        return f"{self.error:.4f} ({self.level:.4g} in {self.low:.4f} .. {self.high:.4f}; {where})"


def predict_interval(draws: Draws, weights: Shares, samples_seen: float, level: float = 0.95) -> Prediction:
    """The error of one run with the interval that draws of the parameters give it.

    The interval is that of the expected error: the noise of one more measurement comes on top.

    Args:
        draws: S draws of a fit.
        weights: `{pool: share}` or `[P]` shares.
        samples_seen: n, repeats counted.
        level: share of the draws inside, equal tails.

    Returns:
        A `Prediction`.

    Raises:
        InputError: wrong shares, samples seen not above 0, a level that is not between 0 and 1.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C", roles=("single",))
        >>> draws = qqt.draw(qqt.fit(runs), runs, 200)
        >>> found = predict_interval(draws, {"C00": 0.5, "C20": 0.5}, 80e3)
        >>> found.low < found.error < found.high, found.extrapolation
        (True, '')
    """
    if not 0 < level < 1:
        raise InputError(f"level {level!r}: expected a number between 0 and 1, for example 0.95")
    dense = draws.fitted.pools.weights(weights)
    low, high = np.quantile(draws.predict(dense, samples_seen), [(1 - level) / 2, (1 + level) / 2])
    error = float(draws.fitted.predict(dense, samples_seen))
    outside = draws.fitted.extrapolation(dense, float(samples_seen))
    return Prediction(error, float(low), float(high), level, outside, draws.notes)
