"""Figures about decisions: what is drawn is what plans and their like say."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import qqtjax as qqt
from qqtjax.cli import output
from qqtjax.cli.main import main
from qqtjax.decide import CrossoverSet, NearBest, measured_pairs, probability_unbeaten, reliability
from qqtjax.design import NextRun
from qqtjax.design.candidates import Candidate
from qqtjax.design.next_run import Worth
from qqtjax.io.outcomes import read_outcomes
from qqtjax.io.saved import save_fit
from qqtjax.laws.fitted import Seen
from qqtjax.mix.filters import Option
from qqtjax.plot.budgets import BUDGET
from qqtjax.plot.colours import NEUTRAL, pool_colours, pool_dashes
from qqtjax.runs import Pools, Runs

# The best pool is the last of the table: its colour is that of its place there.
SIZES = np.array([40e3, 20e3, 10e3])
POOLS = Pools(("A", "B", "C"), SIZES)
PARAMS = qqt.laws.UtilityParams(
    scale=1e3,
    floor=0.05,
    utility=np.array([-0.2, -0.25, -0.3]),
    half_life=np.array([12.0, 4.0, 3.0]),
    reference_size=SIZES,
)
BUDGETS = np.geomspace(5e3, 1e6, 8)
COLOURS = pool_colours(POOLS.names)


def law() -> qqt.FittedLaw:
    seen = Seen((2e3, 200e3), np.array([5.0, 10.0, 20.0]), 9, 3, 0)
    return qqt.FittedLaw(qqt.laws.utility, PARAMS, POOLS, seen=seen)


def draws() -> qqt.Draws:
    """Sixteen sets of parameters around those of the law."""
    rng = np.random.default_rng(2)
    params = {
        name: np.broadcast_to(value, (16, *np.shape(value))).astype(float)
        for name, value in vars(PARAMS).items()
        if value is not None
    }
    params["utility"] = params["utility"] * rng.uniform(0.9, 1.1, (16, 3))
    params["half_life"] = params["half_life"] * rng.uniform(0.7, 1.4, (16, 3))
    return qqt.Draws(law(), qqt.laws.UtilityParams(**params), "by hand", np.inf, ())


@pytest.fixture(scope="module")
def plan() -> qqt.Plan:
    """Budgets in no order, one mix of the user's own."""
    return qqt.plan(law(), BUDGETS[::-1], mixes={"half": {"A": 0.4, "C": 0.6}}, draws=draws())


@pytest.fixture
def rows(plan: qqt.Plan) -> list[Any]:
    return sorted(plan.rows, key=lambda row: row.samples_seen)


def lines(axes: Any, colour: str, style: str | None = None) -> list[Any]:
    found = [each for each in axes.get_lines() if to_hex(each.get_color()) == colour and len(each.get_xdata()) > 1]
    return [each for each in found if style is None or each.get_linestyle() == style]


def labelled(axes: Any, label: str) -> Any:
    (found,) = [each for each in axes.get_lines() if each.get_label() == label]
    return found


# Against budget.


