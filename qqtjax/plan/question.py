"""What a plan is asked: budgets in samples or FLOPs, and what kind of number the metric is."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw
from qqtjax.mix.predict import largest
from qqtjax.runs import Runs

# Parts of the names of metrics that are no error rates, whole words where they are short.
NO_RATE = re.compile(
    r"loss|perplexity|entropy|likelihood|surprisal|(?<![a-z])(nll|ppl|bpb|bpc|bits?|nats?|r?mse|mae)(?![a-z])"
)


LARGEST = 1e30  # beyond any budget; products of counts stay finite


def samples_to_afford(
    budgets: Iterable[float] | float | None,
    flops: Iterable[float] | float | None,
    price: float | None,
    needed: bool,
) -> np.ndarray:
    """`[B]` budgets in samples seen, in the caller's order: as given, or FLOPs over the price of a sample.

    Args:
        budgets: samples seen.
        flops: FLOPs instead.
        price: FLOPs of one sample seen.
        needed: is it a mistake to give none.

    Raises:
        InputError: none or both given, FLOPs without a price, anything that is not a positive number.

    Example:
        >>> samples_to_afford(None, [1e18], 5e9, needed=True)
        array([2.e+08])
    """
    if budgets is not None and flops is not None:
        raise InputError("budgets and flops: expected one of them, samples seen or FLOPs")
    if flops is not None and price is None:
        raise InputError("a budget in FLOPs needs flops_per_sample, the price of one sample seen")
    name, given = ("flops", flops) if flops is not None else ("budgets", budgets)
    if given is None:
        values = np.zeros(0)
    else:
        try:
            values = np.array([float(each) for each in np.ravel(np.asarray(given, object))], np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{name} {given!r}: expected positive numbers") from None
    if needed and not len(values):
        raise InputError("no budgets: expected at least one number of samples seen (or FLOPs with a price per sample)")
    for value in values:
        if not (0 < value <= LARGEST):
            raise InputError(f"{name} {value:g}: expected positive numbers up to {LARGEST:g}")
    if flops is not None and price is not None:
        if not (np.isfinite(price) and price > 0):
            raise InputError(f"flops_per_sample {price!r}: expected a positive number")
        values = values / price
    return values


def is_error_rate(fitted: FittedLaw, runs: Runs | None) -> bool:
    """Can the metric not exceed 1: neither its name, nor a measured error, nor the floor says otherwise."""
    floor = largest(fitted.params, "floor")
    names = [fitted.metric, *(() if runs is None else runs.metric_names)]
    if any(NO_RATE.search(name.lower()) for name in names):
        return False
    above = runs is not None and bool(np.any(runs.error > 1))
    return not above and (floor is None or floor < 1)
