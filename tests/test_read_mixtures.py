"""Rows that mix pools, and nested filters."""

import numpy as np
import pandas as pd
import pytest

from qqtjax.errors import InputError
from qqtjax.io import read_runs
from qqtjax.io.mixtures import parse_weights, write_weights

POOLS = {"a": 100.0, "b": 300.0}


def singles():
    """Two pools, each seen inside its first epoch and beyond."""
    rows = [
        ("a", 100.0, 50.0, 0.9),
        ("a", 100.0, 250.0, 0.8),
        ("b", 300.0, 50.0, 0.95),
        ("b", 300.0, 450.0, 0.7),
    ]
    return pd.DataFrame(rows, columns=["pool", "pool_size", "samples_seen", "error"])


def with_rows(*rows):
    """The single pools with further rows, given as dictionaries."""
    return pd.concat([singles(), pd.DataFrame(list(rows))], ignore_index=True)


@pytest.mark.parametrize(
    "text", ["a=.7 b=.3", "a=.7,b=.3", "a=.7;b=.3", " a = .7 ;  b=3e-1, ", "a=0.7\tb=0.3", "b=.3 a=.7"]
)
def test_separators(text):
    assert parse_weights(text) == {"a": 0.7, "b": 0.3}


def test_names_with_spaces_and_signs():
    text = "top 10%=.5 top-20 minus top 10%=.25;c/d=0.25"
    assert parse_weights(text) == {"top 10%": 0.5, "top-20 minus top 10%": 0.25, "c/d": 0.25}
    assert parse_weights(write_weights({"a b": 0.25, "c": 0.75})) == {"a b": 0.25, "c": 0.75}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "found 'a', expected weights such as 'top10=.7 top20=.3'"),
        ("a=.5 b", "found 'b', expected weights"),
        ("=1", "found '=1', expected weights"),
        ("a=.5 b=x", "found 'x', expected a number"),
        ("a=.5 b=nan", "found 'nan', expected a number"),
        ("a=inf", "found weight inf of pool 'a', expected a finite number >= 0"),
        ("a=1.5 b=-.5", "found weight -0.5 of pool 'b', expected a finite number >= 0"),
        ("a=.5 b=.4", "found weights that sum to 0.9, expected 1"),
        ("a=.5 a=.5", "found pool 'a' twice, expected one weight a pool"),
    ],
)
def test_bad_weights_name_row_and_column(text, message):
    table = with_rows({"samples_seen": 50, "error": 0.9, "weights": text})
    with pytest.raises(InputError) as caught:
        read_runs(table)
    assert str(caught.value).startswith(f"DataFrame, row 5, column 'weights': {message}")


def test_a_mixture_row_needs_no_pool():
    table = with_rows(
        {"samples_seen": 200, "error": 0.85, "weights": "a=.75 b=.25"},
        {"samples_seen": 400, "error": 0.75, "weights": "b=0.25, a=0.75"},
        {"samples_seen": 400, "error": 0.7, "weights": "a=.5 b=.5"},
    )
    runs = read_runs(table)
    assert runs.source.tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert runs.mixes.tolist() == [[0.75, 0.25], [0.5, 0.5]]
    assert runs.mix_sizes.tolist() == [[100, 300], [100, 300]]
    assert runs.run_names == ("a", "b", "a=0.75 b=0.25", "a=0.5 b=0.5")
    assert runs.run.tolist() == [0, 0, 1, 1, 2, 2, 3]


def test_weights_are_normalised_within_the_tolerance():
    third = "a=0.333333333 b=0.666666666"
    runs = read_runs(with_rows({"samples_seen": 200, "error": 0.85, "weights": third}))
    assert runs.mixes.sum() == 1.0
    with pytest.raises(InputError, match=r"sum to 0\.99999, expected 1"):
        read_runs(with_rows({"samples_seen": 200, "error": 0.85, "weights": "a=.33333 b=.66666"}))


def test_weights_of_one_pool_are_that_pool():
    runs = read_runs(with_rows({"samples_seen": 950, "error": 0.6, "weights": "b=1 a=0"}))
    assert runs.source.tolist() == [0, 0, 1, 1, 1]
    assert len(runs.mixes) == 0
    assert runs.run_names == ("a", "b")


def test_weights_as_mappings():
    runs = read_runs(with_rows({"samples_seen": 200, "error": 0.85, "weights": {"a": 0.75, "b": 0.25}}))
    assert runs.mixes.tolist() == [[0.75, 0.25]]


