"""The best mix for any law under any constraints: against the global optimum, grids, planted minima and limits."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optax import projections

from qqtjax.errors import InputError
from qqtjax.laws import (
    EffectiveSamplesParams,
    FittedLaw,
    Law,
    UtilityParams,
    effective_data,
    effective_samples,
    released_utility,
    utility,
)
from qqtjax.mix import combined as combined_module
from qqtjax.mix import subgradient
from qqtjax.mix.combined import combine, objective
from qqtjax.mix.constraints import Constraints, Group
from qqtjax.mix.descent import GLOBAL, LOCAL, descend
from qqtjax.mix.emptiness import is_empty
from qqtjax.mix.feasible import violation
from qqtjax.mix.separable import utility_terms
from qqtjax.mix.stationarity import box_fall, residual
from qqtjax.mix.water_filling import water_fill
from qqtjax.runs import Pools, Run

SIZES = {"a": 2e6, "b": 5e6, "c": 3e7}
BUDGET = 6e7
THREE = FittedLaw(
    utility,
    UtilityParams(
        scale=1e6,
        floor=0.1,
        utility=np.array([-0.25, -0.2, -0.12]),
        half_life=np.array([6.0, 4.0, 8.0]),
        reference_size=np.array([2e6, 5e6, 3e7]),
    ),
    Pools.of(SIZES),
)
SAMPLES = FittedLaw(
    effective_samples,
    EffectiveSamplesParams(
        scale=np.array([1e4, 2e4, 6e4]), floor=0.1, exponent=0.3, saturation=np.array([3.0, 5.0, 8.0])
    ),
    Pools.of(SIZES),
)
LAWS = {
    "decay_shape": THREE.with_params(decay_shape=1.7),
    "dilution": THREE.with_params(dilution=2.5),
    "released_utility": dataclasses.replace(THREE, law=released_utility),
    "effective_data": dataclasses.replace(THREE, law=effective_data),
    "effective_samples": SAMPLES,
}
REFERENCE = {"a": 0.1, "b": 0.2, "c": 0.7}
ASKED: dict[str, dict[str, Any]] = {
    "bounds": {"caps": {"a": 0.2}, "minimums": {"c": 0.3}},
    "max_epochs": {"max_epochs": 8},
    "group": {"groups": {"best": Group(("a", "b"), 0.2, 0.45)}},
    "exact group": {"groups": {"ends": Group(("a", "c"), 0.6, 0.6)}},
    "cost": {"cost": {"a": 3.0, "b": 1.0}, "max_cost": 0.6 * BUDGET},
    "max_kl": {"reference": REFERENCE, "max_kl": 0.05},
    "max_l1": {"reference": REFERENCE, "max_l1": 0.3},
    "min_pools": {"min_pools": 2.9},
    "kl_penalty": {"reference": REFERENCE, "kl_penalty": 0.03},
    "l1_penalty": {"reference": REFERENCE, "l1_penalty": 0.05},
    "all": {
        "reference": REFERENCE,
        "max_kl": 0.1,
        "max_l1": 0.35,
        "min_pools": 2.2,
        "kl_penalty": 0.003,
        "l1_penalty": 0.002,
        "groups": {"best": Group(("a", "b"), 0.1, 0.42)},
        "cost": {"a": 3.0, "b": 1.0},
        "max_cost": 0.7 * BUDGET,
    },
}


def grid(steps: int = 120) -> np.ndarray:
    """`[M, 3]` mixes."""
    return np.array([(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]) / steps


def penalised(fitted: FittedLaw, ask: dict[str, Any], points: np.ndarray) -> np.ndarray:
    """`[M]` predicted errors and penalties, from the words of the constraints."""
    found = fitted.predict(points, BUDGET)
    if "reference" in ask:
        shares = np.array([REFERENCE[name] for name in SIZES])
        logs = np.log(np.where(points > 0, points, 1.0) / shares)
        found = found + ask.get("kl_penalty", 0.0) * np.sum(points * logs, axis=1)
        found = found + ask.get("l1_penalty", 0.0) * np.sum(np.abs(points - shares), axis=1)
    return found


def random_problem(rng: np.random.Generator, width: int) -> tuple[FittedLaw, float]:
    sizes = 10 ** rng.uniform(5.5, 8, width)
    params = UtilityParams(
        scale=10 ** rng.uniform(5, 7),
        floor=rng.uniform(0, 0.3),
        utility=-rng.uniform(0.03, 0.4, width),
        half_life=10 ** rng.uniform(-0.3, 1.5, width),
        reference_size=sizes * 10 ** rng.uniform(-0.5, 0.5, width),
        dilution=rng.choice([0.0, 0.3, 1.0]),
    )
    pools = Pools.of({f"p{number}": size for number, size in enumerate(sizes)})
    return FittedLaw(utility, params, pools), float(10 ** rng.uniform(7, 10))


fill = jax.jit(water_fill)


def global_error(fitted: FittedLaw, budget: float, low: np.ndarray, high: np.ndarray) -> float:
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), fitted.params)
        terms = utility_terms(params, jnp.asarray(fitted.pools.sizes), jnp.asarray(budget))
        weights = np.asarray(fill(terms, jnp.asarray(low), jnp.asarray(high)).weights)
    return float(fitted.predict(weights, budget))


def check_against_water_filling(rng: np.random.Generator, width: int, count: int) -> None:
    for number in range(count):
        fitted, budget = random_problem(rng, width)
        caps = {} if number % 2 else dict.fromkeys(fitted.pools.names, float(rng.uniform(1.2, 3) / width))
        caps = {name: min(1.0, cap) for name, cap in caps.items()}
        feasible = Constraints(caps=caps or None).bind(fitted.pools, budget)
        found = descend(fitted, budget, feasible, seed=number)
        excess = found.error - global_error(fitted, budget, feasible.low, feasible.high)
        assert abs(excess) <= 1e-10
        assert excess - 1e-13 <= found.residual <= 1e-8
        assert found.proof == GLOBAL
        assert violation(feasible, found.weights) <= 1e-12


def test_the_global_optimum_of_the_utility_law_is_reached(rng: np.random.Generator):
    check_against_water_filling(rng, 3, 20)


@pytest.mark.slow
@pytest.mark.parametrize("width", [2, 4, 8, 16])
def test_the_global_optimum_is_reached_at_any_width(width: int, rng: np.random.Generator):
    check_against_water_filling(rng, width, 30)


@pytest.mark.parametrize("name", LAWS)
def test_no_point_of_a_grid_is_better_for_any_law(name: str):
    fitted = LAWS[name]
    found = descend(fitted, BUDGET, Constraints().bind(fitted.pools, BUDGET))
    errors = fitted.predict(grid(), BUDGET)
    assert found.error <= errors.min() + 1e-11
    assert errors.min() - found.error < 2e-3  # and the grid has a point near it
    assert abs(found.error - float(fitted.predict(found.weights, BUDGET))) <= 1e-14
    assert found.residual <= 1e-8
    assert found.proof == (GLOBAL if name == "effective_samples" else LOCAL)
    assert (found.searched, found.starts) == (True, 8)
    assert found.starts_agreeing >= 1


@pytest.mark.parametrize("kind", ASKED)
def test_constraints_are_met_and_no_feasible_point_of_a_grid_is_better(kind: str):
    ask = ASKED[kind]
    feasible = Constraints(**ask).bind(THREE.pools, BUDGET)
    found = descend(THREE, BUDGET, feasible)
    assert violation(feasible, found.weights) <= 1e-9
    points = grid()
    points = points[[violation(feasible, each) <= 1e-12 for each in points]]
    assert len(points) > 20
    values = penalised(THREE, ask, points)
    assert found.objective <= values.min() + 1e-11
    assert values.min() - found.objective < 5e-3
    assert abs(found.objective - penalised(THREE, ask, found.weights[None])[0]) <= 1e-13
    assert abs(found.error - float(THREE.predict(found.weights, BUDGET))) <= 1e-14
    assert found.residual <= 1e-8
    assert found.proof == GLOBAL
    # The constraint matters: without it the error is lower.
    assert found.error > descend(THREE, BUDGET, Constraints().bind(THREE.pools, BUDGET)).error + 1e-5


@pytest.mark.parametrize("kind", ["none", "group", "max_kl", "max_l1", "min_pools", "kl_penalty", "l1_penalty", "all"])
@pytest.mark.parametrize("fitted", [THREE, SAMPLES], ids=lambda each: each.law.name)
def test_the_residual_bounds_what_any_feasible_mix_gains(kind: str, fitted: FittedLaw, rng: np.random.Generator):
    feasible = Constraints(**ASKED.get(kind, {})).bind(fitted.pools, BUDGET)
    judged = combine([fitted], BUDGET, feasible, None, False, None)
    points = np.concatenate([grid(60), rng.dirichlet(np.ones(3), 3000)])
    points = points[[violation(feasible, each) <= 1e-12 for each in points]]
    best = descend(fitted, BUDGET, feasible)
    others = np.concatenate([points, best.weights[None]])
    least = objective(judged, others).min()
    # On and off kinks (grid points with whole epochs of pool a are among them), at corners and inside.
    for point in np.concatenate([points[:: max(1, len(points) // 12)], points[-3:]]):
        gain = float(objective(judged, point[None])[0]) - least
        assert gain - 1e-10 <= residual(judged, feasible, point)


def test_the_residual_is_what_a_small_box_allows():
    # In a box of 2e-4 around a point the error is a line to 1e-3 of its fall, so that the bound is attained.
    middle = np.array([0.31, 0.42, 0.27])
    bounds = {name: (share - 1e-4, share + 1e-4) for name, share in zip(SIZES, middle, strict=True)}
    feasible = Constraints(bounds=bounds).bind(THREE.pools, BUDGET)
    judged = combine([THREE], BUDGET, feasible, None, False, None)
    gain = float(objective(judged, middle[None])[0]) - descend(THREE, BUDGET, feasible).error
    assert gain > 1e-6
    np.testing.assert_allclose(residual(judged, feasible, middle), gain, rtol=5e-3)


def test_the_certificate_closes_on_kinks():
    # 12 epochs of a and 4 of b, where the slopes on both sides differ: a one-sided gradient would not vanish.
    point = np.array([12 * 2e6, 4 * 5e6, 16e6]) / BUDGET
    feasible = Constraints().bind(THREE.pools, BUDGET)
    judged = combine([THREE], BUDGET, feasible, None, False, None)
    local = combined_module.look(judged, point)
    assert local.kink.tolist() == [True, True, False]
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, THREE.params)
        excess = float(THREE.predict(point, BUDGET)) - 0.1
        aside = 1e-7

        def slope(pool: int, away: float) -> float:
            moved = [point + np.eye(3)[pool] * away * times for times in (1, 2)]
            runs = [Run(weights=each, sizes=THREE.pools.sizes, samples_seen=BUDGET) for each in moved]
            first, second = (float(utility(params, run)) - 0.1 for run in runs)
            return (4 * first - second - 3 * excess) / (2 * away)

        for pool in range(2):
            np.testing.assert_allclose(local.left[0, pool], slope(pool, -aside), atol=1e-7)
            np.testing.assert_allclose(local.right[0, pool], slope(pool, aside), atol=1e-7)
    assert np.all(local.right[0, :2] > local.left[0, :2] + 1e-6)


def test_the_fall_within_a_box_is_that_of_brute_force(rng: np.random.Generator):
    from scipy.optimize import linprog

    for width in (1, 2, 5, 9):
        left = rng.normal(size=width)
        right = left + np.where(rng.random(width) < 0.5, 0.0, rng.exponential(size=width))
        point = rng.dirichlet(np.ones(width))
        low, high = point * rng.uniform(0, 1, width), np.minimum(1, point * rng.uniform(1, 3, width))
        room = np.concatenate([high - point, point - low])
        best = linprog(
            np.concatenate([right, -left]),
            A_eq=np.concatenate([np.ones(width), -np.ones(width)])[None],
            b_eq=[0],
            bounds=np.column_stack([np.zeros(2 * width), room]),
        )
        np.testing.assert_allclose(box_fall(left, right, point, low, high)[0], -best.fun, atol=1e-12)


@dataclasses.dataclass(frozen=True)
class Wells:
    """Of a user's law: where its two wells lie and how deep they are."""

    places: np.ndarray
    depths: np.ndarray


