"""The page's figures as plain data for plotly.js, with a sentence for those who cannot see them."""

from __future__ import annotations

import html
from typing import Any, NamedTuple

import numpy as np

from qqtjax.laws.fitted import MARGIN
from qqtjax.plan.text import count_text, error_text
from qqtjax.plot.axes import error_label
from qqtjax.plot.colours import NEUTRAL, OKABE_ITO, pool_colours, pool_dashes
from qqtjax.plot.options import option_styles
from qqtjax.report.contents import Preset, Report
from qqtjax.text import show_count

DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
LIGHT, DARK = "#ffffff", "#15181d"  # what figures stand on, as in page.css
READABLE = 3.0  # WCAG 2.2, 1.4.11: contrast of what a figure is made of
ON_DARK = {NEUTRAL: "#e6e6e6"}
BUDGET = "budget, samples seen"
MOST_POINTS = 4000  # of one trace
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")


class Figure(NamedTuple):
    """One figure.

    Attributes:
        title: above it.
        summary: what it shows, for those who cannot see it.
        traces: as plotly.js takes them; `meta` holds the colour on light and on dark.
        layout: as plotly.js takes it.
    """

    title: str
    summary: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any]


def budget_curves(report: Report, preset: Preset) -> Figure:
    """Error against budget for every filter and the best mix, crossovers marked with their intervals."""
    plan, curves = preset.plan, preset.curves
    budgets = [row.samples_seen for row in plan.rows]
    styles = option_styles(plan, report.fit.pools)
    traces = [
        _line(name, curves.budgets, curves.error[place], styles[name].colour, 2, DASHES[styles[name].dash])
        for place, name in enumerate(curves.names)
    ]
    mixed = [row.mix.error for row in plan.rows]
    traces.append(
        _line("best mix", np.array(budgets), np.array(mixed), NEUTRAL, dash="dot", width=2, mode="lines+markers")
    )
    inside = [each for each in plan.crossovers if each.decides and budgets[0] < each.samples_seen < budgets[-1]]
    height = {
        each.samples_seen: float(
            curves.error[curves.names.index(each.below), np.searchsorted(curves.budgets, each.samples_seen)]
        )
        for each in inside
    }
    for each in inside:
        for first, last in () if each.doubt is None else each.doubt.spans:
            ends = max(first, budgets[0]), min(last, budgets[-1])
            if ends[0] < ends[1]:
                across = _line("", np.array(ends), np.full(2, height[each.samples_seen]), NEUTRAL, width=6)
                traces.append({**across, "opacity": 0.35, "showlegend": False, "hoverinfo": "skip"})
    if inside:
        text = [f"{each.below} → {each.above}" for each in inside]
        points = _points("the best filter changes", list(height), list(height.values()), NEUTRAL, text)
        points["marker"] |= {"symbol": "circle-open", "size": 12, "line": {"width": 2}}
        traces.append(points)
    last = plan.rows[-1]
    layout = _layout(BUDGET, f"predicted {error_label(plan.metric)}", budgets, cursor=True)
    seen = report.fit.seen
    beyond = seen is not None and budgets[-1] > seen.samples_seen[1] * MARGIN
    if seen is not None and beyond:
        area = {"type": "rect", "x0": seen.samples_seen[1], "x1": 10 * budgets[-1], "yref": "paper", "y0": 0, "y1": 1}
        layout["shapes"].append({**area, "opacity": 0.06, "line": {"width": 0}, "layer": "below"})
    summary = (
        f"Predicted {plan.metric} of the filters from {count_text(budgets[0])} to "
        f"{count_text(budgets[-1])} samples seen. At the largest budget {last.best.name} has "
        f"{error_text(last.best.error)}, the best mix {error_text(last.mix.error)}."
    )
    if inside:
        changes = ", ".join(f"{count_text(each.samples_seen)} to {each.above}" for each in inside)
        summary += f" The best filter changes at {changes}."
    if seen is not None and beyond:
        summary += f" Beyond {count_text(seen.samples_seen[1])} samples, shaded, nothing was measured."
    return Figure(f"Predicted {plan.metric} against budget", summary, traces, layout)


def mix_areas(report: Report, preset: Preset) -> Figure:
    """The best weights against the budget, stacked."""
    plan = preset.plan
    budgets = np.array([row.samples_seen for row in plan.rows])
    colours = pool_colours(report.fit.pools.names)
    traces = []
    for name in plan.pools:
        shares = np.array([row.mix.weights[name] for row in plan.rows])
        area = _line(name, budgets, shares, colours[name], width=1)
        traces.append({**area, "stackgroup": "shares", "fill": "tonexty"})
    first, last = plan.rows[0], plan.rows[-1]
    summary = (
        "Weights of the best mix. " + _shares_at(first.mix.weights, budgets[0]) + ". "
        f"{_shares_at(last.mix.weights, budgets[-1])}."
    )
    layout = _layout(BUDGET, "share of the samples drawn", budgets.tolist(), cursor=True)
    layout["yaxis"] |= {"range": [0, 1], "tickformat": ".0%"}
    return Figure("Weights of the best mix against budget", summary, traces, layout)


