"""What a sweep keeps of every axis that it reduces, worked out on the device."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array, lax

from qqtjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class TopK:
    """The k mixes with the lowest errors, best first, at every draw, size and budget.

    Attributes:
        k: how many; 1 for the best alone.

    Example:
        >>> TopK(3).k
        3
    """

    k: int = 1

    def __post_init__(self) -> None:
        if not (isinstance(self.k, int) and self.k >= 1) or isinstance(self.k, bool):
            raise InputError(f"top {self.k!r}: expected a whole number >= 1")


@dataclasses.dataclass(frozen=True)
class Quantiles:
    """Quantiles of the error over the parameter draws, at every size, budget and mix.

    Attributes:
        levels: from 0 to 1, such as 0.05, 0.5 and 0.95; linear between neighbouring draws.

    Example:
        >>> Quantiles().levels
        (0.05, 0.5, 0.95)
    """

    levels: tuple[float, ...] = (0.05, 0.5, 0.95)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "levels", tuple(float(level) for level in self.levels))
        except (TypeError, ValueError):
            raise InputError(f"quantile levels {self.levels!r}: expected numbers from 0 to 1") from None
        if not self.levels or not all(0 <= level <= 1 for level in self.levels):
            raise InputError(f"quantile levels {self.levels}: expected numbers from 0 to 1")


def lowest(errors: Array, k: int) -> tuple[Array, Array]:
    """The k lowest errors of every row and the columns they stand in, lowest first; the earlier column of equals.

    Args:
        errors: `[R, C]`.
        k: at most C.
    """
    if k == 1:
        least = jnp.min(errors, axis=1, keepdims=True)
        columns = jnp.arange(errors.shape[1], dtype=jnp.int32)
        first = jnp.min(jnp.where(errors == least, columns, errors.shape[1]), axis=1, keepdims=True)
        return least, first
    negative, columns = lax.top_k(-errors, k)
    return -negative, columns


def merge(kept: tuple[Array, Array], errors: Array, start: Array) -> tuple[Array, Array]:
    """The lowest of those kept so far and of a further tile of columns that begins at `start`.

    Args:
        kept: `[R, k]` errors, infinite where there are fewer, and their columns.
        errors: `[R, C]` of the tile; infinite beyond the last column.
        start: `[]` first column of the tile.
    """
    k = kept[0].shape[1]
    least, columns = lowest(errors, min(k, errors.shape[1]))
    values = jnp.concatenate([kept[0], least], axis=1)
    places = jnp.concatenate([kept[1], columns + start], axis=1)
    found, picked = lowest(values, k)
    return found, jnp.take_along_axis(places, picked, axis=1)
