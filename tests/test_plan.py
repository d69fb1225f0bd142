"""The plan: golden numbers of the released code, options, rule of thumb, warnings, forms, bad input."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from qqtjax.errors import InputError
from qqtjax.laws import FittedLaw, Seen, UtilityParams, effective_data, power, released_utility, utility
from qqtjax.laws.power import PowerParams
from qqtjax.plan import Plan, plan
from qqtjax.runs import Pools

N = 12.8e6
B = np.array([-0.16, -0.125, -0.10, -0.085])
TAU = np.array([6.7272727272727275, 8.545454545454547, 5.2727272727272725, 2.2727272727272725])
POOLS = Pools.of({"top10": N, "top20": N, "top30": N, "top40": N})


def shipped(law=utility, **changes) -> FittedLaw:
    params = UtilityParams(scale=4e6, floor=0.1, utility=B, half_life=TAU, reference_size=np.full(4, N))
    return FittedLaw(law, dataclasses.replace(params, **changes), POOLS)


@pytest.fixture(scope="module")
def answer() -> Plan:
    """Shared by the tests that only look."""
    return plan(
        shipped(),
        [32e6, 64e6, 640e6],
        filters={"middle": ["top20", "top30"]},
        mixes={"handmade": {"top10": 0.75, "top20": 0.25}},
    )


def test_the_released_choice_of_buckets(golden: Path):
    released = json.loads((golden / "released_code.json").read_text())
    assert len(released["estimate_best_buckets"]) == 4
    for case in released["estimate_best_buckets"]:
        constants = released["parameter_values"][case["params_id"]]
        size = case["pool_size"]
        # The released function drops the last pool.
        b, tau = (np.array(constants[name][:-1]) for name in ("b_values", "c_values"))
        params = UtilityParams(
            scale=1e5 / constants["best_a"],
            floor=case["d"],
            utility=b,
            half_life=tau,
            reference_size=np.full(4, size),
        )
        law = released_utility if case["objective"] == "effective_utility" else effective_data
        pools = Pools.of({name: size for name in constants["names"][:-1]})
        seen = case["num_samples"]
        row = plan(FittedLaw(law, params, pools), seen, horizon=2 * seen).rows[0]
        np.testing.assert_allclose([option.error for option in row.options], case["error"], rtol=1e-12)
        assert row.best.pools == case["best_num_buckets"]


def test_every_nested_filter_no_filtering_and_the_named_ones_are_shown(answer: Plan):
    row = answer.rows[1]
    assert [option.name for option in row.options] == [
        "top10", "top10+top20", "top10+top20+top30", "all pools", "middle", "handmade",
    ]  # fmt: skip
    assert [option.pools for option in row.options] == [1, 2, 3, 4, 0, 0]
    direct = shipped().predict({"top20": 0.5, "top30": 0.5}, 64e6)
    np.testing.assert_allclose(row.options[4].error, float(direct), rtol=1e-12)
    assert row.options[5].weights == {"top10": 0.75, "top20": 0.25, "top30": 0.0, "top40": 0.0}
    assert row.best.name == "handmade"  # better than any filter at 64M
    assert row.best.error == min(option.error for option in row.options)
    assert all(row.mix.error <= option.error for option in row.options)


def test_weights_epochs_and_whole_samples_agree(answer: Plan):
    for row in answer.rows:
        for recipe in (*row.options, row.mix):
            assert sum(recipe.samples.values()) == round(row.samples_seen)
            assert sum(recipe.weights.values()) == pytest.approx(1)
            for pool, epochs in recipe.epochs.items():
                assert epochs == pytest.approx(row.samples_seen * recipe.weights[pool] / N)
                assert recipe.samples[pool] == pytest.approx(epochs * N, abs=1)


def test_the_rule_of_thumb_and_its_regret(answer: Plan):
    # 32M is 2.5 epochs of one pool; 64M is 5 of one, 2.5 of two; 640M is 12.5 epochs of all four.
    assert [row.rule.pools for row in answer.rows] == [1, 2, 4]
    for row in answer.rows:
        assert row.regret == row.rule.error - row.best.error >= 0
    # Exactly four epochs are allowed; two with a stricter rule.
    assert plan(shipped(), 4 * N).rows[0].rule.pools == 1
    assert plan(shipped(), 4 * N, max_epochs_rule=2).rows[0].rule.pools == 2


def test_filters_are_nested_by_fitted_utility_unless_told_otherwise():
    mixed = Pools.of({"poor": N, "best": 2 * N, "fair": 3 * N})
    params = UtilityParams(
        scale=4e6,
        floor=0.1,
        utility=np.array([-0.05, -0.2, -0.1]),
        half_life=np.full(3, 5.0),
        reference_size=mixed.sizes,
    )
    fitted = FittedLaw(utility, params, mixed)
    answer = plan(fitted, 1e8)
    assert list(answer.pools) == ["best", "fair", "poor"]
    assert answer.rows[0].options[1].weights == pytest.approx({"best": 0.4, "fair": 0.6, "poor": 0})
    given = plan(fitted, 1e8, order=["fair", "poor", "best"])
    assert [option.name for option in given.rows[0].options] == ["fair", "fair+poor", "all pools"]


def test_a_pool_of_unknown_size_stands_alone():
    pools = Pools.of({"small": 1e6, "web": np.inf, "big": 1e7})
    params = UtilityParams(
        scale=1e5,
        floor=0.1,
        utility=np.array([-0.2, -0.15, -0.1]),
        half_life=np.full(3, 3.0),
        reference_size=pools.sizes,
    )
    answer = plan(FittedLaw(utility, params, pools), [1e6, 1e8])
    assert [option.name for option in answer.rows[0].options] == ["small", "small+big", "web"]
    assert answer.rows[1].best.name == "web"
    assert "web" in answer.warnings[0]
    text = json.dumps(answer.to_dict(), allow_nan=False)
    assert json.loads(text)["pools"]["web"] == "inf"
    assert "unknown size" in str(answer)


def test_flops_are_budgets_with_a_price():
    answer = plan(shipped(), flops=[64e15], flops_per_sample=1e9)
    assert answer.rows[0].samples_seen == 64e6
    assert answer.rows[0].flops == 64e15
    assert answer.crossovers[0].flops == pytest.approx(answer.crossovers[0].samples_seen * 1e9)
    assert "FLOPs" in str(answer)
    # A price beside samples prices them.
    assert plan(shipped(), 64e6, flops_per_sample=1e9).rows[0].flops == 64e15


def test_a_budget_below_scale_and_an_error_above_one_are_flagged():
    answer = plan(shipped(), [2e6, 64e6])
    assert any("scale" in text for text in answer.rows[0].warnings)
    assert any("above 1" in text for text in answer.rows[0].warnings)
    assert answer.rows[0].best.impossible
    assert not answer.rows[1].best.impossible
    assert not answer.rows[1].warnings
    assert "!" in str(answer)
    assert "do not trust" in " ".join(str(answer).split())
    # A loss may well be above 1.
    assert not plan(shipped(), 2e6, error_rate=False).rows[0].best.impossible
    assert not plan(shipped(floor=1.7), 2e6).rows[0].best.impossible
    for metric, rate in (
        ("loss", 0),
        ("val_loss", 0),
        ("C4 perplexity", 0),
        ("nll", 0),
        ("bits", 0),
        ("top1 error", 1),
    ):
        named = dataclasses.replace(shipped(floor=0.5), metric=metric)
        assert plan(named, 2e6).rows[0].best.impossible == bool(rate), metric


def test_extrapolation_beyond_the_fitted_epochs_is_said():
    seen = Seen((1e6, 128e6), np.full(4, 10.0), 20, 4, 0)
    answer = plan(dataclasses.replace(shipped(), seen=seen), [64e6, 640e6])
    assert answer.rows[0].best.extrapolation == ""
    assert "5x the most samples seen" in answer.rows[1].best.extrapolation
    assert [bool(crossing.extrapolation) for crossing in answer.crossovers if crossing.decides] == [
        False,
        True,
    ]
    assert "(extrapolated)" in str(answer)


def test_pools_of_other_sizes():
    # N, n, n0 and Nref times c: the same epochs, half-lives and n / n0, so the same errors and weights.
    c = 100.0
    base = plan(shipped(), [64e6, 640e6])
    big = shipped(scale=4e6 * c, reference_size=np.full(4, N * c))
    scaled = plan(big, [64e6 * c, 640e6 * c], sizes={name: N * c for name in POOLS.names})
    for before, after in zip(base.rows, scaled.rows, strict=True):
        assert after.best.error == pytest.approx(before.best.error, rel=1e-10)
        assert after.mix.error == pytest.approx(before.mix.error, abs=1e-8)
    for before, after in zip(base.crossovers, scaled.crossovers, strict=True):
        assert after.samples_seen == pytest.approx(c * before.samples_seen, rel=1e-9)
    # Without dilution the half-life does not know the size it was measured on.
    sizes = {name: N * c for name in POOLS.names}
    still = plan(shipped(scale=4e6 * c, dilution=0.0), [64e6 * c], sizes=sizes).rows[0].best.error
    assert still == pytest.approx(plan(shipped(dilution=0.0), 64e6).rows[0].best.error, rel=1e-10)


def test_dilution_is_shown_where_the_answer_depends_on_it():
    other = plan(shipped(), 640e6, sizes={"top10": 64e6})
    assert [variant.name for variant in other.dilutions] == ["dilution 0", "dilution 1"]
    assert other.dilutions[1].rows[0].best.error == pytest.approx(other.rows[0].best.error)
    assert other.dilutions[0].rows[0].best.error > other.dilutions[1].rows[0].best.error + 0.002
    assert other.resized == {"top10": (N, 64e6)}
    assert "dilution 0" in str(other)
    assert "other sizes" in str(other)
    # A target alone, without budgets, is compared too.
    wanted = plan(shipped(), target_error=0.64, sizes={"top10": 64e6})
    targets = [variant.target for variant in wanted.dilutions]
    assert [variant.name for variant in wanted.dilutions] == ["dilution 0", "dilution 1"]
    assert targets[0] is not None
    assert targets[1] is not None
    assert wanted.target is not None
    assert targets[1].samples_seen == pytest.approx(wanted.target.samples_seen)
    assert targets[0].samples_seen > 1.02 * targets[1].samples_seen  # type: ignore[operator]
    assert " ".join(str(wanted).split()).count("error .6400: cheapest filter") == 3
    # Everything fresh: no repeat, no dilution.
    fresh = plan(shipped(), 32e6, sizes={name: 1.28e9 for name in POOLS.names})
    assert fresh.dilutions == ()
    # Without other sizes the question is not asked.
    assert plan(shipped(), 640e6).dilutions == ()


def test_other_laws_beside_it():
    answer = plan(shipped(released_utility), [128e6], reference_laws={"the equation": shipped()})
    beside = answer.beside[0]
    assert beside.name == "the equation"
    assert beside.rows[0].best.error == pytest.approx(plan(shipped(), 128e6).rows[0].best.error, rel=1e-12)
    assert beside.frontier[1].samples_seen == pytest.approx(81.82e6, rel=1e-3)
    assert answer.frontier[1].samples_seen == pytest.approx(100.5e6, rel=1e-3)
    assert "the equation" in str(answer)
    other = FittedLaw(utility, shipped().params, Pools.of({name: N for name in "abcd"}))
    with pytest.raises(InputError, match="its pools are a, b, c, d"):
        plan(shipped(), 128e6, reference_laws={"other": other})


def test_a_law_without_repetition_always_takes_the_best_pool():
    blind = FittedLaw(power, PowerParams(scale=4e6, floor=0.1, utility=B), POOLS)
    answer = plan(blind, [32e6, 640e6])
    assert [row.best.name for row in answer.rows] == ["top10", "top10"]
    assert answer.crossovers == ()
    assert [step.option for step in answer.frontier] == ["top10"]
    assert answer.rows[1].mix.weights["top10"] == 1


def test_it_prints_within_80_columns_with_the_answer_first(answer: Plan):
    text = str(answer)
    assert text.startswith("32M samples: train on top10 (1 of 4 pools): predicted error .8296")
    assert all(len(line) <= 80 and line == line.rstrip() for line in text.splitlines())
    assert text.isascii()
    for piece in ("best mix .80/.20 -> .7695", "crossovers up to 64B", "global optimum", "81.82M"):
        assert piece in " ".join(text.split())


def test_long_names_and_many_pools_stay_within_80_columns():
    names = [f"a rather long name of pool number {i}" for i in range(12)]
    pools = Pools.of({name: 1e6 for name in names})
    params = UtilityParams(
        scale=1e5,
        floor=0.1,
        utility=np.linspace(-0.2, -0.05, 12),
        half_life=np.full(12, 4.0),
        reference_size=pools.sizes,
    )
    seen = Seen((1e5, 1e6), np.ones(12), 20, 12, 0)
    answer = plan(FittedLaw(utility, params, pools, seen=seen), [1e7, 1e9], target_error=0.3)
    assert all(len(line) <= 80 for line in str(answer).splitlines())
    assert "more between options that are not the best" in str(answer)
    assert answer.rows[0].options[2].name == "top 3 pools"


def test_it_goes_to_json_and_to_a_frame(answer: Plan):
    document = answer.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["rows"][2]["best"]["weights"]["top10"] == answer.rows[2].best.weights["top10"]
    frame = answer.to_frame()
    assert len(frame) == 3 * 7
    assert frame.loc[frame["best"], "error"].tolist() == [row.best.error for row in answer.rows]
    assert (frame.filter(like="samples top").sum(axis=1) == frame["samples_seen"]).all()


def test_the_same_seed_gives_the_same_plan(answer: Plan):
    again = plan(
        shipped(),
        [32e6, 64e6, 640e6],
        filters={"middle": ["top20", "top30"]},
        mixes={"handmade": {"top10": 0.75, "top20": 0.25}},
    )
    assert json.dumps(again.to_dict()) == json.dumps(answer.to_dict())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budgets": []}, "no budgets"),
        ({}, "no budgets"),
        ({"budgets": [0.0]}, "budgets 0: expected positive"),
        ({"budgets": [1e6, -2]}, "budgets -2: expected positive"),
        ({"budgets": [np.nan]}, "expected positive"),
        ({"budgets": ["many"]}, "expected positive numbers"),
        ({"flops": [1e18]}, "flops_per_sample"),
        ({"flops": [1e18], "budgets": [1e6], "flops_per_sample": 1e9}, "one of them"),
        ({"flops": [1e18], "flops_per_sample": 0}, "flops_per_sample 0"),
        ({"budgets": 1e8, "filters": {"mine": ["top15"]}}, "filter 'mine': unknown pool 'top15'"),
        ({"budgets": 1e8, "filters": {"mine": []}}, "one or more"),
        ({"budgets": 1e8, "filters": {"mine": ["top10", "top10"]}}, "different pools"),
        ({"budgets": 1e8, "mixes": {"mine": {"nothing": 1}}}, "mix 'mine': unknown pool"),
        ({"budgets": 1e8, "mixes": {"mine": [0.5, 0.2, 0.1, 0.1]}}, "mix 'mine': weights sum to 0.9"),
        ({"budgets": 1e8, "mixes": {"mine": {"top10": -1, "top20": 2}}}, "mix 'mine'"),
        ({"budgets": 1e8, "mixes": {"top10": {"top20": 1}}}, "two filters or mixes are called 'top10'"),
        ({"budgets": 1e8, "order": ["top10"]}, "misses top20, top30, top40"),
        ({"budgets": 1e8, "order": ["top10", "top20", "top30", "top40", "top10"]}, "twice"),
        ({"budgets": 1e8, "sizes": {"top15": 1e9}}, "unknown pool 'top15'"),
        ({"budgets": 1e8, "sizes": {"top10": -1}}, "positive"),
        ({"budgets": 1e8, "target_error": 0}, "target_error 0"),
        ({"budgets": 1e8, "target_error": np.nan}, "target_error"),
        ({"budgets": 1e8, "max_epochs_rule": -1}, "max_epochs_rule"),
        ({"budgets": 1e8, "horizon": 0}, "horizon"),
    ],
)
def test_bad_input_gives_one_clear_line(arguments: dict, message: str):
    with pytest.raises(InputError) as raised:
        plan(shipped(), **arguments)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
