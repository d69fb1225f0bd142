"""Constraints on a mix: bound to pools, checked against brute force, and named where they collide."""

from __future__ import annotations

import dataclasses
from itertools import product
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from qqtjax.errors import InputError
from qqtjax.mix.collisions import colliding, largest_budget, minimal
from qqtjax.mix.constraints import Constraints, Group, check
from qqtjax.mix.emptiness import is_empty
from qqtjax.mix.feasible import Feasible, active, violation
from qqtjax.runs import Pools

NAMES = ("a", "b", "c")
POOLS = Pools.of({"a": 10.0, "b": 20.0, "c": 70.0})
BUDGET = 100.0
EVEN = {"a": 0.25, "b": 0.25, "c": 0.5}


def grid(steps: int = 100) -> np.ndarray:
    """`[M, 3]` all shares in hundredths."""
    return np.array([(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]) / steps


def missed(asked: Constraints, points: np.ndarray, pools: Pools = POOLS, budget: float = BUDGET) -> np.ndarray:
    """`[M]` the most that points on the simplex miss any constraint by, straight from the user's words."""
    place = {name: number for number, name in enumerate(pools.names)}
    worst = np.zeros(len(points))

    def at_most(value: Any, limit: float) -> None:
        np.maximum(worst, value - limit, out=worst)

    for name, (low, high) in (asked.bounds or {}).items():
        at_most(points[:, place[name]], high)
        at_most(-points[:, place[name]], -low)
    for name, high in (asked.caps or {}).items():
        at_most(points[:, place[name]], high)
    for name, low in (asked.minimums or {}).items():
        at_most(-points[:, place[name]], -low)
    for name, share in (asked.fixed or {}).items():
        at_most(np.abs(points[:, place[name]] - share), 0)
    epochs = asked.max_epochs if isinstance(asked.max_epochs, dict) else dict.fromkeys(pools.names, asked.max_epochs)
    for name, most in epochs.items() if asked.max_epochs is not None else ():
        at_most(points[:, place[name]], most * pools.sizes[place[name]] / budget)
    for group in (asked.groups or {}).values():
        together = sum(points[:, place[name]] for name in group.pools)
        at_most(together, group.high)
        at_most(-together, -group.low)
    if asked.cost:
        dearest = max(asked.cost.values())
        price = sum(points[:, place[name]] * cost for name, cost in asked.cost.items())
        at_most(price / dearest, asked.max_cost / dearest / budget)
    with np.errstate(divide="ignore", invalid="ignore"):
        if asked.reference is not None:
            reference = pools.weights(asked.reference)
            terms = np.where(points > 0, points * np.log(points / reference), 0).sum(1)
            if asked.max_kl is not None:
                at_most(terms, asked.max_kl)
            if asked.max_l1 is not None:
                at_most(np.abs(points - reference).sum(1), asked.max_l1)
        if asked.min_pools is not None:
            at_most(np.where(points > 0, points * np.log(points), 0).sum(1), -np.log(asked.min_pools))
    return worst


def merged(*parts: dict[str, Any]) -> Constraints:
    """One `Constraints` of several that say one thing each."""
    whole: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            joins = key not in ("reference", "max_cost") and isinstance(value, dict)
            whole[key] = {**whole.get(key, {}), **value} if joins else value
    return Constraints(**whole)


def least_missed(feasible: Feasible) -> tuple[float, np.ndarray]:
    """The point of least violation by SLSQP in (w, t), absolute values as 2^P rows; no code of ours."""
    width = len(feasible.low)
    kept_out = [each.reference == 0 for each in feasible.entropies]
    feasible = feasible._replace(high=np.where(np.any([*kept_out, np.zeros(width, bool)], axis=0), 0, feasible.high))
    rows = [*feasible.rows, *-feasible.rows]
    limits = [*feasible.row_high, *-feasible.row_low]
    if feasible.l1:
        signs = [np.array(each) for each in product((-1.0, 1.0), repeat=width)]
        rows += signs
        limits += [feasible.l1[1] + each @ feasible.l1[0] for each in signs]
    chosen = np.isfinite(limits)
    # Bounds and rows stand still, the entropies give way by t: where linear parts collide SLSQP says so.
    linear = np.array(rows).reshape(-1, width)[chosen]
    most = np.array(limits)[chosen]
    conditions: list[Any] = [{"type": "eq", "fun": lambda x: x[:-1].sum() - 1}]
    if len(most):
        conditions.append({"type": "ineq", "fun": lambda x: most + x[-1] - linear @ x[:-1]})
    for each in feasible.entropies:

        def room(x: np.ndarray, each: Any = each) -> float:
            used = each.reference > 0
            shares = np.maximum(x[:-1][used], 1e-300)
            return each.most + x[-1] - float(np.sum(shares * np.log(shares / each.reference[used])))

        conditions.append({"type": "ineq", "fun": room})
    best, where = np.inf, feasible.low
    middle = np.clip(np.full(width, 1 / width), feasible.low, feasible.high)
    for start in (middle, *np.random.default_rng(0).dirichlet(np.ones(width), 4)):
        found = scipy.optimize.minimize(
            lambda x: x[-1],
            np.append(np.clip(start, feasible.low, feasible.high), 1.0),
            bounds=[*zip(feasible.low, feasible.high, strict=True), (-0.01, 3)],
            constraints=conditions,
            method="SLSQP",
            options={"maxiter": 300, "ftol": 1e-15},
        )
        reached = violation(feasible, found.x[:-1])
        if reached < best:
            best, where = reached, found.x[:-1]
    return best, where


# ---------------------------------------------------------------------------------------------------- bound


def test_nothing_asked_is_the_simplex():
    feasible = Constraints().bind(POOLS, BUDGET)
    assert feasible.plain
    assert feasible.low.tolist() == [0, 0, 0]
    assert feasible.high.tolist() == [1, 1, 1]
    assert feasible.low_names == feasible.high_names == ("", "", "")
    check(feasible, POOLS, BUDGET)


def test_the_tightest_bound_counts_and_is_named():
    asked = Constraints(
        bounds={"a": (0.05, 0.9)}, caps={"a": 0.5, "b": 0.6}, minimums={"a": 0.1}, fixed={"c": 0.3}, max_epochs=2.5
    )
    feasible = asked.bind(POOLS, BUDGET)
    np.testing.assert_allclose(feasible.low, [0.1, 0, 0.3])
    np.testing.assert_allclose(feasible.high, [0.25, 0.5, 0.3])
    assert feasible.low_names == ("minimum of a", "", "fixed share of c")
    assert feasible.high_names == ("max_epochs of a", "max_epochs of b", "fixed share of c")
    assert feasible.plain
    # With ten times smaller a budget no pool is repeated as often, and the caps take over.
    small = feasible.at(BUDGET / 10)
    np.testing.assert_allclose(small.high, [0.5, 0.6, 0.3])
    assert small.high_names == ("cap of a", "cap of b", "fixed share of c")


def test_epochs_count_what_was_seen_before_and_other_sizes():
    asked = Constraints(max_epochs={"a": 3, "b": 2, "c": 5})
    high = asked.bind(POOLS, BUDGET, seen_before=np.array([10.0, 60.0, 0.0])).high
    np.testing.assert_allclose(high, [(30 - 10) / 100, 0, 1])
    np.testing.assert_allclose(asked.bind(POOLS, BUDGET, sizes=np.array([1, 2, 4])).high, [0.03, 0.04, 0.2])
    endless = Pools.of({"a": np.inf, "b": 20.0})
    feasible = Constraints(max_epochs=1).bind(endless, BUDGET)
    np.testing.assert_allclose(feasible.high, [1, 0.2])
    assert feasible.high_names == ("", "max_epochs of b")


def test_rows_of_groups_and_cost():
    asked = Constraints(
        groups={
            "web": Group(("a", "b"), 0.2, 0.6),
            "rest": Group(("c",), high=0.9),
            "same": Group(("a", "c"), 0.5, 0.5),
            "free": Group(("b", "c")),
        },
        cost={"a": 4.0, "c": 1.0},
        max_cost=200.0,
    )
    feasible = asked.bind(POOLS, BUDGET)
    assert feasible.row_names == (
        "group web at least 0.2",
        "group web at most 0.6",
        "group rest at most 0.9",
        "group same at exactly 0.5",
        "cost at most 200",
    )
    assert feasible.rows.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1], [1, 0, 0.25]]
    np.testing.assert_allclose(feasible.row_low, [0.2, -np.inf, -np.inf, 0.5, -np.inf])
    np.testing.assert_allclose(feasible.row_high, [np.inf, 0.6, 0.9, 0.5, 0.5])
    assert not feasible.plain
    np.testing.assert_allclose(feasible.at(2 * BUDGET).row_high, [np.inf, 0.6, 0.9, 0.5, 0.25])


