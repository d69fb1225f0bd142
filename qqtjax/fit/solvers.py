"""How a fit is solved: one frozen record a solver, passed as `solver=`."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

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


@partial(jax.jit, static_argnums=0)
def _lm_lanes(
    objective: Objective, data: Data, starts: Array, low: Array, high: Array, most: Array
) -> tuple[Array, Array, Array]:
    state = levenberg_marquardt(lambda x: quadratic(objective, x, data), starts, low, high, most)
    return state.x, state.at.objective, state.done


@dataclasses.dataclass(frozen=True)
class LevenbergMarquardt:
    """Damped Gauss-Newton on the box, in lanes: a short look from every start, then the best few to the end.

    Attributes:
        lanes: starts solved together; the best `lanes` of the first look are polished.
        look: iterations of the first look.
        polish: most iterations of the second.
    """

    lanes: int = 16
    look: int = 40
    polish: int = 1000

    def solve(self, objective: Objective, data: Data, starts: Array, low: Array, high: Array) -> Solution:
        """Minimise from `[S, F]` starts."""
        count = -(-len(starts) // self.lanes) * self.lanes
        padded = np.resize(starts, (count, starts.shape[1]))
        blocks = padded.reshape(-1, self.lanes, starts.shape[1])
        seen = [_lm_lanes(objective, data, block, low, high, self.look) for block in blocks]
        x = np.concatenate([np.asarray(s[0]) for s in seen])
        value = np.concatenate([np.asarray(s[1]) for s in seen])
        best = np.argsort(value, kind="stable")[: self.lanes]
        ended = _lm_lanes(objective, data, x[best], low, high, self.polish)
        x, value, done = (np.asarray(each) for each in ended)
        order = np.argsort(value, kind="stable")
        ok = bool(done[order[0]] and np.isfinite(value[order[0]]))
        reason = "converged" if ok else f"no convergence within {self.look} + {self.polish} iterations"
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
    return first_order.adam(
        lambda x: loss(objective, x, data) / unit, starts, low, high, steps, learning_rate
    )


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

    steps: int = 4000
    learning_rate: float = 0.05

    def solve(self, objective: Objective, data: Data, starts: Array, low: Array, high: Array) -> Solution:
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

    def solve(self, objective: Objective, data: Data, starts: Array, low: Array, high: Array) -> Solution:
        """Minimise from `[S, F]` starts."""
        unit = _unit(data)
        ended = _lbfgs_lanes(objective, data, starts, low, high, jnp.asarray(unit), self.steps)
        return _ended(ended, unit, self.steps)


Solver = LevenbergMarquardt | Adam | LBFGS
