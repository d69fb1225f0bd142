"""Do complexity, DLC or any other number of a pool predict its half-life and utility: a regression across pools."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws import FittedLaw

SHUFFLES = 5000
FULL_LEVERAGE = 1 - 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Regression:
    """A least-squares regression of one number of P pools on Q covariates, and how it does on held-out pools.

    Attributes:
        covariates: Q names.
        intercept: a0, in the unit of the number.
        slopes: `[Q]` a, per unit of each covariate.
        standard_errors: `[Q]` of the slopes, from the residuals.
        held_out: `[P]` prediction of each pool by the regression on all others.
        without: `[P]` prediction of each pool by the mean of all others.
        values: `[P]` the number itself.
        skill: 1 - sum (y - held_out)^2 / sum (y - without)^2: 1 is perfect, 0 no better than the mean, below it worse.
        p_value: share of the orders of the values that have this skill or more: what chance alone does.
        orders: how many orders were looked at.
    """

    covariates: tuple[str, ...]
    intercept: float
    slopes: np.ndarray
    standard_errors: np.ndarray
    held_out: np.ndarray
    without: np.ndarray
    values: np.ndarray
    skill: float
    p_value: float
    orders: int

    def __str__(self) -> str:
        slopes = ", ".join(
            f"{name} {slope:+.3g} (se {error:.2g})"
            for name, slope, error in zip(self.covariates, self.slopes, self.standard_errors, strict=True)
        )
        return f"{slopes}; skill on held-out pools {self.skill:+.2f}, p = {self.p_value:.3f}, {len(self.values)} pools"


def regress(
    covariates: Mapping[str, ArrayLike], values: ArrayLike, shuffles: int = SHUFFLES, seed: int = 0
) -> Regression:
    """Regress one number of each pool on covariates, test it on every pool left out in turn, and against chance.

        y = a0 + sum_q a_q z_q,   held-out residual of pool j = e_j / (1 - h_j),   H = Z (Z'Z)^-1 Z'

    The p-value is that of a permutation test on the skill: the values are dealt to the pools in all orders, or in
    random ones where there are more than `shuffles`.

    Args:
        covariates: `{name: [P]}` finite numbers; those that act by ratio are better given as logarithms.
        values: `[P]` y, such as log half-lives.
        shuffles: most orders to look at.
        seed: of the random orders.

    Returns:
        `Regression`.

    Raises:
        InputError: no covariate, other lengths, numbers that are not finite, values or a covariate that are all equal,
            covariates that depend on each other, fewer than Q + 3 pools, a pool that alone decides on a slope.

    Source: ours. Leave-one-out residuals: Allen 1974.

    Example:
        >>> found = regress({"log complexity": [0.0, 1.0, 2.0, 3.0, 4.0]}, [1.0, 3.1, 4.9, 7.0, 9.1])
        >>> f"{found.slopes[0]:.2f} {found.skill:.3f} {found.p_value:.3f}"  # 2 of 120 orders
        '2.01 0.999 0.017'
    """
    names, inputs, outputs = _checked(covariates, values)
    pools = len(outputs)
    design = np.column_stack([np.ones(pools), *inputs])
    if np.linalg.matrix_rank(design / np.linalg.norm(design, axis=0)) < design.shape[1]:
        raise InputError(f"covariates {', '.join(names)}: they depend on each other")
    inverse = np.linalg.inv(design.T @ design)
    hat = design @ inverse @ design.T
    if np.max(np.diag(hat)) > FULL_LEVERAGE:
        raise InputError(
            f"pool {int(np.argmax(np.diag(hat)))}: it alone decides on a slope; expected more pools like it"
        )
    solved = inverse @ design.T @ outputs
    left = outputs - design @ solved
    spread = np.sqrt(left @ left / (pools - design.shape[1]) * np.diag(inverse))
    # Linear in the values, so that all orders of them are one product.
    residual = (np.eye(pools) - hat) / (1 - np.diag(hat))[:, None]
    mean = np.eye(pools) * pools / (pools - 1) - 1 / (pools - 1)
    orders = _orders(pools, shuffles, seed)
    dealt = outputs[orders]
    skills = 1 - np.sum((dealt @ residual.T) ** 2, axis=1) / np.sum((outputs @ mean.T) ** 2)
    skill = float(skills[0])
    return Regression(
        covariates=names,
        intercept=float(solved[0]),
        slopes=solved[1:],
        standard_errors=spread[1:],
        held_out=outputs - residual @ outputs,
        without=outputs - mean @ outputs,
        values=outputs,
        skill=skill,
        p_value=float(np.mean(skills >= skill - 1e-12)),
        orders=len(orders),
    )


def regress_law(
    fitted: FittedLaw, covariates: Mapping[str, ArrayLike], shuffles: int = SHUFFLES, seed: int = 0
) -> dict[str, Regression]:
    """Regress the log half-life and the utility of a law's pools on covariates.

    Args:
        fitted: a law whose parameters have `half_life` and `utility`, one a pool.
        covariates: `{name: [P]}` in the order of the law's pools.
        shuffles: as in `regress`.
        seed: as in `regress`.

    Returns:
        `{"log half_life": ..., "utility": ...}`.

    Raises:
        InputError: a law without them, one value for all pools, and as in `regress`.

    Example:
        >>> import qqtjax as qqt
        >>> from qqtjax.runs import Pools
        >>> tau = np.array([2.0, 4.0, 8.0, 16.0, 32.0])
        >>> params = qqt.laws.UtilityParams(scale=1e3, floor=0.1, utility=-np.array([0.3, 0.2, 0.25, 0.15, 0.1]),
        ...                                 half_life=tau, reference_size=np.full(5, 1e4))
        >>> fitted = qqt.FittedLaw(qqt.laws.utility, params, Pools.of({name: 1e4 for name in "abcde"}))
        >>> found = regress_law(fitted, {"log C": np.arange(5.0)})
        >>> f"{found['log half_life'].slopes[0]:.4f}"  # log 2
        '0.6931'
    """
    found = {}
    for name, field in (("log half_life", "half_life"), ("utility", "utility")):
        value = np.asarray(getattr(fitted.params, field, np.nan), np.float64)
        if value.shape != (len(fitted.pools),):
            raise InputError(f"law {fitted.law.name}: {field} is not one number a pool")
        found[name] = regress(covariates, np.log(value) if name.startswith("log ") else value, shuffles, seed)
    return found


def _checked(
    covariates: Mapping[str, ArrayLike], values: ArrayLike
) -> tuple[tuple[str, ...], list[np.ndarray], np.ndarray]:
    """Names, covariates and values as arrays; `InputError` for what no regression can use."""
    outputs = np.asarray(values, np.float64)
    inputs = {name: np.asarray(each, np.float64) for name, each in covariates.items()}
    if not inputs:
        raise InputError("no covariates: expected at least one")
    for name, each in {"values": outputs, **inputs}.items():
        if each.ndim != 1 or each.shape != outputs.shape:
            raise InputError(f"{name} of shape {each.shape}: expected one number for each of {outputs.size} pools")
        wrong = np.flatnonzero(~np.isfinite(each))
        if len(wrong):
            raise InputError(f"{name}: {each[wrong[0]]} for pool {wrong[0]}, expected finite numbers")
        if np.ptp(each) == 0:
            raise InputError(f"{name}: equal for all pools, expected numbers that differ")
    if len(outputs) < len(inputs) + 3:
        raise InputError(f"{len(outputs)} pools: expected at least {len(inputs) + 3} for {len(inputs)} covariates")
    return tuple(inputs), list(inputs.values()), outputs


def _orders(pools: int, shuffles: int, seed: int) -> np.ndarray:
    """`[S, P]` orders of the pools, the given one first: all of them, or random ones."""
    if math.factorial(pools) <= shuffles:
        return np.array(list(itertools.permutations(range(pools))))
    rng = np.random.default_rng(seed)
    return np.stack([np.arange(pools), *(rng.permutation(pools) for _ in range(shuffles - 1))])
