"""A bake-off: how far every law was off, and what the closest ones predicted."""

from __future__ import annotations

from typing import Any

import numpy as np

from qqtjax.bakeoff import Bakeoff
from qqtjax.plot.axes import own_panels
from qqtjax.plot.colours import FAINT, NEUTRAL, even_colours

CLOSEST = 3


def bakeoff(result: Bakeoff, metric: str | None = None, *, axes: Any = None) -> np.ndarray:
    """Mean absolute errors of all laws, and predicted against measured of the closest three.

    A whisker is the 95 % interval of the difference to the first law, set at the end of the bar.

    Args:
        result: of a bake-off.
        metric: which target the predictions are of; by default the first. The errors are means over targets unless
            one is named.
        axes: two matplotlib Axes, by default of a new figure.

    Returns:
        `[2]` Axes: the errors, the predictions.

    Raises:
        MissingExtraError: no matplotlib.
        InputError: an unknown metric; another number of Axes.
    """
    shown = result.metrics[0] if metric is None else metric
    laws = sorted(result.laws, key=lambda law: result.score(law, metric).mae)
    error = np.array([result.score(law, metric).mae for law in laws])
    bars, points = own_panels(axes, 1, 2, 10, 1.5 + 0.28 * max(len(laws), 12))[0]
    bars.barh(np.arange(len(laws)), error, color=FAINT)
    most = error.max()
    for place, law in enumerate(laws[1:], 1):
        gap = result.difference(law, laws[0], metric)
        if np.isfinite(gap.low):
            most = max(most, error[0] + gap.high)
            bars.plot(error[0] + np.array([gap.low, gap.high]), [place, place], color=NEUTRAL, linewidth=1)
    bars.set_yticks(np.arange(len(laws)), laws)
    bars.invert_yaxis()
    # A law that fails badly would hide the others.
    bars.set_xlim(0, min(1.05 * most, 8 * error[0]))
    bars.set_xlabel(f"mean absolute error, {result.split} held out")
    measured = result.measured[shown]
    ends = [measured.min(), measured.max()]
    points.plot(ends, ends, color=FAINT, linewidth=1)
    for law, marker, colour in zip(laws[:CLOSEST], "o^s", even_colours(CLOSEST), strict=False):
        predicted = result.predicted[shown][law]
        points.plot(measured, predicted, marker, color=colour, markersize=4, fillstyle="none", label=law)
    points.set_xlabel(f"measured {shown}")
    points.set_ylabel("predicted")
    points.legend(frameon=False)
    return np.array([bars, points], object)
