"""The farthest of every cluster in two passes are those that a sort finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qqtjax as qqt
from qqtjax.pools import histograms
from qqtjax.pools.assignment import Assignment
from qqtjax.pools.drawing import draw
from qqtjax.pools.histograms import Histograms, Selecting
from qqtjax.pools.partition import Partition


def chosen(labels: np.ndarray, distances: np.ndarray, keep: np.ndarray, order: str, cuts: list[int]) -> np.ndarray:
    """Two passes over chunks that end at the cuts."""
    counted = Histograms.empty(len(keep))
    for part in np.split(np.arange(len(labels)), cuts):
        counted.add(labels[part], distances[part])
    selecting = Selecting(counted, keep, order)
    for part in np.split(np.arange(len(labels)), cuts):
        selecting.add(labels[part], distances[part])
    return selecting.rows()


@given(st.integers(0, 2**32 - 1), st.sampled_from(["hardest", "easiest"]))
@settings(max_examples=100, deadline=None)
def test_what_two_passes_keep_is_what_the_sorting_draw_keeps(seed: int, order: str) -> None:
    """Distances with many ties, some out of range; clusters that are empty; rows in none."""
    rng = np.random.default_rng(seed)
    rows, clusters = int(rng.integers(1, 300)), int(rng.integers(1, 6))
    labels = rng.integers(-1, clusters, rows).astype(np.int32)
    steps = rng.choice([3.0, 50.0, 1e5])
    distances = (rng.integers(-1, 2 * int(steps) + 2, rows) / steps).astype(np.float32)
    if rng.random() < 0.5:
        distances *= np.float32(1e-4)  # all in one bin
    sizes = np.bincount(labels[labels >= 0], minlength=clusters)
    keep = np.array([rng.integers(0, size + 1) for size in sizes])
    cuts = sorted(rng.integers(0, rows + 1, 3).tolist())
    partition = Partition.of(labels, [f"c{cluster}" for cluster in range(clusters)], distances)
    assert np.array_equal(chosen(labels, distances, keep, order, cuts), draw(partition, keep, order).rows)


def test_few_candidates_are_sorted(rng: np.random.Generator) -> None:
    """What the two passes are for: all but a bin of each cluster is never looked at again."""
    labels, distances = rng.integers(0, 4, 100_000).astype(np.int32), rng.random(100_000).astype(np.float32)
    counted = Histograms.empty(4)
    counted.add(labels, distances)
    selecting = Selecting(counted, counted.sizes // 3)
    selecting.add(labels, distances)
    assert sum(len(each[0]) for each in selecting._candidates) < 300
    assert np.array_equal(np.bincount(labels[selecting.rows()]), counted.sizes // 3)


def test_many_clusters_have_fewer_bins_and_the_same_answer(rng: np.random.Generator, monkeypatch) -> None:
    labels, distances = rng.integers(0, 3, 500).astype(np.int32), rng.random(500).astype(np.float32)
    keep = np.array([5, 0, 100])
    fine = chosen(labels, distances, keep, "hardest", [77])
    monkeypatch.setattr(histograms, "MOST_CELLS", 1)
    assert Histograms.empty(3).counts.shape == (3, histograms.LEAST_BINS)
    assert np.array_equal(chosen(labels, distances, keep, "hardest", [77]), fine)


def test_quotas_that_cannot_be_met_are_refused() -> None:
    labels, distances = np.array([0, 0, 1], np.int32), np.array([0.1, 0.2, 0.3], np.float32)
    counted = Histograms.empty(2)
    counted.add(labels, distances)
    found = Assignment(labels, distances, np.array([2, 1]), np.array([0.3, 0.3]), counted)
    assert found.select([1, 1]).tolist() == [1, 2]
    with pytest.raises(qqt.InputError, match="keep 3 of cluster 0: it has 2 samples"):
        found.select([3, 1])
    with pytest.raises(qqt.InputError, match="keep -1 of cluster 1"):
        found.select([1, -1])
    with pytest.raises(qqt.InputError, match="order 'hard': expected one of hardest, easiest"):
        found.select([1, 1], "hard")
