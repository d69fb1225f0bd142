"""Mixtures that were measured against what a law, fitted to pools alone, predicted for them."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw
from qqtjax.plot.axes import SAMPLES, count_axis, error_label, own_axes
from qqtjax.plot.colours import EVEN, FAINT, NEUTRAL
from qqtjax.plot.measured import predicted_errors
from qqtjax.runs import Runs

# Decimals of an error beyond which there is only rounding.
TIE = 12


def mixtures(fitted: FittedLaw, runs: Runs, *, axes: Any = None) -> Any:
    """Predicted against measured error of every checkpoint of a mixture, with the rank correlation.

    Two rank correlations (Spearman's) stand in the figure: over all checkpoints, which longer training alone makes
    high, and among mixtures at one budget, the mean over the budgets with three or more, which says whether the law
    knows the better mixture.

    Args:
        fitted: a law.
        runs: measured runs on its pools, one metric; pools alone are not drawn.
        axes: matplotlib Axes to draw on, by default of a new figure.

    Returns:
        The Axes.

    Raises:
        MissingExtraError: no matplotlib.
        InputError: several metrics, other pools than the law's, or no mixture of two or more pools.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> axes = mixtures(qqt.fit(runs.select(runs.single)), runs)
        >>> axes.texts[0].get_text().splitlines()[0]
        'mean absolute error 0.0133'
    """
    predicted = predicted_errors(fitted, runs)
    mixed = np.count_nonzero(runs.weights, axis=1) > 1
    if not mixed.any():
        raise InputError("no mixture of two or more pools was measured: there is nothing to compare")
    axes = own_axes(axes, 5.8, 4.8)
    measured, predicted, seen = runs.error[mixed], predicted[mixed], runs.samples_seen[mixed]
    ends = [min(measured.min(), predicted.min()), max(measured.max(), predicted.max())]
    axes.plot(ends, ends, color=FAINT, linewidth=1, zorder=0)
    if len(np.unique(seen)) > 1:
        colours = importlib.import_module("matplotlib.colors")
        shades = colours.LinearSegmentedColormap.from_list("even", EVEN)
        points = axes.scatter(measured, predicted, c=seen, s=14, cmap=shades, norm=colours.LogNorm())
        count_axis(axes.figure.colorbar(points, ax=axes).ax.yaxis, SAMPLES)
    else:
        axes.scatter(measured, predicted, color=NEUTRAL, s=14)
    axes.annotate(
        _said(measured, predicted, runs.source[mixed], seen), (0.03, 0.97), xycoords="axes fraction", va="top"
    )
    unseen = fitted.seen is None or fitted.seen.mixtures == 0
    axes.set_xlabel(f"measured {error_label(fitted.metric)} of mixtures" + (", none of them fitted" if unseen else ""))
    axes.set_ylabel(f"predicted {error_label(fitted.metric)}")
    axes.set_aspect("equal", adjustable="datalim")
    return axes


def _said(measured: np.ndarray, predicted: np.ndarray, source: np.ndarray, seen: np.ndarray) -> str:
    """How far off and in which order, in words."""
    lines = [f"mean absolute error {np.mean(np.abs(predicted - measured)):.4f}"]
    if (whole := rank_correlation(measured, predicted)) is not None:
        lines.append(f"rank correlation {whole:.3f}")
    within = []
    for budget in np.unique(seen):
        at = seen == budget
        _, mixture = np.unique(source[at], return_inverse=True)
        averaged = [np.bincount(mixture, values[at]) / np.bincount(mixture) for values in (measured, predicted)]
        found = rank_correlation(*averaged)
        within += [] if found is None else [found]
    if within and len(np.unique(seen)) > 1:
        lines.append(f"at one budget {np.mean(within):.3f} (mean of {len(within)})")
    return "\n".join(lines)


def rank_correlation(measured: np.ndarray, predicted: np.ndarray) -> float | None:
    """Spearman's (Pearson's of the ranks), or None where there are fewer than three points or all are equal.

    Example:
        >>> round(rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.3, 0.2])), 3)
        0.5
    """
    from scipy import stats

    # Mixtures that a law holds to be equal tie, whatever the rounding of its sums says.
    ranks = [stats.rankdata(values.round(TIE)) for values in (measured, predicted)]
    if len(measured) < 3 or any(np.ptp(each) == 0 for each in ranks):
        return None
    return float(np.corrcoef(ranks)[0, 1])
