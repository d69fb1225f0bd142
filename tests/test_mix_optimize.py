"""`optimize_mix` as a user calls it: constraints and metrics against SciPy, batches, certificates, bad input."""

from __future__ import annotations

import dataclasses
import json
import warnings
from typing import Any

import jax
import numpy as np
import pytest
from scipy.optimize import minimize

import qqtjax as qqt
from qqtjax import laws
from qqtjax.errors import InputError, QQTWarning
from qqtjax.laws import EffectiveSamplesParams, FittedLaw, PowerParams, UtilityParams
from qqtjax.mix import Group, Mix, optimize_mix
from qqtjax.mix.constraints import Constraints
from qqtjax.mix.feasible import Feasible, violation
from qqtjax.mix.many import _filled_each, _filled_in_turn
from qqtjax.runs import Pools, Run

PAPER = qqt.published("datacomp-tmars")
UTILITY = PAPER.utility
NAMES = UTILITY.pools.names
POOLS = 5


def random_law(rng: np.random.Generator, **changes: Any) -> FittedLaw:
    sizes = 10 ** rng.uniform(5, 8, POOLS)
    params = UtilityParams(
        scale=1e6,
        floor=0.1,
        utility=-0.15 * (1 + 0.15 * rng.uniform(-1, 1, POOLS)),
        half_life=10 ** rng.uniform(-0.3, 2, POOLS),
        reference_size=sizes,
        dilution=rng.choice([0.0, 0.6, 1.0]),
    )
    pools = Pools.of({f"p{place}": size for place, size in enumerate(sizes)})
    return FittedLaw(laws.utility, dataclasses.replace(params, **changes), pools)


def random_constraints(kind: str, rng: np.random.Generator, fitted: FittedLaw, budget: float) -> dict[str, Any]:
    names, reference = fitted.pools.names, rng.dirichlet(np.full(POOLS, 3.0))
    free = np.sort(optimize_mix(fitted, budget).weights)[::-1]
    largest = names[int(np.argmax(optimize_mix(fitted, budget).weights))]
    return {
        "groups": {"groups": {"a": Group((largest, names[0]), high=0.9 * free[0]), "b": Group(names[1:4], low=0.3)}},
        "cost": {"cost": dict(zip(names, rng.uniform(0.2, 1, POOLS), strict=True)), "max_cost": 0.6 * budget},
        "kl": {"reference": reference, "max_kl": 0.05},
        "l1": {"reference": reference, "max_l1": 0.2},
        "diversity": {"min_pools": 3.7},
        "kl penalty": {"reference": reference, "kl_penalty": 0.02},
        "l1 penalty": {"reference": reference, "l1_penalty": 0.005},
        "several": {
            "caps": {largest: 0.8 * free[0]},
            "groups": {"a": Group(names[:3], high=0.8)},
            "reference": reference,
            "max_l1": 0.9,
            "min_pools": 2.5,
            "max_epochs": 30 * budget / fitted.pools.sizes.sum(),
        },
    }[kind]