def test_lines_are_the_plans_thick_where_fitted_and_thin_beyond(plan: qqt.Plan, rows: list[Any]):
    axes = qqt.plot.budgets(plan, POOLS)
    recipes = {each.name: [row.options[place] for row in rows] for place, each in enumerate(rows[0].options)}
    recipes["best mix"] = [row.mix for row in rows]
    assert list(recipes) == ["C", "C+B", "all pools", "half", "best mix"]
    for name, own in recipes.items():
        thick = labelled(axes, name)
        at = axes.get_lines().index(thick)
        thin = axes.get_lines()[at - 1]
        error = np.array([each.error for each in own])
        beyond = np.array([each.extrapolation != "" for each in own])
        assert 0 < beyond.sum() < len(beyond)
        np.testing.assert_array_equal(thick.get_xdata(), BUDGETS)
        np.testing.assert_array_equal(thick.get_ydata()[~beyond], error[~beyond])
        assert np.all(np.isnan(thick.get_ydata()[beyond]))
        np.testing.assert_array_equal(thin.get_ydata()[beyond], error[beyond])
        assert thin.get_linewidth() < thick.get_linewidth()
        assert thin.get_color() == thick.get_color()
    assert axes.get_xlabel() == BUDGET
    assert "extrapolated" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_rings_and_bars_are_the_crossovers_that_decide(plan: qqt.Plan):
    axes = qqt.plot.budgets(plan, POOLS)
    inside = [each for each in plan.crossovers if each.decides and BUDGETS[0] <= each.samples_seen <= BUDGETS[-1]]
    assert len(inside) >= 2
    assert len(plan.crossovers) > len(inside), "or the test could not tell which are left out"
    rings = [each for each in axes.get_lines() if each.get_fillstyle() == "none"]
    assert [each.get_xdata()[0] for each in rings] == [each.samples_seen for each in inside]
    for ring, crossover in zip(rings, inside, strict=True):
        heights = [
            np.interp(np.log(crossover.samples_seen), np.log(BUDGETS), np.array([e[name] for e in errors(plan)]))
            for name in (crossover.below, crossover.above)
        ]
        assert min(heights) <= ring.get_ydata()[0] <= max(heights)
    bars = [each for each in axes.get_lines() if each.get_alpha() is not None]
    spans = [span for each in inside if each.doubt is not None for span in each.doubt.spans]
    assert [tuple(bar.get_xdata()) for bar in bars] == [tuple(np.clip(span, BUDGETS[0], BUDGETS[-1])) for span in spans]
    said = [text.get_text() for text in axes.texts]
    assert said[0].startswith("adds B at ")
    assert all(text.endswith(f"({each.doubt})") for text, each in zip(said, inside, strict=True))
    # The bars lie below all lines.
    low = axes.get_ylim()[0]
    least = min(min(e.values()) for e in errors(plan))
    assert max(bar.get_ydata()[0] for bar in bars) < (least - low) / (axes.get_ylim()[1] - low)


def errors(plan: qqt.Plan) -> list[dict[str, float]]:
    return [
        {each.name: each.error for each in (*row.options, row.mix)}
        for row in sorted(plan.rows, key=lambda row: row.samples_seen)
    ]


def test_an_interval_without_an_end_has_an_arrow(plan: qqt.Plan):
    first = next(each for each in plan.crossovers if each.decides)
    at = first.samples_seen
    doubt = CrossoverSet((at,), ((at / 2, 1e8),), at / 10, 1e8, 0.95, 0.1)
    axes = qqt.plot.budgets(dataclasses.replace(plan, crossovers=(dataclasses.replace(first, doubt=doubt),)), POOLS)
    (bar,) = [each for each in axes.get_lines() if each.get_alpha() is not None]
    assert tuple(bar.get_xdata()) == (at / 2, BUDGETS[-1])
    arrows = {each.get_marker(): each.get_xdata()[0] for each in axes.get_lines() if each.get_marker() in "<>"}
    assert arrows == {">": BUDGETS[-1]}
    assert f"above {at / 2e3:.3g}k" in axes.texts[0].get_text() or "never below" in axes.texts[0].get_text()
    without = dataclasses.replace(plan, crossovers=(dataclasses.replace(first, doubt=None),))
    assert not [each for each in qqt.plot.budgets(without, POOLS).get_lines() if each.get_alpha() is not None]
    assert not qqt.plot.budgets(dataclasses.replace(plan, crossovers=()), POOLS).texts


def test_what_changes_is_said_in_words(plan: qqt.Plan):
    first = next(each for each in plan.crossovers if each.decides)
    cases = {
        ("C", "all pools"): "adds B, A",
        ("all pools", "C+B"): "drops A",
        ("C", "half"): "C → half",
    }
    for (below, above), said in cases.items():
        crossover = dataclasses.replace(first, below=below, above=above, doubt=None)
        axes = qqt.plot.budgets(dataclasses.replace(plan, crossovers=(crossover,)), POOLS)
        assert axes.texts[0].get_text().startswith(f"{said} at ")


