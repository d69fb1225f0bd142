"""The evidence's own arithmetic, on errors whose answers are known; and that the committed files fit together."""

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.evidence import metrics, page, predict, score
from benchmarks.evidence.measured import BUDGETS, HEADLINE, UNIT, WINDOWS, read_finished, read_table
from benchmarks.record import RESULTS
from benchmarks.theorem import analyse
from benchmarks.wordclip import settings, train
from qqtjax.laws import FittedLaw, UtilityParams, utility
from qqtjax.runs import Pools

HERE = predict.HERE


def measured(errors: dict[str, list[float]]) -> pd.DataFrame:
    """Errors of settings at 100 samples: one each for the cells (redraw 0, seed 0), (0, 1), (1, 0), (1, 1)."""
    return pd.DataFrame(
        [
            {"run": run, "redraw": cell // 2, "seed": cell % 2, "samples_seen": 100, "error": error}
            for run, values in errors.items()
            for cell, error in enumerate(values)
        ]
    )


def test_an_option_is_not_credited_with_the_luck_that_it_was_chosen_for():
    # "lucky" is best on the even cells (0, 0), (1, 1) only; on the odd ones "steady" is.
    frame = measured({"steady": [0.5, 0.5, 0.5, 0.5], "lucky": [0.4, 0.7, 0.7, 0.4]})
    cells = metrics.cells_of(frame, ["steady", "lucky"], 100, (0, 1))
    assert metrics.best_on_halves(cells).tolist() == [0.5, 0.7, 0.7, 0.5]


def test_regret_of_the_best_is_zero_and_of_another_the_gap():
    frame = measured({"good": [0.5, 0.52, 0.48, 0.5], "bad": [0.6, 0.62, 0.58, 0.6]})
    choices = {name: {(redraw, 100): name for redraw in (0, 1)} for name in ("good", "bad")}
    lost = metrics.regrets(choices, frame, ["good", "bad"], [100])
    assert lost["good"][100].tolist() == pytest.approx([0, 0])
    assert lost["bad"][100].tolist() == pytest.approx([0.1, 0.1])


def test_intervals_are_student_t_over_redraws():
    found = metrics.interval([1.0, 2.0, 3.0])
    # t(97.5 %, 2) = 4.30265; sd 1, n 3.
    assert found.mean == 2
    assert found.half == pytest.approx(4.302653 / 3**0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("family", "units", "expected"),
    [("C", 4, "C00"), ("C", 5, "C-nat2"), ("C", 16, "C-nat4"), ("C", 20, "C-all"), ("V", 3, "V1"), ("V", 5, "V-nat2")],
)
def test_the_smallest_filter_with_four_epochs(family, units, expected):
    assert metrics.follow_rule(metrics.FOUR_EPOCHS, family, units * UNIT) == expected
    assert metrics.follow_rule(metrics.BEST_POOL, family, units * UNIT) == next(iter(settings.FAMILIES[family]))


def test_perfect_and_reversed_predictions():
    where = predict.grid("V", (1, 2), ("single", "mixture"))
    truth = pd.Series(
        np.random.default_rng(0).uniform(0.4, 0.8, len(where)),
        index=pd.MultiIndex.from_frame(where[["run", "samples_seen"]]),
    )
    frame = where[["run", "samples_seen"]].assign(perfect=truth.to_numpy(), reversed=-truth.to_numpy(), same=0.5)
    found = metrics.prediction_metrics(frame, truth, "V", ["perfect", "reversed", "same"])
    assert found.loc["perfect"].tolist() == [0, 0, 0, 1]
    assert found.loc["reversed", "pairs right"] == 0
    assert found.loc["same", "pairs right"] == 0.5
    mixed = np.array([run.startswith("V-") for run in where["run"]])
    assert found.loc["same", "bias"] == pytest.approx(0.5 - truth.to_numpy()[mixed].mean())


def test_a_planted_dilution_is_found_from_mixtures():
    pools = Pools.of(settings.FAMILIES["V"])
    law = FittedLaw(
        utility,
        UtilityParams(
            scale=500.0,
            floor=0.0,
            utility=-np.array([0.12, 0.11, 0.1, 0.09, 0.06]),
            half_life=np.array([4.0, 3, 2.5, 2, 9]),
            reference_size=pools.sizes,
        ),
        pools,
    )
    where = predict.grid("V", WINDOWS[HEADLINE][1], ("mixture",))
    for truth in (0.3, 1.4):
        error = predict.predict(law.with_params(dilution=truth), where)
        assert predict.best_dilution([(law, where, error)]) == pytest.approx(truth, abs=1e-3)


def test_interpolation_is_the_weighted_mean_of_the_single_curves():
    pools = list(settings.FAMILIES["V"])
    where = predict.grid("V", (1, 2), ("mixture",))
    alone = pd.DataFrame(
        [
            {"pool": pool, "samples_seen": seen, "error": 0.1 * place + seed / 100}
            for place, pool in enumerate(pools)
            for seen in set(where["samples_seen"])
            for seed in (0, 1)
        ]
    )
    expected = np.stack(where["weights"]) @ (0.1 * np.arange(5) + 0.005)
    assert predict.interpolate(where, alone, "V") == pytest.approx(expected)


def test_the_table_of_the_package_is_all_that_scoring_needs(monkeypatch, tmp_path):
    """No finished run and no word vectors: every option of every cell and the optimised weights are in the table."""
    monkeypatch.setattr(train, "RUNS", tmp_path)
    assert read_finished(("single", "mixture", "optimised")).empty
    table = read_table(("single", "mixture", "optimised"))
    found = table.groupby(["run", "redraw", "seed"]).size().to_dict()
    jobs = train.all_jobs(list(settings.FAMILIES), ("single", "mixture", "optimised"))
    assert found == {(job.setting.name, job.redraw, job.seed): len(job.setting.checkpoints) for job in jobs}
    assert table["units"].min() == 0.25
    assert table["units"].max() == 32


@pytest.mark.parametrize("family", ["V", "C", "R"])
def test_the_stored_figures_are_those_of_the_committed_predictions_and_table(family):
    table = read_table(("single", "mixture"))
    found = score.score(family, HEADLINE, pd.read_csv(HERE / "predictions.csv"), table).per_redraw
    stored = json.loads((RESULTS / "evidence.json").read_text())["figures"]["per_redraw"][f"{family} | {HEADLINE}"]
    for metric, figures in found.items():
        for name, per_redraw in figures.items():
            assert list(stored[metric][name].values()) == pytest.approx(per_redraw.tolist(), abs=2e-6), (metric, name)


def test_a_predictor_that_beats_the_law_in_every_redraw_is_listed_as_a_loss():
    errors = pd.DataFrame(
        {page.FIRST: [0.02, 0.021, 0.019], "better": [0.01, 0.011, 0.008], "noisy": [0.01, 0.03, 0.0]}
    )
    same = pd.DataFrame({name: errors[page.FIRST] for name in (page.FIRST, *metrics.RULES)})
    table = score.Table({"mixture error": errors, "differences": errors * 0 + 1, "regret": same}, 1, 1, 1)
    table.per_redraw["regret of filters"] = same
    listed = page.losses({("V", HEADLINE): table}).splitlines()[-1]
    assert listed.startswith(f"| V | {HEADLINE} | better (+0.0103 ± 0.0014) | none | none | none |")


def test_committed_predictions_hold_every_option_at_every_budget():
    table = pd.read_csv(HERE / "predictions.csv")
    for family, redraws in settings.REDRAWS.items():
        own = table.loc[(table["family"] == family) & (table["window"] == HEADLINE)]
        assert set(own["redraw"]) == set(redraws)
        for redraw in redraws:
            rows = own.loc[own["redraw"] == redraw]
            assert {each.name for each in metrics.scored(family)} == set(rows["run"])
            assert {round(units * UNIT) for units in BUDGETS} <= set(rows["samples_seen"])
    weights = pd.read_csv(HERE / "weights.csv")
    shares = weights[[f"weight_{place}" for place in range(1, 6)]].to_numpy()
    assert shares.sum(axis=1) == pytest.approx(1, abs=1e-9)
    assert len(weights) == 3 * 2 * 4 * 4


@pytest.mark.parametrize("gamma", [0.3, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.0, 1.0))])
def test_a_planted_gamma_is_found_by_the_profile(gamma):
    found = analyse.profile(analyse.plant(gamma))["shape 1"]
    assert found["gamma"] == pytest.approx(gamma, abs=1e-3)
    assert found["half_life"] == pytest.approx(4.0, rel=1e-3)
    nearest = analyse.GAMMAS[int(np.argmin(found["rmse_by_gamma"]))]
    assert abs(nearest - gamma) <= 0.125


