"""How long do `qqt plan` and `import qqtjax` take from a cold start?

    python -m benchmarks.plan_cold

New processes, nothing cached: `qqt plan` on the runs that come with the package, compilation included; then again with
the compiled programs of the first run. `import qqtjax` after `import jax` in the same process, beside `import jax`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks import record

PROGRAM = "from qqtjax.cli import main; main(['plan'])"
IMPORTS = """
import time
a = time.perf_counter()
import jax
b = time.perf_counter()
import qqtjax
print(b - a, time.perf_counter() - b)
"""


def plan_seconds(cache: str) -> float:
    """Wall seconds of one process."""
    start = time.perf_counter()
    environment = {**os.environ, "QQTJAX_CACHE": cache}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Time both and write the results."""
    cold = [plan_seconds("0") for _ in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        plan_seconds(folder)
        cached = [plan_seconds(folder) for _ in range(3)]
    imports = []
    for _ in range(7):
        done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
        imports.append([float(part) for part in done.stdout.split()])
    jax_seconds, ours = (statistics.median(column) for column in zip(*imports, strict=True))
    page = f"""# Cold start

| | seconds (median) |
|---|---|
| `qqt plan`, nothing cached | {statistics.median(cold):.1f} |
| `qqt plan`, compiled programs cached | {statistics.median(cached):.1f} |
| `import jax` | {jax_seconds:.2f} |
| `import qqtjax` after it | {ours:.2f} |
"""
    figures = {"plan_cold": cold, "plan_cached": cached, "imports": imports}
    record.write("plan_cold", "python -m benchmarks.plan_cold", figures, page)


if __name__ == "__main__":
    main()