def test_stacked_areas_are_the_weights_of_the_mix_and_sum_to_one(plan: qqt.Plan, rows: list[Any]):
    axes = qqt.plot.weights(plan, POOLS)
    base = np.zeros(len(rows))
    for area in axes.collections:
        name = area.get_label()
        vertices = area.get_paths()[0].vertices
        for place, row in enumerate(rows):
            heights = vertices[np.isclose(vertices[:, 0], row.samples_seen, rtol=1e-9), 1]
            assert heights.min() == pytest.approx(base[place], abs=1e-12)
            assert heights.max() - heights.min() == pytest.approx(row.mix.weights[name], abs=1e-12)
            base[place] = heights.max()
        assert to_hex(area.get_facecolor()[0]) == COLOURS[name]
    np.testing.assert_allclose(base, 1, rtol=1e-12)
    assert [area.get_label() for area in axes.collections] == ["C", "B", "A"]
    assert len({tuple(np.round(list(row.mix.weights.values()), 3)) for row in rows}) > 3


def test_probabilities_are_those_of_the_decision(plan: qqt.Plan):
    decision = plan.decision
    assert decision is not None
    assert len(np.unique(decision.probability)) > 5
    unbeaten = np.linspace(1, 0, 8)
    axes = qqt.plot.best(plan, POOLS, mix=unbeaten)
    for name, probability in zip(decision.names, decision.probability, strict=True):
        drawn = labelled(axes, name)
        np.testing.assert_array_equal(drawn.get_xdata(), BUDGETS)
        np.testing.assert_array_equal(drawn.get_ydata(), probability[::-1])
    mix = labelled(axes, "best mix, against all of them")
    np.testing.assert_array_equal(mix.get_ydata(), unbeaten[::-1])
    assert to_hex(mix.get_color()) == NEUTRAL
    assert len(qqt.plot.best(plan, POOLS).get_lines()) == len(decision.names)


def test_a_mix_is_unbeaten_in_as_many_draws_as_one_counts(plan: qqt.Plan):
    own, names = draws(), POOLS.names
    mixes = np.array([[row.mix.weights[name] for name in names] for row in plan.rows])
    options = {each.name: each.weights for each in plan.rows[0].options}
    found = probability_unbeaten(own, mixes, options, BUDGETS[::-1])
    expected = np.zeros(8)
    for draw in range(len(own)):
        one = own.at(draw)
        least = np.min([one.predict(shares, BUDGETS[::-1]) for shares in options.values()], axis=0)
        mixed = np.array([one.predict(mix, n) for mix, n in zip(mixes, BUDGETS[::-1], strict=True)])
        expected += mixed <= least * (1 + 1e-12)
    np.testing.assert_allclose(found, expected / len(own))
    assert 0 < found.min() < 1, "or the test could not tell"
    # A mix that is the best option itself ties with it.
    alone = np.tile([0.0, 0.0, 1.0], (8, 1))
    np.testing.assert_array_equal(probability_unbeaten(own, alone, {"C": {"C": 1}}, BUDGETS), 1)
    with pytest.raises(qqt.InputError, match=r"^mixes of shape \(8, 3\): expected shares of every pool at each of 2"):
        probability_unbeaten(own, alone, options, BUDGETS[:2])
    with pytest.raises(qqt.InputError, match=r"^no options"):
        probability_unbeaten(own, alone, {}, BUDGETS)


def test_filters_have_the_colour_of_their_worst_pool_and_own_mixes_are_dashed(plan: qqt.Plan):
    dashes = pool_dashes(POOLS.names)
    for axes in (qqt.plot.budgets(plan, POOLS), qqt.plot.best(plan, POOLS)):
        for name, pool in {"C": "C", "C+B": "B", "all pools": "A"}.items():
            assert to_hex(labelled(axes, name).get_color()) == COLOURS[pool]
            assert labelled(axes, name).get_linestyle() == dashes[pool]
        assert to_hex(labelled(axes, "half").get_color()) == COLOURS["C"]
        assert labelled(axes, "half").get_linestyle() == "--"
    # Without the table, the best pool is the first.
    assert to_hex(labelled(qqt.plot.best(plan), "C").get_color()) == COLOURS["A"]


