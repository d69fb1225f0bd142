"""The budgets at which pools enter the best mix."""

from __future__ import annotations

import jax
import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw
from qqtjax.mix.collisions import largest_budget
from qqtjax.mix.constraints import Constraints
from qqtjax.mix.optimum import best_weights
from qqtjax.mix.prices import certain

SCAN, BATCH, HALVINGS = 512, 16, 60
ABOVE_SCALE = 1e-9  # in log n, where the search begins

_best_weights = jax.jit(jax.vmap(lambda *problem: best_weights(*problem)[0], in_axes=(None, None, 0, 0, 0)))


def entry_budgets(fitted: FittedLaw, horizon: float, constraints: Constraints | None = None) -> np.ndarray:
    """The smallest budget at which each pool enters the best mix: below it, buying or measuring the pool is in vain.

        pool j enters where   f_j'(0) = |b_j| log(n / n0)   passes   mu of the best mix without it

    Neither the pool's size nor its half-life matters, so that without bounds, and where no pool is smaller than the
    scale, pools enter in the order of |b|. The best weights are found at 512 budgets, evenly spaced in log n, and
    each entry is bisected to the last digits of log n; it may lie exactly on a kink, where mu jumps. A pool with a
    share right above the scale gets the scale.

    A pool can leave again, and come back. In thousands of random problems that happened only below a few times the
    scale, where pools have been through whole epochs before fresh data has earned anything, or under caps. The
    first entry is the one given; a pool that was in for less than one of the 512 steps may be missed.

    Args:
        fitted: as in `shadow_prices`.
        horizon: the largest budget, samples seen.
        constraints: as in `shadow_prices`; where they cannot be met up to the horizon it is as far as they can.

    Returns:
        `[P]` samples seen; `inf` for pools that have not entered by the horizon.

    Raises:
        InputError: as in `shadow_prices`, or a horizon that is not above the law's scale.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> [qqt.text.show_count(budget, 5) for budget in entry_budgets(paper, 2e9)]
        ['4M', '38.4M', '339.35M', '1.0405B']
    """
    params, bound = certain(fitted, horizon, constraints, "horizon")
    constraints = constraints or Constraints()
    scale = float(np.min(params.scale))
    if not scale * (1 + ABOVE_SCALE) < horizon:
        raise InputError(f"horizon {horizon:g}: expected more samples than the law's scale, {scale:g}")
    reach = largest_budget(bound)
    grid = np.linspace(np.log(scale) + ABOVE_SCALE, np.log(max(reach, scale * (1 + 2 * ABOVE_SCALE))), SCAN)

    def enters(logs: np.ndarray) -> np.ndarray:
        """`[len(logs), P]` bool: does each pool have a share."""
        budgets = np.exp(np.append(logs, np.full(-len(logs) % BATCH, logs[-1])))
        bounds = [constraints.bind(fitted.pools, float(budget)) for budget in budgets]
        low, high = (np.array([getattr(each, side) for each in bounds]) for side in ("low", "high"))
        with jax.enable_x64(True):
            found = [
                np.asarray(_best_weights(params, fitted.pools.sizes, budgets[rows], low[rows], high[rows]))
                for rows in np.split(np.arange(len(budgets)), len(budgets) // BATCH)
            ]
        return np.concatenate(found)[: len(logs)] > 0

    inside_mix = enters(grid)
    first = np.argmax(inside_mix, axis=0)
    ever = np.any(inside_mix, axis=0)
    below, above = grid[np.maximum(first - 1, 0)], grid[first]
    for _ in range(HALVINGS):
        middle = 0.5 * (below + above)
        there = np.diagonal(enters(middle))
        below, above = np.where(there, below, middle), np.where(there, middle, above)
    return np.where(ever, np.where(first == 0, scale, np.exp(above)), np.inf)
