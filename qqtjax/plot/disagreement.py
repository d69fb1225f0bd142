"""Where laws disagree: what each predicts for the same filters and mixes, and which of them it would choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw, Shares
from qqtjax.plot.axes import error_label, legend, own_panels
from qqtjax.plot.colours import FAINT, NEUTRAL, even_colours
from qqtjax.plot.measured import check_table
from qqtjax.runs import Runs
from qqtjax.text import show_count

MARKERS = "os^DvP*X<>"
# A measured mixture is one of the options at one of the budgets if weights and samples seen agree to this.
SAME_WEIGHTS, SAME_BUDGET = 1e-6, 0.02


def disagreement(
    laws: Mapping[str, FittedLaw],
    options: Mapping[str, Shares],
    budgets: ArrayLike,
    *,
    runs: Runs | None = None,
    axes: Any = None,
) -> np.ndarray:
    """What several laws predict for the same options, a panel a budget; the one that each would choose is filled.

    Args:
        laws: `{name: law}` of the same pools.
        options: `{name: {pool: share} or [P] shares}`, filters and mixes.
        budgets: `[B]` samples seen, one a panel.
        runs: measured runs; those of an option at a budget (within 2 %) are ticks.
        axes: an array of B matplotlib Axes, by default of a new figure.

    Returns:
        `[B]` Axes.

    Raises:
        MissingExtraError: no matplotlib.
        InputError: no law, option or budget; laws of other pools; wrong shares or budgets; another number of Axes;
            runs of other pools or of several metrics.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars")
        >>> laws = {"utility": paper.utility, "effective data": paper.effective_data}
        >>> filters = {"top 10 %": {"top 10 %": 1}, "top 20 %": {"top 10 %": 0.5, "10-20 %": 0.5}}
        >>> [each.get_title() for each in disagreement(laws, filters, [32e6, 640e6])]
        ['32M samples seen', '640M samples seen']
    """
    seen = np.atleast_1d(np.asarray(budgets, np.float64))
    if not laws or not options or not len(seen):
        raise InputError("disagreement: expected at least one law, one option and one budget")
    first = next(iter(laws.values()))
    for name, law in laws.items():
        if law.pools.names != first.pools.names:
            raise InputError(f"law {name}: pools {', '.join(law.pools.names)}, expected {', '.join(first.pools.names)}")
    weights = np.stack([first.pools.weights(shares) for shares in options.values()])
    predicted = {name: law.predict(weights[:, None, :], seen) for name, law in laws.items()}
    ticked = False
    if runs is not None:
        check_table(first, runs)
    height = 1.4 + max(0.32 * len(options), 0.25 * (len(laws) + 2))
    panels = own_panels(axes, 1, len(seen), 2.8 + 2.8 * len(seen), height)[0]
    rows = np.arange(len(options))
    colours = even_colours(len(laws))
    for column, (budget, panel) in enumerate(zip(seen, panels, strict=True)):
        panel.hlines(rows, 0, 1, transform=panel.get_yaxis_transform(), color=FAINT, linewidth=0.5, zorder=0)
        if runs is not None:
            for row, shares in enumerate(weights):
                measured = runs.error[_of(runs, shares, budget)]
                ticked |= len(measured) > 0
                panel.plot(measured, np.full(len(measured), row), "|", color=NEUTRAL, markersize=16)
        for place, (name, error) in enumerate(predicted.items()):
            style: dict[str, Any] = {"marker": MARKERS[place % len(MARKERS)], "color": colours[place], "linestyle": ""}
            own = error[:, column]
            best = int(np.argmin(own))
            panel.plot(own, rows, fillstyle="none", label=name, **style)
            panel.plot(own[best], rows[best], **style)
        panel.set_yticks(rows, list(options) if column == 0 else [])
        panel.set_ylim(len(options) - 0.5, -0.5)
        panel.set_title(f"{show_count(float(budget), 3)} samples seen")
        panel.set_xlabel(f"predicted {error_label(first.metric)}")
    last = panels[-1]
    if ticked:
        last.plot([], [], "|", color=NEUTRAL, markersize=10, label="measured")
    last.plot([], [], "o", color=FAINT, label="filled: chosen")
    legend(last, beside=True)
    return panels


def _of(runs: Runs, weights: np.ndarray, budget: float) -> np.ndarray:
    """`[M]` bool: the checkpoints of an option at a budget."""
    drawn = weights > 0
    same = np.max(np.abs(runs.weights - weights), axis=1) <= SAME_WEIGHTS
    # Runs that draw from a part of a pool are others than those of the whole pool.
    whole = np.all(runs.sizes[:, drawn] == runs.pools.sizes[drawn], axis=1)
    return same & whole & (np.abs(runs.samples_seen / budget - 1) <= SAME_BUDGET)