jax.tree_util.register_dataclass(Wells, ["places", "depths"], [])


def wells_law(params: Wells, run: Run, max_epochs: int | None = None) -> jax.Array:
    away = jnp.sum((jnp.asarray(run.weights) - params.places) ** 2, axis=1)
    return 1.0 - jnp.sum(params.depths * jnp.exp(-away / 0.05))


WELLS = Law("wells", wells_law, Wells, lambda runs: {}, (), lambda params: False, lambda params: False, {})


@pytest.mark.parametrize("kind", ["none", "group"])
def test_the_deeper_of_two_planted_minima_is_found(kind: str):
    places = np.array([[0.75, 0.15, 0.1], [0.1, 0.7, 0.2]])
    fitted = FittedLaw(WELLS, Wells(places, np.array([0.3, 0.32])), Pools.of(SIZES))
    ask = {"groups": {"best": Group(("a", "b"), 0.5, 1.0)}} if kind == "group" else {}
    feasible = Constraints(**ask).bind(fitted.pools, BUDGET)
    # Started in the shallow one, which holds a local search.
    found = descend(fitted, BUDGET, feasible, starts=places[:1])
    np.testing.assert_allclose(found.weights, places[1], atol=1e-4)
    assert found.proof == LOCAL
    assert 1 <= found.starts_agreeing < found.starts == 9
    judged = combine([fitted], BUDGET, feasible, None, False, None)
    assert residual(judged, feasible, found.weights) < 1e-9 < 1e-3 < residual(judged, feasible, np.full(3, 1 / 3))


