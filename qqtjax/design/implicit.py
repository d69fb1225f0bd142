"""How the fitted parameters move with the measured errors, by implicit differentiation of the fit."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from qqtjax.design.belief import Belief, Prior, table_data
from qqtjax.fit.objective import Data, Objective, residuals


def sensitivity(belief: Belief) -> np.ndarray:
    """Derivative of the most probable coordinates with respect to every measured error.

        g(x*(y), y) = 0   =>   dx*/dy = -(dg/dx)^-1 dg/dy = (d2U/dx2)^-1 J^T / s^2,
        U = sum_r (f_r - y_r)^2 / (2 s^2) + sum_j (x_j - m_j)^2 / (2 t_j^2)

    with the whole second derivative of U, residuals times curvatures included, at the noise and prior of the belief.
    Coordinates at a bound stay there. Source: the implicit function theorem.

    Args:
        belief: of measured runs.

    Returns:
        `[F, M]`, coordinates (logarithms of most parameters) for each unit of error; rows of the belief's table.
    """
    low, high = belief.space.box()
    moving = (belief.x > low) & (belief.x < high)
    with jax.enable_x64(True):
        data = table_data(belief.runs, belief.space)
        found = _sensitivity(belief.objective, belief.x, data, belief.prior, belief.noise, moving)
        return np.asarray(found)[:, : len(belief.runs)]


@partial(jax.jit, static_argnums=0)
def _sensitivity(objective: Objective, x: Array, data: Data, prior: Prior, noise: Array, moving: Array) -> Array:
    def slope(x: Array, error: Array) -> Array:
        def energy(x: Array) -> Array:
            each = residuals(objective, x, data._replace(error=error))
            return (
                jnp.sum(data.importance * each**2) / (2.0 * noise**2)
                + jnp.sum(((x - prior.centre) / prior.sd) ** 2) / 2.0
            )

        return jax.grad(energy)(x)

    curvature = jax.jacfwd(slope)(x, data.error)
    pull = jax.jacfwd(slope, argnums=1)(x, data.error)
    held = jnp.where(moving[:, None] & moving[None, :], curvature, jnp.eye(len(x), dtype=curvature.dtype))
    return -jnp.linalg.solve(held, jnp.where(moving[:, None], pull, 0.0))
