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
def first_alone() -> Iterator[bool]:
    """What the first process does before the others go on: is this the first?

    Raises:
        InputError: it was refused in the first; there the reason is raised.
    """
    problem: Exception | None = None
    first = jax.process_index() == 0
    try:
        yield first
    except Exception as found:  # the others wait for a word, whatever it was
        problem = found
    if count() > 1:
        from jax.experimental import multihost_utils

        fine = multihost_utils.broadcast_one_to_all(np.int32(problem is None))
        if problem is None and not fine:
            raise InputError("the first process could not begin: see what it says")
    if problem is not None:
        raise problem
