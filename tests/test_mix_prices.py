"""Shadow prices and entry budgets: published numbers, differences of the whole search, and a second method."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

from qqtjax import published
from qqtjax.errors import InputError
from qqtjax.laws import FittedLaw, UtilityParams, effective_data, utility
from qqtjax.mix.constraints import Constraints, Group
from qqtjax.mix.entry import entry_budgets
from qqtjax.mix.optimum import best_error, best_weights
from qqtjax.mix.prices import NewPool, break_even, shadow_prices, worth_of_new_pool
from qqtjax.runs import Pools, Run

SHIPPED = published("datacomp-tmars").utility
NAMES = SHIPPED.pools.names
# Derivatives of the best error, from a prototype checked against differences to 1e-11: rounded to four digits.
TABLE = [
    (128e6, (-0.0395, -0.0032, 0, 0), (-0.0172, -0.0012, 0, 0), -0.0674),
    (640e6, (-0.0532, -0.0208, -0.0016, 0), (-0.0251, -0.0098, -0.0007, 0), -0.0345),
    (2e9, (-0.0591, -0.0311, -0.0089, -0.0014), (-0.0283, -0.0150, -0.0043, -0.0007), -0.0150),
]


@pytest.mark.parametrize(("budget", "per_size", "per_half_life", "per_budget"), TABLE)
def test_published_pools(budget, per_size, per_half_life, per_budget):
    prices = shadow_prices(SHIPPED, budget)
    np.testing.assert_allclose(prices.log_size.right, per_size, atol=5.1e-5)
    np.testing.assert_allclose(prices.log_half_life, per_half_life, atol=5.1e-5)
    np.testing.assert_allclose(prices.log_budget.right, per_budget, atol=5.1e-5)
    for side in (prices.size, prices.log_size, prices.budget, prices.log_budget, prices.price):
        assert np.array_equal(side.left, side.right)
    np.testing.assert_allclose(prices.size.left * SHIPPED.pools.sizes, prices.log_size.left, rtol=1e-14)
    np.testing.assert_allclose(prices.half_life * SHIPPED.params.half_life, prices.log_half_life, rtol=1e-14)


@pytest.mark.parametrize("budget", [30e6, 64e6, 128e6, 640e6, 2e9])
def test_without_caps_the_rents_and_the_price_are_all_there_is(budget):
    prices = shadow_prices(SHIPPED, budget)
    log_excess = -np.log(prices.error - 0.1)
    for rents, price in zip(prices.log_size[::-1], prices.price, strict=True):
        np.testing.assert_allclose(price - rents.sum() / (prices.error - 0.1), log_excess, rtol=1e-14)


def random_law(rng: np.random.Generator, pools: int = 4) -> FittedLaw:
    sizes = np.round(np.exp(rng.uniform(np.log(4e6), np.log(4e8), pools)))
    params = UtilityParams(
        scale=rng.uniform(1e6, 4e6),
        floor=rng.uniform(0, 0.3),
        utility=-0.15 * rng.uniform(0.7, 1.0, pools),
        half_life=np.exp(rng.uniform(np.log(1), np.log(40), pools)),
        reference_size=sizes * np.exp(rng.normal(0, 0.5, pools)),
        dilution=rng.choice([0.0, 1.0, rng.uniform()]),
        amplitude=np.exp(rng.normal(0, 0.2)),
    )
    return FittedLaw(utility, params, Pools.of({NAMES[i]: sizes[i] for i in range(pools)}))


_searched = jax.jit(best_error)


def searched(fitted: FittedLaw, budget: float, constraints: Constraints, sizes=None, **params) -> float:
    """The best error after a whole search, for other sizes or parameters of the law."""
    sizes = fitted.pools.sizes if sizes is None else sizes
    bound = constraints.bind(fitted.pools, budget, sizes)
    changed = dataclasses.replace(fitted.params, **params)
    changed = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), changed)
    with jax.enable_x64(True):
        return float(_searched(changed, sizes, budget, bound.low, bound.high))


def one_sided(function, step: float) -> float:
    """A one-sided derivative at 0, extrapolated from steps h, h / 2 and h / 4."""
    first, second, third = ((function(s) - function(0.0)) / s for s in (step, step / 2, step / 4))
    coarse, fine = 2 * second - first, 2 * third - second
    return (4 * fine - coarse) / 3


def random_constraints(rng: np.random.Generator, fitted: FittedLaw, budget: float) -> Constraints:
    kind = rng.integers(4)
    names = fitted.pools.names
    if kind == 1:
        return Constraints(caps={names[0]: rng.uniform(0.3, 0.7)}, minimums={names[-1]: rng.uniform(0.01, 0.2)})
    if kind == 2:
        return Constraints(max_epochs=float(rng.uniform(1.2, 4) * budget / fitted.pools.sizes.sum()))
    if kind == 3:
        return Constraints(fixed={names[1]: rng.uniform(0.05, 0.5)}, max_epochs={names[0]: float(rng.uniform(1, 10))})
    return Constraints()


def compare(
    fitted: FittedLaw, budget: float, constraints: Constraints, step: float, tolerance: float, rtol: float = 1e-5
) -> None:
    """Every price against differences of the whole search, from below and above."""
    prices = shadow_prices(fitted, budget, constraints)
    search = partial(searched, fitted, budget, constraints)
    pools = len(fitted.pools)
    for side, way in (("left", -1.0), ("right", 1.0)):
        by_budget = one_sided(lambda h: searched(fitted, budget * np.exp(h), constraints), way * step)
        np.testing.assert_allclose(getattr(prices.log_budget, side), by_budget, rtol=rtol, atol=tolerance)
        for pool in range(pools):
            sizes = fitted.pools.sizes
            unit = np.eye(pools)[pool]
            by_size = one_sided(lambda h, unit=unit, sizes=sizes: search(sizes=sizes * np.exp(h * unit)), way * step)
            np.testing.assert_allclose(getattr(prices.log_size, side)[pool], by_size, rtol=rtol, atol=tolerance)
            half_life = np.asarray(fitted.params.half_life)
            by_half_life = one_sided(
                lambda h, unit=unit, half_life=half_life: search(half_life=half_life * np.exp(h * unit)), way * step
            )
            np.testing.assert_allclose(prices.log_half_life[pool], by_half_life, rtol=rtol, atol=tolerance)
            slopes = np.asarray(fitted.params.utility)
            by_utility = one_sided(lambda h, unit=unit, slopes=slopes: search(utility=slopes + h * unit), way * step)
            np.testing.assert_allclose(prices.utility[pool], by_utility, rtol=rtol, atol=tolerance)


def test_prices_are_what_the_whole_search_gives(rng):
    for _ in range(60):
        fitted = random_law(rng)
        budget = float(np.exp(rng.uniform(np.log(5e6), np.log(2e10))))
        compare(fitted, budget, random_constraints(rng, fitted, budget), 2e-6, 2e-8)


def kinked(rng: np.random.Generator) -> tuple[FittedLaw, float, np.ndarray] | None:
    """A law and a budget at which every pool that is drawn from ends an epoch, or None: one try."""
    fitted = random_law(rng)
    start = float(np.exp(rng.uniform(np.log(2e7), np.log(4e9))))
    weights = shadow_prices(fitted, start).weights
    epochs = np.round(start * weights / fitted.pools.sizes)
    budget = float(epochs @ fitted.pools.sizes)
    if not budget > fitted.params.scale:
        return None
    prices = shadow_prices(fitted, budget)
    if not prices.price.left > prices.price.right + 1e-6:
        return None
    return fitted, budget, prices.weights


def test_where_all_pools_are_on_kinks_both_sides_are_right(rng):
    tested = several = 0
    while tested < 25:
        found = kinked(rng)
        if found is None:
            continue
        fitted, budget, weights = found
        compare(fitted, budget, Constraints(), 2e-6, 2e-8, 5e-5)
        tested, several = tested + 1, several + (np.sum(weights > 0) > 1)
    assert several >= 5


def test_where_a_kink_is_a_fixed_bound_as_well_both_sides_are_right(rng):
    tested = 0
    while tested < 20:
        found = kinked(rng)
        if found is None or np.sum(found[2] > 0) < 2:
            continue
        fitted, budget, weights = found
        first = NAMES[int(np.argmax(weights))]
        share = float(weights.max())
        epochs = float(np.round(share * budget / fitted.pools.sizes[np.argmax(weights)]))
        for held in (
            Constraints(caps={first: share}),
            Constraints(minimums={first: share}),
            Constraints(fixed={first: share}),
            Constraints(max_epochs={first: epochs}),
        ):
            compare(fitted, budget, held, 2e-6, 2e-8, 5e-5)
        tested += 1


def test_published_pools_at_64_million():
    prices = shadow_prices(SHIPPED, 64e6)
    np.testing.assert_allclose(prices.weights, [0.8, 0.2, 0, 0], atol=1e-15)
    assert prices.log_budget.left < prices.log_budget.right < 0
    assert prices.price.left > prices.price.right
    # Growing a pool takes weight off the kinks, a smaller one frees it: more is lost than gained.
    assert np.all(prices.log_size.left[:2] < prices.log_size.right[:2])
    np.testing.assert_allclose(prices.price_error.left, -(prices.error - 0.1) * prices.price.left, rtol=1e-14)


def test_where_limits_on_epochs_leave_nothing_more_to_draw_the_right_side_is_infinite():
    prices = shadow_prices(SHIPPED, 51.2e6, Constraints(max_epochs=1))
    assert prices.log_budget.right == np.inf
    left = one_sided(lambda h: searched(SHIPPED, 51.2e6 * np.exp(h), Constraints(max_epochs=1)), -1e-5)
    np.testing.assert_allclose(prices.log_budget.left, left, rtol=1e-6)


def test_a_pool_of_unknown_size_has_no_price_of_size():
    pools = Pools.of({NAMES[0]: 12.8e6, NAMES[1]: np.inf})
    params = dataclasses.replace(
        SHIPPED.params,
        utility=np.array([-0.16, -0.125]),
        half_life=np.array([6.7, 8.5]),
        reference_size=np.array([12.8e6, np.inf]),
    )
    prices = shadow_prices(FittedLaw(utility, params, pools), 640e6)
    assert prices.weights[1] > 0
    assert prices.log_size.left[1] == prices.log_size.right[1] == prices.size.right[1] == 0
    assert np.all(np.isfinite(prices.log_size.right))


def test_break_even_prices_say_when_data_beat_compute():
    budget, pool, unit = 640e6, 1, np.eye(4)[1]
    worth = break_even(SHIPPED, budget, price_per_sample_seen=2.0)[pool]
    spent = 1e3
    data, compute = (
        searched(SHIPPED, budget + more, Constraints(), SHIPPED.pools.sizes + unit * new)
        for more, new in ((0.0, spent / worth), (spent / 2.0, 0.0))
    )
    before = searched(SHIPPED, budget, Constraints())
    np.testing.assert_allclose(data - before, compute - before, rtol=1e-4)
    assert break_even(SHIPPED, budget)[3] == 0


def test_a_new_pool_is_worth_the_compute_that_does_as_much():
    new, size, budget = NewPool(-0.14, 8.0, 10e6), 3e6, 640e6
    worth = worth_of_new_pool(SHIPPED, budget, new, size)
    with_it = _with(new, size)
    np.testing.assert_allclose(
        searched(SHIPPED, budget + worth * size, Constraints()), searched(with_it, budget, Constraints()), rtol=1e-12
    )
    # No compute is worth a second pool like the best one: the error ends above what it gives.
    like_best = NewPool(-0.16, 6.7, 12.8e6)
    assert worth_of_new_pool(SHIPPED, budget, like_best, 12.8e6) == np.inf
    assert searched(SHIPPED, 1e20, Constraints()) > searched(_with(like_best, 12.8e6), budget, Constraints())
    assert worth_of_new_pool(SHIPPED, budget, NewPool(-0.05, 5.0, 1e6), 1e6) == 0
    np.testing.assert_allclose(
        worth_of_new_pool(SHIPPED, budget, new, size, price_per_sample_seen=3.0), 3 * worth, rtol=1e-12
    )


def _with(new: NewPool, size: float) -> FittedLaw:
    params = dataclasses.replace(
        SHIPPED.params,
        utility=np.append(SHIPPED.params.utility, new.utility),
        half_life=np.append(SHIPPED.params.half_life, new.half_life),
        reference_size=np.append(SHIPPED.params.reference_size, new.reference_size),
    )
    return FittedLaw(utility, params, Pools.of({**dict(zip(NAMES, SHIPPED.pools.sizes, strict=True)), "new": size}))


def test_the_first_samples_of_a_new_pool_are_the_limit_of_few():
    new, budget = NewPool(-0.14, 8.0, 10e6), 640e6
    first = worth_of_new_pool(SHIPPED, budget, new)
    np.testing.assert_allclose(worth_of_new_pool(SHIPPED, budget, new, 1e3), first, rtol=1e-3)
    # By hand: at the price mu of the other pools each sample is shown K times, as often as pays best.
    prices = shadow_prices(SHIPPED, budget)

    def rent(epochs: float) -> float:
        rate = np.log(2) / new.half_life * epochs * new.reference_size / budget
        whole = np.arange(1, np.floor(epochs) + 1)
        spans = np.log(np.minimum(whole + 1, epochs) / whole)
        gained = np.log(budget / 4e6) - max(np.log(epochs), 0) + np.exp(-rate * whole) @ spans
        return epochs * (-new.utility * gained - float(prices.price.right))

    grid = np.linspace(0.5, 40, 400)
    near = grid[np.argmax([rent(epochs) for epochs in grid])]
    best = minimize_scalar(lambda epochs: -rent(epochs), bounds=(near - 0.2, near + 0.2), method="bounded")
    per_budget = -budget * prices.budget.right / (prices.error - 0.1)
    np.testing.assert_allclose(first, -best.fun / per_budget, rtol=1e-6)


def test_published_entry_budgets():
    np.testing.assert_allclose(entry_budgets(SHIPPED, 2e9), [4e6, 38.4e6, 339.35e6, 1040.5e6], rtol=3e-5)
    np.testing.assert_allclose(entry_budgets(SHIPPED, 2e9)[1], 38.4e6, rtol=1e-13)
    exposure_only = SHIPPED.with_params(dilution=0.0)
    np.testing.assert_allclose(entry_budgets(exposure_only, 2e9), [4e6, 51.225e6, 276.07e6, 625.54e6], rtol=3e-5)
    assert entry_budgets(SHIPPED, 1e9)[3] == np.inf


def test_the_second_pool_enters_where_the_law_says_so(x64):
    """The law's own slopes at the best pool alone: no part of the solver."""
    slopes = jax.jit(
        jax.grad(
            lambda weights, n: utility(
                SHIPPED.with_params(dilution=0.0).params,
                Run(weights=weights, sizes=SHIPPED.pools.sizes, samples_seen=n),
            )
        )
    )

    def behind(n: float) -> float:
        slope = slopes(np.eye(4)[0], n)
        return float(slope[1] - slope[0])

    expected = brentq(behind, 45e6, 60e6, xtol=1e-3)
    np.testing.assert_allclose(entry_budgets(SHIPPED.with_params(dilution=0.0), 2e9)[1], expected, rtol=1e-10)


