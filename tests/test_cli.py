"""`qqt` as a user types it: what it prints, where, with which status; its numbers against the library's."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import qqtjax as qqt
from qqtjax.cli import interrupt, output, words
from qqtjax.cli.main import main
from qqtjax.errors import InputError, QQTWarning
from qqtjax.io.saved import fit_to_dict, load_fit, save_fit

SIZES = {"A": 10e3, "B": 20e3}
EPOCHS = (0.25, 0.5, 1, 2, 4, 8)
STARTS = 4
FIT = ("--starts", str(STARTS))


class Ran(NamedTuple):
    status: int | str | None
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as strict JSON."""

        def refuse(word: str) -> None:
            raise AssertionError(f"{word} is not JSON")

        return json.loads(self.out, parse_constant=refuse)


class Typed:
    """Types commands, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: str | Path, stdin: str | bytes | None = None) -> Ran:
        if stdin is not None:
            data = stdin.encode() if isinstance(stdin, str) else stdin
            self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        self.capsys.readouterr()
        status: int | str | None = 0
        try:
            main([str(each) for each in arguments])
        except SystemExit as ended:
            status = ended.code
        return Ran(status, *self.capsys.readouterr())


@pytest.fixture
def qqt_typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Typed:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "PATIENCE", 1e6)  # no line a stage: those have a test of their own
    return Typed(capsys, monkeypatch)


def law_on(names: tuple[str, ...] = ("A", "B")) -> qqt.FittedLaw:
    params = qqt.laws.UtilityParams(
        scale=1e3,
        floor=0.05,
        utility=np.array([-0.3, -0.2]),
        half_life=np.array([3.0, 6.0]),
        reference_size=np.array(list(SIZES.values())),
    )
    return qqt.FittedLaw(qqt.laws.utility, params, qqt.Pools.of(dict(zip(names, SIZES.values(), strict=True))))


def table(metrics: tuple[str, ...] = (), **columns: str) -> str:
    """A tidy CSV of exact errors, rounded to six digits."""
    law = law_on()
    head = ["pool", "pool_size", "samples_seen", "error", *(["metric"] if metrics else []), *columns]
    lines = [",".join(head)]
    for place, metric in enumerate(metrics or ("",)):
        for pool, size in SIZES.items():
            for epoch in EPOCHS:
                error = float(law.predict({pool: 1}, epoch * size)) + 0.02 * place
                cells = [pool, f"{size:g}", f"{epoch * size:g}", f"{error:.6f}", *([metric] if metrics else [])]
                lines.append(",".join([*cells, *columns.values()]))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that the tests read: good ones and bad ones."""
    folder = tmp_path_factory.mktemp("typed")
    rows = table().splitlines()
    texts = {
        "runs.csv": table(),
        "metrics.csv": table(metrics=("first", "second")),
        "unfinished.csv": table(annealed="false"),
        "empty.csv": "",
        "head.csv": rows[0] + "\n",
        "word.csv": rows[0] + "\nA,10000,many,0.5\n",
        "nan.csv": rows[0] + "\nA,10000,5000,nan\n",
        "negative.csv": rows[0] + "\nA,10000,-5,0.5\n",
        "above.csv": rows[0] + "\nA,10000,5,1.5\n",
        "column.csv": "pool,samples_seen,error\nA,5,0.5\n",
        "list.json": "[1, 2]\n",
        "other.json": '{"schema": "other"}\n',
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "binary.csv").write_bytes(b"\0\1\2\xff")
    save_fit(law_on(), folder / "law.json")
    saved = json.loads((folder / "law.json").read_text())
    (folder / "cut.json").write_text((folder / "law.json").read_text()[:150])
    (folder / "old.json").write_text(json.dumps({**saved, "schema_version": 99}))
    (folder / "nonumber.json").write_text(json.dumps({**saved, "params": {**saved["params"], "utility": ["x", "y"]}}))
    (folder / "missing.json").write_text(json.dumps({key: saved[key] for key in saved if key != "seen"}))
    return folder


@pytest.fixture(scope="module")
def fitted(folder: Path) -> qqt.FittedLaw:
    return qqt.fit(qqt.read_runs(folder / "runs.csv"), starts=STARTS)


def only_error(ran: Ran, *fragments: str) -> None:
    """A user's mistake: status 2, nothing on standard output, one line that says what."""
    assert ran.status == 2
    assert ran.out == ""
    assert ran.err.startswith("qqt: error: ")
    assert ran.err.count("\n") == 1
    assert ran.err.endswith("\n")
    for fragment in fragments:
        assert fragment in ran.err