def test_distances_diversity_and_penalties_are_carried():
    asked = Constraints(reference=EVEN, max_kl=0.1, max_l1=0.3, kl_penalty=0.2, l1_penalty=0.4, min_pools=2)
    feasible = asked.bind(POOLS, BUDGET)
    reference = [0.25, 0.25, 0.5]
    assert [each.name for each in feasible.entropies] == ["max_kl 0.1", "min_pools 2"]
    assert feasible.entropies[0].reference.tolist() == reference
    assert feasible.entropies[1].reference.tolist() == [1, 1, 1]
    np.testing.assert_allclose([each.most for each in feasible.entropies], [0.1, -np.log(2)])
    for pair, number in ((feasible.l1, 0.3), (feasible.kl_penalty, 0.2), (feasible.l1_penalty, 0.4)):
        assert pair is not None
        assert pair[0].tolist() == reference
        assert pair[1] == number
    for name in ("max_l1", "kl_penalty", "l1_penalty"):
        assert not Constraints(**{"reference": reference, name: 0.5}).bind(POOLS, BUDGET).plain
    assert Constraints(min_pools=1).bind(POOLS, BUDGET).plain


@pytest.mark.parametrize(("name", "number"), [("max_kl", 0.7), ("max_kl", 0.0), ("kl_penalty", 0.7)])
def test_divergence_keeps_pools_out_that_the_reference_lacks(name: str, number: float):
    feasible = Constraints(**{"reference": {"a": 0.5, "c": 0.5}, name: number}).bind(POOLS, BUDGET)
    assert feasible.high.tolist() == [1, 0, 1]
    assert feasible.high_names[1] == f"{name} with reference share of b"
    for other in ({"max_l1": 0.7}, {"kl_penalty": 0.0}):
        assert Constraints(reference={"a": 0.5, "c": 0.5}, **other).bind(POOLS, BUDGET).high.tolist() == [1, 1, 1]


