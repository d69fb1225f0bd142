"""Learning curves of the pools: what was measured, the law's line through it, and how sure the line is."""

from __future__ import annotations

from typing import Any

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import FittedLaw
from qqtjax.plot.axes import SAMPLES, count_axis, own_axes
from qqtjax.plot.colours import NEUTRAL, pool_colours, pool_dashes
from qqtjax.plot.intervals import apart, interval
from qqtjax.plot.measured import check_table
from qqtjax.runs import Runs

POINTS = 128


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

    Checkpoints that were held out are hollow; the line is thin where it extrapolates. The band is that of the
    expected error: the noise of one more measurement comes on top.

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
    places = np.unique(runs.source[runs.single])
    if not len(places):
        raise InputError("no pool was measured alone: there are no curves of pools to draw")
    axes = own_axes(axes)
    ends = np.array([_ends(runs.samples_seen[runs.source == place], until) for place in places])
    seen = np.geomspace(ends[:, 0], ends[:, 1], POINTS, axis=1)
    alone = np.eye(len(runs.pools))[places]
    error = fitted.predict(alone[:, None], seen)
    band = None if draws is None else interval(draws.predict(alone[:, None], seen), level)
    names = [runs.pools.names[place] for place in places]
    colours, dashes = pool_colours(runs.pools.names), pool_dashes(runs.pools.names)
    beyond = np.array(
        [[bool(fitted.extrapolation(w, float(n))) for n in row] for w, row in zip(alone, seen, strict=True)]
    )
    for row, (place, name) in enumerate(zip(places, names, strict=True)):
        style: dict[str, Any] = {"color": colours[name], "linestyle": dashes[name]}
        if band is not None:
            axes.fill_between(seen[row], band[0][row], band[1][row], color=colours[name], alpha=0.2, linewidth=0)
        axes.plot(seen[row], error[row], linewidth=0.8, **style)
        axes.plot(seen[row], np.where(beyond[row], np.nan, error[row]), linewidth=1.8, label=name, **style)
        own = runs.source == place
        for some, filled in ((own & ~hidden, "full"), (own & hidden, "none")):
            axes.plot(
                runs.samples_seen[some], runs.error[some], "o", color=colours[name], fillstyle=filled, markersize=3.5
            )
    if np.any(hidden & runs.single):
        axes.plot([], [], "o", color=NEUTRAL, fillstyle="none", markersize=3.5, label="held out")
    if beyond.any():
        axes.plot([], [], color=NEUTRAL, linewidth=0.8, label="extrapolated")
    count_axis(axes.xaxis, SAMPLES)
    axes.set_ylabel(fitted.metric)
    axes.legend(frameon=False, fontsize="small", ncols=2)
    return axes


def _ends(seen: np.ndarray, until: float | None) -> tuple[float, float]:
    """Where the line of one pool begins and ends."""
    return float(seen.min()), float(seen.max() if until is None else max(until, seen.min()))