# Mistakes


READING_MISTAKES = {
    "nowhere.csv": "no such file",
    "empty.csv": "empty file",
    "binary.csv": "binary file",
    "head.csv": "no data rows",
    "word.csv": "row 1 (line 2), column 'samples_seen': found 'many'",
    "nan.csv": "column 'error': found 'nan'",
    "negative.csv": "column 'samples_seen': found -5",
    "above.csv": "column 'error': found 1.5",
    "column.csv": "pool_size",
    ".": "folder",
}


@pytest.mark.parametrize("command", ["fit", "plan"])
@pytest.mark.parametrize("name", READING_MISTAKES)
def test_bad_runs_are_named(qqt_typed: Typed, folder: Path, command: str, name: str) -> None:
    only_error(qqt_typed(command, folder / name), str(folder / name).rstrip("."), READING_MISTAKES[name])


@pytest.mark.parametrize("command", ["fit", "plan"])
def test_bad_standard_input_is_named(qqt_typed: Typed, command: str) -> None:
    only_error(qqt_typed(command, "-", stdin=""), "standard input", "empty")
    only_error(qqt_typed(command, "-", stdin="pool,error\nA,x\n"), "standard input")
    only_error(qqt_typed(command, ""), "RUNS: empty")


FIT_MISTAKES = [
    ("--law utilty", "--law", "did you mean 'utility'?"),
    ("--solver newton", "--solver", "lm, adam, lbfgs"),
    ("--starts 0", "--starts"),
    ("--starts x", "--starts", "integer"),
    ("--seed -1", "--seed"),
    ("--free nothing", "--free", "'nothing'"),
    ("--free=", "--free", "empty"),
    ("--fix floor", "--fix", "'floor'"),
    ("--fix floor=abc", "--fix", "floor", "'abc'"),
    ("--fix nothing=1", "--fix", "'nothing'"),
    ("--bounds floor=1", "--bounds", "LOW:HIGH"),
    ("--bounds floor=.3:0", "--bounds", "floor", "low < high"),
    ("--bounds floor=0:x", "--bounds", "'x'"),
    ("--share nothing", "--share", "'nothing'"),
    ("--share floor --per-pool floor", "--share and --per-pool", "'floor'"),
    ("--huber -1", "--huber", "positive"),
    ("--huber x", "--huber", "'x'"),
    ("--format xml", "--format", "'xml'", "csv"),
    ("--value mistakes", "--value", "accuracy"),
    ("--pools A", "--pools", "'A'"),
    ("--pools A=-1", "--pools: A", "positive"),
    ("--nested A,Z", "'Z'"),
    ("--nested A,A", "--nested", "twice"),
    ("--metric top5", "unknown metric 'top5'"),
    ("--metric a --tasks b", "--metric and --tasks"),
    ("--samples-per-epoch x", "--samples-per-epoch", "'x'"),
    ("--samples-per-epoch 5", "--samples-per-epoch", "does not apply"),
    ("--samples-per-step 0", "--samples-per-step", "positive"),
    ("-o nowhere/fit.json", "-o", "nowhere"),
    ("-o .", "-o", "folder"),
    ("--output=", "-o: empty"),
    ("more.csv", "unexpected", "more.csv"),
    ("--bogus", "--bogus", "qqt fit --help"),
]


@pytest.mark.parametrize("typed", FIT_MISTAKES, ids=lambda typed: typed[0])
def test_mistakes_in_fit(qqt_typed: Typed, folder: Path, typed: tuple[str, ...]) -> None:
    only_error(qqt_typed("fit", folder / "runs.csv", *typed[0].split()), *typed[1:])
    assert list(Path.cwd().iterdir()) == []