# ---------------------------------------------------------------------------------------------- met or missed


def test_violation_is_what_the_words_say(rng: np.random.Generator):
    everything = Constraints(
        bounds={"a": (0.05, 0.5)},
        caps={"b": 0.6},
        minimums={"c": 0.1},
        max_epochs=4,
        groups={"web": Group(("a", "b"), 0.3, 0.6)},
        cost={"a": 4.0, "c": 1.0},
        max_cost=150.0,
        reference=EVEN,
        max_kl=0.1,
        max_l1=0.4,
        min_pools=2.5,
    )
    points = np.concatenate([rng.dirichlet(np.ones(3), 200), np.eye(3)])
    for field in dataclasses.fields(everything):
        if field.name in ("reference", "max_cost") or getattr(everything, field.name) is None:
            continue
        kept = {field.name: getattr(everything, field.name)}
        if field.name in ("max_kl", "max_l1"):
            kept["reference"] = EVEN
        if field.name == "cost":
            kept["max_cost"] = 150.0
        asked = Constraints(**kept)
        found = [violation(asked.bind(POOLS, BUDGET), point) for point in points]
        np.testing.assert_allclose(found, missed(asked, points), atol=1e-14, err_msg=field.name)
        assert max(found) > 0.01, field.name
    np.testing.assert_allclose(
        [violation(everything.bind(POOLS, BUDGET), point) for point in points], missed(everything, points), atol=1e-14
    )


def test_violation_of_weights_that_are_no_mix():
    feasible = Constraints(min_pools=2).bind(POOLS, BUDGET)
    assert violation(feasible, [0.5, 0.5, 0.5]) == pytest.approx(0.5)
    assert violation(feasible, [-0.2, 0.6, 0.6]) == pytest.approx(0.2)
    assert np.isnan(violation(feasible, [np.nan, 0.5, 0.5]))
    kept_out = Constraints(reference={"a": 1}, max_kl=9).bind(POOLS, BUDGET)
    assert violation(kept_out, [0.5, 0.5, 0]) == np.inf


def test_active_constraints_in_words():
    asked = Constraints(
        caps={"b": 0.5},
        minimums={"c": 0.3},
        max_epochs={"a": 2},
        groups={"web": Group(("a", "c"), 0.1, 0.5)},
        cost={"a": 1.0},
        max_cost=20.0,
        reference=[0.1, 0.6, 0.3],
        max_l1=0.2,
        min_pools=float(np.exp(-0.2 * np.log(0.2) - 0.5 * np.log(0.5) - 0.3 * np.log(0.3))),
    )
    feasible = asked.bind(POOLS, BUDGET)
    assert active(feasible, [0.2, 0.5, 0.3]) == (
        "max_epochs of a (2)",
        "cap of b (0.5)",
        "minimum of c (0.3)",
        "group web at most 0.5",
        "cost at most 20",
        "max_l1 0.2",
        "min_pools 2.80009",
    )
    assert active(feasible, [0.1, 0.45, 0.45]) == ()
    # Off a and c by 1e-4, which leaves the group and the distance (0.0999 + 0.1 + 0.0001) where they were.
    assert active(feasible, [0.1999, 0.5, 0.3001]) == ("cap of b (0.5)", "group web at most 0.5", "max_l1 0.2")
    assert "minimum of c (0.3)" in active(feasible, [0.1999, 0.5, 0.3001], tolerance=1e-3)
    assert active(Constraints(fixed={"a": 0.2}).bind(POOLS, BUDGET), [0.2, 0.8, 0]) == ("fixed share of a (0.2)",)
    assert active(Constraints().bind(POOLS, BUDGET), [1, 0, 0]) == ()
    at_reference = Constraints(reference=EVEN, max_kl=0).bind(POOLS, BUDGET)
    assert active(at_reference, [0.25, 0.25, 0.5]) == ("max_kl 0",)


# -------------------------------------------------------------------------------------------------- collisions

ALONE = [
    {"bounds": {"a": (0.2, 0.3)}},
    {"caps": {"a": 0.1, "b": 0.4}},
    {"minimums": {"a": 0.5, "b": 0.5}},
    {"fixed": {"a": 0.2, "b": 0.3, "c": 0.5}},
    {"max_epochs": 1},
    {"groups": {"g": Group(("a", "b"), 0.3, 0.3)}},
    {"cost": {"a": 3.0, "b": 2.0, "c": 1.0}, "max_cost": 100.0},
    {"reference": EVEN, "max_kl": 0.0},
    {"reference": EVEN, "max_l1": 0.0},
    {"min_pools": 2.9},
    {"reference": {"a": 1.0}, "kl_penalty": 1.0},
]


