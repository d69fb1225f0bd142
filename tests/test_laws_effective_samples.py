"""The effective-samples law: against its formula in plain Python, its limits, its gradients, and planted truths."""

import dataclasses
import math
import warnings

import jax
import numpy as np
import pytest

import qqtjax as qqt
from qqtjax import laws
from qqtjax.errors import QQTWarning
from qqtjax.laws import EffectiveSamplesParams, FittedLaw
from qqtjax.laws.fitted import evaluate
from qqtjax.runs import Pools, Run

PARAMS = EffectiveSamplesParams(
    scale=np.array([1e4, 1.6e4, 4e4]), floor=0.12, exponent=0.21, saturation=np.array([4.0, 7.5, 0.8])
)
SIZES = np.array([1e5, 3e5, 2e5])
WEIGHTS = np.array([0.5, 0.3, 0.2])


def error(params=PARAMS, weights=WEIGHTS, sizes=SIZES, seen=2e6):
    run = Run(weights=np.array([weights]), sizes=np.array([sizes]), samples_seen=np.array([seen]))
    return float(evaluate(laws.effective_samples, params, run)[0])


def by_formula(params, weights, sizes, seen):
    """y = d + A D'^-beta with A = n0_1^beta and c_i = n0_1 / n0_i, written out."""
    effective = 0.0
    for scale, limit, weight, size in zip(params.scale, params.saturation, weights, sizes, strict=True):
        epochs = seen * weight / size
        showings = epochs if epochs <= 1 else 1 + limit * (1 - math.exp(-(epochs - 1) / limit))
        effective += params.scale[0] / scale * size * showings
    return params.floor + params.scale[0] ** params.exponent * effective**-params.exponent


@pytest.mark.parametrize("seen", [1e3, 1.9e5, 7e5, 2e6, 5e7])
def test_is_the_formula(seen):
    assert error(seen=seen) == pytest.approx(by_formula(PARAMS, WEIGHTS, SIZES, seen), rel=1e-13)


def test_without_repeats_it_is_a_power_law():
    seen = np.geomspace(1e2, 1e5, 5)
    excess = [error(weights=[1, 0, 0], seen=n) - PARAMS.floor for n in seen]
    assert np.diff(np.log(excess)) == pytest.approx(-PARAMS.exponent * np.diff(np.log(seen)), rel=1e-12)


def test_a_large_saturation_and_an_unknown_size_mean_no_decay():
    fresh = error(sizes=[np.inf] * 3)
    lasting = dataclasses.replace(PARAMS, saturation=np.full(3, 1e6))
    assert error(lasting, seen=1e6) == pytest.approx(error(sizes=[np.inf] * 3, seen=1e6), rel=1e-6)
    assert fresh < error()


def test_a_tiny_saturation_caps_a_pool_at_its_unique_samples():
    params = dataclasses.replace(PARAMS, saturation=np.full(3, 1e-2))
    unique = PARAMS.floor + (1.01 * np.sum(SIZES / PARAMS.scale)) ** -PARAMS.exponent
    assert error(params, seen=1e12) == pytest.approx(unique, rel=1e-12)


def test_many_epochs_reach_the_worth_of_all_repeats():
    limit = np.sum(SIZES / PARAMS.scale * (1 + PARAMS.saturation))
    assert error(seen=1e11) == pytest.approx(PARAMS.floor + limit**-PARAMS.exponent, rel=1e-12)


def test_a_pool_split_in_two_halves_changes_nothing():
    def split(values, share=1.0):
        return np.array([values[0] * share, values[0] * share, *values[1:]])

    halves = dataclasses.replace(PARAMS, scale=split(PARAMS.scale), saturation=split(PARAMS.saturation))
    assert error(halves, split(WEIGHTS, 0.5), split(SIZES, 0.5)) == pytest.approx(error(), rel=1e-14)


def test_no_samples_diverge():
    assert error(seen=0.0) == np.inf


@pytest.mark.parametrize("seen", [1.3e5, 2e6])
def test_gradients_match_central_differences(seen):
    with jax.enable_x64(True):
        place = {**{f.name: np.asarray(getattr(PARAMS, f.name), float) for f in dataclasses.fields(PARAMS)}}
        place |= {"weights": WEIGHTS, "sizes": SIZES, "samples_seen": np.array(seen)}

        def value(all_of):
            params = EffectiveSamplesParams(**{k: all_of[k] for k in ("scale", "floor", "exponent", "saturation")})
            return laws.effective_samples(params, Run(**{k: all_of[k] for k in ("weights", "sizes", "samples_seen")}))

        slopes = jax.grad(value)(place)
        for name, at in place.items():
            for index in np.ndindex(at.shape):
                step = 1e-6 * at[index]
                ends = []
                for sign in (1, -1):
                    moved = at.copy()
                    moved[index] += sign * step
                    ends.append(float(value({**place, name: moved})))
                assert float(slopes[name][index]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6), name


@pytest.mark.parametrize("saturation", [1e-2, 1e6])
@pytest.mark.parametrize("seen", [1e5, 1e11])
def test_gradients_are_finite_at_weight_zero_boundaries_and_extremes(saturation, seen):
    params = dataclasses.replace(PARAMS, saturation=np.full(3, saturation))
    sizes = np.array([1e5, np.inf, 2e5])
    with jax.enable_x64(True):
        slopes = jax.grad(lambda params, run: laws.effective_samples(params, run), argnums=(0, 1), allow_int=True)(
            params, Run(weights=np.array([1.0, 0.0, 0.0]), sizes=sizes, samples_seen=seen)
        )
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


@pytest.mark.parametrize("seed", range(3))
def test_planted_parameters_are_found_again(seed):
    rng = np.random.default_rng(seed)
    truth = EffectiveSamplesParams(
        scale=np.sort(10 ** rng.uniform(1.5, 3, 3)),
        floor=rng.uniform(0.05, 0.3),
        exponent=rng.uniform(0.1, 0.4),
        saturation=rng.uniform(1.0, 10.0, 3),
    )
    pools = {"a": 1e5, "b": 2e5, "c": 1.5e5}
    rows = [
        {"pool": name, "samples_seen": epochs * size}
        for name, size in pools.items()
        for epochs in (0.25, 0.5, 1, 2, 4, 8, 16)
    ]
    planted = FittedLaw(laws.effective_samples, truth, Pools.of(pools))
    rows = [row | {"error": float(planted.predict({row["pool"]: 1}, row["samples_seen"]))} for row in rows]
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QQTWarning)
        found = qqt.fit(qqt.read_runs(pd.DataFrame(rows), pools=pools), laws.effective_samples)
    for field in dataclasses.fields(truth):
        wanted = np.asarray(getattr(truth, field.name))
        assert np.asarray(getattr(found.params, field.name)) == pytest.approx(wanted, rel=1e-5), field.name


def test_it_is_saved_planned_with_and_told_apart_from_the_others(tmp_path):
    alone = qqt.wordclip("C")
    alone = alone.select(alone.single)
    fitted = qqt.fit(alone, laws.effective_samples)
    qqt.save_fit(fitted, tmp_path / "fit.json")
    again = qqt.load_fit(tmp_path / "fit.json")
    assert again.law is laws.effective_samples
    weights = {"C00": 0.5, "C20": 0.5}
    assert again.predict(weights, 2e5) == pytest.approx(fitted.predict(weights, 2e5), rel=1e-12)
    assert "saturation" in str(fitted)
    planned = qqt.plan(fitted, budgets=[4e4])
    assert "C00" in str(planned)