PLAN_MISTAKES = [
    ("--budgets abc", "--budgets", "'abc'"),
    ("--budgets -5", "--budgets", "'-5'", "positive"),
    ("--budgets 0", "--budgets", "positive"),
    ("--budgets inf", "--budgets", "positive"),
    ("--budgets 1M,,x", "--budgets", "'x'"),
    ("--budgets=", "--budgets", "empty"),
    ("--budgets", "--budgets", "requires an argument"),
    ("--flops 1e20", "--flops-per-sample"),
    ("--flops 1e20 --flops-per-sample 0", "--flops-per-sample", "positive"),
    ("--flops 1e20 --flops-per-sample 1 --budgets 1M", "--budgets and --flops"),
    ("--published datacomp-tmars", "RUNS, --published and --fit"),
    ("--fit fit.json", "RUNS, --published and --fit"),
    ("--target-error 0", "--target-error", "positive"),
    ("--rule-epochs 0", "--rule-epochs", "positive"),
    ("--sizes Z=5", "--sizes", "unknown pool 'Z'", "A, B"),
    ("--sizes A=-5", "--sizes: A", "positive"),
    ("--sizes A", "--sizes", "'A'"),
    ("--order A", "--order", "misses B"),
    ("--order A,A", "--order", "twice"),
    ("--order A,B,Z", "--order", "unknown pool 'Z'"),
    ("--filter mine", "--filter", "NAME=POOL+POOL"),
    ("--filter mine=A+Z", "--filter mine", "unknown pool 'Z'"),
    ("--filter mine=A+A", "--filter mine", "twice"),
    ("--mix half=A", "--mix half", "'A'"),
    ("--mix half=A:x", "--mix half", "'x'"),
    ("--mix half=A:1+Z:1", "--mix half", "unknown pool 'Z'"),
    ("--mix half=A:-1+B:2", "--mix half", ">= 0"),
    ("--mix half=A:0", "--mix half", "sum to 0"),
    ("--mix half=A:1 --mix half=B:1", "--mix", "'half' is given twice"),
    ("-o nowhere/plan.json", "-o", "nowhere"),
    ("--law nothing", "--law", "'nothing'"),
]


@pytest.mark.parametrize("typed", PLAN_MISTAKES, ids=lambda typed: typed[0])
def test_mistakes_in_plan(qqt_typed: Typed, folder: Path, typed: tuple[str, ...]) -> None:
    """All of them are found before anything is fitted."""
    room = sys.modules["qqtjax.fit"]  # its name is the function's as well
    qqt_typed.monkeypatch.setattr(room, "fit", lambda *_, **__: pytest.fail("fitted before the mistake was found"))
    only_error(qqt_typed("plan", folder / "runs.csv", *typed[0].split()), *typed[1:])


def test_options_that_do_not_apply_are_refused(qqt_typed: Typed, folder: Path) -> None:
    only_error(qqt_typed("plan", folder / "law.json", "--law", "power"), "--law", "law.json")
    only_error(qqt_typed("plan", "--fit", folder / "law.json", "--pools", "A=5"), "--pools")
    only_error(qqt_typed("plan", "--published", "datacomp-tmars", "--nested", "a,b"), "--nested")
    only_error(qqt_typed("plan", "--disjoint"), "--disjoint", "wordclip-C")
    only_error(qqt_typed("plan", "--published", "nothing"), "--published", "datacomp-tmars")
    only_error(qqt_typed("fit", folder / "law.json"), "a saved fit, expected measured runs")


def test_several_metrics_have_no_single_plan_or_file(qqt_typed: Typed, folder: Path) -> None:
    only_error(qqt_typed("plan", folder / "metrics.csv"), "first, second", "--metric", "--tasks")
    only_error(qqt_typed("fit", folder / "metrics.csv", "-o", "fit.json"), "-o", "first, second", "--metric")
    assert not Path("fit.json").exists()


