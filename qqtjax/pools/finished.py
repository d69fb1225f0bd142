"""Rows that a long job has finished, kept in a folder in parts, so that a stopped job goes on behind them."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from qqtjax.pools.work import Work

EVERY = 10.0  # seconds between parts


class Finished:
    """Results of the first rows of a job, which are finished batch by batch in order.

    Args:
        folder: where they are kept; None keeps nothing.
        stage: a name for the job in the folder.
        identity: what must be the same for a stopped job to go on, as JSON holds it.

    Attributes:
        parts: what an earlier run has finished, in order: `{name: [.., rows]}` each.
        rows: how many rows these are.

    Raises:
        InputError: the folder holds something else, is damaged, or cannot be made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     first = Finished(folder, "squares", {"of": "rows"})
        ...     first.add({"square": np.array([0, 1, 4])}, last=True)
        ...     Finished(folder, "squares", {"of": "rows"}).rows
        3
    """

    def __init__(self, folder: str | os.PathLike[str] | None, stage: str, identity: dict[str, Any]) -> None:
        self.work, self.stage = Work.of(folder), stage
        self.work.begin(stage, identity)
        self.rows = 0
        self.parts: list[dict[str, np.ndarray]] = []
        while (part := self.work.load(self._name())) is not None:
            self.parts.append(part)
            self.rows += _rows(part)
        self._waiting: list[dict[str, np.ndarray]] = []
        self._written = time.monotonic()

    def add(self, batch: dict[str, np.ndarray], last: bool) -> None:
        """Take the results of the next batch; every few seconds, and for the last batch, they go to the folder.

        Args:
            batch: `{name: [.., rows]}`.
            last: nothing follows.

        Raises:
            InputError: they cannot be written.
        """
        if self.work.folder is None:
            return
        self._waiting.append(batch)
        if not last and time.monotonic() - self._written < EVERY:
            return
        part = {name: np.concatenate([each[name] for each in self._waiting], axis=-1) for name in batch}
        self.work.save(self._name(), part)
        self.rows += _rows(part)
        self._waiting, self._written = [], time.monotonic()

    def _name(self) -> str:
        return f"{self.stage}-{self.rows:012d}"


def _rows(part: dict[str, np.ndarray]) -> int:
    return next(iter(part.values())).shape[-1]
