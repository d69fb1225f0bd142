"""What a plan chooses from: nested filters, no filtering, and the filters and mixes that the user names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw, Shares
from qqtjax.mix.filters import Option, nested_filters
from qqtjax.runs import Pools

SAME_WEIGHTS = 1e-9


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
