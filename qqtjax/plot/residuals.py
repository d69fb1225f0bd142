"""Residuals against epochs: what a law misses, and whether it is repetition that it misses."""

from __future__ import annotations

from typing import Any

import numpy as np

from qqtjax.laws.fitted import FittedLaw
from qqtjax.plot.axes import SAMPLES, count_axis, error_label, legend, own_axes
from qqtjax.plot.colours import FAINT, pool_colours
from qqtjax.plot.measured import predicted_errors
from qqtjax.runs import Runs


def residuals(fitted: FittedLaw, runs: Runs, *, axes: Any = None) -> Any:
    """Predicted less measured error of every checkpoint against the epochs of the pool that it repeated most.

        r_m = y(n_m, w_m) - y_m    against    max_i K_i,   K_i = n w_i / N_i

    Pools alone are dots in their colours, parts of them hollow, mixtures hollow grey diamonds. Where a checkpoint has
    no epochs, no size of its pools being known, the samples seen take the place of the epochs for all.

    Args:
        fitted: a law.
        runs: measured runs on its pools, one metric.
        axes: matplotlib Axes to draw on, by default of a new figure.

    Returns:
        The Axes.

    Raises:
        MissingExtraError: no matplotlib.
        InputError: several metrics, or other pools than the law's.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> axes = residuals(qqt.fit(runs.select(runs.single)), runs)
        >>> axes.get_xlabel()
        'epochs of the pool repeated most'
    """
    off = predicted_errors(fitted, runs) - runs.error
    axes = own_axes(axes)
    epochs = runs.epochs.max(axis=1)
    counted = bool(np.all(epochs > 0))
    place = epochs if counted else runs.samples_seen
    axes.axhline(0, color=FAINT, linewidth=1, zorder=0)
    mixed = np.count_nonzero(runs.weights, axis=1) > 1
    part = ~mixed & ~runs.single
    for index, (name, colour) in enumerate(pool_colours(runs.pools.names).items()):
        whole, partly = runs.source == index, part & (runs.weights[:, index] > 0)
        if whole.any():
            axes.plot(place[whole], off[whole], "o", color=colour, markersize=4, zorder=3, label=name)
        if partly.any():
            style = {"color": colour, "markersize": 4, "fillstyle": "none", "label": f"parts of {name}"}
            axes.plot(place[partly], off[partly], "o", **style)
    if mixed.any():
        axes.plot(place[mixed], off[mixed], "D", color=FAINT, markersize=3.5, fillstyle="none", label="mixtures")
    count_axis(axes.xaxis, "epochs of the pool repeated most" if counted else SAMPLES)
    axes.set_ylabel(f"predicted less measured {error_label(fitted.metric)}")
    legend(axes)
    return axes
