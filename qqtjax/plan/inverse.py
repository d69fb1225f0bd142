"""From a wanted error to the cheapest budget that reaches it."""

from __future__ import annotations

import numpy as np

from qqtjax.laws.fitted import FittedLaw
from qqtjax.mix.predict import errors_of
from qqtjax.plan.best import best_mixes
from qqtjax.plan.crossovers import every_epoch_until, solve_brackets

# Below `low` (the scale) the law is still a formula: this far down a wanted error is looked for.
BELOW = 1e-6
ROUNDS, SETTLED = 12, 1e-7


def cheapest_budgets(fitted: FittedLaw, weights: np.ndarray, target: float, low: float, high: float) -> np.ndarray:
    """Least samples seen at which each mix reaches an error: y(w_m, n) = target. The error falls with n.

    Args:
        fitted: the law.
        weights: `[M, P]`.
        target: the wanted error.
        low: samples seen from which on the law is meant to hold; the search starts at a millionth of it.
        high: samples seen, where the search ends.

    Returns:
        `[M]`; `inf` where the error at `high` is still above the target.
    """
    weights = np.atleast_2d(weights)
    few = every_epoch_until(fitted, weights, high)
    if fitted.law.scans(fitted.params) and few < high:
        # What few epochs reach need not be searched over many.
        budgets = cheapest_budgets(fitted, weights, target, low, few)
        if np.isinf(budgets).any():
            budgets[np.isinf(budgets)] = _between(fitted, weights[np.isinf(budgets)], target, few, high)
        return budgets
    return _between(fitted, weights, target, low * BELOW, high)


def _between(fitted: FittedLaw, weights: np.ndarray, target: float, low: float, high: float) -> np.ndarray:
    budgets = np.full(len(weights), np.inf)
    reached = errors_of(fitted, weights, np.full(len(weights), high)) <= target
    if not reached.any():
        return budgets
    chosen = weights[reached]

    def above(position: np.ndarray) -> np.ndarray:
        return np.log(errors_of(fitted, chosen, np.exp(position)) / target)

    left, right = np.full(len(chosen), np.log(low)), np.full(len(chosen), np.log(high))
    # An error that even the least budget undercuts costs that budget.
    found = np.where(above(left) <= 0, left, solve_brackets(above, left, right))
    budgets[reached] = np.exp(found)
    return budgets


def cheapest_mix(
    fitted: FittedLaw, target: float, starts: np.ndarray, within: float, low: float, seed: int
) -> tuple[float, np.ndarray]:
    """The cheapest budget at which the best mix reaches an error, and that mix.

        n <- the least n at which w*(n), the best mix at the last n, reaches the target

    falls monotonically and settles in a few rounds, because at the optimum the error does not change with w
    to first order.

    Args:
        fitted: the law.
        target: the wanted error.
        starts: `[S, P]` weights to start from.
        within: samples seen, a budget at which some start reaches the target, or the horizon.
        low: see `cheapest_budgets`.
        seed: of the random starts.

    Returns:
        Samples seen (`inf` where even the best mix at `within` is above the target) and `[P]` weights.
    """
    budget, best = np.inf, np.asarray(starts[0])
    for _ in range(ROUNDS):
        mix = best_mixes(fitted, np.array([within]), np.concatenate([starts, [best]]), seed)
        if mix.error[0] > target * (1 + 1e-12):
            break
        cheaper = float(cheapest_budgets(fitted, mix.weights, target, low, within * (1 + 1e-9))[0])
        settled = cheaper >= budget * (1 - SETTLED)
        if cheaper < budget:
            budget, best = cheaper, mix.weights[0]
        if settled or not np.isfinite(cheaper):
            break
        within = cheaper
    return budget, best
