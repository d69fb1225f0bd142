"""`qqt pools score` as a user types it: the library's scores, the samples that a rule picks, one line a mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from test_cli import Typed, only_error

from qqtjax.cli import output, pools_score
from qqtjax.pools.el2n import el2n
from qqtjax.pools.herding import herding
from qqtjax.pools.k_center import k_center
from qqtjax.pools.moderate import moderate
from qqtjax.pools.partition import Partition


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Typed:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    np.save(tmp_path / "z.npy", (2 * np.eye(4)[y] + rng.normal(size=(60, 4))).astype(np.float32))
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "one.npy", np.zeros(60))
    np.save(tmp_path / "flat.npy", np.zeros(60))
    holed = np.ones((60, 4))
    holed[7, 1] = np.inf
    np.save(tmp_path / "inf.npy", holed)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "PATIENCE", 1e6)
    return Typed(capsys, monkeypatch)


@pytest.mark.parametrize(("name", "rule"), [("herding", herding), ("k-center", k_center)])
def test_what_a_rule_picks_is_what_select_keeps(typed: Typed, name: str, rule: object):
    ran = typed("pools", "score", "z.npy", "--labels", "y.npy", "--rule", name, "--keep", ".25", "-o", "s.parquet")
    assert (ran.status, ran.err) == (0, "qqt: wrote s.parquet\n")
    expected = rule(np.load("z.npy"), 5, np.load("y.npy"))
    np.testing.assert_array_equal(Partition.load("s.parquet").scores, expected)
    assert typed("pools", "select", "s.parquet", "--keep", ".25", "--order", "easiest", "-o", "k.parquet").status == 0
    assert pyarrow.parquet.read_table("k.parquet")["sample"].to_pylist() == np.flatnonzero(expected < 5).tolist()


def test_moderate_needs_no_labels(typed: Typed):
    ran = typed("pools", "score", "z.npy", "--rule", "moderate", "-o", "s.parquet", "--json")
    assert ran.document["rule"] == "moderate"
    assert [each["pool"] for each in ran.document["pools"]] == ["all"]
    np.testing.assert_array_equal(Partition.load("s.parquet").scores, moderate(np.load("z.npy")))


def test_el2n_is_that_of_a_linear_classifier_on_standardised_features(typed: Typed):
    words = "pools", "score", "z.npy", "--labels", "y.npy", "--rule", "el2n", "--epochs", "2", "--models", "2"
    assert typed(*words, "--seed", "3", "-o", "s.parquet").status == 0
    z = np.load("z.npy")
    z = (z - z.mean(axis=0)) / (z.std(axis=0) + 1e-6)

    def init(key: object) -> dict:
        import jax

        return {"kernel": 0.01 * jax.random.normal(key, (4, 3)), "bias": np.zeros(3)}

    expected = el2n(pools_score._linear, init, z, np.load("y.npy"), epochs=2, models=2, seed=3)
    np.testing.assert_array_equal(Partition.load("s.parquet").scores, expected)
    first = Path("s.parquet").read_bytes()
    assert typed(*words, "--seed", "3", "-o", "s.parquet").status == 0
    assert Path("s.parquet").read_bytes() == first
    for other in ("grand", "forgetting"):
        assert typed(*[other if word == "el2n" else word for word in words], "-o", "s.parquet").status == 0
        assert not np.array_equal(Partition.load("s.parquet").scores, expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "FEATURES: missing"),
        (["z.npy"], "--rule: missing, expected one of herding"),
        (["z.npy", "--rule", "herdin"], "--rule: found 'herdin'"),
        (["z.npy", "--rule", "el2n"], "--labels: missing, el2n trains a classifier"),
        (["z.npy", "--rule", "moderate", "--keep", ".3"], "--keep: applies to herding and k-center"),
        (["z.npy", "--rule", "herding", "--epochs", "3"], "--epochs: applies to el2n"),
        (["z.npy", "--rule", "herding", "--keep", "1.5"], "--keep: share 1.5"),
        (["z.npy", "--rule", "herding", "--labels", "z.npy"], "--labels: z.npy: shape (60, 4), expected one for each"),
        (["z.npy", "--rule", "el2n", "--labels", "one.npy"], "z.npy: one class: expected at least two"),
        (["inf.npy", "--rule", "herding"], "inf.npy: features: row 7 is not finite"),
        (["flat.npy", "--rule", "k-center"], "flat.npy: features of shape (60,)"),
        (["no.npy", "--rule", "k-center"], "FEATURES: no.npy: no such file"),
        (["z.npy", "--rule", "k-center", "-o", "-"], "-o: found -"),
    ],
)
def test_mistakes_end_with_one_line(typed: Typed, words: list[str], message: str):
    only_error(typed("pools", "score", *words), message)


def test_help_has_examples(typed: Typed):
    shown = typed("pools", "score", "--help").out
    assert "qqt pools select pools.parquet --keep .3 --order easiest -o kept.parquet" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80
