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
    quadratic: Callable[[Array], Quadratic], starts: Array, low: Array, high: Array, max_iterations: Array
) -> LMState:
    """Minimise a sum of squares from many starts in a box: damped Gauss-Newton steps, projected on the box.

    Each step solves (A + mu diag A) p = -g on the coordinates that are not held at a bound, and moves to the
    projection of x + p; mu follows the gain ratio (Nielsen's rule). The loop ends when every lane is done.

    Args:
        quadratic: objective, gradient and Gauss-Newton Hessian at one point `[F]`.
        starts: `[L, F]`.
        low: `[F]` lower bounds.
        high: `[F]` upper bounds.
        max_iterations: most iterations; may be traced.

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
        promised = -(at.gradient @ moved + 0.5 * moved @ at.hessian @ moved)
        better = new.objective < at.objective
        gain = (at.objective - new.objective) / jnp.where(promised > 0, promised, 1.0)
        shrink = jnp.maximum(1.0 / 3.0, 1.0 - (2.0 * jnp.clip(gain, 0.0, 1.0) - 1.0) ** 3)
        next_damping = jnp.where(better, damping * shrink, damping * growth)
        next_growth = jnp.where(better, 2.0, growth * 2.0)
        # Cosine of the angle between the residuals and each free column.
        cosine = jnp.max(jnp.abs(gradient) / (root * jnp.sqrt(2.0 * at.objective + 1e-300)))
        still = jnp.max(jnp.abs(moved) / (1.0 + jnp.abs(x))) <= STEP_TOLERANCE
        finished = still | (cosine <= COSINE_TOLERANCE) | (next_damping > LARGEST_DAMPING)
        kept = jax.tree.map(lambda after, before: jnp.where(better & ~done, after, before), new, at)
        return LMState(
            jnp.where(better & ~done, trial, x),
            kept,
            jnp.where(done, damping, jnp.maximum(next_damping, 1e-15)),
            jnp.where(done, growth, next_growth),
            done | finished,
        )

    def first(x: Array) -> LMState:
        at = quadratic(x)
        at = at._replace(objective=jnp.where(jnp.isfinite(at.objective), at.objective, jnp.inf))
        one = jnp.ones_like(at.objective)
        return LMState(x, at, 1e-2 * one, 2.0 * one, ~jnp.isfinite(at.objective))

    def unfinished(carry: tuple[Array, LMState]) -> Array:
        count, state = carry
        return (count < max_iterations) & ~jnp.all(state.done)

    def body(carry: tuple[Array, LMState]) -> tuple[Array, LMState]:
        return carry[0] + 1, jax.vmap(advance)(carry[1])

    _, state = lax.while_loop(unfinished, body, (jnp.asarray(0), jax.vmap(first)(starts)))
    return state