ASKED = ("--weights", "A=1", "--samples-seen", "10k")
DAMAGED = {
    "nowhere.json": "no such file",
    ".": "cannot be read",
    "empty.csv": "not JSON",
    "runs.csv": "not JSON",
    "binary.csv": "cannot be read as text",
    "list.json": "not a saved fit",
    "other.json": "not a saved fit",
    "cut.json": "not JSON",
    "old.json": "schema version 99",
    "nonumber.json": "damaged",
    "missing.json": "damaged",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_fits_are_named(qqt_typed: Typed, folder: Path, name: str) -> None:
    only_error(qqt_typed("predict", folder / name, *ASKED), str(folder / name).rstrip("."), DAMAGED[name])
    only_error(qqt_typed("plan", "--fit", folder / name), DAMAGED[name])


def test_a_fit_that_predicts_nothing_is_refused(qqt_typed: Typed, folder: Path) -> None:
    saved = json.loads((folder / "law.json").read_text())
    saved["params"]["floor"] = "nan"
    only_error(qqt_typed("predict", "-", *ASKED, stdin=json.dumps(saved)))


PREDICT_MISTAKES = [
    ("--weights A --samples-seen 1k", "--weights", "'A'"),
    ("--weights= --samples-seen 1k", "--weights", "empty"),
    ("--weights A=0 --samples-seen 1k", "--weights", "sum to 0"),
    ("--weights A=.7,B=.7 --samples-seen 1k", "--weights", "sum to 1.4"),
    ("--weights A=-1,B=2 --samples-seen 1k", "--weights", ">= 0"),
    ("--weights A=inf --samples-seen 1k", "--weights", "finite"),
    ("--weights A=1,A=2 --samples-seen 1k", "--weights", "twice"),
    ("--weights Z=1 --samples-seen 1k", "--weights", "unknown pool 'Z'"),
    ("--weights A=x --samples-seen 1k", "--weights: A", "'x'"),
    ("--weights A=1 --samples-seen 0", "--samples-seen", "positive"),
    ("--weights A=1 --samples-seen x", "--samples-seen", "'x'"),
    ("--weights A=1 --samples-seen=", "--samples-seen", "empty"),
    ("--weights A=1", "--samples-seen"),
    ("--samples-seen 1k", "--weights"),
    ("--weights A=1 --samples-seen 1k --sizes Z=1", "--sizes", "'Z'"),
    ("--weights A=1 --samples-seen 1k --sizes A=0", "--sizes: A"),
]


@pytest.mark.parametrize("typed", PREDICT_MISTAKES, ids=lambda typed: typed[0])
def test_mistakes_in_predict(qqt_typed: Typed, folder: Path, typed: tuple[str, ...]) -> None:
    only_error(qqt_typed("predict", folder / "law.json", *typed[0].split()), *typed[1:])


def test_mistakes_in_the_program_itself(qqt_typed: Typed) -> None:
    only_error(qqt_typed("polt"), "'polt'", "qqt --help")
    only_error(qqt_typed("--bogus"), "--bogus")
    only_error(qqt_typed("predict"), "FIT", "qqt predict --help")


def test_a_bug_is_one_line_and_its_traceback_on_request(qqt_typed: Typed) -> None:
    def fails(path: str) -> None:
        raise RuntimeError("first line\nsecond line")

    qqt_typed.monkeypatch.setattr("qqtjax.cli.options.fit_named", fails)
    ran = qqt_typed("predict", "law.json", *ASKED)
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "internal error (RuntimeError: first line)" in ran.err
    qqt_typed.monkeypatch.setenv("QQTJAX_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="second line"):
        qqt_typed("predict", "law.json", *ASKED)


def test_out_of_memory_is_said(qqt_typed: Typed) -> None:
    def fails(path: str) -> None:
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")

    qqt_typed.monkeypatch.setattr("qqtjax.cli.options.fit_named", fails)
    ran = qqt_typed("predict", "law.json", *ASKED)
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "out of memory" in ran.err


# Help


def test_alone_it_says_what_to_do_next(qqt_typed: Typed) -> None:
    ran = qqt_typed()
    assert (ran.status, ran.err) == (0, "")
    assert "What to do next:\n  qqt plan " in ran.out
    assert "pool,pool_size,samples_seen,error" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    assert qqt_typed("--help").out == ran.out


COMMANDS = ("plan", "fit", "profile", "predict", "mix", "sweep", "bakeoff", "design", "next", "report")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns_and_has_an_example(qqt_typed: Typed, command: str) -> None:
    qqt_typed.monkeypatch.setenv("COLUMNS", "80")
    ran = qqt_typed(command, "--help")
    assert (ran.status, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= 80
    assert f"Examples:\n  qqt {command}" in ran.out
    for option in ("--json", "--seed", "-h, --help"):
        assert option in ran.out
    assert qqt_typed(command, "-h").out == ran.out


def test_help_says_how_filters_and_mixes_are_written(qqt_typed: Typed) -> None:
    text = qqt_typed("plan", "--help").out
    assert "mine=top10+top30" in text
    assert "half=top10:.5+top20:.5" in text
    assert text.index("Question:") < text.index("Fitting:") < text.index("Output:")


def test_version_names_what_it_runs_on(qqt_typed: Typed) -> None:
    ran = qqt_typed("--version")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("qqtjax ")
    assert "devices: " in ran.out


# Numbers


def test_fit_prints_what_the_library_finds(qqt_typed: Typed, folder: Path, fitted: qqt.FittedLaw) -> None:
    ran = qqt_typed("fit", folder / "runs.csv", *FIT)
    assert (ran.status, ran.out, ran.err) == (0, f"{fitted}\n", "")
    ran = qqt_typed("fit", folder / "runs.csv", *FIT, "--json")
    assert (ran.status, ran.err) == (0, "")
    assert ran.document == fit_to_dict(fitted)


def test_fit_options_reach_the_library(qqt_typed: Typed, folder: Path) -> None:
    options = ("--fix", "floor=0.04,dilution=.5", "--bounds", "half_life=2:4", "--share", "half_life", "--seed", "3")
    document = qqt_typed("fit", folder / "runs.csv", *FIT, *options, "--json").document
    expected = qqt.fit(
        qqt.read_runs(folder / "runs.csv"),
        fixed={"floor": 0.04, "dilution": 0.5},
        bounds={"half_life": (2, 4)},
        share={"half_life": True},
        starts=STARTS,
        seed=3,
    )
    assert document == fit_to_dict(expected)
    assert document["params"]["floor"] == 0.04
    assert 2 <= document["params"]["half_life"] <= 4


def test_the_same_seed_gives_the_same_bytes(qqt_typed: Typed, folder: Path) -> None:
    arguments = ("fit", folder / "runs.csv", *FIT, "--seed", "7", "--json")
    first = qqt_typed(*arguments)
    assert first.out == qqt_typed(*arguments).out
    assert first.document["diagnostics"]["settings"]["seed"] == 7


def test_a_fit_is_written_whole(qqt_typed: Typed, folder: Path, fitted: qqt.FittedLaw) -> None:
    ran = qqt_typed("fit", folder / "runs.csv", *FIT, "-o", "fit.json")
    assert (ran.status, ran.out, ran.err) == (0, f"{fitted}\n", "qqt: wrote fit.json\n")
    assert [each.name for each in Path.cwd().iterdir()] == ["fit.json"]
    assert load_fit("fit.json").params.utility.tobytes() == fitted.params.utility.tobytes()
    to_pipe = qqt_typed("fit", folder / "runs.csv", *FIT, "-o", "-")
    assert to_pipe.out == Path("fit.json").read_text()
    assert to_pipe.out == qqt_typed("fit", folder / "runs.csv", *FIT, "-o", "-", "--json").out


def test_runs_on_standard_input(qqt_typed: Typed, folder: Path) -> None:
    text = (folder / "runs.csv").read_text()
    document = qqt_typed("fit", "-", *FIT, "--json", stdin=text).document
    assert document["params"] == qqt_typed("fit", folder / "runs.csv", *FIT, "--json").document["params"]


def test_several_metrics_are_fitted_side_by_side(qqt_typed: Typed, folder: Path) -> None:
    expected = qqt.fit_metrics(qqt.read_runs(folder / "metrics.csv"), starts=STARTS)
    ran = qqt_typed("fit", folder / "metrics.csv", *FIT, "--json")
    assert ran.document["fits"] == [fit_to_dict(each) for each in expected.values()]
    text = qqt_typed("fit", folder / "metrics.csv", *FIT).out
    assert text.index("metric first\n") < text.index("metric second\n")
    one = qqt_typed("fit", folder / "metrics.csv", *FIT, "--metric", "second", "--json").document
    assert one["params"] == ran.document["fits"][1]["params"]


def test_predict_gives_the_library_numbers(qqt_typed: Typed, folder: Path) -> None:
    law = load_fit(folder / "law.json")
    seen = [5e3, 40e3]
    ran = qqt_typed("predict", folder / "law.json", "--weights", "A=.75,B=.25", "--samples-seen", "5k,.04M", "--json")
    assert (ran.status, ran.err) == (0, "")
    assert ran.document["weights"] == {"A": 0.75, "B": 0.25}
    found = ran.document["predictions"]
    assert [each["samples_seen"] for each in found] == seen
    assert [each["error"] for each in found] == law.predict({"A": 0.75, "B": 0.25}, seen).tolist()
    assert found[1]["epochs"] == {"A": 3.0, "B": 0.5}
    text = qqt_typed("predict", folder / "law.json", "--weights", "A=.75,B=.25", "--samples-seen", "5k,.04M").out
    assert f"40k samples: error {found[1]['error']:.5f} (epochs: A 3, B 0.5)" in text.splitlines()[1]


def test_predict_for_other_sizes_and_from_standard_input(qqt_typed: Typed, folder: Path) -> None:
    law = load_fit(folder / "law.json").with_sizes({"A": 1e6})
    arguments = ("predict", "-", "--weights", "A=1", "--samples-seen", "40k", "--sizes", "A=1M", "--json")
    ran = qqt_typed(*arguments, stdin=(folder / "law.json").read_text())
    assert ran.document["predictions"][0]["error"] == float(law.predict({"A": 1}, 40e3))


def test_predict_says_how_far_it_extrapolates(qqt_typed: Typed, fitted: qqt.FittedLaw) -> None:
    save_fit(fitted, "fit.json")
    ran = qqt_typed("predict", "fit.json", "--weights", "A=1", "--samples-seen", "800k")
    assert f"extrapolates: {fitted.extrapolation({'A': 1}, 800e3)}" in ran.out


def test_plan_gives_the_library_numbers(qqt_typed: Typed, folder: Path, fitted: qqt.FittedLaw) -> None:
    options = ("--budgets", "20k,80k", "--filter", "mine=A", "--mix", "half=A:.5+B:.5", "--target-error", ".4")
    ran = qqt_typed("plan", folder / "runs.csv", *FIT, *options, "--json", "-o", "plan.json")
    assert (ran.status, ran.err) == (0, "qqt: wrote plan.json\n")
    runs = qqt.read_runs(folder / "runs.csv")
    expected = qqt.plan(
        fitted,
        [20e3, 80e3],
        filters={"mine": ["A"]},
        mixes={"half": {"A": 0.5, "B": 0.5}},
        target_error=0.4,
        runs=runs,
        draws=qqt.draw(fitted, runs.select(runs.to_fit()), 400, qqt.StudentT()),
    )
    document = ran.document
    plain = expected.to_dict()
    assert {key: document[key] for key in plain} == plain
    assert (document["schema"], document["schema_version"]) == ("qqtjax.plan", 1)
    assert document["fit"] == fit_to_dict(fitted)
    assert [each["name"] for each in document["rows"][0]["options"]] == ["A", "all pools", "mine", "half"]
    assert Path("plan.json").read_text() == ran.out
    assert qqt_typed("plan", folder / "runs.csv", *FIT, *options).out == f"{expected}\n\n{fitted}\n"


def test_plan_of_a_saved_fit_however_it_is_given(qqt_typed: Typed, folder: Path) -> None:
    law = folder / "law.json"
    expected = qqt.plan(load_fit(law), [20e3, 80e3], sizes={"A": 50e3}).to_dict()
    options = ("--budgets", "20k,80k", "--sizes", "A=50k", "--json")
    runs = [
        qqt_typed("plan", law, *options),
        qqt_typed("plan", "--fit", law, *options),
        qqt_typed("plan", "--fit", "-", *options, stdin=law.read_text()),
    ]
    for ran in runs:
        assert (ran.status, ran.err) == (0, "")
        assert {key: ran.document[key] for key in expected} == expected
        assert ran.out == runs[0].out


def test_flops_are_budgets_by_their_price(qqt_typed: Typed, folder: Path) -> None:
    ran = qqt_typed("plan", folder / "law.json", "--flops", "2e12,8T", "--flops-per-sample", "1e8", "--json")
    assert [(row["samples_seen"], row["flops"]) for row in ran.document["rows"]] == [(20e3, 2e12), (80e3, 8e12)]


def test_a_target_alone_needs_no_budget(qqt_typed: Typed, folder: Path) -> None:
    document = qqt_typed("plan", folder / "law.json", "--target-error", ".4", "--json").document
    assert document["rows"] == []
    assert document["target"]["error"] == 0.4
    expected = qqt.plan(load_fit(folder / "law.json"), target_error=0.4).to_dict()["target"]
    assert document["target"] == expected


def test_budgets_by_default_are_epochs_of_the_smallest_pool(qqt_typed: Typed, folder: Path) -> None:
    rows = qqt_typed("plan", folder / "law.json", "--json").document["rows"]
    assert [row["samples_seen"] for row in rows] == [10e3 * 2**k for k in range(7)]


@pytest.mark.slow
def test_the_published_constants(qqt_typed: Typed) -> None:
    document = qqt_typed("plan", "--published", "datacomp-tmars", "--json").document
    assert document["law"] == "released_utility"
    assert [each["name"] for each in document["beside"]] == ["utility", "effective_data"]


# Names with the signs of the command line in them


ODD = ("a=b", "a,b"), ("a+b:c", "a"), ("top 10 %", "top=10:.5+x"), ("a", "a=1,b")


@pytest.mark.parametrize("names", ODD, ids=" ".join)
def test_odd_pool_names_work(qqt_typed: Typed, names: tuple[str, str]) -> None:
    law = law_on(names)
    save_fit(law, "law.json")
    first, second = names
    weights = f"{first}=.25,{second}=.75"
    document = qqt_typed("predict", "law.json", "--weights", weights, "--samples-seen", "1k", "--json").document
    assert document["weights"] == {first: 0.25, second: 0.75}
    options = (
        *("--budgets", "20k", "--filter", f"both={second}+{first}", "--mix", f"m={first}:.25+{second}:.75"),
        *("--order", f"{second},{first}", "--sizes", f"{second}=40k"),
    )
    document = qqt_typed("plan", "law.json", *options, "--json").document
    assert document["pools"] == {second: 40e3, first: 10e3}
    both, mix = document["rows"][0]["options"][-2:]
    assert (both["name"], both["weights"]) == ("both", {second: 0.8, first: 0.2})
    assert (mix["name"], mix["weights"]) == ("m", {second: 0.75, first: 0.25})


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("a=1,b=2", (), {"a": "1", "b": "2"}),
        (" a = 1 , b = 2 ,", (), {"a": "1", "b": "2"}),
        ("a=b=1", ("a=b",), {"a=b": "1"}),
        ("a,b=1,a=2", ("a,b", "a"), {"a,b": "1", "a": "2"}),
        ("ab=1", ("a",), {"ab": "1"}),
    ],
)
def test_assignments(text: str, names: tuple[str, ...], expected: dict[str, str]) -> None:
    assert words.assignments(text, "--x", names) == expected


@pytest.mark.parametrize("text", ["a", "=1", "a=", "a=1,b", "a=1,a=2", "", ",", "a,b=1"])
def test_bad_assignments(text: str) -> None:
    with pytest.raises(InputError, match=r"^--x: "):
        words.assignments(text, "--x")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("a wide table needs pools={name: size in samples} here", "a wide table needs --pools NAME=SIZE,... here"),
        ("(column 'size_x' or pools={'x y': samples})", "(column 'size_x' or --pools x y=SIZE)"),
        ("say nested=['a', 'b'] or disjoint=True", "say --nested a,b or --disjoint"),
        ("expected samples_per_step= (the batch)", "expected --samples-per-step (the batch)"),
        ("choose with metric=", "choose with --metric"),
        ("say value='error' or so", "say --value 'error' or so"),
        ("free: law x has no y", "--free: law x has no y"),
        ("fixed: law x has no y", "--fix: law x has no y"),
        ("runs.csv, row 1: found 2", "runs.csv, row 1: found 2"),
    ],
)
def test_messages_name_options(message: str, expected: str) -> None:
    assert words.as_options(message) == expected


