"""Learning complexity for classification: cross-entropy of distances to the class centroids of frozen features."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax, tree_util
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.pools.dlc import DLC, ROWS, Progress, batch_at, batch_size, mean_masked_loss, rows_of
from qqtjax.pools.masks import Capacities, Geometric, Maskable, kernels

NEAREST = 1e-12  # least squared distance, so that its inverse stays finite


def inverse_distance(features: Array, centroids: Array, labels: Array) -> Array:
    """Cross-entropy with the inverse distances as logits, as released.

        logits_k = 1 / ||z - c_k||

    The softmax is nearly uniform where distances are large: only the order of the losses means something.

    Args:
        features: `[B, D]` (z).
        centroids: `[K, D]` (c).
        labels: `[B]` int, the class of each row.

    Returns:
        `[B]` losses.

    Example:
        >>> loss = inverse_distance(jnp.array([[3.0, 0.0]]), jnp.array([[1.0, 0.0], [7.0, 0.0]]), jnp.array([0]))
        >>> round(float(loss[0]), 4)  # log(1 + exp(1/4 - 1/2))
        0.5759
    """
    return optax.softmax_cross_entropy_with_integer_labels(lax.rsqrt(_squared(features, centroids)), labels)


def squared_distance(features: Array, centroids: Array, labels: Array) -> Array:
    """Cross-entropy with the negative squared distances as logits: that of a Gaussian of unit variance a class.

        logits_k = -||z - c_k||^2

    Args:
        features: `[B, D]` (z).
        centroids: `[K, D]` (c).
        labels: `[B]` int, the class of each row.

    Returns:
        `[B]` losses.
    """
    return optax.softmax_cross_entropy_with_integer_labels(-_squared(features, centroids), labels)


def _squared(features: Array, centroids: Array) -> Array:
    """`[B, K]` squared distances; features are centred first, so that the expansion loses few digits."""
    middle = centroids.mean(axis=0)
    z, c = features - middle, centroids - middle
    products = jnp.matmul(z, c.T, precision=lax.Precision.HIGHEST)
    found = jnp.sum(z * z, axis=1)[:, None] - 2 * products + jnp.sum(c * c, axis=1)[None, :]
    return jnp.maximum(found, NEAREST)


def pooled(features: Array) -> Array:
    """`[B, D]` features: the mean over all axes between the first and the last (places of an image, tokens).

    Example:
        >>> pooled(jnp.arange(12.0).reshape(1, 2, 3, 2))
        Array([[5., 6.]], dtype=float32)
    """
    return features.mean(axis=tuple(range(1, features.ndim - 1))) if features.ndim > 2 else features


@partial(jax.jit, static_argnums=0)
def _features(apply: Callable[[Any, Any], Array], params: Any, batch: Any) -> Array:
    return pooled(apply(params, batch))


def class_centroids(
    apply: Callable[[Any, Any], Array], params: Any, inputs: Any, labels: ArrayLike, rows: int = ROWS
) -> np.ndarray:
    """Mean features of every class under the whole network.

    Args:
        apply: `(params, batch) -> features` of shape `[B, .., D]`; axes in between are averaged.
        params: its parameters.
        inputs: a pytree of arrays with N rows each.
        labels: `[N]` int from 0 to K - 1, each there at least once.
        rows: of one batch.

    Returns:
        `[K, D]` centroids (c_k), summed in float64.

    Raises:
        InputError: features that are not finite (the row is named), or without an axis for them.
    """
    count, labels = rows_of((inputs, labels)), np.asarray(labels)
    size = batch_size(rows, count)
    total = None
    for start in range(0, count, size):
        found = np.asarray(_features(apply, params, batch_at(inputs, start, size)), np.float64)
        if found.ndim != 2 or len(found) != size:
            raise InputError(f"features of shape {found.shape}: expected a row of them for each of {size} samples")
        found = found[: count - start]
        bad = ~np.isfinite(found).all(axis=1)
        if bad.any():
            row = start + int(bad.argmax())
            raise InputError(f"row {row}: features that are not finite; are its input and the parameters finite?")
        total = np.zeros((labels.max() + 1, found.shape[1])) if total is None else total
        np.add.at(total, labels[start : start + size], found)
    assert total is not None  # there is at least one row
    return total / np.bincount(labels)[:, None]


@dataclasses.dataclass(frozen=True)
class _ToCentroids:
    """The loss of a batch; equal for equal functions, so that it is compiled once."""

    apply: Callable[[Any, Any], Array]
    loss: Callable[[Array, Array, Array], Array]

    def __call__(self, centroids: Array, params: Any, batch: Any) -> Array:
        features = pooled(self.apply(params, batch[0]))
        if features.ndim != 2 or features.shape[1] != centroids.shape[1]:
            raise InputError(f"features of shape {features.shape}: expected {centroids.shape[1]} for each sample")
        return self.loss(features, centroids.astype(features.dtype), batch[1])


def dlc_scores(
    apply: Callable[[Any, Any], Array],
    params: Any,
    inputs: Any,
    labels: ArrayLike,
    *,
    centroids: ArrayLike | None = None,
    loss: Callable[[Array, Array, Array], Array] = inverse_distance,
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
    """Learning complexity of labelled samples under a frozen pretrained network, without training anything.

        DLC(x, y) = 1/f sum_s CE( logits(z(x; M_s * theta), c), y ),   c_k = mean of z(x; theta) over class k

    Args:
        apply: `(params, batch) -> features` (z) of shape `[B, .., D]`; axes in between are averaged. For a flax NNX
            module: `dlc_scores(*functional(module), inputs, labels)`.
        params: its parameters (theta).
        inputs: an array of N rows, or a pytree of them; memory maps are read batch by batch.
        labels: `[N]` classes, numbers or texts; whole numbers from 0 where centroids are given.
        centroids: `[K, D]` of a larger set, as `class_centroids` gives them; by default those of these samples.
        loss: `(features, centroids, labels) -> [B]`: `inverse_distance` as released, `squared_distance`, or yours.
        capacities: `Geometric()` as released, `Linear()` as in the paper, or f shares.
        maskable: `(path, leaf) -> bool`, which leaves are masked; by default `kernels`.
        per_layer: rank the weights of every leaf for itself.
        rows: of one batch.
        together: masks that are evaluated side by side.
        keep_losses: return `[f, N]` losses too.
        progress: called with rows done and N.
        folder: keep finished rows there; run again after a stop, it goes on behind them, to the same bytes.
        about: a name for the network, whose code cannot be compared; it must be the same for that.

    Returns:
        `DLC`: scores (low is easy), the capacities that were met, and the losses where asked for.

    Raises:
        InputError: labels that do not match the inputs, fewer than two classes, rows that are not finite.

    Source: arXiv 2402.05356v2, section 3; its features are the pooled last feature map, its centroids those of the
    network without a mask.

    Example:
        >>> apply = lambda params, x: jnp.tanh(x @ params["kernel"])
        >>> params = {"kernel": np.array([[1.0, 0.1], [0.2, 1.0]])}
        >>> x = np.array([[2.0, 0.0], [1.0, 0.9], [0.0, 2.0]])
        >>> found = dlc_scores(apply, params, x, ["cat", "cat", "dog"], capacities=[1, 0.5])
        >>> found.scores.argmax(), found.capacities  # the sample between the classes is hard
        (np.int64(1), array([1. , 0.5]))
    """
    classes, index = numbered(labels, rows_of(inputs))
    params = jax.tree.map(jnp.asarray, params)
    if centroids is not None:
        index = _places(np.asarray(labels), len(np.asarray(centroids)))
    elif len(classes) < 2:
        raise InputError(f"labels: {len(classes)} class, expected at least two")
    else:
        centroids = class_centroids(apply, params, inputs, index, rows)
    return mean_masked_loss(
        tree_util.Partial(_ToCentroids(apply, loss), jnp.asarray(centroids)),
        params,
        (inputs, index),
        capacities=capacities,
        maskable=maskable,
        per_layer=per_layer,
        rows=rows,
        together=together,
        keep_losses=keep_losses,
        progress=progress,
        folder=folder,
        about=f"{about} {getattr(loss, '__qualname__', '')}",
    )


def _places(labels: np.ndarray, count: int) -> np.ndarray:
    """`[N]` int32 of labels that are places of given centroids.

    Raises:
        InputError: one that is not.
    """
    wrong = np.array([True]) if labels.dtype.kind not in "iu" else (labels < 0) | (labels >= count)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"labels: row {row}: {labels[row]!r}, expected a whole number below {count}, that of centroids"
        )
    return labels.astype(np.int32)


def numbered(labels: ArrayLike, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct labels, sorted, and `[N]` int32 the place of each sample's.

    Raises:
        InputError: not one label for each of N samples, or one that is missing.
    """
    found = np.asarray(labels)
    if found.shape != (count,):
        raise InputError(f"labels of shape {found.shape}: expected one for each of {count} samples")
    missing = found != found  # NaN
    if np.any(missing):
        raise InputError(f"labels: row {int(np.argmax(missing))} has none")
    classes, index = np.unique(found, return_inverse=True)
    return classes, index.astype(np.int32)
