"""Ctrl-C at any time: compiled code does not stop for Python's own handler, and may crash a process that leaves it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

STATUS = 128 + signal.SIGINT
# Held while a file is written, so that an interrupt leaves it whole or not there.
writing = threading.Lock()


def among_others() -> bool:
    """Is this one of several processes that `jax.distributed` brought together."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


@contextlib.contextmanager
def ends_the_process() -> Iterator[None]:
    """While in here, SIGINT ends the process with one line and status 130, whatever the main thread is doing.

    Does nothing outside the main thread, or where SIGINT is ignored or handled already.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # The number of the signal is written at once, in C; the handler itself has to wait for the interpreter.
    earlier = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, lambda *_: None)
    watcher = threading.Thread(target=_watch, args=(reader,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(earlier)
        os.close(writer)
        watcher.join()
        os.close(reader)


def _watch(reader: int) -> None:
    while received := os.read(reader, 1):
        if received[0] == signal.SIGINT:
            break
    else:
        return
    writing.acquire(timeout=5)
    terminal = sys.__stderr__  # a bar stands in for sys.stderr and would draw itself once more
    if terminal is not None:
        # It hides the cursor: clear its line and show it again.
        bar = "\r\x1b[2K\x1b[?25h" if terminal.isatty() and os.environ.get("TERM") != "dumb" else ""
        with contextlib.suppress(OSError):
            print(f"{bar}qqt: interrupted", file=terminal, flush=True)
    os._exit(STATUS)
