"""Draws from the posterior by the No-U-Turn sampler of blackjax, with weak priors."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from qqtjax.errors import InputError, MissingExtraError
from qqtjax.fit.clusters import run_notes
from qqtjax.fit.objective import Data, Objective, residuals
from qqtjax.fit.problem import Problem, problem_of
from qqtjax.laws import FittedLaw
from qqtjax.laws.draws import Draws
from qqtjax.runs import Runs

# Chains that have mixed (Vehtari et al., Bayesian Analysis 16, 2021).
MIXED = 1.01
# How near to a bound a chain may start, as a share of the range.
OFF_BOUND = 1e-3


class _Density(NamedTuple):
    """What the density of the sampler's coordinates z needs: x = low + (high - low) / (1 + exp(-(centre + root z)))."""

    low: Any
    high: Any
    centre: Any
    root: Any
    mean: Any
    precision: Any


def posterior(
    fitted: FittedLaw,
    runs: Runs,
    count: int = 1000,
    *,
    seed: int = 0,
    importance: np.ndarray | None = None,
    chains: int = 4,
    warmup: int = 300,
) -> Draws:
    """Draw parameters from their posterior.

        p(x | y) ~ (sum_r v_r r_r(x)^2)^(-M / 2) p(x)

    in the coordinates x of the fit: normal noise of one size sigma, which is integrated out under the prior 1 / sigma.
    Priors, each on its own and cut off at the bounds: of a logarithm (scale, utility, half-life, ..) normal, one
    standard deviation to each end of the law's starting range, so 0.5 to 0.02 for -b and 0.7 to 30 epochs for tau;
    of the others (floor, dilution) uniform between the bounds. Source: Hoffman and Gelman, "The No-U-Turn Sampler",
    JMLR 15 (2014), by blackjax.

    Args:
        fitted: a fit of squares of the error.
        runs: the table that was fitted.
        count: S >= 1 draws, rounded up to as many from each chain.
        seed: of the random numbers; the same seed gives the same bytes.
        importance: `[M]` weights of the checkpoints, if the fit was given any.
        chains: started around the estimate; where they disagree the draws say so.
        warmup: steps of each chain that choose its step size and are not kept.

    Returns:
        `Draws`, chain after chain.

    Raises:
        MissingExtraError: without the posterior extra.
        InputError: a Huber loss or residuals of the log excess error; a count below 1; as `problem_of`.
    """
    try:
        import blackjax  # noqa: F401
    except ImportError:
        raise MissingExtraError("draws of the posterior need blackjax: pip install 'qqtjax[posterior]'") from None
    if not (isinstance(count, int | np.integer) and count >= 1):
        raise InputError(f"draws {count!r}: expected a whole number >= 1")
    problem = problem_of(fitted, runs, importance)
    if problem.objective.huber is not None or problem.objective.log:
        raise InputError("posterior: expected a fit of squares of the error, without a Huber loss or logarithms")
    with jax.enable_x64(True):
        density = _density(problem)
        keys = jax.random.split(jax.random.key(seed), chains)
        each = -(-count // chains)
        found = _sample(problem.objective, warmup, each, keys, density, problem.data)
        x, divergent = (np.asarray(one) for one in found)
        unpack = jax.vmap(problem.space.layout.unpack, in_axes=(0, None))
        params = jax.tree.map(np.asarray, unpack(jnp.asarray(x.reshape(chains * each, -1)), problem.data.fixed))
    notes = run_notes(runs, None)
    worst = float(np.max(_disagreement(x))) if each >= 4 else 1.0
    if worst > MIXED:
        notes += (f"the chains have not mixed (R-hat {worst:.3f}); draw more, or from longer warm-ups",)
    if divergent.any():
        notes += (f"{int(divergent.sum())} of {divergent.size} steps diverged: corners may be left out",)
    return Draws(fitted, params, "posterior, by NUTS", float(np.inf), notes)


def _density(problem: Problem) -> _Density:
    """Priors, and a map under which the posterior is nearly standard normal."""
    space, weight = problem.space, np.asarray(problem.data.importance)
    low, high = space.box()
    first, last = space.place(np.array([[0.0], [1.0]]))
    logs = np.array([each.log for each in space.ranges])
    precision = np.where(logs, 4.0 / (last - first) ** 2, 0.0)
    share = np.clip((problem.x - low) / (high - low), OFF_BOUND, 1 - OFF_BOUND)
    steepness = (high - low) * share * (1 - share)
    freedom = max(np.sum(weight > 0) - len(space), 1)
    variance = max(np.sum(weight * problem.residuals**2) / freedom, 1e-300)
    slopes = np.sqrt(weight / variance)[:, None] * problem.slopes * steepness
    # The logistic density of a uniform prior bends by 2 share (1 - share).
    information = slopes.T @ slopes + np.diag(precision * steepness**2 + 2 * share * (1 - share))
    root = np.linalg.inv(np.linalg.cholesky(information)).T
    return _Density(low, high, np.log(share / (1 - share)), root, 0.5 * (first + last), precision)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _sample(
    objective: Objective, warmup: int, count: int, keys: Array, density: _Density, data: Data
) -> tuple[Array, Array]:
    """`[C, S, F]` coordinates and `[C, S]` which steps diverged."""
    import blackjax

    def place(z: Array) -> tuple[Array, Array]:
        u = density.centre + density.root @ z
        bent = jnp.sum(jax.nn.log_sigmoid(u) + jax.nn.log_sigmoid(-u))
        return density.low + (density.high - density.low) * jax.nn.sigmoid(u), bent

    def logarithm(z: Array) -> Array:
        x, bent = place(z)
        square = jnp.sum(data.importance * residuals(objective, x, data) ** 2)
        believed = -0.5 * jnp.sum(density.precision * (x - density.mean) ** 2)
        return -0.5 * jnp.sum(jnp.asarray(data.importance) > 0) * jnp.log(square) + believed + bent

    def one(key: Array) -> tuple[Array, Array]:
        of_start, of_warmup, of_steps = jax.random.split(key, 3)
        start = jax.random.normal(of_start, density.centre.shape, jnp.float64)
        adapt: Any = blackjax.window_adaptation(blackjax.nuts, logarithm)
        (state, tuned), _ = adapt.run(of_warmup, start, warmup)
        kernel: Any = blackjax.nuts(logarithm, **tuned)

        def step(state: Any, key: Array) -> tuple[Any, tuple[Array, Array]]:
            state, info = kernel.step(key, state)
            return state, (place(state.position)[0], info.is_divergent)

        return jax.lax.scan(step, state, jax.random.split(of_steps, count))[1]

    return jax.vmap(one)(keys)


def _disagreement(x: np.ndarray) -> np.ndarray:
    """`[F]` split R-hat of `[C, S, F]`: the chains' halves against each other."""
    half = x.shape[1] // 2
    parts = np.concatenate([x[:, :half], x[:, half : 2 * half]])
    within = parts.var(axis=1, ddof=1).mean(axis=0)
    between = parts.mean(axis=1).var(axis=0, ddof=1)
    return np.sqrt((half - 1) / half + between / np.maximum(within, 1e-300))
