"""The certificate of anybody's weights bounds how much better the best ones are."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import qqtjax as qqt
from qqtjax.errors import InputError
from qqtjax.laws import EffectiveSamplesParams, FittedLaw, PowerParams, UtilityParams, effective_samples, power, utility
from qqtjax.mix import Constraints, Group, certify, optimize_mix
from qqtjax.mix.feasible import violation
from qqtjax.runs import Pools

PAPER = qqt.published("datacomp-tmars")


def random_law(rng: np.random.Generator, count: int) -> FittedLaw:
    sizes = 10 ** rng.uniform(5, 8, count)
    params = UtilityParams(
        scale=1e6,
        floor=0.1,
        utility=-rng.uniform(0.05, 0.3, count),
        half_life=10 ** rng.uniform(-0.3, 2, count),
        reference_size=sizes,
        dilution=rng.choice([0.0, 0.6, 1.0]),
    )
    return FittedLaw(utility, params, Pools.of({f"p{place}": size for place, size in enumerate(sizes)}))


def feasible_rows(rng: np.random.Generator, fitted: FittedLaw, budget: float, asked: dict[str, Any]) -> np.ndarray:
    feasible = Constraints(**asked).bind(fitted.pools, budget)
    best = optimize_mix(fitted, budget, **asked).weights
    rows = rng.dirichlet(np.ones(len(best)), 40)
    rows = np.concatenate([rows, 0.9 * best + 0.1 * rows, 0.999 * best + 0.001 * rows, best[None]])
    return np.array([row for row in rows if violation(feasible, row) <= 1e-12])[-30:]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"caps": {"p0": 0.3}, "minimums": {"p1": 0.05}},
        {"groups": {"g": Group(("p0", "p1"), 0.0, 0.5)}},
        {"reference": [0.25] * 4, "max_l1": 0.8},
        {"reference": [0.25] * 4, "kl_penalty": 0.01},
    ],
    ids=["free", "bounds", "group", "l1", "penalty"],
)
def test_the_gap_bounds_the_true_excess(asked, rng):
    for _ in range(8 if len(asked) < 2 and "groups" not in asked else 2):
        fitted = random_law(rng, 4)
        budget = float(fitted.pools.sizes.sum() * rng.uniform(1, 30))
        best = optimize_mix(fitted, budget, **asked)
        for row in feasible_rows(rng, fitted, budget, asked)[::6]:
            proof = certify(fitted, row, budget, **asked)
            worth = float(fitted.predict(row, budget))
            if "kl_penalty" in asked:
                used = np.where(row > 0, row, 1.0)
                worth += 0.01 * float(np.sum(row * np.log(used / 0.25)))
            assert (proof.kind, proof.proof) == ("duality gap", "global")
            assert worth - best.objective <= proof.gap + 1e-12
        own = certify(fitted, best.weights, budget, **asked)
        assert own.gap <= 1e-9


def test_the_gap_is_no_looser_than_linear(rng):
    """From the weights of the optimum at one budget to those at another a little above: the gap is of second order."""
    gaps = []
    for step in (1e-2, 1e-3):
        row = optimize_mix(PAPER.utility, 700e6 * (1 + step)).weights
        excess = float(PAPER.utility.predict(row, 700e6)) - optimize_mix(PAPER.utility, 700e6).error
        gaps.append(certify(PAPER.utility, row, 700e6).gap)
        assert excess <= gaps[-1] + 1e-14
    assert gaps[1] <= 0.2 * gaps[0] <= 1e-3


def test_several_metrics_and_a_floor_for_each_pool(rng):
    fitted = random_law(rng, 3).with_params(floor=np.array([0.1, 0.15, 0.12]))
    other = fitted.with_params(utility=np.array(fitted.params.utility)[::-1].copy())
    budget = float(fitted.pools.sizes.sum() * 4)
    fits = {"x": fitted, "y": other}
    for asked in ({}, {"worst_case": True}, {"metric_weights": {"x": 2.0}}):
        best = optimize_mix(fits, budget, **asked)
        for row in rng.dirichlet(np.ones(3), 4):
            each = np.array([float(law.predict(row, budget)) for law in fits.values()])
            worth = each.max() if "worst_case" in asked else each @ ([2.0, 1.0] if asked else [1.0, 1.0])
            proof = certify(fits, row, budget, **asked)
            assert worth - best.objective == pytest.approx(proof.gap, abs=1e-9)  # the bound is that of the optimum


def test_other_laws_get_the_residual(rng):
    local = PAPER.utility.with_params(decay_shape=1.5)
    best = optimize_mix(local, 200e6)
    assert certify(local, best.weights, 200e6).gap == pytest.approx(best.certificate.gap, abs=1e-12)
    far = certify(local, [0.1, 0.1, 0.4, 0.4], 200e6)
    assert (far.kind, far.proof) == ("KKT residual", "local")
    assert far.gap > 1e-3
    params = EffectiveSamplesParams(
        scale=np.array([4e6, 6e6]), floor=0.1, exponent=0.15, saturation=np.array([6.7, 8.5])
    )
    convex = FittedLaw(effective_samples, params, Pools.of({"a": 1e7, "b": 3e7}))
    best = optimize_mix(convex, 5e8)
    for row in rng.dirichlet(np.ones(2), 5):
        proof = certify(convex, row, 5e8)
        assert (proof.kind, proof.proof) == ("KKT residual", "global")
        assert float(convex.predict(row, 5e8)) - best.error <= proof.gap + 1e-12


def test_a_power_law_that_is_trained_on():
    fitted = FittedLaw(
        power, PowerParams(scale=1e6, floor=0.1, utility=np.array([-0.1, -0.2])), Pools.of({"a": 1e6, "b": 1e6})
    )
    before = {"a": 5e6}
    excess = float(fitted.predict([0.5, 0.5], 1e8, before)) - float(fitted.predict([0, 1], 1e8, before))
    assert certify(fitted, [0.5, 0.5], 1e8, seen_before=before).gap == pytest.approx(excess, rel=1e-9)


@pytest.mark.parametrize(
    ("weights", "asked", "said"),
    [
        ([0.9, 0.1, 0, 0], {"caps": {"top 10 %": 0.5}}, "miss a constraint by 0.4"),
        ([0.9, 0.2, 0, 0], {}, "sum|total|expected"),
        ({"nothing": 1.0}, {}, "unknown pool"),
        ([1, 0, 0, 0], {"budget": [1e8, 2e8]}, "expected one budget"),
        ([1, 0, 0, 0], {"max_epochs": 0.1}, "max_epochs"),
    ],
)
def test_what_cannot_be_certified_is_refused(weights, asked, said):
    with pytest.raises(InputError, match=said):
        certify(PAPER.utility, weights, **{"budget": 640e6, **asked})


def test_sizes_to_plan_for():
    larger = dataclasses.replace(PAPER.utility, pools=PAPER.utility.pools)
    row = [0.7, 0.3, 0, 0]
    found = certify(PAPER.utility, row, 640e6, sizes={"top 10 %": 1e9})
    assert found.gap == certify(larger.with_sizes({"top 10 %": 1e9}), row, 640e6).gap
    assert found.gap != certify(larger, row, 640e6).gap
