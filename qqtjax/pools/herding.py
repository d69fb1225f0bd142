"""Herding: samples picked so that their mean stays as near as possible to that of all."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from qqtjax.pools.picking import picked_in_groups


def herding(features: ArrayLike, picks: ArrayLike, groups: ArrayLike | None = None) -> np.ndarray:
    """When herding picks each sample.

        x_{t+1} = argmin_x || mu - (x_1 + .. + x_t + x) / (t + 1) ||,   mu the mean of the group

    Args:
        features: `[N, D]`.
        picks: how many to pick in each group: one number, or `[G]` in the order of the sorted groups.
        groups: `[N]` class or cluster of each sample, or None.

    Returns:
        `[N]` float64: 0 for the first pick of a group, and so on; its number of picks for samples not picked. As the
        scores of a `Partition`, draw the easiest.

    Raises:
        InputError: features that are no finite matrix; groups or picks that do not match them.

    Source: Welling (2009), in the form of Rebuffi et al. (2017, iCaRL, algorithm 4), as DeepCore has it.

    Example:
        >>> herding(np.array([[0.0], [1.0], [2.0], [9.0]]), 2)  # the mean is 3: first 2, then (2 + 1)/2 or (2 + 9)/2
        array([2., 1., 0., 2.])
    """
    return picked_in_groups(_herd, features, picks, groups)


@jax.jit
def _herd(features: Array, there: Array, picks: Array) -> Array:
    mean = features.sum(axis=0) / there.sum().astype(features.dtype)
    rows = jnp.where(there[:, None], features - mean, 0)  # the mean is now at 0
    square = jnp.sum(rows * rows, axis=1)

    def step(time: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        order, total = state
        # ||S + x||^2 without what all x share
        distance = square + 2 * jnp.matmul(rows, total, precision=lax.Precision.HIGHEST)
        best = jnp.argmin(jnp.where(there & (order == picks), distance, jnp.inf))
        return order.at[best].set(time), total + rows[best]

    start = jnp.full(there.shape, picks, jnp.int32), jnp.zeros_like(mean)
    return lax.fori_loop(jnp.int32(0), picks, step, start)[0]
