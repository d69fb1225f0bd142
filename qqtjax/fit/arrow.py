"""Least squares where each pool's parameters touch its own checkpoints only: an arrow of normal equations.

With every row on one pool the Jacobian has, in the rows of pool p, its K own columns and S shared ones (scale and
floor), all else zero. Then J^T J is an arrow: P blocks of K x K, a border of S rows, and an S x S corner; the step is

    (C - sum_p B_p^T A_p^-1 B_p) s = -(h - sum_p B_p^T A_p^-1 g_p),    a_p = -A_p^-1 (g_p + B_p s),

the Schur complement, at a cost that grows as P instead of P^3, and K + S derivatives of each row suffice instead of
P K + S. K and S are small, so the factorisations are written out: elementwise over pools and lanes on every device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from qqtjax.fit.levenberg_marquardt import NormalEquations, Quadratic
from qqtjax.fit.objective import Objective, penalty, residual, steepness
from qqtjax.fit.parameters import Layout, Slot, Space
from qqtjax.runs import Run, Runs

Rows = Sequence[Sequence[Array]]


class Hessian(NamedTuple):
    """A Gauss-Newton Hessian in arrow form; symmetric parts as lower triangles.

    Attributes:
        own: `[K][<= K]` entries of `[P]`.
        border: `[K][S]` entries of `[P]`.
        corner: `[S][<= S]` scalars.
    """

    own: Rows
    border: Rows
    corner: Rows


class PoolRows(NamedTuple):
    """The checkpoints of a table on single pools, R rows a pool.

    Attributes:
        run: `weights[1]`, `sizes[P, 1]`, `samples_seen[P, R]` and, where the table has it, `model_size[P, R]`.
        fixed: values of the parameters that do not move, `[P, 1]` where they differ by pool.
    """

    run: Run
    fixed: Mapping[str, Any]


def divide(layout: Layout) -> tuple[tuple[Slot, ...], tuple[Slot, ...]] | None:
    """The slots with one value a pool and those with one value for all; None where the layout is no arrow.

    A field that pools share in groups, or that is fixed for some of them, breaks the form, and so does a layout
    without anything of a pool's own.
    """
    shared = tuple(slot for slot in layout.slots if slot.scalar)
    own = tuple(slot for slot in layout.slots if not slot.scalar)
    whole = all(min(slot.positions) >= 0 and len(set(slot.positions)) == len(slot.positions) for slot in own)
    return (own, shared) if own and whole else None


def order(own: Sequence[Slot], shared: Sequence[Slot]) -> np.ndarray:
    """`[F]` the layout's coordinates in the order used here: K fields of P pools, then S shared ones."""
    return np.concatenate([np.array(slot.positions, int) for slot in (*own, *shared)])


def by_pool(runs: Runs, space: Space) -> tuple[PoolRows, np.ndarray, np.ndarray]:
    """A table of rows on single pools, and where each comes from.

    Returns:
        The rows; `[P, R]` which row of the table each is; `[P, R]` 1, or 0 where a pool has fewer than R.
    """
    count = len(runs.pools)
    counts = np.bincount(runs.source, minlength=count)
    sorted_rows = np.argsort(runs.source, kind="stable")
    place = np.arange(counts.max())
    there = place < counts[:, None]
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    index = sorted_rows[np.where(there, first[:, None] + place, 0)]
    run = Run(
        weights=np.ones(1),
        sizes=runs.pools.sizes[:, None],
        samples_seen=np.asarray(runs.samples_seen, np.float64)[index],
        model_size=None if runs.model_size is None else np.asarray(runs.model_size, np.float64)[index],
    )
    fixed = {
        name: None if value is None else np.asarray(value, np.float64)[:, None] if np.ndim(value) else float(value)
        for name, value in space.fixed.items()
    }
    return PoolRows(run, fixed), index, there.astype(np.float64)


