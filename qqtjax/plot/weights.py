"""The best weights against budget, stacked."""

from __future__ import annotations

from typing import Any

import numpy as np

from qqtjax.plan.result import Plan
from qqtjax.plot.axes import count_axis, own_axes
from qqtjax.plot.budgets import BUDGET
from qqtjax.plot.colours import pool_colours
from qqtjax.plot.options import names_of, rows_of
from qqtjax.runs import Pools

# Tells neighbours of like colours apart.
EDGE = {"edgecolor": "white", "linewidth": 0.5}


def weights(plan: Plan, pools: Pools | None = None, *, axes: Any = None) -> Any:
    """Weights of the best mix against budget as a stacked area, the best pool at the bottom; they sum to 1.

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
        >>> axes = weights(qqt.plan(paper, [32e6, 128e6, 640e6]))
        >>> [area.get_label() for area in axes.collections][:2]
        ['top 10 %', '10-20 %']
    """
    rows = rows_of(plan)
    colours = pool_colours(names_of(plan, pools))
    axes = own_axes(axes, 7.2, 4.2)
    seen = np.array([row.samples_seen for row in rows])
    shares = np.array([[row.mix.weights[name] for row in rows] for name in plan.pools])
    axes.stackplot(seen, shares, labels=list(plan.pools), colors=[colours[name] for name in plan.pools], **EDGE)
    axes.set_xlim(seen[0], seen[-1])
    axes.set_ylim(0, 1)
    count_axis(axes.xaxis, BUDGET)
    axes.set_ylabel("share of the samples drawn, best mix")
    # As they lie, the best at the bottom.
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize="small"
    )
    return axes
