"""Every start of one model on every version of a table: the lanes of a block, and the best end of each version."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax
import numpy as np

from qqtjax.errors import InputError
from qqtjax.fit import arrow
from qqtjax.fit.fitting import EXACT, LEAN, SHORT_SCAN
from qqtjax.fit.lanes import Block, Ended, Lanes, Queue
from qqtjax.fit.model import Model
from qqtjax.fit.objective import Data, Objective, gather
from qqtjax.fit.parameters import Space, search_space, stratified
from qqtjax.runs import Runs

# Iterations between two looks at which lanes are done.
ITERATIONS = 4
TOLERANCE = 1e-12
# Scan lengths are multiples of this one: of few lengths, and not much longer than the longest run.
SCAN_STEP = 4


class Candidates:
    """Lanes 0 .. B S - 1, of which lane `version * S + start` is one start of one version.

    Attributes:
        objective: what is minimised.
        fixed: values of the parameters that do not move.
        queue: the lanes, for `lanes.stream`.
        objectives: `[B, S]` of the ends; infinite until a start ends, and where it failed.
        best: `[B, F]` the best end of each version so far.
        best_objective: `[B]` its objective.
        sound: `[B]` is it an optimum.
    """

    def __init__(
        self,
        runs: Runs,
        objective: Objective,
        space: Space,
        measured: np.ndarray,
        weights: np.ndarray,
        boxes: np.ndarray,
        starts: int,
        begin: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> None:
        """Rows, boxes and starts.

        Args:
            runs: the table.
            objective: what is minimised.
            space: of the first version; all share its layout and fixed values.
            measured: `[B, M]` errors.
            weights: `[B, M]`.
            boxes: `[B, 2, F]` lower and upper bounds, or `[1, 2, F]` the same for all.
            starts: S.
            begin: from `[N]` versions and `[N]` starts to `[N, F]` where they begin; kept to the box.
        """
        self.objective, self.fixed = objective, space.fixed
        divided = arrow.divide(space.layout) if runs.single.all() else None
        if divided is None:
            rows = _dense_rows(runs, space, measured[0], weights[0])
            index, there, coordinates = np.arange(len(runs)), np.ones(len(runs)), np.arange(len(space))
        else:
            rows, index, there = arrow.by_pool(runs, space)
            coordinates = arrow.order(*divided)

        count = len(measured)
        block = Block(self.objective, divided is not None, ITERATIONS, TOLERANCE)
        self.queue = Queue(block, rows, count * starts, self._load, self._take)
        self._measured, self._weights, self._index, self._there = measured, weights, index, there
        self._coordinates, self._starts, self._begin = coordinates, starts, begin
        self._boxes = np.broadcast_to(boxes, (count, *boxes.shape[1:]))
        self._size = np.mean(np.abs(measured), axis=1)
        self._best_of = np.full(count, starts)
        self.objectives = np.full((count, starts), np.inf)
        self.best, self.best_objective = np.zeros((count, len(space))), np.full(count, np.inf)
        self.sound = np.zeros(count, bool)

    def _load(self, numbers: np.ndarray) -> Lanes:
        version, start = np.divmod(numbers, self._starts)
        low, high = np.moveaxis(self._boxes[version][:, :, self._coordinates], 1, 0)
        begin = np.clip(self._begin(version, start)[:, self._coordinates], low, high)
        by_row = (self._measured[version][:, self._index], self._weights[version][:, self._index] * self._there)
        return Lanes(*(np.ascontiguousarray(np.moveaxis(each, 0, -1)) for each in (begin, low, high, *by_row)))

    def _take(self, ended: Ended) -> None:
        version, start = np.divmod(ended.lane, self._starts)
        value = np.where(np.isfinite(ended.objective), ended.objective, np.inf)
        self.objectives[version, start] = value
        # The earlier start where two end alike, so that the order in which they end does not matter.
        ranked = np.lexsort((start, value, version))
        ranked = ranked[np.unique(version[ranked], return_index=True)[1]]
        held, holder = self.best_objective[version[ranked]], self._best_of[version[ranked]]
        won = ranked[(value[ranked] < held) | ((value[ranked] == held) & (start[ranked] < holder))]
        winner = version[won]
        self.best[winner[:, None], self._coordinates] = ended.x[:, won].T
        self._best_of[winner], self.best_objective[winner] = start[won], value[won]
        exact = np.sqrt(2 * value[won] / self._measured.shape[1]) <= EXACT * self._size[winner]
        self.sound[winner] = ended.done[won] & (exact | (ended.cosine[won] <= LEAN)) & np.isfinite(value[won])


def from_everywhere(
    runs: Runs, model: Model, measured: np.ndarray, weights: np.ndarray, starts: int, seed: int
) -> Candidates:
    """Starts all over the starting ranges of each version, which follow from its own errors.

    Args:
        runs: the table.
        model: the law and how it is fitted.
        measured: `[B, M]` errors.
        weights: `[B, M]`.
        starts: S.
        seed: of the starts.

    Raises:
        InputError: as `parameters.search_space`; nothing is free.
    """
    free = model.free if isinstance(model.free, str) else tuple(model.free)
    settings = (model.share, model.fixed, free, model.bounds)
    spaces = [search_space(model.law, dataclasses.replace(runs, error=error), *settings) for error in measured]
    space = spaces[0]
    if len(space) == 0:
        raise InputError("nothing to fit: every parameter is fixed")
    length = scan_length(space, runs) if model.max_epochs is None else model.max_epochs
    objective = Objective(space.layout, length, model.log, model.huber)
    boxes = np.array([each.box() for each in spaces])
    ends = np.array([each.place(np.array([[0.0], [1.0]])) for each in spaces])
    shares = stratified(starts, len(space), seed)

    def begin(version: np.ndarray, start: np.ndarray) -> np.ndarray:
        first, last = np.moveaxis(ends[version], 1, 0)
        return first + shares[start] * (last - first)

    return Candidates(runs, objective, space, measured, weights, boxes, starts, begin)


def _dense_rows(runs: Runs, space: Space, error: np.ndarray, weights: np.ndarray) -> Data:
    run, drawn = gather(runs)
    run, fixed = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (run, space.fixed))
    return Data(run, drawn, error, weights, fixed)


def scan_length(space: Space, runs: Runs) -> int | None:
    """The scan where it is short or the law needs it, else the closed form."""
    length = SCAN_STEP * math.ceil(float(runs.epochs.max()) * (1 + 1e-6) / SCAN_STEP)
    return length if length <= SHORT_SCAN or space.layout.law.scans(space.layout.sketch(space.fixed)) else None
