"""SemDeDup: samples that are nearly the same as another one of their cluster are removed, tile by tile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from qqtjax.errors import InputError
from qqtjax.pools.drawing import ORDERS
from qqtjax.pools.embeddings import Embeddings
from qqtjax.pools.kmeans import MEMORY
from qqtjax.text import did_you_mean

# Rows of a cluster that are compared with as many others at once.
TILE = 512

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Deduplicated:
    """Which samples have a near duplicate that comes before them.

    Attributes:
        similarity: `[N]` float32 largest cosine to a sample of the same cluster that comes before (M_i), at least 0;
            0 for the first of a cluster.
        epsilon: the threshold that was asked for.
    """

    similarity: np.ndarray
    epsilon: float

    @property
    def kept(self) -> np.ndarray:
        """`[N]` bool: M_i <= 1 - epsilon."""
        return ~(self.similarity > np.float64(1) - self.epsilon)

    @property
    def rows(self) -> np.ndarray:
        """Ascending numbers of the rows that are kept."""
        return np.flatnonzero(self.kept)


def semdedup(
    source: Any,
    labels: np.ndarray,
    distances: np.ndarray,
    epsilon: float,
    *,
    order: str = "hardest",
    seed: int = 0,
    memory: float = MEMORY,
    progress: Progress | None = None,
) -> Deduplicated:
    """Find near duplicates within clusters.

        M_i = max over j before i in the cluster of <x_i, x_j>;   remove i if M_i > 1 - epsilon

    A sample goes even if its only near duplicate goes too, as in the released code. The cosines of a cluster are
    computed in tiles; clusters are read in groups that fit into memory, so that a file is gone through about as often
    as it is larger than that.

    Args:
        source: what `Embeddings.of` takes; `[N, d]`.
        labels: `[N]` cluster of each row.
        distances: `[N]` distance of each row to its centroid.
        epsilon: in (0, 1]; the larger, the more is removed.
        order: which of two duplicates comes first and stays: the "hardest" (farther from the centroid), the "easiest",
            or a "random" one; of equal distances the lower row number.
        seed: of the random order.
        memory: bytes that embeddings may take.
        progress: called with the rows done and the rows in all.

    Raises:
        InputError: a wrong threshold or order, other lengths, wrong rows (the file and row are named).

    Source: Abbas et al. 2023 (arXiv 2303.09540), and the code released with it.

    Example:
        >>> rows = np.array([[1.0, 0.0], [0.999, 0.01], [0.6, 0.8]])
        >>> found = semdedup(rows, np.zeros(3, int), np.array([0.1, 0.2, 0.3]), epsilon=0.05)
        >>> found.rows.tolist(), found.similarity.round(3).tolist()
        ([1, 2], [1.0, 0.6079999804496765, 0.0])
    """
    embeddings = Embeddings.of(source)
    check_epsilon(epsilon)
    if order not in ORDERS:
        raise InputError(f"order {order!r}: expected one of {', '.join(ORDERS)}{did_you_mean(order, ORDERS)}")
    if np.any(labels < 0):
        raise InputError(f"labels: {labels.min()} of row {int(np.argmin(labels))}, expected clusters from 0 on")
    for name, values in (("labels", labels), ("distances", distances)):
        if values.shape != (len(embeddings),):
            raise InputError(f"{name} of shape {values.shape}: expected one for each of {len(embeddings)} rows")
    if order == "random":
        key = np.random.default_rng(seed).random(len(labels))
    else:
        key = -distances if order == "hardest" else distances
    sequence = np.lexsort((key, labels))  # stable: of equal distances the lower row number is first
    sizes = np.bincount(labels)
    similarity = np.zeros(len(labels), np.float32)
    done = 0
    for group in _groups(sizes, memory / (4 * embeddings.width)):
        rows = sequence[done : done + sizes[group].sum()]
        ascending = np.sort(rows)
        values = embeddings.take(ascending)
        start = 0
        for size in sizes[group]:
            members = rows[start : start + size]
            similarity[members] = largest_before(values[np.searchsorted(ascending, members)])
            start += size
        done += len(rows)
        if progress is not None:
            progress(done, len(labels))
    return Deduplicated(similarity, epsilon)


def check_epsilon(epsilon: float) -> float:
    """The threshold itself.

    Raises:
        InputError: it is not in (0, 1].
    """
    if not 0 < epsilon <= 1:
        raise InputError(f"epsilon {epsilon}: expected a number above 0, at most 1")
    return epsilon


def _groups(sizes: np.ndarray, rows: float) -> Iterator[slice]:
    """Consecutive clusters of so many rows together; a larger one is alone."""
    start, held = 0, 0
    for cluster, size in enumerate(sizes):
        if held and held + size > rows:
            yield slice(start, cluster)
            start, held = cluster, 0
        held += size
    yield slice(start, len(sizes))


def largest_before(rows: np.ndarray) -> np.ndarray:
    """`[R]` the largest cosine of each row to one before it, at least 0; 0 for the first.

    Args:
        rows: `[R, d]` float32 of length 1.

    Example:
        >>> largest_before(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)).round(3).tolist()
        [0.0, 0.0, 0.800000011920929]
    """
    count, width = rows.shape
    # Clusters of any size in a few shapes: one tile of a power of two, or a power of two of whole tiles.
    padded = 1 << max(3, int(count - 1).bit_length())
    tile = min(TILE, padded)
    dense = np.zeros((padded // tile, tile, width), np.float32)
    dense.reshape(padded, width)[:count] = rows
    tiles = -(-count // tile)
    return np.asarray(_largest_before(dense, tiles)).reshape(-1)[:count]


@jax.jit
def _largest_before(tiles: Array, count: Array) -> Array:
    """`[T, tile]` of the first `count` tiles; the zeros that fill the last come after all rows, and change none."""
    size = tiles.shape[1]
    earlier = jnp.triu(jnp.ones((size, size), bool), 1)

    def compared(one: Array, other: Array) -> Array:
        return jnp.matmul(one, other.T, precision=jax.lax.Precision.HIGHEST)

    def column(place: Array, found: Array) -> Array:
        def against(before: Array, best: Array) -> Array:
            return jnp.maximum(best, jnp.max(compared(tiles[before], tiles[place]), axis=0))

        own = jnp.max(jnp.where(earlier, compared(tiles[place], tiles[place]), 0), axis=0)
        return found.at[place].set(jax.lax.fori_loop(0, place, against, own))

    return jax.lax.fori_loop(0, count, column, jnp.zeros(tiles.shape[:2], tiles.dtype))
