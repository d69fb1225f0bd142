"""What a fit minimises: weighted squares or Huber losses of residuals on the error or on its logarithm."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from qqtjax.fit.levenberg_marquardt import Quadratic
from qqtjax.fit.parameters import Layout
from qqtjax.laws.utility import mixed
from qqtjax.runs import Run


class Data(NamedTuple):
    """Measured checkpoints as arrays; M rows.

    Attributes:
        run: batched `Run`, leading axis M.
        error: `[M]` measured errors.
        importance: `[M]` weight of each checkpoint in the objective, mean 1.
        fixed: values of the parameters that do not move.
    """

    run: Run
    error: Array
    importance: Array
    fixed: Any


class Objective(NamedTuple):
    """What is minimised; static and hashable.

    Attributes:
        layout: how the parameters are packed.
        max_epochs: static scan length, or None for the closed form.
        log: residuals of the log excess error log(y - d) instead of the error.
        huber: where the loss turns from square to linear, in the unit of the residual; None: squares.
    """

    layout: Layout
    max_epochs: int | None
    log: bool
    huber: float | None


def residuals(objective: Objective, coordinates: Array, data: Data) -> Array:
    """`[M]` predicted minus measured, on the error or on the log excess error."""
    params = objective.layout.unpack(coordinates, data.fixed)
    law = objective.layout.law
    predicted = jax.vmap(lambda run: law(params, run, objective.max_epochs))(data.run)
    if not objective.log:
        return predicted - data.error
    floor = jax.vmap(lambda run: jnp.asarray(mixed(params.floor, run.weights)))(data.run)
    return jnp.log(predicted - floor) - jnp.log(data.error - floor)


def loss(objective: Objective, coordinates: Array, data: Data) -> Array:
    """Half the weighted sum of squares, or the weighted sum of Huber losses."""
    each = residuals(objective, coordinates, data)
    if objective.huber is None:
        return 0.5 * jnp.sum(data.importance * each**2)
    size = jnp.abs(each)
    bent = objective.huber * (size - 0.5 * objective.huber)
    return jnp.sum(data.importance * jnp.where(size <= objective.huber, 0.5 * each**2, bent))


def quadratic(objective: Objective, coordinates: Array, data: Data) -> Quadratic:
    """The loss with its gradient and Gauss-Newton Hessian (for Huber: that of the reweighted squares)."""

    def twice(x: Array) -> tuple[Array, Array]:
        each = residuals(objective, x, data)
        return each, each

    jacobian, each = jax.jacfwd(twice, has_aux=True)(coordinates)
    importance = data.importance
    if objective.huber is not None:
        importance = importance * jnp.minimum(1.0, objective.huber / jnp.maximum(jnp.abs(each), 1e-300))
    weighted = importance[:, None] * jacobian
    if objective.huber is None:
        total = 0.5 * jnp.sum(data.importance * each**2)
    else:
        total = loss(objective, coordinates, data)
    return Quadratic(total, weighted.T @ each, weighted.T @ jacobian)
