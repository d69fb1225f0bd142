"""Reliability diagram: does what was stated with a probability happen that often."""

from __future__ import annotations

from typing import Any

import numpy as np

from qqtjax.decide.reliability import Reliability
from qqtjax.plot.axes import own_axes
from qqtjax.plot.colours import FAINT, OKABE_ITO

BLUE = OKABE_ITO[3]


def reliability(found: Reliability, *, level: float = 0.95, axes: Any = None) -> Any:
    """Share that happened against stated probability, a point a bin; on the diagonal probabilities come true.

    Whiskers are exact binomial intervals, had the events nothing to do with each other: events that share a run are
    worth fewer, and their whiskers are too short.

    Args:
        found: of `qqtjax.decide.reliability`.
        level: of the whiskers.
        axes: matplotlib Axes to draw on, by default of a new figure.

    Returns:
        The Axes.

    Raises:
        MissingExtraError: no matplotlib.
        InputError: a level that is not between 0 and 1.

    Example:
        >>> from qqtjax.decide import reliability as table_of
        >>> axes = reliability(table_of([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], bins=2))
        >>> axes.texts[0].get_text().splitlines()[0]
        'calibration error 0.150'
    """
    low, high = found.interval(level)
    axes = own_axes(axes, 5.4, 5.0)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, zorder=0)
    axes.vlines(found.stated, low, high, color=BLUE, linewidth=1, label=f"{100 * level:.4g} % interval, if independent")
    axes.plot(found.stated, found.happened, "-o", color=BLUE, markersize=5, linewidth=0.8, label="happened")
    lines = (
        f"calibration error {found.error:.3f}",
        f"Brier score {found.brier:.3f}, base rate alone {found.rate * (1 - found.rate):.3f}",
        f"{int(np.sum(found.count)):,} events in {len(found.count)} bins",
    )
    axes.annotate("\n".join(lines), (0.03, 0.97), xycoords="axes fraction", va="top")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel("stated probability")
    axes.set_ylabel("share that happened")
    axes.legend(loc="lower right", frameon=False, fontsize="small")
    return axes
