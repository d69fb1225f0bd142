"""The report: what it shows is what `qqt plan` says, and the page is whole, safe, readable and needs no network."""

from __future__ import annotations

import dataclasses
import html
import html.parser
import importlib.util
import itertools
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from report_page import HOSTILE, SIZES, truth, write_runs

import qqtjax as qqt
from qqtjax.cli.main import main
from qqtjax.cli.plan_command import default_budgets
from qqtjax.cli.report_command import day_of_the_page, slider_budgets
from qqtjax.design import Candidate, NextRun, Worth
from qqtjax.errors import MissingExtraError
from qqtjax.io.mixes import load_mix
from qqtjax.mix.filters import Option
from qqtjax.plot.colours import EVEN, OKABE_ITO
from qqtjax.report import Provenance, figures, view
from qqtjax.report.page import safe_json
from qqtjax.report.presets import usual_presets

BUDGETS = [10e3, 20e3, 40e3, 80e3]
DRAWS = 20
TEXT, GRAPHICS = 4.5, 3.0  # least contrasts of WCAG 2.2 AA


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> qqt.Runs:
    file = tmp_path_factory.mktemp("runs") / "runs.csv"
    write_runs(file)
    return qqt.read_runs(file)


@pytest.fixture(scope="module")
def draws() -> qqt.Draws:
    law = truth()
    rng = np.random.default_rng(5)
    params = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (DRAWS, *np.shape(leaf))), law.params)
    factors = rng.lognormal(0, 0.1, (DRAWS, len(SIZES)))
    return qqt.Draws(law, dataclasses.replace(params, utility=params.utility * factors), "by hand", np.inf, ("a note",))


@pytest.fixture(scope="module")
def report(runs: qqt.Runs, draws: qqt.Draws) -> Any:
    origin = Provenance("runs.csv", "0" * 64, f"qqt report {HOSTILE}", "1 May 2026", 3)
    question = {"draws": draws, "near": None, "with_next_run": False, "seed": 3, "provenance": origin}
    return qqt.report(truth(), runs, BUDGETS[::-1], **question)


@pytest.fixture(scope="module")
def page(report: Any) -> str:
    return report.to_html()


