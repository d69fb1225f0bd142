"""`sweep`: predictions and best mixes at millions of points, in blocks, on every device, to memory or to a folder."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import FittedLaw
from qqtjax.mix.asked import constraints_of
from qqtjax.plain import to_plain
from qqtjax.sweep import evaluate, folder, hosts
from qqtjax.sweep.grid import Grid, grid_of
from qqtjax.sweep.reduce import Quantiles, TopK
from qqtjax.sweep.result import Axes, Sweep, described, empty, load_sweep, place
from qqtjax.sweep.simplex import Simplex

DTYPES = ("float64", "float32")
LEAST_MEMORY = 1 << 24
Progress = Callable[[int, int], None]


def sweep(
    fit: FittedLaw | Draws,
    *,
    budgets: ArrayLike,
    weights: ArrayLike | Simplex | Mapping[str, Any] | Sequence[Mapping[str, float]] | None = None,
    filters: bool | Sequence[Sequence[str]] | None = None,
    optimize: bool = False,
    sizes: ArrayLike | Mapping[str, float] | Sequence[Mapping[str, float]] | None = None,
    draws: Any = None,
    zipped: bool = False,
    dtype: str = "float64",
    reduce: TopK | Quantiles | None = None,
    out: str | os.PathLike[str] | None = None,
    memory: float = 2**30,
    seed: int = 0,
    progress: Progress | None = None,
    **constraints: Any,
) -> Sweep:
    """Predict the error, or find the best mix, at every point of draws x sizes x budgets x mixes.

        error[s, z, b, w] = y(theta_s; weights_w, sizes_z, n_b),   or   min over weights of it with `optimize`

    The grid is described, never stored; it is evaluated in blocks of one shape, one on each device of this process,
    and the numbers are the same bits on any number of devices and processes. With `out` each finished part is a
    Parquet file: a sweep that was stopped goes on from there when it is run again, and ends with the same bytes.
    Under `jax.distributed` every process evaluates and writes its own parts.

    Args:
        fit: the law and its pools, or `Draws` of one.
        budgets: `[B]` samples seen, or one number.
        weights: `[W, P]` mixes, `[P]`, `{name: {pool: share}}`, a list of `{pool: share}`, or `Simplex(step)`.
        filters: True for the nested filters of the fit, or lists of pool names, each a union sampled uniformly.
        optimize: the best mix at every point instead, with its duality gap (or KKT residual).
        sizes: `[Z, P]` pool sizes to plan for, `[P]`, `{pool: size}` or a list of those; the fit's by default.
        draws: the law's parameters with a leading axis of draws on every leaf, in place of those of the fit; or how
            many to draw from the fit's normal approximation (`draw_params`).
        zipped: the axes move together, point by point, instead of being multiplied.
        dtype: float64, or float32 for speed (its error: see `laws.closed_form.decayed_epochs`).
        reduce: `TopK(k)` keeps the best mixes of every budget, `Quantiles(levels)` those over draws; on the device.
        out: a folder for the results; without one they are held in memory.
        memory: bytes that blocks, and results held in memory, may take; what Python and JAX take comes on top.
        seed: of the draws, and of local searches for best mixes.
        progress: called with the points done and the points in all.
        **constraints: with `optimize`, as for `optimize_mix`.

    Returns:
        A `Sweep`: arrays over the axes that were given, and `frame()`.

    Raises:
        InputError: a wrong question, results that do not fit into memory, a folder that holds another sweep, is
            in use or cannot be written.
        MissingExtraError: `out` without pyarrow.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> found = qqt.sweep(paper, budgets=[64e6, 128e6], weights=qqt.Simplex(0.2), reduce=qqt.TopK(1))
        >>> found.weights[:, 0].tolist(), found.error.round(4).ravel().tolist()
        ([[0.8, 0.2, 0.0, 0.0], [0.6, 0.4, 0.0, 0.0]], [0.7695, 0.7189])
        >>> qqt.sweep(paper, budgets=[64e6, 640e6], optimize=True, max_epochs=20).error.round(4).tolist()
        [0.7695, 0.6413]
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r}: expected one of {', '.join(DTYPES)}")
    if not (isinstance(memory, int | float | np.number) and LEAST_MEMORY <= memory < np.inf):
        raise InputError(f"memory {memory!r}: expected a number of bytes, at least {LEAST_MEMORY}")
    if not (reduce is None or isinstance(reduce, TopK | Quantiles)):
        raise InputError(f"reduce {reduce!r}: expected TopK(k) or Quantiles(levels)")
    if not (out is None or isinstance(out, str | os.PathLike)) or out == "":
        raise InputError(f"out {out!r}: expected the name of a folder")
    if constraints and not optimize:
        raise InputError(f"{', '.join(constraints)} without optimize: constraints are for the best mix")
    if isinstance(fit, Draws):
        fit, draws = fit.in_place_of(draws)
    grid = grid_of(fit, budgets, weights, filters, optimize, sizes, draws, seed, zipped)
    with jax.enable_x64(dtype == "float64"):
        work = _work(grid, reduce, optimize, constraints, dtype, memory, seed)
        axes = _axes(grid, work, reduce)
        report = _Report(work.points, progress)
        if out is None:
            return _in_memory(work, axes, dtype, memory, report)
        limits = json.dumps(to_plain(constraints), sort_keys=True)
        asked = {"reduce": repr(reduce), "constraints": limits, "seed": str(seed) if work.seeded else "any"}
        _to_folder(work, axes, grid, Path(out), {**asked, "dtype": dtype}, report)
    return load_sweep(out)


