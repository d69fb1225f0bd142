"""Spherical k-means: Lloyd's passes over embeddings of any size, the same bits however they are cut up."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.pools.chunks import SAME, SPLIT, Chunk, Chunks, block_rows, local_mesh
from qqtjax.pools.embeddings import Embeddings
from qqtjax.pools.work import Work, digest

# Sums are kept as whole multiples of this: whole numbers add up to the same in every order, so that neither the
# chunks nor the devices nor the order of a parallel reduction show in the result. 2^32 rows of length 1 fit.
UNIT = 2.0**-30
# How far the two halves of a cluster that is split are moved apart.
SPLIT_STEP = 2.0**-7
PASSES, TOLERANCE, MEMORY = 100, 1e-5, 2**30
STATE = "kmeans"

Progress = Callable[[int, int, float], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Clusters:
    """What k-means found.

    Attributes:
        centroids: `[k, d]` float32 of length 1 (mu).
        counts: `[k]` int64 rows nearest to each centroid in the last pass, which then moved it.
        mean_cosine: `[passes]` mean cosine between the rows and the nearest of the centroids that the pass began with.
        reseeded: `[passes]` clusters that were empty in the pass and took half of a large one.
        rows: how many rows the passes went over.
        converged: did the last pass raise the mean cosine by less than the tolerance.
    """

    centroids: np.ndarray
    counts: np.ndarray
    mean_cosine: np.ndarray
    reseeded: np.ndarray
    rows: int
    converged: bool

    def __len__(self) -> int:
        return len(self.centroids)


class _Totals(NamedTuple):
    """Sums over rows, one set for each of D devices.

    Attributes:
        vectors: `[D, k, d]` int64 sums of the rows of each cluster, in units.
        counts: `[D, k]` int64.
        cosine: `[D]` int64 sum of the cosines, in units.
    """

    vectors: Array
    counts: Array
    cosine: Array


def kmeans(
    source: Any,
    clusters: int,
    *,
    passes: int = PASSES,
    tolerance: float = TOLERANCE,
    points_per_centroid: int | None = None,
    init: ArrayLike | None = None,
    seed: int = 0,
    memory: float = MEMORY,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Clusters:
    """Cluster unit vectors by their directions.

        a(i) = argmax_j <x_i, mu_j>,   mu_j <- sum_{a(i) = j} x_i / |sum_{a(i) = j} x_i|

    A pass assigns every row and then moves every centroid. It starts from k distinct rows. A cluster that is empty
    takes half of the largest one. Of the same seed the result is the same to the last bit, whatever is read at once and
    on however many devices of one kind: sums are kept as whole numbers.

    Args:
        source: what `Embeddings.of` takes; `[N, d]`.
        clusters: k.
        passes: at most.
        tolerance: stop after a pass that raised the mean cosine by less; 0 goes on while it rises at all.
        points_per_centroid: train on so many rows times k, drawn without replacement; None for all rows. (faiss
            takes 256 by default, whatever N is.)
        init: `[k, d]` centroids to start from instead of rows; need not be of length 1.
        seed: of the rows that it starts from, the rows that are drawn and the halves of split clusters.
        memory: bytes that embeddings may take on the devices; more of them are read again in every pass.
        folder: keep the state there after each pass; run again after a stop, it goes on from the last one.
        progress: called after each pass with its number, the most there can be, and the mean cosine.

    Raises:
        InputError: more clusters than rows, wrong numbers, wrong rows (the file and row are named), a folder that
            holds something else.

    Source: Dhillon and Modha 2001; used as in Abbas et al. 2024 (arXiv 2401.04578).

    Example:
        >>> rows = np.array([[4.0, 3.0], [3.0, 4.0], [-1.0, 0.1], [-1.0, -0.1]])
        >>> found = kmeans(rows, 2, init=rows[[0, 2]])
        >>> found.counts.tolist(), found.centroids.astype(float).round(4).tolist()
        ([2, 2], [[0.7071, 0.7071], [-1.0, 0.0]])
    """
    embeddings = Embeddings.of(source)
    _check(embeddings, clusters, passes, tolerance, points_per_centroid)
    work = Work.of(folder)
    work.begin(
        STATE,
        {
            "embeddings": embeddings.fingerprint() if folder is not None else "",
            "clusters": clusters,
            "seed": seed,
            "points_per_centroid": points_per_centroid,
            "init": None if init is None else digest(np.asarray(init)),
        },
    )
    rng = np.random.default_rng(seed)
    trained = embeddings
    if points_per_centroid is not None and points_per_centroid * clusters < len(embeddings):
        trained = embeddings.of_rows(rng.choice(len(embeddings), points_per_centroid * clusters, replace=False))
    state = work.load(STATE)
    if state is None:
        state = {
            "centroids": _first(trained, clusters, init, rng),
            "counts": np.zeros(clusters, np.int64),
            "mean_cosine": np.zeros(0),
            "reseeded": np.zeros(0, np.int64),
        }
    mesh = local_mesh()
    chunks = Chunks(trained, memory, mesh, block_rows(clusters, mesh))
    with jax.enable_x64(True):
        while len(state["mean_cosine"]) < passes and not _settled(state["mean_cosine"], tolerance):
            state = _pass(chunks, mesh, state, seed)
            work.save(STATE, state)
            if progress is not None:
                progress(len(state["mean_cosine"]), passes, float(state["mean_cosine"][-1]))
    return Clusters(**state, rows=len(trained), converged=_settled(state["mean_cosine"], tolerance))


def _check(embeddings: Embeddings, clusters: int, passes: int, tolerance: float, points: int | None) -> None:
    if clusters < 1:
        raise InputError(f"clusters {clusters}: expected at least 1")
    if clusters > len(embeddings):
        raise InputError(f"{clusters} clusters of {len(embeddings)} rows: expected at most one a row")
    if passes < 1:
        raise InputError(f"passes {passes}: expected at least 1")
    if not tolerance >= 0:
        raise InputError(f"tolerance {tolerance}: expected a number >= 0")
    if points is not None and points < 1:
        raise InputError(f"points_per_centroid {points}: expected at least 1")


def _first(trained: Embeddings, clusters: int, init: ArrayLike | None, rng: np.random.Generator) -> np.ndarray:
    """`[k, d]` centroids to start from."""
    if init is None:
        return trained.take(np.sort(rng.choice(len(trained), clusters, replace=False)))
    given = Embeddings.of(np.asarray(init))
    if (len(given), given.width) != (clusters, trained.width):
        raise InputError(f"init of shape ({len(given)}, {given.width}): expected ({clusters}, {trained.width})")
    return given.read(0, clusters)


def _settled(mean_cosine: np.ndarray, tolerance: float) -> bool:
    return len(mean_cosine) > 1 and not mean_cosine[-1] - mean_cosine[-2] > tolerance


def _pass(chunks: Chunks, mesh: Mesh, state: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """The state after one more pass."""
    clusters, width = state["centroids"].shape
    centroids = jax.device_put(state["centroids"], NamedSharding(mesh, SAME))
    totals = _zeros(mesh, clusters, width)
    rows = 0
    for chunk in chunks:
        # Without waiting all chunks would queue up, and with them the memory that they take.
        totals = jax.block_until_ready(_added(mesh, totals, chunk.blocks, chunk.rows, centroids))
        rows += chunk.count
    moved, counts, cosine = (np.asarray(each) for each in _moved(totals, centroids))
    empty = np.flatnonzero(counts == 0)
    past = len(state["mean_cosine"])
    return {
        "centroids": split_largest(moved, counts, empty, np.random.default_rng([seed, past])) if len(empty) else moved,
        "counts": counts,
        "mean_cosine": np.append(state["mean_cosine"], cosine * UNIT / rows),
        "reseeded": np.append(state["reseeded"], len(empty)),
    }


def split_largest(centroids: np.ndarray, counts: np.ndarray, empty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`[k, d]` centroids after each empty cluster took half of the one that is largest by then.

        mu_empty, mu_largest <- directions of mu_largest + u, mu_largest - u,   u of small length, any direction

    Args:
        centroids: `[k, d]` of length 1.
        counts: `[k]` members.
        empty: numbers of the clusters without any.
        rng: of the directions.
    """
    halved, moved = counts.astype(np.float64), centroids.astype(np.float64)
    for cluster in empty:
        donor = int(np.argmax(halved))
        step = rng.normal(size=moved.shape[1])
        step *= SPLIT_STEP / np.linalg.norm(step)
        halves = moved[donor] + step, moved[donor] - step
        for place, half in zip((cluster, donor), halves, strict=True):
            moved[place] = half / np.linalg.norm(half)
        halved[[cluster, donor]] = halved[donor] / 2
    return moved.astype(np.float32)


