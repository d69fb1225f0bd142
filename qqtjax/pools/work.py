"""A working folder: what is finished of a long job, so that a stopped one goes on instead of starting again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from jax import tree_util

from qqtjax.errors import InputError
from qqtjax.pools.stored import whole_file

BLOCK = 1 << 24  # bytes that are read at once for a digest


@dataclasses.dataclass(frozen=True)
class Work:
    """Finished stages of a job as `STAGE.npz`, each beside a `STAGE.json` that says what it belongs to.

    Attributes:
        folder: where; None keeps nothing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     work = Work.of(folder)
        ...     work.begin("sums", {"seed": 0})
        ...     work.save("sums", {"total": np.array(6)})
        ...     int(Work.of(folder).load("sums")["total"])
        6
    """

    folder: Path | None

    @classmethod
    def of(cls, folder: str | os.PathLike[str] | None) -> Work:
        """The folder, made where it is missing.

        Raises:
            InputError: it cannot be made.
        """
        if folder is None:
            return cls(None)
        path = Path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise InputError(f"{folder}: cannot be made ({problem.strerror})") from None
        return cls(path)

    def begin(self, stage: str, identity: dict[str, Any]) -> None:
        """Say what a stage belongs to, or find that it is this very one.

        Args:
            stage: its name.
            identity: what must be the same for it to go on, as JSON holds it.

        Raises:
            InputError: the folder holds this stage of something else, or cannot be written.
        """
        if self.folder is None:
            return
        path = self.folder / f"{stage}.json"
        if not path.exists():
            with whole_file(path) as temporary:
                temporary.write_text(json.dumps(identity, indent=1) + "\n", encoding="utf-8")
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise InputError(f"{path}: damaged; remove the folder {self.folder} and start again")
        differ = [what for what in {**identity, **found} if identity.get(what) != found.get(what)]
        if differ:
            raise InputError(
                f"{self.folder}: holds the work of something else ({', '.join(differ)} differ); give another folder, "
                "or remove this one"
            )

    def save(self, stage: str, arrays: dict[str, np.ndarray]) -> None:
        """Write the state of a stage, whole or not at all; without a folder nothing happens.

        Args:
            stage: its name.
            arrays: its state.

        Raises:
            InputError: it cannot be written.
        """
        if self.folder is None:
            return
        with whole_file(self.folder / f"{stage}.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]

    def load(self, stage: str) -> dict[str, np.ndarray] | None:
        """The state that `save` wrote, or None where there is none.

        Args:
            stage: its name.

        Raises:
            InputError: it is damaged.
        """
        path = self.folder and self.folder / f"{stage}.npz"
        if path is None or not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            raise InputError(f"{path}: damaged; remove the folder {self.folder} and start again") from None


def digest(tree: Any) -> str:
    """16 hexadecimal digits of all arrays of a pytree and their places; memory maps are read a piece at a time.

    Example:
        >>> digest({"a": np.zeros(3)}) == digest({"a": np.zeros(3)}) != digest({"b": np.zeros(3)})
        True
    """
    found = hashlib.sha256()
    for path, leaf in tree_util.tree_flatten_with_path(tree)[0]:
        array = leaf if isinstance(leaf, np.ndarray) else np.asarray(leaf)
        found.update(f"{tree_util.keystr(path)} {array.dtype.str}{array.shape};".encode())
        rows = np.atleast_1d(array)
        step = max(BLOCK // max(rows[:1].nbytes, 1), 1)
        for start in range(0, len(rows), step):
            found.update(np.ascontiguousarray(rows[start : start + step]).tobytes())
    return found.hexdigest()[:16]
