"""Figures about fits: what is drawn is what the law, the draws and the table say, and nothing else is touched."""

from __future__ import annotations

import ast
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import stats

import qqtjax as qqt
from qqtjax.bakeoff import Bakeoff, Baseline, bakeoff
from qqtjax.cli import output
from qqtjax.cli.main import main
from qqtjax.decide import Sensitivity, over_dilution
from qqtjax.fit.profile import Profile
from qqtjax.io.saved import save_fit
from qqtjax.laws.fitted import Seen, evaluate
from qqtjax.plot.colours import pool_colours, pool_dashes
from qqtjax.plot.mixtures import rank_correlation
from qqtjax.runs import Pools, Run, Runs

SIZES = np.array([10e3, 20e3, 40e3])
POOLS = Pools(("A", "B", "C"), SIZES)
PARAMS = qqt.laws.UtilityParams(
    scale=1e3,
    floor=0.05,
    utility=np.array([-0.3, -0.2, -0.1]),
    half_life=np.array([3.0, 6.0, 12.0]),
    reference_size=SIZES,
)
BUDGETS = np.array([5e3, 10e3, 40e3, 80e3])
MIXES = np.array([[0.5, 0.5, 0.0], [1 / 3, 2 / 3, 0.0], [0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [1 / 3, 2 / 3, 0.0]])
# The fourth draws from a tenth of pool A alone, the fifth from half of the two pools whose union the second is.
PARTS = np.array([SIZES, SIZES, SIZES, SIZES * [0.1, 1, 1], SIZES * [0.5, 0.5, 1]])


def law() -> qqt.FittedLaw:
    seen = Seen((5e3, 40e3), np.array([4.0, 2.0, 1.0]), 9, 3, 0)
    return qqt.FittedLaw(qqt.laws.utility, PARAMS, POOLS, seen=seen)


def table() -> Runs:
    """Three pools alone, three mixtures and two runs on parts of pools, at four budgets, with noise."""
    source, seen = (each.ravel() for each in np.meshgrid(np.arange(8), BUDGETS, indexing="ij"))
    weights, sizes = np.vstack([np.eye(3), MIXES])[source], np.vstack([np.tile(SIZES, (3, 1)), PARTS])[source]
    error = evaluate(qqt.laws.utility, PARAMS, Run(weights=weights, sizes=sizes, samples_seen=seen))
    return Runs(
        pools=POOLS,
        source=source,
        mixes=MIXES,
        mix_sizes=PARTS,
        samples_seen=seen,
        error=error + 0.01 * np.random.default_rng(1).normal(size=len(seen)),
        run=source,
        run_names=tuple(f"run{place}" for place in range(8)),
        seed=np.zeros(len(seen), int),
        metric=np.zeros(len(seen), int),
    )


def draws(fitted: qqt.FittedLaw) -> qqt.Draws:
    """Eight sets of parameters around those of the law."""
    rng = np.random.default_rng(2)
    params = {
        name: np.broadcast_to(value, (8, *np.shape(value))).astype(float)
        for name, value in vars(PARAMS).items()
        if value is not None
    }
    params["utility"] = params["utility"] * rng.uniform(0.9, 1.1, (8, 3))
    params["half_life"] = params["half_life"] * rng.uniform(0.5, 2.0, (8, 3))
    return qqt.Draws(fitted, qqt.laws.UtilityParams(**params), "by hand", np.inf, ())


def line(axes: Any, label: str) -> Any:
    """The one line of this label in the legend's order."""
    (found,) = [each for each in axes.get_lines() if each.get_label() == label]
    return found


def points(axes: Any, marker: str, fill: str) -> list[Any]:
    return [
        each
        for each in axes.get_lines()
        if each.get_marker() == marker and each.get_fillstyle() == fill and len(each.get_xdata())
    ]


# What is drawn.


def test_curves_are_the_laws_and_points_the_tables():
    fitted, runs = law(), table()
    hidden = runs.samples_seen > 40e3
    axes = qqt.plot.curves(fitted, runs, held_out=hidden)
    for name in POOLS.names:
        drawn = line(axes, name)
        seen, error = drawn.get_xdata(), drawn.get_ydata()
        inside = np.isfinite(error)
        np.testing.assert_allclose(error[inside], fitted.predict({name: 1}, seen[inside]), rtol=1e-12)
        # Fitted up to 40k samples (and 5 %): the thick line ends there, a thin one goes on.
        assert seen[inside].max() <= 42e3 < seen.max() == pytest.approx(80e3)
        own = runs.source == POOLS.index(name)
        for fill, rows in (("full", own & ~hidden), ("none", own & hidden)):
            shown = [each for each in points(axes, "o", fill) if each.get_color() == drawn.get_color()]
            assert len(shown) == 1, "one set of points of each kind in the pool's colour"
            np.testing.assert_array_equal(shown[0].get_xdata(), runs.samples_seen[rows])
            np.testing.assert_array_equal(shown[0].get_ydata(), runs.error[rows])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["A", "B", "C", "1k of A", "not fitted", "extrapolated"]


def test_a_part_of_a_pool_has_the_curve_of_its_own_size():
    fitted, runs = law(), table()
    axes = qqt.plot.curves(fitted, runs)
    thin = [each for each in axes.get_lines() if each.get_color() == line(axes, "1k of A").get_color()]
    drawn = thin[0]
    expected = fitted.with_sizes({"A": 1e3}).predict({"A": 1}, drawn.get_xdata())
    np.testing.assert_allclose(drawn.get_ydata(), expected, rtol=1e-12)
    assert drawn.get_color() != line(axes, "A").get_color()
    assert drawn.get_ydata()[-1] > fitted.predict({"A": 1}, 80e3)


def test_bands_are_quantiles_of_the_draws():
    fitted, runs = law(), table()
    drawn = draws(fitted)
    axes = qqt.plot.curves(drawn, runs, level=0.5)
    vertices = axes.collections[0].get_paths()[0].vertices
    seen = line(axes, "A").get_xdata()
    low, high = np.quantile(drawn.predict({"A": 1}, seen), [0.25, 0.75], axis=0)
    for place in (0, 50, 127):
        heights = vertices[np.isclose(vertices[:, 0], seen[place], rtol=1e-9), 1]
        assert heights.min() == pytest.approx(low[place])
        assert heights.max() == pytest.approx(high[place])
    without = qqt.plot.curves(fitted, runs)
    assert not without.collections


def test_a_band_that_leaves_everything_open_does_not_hide_the_points():
    fitted, runs = law(), table()
    wild = draws(fitted)
    wild = dataclasses.replace(wild, params=dataclasses.replace(wild.params, floor=np.linspace(0, 90, 8)))
    low, high = qqt.plot.curves(wild, runs).get_ylim()
    assert 0 < low < runs.error.min()
    assert runs.error.max() < high < 2


def test_repetition_draws_the_slope_of_the_law_in_each_epoch():
    """Another method: within an epoch log(y - d) falls in log n with that slope, for the pool trained alone."""
    fitted = law().with_params(decay_shape=1.7).with_sizes({"B": 5e3})
    axes = qqt.plot.repetition(fitted, epochs=5)
    for name, size in zip(POOLS.names, fitted.pools.sizes, strict=True):
        drawn = line(axes, name)
        np.testing.assert_array_equal(drawn.get_xdata(), np.arange(1, 6))
        for epoch, value in zip(drawn.get_xdata(), drawn.get_ydata(), strict=True):
            seen = size * (epoch - np.array([0.7, 0.3]))
            excess = np.log(fitted.predict({name: 1}, seen) - 0.05)
            assert value == pytest.approx(np.diff(excess)[0] / np.diff(np.log(seen))[0], rel=1e-9)


def test_repetition_of_the_published_constants():
    axes = qqt.plot.repetition(qqt.published("datacomp-tmars").utility)
    top = line(axes, "top 10 %").get_ydata()
    assert top[0] == pytest.approx(-0.16)
    assert top[7] == pytest.approx(-0.16 * 2 ** (-7 / 6.7272727272727275))


def test_bands_of_repetition():
    drawn = draws(law())
    axes = qqt.plot.repetition(drawn, epochs=4, level=0.5)
    worth = drawn.params.utility[:, 1] * 2.0 ** (-2 / drawn.params.half_life[:, 1])
    vertices = axes.collections[1].get_paths()[0].vertices
    heights = vertices[vertices[:, 0] == 3, 1]
    assert (heights.min(), heights.max()) == pytest.approx(tuple(np.quantile(worth, [0.25, 0.75])))


def test_mixtures_are_the_tables_and_the_correlations_those_of_pandas():
    import pandas as pd

    fitted, runs = law(), table()
    axes = qqt.plot.mixtures(fitted, runs)
    mixed = np.count_nonzero(runs.weights, axis=1) > 1
    batch = runs.as_run()
    predicted = evaluate(fitted.law, fitted.params, batch)
    shown = axes.collections[0].get_offsets()
    np.testing.assert_allclose(shown, np.stack([runs.error, predicted], axis=1)[mixed])
    frame = pd.DataFrame({"y": runs.error[mixed], "p": predicted[mixed], "n": runs.samples_seen[mixed]})
    within = frame.groupby("n")[["y", "p"]].apply(lambda group: group["y"].corr(group["p"], method="spearman"))
    mae = (frame["y"] - frame["p"]).abs().mean()
    said = axes.texts[0].get_text()
    assert said.splitlines() == [
        f"mean absolute error {mae:.4f}",
        f"rank correlation {frame['y'].corr(frame['p'], method='spearman'):.3f}",
        f"at one budget {within.mean():.3f} (mean of 4)",
    ]
    assert axes.get_xlabel().endswith("none of them fitted")


def test_seeds_of_one_mixture_count_as_one_in_the_rank_correlation_at_a_budget():
    """Three seeds of two mixtures are two mixtures, too few to rank; as six points they would be ranked."""
    runs = table()
    rows = np.flatnonzero((runs.samples_seen == 40e3) & np.isin(runs.source, [3, 5]))
    other = np.flatnonzero((runs.samples_seen == 80e3) & np.isin(runs.source, [3, 5]))
    said = qqt.plot.mixtures(law(), runs.select(np.repeat(np.concatenate([rows, other]), 3))).texts[0].get_text()
    assert "rank correlation" in said
    assert "at one budget" not in said


def test_predictions_that_differ_by_rounding_tie():
    measured, predicted = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5, 0.5, 0.6, 0.7])
    (with_noise,) = {rank_correlation(measured, predicted + noise) for noise in (0, [1e-16, 0, 0, 0], [0, 2e-16, 0, 0])}
    assert with_noise == pytest.approx(stats.spearmanr(measured, predicted)[0])


