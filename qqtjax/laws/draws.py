"""Parameters drawn from what a fit leaves open, as a stack that predictions, mixes and sweeps take in its place."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw


def draw_params(fitted: FittedLaw, count: int, seed: int = 0) -> Any:
    """Draw parameters from the normal approximation of a fit.

        theta_s = theta_hat + L^T z_s,   z_s ~ N(0, I),   L^T L = s^2 (J^T W J)^-1

    in the coordinates of the fit (logarithms of scale, utility, half-life, ..), kept to its bounds. As its standard
    errors: checkpoints count as independent, run-to-run noise is not known, parameters at a bound and directions
    that the data do not identify stay where they are. Source: least squares, as for the standard errors.

    Args:
        fitted: a fit.
        count: S >= 1 draws.
        seed: of the random numbers; the same seed gives the same bytes.

    Returns:
        The law's parameters, every leaf with a leading axis of S, in float64.

    Raises:
        InputError: published constants or a fit without standard errors, or a wrong count.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> fitted = qqt.fit(runs.select(runs.single))
        >>> draws = draw_params(fitted, 1000)
        >>> draws.utility.shape
        (1000, 5)
    """
    if not (isinstance(count, int | np.integer) and count >= 1):
        raise InputError(f"draws {count!r}: expected a whole number >= 1")
    spread = None if fitted.diagnostics is None else fitted.diagnostics.spread
    if spread is None:
        raise InputError("draws: these parameters have no standard errors; expected a fit of measured runs")
    factors = [each for each in vars(spread.factor).values() if each is not None]
    directions = len(factors[0]) if factors else 0
    if not any(np.any(each) for each in factors):
        raise InputError("draws: this fit has no standard errors; fit more checkpoints, or fewer parameters")
    steps = np.random.default_rng(seed).standard_normal((count, directions))
    drawn = {}
    for field in dataclasses.fields(fitted.params):
        value, factor = getattr(fitted.params, field.name), getattr(spread.factor, field.name)
        if value is None:
            drawn[field.name] = None
            continue
        value = np.asarray(value, np.float64)
        change = np.zeros((count, *value.shape)) if factor is None else np.tensordot(steps, factor, 1)
        moved = value * np.exp(change) if field.name in spread.logs else value + change
        if factor is not None:
            # What did not move keeps its bytes, wherever it lies.
            moved = np.where(change == 0, value, np.clip(moved, *spread.bounds[field.name]))
        drawn[field.name] = np.broadcast_to(moved, (count, *value.shape)).copy()
    return dataclasses.replace(fitted.params, **drawn)
