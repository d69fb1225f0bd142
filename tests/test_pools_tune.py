"""Pruning tuned through the predicted error, and covariates of half-life and utility: against other methods."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest

import qqtjax as qqt
from qqtjax.errors import InputError
from qqtjax.laws import UtilityParams
from qqtjax.pools.covariates import regress, regress_law
from qqtjax.pools.density import density_keep
from qqtjax.pools.tune import _error_and_slope, kept_error, tune_density
from qqtjax.runs import Pools

CLUSTERS, POOLS = 12, 4


@pytest.fixture
def fitted() -> qqt.FittedLaw:
    """Four pools: the better, the smaller the half-life, so that it pays to keep some of all."""
    sizes = np.array([3e4, 2e4, 2e4, 3e4])
    params = UtilityParams(
        scale=1e3,
        floor=0.1,
        utility=np.array([-0.3, -0.25, -0.2, -0.12]),
        half_life=np.array([2.0, 3.0, 5.0, 8.0]),
        reference_size=sizes,
    )
    return qqt.FittedLaw(qqt.laws.utility, params, Pools(tuple("abcd"), sizes))


@pytest.fixture
def clusters(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Complexities, sizes and pools of the clusters; complex clusters are of the better pools, roughly."""
    group = np.repeat(np.arange(POOLS), CLUSTERS // POOLS)
    complexity = 0.4 - 0.08 * group + rng.normal(0, 0.02, CLUSTERS)
    sizes = np.array([1e4, 1e4, 1e4, 7e3, 7e3, 6e3, 7e3, 7e3, 6e3, 1e4, 1e4, 1e4])
    return complexity, sizes, group


def test_the_error_of_what_is_kept_is_that_of_its_natural_mix(fitted: qqt.FittedLaw, clusters: tuple) -> None:
    keep = np.array([4e3, 3e3, 3e3, 2e3, 2e3, 1e3, 5e3, 0.0, 0.0, 0.0, 0.0, 0.0])
    with jax.enable_x64(True):
        found = float(kept_error(fitted, keep, 6e4, clusters[2]))
    smaller = fitted.with_sizes({"a": 1e4, "b": 5e3, "c": 5e3})
    assert found == pytest.approx(float(smaller.predict(np.array([0.5, 0.25, 0.25, 0.0]), 6e4)), rel=1e-12)


def error_and_slope(fitted: qqt.FittedLaw, clusters: tuple, temperature: float, total: float) -> tuple:
    """Predicted error, d error / d log T and d error / d log M, as the search computes them."""
    complexity, sizes, group = clusters
    at = np.log([temperature, total / sizes.sum()])
    given = fitted.params, complexity, sizes, 2e5, group, 0.0
    error, slope = _error_and_slope(fitted.law, POOLS, None, at, *given)
    return float(error), *map(float, slope)


@pytest.mark.usefixtures("x64")
def test_gradients_through_the_projection_are_those_of_differences(fitted: qqt.FittedLaw, clusters: tuple) -> None:
    held = 0  # totals at which no epoch ends, where the law itself has a kink
    for temperature, total in itertools.product((0.03, 0.1, 0.5), (2.1e4, 5.3e4, 9e4)):
        keep = density_keep(*clusters[:2], total, temperature)
        held += int(np.sum(keep >= clusters[1]))
        of_temperature, of_total = error_and_slope(fitted, clusters, temperature, total)[1:]
        up, down = np.exp(1e-6), np.exp(-1e-6)
        high, low = (error_and_slope(fitted, clusters, temperature * step, total)[0] for step in (up, down))
        assert of_temperature == pytest.approx((high - low) / 2e-6, rel=1e-5, abs=1e-9)
        high, low = (error_and_slope(fitted, clusters, temperature, total * step)[0] for step in (up, down))
        assert of_total == pytest.approx((high - low) / 2e-6, rel=1e-5, abs=1e-9)
    assert held > 0  # with clusters at their bounds, too


def test_tuning_is_no_worse_than_a_fine_grid(fitted: qqt.FittedLaw, clusters: tuple) -> None:
    complexity, sizes, group = clusters
    found = tune_density(fitted, complexity, sizes, 2e5, group)
    assert found.counts.sum() == found.total
    assert found.error < found.error_of_all - 1e-3
    with jax.enable_x64(True):
        temperatures, totals = np.std(complexity) * np.geomspace(0.01, 1e3, 60), sizes.sum() * np.geomspace(0.01, 1, 60)
        best = min(error_and_slope(fitted, clusters, *each)[0] for each in itertools.product(temperatures, totals))
        rounded = float(kept_error(fitted, found.counts.astype(float), 2e5, group))
    assert found.error <= best
    assert found.error == pytest.approx(best, abs=5e-4)
    assert rounded == pytest.approx(found.error, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"complexity": [0.1] * CLUSTERS}, "not all equal"),
        ({"complexity": [np.nan] * CLUSTERS}, "finite"),
        ({"complexity": [0.1, 0.2]}, "expected one for each of 12 clusters"),
        ({"group": [9] * CLUSTERS}, "expected whole numbers from 0 to 3"),
        ({"samples_seen": 0.0}, "samples seen 0"),
        ({"sizes": [0.5] * CLUSTERS}, "expected a whole number"),
    ],
)
def test_tuning_refuses(fitted: qqt.FittedLaw, clusters: tuple, change: dict, message: str) -> None:
    complexity, sizes, group = clusters
    asked = {"complexity": complexity, "sizes": sizes, "samples_seen": 2e5, "group": group, **change}
    with pytest.raises(InputError, match=message):
        tune_density(fitted, **asked)


