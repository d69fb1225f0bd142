"""How many samples of each pool: golden allocations, other solvers, derivatives, exact totals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from jax.test_util import check_grads
from scipy.optimize import brentq

from qqtjax.errors import InputError
from qqtjax.pools.density import PAPER, RELEASED, density_counts, density_floor, density_keep
from qqtjax.pools.projection import project
from qqtjax.pools.rounding import round_exact
from qqtjax.pools.uniform import uniform_counts

WIDTH = 500  # a problem of fewer pools has others that are held at 0: one program for all
LARGEST = 8  # pools of a random case
MOST = 1e6  # samples of a pool of a random case
solve = jax.jit(project)


@jax.jit
def pulled(target: Any, lower: Any, upper: Any, total: Any, cotangent: Any) -> Any:
    return jax.vjp(project, target, lower, upper, total)[1](cotangent)


def padded(values: Any) -> np.ndarray:
    return np.append(np.asarray(values, np.float64), np.zeros(max(0, WIDTH - len(values))))


def solved(target: Any, lower: Any, upper: Any, total: float) -> np.ndarray:
    """The projection by the one program."""
    found = np.asarray(solve(padded(target), padded(lower), padded(upper), np.float64(total)))
    assert np.all(found[len(target) :] == 0)
    return found[: len(target)]


class Case(NamedTuple):
    name: str
    about: dict[str, Any]
    d: np.ndarray
    probs: np.ndarray
    n: np.ndarray
    lb: np.ndarray
    ref_keep: np.ndarray | None
    exact_keep: np.ndarray | None


@pytest.fixture(scope="module")
def cases(golden: Path) -> list[Case]:
    arrays = np.load(golden / "dbp.npz")
    found = []
    for about in json.loads((golden / "dbp_cases.json").read_text()):
        key = f"qp__{about['name']}__"
        some = [arrays.get(key + name) for name in ("d", "probs_f32", "n", "lb", "ref_keep", "exact_keep")]
        d, probs, n, lb = (np.asarray(each, np.float64) for each in some[:4])
        found.append(Case(about["name"], about, d, probs, n, lb, *some[4:]))
    assert len(found) == 18
    return found


def solvable(cases: list[Case]) -> list[Case]:
    return [case for case in cases if case.about["exact_feasible"]]


@pytest.mark.usefixtures("x64")
def test_golden_allocations_are_met(cases: list[Case]) -> None:
    for case in solvable(cases):
        total = case.about["M"]
        kept = solved(case.probs * total, case.lb, case.n, total)
        np.testing.assert_allclose(kept, case.exact_keep, rtol=1e-9, err_msg=case.name)
        assert kept.sum() == pytest.approx(total, rel=1e-14)
        assert round_exact(kept, total, case.lb, case.n).sum() == total


@pytest.mark.usefixtures("x64")
def test_counts_are_within_one_of_the_reference_and_meet_its_total(cases: list[Case]) -> None:
    digits = [case for case in solvable(cases) if case.name.startswith("digits")]
    assert len(digits) == 12
    missed = 0
    for case in digits:
        total = case.about["M"]
        kept = density_counts(case.d, case.n, total, case.about["temperature"], case.about["cls_bal_ratio"])
        assert kept.sum() == total
        assert np.abs(kept - case.ref_keep).max() <= 1, case.name
        assert case.ref_keep is not None
        missed += case.ref_keep.sum() != total
    assert missed == 10  # the reference rounds every cluster by itself


@pytest.mark.usefixtures("x64")
def test_counts_of_a_whole_crawl_are_exact(cases: list[Case]) -> None:
    for case in solvable(cases):
        if "like" in case.name:
            total = case.about["M"]
            kept = density_counts(case.d, case.n, total, temperature=0.1)
            assert kept.sum() == total
            assert np.abs(kept - case.exact_keep).max() < 60  # the golden softmax is in float32
            assert case.exact_keep is not None
            assert np.abs(case.ref_keep - case.exact_keep).max() > 100  # and its solver far from exact


def test_a_total_above_what_exists_is_one_line(cases: list[Case]) -> None:
    case = next(case for case in cases if case.name == "edge_infeasible_M_gt_N")
    with pytest.raises(InputError, match="total 30: more than the 18 samples that there are"):
        density_counts(case.d, case.n, 30)


@pytest.mark.usefixtures("x64")
def test_projection_agrees_with_a_root_finder(rng: np.random.Generator) -> None:
    """The same optimum from its own equation: sum clip(c + t, l, u) = M, solved for t by bisection."""
    for scale in (1e-3, 1.0, 1e8):
        for _ in range(10):
            lower = scale * rng.uniform(0, 0.5, 40)
            upper = lower + scale * rng.exponential(size=40)
            target = scale * rng.normal(0.5, 1.0, 40)
            total = rng.uniform(lower.sum(), upper.sum())
            found = solved(target, lower, upper, total)

            def excess(t: float, target=target, lower=lower, upper=upper, total=total) -> float:
                return np.clip(target + t, lower, upper).sum() - total

            shift = brentq(excess, -10 * scale, 20 * scale, xtol=1e-15 * scale, rtol=1e-15)
            np.testing.assert_allclose(found, np.clip(target + shift, lower, upper), atol=1e-12 * scale)


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Targets, bounds and a total that they allow; with ties, equal bounds and totals at both ends."""
    count = draw(st.integers(1, LARGEST))
    number = st.floats(0, MOST, allow_subnormal=False) | st.integers(0, 5).map(float)
    lower = np.array(draw(st.lists(number, min_size=count, max_size=count)))
    room = np.array(draw(st.lists(number, min_size=count, max_size=count)))
    signed = st.floats(-MOST, MOST, allow_subnormal=False) | st.integers(-5, 5).map(float)
    target = np.array(draw(st.lists(signed, min_size=count, max_size=count)))
    part = draw(st.floats(0, 1, allow_subnormal=False) | st.sampled_from([0.0, 0.5, 1.0]))
    upper = lower + room
    total = min(max(lower.sum() + part * (upper - lower).sum(), lower.sum()), upper.sum())
    return target, lower, upper, total


