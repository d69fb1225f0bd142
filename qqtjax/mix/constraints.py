"""What the weights of a mix must satisfy, in the user's words, and the same bound to pools and a budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.mix.collisions import refuse_empty
from qqtjax.mix.feasible import Entropy, Feasible
from qqtjax.runs import Pools
from qqtjax.text import show_count

NEED_A_REFERENCE = ("max_kl", "max_l1", "kl_penalty", "l1_penalty")


class Group(NamedTuple):
    """The share of several pools together.

    Attributes:
        pools: distinct names.
        low: least share of all of them together.
        high: largest share.
    """

    pools: tuple[str, ...]
    low: float = 0.0
    high: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Constraints:
    """What the weights w of a mix of n samples must satisfy; all parts are optional, and numbers are shares of n.

        caps, minimums, fixed    w_i <= high_i,   w_i >= low_i,   w_i = share_i
        max_epochs               w_i n / N_i <= r_i
        groups                   low <= sum of w_i over the group <= high
        max_cost                 n sum_i c_i w_i <= max_cost
        max_kl, max_l1           sum_i w_i log(w_i / ref_i) <= max_kl,   sum_i |w_i - ref_i| <= max_l1
        min_pools                exp(-sum_i w_i log w_i) >= min_pools

    Attributes:
        bounds: `{pool: (low, high)}`, a minimum and a cap at once.
        caps: `{pool: high}`.
        minimums: `{pool: low}`.
        fixed: `{pool: share}`.
        max_epochs: r, for all pools or `{pool: r}`; pools of infinite size have no limit.
        groups: `{name: Group}`.
        cost: `{pool: price of one sample seen}`; pools that are not named cost nothing.
        max_cost: in the unit of the prices.
        reference: a mix, `{pool: share}` or `[P]`.
        max_kl: nats; it keeps pools without a share in the reference out.
        max_l1: between 0 and 2.
        kl_penalty: what is added to the error for each nat of divergence; keeps the same pools out.
        l1_penalty: what is added to the error for each unit of sum_i |w_i - ref_i|.
        min_pools: least effective number of pools, from 1 to P.

    Raises:
        InputError: a number that is not finite or outside its range, low above high, a group without pools or with
            one twice, a distance without a reference or a reference without a distance, a cost without `max_cost`
            or `max_cost` without a cost.

    Example:
        >>> asked = Constraints(caps={"top10": 0.5}, max_epochs=20)
        >>> asked.bind(Pools.of({"top10": 1e6, "web": 1e9}), samples_seen=1e8).high.tolist()
        [0.2, 1.0]
    """

    bounds: Mapping[str, tuple[float, float]] | None = None
    caps: Mapping[str, float] | None = None
    minimums: Mapping[str, float] | None = None
    fixed: Mapping[str, float] | None = None
    max_epochs: float | Mapping[str, float] | None = None
    groups: Mapping[str, Group] | None = None
    cost: Mapping[str, float] | None = None
    max_cost: float | None = None
    reference: Mapping[str, float] | ArrayLike | None = None
    max_kl: float | None = None
    max_l1: float | None = None
    kl_penalty: float | None = None
    l1_penalty: float | None = None
    min_pools: float | None = None

    def __post_init__(self) -> None:
        for kind, form in (("bounds", "{pool: (low, high)}"), ("groups", "{name: Group(pools, low, high)}")):
            given = getattr(self, kind)
            if given is not None and not isinstance(given, Mapping):
                raise InputError(f"{kind} {given!r}: expected {form}")
        for pool, pair in (self.bounds or {}).items():
            _check_pair(f"bounds of {pool}", pair)
        for kind, shares in (("caps", self.caps), ("minimums", self.minimums), ("fixed", self.fixed)):
            _check_all(kind, shares, 0, 1, "a share from 0 to 1")
        if self.max_epochs is not None:
            each = self.max_epochs if isinstance(self.max_epochs, Mapping) else {"all pools": self.max_epochs}
            _check_all("max_epochs", each, np.nextafter(0, 1), np.inf, "a number of epochs above 0")
        for name, group in (self.groups or {}).items():
            _check_group(name, group)
        _check_all("cost", self.cost, 0, np.finfo(float).max, "a price >= 0 of one sample")
        for name in ("max_cost", *NEED_A_REFERENCE):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), 0, np.finfo(float).max, "a finite number >= 0")
        if self.min_pools is not None:
            _check("min_pools", self.min_pools, 1, np.inf, "an effective number of pools >= 1")
        if (self.cost is None) != (self.max_cost is None):
            given, missing = ("cost", "max_cost") if self.max_cost is None else ("max_cost", "cost")
            raise InputError(f"{given} without {missing}: expected both, prices of one sample and what all may cost")
        distances = [name for name in NEED_A_REFERENCE if getattr(self, name) is not None]
        if distances and self.reference is None:
            raise InputError(f"{distances[0]} without a reference: expected the mix that the distance is measured from")
        if self.reference is not None and not distances:
            raise InputError(f"a reference without a distance: expected one of {', '.join(NEED_A_REFERENCE)} with it")

    def bind(
        self,
        pools: Pools,
        samples_seen: float,
        sizes: ArrayLike | None = None,
        seen_before: ArrayLike | None = None,
    ) -> Feasible:
        """The constraints as arrays, for these pools and this budget; whether any weights satisfy them is `check`'s.

            high_i = min(1, cap_i, fixed_i, max(0, r_i N_i - e_i) / n)

        Args:
            pools: P pools.
            samples_seen: the budget n.
            sizes: `[P]` unique samples N_i, where they are not those of `pools`.
            seen_before: `[P]` samples e_i of each pool that the model has seen before, which count as repeats.

        Raises:
            InputError: an unknown pool (the nearest name is suggested), a reference that is no mix of these pools,
                `min_pools` above P, a budget, sizes or samples that are not numbers of samples.
        """
        _check("samples_seen", samples_seen, np.nextafter(0, 1), np.finfo(float).max, "a positive number of samples")
        count = _samples("sizes", pools.sizes if sizes is None else sizes, pools)
        spent = np.zeros(len(pools)) if seen_before is None else seen_before
        before = _samples("seen_before", spent, pools)
        if self.min_pools is not None and self.min_pools > len(pools):
            raise InputError(f"min_pools {self.min_pools:g}: expected at most {len(pools)}, the number of pools")
        places = {name: place for place, name in enumerate(pools.names)}
        reference = None if self.reference is None else _reference(self.reference, pools, places)
        low, high = self._sides(pools, places, samples_seen, count, before, reference)
        rows, row_low, row_high, row_names = self._rows(pools, places, samples_seen)
        entropies = []
        if self.max_kl is not None and reference is not None:
            entropies.append(Entropy(f"max_kl {self.max_kl:g}", reference, float(self.max_kl)))
        if self.min_pools is not None and self.min_pools > 1:
            most = -float(np.log(self.min_pools))
            entropies.append(Entropy(f"min_pools {self.min_pools:g}", np.ones(len(pools)), most))
        return Feasible(
            names=pools.names,
            samples_seen=float(samples_seen),
            at=partial(self.bind, pools, sizes=sizes, seen_before=seen_before),
            low=low.limits,
            high=high.limits,
            low_kinds=low.kinds,
            high_kinds=high.kinds,
            low_said=low.said,
            high_said=high.said,
            rows=rows,
            row_low=row_low,
            row_high=row_high,
            row_names=row_names,
            entropies=tuple(entropies),
            l1=None if reference is None or self.max_l1 is None else (reference, float(self.max_l1)),
            kl_penalty=(reference, float(self.kl_penalty)) if reference is not None and self.kl_penalty else None,
            l1_penalty=(reference, float(self.l1_penalty)) if reference is not None and self.l1_penalty else None,
        )

    def _sides(
        self,
        pools: Pools,
        places: Mapping[str, int],
        budget: float,
        sizes: np.ndarray,
        before: np.ndarray,
        reference: np.ndarray | None,
    ) -> tuple[_Side, _Side]:
        """The tightest lower and upper bounds of each pool; of equal ones the first below is named."""
        low, high = _Side.plain(np.zeros(len(pools))), _Side.plain(np.ones(len(pools)))
        lows = {pool: pair[0] for pool, pair in (self.bounds or {}).items()}
        highs = {pool: pair[1] for pool, pair in (self.bounds or {}).items()}
        for kind, shares in (("fixed share", self.fixed), ("minimum", self.minimums), ("minimum", lows)):
            low.tighten(np.greater, kind, *_placed(shares or {}, pools, places))
        for kind, shares in (("fixed share", self.fixed), ("cap", self.caps), ("cap", highs)):
            high.tighten(np.less, kind, *_placed(shares or {}, pools, places))
        if self.max_epochs is not None:
            if isinstance(self.max_epochs, Mapping):
                at, epochs = _placed(self.max_epochs, pools, places)
            else:
                at, epochs = np.arange(len(pools)), np.full(len(pools), float(self.max_epochs))
            left = np.maximum(epochs * sizes[at] - before[at], 0) / budget
            high.tighten(np.less, "max_epochs", at, left, epochs)
        for name in ("max_kl", "kl_penalty"):
            # A pool without a share in the reference is infinitely far from it.
            given = getattr(self, name)
            if reference is not None and given is not None and (given > 0 or name == "max_kl"):
                absent = np.flatnonzero(reference == 0)
                high.tighten(np.less, f"{name} with reference share", absent, np.zeros(len(absent)))
        return low, high

    def _rows(
        self, pools: Pools, places: Mapping[str, int], budget: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
        """Groups and cost as rows, one for each side that is limited so that each has its own name."""
        rows, lows, highs, names = [], [], [], []

        def add(row: np.ndarray, low: float, high: float, name: str) -> None:
            rows.append(row)
            lows.append(low)
            highs.append(high)
            names.append(name)

        for name, group in (self.groups or {}).items():
            row = np.zeros(len(pools))
            row[_placed(dict.fromkeys(group.pools, 1.0), pools, places)[0]] = 1
            if group.low == group.high:
                add(row, group.low, group.high, f"group {name} at exactly {group.low:g}")
                continue
            if group.low > 0:
                add(row, group.low, np.inf, f"group {name} at least {group.low:g}")
            if group.high < 1:
                add(row, -np.inf, group.high, f"group {name} at most {group.high:g}")
        if self.cost is not None and self.max_cost is not None:
            prices = np.zeros(len(pools))
            at, given = _placed(self.cost, pools, places)
            prices[at] = given
            dearest = prices.max()
            if dearest > 0:
                name = f"cost at most {show_count(self.max_cost)}"
                add(prices / dearest, -np.inf, self.max_cost / dearest / budget, name)
        return np.reshape(rows, (-1, len(pools))), np.array(lows), np.array(highs), tuple(names)


class _Side(NamedTuple):
    """One side's bounds while they are tightened in place: `[P]` shares, what set them, what the user gave."""

    limits: np.ndarray
    kinds: np.ndarray
    said: np.ndarray

    @classmethod
    def plain(cls, limits: np.ndarray) -> _Side:
        return cls(limits, np.full(len(limits), "", object), limits.copy())

    def tighten(
        self, tighter: np.ufunc, kind: str, at: np.ndarray, limits: np.ndarray, said: np.ndarray | None = None
    ) -> None:
        better = tighter(limits, self.limits[at])
        self.limits[at[better]] = limits[better]
        self.kinds[at[better]] = kind
        self.said[at[better]] = (limits if said is None else said)[better]


