"""`qqt fit --draws` and `qqt profile` as a user types them, and draws as files."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

import qqtjax as qqt
from benchmarks.planted import curves, draw_truth
from qqtjax.cli.main import main
from qqtjax.fit.bootstrap import WildBootstrap, bootstrap
from qqtjax.io.saved_draws import load_draws, save_draws

STARTS = ("--starts", "16")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Measured runs as a user keeps them."""
    rng = np.random.default_rng(5)
    runs = curves(draw_truth(rng), (0.25, 1.0, 2.0, 5.0, 10.0), 3e-3, rng)
    path = tmp_path_factory.mktemp("draws") / "runs.csv"
    rows = zip(runs.source, runs.samples_seen, runs.error, strict=True)
    lines = [f"pool{source},12800000,{seen!r},{error!r}" for source, seen, error in rows]
    path.write_text("\n".join(["pool,pool_size,samples_seen,loss", *lines]).replace("np.float64(", "").replace(")", ""))
    return path


def test_a_fit_with_draws(table, tmp_path, capsys):
    where = tmp_path / "draws.npz"
    words = ["fit", table, *STARTS, "--draws", "64", "--method", "wild", "--level", ".8", "--save-draws", where]
    main([*map(str, words), "--seed", "3", "--json"])
    document = json.loads(capsys.readouterr().out)["draws"]
    runs = qqt.read_runs(table)
    fitted = qqt.fit(runs, starts=16, seed=3)
    draws = bootstrap(fitted, runs, WildBootstrap(), 64, seed=3)
    again = load_draws(where)
    assert (again.method, again.freedom, again.notes) == (draws.method, draws.freedom, draws.notes)
    for one, two in zip(jax.tree.leaves(draws.params), jax.tree.leaves(again.params), strict=True):
        assert one.tobytes() == two.tobytes()
    by_name = {(each["field"], each["pool"]): each for each in document["intervals"]}
    assert len(by_name) == 10
    low, high = np.quantile(draws.params.half_life[:, 2], [0.1, 0.9])
    assert by_name["half_life", "pool2"]["low"] == pytest.approx(low)
    assert by_name["half_life", "pool2"]["high"] == pytest.approx(high)
    # Saved again, the file has the same bytes.
    save_draws(again, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == where.read_bytes()
    main([*map(str, words[:-2]), "--seed", "3"])
    printed = capsys.readouterr().out
    assert "80 % of 64 draws, wild bootstrap of checkpoints:" in printed
    assert "note: run-to-run noise is not known" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_a_profile(table, capsys):
    main(["profile", str(table), "floor", *STARTS, "--json"])
    (found,) = json.loads(capsys.readouterr().out)["profiles"]
    assert found["low"] < found["estimate"] < found["high"]
    assert len(found["grid"]) == len(found["statistic"])
    main(["profile", str(table), "floor", *STARTS])
    printed = capsys.readouterr().out
    assert printed.startswith(f"floor = {found['estimate']:.4g}, 95% from {found['low']:.4g} to {found['high']:.4g}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--method wild", "--method: applies to --draws"),
        ("--save-draws draws.npz", "--save-draws: applies to --draws"),
        (
            "--draws 8 --method jackknife",
            "--method: found 'jackknife', expected one of residual, wild, runs, posterior",
        ),
        ("--draws 8 --method posterior --by run", "--by: applies to a bootstrap"),
        ("--draws 8 --level 95", "--level: found 95, expected a number between 0 and 1"),
        ("--draws 8 --save-draws -", "--save-draws: -: an archive, expected a file name"),
        ("--draws 8 --save-draws nowhere/draws.npz", "--save-draws: nowhere/draws.npz: there is no folder"),
        ("--draws 8 --method runs", "pool pool0 has one run: run-to-run noise is not known"),
    ],
)
def test_a_mistake_is_one_line(table, capsys, words, said):
    with pytest.raises(SystemExit) as ended:
        main(["fit", str(table), *STARTS, *words.split()])
    assert ended.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert said in lines[0]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"{}"])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "draws.npz"
    path.write_bytes(content)
    with pytest.raises(qqt.InputError, match="not saved draws"):
        load_draws(path)
    with pytest.raises(qqt.InputError, match="no such file"):
        load_draws(tmp_path / "other.npz")