@pytest.mark.parametrize("asked", ALONE, ids=lambda asked: next(iter(asked)))
def test_each_alone_can_be_met(asked: dict[str, Any]):
    check(Constraints(**asked), POOLS, BUDGET)
    assert missed(Constraints(**asked), grid()).min() <= 1e-12


# What collides, one constraint each; what stands by; the line. Budgets and shares worked out by hand.
COLLISIONS = [
    (
        [{"minimums": {"a": 0.6}}, {"minimums": {"b": 0.5}}],
        [{"minimums": {"c": 0.1}}, {"caps": {"a": 0.9}}],
        "no weights satisfy minimum of a (0.6), b (0.5): the shares come to 1.1 or more, expected at most 1",
    ),
    (
        [{"fixed": {"a": 0.7}}, {"fixed": {"b": 0.4}}],
        [{"fixed": {"c": 0.1}}],
        "no weights satisfy fixed share of a (0.7), b (0.4): the shares come to 1.1 or more, expected at most 1",
    ),
    (
        [{"fixed": {"a": 0.2}}, {"fixed": {"b": 0.3}}, {"fixed": {"c": 0.3}}],
        [],
        "no weights satisfy fixed share of a (0.2), b (0.3), c (0.3): the shares come to 0.8 or less, expected 1",
    ),
    (
        [{"caps": {"a": 0.3}}, {"caps": {"b": 0.3}}, {"caps": {"c": 0.3}}],
        [{"min_pools": 2}, {"groups": {"g": Group(("a", "b"), 0.1)}}],
        "no weights satisfy cap 0.3 of a, b, c: the shares come to 0.9 or less, expected 1",
    ),
    (
        [{"minimums": {"b": 0.6}}, {"caps": {"b": 0.4}}],
        [{"caps": {"a": 0.4}}, {"max_epochs": 10}],
        "no weights satisfy minimum 0.6 of b and cap 0.4 of b",
    ),
    (
        [{"fixed": {"a": 0.4}}, {"max_epochs": {"a": 2}}],
        [{"caps": {"c": 0.5}}],
        "fixed share 0.4 of a and max_epochs 2 of a: at most 50 of the budget of 100 samples can be drawn",
    ),
    (
        [{"max_epochs": {"a": 2}}, {"max_epochs": {"b": 2}}, {"caps": {"c": 0.2}}],
        [],
        # n = 20 + 40 + 0.2 n
        "max_epochs 2 of a, b and cap 0.2 of c: at most 75 of the budget of 100 samples can be drawn",
    ),
    (
        [{"groups": {"web": Group(("a", "b"), low=0.7)}}, {"caps": {"a": 0.3}}, {"caps": {"b": 0.3}}],
        [{"caps": {"c": 0.6}}, {"min_pools": 1.2}, {"reference": EVEN, "max_l1": 1.9}],
        "no weights satisfy cap 0.3 of a, b and group web at least 0.7",
    ),
    (
        [{"groups": {"web": Group(("a", "b"), high=0.4)}}, {"minimums": {"a": 0.5}}],
        [{"caps": {"c": 0.6}}, {"reference": EVEN, "max_l1": 1.9}],
        "no weights satisfy minimum 0.5 of a and group web at most 0.4",
    ),
    (
        [{"groups": {"web": Group(("a", "b"), high=0.4)}}, {"fixed": {"c": 0.5}}],
        [{"minimums": {"a": 0.1}}],
        "no weights satisfy fixed share 0.5 of c and group web at most 0.4",
    ),
    (
        [{"groups": {"all": Group(("a", "b", "c"), high=0.9)}}],
        [{"caps": {"a": 0.9}}],
        "no weights satisfy group all at most 0.9",
    ),
    (
        [{"groups": {"x": Group(("a", "b"), 0.6)}}, {"groups": {"y": Group(("b", "c"), 0.6)}}, {"caps": {"b": 0.1}}],
        [{"groups": {"z": Group(("a", "c"), 0.1)}}, {"reference": EVEN, "max_l1": 1.9}],
        "no weights satisfy cap 0.1 of b, group x at least 0.6 and group y at least 0.6",
    ),
    (
        # 4 (0.5 n) <= 100
        [{"cost": {"a": 4.0}, "max_cost": 100.0}, {"minimums": {"a": 0.5}}],
        [{"caps": {"b": 0.7}}],
        "minimum 0.5 of a and cost at most 100: at most 50 of the budget of 100 samples can be drawn",
    ),
    (
        [{"reference": EVEN, "max_l1": 0.2}, {"minimums": {"a": 0.4}}],
        [{"max_epochs": 9}],
        "no weights satisfy minimum 0.4 of a and max_l1 0.2",
    ),
    (
        [{"reference": EVEN, "max_kl": 0.01}, {"minimums": {"a": 0.4}}],
        [{"caps": {"b": 0.4}}],
        "no weights satisfy minimum 0.4 of a and max_kl 0.01",
    ),
    (
        [{"reference": {"a": 0.5, "c": 0.5}, "max_kl": 0.5}, {"minimums": {"b": 0.1}}],
        [{"caps": {"b": 0.4}}],
        "no weights satisfy minimum 0.1 of b and max_kl with reference share 0 of b",
    ),
    (
        [{"min_pools": 2.5}, {"minimums": {"c": 0.7}}],
        [{"caps": {"a": 0.4}}],
        "no weights satisfy minimum 0.7 of c and min_pools 2.5",
    ),
    (
        [{"min_pools": 2.5}, {"reference": {"a": 0.08, "b": 0.02, "c": 0.9}, "max_kl": 0.05}],
        [{"caps": {"c": 0.95}}],
        "no weights satisfy max_kl 0.05 and min_pools 2.5",
    ),
    (
        # Within 0.1 of the reference the most even mix is (0.275, 0.275, 0.45), of 2.91 pools.
        [{"min_pools": 2.95}, {"reference": EVEN, "max_l1": 0.1}],
        [{"caps": {"c": 0.95}}],
        "no weights satisfy max_l1 0.1 and min_pools 2.95",
    ),
    (
        [{"min_pools": 2.9}, {"groups": {"g": Group(("a", "b"), low=0.9)}}],
        [{"max_epochs": 9}],
        "no weights satisfy group g at least 0.9 and min_pools 2.9",
    ),
    (
        # Two pools at most 0.2 together hold the third at 0.8 or more.
        [{"min_pools": 2.1}, {"caps": {"a": 0.1}}, {"caps": {"b": 0.1}}],
        [{"groups": {"g": Group(("a", "c"), high=0.95)}}],
        "no weights satisfy cap 0.1 of a, b and min_pools 2.1",
    ),
]