def test_a_wide_table_is_asked_for_its_options(qqt_typed: Typed) -> None:
    Path("wide.csv").write_text("Step,A - error\n1,0.9\n2,0.8\n")
    only_error(qqt_typed("fit", "wide.csv", "--format", "wide"), "--pools NAME=SIZE,...")
    only_error(qqt_typed("fit", "wide.csv", "--format", "wide", "--pools", "A=5"), "--samples-per-step")


# Warnings and progress


def test_a_warning_appears_once(qqt_typed: Typed, folder: Path) -> None:
    expected = qqt_typed("fit", folder / "runs.csv", *FIT).out
    said = "12 of 12 checkpoints did not end"
    ran = qqt_typed("fit", folder / "unfinished.csv", *FIT)
    assert ran.status == 0
    assert said not in expected
    assert " ".join((ran.out + ran.err).split()).count(said) == 1
    for _ in range(2):  # in one process, the second time as well
        ran = qqt_typed("fit", folder / "unfinished.csv", *FIT, "--json")
        assert ran.err.count(said) == 1
        assert ran.err.count("\n") == 1
        assert ran.err.startswith("qqt: warning: ")
        assert any(said in line for line in ran.document["diagnostics"]["warnings"])


def test_warnings_that_repeat_each_other_are_one(qqt_typed: Typed, folder: Path) -> None:
    def warns(path: str) -> qqt.FittedLaw:
        for text in ("runs.csv: no epoch", "no epoch", "no\n epoch", "other", "other"):
            warnings.warn(text, QQTWarning, stacklevel=1)
        return load_fit(folder / "law.json")

    qqt_typed.monkeypatch.setattr("qqtjax.cli.options.fit_named", warns)
    ran = qqt_typed("predict", "law.json", *ASKED)
    assert ran.err == "qqt: warning: runs.csv: no epoch\nqqt: warning: other\n"


