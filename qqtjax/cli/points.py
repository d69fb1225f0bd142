"""How far a sweep is: a bar with its rate and the time left on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator

FIRST, EVERY = 2.0, 10.0  # seconds until the first line, and between lines

Told = Callable[[int, int], None]


@contextlib.contextmanager
def counted(what: str = "points") -> Iterator[Told]:
    """A function to call with the points done and the points in all; `what` they are called."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    rate = _Rate(what)
    with _bar(rate) if is_terminal else _lines(rate) as told:
        yield told


@contextlib.contextmanager
def _bar(rate: _Rate) -> Iterator[Told]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("starting", total=None)

        def told(done: int, total: int) -> None:
            bar.update(task, description=rate.text(done, total), completed=done, total=total)

        yield told


@contextlib.contextmanager
def _lines(rate: _Rate) -> Iterator[Told]:
    spoken = time.monotonic() + FIRST - EVERY

    def told(done: int, total: int) -> None:
        nonlocal spoken
        text = rate.text(done, total)
        now = time.monotonic()
        if now - spoken >= EVERY and done < total:
            spoken = now
            left = rate.left(done, total)
            ends = f", {left:.0f} s left" if left is not None else ""
            print(f"qqt: {text}{ends}", file=sys.stderr, flush=True)

    yield told


class _Rate:
    """Points a second since the first report: what was finished by an earlier run does not count."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.start: tuple[float, int] | None = None

    def a_second(self, done: int) -> float | None:
        now = time.monotonic()
        if self.start is None or done < self.start[1]:
            self.start = (now, done)
        seconds, points = now - self.start[0], done - self.start[1]
        return points / seconds if seconds > 0 and points > 0 else None

    def text(self, done: int, total: int) -> str:
        from qqtjax.text import show_count

        rate = self.a_second(done)
        speed = f", {show_count(rate, 3)}/s" if rate else ""
        return f"{show_count(done, 4)} of {show_count(total, 4)} {self.what}{speed}"

    def left(self, done: int, total: int) -> float | None:
        rate = self.a_second(done)
        return (total - done) / rate if rate else None
