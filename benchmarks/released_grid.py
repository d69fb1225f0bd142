"""The search of the released code, rewritten lean: a grid over (a, b, tau) for one pool with the floor given.

`search` makes one call per cell and checkpoint as its users run it, shuffled with a seed and cut, with one of three
ways to write the call; `best_cell` takes every cell at once, for the exact minimum over the whole grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

NORMALISER = 1e5
A = np.linspace(1e-4, 0.2, 100)
B = np.linspace(-0.005, -0.5, 100)
TAU = np.linspace(1.0, 10.0, 100)


EPOCHS = np.arange(1.0, 1000.0)
LOG_RATIOS = np.log1p(1.0 / EPOCHS)
LOG_RATIO_LIST = LOG_RATIOS.tolist()


def predict_arrays(a: float, b: float, tau: float, floor: float, samples_seen: float, size: float) -> float:
    """One prediction in the released form: arrays over epochs, a product of ratios."""
    whole = int(samples_seen // size)
    if whole < 1:
        return (a * samples_seen / NORMALISER) ** b + floor
    ends = np.append(np.arange(1, whole + 1) * size, samples_seen)
    slopes = b * 0.5 ** (np.arange(1, whole + 1) / tau)
    return (a * size / NORMALISER) ** b * np.prod((ends[1:] / ends[:-1]) ** slopes) + floor


def predict_numpy(a: float, b: float, tau: float, floor: float, samples_seen: float, size: float) -> float:
    """The leanest NumPy call that we found: one power, one product with stored logarithms."""
    whole = int(samples_seen // size)
    if whole < 1:
        return (a * samples_seen / NORMALISER) ** b + floor
    kept = (0.5 ** (1.0 / tau)) ** EPOCHS[:whole]
    grown = kept[:-1].dot(LOG_RATIOS[: whole - 1]) + kept[-1] * math.log(samples_seen / (whole * size))
    return math.exp(b * (math.log(a * size / NORMALISER) + grown)) + floor


def predict_scalar(a: float, b: float, tau: float, floor: float, samples_seen: float, size: float) -> float:
    """No NumPy at all: for so few epochs a loop over Python floats is faster still."""
    whole = int(samples_seen // size)
    if whole < 1:
        return (a * samples_seen / NORMALISER) ** b + floor
    delta = 0.5 ** (1.0 / tau)
    log_excess = b * math.log(a * size / NORMALISER)
    slope = b
    for epoch in range(whole - 1):
        slope *= delta
        log_excess += slope * LOG_RATIO_LIST[epoch]
    return math.exp(log_excess + slope * delta * math.log(samples_seen / (whole * size))) + floor


FORMS = {
    "released form, arrays over epochs": predict_arrays,
    "leanest NumPy call": predict_numpy,
    "no NumPy, Python floats": predict_scalar,
}


def search(
    predict: Callable[..., float],
    samples_seen: np.ndarray,
    error: np.ndarray,
    size: float,
    floor: float,
    cells: int,
    seed: int,
) -> tuple[float, tuple[float, float, float]]:
    """The released procedure: shuffle the grid, keep so many cells, call the law for every checkpoint of each."""
    order = np.random.default_rng(seed).permutation(A.size * B.size * TAU.size)[:cells]
    first, second, third = np.unravel_index(order, (A.size, B.size, TAU.size))
    points = list(zip(samples_seen.tolist(), error.tolist(), strict=True))
    best, found = math.inf, (math.nan, math.nan, math.nan)
    grid = zip(A[first].tolist(), B[second].tolist(), TAU[third].tolist(), strict=True)
    for a, b, tau in grid:
        total = 0.0
        for seen, measured in points:
            miss = predict(a, b, tau, floor, seen, size) - measured
            total += miss * miss
        if total < best:
            best, found = total, (a, b, tau)
    return best, found


def best_cell(samples_seen: np.ndarray, error: np.ndarray, size: float, floor: float) -> float:
    """The lowest sum of squares over all 10^6 cells."""
    total = np.zeros((A.size, B.size, TAU.size))
    delta = 0.5 ** (1.0 / TAU)
    for seen, measured in zip(samples_seen, error, strict=True):
        whole = int(seen // size)
        kept = np.zeros_like(TAU)
        first = min(seen, size)
        if whole >= 1:
            for epoch in range(1, whole):
                kept += delta**epoch * np.log((epoch + 1) / epoch)
            kept += delta**whole * np.log(seen / (whole * size))
        grown = np.log(A * first / NORMALISER)[:, None, None] + kept
        total += (np.exp(B[:, None] * grown) + floor - measured) ** 2
    return float(total.min())
