"""What `import qqtjax` loads, and in which direction the rooms of the package import each other."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import qqtjax

PACKAGE = Path(qqtjax.__file__).parent
HEAVY = ("matplotlib", "plotly", "jinja2", "pyarrow", "flax", "pandas", "typer", "rich")

# Which rooms a room may import, beside itself and EVERYWHERE; data flows from the first to the last.
BASE = {"runs"}
LAWS = BASE | {"laws"}
SOLVED = LAWS | {"fit", "mix"}
EVERYWHERE = {"errors", "text", "plain"}
ALLOWED = {
    "errors": set(),
    "cache": set(),
    "text": set(),
    "plain": set(),
    "runs": set(),
    "checks": {"runs"},
    "laws": BASE,
    "fit": LAWS | {"checks"},
    "mix": LAWS,
    "io": LAWS | {"fit"},
    "decide": SOLVED,
    "plan": SOLVED | {"decide"},
    "design": SOLVED | {"decide"},
    "sweep": LAWS | {"mix"},
    "bakeoff": SOLVED | {"io", "decide"},
    "pools": LAWS | {"mix"},
    "plot": SOLVED | {"decide", "design", "plan", "sweep", "bakeoff", "pools", "io"},
    "report": SOLVED | {"decide", "design", "plan", "sweep", "bakeoff", "pools", "io", "plot"},
    "cli": SOLVED | {"decide", "design", "plan", "sweep", "bakeoff", "pools", "io", "plot", "report", "cache"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(file: Path) -> Iterator[str]:
    """Full names of all that a module imports anywhere in its text, inside functions too."""
    inside = file.relative_to(PACKAGE.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = list(inside[: -node.level]) if node.level else []
            source = ".".join(above + ([node.module] if node.module else []))
            # `from qqtjax import laws` names a room, `from qqtjax.laws import utility` a thing in one.
            yield from (f"{source}.{alias.name}" for alias in node.names)


def in_a_fresh_process(code: str) -> str:
    """Standard output of a program that finds this package wherever the tests found it."""
    path = os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_light_and_touches_no_setting():
    found = json.loads(
        in_a_fresh_process(
            f"""
import json, sys
import jax
before = dict(jax.config.values)
import qqtjax, qqtjax.pools
changed = sorted(name for name, value in jax.config.values.items() if before.get(name) != value)
jax.config.update("jax_num_cpu_devices", 3)  # refused once a backend has started
print(json.dumps({{
    "heavy": [name for name in {HEAVY!r} if name in sys.modules],
    "changed": changed,
    "devices": jax.device_count("cpu"),
}}))
"""
        )
    )
    assert found == {"heavy": [], "changed": [], "devices": 3}


@pytest.mark.parametrize("file", modules(), ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_rooms_import_only_what_lies_before_them(file: Path):
    room = file.relative_to(PACKAGE).with_suffix("").parts[0]
    if room == "__init__":
        return
    assert room in ALLOWED, f"{room} is a new room: say in this table what it may import"
    for name in imported(file):
        top, *rest = name.split(".")
        if top != "qqtjax":
            continue
        assert rest, "a room imports rooms, never the whole package"
        assert rest[0] in ALLOWED[room] | {room} | EVERYWHERE, f"{room} may not import {rest[0]}"


@pytest.mark.parametrize("file", modules(), ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_no_private_jax(file: Path):
    assert not [name for name in imported(file) if name.startswith(("jax._src", "jaxlib"))]


def test_the_table_of_rooms_has_no_cycle():
    """Errors in the table itself: every room may be placed after all that it may import."""
    placed: set[str] = set()
    while len(placed) < len(ALLOWED):
        ready = {room for room, needs in ALLOWED.items() if room not in placed and needs <= placed}
        assert ready, f"cycle among {set(ALLOWED) - placed}"
        placed |= ready