def test_pools_alone_look_as_themselves(plan: qqt.Plan):
    """As in the plan of pools of unknown sizes, which have no nested filters."""
    alone = [dataclasses.replace(plan.rows[0].options[0], name=name, pools=0) for name in "ABC"]
    alone = [
        dataclasses.replace(each, weights={name: float(name == each.name) for name in plan.pools}) for each in alone
    ]
    rows = [dataclasses.replace(row, options=tuple(alone)) for row in plan.rows]
    axes = qqt.plot.budgets(dataclasses.replace(plan, rows=tuple(rows), crossovers=()), POOLS)
    for name in "ABC":
        assert to_hex(labelled(axes, name).get_color()) == COLOURS[name]
        assert labelled(axes, name).get_linestyle() == "-"


# Of other results.


def test_a_reliability_diagram_draws_the_bins():
    rng = np.random.default_rng(0)
    stated = rng.random(500)
    found = reliability(stated, rng.random(500) < stated**2, 5)
    axes = qqt.plot.reliability(found, level=0.9)
    happened = labelled(axes, "happened")
    np.testing.assert_array_equal(happened.get_xdata(), found.stated)
    np.testing.assert_array_equal(happened.get_ydata(), found.happened)
    whiskers = np.array([path.vertices[:, 1] for path in axes.collections[0].get_paths()])
    np.testing.assert_allclose(whiskers.T, found.interval(0.9))
    assert axes.texts[0].get_text().splitlines() == [
        f"calibration error {found.error:.3f}",
        f"Brier score {found.brier:.3f}, base rate alone {found.rate * (1 - found.rate):.3f}",
        "500 events in 5 bins",
    ]


def ranking() -> NextRun:
    """Three runs: one on two pools, one continued, one that saves most."""

    def worth(name: str, shares: list[float], cost: float, reduction: float, resumes: str | None = None) -> Worth:
        run = Candidate(name, np.array(shares), np.array([cost]), cost, resumes)
        return Worth(run, None, 0.01 - reduction, reduction, 0.0005, 1.0)

    rows = (
        worth("C+B", [0, 0.4, 0.6], 10e3, 0.002),
        worth("A", [1, 0, 0], 40e3, 0.003, resumes="run-7"),
        worth("B", [0, 1, 0], 160e3, 0.008),
    )
    choice = Option("C", np.array([0.0, 0, 1]), 1)
    return NextRun(1e6, POOLS.names, choice, 0.4, 0.01, 0.001, 9, rows, 0.01, False, None, None, ())


def test_bars_of_next_runs_are_what_they_save_divided_into_pools():
    found = ranking()
    saved, left = qqt.plot.next_run(found)
    rank = {round(bar.get_y() + bar.get_height() / 2): 0.0 for bar in saved.patches}
    for bar in saved.patches:
        row = round(bar.get_y() + bar.get_height() / 2)
        pool = {colour: name for name, colour in COLOURS.items()}[to_hex(bar.get_facecolor())]
        share = found.rows[row].run.weights[POOLS.index(pool)]
        assert bar.get_width() == pytest.approx(1e6 * found.rows[row].per_sample * share)
        rank[row] += bar.get_width()
    assert rank == pytest.approx({row: 1e6 * each.per_sample for row, each in enumerate(found.rows)})
    assert [text.get_text() for text in saved.get_yticklabels()] == [
        "C+B, 10k",
        "continue run-7, 40k",
        "B, 160k, most saved",
    ]
    np.testing.assert_allclose(labelled(left, "after the run").get_xdata(), [0.008, 0.007, 0.002])
    assert set(labelled(left, "now: 0.01").get_xdata()) == {0.01}
    # The one that saves most comes along.
    shown = qqt.plot.next_run(found, shown=1)[0]
    assert [text.get_text() for text in shown.get_yticklabels()] == ["C+B, 10k", "B, 160k, most saved"]
    decided = dataclasses.replace(
        found,
        regret=0.0,
        rows=tuple(dataclasses.replace(row, regret=0, reduction=0, reduction_error=0) for row in found.rows),
    )
    assert qqt.plot.next_run(decided)[1].get_xlim() == (0, 1)


def near() -> NearBest:
    best, low, high = ({"A": 0.0, "B": 0.3, "C": 0.7}, {"A": 0.0, "B": 0.2, "C": 0.6}, {"A": 0.1, "B": 0.4, "C": 0.8})
    return NearBest(1e6, 0.001, 0.41, best, low, high, True)


