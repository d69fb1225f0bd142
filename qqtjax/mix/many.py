"""Many problems at once: budgets, parameter draws and pool sizes, in one compiled call where the law allows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from qqtjax.laws.fitted import FittedLaw
from qqtjax.laws.law import Law
from qqtjax.mix.constraints import Constraints, check
from qqtjax.mix.result import DUALITY_GAP, GLOBAL, Certificate, Mixes
from qqtjax.mix.separable import is_separable
from qqtjax.mix.single import filled, in_doubles, solve_one
from qqtjax.runs import Pools

AT_ONCE, IN_TURN = 1024, 64  # problems in one compiled call, side by side or one after another
FEW, MANY, SMALL = 4, 512, 32  # from so many problems on in compiled calls, and of so few pools side by side


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
    problems = grid.shape[1]
    weights, error, gap = np.empty((problems, width)), np.empty(problems), np.empty(problems)
    kind, proof = np.full(problems, DUALITY_GAP, object), np.full(problems, GLOBAL, object)
    searched = np.ones(problems, bool)
    # One draw outside of what is proved leaves the others as they are.
    certain = np.array([is_separable(fitted.law, _draw(stacked, draw), seen_before) for draw in range(count)])
    together = np.flatnonzero(certain[grid[0]])
    bounds = None
    if len(together) >= FEW:
        kept = jax.tree.map(lambda leaf: leaf[certain], stacked)
        bounds = bounds_alone(fitted, kept, each_size, flat, constraints, seen_before)
    if bounds is not None:
        found = _together(fitted.law, stacked, each_size, flat, bounds, grid[:, together])
        weights[together], error[together], gap[together] = found[0], factor * found[1], factor * found[2]
    rest = np.arange(problems) if bounds is None else np.flatnonzero(~certain[grid[0]])
    if len(rest):
        weights[rest], error[rest], proved = one_by_one(
            fitted, factors, stacked, each_size, flat, constraints, seen_before, starts, seed, grid[:, rest]
        )
        gap[rest], searched[rest] = [each.gap for each in proved], [each.searched for each in proved]
        kind[rest], proof[rest] = [each.kind for each in proved], [each.proof for each in proved]
    return Mixes(
        pools=Pools(fitted.pools.names, sizes) if sizes.ndim == 1 else fitted.pools,
        samples_seen=flat[grid[2]].reshape(shape),
        sizes=each_size[grid[1]].reshape(*shape, width),
        weights=weights.reshape(*shape, width),
        error=error.reshape(shape),
        gap=gap.reshape(shape),
        proof=proof.astype(str).reshape(shape),
        kind=kind.astype(str).reshape(shape),
        searched=searched.reshape(shape),
    )


def _draw(params: Any, draw: int | np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: leaf[draw], params)


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
        own = _draw(params, draw)
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


@partial(jax.jit, static_argnums=0)
def _filled_in_turn(law: Law, count: Array, *problems: Any) -> tuple[Array, Array, Array]:
    """The first so many of the problems, one after another: the others cost nothing."""
    width, dtype = problems[-1].shape, problems[-1].dtype

    def solved(place: Array, done: tuple[Array, ...]) -> tuple[Array, ...]:
        found = filled(law, *jax.tree.map(lambda leaf: leaf[place], problems))
        return tuple(all_of.at[place].set(one) for all_of, one in zip(done, found, strict=True))

    nothing = (jnp.zeros(width, dtype), jnp.zeros(width[0], dtype), jnp.zeros(width[0], dtype))
    return lax.fori_loop(0, count, solved, nothing)


def _together(
    law: Law, params: Any, sizes: np.ndarray, budgets: np.ndarray, bounds: Bounds, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`[Q, P]` weights, `[Q]` errors and gaps of the error, in compiled calls of one shape."""
    found = []
    beside = grid.shape[1] >= MANY and sizes.shape[1] <= SMALL
    most = AT_ONCE if beside else IN_TURN
    with jax.enable_x64(True):
        for start in range(0, grid.shape[1], most):
            part = grid[:, start : start + most]
            draw, size, budget = np.pad(part, [(0, 0), (0, most - part.shape[1])], mode="edge")
            high = bounds.caps(sizes[size], budgets[budget])
            low = np.broadcast_to(bounds.low, high.shape)
            problems = (_draw(params, draw), sizes[size], budgets[budget], low, high)
            solved = _filled_each(law, *problems) if beside else _filled_in_turn(law, part.shape[1], *problems)
            found.append(jax.device_get(solved))
    weights, value, gap = (np.concatenate(each)[: grid.shape[1]] for each in zip(*found, strict=True))
    excess = np.exp(-value)
    return weights, params.floor[grid[0]] + excess, excess * -np.expm1(-gap)
