"""Decisions from draws: against counting by hand, a grid, roots of the law, and planted doubt."""

from __future__ import annotations

import dataclasses
import json

import jax
import numpy as np
import pytest
from scipy.optimize import brentq

from qqtjax import fit, published
from qqtjax.decide import (
    crossover_set,
    decide,
    drop_early,
    near_best,
    over_dilution,
    predict_interval,
    probability_below,
)
from qqtjax.decide.near_best import _sampled
from qqtjax.errors import InputError
from qqtjax.io.tables import wordclip
from qqtjax.laws import FittedLaw, UtilityParams, utility
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import Seen
from qqtjax.mix import optimize_mix
from qqtjax.plan import plan
from qqtjax.sweep import sweep

PAPER = published("datacomp-tmars").utility
TOP, SECOND = PAPER.pools.names[:2]
BOTH = {TOP: 0.5, SECOND: 0.5}
COUNT = 300


@pytest.fixture(scope="module")
def draws() -> Draws:
    """The published law with doubt about every utility and half-life."""
    rng = np.random.default_rng(1)
    stacked = {
        name: np.broadcast_to(np.asarray(value, float), (COUNT, *np.shape(value)))
        for name, value in vars(PAPER.params).items()
        if value is not None
    }
    stacked["utility"] = stacked["utility"] * np.exp(0.03 * rng.normal(size=(COUNT, 4)))
    stacked["half_life"] = stacked["half_life"] * np.exp(0.2 * rng.normal(size=(COUNT, 4)))
    return Draws(PAPER, UtilityParams(**stacked), "scattered", np.inf, ("made up",))


def test_probabilities_and_regrets_are_counts_over_the_draws(draws):
    options = {"top": {TOP: 1}, "both": BOTH, "even": [0.25] * 4}
    budgets = np.array([64e6, 100e6, 640e6])
    found = decide(draws, options, budgets)
    each = np.array([[draws.at(s).predict(w, budgets) for w in options.values()] for s in range(0, COUNT, 30)])
    some = draws.predict(np.stack([PAPER.pools.weights(w) for w in options.values()])[:, None], budgets)
    np.testing.assert_allclose(some[::30], each, rtol=1e-12)
    best = some.argmin(axis=1)
    for place in range(3):
        np.testing.assert_allclose(found.probability[place], np.mean(best == place, axis=0))
        np.testing.assert_allclose(found.regret[place], np.mean(some[:, place] - some.min(axis=1), axis=0))
    np.testing.assert_allclose(found.error[0], PAPER.predict({TOP: 1}, budgets))
    chosen = np.array([found.names[place] for place in found.best])
    assert chosen.tolist() == ["top", "both", "both"]
    wrong = best[:, 1] != found.best[1]
    regret = some[np.arange(COUNT), found.best[1], 1] - some[:, :, 1].min(axis=1)
    np.testing.assert_allclose(found.regret_if_wrong[1], regret[wrong].mean())
    np.testing.assert_allclose(
        probability_below(draws, {TOP: 1}, BOTH, budgets), np.mean(some[:, 0] < some[:, 1], axis=0)
    )
    assert found.names[found.runner_up[1]] == "top"
    assert len(found.to_frame()) == 9
    assert found.to_dict()["budgets"][2]["choice"] == "both"


def test_an_option_twice_shares_its_probability(draws):
    found = decide(draws, {"one": BOTH, "same": BOTH}, [128e6])
    assert found.probability[:, 0].tolist() == [0.5, 0.5]
    assert float(probability_below(draws, BOTH, BOTH, 128e6)) == 0.5


