"""A mix as a trainer's configuration: epochs computed again from the file as that trainer reads it."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Mapping

import numpy as np
import pytest
from test_cli import Typed, only_error

import qqtjax as qqt
from qqtjax.cli import output
from qqtjax.errors import InputError
from qqtjax.mix.result import Certificate, Mix
from qqtjax.mix.trainers import LEVANTER_BLOCK, TRAINERS, export_mix

SEEN = 1_000_003
SIZES = {"web 1": 4e5, "books": 5e4, "rare": 1e6, "chat": 2e5}
WEIGHTS = np.array([0.7, 0.29999, 1e-5, 0.0])
PATHS = {"web 1": "s3://data/web/{0..9}.tar", "books": "/data/my books"}
PAPER = ("mix", "--published", "datacomp-tmars", "--budget", "64M")


@pytest.fixture(scope="module")
def mix() -> Mix:
    pools = qqt.Pools.of(SIZES)
    certificate = Certificate("duality gap", 0.0, None, "global")
    return Mix(
        "utility", "error", pools, SEEN, WEIGHTS, 0.5, {"error": 0.5}, SEEN * WEIGHTS / pools.sizes, certificate, (),
        (), 0.5, None, (),
    )  # fmt: skip


def planned(mix: Mix) -> dict[str, float]:
    """`{pool: epochs}` of the mix in whole samples."""
    return {name: count / SIZES[name] for name, count in zip(mix.pools.names, mix.samples, strict=True) if count}


def of(shares: Mapping[str, float]) -> dict[str, float]:
    """`{pool: epochs}` of a run of the mix's budget with these shares."""
    total = sum(shares.values())
    return {name: SEEN * share / total / SIZES[name] for name, share in shares.items()}


def test_open_clip_draws_every_pool_as_often_as_planned(mix):
    words = shlex.split(export_mix(mix, "open_clip", PATHS))
    said = dict(zip(words[:4:2], words[1:4:2], strict=True))
    assert words[4] == "--dataset-resampled"
    rest = dict(zip(words[5::2], words[6::2], strict=True))
    assert int(rest["--train-num-samples"]) * int(rest["--epochs"]) == SEEN
    paths = said["--train-data"].split("::")
    assert paths == ["s3://data/web/{0..9}.tar", "/data/my books", "rare"]
    factors = [float(each) for each in said["--train-data-upsampling-factors"].split("::")]
    # Shards are drawn by their factors: a pool's share is proportional to its size times its factor.
    names = list(planned(mix))
    drawn = {name: SIZES[name] * factor for name, factor in zip(names, factors, strict=True)}
    assert of(drawn) == pytest.approx(planned(mix), rel=1e-12)


def test_megatron_reads_weights_and_prefixes_in_turn(mix):
    option, *blend = shlex.split(export_mix(mix, "megatron", PATHS))
    assert option == "--data-path"
    assert blend[1::2] == ["s3://data/web/{0..9}.tar", "/data/my books", "rare"]
    weights = dict(zip(planned(mix), map(float, blend[::2]), strict=True))
    assert of(weights) == pytest.approx(planned(mix), rel=1e-12)


def test_streaming_chooses_samples_of_one_epoch(mix):
    streams = json.loads(export_mix(mix, "streaming", PATHS))["streams"]
    assert {name: each["choose"] / SIZES[name] for name, each in streams.items()} == planned(mix)
    assert sum(each["choose"] for each in streams.values()) == SEEN
    assert [next(iter(each)) for each in streams.values()] == ["remote", "local", "local"]
    assert streams["books"]["local"] == "/data/my books"


def test_olmix_has_weights_that_sum_to_one_and_lets_pools_repeat_as_often_as_planned(mix):
    entries = json.loads(export_mix(mix, "olmix"))["mix"]
    weights = {name: each["weight"] for name, each in entries.items()}
    assert sum(weights.values()) == pytest.approx(1, abs=1e-15)
    assert of(weights) == pytest.approx(planned(mix), rel=1e-12)
    for name, epochs in planned(mix).items():
        assert max(1, epochs) <= entries[name]["repetition_factor"] < max(1, epochs) + 0.0011