def test_weights_in_columns():
    table = with_rows(
        {"samples_seen": 200, "error": 0.85, "weight_a": 0.75, "weight_b": 0.25},
        {"samples_seen": 300, "error": 0.8, "weight_a": 0.75, "weight_b": 0.25},
        {"samples_seen": 950, "error": 0.6, "weight_b": 1},
    )
    runs = read_runs(table)
    assert runs.source.tolist() == [0, 0, 1, 1, 2, 2, 1]
    assert runs.mixes.tolist() == [[0.75, 0.25]]
    text = read_runs(
        with_rows(
            {"samples_seen": 200, "error": 0.85, "weights": "a=.75 b=.25"},
            {"samples_seen": 300, "error": 0.8, "weights": "a=.75 b=.25"},
            {"samples_seen": 950, "error": 0.6, "weights": "b=1"},
        )
    )
    assert text.run_names == runs.run_names
    assert (text.mixes == runs.mixes).all()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"weight_a": 0.5, "weight_b": 0.4},
            "DataFrame, row 5, column 'weight_...': found weights that sum to 0.9",
        ),
        (
            {"weight_a": 1.5, "weight_b": -0.5},
            "DataFrame, row 5, column 'weight_b': found -0.5, expected a finite",
        ),
        (
            {"weight_a": np.inf},
            "DataFrame, row 5, column 'weight_a': found inf, expected a finite weight >= 0",
        ),
        ({"weight_c": 1.0}, "DataFrame, row 5, column 'weight_c': unknown pool 'c'; the pools are a, b"),
        (
            {"weight_a": 1.0, "weights": "a=1"},
            "DataFrame, row 5, column 'weights': found 'weights', expected them here",
        ),
    ],
)
def test_bad_weight_columns(columns, message):
    with pytest.raises(InputError) as caught:
        read_runs(with_rows({"samples_seen": 200, "error": 0.85, **columns}))
    assert str(caught.value).startswith(message)


def test_an_unknown_pool_in_weights_suggests_the_nearest():
    table = with_rows({"samples_seen": 200, "error": 0.85, "weights": "top10=.5 b=.5"}).replace("a", "top1")
    with pytest.raises(InputError) as caught:
        read_runs(table)
    assert str(caught.value) == (
        "DataFrame, row 5, column 'weights': unknown pool 'top10'; the pools are top1, b; "
        "did you mean 'top1'? "
        "(a new pool needs its size: a column 'size_top10' or pools={'top10': samples})"
    )


def test_a_pool_known_only_from_mixtures_takes_its_size_from_a_column_or_the_argument():
    rows = [{"samples_seen": n, "error": e, "weights": "a=.5 c=.5"} for n, e in [(10, 0.9), (90, 0.8)]]
    by_column = read_runs(with_rows(*({**row, "size_c": 40} for row in rows)))
    by_argument = read_runs(with_rows(*rows), pools={"a": 100, "b": 300, "c": 40})
    for runs in (by_column, by_argument):
        assert runs.pools.names == ("a", "b", "c")
        assert runs.pools.sizes.tolist() == [100, 300, 40]
        assert runs.mixes.tolist() == [[0.5, 0, 0.5]]


def test_a_size_column_that_changes():
    rows = [{"samples_seen": n, "error": 0.9, "weights": "a=.5 c=.5", "size_c": size} for n, size in [(1, 40), (2, 50)]]
    with pytest.raises(InputError, match="row 6, column 'size_c': found 50, expected 40: one size for pool 'c'"):
        read_runs(with_rows(*rows))


def test_subsample_scales_the_sizes_of_mixtures_and_of_single_pools():
    table = with_rows(
        {"samples_seen": 200, "error": 0.85, "weights": "a=.25 b=.75", "subsample": 0.25},
        {"samples_seen": 200, "error": 0.8, "weights": "a=.25 b=.75"},
        {"samples_seen": 200, "error": 0.75, "pool": "a", "pool_size": 100, "subsample": 0.5},
    )
    runs = read_runs(table)
    assert runs.source.tolist() == [0, 0, 1, 1, 2, 3, 4]
    assert runs.mixes.tolist() == [[0.25, 0.75], [0.25, 0.75], [1, 0]]
    assert runs.mix_sizes.tolist() == [[25, 75], [100, 300], [50, 150]]
    assert runs.run_names[2:] == ("a=0.25 b=0.75 subsample 0.25", "a=0.25 b=0.75", "a subsample 0.5")
    np.testing.assert_allclose(runs.epochs[4:], [[2, 2], [0.5, 0.5], [4, 0]])


