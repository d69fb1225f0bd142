"""Many problems at once: budgets, parameter draws and pool sizes, in one compiled call where the law allows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from qqtjax.laws.fitted import FittedLaw
from qqtjax.laws.law import Law
from qqtjax.mix.constraints import Constraints, check
from qqtjax.mix.result import DUALITY_GAP, GLOBAL, KKT_RESIDUAL, LOCAL, Certificate, Mixes
from qqtjax.mix.separable import is_separable
from qqtjax.mix.single import filled, in_doubles, solve_one
from qqtjax.runs import Pools

AT_ONCE = 1024  # problems in one compiled call
FEW, SMALL = 64, 32  # fewer problems, or larger ones, are solved one after another


def solve_many(
    fitted: FittedLaw,
    factors: np.ndarray | None,
    draws: Any,
    sizes: np.ndarray,
    budgets: np.ndarray,
    constraints: Constraints,
    seen_before: np.ndarray | None,
    starts: np.ndarray | None,
    seed: int,
) -> Mixes:
    """The best weights for every draw x size x budget; see `optimize_mix`.

    Args:
        fitted: the law.
        factors: `[1]` factor of its error, or None for the worst case of one.
        draws: parameters with a leading axis of S, or None.
        sizes: `[P]` or `[Z, P]`.
        budgets: `[...]`.
        constraints: as given.
        seen_before: `[P]` or None.
        starts: `[S, P]` or None.
        seed: of random starts.
    """
    stacked = in_doubles(fitted.params if draws is None else draws)
    if draws is None:
        stacked = jax.tree.map(lambda leaf: leaf[None], stacked)
    count = len(jax.tree.leaves(stacked)[0])
    factor = 1.0 if factors is None else float(factors[0])
    each_size, flat = np.atleast_2d(sizes), budgets.ravel()
    width = len(fitted.pools)
    shape = (*((count,) if draws is not None else ()), *sizes.shape[:-1], *budgets.shape)
    grid = np.indices((count, len(each_size), len(flat))).reshape(3, -1)
    bounds = None
    if grid.shape[1] > FEW and width <= SMALL:
        bounds = bounds_alone(fitted, stacked, each_size, flat, constraints, seen_before)
    if bounds is not None:
        weights, error, gap = _together(fitted.law, stacked, each_size, flat, bounds, grid)
        error, gap = factor * error, factor * gap
        proof, kind, searched = GLOBAL, DUALITY_GAP, np.ones(len(error), bool)
    else:
        weights, error, proved = one_by_one(
            fitted, factors, stacked, each_size, flat, constraints, seen_before, starts, seed, grid
        )
        gap, searched = np.array([each.gap for each in proved]), np.array([each.searched for each in proved])
        proof = GLOBAL if all(each.proof == GLOBAL for each in proved) else LOCAL
        kind = DUALITY_GAP if all(each.kind == DUALITY_GAP for each in proved) else KKT_RESIDUAL
    return Mixes(
        pools=Pools(fitted.pools.names, sizes) if sizes.ndim == 1 else fitted.pools,
        samples_seen=flat[grid[2]].reshape(shape),
        sizes=each_size[grid[1]].reshape(*shape, width),
        weights=weights.reshape(*shape, width),
        error=error.reshape(shape),
        gap=gap.reshape(shape),
        proof=proof,
        kind=kind,
        searched=searched.reshape(shape),
    )


def one_by_one(
    fitted: FittedLaw,
    factors: np.ndarray | None,
    params: Any,
    sizes: np.ndarray,
    budgets: np.ndarray,
    constraints: Constraints,
    seen_before: np.ndarray | None,
    starts: np.ndarray | None,
    seed: int,
    grid: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, list[Certificate]]:
    """`[Q, P]` best weights, `[Q]` errors and certificates of problems that only the general solvers take.

    Args:
        fitted: the law.
        factors: as in `solve_many`.
        params: with a leading axis of draws.
        sizes: `[Z, P]`.
        budgets: `[B]`.
        constraints: as given.
        seen_before: `[P]` or None.
        starts: `[S, P]` or None.
        seed: of random starts.
        grid: `[3, Q]` places of every problem on the axes of draws, sizes and budgets.

    Raises:
        InputError: constraints that collide at one of them.
    """
    factor = 1.0 if factors is None else float(factors[0])
    weights, error, proved = np.empty((grid.shape[1], len(fitted.pools))), np.empty(grid.shape[1]), []
    for place, (draw, size, budget) in enumerate(grid.T):
        pools, seen = Pools(fitted.pools.names, sizes[size]), float(budgets[budget])
        own = jax.tree.map(lambda leaf, draw=draw: leaf[draw], params)
        one = dataclasses.replace(fitted, params=own, pools=pools)
        feasible = constraints.bind(pools, seen, seen_before=seen_before)
        check(feasible, pools, seen)
        solved = solve_one([one], factors, seen, feasible, seen_before, starts, seed)
        weights[place], error[place] = solved.weights, factor * one.predict(solved.weights, seen, seen_before)
        proved.append(solved.certificate)
    return weights, error, proved


class Bounds(NamedTuple):
    """Bounds that alone constrain many problems, of which limits on epochs vary from one to the next.

    Attributes:
        low: `[P]` least shares.
        high: `[P]` largest shares without the limits on epochs.
        epochs: `[P]` most epochs, infinite where there is no limit.
        spent: `[P]` samples of earlier training, which count towards them.
    """

    low: np.ndarray
    high: np.ndarray
    epochs: np.ndarray
    spent: np.ndarray

    def caps(self, sizes: np.ndarray, budgets: np.ndarray) -> np.ndarray:
        """`[M, P]` largest shares on these sizes `[M, P]` and budgets `[M]`."""
        left = np.maximum(self.epochs * sizes - self.spent, 0.0)
        return np.maximum(np.minimum(self.high, left / budgets[:, None]), self.low)


def bounds_alone(
    fitted: FittedLaw,
    params: Any,
    sizes: np.ndarray,
    budgets: np.ndarray,
    constraints: Constraints,
    seen_before: np.ndarray | None,
) -> Bounds | None:
    """The bounds of problems that one compiled call may solve together, or None where others are needed.

    Args:
        fitted: the law.
        params: its parameters with a leading axis of draws.
        sizes: `[Z, P]`.
        budgets: `[B]`.
        constraints: as given.
        seen_before: `[P]` or None.

    Raises:
        InputError: constraints that collide at some size and budget.
    """
    names = fitted.pools.names
    loose = dataclasses.replace(constraints, max_epochs=None)
    bound = loose.bind(Pools(names, sizes[0]), float(budgets[0]), seen_before=seen_before)
    if not bound.plain or np.ndim(params.floor) != 1 or not is_separable(fitted.law, params, seen_before):
        return None
    given = constraints.max_epochs
    epochs = np.full(len(names), np.inf)
    if isinstance(given, Mapping):
        for name, each in given.items():
            epochs[fitted.pools.index(name)] = each
    elif given is not None:
        epochs[:] = float(given)
    spent = np.zeros(len(names)) if seen_before is None else seen_before
    most = float(budgets.max())  # where limits on epochs bind most
    for each in sizes:
        check(constraints, Pools(names, each), most, seen_before=seen_before)
    return Bounds(bound.low, bound.high, epochs, spent)


_filled_each = jax.jit(
    lambda law, *problems: jax.vmap(partial(filled, law))(*problems),
    static_argnums=0,
)


def _together(
    law: Law, params: Any, sizes: np.ndarray, budgets: np.ndarray, bounds: Bounds, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`[Q, P]` weights, `[Q]` errors and gaps of the error, in compiled calls of one shape."""
    found = []
    with jax.enable_x64(True):
        for start in range(0, grid.shape[1], AT_ONCE):
            part = grid[:, start : start + AT_ONCE]
            draw, size, budget = np.pad(part, [(0, 0), (0, AT_ONCE - part.shape[1])], mode="edge")
            own = jax.tree.map(lambda leaf, draw=draw: leaf[draw], params)
            high = bounds.caps(sizes[size], budgets[budget])
            low = np.broadcast_to(bounds.low, high.shape)
            found.append(jax.device_get(_filled_each(law, own, sizes[size], budgets[budget], low, high)))
    weights, value, gap = (np.concatenate(each)[: grid.shape[1]] for each in zip(*found, strict=True))
    excess = np.exp(-value)
    return weights, params.floor[grid[0]] + excess, excess * -np.expm1(-gap)
