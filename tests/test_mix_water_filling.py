"""The best weights under bounds: the certificate on random problems, and other methods that never do better."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, minimize

import qqtjax as qqt
from qqtjax.laws import UtilityParams
from qqtjax.mix.bracket import respond
from qqtjax.mix.separable import Terms, slopes, total, utility_terms
from qqtjax.mix.water_filling import gap_bound, water_fill

POOLS = (2, 3, 4, 8, 16, 32, 64)
PAPER = qqt.published("datacomp-tmars").utility
# Budget, best weights, error: from a prototype of its own whose duality gap is below 1e-15.
OPTIMA = [
    (32e6, (1, 0, 0, 0), 0.829640),
    (64e6, (0.8, 0.2, 0, 0), 0.769495),
    (128e6, (0.66687, 0.33313, 0, 0), 0.718325),
    (256e6, (0.58868, 0.41132, 0, 0), 0.677299),
    (640e6, (0.47949, 0.38, 0.14051, 0), 0.639246),
    (2e9, (0.40493, 0.33386, 0.18441, 0.0768), 0.611849),
]


class Problems(NamedTuple):
    """A batch of problems: every leaf has a leading axis."""

    sizes: np.ndarray
    utility: np.ndarray
    half_life: np.ndarray
    dilution: np.ndarray
    scale: np.ndarray
    seen: np.ndarray
    low: np.ndarray
    high: np.ndarray


def draw(pools: int, count: int, rng: np.random.Generator, bounded: bool = False) -> Problems:
    """Sizes over six decades, half-lives from 0.3 to 1e4, up to 1e5 epochs; half of them with many pools in the mix."""
    sizes = 10 ** rng.uniform(4, 10, (count, pools))
    spread = np.where(np.arange(count) % 2, 0.3, 0.02)[:, None]
    scale = 10 ** rng.uniform(4, 7, count)
    most = np.maximum(1e5 * sizes.min(1), 100 * scale)
    high = np.minimum(rng.uniform(0.5, 6, (count, pools)) / pools, 1.0) if bounded else np.ones((count, pools))
    high = np.where(high.sum(1, keepdims=True) < 1.05, 1.0, high)
    low = high * rng.uniform(0, 0.5, (count, pools)) / high.sum(1, keepdims=True) * bounded
    return Problems(
        sizes=sizes,
        utility=-rng.uniform(0.05, 0.3, (count, 1)) * (1 + spread * rng.uniform(-1, 1, (count, pools))),
        half_life=10 ** rng.uniform(np.log10(0.3), 4, (count, pools)),
        dilution=rng.choice([0.0, 0.3, 0.7, 1.0], count),
        scale=scale,
        seen=np.exp(rng.uniform(np.log(scale), np.log(most))),
        low=low,
        high=high,
    )


def terms_of(problem: Problems) -> Terms:
    params = UtilityParams(
        scale=problem.scale,
        floor=0.1,
        utility=problem.utility,
        half_life=problem.half_life,
        reference_size=problem.sizes,
        dilution=problem.dilution,
    )
    return utility_terms(params, problem.sizes, problem.seen)


@jax.jit
@jax.vmap
def solve(problem: Problems) -> tuple[Any, Any]:
    terms = terms_of(problem)
    return water_fill(terms, problem.low, problem.high), terms


worth = jax.jit(jax.vmap(jax.vmap(total, in_axes=(None, 0))))


def at(tree: Any, place: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[place], tree)


def check(problems: Problems) -> None:
    found, _ = solve(problems)
    assert np.max(found.gap) <= 1e-10
    assert np.median(found.gap) <= 1e-14
    np.testing.assert_allclose(found.weights.sum(1), 1, atol=1e-12)
    assert np.all((found.weights >= problems.low) & (found.weights <= problems.high))


@pytest.mark.parametrize("pools", [3, 16])
@pytest.mark.parametrize("bounded", [False, True])
def test_the_certificate_closes(x64, rng, pools, bounded):
    check(draw(pools, 200, rng, bounded))


@pytest.mark.slow
@pytest.mark.parametrize(("pools", "bounded"), [*((pools, False) for pools in POOLS), (8, True)])
def test_the_certificate_closes_on_a_thousand_problems(x64, rng, pools, bounded):
    check(draw(pools, 1000, rng, bounded))


@pytest.mark.parametrize(("seen", "weights", "error"), OPTIMA)
def test_known_optima(x64, seen, weights, error):
    terms = utility_terms(PAPER.params, PAPER.pools.sizes, seen)
    found = jax.jit(water_fill)(terms, np.zeros(4), np.ones(4))
    np.testing.assert_allclose(found.weights, weights, atol=5.1e-6)
    assert 0.1 + np.exp(-total(terms, found.weights)) == pytest.approx(error, abs=5.1e-7)


def test_kinks_are_exact(x64):
    """At 64M samples the best mix ends the fourth epoch of one pool and the first of another."""
    terms = utility_terms(PAPER.params, PAPER.pools.sizes, 64e6)
    found = jax.jit(water_fill)(terms, np.zeros(4), np.ones(4))
    np.testing.assert_array_max_ulp(np.asarray(found.weights) * 64e6 / PAPER.pools.sizes, np.array([4.0, 1, 0, 0]), 2)


def test_a_plain_gradient_would_leave_the_gap_open_at_kinks(x64):
    terms = utility_terms(PAPER.params, PAPER.pools.sizes, 64e6)
    found = jax.jit(water_fill)(terms, np.zeros(4), np.ones(4))
    right = slopes(terms, found.weights)[2]
    plain = gap_bound(terms, found.weights, found.price, jnp.zeros(4), jnp.ones(4), (right, right))
    assert found.gap < 1e-14
    assert plain > 1e-4


def test_no_filter_and_no_point_of_a_grid_is_better(x64, rng):
    """Nested filters of up to 16 pools; a grid of 1/60 of three pools."""
    steps = 60
    grid = np.array([(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]) / steps
    for pools, points in ((3, grid), (16, None)):
        problems = draw(pools, 20, rng)
        found, terms = solve(problems)
        best = worth(terms, found.weights[:, None])
        order = np.argsort(problems.utility, axis=1)
        filters = np.zeros((20, pools, pools))
        for count in range(pools):
            for place in range(20):
                chosen = order[place, : count + 1]
                filters[place, count, chosen] = problems.sizes[place, chosen] / problems.sizes[place, chosen].sum()
        others = filters if points is None else np.concatenate([filters, np.tile(points, (20, 1, 1))], axis=1)
        assert np.all(worth(terms, others) <= best + 1e-9)


worth_and_slopes = jax.jit(lambda terms, weights: (total(terms, weights), slopes(terms, weights)[2]))


def other_method(terms: Terms, method: str, start: np.ndarray, steps: int) -> float:
    """F by SciPy with our analytic slopes, on the simplex."""
    count = len(start)

    def both(weights: np.ndarray) -> tuple[float, np.ndarray]:
        reached, slope = worth_and_slopes(terms, np.clip(weights, 0, 1))
        return -float(reached), -np.asarray(slope)

    linear = LinearConstraint(np.ones((1, count)), 1, 1)
    found = minimize(
        both, start, jac=True, method=method, bounds=Bounds(0, 1), constraints=linear, options={"maxiter": steps}
    ).x
    found = np.clip(found, 0, 1)
    return float(worth_and_slopes(terms, found / found.sum())[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("method", "problems", "starts"), [("SLSQP", 100, 20), ("trust-constr", 20, 1)])
def test_no_other_method_is_better(x64, rng, method, problems, starts):
    for pools in (2, 4, 8, 16):
        batch = draw(pools, problems // 4, rng)
        found, terms = solve(batch)
        for place in range(problems // 4):
            one = at(terms, place)
            best = float(total(one, found.weights[place]))
            for start in rng.dirichlet(np.ones(pools), starts):
                assert other_method(one, method, start, 200) <= best + 1e-9


@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), price=st.floats(-1, 4))
def test_the_bound_holds_for_any_weights_and_any_price(seed, price):
    """Weights from anywhere: F* - F(w) <= gap."""
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        problems = draw(4, 8, rng)
        found, terms = solve(problems)
        weights = rng.dirichlet(np.full(4, 0.5), 8)
        # Half of them on kinks of the second pool.
        kink = np.round(weights[::2, 1] / np.asarray(terms.epoch)[::2, 1]) * np.asarray(terms.epoch)[::2, 1]
        weights[::2, 0] += weights[::2, 1] - np.minimum(kink, 1)
        weights[::2, 1] = np.minimum(kink, 1)
        ok = np.all(weights >= 0, axis=1)
        gaps = jax.vmap(partial(_gap, price))(terms, weights)
        missing = worth(terms, found.weights[:, None])[:, 0] - worth(terms, weights[:, None])[:, 0]
        assert np.all((missing <= gaps + 1e-12)[ok])


def _gap(price: float, terms: Terms, weights: jax.Array) -> jax.Array:
    return gap_bound(terms, weights, jnp.asarray(price), jnp.zeros(4), jnp.ones(4))


def test_a_pull_towards_a_mix_is_solved_too(x64, rng):
    """kappa > 0: against SciPy, and the mix itself where the pull is strong."""
    problems = draw(4, 6, rng)
    for place in range(6):
        terms = terms_of(at(problems, place))
        pulled = terms._replace(entropy=jnp.asarray(0.05), linear=terms.linear - 0.05 * np.log(0.25))
        found = jax.jit(water_fill)(pulled, np.zeros(4), np.ones(4))
        assert found.gap < 1e-12
        other = other_method(pulled, "SLSQP", np.full(4, 0.25), 300)
        assert other <= float(total(pulled, found.weights)) + 1e-9
        strong = terms._replace(entropy=jnp.asarray(1e4), linear=terms.linear - 1e4 * np.log(0.25))
        np.testing.assert_allclose(jax.jit(water_fill)(strong, np.zeros(4), np.ones(4)).weights, 0.25, atol=1e-3)


def test_responses_are_those_of_a_fine_search(x64, rng):
    problems = draw(16, 5, rng)
    for place in range(5):
        one = at(problems, place)
        terms = terms_of(one)
        prices = rng.uniform(0, 1, 16) * np.asarray(terms.fresh[0] * terms.utility[0])
        found = jax.jit(respond)(terms, jnp.zeros(16), jnp.ones(16), prices)
        grid = np.linspace(0, 1, 4001)[:, None] * np.ones(16)
        values = jax.jit(jax.vmap(lambda weights, terms=terms: slopes(terms, weights)[0]))
        reached = values(found[None])[0] - prices * found
        assert np.all(reached >= np.max(values(grid) - prices * grid, axis=0) - 1e-12)


def test_float32_is_close_and_lowers_for_accelerators(rng):
    problems = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), draw(8, 64, rng))
    found, _ = solve(problems)
    assert found.weights.dtype == np.float32
    assert np.all(np.isfinite(found.weights))
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), problems)
        exact, terms = solve(wide)
        weights = np.asarray(found.weights, np.float64)
        missing = (
            worth(terms, exact.weights[:, None]) - worth(terms, (weights / weights.sum(1, keepdims=True))[:, None])
        )[:, 0]
        assert np.max(missing) < 3e-5
    exported = jax.export.export(solve, platforms=["cuda", "tpu"])(problems)
    assert "f64" not in exported.mlir_module()
    assert "lapack" not in exported.mlir_module()


def test_other_numbers_are_no_other_program(x64, rng):
    solve(draw(4, 8, rng))
    compiled = solve._cache_size()
    solve(draw(4, 8, rng, bounded=True))
    assert solve._cache_size() == compiled
