"""Several processes on one sweep: who they are, and where they wait for each other.

`jax.distributed` brings them together; each evaluates parts of its own on its own devices, so that nothing is sent
between them but the signs that the folder is ready and that all parts are written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
import numpy as np

from qqtjax.errors import InputError


def count() -> int:
    """How many processes there are; 1 unless `jax.distributed` was initialised."""
    return jax.process_count()


def wait(reason: str) -> None:
    """Wait here for all processes.

    Args:
        reason: what for; the same in all of them.
    """
    if count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(reason)


@contextlib.contextmanager
def begin_together(question: str) -> Iterator[None]:
    """What every process does before any of them goes on; all of them begin, or none.

    Args:
        question: a fingerprint of what is asked, which must be the same in all of them.

    Raises:
        InputError: another process asks something else, or was refused; in the one that was, the reason is raised.
    """
    problem: Exception | None = None
    try:
        yield
    except Exception as found:  # the others wait for a word, whatever it was
        problem = found
    if count() > 1:
        from jax.experimental import multihost_utils

        word = np.array([problem is None, *np.frombuffer(bytes.fromhex(question), np.uint8)], np.int32)
        words = np.asarray(multihost_utils.process_allgather(word))
        refused = np.flatnonzero(words[:, 0] == 0)
        if problem is None and len(refused):
            problem = InputError(f"process {refused[0]} could not begin: see what it says")
        if problem is None and np.any(words != words[0]):
            problem = InputError("the processes were asked different things: expected the same command in all of them")
    if problem is not None:
        raise problem
