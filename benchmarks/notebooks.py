"""Run the notebooks and write each beside its script, with what it printed and drew.

python -m benchmarks.notebooks [NAME ...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbclient
import nbformat

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = tuple(sorted(each.stem for each in FOLDER.glob("*.py")))
SECONDS = 600


def executed(name: str) -> Any:
    """The notebook of that name, run from its script in an empty folder; nothing in it depends on when or where.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell that fails.
    """
    script = jupytext.read(FOLDER / f"{name}.py")
    with tempfile.TemporaryDirectory() as empty:
        client = nbclient.NotebookClient(
            script, timeout=SECONDS, kernel_name="python3", record_timing=False, resources={"metadata": {"path": empty}}
        )
        client.execute()
    script.metadata.pop("language_info", None)
    for number, cell in enumerate(script.cells):
        cell["id"] = f"cell-{number}"
        for output in cell.get("outputs", ()):
            # What one drew counts, not the text that stands for it.
            if "image/png" in output.get("data", {}):
                output["data"].pop("text/plain", None)
    return script


def main() -> None:
    """Run the named notebooks, or all of them, and write their pairs."""
    for name in sys.argv[1:] or NAMES:
        print(f"{name} ..", flush=True)
        nbformat.write(executed(name), FOLDER / f"{name}.ipynb")


if __name__ == "__main__":
    main()
