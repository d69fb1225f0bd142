"""Laws that scan over epochs, on budgets of thousands of them: searched all the same, and never worse than a filter."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest

import qqtjax as qqt
from qqtjax.errors import InputError, QQTWarning
from qqtjax.laws import FittedLaw, PowerParams, UtilityParams, power, utility
from qqtjax.mix import Mix, optimize_mix
from qqtjax.mix.combined import combine, epochs_at, work_of
from qqtjax.mix.constraints import Constraints
from qqtjax.mix.feasible import violation
from qqtjax.mix.scanned import binds, first_limit, held_to
from qqtjax.runs import Pools

PAPER = qqt.published("datacomp-tmars")
TINY = {"top 10 %": 1e5}  # 6,400 epochs of it at 640M
SHAPE = PAPER.utility.with_params(decay_shape=0.7)


def tweaked(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`[M, P]` mixes near and far from one."""
    rows = [rng.dirichlet(np.ones(len(weights)), 50)]
    for size in (0.3, 0.1, 0.03, 0.01):
        moved = weights * np.exp(size * rng.normal(size=(50, len(weights))))
        rows.append(moved + size * rng.random(moved.shape) * (rng.random(moved.shape) < 0.3) / 3)
    return np.concatenate([each / each.sum(1, keepdims=True) for each in rows])


def check(mix: Mix, fitted: FittedLaw, budget: float, rng: np.random.Generator, asked: dict[str, Any]) -> None:
    """No tweak, no runner-up and not the optimum of the geometric decay is better; the error is the law's."""
    before = asked.get("seen_before")
    limits = {name: value for name, value in asked.items() if name != "seen_before"}
    feasible = Constraints(**limits).bind(fitted.pools, budget)
    geometric = optimize_mix(dataclasses.replace(fitted.with_params(decay_shape=None), law=utility), budget, **limits)
    rows = np.concatenate([tweaked(mix.weights, rng), geometric.weights[None]])
    rows = np.array([row for row in rows if violation(feasible, row) <= 1e-12])
    # What is far beyond the search's epochs is left to the runner-ups, for a scan of it takes long.
    rows = rows[np.max(budget * rows / fitted.pools.sizes, axis=1) < 4000]
    assert len(rows) > 50
    assert mix.error <= fitted.predict(rows, budget, before).min() + 1e-9
    assert all(mix.error <= other.error + 1e-12 for other in mix.runner_ups if other.feasible)
    assert mix.error == pytest.approx(float(fitted.predict(mix.weights, budget, before)), rel=1e-12)
    assert mix.certificate.searched
    assert mix.certificate.gap <= 1e-6


