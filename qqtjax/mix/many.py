"""Many problems at once: budgets, parameter draws and pool sizes, in one compiled call where the law allows it."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from qqtjax.laws.fitted import FittedLaw
from qqtjax.laws.law import Law
from qqtjax.mix.constraints import Constraints, check
from qqtjax.mix.feasible import TOLERANCE
from qqtjax.mix.result import DUALITY_GAP, GLOBAL, LOCAL, Mixes
from qqtjax.mix.single import is_separable, separable_terms, solve_one
from qqtjax.mix.water_filling import Filled, water_fill
from qqtjax.runs import Pools, Run

AT_ONCE = 4096  # problems in one compiled call


def solve_many(
    fitted: FittedLaw,
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
        draws: parameters with a leading axis of S, or None.
        sizes: `[P]` or `[Z, P]`.
        budgets: `[...]`.
        constraints: as given.
        seen_before: `[P]` or None.
        starts: `[S, P]` or None.
        seed: of random starts.
    """
    params = fitted.params if draws is None else draws
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    if draws is None:
        stacked = jax.tree.map(lambda leaf: leaf[None], stacked)
    count = len(jax.tree.leaves(stacked)[0])
    each_size = np.atleast_2d(sizes)
    shape = (
        *(() if draws is None else (count,)),
        *(() if sizes.ndim == 1 else (len(each_size),)),
        *budgets.shape,
    )
    flat = budgets.ravel()
    grid = np.indices((count, len(each_size), len(flat))).reshape(3, -1)
    shared = all(np.ndim(each) == 1 for each in [getattr(stacked, "floor", np.zeros(1))])
    plain = constraints.bind(Pools(fitted.pools.names, each_size[0]), float(flat[0]), seen_before=seen_before).plain
    if plain and shared and is_separable(fitted.law, stacked, seen_before):
        low, high = _bounds(fitted, constraints, each_size, flat, seen_before)
        weights, error, gap = _together(fitted.law, stacked, each_size, flat, low, high, grid)
        proofs, searched, kind = {GLOBAL}, np.ones(grid.shape[1], bool), DUALITY_GAP
    else:
        weights, error, gap, searched, proofs, kind = _one_by_one(
            fitted, stacked, each_size, flat, constraints, seen_before, starts, seed, grid
        )
    width = len(fitted.pools)
    return Mixes(
        pools=Pools(fitted.pools.names, each_size[0]) if sizes.ndim == 1 else fitted.pools,
        samples_seen=flat[grid[2]].reshape(shape),
        sizes=each_size[grid[1]].reshape(*shape, width),
        weights=weights.reshape(*shape, width),
        error=error.reshape(shape),
        gap=gap.reshape(shape),
        proof=GLOBAL if proofs == {GLOBAL} else LOCAL,
        kind=kind,
        searched=searched.reshape(shape),
    )


