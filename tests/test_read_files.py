"""The same table from every kind of file and data frame; how its size in memory stays bounded."""

import io
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import qqtjax
from qqtjax.errors import InputError
from qqtjax.io import read_runs

ROWS = [
    {"pool": "a b", "pool_size": 100.0, "samples_seen": 50.0, "error": 0.9, "weights": None, "seed": 0},
    {"pool": "a b", "pool_size": 100.0, "samples_seen": 250.0, "error": 0.8, "weights": None, "seed": 1},
    {"pool": "c", "pool_size": 300.5, "samples_seen": 50.25, "error": 1 / 3, "weights": None, "seed": 0},
    {
        "pool": None,
        "pool_size": None,
        "samples_seen": 700.0,
        "error": 0.1 + 0.2,
        "weights": "a b=.5 c=.5",
        "seed": 0,
    },
]
TABLE = pd.DataFrame(ROWS)


def check(runs):
    assert runs.pools.names == ("a b", "c")
    assert runs.pools.sizes.tolist() == [100, 300.5]
    assert runs.source.tolist() == [0, 0, 1, 2]
    assert runs.mixes.tolist() == [[0.5, 0.5]]
    assert runs.error.tolist() == [0.9, 0.8, 1 / 3, 0.1 + 0.2]
    assert runs.samples_seen.tolist() == [50, 250, 50.25, 700]
    assert runs.run_names == ("a b, seed 0", "a b, seed 1", "c", "a b=0.5 c=0.5")


def csv_text(sep=","):
    return TABLE.to_csv(index=False, sep=sep)


def jsonl_text():
    return "\n".join(json.dumps(row) for row in ROWS) + "\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("runs.csv", csv_text()),
        ("runs.CSV", csv_text().replace("\n", "\r\n")),
        ("runs.csv", "\ufeff" + csv_text()),
        ("runs.csv", csv_text().replace(",", " , ")),
        ("runs.csv", csv_text().replace("\n", ",\n")),
        ("runs.tsv", csv_text("\t")),
        ("runs.txt", csv_text()),
        ("runs.jsonl", jsonl_text()),
        ("runs.ndjson", jsonl_text().replace("\n", "\n\n")),
        ("runs.dat", jsonl_text()),
    ],
)
def test_text_files(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content.encode())
    check(read_runs(path))
    check(read_runs(str(path)))


def test_format_overrides_the_suffix(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text(csv_text())
    check(read_runs(path, format="csv"))
    with pytest.raises(InputError, match="not JSON"):
        read_runs(path)


@pytest.mark.parametrize("content", [csv_text(), jsonl_text()])
def test_standard_input(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(content.encode())))
    check(read_runs("-"))


def test_standard_input_is_named_in_errors(monkeypatch):
    text = csv_text().replace("50.25", "x")
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(text.encode())))
    with pytest.raises(InputError, match=r"^standard input, row 3 \(line 4\), column 'samples_seen': found 'x'"):
        read_runs("-")


@pytest.mark.parametrize("name", ["runs.parquet", "runs.pq", "runs"])
def test_parquet(tmp_path, name):
    TABLE.to_parquet(tmp_path / name)
    check(read_runs(tmp_path / name))


class Interchange:
    """A data frame of some other library, known only by the interchange protocol."""

    def __init__(self, frame):
        self.frame = frame

    def __dataframe__(self, nan_as_null=False, allow_copy=True):
        return self.frame.__dataframe__(nan_as_null, allow_copy)


class ArrowStream:
    """A data frame of some other library, known only by the Arrow stream protocol."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "source",
    [
        TABLE,
        TABLE.set_index(pd.Index([5, 5, 5, 5])),
        TABLE.convert_dtypes(),
        TABLE.astype({"pool": "category"}),
        TABLE.astype(object),
        pa.Table.from_pandas(TABLE),
        ArrowStream(pa.Table.from_pandas(TABLE)),
        Interchange(TABLE),
    ],
    ids=[
        "plain",
        "odd index",
        "nullable",
        "category",
        "object",
        "arrow table",
        "arrow stream",
        "interchange",
    ],
)
def test_data_frames(source):
    check(read_runs(source))


def test_the_callers_frame_is_left_as_it_was():
    table = TABLE.rename(columns={"error": " error "})
    before = table.copy()
    check(read_runs(table))
    pd.testing.assert_frame_equal(table, before)


WITHOUT_PYARROW = """
import sys, types
sys.modules["pyarrow"] = None
import pandas as pd
from qqtjax.errors import MissingExtraError
from qqtjax.io import read_runs

for name in ("runs.csv", "runs.jsonl"):
    runs = read_runs(name)
    assert runs.pools.names == ("a b", "c") and len(runs) == 4 and runs.mixes.tolist() == [[0.5, 0.5]], name

frame = pd.read_csv("runs.csv")
assert len(read_runs(frame)) == 4
assert len(read_runs(types.SimpleNamespace(__dataframe__=frame.__dataframe__))) == 4
for source in ("runs.parquet", types.SimpleNamespace(__arrow_c_stream__=None)):
    try:
        read_runs(source)
    except MissingExtraError as problem:
        assert "pip install 'qqtjax[parquet]'" in str(problem), problem
    else:
        raise AssertionError(source)
"""


def fresh_process(program, folder, *arguments):
    """Standard output of a program in a process of its own, started in a folder."""
    path = os.pathsep.join([str(Path(qqtjax.__path__[0]).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_pyarrow_all_is_read_but_parquet_and_arrow(tmp_path):
    (tmp_path / "runs.csv").write_text(csv_text())
    (tmp_path / "runs.jsonl").write_text(jsonl_text())
    TABLE.to_parquet(tmp_path / "runs.parquet")
    fresh_process(WITHOUT_PYARROW, tmp_path)


def test_single_pools_are_never_stored_dense(tmp_path):
    pools = 2_000
    table = pd.DataFrame(
        {
            "pool": np.repeat([f"p{k}" for k in range(pools)], 5),
            "pool_size": 100.0,
            "samples_seen": np.tile([50.0, 90.0, 150.0, 250.0, 300.0], pools),
            "error": 0.5,
        }
    )
    runs = read_runs(table)
    assert len(runs.pools) == pools
    assert runs.mixes.size == 0


MEMORY = """
import pathlib, sys
from qqtjax.io import read_runs
runs = read_runs(sys.argv[1])
assert len(runs) == 1_000_000 and runs.mixes.size == 0, len(runs)
# Of this process alone: the resource module would count what its parent held when it started.
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numbers", "suffixes", "weights", "jsonl", "parquet"])
def test_a_million_rows_read_within_a_gigabyte(tmp_path, kind, rng):
    rows = 1_000_000
    table = pd.DataFrame({"pool": np.char.add("pool", rng.integers(0, 100, rows).astype(str))})
    table["pool_size"] = 12.8e6
    table["samples_seen"] = rng.uniform(1e6, 1e9, rows)
    table["error"] = rng.uniform(0.2, 1, rows)
    if kind == "suffixes":
        table["samples_seen"] = (table["samples_seen"] / 1e6).astype(str) + "M"
    if kind == "weights":
        table["weights"] = (table["pool"] + "=1").where(np.arange(rows) % 2 == 0)
    suffix = {"jsonl": "jsonl", "parquet": "parquet"}.get(kind, "csv")
    path = tmp_path / f"runs.{suffix}"
    if kind == "jsonl":
        table.to_json(path, orient="records", lines=True)
    elif kind == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(fresh_process(MEMORY, tmp_path, str(path))) * unit < 1e9