def test_one_checkpoint_is_fitted_with_warnings(qqt_typed: Typed) -> None:
    Path("one.csv").write_text(table().splitlines()[0] + "\nA,10000,20000,0.4\n")
    ran = qqt_typed("fit", "one.csv", *FIT, "--json")
    assert ran.status == 0
    assert ran.err.startswith("qqt: warning: ")
    assert ran.document["diagnostics"]["warnings"]


def test_a_slow_stage_says_what_it_does(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "PATIENCE", 0.0)
    err = ""
    with output.progress(2) as say:
        for text in ("first", "second"):
            say(text)
            for _ in range(1000):
                err += capsys.readouterr().err
                if text in err:
                    break
                time.sleep(0.01)
    assert err == "qqt: first\nqqt: second\n"


def test_a_quick_stage_says_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "PATIENCE", 1e6)
    before = threading.active_count()
    with output.progress(2) as say:
        say("first")
        say("second")
    assert capsys.readouterr().err == ""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(10)
    assert threading.active_count() <= before


# Files


def test_a_link_stays_a_link(qqt_typed: Typed, folder: Path) -> None:
    Path("link.json").symlink_to("target.json")
    assert qqt_typed("plan", folder / "law.json", "--budgets", "20k", "-o", "link.json").status == 0
    assert Path("link.json").is_symlink()
    assert json.loads(Path("target.json").read_text())["schema"] == "qqtjax.plan"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()), daemon=True)
    reader.start()
    output.write_file("text\n", str(pipe))
    reader.join(60)
    assert received == ["text\n"]
    assert pipe.is_fifo()


