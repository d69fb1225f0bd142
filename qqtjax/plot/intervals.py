"""A fit with or without draws, and the bands that draws give."""

from __future__ import annotations

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import FittedLaw


def apart(fit: FittedLaw | Draws, level: float) -> tuple[FittedLaw, Draws | None]:
    """The fit itself, and its draws where they came in its place.

    Raises:
        InputError: a level that is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise InputError(f"level {level!r}: expected a number between 0 and 1, for example 0.95")
    return (fit.fitted, fit) if isinstance(fit, Draws) else (fit, None)


def interval(drawn: np.ndarray, level: float) -> np.ndarray:
    """`[2, ...]` lower and upper ends of what draws `[S, ...]` say, equal tails.

    Example:
        >>> interval(np.arange(101.0), 0.9).round(9).tolist()
        [5.0, 95.0]
    """
    return np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