@pytest.mark.parametrize(
    ("row", "epochs", "sizes"),
    [
        ({"weights": "a=.25 b=.75", "pool_size": 400}, [0.5, 0.5], [100, 300]),
        ({"weights": "a=.25 b=.75", "pool_size": 400.0003}, [0.5, 0.5], [100, 300]),
        ({"weights": "a=.25 b=.75", "pool_size": np.nan}, [0.5, 0.5], [100, 300]),
        ({"weights": "a=.5 b=.5", "pool_size": 400}, [1, 1 / 3], [100, 300]),
        ({"weights": "a=.5 b=.5", "pool_size": 200, "subsample": 0.5}, [2, 2 / 3], [50, 150]),
        ({"weights": "a=.25 b=.75", "pool_size": 80}, [2.5, 2.5], [20, 60]),  # a fifth of each, drawn uniformly
        ({"weight_a": 0.25, "weight_b": 0.75, "pool_size": "80"}, [2.5, 2.5], [20, 60]),
    ],
)
def test_the_pool_size_of_a_mixture_is_what_it_draws_from(row, epochs, sizes):
    runs = read_runs(with_rows({"samples_seen": 200, "error": 0.85, **row}))
    np.testing.assert_allclose(runs.epochs[-1], epochs, rtol=1e-12)
    np.testing.assert_allclose(runs.mix_sizes, [sizes], rtol=1e-12)


def test_a_part_told_by_the_pool_size_is_the_subsample_that_says_so():
    row = {"samples_seen": 200, "error": 0.85, "weights": "a=.25 b=.75"}
    runs = read_runs(with_rows({**row, "pool_size": 80}, {**row, "samples_seen": 400, "subsample": 0.2}))
    assert runs.source[-1] == runs.source[-2]
    assert runs.run_names[-1] == "a=0.25 b=0.75 subsample 0.2"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"weights": "a=.5 b=.5", "pool_size": 80}, "found 80, expected the 400 that the pools of 'a=0.5 b=0.5' hold"),
        ({"weights": "a=.25 b=.75", "pool_size": 800}, "found 800, expected the 400 that the pools of "),
        ({"weights": "a=.25 b=.75", "pool_size": 400.01}, "found 400.01, expected the 400 that"),
        ({"weights": "a=1", "pool_size": 20}, "found 20, expected the 100 that the pools of 'a=1' hold"),
        (
            {"weights": "a=.25 b=.75", "pool_size": 80, "subsample": 0.5},
            "found 80, expected the 400 that the pools of 'a=0.25 b=0.75' hold times subsample 0.5, or an empty cell",
        ),
        ({"weights": "a=.25 b=.75", "pool_size": 0}, "found 0, expected a positive number of samples"),
        ({"weights": "a=.25 b=.75", "pool_size": "some"}, "found 'some', expected a number"),
    ],
)
def test_a_pool_size_that_contradicts_the_mixture(row, message):
    with pytest.raises(InputError) as caught:
        read_runs(with_rows({"samples_seen": 200, "error": 0.85, **row}))
    text = str(caught.value)
    assert text.startswith(f"DataFrame, row 5, column 'pool_size': {message}")
    assert "hold" not in text or "'subsample'" in text


def test_a_mixture_with_an_infinite_pool_holds_infinitely_many():
    row = {"samples_seen": 200, "error": 0.85, "weights": "a=.5 web=.5", "size_web": np.inf}
    assert read_runs(with_rows({**row, "pool_size": np.inf})).epochs[-1].tolist() == [1, 0, 0]
    with pytest.raises(InputError, match=r"found 80, expected the inf that the pools of 'a=0\.5 web=0\.5' hold"):
        read_runs(with_rows({**row, "pool_size": 80}))


def test_a_mixture_may_carry_a_label_but_not_the_name_of_another_pool():
    row = {"samples_seen": 200, "error": 0.85, "weights": "a=.25 b=.75"}
    assert read_runs(with_rows({**row, "pool": "both"})).run_names == ("a", "b", "both")
    message = "row 5, column 'pool': found 'b', expected a row with weights to name no pool, or "
    with pytest.raises(InputError, match=message):
        read_runs(with_rows({**row, "pool": "b"}))
    assert read_runs(with_rows({**row, "weights": "b=1", "pool": "b"})).source[-1] == 1


def test_weight_decay_is_no_weight_unless_decay_is_a_pool():
    table = singles().assign(weight_decay=0.1)
    assert read_runs(table).single.all()
    rows = [{"samples_seen": 990.0, "error": 0.6, "weight_decay": 1.0}]
    runs = read_runs(with_rows(*rows).replace("a", "decay"))
    assert runs.pools.names == ("decay", "b")
    assert runs.source.tolist() == [0, 0, 1, 1, 0]


# --- nested filters ---


