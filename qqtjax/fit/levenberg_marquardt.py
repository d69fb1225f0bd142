"""Second-order least squares in a box, many lanes at once: Levenberg-Marquardt with an active set."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

STEP_TOLERANCE = 1e-13
COSINE_TOLERANCE = 1e-11
LARGEST_DAMPING = 1e20


class Quadratic(NamedTuple):
    """An objective with its gradient and Gauss-Newton Hessian."""

    objective: Array
    gradient: Array
    hessian: Array


class LMState(NamedTuple):
    """Carried from one iteration to the next; leading axis: lanes."""

    x: Array
    at: Quadratic
    damping: Array
    growth: Array
    done: Array


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

    def scaled(at: Quadratic) -> Array:
        diagonal = jnp.diagonal(at.hessian)
        return jnp.maximum(diagonal, 1e-14 * jnp.max(diagonal) + 1e-300)

    def advance(state: LMState) -> LMState:
        x, at, damping, growth, done = state
        held = ((x <= low) & (at.gradient > 0)) | ((x >= high) & (at.gradient < 0))
        gradient = jnp.where(held, 0.0, at.gradient)
        root = jnp.sqrt(scaled(at))
        both_free = ~held[:, None] & ~held[None, :]
        # Unit diagonal before factorising: the columns of a fit differ by many orders of magnitude.
        correlation = jnp.where(both_free, at.hessian / (root[:, None] * root[None, :]), 0.0)
        system = correlation + jnp.diag(jnp.where(held, 1.0, damping))
        step = -jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(system), True), gradient / root) / root
        trial = jnp.clip(x + jnp.where(jnp.isfinite(step), step, 0.0), low, high)
        moved = trial - x
        new = quadratic(trial)
        # Sums rather than dot products: many small batched products are slow on a CPU.
        bend = jnp.sum(at.hessian * moved[:, None] * moved[None, :])
        promised = -(jnp.sum(at.gradient * moved) + 0.5 * bend)
        better = new.objective < at.objective  # never true of NaN
        gain = jnp.where(promised > 0, (at.objective - new.objective) / jnp.where(promised > 0, promised, 1.0), 0.0)
        shrink = jnp.maximum(1.0 / 3.0, 1.0 - (2.0 * jnp.clip(gain, 0.0, 1.0) - 1.0) ** 3)
        next_damping = jnp.where(better, damping * shrink, damping * growth)
        next_growth = jnp.where(better, 2.0, growth * 2.0)
        # Cosine of the angle between the residuals and each free column.
        cosine = jnp.max(jnp.abs(gradient) / (root * jnp.sqrt(2.0 * at.objective + 1e-300)))
        still = (jnp.max(jnp.abs(moved) / (1.0 + jnp.abs(x))) <= STEP_TOLERANCE) & jnp.all(jnp.isfinite(step))
        finished = still | (cosine <= COSINE_TOLERANCE) | (next_damping > LARGEST_DAMPING)
        known = jnp.isfinite(at.objective)
        finished = jnp.where(known, finished, ~jnp.isfinite(new.objective))
        kept = jax.tree.map(lambda after, before: jnp.where(better & ~done, after, before), new, at)
        return LMState(
            jnp.where(better & ~done, trial, x),
            kept,
            jnp.where(done | ~known, damping, jnp.maximum(next_damping, 1e-15)),
            jnp.where(done | ~known, growth, next_growth),
            done | finished,
        )

    def before(x: Array) -> LMState:
        # Nothing is known yet: the first step stays at the start and evaluates it, so that the objective is
        # compiled once.
        count, one = x.size, jnp.ones((), x.dtype)
        unknown = Quadratic(jnp.inf * one, jnp.zeros_like(x), jnp.eye(count, dtype=x.dtype))
        return LMState(x, unknown, 1e-2 * one, 2.0 * one, jnp.zeros((), bool))

    def unfinished(carry: tuple[Array, LMState]) -> Array:
        count, state = carry
        _, best = lax.top_k(-state.at.objective, min(finalists, len(starts)))
        waiting = jnp.where(count < look, ~jnp.all(state.done), ~jnp.all(state.done[best]))
        return (count < max_iterations) & waiting

    def body(carry: tuple[Array, LMState]) -> tuple[Array, LMState]:
        return carry[0] + 1, jax.vmap(advance)(carry[1])

    _, state = lax.while_loop(unfinished, body, (jnp.asarray(0), jax.vmap(before)(starts)))
    return state