def check(
    constraints: Constraints | Feasible,
    pools: Pools,
    samples_seen: float,
    sizes: ArrayLike | None = None,
    seen_before: ArrayLike | None = None,
) -> None:
    """Refuse constraints that no weights satisfy, with a minimal set of them that collide.

    A set is minimal when the rest can be satisfied without any one of its members. Where the budget is what makes
    them collide, the largest that satisfies all constraints is named.

    Args:
        constraints: as given, or bound already to these pools and this budget.
        pools: P pools.
        samples_seen: the budget n.
        sizes: `[P]`, as in `Constraints.bind`; not for constraints that are bound.
        seen_before: `[P]`, likewise.

    Raises:
        InputError: nothing satisfies all of them to 1e-9 (shares or nats); or what `Constraints.bind` refuses.

    Example:
        >>> pools = Pools.of({"top10": 12.8e6, "top20": 12.8e6})
        >>> try:
        ...     check(Constraints(max_epochs=2), pools, 640e6)
        ... except InputError as error:
        ...     print(error)
        max_epochs 2 of top10, top20: at most 51.2M of the budget of 640M samples can be drawn
    """
    if isinstance(constraints, Constraints):
        constraints = constraints.bind(pools, samples_seen, sizes, seen_before)
    elif constraints.names != pools.names or constraints.samples_seen != samples_seen:
        raise InputError("constraints are bound to other pools or another budget: bind them to the ones to be checked")
    refuse_empty(constraints)


