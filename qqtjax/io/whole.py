"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from qqtjax.errors import InputError


def write_whole(content: bytes, path: str | Path) -> None:
    """Write a whole file or nothing: a temporary name in the same folder, then a rename; devices are written to.

    Args:
        content: what the file is to hold.
        path: where; a link is followed.

    Raises:
        InputError: the folder does not exist or cannot be written.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        # A device or a pipe is written to, never replaced.
        target.write_bytes(content)
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as problem:
        raise InputError(f"{target}: cannot be written ({problem.strerror})") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except OSError as problem:
        raise InputError(f"{target}: cannot be written ({problem.strerror})") from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
