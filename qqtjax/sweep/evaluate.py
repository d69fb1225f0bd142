"""From a part's number to its results: the compiled blocks of each kind of sweep, put together."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from qqtjax.mix.constraints import Constraints
from qqtjax.mix.many import Bounds, bounds_alone, one_by_one
from qqtjax.sweep import blocks
from qqtjax.sweep.grid import Grid, Rows
from qqtjax.sweep.reduce import Quantiles, TopK
from qqtjax.sweep.tiling import Tiling, numbers, tile

AHEAD = 2  # blocks that are worked on before the first of them is fetched
LANES, FEW_LANES = 1024, 64  # best mixes sought at once
LANES_OF_PART, ALONE_OF_PART = 1 << 16, 64

Step = Callable[[int], None]
Part = Callable[[int, Step], dict[str, np.ndarray]]


class Work(NamedTuple):
    """How a sweep is done.

    Attributes:
        tiling: how it is cut.
        points: how many points it evaluates in all.
        axes: names of the axes of its results.
        shape: their lengths.
        part: the columns of one part; it calls back with the number of points after each block.
        names: names of the columns that are not places.
        seeded: do the results depend on a seed beyond the draws of parameters.
    """

    tiling: Tiling
    points: int
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    part: Part
    names: tuple[str, ...]
    seeded: bool = False


def errors(grid: Grid, dtype: Any, memory: float) -> Work:
    """Every error of a grid whose axes are multiplied."""
    mesh, law, length = blocks.devices(), grid.fitted.law, grid.max_epochs()
    *outer, mixes = grid.lengths
    cut = _tile(grid, math.prod(outer), mixes, dtype, memory, mesh)

    def part(number: int, step: Step) -> dict[str, np.ndarray]:
        (first, last), (left, right) = cut.part_rows(number), cut.part_columns(number)
        shares = _padded(grid.weights(np.arange(left, right)), cut.column_block, dtype)
        found = np.empty((last - first, right - left), dtype)

        def start(begin: int) -> Any:
            return blocks.predicted(mesh, law, length, _rows(grid, cut, mesh, begin, dtype), shares)

        for begin, block in _ahead(_begins(cut, mesh, first, last), start):
            own = block.reshape(-1, cut.column_block)[: last - begin, : right - left]
            found[begin - first : begin - first + len(own)] = own
            step(own.size)
        places = [*np.unravel_index(np.arange(first, last), outer), np.arange(left, right)]
        return _placed(grid, places, found.shape) | {"error": found.ravel()}

    return Work(cut, len(grid), grid_axes(grid), grid.shape, part, ("error",))


def lowest(grid: Grid, reduce: TopK, dtype: Any, memory: float) -> Work:
    """The best few mixes at every draw, size and budget."""
    mesh, law, length = blocks.devices(), grid.fitted.law, grid.max_epochs()
    *outer, mixes = grid.lengths
    k = min(reduce.k, mixes)
    cut = _tile(grid, math.prod(outer), mixes, dtype, memory, mesh, spans=True, kept=k)
    kept_tiles = cut.columns * grid.sizes.shape[1] * np.dtype(dtype).itemsize <= memory / 8
    known: dict[int, Any] = {}

    def shares(number: int) -> Any:
        left, right = cut.tile(number)
        made = known.get(number)
        if made is None:
            made = _padded(grid.weights(np.arange(left, right)), cut.column_block, dtype)
            if kept_tiles:
                known[number] = made
        return made, np.int32(left), np.int32(right - left)

    def part(number: int, step: Step) -> dict[str, np.ndarray]:
        first, last = cut.part_rows(number)
        shape = (mesh.size, cut.row_block, k)
        least, which = np.empty((last - first, k), dtype), np.empty((last - first, k), np.int32)

        def start(begin: int) -> Any:
            rows = _rows(grid, cut, mesh, begin, dtype)
            kept: Any = (np.full(shape, np.inf, dtype), np.zeros(shape, np.int32))
            for number in range(cut.tiles):
                kept = blocks.lowest_so_far(mesh, law, length, kept, rows, *shares(number))
            return kept

        for begin, (error, mix) in _ahead(_begins(cut, mesh, first, last), start):
            own = slice(begin - first, min(begin + mesh.size * cut.row_block, last) - first)
            least[own] = error.reshape(-1, k)[: last - begin]
            which[own] = mix.reshape(-1, k)[: last - begin]
            step((own.stop - own.start) * mixes)
        places = [*np.unravel_index(np.arange(first, last), outer), np.arange(k)]
        names = (*(axis for axis in grid_axes(grid) if axis != "mix"), "rank")
        return _named(names, ("draw", "size", "budget", "rank"), places, least.shape) | {
            "mix": which.ravel(),
            "error": least.ravel(),
        }

    axes = (*(axis for axis in grid_axes(grid) if axis != "mix"), "rank")
    lengths = {"draw": outer[0], "size": outer[1], "budget": outer[2], "rank": k}
    return Work(cut, len(grid), axes, tuple(lengths[axis] for axis in axes), part, ("mix", "error"))


def over_draws(grid: Grid, reduce: Quantiles, dtype: Any, memory: float) -> Work:
    """Quantiles over the draws at every size, budget and mix."""
    mesh, law, length = blocks.devices(), grid.fitted.law, grid.max_epochs()
    draws, *outer = grid.lengths
    count = len(reduce.levels)
    cut = _tile(grid, math.prod(outer), draws, dtype, memory, mesh, whole=True, spans=True, kept=count)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), grid.params)

    def part(number: int, step: Step) -> dict[str, np.ndarray]:
        first, last = cut.part_rows(number)
        found = np.empty((last - first, count), dtype)

        def start(begin: int) -> Any:
            size, budget, mix = np.unravel_index(numbers(begin, mesh.size * cut.row_block, cut.rows), outer)
            rows = _blocked((grid.sizes[size], grid.budgets[budget], grid.weights(mix)), mesh, dtype)
            return blocks.quantiles(mesh, law, length, reduce.levels, params, rows)

        for begin, block in _ahead(_begins(cut, mesh, first, last), start):
            own = block.reshape(-1, count)[: last - begin]
            found[begin - first : begin - first + len(own)] = own
            step(len(own) * draws)
        places = [*np.unravel_index(np.arange(first, last), outer), np.arange(count)]
        return _named(axes, ("size", "budget", "mix", "level"), places, found.shape) | {"error": found.ravel()}

    axes = (*(axis for axis in grid_axes(grid) if axis != "draw"), "level")
    lengths = {"size": outer[0], "budget": outer[1], "mix": outer[2], "level": count}
    return Work(cut, len(grid), axes, tuple(lengths[axis] for axis in axes), part, ("error",))


def zipped(grid: Grid, dtype: Any, memory: float) -> Work:
    """Every error of a grid whose axes move together."""
    mesh, law, length = blocks.devices(), grid.fitted.law, grid.max_epochs()
    cut = _tile(grid, len(grid), 1, dtype, memory, mesh)

    def part(number: int, step: Step) -> dict[str, np.ndarray]:
        first, last = cut.part_rows(number)
        found = np.empty(last - first, dtype)

        def start(begin: int) -> Any:
            *outer, mix = grid.coordinates(numbers(begin, mesh.size * cut.row_block, cut.rows))
            rows, weights = _blocked((grid.rows(*outer), grid.weights(mix)), mesh, dtype)
            return blocks.zipped(mesh, law, length, rows, weights)

        for begin, block in _ahead(_begins(cut, mesh, first, last), start):
            own = block.reshape(-1)[: last - begin]
            found[begin - first : begin - first + len(own)] = own
            step(len(own))
        return {"point": np.arange(first, last, dtype=np.int32), "error": found}

    return Work(cut, len(grid), ("point",), (len(grid),), part, ("error",))


def best(grid: Grid, constraints: Constraints, dtype: Any, seed: int) -> Work:
    """The best mix at every draw, size and budget, together where bounds alone constrain it, else one by one."""
    mesh, law = blocks.devices(), grid.fitted.law
    together = bounds_alone(grid.fitted, grid.params, grid.sizes, grid.budgets, constraints, None)
    lanes, size_of_part = (LANES, LANES_OF_PART) if together is not None else (1, ALONE_OF_PART)
    lanes = min(lanes, FEW_LANES) if len(grid) <= FEW_LANES else lanes
    height = min(size_of_part // lanes, -(-len(grid) // lanes))
    cut = Tiling(len(grid), 1, lanes, 1, max(height, 1), spans=False)
    outer = grid.lengths[:3]
    names = tuple(f"weight_{name}" for name in grid.fitted.pools.names)

    def problems(begin: int, count: int) -> list[np.ndarray]:
        return list(grid.coordinates(numbers(begin, count, len(grid)))[:3])

    def compiled(bounds: Bounds, first: int, last: int, step: Step) -> Iterator[tuple[np.ndarray, ...]]:
        def start(begin: int) -> Any:
            rows = grid.rows(*problems(begin, mesh.size * lanes))
            high = bounds.caps(rows.sizes, rows.samples_seen)
            own = _blocked((rows, np.broadcast_to(bounds.low, high.shape), high), mesh, dtype)
            return blocks.best(mesh, law, *own), _blocked(rows.params.floor, mesh, dtype)

        for begin, ((weights, excess, gap), floor) in _ahead(_begins(cut, mesh, first, last), start):
            count = min(last - begin, mesh.size * lanes)
            step(count)
            flat = (weights.reshape(-1, weights.shape[-1]), (floor + excess).ravel(), gap.ravel())
            yield tuple(each[:count] for each in flat)

    def alone(first: int, last: int, step: Step) -> Iterator[tuple[np.ndarray, ...]]:
        for number in range(first, last):
            places = np.array(problems(number, 1))
            one = np.ones(1)
            weights, error, proved = one_by_one(
                grid.fitted, one, grid.params, grid.sizes, grid.budgets, constraints, None, None, seed, places
            )
            step(1)
            yield weights, error, np.array([proved[0].gap])

    def part(number: int, step: Step) -> dict[str, np.ndarray]:
        first, last = cut.part_rows(number)
        found = alone(first, last, step) if together is None else compiled(together, first, last, step)
        weights, error, gap = (np.concatenate(each).astype(dtype) for each in zip(*found, strict=True))
        if grid.zipped:
            places = {"point": np.arange(first, last, dtype=np.int32)}
        else:
            each = np.unravel_index(np.arange(first, last), outer)
            named = zip(("draw", "size", "budget"), each, strict=True)
            places = {axis: values.astype(np.int32) for axis, values in named if axis in axes}
        return places | dict(zip(names, np.ascontiguousarray(weights.T), strict=True)) | {"error": error, "gap": gap}

    axes = grid_axes(grid)
    return Work(cut, len(grid), axes, grid.shape, part, (*names, "error", "gap"), seeded=together is None)


def grid_axes(grid: Grid) -> tuple[str, ...]:
    """Names of the axes that results have."""
    return ("point",) if grid.zipped else tuple(grid.given)


def _tile(grid: Grid, rows: int, columns: int, dtype: Any, memory: float, mesh: Mesh, **how: Any) -> Tiling:
    platform = mesh.devices.flat[0].platform
    return tile(rows, columns, grid.sizes.shape[1], np.dtype(dtype).itemsize, memory, platform, **how)


def _begins(cut: Tiling, mesh: Mesh, first: int, last: int) -> Iterable[int]:
    """First rows of the groups of blocks, one block a device."""
    return range(first, last, mesh.size * cut.row_block)


def _rows(grid: Grid, cut: Tiling, mesh: Mesh, begin: int, dtype: Any) -> Rows:
    """A block of points of the first three axes for each device."""
    flat = numbers(begin, mesh.size * cut.row_block, cut.rows)
    return _blocked(grid.rows(*np.unravel_index(flat, grid.lengths[:3])), mesh, dtype)


def _blocked(tree: Any, mesh: Mesh, dtype: Any) -> Any:
    """Leading axes `[D * R]` as `[D, R]`."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype).reshape(mesh.size, -1, *leaf.shape[1:]), tree)