def scipy_best(fitteds: list[FittedLaw], factors: np.ndarray | None, feasible: Feasible, budget: float, rng) -> float:
    """The least objective that SLSQP finds from 12 starts; split variables for sums of absolute values."""
    count = len(feasible.low)
    sizes = fitteds[0].pools.sizes

    @jax.jit
    def errors(weights: Any) -> Any:
        run = Run(weights=weights, sizes=sizes, samples_seen=budget)
        return jax.numpy.stack([each.law(each.params, run) for each in fitteds])

    slopes = jax.jit(jax.jacobian(errors))
    kl, l1 = feasible.kl_penalty, feasible.l1_penalty
    distance = feasible.l1 or l1
    reference = np.zeros(count) if distance is None else distance[0]

    def spread(x: np.ndarray, reference: np.ndarray) -> float:
        weights = np.maximum(x[:count], 1e-12)
        return float(np.sum(weights * np.log(weights / reference)))

    # Variables: weights, |w - ref| and the worst error.
    def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        return np.maximum(x[:count], 0), x[count : 2 * count], x[-1]

    def cost(x: np.ndarray) -> float:
        weights, away, worst = parts(x)
        total = worst if factors is None else float(factors @ np.asarray(errors(weights)))
        if kl is not None:
            total += kl[1] * float(np.sum(weights * np.log(np.maximum(weights, 1e-300) / kl[0])))
        return total + (l1[1] * away.sum() if l1 is not None else 0.0)

    def slope(x: np.ndarray) -> np.ndarray:
        weights = parts(x)[0]
        found = np.zeros_like(x)
        if factors is None:
            found[-1] = 1.0
        else:
            found[:count] = factors @ np.asarray(slopes(weights))
        if kl is not None:
            found[:count] += kl[1] * (np.log(np.maximum(weights, 1e-12) / kl[0]) + 1)
        if l1 is not None:
            found[count : 2 * count] += l1[1]
        return found

    limits: list[dict[str, Any]] = [{"type": "eq", "fun": lambda x: x[:count].sum() - 1}]
    limits.append({"type": "ineq", "fun": lambda x: x[count : 2 * count] - (x[:count] - reference)})
    limits.append({"type": "ineq", "fun": lambda x: x[count : 2 * count] + (x[:count] - reference)})
    for row, low, high in zip(feasible.rows, feasible.row_low, feasible.row_high, strict=True):
        if np.isfinite(low):
            limits.append({"type": "ineq", "fun": lambda x, row=row, low=low: row @ x[:count] - low})
        if np.isfinite(high):
            limits.append({"type": "ineq", "fun": lambda x, row=row, high=high: high - row @ x[:count]})
    for each in feasible.entropies:
        limits.append({"type": "ineq", "fun": lambda x, each=each: each.most - spread(x, each.reference)})
    if feasible.l1:
        limits.append({"type": "ineq", "fun": lambda x, most=feasible.l1[1]: most - x[count : 2 * count].sum()})
    if factors is None:
        limits.append({"type": "ineq", "fun": lambda x: x[-1] - np.asarray(errors(parts(x)[0]))})
    bounds = [*zip(feasible.low, feasible.high, strict=True), *[(0, 1)] * count, (0, 10)]
    best = np.inf
    for begin in [np.full(count, 1 / count), reference, *rng.dirichlet(np.ones(count), 10)]:
        x = np.concatenate([begin, np.abs(begin - reference), [1.0]])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = minimize(
                cost, x, jac=slope, method="SLSQP", bounds=bounds, constraints=limits, options={"maxiter": 300}
            ).x
        weights = np.clip(found[:count], feasible.low, feasible.high)
        if violation(feasible, weights) < 1e-10:
            exact = np.concatenate([weights, np.abs(weights - reference), [0.0]])
            exact[-1] = np.max(np.asarray(errors(weights)))
            best = min(best, cost(exact))
    return best


