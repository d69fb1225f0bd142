"""Axes of figures: those that the caller gives or new ones, and counts along them as people write them."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from qqtjax.errors import InputError
from qqtjax.plot.save import new_figure
from qqtjax.text import show_count

SAMPLES = "samples seen"
# From so many decades on only powers of ten are labelled, from so few on every step.
WIDE, NARROW = 3.3, 1.2
# Legends of more entries stand beside the axes, of many more in two columns.
SHORT, LONG = 9, 20


def own_axes(axes: Any, width: float = 6.4, height: float = 4.4) -> Any:
    """The matplotlib Axes that the caller gave, or those of a new figure.

    Args:
        axes: Axes, or None.
        width: of the new figure, inches.
        height: of the new figure, inches.

    Raises:
        MissingExtraError: no matplotlib.
    """
    return new_figure(width, height).subplots() if axes is None else axes


def own_panels(axes: Any, rows: int, columns: int, width: float, height: float) -> np.ndarray:
    """The Axes that the caller gave for several panels, or those of a new figure, as an array.

    Args:
        axes: an array or sequence of `rows * columns` Axes, or None.
        rows: of panels.
        columns: of panels.
        width: of the new figure, inches.
        height: of the new figure, inches.

    Returns:
        `[rows, columns]` Axes.

    Raises:
        MissingExtraError: no matplotlib.
        InputError: another number of Axes.
    """
    if axes is None:
        return new_figure(width, height).subplots(rows, columns, squeeze=False)
    given = np.asarray(axes, object)
    if given.size != rows * columns:
        raise InputError(f"axes: {given.size} given, expected {rows * columns}, one for each panel")
    return given.reshape(rows, columns)


def count_axis(axis: Any, label: str) -> None:
    """Make an axis logarithmic, with ticks such as 0.5, 20k and 1M; to be called once everything is drawn.

    Args:
        axis: `axes.xaxis` or `axes.yaxis`.
        label: with its unit.
    """
    ticker = importlib.import_module("matplotlib.ticker")
    setter = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    setter("log")
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    steps = (1.0,) if decades > WIDE else (1.0, 2.0, 5.0) if decades > NARROW else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axis.set_major_locator(ticker.LogLocator(subs=steps))
    axis.set_minor_locator(ticker.NullLocator())
    count_ticks(axis)
    axis.set_label_text(label)


def legend(axes: Any, beside: bool = False) -> None:
    """A legend where it hides least, or to the right of the axes, where it hides nothing.

    Args:
        axes: with everything drawn.
        beside: to the right even where it is short.
    """
    entries = len(axes.get_legend_handles_labels()[0])
    place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if beside or entries > SHORT else {}
    columns = 1 if not place or entries <= LONG else 2
    axes.legend(frameon=False, fontsize="small", ncols=columns, **place)


def count_ticks(axis: Any) -> None:
    """Write the numbers along an axis as counts: 0.5, 20k and 1M.

    Args:
        axis: `axes.xaxis` or `axes.yaxis`.
    """
    formatter = importlib.import_module("matplotlib.ticker").FuncFormatter
    axis.set_major_formatter(formatter(lambda value, _: show_count(value, 3)))


def error_label(metric: str) -> str:
    """What an axis of errors is called; accuracies were taken as 1 - accuracy when they were read.

    Example:
        >>> error_label("error"), error_label("imagenet_top1")
        ('error', 'error (imagenet_top1)')
    """
    return metric if metric == "error" else f"error ({metric})"