def test_residuals_are_predicted_less_measured():
    fitted, runs = law(), table()
    axes = qqt.plot.residuals(fitted, runs)
    off = evaluate(fitted.law, fitted.params, runs.as_run()) - runs.error
    rows = runs.source == 1
    np.testing.assert_allclose(line(axes, "B").get_ydata(), off[rows])
    np.testing.assert_allclose(line(axes, "B").get_xdata(), BUDGETS / 20e3)
    # A tenth of pool A is ten times through at the same budget; a mixture counts its most repeated pool.
    np.testing.assert_allclose(line(axes, "parts of A").get_xdata(), BUDGETS / 1e3)
    np.testing.assert_allclose(line(axes, "mixtures").get_xdata()[:4], BUDGETS * 0.5 / 10e3)
    assert len(line(axes, "mixtures").get_xdata()) == 16
    endless = dataclasses.replace(runs, pools=Pools(POOLS.names, np.full(3, np.inf)), mix_sizes=np.full((5, 3), np.inf))
    unknown = dataclasses.replace(fitted, pools=endless.pools)
    assert qqt.plot.residuals(unknown, endless).get_xlabel() == "samples seen"


def test_stability_draws_the_parameters_of_every_variant():
    varied = {
        "scale": np.array([1e3, 2e3]),
        "utility": np.array([[-0.3, -0.2, -0.1], [-0.4, -0.3, -0.2]]),
        "half_life": np.array([[3.0, 6.0, 12.0], [2.0, 1e6, 4.0]]),
    }
    same = {
        "floor": np.full(2, 0.1),
        "reference_size": np.stack([SIZES] * 2),
        "dilution": np.ones(2),
        "amplitude": np.ones(2),
    }
    params = qqt.laws.UtilityParams(**varied, **same)
    values = np.array([0.0, 1.0])
    found = Sensitivity("checkpoints from epoch", values, ("A",), np.array([1e4]), np.zeros((2, 1, 1)), params)
    panels = qqt.plot.stability(found, POOLS)
    assert [panel.get_ylabel() for panel in panels] == ["scale, samples", "utility", "half-life, epochs"]
    np.testing.assert_array_equal(panels[0].get_lines()[0].get_ydata(), [1e3, 2e3])
    np.testing.assert_array_equal(line(panels[1], "B").get_ydata(), [-0.2, -0.3])
    assert [panel.get_yscale() for panel in panels] == ["linear", "linear", "log"]
    assert panels[1].get_xlabel() == "checkpoints from epoch"
    dilutions = over_dilution(law(), {"A": {"A": 1}}, [1e4], [0.0, 0.5])
    (only,) = qqt.plot.stability(dilutions, POOLS)
    np.testing.assert_array_equal(only.get_lines()[0].get_ydata(), [0.0, 0.5])