KINDS = ["groups", "cost", "kl", "l1", "diversity", "kl penalty", "l1 penalty", "several"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_weights_of_scipy_s_are_better_under_constraints(x64, rng, kind):
    for _ in range(3):
        fitted = random_law(rng)
        budget = float(fitted.pools.sizes.sum() * rng.uniform(2, 20))
        asked = random_constraints(kind, rng, fitted, budget)
        mix = optimize_mix(fitted, budget, **asked)
        feasible = Constraints(**asked).bind(fitted.pools, budget)
        assert violation(feasible, mix.weights) <= 1e-9
        assert mix.certificate.gap <= 1e-9
        assert mix.certificate.proof == "global"
        other = scipy_best([fitted], np.ones(1), feasible, budget, rng)
        assert mix.objective <= other + 1e-9
        # And the bound is one: nobody's weights get below it.
        assert other >= mix.objective - mix.certificate.gap - 1e-12


@pytest.mark.parametrize("worst", [False, True])
def test_several_metrics(x64, rng, worst):
    fitted = random_law(rng)
    swapped = np.array(fitted.params.utility)[::-1].copy()
    other = fitted.with_params(utility=swapped, floor=0.15)
    budget = float(fitted.pools.sizes.sum() * 5)
    asked: dict[str, Any] = {"worst_case": True} if worst else {"metric_weights": {"a": 2.0, "b": 0.5}}
    mix = optimize_mix({"a": fitted, "b": other}, budget, max_epochs=60, **asked)
    feasible = Constraints(max_epochs=60).bind(fitted.pools, budget)
    factors = None if worst else np.array([2.0, 0.5])
    assert mix.certificate.gap <= 1e-9
    assert mix.objective <= scipy_best([fitted, other], factors, feasible, budget, rng) + 1e-9
    each = [float(law.predict(mix.weights, budget)) for law in (fitted, other)]
    assert mix.errors == pytest.approx({"a": each[0], "b": each[1]}, rel=1e-12)
    assert mix.error == pytest.approx(max(each) if worst else factors @ each, rel=1e-12)


def test_a_floor_for_each_pool_is_convex_too(x64, rng):
    fitted = random_law(rng, floor=rng.uniform(0.05, 0.2, POOLS))
    budget = float(fitted.pools.sizes.sum() * 5)
    mix = optimize_mix(fitted, budget)
    feasible = Constraints().bind(fitted.pools, budget)
    assert mix.certificate.proof == "global"
    assert mix.certificate.gap <= 1e-9
    assert mix.error <= scipy_best([fitted], np.ones(1), feasible, budget, rng) + 1e-9


@pytest.mark.parametrize(
    ("asked", "weights"),
    [
        ({"fixed": dict.fromkeys(NAMES, 0.25)}, [0.25] * 4),
        ({"min_pools": 4}, [0.25] * 4),
        ({"reference": [0.1, 0.2, 0.3, 0.4], "max_l1": 0.0}, [0.1, 0.2, 0.3, 0.4]),
        ({"reference": [0.1, 0.2, 0.3, 0.4], "max_kl": 0.0}, [0.1, 0.2, 0.3, 0.4]),
        ({"reference": [0.4, 0.6, 0.0, 0.0], "max_kl": 1e-9, "caps": {NAMES[0]: 0.4}}, [0.4, 0.6, 0, 0]),
        ({"groups": {"all but one": Group(NAMES[1:], high=0.0)}}, [1, 0, 0, 0]),
    ],
)
def test_constraints_that_leave_one_mix(asked, weights):
    mix = optimize_mix(UTILITY, 640e6, **asked)
    np.testing.assert_allclose(mix.weights, weights, atol=3e-5)


def test_more_constraints_never_help_and_order_does_not_matter(rng):
    for _ in range(5):
        fitted = random_law(rng)
        budget = float(fitted.pools.sizes.sum() * rng.uniform(2, 20))
        free = optimize_mix(fitted, budget)
        capped = optimize_mix(fitted, budget, caps={"p0": 0.2, "p1": 0.3})
        tight = optimize_mix(fitted, budget, caps={"p0": 0.2, "p1": 0.3}, groups={"g": Group(("p2", "p3"), high=0.3)})
        assert free.error <= capped.error + 1e-12
        assert capped.error <= tight.error + 1e-12
        order = rng.permutation(POOLS)
        params = jax.tree.map(lambda leaf, order=order: leaf[order] if np.ndim(leaf) else leaf, fitted.params)
        pools = Pools.of({fitted.pools.names[i]: fitted.pools.sizes[i] for i in order})
        np.testing.assert_allclose(
            optimize_mix(FittedLaw(laws.utility, params, pools), budget).weights, free.weights[order], atol=1e-7
        )


@pytest.mark.parametrize("dilution", [0.0, 1.0])
def test_a_pool_split_in_two_changes_nothing(dilution):
    """Half the samples each, with the half-life of the whole: reference sizes halve with the sizes."""
    fitted = UTILITY.with_params(dilution=dilution)
    twice = FittedLaw(
        laws.utility,
        dataclasses.replace(
            fitted.params,
            utility=np.repeat(fitted.params.utility, 2),
            half_life=np.repeat(fitted.params.half_life, 2),
            reference_size=np.repeat(fitted.params.reference_size, 2),
        ),
        Pools.of({f"{name} {half}": 6.4e6 for name in NAMES for half in "ab"}),
    )
    for budget in (64e6, 640e6, 5e9):
        whole, halves = optimize_mix(fitted, budget), optimize_mix(twice, budget)
        assert halves.error == pytest.approx(whole.error, abs=1e-12)
        np.testing.assert_allclose(halves.weights.reshape(4, 2).sum(1), whole.weights, atol=1e-6)


def test_batches_are_the_single_answers(rng):
    """Draws x sizes x budgets, by the compiled batch and one by one."""
    draws = jax.tree.map(lambda leaf: np.stack([np.asarray(leaf, float) * f for f in (1, 1.05, 0.9)]), UTILITY.params)
    draws = dataclasses.replace(draws, dilution=np.array([1.0, 0.5, 0.0]), amplitude=np.ones(3))
    sizes = UTILITY.pools.sizes * np.array([[1.0], [3.0]])
    for count in (3, 90):  # 18 problems in turn, 540 side by side
        budgets = np.geomspace(20e6, 2e9, count)
        many = optimize_mix(UTILITY, budgets, draws=draws, sizes=sizes, max_epochs=70)
        assert many.weights.shape == (3, 2, count, 4)
        assert many.error.shape == many.gap.shape == many.samples_seen.shape == (3, 2, count)
        for draw, size, place in [(0, 0, 0), (1, 1, count // 2), (2, 0, count - 1), (0, 1, 1)]:
            params = jax.tree.map(lambda leaf, draw=draw: leaf[draw], draws)
            law = dataclasses.replace(UTILITY, params=params, pools=Pools(NAMES, sizes[size]))
            one = optimize_mix(law, float(budgets[place]), max_epochs=70)
            np.testing.assert_allclose(many.weights[draw, size, place], one.weights, atol=1e-9)
            assert many.error[draw, size, place] == pytest.approx(one.error, rel=1e-12)
        assert np.all(many.proof == "global")
        assert np.all(many.kind == "duality gap")
        assert np.max(many.gap) <= 1e-10


def test_new_budgets_are_no_new_program():
    for count in (100, 1000):
        optimize_mix(UTILITY, np.geomspace(20e6, 2e9, count))
    compiled = _filled_each._cache_size(), _filled_in_turn._cache_size()
    for count in (7, 130, 777):
        optimize_mix(UTILITY, np.geomspace(30e6, 1e9, count), caps={NAMES[0]: 0.5})
    assert (_filled_each._cache_size(), _filled_in_turn._cache_size()) == compiled


def test_one_draw_outside_of_what_is_proved_leaves_the_others_proved():
    draws = jax.tree.map(lambda leaf: np.stack([np.asarray(leaf, float)] * 4), UTILITY.params)
    draws = dataclasses.replace(draws, dilution=np.array([1.0, 1.02, 0.5, 1.0]))
    many = optimize_mix(UTILITY, [64e6, 640e6], draws=draws)
    assert many.proof[:, 0].tolist() == ["global", "local", "global", "global"]
    assert many.kind[:, 1].tolist() == ["duality gap", "KKT residual", "duality gap", "duality gap"]
    np.testing.assert_allclose(many.error[0], many.error[3], atol=1e-15)
    for draw, dilution in enumerate(draws.dilution):
        one = optimize_mix(UTILITY.with_params(dilution=dilution), 640e6)
        assert many.error[draw, 1] == pytest.approx(one.error, abs=1e-12)
    assert many.certificate.count("2 of 8: local") == many.certificate.count("6 of 8: global") == 1


def test_many_mixes_as_text_as_data_and_one_by_one(rng):
    sizes = UTILITY.pools.sizes * np.array([[1.0], [3.0]])
    many = optimize_mix(UTILITY, [[64e6, 128e6], [256e6, 640e6]], sizes=sizes, max_epochs=60)
    one = many.at(1, -1, 0)
    direct = optimize_mix(dataclasses.replace(UTILITY, pools=Pools(NAMES, sizes[1])), 256e6, max_epochs=60)
    assert str(one) == str(direct)
    np.testing.assert_allclose(many.weights[1, 1, 0], one.weights, atol=1e-9)
    for index in [(0, 0), (0, 0, 2), (2, 0, 0)]:
        with pytest.raises(InputError, match=r"expected a place in an array of shape \(2, 2, 2\)"):
            many.at(*index)
    data = json.loads(json.dumps(many.to_dict(), allow_nan=False))
    np.testing.assert_array_equal(data["weights"], many.weights)
    assert data["pools"] == list(NAMES)
    assert data["proof"][0][1] == ["global", "global"]
    text = str(many)
    assert "8 problems, 2 x 2 x 2" in text
    assert "1,0,1" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    longer = str(optimize_mix(UTILITY, np.geomspace(20e6, 2e9, 40)))
    assert "and 16 more" in longer
    law = random_law(rng)
    assert all(len(line) <= 80 for line in str(optimize_mix(law, np.geomspace(1e7, 1e11, 5))).splitlines())


@pytest.mark.parametrize("count", [5, 40])
def test_many_pools_in_turn(count, rng):
    """More than 32 pools are solved one after another in one compiled call, whatever their number up to 64."""
    sizes = 10 ** rng.uniform(5, 8, 40)
    params = dataclasses.replace(
        UTILITY.params,
        utility=-rng.uniform(0.1, 0.2, 40),
        half_life=rng.uniform(1, 20, 40),
        reference_size=sizes,
        scale=1e6,
    )
    fitted = FittedLaw(laws.utility, params, Pools.of({f"p{place}": size for place, size in enumerate(sizes)}))
    budgets = sizes.sum() * np.geomspace(1, 30, count)
    many = optimize_mix(fitted, budgets, max_epochs=40)
    for place in (0, count // 2, count - 1):
        one = optimize_mix(fitted, float(budgets[place]), max_epochs=40)
        np.testing.assert_allclose(many.weights[place], one.weights, atol=1e-8)
        assert many.error[place] == pytest.approx(one.error, rel=1e-12)
    assert np.max(many.gap) <= 1e-9


def test_an_impossible_budget_among_many_is_named():
    for count in (3, 100):
        with pytest.raises(InputError, match=r"max_epochs 2 of .*at most 102\.4M of the budget of 640M"):
            optimize_mix(UTILITY, np.append(np.full(count, 64e6), 640e6), max_epochs=2)


SATURATING = EffectiveSamplesParams(
    scale=np.array([4e6, 6e6, 9e6, 2e7]), floor=0.1, exponent=0.15, saturation=np.array([6.7, 8.5, 5.3, 2.3])
)


@pytest.mark.parametrize(
    ("fitted", "kind", "proof"),
    [
        (UTILITY, "duality gap", "global"),
        (UTILITY.with_params(dilution=0.3), "duality gap", "global"),
        (FittedLaw(laws.power, PowerParams(scale=4e6, floor=0.1, utility=UTILITY.params.utility), UTILITY.pools),
         "duality gap", "global"),
        (UTILITY.with_params(dilution=1.5), "KKT residual", "local"),
        (UTILITY.with_params(utility=np.array([-0.16, -0.12, -0.1, 0.05])), "KKT residual", "local"),
        (UTILITY.with_params(dilution=0.0, decay_shape=1.5), "KKT residual", "global"),
        (UTILITY.with_params(decay_shape=1.5), "KKT residual", "local"),
        (FittedLaw(laws.effective_samples, SATURATING, UTILITY.pools), "KKT residual", "global"),
        (PAPER.effective_data, "KKT residual", "local"),
        (PAPER.released_utility, "KKT residual", "local"),
    ],
    ids=lambda each: each.law.name if isinstance(each, FittedLaw) else each,
)  # fmt: skip
def test_what_is_proved_depends_on_the_law(fitted, kind, proof):
    mix = optimize_mix(fitted, 200e6)
    assert (mix.certificate.kind, mix.certificate.proof) == (kind, proof)
    assert mix.certificate.gap <= 1e-6
    # No better weights among many; where the proof is global the certificate says by how much at most.
    rows = np.concatenate([np.random.default_rng(0).dirichlet(np.ones(4), 500), np.eye(4)])
    least = fitted.predict(rows, 200e6).min()
    assert mix.error <= least + (mix.certificate.gap if proof == "global" else 0) + 1e-9
    assert mix.error == pytest.approx(float(fitted.predict(mix.weights, 200e6)), rel=1e-12)


def test_the_answer_names_what_is_active_and_what_else_there_is():
    mix = optimize_mix(UTILITY, 640e6, max_epochs=20, groups={"rest": Group(NAMES[2:], high=0.25)})
    assert isinstance(mix, Mix)
    assert any(line.startswith("max_epochs of top 10 %") for line in mix.active)
    np.testing.assert_allclose(mix.epochs, 640e6 * mix.weights / UTILITY.pools.sizes, rtol=1e-15)
    assert sum(mix.samples) == 640_000_000
    kinds = {other.name.split(" top")[0]: other for other in mix.runner_ups}
    assert set(kinds) == {"best single pool", "best nested filter", "proportional to size"}
    for other in mix.runner_ups:
        assert other.error == pytest.approx(float(UTILITY.predict(other.weights, 640e6)), rel=1e-12)
        assert not other.feasible
    free = {other.name: other for other in optimize_mix(UTILITY, 640e6).runner_ups}
    assert free["best nested filter top 10 %+10-20 %"].error == pytest.approx(0.643649, abs=1e-6)
    assert all(other.feasible for other in free.values())
    json.dumps(mix.to_dict(), allow_nan=False)
    assert all(len(line) <= 80 for line in str(mix).splitlines())


def test_the_best_feasible_choice_stands_beside_a_better_one_that_is_not():
    mix = optimize_mix(UTILITY, 640e6, caps={NAMES[0]: 0.4})
    found = {other.name: other for other in mix.runner_ups}
    assert not found["best nested filter top 10 %+10-20 %"].feasible
    # Of the nested filters only those of three and four pools keep the best pool below 40 %.
    nested = found["best feasible nested filter top 10 %+10-20 %+20-30 %"]
    assert nested.feasible
    assert list(nested.weights.values()) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    # The best pool alone has more than its share, the second best has not.
    assert not found["best single pool top 10 %"].feasible
    assert found["best feasible single pool 10-20 %"].feasible
    assert mix.error < min(other.error for other in mix.runner_ups if other.feasible)
    only = optimize_mix(UTILITY, 640e6, caps={NAMES[0]: 0.2})
    assert not any(other.feasible for other in only.runner_ups if "nested" in other.name)


@pytest.mark.parametrize("name", ["utility", "effective_data"])
def test_runner_ups_are_the_law_s_own_predictions(name, rng):
    """Pools of infinite size stand alone and in no filter; a reference is compared."""
    fitted = getattr(PAPER, name)
    reference = rng.dirichlet(np.ones(4))
    mix = optimize_mix(fitted, 300e6, reference=reference, max_l1=2.0)
    assert {other.name.split(" top")[0] for other in mix.runner_ups} == {
        "best single pool",
        "best nested filter",
        "proportional to size",
        "reference",
    }
    for other in mix.runner_ups:
        assert other.error == pytest.approx(float(fitted.predict(other.weights, 300e6)), rel=1e-12)
    endless = fitted.with_params(reference_size=np.append(fitted.params.reference_size[:3], np.inf))
    endless = dataclasses.replace(endless, pools=Pools(NAMES, np.append(fitted.pools.sizes[:3], np.inf)))
    kinds = {other.name.rsplit(" ", 1)[0] for other in optimize_mix(endless, 300e6).runner_ups}
    assert "proportional to" not in kinds


def test_a_mix_is_a_reference():
    before = optimize_mix(UTILITY, 64e6)
    again = optimize_mix(UTILITY, 640e6, reference=before, max_l1=0.0)
    np.testing.assert_allclose(again.weights, before.weights, atol=1e-9)


def test_a_model_that_is_trained_on(rng):
    """Earlier exposure of one pool moves weight to the others; two pools against a grid; zeros are nothing."""
    fitted = UTILITY.with_params(dilution=0.0)
    fresh = optimize_mix(fitted, 256e6)
    worn = optimize_mix(fitted, 256e6, seen_before={NAMES[0]: 128e6})
    assert worn.weights[0] < fresh.weights[0] - 0.05
    assert worn.certificate.proof == "global"
    assert optimize_mix(fitted, 256e6, seen_before=np.zeros(4)).weights.tobytes() == fresh.weights.tobytes()
    pair = FittedLaw(
        laws.utility,
        dataclasses.replace(
            fitted.params,
            **{name: getattr(fitted.params, name)[:2] for name in ("utility", "half_life", "reference_size")},
        ),
        Pools.of(dict.fromkeys(NAMES[:2], 12.8e6)),
    )
    before = {NAMES[0]: 100e6, NAMES[1]: 10e6}
    mix = optimize_mix(pair, 200e6, seen_before=before)
    shares = np.linspace(0, 1, 2001)
    errors = pair.predict(np.stack([shares, 1 - shares], 1), 200e6, before)
    assert mix.error <= errors.min() + 1e-9
    assert mix.weights[0] == pytest.approx(shares[np.argmin(errors)], abs=1e-3)
    local = optimize_mix(UTILITY, 256e6, seen_before={NAMES[0]: 128e6})
    assert local.certificate.proof == "local"


def test_below_the_scale_is_warned_of():
    with pytest.warns(QQTWarning, match="below the scale of 4M"):
        mix = optimize_mix(UTILITY, 1e6)
    assert any("outside what the law describes" in text for text in mix.warnings)


def test_float64_whatever_the_default():
    assert not jax.config.jax_enable_x64
    assert optimize_mix(UTILITY, 640e6).weights.dtype == np.float64
    assert optimize_mix(UTILITY, 640e6).certificate.gap < 1e-13


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"budget": 0}, "budget 0: expected a positive number"),
        ({"budget": np.nan}, "expected a positive number"),
        ({"budget": []}, "no budgets"),
        ({"budget": "many"}, "expected a positive number"),
        ({"capz": {}}, "unknown constraint 'capz'.*did you mean 'caps'"),
        ({"caps": {"top 10": 0.5}}, "unknown pool 'top 10'.*did you mean 'top 10 %'"),
        ({"caps": dict.fromkeys(NAMES, 0.2)}, "no weights satisfy cap 0.2 of"),
        ({"max_epochs": 2}, "at most 102.4M of the budget of 640M"),
        ({"sizes": {NAMES[0]: 0.0}}, "size 0"),
        ({"sizes": np.ones(3)}, r"sizes of shape \(3,\)"),
        ({"metric_weights": {"speed": 1.0}}, "unknown metric 'speed'"),
        ({"metric_weights": {"imagenet1k error": 1.0}, "worst_case": True}, "expected one of them"),
        ({"fit": UTILITY.with_params(scale=np.nan)}, "scale is not a number"),
        ({"fit": {}}, "expected a fitted law"),
        ({"fit": UTILITY.with_params(utility=np.array([-0.1, -np.inf, -1, -1]))}, "utility of pool '10-20 %' is -inf"),
        ({"fit": UTILITY.with_params(half_life=np.array([1.0, 1.0, 0.0, 1.0]))}, "half_life of pool '20-30 %' is 0: "),
        ({"fit": UTILITY.with_params(scale=0.0)}, "scale is 0: expected a finite number above 0"),
        ({"fit": UTILITY.with_params(amplitude=-1.0)}, "amplitude is -1: expected a finite number above 0"),
        ({"fit": UTILITY.with_params(floor=np.inf)}, "floor is inf: expected a finite number"),
        ({"fit": UTILITY.with_params(utility=np.array([-0.1, -0.2]))}, r"utility of shape \(2,\)"),
        ({"budget": None}, "budget None: expected a positive number"),
        ({"sizes": {NAMES[0]: "12M"}}, "size of pool 'top 10 %' '12M': expected a number"),
        ({"groups": [1]}, r"groups \[1\]: expected"),
        ({"groups": {"a": Group(5)}}, "expected Group"),
        ({"bounds": [1]}, r"bounds \[1\]: expected"),
        ({"metric_weights": [1.0]}, r"metric_weights \[1.0\]: expected"),
        ({"seed": -1}, "seed -1: expected a whole number"),
        ({"seed": "a"}, "seed 'a': expected a whole number"),
        ({"seen_before": dict.fromkeys(NAMES, 51.2e6), "max_epochs": 4}, "seen_before has used them up"),
        ({"seen_before": {NAMES[0]: "a"}}, "seen_before of top 10 % 'a': expected a number"),
        ({"draws": 3}, "expected UtilityParams"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(asked, said):
    with pytest.raises(InputError, match=said) as problem:
        optimize_mix(**{"fit": UTILITY, "budget": 640e6, **asked})
    assert "\n" not in str(problem.value)


@pytest.mark.slow
def test_four_thousand_pools_with_caps_and_group_bounds(rng):
    count = 4096
    sizes = 10 ** rng.uniform(5, 8, count)
    params = UtilityParams(
        scale=1e6,
        floor=0.1,
        utility=-0.15 * (1 + 0.15 * rng.uniform(-1, 1, count)),
        half_life=10 ** rng.uniform(-0.5, 2, count),
        reference_size=sizes,
    )
    names = [f"p{place}" for place in range(count)]
    fitted = FittedLaw(laws.utility, params, Pools.of(dict(zip(names, sizes, strict=True))))
    budget = float(8 * sizes.sum())
    free = optimize_mix(fitted, budget)
    groups = {}
    for place in range(20):
        members = rng.choice(count, count // 5, replace=False)
        groups[f"g{place}"] = Group(tuple(names[i] for i in members), high=0.97 * float(free.weights[members].sum()))
    mix = optimize_mix(fitted, budget, max_epochs=30, groups=groups)
    assert free.certificate.gap <= 1e-10
    assert mix.certificate.gap <= 1e-9
    assert violation(Constraints(max_epochs=30, groups=groups).bind(fitted.pools, budget), mix.weights) <= 1e-9
    assert free.error < mix.error