@pytest.mark.parametrize(("budget", "searched"), [(4e9, True), (1e12, False)])  # 2,000 and 500,000 epochs of pool a
def test_never_worse_than_a_feasible_start_however_much_is_searched(budget: float, searched: bool):
    fitted = LAWS["decay_shape"]
    feasible = Constraints(caps={"b": 0.5}).bind(fitted.pools, budget)
    starts = np.array([[0.06, 0.14, 0.8], [0.0, 0.5, 0.5]])
    found = descend(fitted, budget, feasible, starts=starts)
    assert found.searched == searched
    assert found.error <= fitted.predict(starts, budget).min()
    assert violation(feasible, found.weights) <= 1e-9
    assert np.isfinite(found.residual)
    if searched:
        points = grid(40)
        points = points[points[:, 1] <= 0.5]
        assert found.error <= fitted.predict(points, budget).min() + 1e-11
        assert found.residual <= 1e-8


@pytest.mark.parametrize("worst_case", [False, True])
@pytest.mark.parametrize("kind", ["none", "max_kl"])
def test_several_laws_are_one_objective(worst_case: bool, kind: str):
    other = THREE.with_params(utility=np.array([-0.1, -0.2, -0.24]), floor=0.15)
    feasible = Constraints(**ASKED.get(kind, {})).bind(THREE.pools, BUDGET)
    found = descend([THREE, other], BUDGET, feasible, metric_weights=[1.0, 0.9], worst_case=worst_case)
    points = grid()
    points = points[[violation(feasible, each) <= 1e-12 for each in points]]

    def judged(weights: np.ndarray) -> np.ndarray:
        both = np.stack([THREE.predict(weights, BUDGET), 0.9 * other.predict(weights, BUDGET)])
        return both.max(0) if worst_case else both.sum(0)

    assert found.error <= judged(points).min() + 1e-11
    assert judged(points).min() - found.error < 5e-3
    assert abs(found.error - judged(found.weights[None])[0]) <= 1e-14
    assert found.residual <= 1e-8
    assert found.proof == GLOBAL
    if worst_case and kind == "none":  # neither alone decides
        both = [float(THREE.predict(found.weights, BUDGET)), 0.9 * float(other.predict(found.weights, BUDGET))]
        np.testing.assert_allclose(both[0], both[1], rtol=1e-9)


