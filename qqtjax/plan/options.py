"""What a plan chooses from: nested filters, no filtering, and the filters and mixes that the user names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw, Shares
from qqtjax.runs import Pools

LONGEST_NAME = 24
SAME_WEIGHTS = 1e-9


class Option(NamedTuple):
    """One thing to train on.

    Attributes:
        name: as shown.
        weights: `[P]` shares, in the order of the fitted pools.
        pools: how many of the best pools a nested filter takes; 0 for what the user named.
    """

    name: str
    weights: np.ndarray
    pools: int


def quality_order(fitted: FittedLaw, order: Sequence[str] | None = None) -> list[int]:
    """Positions of the pools from best to worst: the caller's order, else by fitted utility, least b first.

    Pools of a law without utilities are ranked by `scale`, least n0 first: their samples are worth most. Equal
    pools, and all pools of a law with neither per pool, keep the order of `fitted.pools`.

    Args:
        fitted: the law.
        order: every pool's name once, best first.

    Raises:
        InputError: an unknown, missing or repeated pool in `order`.
    """
    count = len(fitted.pools)
    if order is not None:
        chosen = [fitted.pools.index(name) for name in order]
        if sorted(chosen) != list(range(count)):
            missing = [name for name in fitted.pools.names if name not in order]
            wrong = f"misses {', '.join(missing)}" if missing else "names a pool twice"
            raise InputError(f"order {', '.join(order)}: {wrong}; expected every pool once, best first")
        return chosen
    name = "utility" if hasattr(fitted.params, "utility") else "scale"
    worth = np.asarray(getattr(fitted.params, name, 0.0), np.float64)
    return [int(i) for i in np.argsort(np.broadcast_to(worth, (count,)), kind="stable")]


def nested_filters(pools: Pools, order: Sequence[int]) -> list[Option]:
    """Uniform sampling of the union of the best 1, 2, ... P pools; the last is no filtering.

    A union needs sizes: from the first pool whose size is not known (infinite) on, there is none, and such a
    pool stands alone.
    """
    finite = [i for i in order if np.isfinite(pools.sizes[i])]
    options = []
    for count in range(1, len(finite) + 1):
        members = finite[:count]
        everything = count == len(pools) and count > 1
        name = "all pools" if everything else union_name([pools.names[i] for i in members])
        options.append(Option(name, pools.union(members), count))
    for i in order:
        if not np.isfinite(pools.sizes[i]):
            options.append(Option(pools.names[i], np.eye(len(pools))[i], 0))
    return options


def union_name(names: Sequence[str]) -> str:
    """A union's name: its pools joined by +, or "top k pools" where that is too long.

    Example:
        >>> union_name(["top10", "top20"]), union_name(["a long name"] * 3)
        ('top10+top20', 'top 3 pools')
    """
    joined = "+".join(names)
    return joined if len(names) == 1 or len(joined) <= LONGEST_NAME else f"top {len(names)} pools"


def named_options(
    pools: Pools, filters: Mapping[str, Sequence[str]] | None, mixes: Mapping[str, Shares] | None
) -> list[Option]:
    """The user's filters, `{name: [pool, ...]}`, and mixes, `{name: {pool: share}}` or `{name: [P] shares}`.

    Raises:
        InputError: an unknown or repeated pool, a pool of unknown size in a filter, wrong shares; the text
            names which.
    """
    options = []
    for name, chosen in (filters or {}).items():
        members = [chosen] if isinstance(chosen, str) else list(chosen)
        try:
            places = [pools.index(pool) for pool in members]
        except InputError as wrong:
            raise InputError(f"filter {name!r}: {wrong}") from None
        if not places or len(set(places)) < len(places):
            raise InputError(f"filter {name!r}: {members}, expected one or more different pools")
        if len(places) > 1 and not np.all(np.isfinite(pools.sizes[places])):
            raise InputError(f"filter {name!r}: a union needs the size of each pool, and one is not known")
        alone = np.eye(len(pools))[places[0]]
        options.append(Option(name, alone if len(places) == 1 else pools.union(places), 0))
    for name, shares in (mixes or {}).items():
        try:
            options.append(Option(name, pools.weights(shares), 0))
        except InputError as wrong:
            raise InputError(f"mix {name!r}: {wrong}") from None
    return options


def all_options(
    fitted: FittedLaw,
    order: Sequence[int],
    filters: Mapping[str, Sequence[str]] | None = None,
    mixes: Mapping[str, Shares] | None = None,
) -> list[Option]:
    """Nested filters first, then the user's; two of one name are refused.

    Raises:
        InputError: as in `named_options`, or a name that is taken.
    """
    options = nested_filters(fitted.pools, order) + named_options(fitted.pools, filters, mixes)
    names = [option.name for option in options]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two filters or mixes are called {name!r}: give yours another name")
    return options


def different(options: Sequence[Option]) -> list[Option]:
    """Options without those whose weights repeat an earlier one's."""
    kept: list[Option] = []
    for option in options:
        if not any(np.max(np.abs(option.weights - other.weights)) <= SAME_WEIGHTS for other in kept):
            kept.append(option)
    return kept