@pytest.mark.parametrize(("collide", "others", "line"), COLLISIONS, ids=[case[2][:60] for case in COLLISIONS])
def test_a_minimal_set_is_named(collide: list[dict[str, Any]], others: list[dict[str, Any]], line: str):
    with pytest.raises(InputError) as refused:
        check(merged(*collide, *others), POOLS, BUDGET)
    assert str(refused.value) == line
    points = grid()
    assert missed(merged(*collide), points).min() > 1e-4
    for out in range(len(collide)):
        rest = merged(*(each for number, each in enumerate(collide) if number != out))
        assert missed(rest, points).min() <= 1e-12
        check(rest, POOLS, BUDGET)


def test_many_pools_are_counted_in_one_line():
    pools = Pools.of({f"p{number}": 1e6 for number in range(40)})
    with pytest.raises(InputError) as refused:
        check(Constraints(max_epochs=3), pools, 1.2e9)
    assert str(refused.value) == (
        "max_epochs 3 of p0, p1, p2, p3, p4 and 35 more: at most 120M of the budget of 1.2B samples can be drawn"
    )


def test_pools_used_up_leave_no_budget():
    with pytest.raises(InputError, match=r"^no weights satisfy max_epochs 2 of a, b, c: seen_before has used them up"):
        check(Constraints(max_epochs=2), POOLS, BUDGET, seen_before=2 * POOLS.sizes)


def test_a_budget_that_is_just_reached():
    check(Constraints(max_epochs=2), POOLS, 200.0)
    with pytest.raises(InputError, match=r"at most 200 of the budget of 200\.001 samples"):
        check(Constraints(max_epochs=2), POOLS, 200.001)


def test_distances_that_just_touch():
    """Feasible sets of one point: the reference, the even mix, the ends of what a divergence allows."""
    halves = Group(("a", "b"), 0.5, 0.5)
    check(Constraints(reference=EVEN, max_kl=0, max_l1=0, groups={"g": halves}), POOLS, BUDGET)
    check(Constraints(min_pools=3, groups={"g": Group(("a", "b"), 2 / 3, 2 / 3)}), POOLS, BUDGET)
    with pytest.raises(InputError, match=r"group g at exactly 0\.5 and min_pools 3"):
        check(Constraints(min_pools=3, groups={"g": halves}), POOLS, BUDGET)
    # Along (a, 0.25 + 0.75 of the rest in proportion) the divergence of a share x of a is that of a coin.
    x = 0.4
    edge = x * np.log(x / 0.25) + (1 - x) * np.log((1 - x) / 0.75)
    for group in (None, {"g": Group(("a",), low=x)}):
        floor = {"minimums": {"a": x}} if group is None else {"groups": group}
        check(Constraints(reference=EVEN, max_kl=edge + 1e-8, **floor), POOLS, BUDGET)
        with pytest.raises(InputError):
            check(Constraints(reference=EVEN, max_kl=edge - 1e-8, **floor), POOLS, BUDGET)


# -------------------------------------------------------------------------------------------- largest budget


