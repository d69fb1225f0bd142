"""The best mix at each budget of a plan, plain enough to be read: a filter where none is better, no traces of pools."""

from __future__ import annotations

import dataclasses

import numpy as np

from qqtjax.laws.fitted import FittedLaw
from qqtjax.mix import Constraints, Mixes
from qqtjax.mix.many import solve_many
from qqtjax.mix.predict import errors_of

# A weight below this is dropped, and a filter is kept, when the error does not tell them apart.
NEGLIGIBLE_WEIGHT, NEGLIGIBLE_ERROR = 1e-4, 1e-9


def best_mixes(fitted: FittedLaw, budgets: np.ndarray, options: np.ndarray, seed: int) -> Mixes:
    """Weights that minimise the predicted error at each budget, never worse than any of the plan's own options.

    Args:
        fitted: the law.
        budgets: `[B]` samples seen.
        options: `[S, P]` weights of filters and mixes, which local searches also start from.
        seed: of random starts.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> best_mixes(paper, np.array([20e6, 64e6]), np.eye(4), 0).weights.round(3).tolist()
        [[1.0, 0.0, 0.0, 0.0], [0.8, 0.2, 0.0, 0.0]]
    """
    found = solve_many(fitted, np.ones(1), None, fitted.pools.sizes, budgets, Constraints(), None, options, seed)
    kept = np.where(found.weights < NEGLIGIBLE_WEIGHT, 0.0, found.weights)
    given = np.broadcast_to(options, (len(budgets), *options.shape))
    choices = np.concatenate([given, kept[:, None], found.weights[:, None]], axis=1)
    choices = choices / choices.sum(-1, keepdims=True)
    count, many, width = choices.shape
    errors = errors_of(fitted, choices.reshape(-1, width), np.repeat(budgets, many)).reshape(count, many)
    # The first within a hair of the best: options before the thinned mix before the mix.
    chosen = np.argmax(errors <= errors.min(1, keepdims=True) + NEGLIGIBLE_ERROR, axis=1)
    rows = np.arange(count)
    return dataclasses.replace(found, weights=choices[rows, chosen], error=errors[rows, chosen])
