"""What a sweep asks about: draws x sizes x budgets x mixes; each axis is described once, points go by number."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws.draws import draw_params
from qqtjax.laws.fitted import FittedLaw
from qqtjax.laws.repetition import bucket_for
from qqtjax.mix.asked import budgets_of, check_draws, check_numbers, sizes_of
from qqtjax.mix.filters import nested_filters, quality_order, union_name
from qqtjax.runs import WEIGHT_SUM_TOLERANCE, Pools
from qqtjax.sweep.simplex import Simplex

AXES = ("draw", "size", "budget", "mix")
MOST_ON_AN_AXIS, MOST_POINTS = 2**31 - 1, 2**62
MOST_EPOCHS = 1 << 17  # that a law is scanned over at every point of a sweep
AT_ONCE = 1 << 16  # zipped points whose epochs are counted together


class Rows(NamedTuple):
    """Points of the first three axes, one after another.

    Attributes:
        params: the law's parameters, every leaf with a leading axis of M.
        sizes: `[M, P]`.
        samples_seen: `[M]`.
    """

    params: Any
    sizes: np.ndarray
    samples_seen: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """The axes of a sweep; a point is numbered in the order draw, size, budget, mix, the last one fastest.

    Attributes:
        fitted: the law and its pools.
        params: its parameters in float64, every leaf with a leading axis of draws.
        sizes: `[Z, P]` unique samples.
        budgets: `[B]` samples seen.
        mixes: `[W, P]` weights, a `Simplex`, or None where the best mix is sought instead.
        mix_names: names of the mixes, where they have some.
        given: the axes that the user gave as such; the others have length 1 and no axis in results.
        zipped: do the axes move together, as `zip` does, instead of being multiplied.
    """

    fitted: FittedLaw
    params: Any
    sizes: np.ndarray
    budgets: np.ndarray
    mixes: np.ndarray | Simplex | None
    mix_names: tuple[str, ...]
    given: tuple[str, ...]
    zipped: bool

    @property
    def lengths(self) -> tuple[int, int, int, int]:
        """Number of draws, sizes, budgets and mixes."""
        draws = len(jax.tree.leaves(self.params)[0])
        if isinstance(self.mixes, Simplex):
            mixes = self.mixes.count(len(self.fitted.pools))
        else:
            mixes = 1 if self.mixes is None else len(self.mixes)
        return draws, len(self.sizes), len(self.budgets), mixes

    def __len__(self) -> int:
        return max(self.lengths) if self.zipped else math.prod(self.lengths)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes that results have."""
        if self.zipped:
            return (len(self),)
        return tuple(length for axis, length in zip(AXES, self.lengths, strict=True) if axis in self.given)

    def rows(self, draw: np.ndarray, size: np.ndarray, budget: np.ndarray) -> Rows:
        """The points at these places of the first three axes, each `[M]`."""
        params = jax.tree.map(lambda leaf: leaf[draw], self.params)
        return Rows(params, self.sizes[size], self.budgets[budget])

    def weights(self, mix: np.ndarray) -> np.ndarray:
        """`[M, P]` shares of these mixes."""
        if isinstance(self.mixes, Simplex):
            return self.mixes.rows(mix, len(self.fitted.pools))
        if self.mixes is None:
            raise InputError("this sweep has no mixes: it sought the best ones")
        return self.mixes[mix]

    def max_epochs(self) -> int | None:
        """The static scan length that covers every point, or None where the law needs none.

        Raises:
            InputError: more epochs than a sweep scans.
        """
        if not self.fitted.law.scans(self.params):
            return None
        if self.zipped:
            starts = range(0, len(self), AT_ONCE)
            length = max(self._zipped_epochs(np.arange(start, min(start + AT_ONCE, len(self)))) for start in starts)
        else:
            most = self.mixes.max(axis=0) if isinstance(self.mixes, np.ndarray) else 1.0
            length = bucket_for(self.budgets.max(), np.broadcast_to(most, self.sizes.shape[1]), self.sizes.min(axis=0))
        if length > MOST_EPOCHS:
            raise InputError(
                f"law {self.fitted.law.name} is scanned by epochs, and a pool may go through {length:.3g} of them: "
                f"expected at most {MOST_EPOCHS}; give smaller budgets or larger pools"
            )
        return length

    def _zipped_epochs(self, points: np.ndarray) -> int:
        _, size, budget, mix = self.coordinates(points)
        return bucket_for(self.budgets[budget], self.weights(mix), self.sizes[size])

    def coordinates(self, numbers: np.ndarray) -> tuple[np.ndarray, ...]:
        """Places on the four axes of the points with these numbers."""
        if self.zipped:
            return tuple(numbers if length > 1 else np.zeros_like(numbers) for length in self.lengths)
        return np.unravel_index(numbers, self.lengths)