def parabola(pool: str | None, centre: float, open_high: bool = False) -> Profile:
    value = np.linspace(centre - 5, centre + 5, 41)
    root = np.where(value > centre, 0.0, value - centre) if open_high else value - centre
    return Profile(
        field="half_life",
        pool=pool,
        estimate=centre,
        low=centre - 1.96,
        high=float(value[-1]) if open_high else centre + 1.96,
        open_low=False,
        open_high=open_high,
        level=0.95,
        freedom=1e7,
        grid=value,
        objective=1 + root**2 / 1e7,
        statistic=root,
        notes=(),
    )


def test_a_profile_crosses_the_limit_at_the_ends_of_its_interval():
    axes = qqt.plot.profile([parabola("A", 10.0), parabola("C", 20.0, open_high=True)], POOLS)
    curve, limit = axes.get_lines()[0], line(axes, "95 % interval ends").get_ydata()[0]
    assert np.interp([8.04, 11.96], curve.get_xdata(), curve.get_ydata()) == pytest.approx(limit, rel=0.01)
    assert limit == pytest.approx(1.959964**2, rel=1e-5)
    said = [text.get_text() for text in axes.get_legend().get_texts()]
    assert said == ["A 10 (8.04 to 12)", "C above 18", "95 % interval ends"]
    colours = pool_colours(POOLS.names)
    assert [each.get_color() for each in axes.get_lines()[:2]] == [colours["A"], colours["C"]]
    # The open end does not stretch the axis.
    assert axes.get_xlim()[1] < 22


