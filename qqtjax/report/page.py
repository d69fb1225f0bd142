"""The page: results in words and figures, put into one HTML document together with plotly.js."""

from __future__ import annotations

import importlib
import importlib.util
import json
from importlib import resources
from typing import Any

from qqtjax.errors import MissingExtraError
from qqtjax.plan.text import count_text, error_text
from qqtjax.report import figures, view
from qqtjax.report.contents import Preset, Report

WANTED = "a report needs plotly and jinja2: pip install 'qqtjax[report]'"
DIGITS = "%.10g"  # of numbers in the table to download
# Inside <script> these would end it, or begin a comment.
UNSAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def page(report: Report) -> str:
    """One HTML document that loads nothing from anywhere.

    Args:
        report: what to show.

    Raises:
        MissingExtraError: no plotly or no jinja2.
    """
    check_installed()
    jinja2, markup = importlib.import_module("jinja2"), importlib.import_module("markupsafe").Markup
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(count_text=count_text, error_text=error_text, size_text=view.size_text)
    shown = [_shown(report, preset) for preset in report.presets]
    last = len(report.presets[0].plan.rows) - 1
    fixed = {
        "pools": figures.learning_curves(report),
        "mixtures": figures.mixtures(report),
        "residuals": figures.residuals(report),
    }
    fixed = {name: each._asdict() for name, each in fixed.items() if each is not None}
    head, rows, shared = view.parameters(report)
    stop, evidence = shown[0]["stops"][last], report.presets[0].plan.evidence
    keys = list(stop["fields"])
    data = {"presets": [_compact(each, keys) for each in shown], "keys": keys, "figures": fixed, "last": last}
    return environment.from_string(_text("page.html")).render(
        report=report,
        plan=report.presets[0].plan,
        shown=shown,
        stop=stop,
        last=last,
        figures={**shown[0]["figures"], **fixed},
        next=view.next_words(report),
        evidence_rows=[] if evidence is None else view.evidence_rows(evidence),
        fit_notes=view.fit_notes(report),
        parameter_head=head,
        parameter_rows=rows,
        parameters_shared=shared,
        css=markup(_text("page.css")),
        script=markup(_text("page.js")),
        plotly=markup(_plotly()),
        data=markup(safe_json(data)),
    )


def check_installed() -> None:
    """Raise `MissingExtraError` unless plotly and jinja2 are there."""
    for name in ("jinja2", "plotly"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(WANTED)


def safe_json(value: Any) -> str:
    r"""JSON that may stand inside a script element, whatever texts it holds.

    Raises:
        ValueError: a number in it is not finite.

    Example:
        >>> safe_json({"name": "</script>"})
        '{"name":"\\u003c/script\\u003e"}'
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False).translate(UNSAFE)


def _shown(report: Report, preset: Preset) -> dict[str, Any]:
    """Everything that changes when another preset is chosen."""
    return {
        "name": preset.name,
        "resized": view.resized(preset),
        "crossings": view.crossings(preset),
        "overview": view.overview(preset),
        "stops": [stop._asdict() for stop in view.stops(report, preset)],
        "figures": {
            "curves": figures.budget_curves(report, preset)._asdict(),
            "mixes": figures.mix_areas(report, preset)._asdict(),
        },
        "csv": preset.plan.to_frame().to_csv(index=False, lineterminator="\n", float_format=DIGITS),
    }


def _compact(shown: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    """The same with the fields of every stop in the order of the keys, which are written once."""
    stops = [{**stop, "fields": [stop["fields"][key] for key in keys]} for stop in shown["stops"]]
    return {**shown, "stops": stops}


def _text(name: str) -> str:
    return (resources.files("qqtjax.report") / name).read_text(encoding="utf-8")


def _plotly() -> str:
    """plotly.js as the plotly package brings it."""
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