def test_ranges_of_weights_are_bars_and_the_best_a_dot():
    found = near()
    axes = qqt.plot.near_best(found)
    for name, bar in zip("ABC", axes.patches, strict=True):
        assert bar.get_x() == pytest.approx(found.low[name])
        assert bar.get_x() + bar.get_width() == pytest.approx(found.high[name])
        assert to_hex(bar.get_facecolor()) == COLOURS[name]
    np.testing.assert_array_equal(labelled(axes, "best mix").get_xdata(), [0, 0.3, 0.7])
    assert axes.get_title() == "within 0.001 of the least error 0.4100 at 1M samples seen"
    assert axes.get_xlabel() == "weight"
    assert "random mixes" in qqt.plot.near_best(found._replace(proved=False)).get_xlabel()


def table() -> Runs:
    """Pools alone at three budgets, as the law has them; twice, the second time with noise."""
    source, seen = (each.ravel() for each in np.meshgrid(np.tile(np.arange(3), 2), BUDGETS[:3], indexing="ij"))
    error = law().predict(np.eye(3)[source], seen).copy()
    error[9:] += 0.02 * np.random.default_rng(1).normal(size=9)
    return Runs(
        pools=POOLS,
        source=source,
        mixes=np.zeros((0, 3)),
        mix_sizes=np.zeros((0, 3)),
        samples_seen=seen,
        error=error,
        run=np.arange(18) // 3,
        run_names=tuple("rstuvw"),
        seed=np.zeros(18, int),
        metric=np.zeros(18, int),
    )


def test_pairs_are_all_at_equal_budgets_and_their_probability_is_the_normals():
    from scipy.stats import norm

    own, runs = draws(), table()
    found = measured_pairs(own, runs, 0.03, seed=3)
    # At each of three budgets: six rows, less the pairs of one pool with itself.
    assert len(found.rows) == 3 * (15 - 3)
    assert 0 < np.mean(found.rows[:, 0] < found.rows[:, 1]) < 1, "which is A is drawn"
    for (first, second), probability, happened in zip(found.rows, found.probability, found.happened, strict=True):
        assert runs.samples_seen[first] == runs.samples_seen[second]
        assert runs.source[first] != runs.source[second]
        assert happened == (runs.error[first] < runs.error[second])
        one, other = (own.predict(np.eye(3)[runs.source[row]], runs.samples_seen[row]) for row in (first, second))
        assert probability == pytest.approx(np.mean(norm.cdf((other - one) / (0.03 * np.sqrt(2)))))
    few = measured_pairs(own, runs, 0.03, most=7, seed=3)
    assert len(few.rows) == 7
    assert {frozenset(pair) for pair in few.rows.tolist()} <= {frozenset(pair) for pair in found.rows.tolist()}
    for wrong, said in (
        (lambda: measured_pairs(own, runs), "noise 0.0: expected the standard deviation"),
        (lambda: measured_pairs(own, runs.select(runs.source == 1), 0.1), "no two runs of different pools"),
    ):
        with pytest.raises(qqt.InputError, match=said):
            wrong()


def test_outcomes_are_read_and_what_is_wrong_is_placed(tmp_path: Path):
    path = tmp_path / "events.csv"
    path.write_text("probability,outcome,note\n.25,1,x\n1,false,y\n")
    found = read_outcomes(path)
    assert (found.probability.tolist(), found.happened.tolist()) == ([0.25, 1.0], [True, False])
    for text, said in (
        ("probability,outcome\n.5,1\n1.5,0\n", r"row 2 \(line 3\), column 'probability': found 1.5, expected a prob"),
        (
            "probability,outcome\n.5,\n",
            r"row 1 \(line 2\), column 'outcome': found an empty cell or NaN, expected true",
        ),
        ("probability,outcome\n,1\n", r"row 1 \(line 2\), column 'probability': found an empty cell"),
        ("probability,outcom\n.5,1\n", r"no column 'outcome'; .*did you mean 'outcom'\?"),
    ):
        path.write_text(text)
        with pytest.raises(qqt.InputError, match=said):
            read_outcomes(path)


