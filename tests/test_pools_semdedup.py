"""Near duplicates: golden numbers of the released method, a full matrix, tiles, and the orders."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

import qqtjax as qqt
from qqtjax.pools.semdedup import Deduplicated, largest_before, semdedup

REMOVED = {0.01: 7, 0.02: 138, 0.05: 1059, 0.1: 1548}  # of 1,797 digits in 20 clusters


def full(rows: np.ndarray) -> np.ndarray:
    """The definition, with the whole matrix."""
    cosines = np.triu(rows.astype(np.float64) @ rows.astype(np.float64).T, 1)
    return np.maximum(cosines.max(axis=0), 0)


def unit(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    values = rng.normal(size=(rows, width))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def test_golden_digits(golden: Path) -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn brings the digits")
    with np.load(golden / "dbp.npz") as file:
        expected, labels, distances = (file[f"digits_k20__{name}"] for name in ("semdedup_M", "labels", "dist"))
    found = semdedup(datasets.load_digits().data, labels, distances, 0.01)
    assert np.abs(found.similarity - expected).max() < 1e-6
    for epsilon, removed in REMOVED.items():
        again = Deduplicated(found.similarity, epsilon)
        assert np.sum(~again.kept) == removed
        assert len(again.rows) == len(labels) - removed


@pytest.mark.parametrize("rows", [1, 8, 9, 33, 129])
def test_tiles_are_the_full_matrix(rows: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    values = unit(rng, rows, 3)
    assert np.allclose(largest_before(values), full(values), atol=1e-6)
    monkeypatch.setattr(importlib.import_module("qqtjax.pools.semdedup"), "TILE", 16)
    assert np.allclose(largest_before(values), full(values), atol=1e-6)


@pytest.mark.parametrize("order", ["hardest", "easiest", "random"])
def test_clusters_are_apart_and_in_order(order: str, rng: np.random.Generator) -> None:
    values, labels = unit(rng, 200, 3), rng.integers(0, 5, 200)
    labels[labels == 3] = 4  # one is empty
    distances = rng.integers(0, 20, 200).astype(np.float32)
    found = semdedup(values, labels, distances, 0.01, order=order, seed=3)
    key = {"hardest": -distances, "easiest": distances, "random": np.random.default_rng(3).random(200)}[order]
    expected = np.zeros(200)
    for cluster in np.unique(labels):
        members = np.flatnonzero(labels == cluster)
        members = members[np.argsort(key[members], kind="stable")]
        expected[members] = full(values[members])
    assert np.allclose(found.similarity, expected, atol=1e-6)
    little = semdedup(values, labels, distances, 0.01, order=order, seed=3, memory=4 * 3 * 10)
    assert np.array_equal(little.similarity, found.similarity)


def test_the_farther_of_two_duplicates_stays(rng: np.random.Generator) -> None:
    values = unit(rng, 10, 8)
    values[7] = values[2]
    distances = np.arange(10, dtype=np.float32)
    labels = np.zeros(10, int)
    assert np.flatnonzero(~semdedup(values, labels, distances, 0.001).kept).tolist() == [2]
    assert np.flatnonzero(~semdedup(values, labels, distances, 0.001, order="easiest").kept).tolist() == [7]
    labels[7] = 1
    assert semdedup(values, labels, distances, 0.001).kept.all()


def test_a_chain_is_removed_as_a_whole_but_for_its_first() -> None:
    """Not greedy: the third goes although its only near duplicate, the second, goes too."""
    turn = 0.1 * np.arange(3)
    rows = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    found = semdedup(rows, np.zeros(3, int), -np.arange(3.0), 1 - np.cos(0.15))
    assert found.kept.tolist() == [True, False, False]


def test_wrong_questions_are_one_line() -> None:
    rows, labels, distances = np.eye(3), np.zeros(3, int), np.zeros(3)
    for epsilon in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(qqt.InputError, match="expected a number above 0, at most 1"):
            semdedup(rows, labels, distances, epsilon)
    with pytest.raises(qqt.InputError, match=r"order 'hard': expected one of .* did you mean 'hardest'"):
        semdedup(rows, labels, distances, 0.1, order="hard")
    with pytest.raises(qqt.InputError, match=r"labels of shape \(2,\): expected one for each of 3 rows"):
        semdedup(rows, labels[:2], distances, 0.1)
    with pytest.raises(qqt.InputError, match="labels: -1 of row 1"):
        semdedup(rows, np.array([0, -1, 0]), distances, 0.1)


def test_progress_counts_rows(rng: np.random.Generator) -> None:
    told: list[tuple[int, int]] = []
    values, labels = unit(rng, 100, 3), np.repeat(np.arange(4), 25)
    semdedup(values, labels, np.zeros(100), 0.1, memory=1, progress=lambda *each: told.append(each))
    assert told == [(25, 100), (50, 100), (75, 100), (100, 100)]
