"""What a fit minimises: weighted squares or Huber losses of residuals on the error or on its logarithm."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from qqtjax.fit.levenberg_marquardt import Quadratic
from qqtjax.fit.parameters import Layout
from qqtjax.laws.utility import mixed
from qqtjax.runs import Run, Runs


class Data(NamedTuple):
    """Measured checkpoints as arrays; M rows. Only the pools that a row draws from are kept, A at most.

    Attributes:
        run: batched `Run`, leading axis M; weights and sizes `[M, A]`.
        drawn: `[M, A]` which pool each of them is.
        error: `[M]` measured errors.
        importance: `[M]` weight of each checkpoint in the objective, mean 1.
        fixed: values of the parameters that do not move.
    """

    run: Run
    drawn: Array | np.ndarray
    error: Array | np.ndarray
    importance: Array | np.ndarray
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


def gather(runs: Runs) -> tuple[Run, np.ndarray]:
    """The batched run of a table with only the pools that each row draws from, and which these are, `[M, A]`.

    A row on one pool then costs one evaluation of the kernel instead of P; pools of weight 0 never matter.
    """
    dense = runs.as_run()
    weights = np.asarray(dense.weights)
    most = max(int(np.max(np.sum(weights > 0, axis=1))), 1)
    drawn = np.argsort(weights <= 0, axis=1, kind="stable")[:, :most]
    picked = (np.take_along_axis(np.asarray(each), drawn, axis=1) for each in (weights, dense.sizes))
    weights, sizes = picked
    return dataclasses.replace(dense, weights=weights, sizes=sizes), drawn


def pick(params: Any, drawn: Array) -> Any:
    """The parameters of some pools, in the order of `drawn`."""
    taken = {
        name: value[drawn]
        for name in (field.name for field in dataclasses.fields(params))
        if (value := getattr(params, name)) is not None and jnp.ndim(value) == 1
    }
    return dataclasses.replace(params, **taken)


def residuals(objective: Objective, coordinates: Array, data: Data) -> Array:
    """`[M]` predicted minus measured, on the error or on the log excess error."""
    params = objective.layout.unpack(coordinates, data.fixed)
    law = objective.layout.law
    predicted = jax.vmap(lambda run, drawn: law(pick(params, drawn), run, objective.max_epochs))(data.run, data.drawn)
    if not objective.log:
        return predicted - data.error
    floor = jax.vmap(lambda run, drawn: mixed(pick(params, drawn).floor, run.weights))(data.run, data.drawn)
    return jnp.log(predicted - floor) - jnp.log(data.error - floor)


def loss(objective: Objective, coordinates: Array, data: Data) -> Array:
    """Half the weighted sum of squares, or the weighted sum of Huber losses."""
    return total_loss(objective, residuals(objective, coordinates, data), data)


def total_loss(objective: Objective, each: Array, data: Data) -> Array:
    """The loss of given residuals."""
    if objective.huber is None:
        return 0.5 * jnp.sum(data.importance * each**2)
    size = jnp.abs(each)
    bent = objective.huber * (size - 0.5 * objective.huber)
    return jnp.sum(data.importance * jnp.where(size <= objective.huber, 0.5 * each**2, bent))


def linearise(objective: Objective, coordinates: Array, data: Data) -> tuple[Array, Array]:
    """Residuals `[M]` and their derivative `[M, F]` in one pass."""

    def twice(x: Array) -> tuple[Array, Array]:
        each = residuals(objective, x, data)
        return each, each

    jacobian, each = jax.jacfwd(twice, has_aux=True)(coordinates)
    return each, jacobian


def quadratic(objective: Objective, coordinates: Array, data: Data) -> Quadratic:
    """The loss with its gradient and Gauss-Newton Hessian (for Huber: that of the reweighted squares)."""
    each, jacobian = linearise(objective, coordinates, data)
    importance = data.importance
    if objective.huber is not None:
        importance = importance * jnp.minimum(1.0, objective.huber / jnp.maximum(jnp.abs(each), 1e-300))
    weighted = importance[:, None] * jacobian
    return Quadratic(
        total_loss(objective, each, data),
        jnp.sum(weighted * each[:, None], axis=0),
        jnp.einsum("mf,mg->fg", weighted, jacobian),
    )
