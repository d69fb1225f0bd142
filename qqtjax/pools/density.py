"""Density-based pruning: how many samples of each cluster to keep, from how complex the cluster is."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.pools.projection import project
from qqtjax.pools.rounding import checked_share, round_exact, whole_sizes, whole_total


class DensitySettings(NamedTuple):
    """Settings of density-based pruning that its paper and its released script set differently.

    Attributes:
        clusters: k of k-means.
        temperature: T of the softmax over complexities.
        neighbours: nearest other centroids in d_inter.
        balance: B, the part of an equal share that every cluster keeps; 0: one sample.
        keep: share of the samples kept.
    """

    clusters: int
    temperature: float
    neighbours: int
    balance: float
    keep: float


# LAION in the paper and its instructions. The temperature is that of a re-implementation by others; the paper's text
# was not at hand to confirm it. 100 clusters for DataComp medium.
PAPER = DensitySettings(clusters=500, temperature=0.1, neighbours=20, balance=0.0, keep=0.6)
# The defaults of the released script.
RELEASED = DensitySettings(clusters=10_000, temperature=0.5, neighbours=20, balance=0.5, keep=0.8)


def density_floor(sizes: ArrayLike, total: ArrayLike, balance: ArrayLike) -> Array:
    """The least that each cluster keeps: a part of an equal share, or one sample.

        l_j = min(m, n_j),   m = floor(B M / k) for B > 0, else 1;   m = 0 where M < k

    The released script has min(m, n_j - 1), with which a cluster of one sample may vanish and an empty one has the
    bound -1.

    Args:
        sizes: `[k]` n, samples.
        total: `[]` M, samples to keep.
        balance: B in [0, 1].

    Returns:
        `[k]`, samples; constant under differentiation.

    Example:
        >>> density_floor(np.array([100.0, 3.0, 0.0]), 30.0, 0.5).tolist()
        [5.0, 3.0, 0.0]
    """
    sizes, balance = jnp.asarray(sizes), jnp.asarray(balance)
    share = jnp.asarray(total) / sizes.shape[0]
    least = jnp.where(balance > 0, jnp.floor(balance * share), jnp.minimum(1.0, jnp.floor(share)))
    return jax.lax.stop_gradient(jnp.minimum(least, sizes))


def density_keep(
    complexity: ArrayLike, sizes: ArrayLike, total: ArrayLike, temperature: ArrayLike, balance: ArrayLike = 0.0
) -> Array:
    """Samples to keep of each cluster as real numbers, differentiable in all but the balance.

        P_j = exp(C_j / T) / sum_m exp(C_m / T),   N = argmin 1/2 sum_j (N_j - P_j M)^2   s.t.   sum_j N_j = M,
        l_j <= N_j <= n_j,   l as in `density_floor`

    Args:
        complexity: `[k]` C, d_inter d_intra; NaN (an empty cluster) counts as the mean of the others.
        sizes: `[k]` n, samples.
        total: `[]` M in [0, sum n], samples to keep.
        temperature: `[]` T > 0, in the unit of C.
        balance: B in [0, 1].

    Returns:
        `[k]`, samples, with sum M; use it inside `jax.enable_x64(True)` where M is beyond 2^24.

    Source: arXiv 2401.04578, section 3; bounds of its released script.

    Example:
        >>> kept = density_keep([0.1, 0.3, 0.2], [50.0, 50.0, 50.0], 75.0, 0.1)
        >>> [f"{each:.1f}" for each in kept]
        ['6.8', '49.9', '18.4']
        >>> slope = jax.grad(lambda T: density_keep([0.1, 0.3, 0.2], [50.0, 50.0, 50.0], 75.0, T)[0])(0.1)
        >>> f"{slope:.0f} samples a unit of T"
        '106 samples a unit of T'
    """
    return _kept(*(jnp.asarray(each) for each in (complexity, sizes, total, temperature, balance)))[0]


@jax.jit
def _kept(complexity: Array, sizes: Array, total: Array, temperature: Array, balance: Array) -> tuple[Array, Array]:
    """What is kept of each cluster, and its floor."""
    known = ~jnp.isnan(complexity)
    mean = jnp.sum(jnp.where(known, complexity, 0.0)) / jnp.maximum(jnp.sum(known), 1)
    shares = jax.nn.softmax(jnp.where(known, complexity, mean) / temperature)
    floor = density_floor(sizes, total, balance)
    return project(total * shares, floor, sizes, total), floor


def density_counts(
    complexity: ArrayLike,
    sizes: ArrayLike,
    total: int,
    temperature: float = PAPER.temperature,
    balance: float = PAPER.balance,
) -> np.ndarray:
    """Whole samples to keep of each cluster: `density_keep` in float64, rounded with the total met exactly.

    Args:
        complexity: `[k]` C; NaN counts as the mean of the others.
        sizes: `[k]` n, samples.
        total: M, samples to keep.
        temperature: T > 0.
        balance: B in [0, 1].

    Returns:
        `[k]` int64 with sum M.

    Raises:
        InputError: complexities that are infinite or all NaN, other lengths, sizes that are not whole, a total above
            their sum, a temperature that is not positive, a balance outside [0, 1].

    Source: as `density_keep`; the released script rounds each cluster by itself and keeps 906 of 898 on its own test.

    Example:
        >>> density_counts([0.1, 0.3, 0.2], [50, 50, 50], 75).tolist()
        [7, 50, 18]
    """
    whole = whole_sizes(sizes)
    wanted = whole_total(total, int(whole.sum()))
    values = np.asarray(complexity, np.float64)
    if values.shape != whole.shape:
        raise InputError(f"complexities of shape {values.shape}: expected one for each of {len(whole)} clusters")
    if np.any(np.isinf(values)) or np.all(np.isnan(values)):
        raise InputError("complexities: expected finite numbers, or NaN for some clusters")
    checked_temperature(temperature)
    balance = checked_share(balance, "balance")
    with jax.enable_x64(True):
        kept, floor = _kept(values, whole.astype(np.float64), float(wanted), float(temperature), balance)
    return round_exact(kept, wanted, floor, whole)


def checked_temperature(temperature: float) -> float:
    """The temperature itself.

    Raises:
        InputError: it is not a positive number.
    """
    if not 0 < temperature < np.inf:
        raise InputError(f"temperature {temperature:.12g}: expected a positive number")
    return temperature