def test_entries_are_where_a_pool_s_first_sample_is_worth_the_others_price(rng, x64):
    """A pool enters where |b| log(n / n0) passes the price of the best mix without it."""
    price = jax.jit(lambda params, sizes, n, high: best_weights(params, sizes, n, 0.0, high)[1])
    entered = 0
    for _ in range(12):
        fitted = random_law(rng)
        horizon = 1e13
        entries = entry_budgets(fitted, horizon)
        slopes = -np.asarray(fitted.params.utility)
        order = np.argsort(-slopes)
        assert np.array_equal(
            np.argsort(entries, kind="stable")[np.isfinite(np.sort(entries))], order[: np.isfinite(entries).sum()]
        )
        assert entries[order[0]] == fitted.params.scale
        for pool in order[1:]:
            others = np.where(np.arange(4) == pool, 0.0, 1.0)

            def lead(n: float, pool=pool, others=others, fitted=fitted, slopes=slopes) -> float:
                # The price counts the amplitude: log(y - d) = log A0 sum w - ..., one more unit of weight adds log A0.
                worth = slopes[pool] * np.log(n / fitted.params.scale) - np.log(fitted.params.amplitude)
                return float(worth - price(fitted.params, fitted.pools.sizes, n, others))

            if np.isinf(entries[pool]):
                assert lead(horizon) < 0
                continue
            assert lead(entries[pool] * (1 - 1e-6)) < 0 < lead(entries[pool] * (1 + 1e-6))
            entered += 1
    assert entered > 12


