"""Docstrings of Python's standard library: text with a natural label (its module) and a natural prompt (its signature).

It differs a little from one version of Python to the next; results name the version.
"""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SKIPPED = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "turtledemo", "ensurepip"}
LEAST, MOST = 25, 400  # characters of a docstring


class Docstring(NamedTuple):
    """One documented function.

    Attributes:
        module: top-level module or package.
        signature: as in `def name(arguments)`.
        text: the first paragraph of its docstring.
    """

    module: str
    signature: str
    text: str


def files() -> Iterator[tuple[str, str]]:
    """Module and source of every file of the standard library, in the order of their paths."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if SKIPPED.isdisjoint(parts):
            yield parts[0], path.read_text(encoding="utf-8", errors="replace")


def docstrings() -> list[Docstring]:
    """Documented functions, every text once."""
    found: dict[str, Docstring] = {}
    for module, source in files():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in old code
            tree = ast.parse(source)
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
            if LEAST <= len(text) <= MOST and text.isascii():
                signature = f"def {node.name}({ast.unparse(node.args)})"
                found.setdefault(text, Docstring(module, signature, text))
    return list(found.values())