def filters(**columns):
    """Three nested filters of 100, 200 and 400 samples."""
    rows = [
        (f"top{k}", 100.0 * size, n, 1 - n / 4000) for k, size in [(10, 1), (20, 2), (40, 4)] for n in (50.0, 900.0)
    ]
    return pd.DataFrame(rows, columns=["pool", "pool_size", "samples_seen", "error"]).assign(**columns)


INCLUDES = [None, None, "top10", "top10", "top20", "top20"]


@pytest.mark.parametrize(
    ("table", "options"),
    [(filters(), {"nested": ["top10", "top20", "top40"]}), (filters(includes=INCLUDES), {})],
)
def test_nested_filters_become_shells(table, options):
    runs = read_runs(table, **options)
    assert runs.pools.names == ("top10", "top20 minus top10", "top40 minus top20")
    assert runs.pools.sizes.tolist() == [100, 100, 200]
    assert runs.source.tolist() == [0, 0, 3, 3, 4, 4]
    assert runs.mixes.tolist() == [[0.5, 0.5, 0], [0.25, 0.25, 0.5]]
    assert runs.run_names == ("top10", "top20", "top40")
    epochs = runs.samples_seen / np.repeat([100, 200, 400], 2)
    for row, inside in enumerate([1, 1, 2, 2, 3, 3]):
        np.testing.assert_allclose(runs.epochs[row], [epochs[row]] * inside + [0] * (3 - inside))


def test_only_the_innermost_filter_keeps_its_name_among_weights():
    rows = pd.DataFrame(
        [
            {"samples_seen": 70.0, "error": 0.9, "weights": "top10=.6 top20 minus top10=.4"},
            {"samples_seen": 70.0, "error": 0.8, "weights": "top20=1"},
        ]
    )
    table = pd.concat([filters(), rows], ignore_index=True)
    runs = read_runs(table, nested=["top10", "top20", "top40"])
    assert runs.weights[-2:].tolist() == [[0.6, 0.4, 0], [0.5, 0.5, 0]]


def test_a_nested_filter_mixed_with_another_pool():
    rows = pd.DataFrame([{"pool": "web", "pool_size": 1000.0, "samples_seen": n, "error": 0.9} for n in (70.0, 3000.0)])
    mixed = pd.DataFrame([{"samples_seen": 70.0, "error": 0.85, "weights": "top20=.5 web=.5"}])
    table = pd.concat([filters(), rows, mixed], ignore_index=True)
    runs = read_runs(table, nested=["top10", "top20", "top40"])
    assert runs.weights[-1].tolist() == [0.25, 0.25, 0, 0.5]


def test_mixing_a_filter_with_what_it_contains_is_refused():
    mixed = pd.DataFrame([{"samples_seen": 70.0, "error": 0.85, "weights": "top10=.5 top20=.5"}])
    table = pd.concat([filters(), mixed], ignore_index=True)
    with pytest.raises(InputError) as caught:
        read_runs(table, nested=["top10", "top20", "top40"])
    assert str(caught.value) == (
        "DataFrame, row 7, column 'weights': "
        "pools 'top10' and 'top20' are declared as disjoint but overlapping: "
        "one contains the other; expected weights on disjoint pools among top10, top20 minus top10, "
        "top40 minus top20"
    )


def test_a_filter_left_out_of_the_chain_is_refused():
    with pytest.raises(InputError, match=r"'top10' .* and 'top40' .* read as nested filters"):
        read_runs(filters(), nested=["top10", "top20"])


def test_undeclared_filters_are_refused_with_what_to_say():
    with pytest.raises(InputError) as caught:
        read_runs(filters())
    text = str(caught.value)
    assert "'top10' (100 samples) and 'top20' (200) are declared as disjoint but read as nested filters" in text
    assert "nested=['top10', 'top20', 'top40']" in text
    assert "disjoint=True" in text


@pytest.mark.parametrize(
    ("small", "large"),
    [("top_10p", "top_30p"), ("top 10%", "top 30%"), ("Top10", "top-30 %"), ("tmars_top10", "tmars_top30p")],
)
def test_names_that_read_as_cumulative(small, large):
    table = filters()[:4].replace({"top10": small, "top20": large}).replace({"pool_size": {200.0: 300.0}})
    with pytest.raises(InputError, match="read as nested filters"):
        read_runs(table)
    assert read_runs(table, disjoint=True).pools.names == (small, large)


