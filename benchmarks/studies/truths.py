"""Made-up truths with a stated prior, and studies that measure them: what all pages on uncertainty draw from.

Prior: four pools of 12.8M samples. Across studies the centre of log|b| is uniform in log .08 .. log .3, that of log tau
in log 2 .. log 15, the scale log-uniform in 1e6 .. 1e7, the floor uniform in .02 .. .3. Across the pools of a study
log|b| and log tau are normal around the centres, with the standard deviations of `HETEROGENEITY`. Dilution 1, geometric
decay. The shifted prior has b around log .03 .. log .12, tau in log .8 .. log 5 and scales of 3e5 .. 3e6.

A study measures each pool alone at some epochs, with Gaussian noise on the error. Runs may have effects of their own
(intra-run correlation rho: a share rho of the variance is common to all checkpoints of a run), and pools may be drawn
anew for each run (log b and log tau of a redraw scatter around those of the pool).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from qqtjax.laws import UtilityParams, utility
from qqtjax.runs import Pools, Run, Runs

POOLS, SIZE, NOISE = 4, 12.8e6, 0.003
EPOCHS = (0.25, 1.0, 2.0, 5.0, 10.0)
HETEROGENEITY = {"low": (0.1, 0.15), "medium": (0.25, 0.4), "high": (0.5, 0.8)}  # of log|b|, of log tau
PRIOR = ((0.08, 0.3), (2.0, 15.0), (1e6, 1e7))
SHIFTED = ((0.03, 0.12), (0.8, 5.0), (3e5, 3e6))
NAMES = tuple(f"pool{place}" for place in range(POOLS))


class Truths(NamedTuple):
    """B truths; leading axis B."""

    utility: np.ndarray
    half_life: np.ndarray
    scale: np.ndarray
    floor: np.ndarray


def draw_truths(rng: np.random.Generator, count: int, heterogeneity: str | None = None, prior: tuple = PRIOR) -> Truths:
    """B truths of one heterogeneity, or each of a random one."""
    levels = np.array(list(HETEROGENEITY.values()))
    which = rng.integers(len(levels), size=count)
    if heterogeneity is not None:
        which[:] = list(HETEROGENEITY).index(heterogeneity)
    slopes, lives, scales = np.log(np.array(prior))
    centre = np.stack([rng.uniform(*slopes, count), rng.uniform(*lives, count)], axis=1)
    pools = centre[:, None] + levels[which][:, None] * rng.normal(size=(count, POOLS, 2))
    return Truths(
        utility=-np.exp(pools[..., 0]),
        half_life=np.exp(pools[..., 1]),
        scale=np.exp(rng.uniform(*scales, count)),
        floor=rng.uniform(0.02, 0.3, count),
    )


def params_of(truths: Truths) -> UtilityParams:
    """The truths as a stack of parameters of `laws.utility`."""
    count = len(truths.scale)
    return UtilityParams(
        scale=truths.scale,
        floor=truths.floor,
        utility=truths.utility,
        half_life=truths.half_life,
        reference_size=np.full((count, POOLS), SIZE),
        dilution=np.ones(count),
        amplitude=np.ones(count),
    )


@jax.jit
def _errors(params: UtilityParams, weights: Array, seen: Array) -> Array:
    def one(own: UtilityParams, shares: Array, n: Array) -> Array:
        return utility(own, Run(weights=shares, sizes=jnp.full(POOLS, SIZE), samples_seen=n))

    return jax.vmap(jax.vmap(one, in_axes=(None, 0, 0)), in_axes=(0, None, None))(params, weights, seen)


def errors(params: UtilityParams, weights: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """`[B, M]` errors of M runs, weights `[M, 4]` and samples seen `[M]`, under B parameters."""
    with jax.enable_x64(True):
        return np.asarray(_errors(params, weights, np.broadcast_to(np.asarray(seen, float), len(weights))))


def table(epochs: tuple[float, ...] = EPOCHS, runs_per_pool: int = 1) -> Runs:
    """The checkpoints of a study: every pool alone, in so many runs; the errors are for the caller to fill in."""
    source = np.repeat(np.arange(POOLS), runs_per_pool * len(epochs))
    run = np.repeat(np.arange(POOLS * runs_per_pool), len(epochs))
    zero = np.zeros(len(source), int)
    return Runs(
        pools=Pools(NAMES, np.full(POOLS, SIZE)),
        source=source,
        mixes=np.zeros((0, POOLS)),
        mix_sizes=np.zeros((0, POOLS)),
        samples_seen=np.tile(np.array(epochs) * SIZE, POOLS * runs_per_pool),
        error=np.full(len(source), 0.5),
        run=run,
        run_names=tuple(f"{NAMES[i // runs_per_pool]}, run {i % runs_per_pool}" for i in range(run.max() + 1)),
        seed=zero,
        metric=zero,
    )


def measure(
    rng: np.random.Generator,
    truths: Truths,
    runs: Runs,
    noise: float = NOISE,
    correlation: float = 0.0,
    redraws: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """`[B, M]` measured errors of every study.

    Args:
        rng: of the noise.
        truths: B of them.
        runs: from `table`.
        noise: its standard deviation, in error.
        correlation: share of its variance that is common to all checkpoints of a run.
        redraws: standard deviations with which log|b| and log tau of each run scatter around those of its pool.
    """
    count, length = len(truths.scale), runs.run.max() + 1
    checkpoints = rng.normal(size=(count, len(runs)))
    effects = rng.normal(size=(count, length))[:, runs.run]
    drawn = noise * (np.sqrt(1 - correlation) * checkpoints + np.sqrt(correlation) * effects)
    if redraws == (0.0, 0.0):
        return errors(params_of(truths), np.eye(POOLS)[runs.source], runs.samples_seen) + drawn
    exact = np.empty_like(drawn)
    for each in range(length):
        moved = np.exp(rng.normal(size=(count, POOLS, 2)) * redraws)
        own = truths._replace(utility=truths.utility * moved[..., 0], half_life=truths.half_life * moved[..., 1])
        rows = runs.run == each
        exact[:, rows] = errors(params_of(own), np.eye(POOLS)[runs.source[rows]], runs.samples_seen[rows])
    return exact + drawn
