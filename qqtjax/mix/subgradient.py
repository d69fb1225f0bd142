"""Projected subgradients from many starts, for mixes that only have bounds: rough, but not stopped by kinks."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from qqtjax.mix.combined import LEAST_WEIGHT, Combined, law_errors
from qqtjax.mix.objectives import Judging, weighted

FIRST_STEP, LAST_STEP = 0.3, 1e-7
STARTS_AT_ONCE = 8


def project(weights: Array, low: Array, high: Array) -> Array:
    """The nearest point to `weights` with low <= w <= high and sum w = 1.

        w_i = clip(v_i - nu, l_i, u_i),   where sum_i w_i falls piecewise linearly from sum u to sum l as nu grows

    The sum's breakpoints v_i - u_i and v_i - l_i are sorted, so that nu is exact to rounding.

    Args:
        weights: `[P]` v.
        low: `[P]` l, with sum l <= 1.
        high: `[P]` u, with sum u >= 1.

    Source: ours; with l = 0 and u = 1 it is `optax.projections.projection_simplex`.

    Example:
        >>> nearest = project(jnp.array([0.9, 0.5, 0.2]), jnp.zeros(3), jnp.array([0.5, 1.0, 1.0]))
        >>> [round(float(share), 4) for share in nearest]
        [0.5, 0.4, 0.1]
    """
    places = jnp.concatenate([weights - high, weights - low])
    turns = jnp.concatenate([-jnp.ones_like(high), jnp.ones_like(low)])
    order = jnp.argsort(places)
    places, slopes = places[order], jnp.cumsum(turns[order])
    sums = jnp.sum(high) + jnp.concatenate([jnp.zeros(1, low.dtype), jnp.cumsum(slopes[:-1] * jnp.diff(places))])
    last = jnp.maximum(jnp.sum(sums >= 1.0) - 1, 0)
    falling = slopes[last] < 0
    price = places[last] + jnp.where(falling, (1.0 - sums[last]) / jnp.where(falling, slopes[last], 1.0), 0.0)
    found = jnp.clip(weights - price, low, high)
    # What rounding left over goes to the weights between their bounds.
    free = (found > low) & (found < high)
    left_over = (1.0 - jnp.sum(found)) / jnp.maximum(jnp.sum(free), 1)
    return jnp.clip(jnp.where(free, found + left_over, found), low, high)


def search(
    combined: Combined, low: np.ndarray, high: np.ndarray, starts: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best point on the way from each start, within bounds; other numbers do not compile anew.

        w <- project(w - eta_t g / |g|),   g = dJ/dw along the simplex,   eta_t from 0.3 to 1e-7, geometric

    Args:
        combined: the objective.
        low: `[P]` least shares.
        high: `[P]` largest shares.
        starts: `[S, P]`; brought within the bounds first.
        steps: how many.

    Returns:
        `[S, P]` weights and `[S]` values of the objective, inf where none is a number.
    """
    count = len(starts)
    with jax.enable_x64(True):
        weights, values = _search(
            combined.laws,
            combined.lengths,
            combined.judging is not None,
            combined.params,
            combined.sizes,
            combined.samples_seen,
            combined.seen_before,
            (combined.metric_weights, combined.least),
            combined.judging or weighted(combined.metric_weights, len(combined.metric_weights)),
            (combined.reference, combined.kl, combined.l1),
            low,
            high,
            np.pad(starts, [(0, -count % STARTS_AT_ONCE), (0, 0)], mode="edge"),
            steps,
        )
        return np.asarray(weights)[:count], np.asarray(values)[:count]


def _judged(judging: Judging, costs: Array) -> Array:
    """`Judging.of` for arrays that JAX traces; its slope is that of the costs that count."""
    order = jnp.argsort(-costs)
    most = jnp.asarray(judging.most)[order]
    spent = jnp.concatenate([jnp.zeros(1, costs.dtype), jnp.cumsum(most)[:-1]])
    return jnp.sum(jnp.clip(judging.total - spent, 0.0, most) * costs[order])


@partial(jax.jit, static_argnums=(0, 1, 2))
def _search(
    laws: tuple,
    lengths: tuple,
    several: bool,
    params: tuple[Any, ...],
    sizes: Array,
    seen: Array,
    before: Array | None,
    weighing: tuple[Array, Array],
    judging: Judging,
    penalties: tuple[Array, Array, Array],
    low: Array,
    high: Array,
    starts: Array,
    steps: Array,
) -> tuple[Array, Array]:
    reference, kl, l1 = penalties
    factors, least_errors = weighing
    low, high = jnp.asarray(low), jnp.asarray(high)

    def value(weights: Array) -> Array:
        each = factors * (law_errors(laws, lengths, params, sizes, seen, before, weights) - least_errors)
        logs = jnp.log(jnp.maximum(weights, LEAST_WEIGHT) / jnp.where(reference > 0, reference, 1.0))
        added = kl * jnp.sum(weights * logs) + l1 * jnp.sum(jnp.abs(weights - reference))
        return (_judged(judging, each) if several else jnp.sum(each)) + added

    def best_from(start: Array) -> tuple[Array, Array]:
        def step(t: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            weights, best, least = state
            now, slope = jax.value_and_grad(value)(weights)
            better = now < least
            best, least = jnp.where(better, weights, best), jnp.where(better, now, least)
            along = jnp.nan_to_num(slope - jnp.mean(slope))
            length = jnp.linalg.norm(along)
            size = FIRST_STEP * (LAST_STEP / FIRST_STEP) ** (t / steps)
            return project(weights - size * along / jnp.where(length > 0, length, 1.0), low, high), best, least

        inside = project(start, low, high)
        _, best, least = lax.fori_loop(0, steps, step, (inside, inside, jnp.asarray(jnp.inf, start.dtype)))
        return best, least

    return jax.vmap(best_from)(jnp.asarray(starts))
