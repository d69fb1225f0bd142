"""Which constraints of a mix collide, and the largest budget that satisfies them: the refusal in one line."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from qqtjax.errors import InputError
from qqtjax.mix.emptiness import is_empty
from qqtjax.mix.feasible import TOLERANCE, Feasible
from qqtjax.text import show_count

TESTS = 200  # of sets of constraints, at most, before what is left is named as it is
NAMED = 5  # pools, before the others are counted
HALVINGS, BISECTIONS = 60, 50
DIGITS = 6


class Kept(NamedTuple):
    """A subset of the constraints in a `Feasible`.

    Attributes:
        low: `[P]` bool, which lower bounds; a fixed share counts as both its bounds.
        high: `[P]` bool.
        rows: `[R]` bool.
        entropies: one bool each.
        l1: `[1]` bool, is the limit on the summed absolute difference in it; `[0]` where there is none.
    """

    low: np.ndarray
    high: np.ndarray
    rows: np.ndarray
    entropies: np.ndarray
    l1: np.ndarray


def refuse_empty(feasible: Feasible) -> None:
    """Raise one line that names a minimal set of colliding constraints where no weights satisfy all.

    Args:
        feasible: the constraints of P pools.

    Raises:
        InputError: no weights satisfy all.
    """
    if not is_empty(feasible):
        return
    kept = colliding(feasible)
    words = _words(feasible, kept)
    if _budget_matters(feasible, kept):
        reached = largest_budget(feasible)
        if reached > 0:
            drawn, budget = show_count(_rounded_down(reached), DIGITS), show_count(feasible.samples_seen)
            raise InputError(f"{words}: at most {drawn} of the budget of {budget} samples can be drawn")
        if np.any(kept.high & (feasible.high_kinds == "max_epochs") & (feasible.high == 0)):
            raise InputError(f"no weights satisfy {words}: seen_before has used them up, so that nothing can be drawn")
    raise InputError(f"no weights satisfy {words}{_sums(feasible, kept)}")


def colliding(feasible: Feasible) -> Kept:
    """A minimal set of constraints that no weights satisfy: without any one of them some do.

    Bounds that collide by themselves are found from their sums. Else a deletion filter leaves out constraints as long
    as the rest still collide: first whole kinds of bounds, rows, distance and entropies, then pools of the kinds that
    are left. After 200 tests, which takes some hundred pools, what is left collides but may name more pools than it
    must.

    Args:
        feasible: constraints of P pools that no weights satisfy.

    Example:
        >>> from qqtjax.mix.constraints import Constraints
        >>> from qqtjax.runs import Pools
        >>> pools = Pools.of({"top10": 1e6, "top20": 1e6, "web": 1e8})
        >>> asked = Constraints(caps={"top20": 0.9, "web": 0.3}, minimums={"top10": 0.6, "web": 0.5})
        >>> colliding(asked.bind(pools, 1e6)).low
        array([False, False,  True])
    """
    low, high = feasible.low, feasible.high
    crossed = np.flatnonzero(low > high + TOLERANCE)
    if len(crossed) and len(low) > 1:
        one = np.arange(len(low)) == crossed[0]
        return _nothing(feasible)._replace(low=one, high=one)
    if high.sum() < 1 - TOLERANCE:
        return _nothing(feasible)._replace(high=feasible.high_kinds != "")
    if low.sum() > 1 + TOLERANCE:
        order = np.argsort(-low, kind="stable")
        needed = order[: 1 + np.argmax(np.cumsum(low[order]) > 1 + TOLERANCE)]
        return _nothing(feasible)._replace(low=np.isin(np.arange(len(low)), needed))
    kinds = _least(feasible, _by_kind(feasible))
    return _union(feasible, _least(feasible, [[single] for kind in kinds for single in kind]))


def minimal(count: int, collide: Callable[[np.ndarray], bool]) -> np.ndarray:
    """A minimal subset of `count` things that collide, by deletion of ever smaller blocks.

    Args:
        count: how many.
        collide: do the things of a `[count]` bool array collide; more things never collide less.

    Returns:
        `[count]` bool.

    Example:
        >>> minimal(6, lambda chosen: chosen[1] and chosen[4]).nonzero()[0].tolist()
        [1, 4]
    """
    kept = np.ones(count, bool)
    blocks = [(0, count)]
    for _ in range(TESTS):
        if not blocks:
            break
        start, end = blocks.pop()
        rest = kept.copy()
        rest[start:end] = False
        if collide(rest):
            kept = rest
        elif end - start > 1:
            middle = (start + end) // 2
            blocks += [(middle, end), (start, middle)]
    return kept


def largest_budget(feasible: Feasible) -> float:
    """The largest budget, at most the one bound to, at which some weights satisfy all constraints; 0 if none does.

    Limits on epochs and cost loosen as the budget falls and the others do not change, so the budgets that can be
    reached are an interval from 0: halved until one can, then bisected.

    Args:
        feasible: the constraints.

    Returns:
        Samples seen.

    Example:
        >>> from qqtjax.mix.constraints import Constraints
        >>> from qqtjax.runs import Pools
        >>> pools = Pools.of({"top10": 1e6, "web": 3e6})
        >>> round(largest_budget(Constraints(max_epochs=4, caps={"web": 0.6}).bind(pools, 1e9)))
        10000000
    """
    above = feasible.samples_seen
    if not is_empty(feasible):
        return above
    for _ in range(HALVINGS):
        below = above / 2
        if not is_empty(feasible.at(below)):
            break
        above = below
    else:
        return 0.0
    for _ in range(BISECTIONS):
        middle = (below + above) / 2
        below, above = (below, middle) if is_empty(feasible.at(middle)) else (middle, above)
    return below


def _nothing(feasible: Feasible) -> Kept:
    pools, rows = np.zeros(len(feasible.low), bool), np.zeros(len(feasible.rows), bool)
    return Kept(
        pools, pools.copy(), rows, np.zeros(len(feasible.entropies), bool), np.zeros(int(feasible.l1 is not None), bool)
    )


def _by_kind(feasible: Feasible) -> list[list[tuple[str, int]]]:
    """Everything that may be left out, as (part, place): whole kinds of bounds first, then the others one by one."""
    fixed = feasible.low_kinds == "fixed share"  # one constraint with two bounds, listed by its lower
    sides = (("high", np.where(fixed, "", feasible.high_kinds)), ("low", feasible.low_kinds))
    bounds = [
        [(side, int(place)) for place in np.flatnonzero(kinds == kind)]
        for side, kinds in sides
        for kind in sorted(set(kinds) - {""})
    ]
    counts = {"rows": len(feasible.rows), "l1": int(feasible.l1 is not None), "entropies": len(feasible.entropies)}
    return bounds + [[(part, place)] for part, count in counts.items() for place in range(count)]


def _least(feasible: Feasible, things: list[list[tuple[str, int]]]) -> list[list[tuple[str, int]]]:
    """A minimal part of the things that still collide."""

    def collide(chosen: np.ndarray) -> bool:
        return is_empty(_only(feasible, _union(feasible, [things[place] for place in np.flatnonzero(chosen)])))

    return [things[place] for place in np.flatnonzero(minimal(len(things), collide))]


def _union(feasible: Feasible, things: list[list[tuple[str, int]]]) -> Kept:
    kept = _nothing(feasible)
    parts = kept._asdict()
    for thing in things:
        for part, place in thing:
            parts[part][place] = True
    return kept._replace(high=kept.high | (kept.low & (feasible.low_kinds == "fixed share")))


def _only(feasible: Feasible, kept: Kept) -> Feasible:
    """The same with every other constraint left out."""
    return feasible._replace(
        low=np.where(kept.low, feasible.low, 0.0),
        high=np.where(kept.high, feasible.high, 1.0),
        rows=feasible.rows[kept.rows],
        row_low=feasible.row_low[kept.rows],
        row_high=feasible.row_high[kept.rows],
        entropies=tuple(each for each, keep in zip(feasible.entropies, kept.entropies, strict=True) if keep),
        l1=feasible.l1 if kept.l1.any() else None,
    )


def _budget_matters(feasible: Feasible, kept: Kept) -> bool:
    """Does a limit on epochs or cost, which loosens with a smaller budget, take part."""
    cost = [feasible.row_names[row].startswith("cost ") for row in np.flatnonzero(kept.rows)]
    return any(cost) or bool(np.any(feasible.high_kinds[kept.high] == "max_epochs"))


def _words(feasible: Feasible, kept: Kept) -> str:
    """The constraints of a set in one line, pools of one kind of bound together."""
    sides = ((feasible.low_kinds, feasible.low_said, kept.low), (feasible.high_kinds, feasible.high_said, kept.high))
    said: dict[str, dict[str, float]] = {}
    for kinds, numbers, chosen in sides:
        for pool in np.flatnonzero(chosen & (kinds != "")):
            said.setdefault(kinds[pool], {})[feasible.names[pool]] = numbers[pool]
    words = [_of_pools(kind, numbers) for kind, numbers in said.items()]
    words += [feasible.row_names[row] for row in np.flatnonzero(kept.rows)]
    words += [feasible.l1_name] if kept.l1.any() else []
    words += [each.name for each, keep in zip(feasible.entropies, kept.entropies, strict=True) if keep]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _of_pools(kind: str, numbers: dict[str, float]) -> str:
    """`max_epochs 2 of top10, top20`, or `cap of web (0.1), books (0.2)` where the numbers differ."""
    some = dict(list(numbers.items())[:NAMED])
    others = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    if len(set(numbers.values())) == 1:
        return f"{kind} {next(iter(numbers.values())):g} of {', '.join(some)}{others}"
    return f"{kind} of {', '.join(f'{name} ({number:g})' for name, number in some.items())}{others}"


def _sums(feasible: Feasible, kept: Kept) -> str:
    """What the shares come to, where bounds collide by their sum."""
    low, high = feasible.low[kept.low].sum(), np.where(kept.high, feasible.high, 1.0).sum()
    if low > 1 + TOLERANCE:
        return f": the shares come to {low:.9g} or more, expected at most 1"
    if high < 1 - TOLERANCE:
        return f": the shares come to {high:.9g} or less, expected 1"
    return ""


def _rounded_down(count: float) -> float:
    """To the digits that are shown, so that the number in a message can be used."""
    step = 10.0 ** (math.floor(math.log10(count)) - DIGITS + 1)
    return math.floor(count / step * (1 + 1e-12)) * step