# Covariates


def test_a_planted_law_of_half_lives_is_found(rng: np.random.Generator) -> None:
    complexity = rng.uniform(0.05, 0.5, 24)
    other = rng.normal(size=24)
    half_life = 2.0 * (complexity / 0.2) ** 0.8 * np.exp(rng.normal(0, 0.1, 24))
    utility = -0.2 + rng.normal(0, 0.02, 24)
    params = UtilityParams(scale=1e3, floor=0.1, utility=utility, half_life=half_life, reference_size=np.full(24, 1e4))
    fitted = qqt.FittedLaw(qqt.laws.utility, params, Pools.of({f"c{i}": 1e4 for i in range(24)}))
    found = regress_law(fitted, {"log complexity": np.log(complexity), "other": other})
    of_half_life, of_utility = found["log half_life"], found["utility"]
    assert of_half_life.slopes[0] == pytest.approx(0.8, abs=3 * of_half_life.standard_errors[0])
    assert abs(of_half_life.slopes[1]) < 3 * of_half_life.standard_errors[1]
    assert of_half_life.skill > 0.8
    assert of_half_life.p_value < 0.001
    # Nothing was planted there, and nothing is found.
    assert of_utility.skill < 0.2
    assert of_utility.p_value > 0.05
    assert "skill on held-out pools" in str(of_half_life)


def test_held_out_predictions_are_those_of_fits_without_the_pool(rng: np.random.Generator) -> None:
    first, second = rng.normal(size=(2, 9))
    values = 1 + first - 2 * second + rng.normal(size=9)
    found = regress({"first": first, "second": second}, values, shuffles=50)
    design = np.column_stack([np.ones(9), first, second])
    for pool in range(9):
        rest = np.arange(9) != pool
        solved = np.linalg.lstsq(design[rest], values[rest], rcond=None)[0]
        assert found.held_out[pool] == pytest.approx(design[pool] @ solved)
        assert found.without[pool] == pytest.approx(values[rest].mean())
    best, residual = np.linalg.lstsq(design, values, rcond=None)[:2]
    np.testing.assert_allclose([found.intercept, *found.slopes], best)
    errors = np.sqrt(residual / 6 * np.diag(np.linalg.inv(design.T @ design)))
    np.testing.assert_allclose(found.standard_errors, errors[1:])
    lost = np.sum((values - found.held_out) ** 2) / np.sum((values - found.without) ** 2)
    assert found.skill == pytest.approx(1 - lost)


def test_p_values_are_uniform_where_nothing_is_planted() -> None:
    rng = np.random.default_rng(5)
    values = [regress({"z": rng.normal(size=8)}, rng.normal(size=8), 200, seed).p_value for seed in range(300)]
    below = np.array([np.mean(np.array(values) <= level) for level in (0.05, 0.2, 0.5, 0.8)])
    np.testing.assert_allclose(below, [0.05, 0.2, 0.5, 0.8], atol=0.09)


def test_all_orders_of_few_pools_and_the_same_seed_of_many(rng: np.random.Generator) -> None:
    assert regress({"z": [1.0, 2.0, 4.0, 3.0]}, [1.0, 2.0, 3.0, 5.0]).orders == 24
    z, y = rng.normal(size=(2, 10))
    assert regress({"z": z}, y, 100, seed=1).p_value == regress({"z": z}, y, 100, seed=1).p_value


@pytest.mark.parametrize(
    ("covariates", "values", "message"),
    [
        ({}, [1, 2, 3, 4], "no covariates"),
        ({"z": [1, 2, 3]}, [1, 2, 3, 4], r"z of shape \(3,\)"),
        ({"z": [1, 2, np.nan, 4]}, [1, 2, 3, 4], "z: nan for pool 2"),
        ({"z": [1, 1, 1, 1]}, [1, 2, 3, 4], "z: equal for all pools"),
        ({"z": [1, 2, 3, 4]}, [1, 1, 1, 1], "values: equal for all pools"),
        ({"z": [1, 2, 3]}, [1, 2, 3], "3 pools: expected at least 4 for 1 covariates"),
        ({"z": [1, 2, 3, 4, 5], "x": [2, 4, 6, 8, 10]}, [1, 2, 3, 5, 4], "depend on each other"),
        ({"z": [0, 0, 0, 0, 1]}, [1, 2, 3, 4, 5], "pool 4: it alone decides on a slope"),
    ],
)
def test_regressions_are_refused(covariates: dict, values: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        regress(covariates, values)


def test_a_law_without_half_lives_is_refused(fitted: qqt.FittedLaw) -> None:
    shared = fitted.with_params(half_life=3.0)
    with pytest.raises(InputError, match="half_life is not one number a pool"):
        regress_law(shared, {"z": [1, 2, 3, 4]})
