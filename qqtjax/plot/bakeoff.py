"""A bake-off in one figure: how far every law was off, and what the closest ones predicted."""

from __future__ import annotations

from typing import Any

import numpy as np

from qqtjax.bakeoff import Bakeoff
from qqtjax.plot.save import new_figure

CLOSEST = 3


def bakeoff_figure(result: Bakeoff, metric: str | None = None) -> Any:
    """Mean absolute errors of all laws, and predicted against measured of the closest three.

    A whisker is the 95 % interval of the difference to the first law, set at the end of the bar.

    Args:
        result: of a bake-off.
        metric: which target the predictions are of; by default the first. The errors are means over targets unless
            one is named.

    Returns:
        A matplotlib figure, for `save_figure`.

    Raises:
        MissingExtraError: no matplotlib.
        InputError: an unknown metric.
    """
    shown = result.metrics[0] if metric is None else metric
    laws = sorted(result.laws, key=lambda law: result.score(law, metric).mae)
    error = np.array([result.score(law, metric).mae for law in laws])
    figure = new_figure(10, 1.5 + 0.28 * max(len(laws), 12))
    bars, points = figure.subplots(1, 2)
    bars.barh(np.arange(len(laws)), error, color="0.75")
    most = error.max()
    for place, law in enumerate(laws[1:], 1):
        gap = result.difference(law, laws[0], metric)
        if np.isfinite(gap.low):
            most = max(most, error[0] + gap.high)
            bars.plot(error[0] + np.array([gap.low, gap.high]), [place, place], color="0.2", linewidth=1)
    bars.set_yticks(np.arange(len(laws)), laws)
    bars.invert_yaxis()
    # A law that fails badly would hide the others.
    bars.set_xlim(0, min(1.05 * most, 8 * error[0]))
    bars.set_xlabel(f"mean absolute error, {result.split} held out")
    measured = result.measured[shown]
    ends = [measured.min(), measured.max()]
    points.plot(ends, ends, color="0.7", linewidth=1)
    for law, marker in zip(laws[:CLOSEST], "o^s", strict=False):
        points.plot(measured, result.predicted[shown][law], marker, markersize=4, fillstyle="none", label=law)
    points.set_xlabel(f"measured {shown}")
    points.set_ylabel("predicted")
    points.legend(frameon=False)
    return figure
