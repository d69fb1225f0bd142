"""How much less regret a training run would leave: the decision is linear in what is learnt, up to one exponential.

At a target budget the options a = 1 .. A have errors y_a = d_a + exp(L_a). With the floor d and the log excess L
linear in the coordinates of the fit about the most probable ones (what makes b and tau uncertain is what makes L
uncertain), draws of the parameters, measurements of a run and the decision after it are products of small matrices.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from qqtjax.fit.objective import Objective
from qqtjax.laws.utility import mixed
from qqtjax.runs import Run


class Payoffs(NamedTuple):
    """Errors of A options at the target budget, as functions of a step in the F coordinates.

    Attributes:
        floor: `[A]` d_a, or `[1]` where all options share it.
        floor_slope: `[A, F]` or `[1, F]`.
        log_excess: `[A]` L_a = log(y_a - d_a).
        slope: `[A, F]`.
    """

    floor: Any
    floor_slope: Any
    log_excess: Any
    slope: Any


class Normals(NamedTuple):
    """Standard normal numbers that all candidates share.

    Attributes:
        params: `[S, F]` of the parameters.
        errors: `[S, K]` of the measured errors of a candidate's checkpoints.
    """

    params: Any
    errors: Any


def payoffs(objective: Objective, x: Array, fixed: Any, options: Run) -> Payoffs:
    """Linearise the errors of options about a point.

    Args:
        objective: how coordinates become predictions.
        x: `[F]` the point.
        fixed: values of the parameters that do not move.
        options: batched `Run`, leading axis A: what may be trained at the target budget.
    """

    def parts(x: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        params = objective.layout.unpack(x, fixed)

        def one(run: Run) -> tuple[Array, Array]:
            floor = mixed(params.floor, run.weights)
            return floor, jnp.log(objective.layout.law(params, run, objective.max_epochs) - floor)

        floor, log_excess = jax.vmap(one)(options)
        values = (floor[:1] if jnp.ndim(params.floor) == 0 else floor), log_excess
        return values, values

    (floor_slope, slope), (floor, log_excess) = jax.jacfwd(parts, has_aux=True)(x)
    return Payoffs(floor, floor_slope, log_excess, slope)


def errors_at(payoffs: Payoffs, steps: Array) -> Array:
    """`[S, A]` errors of the options after steps `[S, F]` from the point."""
    floor = payoffs.floor[None] + steps @ payoffs.floor_slope.T
    return floor + jnp.exp(payoffs.log_excess[None] + steps @ payoffs.slope.T)


def standings(payoffs: Payoffs, steps: Array) -> Array:
    """`[S, A]` what the options are ranked by, least first: their log excess where they share the floor."""
    if len(payoffs.floor) == 1:
        return payoffs.log_excess[None] + steps @ payoffs.slope.T
    return errors_at(payoffs, steps)


def regret_of(estimates: Array, truths: Array) -> Array:
    """`[S]` how much more error the option with the least estimate has than the best.

    Args:
        estimates: `[S, A]` what the decision is made on, least first.
        truths: `[S, A]` errors as they are.
    """
    chosen = jnp.take_along_axis(truths, jnp.argmin(estimates, axis=1)[:, None], axis=1)[:, 0]
    return chosen - jnp.min(truths, axis=1)


def remaining(covariance: Array, jacobian: Array, noise: ArrayLike) -> Array:
    """Covariance of the coordinates after measurements: S - S J^T (J S J^T + s^2 I)^-1 J S.

    Args:
        covariance: `[F, F]` S before.
        jacobian: `[K, F]` J of the predictions; a row of zeros is no measurement.
        noise: s, of one measurement.
    """
    gain = _gain(covariance, jacobian, noise)
    return covariance - gain @ jacobian @ covariance


def _gain(covariance: Array, jacobian: Array, noise: ArrayLike) -> Array:
    """`[F, K]` how far the estimate moves for each unit of surprise."""
    system = jacobian @ covariance @ jacobian.T + noise**2 * jnp.eye(len(jacobian), dtype=covariance.dtype)
    factor = jnp.linalg.cholesky(system)
    return jax.scipy.linalg.cho_solve((factor, True), jacobian @ covariance).T


def information(covariance: Array, jacobian: Array, noise: ArrayLike) -> Array:
    """D-optimality: by how much log det of the precision rises, log det(I + J S J^T / s^2), in nats.

    Args:
        covariance: `[F, F]` S before.
        jacobian: `[K, F]` J of the predictions; a row of zeros is no measurement.
        noise: s, of one measurement.

    Example:
        >>> import numpy as np
        >>> print(f"{information(np.eye(2), np.array([[1.0, 0.0], [0.0, 0.0]]), 1.0):.4f}")  # log 2
        0.6931
    """
    slopes = jnp.asarray(jacobian) / noise
    system = slopes @ covariance @ slopes.T
    system = system + jnp.eye(len(slopes), dtype=system.dtype)
    return 2.0 * jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(system))))


def draws_of(covariance: Array, normals: Array) -> Array:
    """`[S, F]` steps drawn with a covariance, from standard normal numbers `[S, F]`."""
    root = jnp.sqrt(jnp.diagonal(covariance))
    return (normals @ jnp.linalg.cholesky(covariance / (root[:, None] * root[None, :])).T) * root


def regret_now(payoffs: Payoffs, covariance: Array, normals: Normals) -> Array:
    """Regret of deciding at once, `[S]` draws of it: y_a*(theta) - min_a y_a(theta), a* the best at the point."""
    truths = errors_at(payoffs, draws_of(covariance, normals.params))
    estimates = standings(payoffs, jnp.zeros_like(payoffs.slope[:1]))
    return regret_of(jnp.broadcast_to(estimates, truths.shape), truths)


def saving(payoffs: Payoffs, covariance: Array, jacobian: Array, noise: ArrayLike, normals: Normals) -> Array:
    """What one more training run saves in regret, `[S]` draws of it; their mean is expected.

        theta_s ~ N(x, S),   u_s = J (theta_s - x) + s e_s,   x_s = x + S J^T (J S J^T + s^2 I)^-1 u_s,
        saving_s = E[y_a0(theta) - y_as(theta) | x_s],   a_0 = argmin_a y_a(x),   a_s = argmin_a y_a(x_s)

    so that the estimate moves as N(0, S - S'), S' of `remaining`, and the expectation given it has a closed form:
    E[exp(L_a) | x_s] = exp(L_a(x_s) + g_a^T S' g_a / 2), g_a the slope of L_a. The least possible error is the same
    with and without the run and drops out. Source: preposterior analysis (Raiffa & Schlaifer, Applied Statistical
    Decision Theory, 1961); the knowledge gradient for correlated beliefs (Frazier, Powell & Dayanik, INFORMS J.
    Comput. 21, 2009).

    Args:
        payoffs: of the options at the target budget.
        covariance: `[F, F]` S.
        jacobian: `[K, F]` J of the run's checkpoints; a row of zeros is no checkpoint.
        noise: s, of one measurement.
        normals: the same for all candidates, so that their differences are not noise.
    """
    steps = draws_of(covariance, normals.params)
    moved = (steps @ jacobian.T + noise * normals.errors) @ _gain(covariance, jacobian, noise).T
    chosen = jnp.argmin(standings(payoffs, moved), axis=1)
    before = jnp.argmin(standings(payoffs, jnp.zeros_like(moved[:1])), axis=1)
    after = remaining(covariance, jacobian, noise)

    def expected(option: Array) -> Array:
        slope = payoffs.slope[option]
        spread = jnp.einsum("sf,fg,sg->s", slope, after, slope)
        excess = jnp.exp(payoffs.log_excess[option] + jnp.sum(slope * moved, axis=1) + spread / 2)
        if len(payoffs.floor) == 1:
            return excess
        return excess + payoffs.floor[option] + jnp.sum(payoffs.floor_slope[option] * moved, axis=1)

    return expected(jnp.broadcast_to(before, chosen.shape)) - expected(chosen)
