"""What a fit can and cannot say: standard errors, bounds hit, parameters that the data do not identify."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from qqtjax.fit.objective import Data, Objective, linearise
from qqtjax.fit.parameters import Space
from qqtjax.laws.fitted import Spread

NULL_DIRECTION = 1e-9
TAKES_PART = 0.2
WEAK = 1.0
AT_BOUND = 1e-7


@partial(jax.jit, static_argnums=0)
def linearised(objective: Objective, coordinates: Array, data: Data) -> tuple[Any, Array, Array]:
    """Parameters, residuals `[M]`, and their derivative `[M, F]` in the solver's coordinates."""
    each, slopes = linearise(objective, coordinates, data)
    return objective.layout.unpack(coordinates, data.fixed), each, slopes


class Findings(NamedTuple):
    """What an optimum looks like.

    Attributes:
        errors: `[F]` standard errors in the parameters' own units; NaN at a bound or not identified.
        bounds_hit: which parameters ended at which bound.
        unidentified: which parameters the data do not identify, and why.
        factor: `[K, F]` changes of the coordinates along K independent directions of one standard deviation: a square
            root of their covariance, 0 for coordinates at a bound or along directions that are not identified.
        lean: largest cosine between the residuals and a parameter that is free to move; 0 at an optimum.
    """

    errors: np.ndarray
    bounds_hit: tuple[str, ...]
    unidentified: tuple[str, ...]
    factor: np.ndarray
    lean: float


def diagnose(
    space: Space,
    x: np.ndarray,
    each: np.ndarray,
    slopes: np.ndarray,
    importance: np.ndarray,
    huber: float | None = None,
) -> Findings:
    """Look at an optimum.

    The standard errors are those of weighted least squares, s^2 (J^T W J)^-1 over the coordinates that are off
    their bounds and identified: they take checkpoints as independent, and do not know run-to-run noise. Under a
    Huber loss s^2 is that of the bent residuals over the squared share of residuals inside (Huber, Robust
    Statistics, 1981, section 7.6).

    Args:
        space: the search space.
        x: `[F]` the optimum.
        each: `[M]` residuals there.
        slopes: `[M, F]` their Jacobian.
        importance: `[M]` weight of each checkpoint.
        huber: where the loss turns linear; None: squares.
    """
    bent = each if huber is None else np.clip(each, -huber, huber)
    low, high = space.box()
    near = AT_BOUND * (high - low)
    hit = (x <= low + near) | (x >= high - near)
    bounds_hit = tuple(
        f"{name} at its {'lower' if at <= (lo + hi) / 2 else 'upper'} bound {value:.4g}"
        for name, at, lo, hi, value, is_hit in zip(space.names, x, low, high, space.natural(x), hit, strict=True)
        if is_hit
    )
    weighted = np.sqrt(importance)[:, None] * slopes
    norms = np.linalg.norm(weighted, axis=0)
    moves = norms > 1e-12 * max(norms.max(initial=0.0), 1e-300)
    unidentified = [f"{space.names[i]}: the data do not depend on it" for i in np.flatnonzero(~moves & ~hit)]
    used = np.flatnonzero(moves & ~hit)
    errors, factor = np.full(len(x), np.nan), np.zeros((len(used), len(x)))
    if len(used):
        # Of the triangle only: the full left factor of a long table would not fit into memory.
        triangle = np.linalg.qr(weighted[:, used] / norms[used], mode="r")
        square = np.zeros((len(used), len(used)))
        square[: len(triangle)] = triangle
        _, singular, right = np.linalg.svd(square)
        null = singular <= NULL_DIRECTION * singular[0]
        blurred = np.any(np.abs(right[null]) > TAKES_PART, axis=0)
        if blurred.any():
            together = ", ".join(space.names[used[i]] for i in np.flatnonzero(blurred))
            unidentified.append(f"{together}: only a combination of them is determined")
        freedom = np.count_nonzero(importance) - len(used)
        if freedom > 0:
            variance = float(np.sum(importance * bent**2) / freedom / np.mean(bent == each) ** 2)
            inverse = np.where(null, 0.0, 1.0 / np.where(null, 1.0, singular))
            factor[:, used] = np.sqrt(variance) * inverse[:, None] * right / norms[used]
            spread = np.linalg.norm(factor[:, used], axis=0)
            spread = np.where(blurred, np.nan, spread)
            logs = np.array([space.ranges[i].log for i in used])
            errors[used] = spread * np.where(logs, np.abs(space.natural(x)[used]), 1.0)
            widths = high[used] - low[used]
            weak = np.where(logs, spread > WEAK, spread > 0.5 * widths)
            for i in np.flatnonzero(weak):
                unidentified.append(
                    f"{space.names[used[i]]}: weakly, its standard error spans most of what is possible"
                )
        else:
            unidentified.append(f"{len(used)} free parameters from {len(each)} checkpoints: no standard errors")
    pull = slopes.T @ (importance * bent)
    held = (x <= low + near) & (pull > 0) | (x >= high - near) & (pull < 0)
    length = np.sqrt(np.sum(importance * bent**2))
    leaning = np.abs(pull[~held & moves]) / np.maximum(norms[~held & moves] * length, np.finfo(float).tiny)
    return Findings(errors, bounds_hit, tuple(unidentified), factor, float(leaning.max(initial=0.0)))


def errors_as_params(space: Space, errors: np.ndarray) -> Any:
    """The parameter type filled with standard errors, NaN where fixed."""
    values = {name: None if value is None else np.full(np.shape(value), np.nan) for name, value in space.fixed.items()}
    for slot in space.layout.slots:
        positions = np.array(slot.positions)
        picked = np.where(positions >= 0, errors[np.maximum(positions, 0)], np.nan)
        values[slot.field] = picked[0] if slot.scalar else picked
    return space.layout.law.params(**values)


def spread_of(space: Space, factor: np.ndarray) -> Spread:
    """The joint uncertainty of the parameters, from that of the solver's coordinates `[K, F]`."""
    fields: dict[str, Any] = dict.fromkeys(space.fixed)
    logs, bounds = [], {}
    for slot in space.layout.slots:
        positions = np.array(slot.positions)
        picked = np.where(positions >= 0, factor[:, np.maximum(positions, 0)], 0.0)
        fields[slot.field] = picked[:, 0] if slot.scalar else picked
        spread = space.ranges[int(positions.max())]
        bounds[slot.field] = tuple(sorted((spread.low, spread.high)))
        logs += [slot.field] if spread.log else []
    return Spread(space.layout.law.params(**fields), tuple(logs), bounds)