@pytest.mark.slow
@given(problems())
@example((np.zeros(3), np.zeros(3), np.zeros(3), 0.0))
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_projection_agrees_with_a_quadratic_programme(problem: tuple) -> None:
    import quadprog

    target, lower, upper, total = problem
    with jax.enable_x64(True):
        found = solved(target, lower, upper, total)
    size = max(1.0, np.abs(target).max(), upper.max())
    assert abs(found.sum() - total) <= 1e-12 * size * len(found)
    assert np.all(found >= lower)
    assert np.all(found <= upper)
    free = upper > lower  # the solver refuses constraints that depend on each other
    rest = total - lower[~free].sum()
    if not free.any() or free.sum() == 1:
        return
    many, scaled = int(free.sum()), 1 / size
    constraints = np.column_stack([np.ones(many), np.eye(many), -np.eye(many)])
    bounds = np.concatenate([[rest], lower[free], -upper[free]]) * scaled
    try:
        best = quadprog.solve_qp(np.eye(many), target[free] * scaled, constraints, bounds, 1)[0] * size
    except ValueError:  # it calls totals at an end of their range infeasible, by rounding
        at_an_end = min(rest - lower[free].sum(), upper[free].sum() - rest)
        assert at_an_end <= 1e-9 * size
        return
    np.testing.assert_allclose(found[free], best, rtol=0, atol=1e-8 * size)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("order", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_derivatives_are_those_of_differences(rng: np.random.Generator, order: int) -> None:
    for _ in range(2):
        lower, upper = rng.uniform(0, 1, 9), rng.uniform(2, 3, 9)
        target, total = rng.normal(1.5, 1.5, 9), float(rng.uniform(12, 22))
        found = np.asarray(solve(target, lower, upper, total))
        assert 0 < np.sum((found > lower) & (found < upper)) < 9
        check_grads(solve, (target, lower, upper, total), order, modes=("fwd", "rev"), atol=1e-6, rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_derivatives_are_the_formulas() -> None:
    problem = np.array([0.0, 2.0, 3.0, 9.0]), np.full(4, 1.0), np.full(4, 5.0)
    np.testing.assert_allclose(solved(*problem, 12.0), [1.0, 2.5, 3.5, 5.0])
    slopes = pulled(*map(padded, problem), np.float64(12.0), padded([1.0, 2.0, 4.0, 8.0]))
    of_target, of_lower, of_upper = (each[:4] for each in slopes[:3])
    of_total = slopes[3]
    np.testing.assert_allclose(of_target, [0.0, -1.0, 1.0, 0.0])  # their mean over the free ones subtracted
    np.testing.assert_allclose(of_total, 3.0)
    np.testing.assert_allclose(of_lower, [1.0 - 3.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(of_upper, [0.0, 0.0, 0.0, 8.0 - 3.0])


@pytest.mark.usefixtures("x64")
def test_bounds_may_be_infinite_equal_or_reached_by_all() -> None:
    inf = np.inf
    for target, lower, upper, total, expected in (
        ([0.5, 0.1], [0.0, 0.0], [inf, inf], 1.0, [0.7, 0.3]),
        ([0.5, -3.0], [0.0, 0.0], [inf, inf], 1.0, [1.0, 0.0]),
        ([5.0, 1.0], [2.0, 0.0], [2.0, inf], 7.0, [2.0, 5.0]),
        ([5.0, 1.0], [0.0, 0.0], [3.0, 4.0], 7.0, [3.0, 4.0]),
        ([5.0, 1.0], [1.0, 2.0], [9.0, 9.0], 3.0, [1.0, 2.0]),
        ([5.0, 1.0], [0.0, 0.0], [3.0, 3.0], 99.0, [3.0, 3.0]),
        ([5.0, 1.0], [1.0, 1.0], [3.0, 3.0], -99.0, [1.0, 1.0]),
    ):
        np.testing.assert_allclose(solved(target, lower, upper, total), expected)
    np.testing.assert_allclose(project([5.0], 0.0, 9.0, 3.0), [3.0])
    none_is_free = map(padded, ([5.0, 1.0], [0.0, 0.0], [3.0, 3.0]))
    assert np.all(np.isfinite(np.hstack(pulled(*none_is_free, np.float64(6.0), padded([1.0, 0.0])))))


@pytest.mark.usefixtures("x64")
def test_many_totals_at_once(rng: np.random.Generator) -> None:
    target, upper = rng.normal(size=WIDTH), rng.uniform(1, 2, WIDTH)
    totals = np.linspace(0, upper.sum(), 20)
    together = jax.jit(jax.vmap(project, (None, None, None, 0)))(target, 0.0, upper, totals)
    for row, total in zip(together, totals, strict=True):
        np.testing.assert_allclose(row, solved(target, np.zeros(WIDTH), upper, total), atol=1e-13)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_projection_lowers_for_accelerators(platform: str) -> None:
    shape = jax.ShapeDtypeStruct((500,), jnp.float32)
    gradient = jax.jit(jax.grad(lambda *of: jnp.sum(project(*of) ** 2)))
    exported = jax.export.export(gradient, platforms=[platform])(
        shape, shape, shape, jax.ShapeDtypeStruct((), "float32")
    )
    assert exported.platforms == (platform,)


@given(st.data())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_rounding_meets_totals_inside_bounds(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, LARGEST))
    upper = np.array(data.draw(st.lists(st.integers(0, 50), min_size=size, max_size=size)))
    lower = np.array([data.draw(st.integers(0, most)) for most in upper.tolist()])
    total = data.draw(st.integers(int(lower.sum()), int(upper.sum())))
    target = np.array(data.draw(st.lists(st.floats(-60, 60), min_size=size, max_size=size)))
    with jax.enable_x64(True):
        real = solved(target, lower, upper, total)
    counts = round_exact(real, total, lower, upper)
    assert counts.sum() == total
    assert np.all((lower <= counts) & (counts <= upper))
    assert np.all(np.abs(counts - real) < 1 + 1e-9)
    # No move of one sample between two pools is nearer to the real counts.
    error = counts - real
    may_give, may_take = counts > lower, counts < upper
    if may_give.any() and may_take.any():
        assert error[may_give].max() - error[may_take].min() <= 1 + 1e-9


def test_rounding_is_that_of_largest_remainders() -> None:
    assert round_exact([1.4, 2.4, 3.2], 7).tolist() == [1, 3, 3]  # a tie: the larger pool
    assert round_exact([0.5, 0.5], 1).tolist() == [1, 0]  # and then the earlier
    assert round_exact([2.5, 0.5], 3, lower=[0, 1], upper=[3, 1]).tolist() == [2, 1]
    assert round_exact([3 - 1e-12, 4 + 1e-12], 7).tolist() == [3, 4]
    assert round_exact([2.0**53 + 2], 2**53 + 2).dtype == np.int64
    assert round_exact([0.0, 0.0], 0).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], 5), "counts sum to 3: expected the total 5"),
        (([1.0, np.nan], 1), "expected a row of finite numbers"),
        (([1.0, 2.0], 2.5), "total 2.5: expected a whole number"),
        (([1.0, 2.0], -1), "total -1: expected a whole number"),
        (([1.0, 2.0], 3, 0, 1), "bounds leave 0 to 2 samples: expected the total 3"),
    ],
)
def test_rounding_refuses(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        round_exact(*arguments)


def test_density_limits() -> None:
    complexity, sizes = np.array([0.1, 0.3, 0.2]), np.array([400, 400, 400])
    np.testing.assert_array_equal(density_counts(complexity, sizes, 300, temperature=1e9), [100, 100, 100])
    # Near temperature 0 the most complex cluster is kept whole, and so on until the total.
    np.testing.assert_array_equal(density_counts(complexity, sizes, 900, temperature=1e-4), [250, 400, 250])
    np.testing.assert_array_equal(density_counts(complexity, sizes, 1200), sizes)
    np.testing.assert_array_equal(density_counts(complexity, sizes, 0), [0, 0, 0])
    np.testing.assert_array_equal(
        density_counts([0.1, np.nan, 0.3], sizes, 300), density_counts([0.1, 0.2, 0.3], sizes, 300)
    )


def test_small_and_empty_clusters() -> None:
    kept = density_counts([0.1, 0.9, 0.1, 0.1], [1, 500, 0, 30], 100, temperature=0.05)
    assert kept.tolist() == [1, 98, 0, 1]  # the released bounds let the cluster of one vanish
    assert density_counts([0.1, 0.9, 0.5], [10, 10, 10], 2, temperature=0.01).sum() == 2  # fewer than clusters
    np.testing.assert_array_equal(density_floor(np.array([10.0, 3.0, 0.0]), 24.0, 0.5), [4, 3, 0])


def test_settings_are_those_of_the_paper_and_of_the_script() -> None:
    assert (PAPER.clusters, PAPER.temperature, PAPER.balance, PAPER.neighbours) == (500, 0.1, 0.0, 20)
    assert (RELEASED.clusters, RELEASED.temperature, RELEASED.balance, RELEASED.keep) == (10_000, 0.5, 0.5, 0.8)


@pytest.mark.usefixtures("x64")
def test_density_gradients_are_those_of_differences(cases: list[Case]) -> None:
    case = next(case for case in cases if case.name == "laionlike_k500_M222000000")

    def score(complexity: Any, total: Any, temperature: Any) -> jax.Array:
        kept = density_keep(complexity, case.n, total, temperature)
        return jnp.log(kept) @ jnp.cos(jnp.arange(500.0))

    arguments = (jnp.asarray(case.d), 222e6, 0.1)
    both = jax.jit(jax.value_and_grad(score, (0, 1, 2)))
    slopes = both(*arguments)[1]
    direction = np.random.default_rng(0).normal(size=500)
    for place, step, along in ((0, 1e-7, direction), (1, 100.0, 1.0), (2, 1e-7, 1.0)):
        up, down = (
            both(*(each + sign * step * along if i == place else each for i, each in enumerate(arguments)))[0]
            for sign in (1, -1)
        )
        assert float(np.sum(slopes[place] * along)) == pytest.approx(float(up - down) / (2 * step), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"total": 31}, "total 31: more than the 30 samples"),
        ({"total": 3.5}, "whole number"),
        ({"temperature": 0.0}, "temperature 0: expected a positive number"),
        ({"balance": 1.5}, r"balance 1\.5: expected a share from 0 to 1"),
        ({"complexity": [0.1, 0.2]}, r"complexities of shape \(2,\): expected one for each of 3 clusters"),
        ({"complexity": [0.1, 0.2, np.inf]}, "complexities: expected finite numbers"),
        ({"complexity": [np.nan] * 3}, "complexities: expected finite numbers"),
        ({"sizes": [10, 10, 10.5]}, r"size 10\.5 of pool 2: expected a whole number"),
        ({"sizes": []}, "expected one for each of at least one pool"),
    ],
)
def test_density_refuses(change: dict[str, Any], message: str) -> None:
    asked = {"complexity": [0.1, 0.2, 0.3], "sizes": [10, 10, 10], "total": 15, **change}
    with pytest.raises(InputError, match=message):
        density_counts(**asked)


def test_uniform_counts() -> None:
    assert uniform_counts([800, 150, 50], 500, balance=0.0).tolist() == [400, 75, 25]
    assert uniform_counts([800, 150, 50], 500, balance=0.5).tolist() == [367, 83, 50]
    assert uniform_counts([7, 0, 3], 10).tolist() == [7, 0, 3]
    assert uniform_counts([7, 0, 3], 0).tolist() == [0, 0, 0]
    # With the floor at a whole equal share, all clusters that have enough give the same.
    assert uniform_counts([800, 150, 50], 120, balance=1.0).tolist() == [40, 40, 40]
    with pytest.raises(InputError, match="more than the 10"):
        uniform_counts([7, 3], 11)
