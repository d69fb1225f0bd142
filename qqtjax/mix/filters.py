"""Nested filters: uniform sampling of the best 1, 2, ... pools, the choices that people compare a mix with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw
from qqtjax.runs import Pools

LONGEST_NAME = 24


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