def reachable_by_programme(asked: Constraints, pools: Pools, spent: np.ndarray) -> float:
    """The largest n with x = n w by one linear programme in (x, n), for epochs, shares, groups and cost."""
    width = len(pools)
    rows, limits = [], []

    def at_most(x: np.ndarray, n: float, limit: float) -> None:
        rows.append(np.append(x, n))
        limits.append(limit)

    unit = dict(zip(pools.names, np.eye(width), strict=True))
    for pool, size, before in zip(pools.names, pools.sizes, spent, strict=True):
        at_most(unit[pool], 0, max(0.0, asked.max_epochs * size - before))
    for pool, high in (asked.caps or {}).items():
        at_most(unit[pool], -high, 0)
    for pool, low in (asked.minimums or {}).items():
        at_most(-unit[pool], low, 0)
    for group in (asked.groups or {}).values():
        together = np.sum([unit[pool] for pool in group.pools], axis=0)
        at_most(together, -group.high, 0)
        at_most(-together, group.low, 0)
    if asked.cost:
        at_most(np.sum([unit[pool] * price for pool, price in asked.cost.items()], axis=0), 0, asked.max_cost)
    found = scipy.optimize.linprog(
        np.append(np.zeros(width), -1.0),
        A_ub=np.array(rows),
        b_ub=limits,
        A_eq=np.append(np.ones(width), -1.0)[None],
        b_eq=[0.0],
        method="highs",
    )
    return float(found.x[-1])


@pytest.mark.parametrize("seed", range(12))
def test_the_largest_budget_is_that_of_a_linear_programme(seed: int):
    rng = np.random.default_rng(seed)
    names = [f"p{number}" for number in range(6)]
    pools = Pools.of(dict(zip(names, rng.lognormal(14, 1, 6), strict=True)))
    asked = Constraints(
        max_epochs=rng.uniform(1, 5),
        caps={"p0": rng.uniform(0.1, 0.5), "p3": 0.4},
        minimums={"p1": rng.uniform(0, 0.2)},
        groups={"g": Group(("p2", "p3", "p4"), high=rng.uniform(0.3, 0.7)), "h": Group(("p4", "p5"), low=0.3)},
        cost={"p1": 1.0, "p4": 2.0} if seed % 2 else None,
        max_cost=float(pools.sizes.sum()) if seed % 2 else None,
    )
    spent = rng.uniform(0, 0.5, 6) * pools.sizes
    expected = reachable_by_programme(asked, pools, spent)
    feasible = asked.bind(pools, 1e9, seen_before=spent)
    assert 0 < expected < 1e9
    assert largest_budget(feasible) == pytest.approx(expected, rel=1e-7)
    check(asked, pools, expected * (1 - 1e-6), seen_before=spent)
    with pytest.raises(InputError, match=r"at most .* of the budget of .* samples can be drawn"):
        check(asked, pools, expected * (1 + 1e-6), seen_before=spent)


def test_the_largest_budget_under_a_divergence():
    """Two pools, half each in the reference: the coin of divergence 0.1 gives the least share of the small one."""
    pools = Pools.of({"small": 1e6, "large": np.inf})
    asked = Constraints(max_epochs=4, reference=[0.5, 0.5], max_kl=0.1)
    share = scipy.optimize.brentq(lambda x: x * np.log(2 * x) + (1 - x) * np.log(2 - 2 * x) - 0.1, 1e-9, 0.5)
    feasible = asked.bind(pools, 1e9)
    assert largest_budget(feasible) == pytest.approx(4e6 / share, rel=1e-7)
    with pytest.raises(
        InputError, match=r"^max_epochs 4 of small and max_kl 0.1: at most 14\.\d+M of the budget of 1B"
    ):
        check(feasible, pools, 1e9)


def test_the_budget_that_is_named_can_be_used():
    rng = np.random.default_rng(5)
    for _ in range(20):
        pools = Pools.of({"a": float(rng.uniform(1, 10)), "b": float(rng.uniform(1, 10))})
        with pytest.raises(InputError) as refused:
            check(Constraints(max_epochs=1), pools, 100.0)
        check(Constraints(max_epochs=1), pools, float(str(refused.value).split("at most ")[1].split(" of")[0]))


# --------------------------------------------------------------------------------------------------- properties

shares = st.floats(0, 1).map(lambda share: round(share, 3))
pairs = st.tuples(shares, shares).map(sorted)
dicts = st.dictionaries(st.sampled_from(NAMES), shares, max_size=3)
members = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True).map(tuple)
groups = st.builds(lambda pools, pair: Group(pools, *pair), members, pairs)
references = st.lists(st.integers(0, 10), min_size=3, max_size=3).filter(sum).map(lambda x: np.array(x) / sum(x))


@st.composite
def constraints(draw: Any) -> Constraints:
    asked: dict[str, Any] = {
        "caps": {name: (1 + share) / 2 for name, share in draw(dicts).items()},
        "minimums": {name: share / 3 for name, share in draw(dicts).items()},
        "fixed": draw(st.dictionaries(st.sampled_from(NAMES), shares.map(lambda share: share / 3), max_size=1)),
        "max_epochs": draw(st.one_of(st.none(), st.floats(0.5, 8))),
        "groups": draw(st.dictionaries(st.sampled_from("xyz"), groups, max_size=2)),
        "min_pools": draw(st.one_of(st.none(), st.floats(1, 3))),
    }
    if draw(st.booleans()):
        asked["cost"], asked["max_cost"] = {"a": 3.0, "b": 1.0}, draw(st.floats(10, 300))
    if draw(st.booleans()):
        asked["reference"] = draw(references)
        asked["max_kl"] = draw(st.floats(0.001, 1))
        asked["max_l1"] = draw(st.one_of(st.none(), st.floats(0.001, 1.5)))
    return Constraints(**asked)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(constraints())
