"""Pools of samples, rules that keep some of them, and the draw: exact counts, fair draws, the same bytes."""

from __future__ import annotations

import dataclasses
import json
import stat
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

import qqtjax as qqt
from qqtjax.errors import InputError, QQTWarning
from qqtjax.mix.result import Certificate, Mix
from qqtjax.pools.drawing import Selection, draw
from qqtjax.pools.flexrand import flexrand, flexrand_counts, flexrand_shares
from qqtjax.pools.partition import Partition
from qqtjax.pools.planned import planned_counts, select_planned
from qqtjax.pools.quantiles import quantile_pools
from qqtjax.pools.stored import whole_file
from qqtjax.pools.thresholds import above_counts, top_counts
from qqtjax.runs import Pools


@pytest.fixture
def split(rng: np.random.Generator) -> Partition:
    """1,000 samples, three pools, some in none, scores with ties."""
    scores = rng.integers(0, 40, 1000) / 10
    return Partition.of(rng.integers(-1, 3, 1000), ["web", "books", "code"], scores, [f"s{i}" for i in range(1000)])


# Partitions


def test_partition_counts_members_and_tables(split: Partition) -> None:
    assert split.counts.tolist() == [len(split.members(name)) for name in split.pools.names]
    assert split.counts.sum() == np.sum(split.index >= 0) < len(split)
    table = split.table()
    assert list(table.columns) == ["pool", "pool_size", "samples_seen", "error"]
    report = split.report()
    assert report["pool_size"].tolist() == split.counts.tolist()
    assert report["highest"].tolist() == [split.scores[split.members(name)].max() for name in split.pools.names]
    assert "in no pool" in str(split)


def test_a_filled_in_table_is_read_as_runs(split: Partition) -> None:
    table = split.table().drop(columns=["samples_seen", "error"])
    filled = table.merge(table.assign(samples_seen=500.0, error=0.5)[["pool", "samples_seen", "error"]], on="pool")
    runs = qqt.read_runs(filled)
    assert runs.pools.names == split.pools.names
    np.testing.assert_array_equal(runs.pools.sizes, split.counts)