def test_a_file_that_cannot_be_written_leaves_nothing(qqt_typed: Typed, folder: Path) -> None:
    Path("old.json").write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    qqt_typed.monkeypatch.setattr(os, "replace", full)
    only_error(qqt_typed("plan", folder / "law.json", "--budgets", "20k", "-o", "old.json"), "old.json", "No space")
    assert [(each.name, each.read_text()) for each in Path.cwd().iterdir()] == [("old.json", "old")]


# Real processes


PROGRAM = (sys.executable, "-m", "qqtjax.cli")


def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*PROGRAM, *map(str, arguments)], text=True, **{**pipes, **options})


def test_the_program_starts_light() -> None:
    code = (
        "import sys, qqtjax.cli\n"
        "print([m for m in ('pandas', 'rich', 'pyarrow', 'matplotlib', 'flax', 'scipy') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_a_pipe_of_two_programs(folder: Path) -> None:
    law = load_fit(folder / "law.json")
    with (folder / "law.json").open() as saved, start("predict", "-", *ASKED, "--json", stdin=saved) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["predictions"][0]["error"] == float(law.predict({"A": 1}, 10e3))


def test_a_reader_that_has_enough_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with start("plan", "--help", stdout=writer) as process:
        os.close(writer)
        err = process.communicate()[1]
    assert (process.returncode, err) == (141, "")


def test_a_full_disk_is_one_line(folder: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with open("/dev/full", "w") as full, start("predict", folder / "law.json", *ASKED, stdout=full) as process:
        err = process.communicate()[1]
    assert process.returncode == 1
    assert err.startswith("qqt: error: standard output: cannot be written")
    assert err.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
def test_ctrl_c_in_the_middle_of_a_fit(folder: Path, tmp_path: Path) -> None:
    """It ends compiled code too: this fit would take minutes."""
    arguments = ("fit", folder / "runs.csv", "--solver", "adam", "--starts", "5000", "-o", tmp_path / "fit.json")
    with start(*arguments) as process:
        assert process.stderr is not None
        # On a busy machine the stages before are slow enough for a line of their own.
        while not (line := process.stderr.readline()).startswith("qqt: fitting law utility to 12 checkpoints"):
            assert line.startswith("qqt: ")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "qqt: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupt.ends_the_process():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_handler_of_before_is_back_afterwards() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with interrupt.ends_the_process():
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_a_bar_on_the_terminal_leaves_the_pipe_alone(folder: Path) -> None:
    pty = pytest.importorskip("pty", reason="no pseudo terminals on this system")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    with start("fit", folder / "runs.csv", *FIT, "-o", "-", stderr=theirs, env=environment) as process:
        os.close(theirs)
        assert process.stdout is not None
        out = process.stdout.read()
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # how a terminal ends on Linux
        pass
    finally:
        os.close(ours)
    assert process.returncode == 0
    assert json.loads(out)["schema"] == "qqtjax.fit"
    assert b"fitting law utility" in shown
    assert shown.rstrip().endswith(b"\x1b[2K")  # the bar's line is cleared


@pytest.mark.slow
def test_the_main_job_with_nothing_to_prepare(tmp_path: Path) -> None:
    with start("plan", "--json", "--starts", "16", cwd=tmp_path) as process:
        out, err = process.communicate()
    assert process.returncode == 0
    assert all(line.startswith("qqt: ") for line in err.splitlines())
    document = json.loads(out)
    assert document["rows"]
    assert document["evidence"] is not None
    assert list(tmp_path.iterdir()) == []
