"""The differentiable optimum: every derivative against differences of the whole search, at kinks from each side."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from qqtjax import published
from qqtjax.errors import InputError
from qqtjax.laws import UtilityParams, utility
from qqtjax.mix.optimum import Held, best_error, best_weights, held
from qqtjax.mix.separable import utility_terms
from qqtjax.runs import Run

SHIPPED = published("datacomp-tmars").utility
POOLS, PROBLEMS = 16, 120
NO_LIMIT = 1e12
SIZES = np.asarray(SHIPPED.pools.sizes)


class Problem(NamedTuple):
    """Everything that an optimum depends on; logarithms where a relative change is meant."""

    utility: np.ndarray
    log_half_life: np.ndarray
    log_size: np.ndarray
    log_reference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    log_scale: np.ndarray
    floor: np.ndarray
    log_amplitude: np.ndarray
    dilution: np.ndarray
    log_seen: np.ndarray


def given(at: Problem, most_epochs: Array) -> tuple:
    """Arguments of `best_weights`; a limit on epochs moves with the sizes and the budget."""
    sizes, seen = jnp.exp(at.log_size), jnp.exp(at.log_seen)
    params = UtilityParams(
        scale=jnp.exp(at.log_scale),
        floor=at.floor,
        utility=at.utility,
        half_life=jnp.exp(at.log_half_life),
        reference_size=jnp.exp(at.log_reference),
        dilution=at.dilution,
        amplitude=jnp.exp(at.log_amplitude),
    )
    return params, sizes, seen, at.low, jnp.minimum(at.high, most_epochs * sizes / seen)


def outcome(at: Problem, most_epochs: Array) -> tuple[Array, Held]:
    """`[P + 2]` weights, price and error, and what holds the pools."""
    params, sizes, seen, low, high = given(at, most_epochs)
    weights, price = best_weights(params, sizes, seen, low, high)
    error = best_error(params, sizes, seen, low, high)
    holds = held(utility_terms(params, sizes, seen), weights, low, high)
    return jnp.concatenate([weights, price[None], error[None]]), holds


exact_at = jax.jit(jax.jacrev(outcome, has_aux=True))


@jax.jit
def searched(at: Problem, most_epochs: Array, changes: Problem, step: Array) -> tuple[Array, Held]:
    """The outcome of a whole search with each change added alone."""
    moved = lambda change: jax.tree.map(lambda x, d: x + step * d, at, change)  # noqa: E731
    return jax.vmap(lambda change: outcome(moved(change), most_epochs))(changes)


def random_problem(rng: np.random.Generator) -> tuple[Problem, float, int]:
    """2 to 16 pools (the others are kept out by a cap of 0), with bounds, limits on epochs, both or neither."""
    count = int(rng.integers(2, POOLS + 1))
    used = np.arange(POOLS) < count
    sizes = np.exp(rng.uniform(np.log(1e6), np.log(1e9), POOLS))
    seen = np.exp(rng.uniform(np.log(5e6), np.log(1e11)))
    low, high, most_epochs = np.zeros(POOLS), np.where(used, 1.0, 0.0), NO_LIMIT
    if rng.random() < 0.5:
        low[: count // 2] = rng.uniform(0, 0.8 / count, count // 2)
        high[:count] = rng.uniform(0.4, 1.0, count)
        high[count - 1] = 1.0
    if rng.random() < 0.5:
        most_epochs = rng.uniform(1.2, 6.0) * seen / sizes[:count].sum()
        low = np.minimum(low, 0.5 * most_epochs * sizes / seen)
        high[:count] = 1.0
    steep = rng.uniform(0.05, 0.3, POOLS) if rng.random() < 0.5 else 0.15 * rng.uniform(0.8, 1.0, POOLS)
    problem = Problem(
        utility=-steep,
        log_half_life=rng.uniform(np.log(0.5), np.log(50), POOLS),
        log_size=np.log(sizes),
        log_reference=np.log(sizes) + rng.normal(0, 0.7, POOLS),
        low=low,
        high=high,
        log_scale=np.log(rng.uniform(1e5, 4e6)),
        floor=np.float64(rng.uniform(0, 0.3)),
        log_amplitude=np.float64(rng.normal(0, 0.3)),
        dilution=np.float64(rng.uniform(0.05, 0.95)),
        log_seen=np.log(seen),
    )
    return problem, most_epochs, count


def directions(problem: Problem) -> Problem:
    """Unit changes `[D, ...]` of every number in a problem."""
    width = sum(leaf.size for leaf in problem)
    flat = np.eye(width)
    cuts = np.cumsum([leaf.size for leaf in problem])[:-1]
    parts = np.split(flat, cuts, axis=1)
    return Problem(*(part.reshape(width, *leaf.shape) for part, leaf in zip(parts, problem, strict=True)))


def flat(tree: Problem) -> np.ndarray:
    """`[..., D]` derivatives in the order of `directions`."""
    columns = [np.asarray(leaf) for leaf in tree]
    lead = columns[-1].ndim
    return np.concatenate([each.reshape(*each.shape[:lead], -1) for each in columns], axis=-1)


def free_to_move(problem: Problem, count: int) -> np.ndarray:
    """`[D]` bool: numbers whose change leaves a problem: not those of pools kept out, nor plain bounds of 0 and 1."""
    used = np.arange(POOLS) < count
    allowed = [used] * 4 + [used & (problem.low > 0), used & (problem.high < 1)] + [np.array([True])] * 5
    return np.concatenate(allowed)


def test_derivatives_are_those_of_the_whole_search(x64, rng):
    changes, step, tested, smooth, kinks = None, 2e-6, 0, 0, 0
    for _ in range(PROBLEMS):
        problem, most_epochs, count = random_problem(rng)
        changes = changes or directions(problem)
        derivatives, at = exact_at(problem, most_epochs)
        assert at.most == at.least, "a random problem should have a free pool"
        exact = flat(derivatives).T
        (above, up), (below, down) = (searched(problem, most_epochs, changes, each) for each in (step, -step))
        found = np.asarray(above - below) / (2 * step)
        move = free_to_move(problem, count)
        np.testing.assert_allclose(exact[move, -1], found[move, -1], rtol=1e-5, atol=2e-9)
        # The weights bend where what holds the pools changes in between.
        names = ("whole", "kink", "at_low", "at_high", "free")
        same = [np.all(getattr(side, each) == getattr(at, each), axis=1) for side in (up, down) for each in names]
        still = move & np.all(same, axis=0)
        scale = np.maximum(1.0, np.abs(exact[:, :-1]).max(1, keepdims=True))
        np.testing.assert_allclose((exact[:, :-1] / scale)[still], (found[:, :-1] / scale)[still], rtol=1e-5, atol=2e-6)
        assert np.all(np.abs(exact[still, :POOLS].sum(1)) < 1e-9 * scale[still, 0])
        tested, smooth = tested + move.sum(), smooth + still.sum()
        kinks += bool(np.any(at.kink & ~at.at_high & ~at.at_low))
    assert tested > 30 * PROBLEMS
    assert smooth > 0.9 * tested
    assert kinks > PROBLEMS // 10


def test_the_error_is_the_law_s_at_the_best_weights(x64, rng):
    for _ in range(20):
        problem, most_epochs, _ = random_problem(rng)
        params, sizes, seen, _, _ = given(problem, jnp.asarray(most_epochs))
        found = searched(problem, most_epochs, directions(problem), 0.0)[0][0]
        run = Run(weights=found[:POOLS], sizes=sizes, samples_seen=seen)
        np.testing.assert_allclose(found[-1], utility(params, run), rtol=1e-13)


@pytest.fixture
def shipped(x64):
    return jax.jit(lambda sizes, n: best_error(SHIPPED.params, sizes, n, 0.0, 1.0))


def one_sided(function, step: float) -> float:
    """A one-sided derivative at 0, extrapolated from steps h and h / 2."""
    whole, half = ((function(s) - function(0.0)) / s for s in (step, step / 2))
    return float(2 * half - whole)


def test_where_every_pool_is_on_a_kink_derivatives_are_those_that_free_weight(shipped):
    per_size, per_budget = jax.jit(jax.grad(shipped, argnums=(0, 1)))(SIZES, 64e6)
    right = one_sided(lambda h: shipped(SIZES, 64e6 * (1 + h)), 1e-5)
    left = one_sided(lambda h: shipped(SIZES, 64e6 * (1 + h)), -1e-5)
    assert abs(64e6 * per_budget - right) < 1e-8
    assert abs(right - left) > 1e-3
    for pool in (0, 1):
        unit = np.eye(4)[pool]
        smaller = one_sided(lambda h, unit=unit: shipped(SIZES * (1 + h * unit), 64e6), -1e-5)
        np.testing.assert_allclose(SIZES[pool] * per_size[pool], smaller, rtol=1e-6)


def test_a_full_set_of_caps_gives_the_one_derivative_that_exists(x64):
    # At 51.2M samples one epoch of each pool is all there is: only the budget's fall leaves a choice.
    function = jax.jit(lambda n: best_error(SHIPPED.params, SIZES, n, 0.0, SIZES / n))
    left = one_sided(lambda h: function(51.2e6 * (1 + h)), -1e-5)
    np.testing.assert_allclose(51.2e6 * jax.jit(jax.grad(function))(51.2e6), left, rtol=1e-6)


def test_second_derivatives_are_exact_too(x64):
    def error(at: Array) -> Array:
        log_n, half_lives = at[0], at[1:]
        params = UtilityParams(
            scale=4e6,
            floor=0.1,
            utility=SHIPPED.params.utility,
            half_life=half_lives,
            reference_size=SIZES,
            dilution=0.7,
        )
        return best_error(params, SIZES, jnp.exp(log_n), 0.0, 1.0)

    at = np.array([np.log(700e6), 6.7, 8.5, 5.3, 2.3])
    slope, exact = jax.jit(jax.grad(error)), jax.jit(jax.hessian(error))(at)
    step = 1e-5
    difference = [(slope(at + step * unit) - slope(at - step * unit)) / (2 * step) for unit in np.eye(5)]
    np.testing.assert_allclose(exact, difference, rtol=1e-5, atol=1e-10)


def test_a_limit_on_epochs_counts_only_where_it_is_traced(x64):
    def error(n: Array, traced: bool) -> Array:
        limit = 10 * SIZES / (n if traced else jax.lax.stop_gradient(n))
        return best_error(SHIPPED.params, SIZES, n, 0.0, limit)

    slope, step = jax.jit(jax.value_and_grad(error), static_argnums=1), 1e3
    moving, still = (float(slope(400e6, traced)[1]) for traced in (True, False))
    difference = (slope(400e6 + step, True)[0] - slope(400e6 - step, True)[0]) / (2 * step)
    np.testing.assert_allclose(moving, difference, rtol=1e-5)
    assert abs(still / moving - 1) > 0.5


def test_budgets_are_one_vmapped_program_compiled_once(x64):
    function = jax.jit(jax.vmap(lambda n: best_weights(SHIPPED.params, SIZES, n, 0.0, 1.0)))
    weights, _ = function(np.array([64e6, 128e6, 640e6]))
    again, _ = function(np.array([32e6, 2e9, 64e6]))
    assert function._cache_size() == 1  # type: ignore[attr-defined]
    np.testing.assert_allclose(weights[1], [0.66687, 0.33313, 0, 0], atol=1e-5)
    np.testing.assert_allclose(again[1], [0.40493, 0.33386, 0.18441, 0.0768], atol=1e-5)
    assert np.array_equal(again[2], weights[0])


def test_rounding_left_on_an_unused_pool_does_not_mark_the_price(x64):
    terms = utility_terms(SHIPPED.params, SIZES, 32e6)
    at = held(terms, np.array([1.0, 5e-17, 0, 0]), np.zeros(4), np.ones(4))
    assert at.weights.tolist() == [1, 0, 0, 0]
    # The slope of the pool that is drawn from, not that of the one with the rounding.
    assert at.price == at.right[0] != at.right[1]


def test_what_has_no_proof_is_refused():
    with pytest.raises(InputError, match="decay_shape"):
        best_error(SHIPPED.with_params(decay_shape=1.5).params, SIZES, 64e6, 0.0, 1.0)
    with pytest.raises(InputError, match="floor"):
        best_weights(SHIPPED.with_params(floor=np.full(4, 0.1)).params, SIZES, 64e6, 0.0, 1.0)
