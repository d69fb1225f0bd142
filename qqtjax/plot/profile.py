"""Profile likelihoods: how much worse the fit becomes as one parameter is moved and all others follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qqtjax.errors import InputError
from qqtjax.fit.profile import Profile
from qqtjax.plot.axes import count_axis, legend, own_axes
from qqtjax.plot.colours import NEUTRAL, pool_colours, pool_dashes
from qqtjax.plot.parameters import is_wide, parameter_label
from qqtjax.runs import Pools

# How far beyond the line that ends the intervals the curves are shown, and how far beyond their ends.
HEIGHT, MARGIN = 2.5, 0.25


def profile(found: Profile | Sequence[Profile], pools: Pools | None = None, *, axes: Any = None) -> Any:
    """How much the sum of squares exceeds its least as one parameter is held, all others fitted again.

        nu (S(v) / S_min - 1),   cut at t^2 with nu degrees of freedom, where the interval ends

    A curve that stays below the line to the edge of the figure belongs to an interval that is open there. Source:
    Bates and Watts, Nonlinear Regression Analysis, 1988, chapter 6.

    Args:
        found: of `profile`: one curve a pool, or one.
        pools: of the runs, so that a pool has its colour even where only some pools are shown; by default those of
            the profiles themselves.
        axes: matplotlib Axes to draw on, by default of a new figure.

    Returns:
        The Axes.

    Raises:
        MissingExtraError: no matplotlib.
        InputError: no profile, or those of several parameters or levels.

    Example:
        >>> from qqtjax.fit.profile import Profile
        >>> value = np.linspace(1.0, 5.0, 9)
        >>> parabola = Profile(field="half_life", pool="top10", estimate=3.0, low=1.04, high=4.96, open_low=False,
        ...     open_high=False, level=0.95, freedom=1e6, grid=value, objective=1 + (value - 3) ** 2 / 1e6,
        ...     statistic=value - 3, notes=())
        >>> profile(parabola).get_xlabel()
        'half-life, epochs'
    """
    from scipy import stats

    curves = [found] if isinstance(found, Profile) else list(found)
    if len({(each.field, each.level, each.freedom) for each in curves}) != 1:
        raise InputError("profiles: expected one or more, of one parameter, fit and level")
    axes = own_axes(axes, 7.6)
    first = curves[0]
    limit = float(stats.t.ppf(0.5 + first.level / 2, first.freedom)) ** 2
    names = [each.pool for each in curves if each.pool is not None] if pools is None else pools.names
    colours, dashes = pool_colours(names), pool_dashes(names)
    for each in curves:
        style = {"color": colours.get(each.pool or "", NEUTRAL), "linestyle": dashes.get(each.pool or "", "-")}
        axes.plot(each.grid, each.statistic**2, marker="o", markersize=2, label=_said(each), **style)
    axes.axhline(limit, color=NEUTRAL, linewidth=0.8, linestyle=":", label=f"{100 * first.level:.4g} % interval ends")
    axes.set_ylim(-0.02 * HEIGHT * limit, HEIGHT * limit)
    low, high = _shown(curves)
    # Nobody may look beyond the bounds of the fit.
    least, most = (float(end(np.concatenate([each.grid for each in curves]))) for end in (np.min, np.max))
    if is_wide(np.array([low, high])):
        factor = (high / low) ** MARGIN
        axes.set_xlim(max(low / factor, least), min(high * factor, most))
        count_axis(axes.xaxis, "")
    else:
        axes.set_xlim(max(low - MARGIN * (high - low), least), min(high + MARGIN * (high - low), most))
    axes.set_xlabel(parameter_label(first.field))
    axes.set_ylabel("excess of the sum of squares, in noise variances")
    legend(axes, beside=True)
    return axes


def _shown(curves: Sequence[Profile]) -> tuple[float, float]:
    """From the lowest to the highest end that the data set; bounds of the fit where that is less than two."""
    ends = {each.low for each in curves if not each.open_low} | {each.high for each in curves if not each.open_high}
    if len(ends) < 2:
        ends = {end for each in curves for end in (each.low, each.high)}
    return min(ends), max(ends)


def _said(curve: Profile) -> str:
    """The pool, and its interval in words; an end that is open has no number."""
    name = curve.pool or curve.field.replace("_", "-")
    if curve.open_low and curve.open_high:
        return f"{name} anything"
    if curve.open_low:
        return f"{name} below {curve.high:.3g}"
    if curve.open_high:
        return f"{name} above {curve.low:.3g}"
    return f"{name} {curve.estimate:.3g} ({curve.low:.3g} to {curve.high:.3g})"