def _placed(values: Mapping[str, float], pools: Pools, places: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Positions and numbers of `{pool: number}`."""
    at = [places[name] if name in places else pools.index(name) for name in values]
    return np.array(at, int), np.array(list(values.values()), np.float64)


def _reference(reference: Mapping[str, float] | ArrayLike, pools: Pools, places: Mapping[str, int]) -> np.ndarray:
    try:
        if not isinstance(reference, Mapping):
            return pools.weights(reference)
        shares = np.zeros(len(pools))
        at, given = _placed(reference, pools, places)
        shares[at] = given
        return pools.weights(shares)
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"reference: {error}") from None


def _samples(what: str, given: ArrayLike, pools: Pools) -> np.ndarray:
    counts = np.asarray(given, np.float64)
    if counts.shape != (len(pools),):
        raise InputError(f"{what} of shape {counts.shape}: expected one for each of {len(pools)} pools")
    fine = counts > 0 if what == "sizes" else (counts >= 0) & np.isfinite(counts)
    expected = "a number of samples > 0" if what == "sizes" else "a finite number of samples >= 0"
    for place in np.flatnonzero(~fine)[:1]:
        raise InputError(f"{what} of {pools.names[place]} {counts[place]:g}: expected {expected}")
    return counts


def _check(what: str, given: float, low: float, high: float, expected: str) -> None:
    try:
        number = float(given)
    except (TypeError, ValueError):
        number = np.nan
    if not low <= number <= high:
        raise InputError(f"{what} {given!r}: expected {expected}")


def _check_all(what: str, given: Mapping[str, float] | None, low: float, high: float, expected: str) -> None:
    if given is not None and not isinstance(given, Mapping):
        raise InputError(f"{what} {given!r}: expected {{pool: number}}")
    for pool, number in (given or {}).items():
        _check(f"{what} of {pool}", number, low, high, expected)


def _check_pair(what: str, pair: tuple[float, float]) -> None:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InputError(f"{what} {pair!r}: expected a pair (low, high)")
    for side in pair:
        _check(what, side, 0, 1, "shares from 0 to 1")
    if pair[0] > pair[1]:
        raise InputError(f"{what}: low {pair[0]:g} is above high {pair[1]:g}")


def _check_group(name: str, group: Group) -> None:
    if not isinstance(group, Group) or not isinstance(group.pools, tuple | list | set | frozenset):
        raise InputError(f"group {name} {group!r}: expected Group(pools, low, high) with a tuple of pool names")
    if not group.pools:
        raise InputError(f"group {name}: no pools, expected at least one")
    if len(set(group.pools)) < len(group.pools):
        twice = next(pool for pool in group.pools if group.pools.count(pool) > 1)
        raise InputError(f"group {name}: pool {twice!r} stands in it twice")
    _check_pair(f"group {name}", (group.low, group.high))