@pytest.mark.parametrize(
    ("fitted", "budget", "asked"),
    [
        (SHAPE.with_sizes(TINY), 640e6, {}),
        (SHAPE.with_sizes(TINY), 640e6, {"caps": {"10-20 %": 0.4}}),
        (PAPER.utility.with_sizes(TINY), 640e6, {"seen_before": {"10-20 %": 1e6}}),
        pytest.param(PAPER.effective_data.with_sizes(TINY), 640e6, {}, marks=pytest.mark.slow),
        pytest.param(PAPER.effective_data.with_sizes(TINY), 640e6, {"max_epochs": 60}, marks=pytest.mark.slow),
        pytest.param(SHAPE.with_sizes(TINY), 640e6, {"min_pools": 3.2}, marks=pytest.mark.slow),
        pytest.param(SHAPE, 1e11, {}, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_no_tweak_or_runner_up_is_better(fitted, budget, asked, rng):
    with warnings.catch_warnings():
        warnings.simplefilter("error", QQTWarning)
        mix = optimize_mix(fitted, budget, **asked)
    check(mix, fitted, budget, rng, asked)


@pytest.mark.slow
def test_a_tighter_problem_is_not_better():
    loose, tight = (optimize_mix(PAPER.effective_data.with_sizes(TINY), 640e6, max_epochs=n) for n in (6400, 30))
    assert loose.error <= tight.error


@pytest.mark.slow
def test_many_pools_of_very_different_sizes(rng):
    sizes = np.geomspace(1e5, 1e8, 32)
    params = UtilityParams(
        scale=1e6,
        floor=0.1,
        utility=-rng.permutation(np.linspace(0.3, 0.1, 32)),
        half_life=rng.uniform(2, 12, 32),
        reference_size=sizes,
        decay_shape=0.8,
    )
    fitted = FittedLaw(utility, params, Pools.of({f"p{place}": size for place, size in enumerate(sizes)}))
    mix = optimize_mix(fitted, float(sizes.sum()))
    check(mix, fitted, float(sizes.sum()), rng, {})


def test_two_pools_against_a_grid():
    """Searched up to the epochs where it pays, not those that the smaller pool alone would take."""
    params = UtilityParams(
        scale=1e6,
        floor=0.1,
        utility=np.array([-0.2, -0.15]),
        half_life=np.array([6.0, 9.0]),
        reference_size=np.array([1e5, 1e7]),
        decay_shape=0.6,
    )
    fitted = FittedLaw(utility, params, Pools.of({"a": 1e5, "b": 1e7}))
    mix = optimize_mix(fitted, 1e9)  # 10,000 epochs of a
    share = np.linspace(0, 0.2, 4001)
    errors = fitted.predict(np.stack([share, 1 - share], 1), 1e9)
    assert mix.certificate.searched
    assert mix.error <= errors.min() + 1e-12
    assert mix.weights[0] == pytest.approx(share[np.argmin(errors)], abs=1e-4)


def test_the_limit_of_a_search_is_the_least_that_leaves_weights():
    budget = 640e6
    feasible = Constraints(minimums={"top 10 %": 0.004}).bind(SHAPE.with_sizes(TINY).pools, budget)
    combined = combine([SHAPE.with_sizes(TINY)], budget, feasible, None, False, None)
    assert first_limit(combined, feasible) == 32  # 25.6 epochs of the minimum
    tight = held_to(feasible, combined, 32)
    assert float(epochs_at(combined, tight.high)) == pytest.approx(32)
    assert work_of(combined, 32) == 4 * 32
    assert binds(feasible, combined, 32, np.array([tight.high[0], 0.5, 0.3, 0.195]))
    assert not binds(feasible, combined, 32, np.array([0.0045, 0.5, 0.3, 0.1955]))
    few = Constraints(max_epochs=100).bind(SHAPE.with_sizes(TINY).pools, budget)
    assert first_limit(combined, few) == np.inf


def test_what_is_not_searched_is_warned_of():
    fitted = SHAPE.with_params(reference_size=np.full(4, 1e5), scale=1e5)
    fitted = dataclasses.replace(fitted, pools=Pools.of(dict.fromkeys(fitted.pools.names, 1e5)))
    with pytest.warns(QQTWarning, match="searched only in part"):
        mix = optimize_mix(fitted, 8e9)  # 20,000 epochs of every pool, or more
    assert not mix.certificate.searched
    assert "KKT residual" in str(mix.certificate)
    assert any("searched only in part" in text for text in mix.warnings)
    assert "searched only in part" in str(mix)
    assert mix.error <= min(other.error for other in mix.runner_ups)


def test_epochs_that_nobody_scans_are_refused():
    with pytest.raises(InputError, match=r"budget 1000T: .* epochs of some pool, too many for utility") as problem:
        optimize_mix(SHAPE, 1e15)
    assert "\n" not in str(problem.value)


POWER = FittedLaw(
    power,
    PowerParams(scale=1e6, floor=0.1, utility=np.array([-0.1, -0.15, -0.2])),
    Pools.of({"a": 1e6, "b": 1e7, "c": 1e8}),
)


@pytest.mark.parametrize("floor", [0.1, np.array([0.1, 0.2, 0.15])])
@pytest.mark.parametrize("before", [{"b": 1e6}, {"a": 3e5, "c": 1e5}, {"a": 1e9}])
def test_a_power_law_that_is_trained_on_is_solved(before, floor, rng):
    fitted = POWER.with_params(floor=floor, amplitude=2.0)
    mix = optimize_mix(fitted, 1e10, seen_before=before, caps={"c": 0.6})
    assert (mix.certificate.kind, mix.certificate.proof) == ("duality gap", "global")
    assert mix.certificate.gap <= 1e-9
    rows = rng.dirichlet(np.ones(3), 500)
    rows = np.concatenate([rows[rows[:, 2] <= 0.6], [[0, 0.4, 0.6], [0.4, 0, 0.6], [0, 1, 0], [1, 0, 0]]])
    errors = fitted.predict(rows, 1e10, before)
    assert mix.error <= errors.min() + 1e-12
    assert mix.objective == pytest.approx(float(fitted.predict(mix.weights, 1e10, before)), rel=1e-12)
    if np.ndim(floor) == 0:
        np.testing.assert_allclose(mix.weights, [0, 0.4, 0.6], atol=1e-12)


def test_a_power_law_that_is_trained_on_under_groups_and_several_metrics():
    other = POWER.with_params(utility=np.array([-0.2, -0.1, -0.12]))
    groups = {"ends": qqt.mix.Group(("a", "c"), 0.0, 0.7)}
    mix = optimize_mix({"x": POWER, "y": other}, 1e10, seen_before={"b": 1e6}, groups=groups)
    shares = np.linspace(0, 1, 101)
    rows = np.array([(a, 1 - a - c, c) for a in shares for c in shares if a + c <= 0.7 + 1e-12])
    errors = sum(law.predict(np.maximum(rows, 0), 1e10, {"b": 1e6}) for law in (POWER, other))
    assert mix.certificate.proof == "global"
    assert mix.error <= errors.min() + 1e-9
    assert errors.min() - mix.error < 1e-3
