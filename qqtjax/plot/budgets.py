"""Predicted error against budget: every filter, the best mix, and where the best filter changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from qqtjax.plan.result import Crossover, Plan
from qqtjax.plot.axes import count_axis, error_label, legend, own_axes
from qqtjax.plot.colours import NEUTRAL
from qqtjax.plot.curves import THICK, THIN
from qqtjax.plot.options import mix_style, option_styles, rows_of
from qqtjax.runs import Pools
from qqtjax.text import show_count

BUDGET = "budget, samples seen"
# Shares of the height of the axes: the interval of one crossover and of all below the lines, the space around them.
ROW, ALL, MARGIN = 0.085, 0.45, 0.04
NAMED, LONGEST = 2, 18  # pools named in what a filter adds; characters of an option's name


def budgets(plan: Plan, pools: Pools | None = None, *, axes: Any = None) -> Any:
    """Predicted error of every filter and of the best mix against budget; a ring where the best filter changes.

    Below the lines stands, for each change, the set of budgets at which it may truly lie (`crossovers[].doubt`, from
    draws); an arrow is an end that was not found. A line is thin where it extrapolates. Between the plan's budgets
    lines are straight: ask for a plan at many.

    Source: Figure 5 of arXiv 2404.07177.

    Args:
        plan: for two or more budgets.
        pools: those of the table, whose order gives colours; by default the plan's, best first.
        axes: matplotlib Axes to draw on, by default of a new figure.

    Returns:
        The Axes.

    Raises:
        MissingExtraError: no matplotlib.
        InputError: fewer than two budgets; other pools than the plan's.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> axes = budgets(qqt.plan(paper, [32e6, 128e6, 640e6]))
        >>> [text.get_text() for text in axes.texts]
        ['adds 10-20 % at 81.8M']
    """
    rows = rows_of(plan)
    styles = option_styles(plan, pools)
    axes = own_axes(axes, 7.6, 4.8)
    seen = np.array([row.samples_seen for row in rows])
    extrapolates, errors = False, []
    lines = [(name, [row.options[place] for row in rows]) for place, name in enumerate(styles)]
    lines.append((rows[0].mix.name, [row.mix for row in rows]))
    for name, recipes in lines:
        error = np.array([recipe.error for recipe in recipes])
        beyond = np.array([recipe.extrapolation != "" for recipe in recipes])
        own = styles.get(name)
        style = mix_style(len(seen)) if own is None else {"color": own.colour, "linestyle": own.dash}
        # Never both: dashes of two widths fill each other's gaps.
        thin = beyond | np.append(beyond[1:], False) | np.append(False, beyond[:-1])
        axes.plot(seen, np.where(thin, error, np.nan), linewidth=THIN, **style)
        axes.plot(seen, np.where(beyond, np.nan, error), linewidth=THICK, label=name, **style)
        extrapolates |= bool(beyond.any())
        errors.append(error)
    if extrapolates:
        axes.plot([], [], color=NEUTRAL, linewidth=THIN, label="extrapolated")
    inside = [each for each in plan.crossovers if each.decides and seen[0] <= each.samples_seen <= seen[-1]]
    low, high = float(np.min(errors)), float(np.max(errors))
    row = min(ROW, ALL / max(len(inside), 1))
    below = len(inside) * row + MARGIN
    axes.set_ylim(low - (high - low) * below / (1 - below - MARGIN), high + (high - low) * MARGIN)
    axes.set_xlim(seen[0], seen[-1])
    heights = dict(zip([name for name, _ in lines], errors, strict=True))
    for place, crossover in enumerate(inside):
        at = [np.interp(np.log(crossover.samples_seen), np.log(seen), heights[name]) for name in _pair(crossover)]
        axes.plot(crossover.samples_seen, np.mean(at), "o", color=NEUTRAL, fillstyle="none", markersize=9, zorder=4)
        height = MARGIN / 2 + row * (len(inside) - place - 0.75)
        _interval(axes, crossover, _change(plan, crossover), height, float(seen[0]), float(seen[-1]))
    count_axis(axes.xaxis, BUDGET)
    axes.set_ylabel(f"predicted {error_label(plan.metric)}")
    legend(axes, beside=True)
    return axes


def _pair(crossover: Crossover) -> tuple[str, str]:
    return crossover.below, crossover.above


def _change(plan: Plan, crossover: Crossover) -> str:
    """What becomes better, in a few words: the pools that a larger filter adds, or both names."""
    taken = {option.name: option.pools for option in plan.rows[0].options}
    before, after = (taken[name] for name in _pair(crossover))
    if before and after:
        pools = list(plan.pools)[min(before, after) : max(before, after)]
        which = ", ".join(pools) if len(pools) <= NAMED else f"{len(pools)} pools"
        return f"{'adds' if after > before else 'drops'} {which}"
    return " → ".join(name if len(name) <= LONGEST else f"{name[: LONGEST - 2]}.." for name in _pair(crossover))


def _interval(axes: Any, crossover: Crossover, said: str, height: float, first: float, last: float) -> None:
    """The set of budgets of one change as bars at a height (share of that of the axes), with words above them."""
    across = axes.get_xaxis_transform()
    at, doubt = crossover.samples_seen, crossover.doubt
    for low, high in () if doubt is None else doubt.spans:
        start, end = max(low, first), min(high, last)
        if start > end:
            continue
        axes.plot([start, end], [height, height], color=NEUTRAL, linewidth=3, alpha=0.45, transform=across)
        for place, marker, is_open in ((start, "<", low < first), (end, ">", high > last)):
            if is_open:
                axes.plot(place, height, marker, color=NEUTRAL, markersize=5, transform=across, clip_on=False)
    axes.plot(at, height, "o", color=NEUTRAL, markersize=4, transform=across)
    # Two thirds of the width are left to it, wherever it stands.
    share = np.log(at / first) / np.log(last / first)
    side, offset = ("left", -4) if share < 1 / 3 else ("right", 4) if share > 2 / 3 else ("center", 0)
    axes.annotate(
        f"{said} at {show_count(at, 3)}" + ("" if doubt is None else f" ({doubt})"),
        (at, height),
        xycoords=across,
        xytext=(offset, 4),
        textcoords="offset points",
        ha=side,
        va="bottom",
        fontsize="small",
    )