def test_the_law_free_slope_grows_with_gamma_from_zero():
    slopes = [analyse.law_free(analyse.plant(gamma))[1] for gamma in (0.0, 0.25, 0.5, 1.0)]
    assert slopes[0] == pytest.approx(0, abs=0.05)
    assert np.all(np.diff(slopes) > 0.05)


@pytest.mark.parametrize(
    ("values", "expected"),
    [((0.9, 1.0, 1.1), "supported"), ((0.1, 0.2, 0.15), "contradicted"), ((-0.5, 0.6, 1.4), "undecided")],
)
def test_the_verdict_follows_the_protocol(values, expected):
    assert analyse.verdict(metrics.interval(values)) == expected


def test_slopes_over_parts_of_the_range_are_the_exponents_planted_there():
    bent = {size: 4.0 * max(size / 10_000, 1.0) ** 0.5 for size in analyse.SIZES}
    steep = {size: 4.0 * (size / 10_000) ** 1.0 for size in analyse.SIZES}
    found = {
        "behind": [{size: (value, False, False) for size, value in each.items()} for each in (bent, bent)],
        "half_lives": [list(steep.values()), list(steep.values())],
    }
    rows = analyse.part_rows({64: found})
    assert rows == [
        ["64", "epochs until behind", "0.00 ± 0.00", "0.50 ± 0.00"],
        ["64", "own half-life", "1.00 ± 0.00", "1.00 ± 0.00"],
    ]


def test_a_run_that_never_falls_behind_is_censored():
    rows = pd.DataFrame({"samples_seen": [100.0, 200, 400], "error": [0.8, 0.7, 0.6], "pool_size": 100})
    assert analyse.epochs_until_behind(rows, rows.assign(pool_size=1000), 100) == (4.0, True, False)
    late = rows.assign(error=[0.8, 0.7, 0.6 * np.exp(0.04)])
    epochs, censored, _ = analyse.epochs_until_behind(late, rows.assign(pool_size=1000), 100)
    # Behind by 0 at 200 and .04 at 400: half of the way in log samples.
    assert not censored
    assert epochs == pytest.approx(2 * 2**0.5)