# How it is drawn.


def global_settings() -> dict[str, Any]:
    return {name: mpl.rcParams[name] for name in mpl.rcParams if name != "backend"}


def test_figures_draw_on_axes_that_are_given_and_touch_nothing_else(
    plan: qqt.Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    settings = global_settings()
    figures = {
        "budgets": (1, lambda axes: qqt.plot.budgets(plan, POOLS, axes=axes)),
        "weights": (1, lambda axes: qqt.plot.weights(plan, POOLS, axes=axes)),
        "best": (1, lambda axes: qqt.plot.best(plan, POOLS, axes=axes)),
        "reliability": (1, lambda axes: qqt.plot.reliability(reliability([0.2, 0.7], [0, 1]), axes=axes)),
        "next_run": (2, lambda axes: qqt.plot.next_run(ranking(), axes=axes)),
        "near_best": (1, lambda axes: qqt.plot.near_best(near(), axes=axes)),
    }
    for name, (count, draw) in figures.items():
        panels = Figure().subplots(1, count, squeeze=False)[0]
        assert list(np.ravel(draw(panels[0] if count == 1 else panels))) == list(panels), name
        assert all(panel.has_data() and panel.get_xlabel() for panel in panels), name
        files = []
        for each in range(2):
            qqt.plot.save_figure(np.ravel(draw(None))[0].figure, tmp_path / f"{each}.svg")
            files.append((tmp_path / f"{each}.svg").read_bytes())
        assert files[0] == files[1], name
    assert global_settings() == settings
    assert "matplotlib.pyplot" not in sys.modules


def test_figures_say_what_is_wrong_in_one_line(plan: qqt.Plan):
    single = dataclasses.replace(plan, rows=plan.rows[:1])
    other = Pools(("A", "B", "D"), SIZES)
    mistakes = [
        *((lambda draw=draw: draw(single), "needs a plan for two or more budgets") for draw in AGAINST_BUDGET),
        *(
            (lambda draw=draw: draw(plan, other), "pools A, B, D: expected those of the plan")
            for draw in AGAINST_BUDGET
        ),
        (lambda: qqt.plot.best(dataclasses.replace(plan, decision=None)), "make it with draws"),
        (
            lambda: qqt.plot.best(plan, POOLS, mix=[0.5]),
            "mix: shape (1,), expected a probability for each of 8",
        ),
        (lambda: qqt.plot.next_run(ranking(), shown=0), "shown 0: expected 1 or more"),
        (
            lambda: qqt.plot.reliability(reliability([0.5], [1]), level=95),
            "level 95: expected a number between 0 and 1",
        ),
    ]
    for wrong, said in mistakes:
        with pytest.raises(qqt.InputError) as caught:
            wrong()
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


AGAINST_BUDGET = (qqt.plot.budgets, qqt.plot.weights, qqt.plot.best)


# On the command line.


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "PATIENCE", 1e6)  # no line a stage

    def run(words: str) -> tuple[int | str | None, str, str]:
        capsys.readouterr()
        status: int | str | None = 0
        try:
            main(words.split())
        except SystemExit as ended:
            status = ended.code
        return (status, *capsys.readouterr())

    return run


def test_figures_about_decisions_on_the_command_line(typed):
    save_fit(law(), "fit.json")
    assert typed("plot budgets fit.json --budgets 5k:1M:log:8 -o b.pdf") == (0, "wrote b.pdf\n", "")
    assert typed("plot weights fit.json --budgets 5k:1M:log:8 -o w.svg") == (0, "wrote w.svg\n", "")
    Path("events.csv").write_text("probability,outcome\n.2,0\n.8,1\n.6,1\n")
    assert typed("plot reliability --outcomes events.csv --bins 3 --dpi 40") == (0, "wrote reliability.png\n", "")
    assert {each.name for each in Path().iterdir()} >= {"b.pdf", "w.svg", "reliability.png"}


