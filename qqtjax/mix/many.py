"""Many problems at once: budgets, parameter draws and pool sizes, in one compiled call where the law allows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from qqtjax.laws.fitted import FittedLaw
from qqtjax.laws.law import Law
from qqtjax.mix.constraints import Constraints, check
from qqtjax.mix.feasible import TOLERANCE, Feasible
from qqtjax.mix.result import DUALITY_GAP, GLOBAL, KKT_RESIDUAL, LOCAL, Mixes
from qqtjax.mix.single import filled, in_doubles, is_separable, solve_one
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
    loose = dataclasses.replace(constraints, max_epochs=None)
    bound = loose.bind(Pools(fitted.pools.names, each_size[0]), float(flat[0]), seen_before=seen_before)
    many = grid.shape[1] > FEW and width <= SMALL
    if many and bound.plain and np.ndim(stacked.floor) == 1 and is_separable(fitted.law, stacked, seen_before):
        high = _caps(bound, constraints, each_size, flat, seen_before)
        weights, error, gap = _together(fitted.law, stacked, each_size, flat, bound.low, high, grid)
        error, gap = factor * error, factor * gap
        proof, kind, searched = GLOBAL, DUALITY_GAP, np.ones(len(error), bool)
    else:
        weights, error = np.empty((grid.shape[1], width)), np.empty(grid.shape[1])
        proved = []
        for place, (draw, size, budget) in enumerate(grid.T):
            pools, seen = Pools(fitted.pools.names, each_size[size]), float(flat[budget])
            own = jax.tree.map(lambda leaf, draw=draw: leaf[draw], stacked)
            one = dataclasses.replace(fitted, params=own, pools=pools)
            feasible = constraints.bind(pools, seen, seen_before=seen_before)
            check(feasible, pools, seen)
            solved = solve_one([one], factors, seen, feasible, seen_before, starts, seed)
            weights[place], error[place] = solved.weights, factor * one.predict(solved.weights, seen, seen_before)
            proved.append(solved.certificate)
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


def _caps(
    bound: Feasible, constraints: Constraints, sizes: np.ndarray, budgets: np.ndarray, before: np.ndarray | None
) -> np.ndarray:
    """`[Z, B, P]` upper bounds: those of constraints without caps on repeats, and the caps, which alone vary."""
    names, epochs = bound.names, constraints.max_epochs
    most = np.full(len(names), np.inf)
    if isinstance(epochs, Mapping):
        for name, each in epochs.items():
            most[Pools(names, sizes[0]).index(name)] = each
    elif epochs is not None:
        most[:] = float(epochs)
    spent = np.zeros(len(names)) if before is None else before
    left = np.maximum(most * sizes - spent, 0.0)
    high = np.minimum(bound.high, left[:, None, :] / budgets[None, :, None])
    impossible = (high.sum(axis=-1) < 1 - TOLERANCE) | np.any(high < bound.low - TOLERANCE, axis=-1)
    impossible |= bound.low.sum() > 1 + TOLERANCE
    for size, budget in np.argwhere(impossible)[:1]:
        check(constraints, Pools(names, sizes[size]), float(budgets[budget]), seen_before=before)
    return np.maximum(high, bound.low)


_filled_each = jax.jit(
    lambda law, *problems: jax.vmap(partial(filled, law))(*problems),
    static_argnums=0,
)


def _together(
    law: Law, params: Any, sizes: np.ndarray, budgets: np.ndarray, low: np.ndarray, high: np.ndarray, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`[Q, P]` weights, `[Q]` errors and gaps of the error, in compiled calls of one shape."""
    found = []
    with jax.enable_x64(True):
        for start in range(0, grid.shape[1], AT_ONCE):
            part = grid[:, start : start + AT_ONCE]
            draw, size, budget = np.pad(part, [(0, 0), (0, AT_ONCE - part.shape[1])], mode="edge")
            own = jax.tree.map(lambda leaf, draw=draw: leaf[draw], params)
            lows = np.broadcast_to(low, (AT_ONCE, len(low)))
            found.append(jax.device_get(_filled_each(law, own, sizes[size], budgets[budget], lows, high[size, budget])))
    weights, value, gap = (np.concatenate(each)[: grid.shape[1]] for each in zip(*found, strict=True))
    excess = np.exp(-value)
    return weights, params.floor[grid[0]] + excess, excess * -np.expm1(-gap)