def learning_curves(report: Report) -> Figure:
    """Every pool alone: what was measured, and the law's line."""
    runs, curves = report.runs, report.pools
    colours, dashes = pool_colours(curves.names), pool_dashes(curves.names)
    traces = []
    for place, name in enumerate(curves.names):
        rows = _shown(runs.source == place)
        line = _line(name, curves.budgets, curves.error[place], colours[name], 2, DASHES[dashes[name]])
        points = _points(name, runs.samples_seen[rows], runs.error[rows], colours[name])
        points["marker"] |= {"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 6}
        traces += [{**line, "legendgroup": name}, {**points, "legendgroup": name, "showlegend": False}]
    alone = runs.single
    off = np.abs(report.predicted - runs.error)[alone]
    summary = "Learning curves of the pools, each trained on alone, with the law's line through them."
    if alone.any():
        summary += f" The law is off by {error_text(float(off.mean()))} on average."
    else:
        summary = "No pool was trained on alone: the lines are what the law says of each."
    metric = report.fit.metric
    ends = [float(curves.budgets[0]), float(curves.budgets[-1])]
    return Figure("Measured runs and the law", summary, traces, _layout("samples seen", error_label(metric), ends))


def mixtures(report: Report) -> Figure | None:
    """Mixtures: predicted against measured; None where no mixture was measured."""
    runs = report.runs
    mixed = np.count_nonzero(runs.weights, axis=1) > 1
    if not mixed.any():
        return None
    measured, predicted = runs.error[mixed], report.predicted[mixed]
    drawn = _shown(mixed)
    ends = [float(min(measured.min(), predicted.min())), float(max(measured.max(), predicted.max()))]
    names = [runs.run_names[place] for place in runs.run[drawn]]
    seen = [show_count(each, 4) for each in runs.samples_seen[drawn]]
    text = [f"{name}, {count} samples" for name, count in zip(names, seen, strict=True)]
    points = _points("mixtures", runs.error[drawn], report.predicted[drawn], OKABE_ITO[3], text)
    points["marker"] |= {"size": 6, "opacity": 0.7}
    diagonal = _line("predicted = measured", np.array(ends), np.array(ends), NEUTRAL, dash="dash", width=1)
    held_out = report.fit.seen is None or report.fit.seen.mixtures == 0
    off = predicted - measured
    summary = (
        f"{len(measured)} checkpoints of mixtures, {'none of them' if held_out else 'some of them'} fitted: predicted "
        f"against measured {report.fit.metric}. Mean absolute error {error_text(float(np.mean(np.abs(off))))}, "
        f"predicted less measured {error_text(float(np.mean(off)))} on average."
    )
    layout = _layout(f"measured {error_label(report.fit.metric)}", f"predicted {error_label(report.fit.metric)}", None)
    return Figure("Mixtures: predicted against measured", summary, [diagonal, points], layout)


def residuals(report: Report) -> Figure:
    """Predicted less measured error against the epochs of the pool repeated most."""
    runs = report.runs
    off = report.predicted - runs.error
    epochs = runs.epochs.max(axis=1)
    counted = bool(np.all(epochs > 0))
    along = epochs if counted else runs.samples_seen
    mixed = np.count_nonzero(runs.weights, axis=1) > 1
    traces = []
    for place, (name, colour) in enumerate(pool_colours(runs.pools.names).items()):
        rows = _shown(~mixed & (runs.weights[:, place] > 0))
        if rows.any():
            points = _points(name, along[rows], off[rows], colour)
            points["marker"] |= {"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 6}
            traces.append(points)
    if mixed.any():
        drawn = _shown(mixed)
        points = _points("mixtures", along[drawn], off[drawn], NEUTRAL)
        points["marker"] |= {"symbol": "circle-open", "size": 6, "opacity": 0.5}
        traces.append(points)
    worst = int(np.argmax(np.abs(off)))
    summary = (
        f"Predicted less measured {report.fit.metric} of {len(runs)} checkpoints. The law is off by "
        f"{error_text(float(np.sqrt(np.mean(off**2))))} (root mean square), at worst by "
        f"{error_text(float(off[worst]))}."
    )
    label = "epochs of the pool repeated most" if counted else "samples seen"
    layout = _layout(label, "predicted less measured", [float(along.min()), float(along.max())])
    layout["yaxis"] |= {"zeroline": True}
    return Figure("Residuals against repetition", summary, traces, layout)


def ticks(low: float, high: float) -> list[float]:
    """Where a logarithmic axis is labelled: powers of ten, with 2 and 5 between them where there are few.

    Example:
        >>> ticks(10e3, 320e3)
        [10000.0, 20000.0, 50000.0, 100000.0, 200000.0]
    """
    decades = np.log10(high / low)
    steps = (1.0,) if decades > 2.5 else (1.0, 2.0, 5.0) if decades > 0.8 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    powers = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    values = [float(step * 10.0**power) for power in powers for step in steps]
    return [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def readable(colour: str, ground: str) -> str:
    """The colour, mixed with white until it stands out from a dark ground.

    Example:
        >>> readable("#e69f00", DARK), readable("#440154", DARK) != "#440154"
        ('#e69f00', True)
    """
    if colour in ON_DARK:
        return ON_DARK[colour]
    channels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)], float)
    for share in np.linspace(0, 1, 21):
        mixed = channels + share * (255 - channels)
        if _contrast(mixed, ground) >= READABLE:
            return "#" + "".join(f"{round(each):02x}" for each in mixed)
    return "#ffffff"


