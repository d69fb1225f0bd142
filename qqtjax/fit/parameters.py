"""Between a law's parameters and the vector that a solver moves: what is free, shared, fixed and bounded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from qqtjax.errors import InputError
from qqtjax.laws.law import Law, Range, lacking
from qqtjax.runs import Pools, Runs

Share = Mapping[str, bool | Sequence[Sequence[str]]]
Fixed = Mapping[str, Any]
Bounds = Mapping[str, tuple[float, float]]


class Slot(NamedTuple):
    """Where one field of the parameters is found in the solver's vector.

    Attributes:
        field: name of the field.
        positions: coordinate of each pool's value, -1 where fixed; one entry for a shared scalar.
        scalar: is the field one number shared by all pools.
        sign: the sign of a value whose coordinate is the logarithm of its magnitude; 0: the value itself.
    """

    field: str
    positions: tuple[int, ...]
    scalar: bool
    sign: float


@dataclasses.dataclass(frozen=True)
class Layout:
    """How parameters are packed: static and hashable, so that a fit of the same layout never recompiles.

    Attributes:
        law: the law.
        slots: the fields that are free, at least in part.
    """

    law: Law
    slots: tuple[Slot, ...]

    def unpack(self, coordinates: Array, fixed: Mapping[str, Any]) -> Any:
        """Parameters of the law from the solver's vector and the fixed values."""
        values = dict(fixed)
        for slot in self.slots:
            positions = np.array(slot.positions)
            moved = coordinates[np.maximum(positions, 0)]
            if slot.sign:
                moved = slot.sign * jnp.exp(moved)
            if np.any(positions < 0):
                moved = jnp.where(positions >= 0, moved, values[slot.field])
            values[slot.field] = moved[0] if slot.scalar else moved
        return self.law.params(**values)

    def sketch(self, fixed: Mapping[str, Any]) -> Any:
        """Parameters with NaN where they are free: enough to see which of them are set at all."""
        return self.law.params(**{**fixed, **{slot.field: np.nan for slot in self.slots}})


@dataclasses.dataclass(frozen=True, eq=False)
class Space:
    """The search space of a fit.

    Attributes:
        layout: how parameters are packed.
        fixed: values that do not move, by field.
        names: `[F]` readable name of every coordinate, for example `half_life of top10`.
        ranges: `[F]` range of every coordinate, in the parameter's own unit.
    """

    layout: Layout
    fixed: dict[str, Any]
    names: tuple[str, ...]
    ranges: tuple[Range, ...]

    def __len__(self) -> int:
        return len(self.names)

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds of the coordinates, `[F]` each."""
        ends = [sorted((self._coordinate(r, r.low), self._coordinate(r, r.high))) for r in self.ranges]
        low, high = np.array(ends).reshape(-1, 2).T
        return low, high

    def draw_starts(self, count: int, seed: int) -> np.ndarray:
        """`[count, F]` starting points: one stratified (Latin hypercube) sample of the starting ranges."""
        return self.place(stratified(count, len(self), seed))

    def place(self, share: np.ndarray) -> np.ndarray:
        """`[count, F]` points of the starting ranges at so much of the way through each, in 0 .. 1."""
        first = np.array([self._coordinate(r, r.start_low) for r in self.ranges])
        last = np.array([self._coordinate(r, r.start_high) for r in self.ranges])
        return np.clip(first + share * (last - first), *self.box())

    def natural(self, coordinates: np.ndarray) -> np.ndarray:
        """Values of the coordinates in the parameters' own units."""
        logs = np.array([r.log for r in self.ranges])
        signs = np.array([np.sign(r.low) or 1.0 for r in self.ranges])
        return np.where(logs, signs * np.exp(np.where(logs, coordinates, 0.0)), coordinates)

    @staticmethod
    def _coordinate(spread: Range, value: float) -> float:
        return float(np.log(abs(value))) if spread.log else float(value)


def stratified(count: int, dimensions: int, seed: int) -> np.ndarray:
    """`[count, dimensions]` points of the unit cube, one in each of `count` slices of every side (Latin hypercube)."""
    rng = np.random.default_rng(seed)
    strata = np.stack([rng.permutation(count) for _ in range(dimensions)], axis=1)
    return (strata + rng.random(strata.shape)) / count


