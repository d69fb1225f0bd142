"""What a question about mixes is made of, checked: numbers, budgets, sizes to plan for, parameter draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws.effective_samples import EffectiveSamplesParams
from qqtjax.laws.fitted import FittedLaw
from qqtjax.laws.power import PowerParams
from qqtjax.laws.utility import UtilityParams
from qqtjax.mix.constraints import Constraints
from qqtjax.mix.result import Mix
from qqtjax.text import did_you_mean

LARGEST = 1e30  # beyond any budget; products of counts stay finite
# Parameters of our own laws; half-lives, saturations and reference sizes may be infinite, which is no decay.
OURS = UtilityParams | PowerParams | EffectiveSamplesParams
POSITIVE = frozenset({"scale", "half_life", "reference_size", "decay_shape", "amplitude", "saturation"})
FINITE = frozenset({"scale", "floor", "utility", "dilution", "decay_shape", "amplitude", "exponent"})


def check_numbers(whose: str, params: Any, names: Sequence[str] = ()) -> None:
    """Raise `InputError` if a parameter is not a number, or one that the law is not defined for.

    Args:
        whose: it is, for the message.
        params: a law's parameters; leading axes are draws.
        names: of the pools, for the message.
    """
    ours = isinstance(params, OURS)
    for field in dataclasses.fields(params):
        value = getattr(params, field.name)
        if value is None:
            continue
        found = numbers(f"{whose} {field.name}", value)
        positive, finite = (ours and field.name in names_of for names_of in (POSITIVE, FINITE))
        least, most = np.min(found, initial=np.inf), np.max(found, initial=-np.inf)  # NaN where one is
        if -np.inf < least and most < np.inf and (least > 0 or not positive):
            continue
        if np.any(np.isnan(found)):
            raise InputError(f"{whose} {field.name} is not a number: fit it again")
        wrong = (positive & (found <= 0)) | (finite & np.isinf(found))
        if wrong.any():
            place = np.argwhere(wrong)[0]
            own = bool(names) and found.ndim > 0 and found.shape[-1] == len(names)
            pool = f" of pool {names[place[-1]]!r}" if own else ""
            expected = ("a finite number" if finite else "a number") + (" above 0" if positive else "")
            raise InputError(f"{whose} {field.name}{pool} is {found[tuple(place)]:g}: expected {expected}")


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
    check_numbers("the draws'", draws, fitted.pools.names)


def budgets_of(budget: float | ArrayLike) -> np.ndarray:
    """Budgets in float64, of the shape that was given.

    Raises:
        InputError: one that is not a positive number, or none.
    """
    try:
        if budget is None:
            raise TypeError
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
        counts = {name: float(numbers(f"size of pool {name!r}", count, ())) for name, count in sizes.items()}
        planned = laws[0].with_sizes(counts).pools.sizes
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


def numbers(what: str, given: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """What was given in float64; raises `InputError` if it is no array of numbers, or of another shape."""
    expected = "a number" if shape == () else "numbers"
    try:
        found = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{what} {given!r}: expected {expected}") from None
    if given is None or (shape is not None and found.shape != shape):
        raise InputError(f"{what} {given!r}: expected {expected}")
    return found


def constraints_of(given: Mapping[str, Any]) -> Constraints:
    """Constraints from keyword arguments.

    Raises:
        InputError: an unknown name; the nearest is suggested.
    """
    known = [field.name for field in dataclasses.fields(Constraints)]
    for name in given:
        if name not in known:
            raise InputError(f"unknown constraint {name!r}: there are {', '.join(known)}{did_you_mean(name, known)}")
    reference = given.get("reference")
    if isinstance(reference, Mix):
        given = {**given, "reference": dict(zip(reference.pools.names, reference.weights.tolist(), strict=True))}
    return Constraints(**given)


def laws_of(fit: FittedLaw | Mapping[str, FittedLaw]) -> dict[str, FittedLaw]:
    """`{metric: law}`, all on the same pools.

    Raises:
        InputError: no fitted law, pools that differ, or parameters that the law is not defined for.
    """
    laws = dict(fit) if isinstance(fit, Mapping) else {getattr(fit, "metric", ""): fit}
    if not laws or not all(isinstance(each, FittedLaw) for each in laws.values()):
        raise InputError("fit: expected a fitted law, or {metric: fitted law}")
    pools = next(iter(laws.values())).pools
    for name, each in laws.items():
        if each.pools.names != pools.names or not np.array_equal(each.pools.sizes, pools.sizes):
            raise InputError(f"metric {name!r}: its pools differ from those of the first; expected the same pools")
        check_numbers("the fit's", each.params, pools.names)
        for field in dataclasses.fields(each.params) if isinstance(each.params, OURS) else ():
            shape = np.shape(getattr(each.params, field.name))
            if shape not in ((), (len(pools),)):
                expected = f"one for each of {len(pools)} pools"
                raise InputError(f"the fit's {field.name} of shape {shape}: expected {expected}")
    return laws


def before_of(seen_before: Mapping[str, float] | ArrayLike | None, fitted: FittedLaw) -> np.ndarray | None:
    """`[P]` samples that the model was trained on before, or None where there are none.

    Raises:
        InputError: an unknown pool, or what is no finite number of samples >= 0.
    """
    if seen_before is None:
        return None
    if isinstance(seen_before, Mapping):
        seen_before = {name: float(numbers(f"seen_before of {name}", n, ())) for name, n in seen_before.items()}
    else:
        seen_before = numbers("seen_before", seen_before)
    exposure = fitted.run(np.eye(len(fitted.pools))[0], 1.0, seen_before).seen_before
    return np.asarray(exposure) if np.any(exposure) else None


def starts_of(starts: ArrayLike | None, count: int) -> np.ndarray | None:
    """`[S, P]` weights to start from.

    Raises:
        InputError: what is none of that.
    """
    if starts is None:
        return None
    given = np.atleast_2d(numbers("starts", starts))
    if given.ndim != 2 or given.shape[1] != count or not np.all(np.isfinite(given)):
        raise InputError(f"starts of shape {given.shape}: expected [S, {count}] finite weights")
    return given


def factors_of(
    laws: Mapping[str, FittedLaw], metric_weights: Mapping[str, float] | None, worst_case: bool
) -> np.ndarray | None:
    """`[M]` factors of the errors in their sum, or None for the worst of them.

    Raises:
        InputError: both asked for, an unknown metric, or a factor that is no finite number >= 0.
    """
    if metric_weights is not None and not isinstance(metric_weights, Mapping):
        raise InputError(f"metric_weights {metric_weights!r}: expected {{metric: factor}}")
    if worst_case:
        if metric_weights is not None:
            raise InputError("metric_weights and worst_case: expected one of them")
        return None
    factors = np.ones(len(laws))
    for name, factor in (metric_weights or {}).items():
        if name not in laws:
            raise InputError(f"metric_weights: unknown metric {name!r}: there are {', '.join(laws)}")
        if not (isinstance(factor, int | float | np.number) and np.isfinite(factor) and factor >= 0):
            raise InputError(f"metric_weights of {name!r} {factor!r}: expected a finite number >= 0")
        factors[list(laws).index(name)] = factor
    if not factors.any():
        raise InputError("metric_weights are all 0: expected one above 0")
    return factors


def seed_of(seed: int) -> int:
    """A seed of random starts.

    Raises:
        InputError: anything but a whole number >= 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed {seed!r}: expected a whole number >= 0")
    return int(seed)
