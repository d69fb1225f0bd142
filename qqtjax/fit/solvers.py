"""How a fit is solved: one frozen record a solver, passed as `solver=`."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from qqtjax.fit import first_order
from qqtjax.fit.levenberg_marquardt import levenberg_marquardt
from qqtjax.fit.objective import Data, Objective, loss, quadratic

GRADIENT_TOLERANCE = 1e-6


class Solution(NamedTuple):
    """What a solver found.

    Attributes:
        x: `[L, F]` end points, best first.
        objective: `[L]` their objectives; infinite where a start failed.
        converged: did the best one meet the solver's tolerance.
        reason: the same in words.
    """

    x: np.ndarray
    objective: np.ndarray
    converged: bool
    reason: str


@partial(jax.jit, static_argnums=(0, 1))
def _lm_lanes(
    objective: Objective, solver: LevenbergMarquardt, data: Data, starts: Array, low: Array, high: Array
) -> tuple[Array, Array, Array]:
    state = levenberg_marquardt(
        lambda x: quadratic(objective, x, data),
        starts,
        low,
        high,
        solver.look,
        solver.finalists,
        solver.max_iterations,
    )
    return state.x, state.at.objective, state.done


@dataclasses.dataclass(frozen=True)
class LevenbergMarquardt:
    """Damped Gauss-Newton on the box from all starts together: a look at each, then the best few to the end.

    Attributes:
        look: iterations that every start gets.
        finalists: how many of the best are followed until they converge.
        max_iterations: most iterations.
    """

    look: int = 30
    finalists: int = 2
    max_iterations: int = 1000

    def solve(self, objective: Objective, data: Data, starts: ArrayLike, low: ArrayLike, high: ArrayLike) -> Solution:
        """Minimise from `[S, F]` starts."""
        x, value, done = (np.asarray(each) for each in _lm_lanes(objective, self, data, starts, low, high))
        value = np.where(np.isfinite(value), value, np.inf)
        order = np.argsort(value, kind="stable")
        ok = bool(done[order[0]] and np.isfinite(value[order[0]]))
        reason = "converged" if ok else f"no convergence within {self.max_iterations} iterations"
        if not np.isfinite(value[order[0]]):
            reason = "the objective is not finite at any start"
        return Solution(x[order], value[order], ok, reason)


@partial(jax.jit, static_argnums=(0, 6, 7))
def _adam_lanes(
    objective: Objective,
    data: Data,
    starts: Array,
    low: Array,
    high: Array,
    unit: Array,
    steps: int,
    learning_rate: float,
) -> first_order.Ended:
    return first_order.adam(lambda x: loss(objective, x, data) / unit, starts, low, high, steps, learning_rate)


@partial(jax.jit, static_argnums=(0, 6))
def _lbfgs_lanes(
    objective: Objective, data: Data, starts: Array, low: Array, high: Array, unit: Array, steps: int
) -> first_order.Ended:
    return first_order.lbfgs(lambda x: loss(objective, x, data) / unit, starts, low, high, steps)


def _ended(ended: first_order.Ended, unit: float, steps: int) -> Solution:
    value = np.where(np.isfinite(ended.objective), ended.objective, np.inf)
    order = np.argsort(value, kind="stable")
    norm = float(np.asarray(ended.gradient_norm)[order[0]])
    ok = norm <= GRADIENT_TOLERANCE
    reason = "converged" if ok else f"gradient norm {norm:.1e} after at most {steps} steps"
    return Solution(np.asarray(ended.x)[order], value[order] * unit, ok, reason)


def _unit(data: Data) -> float:
    """The objective of predicting the mean: what makes a gradient solver's loss of order 1."""
    return float(0.5 * np.sum(data.importance * (data.error - np.mean(data.error)) ** 2)) or 1.0


@dataclasses.dataclass(frozen=True)
class Adam:
    """Optax's Adam with a cosine schedule, for any objective.

    Attributes:
        steps: number of steps.
        learning_rate: first step size.
    """

    steps: int = 8000
    learning_rate: float = 0.1

    def solve(self, objective: Objective, data: Data, starts: ArrayLike, low: ArrayLike, high: ArrayLike) -> Solution:
        """Minimise from `[S, F]` starts."""
        unit = _unit(data)
        ended = _adam_lanes(objective, data, starts, low, high, unit, self.steps, self.learning_rate)
        return _ended(ended, unit, self.steps)


@dataclasses.dataclass(frozen=True)
class LBFGS:
    """Optax's L-BFGS with a zoom line search, for any objective.

    Attributes:
        steps: most iterations.
    """

    steps: int = 500

    def solve(self, objective: Objective, data: Data, starts: ArrayLike, low: ArrayLike, high: ArrayLike) -> Solution:
        """Minimise from `[S, F]` starts."""
        unit = _unit(data)
        ended = _lbfgs_lanes(objective, data, starts, low, high, jnp.asarray(unit), self.steps)
        return _ended(ended, unit, self.steps)


Solver = LevenbergMarquardt | Adam | LBFGS
