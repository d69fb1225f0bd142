"""The probability of being best against budget."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.plan.result import Plan
from qqtjax.plot.axes import count_axis, legend, own_axes
from qqtjax.plot.budgets import BUDGET
from qqtjax.plot.options import mix_style, option_styles, rows_of
from qqtjax.runs import Pools


def best(plan: Plan, pools: Pools | None = None, *, mix: ArrayLike | None = None, axes: Any = None) -> Any:
    """Probability that each filter is the best of all filters against budget, from the plan's `decision`.

    At each budget they sum to 1 over the filters. The line of the best mix is another question, whether the mix is
    at least as good as every one of them, and stands beside.

    Args:
        plan: for two or more budgets, made with draws.
        pools: those of the table, whose order gives colours; by default the plan's, best first.
        mix: `[B]` probability, for each row of the plan, that its best mix is at least as good as every option
            (`qqtjax.decide.probability_unbeaten`); None: no line.
        axes: matplotlib Axes to draw on, by default of a new figure.

    Returns:
        The Axes.

    Raises:
        MissingExtraError: no matplotlib.
        InputError: a plan without a decision; fewer than two budgets; other pools than the plan's; another number
            of probabilities.

    Example:
        >>> import jax
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> twice = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), paper.params)
        >>> draws = qqt.Draws(paper, twice, "by hand", np.inf, ())  # of runs: qqt.draw(fit, runs)
        >>> axes = best(qqt.plan(paper, [32e6, 128e6, 640e6], draws=draws))
        >>> {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()[:2]}
        {'top 10 %': [1.0, 0.0, 0.0], 'top 10 %+10-20 %': [0.0, 1.0, 1.0]}
    """
    rows_of(plan)
    decision = plan.decision
    if decision is None:
        raise InputError("the plan does not say how sure it is: make it with draws (draws=qqtjax.draw(fit, runs))")
    styles = option_styles(plan, pools)
    order = np.argsort(decision.budgets, kind="stable")
    seen = decision.budgets[order]
    axes = own_axes(axes, 7.6, 4.2)
    for name, probability in zip(decision.names, decision.probability, strict=True):
        axes.plot(seen, probability[order], styles[name].dash, color=styles[name].colour, linewidth=1.8, label=name)
    if mix is not None:
        unbeaten = np.asarray(mix, np.float64)
        if unbeaten.shape != seen.shape:
            raise InputError(f"mix: shape {unbeaten.shape}, expected a probability for each of {len(seen)} budgets")
        label = "best mix, against all of them"
        axes.plot(seen, unbeaten[order], linewidth=1.5, label=label, **mix_style(len(seen)))
    axes.set_xlim(seen[0], seen[-1])
    axes.set_ylim(-0.02, 1.02)
    count_axis(axes.xaxis, BUDGET)
    axes.set_ylabel("probability of being best")
    legend(axes, beside=True)
    return axes
