"""How diverse a cluster is: distances to its centroid, distances between centroids, and their product."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from qqtjax.errors import InputError

NEIGHBOURS = 20
# Rows of the matrix of distances between centroids that are held at once.
ROWS = 256


def intra_distance(distance_sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`[k]` mean distance of the members of each cluster to its centroid; NaN where it has none.

        d_intra,j = 1/n_j sum_{i in j} (1 - <x_i, mu_j>)

    Args:
        distance_sums: `[k]` sum of 1 - cosine over the members.
        counts: `[k]` members (n_j).

    Source: Abbas et al. 2024 (arXiv 2401.04578), section 3.

    Example:
        >>> intra_distance(np.array([0.6, 0.0]), np.array([3, 0])).round(3).tolist()
        [0.2, nan]
    """
    counts = np.asarray(counts)
    return np.divide(distance_sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)


def inter_distance(centroids: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """`[k]` mean distance of each centroid to its nearest other ones.

        d_inter,j = 1/l sum_{m in the l nearest, m != j} (1 - <mu_j, mu_m>)

    A centroid itself is left out by its number: the code released with the paper drops whatever comes first in the
    order of distance, which may be another one where centroids coincide.

    Args:
        centroids: `[k, d]` of length 1 (mu).
        neighbours: how many others count (l); all of them where there are fewer.

    Raises:
        InputError: fewer than two centroids, or no neighbour asked for.

    Source: Abbas et al. 2024 (arXiv 2401.04578), section 3; l = 20 in the released code.

    Example:
        >>> inter_distance(np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), neighbours=1).round(3).tolist()
        [0.4, 0.2, 0.2]
    """
    count = len(centroids)
    if count < 2:
        raise InputError(f"{count} centroid: expected at least 2, so that each has a neighbour")
    checked_neighbours(neighbours)
    with jax.enable_x64(True):
        found = _inter_distance(jnp.asarray(centroids, jnp.float64), min(neighbours, count - 1))
    return np.asarray(found)


def checked_neighbours(neighbours: int) -> int:
    """The number of neighbours itself.

    Raises:
        InputError: it is not positive.
    """
    if neighbours < 1:
        raise InputError(f"neighbours {neighbours}: expected at least 1")
    return neighbours


@partial(jax.jit, static_argnums=1)
def _inter_distance(centroids: Array, neighbours: int) -> Array:
    count = len(centroids)

    def nearest(place: Array) -> Array:
        cosine = jnp.einsum("d,kd->k", centroids[place], centroids)
        others = jnp.where(jnp.arange(count) == place, -jnp.inf, cosine)
        return jnp.mean(1 - jax.lax.top_k(others, neighbours)[0])

    return jax.lax.map(nearest, jnp.arange(count), batch_size=min(ROWS, count))


def complexity(d_inter: np.ndarray, d_intra: np.ndarray) -> np.ndarray:
    """`[k]` complexity of each cluster, from which density-based pruning decides how many of it to keep.

        C_j = d_inter,j d_intra,j,   and the mean of the others where a cluster is empty

    Args:
        d_inter: `[k]` distances to the nearest other centroids.
        d_intra: `[k]` distances of members to their centroid; NaN for an empty cluster.

    Raises:
        InputError: every cluster is empty.

    Source: Abbas et al. 2024 (arXiv 2401.04578), section 3.

    Example:
        >>> complexity(np.array([0.5, 0.4, 0.1]), np.array([0.2, 0.1, np.nan])).round(3).tolist()
        [0.1, 0.04, 0.07]
    """
    product = np.asarray(d_inter, np.float64) * np.asarray(d_intra, np.float64)
    known = product[~np.isnan(product)]
    if not len(known):
        raise InputError("every cluster is empty: there is no complexity")
    return np.where(np.isnan(product), known.mean(), product)
