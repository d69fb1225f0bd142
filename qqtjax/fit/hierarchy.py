"""Parameters of pools as draws from a common distribution: the best ones given all that pools share, and the evidence.

Coordinates are those of a fit (logarithms where the law has them). Those of pools, u, are latent; those that all pools
share (scale, floor, ..), the spread s_k across pools of each pooled field and the noise sigma are given:

    y ~ N(f(u), sigma^2 W^-1),   u ~ N(mu, K(s)),   K(s) = D(s) + A A^T,

with s_k^2 on the diagonal D for the coordinates of field k; the columns of A carry the weak priors of each field's
mean m_k and slope c_k over the pools, which are thereby integrated out: u_ki ~ N(m_k + c_k z_i, s_k^2). The best u is
a least-squares fit with pseudo-rows Q^1/2 (u - mu), and

    log p(y | shared, s, sigma) ~ -|r|^2_W / (2 sigma^2) - |u - mu|^2_Q / 2 - M log sigma + log|Q| / 2 - log|H| / 2,
    Q = K^-1,   H = J^T W J / sigma^2 + Q.

Source: the inner of the two approximations that Rue, Martino, Chopin nest, "Approximate Bayesian inference for latent
Gaussian models by using integrated nested Laplace approximations", JRSS B 71 (2009), equation 3. Exact where f is
linear in u; what pools share stays outside, because along it the best u says little about the volume around it.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from qqtjax.fit.levenberg_marquardt import DENSE, LMState, Quadratic, begin, judge, propose
from qqtjax.fit.objective import Data, Objective, residuals

# A lane is done where a step promises less than this share of its objective, which is of the order of M.
TOLERANCE = 1e-9


class Population(NamedTuple):
    """What is believed of the latent coordinates before the data; F of them in K pooled fields, C columns.

    Attributes:
        place: `[F]` int, which coordinates of the layout they are.
        field: `[F]` int, which pooled field each belongs to.
        centre: `[F]` mu.
        common: `[F, C]` A: what the pools of a field share, times how far it may move.
        low: `[F]` lower bounds.
        high: `[F]` upper bounds.
    """

    place: ArrayLike
    field: ArrayLike
    centre: ArrayLike
    common: ArrayLike
    low: ArrayLike
    high: ArrayLike


class Given(NamedTuple):
    """What one lane takes as known.

    Attributes:
        shared: `[N]` all coordinates of the layout; those of the latent ones do not matter.
        spread: `[K]` s, in each pooled field's coordinate.
        noise: `[]` sigma, standard deviation of the error of a checkpoint of importance 1.
        error: `[M]` measured errors.
    """

    shared: ArrayLike
    spread: ArrayLike
    noise: ArrayLike
    error: ArrayLike


class Latent(NamedTuple):
    """The pools' parameters in one lane.

    Attributes:
        x: `[N]` the coordinates of the layout, the latent ones at their best.
        evidence: `[]` logarithm of the marginal likelihood, up to a constant of the table.
        covariance: `[F, F]` H^-1.
        shrinkage: `[F]` share of each estimate that is not the pool's own data's: 0 alone, 1 - 1 / P all as one.
        common: `[C]` mean of what the pools of a field share, in units of its weak prior.
        common_covariance: `[C, C]`.
        done: `[]` was the optimum reached.
    """

    x: Array
    evidence: Array
    covariance: Array
    shrinkage: Array
    common: Array
    common_covariance: Array
    done: Array


def precision(population: Population, spread: ArrayLike) -> tuple[Array, Array]:
    """Q = K(s)^-1, `[F, F]`, and log|Q|."""
    own = jnp.asarray(spread)[jnp.asarray(population.field)] ** 2
    common = jnp.asarray(population.common)
    # Woodbury: K itself is close to singular where pools hardly differ.
    scaled = common / own[:, None]
    factor = jnp.linalg.cholesky(jnp.eye(common.shape[1]) + common.T @ scaled)
    half = jax.scipy.linalg.solve_triangular(factor, scaled.T, lower=True)
    determinant = -jnp.sum(jnp.log(own)) - 2.0 * jnp.sum(jnp.log(jnp.diagonal(factor)))
    return jnp.diag(1.0 / own) - half.T @ half, determinant


def penalised(
    objective: Objective, data: Data, population: Population, given: Given, information: Array, latent: Array
) -> Quadratic:
    """Half of |r|^2_W / sigma^2 + |u - mu|^2_Q at u, with its gradient and Gauss-Newton Hessian."""

    def twice(u: Array) -> tuple[Array, Array]:
        each = residuals(objective, jnp.asarray(given.shared).at[population.place].set(u), data)
        return each, each

    jacobian, each = jax.jacfwd(twice, has_aux=True)(latent)
    weight = jnp.asarray(data.importance) / jnp.asarray(given.noise) ** 2
    pulled = information @ (latent - jnp.asarray(population.centre))
    weighted = weight[:, None] * jacobian
    return Quadratic(
        0.5 * (jnp.sum(weight * each**2) + (latent - jnp.asarray(population.centre)) @ pulled),
        weighted.T @ each + pulled,
        weighted.T @ jacobian + information,
    )


@partial(jax.jit, static_argnums=(0, 4))
def latents(objective: Objective, data: Data, population: Population, given: Given, max_iterations: int) -> Latent:
    """The best parameters of the pools in each of L lanes, from the centre of the population.

    Args:
        objective: the law and its layout; residuals on the error.
        data: the checkpoints; the lanes' own errors replace its `error`.
        population: of all lanes.
        given: every array with a leading axis L.
        max_iterations: most steps of Levenberg-Marquardt.

    Returns:
        Every array with a leading axis L.
    """
    low, high = jnp.asarray(population.low), jnp.asarray(population.high)
    informations, determinants = jax.vmap(precision, in_axes=(None, 0))(population, given.spread)

    def at(given: Given, information: Array, u: Array) -> Quadratic:
        return penalised(objective, data._replace(error=given.error), population, given, information, u)

    def advance(given: Given, information: Array, state: LMState) -> LMState:
        proposal = propose(DENSE, state, low, high)
        return judge(state, proposal, at(given, information, proposal.trial), TOLERANCE)

    def body(carry: tuple[Array, LMState]) -> tuple[Array, LMState]:
        return carry[0] + 1, jax.vmap(advance)(given, informations, carry[1])

    def going(carry: tuple[Array, LMState]) -> Array:
        return (carry[0] < max_iterations) & ~jnp.all(carry[1].done)

    begun = jax.vmap(begin, in_axes=(None, 0))(jnp.asarray(population.centre), informations)
    _, state = lax.while_loop(going, body, (jnp.asarray(0), begun))

    def report(given: Given, information: Array, determinant: Array, state: LMState) -> Latent:
        factor = jnp.linalg.cholesky(state.at.hessian)
        covariance = jax.scipy.linalg.cho_solve((factor, True), jnp.eye(len(state.x)))
        volume = 0.5 * determinant - jnp.sum(jnp.log(jnp.diagonal(factor)))
        evidence = volume - state.at.objective - jnp.size(given.error) * jnp.log(given.noise)
        x = jnp.asarray(given.shared).at[population.place].set(state.x)
        shrinkage = jnp.diagonal(covariance @ information)
        # u = mu + A a + e with a standard normal a: a given u is A^T Q (u - mu), with covariance I - A^T Q A.
        gain = jnp.asarray(population.common).T @ information
        left = jnp.eye(len(gain)) - gain @ jnp.asarray(population.common) + gain @ covariance @ gain.T
        common = gain @ (state.x - jnp.asarray(population.centre))
        return Latent(x, evidence, covariance, shrinkage, common, left, state.done)

    return jax.vmap(report)(given, informations, determinants, state)