def test_what_passes_can_be_met_and_what_is_refused_cannot(asked: Constraints):
    feasible = asked.bind(POOLS, BUDGET)
    try:
        check(feasible, POOLS, BUDGET)
    except InputError:
        points = np.concatenate([np.random.default_rng(0).dirichlet(np.ones(3), 10_000), grid()])
        assert missed(asked, points).min() > 1e-9
    else:
        least, point = least_missed(feasible)
        assert least <= 1e-9, point


@settings(max_examples=60, deadline=None, derandomize=True)
@given(constraints())
def test_what_is_named_collides_and_without_any_member_does_not(asked: Constraints):
    feasible = asked.bind(POOLS, BUDGET)
    if not is_empty(feasible):
        return
    with pytest.raises(InputError, match=r"\A[^\n]+\Z"):
        check(feasible, POOLS, BUDGET)
    kept = colliding(feasible)

    def left(out: tuple[str, int] | None) -> Feasible:
        parts = {name: each.copy() for name, each in kept._asdict().items()}
        if out is not None:
            parts[out[0]][out[1]] = False
            if out[0] in ("low", "high"):
                kinds = feasible.low_kinds if out[0] == "low" else feasible.high_kinds
                if kinds[out[1]] == "fixed share":
                    parts["low"][out[1]] = parts["high"][out[1]] = False
        return feasible._replace(
            low=np.where(parts["low"], feasible.low, 0),
            high=np.where(parts["high"], feasible.high, 1),
            rows=feasible.rows[parts["rows"]],
            row_low=feasible.row_low[parts["rows"]],
            row_high=feasible.row_high[parts["rows"]],
            entropies=tuple(each for each, keep in zip(feasible.entropies, parts["entropies"], strict=True) if keep),
            l1=feasible.l1 if parts["l1"].any() else None,
        )

    if np.all(left(None).low <= left(None).high):
        assert least_missed(left(None))[0] > 1e-9
    members = [(part, place) for part, marks in kept._asdict().items() for place in np.flatnonzero(marks)]
    assert members
    for member in members:
        assert least_missed(left(member))[0] <= 1e-7, member


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.sets(st.integers(0, 11), min_size=1), min_size=1, max_size=5))
def test_deletion_leaves_a_minimal_set(planted: list[set[int]]):
    """Things collide when they contain one of the planted sets: what is left is one of them, and holds no other."""
    left = minimal(12, lambda chosen: any(all(chosen[list(each)]) for each in planted))
    found = set(np.flatnonzero(left).tolist())
    assert found in planted
    assert not any(each < found for each in planted)


# -------------------------------------------------------------------------------------------------------- large


def test_bounds_alone_are_decided_by_their_sums(monkeypatch: pytest.MonkeyPatch):
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a linear programme for bounds")

    monkeypatch.setattr(scipy.optimize, "linprog", refused)
    pools = Pools.of({f"p{number}": 1e6 + number for number in range(4096)})
    total = float(pools.sizes.sum())
    asked = Constraints(max_epochs=2, minimums={"p7": 1e-4}, caps={"p0": 1e-5})
    check(asked, pools, 1.9 * total)
    with pytest.raises(InputError, match=r"max_epochs 2 of p1, p2, p3, p4, p5 and 4090 more"):
        check(asked, pools, 2.1 * total)


