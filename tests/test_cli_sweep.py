"""`qqt sweep` as a user types it: the library's numbers, folders that load again, one line a mistake."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from test_cli import Typed, only_error

import qqtjax as qqt
from qqtjax.cli import output, points, words

LAW = qqt.published("datacomp-tmars").utility
PAPER = ("--published", "datacomp-tmars")


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Typed:
    """Types commands in a folder with a fit, an unsure fit and runs in it."""
    qqt.save_fit(LAW, tmp_path / "fit.json")
    (tmp_path / "runs.csv").write_text("pool,pool_size,samples_seen,error\nweb,1e6,1e6,0.5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "PATIENCE", 1e6)
    monkeypatch.setattr(points, "FIRST", 1e6)
    return Typed(capsys, monkeypatch)


def rows(typed: Typed, *arguments: str) -> list[dict]:
    ran = typed("sweep", *arguments, "--json")
    assert (ran.status, ran.err) == (0, "")
    return ran.document["rows"]


def test_errors_are_the_library_s(typed: Typed):
    found = rows(typed, "fit.json", "--budgets", "64M:640M:log:3", "--weights", "simplex:.5")
    whole = qqt.sweep(LAW, budgets=np.geomspace(64e6, 640e6, 3), weights=qqt.Simplex(0.5))
    assert [row["error"] for row in found] == whole.error.ravel().tolist()
    assert [row["mix"] for row in found] == [*range(10)] * 3
    mixes = "--weights", "top 10 %=1", "--weights", "top 10 %=.5,10-20 %=.5"
    found = rows(typed, *PAPER, "--budgets", "64M", *mixes, "--sizes", "top 10 %=1e6", "--sizes", "10-20 %=1e6")
    assert [row["size"] for row in found] == [0, 0, 1, 1]
    small = LAW.with_sizes({"top 10 %": 1e6})
    assert found[0]["error"] == float(small.predict({"top 10 %": 1}, 64e6))
    found = rows(typed, *PAPER, "--budgets", "32M:64M:lin:3", "--filters", "--reduce", "top:2")
    assert [row["samples_seen"] for row in found] == [32e6, 32e6, 48e6, 48e6, 64e6, 64e6]
    assert found[0]["mix"] == "top 10 %"
    assert [row["rank"] for row in found] == [1, 2] * 3


def test_best_mixes_are_the_library_s(typed: Typed):
    found = rows(typed, *PAPER, "--budgets", "64M,640M", "--optimize", "--max-epochs", "20", "--cap", "top 10 %=.35")
    for row in found:
        best = qqt.optimize_mix(LAW, row["samples_seen"], max_epochs=20, caps={"top 10 %": 0.35})
        assert row["error"] == pytest.approx(best.error, abs=1e-12)
        assert 0 <= row["gap"] < 1e-12


def test_draws_of_a_fit_and_their_quantiles(typed: Typed):
    assert typed("fit", "wordclip-C", "-o", "unsure.json").status == 0
    ask = ("unsure.json", "--budgets", "80k", "--filters", "--draws", "50", "--seed", "3")
    found = rows(typed, *ask, "--reduce", "quantiles:.25,.75")
    fitted = qqt.load_fit("unsure.json")
    whole = qqt.sweep(fitted, budgets=80e3, filters=True, draws=50, seed=3)
    assert whole.axes.names == ("draw", "mix")
    np.testing.assert_allclose(
        [row["error"] for row in found], np.quantile(whole.error, (0.25, 0.75), axis=0).T.ravel(), rtol=1e-12
    )
    assert [row["level"] for row in found][:2] == [0.25, 0.75]


def test_a_folder_is_written_and_read_back(typed: Typed):
    ask = ("sweep", *PAPER, "--budgets", "10M:10B:log:20", "--weights", "simplex:.1", "-o", "out")
    ran = typed(*ask)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == "out: 5.72k results (20 budget x 286 mix); read them with qqtjax.load_sweep('out')\n"
    found = qqt.load_sweep("out")
    np.testing.assert_array_equal(
        found.error, qqt.sweep(LAW, budgets=np.geomspace(1e7, 1e10, 20), weights=qqt.Simplex(0.1)).error
    )
    document = typed(*ask, "--json").document
    assert document["axes"] == {"budget": 20, "mix": 286}
    assert document["rows"] is None


def test_a_long_table_says_what_it_leaves_out(typed: Typed):
    ran = typed("sweep", *PAPER, "--budgets", "10M:10B:log:20", "--weights", "simplex:.1")
    assert ran.out.splitlines()[-1] == ".. and 5.68k more; -o FOLDER keeps all of them"
    assert len(ran.out.splitlines()) == 42


def test_several_processes_cannot_be_half_described(typed: Typed):
    ran = typed("sweep", *PAPER, "--budgets", "64M", "--filters", "--processes", "2")
    only_error(ran, "--coordinator, --processes, --process: expected all of them")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nofile.json", "--budgets", "64M", "--filters"), "nofile.json: no such file"),
        (("runs.csv", "--budgets", "64M", "--filters"), "runs.csv: measured runs, expected a fit: run qqt fit"),
        (("fit.json", *PAPER, "--budgets", "64M", "--filters"), "FIT and --published: expected one of them"),
        ((*PAPER, "--filters"), "--budgets: missing"),
        ((*PAPER, "--budgets", "64M"), "--weights, --filters, --optimize: expected exactly one of them"),
        ((*PAPER, "--budgets", "64M", "--filters", "--optimize"), "--weights, --filters, --optimize: expected exactly"),
        ((*PAPER, "--budgets", "64M:1M:log:3", "--filters"), "--budgets: 64M is not below 1M"),
        ((*PAPER, "--budgets", "1M:64M:loog:3", "--filters"), "--budgets: found '1M:64M:loog:3', expected LOW:HIGH"),
        ((*PAPER, "--budgets", "-3", "--filters"), "--budgets: found '-3', expected a positive number"),
        ((*PAPER, "--budgets", "64M", "--weights", "simplex:.3"), "--weights: simplex step 0.3: expected 1 / s"),
        ((*PAPER, "--budgets", "64M", "--weights", "top=1"), "--weights: unknown pool 'top'"),
        ((*PAPER, "--budgets", "64M", "--weights", "top 10 %=.5"), "weights sum to 0.5"),
        ((*PAPER, "--budgets", "64M", "--filters", "--cap", "top 10 %=.5"), "--cap without --optimize"),
        ((*PAPER, "--budgets", "64M", "--filters", "--reduce", "bets"), "--reduce: found 'bets', expected best, top:K"),
        ((*PAPER, "--budgets", "64M", "--filters", "--reduce", "quantiles:.5"), "expected draws"),
        ((*PAPER, "--budgets", "64M", "--filters", "--draws", "9"), "draws: these parameters have no standard errors"),
        ((*PAPER, "--budgets", "64M", "--filters", "--dtype", "float16"), "--dtype: found 'float16'"),
        ((*PAPER, "--budgets", "64M", "--filters", "--memory", "1k"), "memory 1000.0: expected a number of bytes"),
        ((*PAPER, "--budgets", "64M", "--filters", "-o", "fit.json"), "fit.json: cannot be written"),
        ((*PAPER, "--budgets", "64M", "--filters", "-o", "."), "not empty and no sweep"),
    ],
)
def test_bad_input_is_one_line(typed: Typed, arguments: tuple[str, ...], message: str):
    only_error(typed("sweep", *arguments), message)


def test_ranges():
    np.testing.assert_allclose(words.counts("10M:10B:log:4", "x"), [1e7, 1e8, 1e9, 1e10])
    np.testing.assert_allclose(words.counts("1:3:lin:3", "x"), [1, 2, 3])
    np.testing.assert_allclose(words.counts("32M, 64M", "x"), [32e6, 64e6])


def test_progress_without_a_terminal_is_a_line_with_rate_and_time_left(capsys, monkeypatch):
    monkeypatch.setattr(points, "FIRST", 0.0)
    ticks = iter(np.arange(0.0, 100.0, 4.0))
    monkeypatch.setattr(points.time, "monotonic", lambda: float(next(ticks)))
    with points.counted() as told:
        for done in range(0, 50_000_000, 10_000_000):
            told(done, 100_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("qqt: ") and " of 100M points" in line for line in lines)
    assert any("/s" in line and line.endswith("s left") for line in lines)


def test_the_help_has_examples(typed: Typed):
    ran = typed("sweep", "--help")
    assert ran.status == 0
    assert "qqt sweep fit.json --budgets 10M:10B:log:200 --weights simplex:.05" in ran.out
    assert dataclasses.fields(qqt.Sweep)[0].name == "axes"
