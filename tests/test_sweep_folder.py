"""Sweeps on disk: the same numbers and bytes however they were stopped, refused folders, devices and processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pyarrow.dataset
import pyarrow.parquet
import pytest

import qqtjax as qqt
from qqtjax.sweep.folder import LOCK, finished, locked, part_path

PAPER = qqt.published("datacomp-tmars").utility
LEAST = 2**24  # the least memory: many small parts
ASK = {"budgets": np.geomspace(1e7, 1e10, 500), "weights": qqt.Simplex(0.05), "memory": LEAST, "dtype": "float32"}
# The same as a program of its own: its folder, and what to set before JAX starts.
PROGRAM = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[2]))
if len(sys.argv) > 3:
    jax.distributed.initialize(sys.argv[3], 2, int(sys.argv[4]))
import numpy as np
import qqtjax as qqt
paper = qqt.published("datacomp-tmars").utility
kind = sys.argv[1].rsplit("/", 1)[1].split(".")[0]
ask = {"budgets": np.geomspace(1e7, 1e10, 500), "weights": qqt.Simplex(0.05), "memory": 2**24, "dtype": "float32"}
if kind == "best":
    ask["reduce"] = qqt.TopK(2)
if kind == "optimize":
    ask = {"budgets": np.geomspace(1e7, 1e10, 70), "optimize": True}
if kind == "zipped":
    ask |= {"weights": np.random.default_rng(0).dirichlet(np.ones(4), 300_000), "zipped": True}
    ask["budgets"] = np.geomspace(1e7, 1e10, 300_000)
qqt.sweep(paper, out=sys.argv[1], progress=lambda done, total: print(done, flush=True), **ask)
if len(sys.argv) > 3:
    jax.distributed.shutdown()
"""

LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from qqtjax.cli import main
main()
"""
HOLDER = """
import pathlib, sys
from qqtjax.sweep.folder import locked
with locked(pathlib.Path(sys.argv[1]), 0):
    print(1, flush=True)
    sys.stdin.read()