def test_an_empty_pool_is_allowed_and_not_in_the_table() -> None:
    found = Partition.of([0, 2, 2], ["a", "b", "c"], [1.0, 2.0, 3.0])
    assert found.counts.tolist() == [1, 0, 2]
    assert found.table()["pool"].tolist() == ["a", "c"]
    assert found.to_dict()["pools"][1] == {
        "pool": "b", "pool_size": 0, "share": 0.0, "lowest": "nan", "highest": "nan",
    }  # fmt: skip
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("index", "names", "rest", "message"),
    [
        ([], ["a"], {}, "at least one sample"),
        ([[0]], ["a"], {}, r"shape \(1, 1\)"),
        ([0.5], ["a"], {}, "expected whole numbers"),
        ([0, 2], ["a", "b"], {}, "sample 1: pool index 2, expected 0 to 1, or -1 for none"),
        ([0, -2], ["a", "b"], {}, "sample 1: pool index -2"),
        ([0], [], {}, "no pools"),
        ([0], ["a", "a"], {}, "two pools are named 'a'"),
        ([0, 0], ["a"], {"scores": [1.0]}, "1 scores: expected one for each of 2 samples"),
        (
            [0, 0, 0],
            ["a"],
            {"scores": [1.0, np.nan, np.inf]},
            r"sample 1: score nan, expected .* \(and 1 more like it\)",
        ),
        ([0, 0], ["a"], {"scores": ["x", "y"]}, "expected one number a sample"),
        ([0, 0], ["a"], {"ids": ["x", "x"]}, "sample 0: its id .*'x'.* is given 2 times"),
        ([0, 0], ["a"], {"ids": ["x"]}, "expected one for each of 2 samples"),
    ],
)
def test_partitions_are_refused(index: list, names: list[str], rest: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Partition.of(index, names, **rest)


@pytest.mark.parametrize("ids", [None, [7, 5, 6, 4], ["w", "x", "y", "z"]])
@pytest.mark.parametrize("scores", [None, [0.1, 0.2, 0.3, 0.4]])
def test_partitions_come_back_from_parquet(tmp_path: Path, ids: list | None, scores: list | None) -> None:
    written = Partition.of([1, -1, 2, 1], ["a", "b", "c"], scores, ids)  # a is empty, a name must not be lost
    written.save(tmp_path / "pools.parquet")
    read = Partition.load(tmp_path / "pools.parquet")
    assert read.pools.names == written.pools.names
    for field in ("index", "ids", "scores"):
        here, there = getattr(read, field), getattr(written, field)
        assert (here is None) == (there is None)
        if there is not None:
            np.testing.assert_array_equal(here, there)
    first = (tmp_path / "pools.parquet").read_bytes()
    read.save(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == first


def test_other_files_are_no_partition(tmp_path: Path, split: Partition) -> None:
    with pytest.raises(InputError, match=r"nothing\.parquet: no such file"):
        Partition.load(tmp_path / "nothing.parquet")
    (tmp_path / "text.parquet").write_text("pool,sample\n")
    with pytest.raises(InputError, match="not a Parquet file"):
        Partition.load(tmp_path / "text.parquet")
    draw(split, [1, 1, 1]).save(tmp_path / "kept.parquet")
    with pytest.raises(InputError, match=r"no qqtjax\.partition in its metadata"):
        Partition.load(tmp_path / "kept.parquet")


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("before")

    def breaks_off() -> None:
        with whole_file(target) as temporary:
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        breaks_off()
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert target.read_text() == "before"
    with whole_file(target) as temporary:
        temporary.write_text("after")
    assert target.read_text() == "after"
    assert stat.S_IMODE(target.stat().st_mode) & 0o400
    with pytest.raises(InputError, match="cannot be written"), whole_file(tmp_path / "none" / "file"):
        pass


# The draw


@pytest.mark.parametrize("order", ["hardest", "easiest"])
def test_the_ends_of_each_pool_are_kept(split: Partition, order: str) -> None:
    counts = [50, 0, 200]
    kept = draw(split, counts, order)
    assert kept.kept.tolist() == counts
    assert np.all(np.diff(kept.rows) > 0)
    for name, count in zip(split.pools.names, counts, strict=True):
        members = split.members(name)
        sign = -1 if order == "hardest" else 1
        expected = sorted(members, key=lambda row: (sign * split.scores[row], row))[:count]
        np.testing.assert_array_equal(np.intersect1d(kept.rows, members), np.sort(expected))


def test_random_draws_are_the_same_for_a_seed_nested_and_of_each_pool_alone(split: Partition) -> None:
    kept = draw(split, [50, 60, 70], "random", seed=3)
    np.testing.assert_array_equal(kept.rows, draw(split, [50, 60, 70], "random", seed=3).rows)
    assert not np.array_equal(kept.rows, draw(split, [50, 60, 70], "random", seed=4).rows)
    assert np.isin(kept.rows, draw(split, [80, 60, 71], "random", seed=3).rows).all()
    of_books = draw(split, [0, 60, 0], "random", seed=3)
    np.testing.assert_array_equal(of_books.rows, np.intersect1d(kept.rows, split.members("books")))


def test_random_draws_are_fair() -> None:
    partition = Partition.of([0] * 10 + [1] * 10, ["a", "b"])
    tries = 2000
    seen = np.zeros(20)
    for seed in range(tries):
        seen[draw(partition, [3, 8], "random", seed).rows] += 1
    for place, share in ((slice(0, 10), 0.3), (slice(10, 20), 0.8)):
        assert unfairness(seen[place], tries, share) > 1e-3


def unfairness(seen: np.ndarray, tries: int, share: float) -> float:
    """p-value of equal inclusion of items in draws without replacement, by chi-square."""
    many = len(seen)
    if share == 1:
        return float(np.all(seen == tries))
    statistic = np.sum((seen - tries * share) ** 2) / (tries * share * (1 - share)) * (many - 1) / many
    return float(chi2.sf(statistic, many - 1))


def test_all_and_none_may_be_kept(split: Partition) -> None:
    everything = draw(split, split.counts, "hardest")
    np.testing.assert_array_equal(everything.rows, np.flatnonzero(split.index >= 0))
    assert len(draw(split, {})) == 0
    assert "kept 0 of 1,000 samples (0.0%)" in str(draw(split, {}))


@pytest.mark.parametrize(
    ("counts", "order", "message"),
    [
        ([1, 1], "random", "expected one for each of 3 pools"),
        ([1, 1, 2000], "random", r"pool 'code': 2000 samples to keep, expected a whole number from 0 to its size \d+"),
        ([1, -1, 1], "random", "pool 'books': -1 samples"),
        ([1, 1.5, 1], "random", r"pool 'books': 1\.5 samples"),
        ([1, np.nan, 1], "random", "pool 'books': nan samples"),
        ({"boks": 3}, "random", "unknown pool 'boks': .*did you mean 'books'"),
        ([1, 1, 1], "hard", "order 'hard': expected one of hardest, easiest, random"),
    ],
)
def test_draws_are_refused(split: Partition, counts: object, order: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw(split, counts, order)
    with pytest.raises(InputError, match="no scores to order by"):
        draw(dataclasses.replace(split, scores=None), [1, 1, 1], "hardest")


def test_a_selection_reports_saves_and_narrows(split: Partition, tmp_path: Path) -> None:
    import pyarrow.parquet

    kept = draw(split, [5, 0, 7], "hardest")
    assert kept.removed.tolist() == (split.counts - [5, 0, 7]).tolist()
    assert kept.to_dict()["kept"] == 12
    assert kept.to_dict()["in_no_pool"] == np.sum(split.index < 0)
    kept.save(tmp_path / "kept.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "kept.parquet").to_pandas()
    assert table["sample"].tolist() == kept.ids.tolist() == [f"s{row}" for row in kept.rows]
    assert table["pool"].value_counts().to_dict() == {"code": 7, "web": 5, "books": 0}
    np.testing.assert_array_equal(table["score"], split.scores[kept.rows])
    narrowed = kept.narrowed()
    assert narrowed.counts.tolist() == [5, 0, 7]
    assert narrowed.ids.tolist() == kept.ids.tolist()
    table = Selection(split, kept.rows, np.array([2.0, 0.0, 1.5])).report()
    assert table["epochs"].tolist() == [2.0, 0.0, 1.5]


# Quantiles and thresholds


def test_quantile_pools_have_exact_sizes_and_order(rng: np.random.Generator) -> None:
    scores = rng.normal(size=1003)
    found = quantile_pools(scores, [0.1, 0.25, 1.0])
    assert found.pools.names == ("top10", "10-25", "25-100")
    assert found.counts.tolist() == [100, 151, 752]
    report = found.report()
    assert report["lowest"][0] > report["highest"][1] > report["lowest"][1] > report["highest"][2]
    np.testing.assert_array_equal(np.sort(scores)[::-1][:100], np.sort(scores[found.index == 0])[::-1])
    low = quantile_pools(scores, [0.1, 0.25], names=["easy", "less"], descending=False)
    assert low.report()["highest"][0] < low.report()["lowest"][1]
    assert np.sum(low.index < 0) == 1003 - 251


def test_ties_on_an_edge_are_parted_by_row() -> None:
    found = quantile_pools([1.0] * 10, [0.3, 0.5])
    assert found.index.tolist() == [0, 0, 0, 1, 1, -1, -1, -1, -1, -1]


@pytest.mark.parametrize(
    ("scores", "edges", "names", "message"),
    [
        ([0.1, np.nan], [0.5], None, "sample 1: score nan"),
        ([0.1, 0.2], [], None, "expected shares that rise"),
        ([0.1, 0.2], [0.5, 0.5], None, "expected shares that rise"),
        ([0.1, 0.2], [0.5, 1.1], None, "expected shares that rise"),
        ([0.1, 0.2], [0.0, 0.5], None, "expected shares that rise"),
        ([0.1, 0.2], [0.5], ["a", "b"], "2 names: expected one for each of 1 pools"),
        ([0.1, 0.2], [0.5, 0.6], None, "pool '50-60': no sample of 2 is in it"),
    ],
)
def test_quantiles_are_refused(scores: list, edges: list, names: list | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        quantile_pools(scores, edges, names)


def test_thresholds_are_the_filters_themselves(split: Partition) -> None:
    inside = np.flatnonzero(split.index >= 0)
    best = inside[np.lexsort((inside, -split.scores[inside]))]
    kept = draw(split, top_counts(split, 0.3), "hardest")
    np.testing.assert_array_equal(kept.rows, np.sort(best[: round(0.3 * len(inside))]))
    above = draw(split, above_counts(split, 2.5), "hardest")
    np.testing.assert_array_equal(above.rows, np.flatnonzero((split.index >= 0) & (split.scores >= 2.5)))
    for wrong in (lambda: top_counts(split, 1.5), lambda: above_counts(split, np.nan)):
        with pytest.raises(InputError, match="expected"):
            wrong()
    with pytest.raises(InputError, match="no scores"):
        top_counts(dataclasses.replace(split, scores=None), 0.3)


# FlexRand


def test_flexrand_counts_are_those_of_the_reference(golden: Path) -> None:
    """The released counts wherever it does not raise; the exact ones wherever its total is right, too."""
    document = json.loads((golden / "flexrand.json").read_text())
    assert document["columns"] == ["n_class", "beta", "gamma", "easy_pool", "n_easy", "n_hard", "reference_raises"]
    raised = missed = 0
    for size, keep, split, region, easy, hard, raises in document["rows"]:
        exact = [int(each[0]) for each in flexrand_counts([size], keep, split)]
        assert exact[0] == region
        assert exact[1] + exact[2] == round(size * keep)
        assert exact[1] <= region
        assert exact[2] <= size - region
        released = [int(each[0]) for each in flexrand_counts([size], keep, split, exact=False)]
        raised += raises
        if not raises:
            assert released == [region, easy, hard]
            missed += easy + hard != round(size * keep)
            if easy + hard == round(size * keep):
                assert exact == released
    assert len(document["rows"]) == 315
    assert raised == 4
    assert missed > 0


def test_flexrand_totals_are_exact_over_many_classes(rng: np.random.Generator) -> None:
    sizes = rng.integers(1, 60, 200)
    for keep in (0.05, 0.1, 0.37, 0.5, 0.93, 1.0):
        for split in (0.05, 0.3, 0.5, 0.8, 0.95):
            found = flexrand_counts(sizes, keep, split)
            assert np.sum(found.easy + found.hard) == round(keep * int(sizes.sum()))
            assert np.all((found.easy >= 0) & (found.easy <= found.region))
            assert np.all((found.hard >= 0) & (found.hard <= sizes - found.region))
            assert np.all(np.abs(found.easy + found.hard - keep * sizes) < 1)


def test_flexrand_shares_are_the_formula() -> None:
    assert flexrand_shares(0.4, 0.25) == (0.2, 0.2)
    assert flexrand_shares(0.4, 0.1) == (0.1, pytest.approx(0.3))
    assert flexrand_shares(0.4, 0.75) == (0.2, 0.2)
    assert flexrand_shares(0.4, 0.5) == (0.2, 0.2)
    assert flexrand_shares(0.4, 0.9) == (pytest.approx(0.3), pytest.approx(0.1))
    for keep, split in ((1.1, 0.5), (0.5, 0.0), (0.5, 1.0), (np.nan, 0.5)):
        with pytest.raises(InputError, match="expected a share"):
            flexrand_shares(keep, split)


@pytest.mark.parametrize("split", [0.3, 0.8])
def test_flexrand_includes_with_the_probabilities_of_its_regions(split: float) -> None:
    tries, size = 2000, 20
    scores = np.random.default_rng(1).permutation(2 * size)
    partition = Partition.of([0] * size + [1] * size, ["cat", "dog"], scores)
    counts = flexrand_counts(partition.counts, 0.4, split)
    seen = np.zeros(2 * size)
    for seed in range(tries):
        seen[flexrand(partition, 0.4, split, seed).rows] += 1
    for pool, name in enumerate(partition.pools.names):
        members = partition.members(name)
        ranked = seen[members[np.argsort(scores[members])]]
        region = counts.region[pool]
        assert region == split * size
        assert unfairness(ranked[:region], tries, counts.easy[pool] / region) > 1e-3
        assert unfairness(ranked[region:], tries, counts.hard[pool] / (size - region)) > 1e-3
    assert counts.easy.tolist() == counts.hard.tolist() == [4, 4]


def test_flexrand_leaves_samples_in_no_pool_alone(split: Partition) -> None:
    kept = flexrand(split, 0.5, 0.7, seed=2)
    assert np.all(split.index[kept.rows] >= 0)
    assert len(kept) == round(0.5 * split.counts.sum())
    np.testing.assert_array_equal(kept.rows, flexrand(split, 0.5, 0.7, seed=2).rows)
    with pytest.raises(InputError, match="no scores"):
        flexrand(dataclasses.replace(split, scores=None), 0.5, 0.7)


# From a mix


def test_a_mix_repeats_what_it_uses_up_and_takes_a_part_of_the_rest() -> None:
    partition = Partition.of(np.repeat([0, 1, 2], [100, 1000, 50]), ["web", "books", "code"])
    found = planned_counts(partition, {"web": 0.5, "books": 0.5, "code": 0.0}, 800)
    assert found.unique.tolist() == [100, 400, 0]
    assert found.samples.tolist() == [400, 400, 0]
    assert found.epochs.tolist() == [4.0, 1.0, 0.0]
    kept = select_planned(partition, {"web": 0.5, "books": 0.5}, 800, seed=1)
    assert kept.kept.tolist() == [100, 400, 0]
    assert np.sum(kept.kept * kept.epochs) == 800


def test_a_mix_is_drawn_by_name_whatever_the_order_of_pools() -> None:
    weights = np.array([0.6, 0.3, 0.1, 0.0])
    mix = Mix(
        law="utility",
        metric="error",
        pools=Pools.of({"a": 1000.0, "b": 1000.0, "c": 1000.0, "elsewhere": 5.0}),
        samples_seen=5000.0,
        weights=weights,
        error=0.5,
        errors={"error": 0.5},
        epochs=5 * weights,
        certificate=Certificate("duality gap", 0.0, 0.0, "global"),
        active=(),
        runner_ups=(),
        objective=0.5,
        seen_before=None,
        warnings=(),
    )
    names = ["d", "c", "b", "a"]
    kept = select_planned(Partition.of(np.repeat(np.arange(4), 1000), names), mix)
    assert kept.kept.tolist() == [0, 500, 1000, 1000]
    np.testing.assert_allclose(kept.epochs, [0.0, 1.0, 1.5, 3.0])
    other = Partition.of(np.repeat(np.arange(4), 500), names)
    with pytest.warns(QQTWarning, match="has 500 samples, but was planned for with 1k"):
        planned_counts(other, mix)


@pytest.mark.parametrize(
    ("mix", "seen", "message"),
    [
        ({"web": 0.5}, 10, "weights sum to 0.5"),
        ({"web": 1.0}, None, "samples seen None: expected the budget"),
        ({"web": 1.0}, 0, "samples seen 0"),
        ({"weeb": 1.0}, 10, "unknown pool 'weeb'"),
        ({"books": 1.0}, 10, "pool 'books': the mix draws from it, but it has no samples"),
    ],
)
def test_mixes_are_refused(mix: dict, seen: float | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        planned_counts(Partition.of([0, 0], ["web", "books"]), mix, seen)
