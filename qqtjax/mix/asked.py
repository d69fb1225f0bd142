"""What a question about mixes is made of, checked: numbers, budgets, sizes to plan for, parameter draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw
from qqtjax.mix.constraints import Constraints
from qqtjax.text import did_you_mean

LARGEST = 1e30  # beyond any budget; products of counts stay finite


def check_numbers(whose: str, params: Any) -> None:
    """Raise `InputError` if a parameter is NaN; `whose` it is stands in the message."""
    for field in dataclasses.fields(params):
        value = getattr(params, field.name)
        if value is not None and np.any(np.isnan(np.asarray(value, np.float64))):
            raise InputError(f"{whose} {field.name} is not a number: fit it again")


def check_draws(draws: Any, fitted: FittedLaw) -> None:
    """Raise `InputError` unless these are the law's parameters, every leaf with a leading axis of draws."""
    if draws is None:
        return
    kind = fitted.law.params
    if not isinstance(draws, kind):
        raise InputError(
            f"draws of type {type(draws).__name__}: expected {kind.__name__}, with a leading axis of draws"
        )
    axes = {field.name: np.shape(getattr(draws, field.name)) for field in dataclasses.fields(draws)}
    axes = {name: axis for name, axis in axes.items() if getattr(draws, name) is not None}
    count = max((axis[0] for axis in axes.values() if axis), default=0)
    for name, axis in axes.items():
        if not count or axis not in ((count,), (count, len(fitted.pools))):
            raise InputError(f"draws: {name} of shape {axis}: expected [S] or [S, P], with the same S in all of them")
    check_numbers("the draws'", draws)


def budgets_of(budget: float | ArrayLike) -> np.ndarray:
    """Budgets in float64, of the shape that was given.

    Raises:
        InputError: one that is not a positive number, or none.
    """
    try:
        budgets = np.asarray(budget, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"budget {budget!r}: expected a positive number of samples") from None
    for value in budgets[~((budgets > 0) & (budgets <= LARGEST))][:1]:
        raise InputError(f"budget {value:g}: expected a positive number of samples up to {LARGEST:g}")
    if not budgets.size:
        raise InputError("no budgets: expected at least one number of samples seen")
    return budgets


def sizes_of(sizes: ArrayLike | Mapping[str, float] | None, laws: Sequence[FittedLaw]) -> np.ndarray:
    """`[P]` or `[Z, P]` sizes to plan for, by default those of the fit.

    Raises:
        InputError: an unknown pool, a size that is not positive or whose half-life is not known, a wrong shape.
    """
    pools = laws[0].pools
    if isinstance(sizes, Mapping):
        planned = laws[0].with_sizes(sizes).pools.sizes
    else:
        planned = numbers("sizes", pools.sizes if sizes is None else sizes)
    if planned.ndim not in (1, 2) or planned.shape[-1] != len(pools) or not planned.size:
        raise InputError(f"sizes of shape {planned.shape}: expected [P] or [Z, P] for {len(pools)} pools")
    for *_, pool in np.argwhere(~(planned > 0))[:1]:
        raise InputError(f"size of pool {pools.names[pool]!r}: expected a positive number of samples")
    least = np.atleast_2d(planned).min(axis=0)
    for each in laws:
        endless = np.isinf(np.broadcast_to(getattr(each.params, "reference_size", pools.sizes), least.shape))
        for pool in np.flatnonzero((endless | np.isinf(pools.sizes)) & np.isfinite(least)):
            each.with_sizes({pools.names[pool]: least[pool]})  # refused where its half-life is not known
    return planned


def numbers(what: str, given: ArrayLike) -> np.ndarray:
    """What was given in float64; raises `InputError` if it is no array of numbers."""
    try:
        return np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{what} {given!r}: expected numbers") from None


def constraints_of(given: Mapping[str, Any]) -> Constraints:
    """Constraints from keyword arguments.

    Raises:
        InputError: an unknown name; the nearest is suggested.
    """
    known = [field.name for field in dataclasses.fields(Constraints)]
    for name in given:
        if name not in known:
            raise InputError(f"unknown constraint {name!r}: there are {', '.join(known)}{did_you_mean(name, known)}")
    return Constraints(**given)
