"""Distances within and between clusters: golden numbers of the released code, and what it gets wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import qqtjax as qqt
from qqtjax.pools.assignment import assign
from qqtjax.pools.complexity import ROWS, complexity, inter_distance, intra_distance


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn brings the digits")
    return datasets.load_digits().data


@pytest.fixture(scope="module")
def dbp(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "dbp.npz") as file:
        return dict(file)


def test_golden_digits(digits: np.ndarray, dbp: dict[str, np.ndarray]) -> None:
    found = assign(digits, dbp["digits_k20__centroids"])
    assert np.array_equal(found.labels, dbp["digits_k20__labels"])
    assert np.array_equal(found.counts, dbp["digits_k20__sizes"])
    assert np.abs(found.distances - dbp["digits_k20__dist"]).max() < 1e-6
    d_intra = intra_distance(found.distance_sums, found.counts)
    assert np.abs(d_intra - dbp["digits_k20__d_intra"]).max() < 1e-6
    neighbours = int(dbp["digits_k20__l"])
    for asked in (neighbours, 20):  # 20 of 19 others are 19
        d_inter = inter_distance(dbp["digits_k20__centroids"], asked)
        assert np.abs(d_inter - dbp["digits_k20__d_inter"]).max() < 1e-6
    product = complexity(d_inter, d_intra)
    for name in (name for name in dbp if name.startswith("qp__digits_k20") and name.endswith("__d")):
        assert np.abs(product - dbp[name]).max() < 1e-6


@pytest.mark.parametrize(("count", "neighbours"), [(2, 1), (ROWS + 3, 20), (30, 29)])
def test_neighbours_are_those_of_a_full_matrix(count: int, neighbours: int, rng: np.random.Generator) -> None:
    centroids = rng.normal(size=(count, 8))
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    distances = 1 - centroids @ centroids.T
    np.fill_diagonal(distances, np.inf)
    expected = np.sort(distances, axis=1)[:, :neighbours].mean(axis=1)
    assert np.allclose(inter_distance(centroids, neighbours), expected, atol=1e-12)


def test_a_twin_is_a_neighbour() -> None:
    """The released code drops the first in order, which of two centroids that coincide may be the other."""
    assert inter_distance(np.eye(3)[[0, 0, 1]], 1).tolist() == [0, 0, 1]


def test_empty_clusters_have_the_mean_complexity() -> None:
    d_intra = intra_distance(np.array([3.0, 0.0, 1.0]), np.array([3, 0, 2]))
    assert np.isnan(d_intra[1])
    assert complexity(np.array([0.5, 9.0, 0.2]), d_intra).tolist() == [0.5, pytest.approx(0.3), 0.1]


def test_what_has_no_answer_is_refused() -> None:
    with pytest.raises(qqt.InputError, match="1 centroid: expected at least 2"):
        inter_distance(np.eye(3)[:1])
    with pytest.raises(qqt.InputError, match="neighbours 0"):
        inter_distance(np.eye(3), 0)
    with pytest.raises(qqt.InputError, match="every cluster is empty"):
        complexity(np.ones(2), np.full(2, np.nan))
