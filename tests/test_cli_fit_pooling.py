"""`qqt fit --pooling` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qqtjax.cli.main import main

RUNS = """pool,pool_size,samples_seen,error
top10,12.8M,6.4M,0.91
top10,12.8M,64M,0.662
top20,12.8M,6.4M,0.934
top20,12.8M,64M,0.70
top30,12.8M,6.4M,0.949
top30,12.8M,64M,0.751
"""


@pytest.fixture
def few(tmp_path: Path) -> Path:
    path = tmp_path / "few.csv"
    path.write_text(RUNS)
    return path


def typed(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[object, str, str]:
    """Exit status, standard output and standard error."""
    status: object = 0
    try:
        main([str(each) for each in arguments])
    except SystemExit as ended:
        status = ended.code
    return (status, *capsys.readouterr())


def test_a_pooled_fit_is_printed_saved_and_drawn_from(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = "top10=.31,top20=.29,top30=.28"
    asked = ("fit", few, "--pooling", "--covariate", scores, "--draws", "50", "--json", "--seed", "1")
    status, out, _ = typed(capsys, *asked)
    document = json.loads(out)
    assert status in (0, None)
    pooled = document["diagnostics"]["pooled"]
    assert set(pooled["slope"]) == {"utility", "half_life"}
    assert len(pooled["shrinkage"]["half_life"]) == 3
    assert document["draws"]["method"] == "posterior of the pooled fit"
    assert typed(capsys, *asked)[1] == out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--covariate", "top10=1"), "--covariate: applies to --pooling"),
        (("--pooling", "--log"), "--log and --pooling: expected one of them"),
        (("--pooling", "--solver", "adam"), "--solver and --pooling: expected one of them"),
        (("--pooling", "--covariate", "top10=1"), "pool 'top20' has no score"),
        (("--pooling", "--covariate", "top10=x"), "--covariate"),
        (("--pooling", "--share", "utility,half_life"), "two pools or more"),
    ],
)
def test_mistakes_are_one_line(
    few: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    status, out, err = typed(capsys, "fit", few, *options)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("qqt: error") == 1
    assert "Traceback" not in err
