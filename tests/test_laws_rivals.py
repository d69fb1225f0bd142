"""Rival laws against published values and against each other where one becomes the other."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

import qqtjax as qqt
from qqtjax import laws
from qqtjax.errors import InputError
from qqtjax.laws import (
    ChinchillaParams,
    ComplementaryParams,
    FittedLaw,
    RepetitionAwareParams,
    UtilityCapacityParams,
    UtilityParams,
)
from qqtjax.laws.data_constrained import published_data_constrained
from qqtjax.laws.infolaw import published_infolaw
from qqtjax.runs import Pools, Run

RUN = Run(weights=np.array([0.6, 0.4]), sizes=np.array([1e7, 3e7]), samples_seen=2e8, model_size=1e8)
UTILITY = UtilityParams(
    scale=4e6,
    floor=0.1,
    utility=np.array([-0.16, -0.1]),
    half_life=np.array([6.0, 3.0]),
    reference_size=RUN.sizes,
)


def error(law: laws.Law, params: object, run: Run = RUN) -> float:
    with jax.enable_x64(True):
        return float(law(params, run))


@pytest.mark.parametrize(
    ("model_size", "tokens", "loss"),
    [(6.34e9, 242e9, 2.2256440889984477), (8.67e9, 178e9, 2.2269634075087867)],
)
def test_data_constrained_gives_the_values_that_its_authors_print(model_size, tokens, loss):
    run = Run(weights=np.ones(1), sizes=np.array([25e9]), samples_seen=tokens, model_size=model_size)
    assert error(laws.data_constrained, published_data_constrained(), run) == pytest.approx(loss, rel=1e-12)


def test_infolaw_with_the_papers_constants_is_its_formula():
    run = Run(weights=np.array([0.7, 0.3]), sizes=np.array([2e9, 5e9]), samples_seen=3e10, model_size=1e9)
    rate, log_seen = 0.140 * np.log(1e9) + 0.018, np.log(3e10)
    quality = np.exp(-0.922 * np.array([1, 2]))
    epochs = 3e10 * run.weights / run.sizes
    information = np.sum(quality * run.sizes * log_seen * (1 - np.exp(-rate * epochs / log_seen)))
    wanted = 3.7373 * information**-0.0441
    assert error(laws.infolaw, published_infolaw(2), run) == pytest.approx(wanted, rel=1e-12)


def test_without_wear_the_laws_of_repetition_are_chinchillas():
    shared = dict(scale=np.array([1e6, 3e6]), floor=1.5, exponent=0.3, model_scale=1e5, model_exponent=0.4)
    wanted = error(laws.chinchilla, ChinchillaParams(**shared))
    aware = RepetitionAwareParams(**shared, saturation=1e9, model_growth=0.0)
    assert error(laws.repetition_aware, aware) == pytest.approx(wanted, rel=1e-6)
    constrained = laws.DataConstrainedParams(**shared, saturation=1e9, model_saturation=1e12)
    assert error(laws.data_constrained, constrained) == pytest.approx(wanted, rel=1e-6)


def test_coupling_is_the_power_of_both_terms():
    params = ChinchillaParams(
        scale=np.array([1e6]), floor=0.0, exponent=0.3, model_scale=1e5, model_exponent=0.4, coupling=0.7
    )
    run = Run(weights=np.ones(1), sizes=np.array([np.inf]), samples_seen=2e8, model_size=1e8)
    wanted = ((1e8 / 1e5) ** -0.4 + (2e8 / 1e6) ** -0.3) ** 0.7
    assert error(laws.chinchilla, params, run) == pytest.approx(wanted, rel=1e-12)


def test_capacity_adds_to_the_utility_law_and_vanishes_for_an_endless_model():
    given = {f.name: getattr(UTILITY, f.name) for f in dataclasses.fields(UTILITY) if f.name != "decay_shape"}
    params = UtilityCapacityParams(**given, model_scale=1e4, model_exponent=0.5)
    alone = error(laws.utility, UTILITY)
    assert error(laws.utility_capacity, params) == pytest.approx(alone + 0.01, rel=1e-12)
    endless = dataclasses.replace(RUN, model_size=1e40)
    assert error(laws.utility_capacity, params, endless) == pytest.approx(alone, rel=1e-12)


def test_at_one_size_of_the_model_the_capacity_law_mixes_and_plans_as_the_utility_law():
    given = {f.name: getattr(UTILITY, f.name) for f in dataclasses.fields(UTILITY) if f.name != "decay_shape"}
    params = UtilityCapacityParams(**given, model_scale=1e4, model_exponent=0.5)
    pools = Pools(("a", "b"), RUN.sizes)
    sized = FittedLaw(laws.utility_capacity, params, pools).at_model_size(1e8)
    alone = FittedLaw(laws.utility, UTILITY, pools)
    mix, expected = (qqt.optimize_mix(each, 2e8) for each in (sized, alone))
    np.testing.assert_allclose(mix.weights, expected.weights, atol=2e-4)
    assert mix.error == pytest.approx(expected.error + 0.01, abs=1e-8)
    row, other = (qqt.plan(each, budgets=[2e8]).rows[0] for each in (sized, alone))
    assert row.best.name == other.best.name
    assert row.best.error == pytest.approx(other.best.error + 0.01, abs=1e-8)


def test_complementary_pools_gain_by_the_chance_of_meeting():
    given = {f.name: getattr(UTILITY, f.name) for f in dataclasses.fields(UTILITY) if f.name != "decay_shape"}
    params = ComplementaryParams(**given, complement=0.2)
    gained = np.log(error(laws.complementary, params) - 0.1) - np.log(error(laws.utility, UTILITY) - 0.1)
    assert gained == pytest.approx(-0.2 * 0.6 * 0.4, rel=1e-12)
    alone = dataclasses.replace(RUN, weights=np.array([1.0, 0.0]))
    assert error(laws.complementary, params, alone) == pytest.approx(error(laws.utility, UTILITY, alone), rel=1e-14)


def test_a_law_at_one_size_of_the_model_predicts_without_being_told():
    params = ChinchillaParams(scale=np.array([1e6, 3e6]), floor=1.5, exponent=0.3, model_scale=1e5, model_exponent=0.4)
    fitted = FittedLaw(laws.chinchilla, params, Pools.of({"a": 1e7, "b": 3e7})).at_model_size(1e8)
    assert float(fitted.predict(RUN.weights, 2e8)) == pytest.approx(error(laws.chinchilla, params), rel=1e-12)
    with pytest.raises(InputError, match="expected one positive number of parameters"):
        fitted.at_model_size(-1.0)
