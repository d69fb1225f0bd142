"""`qqt pools dlc` as a user types it: the library's scores, files that load again, one line a mistake."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from test_cli import Typed, only_error

from qqtjax.cli import points
from qqtjax.pools import dlc, finished
from qqtjax.pools.dlc_classes import dlc_scores, squared_distance
from qqtjax.pools.dlc_text import dlc_response_scores
from qqtjax.pools.masks import Linear
from qqtjax.pools.partition import Partition

NETS = """
import jax.numpy as jnp
import numpy as np
from flax import nnx

W = np.random.default_rng(1).normal(size=(4, 5))

def pair():
    return (lambda params, x: jnp.maximum(x @ params["kernel"], 0)), {"kernel": W}

class Net(nnx.Module):
    def __init__(self):
        self.first = nnx.Linear(4, 5, rngs=nnx.Rngs(0))
        self.head = nnx.Linear(5, 2, rngs=nnx.Rngs(1))

    def features(self, x):
        return nnx.relu(self.first(x))

    def __call__(self, x):
        return self.head(self.features(x))

def bigram():
    return (lambda params, tokens: params["kernel"][tokens]), {"kernel": np.log(np.arange(1.0, 10.0).reshape(3, 3))}

def words():
    return (lambda params, x: x), {"a": {"kernel": "weights.npz"}}

def nothing():
    return (lambda params, x: None), {"kernel": W}

def flat():
    return (lambda params, x: jnp.sum(params["kernel"])), {"kernel": W}

def breaks():
    raise RuntimeError("no weights here\\nsecond line")

number = 3
def three():
    return 3
