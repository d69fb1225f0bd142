"""How far predictions lie from what was held out, and what decisions made by them would have cost."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from qqtjax.runs import Runs

# Budgets within this ratio of each other are one budget: runs end on whole batches.
SAME_BUDGET = 1.1


class Errors(NamedTuple):
    """How far predictions lie from what was measured.

    Attributes:
        mae: mean absolute error, in the unit of the metric.
        rmse: root mean squared error.
        bias: mean of predicted minus measured.
        rank: Spearman's rank correlation; NaN where nothing varies.
    """

    mae: float
    rmse: float
    bias: float
    rank: float


class Decisions(NamedTuple):
    """What choices by predicted error would have been worth, among options at the same budget and size of model.

    Attributes:
        regret: measured error of the option with the least predicted error minus the least measured, mean over
            cells; NaN without a cell.
        pairs_right: share of pairs ordered as measured; a predicted tie is half right, measured ties do not count.
        cells: how many choices.
        pairs: how many pairs.
    """

    regret: float
    pairs_right: float
    cells: int
    pairs: int


def errors(predicted: np.ndarray, measured: np.ndarray) -> Errors:
    """Distances of predictions from measurements, `[M]` each.

    Example:
        >>> errors(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.5, 3.0]))
        Errors(mae=0.5, rmse=0.6454972243679028, bias=0.16666666666666666, rank=1.0)
    """
    from scipy import stats

    miss = predicted - measured
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        rank = float(np.asarray(stats.spearmanr(predicted, measured))[0]) if len(miss) > 1 else np.nan
    return Errors(float(np.mean(np.abs(miss))), float(np.sqrt(np.mean(miss**2))), float(np.mean(miss)), rank)


def cells(runs: Runs) -> np.ndarray:
    """`[M]` which checkpoints compete: about the same samples seen (within 10 %), and the same size of model.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> len(np.unique(cells(runs))), len(np.unique(runs.samples_seen))
        (17, 17)
    """
    distinct, place = np.unique(runs.samples_seen, return_inverse=True)
    budget, first = np.zeros(len(distinct), int), distinct[0]
    for i, samples in enumerate(distinct[1:], 1):
        new = samples > first * SAME_BUDGET
        budget[i] = budget[i - 1] + new
        first = samples if new else first
    size = np.zeros(len(runs)) if runs.model_size is None else runs.model_size
    return np.unique(np.stack([budget[place], size]), axis=1, return_inverse=True)[1].ravel()


def decisions(predicted: np.ndarray, measured: np.ndarray, option: np.ndarray, cell: np.ndarray) -> Decisions:
    """What choosing by prediction would have been worth.

    Args:
        predicted: `[M]`.
        measured: `[M]`; several checkpoints of one option in a cell (seeds) are averaged.
        option: `[M]` which option a checkpoint is of.
        cell: `[M]` which checkpoints compete.

    Example:
        >>> two = np.array([0, 1])
        >>> decisions(np.array([0.3, 0.2]), np.array([0.25, 0.5]), two, np.zeros(2))
        Decisions(regret=0.25, pairs_right=0.0, cells=1, pairs=1)
    """
    regrets, right, pairs = [], 0.0, 0
    for each in np.unique(cell):
        rows = cell == each
        names, place = np.unique(option[rows], return_inverse=True)
        if len(names) < 2:
            continue
        count = np.bincount(place)
        guess, truth = (np.bincount(place, each[rows]) / count for each in (predicted, measured))
        regrets.append(truth[np.argmin(guess)] - truth.min())
        first, second = np.triu_indices(len(names), 1)
        actual, expected = np.sign(truth[first] - truth[second]), np.sign(guess[first] - guess[second])
        counted = actual != 0
        right += float(np.sum(np.where(expected == 0, 0.5, expected == actual)[counted]))
        pairs += int(counted.sum())
    if not regrets:
        return Decisions(np.nan, np.nan, 0, 0)
    return Decisions(float(np.mean(regrets)), right / pairs if pairs else np.nan, len(regrets), pairs)


def half_width(misses: np.ndarray, level: float) -> float:
    """Half the width of an interval around a prediction: a quantile of the absolute misses of inner held-out rows.

    The ceil((J + 1) level)-th smallest of J, which covers with that probability where the rows held out are
    exchangeable with them (split conformal prediction, Lei et al., arXiv 1604.04173); infinite where J is too small.

    Example:
        >>> half_width(np.arange(1.0, 20.0), 0.9)
        18.0
    """
    wanted = int(np.ceil((len(misses) + 1) * level))
    return float(np.sort(np.abs(misses))[wanted - 1]) if wanted <= len(misses) else np.inf