def search_space(
    law: Law,
    runs: Runs,
    share: Share | None = None,
    fixed: Fixed | None = None,
    free: Iterable[str] = (),
    bounds: Bounds | None = None,
) -> Space:
    """Decide what a fit may move.

    Args:
        law: the law; its `ranges` give the defaults.
        runs: the measured runs, for data-dependent ranges and the pools.
        share: `{field: True}` one value for all pools, `{field: False}` one a pool, or `{field: [[pool, ...],
            ...]}` one a group (pools in no group stay on their own).
        fixed: `{field: value}`, `{field: [value of each pool]}` or `{field: {pool: value}}`.
        free: fields with a default value (dilution, decay_shape, amplitude) that are to be fitted as well.
        bounds: `{field: (low, high)}` in the parameter's own unit.

    Raises:
        InputError: an unknown field or pool, a field both fixed and free, bounds that are empty or of the wrong
            sign.
    """
    share, fixed, bounds, pools = dict(share or {}), dict(fixed or {}), dict(bounds or {}), runs.pools
    free = (free,) if isinstance(free, str) else tuple(free)
    fields = [field.name for field in dataclasses.fields(law.params)]
    for given, names in (("share", share), ("fixed", fixed), ("free", free), ("bounds", bounds)):
        for name in names:
            if name not in fields:
                raise InputError(f"{given}: law {law.name} has no parameter {name!r}; it has {', '.join(fields)}")
    both = set(free) & set(fixed)
    if both:
        raise InputError(f"parameter {sorted(both)[0]!r} is both fixed and free")

    if "model_size" in lacking(law, runs) and not {"model_scale", "model_exponent"} <= fixed.keys():
        raise InputError(f"law {law.name} needs model_size: expected runs with models of at least two sizes")
    defaults = law.ranges(runs)
    values: dict[str, Any] = {}
    slots, names, ranges = [], [], []
    for name in fields:
        spread = defaults.get(name)
        if spread is None:
            for given, fields_given in (("share", share), ("free", free), ("bounds", bounds)):
                if name in fields_given:
                    raise InputError(f"{given}: {name} is not fitted; it belongs to the pools (set it with fixed)")
            values[name] = _per_pool(fixed.get(name, pools.sizes), pools, pools.sizes)
            continue
        alone = name in law.per_pool
        grouping = share.get(name, not alone)
        partly = isinstance(fixed.get(name), Mapping)
        _check_sign(name, fixed.get(name), spread)
        if name in bounds and not (spread.fitted or name in free or partly):
            raise InputError(f"bounds: {name} is not fitted unless it is in free")
        if name in fixed and not partly:
            if name in bounds:
                raise InputError(f"parameter {name!r} is fixed and has bounds")
            value = fixed[name]
            values[name] = None if value is None else np.asarray(value, np.float64)
            if value is not None and values[name].ndim and values[name].shape != (len(pools),):
                raise InputError(f"fixed {name}: {values[name].size} values, expected 1 or {len(pools)}")
            continue
        if not (spread.fitted or partly or name in free):
            values[name] = spread.default
            continue
        scalar = grouping is True and not partly
        groups = _groups(grouping, pools)
        if partly:
            values[name] = _per_pool(fixed[name], pools, np.full(len(pools), np.nan))
        positions = [-1] * len(pools)
        for group in groups:
            moving = [place for place in group if not (partly and np.isfinite(values[name][place]))]
            if not moving:
                continue
            for place in moving:
                positions[place] = len(names)
            split = not alone and grouping is not True
            own = law.ranges(_drawing_only(runs, group))[name] if split else spread
            ranges.append(_bounded(own, name, bounds.get(name)))
            members = "+".join(pools.names[place] for place in group)
            names.append(name if grouping is True else f"{name} of {members}")
        sign = float(np.sign(spread.low)) if spread.log else 0.0
        slots.append(Slot(name, tuple(positions[:1] if scalar else positions), scalar, sign))
    return Space(Layout(law, tuple(slots)), values, tuple(names), tuple(ranges))


def _per_pool(value: Any, pools: Pools, default: np.ndarray) -> np.ndarray:
    if isinstance(value, Mapping):
        dense = default.copy()
        for pool, one in value.items():
            dense[pools.index(pool)] = one
        return dense
    return np.broadcast_to(np.asarray(value, np.float64), (len(pools),)).copy()


def _groups(grouping: bool | Sequence[Sequence[str]], pools: Pools) -> list[list[int]]:
    """Pools that share one value, each pool in one group."""
    if grouping is True:
        return [list(range(len(pools)))]
    named = [] if grouping is False else [[pools.index(pool) for pool in group] for group in grouping]
    taken = [place for group in named for place in group]
    for place in taken:
        if taken.count(place) > 1:
            raise InputError(f"share: pool {pools.names[place]!r} is in two groups")
    groups = [*named, *([place] for place in range(len(pools)) if place not in taken)]
    return sorted((group for group in groups if group), key=min)


def _drawing_only(runs: Runs, group: Sequence[int]) -> Runs:
    """The checkpoints that draw from a group of pools only, for its own ranges; all of them where there are none."""
    inside = np.isclose(runs.weights[:, list(group)].sum(axis=1), 1.0)
    return runs.select(inside) if inside.any() else runs


def _check_sign(name: str, value: Any, spread: Range) -> None:
    given = list(value.values()) if isinstance(value, Mapping) else value
    if given is None:
        return
    if not spread.log:
        if not np.all(np.asarray(given, np.float64) >= spread.low):
            raise InputError(f"fixed {name}: {value}, expected at least {spread.low:g}")
        return
    wanted = np.sign(spread.low)
    if np.any(np.asarray(given, np.float64) * wanted <= 0):
        raise InputError(f"fixed {name}: {value}, expected {'positive' if wanted > 0 else 'negative'} numbers")


def _bounded(spread: Range, name: str, bounds: tuple[float, float] | None) -> Range:
    if bounds is None:
        return spread
    low, high = (float(end) for end in bounds)
    if not low < high:
        raise InputError(f"bounds of {name}: ({low:g}, {high:g}), expected low < high")
    if spread.log and not low * high > 0:
        raise InputError(f"bounds of {name}: ({low:g}, {high:g}), expected two ends of the same sign, neither 0")
    first, last = (float(np.clip(start, low, high)) for start in (spread.start_low, spread.start_high))
    if first == last:
        first, last = low, high
    return spread._replace(low=low, high=high, start_low=first, start_high=last)