def pools_of(names, sizes):
    """Two checkpoints of each pool."""
    rows = [(name, size, n, 1 - n / 4000) for name, size in zip(names, sizes, strict=True) for n in (50.0, 900.0)]
    return pd.DataFrame(rows, columns=["pool", "pool_size", "samples_seen", "error"])


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (("top10", "top20"), (100.0, 100.0)),  # equal sizes: shells that people call by their end
        (("top0to10p", "top10to20p"), (100.0, 200.0)),
        (("laion_top10", "tmars_top20"), (100.0, 200.0)),
        (("10-20%", "20-40%"), (100.0, 200.0)),
        (("C20", "C40", "C60", "C80"), (100.0, 100.0, 100.0, 1000.0)),
        (("C00", "C20"), (100.0, 200.0)),
        (("clip_30", "clip_60"), (100.0, 150.0)),
        (("R1", "R2", "R3"), (100.0, 200.0, 300.0)),  # the numbers count the pools
        (("CC-2019", "CC-2020"), (100.0, 101.0)),  # as near to equal as to in proportion
        (("LAION-80M", "LAION-400M", "LAION-2B"), (8e7, 4e8, 2e9)),  # the numbers are the sizes
        (("0.1B web", "0.4B web"), (1e8, 4e8)),
        (("12 million", "24 million"), (1.2e7, 2.4e7)),
        (("1000", "2000"), (1000.0, 2000.0)),
        (("30%", "60%"), (np.inf, np.inf)),
    ],
)
def test_names_that_do_not(names, sizes):
    assert read_runs(pools_of(names, sizes)).pools.sizes.tolist() == list(sizes)


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (("30%", "60%"), (300.0, 600.0)),
        (("clip_30", "clip_60"), (300.0, 610.0)),
        (("p10", "p20", "p40"), (100.0, 200.0, 400.0)),
        (("10 %", "web", "30 %"), (100.0, 5000.0, 300.0)),
        (("0-10%", "0-20%"), (100.0, 200.0)),
        (("laion2B_clip30", "laion2B_clip60"), (300.0, 600.0)),
        (("1%", "2%", "3%"), (100.0, 200.0, 300.0)),
        (("top1", "top2"), (100.0, 200.0)),
        (("top10M", "top20M"), (1e7, 2e7)),
        (("C20", "C40", "C60"), (100.0, 100.0, 300.0)),
    ],
)
def test_numbers_in_proportion_to_sizes_read_as_cumulative(names, sizes):
    table = pools_of(names, sizes)
    with pytest.raises(InputError, match="read as nested filters") as caught:
        read_runs(table)
    filters = [name for name in names if name != "web"]
    assert f"say nested={filters!r} or" in str(caught.value)
    assert read_runs(table, disjoint=True).pools.names == names
    if names[0] != "C20":
        assert len(read_runs(table, nested=filters).mixes) == len(filters) - 1


@pytest.mark.parametrize(
    ("nested", "message"),
    [
        (["top10"], "expected two or more different filters"),
        ("top10", "nested='top10': expected two or more different filters"),
        (("top10",), r"nested=\['top10'\]: expected two or more different filters"),
        (["top10", "top10"], "expected two or more different filters"),
        (
            ["top10", "top50"],
            r"nested filter 'top50' \(nested=\) is no pool; the pools are top10, top20, top40; did you mean 'top40'",
        ),
        (
            ["top20", "top10"],
            r"pool 'top10' \(100 samples\) cannot contain 'top20' \(200\); expected finite sizes that grow",
        ),
    ],
)
def test_bad_nested(nested, message):
    with pytest.raises(InputError, match=message):
        read_runs(filters(), nested=nested)


@pytest.mark.parametrize(
    ("includes", "message"),
    [
        (
            [None, None, "top11", "top10", None, None],
            "row 3, column 'includes': found 'top11', expected one of the pools",
        ),
        (
            [None, None, None, None, "top20", "top10"],
            "row 6, column 'includes': found 'top10', expected 'top20' as in the other rows of 'top40'",
        ),
        (
            [None, None, "top10", "top10", "top10", "top10"],
            "both 'top20' and 'top40' contain 'top10'; expected a chain",
        ),
        (["top20", "top20", "top10", "top10", None, None], "cannot contain 'top20'"),
    ],
)
def test_bad_includes(includes, message):
    with pytest.raises(InputError, match=message):
        read_runs(filters(includes=includes), disjoint=True)


def test_nested_and_includes_exclude_each_other():
    with pytest.raises(InputError, match="nested= given beside a column 'includes'"):
        read_runs(filters(includes=INCLUDES), nested=["top10", "top20"])


def test_a_shell_that_is_a_pool_already_is_refused():
    table = filters().replace({"top40": "top20 minus top10"})
    with pytest.raises(InputError, match="give its rows the weights 'top20 minus top10=1'"):
        read_runs(table, nested=["top10", "top20"])
