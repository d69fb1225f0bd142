"""Embeddings larger than the memory that they may take: the same answer, and the memory is kept to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROWS, WIDTH, MEMORY = 1_500_000, 64, 48e6  # 384 MB on disk

PROGRAM = """
import json, sys
import numpy as np
from qqtjax.pools.assignment import assign
from qqtjax.pools.kmeans import kmeans

def anonymous():  # what the process holds itself; pages of a mapped file are the system's
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))

seen = []
def told(*_):
    seen.append(anonymous())

path, folder, memory = sys.argv[1], sys.argv[2], float(sys.argv[3])
kmeans(np.load(path, mmap_mode="r")[:10_000], 50, passes=1)  # starts the backend
before = anonymous()
found = kmeans(path, 50, passes=2, memory=memory, progress=told)
labelled = assign(path, found.centroids, memory=memory, folder=folder, progress=told)
kept = labelled.select(labelled.counts // 4)
print(json.dumps({
    "grown": max(seen) - before, "chunks": len(seen) - 2, "kept": len(kept), "cosine": labelled.mean_cosine,
    "sum": int(kept.sum()),
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads memory as Linux tells it")
def test_a_file_larger_than_memory_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    file = np.lib.format.open_memmap(path, "w+", np.float32, (ROWS, WIDTH))
    rng = np.random.default_rng(0)
    for start in range(0, ROWS, 100_000):
        file[start : start + 100_000] = rng.normal(size=(100_000, WIDTH))
    file.flush()
    found = {}
    for memory in (MEMORY, 1e9):
        words = [sys.executable, "-c", PROGRAM, str(path), str(tmp_path / f"{memory:.0f}"), str(memory)]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        found[memory] = json.loads(ended.stdout)
    little, much = found[MEMORY], found[1e9]
    assert little["chunks"] > 10
    assert much["chunks"] == 1
    # Six copies of a chunk are the memory; compiling and freed pages add as much again. The whole file is 384 MB.
    assert little["grown"] < 3 * MEMORY
    assert much["grown"] > 300e6
    for name in ("kept", "cosine", "sum"):
        assert little[name] == much[name]
