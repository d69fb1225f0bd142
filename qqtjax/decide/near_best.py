"""All mixes that are nearly as good as the best, and the range over which each pool's weight may move among them."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw
from qqtjax.laws.law import Law
from qqtjax.mix import optimize_mix
from qqtjax.mix.predict import errors_of
from qqtjax.mix.separable import is_separable
from qqtjax.mix.single import filled

HALVINGS = 40
SAMPLES = 20_000


class NearBest(NamedTuple):
    """The mixes within `epsilon` of the least error at one budget.

    Attributes:
        samples_seen: the budget.
        epsilon: how much worse a mix may be, in the unit of the error.
        error: the least error.
        best: `{pool: weight}` of the best mix.
        low: `{pool: least weight}` over the set.
        high: `{pool: largest weight}` over the set.
        proved: are the ranges exact (the set is convex and each end is a solved problem); else they are those of
            random mixes, and the true ranges are wider.
    """

    samples_seen: float
    epsilon: float
    error: float
    best: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    proved: bool

    def __str__(self) -> str:
        spans = [f"{name} {self.low[name]:.2f} to {self.high[name]:.2f}" for name in self.best]
        how = "" if self.proved else " (of random mixes)"
        return f"within {self.epsilon:g} of {self.error:.4f}{how}: {', '.join(spans)}"


def near_best(fit: FittedLaw, budget: float, epsilon: float = 1e-3, seed: int = 0) -> NearBest:
    """How far each weight may move if the error may be a little larger than the least.

        low_i, high_i = min, max w_i   over   y(w, n) <= y*(n) + epsilon,  w_j >= 0,  sum_j w_j = 1

    For `laws.utility` with the geometric decay log(y - d) is convex in w: with one weight held at v the best of the
    others is a water-filling problem, its value a convex function of v, and either end a root found by halving. For
    other laws random mixes around the best are tried instead. Source: ours.

    Args:
        fit: a law on its pools.
        budget: n, samples seen.
        epsilon: above 0, in the unit of the error.
        seed: of the random mixes.

    Returns:
        A `NearBest`.

    Raises:
        InputError: a budget or epsilon that is not above 0.

    Example:
        >>> import qqtjax as qqt
        >>> found = near_best(qqt.published("datacomp-tmars").utility, 128e6, 0.002)
        >>> found.proved, [f"{found.low[pool]:.2f} to {found.high[pool]:.2f}" for pool in list(found.low)[:2]]
        (True, ['0.56 to 0.77', '0.23 to 0.44'])
    """
    if not 0 < epsilon < np.inf:
        raise InputError(f"epsilon {epsilon!r}: expected a positive number, in the unit of the error")
    best = optimize_mix(fit, budget=budget, seed=seed)
    names = fit.pools.names
    weights = np.asarray(best.weights, np.float64)
    proved = np.ndim(fit.params.floor) == 0 if hasattr(fit.params, "floor") else True
    proved = proved and is_separable(fit.law, fit.params, None)
    if proved:
        low, high = _ends(fit, float(budget), weights, float(best.error) + epsilon)
    else:
        low, high = _sampled(fit, float(budget), weights, float(best.error) + epsilon, seed)
    return NearBest(
        samples_seen=float(budget),
        epsilon=float(epsilon),
        error=float(best.error),
        best=dict(zip(names, weights.tolist(), strict=True)),
        low=dict(zip(names, low.tolist(), strict=True)),
        high=dict(zip(names, high.tolist(), strict=True)),
        proved=bool(proved),
    )


@partial(jax.jit, static_argnums=0)
def _with_one_held(law: Law, params: Any, sizes: Array, samples_seen: Array, low: Array, high: Array) -> Array:
    """`[L]` error above the floor of the best mix under each pair of bounds."""
    solve = jax.vmap(partial(filled, law), in_axes=(None, None, None, 0, 0))
    return jax.numpy.exp(-solve(params, sizes, samples_seen, low, high)[1])


def _ends(fit: FittedLaw, budget: float, best: np.ndarray, most: float) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of the range of every weight, `[P]` each, by halving between the best weight and 0 or 1."""
    count = len(best)
    floor = float(np.asarray(getattr(fit.params, "floor", 0.0)))
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), fit.params)
        sizes = np.asarray(fit.pools.sizes, np.float64)

        def error(held: np.ndarray) -> np.ndarray:
            """Least errors with pool i at `held[i]`, and at `held[P + i]`."""
            pools = np.tile(np.eye(count, dtype=bool), (2, 1))
            low, high = np.where(pools, held[:, None], 0.0), np.where(pools, held[:, None], 1.0)
            if count == 1:
                low = high = np.ones((2, 1))
            return floor + np.asarray(_with_one_held(fit.law, params, sizes, np.float64(budget), low, high))

        inside = np.concatenate([best, best])
        outside = np.concatenate([np.zeros(count), np.ones(count)])
        # An end that is itself good enough is the answer.
        inside = np.where(error(outside) <= most, outside, inside)
        for _ in range(HALVINGS):
            middle = (inside + outside) / 2
            good = error(middle) <= most
            inside, outside = np.where(good, middle, inside), np.where(good, outside, middle)
    return np.minimum(inside[:count], best), np.maximum(inside[count:], best)


def _sampled(fit: FittedLaw, budget: float, best: np.ndarray, most: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The range of every weight over random mixes that are good enough: on lines from the best to random ones."""
    rng = np.random.default_rng(seed)
    count = SAMPLES if not fit.law.scans(fit.params) else SAMPLES // 20
    ends = rng.dirichlet(np.full(len(best), 0.5), count)
    ends[: len(best)] = np.eye(len(best))
    mixes = best + rng.random((count, 1)) ** 2 * (ends - best)
    good = mixes[errors_of(fit, mixes, np.full(count, budget)) <= most]
    every = np.vstack([best[None], good])
    return every.min(axis=0), every.max(axis=0)
