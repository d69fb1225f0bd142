"""One block of a sweep, compiled once: rows x columns of predictions, what is kept of them, or best mixes.

A block has one fixed shape for each device; every device runs the same program on a block of its own, so that the
numbers do not depend on how many devices or processes there are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from qqtjax.laws.law import Law, wide
from qqtjax.mix.single import filled
from qqtjax.runs import Run
from qqtjax.sweep.reduce import merge

EACH, SAME = PartitionSpec("block"), PartitionSpec()


def compiled(static: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function of a mesh for the platform of its devices; its first arguments are static."""

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.cache
        def program(platform: str) -> Any:
            return jax.jit(function, static_argnums=range(static), compiler_options=wide(platform))

        @functools.wraps(function)
        def call(mesh: Mesh, *arguments: Any) -> Any:
            return program(mesh.devices.flat[0].platform)(mesh, *arguments)

        call.program = program  # pyright: ignore[reportAttributeAccessIssue]
        return call

    return wrap


def devices() -> Mesh:
    """The devices of this process, in one row."""
    return Mesh(np.array(jax.local_devices()), ("block",))


def _error(law: Law, max_epochs: int | None, params: Any, sizes: Any, seen: Any, weights: Any) -> Array:
    return law(params, Run(weights=weights, sizes=sizes, samples_seen=seen), max_epochs)


@compiled(static=3)
def predicted(mesh: Mesh, law: Law, max_epochs: int | None, rows: Any, weights: Array) -> Array:
    """`[D, R, C]` errors of every row under every mix.

    Args:
        mesh: D devices.
        law: the law.
        max_epochs: static scan length.
        rows: `grid.Rows` with leading axes `[D, R]`.
        weights: `[C, P]`.
    """
    return _on_each(mesh, (EACH, SAME), lambda own, mixes: _table(law, max_epochs, own, mixes))(rows, weights)


def _table(law: Law, max_epochs: int | None, rows: Any, weights: Array) -> Array:
    """`[R, C]`."""
    params, sizes, seen = rows
    if law.trailing:
        # Pools first, rows x columns last: loops along them become vector code.
        params, sizes, seen = jax.tree.map(lambda leaf: leaf.T[..., None], (params, sizes, seen))
        return _error(law, max_epochs, params, sizes, seen, weights.T[:, None, :])
    one = partial(_error, law, max_epochs)
    across = jax.vmap(one, in_axes=(None, None, None, 0))
    return jax.vmap(across, in_axes=(0, 0, 0, None))(params, sizes, seen, weights)


@compiled(static=3)
def lowest_so_far(
    mesh: Mesh, law: Law, max_epochs: int | None, kept: Any, rows: Any, weights: Array, start: Array, count: Array
) -> tuple[Array, Array]:
    """`[D, R, k]` lowest errors of every row and their mixes, those of one more tile of mixes included.

    Args:
        mesh: D devices.
        law: the law.
        max_epochs: static scan length.
        kept: `[D, R, k]` twice, as returned for the tiles before.
        rows: leading axes `[D, R]`.
        weights: `[C, P]` the tile.
        start: `[]` number of its first mix.
        count: `[]` how many of its mixes count.
    """

    def own(kept: Any, rows: Any, weights: Array, start: Array, count: Array) -> tuple[Array, Array]:
        errors = _table(law, max_epochs, rows, weights)
        inside = jnp.arange(weights.shape[0], dtype=jnp.int32) < count
        return merge(kept, jnp.where(inside, errors, jnp.inf), start)

    return _on_each(mesh, (EACH, EACH, SAME, SAME, SAME), own)(kept, rows, weights, start, count)


@compiled(static=4)
def quantiles(mesh: Mesh, law: Law, max_epochs: int | None, levels: tuple[float, ...], draws: Any, rows: Any) -> Array:
    """`[D, R, Q]` quantiles over the draws of the error of every row.

    Args:
        mesh: D devices.
        law: the law.
        max_epochs: static scan length.
        levels: Q of them.
        draws: parameters, every leaf with a leading axis of draws.
        rows: sizes, samples seen and weights with leading axes `[D, R]`.
    """

    def own(draws: Any, rows: Any) -> Array:
        one = partial(_error, law, max_epochs)
        across = jax.vmap(one, in_axes=(0, None, None, None))
        sizes, seen, weights = rows
        errors = jax.vmap(across, in_axes=(None, 0, 0, 0))(draws, sizes, seen, weights)
        return jnp.quantile(errors, jnp.asarray(levels, errors.dtype), axis=1).T

    return _on_each(mesh, (SAME, EACH), own)(draws, rows)


@compiled(static=3)
def zipped(mesh: Mesh, law: Law, max_epochs: int | None, rows: Any, weights: Array) -> Array:
    """`[D, R]` errors of rows that each have a mix of their own, `[D, R, P]`."""

    def own(rows: Any, weights: Array) -> Array:
        params, sizes, seen = rows
        return jax.vmap(partial(_error, law, max_epochs))(params, sizes, seen, weights)

    return _on_each(mesh, (EACH, EACH), own)(rows, weights)


@compiled(static=2)
def best(mesh: Mesh, law: Law, rows: Any, low: Array, high: Array) -> tuple[Array, Array, Array]:
    """`[D, R, P]` best weights under bounds `[D, R, P]`, `[D, R]` errors above the floor and their duality gaps."""

    def own(rows: Any, low: Array, high: Array) -> tuple[Array, Array, Array]:
        weights, value, gap = jax.vmap(partial(filled, law))(*rows, low, high)
        excess = jnp.exp(-value)
        return weights, excess, excess * -jnp.expm1(-gap)

    return _on_each(mesh, (EACH, EACH, EACH), own)(rows, low, high)


def _on_each(mesh: Mesh, specs: tuple, own: Any) -> Any:
    """A function of one block, on a block for each device; leading axes of length D."""

    def first(tree: Any, spec: PartitionSpec) -> Any:
        return jax.tree.map(lambda leaf: leaf[0], tree) if spec == EACH else tree

    def blocks(*arguments: Any) -> Any:
        found = own(*(first(each, spec) for each, spec in zip(arguments, specs, strict=True)))
        return jax.tree.map(lambda leaf: leaf[None], found)

    return jax.shard_map(blocks, mesh=mesh, in_specs=specs, out_specs=EACH, check_vma=False)
