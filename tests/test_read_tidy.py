"""Tables in the tidy form, one row a checkpoint."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qqtjax.errors import InputError, QQTWarning
from qqtjax.io import read_runs

HEAD = "pool,pool_size,samples_seen,error\n"
# Two pools, each with a checkpoint inside its first epoch and one beyond: nothing to warn of.
GOOD = HEAD + "a,100,50,.9\na,100,250,.8\nb,200,50,.95\nb,200,450,.7\n"


@pytest.fixture
def read(tmp_path):
    def read_text(text, **options):
        path = tmp_path / "runs.csv"
        path.write_text(text)
        return read_runs(path, **options)

    return read_text


def frame(**columns):
    """Two checkpoints of one pool, with some columns changed."""
    table = {"pool": "a", "pool_size": 100.0, "samples_seen": [50.0, 250.0], "error": [0.9, 0.8]}
    return pd.DataFrame({**table, **columns})


def test_the_plain_table(read):
    runs = read(GOOD)
    assert runs.pools.names == ("a", "b")
    assert runs.pools.sizes.tolist() == [100, 200]
    assert runs.source.tolist() == [0, 0, 1, 1]
    assert runs.mixes.shape == runs.mix_sizes.shape == (0, 2)
    assert runs.samples_seen.tolist() == [50, 250, 50, 450]
    assert runs.error.tolist() == [0.9, 0.8, 0.95, 0.7]
    assert runs.run.tolist() == [0, 0, 1, 1]
    assert runs.run_names == ("a", "b")
    assert runs.seed.tolist() == [0, 0, 0, 0]
    assert runs.metric_names == ("error",)
    assert runs.eval_size is runs.model_size is runs.annealed is None


def test_pools_keep_the_order_of_the_table(read):
    runs = read(HEAD + "z,1,.5,.9\nz,1,2,.8\na,1,.5,.9\na,1,2,.8\n")
    assert runs.pools.names == ("z", "a")


def test_accuracy_is_one_minus_error(read):
    assert read(GOOD.replace("error", "accuracy")).error.tolist() == [
        1 - 0.9, 1 - 0.8, 1 - 0.95, 1 - 0.7
    ]  # fmt: skip


def test_a_loss_may_exceed_one(read):
    runs = read(GOOD.replace("error", "loss").replace(".9\n", "3.5\n"))
    assert runs.error[0] == 3.5
    assert runs.metric_names == ("loss",)


def test_counts_with_suffixes(read):
    runs = read(HEAD + "a,12.8M,6.4M,.9\na,12.8M,0.64B,.8\na,0.0128B,1.28e7,.85\n")
    assert runs.pools.sizes.tolist() == [12.8e6]
    assert runs.samples_seen.tolist() == [6.4e6, 640e6, 12.8e6]


def test_an_infinite_pool(read):
    runs = read(HEAD + "a,100,50,.9\na,100,250,.8\nfresh,inf,300,.7\nfresh,inf,400,.6\n")
    assert runs.pools.sizes.tolist() == [100, np.inf]
    assert runs.epochs[2:].tolist() == [[0, 0], [0, 0]]


def test_all_optional_columns():
    runs = read_runs(frame(run="r", seed=3, metric="top1", model_size="1.5B", annealed=["yes", True], eval_size=50_000))
    assert runs.run_names == ("r",)
    assert runs.seed.tolist() == [3, 3]
    assert runs.metric_names == ("top1",)
    assert runs.model_size.tolist() == [1.5e9, 1.5e9]
    assert runs.annealed.tolist() == [True, True]
    assert runs.eval_size.tolist() == [50_000, 50_000]


def test_optional_columns_that_are_empty_count_as_absent(read):
    text = GOOD.replace("error\n", "error,seed,eval_size,annealed,weights\n").replace("\n", ",,,,\n")
    runs = read(text.replace("weights,,,,\n", "weights\n"))
    assert runs.eval_size is runs.annealed is None
    assert runs.seed.tolist() == [0, 0, 0, 0]


def test_columns_that_nobody_knows_are_ignored(read):
    runs = read(GOOD.replace("error\n", "error,note,weight_decay\n").replace("0,.", "0,.").replace(
        ",.9\n", ",.9,good,0.05\n"
    ))  # fmt: skip
    assert len(runs) == 4
    assert runs.single.all()


def test_without_a_run_column_pool_and_seed_make_a_run():
    table = pd.concat([frame(seed=0), frame(seed=1, error=[0.91, 0.81])])
    runs = read_runs(table)
    assert runs.run.tolist() == [0, 0, 1, 1]
    assert runs.run_names == ("a, seed 0", "a, seed 1")


def test_one_run_name_on_two_seeds_and_pools_is_four_runs():
    table = pd.concat([frame(run="x", seed=seed, pool=pool) for pool in "ab" for seed in (0, 1)])
    runs = read_runs(table)
    assert runs.run.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert runs.run_names == ("x, a, seed 0", "x, a, seed 1", "x, b, seed 0", "x, b, seed 1")


def test_model_sizes_are_runs_of_their_own():
    table = pd.concat([frame(model_size=1e8), frame(model_size=2e8, error=[0.8, 0.7])])
    runs = read_runs(table)
    assert runs.run_names == ("a, model 100M", "a, model 200M")


def test_exact_repeats_are_dropped():
    runs = read_runs(pd.concat([frame(), frame()]))
    assert runs.samples_seen.tolist() == [50, 250]


def test_a_missing_seed_is_zero():
    assert read_runs(frame(seed=[np.nan, 0])).seed.tolist() == [0, 0]


def test_pool_names_that_are_numbers():
    assert read_runs(frame(pool=10)).pools.names == ("10",)
    table = pd.concat([frame(pool=10.0), frame(pool=None, weights="10=1", pool_size=None, seed=1)])
    assert read_runs(table).pools.names == ("10",)


def test_names_that_pandas_takes_for_missing_are_names(read):
    runs = read(GOOD.replace("a,", "None,").replace("b,", "NA,"))
    assert runs.pools.names == ("None", "NA")


def test_sizes_from_the_argument_and_its_order():
    table = pd.concat([frame(pool="a"), frame(pool="b")]).drop(columns="pool_size")
    runs = read_runs(table, pools={"b": "0.2k", "a": 100})
    assert runs.pools.names == ("b", "a")
    assert runs.pools.sizes.tolist() == [200, 100]
    assert runs.source.tolist() == [1, 1, 0, 0]


def test_an_empty_size_is_filled_from_the_argument():
    assert read_runs(frame(pool_size=[None, 100]), pools={"a": 100}).pools.sizes.tolist() == [100]


def test_value_chooses_among_several():
    table = frame(loss=[3.0, 2.5])
    with pytest.raises(InputError, match="columns error and loss are all there: say which with value='error'"):
        read_runs(table)
    assert read_runs(table, value="loss").error.tolist() == [3.0, 2.5]
    assert read_runs(table, value="error").error.tolist() == [0.9, 0.8]


def metrics():
    """Two checkpoints on two metrics."""
    return pd.concat([frame(metric="x"), frame(metric="y", error=[0.7, 0.4])])


def test_metrics_side_by_side_one_of_them_and_averaged():
    assert read_runs(metrics()).metric_names == ("x", "y")
    one = read_runs(metrics(), metric="y")
    assert (one.metric_names, one.error.tolist()) == (("y",), [0.7, 0.4])
    both = read_runs(metrics(), metric=["y", "x"])
    assert both.metric_names == ("y", "x")
    assert both.metric.tolist() == [1, 1, 0, 0]
    mean = read_runs(metrics(), tasks=["x", "y"])
    assert mean.metric_names == ("average of 2 tasks",)
    np.testing.assert_allclose(mean.error, [0.8, 0.6], rtol=1e-15)


@pytest.mark.parametrize("options", [{"metric": "z"}, {"tasks": ["x", "z"]}])
def test_an_unknown_metric_names_the_argument_and_lists_those_there(options):
    with pytest.raises(InputError, match=rf"unknown metric 'z' \({next(iter(options))}=\); the metrics are x, y"):
        read_runs(metrics(), **options)


def test_sizes_of_pools_are_a_mapping():
    with pytest.raises(InputError, match=r"pools=\['x'\]: expected a mapping"):
        read_runs(metrics(), pools=["x"])  # pyright: ignore[reportArgumentType]


def test_metric_and_tasks_exclude_each_other():
    with pytest.raises(InputError, match="metric= and tasks= together"):
        read_runs(metrics(), metric="x", tasks=["x"])
    with pytest.raises(InputError, match="tasks='x': expected a list"):
        read_runs(metrics(), tasks="x")


@pytest.mark.parametrize("option", [{"samples_per_epoch": 10}, {"format": "csv", "samples_per_step": 10}])
def test_options_of_other_sources_are_refused(read, option):
    with pytest.raises(InputError, match="does not apply to this source"):
        read(GOOD, **option)


names = st.text("abcdefgh_ %", min_size=1, max_size=8).map(str.strip).filter(bool)
positive = st.floats(1e-3, 1e15)


@given(
    sizes=st.dictionaries(names, positive | st.just(np.inf), min_size=1, max_size=4),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_any_table_comes_back_as_it_was_written(sizes, data, tmp_path_factory):
    seen = data.draw(st.lists(positive, min_size=1, max_size=5, unique=True))
    cells = [(pool, size, n) for pool, size in sizes.items() for n in seen]
    errors = data.draw(st.lists(st.floats(0, 1, exclude_min=True), min_size=len(cells), max_size=len(cells)))
    path = tmp_path_factory.mktemp("tidy") / "runs.csv"
    table = pd.DataFrame(cells, columns=["pool", "pool_size", "samples_seen"]).assign(error=errors)
    table.to_csv(path, index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QQTWarning)
        runs = read_runs(path)
        again = read_runs(table)
    assert dict(zip(runs.pools.names, runs.pools.sizes.tolist(), strict=True)) == sizes
    assert [runs.pools.names[source] for source in runs.source] == table["pool"].tolist()
    assert runs.samples_seen.tolist() == table["samples_seen"].tolist()
    assert runs.error.tolist() == errors
    assert (again.error == runs.error).all()
    assert (again.source == runs.source).all()


def test_a_suffix_late_in_a_long_column_changes_nothing_before_it(tmp_path):
    seen = np.arange(1, 40_001) * 10.5
    cells = [*map(repr, seen[:-1].tolist()), "0.42M"]
    table = pd.DataFrame({"pool": "a", "pool_size": 1000, "samples_seen": cells, "error": 0.5})
    table.to_csv(tmp_path / "runs.csv", index=False)
    assert read_runs(tmp_path / "runs.csv").samples_seen.tolist() == seen.tolist()