def _work(
    grid: Grid,
    reduce: TopK | Quantiles | None,
    optimize: bool,
    constraints: Mapping[str, Any],
    dtype: str,
    memory: float,
    seed: int,
) -> evaluate.Work:
    if reduce is not None and (optimize or grid.zipped):
        raise InputError(f"reduce with {'optimize' if optimize else 'zipped axes'}: expected one of them")
    if isinstance(reduce, Quantiles) and "draw" not in grid.given:
        raise InputError("quantiles over draws: expected draws")
    if isinstance(reduce, TopK) and "mix" not in grid.given:
        raise InputError("the best of several mixes: expected several weights, or filters")
    if optimize:
        return evaluate.best(grid, constraints_of(constraints), dtype, seed)
    if isinstance(reduce, TopK):
        return evaluate.lowest(grid, reduce, dtype, memory)
    if isinstance(reduce, Quantiles):
        return evaluate.over_draws(grid, reduce, dtype, memory)
    return (evaluate.zipped if grid.zipped else evaluate.errors)(grid, dtype, memory)


def _axes(grid: Grid, work: evaluate.Work, reduce: TopK | Quantiles | None) -> Axes:
    return Axes(
        names=work.axes,
        shape=work.shape,
        pools=grid.fitted.pools,
        budgets=grid.budgets,
        sizes=grid.sizes,
        mixes=grid.mixes,
        mix_names=grid.mix_names,
        draws=grid.lengths[0],
        levels=reduce.levels if isinstance(reduce, Quantiles) else (),
        law=grid.fitted.law.name,
        metric=grid.fitted.metric,
    )


class _Report:
    """Counts the points done and tells whoever wants to know."""

    def __init__(self, points: int, progress: Progress | None) -> None:
        self.points, self.progress, self.done = points, progress, 0

    def begin(self, share: float, done: float) -> None:
        """Of the points a share is this process's own, of which a part was done before."""
        self.points = round(self.points * share)
        self(round(self.points * done))

    def __call__(self, points: int) -> None:
        self.done = min(self.done + points, self.points)
        if self.progress is not None:
            self.progress(self.done, self.points)


def _in_memory(work: evaluate.Work, axes: Axes, dtype: str, memory: float, report: _Report) -> Sweep:
    if hosts.count() > 1:
        raise InputError("several processes: expected out=, a folder that all of them can write")
    each = np.dtype(dtype).itemsize * len(work.names)
    if axes.size * each > memory:
        raise InputError(
            f"{axes.size:.3g} results of {each} bytes do not fit into the memory of {memory:.3g} bytes: give out=, "
            "reduce=, or more memory="
        )
    report.begin(1.0, 0.0)
    columns = empty(axes, dtype, "mix" in work.names, "gap" in work.names)
    for number in range(work.tiling.parts):
        place(columns, axes, work.part(number, report))
    return Sweep(axes, lambda: columns)


def _to_folder(work: evaluate.Work, axes: Axes, grid: Grid, path: Path, asked: dict[str, str], report: _Report) -> None:
    folder.require_parquet()
    plain, arrays = described(axes)
    cut = work.tiling
    identity = {
        "fit": folder.digest(grid.fitted.law.name, *grid.fitted.pools.names, *_leaves(grid.fitted.params)),
        "grid": folder.digest(repr(plain), *arrays.values(), *_leaves(grid.params)),
        **asked,
        "blocks": f"{cut.row_block} x {cut.column_block} x {cut.blocks}",
        "code": folder.code_version(),
        "jax": jax.__version__,
        "platform": jax.local_devices()[0].platform,
    }
    description = {**plain, "columns": [*work.axes, *work.names], "parts": cut.parts, "points": work.points}
    process, question = jax.process_index(), folder.digest(json.dumps([identity, description]))
    with contextlib.ExitStack() as held:
        with hosts.begin_together(question):
            held.enter_context(folder.locked(path, process))
            if process == 0:
                folder.begin(path, identity, description, arrays)
                folder.sweep_away(path)
        there = folder.finished(path)
        own = range(process, cut.parts, hosts.count())
        left = [number for number in own if number not in there]
        report.begin(len(own) / cut.parts, 1 - len(left) / max(len(own), 1))
        _write_parts(work, path, left, report)
        hosts.wait("all parts are written")


def _leaves(params: Any) -> list[np.ndarray]:
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(params)]


def _write_parts(work: evaluate.Work, path: Path, parts: Sequence[int], report: _Report) -> None:
    """Evaluate parts; each is written while the next is evaluated."""
    with ThreadPoolExecutor(1) as writer:
        writing: Future[None] | None = None
        for number in parts:
            columns = work.part(number, report)
            if writing is not None:
                writing.result()
            writing = writer.submit(folder.write_part, path, number, columns)
        if writing is not None:
            writing.result()
