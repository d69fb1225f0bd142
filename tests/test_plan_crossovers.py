"""Crossovers, the frontier and the inverse, against the published switches and brute force on a fine grid."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from qqtjax.laws import FittedLaw, UtilityParams, effective_data, released_utility, utility
from qqtjax.laws.fitted import _compiled
from qqtjax.mix.predict import error_table
from qqtjax.plan import Plan, plan
from qqtjax.plan.crossovers import _touching, find_crossings, frontier, solve_brackets
from qqtjax.runs import Pools

N = 12.8e6
NAMES = ("top10", "top20", "top30", "top40")
POOLS = Pools.of({name: N for name in NAMES})
SHIPPED = FittedLaw(
    utility,
    UtilityParams(
        scale=4e6,
        floor=0.1,
        utility=np.array([-0.16, -0.125, -0.10, -0.085]),
        half_life=np.array([6.7272727272727275, 8.545454545454547, 5.2727272727272725, 2.2727272727272725]),
        reference_size=np.full(4, N),
    ),
    POOLS,
)
EFFECTIVE = FittedLaw(
    effective_data,
    UtilityParams(
        scale=1e5 / 0.022,
        floor=0.1,
        utility=np.array([-0.18227272727272728, -0.14484848484848487, -0.1353030303030303, -0.09757575757575758]),
        half_life=np.array([4.0, 4.363636363636363, 2.909090909090909, 1.4545454545454546]),
        reference_size=np.full(4, N),
    ),
    POOLS,
)


@pytest.mark.parametrize(
    ("fitted", "switches"),
    [
        (SHIPPED, (81.8e6, 991e6)),
        (dataclasses.replace(SHIPPED, law=released_utility), (100.5e6, 1096e6)),
        (EFFECTIVE, (67.8e6, 344e6)),
    ],
    ids=["equation", "released", "effective data"],
)
def test_the_switches_of_the_shipped_constants(fitted: FittedLaw, switches: tuple[float, float]):
    answer = plan(fitted, 640e6)
    deciding = [crossing for crossing in answer.crossovers if crossing.decides]
    found = [crossing.samples_seen for crossing in deciding[:2]]
    np.testing.assert_allclose(found, switches, rtol=1.5e-3)  # as many digits as they are quoted with
    assert [(each.below, each.above) for each in deciding[:2]] == [
        ("top10", "top10+top20"),
        ("top10+top20", "top10+top20+top30"),
    ]
    assert [step.samples_seen for step in answer.frontier[1:3]] == found


@pytest.mark.parametrize("law", [utility, released_utility], ids=lambda law: law.name)
def test_a_crossover_is_a_tie_that_changes_sides(law):
    fitted = dataclasses.replace(SHIPPED, law=law)
    answer = plan(fitted, 640e6)
    shares = {option.name: list(option.weights.values()) for option in answer.rows[0].options}
    assert len(answer.crossovers) >= 5
    for crossing in answer.crossovers:
        # 1e-8 relative on either side, a hundredth of what is promised: the order is already settled.
        seen = crossing.samples_seen * np.array([1 - 1e-8, 1, 1 + 1e-8])
        gap = fitted.predict(shares[crossing.below], seen) - fitted.predict(shares[crossing.above], seen)
        assert gap[0] < 0 < gap[2]
        assert abs(gap[1]) < 1e-13


def test_the_common_tie_at_scale_is_no_crossover():
    answer = plan(SHIPPED, 640e6)
    assert min(crossing.samples_seen for crossing in answer.crossovers) > 2 * 4e6
    assert answer.frontier[0].samples_seen == pytest.approx(4e6, rel=1e-5)


# "steep" is the better one fresh and wears out slowly; "flat" overtakes it while it is fresh, and is
# worthless as soon as it repeats, so that "steep" wins again.
TWICE = FittedLaw(
    utility,
    UtilityParams(
        scale=1e5,
        floor=0.0,
        utility=np.array([-0.20, -0.17]),
        half_life=np.array([4.0, 0.2]),
        reference_size=np.array([1e6, 8e6]),
        dilution=0.0,
    ),
    Pools.of({"steep": 1e6, "flat": 8e6}),
)


def test_a_pair_that_crosses_twice():
    found = find_crossings(TWICE, np.eye(2), 1e5 * (1 + 1e-6), 1e10)
    grid = np.geomspace(1.001e5, 1e10, 20001)
    steep, flat = error_table(TWICE, np.eye(2), grid)
    changes = np.flatnonzero(np.sign(steep - flat)[1:] != np.sign(steep - flat)[:-1])
    assert [(crossing.below, crossing.above) for crossing in found] == [(0, 1), (1, 0)]
    assert [np.searchsorted(grid, crossing.samples_seen) - 1 for crossing in found] == list(changes)
    # The frontier of these two alone goes there and back.
    steps = frontier(TWICE, np.eye(2), found, 1e5 * (1 + 1e-6), 1e10)
    assert [option for _, option in steps] == [0, 1, 0]


def test_a_dip_that_the_grid_steps_over_is_found_by_its_least_gap():
    # All four budgets have "steep" ahead: "flat" leads only from 6.65M to 18.3M.
    grid = np.log([1e6, 6.6e6, 30e6, 1e9])
    gap = np.subtract(*np.log(error_table(TWICE, np.eye(2), np.exp(grid))))
    assert np.all(gap < 0)
    (_, _, start, bottom), (_, _, same_bottom, end) = _touching(TWICE, np.eye(2), 0, 1, grid, gap)
    assert bottom == same_bottom
    first, second = (np.log(each.samples_seen) for each in find_crossings(TWICE, np.eye(2), 1.01e5, 1e10))
    assert start < first < bottom < second < end
    # A straight crossing is no dip.
    assert _touching(TWICE, np.eye(2), 0, 1, np.log([1e6, 4e6, 8e6, 12e6]), np.array([-3.0, -1.0, 1.0, 2.0])) == []


@pytest.mark.parametrize("law", [utility, released_utility, effective_data], ids=lambda law: law.name)
def test_nothing_is_missed_on_random_pools(law, rng: np.random.Generator):
    for _ in range(4):
        sizes = np.exp(rng.uniform(np.log(1e6), np.log(3e7), 3))
        pools = Pools.of(dict(zip("abc", sizes, strict=True)))
        params = UtilityParams(
            scale=5e5,
            floor=0.05,
            utility=-rng.uniform(0.05, 0.25, 3),
            half_life=rng.uniform(0.5, 8, 3),
            reference_size=sizes,
            dilution=rng.uniform(0, 1),
        )
        fitted = FittedLaw(law, params, pools)
        weights = np.vstack([np.eye(3), np.full((1, 3), 1 / 3), pools.union([0, 1])[None]])
        low, high = 5e5 * (1 + 1e-6), 1e8
        found = find_crossings(fitted, weights, low, high)
        grid = np.geomspace(low * 1.001, high, 6001)
        errors = error_table(fitted, weights, grid)
        for i in range(5):
            for j in range(i):
                signs = np.sign(errors[i] - errors[j])
                places = np.flatnonzero(signs[1:] != signs[:-1])
                mine = [c.samples_seen for c in found if {c.below, c.above} == {i, j} and c.samples_seen > grid[0]]
                inside = [grid[p] <= seen <= grid[p + 1] for p in places for seen in mine]
                assert sum(inside) >= len(places)
                assert len(mine) >= len(places)
                assert (len(mine) - len(places)) % 2 == 0


def test_two_names_for_one_mix_do_not_cross():
    twin = plan(SHIPPED, 640e6, filters={"the same": ["top20", "top10"]})
    assert len(twin.crossovers) == len(plan(SHIPPED, 640e6).crossovers)


def test_the_solver_of_many_brackets():
    shift = np.array([1e-9, 0.5, 0.999, 0.3])
    roots = solve_brackets(
        lambda x: np.sign(x - shift) * np.abs(x - shift) ** np.array([1, 3, 1, 0.5]), np.zeros(4), np.ones(4)
    )
    np.testing.assert_allclose(roots, shift, atol=1e-12)


def test_the_frontier_is_the_best_option_everywhere():
    answer = plan(SHIPPED, 640e6)
    options = answer.rows[0].options
    budgets = np.geomspace(4.1e6, 60e9, 400)
    weights = np.array([list(option.weights.values()) for option in options])
    best = [options[i].name for i in np.argmin(error_table(SHIPPED, weights, budgets), axis=0)]
    starts = [step.samples_seen for step in answer.frontier]
    shown = [answer.frontier[i].option for i in np.searchsorted(starts, budgets, side="right") - 1]
    assert shown == best


def test_the_horizon_is_stated_and_bounded():
    short = plan(SHIPPED, 64e6, horizon=500e6)
    assert short.horizon == 500e6
    assert all(crossing.samples_seen < 500e6 for crossing in short.crossovers)
    # The closed form has no horizon of its own: beyond some budget only not every epoch is bracketed, and it says so.
    far = plan(SHIPPED, 64e6, horizon=1e15)
    assert far.horizon == 1e15
    assert any("within every epoch" in text for text in far.warnings)
    near = plan(SHIPPED, 64e6)
    assert near.warnings == ()
    mine = [crossing.samples_seen for crossing in far.crossovers][: len(near.crossovers)]
    np.testing.assert_allclose(mine, [crossing.samples_seen for crossing in near.crossovers], rtol=1e-12)


def test_many_epochs_of_a_small_pool_do_not_end_the_search():
    pools = Pools.of({"tiny": 1e3, "big": 1e9})
    params = UtilityParams(
        scale=1e3,
        floor=0.05,
        utility=np.array([-0.2, -0.1]),
        half_life=np.array([3.0, 3.0]),
        reference_size=pools.sizes,
    )
    answer = plan(FittedLaw(utility, params, pools), 1e10, target_error=0.3)
    _, best, _, seen, mix_seen = reached(answer)
    assert best.name == "all pools"
    assert 1e3 < mix_seen <= seen < 1e10
    assert answer.horizon == 1e12
    assert any("within every epoch" in text for text in answer.warnings)
    # The step that is best at the asked budget is there.
    assert answer.frontier[-1].option == answer.rows[0].best.name


@pytest.mark.slow
def test_a_law_that_scans_is_planned_for_many_epochs_in_bounded_work():
    fitted = dataclasses.replace(SHIPPED, law=effective_data)
    answer = plan(fitted, [32e6, 2e11], target_error=0.64)
    near, far = answer.rows
    assert near.mix_searched
    assert not far.mix_searched
    assert not any("no mix searched" in text for text in near.warnings)
    assert any("no mix searched: 15.6k epochs" in text for text in far.warnings)
    assert far.mix.error <= min(option.error for option in far.options)
    assert answer.horizon == 2e11
    assert any("beyond 6.554B samples" in text for text in answer.warnings)
    assert "no mix searched" in str(answer)
    _, best, _, seen, _ = reached(answer)
    assert float(fitted.predict(list(best.weights.values()), seen)) == pytest.approx(0.64, abs=1e-9)
    # Beside another law it is said as well.
    beside = plan(SHIPPED, 2e11, reference_laws={"other": fitted})
    assert beside.rows[0].mix_searched
    assert "at 200B: no mix searched (too many epochs to scan)" in " ".join(str(beside).split())
    # The steps before are those of a search that ends early.
    early = plan(fitted, 32e6, horizon=6e9).crossovers
    late = [crossing.samples_seen for crossing in answer.crossovers]
    np.testing.assert_allclose(late[: len(early)], [crossing.samples_seen for crossing in early], rtol=1e-9)


def test_new_budgets_do_not_compile():
    plan(SHIPPED, [64e6, 128e6, 640e6], target_error=0.7)
    compiled = _compiled(jax.default_backend())._cache_size()  # type: ignore[attr-defined]
    plan(SHIPPED, [65e6, 2e9], target_error=0.68)
    assert _compiled(jax.default_backend())._cache_size() == compiled  # type: ignore[attr-defined]


def reached(answer: Plan):
    target = answer.target
    assert target is not None
    assert target.best is not None
    assert target.mix is not None
    assert target.samples_seen is not None
    assert target.mix_samples_seen is not None
    return target, target.best, target.mix, target.samples_seen, target.mix_samples_seen


@pytest.mark.parametrize("error", [0.9, 0.772753, 0.7, 0.65, 0.62])
def test_the_inverse_reaches_the_target_exactly(error: float):
    _, best, mix, seen, mix_seen = reached(plan(SHIPPED, 640e6, target_error=error))
    assert float(SHIPPED.predict(list(best.weights.values()), seen)) == pytest.approx(error, abs=1e-9)
    assert float(SHIPPED.predict(list(mix.weights.values()), mix_seen)) == pytest.approx(error, abs=1e-9)
    assert mix_seen <= seen * (1 + 1e-9)
    # No filter reaches it with 0.1 % less, and neither does the best mix with 0.1 % less than its own budget.
    less = plan(SHIPPED, [seen * 0.999, mix_seen * 0.999])
    assert less.rows[0].best.error > error
    assert less.rows[1].mix.error > error


def test_the_inverse_prices_its_answer():
    answer = plan(SHIPPED, target_error=0.7, flops_per_sample=2e9)
    target, _, _, seen, _ = reached(answer)
    assert target.flops == pytest.approx(2e9 * seen)
    assert answer.rows == ()
    assert "FLOPs" in str(answer)


def test_the_inverse_says_so_where_nothing_reaches_the_target():
    answer = plan(SHIPPED, 640e6, target_error=0.3)
    target = answer.target
    assert target is not None
    assert target.best is None
    assert target.mix is None
    assert target.samples_seen is None
    assert target.floor == 0.1
    at_horizon = plan(SHIPPED, target.horizon).rows[0]
    assert target.limit == pytest.approx(min(at_horizon.best.error, at_horizon.mix.error), abs=1e-7)
    assert target.limit > 0.3
    assert "nothing reaches it within 64B" in " ".join(str(answer).split())


def test_a_target_that_only_a_mix_reaches():
    horizon = 2e9
    at_horizon = plan(SHIPPED, horizon).rows[0]
    between = (at_horizon.best.error + at_horizon.mix.error) / 2
    target = plan(SHIPPED, horizon, target_error=between, horizon=horizon).target
    assert target is not None
    assert target.best is None
    assert target.mix is not None
    assert target.mix.error == pytest.approx(between, abs=1e-9)