def _bounds(
    fitted: FittedLaw, constraints: Constraints, sizes: np.ndarray, budgets: np.ndarray, before: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """`[P]` lower and `[Z, B, P]` upper bounds; only caps on repeats depend on sizes and budgets."""
    pools = Pools(fitted.pools.names, sizes[0])
    loose = dataclasses.replace(constraints, max_epochs=None).bind(pools, float(budgets[0]), seen_before=before)
    most = np.full(len(pools), np.inf)
    if isinstance(constraints.max_epochs, int | float):
        most[:] = constraints.max_epochs
    for name, epochs in (constraints.max_epochs or {}).items() if not np.isscalar(constraints.max_epochs) else ():
        most[pools.index(name)] = epochs
    spent = np.zeros(len(pools)) if before is None else before
    with np.errstate(invalid="ignore"):
        left = np.where(np.isfinite(most), np.maximum(most * sizes - spent, 0.0), np.inf)
    high = np.minimum(loose.high, left[:, None, :] / budgets[None, :, None])
    impossible = (high.sum(axis=-1) < 1 - TOLERANCE) | np.any(high < loose.low - TOLERANCE, axis=-1)
    impossible |= loose.low.sum() > 1 + TOLERANCE
    for size, budget in np.argwhere(impossible)[:1]:
        check(constraints, Pools(pools.names, sizes[size]), float(budgets[budget]), seen_before=before)
    return loose.low, np.maximum(high, loose.low)


@partial(jax.jit, static_argnums=0)
def _fill_and_value(
    law: Law, params: Any, sizes: Array, budgets: Array, low: Array, high: Array
) -> tuple[Filled, Array]:
    terms = jax.vmap(partial(separable_terms, law))(params, sizes, budgets)
    found = jax.vmap(water_fill)(terms, low, high)

    def error(params: Any, weights: Array, sizes: Array, budget: Array) -> Array:
        return law(params, Run(weights=weights, sizes=sizes, samples_seen=budget))

    return found, jax.vmap(error)(params, found.weights, sizes, budgets)


def _together(
    law: Law, params: Any, sizes: np.ndarray, budgets: np.ndarray, low: np.ndarray, high: np.ndarray, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`[Q, P]` weights, `[Q]` errors and gaps of the error, in compiled calls of few shapes."""
    total = grid.shape[1]
    chunk = min(AT_ONCE, 1 << (total - 1).bit_length())
    weights, error, gap = np.empty((total, len(low))), np.empty(total), np.empty(total)
    with jax.enable_x64(True):
        for start in range(0, total, chunk):
            part = grid[:, start : start + chunk]
            draw, size, budget = np.pad(part, [(0, 0), (0, chunk - part.shape[1])], mode="edge")
            found, errors = _fill_and_value(
                law,
                jax.tree.map(lambda leaf, draw=draw: jnp.asarray(leaf[draw]), params),
                jnp.asarray(sizes[size]),
                jnp.asarray(budgets[budget]),
                jnp.asarray(np.broadcast_to(low, (chunk, len(low)))),
                jnp.asarray(high[size, budget]),
            )
            kept = slice(start, start + part.shape[1])
            weights[kept] = np.asarray(found.weights)[: part.shape[1]]
            error[kept] = np.asarray(errors)[: part.shape[1]]
            floor = np.asarray(params.floor)[draw][: part.shape[1]]
            log_gap = np.asarray(found.gap)[: part.shape[1]]
            gap[kept] = (error[kept] - floor) * -np.expm1(-log_gap)
    return weights, error, gap


def _one_by_one(
    fitted: FittedLaw,
    params: Any,
    sizes: np.ndarray,
    budgets: np.ndarray,
    constraints: Constraints,
    before: np.ndarray | None,
    starts: np.ndarray | None,
    seed: int,
    grid: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, set[str], str]:
    """The same, one problem after another."""
    width = len(fitted.pools)
    weights, error, gap = np.empty((grid.shape[1], width)), np.empty(grid.shape[1]), np.empty(grid.shape[1])
    searched, proofs, kind = np.ones(grid.shape[1], bool), set(), DUALITY_GAP
    for place, (draw, size, budget) in enumerate(grid.T):
        pools = Pools(fitted.pools.names, sizes[size])
        own = jax.tree.map(lambda leaf, draw=draw: leaf[draw], params)
        one = dataclasses.replace(fitted, params=own, pools=pools)
        seen = float(budgets[budget])
        feasible = constraints.bind(pools, seen, seen_before=before)
        check(feasible, pools, seen)
        solved = solve_one([one], np.ones(1), seen, feasible, before, starts, seed)
        weights[place], gap[place] = solved.weights, solved.certificate.gap
        error[place] = one.predict(solved.weights, seen, before)
        searched[place] = solved.certificate.searched
        proofs.add(solved.certificate.proof)
        kind = solved.certificate.kind
    return weights, error, gap, searched, proofs, kind
