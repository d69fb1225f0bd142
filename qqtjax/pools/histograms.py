"""The farthest (or nearest) samples of every cluster in two passes over chunks, without sorting them all.

The first pass counts distances into bins, cluster by cluster. The bin in which a cluster's quota runs out is its
boundary: what lies beyond it is kept, and only what lies in it is ever sorted.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from qqtjax.errors import InputError

# Bins a cluster, and cells in all: 128 MB of counts at most.
MOST_BINS, LEAST_BINS, MOST_CELLS = 4096, 64, 1 << 24
FARTHEST = 2.0  # the largest distance 1 - cosine that there is
ORDERS = ("hardest", "easiest")


@dataclasses.dataclass(eq=False)
class Histograms:
    """Counts of distances in `[0, 2]` for each of k clusters; filled chunk by chunk, in any order.

    Attributes:
        counts: `[k, bins]` int64.

    Example:
        >>> histograms = Histograms.empty(1)
        >>> histograms.add(np.array([0, 0, 0]), np.array([0.1, 0.9, 0.5]))
        >>> selecting = Selecting(histograms, np.array([2]))
        >>> selecting.add(np.array([0, 0, 0]), np.array([0.1, 0.9, 0.5]))
        >>> selecting.rows().tolist()
        [1, 2]
    """

    counts: np.ndarray

    @classmethod
    def empty(cls, clusters: int) -> Histograms:
        """Nothing counted yet, for k clusters."""
        bins = int(np.clip(MOST_CELLS // clusters, LEAST_BINS, MOST_BINS))
        return cls(np.zeros((clusters, bins), np.int64))

    def add(self, labels: np.ndarray, distances: np.ndarray) -> None:
        """Count a chunk.

        Args:
            labels: `[R]` cluster of each row; -1 for rows that take no part.
            distances: `[R]` 1 - cosine.
        """
        inside = labels >= 0
        cells = labels[inside] * np.int64(self.counts.shape[1]) + self.bins(distances[inside])
        if len(cells) < self.counts.size:
            np.add.at(self.counts.reshape(-1), cells, 1)
        else:
            self.counts += np.bincount(cells, minlength=self.counts.size).reshape(self.counts.shape)

    def bins(self, distances: np.ndarray) -> np.ndarray:
        """`[R]` the bin of each distance; a longer distance is never in a lower bin."""
        last = self.counts.shape[1] - 1
        places = np.asarray(distances, np.float64) * ((last + 1) / FARTHEST)
        return np.clip(places.astype(np.int64), 0, last)

    @property
    def sizes(self) -> np.ndarray:
        """`[k]` rows counted in each cluster."""
        return self.counts.sum(axis=1)


class Selecting:
    """The second pass: chunks in row order go in, the numbers of the kept rows come out.

    Among equal distances the lower row number is kept.

    Args:
        histograms: of the first pass, over the same rows.
        keep: `[k]` how many of each cluster.
        order: keep the farthest from the centroid ("hardest") or the nearest ("easiest").

    Raises:
        InputError: more of a cluster than there is, an unknown order.
    """

    def __init__(self, histograms: Histograms, keep: np.ndarray, order: str = "hardest") -> None:
        keep = np.asarray(keep, np.int64)
        sizes = histograms.sizes
        if order not in ORDERS:
            raise InputError(f"order {order!r}: expected one of {', '.join(ORDERS)}")
        over = np.flatnonzero((keep > sizes) | (keep < 0))
        if len(over):
            cluster = over[0]
            raise InputError(f"keep {keep[cluster]} of cluster {cluster}: it has {sizes[cluster]} samples")
        self._histograms, self._sign = histograms, 1 if order == "hardest" else -1
        # Rows in bins up to each one, counted from the end that is kept first.
        first_kept = histograms.counts[:, :: -self._sign]
        within = np.cumsum(first_kept, axis=1)
        boundary = (within < keep[:, None]).sum(axis=1)
        # A quota of 0 has its boundary before the first bin, a whole cluster in the last bin that holds any.
        last = first_kept.shape[1] - 1
        taken = np.where(boundary > 0, np.take_along_axis(within, np.maximum(boundary - 1, 0)[:, None], 1)[:, 0], 0)
        self._boundary = last - boundary if self._sign > 0 else boundary
        self._missing = keep - taken
        self._rows, self._beyond = 0, []
        self._candidates: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, labels: np.ndarray, distances: np.ndarray) -> None:
        """Sort out the next chunk.

        Args:
            labels: `[R]` cluster of each row, -1 for none.
            distances: `[R]` 1 - cosine.
        """
        bins = self._histograms.bins(distances)
        beyond = (bins - self._boundary[labels]) * self._sign
        inside = labels >= 0
        self._beyond.append(self._rows + np.flatnonzero(inside & (beyond > 0)))
        at = np.flatnonzero(inside & (beyond == 0) & (self._missing[labels] > 0))
        self._candidates.append((labels[at], distances[at], self._rows + at))
        self._rows += len(labels)

    def rows(self) -> np.ndarray:
        """Ascending numbers of the kept rows, as many of each cluster as were asked for."""
        labels, distances, rows = (np.concatenate(each) for each in zip(*self._candidates, strict=True))
        order = np.lexsort((rows, -self._sign * distances, labels))
        ordered = labels[order]
        rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
        return np.sort(np.concatenate([*self._beyond, rows[order][rank < self._missing[ordered]]]))
