"""Results of a benchmark: what it ran on, its figures, and the command, as JSON and as a page."""

from __future__ import annotations

import datetime
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("jax", "jaxlib", "optax", "numpy", "scipy")


def environment() -> dict[str, Any]:
    """Versions and hardware that a figure depends on."""
    import jax

    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [line.split(":", 1)[1] for line in information.read_text().splitlines() if "model name" in line]
        model = names[0].strip() if names else model
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": model,
        "cores": os.cpu_count(),
        "devices": [str(device.device_kind) for device in jax.devices()],
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def write(name: str, command: str, figures: dict[str, Any], page: str) -> None:
    """Print the page and write it with the figures to `benchmarks/results/NAME.{md,json}`.

    On an accelerator its kind becomes part of the name, so that the figures of a CPU stay.
    """
    where = environment()
    kind = where["devices"][0]
    if kind != "cpu":
        name = f"{name}_{'_'.join(kind.lower().split())}"
    machine = ", ".join(f"{key} {value}" for key, value in where.items() if key not in ("devices", "date"))
    if kind != "cpu":
        machine = f"{len(where['devices'])} x {kind}, {machine}"
    text = f"{page.rstrip()}\n\n`{command}` on {where['date']}: {machine}.\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text)
    record = {"command": command, "environment": where, "figures": figures}
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
