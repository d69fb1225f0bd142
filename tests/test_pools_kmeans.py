"""Spherical k-means: a plain loop finds the same, bits do not depend on how rows are cut, stops are survived."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

import qqtjax as qqt
from qqtjax.pools import assignment, chunks
from qqtjax.pools.assignment import assign
from qqtjax.pools.chunks import MOST_ROWS, Chunks, local_mesh
from qqtjax.pools.complexity import _inter_distance
from qqtjax.pools.embeddings import Embeddings
from qqtjax.pools.kmeans import _added, _labelled, _moved, _Totals, _zeros, kmeans, split_largest
from qqtjax.pools.semdedup import _largest_before

WIDTH, BLOCK = 6, MOST_ROWS
LEAST = 6 * BLOCK * WIDTH * 4  # bytes of memory, six blocks


@pytest.fixture(scope="module")
def planted() -> np.ndarray:
    """7 bundles of directions; the rows do not fill their last block."""
    rng = np.random.default_rng(3)
    middles = rng.normal(size=(7, WIDTH))
    return (middles[rng.integers(0, 7, 8 * BLOCK + 123)] + 0.3 * rng.normal(size=(8 * BLOCK + 123, WIDTH))).astype(
        np.float32
    )


def plain(rows: np.ndarray, centroids: np.ndarray, passes: int) -> tuple[np.ndarray, list[float]]:
    """Lloyd's passes in NumPy and float64."""
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    seen = []
    for _ in range(passes):
        cosines = unit @ centroids.T
        labels = cosines.argmax(axis=1)
        seen.append(cosines.max(axis=1).mean())
        sums = np.stack([unit[labels == cluster].sum(axis=0) for cluster in range(len(centroids))])
        centroids = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return centroids, seen


def test_passes_are_those_of_a_plain_loop(planted: np.ndarray) -> None:
    start = planted[:9]
    found = kmeans(planted, 9, init=start, passes=6, tolerance=0)
    centroids, seen = plain(planted, start / np.linalg.norm(start, axis=1, keepdims=True), 6)
    assert np.allclose(found.mean_cosine, seen, atol=1e-7)
    assert np.allclose(found.centroids, centroids, atol=1e-6)
    assert found.counts.sum() == len(planted) == found.rows
    assert np.all(np.diff(found.mean_cosine) > 0)