def test_levanter_draws_whole_samples_of_a_block(mix):
    data = json.loads(export_mix(mix, "levanter"))["data"]
    assert of(data["train_weights"]) == pytest.approx(planned(mix), rel=1e-12)
    assert data["mixture_block_size"] == LEVANTER_BLOCK < 2**16
    counts = {name: int(share * LEVANTER_BLOCK) for name, share in data["train_weights"].items()}
    counts["web 1"] += LEVANTER_BLOCK - sum(counts.values())
    for name, epochs in of(counts).items():
        assert abs(epochs - planned(mix)[name]) <= len(counts) / LEVANTER_BLOCK * SEEN / SIZES[name]


def test_plain_weights(mix):
    assert of(json.loads(export_mix(mix, "json"))) == pytest.approx(planned(mix), rel=1e-12)


@pytest.mark.parametrize("trainer", ["olmix", "levanter", "streaming"])
def test_numbers_are_numbers_in_yaml_too(mix, trainer):
    """PyYAML, by its own pattern, takes 1e-05 for text."""
    number = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+][0-9]+)?|[0-9]+)")
    values = re.findall(r": ([^\"{\n]+?),?$", export_mix(mix, trainer), flags=re.M)
    assert len(values) >= 3
    assert all(number.fullmatch(value) for value in values), values


@pytest.mark.parametrize(
    ("trainer", "paths", "message"),
    [
        ("openclip", None, "did you mean 'open_clip'"),
        ("json", {"book": "x"}, "unknown pool 'book'.*did you mean 'books'"),
    ],
)
def test_an_unknown_trainer_or_pool(mix, trainer, paths, message):
    with pytest.raises(InputError, match=message):
        export_mix(mix, trainer, paths)


def test_open_clip_needs_sizes(mix):
    endless = dataclasses.replace(mix, pools=qqt.Pools.of({**SIZES, "rare": np.inf}))
    with pytest.raises(InputError, match="pool 'rare': size inf, expected a finite one"):
        export_mix(endless, "open_clip")
    assert json.loads(export_mix(endless, "olmix"))["mix"]["rare"]["repetition_factor"] == 1


@pytest.fixture
def typed(capsys, monkeypatch, tmp_path) -> Typed:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "PATIENCE", 1e6)
    return Typed(capsys, monkeypatch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--export", "open-clip"], "--export: found 'open-clip'"),
        (["--export", "json", "--json"], "--export: cannot be combined with --json"),
        (["--export", "json", "--schedule", "4"], "--export: cannot be combined with --schedule"),
        (["--export", "json", "--prices"], "--export: cannot be combined with --prices"),
        (["--budget", "1M,2M", "--export", "json"], "--export: cannot be combined with several budgets"),
        (["--path", "a=b"], "--path: needs --export"),
    ],
)
def test_what_does_not_go_with_an_export(typed, options, message):
    only_error(typed(*PAPER, *options), message)


def test_the_command_writes_a_file_that_the_trainer_reads(typed, tmp_path, mix, monkeypatch):
    pools = qqt.published("datacomp-tmars").utility.pools
    best = dataclasses.replace(mix, pools=pools, weights=np.array([0.8, 0.2, 0, 0]), samples_seen=64e6)
    monkeypatch.setattr("qqtjax.mix.optimize.optimize_mix", lambda *asked, **rest: best)
    options = ("--path", "top 10 %=/data/top", "--path", "10-20 %=/a,b=c", "-o", "blend.txt")
    done = typed(*PAPER, "--export", "megatron", *options)
    assert done.status == 0
    assert (tmp_path / "blend.txt").read_text() == "--data-path 51200000 /data/top 12800000 /a,b=c\n"
    assert done.err == "qqt: wrote blend.txt\n"
    assert "64M samples" in done.out
    assert json.loads(typed(*PAPER, "--export", "json").out) == {"top 10 %": 0.8, "10-20 %": 0.2}
    only_error(typed(*PAPER, "--export", "json", "--path", "top=x"), "--path: unknown pool 'top'")


def test_trainers_are_named_once():
    assert len({each.name for each in TRAINERS}) == len(TRAINERS)
