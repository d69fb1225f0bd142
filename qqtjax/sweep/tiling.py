"""How a sweep is cut: blocks of one shape for a device, and parts of several blocks, each finished and kept as one."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from qqtjax.errors import InputError

# Points of one block: on a CPU so many that the host's share of the work on a block is small.
POINTS = {"cpu": 1 << 19}
MANY_POINTS = 1 << 22  # on an accelerator
COLUMNS = 1 << 13
PART, PART_KEPT = 1 << 22, 1 << 23  # points of a part; more where little of them is kept
GROUP = 8  # a part has a multiple of so many blocks, so that as many devices are busy
BYTES = 144  # of a result while some parts are evaluated and others written
SCRATCH = 24  # arrays of the size of a block's inputs that a compiled block may hold
SHARE = 8  # of the memory goes to one block


@dataclasses.dataclass(frozen=True)
class Tiling:
    """Rows x columns in blocks and parts; nothing in it depends on how many devices or processes there are.

    Attributes:
        rows: how many there are.
        columns: how many there are.
        row_block: rows of one block.
        column_block: columns of one block.
        blocks: blocks, one below the other, of one part.
        spans: does a part span all columns, tile after tile, instead of one tile.
    """

    rows: int
    columns: int
    row_block: int
    column_block: int
    blocks: int
    spans: bool

    @property
    def tiles(self) -> int:
        """Tiles of columns."""
        return -(-self.columns // self.column_block)

    @property
    def row_parts(self) -> int:
        """Parts below one another."""
        return -(-self.rows // (self.row_block * self.blocks))

    @property
    def parts(self) -> int:
        """How many parts there are; they are numbered tile by tile."""
        return self.row_parts * (1 if self.spans else self.tiles)

    def part_rows(self, part: int) -> tuple[int, int]:
        """First row of a part, and the one after its last."""
        height = self.row_block * self.blocks
        start = part % self.row_parts * height
        return start, min(start + height, self.rows)

    def part_columns(self, part: int) -> tuple[int, int]:
        """First column of a part, and the one after its last."""
        if self.spans:
            return 0, self.columns
        return self.tile(part // self.row_parts)

    def tile(self, number: int) -> tuple[int, int]:
        """First column of a tile, and the one after its last."""
        start = number * self.column_block
        return start, min(start + self.column_block, self.columns)


def tile(
    rows: int,
    columns: int,
    pools: int,
    itemsize: int,
    memory: float,
    platform: str,
    *,
    whole: bool = False,
    spans: bool = False,
    kept: int = 1,
) -> Tiling:
    """Cut rows x columns so that a block, and the results of a part, fit into the memory.

    Args:
        rows: how many there are.
        columns: how many there are.
        pools: P.
        itemsize: bytes of a number.
        memory: bytes.
        platform: of the devices: cpu, gpu or tpu.
        whole: must a block hold all columns.
        spans: as in `Tiling`.
        kept: results of a row, where parts span all columns.

    Raises:
        InputError: a block must hold all columns, and they do not fit.

    Example:
        >>> cut = tile(10_000, 1771, 4, 4, 2**30, "cpu")
        >>> cut.row_block, cut.column_block, cut.blocks, cut.parts
        (197, 1771, 16, 4)
    """
    fits = int(memory / SHARE / (SCRATCH * pools * itemsize))
    if whole and columns > fits:
        raise InputError(
            f"{columns} draws at once do not fit into the memory: expected at most {fits}, or more memory="
        )
    points = max(1, min(POINTS.get(platform, MANY_POINTS), fits))
    widest = columns if whole else min(COLUMNS, points)
    tiles = math.ceil(columns / widest)
    width = math.ceil(columns / tiles)
    height = max(1, min(points // max(width, kept), rows))
    inside, results = (columns, kept) if spans else (width, width)
    part = min(PART_KEPT if spans else PART, memory / BYTES * inside / results)
    groups = max(1, min(math.ceil(part / (GROUP * height * inside)), math.ceil(rows / (GROUP * height))))
    return Tiling(rows, columns, height, width, GROUP * groups, spans)


def numbers(start: int, count: int, limit: int) -> np.ndarray:
    """`[count]` start, start + 1, ..; those beyond the limit repeat the last one."""
    return np.minimum(np.arange(start, start + count, dtype=np.int64), limit - 1)