"""


def program(*words: object, code: str = PROGRAM, **how: object) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(Path(qqt.__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], env=environment, **{**pipes, **how})


def wait_for_a_block(process: subprocess.Popen[str]) -> None:
    """Until a sweep has told of a block: its folder is there, and it evaluates."""
    assert process.stdout is not None
    while (line := process.stdout.readline()) in ("0\n",):
        pass
    assert line


def digests(folder: Path) -> dict[str, str]:
    """The bytes of everything but the lock."""
    files = [file for file in sorted(folder.iterdir()) if not file.name.startswith(LOCK)]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def run(*words: object) -> None:
    process = program(*words)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of several parts that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    qqt.sweep(PAPER, out=folder, **ASK)
    assert len(finished(folder)) > 3
    return folder


def test_a_folder_holds_what_memory_would(whole: Path) -> None:
    in_memory = qqt.sweep(PAPER, **{**ASK, "memory": 2**30})
    found = qqt.load_sweep(whole)
    assert found.axes.names == in_memory.axes.names == ("budget", "mix")
    np.testing.assert_allclose(found.error, in_memory.error, rtol=1e-6)
    np.testing.assert_array_equal(found.weights, in_memory.weights)
    assert found.head(5).equals(qqt.load_sweep(whole).frame().head(5))


@pytest.mark.parametrize("reduce", [qqt.TopK(2), qqt.Quantiles((0.1, 0.9))])
def test_reductions_come_back(reduce: object, tmp_path: Path) -> None:
    draws = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), PAPER.params)
    ask = {**ASK, "draws": draws, "budgets": ASK["budgets"][:3], "reduce": reduce, "dtype": "float64"}
    written, in_memory = qqt.sweep(PAPER, out=tmp_path / "out", **ask), qqt.sweep(PAPER, **ask)
    for name, values in in_memory.columns.items():
        np.testing.assert_array_equal(written.columns[name], values)
    assert written.axes.levels == in_memory.axes.levels


def test_other_readers_find_every_point_at_its_place(whole: Path) -> None:
    table = pyarrow.dataset.dataset(whole, exclude_invalid_files=True).to_table().to_pandas()
    assert sorted(table.columns) == ["budget", "error", "mix"]
    assert len(table) == 500 * 1771
    some = table.sample(20, random_state=0)
    mixes = qqt.Simplex(0.05).rows(some["mix"].to_numpy(), 4)
    for (_, row), mix in zip(some.iterrows(), mixes, strict=True):
        expected = PAPER.predict(mix, ASK["budgets"][int(row["budget"])])
        assert row["error"] == pytest.approx(float(expected), rel=1e-5)


def test_missing_parts_are_made_again_with_the_same_bytes(whole: Path) -> None:
    before = digests(whole)
    part_path(whole, 1).unlink()
    (whole / ".part-00000001.parquet.1.unfinished.parquet").write_bytes(b"half of it")
    with pytest.raises(qqt.InputError, match=r"1 of \d+ parts are missing; run the same sweep again"):
        qqt.load_sweep(whole)
    told = []
    qqt.sweep(PAPER, out=whole, progress=lambda done, total: told.append((done, total)), **ASK)
    assert digests(whole) == before
    assert told[-1][0] == pytest.approx(told[-1][1], rel=0.1)
    assert told[0][0] > 0.3 * told[0][1]  # what was there does not count as work of now


def killed(folder: Path, seconds: float, *words: object) -> bool:
    """Start a sweep and kill it so long after its first block; was it still running?"""
    with program(folder, *words, start_new_session=True) as process:
        wait_for_a_block(process)
        time.sleep(seconds)
        running = process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return running


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_sweep_ends_with_the_same_bytes(whole: Path, tmp_path: Path, kills: int) -> None:
    rng = np.random.default_rng(kills)
    folder, stopped = tmp_path / "out", 0
    for _ in range(kills):
        stopped += killed(folder, rng.uniform(0, 0.1), 1)
    assert stopped > 0
    qqt.sweep(PAPER, out=folder, **ASK)
    assert digests(folder) == digests(whole)


@pytest.mark.parametrize("kind", ["errors", "best", "zipped", pytest.param("optimize", marks=pytest.mark.slow)])
def test_the_bytes_are_those_of_one_device_on_two_and_eight(kind: str, tmp_path: Path) -> None:
    for devices in (1, 2, 8):
        run(tmp_path / f"{kind}.{devices}", devices)
    first = digests(tmp_path / f"{kind}.1")
    assert first == digests(tmp_path / f"{kind}.2") == digests(tmp_path / f"{kind}.8")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def two_processes(folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes of two devices each on one folder."""
    address = f"127.0.0.1:{free_port()}"
    started = [program(folder, 2, address, number, start_new_session=True) for number in (0, 1)]
    try:
        yield started
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_two_processes_write_what_one_does(whole: Path, tmp_path: Path) -> None:
    with two_processes(tmp_path / "out") as started:
        for process in started:
            _, err = process.communicate(timeout=240)
            assert process.returncode == 0, err
    assert digests(tmp_path / "out") == digests(whole)


def test_two_processes_are_refused_together(whole: Path) -> None:
    before = digests(whole)
    (whole / "manifest.json").write_text((whole / "manifest.json").read_text().replace('"float32"', '"float16"'))
    with two_processes(whole) as started:
        ended = [(process.communicate(timeout=240)[1], process.returncode) for process in started]
    assert all(status for _, status in ended)
    assert "holds another sweep (dtype differ)" in ended[0][0]
    assert "process 0 could not begin" in ended[1][0]
    (whole / "manifest.json").write_text((whole / "manifest.json").read_text().replace('"float16"', '"float32"'))
    assert digests(whole) == before


def test_processes_that_are_asked_different_things_are_refused(tmp_path: Path) -> None:
    address, code = f"127.0.0.1:{free_port()}", PROGRAM.replace("geomspace(1e7", "geomspace(float(sys.argv[4]) + 1e7")
    started = [program(tmp_path / "out", 2, address, number, code=code) for number in (0, 1)]
    ended = [(process.communicate(timeout=240)[1], process.returncode) for process in started]
    assert all(status and "the processes were asked different things" in err for err, status in ended)
    assert not finished(tmp_path / "out")