def test_thousands_of_pools_under_all_kinds_at_once(rng: np.random.Generator):
    """A planted mix satisfies everything, with every limit at its own value there; a hair less cannot be met."""
    width = 2000
    pools = Pools.of({f"p{number}": float(size) for number, size in enumerate(rng.lognormal(14, 1, width))})
    reference = rng.dirichlet(np.ones(width))
    half = pools.names[: width // 2]
    moved = reference * np.where(np.arange(width) < width // 2, 1.0, 0.5)
    # The nearest mix with a share x of the first half scales both halves: the coin's divergence, as above.
    planted = moved / moved.sum()
    x, start = planted[: width // 2].sum(), reference[: width // 2].sum()
    edge = x * np.log(x / start) + (1 - x) * np.log((1 - x) / (1 - start))
    distance = np.abs(planted - reference).sum()
    pools_used = np.exp(-np.sum(planted * np.log(planted)))

    def asked(kl: float, l1: float) -> Constraints:
        web = Group(half, low=float(x))
        return Constraints(
            reference=reference, max_kl=kl, max_l1=l1, groups={"web": web}, min_pools=0.999 * pools_used, max_epochs=1e6
        )

    check(asked(edge + 1e-7, distance + 1e-7), pools, 1e9)
    with pytest.raises(InputError, match=r"^no weights satisfy group web at least \S+ and max_kl \S+$"):
        check(asked(edge - 1e-6, distance + 1e-7), pools, 1e9)
    with pytest.raises(InputError, match=r"^no weights satisfy group web at least \S+ and max_l1 \S+$"):
        check(asked(edge + 1e-7, distance - 1e-6), pools, 1e9)


# ---------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"caps": {"a": 1.5}}, "caps of a 1.5: expected a share from 0 to 1"),
        ({"caps": {"a": np.nan}}, "caps of a nan: expected a share from 0 to 1"),
        ({"minimums": {"a": -0.1}}, "minimums of a -0.1: expected a share from 0 to 1"),
        ({"fixed": {"a": "half"}}, "fixed of a 'half': expected a share from 0 to 1"),
        ({"fixed": 0.5}, "fixed 0.5: expected {pool: number}"),
        ({"bounds": {"a": 0.5}}, r"bounds of a 0.5: expected a pair (low, high)"),
        ({"bounds": {"a": (0.5, 0.4)}}, "bounds of a: low 0.5 is above high 0.4"),
        ({"max_epochs": 0}, "max_epochs of all pools 0: expected a number of epochs above 0"),
        ({"max_epochs": {"a": -1}}, "max_epochs of a -1: expected a number of epochs above 0"),
        ({"groups": {"g": Group(())}}, "group g: no pools, expected at least one"),
        ({"groups": {"g": Group(("a", "b", "a"))}}, "group g: pool 'a' stands in it twice"),
        ({"groups": {"g": Group(("a",), 0.5, 0.2)}}, "group g: low 0.5 is above high 0.2"),
        ({"groups": {"g": Group(("a",), high=2)}}, "group g 2: expected shares from 0 to 1"),
        ({"cost": {"a": 1.0}}, "cost without max_cost: expected both, prices of one sample and what all may cost"),
        ({"max_cost": 1.0}, "max_cost without cost: expected both, prices of one sample and what all may cost"),
        ({"cost": {"a": -1.0}, "max_cost": 1}, "cost of a -1.0: expected a price >= 0 of one sample"),
        ({"cost": {"a": 1.0}, "max_cost": np.inf}, "max_cost inf: expected a finite number >= 0"),
        ({"max_kl": 0.1}, "max_kl without a reference: expected the mix that the distance is measured from"),
        ({"reference": EVEN, "max_kl": -1}, "max_kl -1: expected a finite number >= 0"),
        ({"reference": EVEN, "l1_penalty": np.nan}, "l1_penalty nan: expected a finite number >= 0"),
        (
            {"reference": EVEN},
            "a reference without a distance: expected one of max_kl, max_l1, kl_penalty, l1_penalty with it",
        ),
        ({"min_pools": 0.5}, "min_pools 0.5: expected an effective number of pools >= 1"),
    ],
)
def test_what_no_pools_can_mend_is_refused_at_once(asked: dict[str, Any], line: str):
    with pytest.raises(InputError) as refused:
        Constraints(**asked)
    assert str(refused.value) == line


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"caps": {"top1O": 0.5}}, "unknown pool 'top1O': the pools are top10, web; did you mean 'top10'?"),
        ({"max_epochs": {"wab": 2}}, "unknown pool 'wab': the pools are top10, web; did you mean 'web'?"),
        ({"groups": {"g": Group(("wep",))}}, "unknown pool 'wep': the pools are top10, web; did you mean 'web'?"),
        (
            {"cost": {"zzz": 1.0}, "max_cost": 1},
            "unknown pool 'zzz': the pools are top10, web",
        ),
        ({"reference": {"top10": 0.5}, "max_kl": 1}, "reference: weights sum to 0.5: expected 1"),
        (
            {"reference": {"top": 1.0}, "max_kl": 1},
            "reference: unknown pool 'top': the pools are top10, web; did you mean 'top10'?",
        ),
        ({"reference": [1.0], "max_l1": 1}, "reference: weights of shape (1,): expected one for each of 2 pools"),
        ({"min_pools": 3}, "min_pools 3: expected at most 2, the number of pools"),
    ],
)
def test_what_does_not_fit_the_pools_is_refused(asked: dict[str, Any], line: str):
    with pytest.raises(InputError) as refused:
        Constraints(**asked).bind(Pools.of({"top10": 1e6, "web": 1e8}), 1e6)
    assert str(refused.value) == line


@pytest.mark.parametrize(
    ("samples", "line"),
    [
        ({"samples_seen": 0.0}, "samples_seen 0.0: expected a positive number of samples"),
        ({"samples_seen": np.inf}, "samples_seen inf: expected a positive number of samples"),
        ({"sizes": [1.0, 2.0]}, "sizes of shape (2,): expected one for each of 3 pools"),
        ({"sizes": [1.0, 0.0, 2.0]}, "sizes of b 0: expected a number of samples > 0"),
        ({"seen_before": [1.0, -1.0, 2.0]}, "seen_before of b -1: expected a finite number of samples >= 0"),
        ({"seen_before": [1.0, 1.0, np.inf]}, "seen_before of c inf: expected a finite number of samples >= 0"),
    ],
)
def test_samples_that_are_no_numbers_are_refused(samples: dict[str, Any], line: str):
    with pytest.raises(InputError) as refused:
        Constraints().bind(POOLS, **{"samples_seen": BUDGET, **samples})
    assert str(refused.value) == line


def test_constraints_bound_to_something_else_are_refused():
    feasible = Constraints().bind(POOLS, BUDGET)
    for pools, budget in ((POOLS, 2 * BUDGET), (Pools.of({"x": 1.0, "y": 1.0, "z": 1.0}), BUDGET)):
        with pytest.raises(InputError, match="bound to other pools or another budget"):
            check(feasible, pools, budget)
