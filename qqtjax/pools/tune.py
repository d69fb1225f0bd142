"""Temperature and total of density-based pruning by gradient, through the predicted error at a budget."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws import FittedLaw, Law
from qqtjax.pools.density import density_counts, density_keep
from qqtjax.pools.rounding import checked_share, whole_sizes
from qqtjax.runs import Run

LEAST_SHARE = 0.01  # of the samples: the smallest total that is searched
TEMPERATURES = (1e-2, 1e3)  # searched range, in standard deviations of the complexities
STARTS = 4  # along each of the two directions
POLISH = {"xatol": 1e-6, "fatol": 1e-10}


def kept_error(
    fitted: FittedLaw,
    keep: ArrayLike,
    samples_seen: ArrayLike,
    group: ArrayLike | None = None,
    max_epochs: int | None = None,
) -> Array:
    """Predicted error of training on what is kept, drawn uniformly: differentiable in `keep`.

        w_i = N_i / sum N,   N_i = sum of the samples kept of the clusters in pool i,   error = law(w, N, n)

    Args:
        fitted: a law of P pools.
        keep: `[k]` samples kept of each cluster.
        samples_seen: `[]` n, the budget, repeats counted.
        group: `[k]` the law's pool of each cluster; None where every cluster is a pool.
        max_epochs: for a law that scans over epochs; see the law.

    Returns:
        `[]`, in the unit of the law's metric.

    Source: the mixture of arXiv 2404.07177 with the natural weights of what is kept.

    Example:
        >>> import qqtjax as qqt
        >>> fitted = qqt.published("datacomp-tmars").utility
        >>> few, all_of_it = (kept_error(fitted, [12.8e6, *[rest] * 3], 64e6) for rest in (0.0, 12.8e6))
        >>> f"{few:.3f} {all_of_it:.3f}"  # the best pool alone, five times, or all four
        '0.773 0.823'
    """
    kept, pools = jnp.asarray(keep), len(fitted.pools)
    clusters = np.arange(pools) if group is None else group
    return _error(fitted.law, pools, max_epochs, fitted.params, kept, jnp.asarray(samples_seen), jnp.asarray(clusters))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _error(
    law: Law, pools: int, max_epochs: int | None, params: Any, keep: Array, samples_seen: Array, group: Array
) -> Array:
    kept = jax.ops.segment_sum(keep, group, pools)
    run = Run(weights=kept / jnp.sum(kept), sizes=jnp.maximum(kept, 1.0), samples_seen=samples_seen)
    return law(params, run, max_epochs)


@dataclasses.dataclass(frozen=True, eq=False)
class Tuned:
    """Settings of density-based pruning with the least predicted error at a budget.

    Attributes:
        temperature: T.
        total: M, samples to keep.
        counts: `[k]` int64 samples to keep of each cluster, with sum M.
        error: predicted, in the unit of the law's metric.
        slope: `[2]` d error / d log T and d error / d log M there; 0 unless it is an end of the range searched, or a
            kink (a cluster at its bound, the end of an epoch), where it is the slope on one side.
        error_of_all: predicted error of training on everything.
    """

    temperature: float
    total: int
    counts: np.ndarray
    error: float
    slope: np.ndarray
    error_of_all: float


def tune_density(
    fitted: FittedLaw,
    complexity: ArrayLike,
    sizes: ArrayLike,
    samples_seen: float,
    group: ArrayLike | None = None,
    balance: float = 0.0,
    max_epochs: int | None = None,
) -> Tuned:
    """Temperature and total of `density_keep` with the least predicted error at a budget.

        min over T, M of   law(w(N), N, n),   N = Proj(M softmax(C / T))

    by quasi-Newton steps on the exact gradient through the projection, in log T and log M, from a grid of starts, and
    then by a simplex search: the error is continuous, but has kinks where a cluster reaches a bound and where an epoch
    ends, and its optimum often lies on one. The result is the best of the local ones found.

    Args:
        fitted: a law of P pools, with half-lives as measured on the sizes that it was fitted with.
        complexity: `[k]` C of each cluster, finite.
        sizes: `[k]` n, samples of each cluster.
        samples_seen: the budget, repeats counted.
        group: `[k]` the law's pool of each cluster; None where every cluster is a pool.
        balance: B of the floor, in [0, 1].
        max_epochs: for a law that scans over epochs; see the law.

    Returns:
        `Tuned`.

    Raises:
        InputError: complexities that are not finite or all equal, other lengths, a group that is no pool, sizes that
            are not whole.

    Source: ours; neither arXiv 2401.04578 nor 2404.07177 has it.

    Example:
        >>> import qqtjax as qqt
        >>> fitted = qqt.published("datacomp-tmars").utility
        >>> found = tune_density(fitted, [0.4, 0.3, 0.2, 0.1], [12_800_000] * 4, samples_seen=64e6)
        >>> found.error < found.error_of_all, int(found.counts.sum()) == found.total
        (True, True)
    """
    from scipy.optimize import minimize

    whole = whole_sizes(sizes)
    values = np.asarray(complexity, np.float64)
    clusters = np.arange(len(whole)) if group is None else np.asarray(group)
    _check(fitted, values, whole, clusters, samples_seen)
    balance = checked_share(balance, "balance")
    with jax.enable_x64(True):
        given = jax.device_put(
            (fitted.params, values, whole.astype(np.float64), float(samples_seen), clusters, balance)
        )

        def error(of: np.ndarray) -> tuple[np.ndarray, ...]:
            both = _error_and_slope(fitted.law, len(fitted.pools), max_epochs, of, *given)
            return tuple(np.asarray(each, np.float64) for each in both)

        ranges = [tuple(np.log(np.std(values) * np.array(TEMPERATURES))), (np.log(LEAST_SHARE), 0.0)]
        # Starts lie off the ends, where a coordinate could not move both ways.
        lines = [np.linspace(low, high, STARTS + 2)[1:-1] for low, high in ranges]
        found: list[Any] = [
            minimize(error, np.array([first, second]), jac=True, method="L-BFGS-B", bounds=ranges)
            for first in lines[0]
            for second in lines[1]
        ]
        # Where a cluster reaches a bound the gradient jumps and such steps get stuck: a simplex goes on from there.
        found = [
            minimize(lambda of: error(of)[0], each.x, method="Nelder-Mead", bounds=ranges, options=POLISH)
            for each in found
        ]
        best = min(found, key=lambda each: each.fun)
        slope = error(best.x)[1]
        whole_error = float(kept_error(fitted, whole.astype(np.float64), samples_seen, clusters, max_epochs))
    temperature, total = float(np.exp(best.x[0])), round(float(whole.sum() * np.exp(best.x[1])))
    counts = density_counts(values, whole, total, temperature, balance)
    return Tuned(temperature, total, counts, float(best.fun), slope, whole_error)


@partial(jax.jit, static_argnums=(0, 1, 2))
@partial(jax.value_and_grad, argnums=3)
def _error_and_slope(
    law: Law,
    pools: int,
    max_epochs: int | None,
    of: Array,
    params: Any,
    complexity: Array,
    sizes: Array,
    samples_seen: Array,
    group: Array,
    balance: Array,
) -> Array:
    """Predicted error at a log temperature and log share of all samples, and its slope there."""
    total = jnp.sum(sizes) * jnp.exp(of[1])
    keep = density_keep(complexity, sizes, total, jnp.exp(of[0]), balance)
    return _error(law, pools, max_epochs, params, keep, samples_seen, group)


def _check(
    fitted: FittedLaw, complexity: np.ndarray, sizes: np.ndarray, group: np.ndarray, samples_seen: float
) -> None:
    """Raise `InputError` for what the search cannot use."""
    clusters, pools = len(sizes), len(fitted.pools)
    if complexity.shape != (clusters,) or group.shape != (clusters,):
        raise InputError(
            f"complexities of shape {complexity.shape} and groups of shape {group.shape}: expected one for each of "
            f"{clusters} clusters"
        )
    if not np.all(np.isfinite(complexity)) or not np.ptp(complexity) > 0:
        raise InputError("complexities: expected finite numbers that are not all equal")
    if not np.issubdtype(group.dtype, np.integer) or np.any((group < 0) | (group >= pools)):
        raise InputError(f"groups of clusters: expected whole numbers from 0 to {pools - 1}, one of {pools} pools")
    if not 0 < samples_seen < np.inf:
        raise InputError(f"samples seen {samples_seen:.12g}: expected a positive number")