def quadratics(objective: Objective, rows: PoolRows, x: Array, error: Array, importance: Array) -> Quadratic:
    """The objective with gradient and Hessian at L points at once, one a lane; lanes are the last axis throughout.

    A tangent of ones in one coordinate of all pools and lanes gives that column of every Jacobian: K + S pushes, of
    which the compiler shares what they have in common.

    Args:
        objective: what is minimised; its layout divides.
        rows: the checkpoints.
        x: `[F, L]` in the order of `order`.
        error: `[P, R, L]` measured errors.
        importance: `[P, R, L]`.
    """
    divided = divide(objective.layout)
    assert divided is not None
    own, shared = divided
    pools, run = error.shape[0], rows.run
    spread = [x[k * pools : (k + 1) * pools] for k in range(len(own))]
    coordinates = [*spread, *x[len(own) * pools :]]

    def one(
        coordinates: Sequence[Array],
        fixed: Mapping[str, Any],
        sizes: ArrayLike,
        seen: ArrayLike,
        model_size: ArrayLike | None,
        error: Array,
    ) -> Array:
        params = _one_pool(objective.layout, (*own, *shared), coordinates, fixed)
        alone = Run(weights=run.weights, sizes=sizes, samples_seen=seen, model_size=model_size)
        return residual(objective, params, alone, error)

    # Only what differs between rows is mapped over them, so that a pool's own terms are computed once.
    each_lane = jax.vmap(one, in_axes=(0, None, None, None, None, 0))
    each_row = jax.vmap(each_lane, in_axes=(None, None, None, 0, 0, 0))
    of_pools = [0] * len(own) + [None] * len(shared)
    fixed_of_pools = {name: 0 if np.ndim(value) else None for name, value in rows.fixed.items()}
    each_pool = jax.vmap(each_row, in_axes=(of_pools, fixed_of_pools, 0, 0, 0, 0))

    def moved(place: int, coordinate: Array) -> Array:
        among = [*coordinates[:place], coordinate, *coordinates[place + 1 :]]
        return each_pool(among, rows.fixed, run.sizes, run.samples_seen, run.model_size, error)

    # Each alone: a coordinate's column never costs what the others would add, as zeros pushed along with it do.
    pushed = [jax.jvp(partial(moved, place), (one,), (jnp.ones_like(one),)) for place, one in enumerate(coordinates)]
    each, columns = pushed[0][0], [column for _, column in pushed]
    weight = importance * steepness(objective, each)
    weighted = [weight * column for column in columns]

    def total(left: Array, right: Array) -> Array:
        return jnp.sum(left * right, axis=1)

    count = len(own)
    gradient = [total(column, each) for column in weighted]
    return Quadratic(
        jnp.sum(total(importance, penalty(objective, each)), axis=0),
        jnp.concatenate(gradient[:count] + [jnp.sum(one, axis=0)[None] for one in gradient[count:]]),
        Hessian(
            own=[[total(weighted[i], columns[j]) for j in range(i + 1)] for i in range(count)],
            border=[[total(weighted[i], column) for column in columns[count:]] for i in range(count)],
            corner=[
                [jnp.sum(total(weighted[i], columns[j]), axis=0) for j in range(count, i + 1)]
                for i in range(count, len(columns))
            ],
        ),
    )


def _one_pool(layout: Layout, slots: Sequence[Slot], coordinates: Sequence[Array], fixed: Mapping[str, Any]) -> Any:
    """Parameters of one pool alone: `[1]` where the law has one a pool."""
    values = dict(fixed)
    for slot, coordinate in zip(slots, coordinates, strict=True):
        value = slot.sign * jnp.exp(coordinate) if slot.sign else coordinate
        values[slot.field] = value if slot.scalar else value[None]
    return layout.law.params(**values)


def _split(hessian: Hessian, vector: Array) -> tuple[list[Array], list[Array]]:
    """`[K][P]` entries of the pools and `[S]` shared ones."""
    count, pools = len(hessian.own), len(hessian.own[0][0])
    return [vector[k * pools : (k + 1) * pools] for k in range(count)], list(vector[count * pools :])