def test_the_bits_do_not_depend_on_chunks(planted: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", planted)
    whole = kmeans(planted, 9, seed=4, passes=5)
    for memory in (LEAST, 1e9):
        found = kmeans(tmp_path / "rows.npy", 9, seed=4, passes=5, memory=memory)
        assert found.centroids.tobytes() == whole.centroids.tobytes()
        assert found.mean_cosine.tobytes() == whole.mean_cosine.tobytes()
        labelled = assign(tmp_path / "rows.npy", whole.centroids, memory=memory)
        once = assign(planted, whole.centroids)
        for name in ("labels", "distances", "counts", "distance_sums"):
            assert getattr(labelled, name).tobytes() == getattr(once, name).tobytes()
    assert len(Chunks(Embeddings.of(planted), LEAST, local_mesh(), BLOCK)) > 1
    other = kmeans(planted, 9, seed=5, passes=5)
    assert other.centroids.tobytes() != whole.centroids.tobytes()


def test_the_bits_do_not_depend_on_devices(planted: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(jax.local_devices()) == 2
    both = kmeans(planted, 9, seed=4, passes=5)
    shared = assign(planted, both.centroids)
    one = Mesh(np.array(jax.local_devices()[:1]), (chunks.AXIS,))
    monkeypatch.setattr(importlib.import_module("qqtjax.pools.kmeans"), "local_mesh", lambda: one)
    monkeypatch.setattr(assignment, "local_mesh", lambda: one)
    alone = kmeans(planted, 9, seed=4, passes=5)
    assert alone.centroids.tobytes() == both.centroids.tobytes()
    assert alone.counts.tobytes() == both.counts.tobytes()
    assert assign(planted, both.centroids).distances.tobytes() == shared.distances.tobytes()


def test_a_pass_over_the_devices_has_one_small_reduction(planted: np.ndarray) -> None:
    """Nothing of the size of the rows is sent: the program of a chunk has no collective at all."""
    mesh = local_mesh()
    with jax.enable_x64(True):
        chunk = next(iter(Chunks(Embeddings.of(planted), 1e9, mesh, BLOCK)))
        totals = _zeros(mesh, 9, WIDTH)
        centroids = np.zeros((9, WIDTH), np.float32)
        text = _added.lower(mesh, totals, chunk.blocks, chunk.rows, centroids).compile().as_text()
        assert not [word for word in ("all-reduce", "all-gather", "all-to-all") if word in text]
        text = _moved.lower(totals, centroids).compile().as_text()
        assert "all-reduce" in text


def test_all_rows_find_their_nearest_centroid(planted: np.ndarray, rng: np.random.Generator) -> None:
    centroids = rng.normal(size=(9, WIDTH))
    found = assign(planted, centroids)
    unit = planted.astype(np.float64) / np.linalg.norm(planted.astype(np.float64), axis=1, keepdims=True)
    cosines = unit @ (centroids / np.linalg.norm(centroids, axis=1, keepdims=True)).T
    labels = cosines.argmax(axis=1)
    apart = np.sort(cosines, axis=1)[:, -1] - np.sort(cosines, axis=1)[:, -2] > 1e-6
    assert np.array_equal(found.labels[apart], labels[apart])
    assert np.allclose(found.distances, 1 - cosines.max(axis=1), atol=1e-6)
    assert np.array_equal(found.counts, np.bincount(found.labels, minlength=9))
    sums = np.bincount(found.labels, found.distances.astype(np.float64), minlength=9)
    assert np.allclose(found.distance_sums, sums, atol=1e-5)
    assert np.array_equal(found.histograms.sizes, found.counts)
    assert found.mean_cosine == pytest.approx(cosines.max(axis=1).mean(), abs=1e-7)


def test_of_equal_centroids_the_first_is_nearest() -> None:
    assert assign(np.eye(3), np.eye(3)[[0, 0, 1, 2]]).labels.tolist() == [0, 2, 3]


def test_empty_clusters_take_half_of_the_largest(planted: np.ndarray) -> None:
    """Starting points that coincide leave clusters empty; a pass later all of them have members."""
    found = kmeans(planted, 9, init=planted[[0, 0, 0, 0, 1, 2, 3, 4, 5]], passes=12, tolerance=0)
    assert found.reseeded[0] == 3
    assert found.reseeded[-1] == 0
    assert np.all(found.counts > 0)
    free = kmeans(planted, 9, passes=30)
    assert found.mean_cosine[-1] > free.mean_cosine[-1] - 0.03


def test_splitting_halves_the_largest_again_and_again(rng: np.random.Generator) -> None:
    centroids = np.eye(4, dtype=np.float32)
    split = split_largest(centroids, np.array([100, 30, 0, 0]), np.array([2, 3]), rng)
    assert np.allclose(np.linalg.norm(split, axis=1), 1, atol=1e-6)
    assert np.array_equal(split[1], centroids[1])
    assert all(split[each, 0] > 0.999 for each in (0, 2, 3))
    assert len(np.unique(split, axis=0)) == 4


def test_rows_that_are_all_the_same_end() -> None:
    found = kmeans(np.ones((50, 3)), 4)
    assert found.counts.sum() == 50
    assert found.converged
    assert np.all(np.isfinite(found.centroids))


def test_as_many_clusters_as_rows(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(4, 3))
    found = kmeans(rows, 4, passes=2)
    assert found.mean_cosine[0] == pytest.approx(1, abs=1e-6)
    assert found.counts.tolist() == [1] * 4


def test_planted_bundles_are_found(planted: np.ndarray) -> None:
    """From one row of each bundle, the seven middles come back."""
    rng = np.random.default_rng(3)
    middles = rng.normal(size=(7, WIDTH))
    which = rng.integers(0, 7, len(planted))
    found = kmeans(planted, 7, init=planted[[np.flatnonzero(which == each)[0] for each in range(7)]])
    unit = middles / np.linalg.norm(middles, axis=1, keepdims=True)
    assert np.all(np.sum(unit * found.centroids, axis=1) > 0.99)


def test_a_sample_of_the_rows_trains(planted: np.ndarray) -> None:
    found = kmeans(planted, 7, points_per_centroid=100, seed=1)
    assert found.rows == found.counts.sum() == 700
    assert kmeans(planted, 7, points_per_centroid=100, seed=1).centroids.tobytes() == found.centroids.tobytes()
    everything = kmeans(planted, 7, points_per_centroid=10**6, seed=1, passes=2)
    assert everything.rows == len(planted)


def test_passes_end_when_they_no_longer_help(planted: np.ndarray) -> None:
    loose, tight = kmeans(planted, 7, tolerance=1e-3), kmeans(planted, 7, tolerance=0)
    assert loose.converged
    assert tight.converged
    assert len(loose.mean_cosine) < len(tight.mean_cosine)
    assert loose.mean_cosine[-1] - loose.mean_cosine[-2] <= 1e-3
    few = kmeans(planted, 7, passes=2, tolerance=0)
    assert not few.converged


def test_a_stopped_run_goes_on(planted: np.ndarray, tmp_path: Path) -> None:
    whole = kmeans(planted, 9, seed=2, passes=7, tolerance=0)

    class StopError(Exception):
        pass

    def stop(done: int, _: int, __: float) -> None:
        if done == 3:
            raise StopError

    with pytest.raises(StopError):
        kmeans(planted, 9, seed=2, passes=7, tolerance=0, folder=tmp_path, progress=stop)
    told = []
    found = kmeans(planted, 9, seed=2, passes=7, tolerance=0, folder=tmp_path, progress=lambda *each: told.append(each))
    assert [each[0] for each in told] == [4, 5, 6, 7]
    for name in ("centroids", "counts", "mean_cosine", "reseeded"):
        assert getattr(found, name).tobytes() == getattr(whole, name).tobytes()
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_a_stopped_assignment_goes_on(planted: np.ndarray, tmp_path: Path) -> None:
    whole = assign(planted, planted[:9])

    class StopError(Exception):
        pass

    def stop(*_: int) -> None:
        raise StopError

    with pytest.raises(StopError):
        assign(planted, planted[:9], memory=LEAST, folder=tmp_path, progress=stop)
    told: list[int] = []
    found = assign(planted, planted[:9], memory=LEAST, folder=tmp_path, progress=lambda done, _: told.append(done))
    steps = len(Chunks(Embeddings.of(planted), LEAST, local_mesh(), BLOCK))
    assert len(told) == steps - 1
    for again in (found, assign(planted, planted[:9], folder=tmp_path)):
        assert np.array_equal(again.labels, whole.labels)
        assert np.array_equal(again.distances, whole.distances)
        assert np.array_equal(again.counts, whole.counts)
        assert np.array_equal(again.distance_sums, whole.distance_sums)
        assert np.array_equal(again.histograms.counts, whole.histograms.counts)
    (tmp_path / "labels.npy").unlink()
    assert np.array_equal(assign(planted, planted[:9], folder=tmp_path).labels, whole.labels)


PROGRAM = """
import sys, time
import numpy as np
from qqtjax.pools.kmeans import kmeans
def told(done, most, cosine):
    print(done, flush=True)
    time.sleep(0.2 if len(sys.argv) > 3 else 0)
kmeans(sys.argv[1], 9, seed=2, passes=7, tolerance=0, folder=sys.argv[2], progress=told)
"""


def test_a_killed_process_goes_on(planted: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", planted)
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "rows.npy"), str(tmp_path / "work")]
    with subprocess.Popen([*words, "slow"], stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout is not None
        for _ in range(2):
            process.stdout.readline()
        process.kill()
    found = kmeans(tmp_path / "rows.npy", 9, seed=2, passes=7, tolerance=0, folder=tmp_path / "work")
    assert found.centroids.tobytes() == kmeans(planted, 9, seed=2, passes=7, tolerance=0).centroids.tobytes()


def test_other_work_in_the_folder_is_refused(planted: np.ndarray, tmp_path: Path) -> None:
    kmeans(planted, 9, passes=1, folder=tmp_path)
    with pytest.raises(qqt.InputError, match=r"holds the work of something else \(clusters, seed differ\)"):
        kmeans(planted, 10, passes=1, seed=1, folder=tmp_path)
    with pytest.raises(qqt.InputError, match=r"\(embeddings differ\)"):
        kmeans(planted[1:], 9, passes=1, folder=tmp_path)
    (tmp_path / "kmeans.npz").write_bytes(b"PK no")
    with pytest.raises(qqt.InputError, match=r"kmeans.npz: damaged; remove the folder"):
        kmeans(planted, 9, passes=1, folder=tmp_path)
    (tmp_path / "kmeans.json").write_text("{")
    with pytest.raises(qqt.InputError, match=r"kmeans.json: damaged"):
        kmeans(planted, 9, passes=1, folder=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(qqt.InputError, match="file: cannot be made"):
        kmeans(planted, 9, passes=1, folder=tmp_path / "file")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"clusters": 0}, "clusters 0: expected at least 1"),
        ({"clusters": 10**6}, "1000000 clusters of 100 rows: expected at most one a row"),
        ({"passes": 0}, "passes 0"),
        ({"tolerance": -1.0}, "tolerance -1.0"),
        ({"tolerance": float("nan")}, "tolerance nan"),
        ({"points_per_centroid": 0}, "points_per_centroid 0"),
        ({"memory": 10}, "memory 10: expected at least .* six blocks"),
        ({"init": np.ones((3, WIDTH))}, r"init of shape \(3, 6\): expected \(4, 6\)"),
        ({"init": np.zeros((4, WIDTH))}, "row 0: only zeros"),
    ],
)
def test_wrong_questions_are_one_line(planted: np.ndarray, changes: dict, says: str) -> None:
    with pytest.raises(qqt.InputError, match=says):
        kmeans(planted[:100], **{"clusters": 4, **changes})


def test_centroids_of_another_width_are_refused(planted: np.ndarray) -> None:
    with pytest.raises(qqt.InputError, match="centroids of 4 numbers: expected 6"):
        assign(planted, np.ones((2, 4)))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_every_kernel_lowers_for_accelerators(platform: str) -> None:
    mesh = Mesh(np.array(jax.devices()[:1]), (chunks.AXIS,))
    shape = jax.ShapeDtypeStruct
    totals = _Totals(shape((1, 9, 6), np.int64), shape((1, 9), np.int64), shape((1,), np.int64))
    blocks, centroids = shape((1, 2, BLOCK, 6), np.float32), shape((9, 6), np.float32)
    programs = (
        (lambda *each: _added(mesh, *each), (totals, blocks, shape((1,), np.int32), centroids)),
        (_moved, (totals, centroids)),
        (lambda *each: _labelled(mesh, *each), (blocks, centroids)),
        (lambda each: _inter_distance(each, 3), (shape((9, 6), np.float64),)),
        (_largest_before, (shape((4, 512, 6), np.float32), shape((), np.int32))),
    )
    with jax.enable_x64(True):
        for program, arguments in programs:
            assert jax.export.export(jax.jit(program), platforms=[platform])(*arguments).platforms == (platform,)
