"""Projected supergradients over the weights of every segment, with a bound on what is left to gain."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from optax import projections

from qqtjax.laws.utility import UtilityParams
from qqtjax.mix.schedule import Schedule, epochs_needed, log_excess, number

STEPS, FEWEST_STEPS = 2000, 200
# Segments times pools times epochs a segment: up to the first all steps, beyond it fewer, beyond the second none.
WHOLE_SEARCH, LARGEST_SEARCH = 1 << 14, 1 << 21
RECENT = 0.01  # what a new gradient weighs in the running mean that bounds the optimum


def search(
    params: UtilityParams, starts: np.ndarray, schedule: Schedule, steps_from_to: np.ndarray
) -> tuple[np.ndarray, float, int]:
    """The least log((y - d) / A0) over the weights of the segments, from S starts.

        w <- project(w - eta g / |g|),   eta from the first to the last step size times sqrt(T), geometric

    The objective f is convex, so every gradient bounds it: f(v) >= f(w) + g (v - w) for all v. So does any mean of
    such bounds; the least value of a running mean over all weights, `sum_t min_i mean(g)_ti + mean(f - g w)`, is a
    lower bound of the optimum, and the greatest met is returned. A mean closes where a single gradient never does,
    since the optimum sits on kinks.

    Args:
        params: float64, dilution 0.
        starts: `[S, T, P]`.
        schedule: its ends, sizes and warm-up are used, its weights are not.
        steps_from_to: `[S, 2]` first and last step size of each start.

    Returns:
        `[S, T, P]` the best weights met from each start, the lower bound, and the number of steps taken: 0, and no
        bound, where segments times pools times epochs exceed two million.
    """
    whole = Schedule(
        weights=np.ones(starts.shape[1:]), ends=schedule.ends, sizes=schedule.sizes, warmup=schedule.warmup
    )
    max_epochs = epochs_needed(whole, number(params.scale))
    work = starts[0].size * max_epochs
    if work > LARGEST_SEARCH:
        return starts, -np.inf, 0
    steps = max(FEWEST_STEPS, min(STEPS, STEPS * WHOLE_SEARCH // work))
    with jax.enable_x64(True):
        inputs = (params, starts, steps_from_to * np.sqrt(starts.shape[1]), whole)
        inputs = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), inputs)
        weights, bounds = _descend(*inputs, steps, max_epochs)
        return np.asarray(weights), float(np.max(bounds)), steps


@partial(jax.jit, static_argnums=5)
def _descend(
    params: UtilityParams, starts: Array, step_sizes: Array, schedule: Schedule, steps: int, max_epochs: int
) -> tuple[Array, Array]:
    """`[S, T, P]` best weights and `[S]` lower bounds."""
    ends, sizes, warmup = schedule.ends, schedule.sizes, schedule.warmup
    onto_simplex = jax.vmap(projections.projection_simplex)

    def value(weights: Array) -> Array:
        return log_excess(params, Schedule(weights=weights, ends=ends, sizes=sizes, warmup=warmup), max_epochs)

    def best_from(start: Array, sizes_of_step: Array) -> tuple[Array, Array]:
        first, last = sizes_of_step

        def step(t: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            weights, best, least, slopes, constant, total, bound = state
            found, slope = jax.value_and_grad(value)(weights)
            best, least = jnp.where(found < least, weights, best), jnp.minimum(found, least)
            along = slope - jnp.mean(slope, axis=1, keepdims=True)
            length = jnp.linalg.norm(along)
            unit = 1.0 / jnp.where(length > 0, length, 1.0)
            # Each gradient counts as far as it moved the weights, so that around a kink the mean comes to rest.
            kept, added = 1.0 - RECENT, RECENT * unit
            slopes = kept * slopes + added * slope
            constant = kept * constant + added * (found - jnp.sum(slope * weights))
            total = kept * total + added
            bound = jnp.maximum(bound, (constant + jnp.sum(jnp.min(slopes, axis=1))) / total)
            size = first * (last / first) ** (t / steps)
            return onto_simplex(weights - size * unit * along), best, least, slopes, constant, total, bound

        nothing = jnp.zeros((), start.dtype)
        state = (start, start, nothing + jnp.inf, jnp.zeros_like(start), nothing, nothing, nothing - jnp.inf)
        _, best, _, _, _, _, bound = lax.fori_loop(0, steps, step, state)
        return best, bound

    return jax.vmap(best_from)(starts, step_sizes)