def _join(own: Sequence[Array], shared: Sequence[Array]) -> Array:
    return jnp.concatenate([*own, *(one[None] for one in shared)])


def _diagonal(hessian: Hessian) -> Array:
    return _join([row[-1] for row in hessian.own], [row[-1] for row in hessian.corner])


def _factor(matrix: Rows) -> list[list[Array]]:
    """Lower Cholesky factor of a lower triangle of arrays."""
    low: list[list[Array]] = []
    for i, row in enumerate(matrix):
        low.append([])
        for j, entry in enumerate(row):
            rest = entry - sum(low[i][k] * (low[j][k] if j < i else low[i][k]) for k in range(j))
            low[i].append(jnp.sqrt(rest) if i == j else rest / low[j][j])
    return low


def _forward(low: Rows, right: Sequence[Array]) -> list[Array]:
    found: list[Array] = []
    for i, row in enumerate(low):
        found.append((right[i] - sum(row[k] * found[k] for k in range(i))) / row[i])
    return found


def _backward(low: Rows, right: Sequence[Array]) -> list[Array]:
    found = list(right)
    for i in reversed(range(len(low))):
        found[i] = (right[i] - sum(low[k][i] * found[k] for k in range(i + 1, len(low)))) / low[i][i]
    return found


def _solve(hessian: Hessian, root: Array, held: Array, damping: Array, gradient: Array) -> Array:
    roots, helds, pulls = (_split(hessian, vector) for vector in (root, held, gradient))

    def scaled(entry: Array, one: tuple[Array, Array], other: tuple[Array, Array]) -> Array:
        return jnp.where(one[1] | other[1], 0.0, entry / (one[0] * other[0]))

    def damped(matrix: Rows, sides: Sequence[tuple[Array, Array]]) -> list[list[Array]]:
        system = [
            [scaled(entry, side, other) for entry, other in zip(row, sides, strict=False)]
            for row, side in zip(matrix, sides, strict=True)
        ]
        for row, (_, stays) in zip(system, sides, strict=True):
            row[-1] = row[-1] + jnp.where(stays, 1.0, damping)
        return system

    own_sides = list(zip(roots[0], helds[0], strict=True))
    shared_sides = list(zip(roots[1], helds[1], strict=True))
    low = _factor(damped(hessian.own, own_sides))
    pull = _forward(low, pulls[0])
    columns = [
        _forward(low, [scaled(row[s], side, shared) for row, side in zip(hessian.border, own_sides, strict=True)])
        for s, shared in enumerate(shared_sides)
    ]

    def over_pools(left: Sequence[Array], right: Sequence[Array]) -> Array:
        return jnp.sum(sum((a * b for a, b in zip(left, right, strict=True)), jnp.zeros(())), axis=0)

    corner = damped(hessian.corner, shared_sides)
    schur = _factor(
        [[e - over_pools(columns[i], columns[j]) for j, e in enumerate(row)] for i, row in enumerate(corner)]
    )
    rest = [own - over_pools(column, pull) for own, column in zip(pulls[1], columns, strict=True)]
    shared = _backward(schur, _forward(schur, rest))
    left = [
        entry - sum(column[k] * step for column, step in zip(columns, shared, strict=True))
        for k, entry in enumerate(pull)
    ]
    return _join(_backward(low, left), shared)


def _bend(hessian: Hessian, moved: Array) -> Array:
    own, shared = _split(hessian, moved)

    def form(matrix: Rows, vector: Sequence[Array]) -> Any:
        return sum(
            entry * vector[i] * vector[j] * (1.0 if i == j else 2.0)
            for i, row in enumerate(matrix)
            for j, entry in enumerate(row)
        )

    crossed = sum(
        2.0 * entry * one * other
        for row, one in zip(hessian.border, own, strict=True)
        for entry, other in zip(row, shared, strict=True)
    )
    return jnp.sum(form(hessian.own, own) + crossed, axis=0) + form(hessian.corner, shared)


ARROW = NormalEquations(_diagonal, _solve, _bend)
