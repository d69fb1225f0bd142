"""Baselines of `predict_speed`: the utility law in the released form, in NumPy and in Numba, for one law of many runs.

All predict y = d + exp(sum_i w_i b_i G_i) with half-lives diluted by gamma = 1 (the Numba kernels take any gamma, but
pay for the power only where it is not 1). The closed form is that of `qqtjax/laws/closed_form.py`, with its
coefficients, in scalar code that takes one branch only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from qqtjax.laws import UtilityParams
from qqtjax.laws.closed_form_coefficients import FLOAT32, FLOAT64
from qqtjax.runs import Run

NORMALISER = 1e5
MOST = 4096
LOG_STEPS = np.log1p(1.0 / np.arange(1, MOST))
COUNTS = np.arange(1.0, MOST)
EULER_GAMMA = 0.5772156649015329


def released(
    weights: np.ndarray,
    sizes: np.ndarray,
    seen: float,
    utility: np.ndarray,
    half_life: np.ndarray,
    reference: np.ndarray,
    scale: float,
    floor: float,
) -> float:
    """One prediction in the released form: arrays over the epochs, a loop over the pools, a product of ratios."""
    a = NORMALISER / scale
    excess = 1.0
    for i in range(len(weights)):
        epoch = sizes[i] / weights[i]
        epochs = np.arange(seen // epoch + 1)
        decayed = weights[i] * utility[i] * 0.5 ** (epochs / (half_life[i] * sizes[i] / (weights[i] * reference[i])))
        ends = a * np.minimum(epoch * (epochs + 1), seen) / NORMALISER
        starts = a * epoch * epochs / NORMALISER
        excess *= ends[0] ** decayed[0]
        if len(ends) > 1:
            excess *= np.prod((ends[1:] / starts[1:]) ** decayed[1:])
    return excess + floor


def lean(
    weights: np.ndarray,
    sizes: np.ndarray,
    seen: float,
    utility: np.ndarray,
    half_life: np.ndarray,
    reference: np.ndarray,
    scale: float,
    floor: float,
) -> float:
    """The leanest call in NumPy that we found: one power and one product with stored logarithms for each pool."""
    exponent, fresh, count = 0.0, math.log(seen / scale), float(seen)
    pools = zip(
        *(each.tolist() for each in (weights, sizes, utility, half_life, reference)),
        strict=True,
    )
    for weight, size, slope, life, measured in pools:
        epochs = count * weight / size
        whole = int(epochs)
        gained = fresh
        if whole >= 1:
            kept = (0.5 ** (weight * measured / (life * size))) ** COUNTS[:whole]
            gained += kept[:-1].dot(LOG_STEPS[: whole - 1]) + kept[-1] * math.log(epochs / whole) - math.log(epochs)
        exponent += weight * slope * gained
    return math.exp(exponent) + floor


def vectorised(params: UtilityParams, runs: Run) -> np.ndarray:
    """All runs at once: the recursion over epochs, each step on the pools and runs that have reached it."""
    weights, sizes, seen = (np.asarray(each) for each in (runs.weights, runs.sizes, runs.samples_seen))
    dtype = weights.dtype
    epochs = (seen * weights / sizes).ravel()
    order = np.argsort(-epochs)
    sorted_epochs = epochs[order]
    whole = np.floor(sorted_epochs)
    rate = np.asarray(params.reference_size)[:, None] * weights / sizes
    rate = (rate * (dtype.type(math.log(2.0)) / np.asarray(params.half_life)[:, None])).ravel()[order]
    delta = np.exp(-rate)
    power, kept = delta.copy(), np.zeros_like(delta)
    ends = np.searchsorted(-whole, -np.arange(2, whole[0] + 1), side="right")
    for step, end in zip(LOG_STEPS.astype(dtype), ends, strict=False):
        kept[:end] += power[:end] * step
        power[:end] *= delta[:end]
    started = whole >= 1
    lost = np.log(sorted_epochs[started]) - kept[started]
    lost -= power[started] * np.log(sorted_epochs[started] / whole[started])
    gained = np.zeros_like(epochs)
    gained[order[started]] = -lost
    gained = gained.reshape(weights.shape) + np.log(seen / np.asarray(params.scale))
    exponent = np.sum(weights * np.asarray(params.utility)[:, None] * gained, axis=0)
    return np.asarray(params.floor) + np.exp(np.log(np.asarray(params.amplitude)) + exponent)


def tables(dtype: Any) -> tuple[Any, ...]:
    """Logarithms of the steps and the coefficients of the closed form, at one precision, highest power first."""
    table = FLOAT64 if dtype is np.float64 else FLOAT32
    longest = max(len(row) for row in table.tail)
    tail = np.zeros((len(table.tail), longest), dtype)
    for i, row in enumerate(table.tail):
        tail[i, longest - len(row) :] = row[::-1]
    polynomials = (table.growth, table.zeta, table.ein, table.e1_numerator, table.e1_denominator)
    return (
        LOG_STEPS.astype(dtype),
        *(np.array(each[::-1], dtype) for each in polynomials),
        tail,
        np.array([table.rate_switch, table.exponent_switch, len(table.log_steps) + 2], dtype),
    )


@njit(parallel=True, fastmath=True, error_model="numpy")
def recursion(weights, sizes, seen, utility, half_life, reference, gamma, amplitude, scale, floor, tables, out):
    """The recursion over epochs, a running product in place of powers; runs in parallel."""
    steps = tables[0]
    one = seen.dtype.type(1)
    log2, log_amplitude = seen.dtype.type(math.log(2.0)), math.log(amplitude)
    for m in prange(seen.size):
        fresh, exponent = math.log(seen[m] / scale), log_amplitude
        for i in range(weights.shape[0]):
            epochs = seen[m] * weights[i, m] / sizes[i, m]
            gained = fresh
            if epochs >= one:
                whole = int(epochs)
                share = weights[i, m] * reference[i] / sizes[i, m]
                delta = math.exp(-log2 / half_life[i] * (share if gamma == one else share**gamma))
                power, kept = delta, one - one
                for step in range(whole - 1):
                    kept += power * steps[step]
                    power *= delta
                gained += kept + power * math.log(epochs / whole) - math.log(epochs)
            exponent += weights[i, m] * utility[i] * gained
        out[m] = floor + math.exp(exponent)


@njit(fastmath=True, error_model="numpy", inline="always")
def horner(coefficients, x):
    """The polynomial with these coefficients, highest power first."""
    value = coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


@njit(parallel=True, fastmath=True, error_model="numpy")
def closed(weights, sizes, seen, utility, half_life, reference, gamma, amplitude, scale, floor, tables, out):
    """The sum itself for few epochs or a fast decay, else the expansion; runs in parallel."""
    steps, growth, zeta, ein, e1_numerator, e1_denominator, tail, switches = tables
    one = seen.dtype.type(1)
    zero, half, two = one - one, one / 2, one + one
    log2, log_amplitude = seen.dtype.type(math.log(2.0)), math.log(amplitude)
    euler = seen.dtype.type(EULER_GAMMA)
    rate_switch, exponent_switch, first = switches[0], switches[1], int(switches[2])
    for m in prange(seen.size):
        fresh, exponent = math.log(seen[m] / scale), log_amplitude
        for i in range(weights.shape[0]):
            epochs = seen[m] * weights[i, m] / sizes[i, m]
            gained = fresh
            if epochs >= one:
                whole = int(epochs)
                share = weights[i, m] * reference[i] / sizes[i, m]
                lam = log2 / half_life[i] * (share if gamma == one else share**gamma)
                log_epochs = math.log(epochs)
                if whole < first or lam >= rate_switch:
                    delta = math.exp(-lam)
                    power, kept = delta, zero
                    for step in range(min(whole, first - 1) - 1):
                        kept += power * steps[step]
                        power *= delta
                    if whole >= first:
                        power = math.exp(-lam * whole)
                    kept += power * math.log(epochs / whole)
                else:
                    z = lam * whole
                    power, root = math.exp(-z), math.exp(half * lam)
                    log_whole = math.log(seen.dtype.type(whole))
                    if z < exponent_switch:
                        u = log_whole - z * horner(ein, z * (two / exponent_switch) - one)
                    else:
                        e1 = power * horner(e1_numerator, z) / (z * horner(e1_denominator, z))
                        u = -math.log(lam) - euler - e1
                    inverse = one / whole
                    square = inverse * inverse
                    rest = zero
                    for row in range(tail.shape[0] - 1, -1, -1):
                        rest = rest * lam + horner(tail[row], square) * (square if row % 2 else inverse)
                    bracket = lam * horner(zeta, lam * (two / rate_switch) - one) + u
                    kept = horner(growth, lam) * bracket - root * power * rest * lam
                    kept += power * (log_epochs - log_whole)
                gained += kept - log_epochs
            exponent += weights[i, m] * utility[i] * gained
        out[m] = floor + math.exp(exponent)
