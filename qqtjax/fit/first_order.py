"""Gradient solvers for any objective: optax's Adam and L-BFGS, the box kept by a sigmoid."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

INSIDE = 1e-9


class Ended(NamedTuple):
    """Where a gradient solver ended: point, objective and the norm of the last gradient; leading axis: lanes."""

    x: Array
    objective: Array
    gradient_norm: Array


def _boxed(
    loss: Callable[[Array], Array], low: Array, high: Array
) -> tuple[Callable[[Array], Array], Callable[[Array], Array], Callable[[Array], Array]]:
    """The loss over all of R^F, and the maps to the box and from it."""

    def to_box(u: Array) -> Array:
        return low + (high - low) * jax.nn.sigmoid(u)

    def from_box(x: Array) -> Array:
        share = jnp.clip((x - low) / (high - low), INSIDE, 1 - INSIDE)
        return jnp.log(share) - jnp.log1p(-share)

    return lambda u: loss(to_box(u)), to_box, from_box


def adam(
    loss: Callable[[Array], Array], starts: Array, low: Array, high: Array, steps: int, learning_rate: float
) -> Ended:
    """Adam with a cosine schedule from every start; the best point that was visited is returned.

    Args:
        loss: from one point `[F]` to one number, of order 1 at the starts.
        starts: `[L, F]`.
        low: `[F]`.
        high: `[F]`.
        steps: number of steps.
        learning_rate: first step size, in the sigmoid's coordinate.
    """
    free, to_box, from_box = _boxed(loss, low, high)
    optimiser = optax.adam(optax.cosine_decay_schedule(learning_rate, steps, alpha=1e-4))

    def run(start: Array) -> Ended:
        u = from_box(start)

        def step(carry: tuple, _: None) -> tuple[tuple, None]:
            u, state, best = carry
            value, gradient = jax.value_and_grad(free)(u)
            better = value < best.objective
            best = Ended(
                jnp.where(better, u, best.x),
                jnp.where(better, value, best.objective),
                jnp.where(better, jnp.linalg.norm(gradient), best.gradient_norm),
            )
            updates, state = optimiser.update(jnp.nan_to_num(gradient), state)
            return (optax.apply_updates(u, updates), state, best), None

        none = Ended(u, jnp.inf * jnp.ones(()), jnp.inf * jnp.ones(()))
        (_, _, best), _ = lax.scan(step, (u, optimiser.init(u), none), length=steps)
        return best._replace(x=to_box(best.x))

    return jax.vmap(run)(starts)


def lbfgs(loss: Callable[[Array], Array], starts: Array, low: Array, high: Array, steps: int) -> Ended:
    """L-BFGS with optax's zoom line search from every start, until the gradient vanishes or steps run out.

    Args:
        loss: from one point `[F]` to one number, of order 1 at the starts.
        starts: `[L, F]`.
        low: `[F]`.
        high: `[F]`.
        steps: most iterations.
    """
    free, to_box, from_box = _boxed(loss, low, high)
    optimiser = optax.lbfgs(memory_size=20)
    value_and_grad = optax.value_and_grad_from_state(free)

    def run(start: Array) -> Ended:
        u = from_box(start)

        def unfinished(carry: tuple) -> Array:
            _, _, norm, count = carry
            return (norm > 1e-12) & (count < steps)

        def step(carry: tuple) -> tuple:
            u, state, _, count = carry
            value, gradient = value_and_grad(u, state=state)
            updates, state = optimiser.update(gradient, state, u, value=value, grad=gradient, value_fn=free)
            return optax.apply_updates(u, updates), state, jnp.linalg.norm(gradient), count + 1

        first = (u, optimiser.init(u), jnp.inf * jnp.ones(()), jnp.asarray(0))
        u, _, norm, _ = lax.while_loop(unfinished, step, first)
        return Ended(to_box(u), free(u), norm)

    return jax.vmap(run)(starts)
