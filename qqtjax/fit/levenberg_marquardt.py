"""Second-order least squares in a box, many lanes at once: Levenberg-Marquardt with an active set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

STEP_TOLERANCE = 1e-13
COSINE_TOLERANCE = 1e-11
LARGEST_DAMPING = 1e20
# Up to this damping a step is nearly the Gauss-Newton step, and what it promises is nearly all that is left to gain.
LIGHT_DAMPING = 1e-2
# How far a coordinate may go in one step, mostly e-folds. Downwards less: a half-life that is thrown far below one
# epoch lands where no residual depends on it, and stays there.
FURTHEST_DOWN, FURTHEST_UP = 0.5, 1.0


class Quadratic(NamedTuple):
    """An objective with its gradient and Gauss-Newton Hessian, stored as `NormalEquations` knows it."""

    objective: Array
    gradient: Array
    hessian: Any


class NormalEquations(NamedTuple):
    """What a step needs of a Gauss-Newton Hessian, however it is stored.

    Attributes:
        diagonal: of the Hessian, `[F]`.
        solve: (hessian, root, held, damping, gradient) -> `[F]` solution of (A + mu I) p = g on the coordinates that
            are not held, A the Hessian scaled by `root` on both sides.
        bend: (hessian, moved) -> moved^T A moved.
    """

    diagonal: Callable[[Any], Array]
    solve: Callable[[Any, Array, Array, Array, Array], Array]
    bend: Callable[[Any, Array], Array]


def _solve(hessian: Array, root: Array, held: Array, damping: Array, gradient: Array) -> Array:
    both_free = ~held[:, None] & ~held[None, :]
    correlation = jnp.where(both_free, hessian / (root[:, None] * root[None, :]), 0.0)
    system = correlation + jnp.diag(jnp.where(held, 1.0, damping))
    return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(system), True), gradient)


def _bend(hessian: Array, moved: Array) -> Array:
    # A sum rather than dot products: many small batched products are slow on a CPU.
    return jnp.sum(hessian * moved[:, None] * moved[None, :])


DENSE = NormalEquations(jnp.diagonal, _solve, _bend)


class LMState(NamedTuple):
    """Carried from one iteration to the next; one lane, or many along an axis.

    Attributes:
        x: `[F]` where the lane is.
        at: the objective there.
        damping: mu of the next step.
        growth: by how much mu grows if that fails.
        cosine: of the angle between the residuals and the free column that they leaned on most, before the last step.
        done: is nothing left to gain.
    """

    x: Array
    at: Quadratic
    damping: Array
    growth: Array
    cosine: Array
    done: Array


class Proposal(NamedTuple):
    """Where a lane would go next.

    Attributes:
        trial: `[F]` the point.
        moved: `[F]` the way there.
        promised: by how much the quadratic model falls.
        cosine: of the angle between the residuals and the free column that they lean on most.
        solved: was the step finite.
    """

    trial: Array
    moved: Array
    promised: Array
    cosine: Array
    solved: Array


def begin(x: Array, hessian: Any) -> LMState:
    """A lane of which nothing is known yet; its first step stays at the start and evaluates it.

    So the objective is compiled once.

    Args:
        x: `[F]` its start, or `[F, L]` the starts of many lanes.
        hessian: any of the right form; its values do not matter.
    """
    one = jnp.ones_like(x[0])
    unknown = Quadratic(jnp.inf * one, jnp.zeros_like(x), hessian)
    return LMState(x, unknown, 1e-2 * one, 2.0 * one, one, jnp.zeros_like(one, bool))


def propose(equations: NormalEquations, state: LMState, low: Array, high: Array) -> Proposal:
    """The damped Gauss-Newton step of one lane, projected on the box.

    Every reduction is over the first axis, so that lanes may also stand as a last axis throughout, which is faster on
    a CPU than `vmap`, if the normal equations know them there.
    """
    x, at, damping = state.x, state.at, state.damping
    held = ((x <= low) & (at.gradient > 0)) | ((x >= high) & (at.gradient < 0))
    gradient = jnp.where(held, 0.0, at.gradient)
    diagonal = equations.diagonal(at.hessian)
    # Unit diagonal before factorising: the columns of a fit differ by many orders of magnitude.
    root = jnp.sqrt(jnp.maximum(diagonal, 1e-14 * jnp.max(diagonal, axis=0) + 1e-300))
    step = -equations.solve(at.hessian, root, held, damping, gradient / root) / root
    finite = jnp.isfinite(step)
    step = jnp.clip(jnp.where(finite, step, 0.0), -FURTHEST_DOWN, FURTHEST_UP)
    trial = jnp.clip(x + step, low, high)
    moved = trial - x
    promised = -(jnp.sum(at.gradient * moved, axis=0) + 0.5 * equations.bend(at.hessian, moved))
    cosine = jnp.max(jnp.abs(gradient) / (root * jnp.sqrt(2.0 * at.objective + 1e-300)), axis=0)
    return Proposal(trial, moved, promised, cosine, jnp.all(finite, axis=0))


def judge(state: LMState, proposal: Proposal, new: Quadratic, tolerance: float = 0.0) -> LMState:
    """One lane (or many, along a last axis) after the trial: there if it is better, damped as the gain calls for.

    Args:
        state: before the step.
        proposal: the step.
        new: the objective at the trial.
        tolerance: also done where a nearly undamped step promises less than this share of the objective.
    """
    x, at, damping, growth, before, done = state
    trial, moved, promised, cosine, solved = proposal
    better = new.objective < at.objective  # never true of NaN
    gain = jnp.where(promised > 0, (at.objective - new.objective) / jnp.where(promised > 0, promised, 1.0), 0.0)
    shrink = jnp.maximum(1.0 / 3.0, 1.0 - (2.0 * jnp.clip(gain, 0.0, 1.0) - 1.0) ** 3)
    next_damping = jnp.where(better, damping * shrink, damping * growth)
    next_growth = jnp.where(better, 2.0, growth * 2.0)
    still = (jnp.max(jnp.abs(moved) / (1.0 + jnp.abs(x)), axis=0) <= STEP_TOLERANCE) & solved
    nothing_left = solved & (damping <= LIGHT_DAMPING) & (jnp.abs(promised) < tolerance * at.objective)
    finished = still | nothing_left | (cosine <= COSINE_TOLERANCE) | (next_damping > LARGEST_DAMPING)
    known = jnp.isfinite(at.objective)
    finished = jnp.where(known, finished, ~jnp.isfinite(new.objective))
    kept = jax.tree.map(lambda after, old: jnp.where(better & ~done, after, old), new, at)
    return LMState(
        jnp.where(better & ~done, trial, x),
        kept,
        jnp.where(done | ~known, damping, jnp.maximum(next_damping, 1e-15)),
        jnp.where(done | ~known, growth, next_growth),
        jnp.where(done, before, cosine),
        done | finished,
    )


def levenberg_marquardt(
    quadratic: Callable[[Array], Quadratic],
    starts: Array,
    low: Array,
    high: Array,
    look: int,
    finalists: int,
    max_iterations: int,
) -> LMState:
    """Minimise a sum of squares from many starts in a box: damped Gauss-Newton steps, projected on the box.

    Each step solves (A + mu diag A) p = -g on the coordinates that are not held at a bound, and moves to the
    projection of x + p; mu follows the gain ratio (Nielsen's rule). No lane waits for the slowest: after a look at
    all of them the loop ends as soon as the best few are done.

    Args:
        quadratic: objective, gradient and Gauss-Newton Hessian at one point `[F]`.
        starts: `[L, F]`.
        low: `[F]` lower bounds.
        high: `[F]` upper bounds.
        look: iterations that every lane gets unless all are done before.
        finalists: how many of the best lanes must be done after that.
        max_iterations: most iterations.

    Returns:
        The last state of every lane. A lane whose start is not finite keeps an infinite objective.
    """

    def advance(state: LMState) -> LMState:
        proposal = propose(DENSE, state, low, high)
        return judge(state, proposal, quadratic(proposal.trial))

    def unfinished(carry: tuple[Array, LMState]) -> Array:
        count, state = carry
        _, best = lax.top_k(-state.at.objective, min(finalists, len(starts)))
        waiting = jnp.where(count < look, ~jnp.all(state.done), ~jnp.all(state.done[best]))
        return (count < max_iterations) & waiting

    identity = jnp.eye(starts.shape[1], dtype=starts.dtype)

    def body(carry: tuple[Array, LMState]) -> tuple[Array, LMState]:
        return carry[0] + 1, jax.vmap(advance)(carry[1])

    _, state = lax.while_loop(unfinished, body, (jnp.asarray(0), jax.vmap(begin, in_axes=(0, None))(starts, identity)))
    return state
