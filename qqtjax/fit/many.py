"""`fit_many`: one law, one table, many versions of its measured errors, all fitted at once."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.fit import arrow
from qqtjax.fit.fitting import EXACT, LEAN, SHORT_SCAN, check_settings, checked_importance
from qqtjax.fit.lanes import Block, Ended, Lanes, stream
from qqtjax.fit.objective import Data, Objective, gather
from qqtjax.fit.parameters import Bounds, Fixed, Share, Space, search_space, stratified
from qqtjax.laws import Law, utility
from qqtjax.runs import Runs

# Lanes of a block: on a CPU one that stays in the cache of a core, on an accelerator enough to fill it.
CPU_WIDTH, ACCELERATOR_WIDTH = 128, 8192
ITERATIONS = 4
TOLERANCE = 1e-12
# Scan lengths are multiples of this one: of few lengths, and not much longer than the longest run.
SCAN_STEP = 4


class Fits(NamedTuple):
    """Many fits of one law; B tables, S starts.

    Attributes:
        params: the law's parameters with a leading axis of B on every leaf, as `optimize_mix(draws=...)` takes them.
        objective: `[B]` half the weighted sum of squares (or Huber losses) at the best end point.
        converged: `[B]` is the best end point an optimum.
        objectives: `[B, S]` of all starts; infinite where a start failed.
    """

    params: Any
    objective: np.ndarray
    converged: np.ndarray
    objectives: np.ndarray


def fit_many(
    runs: Runs,
    law: Law = utility,
    *,
    errors: ArrayLike | None = None,
    importance: ArrayLike | None = None,
    share: Share | None = None,
    fixed: Fixed | None = None,
    free: Iterable[str] = (),
    bounds: Bounds | None = None,
    log: bool = False,
    huber: float | None = None,
    starts: int = 64,
    seed: int = 0,
    max_epochs: int | None = None,
    max_iterations: int = 500,
    width: int | None = None,
    workers: int | None = None,
) -> Fits:
    """Fit a law to B versions of a table whose measured errors or weights differ, in float64, from S starts each.

    Minimises sum_r v_br rho(f_r(params_b) - y_br) for every b, as `fit` does for one table: all parameters jointly,
    bounds and starting ranges from each version's own errors. Every start is followed until a step promises less than
    1e-12 of its objective. Where all rows are single pools the normal equations are an arrow (`fit.arrow`).

    Args:
        runs: the measured table (one metric); M checkpoints on P pools.
        law: the law to fit.
        errors: `[B, M]` measured errors; default those of the table in each.
        importance: `[B, M]` weights of the checkpoints; default `eval_size` where the table has it, else equal.
        share: as for `fit`.
        fixed: as for `fit`.
        free: as for `fit`.
        bounds: as for `fit`.
        log: as for `fit`.
        huber: as for `fit`.
        starts: S, the same points of the starting ranges for each version.
        seed: of the starting points; the same seed and width give the same bytes, whatever the workers.
        max_epochs: evaluate by the scan of this length; by default as `fit`.
        max_iterations: a start that needs more is left where it is.
        width: problems in one compiled call; the default suits the device. Memory grows with it, not with B.
        workers: calls in flight; by default one a core on a CPU, else one.

    Returns:
        `Fits`: `params` stacked, ready for `optimize_mix(draws=...)`.

    Raises:
        InputError: as `fit`; errors or importance that are not `[B, M]` finite numbers, or of different B.

    Example:
        >>> import numpy as np
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> runs = runs.select(runs.single)
        >>> errors = runs.error + 1e-3 * np.random.default_rng(0).normal(size=(3, len(runs)))
        >>> fits = fit_many(runs, errors=errors, starts=16)
        >>> fits.params.half_life.shape, bool(fits.converged.all())
        ((3, 5), True)
    """
    check_settings(runs, starts, seed, huber)
    measured, weights = _versions(runs, errors, importance)
    count, rows_in_table = measured.shape
    spaces = [
        search_space(law, dataclasses.replace(runs, error=error), share, fixed, free, bounds) for error in measured
    ]
    space = spaces[0]
    if len(space) == 0:
        raise InputError("nothing to fit: every parameter is fixed")
    boxes = np.array([each.box() for each in spaces])
    ends = np.array([each.place(np.array([[0.0], [1.0]])) for each in spaces])
    shares = stratified(starts, len(space), seed)
    lanes = count * starts
    on_cpu = jax.default_backend() == "cpu"
    width = width or min(CPU_WIDTH if on_cpu else ACCELERATOR_WIDTH, max(8, 1 << (lanes - 1).bit_length()))
    workers = workers or (min(os.cpu_count() or 1, math.ceil(lanes / width)) if on_cpu else 1)

    objective = Objective(space.layout, _scan_length(space, runs) if max_epochs is None else max_epochs, log, huber)
    divided = arrow.divide(space.layout) if runs.single.all() else None
    if divided is None:
        rows = _dense_rows(runs, space, measured[0], weights[0])
        index, there, coordinates = np.arange(rows_in_table), np.ones(rows_in_table), np.arange(len(space))
    else:
        rows, index, there = arrow.by_pool(runs, space)
        coordinates = arrow.order(*divided)

    def load(numbers: np.ndarray) -> Lanes:
        version, start = np.divmod(numbers, starts)
        (low, high), (first, last) = (np.moveaxis(each[version][:, :, coordinates], 1, 0) for each in (boxes, ends))
        begin = np.clip(first + shares[start][:, coordinates] * (last - first), low, high)
        by_row = (measured[version][:, index], weights[version][:, index] * there)
        return Lanes(*(np.ascontiguousarray(np.moveaxis(each, 0, -1)) for each in (begin, low, high, *by_row)))

    objectives = np.full((count, starts), np.inf)
    best = np.zeros((count, len(space)))
    best_of, best_objective = np.full(count, starts), np.full(count, np.inf)
    sound = np.zeros(count, bool)
    size = np.mean(np.abs(measured), axis=1)

    def take(ended: Ended) -> None:
        version, start = np.divmod(ended.lane, starts)
        value = np.where(np.isfinite(ended.objective), ended.objective, np.inf)
        objectives[version, start] = value
        # The earlier start where two end alike, so that the order in which they end does not matter.
        ranked = np.lexsort((start, value, version))
        ranked = ranked[np.unique(version[ranked], return_index=True)[1]]
        kept = best_objective[version[ranked]]
        wins = (value[ranked] < kept) | ((value[ranked] == kept) & (start[ranked] < best_of[version[ranked]]))
        won = ranked[wins]
        best[version[won][:, None], coordinates] = ended.x[:, won].T
        best_of[version[won]], best_objective[version[won]] = start[won], value[won]
        exact = np.sqrt(2 * value[won] / rows_in_table) <= EXACT * size[version[won]]
        sound[version[won]] = ended.done[won] & (exact | (ended.cosine[won] <= LEAN)) & np.isfinite(value[won])

    with jax.enable_x64(True):
        block = Block(objective, divided is not None, ITERATIONS, TOLERANCE)
        stream(block, rows, lanes, load, width, workers, max_iterations, take)
        fixed_values = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), space.fixed)
        params = jax.tree.map(np.asarray, _unpacked(objective, best, fixed_values))
    return Fits(params, best_objective, sound, objectives)


@partial(jax.jit, static_argnums=0)
def _unpacked(objective: Objective, x: Array, fixed: Any) -> Any:
    return jax.vmap(objective.layout.unpack, in_axes=(0, None))(x, fixed)


def _versions(runs: Runs, errors: ArrayLike | None, importance: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """`[B, M]` errors and weights of mean 1."""
    given = {name: value for name, value in (("errors", errors), ("importance", importance)) if value is not None}
    try:
        arrays = {name: np.asarray(value, np.float64) for name, value in given.items()}
    except (TypeError, ValueError):
        raise InputError(f"{' and '.join(given)}: expected numbers") from None
    for name, value in arrays.items():
        if value.ndim != 2 or value.shape[1] != len(runs) or not len(value) or not np.all(np.isfinite(value)):
            raise InputError(f"{name} of shape {value.shape}: expected [B, {len(runs)}] finite numbers")
    counts = {len(value) for value in arrays.values()}
    if len(counts) > 1:
        raise InputError("errors and importance: expected the same number of versions")
    count = counts.pop() if counts else 1
    measured = np.broadcast_to(arrays.get("errors", runs.error), (count, len(runs)))
    weights = arrays.get("importance")
    if weights is None:
        return measured, np.broadcast_to(checked_importance(runs, None), (count, len(runs)))
    return measured, np.stack([checked_importance(runs, each) for each in weights])


def _dense_rows(runs: Runs, space: Space, error: np.ndarray, weights: np.ndarray) -> Data:
    run, drawn = gather(runs)
    run, fixed = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (run, space.fixed))
    return Data(run, drawn, error, weights, fixed)


def _scan_length(space: Space, runs: Runs) -> int | None:
    """The scan where it is short or the law needs it, else the closed form."""
    length = SCAN_STEP * math.ceil(float(runs.epochs.max()) * (1 + 1e-6) / SCAN_STEP)
    return length if length <= SHORT_SCAN or space.layout.law.scans(space.layout.sketch(space.fixed)) else None
