"""The best continuous mixes and whole samples: against known optima, brute force and exact totals."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qqtjax.errors import InputError
from qqtjax.laws import FittedLaw, UtilityParams, effective_data, released_utility, utility
from qqtjax.mix import optimize_mixes, simplex, whole_samples
from qqtjax.mix.predict import error_table, errors_of
from qqtjax.runs import Pools

N = 12.8e6
SHIPPED = FittedLaw(
    utility,
    UtilityParams(
        scale=4e6,
        floor=0.1,
        utility=np.array([-0.16, -0.125, -0.10, -0.085]),
        half_life=np.array([6.7272727272727275, 8.545454545454547, 5.2727272727272725, 2.2727272727272725]),
        reference_size=np.full(4, N),
    ),
    Pools.of({"top10": N, "top20": N, "top30": N, "top40": N}),
)
# Budget, best weights, error: from a water-filling prototype whose duality gap is below 1e-15.
OPTIMA = [
    (32e6, (1, 0, 0, 0), 0.829640),
    (64e6, (0.8, 0.2, 0, 0), 0.769495),
    (128e6, (0.66687, 0.33313, 0, 0), 0.718325),
    (256e6, (0.58868, 0.41132, 0, 0), 0.677299),
    (640e6, (0.47949, 0.38, 0.14051, 0), 0.639246),
    (2e9, (0.40493, 0.33386, 0.18441, 0.0768), 0.611849),
]


def test_the_published_optima_are_found():
    budgets, weights, errors = (np.array(each) for each in zip(*OPTIMA, strict=True))
    found = optimize_mixes(SHIPPED, budgets)
    np.testing.assert_allclose(found.weights, weights, atol=2e-4)
    np.testing.assert_allclose(found.error, errors, atol=1.5e-6)
    np.testing.assert_allclose(found.weights.sum(1), 1, atol=1e-12)
    assert "no certificate" in found.certificate


def test_pools_enter_at_their_entry_budgets():
    # Closed-form entry budgets of pools 3 and 4 under dilution 1: 339.35M and 1040.5M samples seen.
    found = optimize_mixes(SHIPPED, [330e6, 349e6, 1.01e9, 1.07e9]).weights
    assert found[0, 2] == 0 < found[1, 2]
    assert found[2, 3] == 0 < found[3, 3]


@pytest.mark.parametrize("dilution", [0.0, 0.4, 1.0])
def test_no_point_of_a_grid_is_better(dilution: float, rng: np.random.Generator):
    params = UtilityParams(
        scale=1e6,
        floor=0.05,
        utility=-rng.uniform(0.05, 0.3, 3),
        half_life=rng.uniform(1, 10, 3),
        reference_size=np.array([2e6, 5e6, 3e7]),
        dilution=dilution,
    )
    fitted = FittedLaw(utility, params, Pools.of({"a": 2e6, "b": 5e6, "c": 3e7}))
    steps = 60
    grid = np.array([(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]) / steps
    budgets = np.array([5e6, 3e7, 4e8])
    assert np.all(optimize_mixes(fitted, budgets).error <= error_table(fitted, grid, budgets).min(0) + 1e-9)


@pytest.mark.parametrize("law", [released_utility, effective_data], ids=lambda law: law.name)
def test_never_worse_than_a_start_for_any_law(law):
    fitted = dataclasses.replace(SHIPPED, law=law)
    filters = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [1 / 3, 1 / 3, 1 / 3, 0], [0.25] * 4])
    budgets = np.array([32e6, 64e6, 300e6])
    found = optimize_mixes(fitted, budgets, starts=filters)
    assert np.all(found.error <= error_table(fitted, filters, budgets).min(0) + 1e-8)
    np.testing.assert_allclose(found.error, errors_of(fitted, found.weights, budgets), rtol=1e-12)


def test_a_filter_is_returned_exactly_where_nothing_beats_it():
    found = optimize_mixes(SHIPPED, [20e6], starts=np.eye(4)[:1])
    assert found.weights.tolist() == [[1, 0, 0, 0]]


def test_an_unknown_size_and_a_single_pool_are_handled():
    fitted = dataclasses.replace(
        SHIPPED,
        pools=Pools.of({"top10": N, "top20": N, "top30": N, "web": np.inf}),
    )
    fitted = fitted.with_params(reference_size=np.array([N, N, N, np.inf]))
    # A pool enters at 1.04B samples seen, whatever its size.
    found = optimize_mixes(fitted, [2e9])
    assert np.all(np.isfinite(found.weights))
    assert found.weights[0, 3] > 0
    alone = FittedLaw(
        utility,
        UtilityParams(
            scale=1e6,
            floor=0,
            utility=np.array([-0.1]),
            half_life=np.array([2.0]),
            reference_size=np.array([1e6]),
        ),
        Pools.of({"only": 1e6}),
    )
    assert optimize_mixes(alone, [1e7]).weights.tolist() == [[1.0]]


def test_same_seed_same_bytes_and_new_budgets_do_not_compile():
    first = optimize_mixes(SHIPPED, [64e6, 128e6], seed=3)
    compiled = simplex._descend._cache_size()  # type: ignore[attr-defined]
    again = optimize_mixes(SHIPPED, [64e6, 128e6], seed=3)
    optimize_mixes(SHIPPED, [65e6, 129e6, 1e9, 2e9, 3e9])
    assert first.weights.tobytes() == again.weights.tobytes()
    assert simplex._descend._cache_size() == compiled  # type: ignore[attr-defined]


@pytest.mark.parametrize("budget", [0.0, -1.0, np.nan, np.inf])
def test_a_budget_must_be_a_positive_number(budget: float):
    with pytest.raises(InputError, match="positive"):
        optimize_mixes(SHIPPED, [64e6, budget])


shares = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=12).filter(lambda x: sum(x) > 0)


@settings(deadline=None, derandomize=True)
@given(weights=shares, total=st.integers(0, 10**19))
def test_whole_samples_are_exact_in_total_and_within_one_of_their_quota(weights: list[float], total: int):
    counts = whole_samples(weights, total)
    assert sum(counts) == total
    whole = sum(map(Fraction, weights))
    for share, count in zip(weights, counts, strict=True):
        assert abs(Fraction(share) * total / whole - count) < 1
        assert share > 0 or count == 0


def test_whole_samples_of_thirds():
    assert whole_samples([1 / 3, 1 / 3, 1 / 3], 10) == [4, 3, 3]


@pytest.mark.parametrize("weights", [[0.0, 0.0], [0.5, -0.5], [np.nan, 1.0]])
def test_wrong_shares_are_refused(weights: list[float]):
    with pytest.raises(InputError, match="share"):
        whole_samples(weights, 10)
    with pytest.raises(InputError, match="whole number"):
        whole_samples([1.0], -1)
