"""How far the weight of each pool may move among the mixes that are nearly best."""

from __future__ import annotations

from typing import Any

import numpy as np

from qqtjax.decide import NearBest
from qqtjax.plot.axes import own_axes
from qqtjax.plot.colours import NEUTRAL, pool_colours
from qqtjax.text import show_count

LEAST = 6  # pools that the figure is made high enough for


def near_best(found: NearBest, *, axes: Any = None) -> Any:
    """The range of each pool's weight within epsilon of the least error, the best mix a dot.

    Each range is that of one weight while all others follow; their ends do not go together.

    Args:
        found: of `qqtjax.near_best`.
        axes: matplotlib Axes to draw on, by default of a new figure.

    Returns:
        The Axes.

    Raises:
        MissingExtraError: no matplotlib.

    Example:
        >>> import qqtjax as qqt
        >>> axes = near_best(qqt.near_best(qqt.published("datacomp-tmars").utility, 128e6, 0.002))
        >>> axes.get_title()
        'within 0.002 of the least error 0.7183 at 128M samples seen'
    """
    names = list(found.best)
    axes = own_axes(axes, 6.4, 1.4 + 0.32 * max(len(names), LEAST))
    places = np.arange(len(names))
    colours = pool_colours(names)
    low, high, best = (np.array([each[name] for name in names]) for each in (found.low, found.high, found.best))
    axes.barh(places, high - low, left=low, color=list(colours.values()), height=0.5)
    axes.plot(best, places, "o", color="white", markeredgecolor=NEUTRAL, markersize=5, label="best mix")
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.02)
    how = "" if found.proved else " (among random mixes: wider in truth)"
    axes.set_xlabel(f"weight{how}")
    axes.set_title(
        f"within {found.epsilon:g} of the least error {found.error:.4f} at {show_count(found.samples_seen, 4)} samples "
        "seen",
        fontsize="medium",
    )
    axes.legend(frameon=False, fontsize="small")
    return axes
