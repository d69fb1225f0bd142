"""Greedy k-center: samples picked so that none is far from a picked one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from qqtjax.pools.picking import picked_in_groups


def k_center(features: ArrayLike, picks: ArrayLike, groups: ArrayLike | None = None) -> np.ndarray:
    """When the greedy k-center algorithm picks each sample.

        x_{t+1} = argmax_x min_{s <= t} || x - x_s ||,   x_1 the sample nearest to the mean of its group

    The largest distance to a picked sample is at most twice the least that is possible (Gonzalez, 1985).

    Args:
        features: `[N, D]`.
        picks: how many to pick in each group: one number, or `[G]` in the order of the sorted groups.
        groups: `[N]` class or cluster of each sample, or None.

    Returns:
        `[N]` float64: 0 for the first pick of a group, and so on; its number of picks for samples not picked. As the
        scores of a `Partition`, draw the easiest.

    Raises:
        InputError: features that are no finite matrix; groups or picks that do not match them.

    Source: Sener and Savarese (ICLR 2018), algorithm 1; they and DeepCore start from a random sample.

    Example:
        >>> k_center(np.array([[0.0], [1.0], [2.0], [9.0]]), 3)
        array([2., 3., 0., 1.])
    """
    return picked_in_groups(_spread, features, picks, groups)


@jax.jit
def _spread(features: Array, there: Array, picks: Array) -> Array:
    mean = features.sum(axis=0) / there.sum().astype(features.dtype)

    def squared(centre: Array) -> Array:
        return jnp.sum((features - centre) ** 2, axis=1)

    def step(time: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        order, nearest = state
        first = jnp.where(there, -squared(mean), -jnp.inf)
        farthest = jnp.where(there & (order == picks), nearest, -jnp.inf)
        best = jnp.argmax(jnp.where(time == 0, first, farthest))
        return order.at[best].set(time), jnp.minimum(nearest, squared(features[best]))

    start = jnp.full(there.shape, picks, jnp.int32), jnp.full(there.shape, jnp.inf, features.dtype)
    return lax.fori_loop(jnp.int32(0), picks, step, start)[0]
