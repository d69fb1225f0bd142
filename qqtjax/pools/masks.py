"""Nested magnitude masks of a network, as one threshold for each capacity and layer: no mask is ever stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax, tree_util
from jax.typing import ArrayLike

from qqtjax.errors import InputError

# Leaves with two axes or more that are no weights of a layer between features, by a part of their path.
NOT_KERNELS = ("bias", "scale", "head", "lm_head", "classifier")


@dataclasses.dataclass(frozen=True)
class Geometric:
    """Capacities of the released code: every step removes a share of the weights that are still alive.

        K_0 = n,  K_{s+1} = K_s - rint(interval * K_s),  so that K_s / n is about (1 - interval)^s

    Attributes:
        interval: share removed in a step, in (0, 1).
        steps: masks (f), the whole network being the first.

    Source: arXiv 2402.05356v2, its released `score-wot.py`; it ends at a capacity of .37, not at the paper's .02.

    Example:
        >>> Geometric(0.2, 4).alive(1000)
        array([1000,  800,  640,  512])
    """

    interval: float = 0.02
    steps: int = 50

    def alive(self, total: int) -> np.ndarray:
        """`[f]` int64: how many of `total` weights each mask keeps."""
        if not 0 < self.interval < 1:
            raise InputError(f"interval {self.interval!r}: expected a share between 0 and 1")
        found = [int(total)]
        for _ in range(_counted(self.steps) - 1):
            found.append(found[-1] - round(self.interval * found[-1]))
        return np.array(found, np.int64)


@dataclasses.dataclass(frozen=True)
class Linear:
    """Capacities of the paper's figures: from the whole network down to 1/f of it, in equal steps.

        K_s = rint(n (f - s) / f),  s = 0, .., f - 1

    Attributes:
        steps: masks (f), the whole network being the first.

    Source: arXiv 2402.05356v2, whose figures run from 100 % to 2 %.

    Example:
        >>> Linear(4).alive(1000)
        array([1000,  750,  500,  250])
    """

    steps: int = 50

    def alive(self, total: int) -> np.ndarray:
        """`[f]` int64: how many of `total` weights each mask keeps."""
        steps = _counted(self.steps)
        return np.rint(total * np.arange(steps, 0, -1) / steps).astype(np.int64)


Capacities = Geometric | Linear | Sequence[float] | np.ndarray
Maskable = Callable[[Any, Any], bool]


def _counted(steps: int) -> int:
    if int(steps) != steps or steps < 1:
        raise InputError(f"{steps!r} masks: expected a whole number of at least 1")
    return int(steps)


def alive_counts(capacities: Capacities, total: int) -> np.ndarray:
    """How many weights each mask keeps.

    Args:
        capacities: `Geometric`, `Linear`, or f shares of the weights, each in [0, 1].
        total: weights that can be masked (n).

    Returns:
        `[f]` int64; a share c keeps rint(c n).

    Raises:
        InputError: no shares, or one outside [0, 1].

    Example:
        >>> alive_counts([1.0, 0.5, 0.125], 20)
        array([20, 10,  2])
    """
    if isinstance(capacities, Geometric | Linear):
        return capacities.alive(total)
    shares = np.asarray(capacities, np.float64)
    if shares.ndim != 1 or not shares.size or not np.all((shares >= 0) & (shares <= 1)):
        raise InputError(f"capacities {np.asarray(capacities).tolist()}: expected shares of the weights, from 0 to 1")
    return np.rint(shares * total).astype(np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class Masks:
    """f nested masks of the L maskable leaves of some parameters.

    A weight at position p of leaf l is alive under mask s where |w| > threshold[s, l], or where |w| equals it and
    p < cut[s, l]: of equal weights those that come first stay, so that counts are exact whatever the ties.

    Attributes:
        places: L places of the maskable leaves among all leaves.
        threshold: `[f, L]` magnitudes (q); `inf` keeps nothing.
        cut: `[f, L]` int32 positions.
        alive: `[f, L]` int64 weights that stay.
        sizes: `[L]` int64 weights of each leaf.
    """

    places: tuple[int, ...]
    threshold: np.ndarray
    cut: np.ndarray
    alive: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.threshold)

    @property
    def capacities(self) -> np.ndarray:
        """`[f]` share of all maskable weights that is alive."""
        return self.alive.sum(axis=1) / self.sizes.sum()


def kernels(path: Any, leaf: Any) -> bool:
    """Is a leaf a weight matrix or a convolution's kernel: what is masked unless the caller says otherwise.

    Floating numbers with two axes or more; never biases, scales of norms, embeddings, or a head.

    Args:
        path: key path of the leaf, as `jax.tree_util.tree_flatten_with_path` gives it.
        leaf: the array.

    Example:
        >>> import jax
        >>> params = {"layer": {"kernel": np.ones((3, 2)), "bias": np.ones(2)}, "head": {"kernel": np.ones((2, 2))}}
        >>> jax.tree_util.tree_map_with_path(kernels, params)
        {'head': {'kernel': False}, 'layer': {'bias': False, 'kernel': True}}
    """
    names = tree_util.keystr(path, simple=True, separator="/").lower().split("/")
    other = any(name in NOT_KERNELS or "embed" in name for name in names)
    return jnp.ndim(leaf) >= 2 and jnp.issubdtype(jnp.result_type(leaf), jnp.floating) and not other


def masks_of(
    params: Any,
    capacities: Capacities = Geometric(),
    *,
    maskable: Maskable = kernels,
    per_layer: bool = False,
) -> Masks:
    """Nested masks that remove the weights of least magnitude first.

    Args:
        params: any pytree of arrays.
        capacities: `Geometric()` as released, `Linear()` as in the paper, or f shares.
        maskable: `(path, leaf) -> bool`, which leaves are masked.
        per_layer: rank the weights of every leaf for itself (the released code for language models) instead of
            all together (for images).

    Returns:
        `Masks`; masks of falling capacities lie within each other.

    Raises:
        InputError: nothing to mask, a weight that is not finite, wrong capacities.

    Source: arXiv 2402.05356v2, section 3: M_{s+1} is M_s without its weights of least |theta|.

    Example:
        >>> masks = masks_of({"kernel": np.array([[3.0, -1.0], [0.5, 2.0]])}, [1.0, 0.5, 0.25])
        >>> masks.capacities
        array([1.  , 0.5 , 0.25])
        >>> masked({"kernel": np.array([[3.0, -1.0], [0.5, 2.0]])}, masks.places, masks.threshold[1], masks.cut[1])
        {'kernel': Array([[3., 0.],
               [0., 2.]], dtype=float32)}
    """
    flat, _ = tree_util.tree_flatten_with_path(params)
    places = tuple(place for place, (path, leaf) in enumerate(flat) if maskable(path, leaf))
    if not places:
        known = ", ".join(tree_util.keystr(path, simple=True, separator="/") for path, _ in flat[:5]) or "none"
        raise InputError(f"no weights to mask among the parameters ({known}): expected kernels, or another maskable")
    # Half precisions are exact in float32, and NumPy sorts that fast.
    double = any(jnp.result_type(flat[place][1]) == jnp.float64 for place in places)
    leaves = [
        np.abs(np.asarray(flat[place][1]).astype(np.float64 if double else np.float32)).ravel() for place in places
    ]
    for place, leaf in zip(places, leaves, strict=True):
        if not np.isfinite(leaf).all():
            where = tree_util.keystr(flat[place][0], simple=True, separator="/")
            raise InputError(f"parameter {where}: holds a weight that is not finite")
    groups = [[number] for number in range(len(leaves))] if per_layer else [list(range(len(leaves)))]
    parts = [_thresholds([leaves[number] for number in group], capacities) for group in groups]
    threshold, cut, alive = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
    return Masks(places, threshold, cut, alive, np.array([leaf.size for leaf in leaves], np.int64))


def _thresholds(leaves: list[np.ndarray], capacities: Capacities) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`[f, L]` thresholds, cuts and counts of leaves that are ranked together."""
    ordered = np.sort(np.concatenate(leaves))
    own = [np.sort(leaf) for leaf in leaves] if len(leaves) > 1 else [ordered]
    sizes = np.array([leaf.size for leaf in leaves])
    counts = alive_counts(capacities, ordered.size)
    threshold = np.full((len(counts), len(leaves)), np.inf, ordered.dtype)
    cut = np.zeros((len(counts), len(leaves)), np.int32)
    alive = np.zeros((len(counts), len(leaves)), np.int64)
    for step, count in enumerate(counts):
        if count == 0:
            continue
        least = ordered[ordered.size - count]
        threshold[step] = least
        low = np.array([np.searchsorted(each, least, "left") for each in own])
        high = np.array([np.searchsorted(each, least, "right") for each in own])
        # Of the weights that equal the threshold, the first ones stay: leaf after leaf, position after position.
        left = count - int((sizes - high).sum())
        stay = np.clip(left - (np.cumsum(high - low) - (high - low)), 0, high - low)
        alive[step] = sizes - high + stay
        cut[step] = np.where(stay == high - low, sizes, 0)
        for number in np.flatnonzero((stay > 0) & (stay < high - low)):
            cut[step, number] = np.flatnonzero(leaves[number] == least)[stay[number] - 1] + 1
    return threshold, cut, alive


def masked(params: Any, places: tuple[int, ...], threshold: ArrayLike, cut: ArrayLike) -> Any:
    """Parameters under one mask; jit and vmap apply as they are, and memory grows by this one copy.

    Args:
        params: the pytree that the masks were made of.
        places: of the maskable leaves, static (`Masks.places`).
        threshold: `[L]` a row of `Masks.threshold`.
        cut: `[L]` a row of `Masks.cut`.

    Returns:
        A pytree like `params`, masked weights being 0.
    """
    leaves, tree = tree_util.tree_flatten(params)
    level, first = jnp.asarray(threshold), jnp.asarray(cut)
    for number, place in enumerate(places):
        leaves[place] = _kept(jnp.asarray(leaves[place]), level[number], first[number])
    return tree_util.tree_unflatten(tree, leaves)


def _kept(weights: Array, threshold: Array, cut: Array) -> Array:
    magnitude = jnp.abs(weights).astype(threshold.dtype)
    position = lax.iota(jnp.int32, weights.size).reshape(weights.shape)
    keep = (magnitude > threshold) | ((magnitude == threshold) & (position < cut))
    return jnp.where(keep, weights, jnp.zeros_like(weights))
