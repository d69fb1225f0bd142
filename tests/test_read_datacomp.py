"""Folders of DataComp-style evaluations."""

import json

import pytest

from qqtjax.errors import InputError, QQTWarning
from qqtjax.io import read_runs

POOLS = {"top0to10p": 12.8e6, "top10to20p": "12.8M"}
TASKS = {"imagenet1k": 0.0, "cifar10": 0.25, "vtab/pets": 0.5}


def evaluate(path, accuracy):
    """Write one evaluation: ImageNet's accuracy is as given, the other tasks' higher by a known amount."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"key": "fairness", "metrics": {"main_metric": None}}]
    lines += [{"key": key, "metrics": {"acc1": 0.0, "main_metric": accuracy + more}} for key, more in TASKS.items()]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")


@pytest.fixture
def root(tmp_path):
    """Two pools: checkpoints of one run in one layout, runs of each length in the other."""
    for k, accuracy in [(2, 0.125), (10, 0.25), (1, 0.0625)]:
        evaluate(tmp_path / "tmars_top0to10p" / f"eval_results_epoch_{k}_step_-1.jsonl", accuracy)
        evaluate(tmp_path / f"clip_top10to20p_{k}x" / "eval_results.jsonl", accuracy / 2)
    return tmp_path


OPTIONS = {"pools": POOLS, "samples_per_epoch": "6.4M"}


def test_both_layouts(root):
    runs = read_runs(root, **OPTIONS)
    assert runs.pools.names == ("top0to10p", "top10to20p")
    assert runs.pools.sizes.tolist() == [12.8e6, 12.8e6]
    # Folders in the order of their names, epochs in the order of their numbers.
    assert runs.source.tolist() == [1, 1, 1, 0, 0, 0]
    assert runs.samples_seen.tolist() == [6.4e6, 12.8e6, 64e6] * 2
    assert runs.error.tolist() == [0.96875, 0.9375, 0.875, 0.9375, 0.875, 0.75]
    assert runs.run_names == (
        "clip_top10to20p_1x",
        "clip_top10to20p_2x",
        "clip_top10to20p_10x",
        "tmars_top0to10p",
    )
    assert runs.metric_names == ("imagenet1k",)


def test_lengths_by_pool(root):
    runs = read_runs(root, pools=POOLS, samples_per_epoch={"top0to10p": 1e6, "top10to20p": 3e6})
    assert runs.samples_seen.tolist() == [3e6, 6e6, 30e6, 1e6, 2e6, 10e6]


def test_one_task_several_and_their_average(root):
    assert read_runs(root, **OPTIONS, metric="cifar10").error[0] == 1 - 0.03125 - 0.25
    both = read_runs(root, **OPTIONS, metric=["cifar10", "imagenet1k"])
    assert both.metric_names == ("cifar10", "imagenet1k")
    assert len(both) == 12
    mean = read_runs(root, **OPTIONS, tasks=["imagenet1k", "cifar10", "vtab/pets"])
    assert mean.metric_names == ("average of 3 tasks",)
    assert mean.error.tolist() == pytest.approx([e - 0.25 for e in [0.96875, 0.9375, 0.875, 0.9375, 0.875, 0.75]])


def test_the_folder_of_one_pool(root):
    runs = read_runs(root / "tmars_top0to10p", pools={"best": 6.4e6}, samples_per_epoch=3.2e6)
    assert runs.pools.names == ("best",)
    assert runs.samples_seen.tolist() == [3.2e6, 6.4e6, 32e6]


def test_lengths_inside_the_folder_of_a_pool(tmp_path):
    for k in (1, 4):
        evaluate(tmp_path / "top0to10p" / f"_{k}x" / "eval_results.jsonl", 0.25)
    runs = read_runs(tmp_path, pools={"top0to10p": 12.8e6}, samples_per_epoch=6.4e6)
    assert runs.run_names == ("top0to10p_1x", "top0to10p_4x")
    assert runs.samples_seen.tolist() == [6.4e6, 25.6e6]


def test_folders_of_no_pool_are_left_out_with_a_warning(root):
    evaluate(root / "tmars_random" / "eval_results_epoch_2_step_-1.jsonl", 0.5)
    with pytest.warns(QQTWarning, match="left out, as they name no pool: tmars_random") as caught:
        runs = read_runs(root, **OPTIONS)
    assert len(runs) == 6
    assert caught[0].filename == __file__


def test_evaluations_inside_an_epoch_are_left_out_with_a_warning(root):
    evaluate(root / "tmars_top0to10p" / "eval_results_epoch_2_step_500.jsonl", 0.5)
    with pytest.warns(QQTWarning, match=r"eval_results_epoch_2_step_500\.jsonl: left out") as caught:
        assert len(read_runs(root, **OPTIONS)) == 6
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pools": None}, "a folder of evaluations needs pools="),
        ({"samples_per_epoch": None}, "a folder of evaluations needs samples_per_epoch="),
        ({"samples_per_epoch": "x"}, "samples_per_epoch=, pool 'top0to10p': found 'x', expected a number"),
        ({"samples_per_epoch": {"top0to10p": 1}}, "samples_per_epoch=: no length for pool 'top10to20p'"),
        ({"samples_per_step": 1}, "samples_per_step= does not apply to this source"),
        (
            {"metric": "imagenet"},
            r"no task 'imagenet' \(choose with metric= or tasks=\); the tasks are fairness, imagenet1k, cifar10, ",
        ),
        ({"tasks": ["cifar10", "cifar100"]}, "no task 'cifar100' .*did you mean 'cifar10'"),
        (
            {"metric": "fairness"},
            "line 1: found None under metrics.main_metric of 'fairness', expected an accuracy",
        ),
        (
            {"pools": {**POOLS, "top40": 1}},
            "no folder for pool 'top40'; the folders are clip_top10to20p, tmars_top0to10p",
        ),
    ],
)
def test_bad_arguments(root, options, message):
    with pytest.raises(InputError, match=message):
        read_runs(root, **{**OPTIONS, **options})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("{\n", "line 1: not JSON"),
        ('{"metrics": {}}\n', "line 1: no text under 'key'"),
        ('\n{"key": "imagenet1k"}\n', "line 2: found None under metrics.main_metric"),
        (
            '{"key": "imagenet1k", "metrics": {"main_metric": "x"}}\n',
            "line 1: found 'x' under metrics.main_metric",
        ),
        (
            '{"key": "imagenet1k", "metrics": {"main_metric": 62.5}}\n',
            "line 1, accuracy: found 62.5, .*divide percent",
        ),
        (
            '{"key": "imagenet1k", "metrics": {"main_metric": 0.5}}\n'
            '{"key": "imagenet1k", "metrics": {"main_metric": 0.25}}\n',
            "line 2: 'imagenet1k' is 0.25, and 0.5 on line 1; expected one value",
        ),
    ],
)
def test_bad_evaluations_name_the_file(root, text, message):
    (root / "clip_top10to20p_1x" / "eval_results.jsonl").write_text(text)
    with pytest.raises(InputError, match=f"clip_top10to20p_1x/eval_results.jsonl.*{message}".replace("(", "[(]")):
        read_runs(root, **OPTIONS)


def test_a_folder_with_nothing_usable(tmp_path):
    (tmp_path / "notes.jsonl").write_text("{}")
    with pytest.raises(InputError, match="no evaluation in this folder, expected eval_results_epoch_"):
        read_runs(tmp_path, **OPTIONS)
    with pytest.raises(InputError, match="nowhere: no such folder"):
        read_runs(tmp_path / "nowhere", format="datacomp", **OPTIONS)