def _contrast(channels: np.ndarray, ground: str) -> float:
    """WCAG's ratio of relative luminances."""
    other = np.array([int(ground[at : at + 2], 16) for at in (1, 3, 5)], float)
    high, low = sorted((_luminance(channels), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(channels: np.ndarray) -> float:
    shares = channels / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def _line(name: str, x: Any, y: Any, colour: str, width: float, dash: str = "solid", mode: str = "lines") -> dict:
    return {
        "type": "scatter",
        "mode": mode,
        "name": _text(name),
        "x": _short(x),
        "y": _short(y),
        "line": {"color": colour, "width": width, "dash": dash},
        "meta": [colour, readable(colour, DARK)],
        "hovertemplate": "%{x:.4s}: %{y:.4f}<extra>%{fullData.name}</extra>",
    }


def _points(name: str, x: Any, y: Any, colour: str, text: list[str] | None = None) -> dict[str, Any]:
    found = {
        "type": "scatter",
        "mode": "markers",
        "name": _text(name),
        "x": _short(x),
        "y": _short(y),
        "marker": {"color": colour},
        "meta": [colour, readable(colour, DARK)],
        "hovertemplate": "%{x:.4s}: %{y:.4f}<extra>%{fullData.name}</extra>",
    }
    if text is not None:
        found |= {
            "text": [_text(each) for each in text],
            "hovertemplate": "%{text}<br>%{x:.4s}: %{y:.4f}<extra></extra>",
        }
    return found


def _text(words: str) -> str:
    """Words for plotly.js, which would take tags in them for its own."""
    return html.escape(words, quote=False)


def _shown(rows: np.ndarray) -> np.ndarray:
    """`[M]` bool: as many of the rows as a screen can show, evenly chosen."""
    places = np.flatnonzero(rows)
    if len(places) > MOST_POINTS:
        places = places[np.linspace(0, len(places) - 1, MOST_POINTS).astype(int)]
    kept = np.zeros(len(rows), bool)
    kept[places] = True
    return kept


def _short(values: Any) -> list[float]:
    """Six digits: more than a screen can show, and half of the bytes."""
    return [float(f"{value:.6g}") for value in np.asarray(values, float)]


def _layout(along: str, up: str, counts: list[float] | None, cursor: bool = False) -> dict[str, Any]:
    """Axes with names; `counts` are what a logarithmic axis of counts spans."""
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": _text(along)}, "automargin": True},
        "yaxis": {"title": {"text": _text(up)}, "automargin": True},
    }
    if counts is not None:
        low, high = min(counts), max(counts)
        places = ticks(low, high)
        pad = 0.03 * max(np.log10(high / low), 0.1)
        layout["xaxis"] |= {
            "type": "log",
            "range": [float(np.log10(low) - pad), float(np.log10(high) + pad)],
            "tickvals": places,
            "ticktext": [show_count(each, 3) for each in places],
        }
    if cursor and counts is not None:
        line = {"type": "line", "x0": counts[-1], "x1": counts[-1], "yref": "paper", "y0": 0, "y1": 1}
        layout["shapes"] = [{**line, "line": {"width": 1, "dash": "dot"}}]
    return layout


def _shares_at(weights: dict[str, float], budget: float) -> str:
    shares = ", ".join(f"{100 * share:.0f} % {name}" for name, share in weights.items() if share >= 0.005)
    return f"At {count_text(budget)} samples: {shares}"
