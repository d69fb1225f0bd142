"""Baselines without a formula: regressions on features of the runs, from scikit-learn."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from qqtjax.bakeoff.contestants import Baseline, Predict
from qqtjax.errors import InputError, MissingExtraError
from qqtjax.runs import Runs

# Added to each share before its logarithm.
LEAST_SHARE = 0.01
# The time of a Gaussian process grows with the cube of its rows.
MOST_ROWS = 400


def _sklearn(module: str) -> Any:
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError:
        raise MissingExtraError("baselines need scikit-learn: pip install 'qqtjax[baselines]'") from None


def features(runs: Runs) -> np.ndarray:
    """`[M, P + 3]`: the weights, log samples seen, log (1 + mean epochs), log model size (0 without one).

    The mean over pools of the epochs is by their weights; pools of infinite size are at 0 epochs.

    Example:
        >>> import qqtjax as qqt
        >>> features(qqt.wordclip("C")).shape
        (765, 8)
    """
    epochs = np.log1p(np.sum(runs.weights * runs.epochs, axis=1))
    size = np.zeros(len(runs)) if runs.model_size is None else np.log(runs.model_size)
    return np.column_stack([runs.weights, np.log(runs.samples_seen), epochs, size])


def log_features(runs: Runs) -> np.ndarray:
    """`features` with log(w + .01) for w."""
    found = features(runs)
    found[:, : len(runs.pools)] = np.log(found[:, : len(runs.pools)] + LEAST_SHARE)
    return found


def _fitted(runs: Runs, model: Any, of: Callable[[Runs], np.ndarray]) -> Predict:
    with warnings.catch_warnings():
        # A kernel's length at its bound means a feature that does not matter.
        warnings.filterwarnings("ignore", category=_sklearn("exceptions").ConvergenceWarning)
        model.fit(of(runs), runs.error)
    return lambda others: model.predict(of(others))


def _linear(runs: Runs) -> Predict:
    return _fitted(runs, _sklearn("linear_model").LinearRegression(), features)


def _ridge(runs: Runs) -> Predict:
    scaled = _sklearn("preprocessing").StandardScaler()
    ridge = _sklearn("linear_model").RidgeCV(alphas=np.logspace(-4, 3, 15))
    return _fitted(runs, _sklearn("pipeline").make_pipeline(scaled, ridge), log_features)


def _trees(runs: Runs) -> Predict:
    trees = _sklearn("ensemble").GradientBoostingRegressor(n_estimators=200, learning_rate=0.1, random_state=0)
    return _fitted(runs, trees, features)


def _gaussian_process(runs: Runs) -> Predict:
    if len(runs) > MOST_ROWS:
        raise InputError(f"{len(runs)} checkpoints to fit, at most {MOST_ROWS} for a Gaussian process")
    kernels = _sklearn("gaussian_process.kernels")
    kernel = kernels.ConstantKernel() * kernels.RBF() + kernels.WhiteKernel(1e-2, (1e-8, 1e1))
    process = _sklearn("gaussian_process").GaussianProcessRegressor(kernel, normalize_y=True)
    scaled = _sklearn("preprocessing").StandardScaler()
    return _fitted(runs, _sklearn("pipeline").make_pipeline(scaled, process), features)


linear = Baseline("linear", _linear)
ridge = Baseline("ridge, log weights", _ridge)
trees = Baseline("boosted trees", _trees)
gaussian_process = Baseline("Gaussian process", _gaussian_process)

BASELINES = (linear, ridge, trees, gaussian_process)