def test_one_of_two_processes_is_killed(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with two_processes(folder) as started:
        wait_for_a_block(started[1])
        os.killpg(started[1].pid, signal.SIGKILL)
        started[1].wait()
        os.killpg(started[0].pid, signal.SIGKILL)
    assert finished(folder) < finished(whole)
    with two_processes(folder) as started:
        for process in started:
            _, err = process.communicate(timeout=240)
            assert process.returncode == 0, err
    assert digests(folder) == digests(whole)


def test_another_sweep_is_refused(whole: Path) -> None:
    before = digests(whole)
    for change, name in (
        ({"budgets": ASK["budgets"][1:]}, "grid"),
        ({"dtype": "float64"}, "dtype"),
        ({"reduce": qqt.TopK(1)}, "reduce"),
    ):
        with pytest.raises(qqt.InputError, match=f"holds another sweep .*{name}.* differ"):
            qqt.sweep(PAPER, out=whole, **{**ASK, **change})
    with pytest.raises(qqt.InputError, match=r"holds another sweep \(fit, grid differ\)"):
        qqt.sweep(PAPER.with_params(floor=0.2), out=whole, **ASK)
    assert digests(whole) == before


def test_two_sweeps_on_one_folder_are_refused(whole: Path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(whole)], **pipes) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(qqt.InputError, match="another sweep is writing there"):
            qqt.sweep(PAPER, out=whole, **ASK)
        other.communicate("")
    with locked(whole, 0):
        pass


def test_folders_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(qqt.InputError, match="cannot be written"):
        qqt.sweep(PAPER, out=tmp_path / "file", **ASK)
    with pytest.raises(qqt.InputError, match="not empty and no sweep"):
        qqt.sweep(PAPER, out=tmp_path, **ASK)
    with pytest.raises(qqt.InputError, match="no sweep there"):
        qqt.load_sweep(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(qqt.InputError, match="not the manifest of a sweep"):
        qqt.load_sweep(tmp_path)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    qqt.sweep(PAPER, budgets=[1e8], weights=qqt.Simplex(0.25), out=folder)
    part_path(folder, 0).write_bytes(b"PAR1 no")
    with pytest.raises(qqt.InputError, match=r"part-00000000.parquet: cannot be read .* remove it and sweep again"):
        _ = qqt.load_sweep(folder).error
    pyarrow.parquet.write_table(pyarrow.table({"other": [1]}), part_path(folder, 0))
    with pytest.raises(qqt.InputError, match=r"damaged \(KeyError"):
        _ = qqt.load_sweep(folder).error
    for content in (b"", b"PK no"):
        (folder / "axes.npz").write_bytes(content)
        with pytest.raises(qqt.InputError, match=r"axes.npz: cannot be read"):
            qqt.load_sweep(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({key: manifest[key] for key in ("schema", "schema_version")}))
    with pytest.raises(qqt.InputError, match="damaged"):
        qqt.load_sweep(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_full_disk_is_one_line_and_loses_nothing(whole: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk: small files fit, a part does not."""
    folder = tmp_path / "out"
    command = ["sweep", "--published", "datacomp-tmars", "--budgets", "10M:10B:log:500", "--weights", "simplex:.05"]
    command += ["--dtype", "float32", "--memory", str(LEAST), "-o", str(folder)]
    environment = {**os.environ, "QQTJAX_CACHE": "0"}

    def swept(code: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", code, *command]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    ended = swept(LIMITED)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"qqt: error: {folder}: cannot be written (")
    assert not [file for file in folder.iterdir() if "unfinished" in file.name]
    ended = swept("from qqtjax.cli import main; main()")
    assert ended.returncode == 0, ended.stderr
    assert json.loads((folder / "manifest.json").read_text())["parts"] == len(finished(folder)) == len(finished(whole))
