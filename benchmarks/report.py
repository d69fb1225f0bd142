"""How large is the page of `qqt report`, how long does it take to make, and how soon does it open?

    python -m benchmarks.report

The page of the runs that come with the package, made by the command in new processes, with nothing cached and with the
compiled programs of an earlier run; opened in Debian's Chromium without a screen, from a file, each time in a new
process with a new profile. Times are those that the page itself measures from the start of its navigation.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import chromium, record

PROGRAM = "import sys; from qqtjax.cli import main; main(['report', '-o', sys.argv[1]])"
OPENED = 9
# When the numbers are there and when the page says that it is loaded; then how long all figures take, scrolled to.
TIMES = """
const done = arguments[0];
const [page] = performance.getEntriesByType("navigation");
const plots = [...document.querySelectorAll(".plot")];
let start = null;
const wait = () => {
  if (!page.loadEventEnd) return setTimeout(wait, 5);
  start ??= performance.now();
  const next = plots.find((plot) => !plot.querySelector(".main-svg"));
  const figures = performance.now() - start;
  if (!next) return done({ numbers: page.domInteractive, loaded: page.loadEventEnd, figures });
  next.scrollIntoView();
  requestAnimationFrame(wait);
};
wait();
"""


def make(file: Path, cache: str) -> float:
    """Wall seconds of one process that makes the page."""
    start = time.perf_counter()
    environment = {**os.environ, "QQTJAX_CACHE": cache, "SOURCE_DATE_EPOCH": "0"}
    subprocess.run([sys.executable, "-c", PROGRAM, str(file)], env=environment, capture_output=True, check=True)
    return time.perf_counter() - start


def open_page(file: Path) -> dict[str, Any]:
    """Milliseconds that a new browser takes with the page."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        driver = chromium.start(profile)
        try:
            driver.set_window_size(1280, 900)
            driver.get(file.as_uri())
            found = driver.execute_async_script(TIMES)
            return {**found, "version": driver.capabilities["browserVersion"]}
        finally:
            driver.quit()


def main() -> None:
    """Make, open, and write the results."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report.html")
        cold = [make(file, "0") for _ in range(3)]
        first = file.read_bytes()
        make(file, folder)
        cached = [make(file, folder) for _ in range(3)]
        same = file.read_bytes() == first
        opened = [open_page(file) for _ in range(OPENED)]
        size = file.stat().st_size
    median = {key: statistics.median(each[key] for each in opened) for key in ("numbers", "loaded", "figures")}
    slowest = max(each["loaded"] for each in opened) / 1e3
    page = f"""# The report

| | |
|---|---|
| size of the page, plotly.js included (aimed at: under 6 MB) | {size / 1e6:.2f} MB |
| opened in {OPENED} new browsers, median (aimed at: under 2 s) | {median["loaded"] / 1e3:.2f} s |
| opened, slowest of them | {slowest:.2f} s |
| all figures drawn, scrolling past them | {median["figures"] / 1e3:.2f} s more |
| `qqt report`, nothing cached, median of {len(cold)} | {statistics.median(cold):.0f} s |
| `qqt report`, compiled programs cached, median of {len(cached)} | {statistics.median(cached):.0f} s |
| the same bytes every time | {"yes" if same else "NO"} |

Chromium {opened[0]["version"]}, headless, 1280 x 900.
"""
    figures = {"size": size, "opened_ms": opened, "make_cold": cold, "make_cached": cached, "same_bytes": same}
    record.write("report", "python -m benchmarks.report", figures, page)


if __name__ == "__main__":
    main()