def _padded(weights: np.ndarray, count: int, dtype: Any) -> np.ndarray:
    """`[count, P]`, the last row repeated."""
    return np.pad(weights, [(0, count - len(weights)), (0, 0)], mode="edge").astype(dtype)


def _ahead(begins: Iterable[int], start: Callable[[int], Any]) -> Iterator[tuple[int, Any]]:
    """Start a block while others are still computed; fetch them in order."""
    waiting: deque[tuple[int, Any]] = deque()
    for begin in begins:
        waiting.append((begin, start(begin)))
        if len(waiting) > AHEAD:
            number, block = waiting.popleft()
            yield number, jax.device_get(block)
    for number, block in waiting:
        yield number, jax.device_get(block)


def _placed(grid: Grid, places: list[np.ndarray], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    return _named(grid_axes(grid), ("draw", "size", "budget", "mix"), places, shape)


def _named(
    wanted: tuple[str, ...], names: tuple[str, ...], places: list[np.ndarray], shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Places on the axes of every number of `[rows, columns]`, flat, as int32: the last axis goes along columns."""
    found = {}
    for name, values in zip(names, places, strict=True):
        if name in wanted:
            along = values[None, :] if name == names[-1] else values[:, None]
            found[name] = np.broadcast_to(along.astype(np.int32), shape).ravel()
    return found
