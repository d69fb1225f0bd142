"""Samples picked one after the other within groups: what herding and k-center share."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from qqtjax.errors import InputError

# (features [M, D], there [M] bool, picks) -> [M] place of each row among the picks; rows not picked get `picks`.
Pick = Callable[[Array, Array, Array], Array]
LEAST = 64  # rows of the smallest compiled shape


def picked_in_groups(pick: Pick, features: ArrayLike, picks: ArrayLike, groups: ArrayLike | None) -> np.ndarray:
    """When each sample is picked within its group.

    Groups are padded to powers of two, so that a pick is compiled for a few shapes, not for every size.

    Args:
        pick: the rule.
        features: `[N, D]`.
        picks: how many to pick in each group: one number (at most the group's size is taken), or `[G]` in the order
            of the sorted groups.
        groups: `[N]` group (a class, a cluster) of each sample, or None for one group.

    Returns:
        `[N]` float64: 0 for the first sample picked in its group, 1 for the next; the number of its group's picks
        for the samples that are not picked.

    Raises:
        InputError: features that are no finite matrix, groups or picks that do not match, picks beyond a group.
    """
    rows = checked_features(features)
    index = (
        np.zeros(len(rows), int)
        if groups is None
        else np.unique(checked_groups(groups, len(rows)), return_inverse=True)[1]
    )
    sizes = np.bincount(index)
    wanted = np.asarray(picks)
    if wanted.dtype.kind not in "iu" or np.any(wanted < 0) or wanted.shape not in ((), sizes.shape):
        raise InputError(f"picks {wanted.tolist()}: expected a whole number, or one for each of {len(sizes)} groups")
    if wanted.ndim and np.any(wanted > sizes):
        group = int(np.argmax(wanted > sizes))
        raise InputError(f"picks: {wanted[group]} of group {group}, which has {sizes[group]} samples")
    wanted = np.minimum(wanted, sizes)
    found = np.empty(len(rows), np.float64)
    for group, (size, count) in enumerate(zip(sizes, wanted, strict=True)):
        members = np.flatnonzero(index == group)
        padded = max(LEAST, 1 << int(size - 1).bit_length())
        block = np.zeros((padded, rows.shape[1]), rows.dtype)
        block[:size] = rows[members]
        found[members] = pick(jnp.asarray(block), jnp.arange(padded) < size, jnp.asarray(count, jnp.int32))[:size]
    return found


def checked_features(features: ArrayLike) -> np.ndarray:
    """`[N, D]` features.

    Raises:
        InputError: another shape, or a row that is not finite.
    """
    rows = np.asarray(features)
    if rows.ndim != 2 or not rows.size or rows.dtype.kind not in "fiub":
        raise InputError(f"features of shape {rows.shape} and type {rows.dtype}: expected [N, D] numbers")
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise InputError(f"features: row {int(bad.argmax())} is not finite")
    return rows if rows.dtype.kind == "f" else rows.astype(np.float64)


def checked_groups(groups: ArrayLike, count: int) -> np.ndarray:
    """`[N]` groups.

    Raises:
        InputError: not one for each sample.
    """
    found = np.asarray(groups)
    if found.shape != (count,):
        raise InputError(f"groups of shape {found.shape}: expected one for each of {count} samples")
    return found