class Parts(html.parser.HTMLParser):
    """Every tag with its attributes, and the text of every script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.open.append(tag)
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open:
            self.scripts[-1] += data
        else:
            self.words.append(data)


@pytest.fixture(scope="module")
def parts(page: str) -> Parts:
    return Parts(page)


@pytest.fixture(scope="module")
def data(parts: Parts) -> Any:
    found = [text for text in parts.scripts if text.startswith('{"presets"')]
    assert len(found) == 1
    return json.loads(found[0])


# What is gathered


def test_budgets_ascend_and_presets_change_the_sizes(report: Any) -> None:
    named = {preset.name: preset for preset in report.presets}
    assert list(named) == ["as measured", "half of the best pool", "twice the best pool", "ten times everything"]
    for preset in report.presets:
        assert [row.samples_seen for row in preset.plan.rows] == BUDGETS
    assert named["as measured"].plan.pools == SIZES
    assert named["half of the best pool"].plan.pools == {**SIZES, "A": 5e3}
    assert named["ten times everything"].plan.pools == {name: 10 * size for name, size in SIZES.items()}
    # More of the best data never hurts the best mix under this law.
    for place in range(len(BUDGETS)):
        errors = [named[name].plan.rows[place].mix.error for name in list(named)[1:]]
        assert errors[0] >= named["as measured"].plan.rows[place].mix.error >= errors[1] >= errors[2]


def test_plans_are_those_of_plan(report: Any, runs: qqt.Runs, draws: qqt.Draws) -> None:
    for preset in (report.presets[0], report.presets[2]):
        sizes = preset.sizes or None
        alone = qqt.plan(truth(), BUDGETS, runs=runs, draws=draws, sizes=sizes, seed=3).to_dict()
        for key in ("rows", "decision", "crossovers", "frontier", "warnings", "dilutions"):
            assert preset.plan.to_dict()[key] == alone[key]


def test_curves_are_the_law_at_budgets_and_crossovers(report: Any) -> None:
    for preset in report.presets:
        law = truth().with_sizes(preset.sizes)
        for row in preset.plan.rows:
            at = np.searchsorted(preset.curves.budgets, row.samples_seen)
            assert preset.curves.budgets[at] == row.samples_seen
            for place, option in enumerate(row.options):
                assert preset.curves.error[place, at] == pytest.approx(option.error, rel=1e-12)
        for each in preset.plan.crossovers:
            if each.decides and BUDGETS[0] < each.samples_seen < BUDGETS[-1]:
                at = np.searchsorted(preset.curves.budgets, each.samples_seen)
                pair = [preset.curves.error[preset.curves.names.index(name), at] for name in (each.below, each.above)]
                assert pair[0] == pytest.approx(pair[1], abs=1e-9)
        assert np.all(preset.curves.error > law.params.floor)


def test_pools_of_unknown_size_have_fewer_presets() -> None:
    law = truth()
    endless = dataclasses.replace(law, pools=qqt.Pools.of(dict.fromkeys(SIZES, np.inf)))
    assert usual_presets(endless, [0, 1, 2]) == {"as measured": {}}
    # The first pool of known size is the best of which there can be more.
    half = dataclasses.replace(law, pools=qqt.Pools.of({**SIZES, "A": np.inf}))
    assert usual_presets(half, [0, 1, 2])["twice the best pool"] == {HOSTILE: 40e3}


def test_repeats_of_pools_of_unknown_size_are_not_shown_as_none(runs: qqt.Runs) -> None:
    pools = qqt.Pools.of({**SIZES, "C": np.inf})
    law = dataclasses.replace(truth(), pools=pools)
    found = qqt.report(law, runs, BUDGETS, presets={"as measured": {}}, near=None, with_next_run=False)
    fields = view.stops(found, found.presets[0])[-1].fields
    assert fields["pool-2-size"] == (None, "not known")
    assert fields["pool-2-epochs"][1] == view.NOTHING
    assert float(fields["pool-0-epochs"][1]) > 1
    assert [fields[f"option-{place}-epochs"][1] for place in range(3)] == ["8", "2.67", view.NOTHING]


def test_other_tables_are_refused(runs: qqt.Runs) -> None:
    with pytest.raises(qqt.InputError, match="pools"):
        qqt.report(truth(), qqt.wordclip("C"), BUDGETS)
    with pytest.raises(qqt.InputError, match="no budgets"):
        qqt.report(truth(), runs, [])
    with pytest.raises(qqt.InputError, match="no presets"):
        qqt.report(truth(), runs, BUDGETS, presets={})


# The page


def test_every_number_of_every_stop_is_that_of_the_plan(report: Any, data: Any) -> None:
    for preset, shown in zip(report.presets, data["presets"], strict=True):
        decision = preset.plan.decision
        for place, (row, stop) in enumerate(zip(preset.plan.rows, shown["stops"], strict=True)):
            fields = dict(zip(data["keys"], stop["fields"], strict=True))
            assert stop["samples_seen"] == row.samples_seen
            assert fields["choice"][1] == row.best.name
            assert fields["error"] == [row.best.error, f"{row.best.error:.4f}".lstrip("0")]
            assert fields["mix-error"][0] == row.mix.error
            assert fields["probability"][0] == decision.chosen[place]
            assert fields["wrong"][0] == decision.regret_if_wrong[place]
            assert fields["runner-up"][1] == decision.names[decision.runner_up[place]]
            assert fields["rule-regret"][0] == row.regret
            for index, pool in enumerate(preset.plan.pools):
                assert fields[f"pool-{index}-share"][0] == row.mix.weights[pool]
                assert fields[f"pool-{index}-epochs"][0] == row.mix.epochs.get(pool, 0.0)
                assert fields[f"pool-{index}-samples"][0] == row.mix.samples.get(pool, 0)
            for index, option in enumerate(row.options):
                assert fields[f"option-{index}-error"][0] == option.error
                assert ("best" in fields[f"option-{index}-mark"][1]) == (option is row.best)
            assert f"{row.best.name};" in stop["said"]


def test_downloads_hold_the_weights(report: Any, data: Any, tmp_path: Path) -> None:
    row, stop = report.presets[1].plan.rows[2], data["presets"][1]["stops"][2]
    (tmp_path / "mix.json").write_text(stop["files"]["json"])
    assert load_mix(tmp_path / "mix.json") == row.mix.weights
    # Every line of the YAML is a text in quotes, a colon and a number: a JSON object without its braces.
    lines = stop["files"]["yaml"].splitlines()
    assert lines[1] == "weights:"
    assert json.loads("{" + ",".join(lines[2:]) + "}") == row.mix.weights
    table = data["presets"][1]["csv"].splitlines()
    assert len(table) == 1 + len(BUDGETS) * (len(row.options) + 1)


def test_the_page_shows_the_largest_budget_without_any_script(report: Any, page: str) -> None:
    row = report.presets[0].plan.rows[-1]
    assert f'<data data-field="error" value="{row.best.error}">' in page
    assert "qqt report B&lt;/script&gt;" in page
    assert "1 May 2026" in page
    assert "<li>a note</li>" in page


def test_the_page_loads_nothing(parts: Parts, page: str) -> None:
    for _, attributes in parts.tags:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), attributes
    policy = [
        given["content"] for tag, given in parts.tags if "Content-Security-Policy" in (given.get("http-equiv") or "")
    ]
    assert len(policy) == 1
    assert (policy[0] or "").startswith("default-src 'none';")
    own = "".join((resources.files("qqtjax.report") / name).read_text() for name in ("page.css", "page.js"))
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|eval\(", own)
    assert len(page.encode()) < 6e6


def test_hostile_names_stay_text(parts: Parts, page: str) -> None:
    assert "b" not in [tag for tag, _ in parts.tags]
    assert "<b>" not in page.replace(next(text for text in parts.scripts if "plotly.js v" in text), "")
    assert HOSTILE in parts.words
    assert safe_json(["</script><!--", "&\u2028"]).isascii()
    assert json.loads(safe_json(["</script><!--", "&\u2028"])) == ["</script><!--", "&\u2028"]


def test_the_page_is_built_for_everybody(parts: Parts) -> None:
    names = {given["id"] for _, given in parts.tags if "id" in given}
    for tag, given in parts.tags:
        for reference in ("for", "aria-labelledby"):
            assert set((given.get(reference) or "").split()) <= names, given
        if tag == "th":
            assert given.get("scope") in ("row", "col")
        if tag in ("table", "section") or given.get("role") in ("region", "img"):
            assert "aria-labelledby" in given
        if given.get("type") == "range":
            assert "aria-valuetext" in given
    labelled = {given.get("for") for tag, given in parts.tags if tag == "label"}
    assert labelled == {"budget", "preset"}
    assert [tag for tag, _ in parts.tags].count("h1") == 1
    assert dict(parts.tags)["html"] == {"lang": "en"}
    assert any(given.get("aria-live") == "polite" for _, given in parts.tags)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast, from its definition."""

    def luminance(colour: str) -> float:
        shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_suffices_by_day_by_night_and_on_paper() -> None:
    text = (resources.files("qqtjax.report") / "page.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", text, flags=re.S)
    assert len(blocks) == 3
    for block in blocks:
        found = re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block)
        colours = {name: value if len(value) == 7 else "#" + "".join(2 * c for c in value[1:]) for name, value in found}
        for ground in ("ground", "raised", "tint", "warn-ground"):
            for ink in ("ink", "soft"):
                assert contrast(colours[ink], colours[ground]) >= TEXT, (ink, ground, block)
        assert contrast(colours["warn"], colours["warn-ground"]) >= TEXT
        assert contrast(colours["warn"], colours["ground"]) >= TEXT
        assert contrast(colours["accent"], colours["ground"]) >= TEXT
    # At night every line of a figure stands out; by day pools keep the colours that they have in every figure.
    for colour in (*OKABE_ITO, *EVEN, figures.NEUTRAL):
        assert contrast(figures.readable(colour, figures.DARK), figures.DARK) >= GRAPHICS