def test_disagreement_fills_what_each_law_would_choose_and_ticks_what_was_measured():
    blind = qqt.FittedLaw(qqt.laws.utility, dataclasses.replace(PARAMS, half_life=np.full(3, 1e6)), POOLS)
    aware = law().with_params(half_life=np.array([0.5, 6.0, 12.0]))
    laws, runs = {"aware": aware, "blind": blind}, table()
    options = {"A": [1, 0, 0], "A+B": [1 / 3, 2 / 3, 0], "mine": {"B": 1.0}}
    panels = qqt.plot.disagreement(laws, options, [5e3, 80e3], runs=runs)
    weights = np.stack([POOLS.weights(each) for each in options.values()])
    for column, (panel, budget) in enumerate(zip(panels, [5e3, 80e3], strict=True)):
        for name, marker in (("aware", "o"), ("blind", "s")):
            expected = laws[name].predict(weights, budget)
            hollow = line(panel, name)
            np.testing.assert_allclose(hollow.get_xdata(), expected)
            (filled,) = [each for each in points(panel, marker, "full") if each.get_color() == hollow.get_color()]
            assert int(filled.get_ydata()[0]) == np.argmin(expected)
        measured = {int(each.get_ydata()[0]): each.get_xdata() for each in points(panel, "|", "full")}
        # The run on half of A and B is no run on A and B.
        for row, source in enumerate([0, 4, 1]):
            np.testing.assert_array_equal(
                measured[row], runs.error[(runs.source == source) & (runs.samples_seen == budget)]
            )
        assert [text.get_text() for text in panel.get_yticklabels()] == (list(options) if column == 0 else [""] * 3)
    chosen = [np.argmin(each.predict(weights, 80e3)) for each in laws.values()]
    assert chosen[0] != chosen[1], "or the test could not tell whose mark is filled"


@pytest.fixture(scope="module")
def compared() -> Bakeoff:
    """Two rules without a compiler: a mean and a mean of each pool."""
    flat = Baseline("flat", lambda runs: lambda asked: np.full(len(asked), runs.error.mean()))

    def by_pool(runs):
        means = np.array([runs.error[runs.source == pool].mean() for pool in range(8)])
        return lambda asked: means[asked.source]

    return bakeoff(table(), [flat, Baseline("by pool", by_pool)], "random:.25")