def test_a_pool_that_is_worn_out_gets_less():
    law, before = THREE.with_params(dilution=0.0), np.array([2e7, 0.0, 0.0])
    feasible = Constraints().bind(law.pools, BUDGET, seen_before=before)
    fresh = descend(law, BUDGET, Constraints().bind(law.pools, BUDGET))
    worn = descend(law, BUDGET, feasible, seen_before=before)
    assert worn.weights[0] < fresh.weights[0] - 0.05
    errors = law.predict(grid(), BUDGET, seen_before=before)
    assert worn.error <= errors.min() + 1e-11
    assert errors.min() - worn.error < 2e-3
    assert worn.residual <= 1e-8
    assert (fresh.proof, worn.proof) == (GLOBAL, GLOBAL)
    # With dilution it is not proved once something was seen before.
    assert descend(THREE, BUDGET, feasible, seen_before=before).proof == LOCAL


def test_same_seed_same_bytes_and_other_numbers_do_not_compile():
    feasible = Constraints(**ASKED["max_kl"]).bind(THREE.pools, BUDGET)
    for each in (Constraints().bind(THREE.pools, BUDGET), feasible):
        first, again = (descend(THREE, BUDGET, each, seed=3) for _ in range(2))
        assert first.weights.tobytes() == again.weights.tobytes()
        assert first[1:] == again[1:]
    programs = (subgradient._search, combined_module._errors_and_slopes)
    compiled = [each._cache_size() for each in programs]  # type: ignore[attr-defined]
    for budget in (5e7, 9e8):
        for ask in ({}, {"caps": {"a": 0.3}}, ASKED["group"], ASKED["kl_penalty"]):
            descend(THREE, budget, Constraints(**ask).bind(THREE.pools, budget))
    assert [each._cache_size() for each in programs] == compiled  # type: ignore[attr-defined]