def test_figures_are_valid_plotly(report: Any, data: Any) -> None:
    from plotly.graph_objects import Figure

    shown = [each for preset in data["presets"] for each in preset["figures"].values()]
    assert set(data["figures"]) == {"pools", "mixtures", "residuals"}
    for figure in [*shown, *data["figures"].values()]:
        assert Figure(figure["traces"], figure["layout"]).to_dict()["data"]
        assert figure["summary"].endswith(".")
    mixed = data["figures"]["mixtures"]["traces"][1]
    rows = np.count_nonzero(report.runs.weights, axis=1) > 1
    np.testing.assert_allclose(mixed["x"], report.runs.error[rows], rtol=1e-5)
    np.testing.assert_allclose(
        mixed["y"], truth().predict(report.runs.weights[rows], report.runs.samples_seen[rows]), rtol=1e-5
    )
    names = [trace["name"] for trace in data["figures"]["pools"]["traces"]]
    # plotly.js takes tags for its own: they reach it escaped.
    assert [html.unescape(name) for name in names[::2]] == list(SIZES)
    assert "<" not in "".join(names)
    assert "none of them fitted" in data["figures"]["mixtures"]["summary"]


def test_figures_of_many_checkpoints_stay_small(report: Any) -> None:
    many = np.tile(np.arange(len(report.runs)), 800)
    larger = dataclasses.replace(report, runs=report.runs.select(many), predicted=report.predicted[many])
    for figure in (figures.learning_curves(larger), figures.mixtures(larger), figures.residuals(larger)):
        assert figure is not None
        assert all(len(trace["x"]) <= figures.MOST_POINTS for trace in figure.traces)
        assert any(len(trace["x"]) == figures.MOST_POINTS for trace in figure.traces)


