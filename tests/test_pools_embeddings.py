"""Embeddings from arrays and files: the same unit rows from each, and what is wrong is named with its row."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

import qqtjax as qqt
from qqtjax.pools.embeddings import Embeddings
from qqtjax.pools.tensors import open_tensors

ROWS, WIDTH = 60, 5


@pytest.fixture
def values(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(ROWS, WIDTH)).astype(np.float32)


def lists(values: np.ndarray) -> pyarrow.Array:
    return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.reshape(-1)), values.shape[1])


def write_parquet(path: Path, values: np.ndarray, rows: int = 7) -> Path:
    table = pyarrow.table({"uid": [f"s{row}" for row in range(len(values))], "vector": lists(values)})
    pyarrow.parquet.write_table(table, path, row_group_size=rows)
    return path


def write_safetensors(path: Path, tensors: dict[str, np.ndarray], names: dict[str, str] | None = None) -> Path:
    """The format by its description: length, JSON, numbers."""
    kinds = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int64": "I64"}
    header, numbers = {"__metadata__": {"format": "np"}}, b""
    for name, each in tensors.items():
        raw = each.tobytes()
        offsets = [len(numbers), len(numbers) + len(raw)]
        kind = (names or {}).get(name) or kinds[each.dtype.name]
        header[name] = {"dtype": kind, "shape": list(each.shape), "data_offsets": offsets}
        numbers += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)
    return path


def test_every_source_gives_the_same_unit_rows(values: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", values)
    shards = tmp_path / "shards"
    shards.mkdir()
    for number, part in enumerate(np.array_split(values, 3)):
        write_parquet(shards / f"part-{number}.parquet", part)
    tensors = tmp_path / "tensors"
    tensors.mkdir()
    for number, part in enumerate(np.array_split(values, 2)):
        write_safetensors(tensors / f"{number}.safetensors", {"vector": part, "bias": np.zeros(3, np.float32)})
    plain = pyarrow.table({"vector": values.tolist()})
    pyarrow.parquet.write_table(plain, tmp_path / "plain.parquet", row_group_size=11)
    sources = [values, tmp_path / "all.npy", shards, tensors, sorted(shards.iterdir()), tmp_path / "plain.parquet"]
    expected = values.astype(np.float64) / np.linalg.norm(values.astype(np.float64), axis=1, keepdims=True)
    whole = Embeddings.of(values).read(0, ROWS)
    assert np.abs(whole - expected).max() < 1e-7
    some = np.array([0, 3, 4, 19, 20, 21, 40, 59])
    for source in sources:
        embeddings = Embeddings.of(source)
        assert (len(embeddings), embeddings.width) == (ROWS, WIDTH)
        for rows in (1, 7, 23, 100):
            pieces = list(embeddings.chunks(rows))
            assert all(len(piece) <= rows for piece in pieces)
            assert np.array_equal(np.concatenate(pieces), whole)
        assert np.array_equal(embeddings.take(some), whole[some])
        picked = embeddings.of_rows(some[::-1])
        assert np.array_equal(picked.read(2, 99), whole[some[2:]])
        assert np.array_equal(picked.of_rows(np.array([1, 5])).read(0, 2), whole[some[[1, 5]]])
        assert embeddings.read(ROWS, ROWS + 5).shape == (0, WIDTH)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64, np.int64])
def test_other_types_are_read_as_what_they_hold(dtype: type, rng: np.random.Generator, tmp_path: Path) -> None:
    values = (10 * rng.normal(size=(20, 4)) + 0.5).round().astype(dtype)
    values[:, 0] = 1
    exact = values.astype(np.float64) / np.linalg.norm(values.astype(np.float64), axis=1, keepdims=True)
    for source in (values, write_safetensors(tmp_path / "a.safetensors", {"x": values})):
        assert np.abs(Embeddings.of(source).read(0, 20) - exact).max() < 1e-7


def test_very_long_and_very_short_rows_keep_their_direction() -> None:
    direction = np.array([3.0, 4.0])
    for length in (1e-300, 1e-42, 1e-30, 1.0, 1e25, 1e300):
        assert np.allclose(Embeddings.of(direction[None] * length).read(0, 1), [[0.6, 0.8]], rtol=1e-6)


def test_wrong_rows_are_named(values: np.ndarray, tmp_path: Path) -> None:
    for wrong, says in ((np.nan, "row 33, column 2: nan, expected a finite"), (np.inf, "row 33, column 2: inf")):
        broken = values.copy()
        broken[33, 2] = wrong
        np.save(tmp_path / "broken.npy", broken)
        with pytest.raises(qqt.InputError, match=rf"broken.npy, {says}"):
            list(Embeddings.of(tmp_path / "broken.npy").chunks(8))
    broken = values.copy()
    broken[50] = 0
    with pytest.raises(qqt.InputError, match=r"embeddings, row 50: only zeros"):
        Embeddings.of(broken).read(40, 60)
    write_parquet(tmp_path / "0.parquet", values)
    write_parquet(tmp_path / "1.parquet", broken)
    with pytest.raises(qqt.InputError, match=r"1.parquet, row 50: only zeros"):
        list(Embeddings.of([tmp_path / "0.parquet", tmp_path / "1.parquet"]).chunks(64))


def test_wrong_lists_are_named(tmp_path: Path) -> None:
    def read(column: list) -> None:
        pyarrow.parquet.write_table(pyarrow.table({"v": column}), tmp_path / "a.parquet", row_group_size=2)
        Embeddings.of(tmp_path / "a.parquet").read(0, 9)

    with pytest.raises(qqt.InputError, match=r"a.parquet, row 2: no vector"):
        read([[1.0, 2.0], [1.0, 2.0], None])
    with pytest.raises(qqt.InputError, match=r"a.parquet, row 3: 3 numbers, expected 2"):
        read([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0, 3.0]])
    with pytest.raises(qqt.InputError, match=r"a.parquet, row 1, column 1: nan"):
        read([[1.0, 2.0], [1.0, None]])
    with pytest.raises(qqt.InputError, match=r"holds lists of string, expected numbers"):
        read([["a", "b"]])


def test_sources_that_are_none_are_refused(values: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    np.save(tmp_path / "mixed" / "a.npy", values)
    write_parquet(tmp_path / "mixed" / "b.parquet", values)
    (tmp_path / "text.npy").write_text("no")
    (tmp_path / "a.csv").write_text("1,2")
    np.save(tmp_path / "one.npy", values[0])
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "narrow.npy", values[:, :3])
    np.save(tmp_path / "wide.npy", values)
    pyarrow.parquet.write_table(pyarrow.table({"a": lists(values), "b": lists(values)}), tmp_path / "two.parquet")
    for source, says in (
        (tmp_path / "nothing.npy", "no such file or folder"),
        (tmp_path / "empty", "no .npy, .parquet, .safetensors file in this folder"),
        (tmp_path / "mixed", "holds .npy and .parquet files, expected one kind"),
        (tmp_path / "text.npy", "cannot be read as .npy"),
        (tmp_path / "a.csv", "expected embeddings as .npy, .parquet, .safetensors"),
        (tmp_path / "one.npy", r"shape \(5,\), expected \[rows, width\]"),
        (tmp_path / "words.npy", "numbers of type <U1, expected real numbers"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (
            [tmp_path / "wide.npy", tmp_path / "narrow.npy"],
            "narrow.npy: rows of 3 numbers, expected 5 as in .*wide.npy",
        ),
        (tmp_path / "two.parquet", "columns of lists: a, b; name the one"),
    ):
        with pytest.raises(qqt.InputError, match=says):
            Embeddings.of(source)
    with pytest.raises(qqt.InputError, match=r"columns of lists: a, b; expected 'c'"):
        Embeddings.of(tmp_path / "two.parquet", "c")
    assert len(Embeddings.of(tmp_path / "two.parquet", "b")) == ROWS


def test_names_of_samples_come_from_a_column(values: np.ndarray, tmp_path: Path) -> None:
    write_parquet(tmp_path / "0.parquet", values[:20])
    write_parquet(tmp_path / "1.parquet", values[20:])
    embeddings = Embeddings.of(tmp_path)
    assert embeddings.column("uid").tolist() == [f"s{row}" for row in [*range(20), *range(40)]]
    assert embeddings.of_rows(np.array([1, 21])).column("uid").tolist() == ["s1", "s1"]
    with pytest.raises(qqt.InputError, match="no column 'uids', found uid, vector; did you mean 'uid'"):
        embeddings.column("uids")
    with pytest.raises(qqt.InputError, match="has no columns beside the embeddings"):
        Embeddings.of(values).column("uid")


def test_the_fingerprint_tells_sources_apart(values: np.ndarray) -> None:
    embeddings = Embeddings.of(values)
    assert embeddings.fingerprint() == Embeddings.of(values.copy()).fingerprint()
    changed = values.copy()
    changed[0] += 1
    others = (Embeddings.of(changed), Embeddings.of(values[:-1]), embeddings.of_rows(np.arange(ROWS - 1)))
    assert embeddings.fingerprint() not in [each.fingerprint() for each in others]


def test_tensors_are_those_that_were_written(values: np.ndarray, tmp_path: Path) -> None:
    written = {"a": values, "b": np.arange(6).reshape(2, 3), "none": np.zeros((0, 3), np.float32)}
    found = open_tensors(write_safetensors(tmp_path / "x.safetensors", written))
    assert {name: each.dtype for name, each in found.items()} == {name: each.dtype for name, each in written.items()}
    assert all(np.array_equal(found[name], each) for name, each in written.items())


def test_tensors_that_are_damaged_are_refused(values: np.ndarray, tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "x.safetensors", {"a": values})
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(qqt.InputError, match=r"x.safetensors: tensor 'a' is cut short"):
        open_tensors(path)
    for content in (b"", b"1234567", b"\xff" * 20, (5).to_bytes(8, "little") + b"{nono"):
        path.write_bytes(content)
        with pytest.raises(qqt.InputError, match=r"x.safetensors: (not a safetensors|cannot be read)"):
            open_tensors(path)
    with pytest.raises(qqt.InputError, match=r"'a' of type F8_E4M3, expected one of"):
        open_tensors(write_safetensors(path, {"a": values}, {"a": "F8_E4M3"}))