def test_bars_of_a_bakeoff_are_its_errors(compared: Bakeoff):
    bars, scatter = qqt.plot.bakeoff(compared)
    widths = {text.get_text(): bar.get_width() for text, bar in zip(bars.get_yticklabels(), bars.patches, strict=True)}
    assert widths == {name: compared.score(name).mae for name in compared.laws}
    assert list(widths.values()) == sorted(widths.values())
    shown = line(scatter, "by pool")
    np.testing.assert_array_equal(shown.get_xdata(), compared.measured["error"])
    np.testing.assert_array_equal(shown.get_ydata(), compared.predicted["error"]["by pool"])


# How it is drawn.


def every(compared: Bakeoff) -> dict[str, Any]:
    """Each figure as a function of the Axes to draw on, with how many it needs."""
    fitted, runs = law(), table()
    dilutions = over_dilution(fitted, {"A": {"A": 1}}, [1e4], [0.0, 0.5])
    return {
        "curves": (1, lambda axes: qqt.plot.curves(draws(fitted), runs, axes=axes)),
        "repetition": (1, lambda axes: qqt.plot.repetition(draws(fitted), axes=axes)),
        "mixtures": (1, lambda axes: qqt.plot.mixtures(fitted, runs, axes=axes)),
        "residuals": (1, lambda axes: qqt.plot.residuals(fitted, runs, axes=axes)),
        "profile": (1, lambda axes: qqt.plot.profile(parabola("B", 10.0), POOLS, axes=axes)),
        "stability": (2, lambda axes: qqt.plot.stability(dilutions, POOLS, fields=["half_life", "floor"], axes=axes)),
        "disagreement": (2, lambda axes: qqt.plot.disagreement({"u": fitted}, {"A": {"A": 1}}, [1e4, 2e4], axes=axes)),
        "bakeoff": (2, lambda axes: qqt.plot.bakeoff(compared, axes=axes)),
    }


def global_settings() -> dict[str, Any]:
    """All but the backend, which is chosen when somebody asks for it."""
    return {name: mpl.rcParams[name] for name in mpl.rcParams if name != "backend"}


