"""Learning curves of the pools: what was measured, the law's line through it, and how sure the line is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import FittedLaw
from qqtjax.plot.axes import SAMPLES, count_axis, error_label, legend, own_axes
from qqtjax.plot.colours import NEUTRAL, pool_colours, pool_dashes
from qqtjax.plot.intervals import apart, interval
from qqtjax.plot.measured import check_table
from qqtjax.runs import Runs
from qqtjax.text import show_count

POINTS = 128
THIN, THICK = 0.8, 1.8
# Above and below all lines and points, in their whole height.
MARGIN = 0.1


def curves(
    fit: FittedLaw | Draws,
    runs: Runs,
    *,
    held_out: np.ndarray | None = None,
    until: float | None = None,
    level: float = 0.95,
    axes: Any = None,
) -> Any:
    """Measured error of each pool alone against samples seen, with the law's prediction and its interval.

    Checkpoints that were not fitted are hollow; a line is thin where it extrapolates. The band is that of the
    expected error: the noise of one more measurement comes on top. Runs on a part of a pool have a line of their own.

    Args:
        fit: a law, or draws in its place for the bands.
        runs: measured runs on its pools, one metric; mixtures are not drawn.
        held_out: `[M]` bool, which checkpoints of `runs` the fit did not see; None: nothing is marked.
        until: samples seen up to which the lines go; by default as far as each pool was measured.
        level: share of the draws inside a band, equal tails.
        axes: matplotlib Axes to draw on, by default of a new figure.

    Returns:
        The Axes.

    Raises:
        MissingExtraError: no matplotlib.
        InputError: several metrics, or other pools than the law's; no pool was measured alone; a level that is not
            between 0 and 1; `held_out` of another length.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> axes = curves(qqt.fit(runs.select(runs.single)), runs)
        >>> axes.get_ylabel()
        'error'
    """
    fitted, draws = apart(fit, level)
    check_table(fitted, runs)
    hidden = np.zeros(len(runs), bool) if held_out is None else np.asarray(held_out)
    if hidden.shape != runs.error.shape or hidden.dtype != bool:
        raise InputError(f"held_out: {hidden.dtype} of shape {hidden.shape}, expected {len(runs)} truth values")
    lines = list(_lines(runs))
    if not lines:
        raise InputError("no pool was measured alone: there are no curves of pools to draw")
    axes = own_axes(axes)
    names = [*runs.pools.names, *(line.name for line in lines if not line.whole)]
    colours, dashes = pool_colours(names), pool_dashes(names)
    extrapolates, shown_errors = False, []
    for line in lines:
        law = fitted if line.whole else fitted.with_sizes({line.pool: line.size})
        seen, own = runs.samples_seen[line.rows], hidden[line.rows]
        shown = np.geomspace(seen.min(), max(until or seen.max(), seen.min()), POINTS)
        error = law.predict({line.pool: 1.0}, shown)
        style: dict[str, Any] = {"color": colours[line.name], "linestyle": dashes[line.name]}
        if draws is not None:
            drawn = dataclasses.replace(draws, fitted=law).predict({line.pool: 1.0}, shown)
            axes.fill_between(shown, *interval(drawn, level), color=colours[line.name], alpha=0.2, linewidth=0)
        beyond = np.array([law.extrapolation({line.pool: 1.0}, each) != "" for each in shown])
        extrapolates |= bool(beyond.any())
        shown_errors += [error, runs.error[line.rows]]
        axes.plot(shown, error, linewidth=THIN, **style)
        axes.plot(shown, np.where(beyond, np.nan, error), linewidth=THICK, label=line.name, **style)
        for some, filled in ((~own, "full"), (own, "none")):
            points = {"color": colours[line.name], "fillstyle": filled, "markersize": 3.5}
            axes.plot(seen[some], runs.error[line.rows][some], "o", **points)
    if any(hidden[line.rows].any() for line in lines):
        axes.plot([], [], "o", color=NEUTRAL, fillstyle="none", markersize=3.5, label="not fitted")
    if extrapolates:
        axes.plot([], [], color=NEUTRAL, linewidth=THIN, label="extrapolated")
    # A band that leaves everything open would hide the rest.
    low, high = (float(end(np.concatenate(shown_errors))) for end in (np.min, np.max))
    axes.set_ylim(low - MARGIN * (high - low), high + MARGIN * (high - low))
    count_axis(axes.xaxis, SAMPLES)
    axes.set_ylabel(error_label(fitted.metric))
    legend(axes)
    return axes


class _Line(NamedTuple):
    """What one line shows: a pool, or a part of one, and its checkpoints."""

    name: str
    pool: str
    size: float
    whole: bool
    rows: np.ndarray


def _lines(runs: Runs) -> Iterator[_Line]:
    """Every pool that was trained on alone, the whole of it before parts of it."""
    alone = np.count_nonzero(runs.weights, axis=1) == 1
    for source in np.unique(runs.source[alone]):
        rows = np.flatnonzero(runs.source == source)
        place = int(np.argmax(runs.weights[rows[0]]))
        pool, size = runs.pools.names[place], float(runs.sizes[rows[0], place])
        whole = bool(source < len(runs.pools))
        yield _Line(pool if whole else f"{show_count(size, 3)} of {pool}", pool, size, whole, rows)