MISTAKES = (
    ("budgets fit.json --budgets 1M", "--budgets: found 1M, expected two or more different budgets"),
    ("weights fit.json --budgets 1M:1k:log:5", "--budgets: 1M is not below 1k"),
    ("best --budgets 1M,x", "--budgets: "),
    ("best --draws 1", "--draws"),
    ("best fit.json", "how sure it is: no parameters can be drawn around this fit"),
    ("budgets runs.csv --published datacomp-tmars", "RUNS and --published: expected one of them"),
    ("weights --published datacomp-tmars --law power", "--law: found 'power'"),
    ("budgets --law utilty", "--law: found 'utilty'"),
    ("reliability fit.json --outcomes events.csv", "RUNS and --outcomes: expected one of them"),
    ("reliability --outcomes events.csv", "no such file"),
    ("reliability --outcomes fit.json", "fit.json, row 1 (line 1): not JSON"),
    (
        "reliability --outcomes events.csv --metric top1",
        "--metric: applies to runs of yours, not to a table",
    ),
    ("reliability --noise 0", "--noise: found '0', expected a positive number"),
    ("reliability --level 95", "--level: found '95', expected a number between 0 and 1"),
    ("next fit.json", "fit.json: a saved fit, expected measured runs"),
    ("next --budget lots", "--budget: "),
    ("next --shown 0", "--shown"),
    ("near-best fit.json --epsilon -1", "--epsilon: found '-1', expected a positive number"),
    ("near-best -o near.gif", "near.gif: a figure, expected a name that ends in .png, .pdf, .svg"),
)


@pytest.mark.parametrize("words", MISTAKES, ids=lambda words: words[0])
def test_a_mistake_is_one_line_and_leaves_no_file(typed, words: tuple[str, str]):
    save_fit(law(), "fit.json")
    status, out, err = typed(f"plot {words[0]}")
    assert (status, out) == (2, "")
    (said,) = err.splitlines()
    assert said.startswith("qqt: error: ")
    assert words[1] in said
    assert [each.name for each in Path().iterdir()] == ["fit.json"]


@pytest.mark.parametrize("name", ["budgets", "weights", "best", "reliability", "next", "near-best"])
def test_help_fits_the_terminal_and_shows_examples(typed, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv("COLUMNS", "80")
    status, text, _ = typed(f"plot {name} --help")
    assert status == 0
    assert max(map(len, text.splitlines())) <= 80
    assert text.count(f"qqt plot {name}") >= 2
    for option in ("--json", "--seed", "-o, --output", "--title", "--size", "--dpi", "RUNS"):
        assert option in text
    assert f"  {name} " in typed("plot")[1]


def test_what_is_asked_reaches_the_functions(typed, monkeypatch: pytest.MonkeyPatch):
    asked: dict[str, Any] = {}

    def nearly(fit: qqt.FittedLaw, *rest: Any) -> NearBest:
        asked["near-best"] = rest
        return near()

    def ranked(runs: Runs, budget: float, law: Any, **rest: Any) -> NextRun:
        asked["next"] = (len(runs), budget, law.name, rest)
        return ranking()

    monkeypatch.setattr(sys.modules["qqtjax.decide"], "near_best", nearly)
    monkeypatch.setattr(sys.modules["qqtjax.design"], "next_run", ranked)
    save_fit(law(), "fit.json")
    assert typed("plot near-best fit.json --budget 100k --epsilon .01 --seed 3 -o a.svg")[:2] == (0, "wrote a.svg\n")
    assert asked["near-best"] == (100e3, 0.01, 3)
    typed("plot near-best --published datacomp-tmars")
    assert asked["near-best"] == (640e6, 0.001, 0)
    assert typed("plot next --spend 1M --fresh-only --noise .02 -o b.svg") == (0, "wrote b.svg\n", "")
    rest = {"resume": False, "spend": 1e6, "filters_only": False, "noise": 0.02, "draws": 512, "seed": 0}
    assert asked["next"] == (765, 2 * qqt.wordclip("C").samples_seen.max(), "utility", rest)


@pytest.mark.slow
@pytest.mark.parametrize("words", ["budgets", "best", "reliability"])
def test_figures_of_the_runs_that_come_along(typed, words: str):
    assert typed(f"plot {words} -o figure.png")[:2] == (0, "wrote figure.png\n")
    assert Path("figure.png").read_bytes().startswith(b"\x89PNG")
