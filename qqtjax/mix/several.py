"""The best weights for several metrics, floors of their own and penalties: convex, by separable programmes in turn.

    minimise  max over q of  sum_m q_m y_m(w)  + penalties(w),   y_m = d_m . w + exp(-F_m(w))

with q as in `mix.objectives`: a weighted sum, a tail or the worst.

Each F_m is concave, so that y_m is convex, and its tangent in F_m lies below it:

    y_m(v) >= d_m . v + E_m (1 + F_m(w) - F_m(v)),   E_m = exp(-F_m(w))

The minimum of the right-hand side is a separable programme; it is the next step and, at any w, a lower bound.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qqtjax.mix.feasible import Feasible, relative_entropy
from qqtjax.mix.objectives import Judging
from qqtjax.mix.programme import Settled, solve, values
from qqtjax.mix.separable import Terms

ROUNDS = 40
TOLERANCE = 1e-12
HALVINGS = 30


class Minimised(NamedTuple):
    """What the search ended with.

    Attributes:
        weights: `[P]`.
        objective: the errors as one number, with the penalties.
        bound: no weights that satisfy the constraints have a lower objective.
        shares: `[M]` q_m, what each error weighs.
    """

    weights: np.ndarray
    objective: float
    bound: float
    shares: np.ndarray


def penalty(feasible: Feasible, weights: np.ndarray) -> float:
    """What the distances from the reference add to the error."""
    added = 0.0
    if feasible.kl_penalty is not None:
        added += feasible.kl_penalty[1] * relative_entropy(weights, feasible.kl_penalty[0])
    if feasible.l1_penalty is not None:
        added += feasible.l1_penalty[1] * float(np.abs(weights - feasible.l1_penalty[0]).sum())
    return added


def minimise(
    laws: Terms,
    floors: np.ndarray,
    judging: Judging,
    feasible: Feasible,
    start: np.ndarray | None = None,
) -> Minimised:
    """Weights of the least objective, with a lower bound; both in the unit of the error.

    Args:
        laws: M functions F_m, numpy arrays with a leading axis of M on every leaf.
        floors: `[M, P]` d_m.
        judging: how the errors become one number.
        feasible: constraints and penalties; known to be satisfiable.
        start: `[P]` weights whose tangents come first, or None for even ones.

    Raises:
        QQTError: as in `programme.solve`.
    """

    def excesses(weights: np.ndarray) -> np.ndarray:
        return np.exp(-values(laws, weights))

    def objective(weights: np.ndarray) -> float:
        errors = floors @ weights + excesses(weights)
        return judging.of(errors) + penalty(feasible, weights)

    def below(weights: np.ndarray) -> Settled:
        """The minimum of the tangents at any weights: a_m - (E_m F_m(v) - d_m . v)."""
        excess = excesses(weights)
        parts = laws._replace(
            utility=excess[:, None, None] * laws.utility, linear=excess[:, None] * laws.linear + floors
        )
        return solve(parts, excess * (1 - np.log(excess)), judging, feasible, weights)

    settled = below(np.full(floors.shape[1], 1 / floors.shape[1]) if start is None else start)
    weights, bound = settled.weights, settled.bound
    reached = objective(weights)
    for _ in range(ROUNDS):
        settled = below(weights)
        bound = max(bound, settled.bound)
        if reached - bound <= TOLERANCE:
            break
        best, least, part = weights, reached, 1.0
        for _ in range(HALVINGS):
            trial = weights + part * (settled.weights - weights)
            cost = objective(trial)
            if cost < reached:
                best, reached = trial, cost
            elif reached < least:
                break
            part /= 2
        if reached >= least:
            break
        weights = best
    return Minimised(weights, reached, min(bound, reached), settled.shares)