def nearest(rows: Array, centroids: Array) -> tuple[Array, Array]:
    """`[B]` cosine to the nearest centroid and its number; of several the lowest.

    Args:
        rows: `[B, d]` float32 of length 1.
        centroids: `[k, d]` float32 of length 1.
    """
    cosines = jnp.matmul(rows, centroids.T, precision=jax.lax.Precision.HIGHEST)
    best = jnp.max(cosines, axis=1)
    # Two reductions of floats instead of `argmax`: on a CPU these become vector code, four times as fast.
    numbers = jax.lax.broadcasted_iota(jnp.float32, cosines.shape, 1)
    first = jnp.min(jnp.where(cosines == best[:, None], numbers, jnp.float32(len(centroids))), axis=1)
    return best, first.astype(jnp.int32)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _zeros(mesh: Mesh, clusters: int, width: int) -> _Totals:
    devices = mesh.size
    zeros = _Totals(
        jnp.zeros((devices, clusters, width), jnp.int64),
        jnp.zeros((devices, clusters), jnp.int64),
        jnp.zeros(devices, jnp.int64),
    )
    return jax.lax.with_sharding_constraint(zeros, NamedSharding(mesh, SPLIT))


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _added(mesh: Mesh, totals: _Totals, blocks: Array, rows: Array, centroids: Array) -> _Totals:
    """Totals with a chunk added, each device its own part of it."""

    def own(totals: _Totals, blocks: Array, rows: Array, centroids: Array) -> _Totals:
        def add(totals: _Totals, numbered: tuple[Array, Array]) -> tuple[_Totals, None]:
            number, block = numbered
            cosine, label = nearest(block, centroids)
            counted = number * len(block) + jnp.arange(len(block), dtype=jnp.int32) < rows[0]
            return _Totals(
                totals.vectors.at[0, label].add(_units(block)),
                totals.counts.at[0, label].add(counted.astype(jnp.int64)),
                totals.cosine + jnp.sum(jnp.where(counted, _units(cosine), 0)),
            ), None

        numbers = jnp.arange(blocks.shape[1], dtype=jnp.int32)
        return jax.lax.scan(add, totals, (numbers, blocks[0]))[0]

    specs = (SPLIT, SPLIT, SPLIT, SAME)
    sharded = jax.shard_map(own, mesh=mesh, in_specs=specs, out_specs=SPLIT, check_vma=False)
    return sharded(totals, blocks, rows, centroids)