def test_the_same_report_is_the_same_bytes_and_written_whole(report: Any, page: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    report.save(file)
    assert file.read_bytes() == page.encode()
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(qqt.InputError, match="nowhere"):
        report.save(tmp_path / "nowhere" / "report.html")


def test_without_draws_nothing_is_claimed(report: Any) -> None:
    plans = [
        dataclasses.replace(preset, plan=dataclasses.replace(preset.plan, decision=None), mix=())
        for preset in report.presets
    ]
    unsure = dataclasses.replace(report, presets=tuple(plans), unsure="no draws were made")
    text = unsure.to_html()
    assert "How sure the answer is, is not known: no draws were made." in text
    assert '<data data-field="probability" value="">not known</data>' in text


@pytest.mark.parametrize(
    ("saved", "resumes", "said"),
    [
        (0.002, None, ("Train on C for 10k samples", "from .00300 to .00100")),
        (0.002, "C 2", ("Continue C 2 to 10k samples, 5k more",)),
        (0.0001, None, ("None for the decision at 80k samples", "train on C for 10k samples")),
    ],
)
def test_the_next_run_is_named(report: Any, saved: float, resumes: str | None, said: tuple[str, ...]) -> None:
    weights = np.array([0.0, 0.0, 1.0])
    run = Candidate("C", weights, np.array([8e3, 10e3]), 10e3 if resumes is None else 5e3, resumes)
    worth = Worth(run, None, 0.003 - saved, saved, 0.0001, 1.5)
    found = NextRun(
        budget=80e3,
        pools=tuple(SIZES),
        choice=Option("mix", weights, 0),
        choice_error=0.5,
        regret=0.003,
        regret_error=0.001,
        options=9,
        rows=(worth,),
        noise=0.01,
        noise_given=False,
        price_per_sample=None,
        spend=None,
        notes=("a note on it",),
    )
    text = dataclasses.replace(report, next_run=found, no_next_run="").to_html()
    for words in (*said, "a note on it"):
        assert words in text


def test_a_note_on_several_pools_is_one_line(report: Any) -> None:
    notes = ("half_life of A: no repeats", "scale: weakly", f"half_life of {HOSTILE}: no repeats", "floor of A: other")
    assert view.together(notes) == [f"half_life of A, {HOSTILE}: no repeats", "scale: weakly", "floor of A: other"]


def test_missing_packages_are_named(report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=re.escape("qqtjax[report]")):
        report.to_html()


# The command


def test_the_date_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1764150000")
    assert day_of_the_page() == "26 November 2025"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(qqt.InputError, match="SOURCE_DATE_EPOCH: found 'yesterday'"):
        day_of_the_page()


def test_the_slider_stops_at_the_budgets_of_plan_and_between_them() -> None:
    plan = default_budgets(truth())
    stops = slider_budgets(truth())
    assert set(plan) < set(stops)
    assert stops == sorted(stops)
    assert [b / a for a, b in itertools.pairwise(stops)] == pytest.approx([1.5, 4 / 3] * (len(plan) - 1))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "-"), "-o: a page goes to a file"),
        (("--laws", "utilty"), "--laws: "),
        (("--near", "0"), "--near"),
        (("--max-epochs", "x"), "--max-epochs"),
        (("--budgets", "many"), "--budgets"),
        (("nowhere.csv",), "nowhere.csv"),
        (("-o", "no/folder/report.html"), "no folder"),
        (("--order", "C00"), "--order: misses"),
        (("--sizes", "C01=5"), "--sizes: "),
        (("--date", "", "--seed", "-1"), "--seed"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["report", *words])
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert out == ""
    assert err.startswith("qqt: error: ")
    assert err.count("\n") == 1
    assert said in err
    assert not list(tmp_path.iterdir())
