"""What figures of plans share: budgets in order, and how the line of each option looks."""

from __future__ import annotations

from typing import Any, NamedTuple

from qqtjax.errors import InputError
from qqtjax.plan.result import Plan, PlanRow
from qqtjax.plot.colours import DASHES, NEUTRAL, pool_colours, pool_dashes
from qqtjax.runs import Pools

# Pools beyond six are dashed too: diamonds tell the best mix from them.
MIX: dict[str, Any] = {"color": NEUTRAL, "linestyle": (0, (4, 2)), "marker": "D", "markersize": 3.5}
MARKS = 12


class Style(NamedTuple):
    """Of a line: a colour and a matplotlib line style."""

    colour: str
    dash: str


def rows_of(plan: Plan) -> tuple[PlanRow, ...]:
    """The budgets of a plan, ascending.

    Raises:
        InputError: fewer than two different ones.
    """
    rows = tuple(sorted(plan.rows, key=lambda row: row.samples_seen))
    if len({row.samples_seen for row in rows}) < 2:
        raise InputError("a figure against budget needs a plan for two or more budgets")
    return rows


def names_of(plan: Plan, pools: Pools | None) -> tuple[str, ...]:
    """The pools in the order in which they take colours: that of the table, or best first where it is not given.

    Raises:
        InputError: other pools than the plan's.
    """
    if pools is None:
        return tuple(plan.pools)
    if set(pools.names) != set(plan.pools):
        raise InputError(f"pools {', '.join(pools.names)}: expected those of the plan, {', '.join(plan.pools)}")
    return pools.names


def mix_style(count: int) -> dict[str, Any]:
    """How the line of the best mix looks, with diamonds on some of its points.

    Args:
        count: of points.
    """
    return {**MIX, "markevery": max(count // MARKS, 1)}


def option_styles(plan: Plan, pools: Pools | None) -> dict[str, Style]:
    """`{option: style}`: a nested filter looks as the worst pool that it takes, a pool alone as itself.

    The user's own filters and mixes have the colour of their largest pool and are dashed, in turn.

    Raises:
        InputError: other pools than the plan's.
    """
    names, best_first = names_of(plan, pools), tuple(plan.pools)
    colours, dashes = pool_colours(names), pool_dashes(names)
    styles: dict[str, Style] = {}
    own = 0
    for option in plan.rows[0].options:
        largest = max(option.weights, key=lambda name: option.weights[name])
        if option.pools or option.name == largest:
            pool = best_first[option.pools - 1] if option.pools else largest
            styles[option.name] = Style(colours[pool], dashes[pool])
        else:
            styles[option.name] = Style(colours[largest], DASHES[own % len(DASHES)])
            own += 1
    return styles