def test_a_prediction_says_how_far_it_lies_outside():
    runs = wordclip("C", roles=("single",))
    params = UtilityParams(
        scale=np.full(3, 800.0),
        floor=np.zeros(3),
        utility=np.full((3, 5), -0.1),
        half_life=np.full((3, 5), 3.0),
        reference_size=np.tile(runs.pools.sizes, (3, 1)),
        dilution=np.ones(3),
        amplitude=np.ones(3),
    )
    seen = Seen((2500.0, 320e3), np.full(5, 32.0), 10, 5, 0)
    one = FittedLaw(utility, Draws(PAPER, params, "", 1, ()).at(0).params, runs.pools, seen)
    draws = Draws(one, params, "three alike", 7.0, ("made up",))
    inside = predict_interval(draws, {"C00": 0.5, "C20": 0.5}, 320e3)
    outside = predict_interval(draws, {"C00": 0.5, "C20": 0.5}, 3.2e6)
    assert inside.low == inside.high == pytest.approx(inside.error, rel=1e-13)
    assert "interpolation" in str(inside)
    assert "10x the most samples seen" in outside.extrapolation
    assert inside.notes == ("made up",)


def test_a_crossover_without_doubt_is_the_root():
    same = {n: np.broadcast_to(v, (4, *np.shape(v))) for n, v in vars(PAPER.params).items() if v is not None}
    sure = Draws(PAPER, UtilityParams(**same), "no doubt", np.inf, ())
    found = crossover_set(sure, {TOP: 1}, BOTH, 40e6, 400e6)
    both = np.array([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    root = brentq(lambda n: np.subtract(*PAPER.predict(both, n)), 60e6, 100e6)
    assert found.estimates[0] == pytest.approx(root, rel=1e-3)
    assert found.spans[0][0] == pytest.approx(found.spans[0][1], rel=1e-6)
    assert found.never == 0
    assert not found.open_above


def test_a_crossover_s_set_holds_the_roots_of_most_draws_and_may_have_no_end(draws):
    found = crossover_set(draws, {TOP: 1}, BOTH, 40e6, 4e9, level=0.9)
    roots = []
    grid = np.geomspace(40e6, 4e9, 4000)
    for s in range(0, COUNT, 3):
        gap = np.subtract(*draws.at(s).predict(np.array([[[1.0, 0, 0, 0]], [[0.5, 0.5, 0, 0]]]), grid))
        roots.append(grid[np.flatnonzero(gap > 0)[0]])
    (low, high), *more = found.spans
    assert not more
    assert np.mean((np.array(roots) >= low) & (np.array(roots) <= high)) == pytest.approx(0.9, abs=0.04)
    narrow = crossover_set(draws, {TOP: 1}, BOTH, 40e6, 85e6)
    assert narrow.open_above
    assert narrow.to_dict()["spans"][-1][1] is None
    assert "never below" in str(narrow)
    apart = crossover_set(draws, {TOP: 1}, {PAPER.pools.names[3]: 1}, 10e6, 20e6)
    assert apart.spans == ()
    assert apart.never == 1


def test_near_best_is_the_range_over_a_grid():
    found = near_best(PAPER, 128e6, 2e-3)
    steps = np.linspace(0, 1, 51)
    mixes = np.array([(a, b, c, 1 - a - b - c) for a in steps for b in steps for c in steps if a + b + c <= 1 + 1e-9])
    mixes = np.clip(mixes, 0, 1)
    good = mixes[PAPER.predict(mixes, 128e6) <= found.error + 2e-3]
    for place, name in enumerate(PAPER.pools.names):
        # The grid's range lies inside, and no more than a step of it short.
        assert found.low[name] <= good[:, place].min() + 1e-9 <= found.low[name] + 0.021
        assert found.high[name] >= good[:, place].max() - 1e-9 >= found.high[name] - 0.021
    assert found.proved


def test_sampled_ranges_lie_inside_the_proved_ones():
    proved = near_best(PAPER, 128e6, 2e-3)
    low, high = _sampled(PAPER, 128e6, np.array(list(proved.best.values())), proved.error + 2e-3, 0)
    assert np.all(low >= np.array(list(proved.low.values())) - 1e-9)
    assert np.all(high <= np.array(list(proved.high.values())) + 1e-9)
    assert np.mean(high - low) > 0.5 * np.mean(np.subtract(list(proved.high.values()), list(proved.low.values())))


def test_the_choice_may_hang_on_early_checkpoints_or_on_dilution():
    found = over_dilution(PAPER, {"top": {TOP: 1}, "both": BOTH}, [100e6, 640e6])
    direct = [
        PAPER.with_params(dilution=g).predict(np.array([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0]]), 100e6) for g in (0, 1)
    ]
    np.testing.assert_allclose(found.error[[0, -1], :, 0], direct)
    assert found.stable.tolist() == [False, True]
    runs = wordclip("C", roles=("single",))
    cut = drop_early(runs, {"C00": {"C00": 1}, "two": {"C00": 0.5, "C20": 0.5}}, [10e3, 80e3], (0.0, 1.0), starts=8)
    begun = runs.samples_seen / runs.pools.sizes[runs.source]
    late = fit(runs, importance=np.where(begun >= 1, 1.0, 0.0))
    # Along a valley that is nearly flat: parameters are hardly determined there, predictions are.
    np.testing.assert_allclose(cut.error[1, 0], late.predict({"C00": 1}, [10e3, 80e3]), atol=2e-3)
    assert np.max(np.abs(cut.error[1] - cut.error[0])) > 5e-3


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda d: decide(d, {}, [1e6]), "no options"),
        (lambda d: decide(d, {"a": {TOP: 1}}, [1e6], level=1.0), "level"),
        (lambda d: crossover_set(d, {TOP: 1}, BOTH, 2e6, 1e6), "0 < low < high"),
        (lambda d: near_best(d.fitted, 1e8, 0.0), "epsilon"),
        (lambda d: drop_early(wordclip("C", roles=("single",)), {"a": {"C00": 1}}, [1e4], (0, 5)), "C80 at 5 epochs"),
        (lambda d: plan(published("datacomp-tmars").effective_data, [1e8], draws=d), "draws of law utility"),
        (lambda d: predict_interval(d, {TOP: 0.5}, 1e8), "sum to"),
    ],
)
def test_bad_input_is_one_line(draws, wrong, says):
    with pytest.raises(InputError, match=says):
        wrong(draws)


