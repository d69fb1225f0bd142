"""What a command leaves behind: a JSON text, a file, and what it says on standard error meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from qqtjax.cli import interrupt
from qqtjax.errors import InputError

# Seconds after which a stage is worth a line where there is no terminal to show a bar on.
PATIENCE = 1.0


def as_json(document: dict[str, Any]) -> str:
    """A document as strict JSON, without a final newline.

    Raises:
        ValueError: a number in it is not finite.
    """
    return json.dumps(document, indent=1, allow_nan=False)


def check_writable(path: str | None, option: str = "-o") -> None:
    """Find out before the work whether its result can be written.

    Raises:
        InputError: a folder, or a file in a folder that is missing or cannot be written.
    """
    if path is None or path == "-":
        return
    if not path.strip():
        raise InputError(f"{option}: empty, expected a file name, or - for standard output")
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{option}: {path} is a folder, expected a file name")
    if not target.parent.is_dir():
        raise InputError(f"{option}: {path}: there is no folder {target.parent}")
    place = target if target.exists() and not target.is_file() else target.parent
    if not os.access(place, os.W_OK):
        raise InputError(f"{option}: {path}: {place} cannot be written")


def write_file(text: str, path: str) -> None:
    """Write a file whole or not at all; a device or pipe is written to, a link is followed.

    Raises:
        InputError: it cannot be written.
    """
    from qqtjax.io.saved import write_text

    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            with target.open("w", encoding="utf-8") as device:
                device.write(text)
            return
        target = target.resolve()
    except OSError as problem:
        raise InputError(f"{path}: cannot be written ({problem.strerror})") from None
    with interrupt.writing:
        write_text(text, target)


class Answer(NamedTuple):
    """What goes to standard output.

    Attributes:
        text: without a final newline.
        is_document: is it JSON for a program, or text for a person.
    """

    text: str
    is_document: bool


def finish(document: dict[str, Any], shown: Callable[[], str], path: str | None, as_document: bool) -> Answer:
    """Write the file that was asked for; what goes to standard output.

    Args:
        document: the result as plain data.
        shown: the result as text, for people.
        path: the file, `-` for the document on standard output, or None.
        as_document: is the document wanted on standard output.
    """
    text = as_json(document)
    if path is not None and path != "-":
        write_file(text + "\n", path)
        print(f"qqt: wrote {path}", file=sys.stderr)
    return Answer(text, True) if as_document or path == "-" else Answer(shown(), False)


def progress(stages: int) -> contextlib.AbstractContextManager[Callable[[str], None]]:
    """Say on standard error what is being done: a bar on a terminal, elsewhere a line for each slow stage."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return _bar(stages) if is_terminal else _lines()


@contextlib.contextmanager
def _bar(stages: int) -> Iterator[Callable[[str], None]]:
    """A bar that is gone when the work is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    # Standard output is left alone: a bar must not carry off what goes into a pipe.
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("starting", total=stages)
        done = -1

        def say(text: str) -> None:
            nonlocal done
            done += 1
            bar.update(task, description=text, completed=done)

        yield say


@contextlib.contextmanager
def _lines() -> Iterator[Callable[[str], None]]:
    """A line for each stage that takes longer than one is patient."""
    timer = threading.Timer(0, lambda: None)

    def say(text: str) -> None:
        nonlocal timer
        timer.cancel()
        timer = threading.Timer(PATIENCE, lambda: print(f"qqt: {text}", file=sys.stderr, flush=True))
        timer.daemon = True
        timer.start()

    try:
        yield say
    finally:
        timer.cancel()
