"""What a fit minimises: weighted squares or Huber losses of residuals on the error or on its logarithm."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

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


def pick(params: Any, drawn: Array | np.ndarray) -> Any:
    """The parameters of some pools, in the order of `drawn`."""
    taken = {
        name: value[drawn]
        for name in (field.name for field in dataclasses.fields(params))
        if (value := getattr(params, name)) is not None and jnp.ndim(value) == 1
    }
    return dataclasses.replace(params, **taken)


def residual(objective: Objective, params: Any, run: Run, error: ArrayLike) -> Array:
    """Predicted minus measured of one checkpoint, on the error or on the log excess error.

    Args:
        objective: what is minimised.
        params: parameters of the pools that the run draws from, as the run has them.
        run: the run.
        error: what was measured.
    """
    predicted = objective.layout.law(params, run, objective.max_epochs)
    if not objective.log:
        return predicted - error
    floor = mixed(getattr(params, "floor", 0.0), run.weights)
    return jnp.log(predicted - floor) - jnp.log(error - floor)


def residuals(objective: Objective, coordinates: Array, data: Data) -> Array:
    """`[M]` predicted minus measured, on the error or on the log excess error."""
    params = objective.layout.unpack(coordinates, data.fixed)

    def one(run: Run, drawn: Array | np.ndarray, error: Array | np.ndarray) -> Array:
        return residual(objective, pick(params, drawn), run, error)

    return jax.vmap(one)(data.run, data.drawn, data.error)


def loss(objective: Objective, coordinates: Array, data: Data) -> Array:
    """Half the weighted sum of squares, or the weighted sum of Huber losses."""
    return jnp.sum(data.importance * penalty(objective, residuals(objective, coordinates, data)))


def penalty(objective: Objective, each: Array) -> Array:
    """What residuals cost, each on its own: half the square, or Huber's loss."""
    if objective.huber is None:
        return 0.5 * each**2
    size = jnp.abs(each)
    return jnp.where(size <= objective.huber, 0.5 * each**2, objective.huber * (size - 0.5 * objective.huber))


def steepness(objective: Objective, each: Array) -> Array:
    """Weights that make squares of the residuals fall as the penalty does: its derivative over the residual."""
    if objective.huber is None:
        return jnp.ones_like(each)
    return jnp.minimum(1.0, objective.huber / jnp.maximum(jnp.abs(each), 1e-300))


def linearise(objective: Objective, coordinates: Array, data: Data) -> tuple[Array, Array]:
    """Residuals `[M]` and their derivative `[M, F]` in one pass.

    Backwards through each row: a row depends on the few pools that it draws from, and forwards every coordinate would
    carry a tangent through all of them (8 times slower on a table of 7 pools and 15 coordinates).
    """

    def one(run: Run, drawn: Array | np.ndarray, error: Array | np.ndarray) -> tuple[Array, Array]:
        def missed(x: Array) -> Array:
            params = objective.layout.unpack(x, data.fixed)
            return residual(objective, pick(params, drawn), run, error)

        return jax.value_and_grad(missed)(coordinates)

    return jax.vmap(one)(data.run, data.drawn, data.error)


def quadratic(objective: Objective, coordinates: Array, data: Data) -> Quadratic:
    """The loss with its gradient and Gauss-Newton Hessian (for Huber: that of the reweighted squares)."""
    each, jacobian = linearise(objective, coordinates, data)
    weighted = (data.importance * steepness(objective, each))[:, None] * jacobian
    return Quadratic(
        jnp.sum(data.importance * penalty(objective, each)),
        jnp.sum(weighted * each[:, None], axis=0),
        jnp.einsum("mf,mg->fg", weighted, jacobian),
    )
