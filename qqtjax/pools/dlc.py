"""Learning complexity without learning: the mean loss of a sample over masked copies of a frozen network."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, tree_util

from qqtjax.errors import InputError
from qqtjax.pools.finished import Finished
from qqtjax.pools.masks import Capacities, Geometric, Maskable, kernels, masked, masks_of
from qqtjax.pools.work import digest

Progress = Callable[[int, int], None]
ROWS = 256
STAGE = "dlc"


@dataclasses.dataclass(frozen=True, eq=False)
class DLC:
    """Learning complexity of N samples.

    Attributes:
        scores: `[N]` float64 mean loss over the masks: low is easy, high is hard.
        capacities: `[f]` share of the maskable weights that each mask left alive.
        losses: `[f, N]` loss of every sample under every mask, or None where it was not kept.
    """

    scores: np.ndarray
    capacities: np.ndarray
    losses: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)


def mean_masked_loss(
    loss: Callable[[Any, Any], Array],
    params: Any,
    data: Any,
    *,
    capacities: Capacities = Geometric(),  # noqa: B008 (frozen)
    maskable: Maskable = kernels,
    per_layer: bool = False,
    rows: int = ROWS,
    together: int = 1,
    keep_losses: bool = False,
    progress: Progress | None = None,
    folder: str | os.PathLike[str] | None = None,
    about: str = "",
) -> DLC:
    """Discounted learning complexity under any loss.

        DLC(x) = 1/f sum_s L(M_s * theta, x)

    Args:
        loss: `(params, batch) -> [B]`, the loss of each row of a batch (L). It is compiled once; arrays of its own
            can change between calls as those of a `jax.tree_util.Partial`.
        params: frozen parameters (theta), a pytree of arrays.
        data: a pytree of arrays with N rows each, NumPy's memory maps among them; a batch has its structure.
        capacities: `Geometric()` as released, `Linear()` as in the paper, or f shares.
        maskable: `(path, leaf) -> bool`, which leaves are masked.
        per_layer: rank the weights of every leaf for itself.
        rows: of one batch (B); memory grows with it.
        together: masks that are evaluated side by side; activations take as many times the memory.
        keep_losses: return `[f, N]` losses too.
        progress: called with rows done and N.
        folder: keep finished rows there; run again after a stop, it goes on behind them, to the same bytes.
        about: what else must be the same for that, beside data, parameters and masks: a name for the loss, whose code
            cannot be compared.

    Returns:
        `DLC`.

    Raises:
        InputError: rows that do not match, no rows, a loss that is not finite (its row is named), wrong capacities, a
            folder that holds something else.

    Source: arXiv 2402.05356v2, section 3.

    Example:
        >>> squared = lambda params, batch: (batch["x"] @ params["kernel"])[:, 0] ** 2
        >>> params = {"kernel": np.array([[2.0], [1.0]])}
        >>> mean_masked_loss(squared, params, {"x": np.eye(2)}, capacities=[1.0, 0.5]).scores
        array([4. , 0.5])
    """
    count = rows_of(data)
    size = batch_size(rows, count)
    params = jax.tree.map(jnp.asarray, params)
    masks = masks_of(params, capacities, maskable=maskable, per_layer=per_layer)
    threshold, cut = jnp.asarray(masks.threshold), jnp.asarray(masks.cut)
    at_once = min(_positive(together, "together"), len(masks))
    # A Partial inside another one would hide its arrays, and be compiled anew in every call.
    rule = loss if isinstance(loss, tree_util.Partial) else tree_util.Partial(loss)
    identity: dict[str, Any] = {}
    if folder is not None:
        identity = {
            "data": digest(data),
            "parameters": digest(params),
            "masks": digest((masks.threshold, masks.cut)),
            "loss": f"{about} {digest(rule)}",
            "rows": size,
            "together": at_once,
            "keep_losses": keep_losses,
        }
    finished = Finished(folder, STAGE, identity)
    parts = list(finished.parts)
    if parts and progress is not None:
        progress(finished.rows, count)
    for start in range(finished.rows, count, size):
        found = np.asarray(_losses(masks.places, at_once, rule, params, threshold, cut, batch_at(data, start, size)))
        if found.shape != (len(masks), size):
            raise InputError(f"loss of shape {found.shape[1:]}: expected one number for each of {size} rows")
        found = found[:, : count - start]
        _check_finite(found, masks.capacities, start)
        part = {"scores": found.mean(axis=0, dtype=np.float64)} | ({"losses": found} if keep_losses else {})
        parts.append(part)
        finished.add(part, last=start + size >= count)
        if progress is not None:
            progress(min(start + size, count), count)
    whole = {name: np.concatenate([each[name] for each in parts], axis=-1) for name in parts[0]}
    return DLC(whole["scores"], masks.capacities, whole.get("losses"))


@partial(jax.jit, static_argnums=(0, 1))
def _losses(
    places: tuple[int, ...], together: int, loss: Any, params: Any, threshold: Array, cut: Array, batch: Any
) -> Array:
    """`[f, B]` losses of one batch under every mask; compiled once for a loss, however often it is called."""

    def under(mask: tuple[Array, Array]) -> Array:
        return loss(masked(params, places, *mask), batch)

    return lax.map(under, (threshold, cut), batch_size=together if together > 1 else None)


def rows_of(data: Any) -> int:
    """How many rows the arrays of a pytree have.

    Raises:
        InputError: none, or not the same.
    """
    found = sorted({np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(data)})
    if len(found) > 1:
        raise InputError(f"arrays of {' and '.join(map(str, found))} rows: expected as many in each")
    if not found or found[0] == 0:
        raise InputError("no rows: expected arrays of at least one sample")
    return found[0]


def batch_size(rows: int, count: int) -> int:
    """Rows of a batch, where there are so many.

    Raises:
        InputError: not a whole number of at least 1.
    """
    return min(_positive(rows, "rows"), count)


def batch_at(data: Any, start: int, size: int) -> Any:
    """Rows `start, start + 1, ..` of every array as a batch of fixed size; the last row fills it up."""

    def cut(array: Any) -> np.ndarray:
        part = np.asarray(array[start : start + size])
        lacking = size - len(part)
        return np.concatenate([part, np.repeat(part[-1:], lacking, axis=0)]) if lacking else part

    return jax.tree.map(cut, data)


def _positive(number: int, name: str) -> int:
    if int(number) != number or number < 1:
        raise InputError(f"{name} {number!r}: expected a whole number of at least 1")
    return int(number)


def _check_finite(losses: np.ndarray, capacities: np.ndarray, start: int) -> None:
    """Raise `InputError` for the first row with a loss that is not finite."""
    wrong = np.argwhere(~np.isfinite(losses.T))
    if wrong.size:
        row, step = wrong[0]
        raise InputError(
            f"row {start + row}: loss {losses[step, row]} at capacity {capacities[step]:.3g}, expected a finite "
            "number; are its input and the parameters finite?"
        )