def _units(values: Array) -> Array:
    """Numbers in [-1, 1] as whole multiples of `UNIT`."""
    return jnp.round(values * jnp.float32(1 / UNIT)).astype(jnp.int64)


@jax.jit
def _moved(totals: _Totals, centroids: Array) -> tuple[Array, Array, Array]:
    """Centroids after a pass, members of each, and the sum of all cosines in units: the one reduction over devices."""
    vectors, counts, cosine = (jnp.sum(each, axis=0) for each in totals)
    dense = vectors.astype(jnp.float64)
    length = jnp.sqrt(jnp.sum(dense * dense, axis=1, keepdims=True))
    moved = jnp.where(length > 0, dense / jnp.where(length > 0, length, 1), centroids.astype(jnp.float64))
    return moved.astype(jnp.float32), counts, cosine


@partial(jax.jit, static_argnums=0)
def _labelled(mesh: Mesh, blocks: Array, centroids: Array) -> tuple[Array, Array]:
    """`[D, G, B]` distances 1 - cosine and labels."""

    def own(blocks: Array, centroids: Array) -> tuple[Array, Array]:
        cosine, label = jax.lax.map(lambda block: nearest(block, centroids), blocks[0])
        return jnp.maximum(1 - cosine, 0)[None], label[None]

    sharded = jax.shard_map(own, mesh=mesh, in_specs=(SPLIT, SAME), out_specs=SPLIT, check_vma=False)
    return sharded(blocks, centroids)


def label_chunk(mesh: Mesh, chunk: Chunk, centroids: Array) -> tuple[np.ndarray, np.ndarray]:
    """`[R]` int32 cluster and float32 distance 1 - cosine of the rows of a chunk.

    Args:
        mesh: the devices that it is on.
        chunk: the rows.
        centroids: `[k, d]` of length 1.
    """
    distance, label = (np.asarray(each).reshape(-1)[: chunk.count] for each in _labelled(mesh, chunk.blocks, centroids))
    return label, distance