"""


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Typed:
    rng = np.random.default_rng(0)
    name = f"nets_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(NETS)
    np.save(tmp_path / "x.npy", rng.normal(size=(30, 4)))
    np.save(tmp_path / "y.npy", np.arange(30) % 3)
    (tmp_path / "y.txt").write_text("".join(f"class {row % 3}\n" for row in range(30)))
    np.save(tmp_path / "tokens.npy", rng.integers(0, 3, (8, 6)))
    np.save(tmp_path / "response.npy", np.tile(np.arange(6) > 2, (8, 1)))
    holed = rng.normal(size=(30, 4))
    holed[17, 2] = np.nan
    np.save(tmp_path / "nan.npy", holed)
    np.save(tmp_path / "wide.npy", np.ones((30, 7)))
    np.save(tmp_path / "short.npy", np.arange(29) % 3)
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    np.save(tmp_path / "number.npy", 3.0)
    np.save(tmp_path / "words.npy", np.array(["a"] * 30))
    np.save(tmp_path / "silent.npy", np.zeros((8, 6), bool))
    (tmp_path / "gap.txt").write_text("a\n\n" + "b\n" * 28)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(points, "FIRST", 1e6)
    typed = Typed(capsys, monkeypatch)
    typed.nets = name  # type: ignore[attr-defined]
    return typed


def pair(x: np.ndarray) -> tuple:
    weights = np.random.default_rng(1).normal(size=(4, 5))
    return (lambda params, rows: jax.numpy.maximum(rows @ params["kernel"], 0)), {"kernel": weights}


def test_scores_are_the_library_s_and_the_file_loads_as_pools(typed: Typed):
    ran = typed(
        "pools", "dlc", "x.npy", "--labels", "y.npy", "--model", f"{typed.nets}:pair", "-o", "o.parquet", "--json"
    )
    assert (ran.status, ran.err) == (0, "qqt: wrote o.parquet\n")
    x, y = np.load("x.npy"), np.load("y.npy")
    expected = dlc_scores(*pair(x), x, y)
    split = Partition.load("o.parquet")
    np.testing.assert_array_equal(split.scores, expected.scores)
    np.testing.assert_array_equal(split.index, y)
    assert ran.document["capacities"] == expected.capacities.tolist()
    for each in ran.document["pools"]:
        own = expected.scores[y == int(each["pool"])]
        assert each["pool_size"] == 10
        assert each["mean"] == pytest.approx(own.mean(), rel=1e-12)
        assert each["median"] == pytest.approx(np.median(own), rel=1e-12)


def test_capacities_distance_and_labels_as_text(typed: Typed):
    words = "--labels", "y.txt", "--model", f"{typed.nets}:pair", "--capacities", "linear:4", "--distance", "squared"
    ran = typed("pools", "dlc", "x.npy", *words, "--json", "--rows", "7")
    assert (ran.status, ran.err) == (0, "")
    x = np.load("x.npy")
    expected = dlc_scores(*pair(x), x, np.arange(30) % 3, capacities=Linear(4), loss=squared_distance)
    assert [each["pool"] for each in ran.document["pools"]] == ["class 0", "class 1", "class 2"]
    assert ran.document["capacities"] == [1.0, 0.75, 0.5, 0.25]
    for number, each in enumerate(ran.document["pools"]):
        assert each["mean"] == pytest.approx(expected.scores[number::3].mean(), rel=1e-4)


def test_a_flax_module_and_one_of_its_methods(typed: Typed):
    words = "x.npy", "--labels", "y.npy", "--capacities", "1,.5", "--json"
    features = typed("pools", "dlc", *words, "--model", f"{typed.nets}:Net", "--method", "features")
    logits = typed("pools", "dlc", *words, "--model", f"{typed.nets}:Net")
    assert features.status == logits.status == 0
    assert features.document["pools"] != logits.document["pools"]


def test_language_models_are_scored_by_their_response(typed: Typed):
    words = "tokens.npy", "--response", "response.npy", "--model", f"{typed.nets}:bigram"
    ran = typed("pools", "dlc", *words, "--json")
    assert (ran.status, ran.err) == (0, "")
    params = {"kernel": np.log(np.arange(1.0, 10.0).reshape(3, 3))}
    tokens, response = np.load("tokens.npy"), np.load("response.npy")
    expected = dlc_response_scores(lambda p, t: p["kernel"][t], params, tokens, response)
    assert ran.document["masks"] == 3
    assert ran.document["pools"][0]["mean"] == pytest.approx(expected.scores.mean(), rel=1e-6)
    shown = typed("pools", "dlc", *words)
    assert "8 samples under 3 masks, from 1 to 0.667 of the weights" in shown.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "INPUTS: missing, expected a .npy file"),
        (["x.npy", "--labels", "y.npy"], "--model: missing, expected MODULE:NAME"),
        (["x.npy", "--model", "NETS:pair"], "--labels and --response: expected one of them"),
        (["x.npy", "--model", "nets", "--labels", "y.npy"], "--model: found 'nets', expected MODULE:NAME"),
        (["x.npy", "--model", "absent_nets:pair", "--labels", "y.npy"], "ModuleNotFoundError: No module named"),
        (["x.npy", "--model", "NETS:absent", "--labels", "y.npy"], "AttributeError"),
        (["x.npy", "--model", "NETS:breaks", "--labels", "y.npy"], "RuntimeError: no weights here"),
        (["x.npy", "--model", "NETS:three", "--labels", "y.npy"], r"gives int, expected (apply, params)"),
        (["x.npy", "--model", "NETS:number", "--labels", "y.npy"], "TypeError: 'int' object is not callable"),
        (["x.npy", "--model", "NETS:pair", "--labels", "y.npy", "--method", "f"], "--method: applies to a flax NNX"),
        (["x.npy", "--model", "NETS:Net", "--labels", "y.npy", "--method", "f"], "--method: Net has no method 'f'"),
        (["no.npy", "--model", "NETS:pair", "--labels", "y.npy"], "INPUTS: no.npy: no such file"),
        (["y.txt", "--model", "NETS:pair", "--labels", "y.npy"], "INPUTS: y.txt: not an array in a .npy file"),
        (
            ["x.npy", "--model", "NETS:pair", "--labels", "tokens.npy"],
            "--labels: tokens.npy: shape (8, 6), expected one for each of the 30 rows of x.npy",
        ),
        (
            ["x.npy", "--model", "NETS:pair", "--labels", "short.npy"],
            "--labels: short.npy: 29 labels, expected one for each of the 30 rows of x.npy",
        ),
        (["x.npy", "--model", "NETS:pair", "--labels", "gap.txt"], "--labels: gap.txt: line 2 is empty"),
        (["nan.npy", "--model", "NETS:pair", "--labels", "y.npy"], "nan.npy, row 17: features that are not finite"),
        (
            ["wide.npy", "--model", "NETS:pair", "--labels", "y.npy"],
            "NETS:pair: on a batch of shape (30, 7): TypeError: dot_general",
        ),
        (
            ["x.npy", "--model", "NETS:words", "--labels", "y.npy"],
            "--model NETS:words: parameter a/kernel: str, expected an array",
        ),
        (["words.npy", "--model", "NETS:pair", "--labels", "y.npy"], "INPUTS: words.npy: holds <U1, expected numbers"),
        (["x.npy", "--model", "NETS:pair", "--labels", "y.npy", "--work", ""], "--work: empty, expected a folder"),
        (["x.npy", "--model", "NETS:nothing", "--labels", "y.npy"], "gives NoneType for a batch, expected an array"),
        (["x.npy", "--model", "NETS:flat", "--labels", "y.npy"], "features of shape (): expected a row of them"),
        (["objects.npy", "--model", "NETS:pair", "--labels", "y.npy"], "INPUTS: objects.npy: not an array in a .npy"),
        (["number.npy", "--model", "NETS:pair", "--labels", "y.npy"], "number.npy: expected one array with a row"),
        (["x.npy", "--model", "NETS:pair", "--labels", "y.npy", "--work", "x.npy"], "x.npy: cannot be made"),
        (["tokens.npy", "--model", "NETS:bigram", "--response", "silent.npy"], "tokens.npy, row 0: no token of a"),
        (["tokens.npy", "--model", "NETS:flat", "--response", "response.npy"], "logits of shape (): expected (8, 6)"),
        (["x.npy", "--model", "NETS:pair", "--labels", "no.txt"], "--labels: no.txt: cannot be read"),
        (["x.npy", "--model", "NETS:pair", "--labels", "y.npy", "--capacities", "cubic:3"], "--capacities: found"),
        (
            ["x.npy", "--model", "NETS:pair", "--labels", "y.npy", "--capacities", "1,2"],
            "expected shares of the weights",
        ),
        (["x.npy", "--model", "NETS:pair", "--labels", "y.npy", "--distance", "inverted"], "--distance: found"),
        (["x.npy", "--model", "NETS:pair", "--labels", "y.npy", "-o", "absent/o.parquet"], "there is no folder"),
        (["tokens.npy", "--model", "NETS:bigram", "--response", "x.npy"], "response of shape"),
    ],
)
def test_mistakes_end_with_one_line(typed: Typed, words: list[str], message: str):
    ran = typed("pools", "dlc", *[word.replace("NETS", typed.nets) for word in words])
    only_error(ran, message.replace("NETS", typed.nets))


def test_a_working_folder_keeps_what_is_finished(typed: Typed, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(finished, "EVERY", 1e6)
    words = "pools", "dlc", "x.npy", "--labels", "y.npy", "--model", f"{typed.nets}:pair", "--work", "work"
    assert typed(*words, "-o", "one.parquet").status == 0
    assert sorted(each.name for each in Path("work").iterdir()) == ["dlc-000000000000.npz", "dlc.json"]
    monkeypatch.setattr(dlc, "_losses", None)  # nothing is computed any more
    assert typed(*words, "-o", "two.parquet").status == 0
    assert Path("one.parquet").read_bytes() == Path("two.parquet").read_bytes()
    only_error(typed(*words, "--distance", "squared"), "work: holds the work of something else (loss differ)")


def test_help_has_examples(typed: Typed):
    shown = typed("pools", "dlc", "--help").out
    assert "qqt pools dlc tokens.npy --response response.npy --model nets:llm" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80
