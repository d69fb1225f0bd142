"""Several processes on one sweep: who they are, and where they wait for each other.

`jax.distributed` brings them together; each evaluates parts of its own on its own devices, so that nothing is sent
between them but the signs that the folder is ready and that all parts are written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax


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
def together() -> Iterator[int]:
    """The number of this process."""
    yield jax.process_index()
