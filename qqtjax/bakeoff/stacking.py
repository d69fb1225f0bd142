"""Weights over laws, from what each predicted for checkpoints that it was not fitted on."""

from __future__ import annotations

import numpy as np

from qqtjax.errors import InputError


def stack(predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """The mean of laws, weighted on the simplex, that is closest to what was measured.

        min_v sum_r (sum_l v_l f_lr - y_r)^2,   v >= 0,   sum_l v_l = 1

    Source: stacked regressions (Breiman, Machine Learning 24, 1996), with the sum fixed so that the result is a
    mean of laws.

    Args:
        predicted: `[L, M]` predictions of checkpoints that were held out inside the training split.
        measured: `[M]`.

    Returns:
        `[L]` weights.

    Raises:
        InputError: no checkpoint.

    Example:
        >>> y = np.array([1.0, 2.0, 3.0])
        >>> stack(np.array([y + 0.1, y - 0.1, y + 5]), y).round(6)
        array([0.5, 0.5, 0. ])
    """
    from scipy import optimize

    count, rows = np.shape(predicted)
    if rows == 0:
        raise InputError("stacking: no checkpoint that was held out inside the training split")
    miss = np.asarray(predicted, np.float64) - measured
    size = max(float(np.abs(miss).max()), np.finfo(float).tiny)
    # With the sum 1 the mean's miss is the mean of misses; a heavy row holds the sum, and dividing makes it exact.
    heavy = 1e4 * np.sqrt(rows)
    system = np.vstack([miss.T / size, np.full(count, heavy)])
    weights, _ = optimize.nnls(system, np.append(np.zeros(rows), heavy))
    return weights / weights.sum()
