"""Density-based pruning from embeddings to samples: golden choices, its baseline, duplicates, stops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import qqtjax as qqt
from qqtjax.pools.assignment import assign
from qqtjax.pools.complexity import complexity, inter_distance, intra_distance
from qqtjax.pools.dbp import dbp
from qqtjax.pools.density import PAPER, RELEASED, density_counts
from qqtjax.pools.drawing import draw
from qqtjax.pools.partition import Partition
from qqtjax.pools.uniform import uniform_counts

SMALL = PAPER._replace(clusters=6, neighbours=3, keep=0.3)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Bundles of different widths, and 40 near duplicates at the end."""
    rng = np.random.default_rng(8)
    middles, width = 3 * rng.normal(size=(6, 12)), rng.uniform(0.2, 1.5, 6)
    which = rng.integers(0, 6, 900)
    values = middles[which] + width[which, None] * rng.normal(size=(900, 12))
    return np.concatenate([values, values[:40] * (1 + 1e-4 * rng.normal(size=(40, 1)))]).astype(np.float32)


def test_golden_choice_of_digits(golden: Path) -> None:
    """The samples that the released rule keeps at 27.7 % of 20 clusters, given its own counts and ours."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn brings the digits")
    with np.load(golden / "dbp.npz") as file:
        g = dict(file)
    found = assign(datasets.load_digits().data, g["digits_k20__centroids"])
    theirs = g["qp__digits_k20_r0.277_T0.1_cb0.5__ref_keep"]
    chosen = found.select(theirs)
    for cluster, count in enumerate(theirs):
        members = np.flatnonzero(g["digits_k20__labels"] == cluster)
        inside = np.intersect1d(chosen, members)
        assert len(inside) == count
        distances = g["digits_k20__dist"]
        assert distances[inside].min() >= np.sort(distances[members])[-count] - 1e-6
    d_intra = intra_distance(found.distance_sums, found.counts)
    product = complexity(inter_distance(g["digits_k20__centroids"]), d_intra)
    ours = density_counts(product, found.counts, 497, 0.1, 0.5)
    assert ours.sum() == 497 != theirs.sum()
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("rule", ["density", "uniform"])
@pytest.mark.parametrize("order", ["hardest", "easiest", "random"])
def test_the_pipeline_is_its_steps(rows: np.ndarray, rule: str, order: str) -> None:
    settings = SMALL._replace(balance=0.5)
    pruned = dbp(rows, settings, rule=rule, order=order, seed=5)
    found = assign(rows, pruned.clusters.centroids)
    d_inter = inter_distance(pruned.clusters.centroids, 3)
    product = complexity(d_inter, intra_distance(found.distance_sums, found.counts))
    if rule == "density":
        counts = density_counts(product, found.counts, 282, 0.1, 0.5)
    else:
        counts = uniform_counts(found.counts, 282, 0.5)
    names = [f"c{cluster}" for cluster in range(6)]
    expected = draw(Partition.of(found.labels, names, found.distances), counts, order, seed=5)
    assert np.array_equal(pruned.selection.rows, expected.rows)
    assert len(pruned.selection) == 282 == pruned.selection.kept.sum()
    assert np.array_equal(pruned.complexity, product)


def test_duplicates_go_first_and_are_in_no_pool(rows: np.ndarray) -> None:
    pruned = dbp(rows, SMALL, dedup=1e-5)
    assert pruned.duplicates == 40
    gone = np.flatnonzero(pruned.selection.partition.index < 0)
    assert len(gone) == 40
    assert not np.intersect1d(gone, pruned.selection.rows).size
    assert len(pruned.selection) == 282  # the share is of all rows that were given
    twins = np.concatenate([np.arange(40), 900 + np.arange(40)])
    assert np.array_equal(np.sort(gone % 900), np.arange(40))
    assert np.all(np.isin(gone, twins))
    alone = dbp(np.delete(rows, gone, axis=0), SMALL, total=282)
    kept = np.delete(np.arange(len(rows)), gone)[alone.selection.rows]
    assert np.array_equal(kept, pruned.selection.rows)
    none = dbp(rows[:900], SMALL, dedup=1e-9)
    assert none.duplicates == 0
    assert np.array_equal(none.selection.rows, dbp(rows[:900], SMALL).selection.rows)


def test_the_same_seed_gives_the_same_samples(rows: np.ndarray) -> None:
    first, again, other = (dbp(rows, SMALL, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.selection.rows, again.selection.rows)
    assert not np.array_equal(first.selection.rows, other.selection.rows)


def test_a_stopped_run_goes_on(rows: np.ndarray, tmp_path: Path) -> None:
    whole = dbp(rows, SMALL, dedup=1e-5)

    class StopError(Exception):
        pass

    lines: list[str] = []
    dbp(rows, SMALL, dedup=1e-5, progress=lines.append)
    for number, line in enumerate(lines):

        def stop(text: str, line: str = line) -> None:
            if text == line:
                raise StopError

        folder = tmp_path / str(number)
        with pytest.raises(StopError):
            dbp(rows, SMALL, dedup=1e-5, folder=folder, progress=stop)
        told: list[str] = []
        found = dbp(rows, SMALL, dedup=1e-5, folder=folder, progress=told.append)
        assert np.array_equal(found.selection.rows, whole.selection.rows)
        assert len([each for each in told if each.startswith("pass")]) <= len(
            [each for each in lines[lines.index(line) :] if each.startswith("pass")]
        )
    again = dbp(rows, SMALL._replace(keep=0.5), dedup=1e-5, folder=tmp_path / "0")
    assert len(again.selection) == 470  # another share needs no other clusters
    with pytest.raises(qqt.InputError, match=r"holds the work of something else \(clusters differ\)"):
        dbp(rows, SMALL._replace(clusters=7), dedup=1e-5, folder=tmp_path / "0")


def test_all_rows_can_be_kept(rows: np.ndarray) -> None:
    assert np.array_equal(dbp(rows, SMALL._replace(keep=1.0)).selection.rows, np.arange(len(rows)))


def test_shares_round_down_but_not_too_far(rows: np.ndarray) -> None:
    assert len(dbp(rows[:100], SMALL._replace(keep=0.29)).selection) == 29  # 0.29 * 100 is 28.999999999999996
    assert len(dbp(rows[:100], SMALL._replace(keep=0.297)).selection) == 29


def test_the_report_tells_what_was_done(rows: np.ndarray) -> None:
    pruned = dbp(rows, SMALL, dedup=1e-5, ids=[f"id{row}" for row in range(len(rows))])
    document = json.loads(json.dumps(pruned.to_dict(), allow_nan=False))
    assert document["kept"] == 282
    assert document["duplicates"] == document["in_no_pool"] == 40
    assert sum(pool["kept"] for pool in document["pools"]) == 282
    assert sum(pool["pool_size"] for pool in document["pools"]) == 900
    text = str(pruned)
    assert "40 near duplicates removed first" in text
    assert "kept 282 of 940 samples (30.0%), removed 658" in text
    assert pruned.selection.ids[0] == f"id{pruned.selection.rows[0]}"


def test_an_empty_cluster_is_reported() -> None:
    values = np.repeat(np.eye(12)[:3], 10, axis=0)
    pruned = dbp(values, SMALL._replace(keep=0.5), passes=3)
    assert len(pruned.selection) == 15
    assert json.dumps(pruned.to_dict(), allow_nan=False)
    assert None in [pool["d_intra"] for pool in pruned.to_dict()["pools"]]


def test_defaults_are_named() -> None:
    assert (PAPER.clusters, PAPER.neighbours) == (500, 20)
    assert (RELEASED.clusters, RELEASED.temperature, RELEASED.balance) == (10_000, 0.5, 0.5)
    assert dbp.__defaults__[0] is PAPER


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rule": "dense"}, "rule 'dense': expected one of density, uniform"),
        ({"order": "far"}, "order 'far': expected one of hardest"),
        ({"total": 941}, "941 samples to keep: expected at least 1 and at most the 940 rows"),
        ({"total": 0}, "0 samples to keep"),
        ({"total": 920, "dedup": 1e-5}, "920 samples to keep: only 900 are left"),
        ({"settings": SMALL._replace(clusters=941)}, "941 clusters of 940 rows"),
        ({"settings": SMALL._replace(keep=1.2)}, "keep 1.2"),
    ],
)
def test_wrong_questions_are_one_line(rows: np.ndarray, changes: dict, says: str) -> None:
    with pytest.raises(qqt.InputError, match=says):
        dbp(rows, **{"settings": SMALL, "passes": 2, **changes})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"settings": SMALL._replace(temperature=0.0)}, "temperature 0"),
        ({"settings": SMALL._replace(neighbours=0)}, "neighbours 0"),
        ({"settings": SMALL._replace(balance=1.5)}, "balance 1.5"),
        ({"settings": SMALL._replace(clusters=1)}, "clusters 1: expected at least 2"),
        ({"dedup": 0.0}, "epsilon 0.0"),
        ({"ids": ["a"] * 940}, "sample 0: its id 'a' is given 940 times"),
        ({"ids": ["a"]}, r"ids of shape \(1,\): expected one for each of 940 samples"),
    ],
)
def test_what_is_wrong_is_found_before_the_work(rows: np.ndarray, changes: dict, says: str) -> None:
    told: list[str] = []
    with pytest.raises(qqt.InputError, match=says):
        dbp(rows, **{"settings": SMALL, **changes}, progress=told.append)
    assert not told
