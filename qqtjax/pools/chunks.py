"""Embeddings on their way to the devices: chunks of whole blocks, the next one read while one is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from qqtjax.errors import InputError
from qqtjax.pools.embeddings import Embeddings

# Cosines of a block that a CPU's caches hold; at least and at most so many rows of it. Accelerators take more at once.
CACHED, LEAST_ROWS, MOST_ROWS = 1 << 20, 128, 2048
ACCELERATED_ROWS = 8192
# Three chunks are alive when one is worked on, one waits and one is read; each may be on the device and here.
COPIES = 6
AXIS = "rows"
SPLIT, SAME = PartitionSpec(AXIS), PartitionSpec()


class Chunk(NamedTuple):
    """Consecutive rows on D devices, each with G blocks of B rows; the end is filled with zeros.

    Attributes:
        blocks: `[D, G, B, d]` float32.
        rows: `[D]` int32 rows of each device that count.
        start: number of the first row.
        count: rows in all.
    """

    blocks: Array
    rows: Array
    start: int
    count: int


def block_rows(clusters: int, mesh: Mesh) -> int:
    """Rows that a device works on at once (B): whatever is read at once, every row goes through the same program.

    Args:
        clusters: k, each row has so many cosines.
        mesh: the devices.

    Example:
        >>> block_rows(500, local_mesh()), block_rows(10_000, local_mesh())  # on a CPU
        (2048, 128)
    """
    if mesh.devices.flat[0].platform != "cpu":
        return ACCELERATED_ROWS
    return min(MOST_ROWS, max(LEAST_ROWS, 1 << (CACHED // clusters).bit_length() - 1))


def local_mesh() -> Mesh:
    """The devices of this process, in one row."""
    return Mesh(np.array(jax.local_devices()), (AXIS,))


class Chunks:
    """Embeddings in chunks of equal size; kept on the devices if they fit into the memory that is given.

    Args:
        source: the embeddings.
        memory: bytes that chunks may take on the devices and, while they are read, here.
        mesh: the devices.
        block: rows of a block (B).

    Raises:
        InputError: the memory does not hold six blocks.
    """

    def __init__(self, source: Embeddings, memory: float, mesh: Mesh, block: int) -> None:
        devices = mesh.size
        size = 4 * source.width * block
        if not memory >= COPIES * size:
            raise InputError(
                f"memory {memory:.12g}: expected at least {COPIES * size} bytes, six blocks of {block} rows"
            )
        blocks = -(-len(source) // block)
        whole = -(-blocks // devices) * devices * size <= memory
        most = blocks if whole else int(memory / COPIES / size)
        least = -(-blocks // most)
        each = -(-blocks // least)
        self._blocks = -(-each // devices)
        self.rows = self._blocks * devices * block
        self._source, self._mesh, self._block = source, mesh, block
        self._held: Chunk | None = None

    def __len__(self) -> int:
        return -(-len(self._source) // self.rows)

    def __iter__(self) -> Iterator[Chunk]:
        return self.since(0)

    def since(self, first: int) -> Iterator[Chunk]:
        """Chunks in order, from one on.

        Args:
            first: number of that chunk.
        """
        if len(self) == 1:
            self._held = self._held or self._read(0)
            yield from [self._held][first:]
            return
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._read, first)
            for number in range(first, len(self)):
                chunk = ahead.result()
                if number + 1 < len(self):
                    ahead = reader.submit(self._read, number + 1)
                yield chunk

    def _read(self, number: int) -> Chunk:
        start = number * self.rows
        values = self._source.read(start, start + self.rows)
        count = len(values)
        devices = self._mesh.size
        if count < self.rows:
            values = np.concatenate([values, np.zeros((self.rows - count, values.shape[1]), np.float32)])
        own = self.rows // devices
        rows = np.clip(count - own * np.arange(devices), 0, own).astype(np.int32)
        shape = (devices, self._blocks, self._block, values.shape[1])
        return Chunk(self._placed(values.reshape(shape)), self._placed(rows), start, count)

    def _placed(self, values: np.ndarray) -> Any:
        return jax.device_put(values, NamedSharding(self._mesh, SPLIT))