def test_a_plan_shows_how_sure_it_is(draws):
    budgets = [64e6, 640e6]
    answer = plan(PAPER, budgets, draws=draws)
    options = {recipe.name: list(recipe.weights.values()) for recipe in answer.rows[0].options}
    alone = decide(draws, options, budgets)
    assert answer.decision is not None
    np.testing.assert_array_equal(answer.decision.probability, alone.probability)
    for crossing in answer.crossovers:
        assert (crossing.doubt is not None) == crossing.decides
        if crossing.doubt is not None:
            assert any(low <= crossing.samples_seen <= high for low, high in crossing.doubt.spans)
    told = str(answer)
    assert "how sure (300 draws, scattered)" in told
    assert "made up" in told
    assert max(map(len, told.splitlines())) <= 80
    document = json.loads(json.dumps(answer.to_dict(), allow_nan=False))
    assert document["decision"]["budgets"][0]["choice"] == answer.rows[0].best.name
    assert "how sure: not known" in str(plan(PAPER, budgets))
    again = plan(PAPER, budgets, draws=draws, filters={"mine": [TOP]})
    np.testing.assert_array_equal(again.decision.probability, alone.probability)


def test_draws_take_the_place_of_a_fit(draws):
    few = dataclasses.replace(draws, params=jax.tree.map(lambda leaf: leaf[:3], draws.params))
    mixes = optimize_mix(few, 128e6)
    assert mixes.weights.shape == (3, 4)
    np.testing.assert_array_equal(mixes.weights, optimize_mix(PAPER, 128e6, draws=few.params).weights)
    swept = sweep(few, budgets=[128e6], weights=[BOTH])
    np.testing.assert_allclose(swept.error.ravel(), few.predict(BOTH, 128e6), rtol=1e-12)
    with pytest.raises(InputError, match="given twice"):
        sweep(few, budgets=[128e6], draws=10)
