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
from qqtjax.mix.optimum import Held, best_error, best_point, best_weights, held, value_at
from qqtjax.mix.separable import utility_terms
from qqtjax.runs import Run

SHIPPED = published("datacomp-tmars").utility
POOLS, PROBLEMS = 16, 60
NO_LIMIT = np.float64(1e12)
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
    terms = utility_terms(params, sizes, seen)
    # One search for all three: compiling it is most of the time that these tests take.
    weights, price = best_point(terms, low, high)
    error = params.floor + jnp.exp(-value_at(terms, low, high, weights, price))
    holds = held(terms, weights, low, high)
    return jnp.concatenate([weights, price[None], error[None]]), holds


# Forward mode: half of the compilation. Reverse mode is checked at the kinks below.
exact_at = jax.jit(jax.jacfwd(outcome, has_aux=True))


@jax.jit
def searched(at: Problem, most_epochs: Array, changes: Problem, step: Array) -> tuple[Array, Held]:
    """The outcome of a whole search with each change added alone."""
    moved = lambda change: jax.tree.map(lambda x, d: x + step * d, at, change)  # noqa: E731
    return jax.vmap(lambda change: outcome(moved(change), most_epochs))(changes)


def random_problem(rng: np.random.Generator) -> tuple[Problem, np.float64, int]:
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
        # The error bends where a fixed bound meets a kink, the weights where anything that holds them changes.
        bound = np.asarray(at.at_low | at.at_high)
        passed = [np.any((side.whole != at.whole) & bound, axis=1) for side in (up, down)]
        away = move & ~np.any(passed, axis=0)
        np.testing.assert_allclose(exact[away, -1], found[away, -1], rtol=1e-5, atol=2e-9)
        names = ("whole", "kink", "at_low", "at_high", "free")
        same = [np.all(getattr(side, each) == getattr(at, each), axis=1) for side in (up, down) for each in names]
        still = move & np.all(same, axis=0)
        scale = np.maximum(1.0, np.abs(exact[:, :-1]).max(1, keepdims=True))
        np.testing.assert_allclose((exact[:, :-1] / scale)[still], (found[:, :-1] / scale)[still], rtol=1e-5, atol=2e-6)
        assert np.all(np.abs(exact[still, :POOLS].sum(1)) < 1e-9 * scale[still, 0])
        tested, smooth = tested + away.sum(), smooth + still.sum()
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


def _shipped(sizes: Array, n: Array, most_epochs: Array, traced: Array) -> Array:
    """The best error of the published pools; `traced` 0 hides from the derivative that the limit on epochs moves."""
    limit = most_epochs * sizes / n
    limit = traced * limit + (1 - traced) * jax.lax.stop_gradient(limit)
    return best_error(SHIPPED.params, sizes, n, 0.0, jnp.minimum(1.0, limit))


shipped = jax.jit(jax.value_and_grad(_shipped, argnums=(0, 1)))


def one_sided(function, step: float) -> float:
    """A one-sided derivative at 0, extrapolated from steps h and h / 2."""
    whole, half = ((function(s) - function(0.0)) / s for s in (step, step / 2))
    return float(2 * half - whole)


def test_where_every_pool_is_on_a_kink_derivatives_are_those_that_free_weight(x64):
    def error(by_pool: np.ndarray, by_budget: float) -> float:
        return shipped(SIZES * (1 + by_pool), 64e6 * (1 + by_budget), NO_LIMIT, 1.0)[0]

    per_size, per_budget = shipped(SIZES, 64e6, NO_LIMIT, 1.0)[1]
    left, right = (one_sided(lambda h: error(np.zeros(4), h), step) for step in (-1e-5, 1e-5))
    np.testing.assert_allclose(64e6 * per_budget, right, rtol=1e-6)
    assert abs(right - left) > 1e-3
    for pool in (0, 1):
        unit = np.eye(4)[pool]
        smaller = one_sided(lambda h, unit=unit: error(h * unit, 0.0), -1e-5)
        np.testing.assert_allclose(SIZES[pool] * per_size[pool], smaller, rtol=1e-6)


def test_a_full_set_of_caps_gives_the_one_derivative_that_exists(x64):
    # At 51.2M samples one epoch of each pool is all there is: only a smaller budget leaves a choice.
    left = one_sided(lambda h: shipped(SIZES, 51.2e6 * (1 + h), 1.0, 1.0)[0], -1e-5)
    np.testing.assert_allclose(51.2e6 * shipped(SIZES, 51.2e6, 1.0, 1.0)[1][1], left, rtol=1e-6)


def test_a_limit_on_epochs_counts_only_where_it_is_traced(x64):
    moving, still = (float(shipped(SIZES, 400e6, 10.0, traced)[1][1]) for traced in (1.0, 0.0))
    above, below = (shipped(SIZES, 400e6 + step, 10.0, 1.0)[0] for step in (1e3, -1e3))
    np.testing.assert_allclose(moving, (above - below) / 2e3, rtol=1e-5)
    assert abs(still / moving - 1) > 0.5


def test_second_derivatives_are_exact_too(x64):
    def error(t: Array) -> Array:
        params = UtilityParams(
            scale=4e6 * jnp.exp(0.1 * t),
            floor=0.1,
            utility=SHIPPED.params.utility * (1 + 0.2 * t),
            half_life=jnp.asarray(SHIPPED.params.half_life) * (1 + t * jnp.array([0.3, -0.2, 0.1, 0.5])),
            reference_size=SIZES,
            dilution=0.7 + 0.1 * t,
        )
        return best_error(params, SIZES, 700e6 * jnp.exp(t), 0.0, 1.0)

    def slope(t: Array) -> Array:
        return jax.jvp(error, (t,), (1.0,))[1]

    both = jax.jit(lambda t: jax.jvp(slope, (t,), (1.0,)))
    step = 1e-5
    difference = (both(step)[0] - both(-step)[0]) / (2 * step)
    np.testing.assert_allclose(both(0.0)[1], difference, rtol=1e-6)


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
    at = jax.jit(held)(terms, np.array([1.0, 5e-17, 0, 0]), np.zeros(4), np.ones(4))
    assert at.weights.tolist() == [1, 0, 0, 0]
    # The slope of the pool that is drawn from, not that of the one with the rounding.
    assert at.price == at.right[0] != at.right[1]


def test_what_has_no_proof_is_refused():
    with pytest.raises(InputError, match="decay_shape"):
        best_error(SHIPPED.with_params(decay_shape=1.5).params, SIZES, 64e6, 0.0, 1.0)
    with pytest.raises(InputError, match="floor"):
        best_weights(SHIPPED.with_params(floor=np.full(4, 0.1)).params, SIZES, 64e6, 0.0, 1.0)