def grid_of(
    fitted: FittedLaw,
    budgets: ArrayLike,
    weights: Any,
    filters: bool | Sequence[Sequence[str]] | None,
    optimize: bool,
    sizes: ArrayLike | Mapping[str, float] | Sequence[Mapping[str, float]] | None,
    draws: Any,
    seed: int,
    zipped: bool,
) -> Grid:
    """Check and describe what a sweep asks about; arguments as for `sweep`.

    Raises:
        InputError: no mixes or several kinds of them, a wrong budget, size, weight or draw, zipped axes of different
            lengths.
    """
    if not isinstance(fitted, FittedLaw):
        raise InputError(f"fit of type {type(fitted).__name__}: expected a fitted law")
    check_numbers("the fit's", fitted.params)
    kinds = [weights is not None, filters is not None and filters is not False, bool(optimize)]
    if sum(kinds) != 1:
        raise InputError("weights, filters, optimize: expected exactly one of them")
    if isinstance(draws, int | np.integer):
        draws = draw_params(fitted, int(draws), seed)
    seen = budgets_of(budgets)
    planned, many_sizes = _sizes(sizes, fitted)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), fitted.params if draws is None else draws)
    if draws is None:
        params = jax.tree.map(lambda leaf: leaf[None], params)
    else:
        check_draws(draws, fitted)
    mixes, names, many_mixes = _mixes(fitted, planned, weights, filters)
    many = (draws is not None, many_sizes, seen.ndim > 0, many_mixes)
    given = tuple(axis for axis, is_given in zip(AXES, many, strict=True) if is_given)
    grid = Grid(fitted, params, planned, seen.ravel(), mixes, names, given, zipped)
    lengths = grid.lengths
    if max(lengths) > MOST_ON_AN_AXIS:
        raise InputError(f"{max(lengths):.3g} points on one axis: expected at most {MOST_ON_AN_AXIS:.3g}")
    if not zipped and math.prod(lengths) > MOST_POINTS:
        raise InputError(f"{math.prod(lengths):.3g} points: expected at most {MOST_POINTS:.3g}")
    if zipped and len({length for length in lengths if length > 1}) > 1:
        said = ", ".join(f"{length} {axis}s" for axis, length in zip(AXES, lengths, strict=True)).replace(
            "mixs", "mixes"
        )
        raise InputError(f"zipped axes of different lengths ({said}): expected one length, or 1")
    return grid


def _sizes(
    sizes: ArrayLike | Mapping[str, float] | Sequence[Mapping[str, float]] | None, fitted: FittedLaw
) -> tuple[np.ndarray, bool]:
    """`[Z, P]` sizes, and whether they are an axis."""
    if isinstance(sizes, Sequence) and sizes and all(isinstance(each, Mapping) for each in sizes):
        return np.stack([sizes_of(each, [fitted]) for each in sizes]), True
    found = sizes_of(sizes, [fitted])  # pyright: ignore[reportArgumentType]
    return np.atleast_2d(found), found.ndim > 1


def _mixes(
    fitted: FittedLaw, sizes: np.ndarray, weights: Any, filters: bool | Sequence[Sequence[str]] | None
) -> tuple[np.ndarray | Simplex | None, tuple[str, ...], bool]:
    """The mixes, their names, and whether they are an axis."""
    pools = dataclasses.replace(fitted.pools, sizes=sizes[0])
    if filters is not None and filters is not False:
        if len(sizes) > 1:
            raise InputError("filters with several sizes: the shares of a filter follow the sizes; expected one")
        if filters is True:
            options = nested_filters(pools, quality_order(fitted))
            return np.stack([option.weights for option in options]), tuple(option.name for option in options), True
        chosen = _members(filters)
        rows = [_union(pools, members) for members in chosen]
        return np.stack(rows), tuple(union_name(members) for members in chosen), True
    if weights is None:
        return None, (), False
    if isinstance(weights, Simplex):
        weights.count(len(pools))
        return weights, (), True
    if isinstance(weights, Mapping):
        if weights and all(isinstance(each, Mapping) for each in weights.values()):
            return np.stack([pools.weights(each) for each in weights.values()]), tuple(map(str, weights)), True
        return pools.weights(weights)[None], (), False
    if isinstance(weights, Sequence) and weights and all(isinstance(each, Mapping) for each in weights):
        return np.stack([pools.weights(each) for each in weights]), (), True
    try:
        rows = np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"weights {weights!r}: expected shares of the pools, or a Simplex") from None
    if rows.ndim not in (1, 2) or rows.shape[-1] != len(pools) or not rows.size:
        raise InputError(f"weights of shape {rows.shape}: expected [P] or [W, P] for {len(pools)} pools")
    return _shares(np.atleast_2d(rows), pools), (), rows.ndim > 1


def _shares(rows: np.ndarray, pools: Pools) -> np.ndarray:
    """`[W, P]` weights that sum to 1, each row as `Pools.weights` takes it."""
    totals = rows.sum(axis=1)
    fine = np.all(np.isfinite(rows) & (rows >= 0), axis=1) & (np.abs(totals - 1) <= WEIGHT_SUM_TOLERANCE)
    for place in np.flatnonzero(~fine)[:1]:
        try:
            pools.weights(rows[place])
        except InputError as problem:
            raise InputError(f"mix {place}: {problem}") from None
    return rows / totals[:, None]


def _members(filters: Sequence[Sequence[str]]) -> list[list[str]]:
    """Names of the pools of every filter.

    Raises:
        InputError: anything but lists of distinct names.
    """
    try:
        chosen = [[members] if isinstance(members, str) else list(members) for members in filters]
    except TypeError:
        chosen = [[]]
    for members in chosen:
        if not members or not all(isinstance(name, str) for name in members) or len(set(members)) < len(members):
            raise InputError(f"filters {filters!r}: expected True, or lists of distinct pool names")
    return chosen


def _union(pools: Pools, members: Sequence[str]) -> np.ndarray:
    """`[P]` weights of a filter.

    Raises:
        InputError: an unknown pool, or one without a size beside others.
    """
    places = [pools.index(name) for name in members]
    for place in places:
        if len(places) > 1 and np.isinf(pools.sizes[place]):
            raise InputError(
                f"filter {'+'.join(members)}: pool {pools.names[place]!r} has no size, which a union needs"
            )
    return pools.union(places) if len(places) > 1 else np.eye(len(pools))[places[0]]
