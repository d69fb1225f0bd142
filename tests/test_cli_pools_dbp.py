"""`qqt pools dbp` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from qqtjax.cli import main
from qqtjax.pools.dbp import dbp
from qqtjax.pools.density import PAPER, RELEASED


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    rng = np.random.default_rng(1)
    return (2 * np.eye(8)[rng.integers(0, 4, 400)] + rng.normal(size=(400, 8))).astype(np.float32)


@pytest.fixture
def file(rows: np.ndarray, tmp_path: Path) -> str:
    np.save(tmp_path / "embeddings.npy", rows)
    return str(tmp_path / "embeddings.npy")


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    main(["pools", "dbp", *words, "--json"])
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["pools", "dbp", *words])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert not said.out
    assert said.err.startswith("qqt: error: ")
    assert len(said.err.splitlines()) == 1
    return said.err


def test_what_it_keeps_is_what_the_function_keeps(
    file: str, rows: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = str(tmp_path / "kept.parquet")
    words = [file, "--clusters", "5", "--keep", "0.277", "--seed", "3"]
    document = asked(capsys, *words, "-o", kept)
    expected = dbp(rows, PAPER._replace(clusters=5, keep=0.277), seed=3)
    table = pyarrow.parquet.read_table(kept)
    assert table["sample"].to_pylist() == expected.selection.rows.tolist()
    assert document["kept"] == len(table) == 110
    assert document["pools"] == expected.to_dict()["pools"]
    assert document["settings"] == {"clusters": 5, "temperature": 0.1, "neighbours": 20, "balance": 0.0, "keep": 0.277}
    main(["pools", "dbp", *words])
    said = capsys.readouterr().out
    assert "kept 110 of 400 samples (27.5%), removed 290" in said
    assert "complexity" in said


def test_counts_presets_and_the_baseline(file: str, rows: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--clusters", "5", "--passes", "3"]
    document = asked(capsys, file, *few, "--keep", "99", "--preset", "released", "--points-per-centroid", "50")
    assert document["kept"] == 99
    assert document["trained_on"] == 250
    assert document["settings"]["temperature"] == RELEASED.temperature
    assert document["settings"]["balance"] == RELEASED.balance
    document = asked(capsys, file, *few, "--keep", "0.5", "--rule", "ssp", "--order", "easiest")
    expected = dbp(rows, PAPER._replace(clusters=5, balance=0.5, keep=0.5), rule="uniform", passes=3)
    assert [pool["kept"] for pool in document["pools"]] == [pool["kept"] for pool in expected.to_dict()["pools"]]


def test_shards_with_names_and_a_working_folder(
    rows: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for number, part in enumerate(np.split(rows, 4)):
        columns = {"uid": [f"{number}-{row}" for row in range(100)], "v": part.tolist()}
        pyarrow.parquet.write_table(pyarrow.table(columns), shards / f"{number}.parquet")
    kept = tmp_path / "kept.parquet"
    words = [str(shards), "--clusters", "5", "--keep", ".2", "--id", "uid", "--work", str(tmp_path / "work"), "--dedup"]
    document = asked(capsys, *words, "1e-4", "-o", str(kept))
    assert document["duplicates"] == 0
    first = kept.read_bytes()
    assert pyarrow.parquet.read_table(kept)["sample"][0].as_py().startswith("0-")
    asked(capsys, *words, "1e-4", "-o", str(kept))
    assert kept.read_bytes() == first
    assert "holds the work of something else (seed differ)" in refused(capsys, *words, "1e-4", "--seed", "1")


def test_wrong_words_are_one_line(
    file: str, rows: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = rows.copy()
    broken[77, 3] = np.nan
    np.save(tmp_path / "nan.npy", broken)
    broken[20] = 0
    np.save(tmp_path / "zero.npy", broken)
    np.save(tmp_path / "flat.npy", rows[0])
    keep = ["--keep", "0.5"]
    for words, says in (
        ([], "EMBEDDINGS: missing"),
        ([file], "--keep: missing"),
        ([file, "--keep", "1.5"], "--keep: found '1.5'"),
        ([file, "--keep", "0"], "--keep: found '0'"),
        (
            [file, "--keep", "401", "--clusters", "5"],
            "401 samples to keep: expected at least 1 and at most the 400 rows",
        ),
        ([file, *keep], "500 clusters of 400 rows"),
        ([file, *keep, "--clusters", "5", "--rule", "dpb"], "--rule: found 'dpb'"),
        ([file, *keep, "--clusters", "5", "--order", "hard"], "--order: found 'hard'"),
        ([file, *keep, "--clusters", "5", "--preset", "new"], "--preset: found 'new'"),
        ([file, *keep, "--clusters", "5", "--dedup", "2"], "epsilon 2.0"),
        ([file, *keep, "--clusters", "5", "-o", "-"], "-o: found -, expected a file name: Parquet is not text"),
        ([file, *keep, "--clusters", "5", "-o", str(tmp_path)], "is a folder"),
        ([file, *keep, "--clusters", "5", "--column", "v"], "embeddings.npy: a single array, without a column 'v'"),
        ([file, *keep, "--clusters", "5", "--temperature", "nan"], "temperature nan: expected a positive number"),
        ([file, *keep, "--clusters", "5", "--balance", "2"], "balance 2: expected a share"),
        ([file, *keep, "--clusters", "5", "--id", "uid"], "has no columns beside the embeddings"),
        ([str(tmp_path / "nan.npy"), *keep, "--clusters", "5"], "nan.npy, row 77, column 3: nan"),
        ([str(tmp_path / "zero.npy"), *keep, "--clusters", "5"], "zero.npy, row 20: only zeros"),
        ([str(tmp_path / "flat.npy"), *keep], "flat.npy: shape (8,), expected [rows, width]"),
        ([str(tmp_path / "none.npy"), *keep], "none.npy: no such file or folder"),
    ):
        assert says in refused(capsys, *words)


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    main(["pools", "dbp", "--help"])
    said = capsys.readouterr().out
    assert "qqt pools dbp embeddings.npy --clusters 500 --keep 0.277 -o kept.parquet" in said
    assert max(len(line) for line in said.splitlines()) <= 80