def test_the_projection_is_the_nearest_point(rng: np.random.Generator, x64: None):
    project = jax.jit(subgradient.project)
    for width in (1, 2, 7):
        for _ in range(20):
            at = rng.normal(size=width)
            low = rng.dirichlet(np.ones(width)) * rng.uniform(0, 1)
            high = low + rng.dirichlet(np.ones(width)) * (1 - low.sum()) * rng.uniform(1, 4)
            found = np.asarray(project(jnp.asarray(at), jnp.asarray(low), jnp.asarray(high)))
            ends = np.min(at - high) - 1, np.max(at - low) + 1
            for _ in range(200):
                middle = 0.5 * sum(ends)
                much = np.clip(at - middle, low, high).sum() > 1
                ends = (middle, ends[1]) if much else (ends[0], middle)
            np.testing.assert_allclose(found, np.clip(at - ends[0], low, high), atol=1e-13)
            plain = project(jnp.asarray(at), jnp.zeros(width), jnp.ones(width))
            np.testing.assert_allclose(plain, projections.projection_simplex(jnp.asarray(at)), atol=1e-13)


def test_one_pool_unknown_sizes_and_fixed_shares():
    alone = FittedLaw(
        utility,
        UtilityParams(
            scale=1e6, floor=0.0, utility=np.array([-0.1]), half_life=np.array([2.0]), reference_size=np.array([1e6])
        ),
        Pools.of({"only": 1e6}),
    )
    assert descend(alone, 1e7, Constraints().bind(alone.pools, 1e7)).weights.tolist() == [1.0]
    endless = THREE.with_params(reference_size=np.array([2e6, 5e6, np.inf]))
    endless = dataclasses.replace(endless, pools=Pools.of({"a": 2e6, "b": 5e6, "c": np.inf}))
    found = descend(endless, 1e9, Constraints().bind(endless.pools, 1e9))
    assert found.residual <= 1e-8
    assert found.weights[2] > 0.5
    fixed = Constraints(fixed={"a": 0.25, "b": 0.5, "c": 0.25}).bind(THREE.pools, BUDGET)
    held = descend(THREE, BUDGET, fixed)
    np.testing.assert_allclose(held.weights, [0.25, 0.5, 0.25], atol=1e-15)
    assert held.residual == 0