FIGURES = ("curves", "repetition", "mixtures", "residuals", "profile", "stability", "disagreement", "bakeoff")


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_draws_on_axes_that_are_given_and_touches_nothing_else(
    name: str, compared: Bakeoff, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    settings = global_settings()
    count, draw = every(compared)[name]
    panels = Figure().subplots(1, count, squeeze=False)[0]
    back = draw(panels[0] if count == 1 else panels)
    assert list(np.ravel(back)) == list(panels)
    assert all(panel.has_data() and panel.get_xlabel() for panel in panels)
    files = []
    for each in range(2):  # a new figure each time
        whole = np.ravel(draw(None))[0].figure
        qqt.plot.save_figure(whole, tmp_path / f"{each}.svg")
        files.append((tmp_path / f"{each}.svg").read_bytes())
    assert files[0] == files[1]
    assert files[0].startswith(b"<?xml")
    assert global_settings() == settings
    assert "matplotlib.pyplot" not in sys.modules
    if count > 1:
        with pytest.raises(qqt.InputError, match=rf"^axes: 1 given, expected {count}, one for each panel$"):
            draw(panels[0])


def test_a_pool_has_its_colour_in_every_figure():
    fitted, runs = law(), table()
    drawn = [qqt.plot.curves(fitted, runs), qqt.plot.repetition(fitted), qqt.plot.residuals(fitted, runs)]
    drawn += list(qqt.plot.stability(over_dilution(fitted, {"A": {"A": 1}}, [1e4]), POOLS, fields=["utility"]))
    drawn += [qqt.plot.curves(fitted, runs.select(runs.source == 2))]  # where the others are missing
    for name, colour in pool_colours(POOLS.names).items():
        seen = [to_hex(each.get_color()) for axes in drawn for each in axes.get_lines() if each.get_label() == name]
        assert len(seen) == (5 if name == "C" else 4)
        assert set(seen) == {colour}


def test_more_pools_than_colours_stay_apart():
    names = [f"pool{place}" for place in range(24)]
    colours, dashes = pool_colours(names), pool_dashes(names)
    assert len({(colours[name], dashes[name]) for name in names}) == 24
    assert len(set(colours.values())) == 24
    assert [dashes[name] for name in names[:7]] == ["-"] * 6 + ["--"]
    assert {name: colours[name] for name in names[:4]} == pool_colours(names[:4])
    for colour in colours.values():
        red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
        assert 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.8, "white paper must not swallow it"


def test_ticks_are_counts_as_people_write_them():
    axes = qqt.plot.curves(law(), table())
    axes.figure.draw_without_rendering()
    low, high = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    assert [text.get_text() for tick, text in ticks if low <= tick <= high] == ["5k", "10k", "20k", "50k"]


def test_figures_say_what_is_wrong_in_one_line(compared: Bakeoff):
    fitted, runs = law(), table()
    other = dataclasses.replace(runs, pools=Pools(("A", "B", "D"), SIZES))
    several = dataclasses.replace(runs, metric_names=("first", "second"))
    paper = qqt.published("datacomp-tmars").utility
    mistakes = [
        (lambda: qqt.plot.curves(fitted, other), "the table's pools A, B, D are not the law's A, B, C"),
        (lambda: qqt.plot.residuals(fitted, several), "the table has the metrics first, second: choose one"),
        (lambda: qqt.plot.curves(fitted, runs, level=95), "level 95: expected a number between 0 and 1"),
        (
            lambda: qqt.plot.curves(fitted, runs, held_out=np.zeros(3, bool)),
            "held_out: bool of shape (3,), expected 32",
        ),
        (lambda: qqt.plot.curves(fitted, runs.select(runs.source == 5)), "no pool was measured alone"),
        (lambda: qqt.plot.mixtures(fitted, runs.select(runs.single)), "no mixture of two or more pools was measured"),
        (lambda: qqt.plot.repetition(fitted, epochs=0), "epochs 0: expected 1 or more"),
        (
            lambda: qqt.plot.repetition(qqt.FittedLaw(qqt.laws.power, None, POOLS)),
            "law power has no utility that decays with repetition",
        ),
        (
            lambda: qqt.plot.stability(over_dilution(fitted, {"A": {"A": 1}}, [1e4]), POOLS, fields=["flor"]),
            "no parameter 'flor': expected some of scale, floor",
        ),
        (
            lambda: qqt.plot.stability(over_dilution(fitted, {"A": {"A": 1}}, [1e4]), paper.pools, fields=["utility"]),
            "pools: 4 given, expected those of the fit (3)",
        ),
        (
            lambda: qqt.plot.stability(over_dilution(fitted, {"A": {"A": 1}}, [1e4], [1.0]), POOLS),
            "no parameter changes",
        ),
        (lambda: qqt.plot.profile([]), "profiles: expected one or more"),
        (
            lambda: qqt.plot.profile([parabola("A", 1.0), dataclasses.replace(parabola("B", 1.0), level=0.5)]),
            "profiles: expected one or more, of one parameter, fit and level",
        ),
        (lambda: qqt.plot.disagreement({}, {"A": {"A": 1}}, 1e4), "disagreement: expected at least one law"),
        (
            lambda: qqt.plot.disagreement({"a": fitted, "b": paper}, {"A": {"A": 1}}, 1e4),
            "law b: pools top 10 %, 10-20 %, 20-30 %, 30-40 %, expected A, B, C",
        ),
        (lambda: qqt.plot.bakeoff(compared, "eror"), "eror"),
        (lambda: qqt.plot.save_figure(Figure(), "figure.jpg"), "figure.jpg: a figure, expected a name that ends in"),
    ]
    for wrong, said in mistakes:
        with pytest.raises(qqt.InputError) as caught:
            wrong()
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_no_figure_uses_pyplot():
    for file in sorted((Path(qqt.__file__).parent / "plot").glob("*.py")):
        assert "pyplot" not in file.read_text(), file.name
        for node in ast.walk(ast.parse(file.read_text())):  # matplotlib is loaded when something is drawn
            if isinstance(node, ast.Import | ast.ImportFrom):
                named = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
                assert not [each for each in named if each.startswith("matplotlib")], file.name


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


MAGIC = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


def is_figure(path: str) -> bool:
    return Path(path).read_bytes().startswith(MAGIC[path.rpartition(".")[2]])


def test_figures_of_fits_on_the_command_line(typed, compared: Bakeoff):
    status, out, err = typed("plot curves --split samples_seen>80k --until 1M -o c.pdf --title Curves --size 5x3")
    assert (status, out, err) == (0, "wrote c.pdf\n", "")
    assert is_figure("c.pdf")
    save_fit(law(), "fit.json")
    assert typed("plot repetition fit.json --epochs 4 --dpi 40")[:2] == (0, "wrote repetition.png\n")
    assert is_figure("repetition.png")
    status, out, _ = typed("plot repetition fit.json -o r.svg --json")
    assert json.loads(out) == {"schema": "qqtjax.figure", "schema_version": 1, "figure": "repetition", "file": "r.svg"}
    assert is_figure("r.svg")
    typed("plot repetition --published datacomp-tmars -o one.svg")
    typed("plot repetition --published datacomp-tmars -o two.svg")
    assert Path("one.svg").read_bytes() == Path("two.svg").read_bytes()
    Path("found.json").write_text(json.dumps(compared.to_dict()))
    assert typed("plot bakeoff found.json -o b.png")[:2] == (0, "wrote b.png\n")
    assert is_figure("b.png")


def test_size_and_dots_are_those_asked_for(typed):
    from matplotlib.image import imread

    typed("plot repetition --published datacomp-tmars -o small.png --size 5x3 --dpi 40")
    assert imread("small.png").shape[:2] == (120, 200)


MISTAKES = (
    ("curves -o curves.jpg", "curves.jpg: a figure, expected a name that ends in .png, .pdf, .svg"),
    ("curves -o nowhere/curves.png", "there is no folder nowhere"),
    ("curves --size 5", "--size: found '5', expected WIDTHxHEIGHT in inches"),
    ("curves --size 5x900", "expected sides of 0.5 to 24 inches"),
    ("curves --dpi 9", "--dpi"),
    ("curves --level 95", "--level: found '95', expected a number between 0 and 1"),
    ("curves --split runs:each", "--split: runs:each holds out 45 parts in turn, expected one part"),
    ("curves --split epoch>8", "did you mean 'epochs'?"),
    ("curves --until x", "--until: "),
    ("curves --law utilty", "--law: found 'utilty'"),
    ("curves fit.json", "fit.json: a saved fit, expected measured runs"),
    ("repetition fit.json --law power", "--law: fit.json is a saved fit and knows its law"),
    ("repetition fit.json --metric top1", "--metric: applies to runs of yours, not to a saved fit (fit.json)"),
    ("repetition runs.csv --published datacomp-tmars", "RUNS and --published: expected one of them"),
    ("repetition --published datacomp", "--published: "),
    ("stability --drop 0,x", "--drop: "),
    ("disagreement --laws utility,powr", "powr"),
    ("disagreement --budgets 0", "--budgets: "),
    ("bakeoff --laws powr", "--laws: found 'powr'"),
    ("bakeoff found.json", "found.json: "),
    ("curvs", "no such command 'curvs'. Did you mean"),
    ("residuals missing.csv", "missing.csv"),
)


@pytest.mark.parametrize("words", MISTAKES, ids=lambda words: words[0])
def test_a_mistake_is_one_line_and_leaves_no_file(typed, words: tuple[str, str]):
    save_fit(law(), "fit.json")
    Path("found.json").write_text("{}")
    status, out, err = typed(f"plot {words[0]}")
    assert (status, out) == (2, "")
    (said,) = err.splitlines()
    assert said.startswith("qqt: error: ")
    assert words[1] in said
    assert sorted(each.name for each in Path().iterdir()) == ["fit.json", "found.json"]


@pytest.mark.parametrize("name", FIGURES)
def test_help_fits_the_terminal_and_shows_examples(typed, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv("COLUMNS", "80")
    status, text, _ = typed(f"plot {name} --help")
    assert status == 0
    assert max(map(len, text.splitlines())) <= 80
    assert text.count(f"qqt plot {name}") >= 2
    for option in ("--json", "--seed", "-o, --output", "--title", "--size", "--dpi", "RUNS"):
        assert option in text
    assert name in typed("plot")[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["mixtures", "residuals", "stability --drop 0,.5", "profile --parameter floor", "disagreement --starts 16"]
)
def test_figures_that_fit_again_on_the_command_line(typed, words: str):
    status, out, _ = typed(f"plot {words} -o figure.png")
    assert (status, out) == (0, "wrote figure.png\n")
    assert is_figure("figure.png")


@pytest.mark.slow
def test_what_bands_do_not_know_is_said(typed):
    typed("fit wordclip-C -o fit.json")
    _, out, err = typed("plot repetition fit.json")
    assert (out, err) == (
        "wrote repetition.png\n",
        "qqt: warning: bands: from a saved fit: checkpoints were taken as independent\n",
    )
    assert typed("plot repetition fit.json --draws 0")[2] == ""
