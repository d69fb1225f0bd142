"""Wide tables with one column a run, as trackers export them."""

import pandas as pd
import pytest

from qqtjax.errors import InputError, QQTWarning
from qqtjax.io import read_runs

POOLS = {"top10": 1e5, "top10-20": "0.1M"}
EXPORT = """\
Step,top10 - val/error,top10 - val/error__MIN,top10 - _step,top10-20 seed2 - val/error
100,0.9,0.9,100,
50,,,,0.95
250,0.8,0.8,250,
300,,,,0.7
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text, **options):
        path = tmp_path / "wandb.csv"
        path.write_text(text)
        return read_runs(path, **{"pools": POOLS, "samples_per_step": 500, **options})

    return read_text


def test_an_export(read):
    runs = read(EXPORT)
    assert runs.pools.names == ("top10", "top10-20")
    assert runs.pools.sizes.tolist() == [1e5, 1e5]
    assert runs.source.tolist() == [0, 0, 1, 1]
    assert runs.samples_seen.tolist() == [50_000, 125_000, 25_000, 150_000]
    assert runs.error.tolist() == [0.9, 0.8, 0.95, 0.7]
    assert runs.run_names == ("top10", "top10-20 seed2")
    assert runs.seed.tolist() == [0, 0, 2, 2]
    assert runs.metric_names == ("val/error",)


def test_a_data_frame_and_the_format_by_name(tmp_path):
    table = pd.DataFrame({"Step": [100, 250], "top10 - val/error": [0.9, 0.8]})
    options = {"pools": {"top10": 1e5}, "samples_per_step": 500}
    assert read_runs(table, format="wide", **options).samples_seen.tolist() == [50_000, 125_000]
    assert read_runs(table, **options).samples_seen.tolist() == [50_000, 125_000]


def test_a_column_of_samples_needs_no_steps(read):
    runs = read(
        EXPORT.replace("Step", "trainer/samples_seen").replace("300,", "300000,"),
        samples_per_step=None,
        format="wide",
    )
    assert runs.samples_seen.tolist() == [100, 250, 50, 300_000]


@pytest.mark.parametrize(
    ("metric", "first"),
    [("val/acc", 1 - 0.9), ("imagenet-top-1", 1 - 0.9), ("eval/loss", 0.9), ("val/err", 0.9)],
)
def test_the_metrics_name_tells_its_kind(read, metric, first):
    runs = read(EXPORT.replace("val/error", metric))
    assert runs.error[0] == first
    assert runs.metric_names == (metric,)


def test_a_name_that_does_not_tell_is_refused_unless_value_says(read):
    text = EXPORT.replace("val/error", "val/score")
    with pytest.raises(InputError) as caught:
        read(text)
    assert "wandb.csv, column 'top10 - val/score': error, accuracy or loss?" in str(caught.value)
    assert read(text, value="accuracy").error[0] == 1 - 0.9


def test_bare_run_names(read):
    text = "Step,top10,top10-20\n100,.9,.95\n250,.8,.7\n"
    with pytest.raises(InputError, match="column 'top10': error, accuracy or loss"):
        read(text)
    runs = read(text, value="error")
    assert runs.error.tolist() == [0.9, 0.8, 0.95, 0.7]


def test_several_metrics(read):
    text = "Step,top10 - val/acc,top10 - train/loss\n100,.1,5\n250,.2,4\n"
    with pytest.raises(InputError, match="columns of accuracy and loss together: choose with metric="):
        read(text, pools={"top10": 1e5})
    assert read(text, pools={"top10": 1e5}, metric="train/loss").error.tolist() == [5, 4]


def test_several_tasks_are_averaged(read):
    text = "Step,top10 - a/acc,top10 - b/acc\n100,.25,.5\n250,.5,.5\n"
    runs = read(text, pools={"top10": 1e5}, tasks=["a/acc", "b/acc"])
    assert runs.error.tolist() == [0.625, 0.5]


def test_runs_named_by_weights(read):
    runs = read("Step,top10=.75 top10-20=.25 - val/error\n100,.9\n900,.8\n")
    assert runs.mixes.tolist() == [[0.75, 0.25]]
    assert runs.run_names == ("top10=.75 top10-20=.25",)


def test_step_zero_is_left_out_with_a_warning(read):
    with pytest.warns(QQTWarning, match=r"wandb\.csv: cells at step 0 are left out \(1 of them\)") as caught:
        runs = read(EXPORT.replace("\n100,", "\n0,0.999,,,\n100,"))
    assert runs.samples_seen.tolist() == [50_000, 125_000, 25_000, 150_000]
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (("", ""), {"pools": None}, "wandb.csv: a wide table needs pools="),
        (("", ""), {"samples_per_step": None}, "wandb.csv, column 'Step': steps, expected samples_per_step="),
        (("", ""), {"samples_per_step": 0}, "samples_per_step=0: expected a positive number"),
        (("", ""), {"metric": "val/acc"}, "wandb.csv: no run column of the metric= or tasks= val/acc with a number"),
        (("Step", "Epoch"), {}, "wandb.csv: no column 'Step' or 'samples_seen'; the columns are Epoch, "),
        (("10-20 seed2", "15"), {}, "wandb.csv, column 'top15 - val/error': no pool in the name 'top15'; "),
        (
            ("top10-20 seed2", "top10 top10-20"),
            {},
            ": 'top10 top10-20' names the pools top10 and top10-20, expected one",
        ),
        (
            ("0.7", "x"),
            {},
            "wandb.csv, row 4 (line 5), column 'top10-20 seed2 - val/error': found 'x', expected a number",
        ),
        (
            ("0.7", "7"),
            {},
            "wandb.csv, row 4 (line 5), column 'top10-20 seed2 - val/error': found 7, expected an error",
        ),
        (
            ("\n250", "\n-250"),
            {},
            "wandb.csv, row 3 (line 4), column 'Step': found -125000, expected a positive number",
        ),
    ],
)
def test_bad_exports(read, change, options, message):
    with pytest.raises(InputError) as caught:
        read(EXPORT.replace(*change) if change[0] else EXPORT, **options)
    assert message in str(caught.value)


def test_one_pool_inside_two_names_is_not_taken_for_another(read):
    text = "Step,tmars_top10 - val/error,tmars_top10-20 - val/error\n100,.9,.95\n250,.8,.7\n"
    assert read(text).source.tolist() == [0, 0, 1, 1]
    with pytest.raises(InputError, match="no pool in the name 'top100'"):
        read("Step,top100 - val/error\n100,.9\n")