def test_what_does_not_fit_together_is_refused():
    feasible = Constraints().bind(THREE.pools, BUDGET)
    with pytest.raises(InputError, match="bound to other pools or another budget"):
        descend(THREE, 2 * BUDGET, feasible)
    with pytest.raises(InputError, match="different pools"):
        descend([THREE, THREE.with_sizes({"a": 3e6})], BUDGET, feasible)
    with pytest.raises(InputError, match="metric weights"):
        descend([THREE, THREE], BUDGET, feasible, metric_weights=[1.0, -1.0])
    with pytest.raises(InputError, match="no laws"):
        descend([], BUDGET, feasible)
    with pytest.raises(InputError, match=r"starts of shape \(2,\): expected \[S, 3\]"):
        descend(THREE, BUDGET, feasible, starts=[0.5, 0.5])
    with pytest.raises(InputError, match="seen before"):
        descend(THREE, BUDGET, feasible, seen_before=np.array([1.0, -1.0, 0.0]))
    with pytest.raises(InputError, match="does not know seen_before"):
        descend(LAWS["effective_data"], BUDGET, feasible, seen_before=np.ones(3))
    with pytest.raises(InputError, match="max_epochs 1 of"):
        descend(THREE, BUDGET, Constraints(max_epochs=1).bind(THREE.pools, BUDGET))


@pytest.mark.slow
@pytest.mark.parametrize(("width", "worst_case"), [(3, False), (5, False), (9, False), (3, True), (6, True)])
def test_random_constraints_are_met_with_small_residuals(width: int, worst_case: bool, rng: np.random.Generator):
    done = 0
    while done < 12:
        fitted, budget = random_problem(rng, width)
        laws = [fitted]
        if worst_case:
            others = [random_problem(rng, width)[0].params for _ in range(2)]
            laws += [dataclasses.replace(fitted, params=each) for each in others]
        names, chosen = fitted.pools.names, rng.random(7) < 0.35
        ask: dict[str, Any] = {}
        if chosen[0]:
            ask["groups"] = {"g": Group(names[: width // 2], 0, float(rng.uniform(0.2, 0.8)))}
        if chosen[1]:
            ask |= {"cost": dict(zip(names, rng.uniform(0, 1, width), strict=True)), "max_cost": budget * 0.4}
        for name, number in zip(("max_kl", "max_l1", "kl_penalty", "l1_penalty"), range(2, 6), strict=True):
            if chosen[number]:
                ask |= {name: 10 ** rng.uniform(-3, -0.5), "reference": rng.dirichlet(np.ones(width))}
        if chosen[6]:
            ask["min_pools"] = float(rng.uniform(1, width))
        feasible = Constraints(**ask).bind(fitted.pools, budget)
        if is_empty(feasible):
            continue
        done += 1
        found = descend(laws, budget, feasible, worst_case=worst_case)
        assert violation(feasible, found.weights) <= 1e-9, ask
        assert found.residual <= 1e-6, ask
        judged = combine(laws, budget, feasible, None, worst_case, None)
        tried = rng.dirichlet(np.ones(width), 200)
        tried = np.array([each for each in tried if violation(feasible, each) <= 1e-12] or [found.weights])
        assert found.objective <= objective(judged, tried).min() + 1e-12
