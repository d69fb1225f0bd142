"""The nearest centroid of every row, in one pass over embeddings of any size, with all that later steps need of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.pools.chunks import SAME, Chunks, block_rows, local_mesh
from qqtjax.pools.embeddings import Embeddings
from qqtjax.pools.histograms import Histograms, Selecting
from qqtjax.pools.kmeans import MEMORY, UNIT, label_chunk
from qqtjax.pools.work import Work, digest

STAGE = "assignment"
LABELS, DISTANCES = "labels.npy", "distances.npy"
# Rows of labels and distances, eight bytes each, that are looked at together.
STRETCH = 1 << 22

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Assignment:
    """Which cluster each of N rows is in, and how far from its centroid.

    Attributes:
        labels: `[N]` int32 cluster (a), in memory or mapped from a file.
        distances: `[N]` float32 1 - <x_i, mu_a(i)>, likewise.
        counts: `[k]` int64 rows of each cluster (n_j).
        distance_sums: `[k]` sums of the distances of each cluster.
        histograms: counts of the distances of each cluster.
    """

    labels: np.ndarray
    distances: np.ndarray
    counts: np.ndarray
    distance_sums: np.ndarray
    histograms: Histograms

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def mean_cosine(self) -> float:
        """Mean cosine of all rows to their centroids."""
        return 1 - float(self.distance_sums.sum()) / len(self)

    def select(self, keep: ArrayLike, order: str = "hardest") -> np.ndarray:
        """Ascending numbers of the rows that are farthest from the centroid of their cluster, or nearest to it.

        One pass over labels and distances; only those at the boundary are sorted. Of equal distances the lower row
        number is kept.

        Args:
            keep: `[k]` how many of each cluster.
            order: "hardest" (the farthest) or "easiest".

        Raises:
            InputError: more of a cluster than there is, an unknown order.
        """
        selecting = Selecting(self.histograms, np.asarray(keep), order)
        for start in range(0, len(self), STRETCH):
            selecting.add(self.labels[start : start + STRETCH], self.distances[start : start + STRETCH])
        return selecting.rows()


def assign(
    source: Any,
    centroids: ArrayLike,
    *,
    memory: float = MEMORY,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Assignment:
    """Find the nearest centroid of every row.

        a(i) = argmax_j <x_i, mu_j>,   dist_i = 1 - <x_i, mu_a(i)>

    Args:
        source: what `Embeddings.of` takes; `[N, d]`.
        centroids: `[k, d]`; need not be of length 1.
        memory: bytes that embeddings may take on the devices.
        folder: keep labels and distances there instead of in memory; run again after a stop, it goes on.
        progress: called with the rows done and the rows in all.

    Raises:
        InputError: centroids of another width, wrong rows (the file and row are named), a folder that holds
            something else.

    Example:
        >>> found = assign(np.array([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0]]), [[1.0, 0.0], [0.0, 1.0]])
        >>> found.labels.tolist(), found.distances.round(3).tolist(), found.select([0, 1]).tolist()
        ([0, 1, 1], [0.0, 0.20000000298023224, 0.0], [1])
    """
    embeddings = Embeddings.of(source)
    middles = Embeddings.of(np.asarray(centroids))
    if middles.width != embeddings.width:
        raise InputError(f"centroids of {middles.width} numbers: expected {embeddings.width} as the embeddings have")
    unit = middles.read(0, len(middles))
    mesh = local_mesh()
    chunks = Chunks(embeddings, memory, mesh, block_rows(len(unit), mesh))
    work = Work.of(folder)
    identity = {"embeddings": embeddings.fingerprint() if folder is not None else "", "centroids": digest(unit)}
    work.begin(STAGE, identity)
    state = work.load(STAGE)
    is_there = work.folder is not None and (work.folder / LABELS).exists() and (work.folder / DISTANCES).exists()
    done = int(state["done"]) if state is not None and is_there else 0
    labels, distances = _places(work, len(embeddings))
    counts, sums, histograms = np.zeros(len(unit), np.int64), np.zeros(len(unit), np.int64), Histograms.empty(len(unit))

    def count(start: int, stop: int) -> None:
        inside, far = labels[start:stop], distances[start:stop]
        np.add.at(sums, inside, np.rint(far.astype(np.float64) / UNIT).astype(np.int64))
        counts[:] += np.bincount(inside, minlength=len(counts))
        histograms.add(inside, far)

    # A chunk that another size of memory had cut elsewhere is done again as a whole.
    first = done // chunks.rows if done < len(embeddings) else len(chunks)
    for start in range(0, min(first * chunks.rows, len(embeddings)), STRETCH):
        count(start, min(start + STRETCH, first * chunks.rows, len(embeddings)))
    placed = jax.device_put(unit, NamedSharding(mesh, SAME))
    for chunk in chunks.since(first):
        stop = chunk.start + chunk.count
        labels[chunk.start : stop], distances[chunk.start : stop] = label_chunk(mesh, chunk, placed)
        count(chunk.start, stop)
        _flush(labels, distances)
        work.save(STAGE, {"done": np.asarray(stop)})
        if progress is not None:
            progress(stop, len(embeddings))
    return Assignment(labels, distances, counts, sums * UNIT, histograms)


def _places(work: Work, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Where labels and distances go: arrays in memory, or files that are mapped."""
    if work.folder is None:
        return np.zeros(rows, np.int32), np.zeros(rows, np.float32)
    return _mapped(work.folder / LABELS, rows, np.int32), _mapped(work.folder / DISTANCES, rows, np.float32)


def _mapped(path: Path, rows: int, dtype: Any) -> np.ndarray:
    try:
        if not path.exists():
            return np.lib.format.open_memmap(path, "w+", dtype, (rows,))
        found = np.lib.format.open_memmap(path, "r+")
    except (OSError, ValueError) as problem:
        raise InputError(f"{path}: cannot be used ({str(problem).splitlines()[0]})") from None
    if found.shape != (rows,) or found.dtype != dtype:
        raise InputError(f"{path}: damaged; remove the folder {path.parent} and start again")
    return found


def _flush(*arrays: np.ndarray) -> None:
    for each in arrays:
        if isinstance(each, np.memmap):
            each.flush()