def test_a_cap_on_the_best_pool_brings_the_next_in_at_once():
    entries = entry_budgets(SHIPPED, 2e9, Constraints(caps={NAMES[0]: 0.5}))
    assert entries[1] == 4e6
    # Limits on epochs bring each pool in when the ones before are used up, if not earlier.
    limited = entry_budgets(SHIPPED, 2e9, Constraints(max_epochs=4))
    np.testing.assert_allclose(limited[2:], [2 * 4 * 12.8e6, 3 * 4 * 12.8e6], rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: shadow_prices(dataclasses.replace(SHIPPED, law=effective_data), 64e6), "law"),
        (lambda: shadow_prices(SHIPPED.with_params(dilution=1.5), 64e6), "dilution"),
        (lambda: shadow_prices(SHIPPED.with_params(decay_shape=2.0), 64e6), "decay shape"),
        (lambda: shadow_prices(SHIPPED.with_params(floor=np.full(4, 0.1)), 64e6), "floor"),
        (lambda: shadow_prices(SHIPPED, -1.0), "budget"),
        (lambda: shadow_prices(SHIPPED, 64e6, Constraints(groups={"g": Group(NAMES[:2], 0, 0.5)})), "single pools"),
        (lambda: shadow_prices(SHIPPED, 640e6, Constraints(max_epochs=1)), "max_epochs"),
        (lambda: break_even(SHIPPED, 64e6, price_per_sample_seen=0), "price"),
        (lambda: worth_of_new_pool(SHIPPED, 64e6, NewPool(0.1, 5.0, 1e6)), "utility"),
        (lambda: worth_of_new_pool(SHIPPED, 64e6, NewPool(-0.1, 0.0, 1e6)), "half_life"),
        (lambda: worth_of_new_pool(SHIPPED, 64e6, NewPool(-0.1, 5.0, 1e6), size=0), "size"),
        (lambda: entry_budgets(SHIPPED, 1e6), "scale"),
        (lambda: entry_budgets(SHIPPED, np.nan), "horizon nan: expected a positive number"),
        (lambda: entry_budgets(SHIPPED, 1e9, {"caps": {}}), "constraints of type dict: expected Constraints"),
        (lambda: shadow_prices(SHIPPED, 64e6, {"caps": {}}), "constraints of type dict: expected Constraints"),
        (lambda: shadow_prices(SHIPPED, "a"), "budget 'a': expected a number"),
        (lambda: shadow_prices(SHIPPED.with_params(half_life=0.0), 64e6), "half_life is 0"),
        (lambda: worth_of_new_pool(SHIPPED, 64e6, (-0.2, 5, 1e6)), r"expected NewPool\(utility"),
    ],
)
def test_what_cannot_be_priced_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()
