"""Schedules: the scan against exact integrals, the closed form against brute force, the search against both."""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mpmath import MPContext

from qqtjax.errors import InputError
from qqtjax.io.published import published
from qqtjax.laws import FittedLaw, UtilityParams, effective_data, utility
from qqtjax.mix.best_first import best_first
from qqtjax.mix.optimize import optimize_mix
from qqtjax.mix.schedule import Schedule, evaluate_schedule, predict_schedule, schedule_error
from qqtjax.mix.schedules import optimize_schedule
from qqtjax.runs import Pools

mp = MPContext()
mp.dps = 40
mpf = mp.mpf

SHIPPED = published("datacomp-tmars").utility.with_params(dilution=0.0)
BUDGETS = (64e6, 128e6, 640e6, 2e9)
STATIC = (
    [0.9245, 0.0755, 0, 0],
    [0.7099, 0.2901, 0, 0],
    [0.5462, 0.3444, 0.0972, 0.0123],
    [0.5484, 0.3262, 0.0997, 0.0257],
)


def small(shape: float | None = None, sizes: Sequence[float] = (3e6, 5e6, 2e6)) -> FittedLaw:
    params = UtilityParams(
        scale=1e6,
        floor=0.1,
        utility=np.array([-0.2, -0.15, -0.12]),
        half_life=np.array([1.5, 4.0, 2.5]),
        reference_size=np.array(sizes),
        dilution=0.0,
        decay_shape=shape,
    )
    return FittedLaw(utility, params, Pools.of(dict(zip("abc", sizes, strict=True))))


def schedule_of(fitted: FittedLaw, weights: Any, ends: Any, warmup: Any) -> Schedule:
    values = {"weights": weights, "ends": ends, "sizes": fitted.pools.sizes, "warmup": warmup}
    return Schedule(**{name: np.asarray(value, np.float64) for name, value in values.items()})


def worth(params: UtilityParams, i: int, epoch: int) -> mpf:
    shape = 1 if params.decay_shape is None else params.decay_shape
    half_life = mpf(float(np.asarray(params.half_life)[i]))
    return mpf(2) ** -((mpf(epoch) / half_life) ** mpf(shape)) if epoch else mpf(1)


def exact_error(fitted: FittedLaw, schedule: Schedule) -> mpf:
    """The integral piece by piece in 40 digits: all segment ends and epoch ends sorted, D(floor(x)) at midpoints."""
    params = fitted.params
    stops = [mpf(float(params.scale)), *(mpf(float(end)) for end in schedule.ends)]
    total = mpf(0)
    seen = [mpf(float(w)) * stops[0] / mpf(float(n)) for w, n in zip(schedule.warmup, schedule.sizes, strict=True)]
    for row, low, high in zip(schedule.weights, stops, stops[1:], strict=False):
        for i, size in enumerate(schedule.sizes):
            pace = mpf(float(row[i])) / mpf(float(size))
            after = seen[i] + pace * (high - low)
            cuts = (
                [low + (j - seen[i]) / pace for j in range(int(mp.ceil(seen[i])), int(mp.floor(after)) + 1)]
                if pace
                else []
            )
            knots = [low, *(cut for cut in cuts if low < cut < high), high]
            for left, right in itertools.pairwise(knots):
                epoch = int(mp.floor(seen[i] + pace * ((left + right) / 2 - low)))
                total += (
                    mpf(float(params.utility[i])) * mpf(float(row[i])) * worth(params, i, epoch) * mp.log(right / left)
                )
            seen[i] = after
    return mpf(float(params.floor)) + mpf(float(params.amplitude)) * mp.exp(total)


def exact_best(fitted: FittedLaw, budget: float, warmup: Sequence[float]) -> mpf:
    """Best first with a heap, one layer at a time, in 40 digits."""
    params = fitted.params
    seen, gained = mpf(float(params.scale)), mpf(0)
    heap = []
    for i, size in enumerate(fitted.pools.sizes):
        begun = mpf(float(warmup[i])) * seen / mpf(float(size))
        epoch = int(mp.floor(begun))
        mass = (epoch + 1 - begun) * mpf(float(size))
        heapq.heappush(heap, (mpf(float(params.utility[i])) * worth(params, i, epoch), i, epoch, mass))
    while seen < budget:
        value, i, epoch, mass = heapq.heappop(heap)
        after = min(seen + mass, mpf(budget))
        gained += value * mp.log(after / seen)
        seen = after
        following = mpf(float(params.utility[i])) * worth(params, i, epoch + 1)
        heapq.heappush(heap, (following, i, epoch + 1, mpf(float(fitted.pools.sizes[i]))))
    return mpf(float(params.floor)) + mpf(float(params.amplitude)) * mp.exp(gained)


def drawn_schedule(seed: int, fitted: FittedLaw, segments: int, budget: float) -> Schedule:
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(3, 0.4), segments)
    weights[rng.random((segments, 3)) < 0.2] = 0.0
    weights[weights.sum(1) == 0] = [1.0, 0, 0]
    ends = np.sort(rng.uniform(1e6, budget, segments))
    ends[-1] = budget
    return schedule_of(fitted, weights / weights.sum(1, keepdims=True), ends, rng.dirichlet(np.ones(3)))


@pytest.mark.parametrize("shape", [None, 2.5, 0.6])
@pytest.mark.parametrize("segments", [1, 2, 9])
def test_the_scan_is_the_integral(shape: float | None, segments: int):
    fitted = small(shape)
    for seed in range(6):
        one = drawn_schedule(seed, fitted, segments, 40e6)
        found = predict_schedule(fitted, one.weights, one.ends, one.warmup)
        assert found == pytest.approx(float(exact_error(fitted, one)), abs=2e-15)


def test_exact_epoch_boundaries():
    """Whole epochs at the ends of segments, at the start, with a pause before the next."""
    fitted = small(sizes=(1e6, 2e6, 4e6))
    one = schedule_of(
        fitted, [[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0], [0.25, 0.25, 0.5]], [3e6, 11e6, 15e6, 31e6], [1, 0, 0]
    )
    found = predict_schedule(fitted, one.weights, one.ends, one.warmup)
    assert found == pytest.approx(float(exact_error(fitted, one)), abs=2e-15)


def test_many_epochs_in_many_segments():
    """Rounding does not add up over 400 segments and 2,000 epochs."""
    fitted = small(sizes=(1e4, 5e6, 2e6))
    one = drawn_schedule(3, fitted, 400, 60e6)
    found = predict_schedule(fitted, one.weights, one.ends, one.warmup)
    assert found == pytest.approx(float(exact_error(fitted, one)), abs=1e-14)


@pytest.mark.parametrize("shape", [None, 2.5])
def test_constant_weights_are_the_static_law(shape: float | None):
    """With the warm-up at the same weights, while n0 lies in the first epoch of every pool."""
    fitted = small(shape)
    for seed, segments in itertools.product(range(4), (1, 7)):
        weights = np.random.default_rng(seed).dirichlet(np.ones(3))
        ends = np.linspace(1e6, 50e6, segments + 1)[1:]
        found = predict_schedule(fitted, np.tile(weights, (segments, 1)), ends, weights)
        assert found == pytest.approx(float(fitted.predict(weights, 50e6)), abs=1e-14)


def test_infinite_pools_are_never_repeated():
    fitted = small(sizes=(np.inf, np.inf, np.inf))
    rows = np.array([[0.5, 0.5, 0], [0.0, 0.2, 0.8]])
    slopes = rows @ fitted.params.utility
    expected = 0.1 + np.exp(slopes[0] * np.log(4.0) + slopes[1] * np.log(10.0))
    assert predict_schedule(fitted, rows, [4e6, 40e6]) == pytest.approx(expected, abs=1e-15)
    best = best_first(fitted, 40e6)
    assert best.error == pytest.approx(0.1 + 40.0**-0.2, abs=1e-15)
    assert best.epochs.tolist() == [0, 0, 0]


@partial(jax.jit, static_argnums=2)
def slopes_of(params: UtilityParams, schedule: Schedule, max_epochs: int) -> tuple[jax.Array, Any]:
    return jax.value_and_grad(schedule_error, argnums=(0, 1))(params, schedule, max_epochs)


def gradient_of(fitted: FittedLaw, schedule: Schedule, max_epochs: int = 32) -> tuple[float, Any]:
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), fitted.params)
    with jax.enable_x64(True):
        value, gradient = slopes_of(params, schedule, max_epochs)
        return float(value), jax.tree.map(np.asarray, gradient)


def moved(fitted: FittedLaw, schedule: Schedule, where: tuple[str, ...], place: Any, by: float) -> float:
    """The error with one number of the parameters or of the schedule moved, from the compiled scan."""
    owner, name = where
    values = {"params": fitted.params, "schedule": schedule}
    fields = {**values[owner].__dict__}
    leaf = np.array(fields[name], np.float64)
    leaf[place] += by
    fields[name] = leaf
    values[owner] = type(values[owner])(**fields)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), values["params"])
    with jax.enable_x64(True):
        return float(slopes_of(params, values["schedule"], 32)[0])


FIELDS = [("params", each) for each in ("scale", "floor", "utility", "half_life", "amplitude")]
FIELDS += [("schedule", each) for each in ("weights", "ends", "sizes", "warmup")]


@pytest.mark.parametrize("shape", [None, 2.5])
@pytest.mark.parametrize("where", FIELDS, ids=lambda each: each[1])
def test_gradients_against_central_differences(where: tuple[str, str], shape: float | None):
    """Off the boundaries; the weights are moved freely, off the simplex, through the boundaries that they move."""
    fitted = small(shape)
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        one = schedule_of(fitted, rng.dirichlet(np.ones(3), 4), [5e6, 13e6, 21e6, 40e6], [0.5, 0.3, 0.2])
        _, gradient = gradient_of(fitted, one)
        found = getattr(gradient[0 if where[0] == "params" else 1], where[1])
        values = np.array(getattr(fitted.params if where[0] == "params" else one, where[1]), np.float64)
        for place in np.ndindex(values.shape):
            step = 1e-6 * max(abs(values[place]), 0.1)
            difference = moved(fitted, one, where, place, step) - moved(fitted, one, where, place, -step)
            assert found[place] * step == pytest.approx(difference / 2, rel=2e-6, abs=2e-15)


@pytest.mark.parametrize("offset", [-1e-5, 1e-5])
def test_gradients_beside_a_boundary(offset: float):
    """A pool ends an epoch just before or just after the end of a segment, then pauses."""
    fitted = small(sizes=(2e6, 40e6, 40e6))
    weights = np.array([[0.5 + offset, 0.5 - offset, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    one = schedule_of(fitted, weights, [9e6, 16e6, 21e6], [0.0, 1.0, 0.0])  # epoch 2 ends at 9M
    _, gradient = gradient_of(fitted, one)
    for place in np.ndindex(weights.shape):
        step = 1e-6
        high, low = (moved(fitted, one, ("schedule", "weights"), place, by) for by in (step, -step))
        if weights[place] > 0:
            assert gradient[1].weights[place] * 2 * step == pytest.approx(high - low, rel=1e-5, abs=1e-14)
        base = moved(fitted, one, ("schedule", "weights"), place, 0.0)
        assert gradient[1].weights[place] * step == pytest.approx(high - base, rel=1e-4, abs=1e-13)


def test_the_derivative_at_a_boundary_is_the_right_one():
    """Epoch 2 ends where the segment ends: with a pause after it, the two sides differ by what an epoch decays."""
    fitted = small(sizes=(2e6, 40e6, 40e6))
    one = schedule_of(fitted, [[0.5, 0.5, 0], [0, 1, 0], [1, 0, 0]], [9e6, 16e6, 21e6], [0, 1, 0])
    _, gradient = gradient_of(fitted, one)
    right, left = (moved(fitted, one, ("schedule", "weights"), (0, 0), by) for by in (1e-7, -1e-7))
    base = moved(fitted, one, ("schedule", "weights"), (0, 0), 0.0)
    found = gradient[1].weights[0, 0] * 1e-7
    assert found == pytest.approx(right - base, rel=1e-5)
    # (y - d) b N (D(1) - D(2)) (1 / 9M - 1 / 16M) x (8M / N) of a weight: where the pool goes on makes the kink.
    decayed = 2 ** (-1 / 1.5) - 2 ** (-2 / 1.5)
    kink = (base - 0.1) * 0.2 * 8e6 * decayed * (1 / 9e6 - 1 / 16e6)
    assert (right - base) - (base - left) == pytest.approx(kink * 1e-7, rel=1e-5)
    # Without a pause there is no kink, and both sides are the gradient.
    going_on = schedule_of(fitted, [[0.5, 0.5, 0], [0.5, 0.5, 0], [1, 0, 0]], [9e6, 16e6, 21e6], [0, 1, 0])
    _, gradient = gradient_of(fitted, going_on)
    high, low = (moved(fitted, going_on, ("schedule", "weights"), (0, 0), by) for by in (1e-6, -1e-6))
    assert gradient[1].weights[0, 0] * 2e-6 == pytest.approx(high - low, rel=1e-6)


def test_gradients_are_finite_at_the_edges():
    """Weights of 0 and next to 0, infinite sizes, whole epochs everywhere."""
    fitted = small(sizes=(1e6, np.inf, 4e6))
    one = schedule_of(
        fitted, [[1, 0, 0], [0, 1, 0], [1e-300, 1 - 1e-17, 1e-17], [0.5, 0, 0.5]], [3e6, 5e6, 7e6, 31e6], [1, 0, 0]
    )
    value, gradient = gradient_of(fitted, one)
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_nan_beyond_max_epochs_never_a_short_sum():
    fitted = small()
    one = schedule_of(fitted, [[1, 0, 0]], [16.5e6], [0, 1, 0])  # 15.5M of 3M: ends 5 epochs
    value, gradient = gradient_of(fitted, one, 4)
    assert np.isnan(value)
    assert np.isnan(gradient[1].weights).any()
    value, _ = gradient_of(fitted, one, 5)
    assert value == pytest.approx(float(exact_error(fitted, one)), abs=1e-15)
    falling = schedule_of(fitted, [[1, 0, 0], [1, 0, 0]], [9e6, 8e6], [0, 1, 0])
    assert np.isnan(gradient_of(fitted, falling)[0])


def test_lowers_for_accelerators_in_the_dtype_of_its_inputs():
    fitted = small()
    one = drawn_schedule(0, fitted, 3, 20e6)
    for dtype in (np.float32, np.float64):
        with (
            jax.enable_x64(dtype == np.float64),
            jax.numpy_dtype_promotion("strict"),
            jax.numpy_rank_promotion("raise"),
        ):
            cast = jax.tree.map(lambda leaf, dtype=dtype: np.asarray(leaf, dtype), (fitted.params, one))
            function = jax.jit(lambda params, schedule: slopes_of(params, schedule, 16))
            exported = jax.export.export(function, platforms=["cuda", "tpu"])(*cast)
        assert {aval.dtype for aval in exported.out_avals} == {np.dtype(dtype)}


# The closed form.


@pytest.mark.parametrize(
    ("budget", "error", "epochs"),
    [
        (64e6, 0.76957, [4, 1, 0, 0]),
        (128e6, 0.72203, [5, 4, 1, 0]),
        (640e6, 0.66046, [17, 19, 10, 4]),
        (2e9, 0.65350, [48.25, 58, 35, 15]),
    ],
)
def test_closed_form_of_the_shipped_pools(budget: float, error: float, epochs: list[float]):
    best = best_first(SHIPPED, budget)
    assert best.error == pytest.approx(error, abs=6e-6)
    assert best.error == pytest.approx(float(exact_best(SHIPPED, budget, [1, 0, 0, 0])), abs=2e-15)
    np.testing.assert_allclose(best.epochs, epochs, atol=1e-12)


@pytest.mark.parametrize(("budget", "error"), list(zip(BUDGETS, (0.764642, 0.716896, 0.655634, 0.648741), strict=True)))
def test_the_loophole_is_the_warm_up(budget: float, error: float):
    """Burning the worst pool where nothing is earned looks better than any honest schedule."""
    burnt = best_first(SHIPPED, budget, {"30-40 %": 1})
    assert burnt.error == pytest.approx(error, abs=3e-6)
    assert burnt.error == pytest.approx(float(exact_best(SHIPPED, budget, [0, 0, 0, 1])), abs=2e-15)
    assert burnt.error < best_first(SHIPPED, budget).error - 0.004


@pytest.mark.parametrize(
    ("budget", "static", "error"), list(zip(BUDGETS, STATIC, (0.769192, 0.720703, 0.658529, 0.651593), strict=True))
)
def test_a_warm_up_that_follows_the_static_mix(budget: float, static: list[float], error: float):
    weights = np.array(static) / np.sum(static)
    best = best_first(SHIPPED, budget, weights)
    assert best.error == pytest.approx(error, abs=3e-6)
    assert best.error == pytest.approx(float(exact_best(SHIPPED, budget, weights)), abs=2e-15)
    assert best.error < float(SHIPPED.predict(weights, budget))


def test_the_order_of_layers():
    """As worked out by hand from |b| 2^(-k / tau)."""
    best = best_first(SHIPPED, 150e6)
    order = [f"{pool + 1}.{epoch}" for pool, epoch in zip(best.pool, best.epoch, strict=True)]
    assert order == "1.0 1.1 1.2 2.0 1.3 2.1 2.2 1.4 3.0 2.3 1.5 2.4".split()


@pytest.mark.parametrize("shape", [None, 3.0, 0.5])
def test_the_order_as_a_schedule_has_the_error_of_the_closed_form(shape: float | None):
    fitted = small(shape)
    for budget in (1.5e6, 7e6, 33e6, 90e6):
        best = best_first(fitted, budget, [0.2, 0.5, 0.3])
        assert best.error == pytest.approx(float(exact_best(fitted, budget, [0.2, 0.5, 0.3])), abs=2e-15)
        found = predict_schedule(fitted, np.eye(3)[best.pool], best.ends, best.warmup)
        assert found == pytest.approx(best.error, abs=2e-15)
        drawn = best.epochs * fitted.pools.sizes
        assert drawn.sum() == pytest.approx(budget, rel=1e-14)


def test_no_permutation_beats_best_first():
    """Every order of half-epochs of two pools, evaluated one by one."""
    sizes = (2e6, 3e6, 1e9)
    fitted = small(sizes=sizes)
    fitted = fitted.with_params(utility=np.array([-0.2, -0.17, -1e-9]))
    budget = 11.5e6
    best = best_first(fitted, budget)
    least = np.inf
    for picks in itertools.product((0, 1), repeat=8):
        spans = [sizes[pick] / 2 for pick in picks]
        ends = 1e6 + np.cumsum(spans)
        if ends[-1] < budget:
            continue
        count = int(np.searchsorted(ends, budget)) + 1
        ends = np.minimum(ends, budget)[:count]
        # Padded with ever the same shape, so that one program serves all.
        rows = np.zeros((8, 3))
        rows[:count] = np.eye(3)[list(picks[:count])]
        rows[count:] = rows[count - 1]
        ends = np.concatenate([ends, np.full(8 - count, budget)])
        error = evaluate_schedule(fitted.params, schedule_of(fitted, rows, ends, [1, 0, 0]))
        assert error >= best.error - 1e-14
        least = min(least, error)
    assert least == pytest.approx(best.error, abs=1e-14)


def test_no_random_schedule_beats_best_first():
    fitted = small(0.7)
    for seed in range(40):
        one = drawn_schedule(seed, fitted, 5, 30e6)
        assert evaluate_schedule(fitted.params, one) > best_first(fitted, 30e6, one.warmup).error


def test_a_hundred_thousand_epochs():
    """Against the sum over the levels of the value, for pools alike but for their utility."""
    params = UtilityParams(
        scale=1e4, floor=0.0, utility=np.array([-0.2, -0.1]), half_life=1e5, reference_size=1e4, dilution=0.0
    )
    fitted = FittedLaw(utility, params, Pools.of({"a": 1e4, "b": 1e4}))
    best = best_first(fitted, 3e9)  # 300,000 epochs; b is half as good: it begins at epoch 100,000 of a
    assert best.epochs == pytest.approx([2e5, 1e5], abs=1.01)
    edges = np.arange(1, 300_001, dtype=np.float64)
    values = 0.2 * 2 ** (-np.minimum(edges, 1e5 + (edges - 1e5) / 2) / 1e5)
    gained = np.sum(values[:-1] * np.log1p(1 / edges[:-1]))
    assert best.log_excess == pytest.approx(-gained, rel=1e-5)


def test_worthless_repeats_keep_their_order():
    """Values far below the least float still sort, and the budget is drawn in full."""
    params = UtilityParams(
        scale=1e6, floor=0.1, utility=np.array([-0.2, -0.1]), half_life=0.1, reference_size=1e6, dilution=0.0
    )
    best = best_first(FittedLaw(utility, params, Pools.of({"a": 1e6, "b": 1e6})), 1e9)
    assert best.epochs == pytest.approx([500, 500], abs=1)
    fresh = 0.1 * np.log(2.0) + 0.2 * 2**-10 * np.log(1.5) + 0.1 * 2**-10 * np.log(4 / 3)
    assert -best.log_excess == pytest.approx(fresh, abs=1e-6)


def test_everlasting_half_lives_tie():
    params = UtilityParams(
        scale=1e6, floor=0.1, utility=np.array([-0.1, -0.1]), half_life=np.inf, reference_size=1e6, dilution=0.0
    )
    best = best_first(FittedLaw(utility, params, Pools.of({"a": 1e6, "b": 2e6})), 64e6)
    assert best.error == pytest.approx(0.1 + 64**-0.1, abs=1e-15)


def test_averaged_draws_what_the_order_draws():
    best = best_first(SHIPPED, 640e6)
    ends = np.geomspace(4e6, 640e6, 12)[1:]
    weights = best.averaged(ends)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-14)
    drawn = np.diff(ends, prepend=4e6) @ weights + 4e6 * best.warmup
    np.testing.assert_allclose(drawn / SHIPPED.pools.sizes, best.epochs, rtol=1e-12)


# The search.


@pytest.fixture(scope="module")
def fine() -> list[Any]:
    return [optimize_schedule(SHIPPED, budget, segments=64) for budget in BUDGETS]


def test_64_segments_reach_the_closed_form(fine: list[Any]):
    for budget, mix in zip(BUDGETS, fine, strict=True):
        exact = float(exact_best(SHIPPED, budget, [1, 0, 0, 0]))
        assert mix.best_first_error == pytest.approx(exact, abs=2e-15)
        assert -1e-12 <= mix.error - exact <= 1e-4
        one = schedule_of(SHIPPED, mix.weights, mix.ends, mix.warmup)
        assert mix.error == pytest.approx(float(exact_error(SHIPPED, one)), abs=1e-13)
        np.testing.assert_allclose(mix.weights.sum(1), 1, atol=1e-12)
        assert np.all(mix.weights >= 0)


def test_never_worse_than_its_starts(fine: list[Any]):
    for budget, mix in zip(BUDGETS, fine, strict=True):
        averaged = best_first(SHIPPED, budget).averaged(mix.ends)
        assert mix.error <= predict_schedule(SHIPPED, averaged, mix.ends)
        assert mix.error <= mix.static_error
        static = np.array(STATIC[BUDGETS.index(budget)])
        assert mix.error < float(SHIPPED.predict(static / static.sum(), budget)) - 0.003


def test_the_best_static_weights():
    """Two pools: against every weight of a grid that holds the whole epochs."""
    fitted = small(sizes=(4e6, 9e6, 1e9)).with_params(utility=np.array([-0.2, -0.19, -0.001]))
    mix = optimize_schedule(fitted, 40e6, segments=3)
    grid = np.unique(
        np.concatenate([np.linspace(0, 1, 401), (np.arange(10) * 4e6 - 1e6) / 39e6, np.arange(5) * 9e6 / 39e6])
    )
    grid = grid[(grid >= 0) & (grid <= 1)]
    both = [np.array([[w, 1 - w, 0]]) for w in np.concatenate([grid, 1 - grid])]
    least = min(predict_schedule(fitted, each, [40e6]) for each in both)
    assert mix.static_error <= least + 1e-9
    again = predict_schedule(fitted, mix.static_weights[None], [40e6])
    assert mix.static_error == pytest.approx(again, abs=1e-14)


@pytest.mark.parametrize("segments", [1, 3, 16])
def test_no_weights_of_the_same_segments_beat_the_gap(segments: int):
    """Local moves of the optimum, of every size: none gains more than the gap allows, in log(y - d)."""
    fitted = small(2.0)
    mix = optimize_schedule(fitted, 50e6, segments=segments)
    rng = np.random.default_rng(0)
    least = np.log(mix.error - 0.1) - mix.gap
    for size in np.geomspace(1e-5, 1, 60):
        row = (1 - size) * mix.weights + size * rng.dirichlet(np.full(3, 0.3), segments)
        error = predict_schedule(fitted, row, mix.ends)
        assert np.log(error - 0.1) >= least - 1e-14
    assert mix.gap < 1e-4


def test_a_gap_that_can_be_checked():
    """Two segments, two pools: a fine grid finds what the search found, within the gap and the grid."""
    fitted = small(sizes=(4e6, 9e6, 1e9)).with_params(utility=np.array([-0.2, -0.17, -0.001]))
    mix = optimize_schedule(fitted, 40e6, segments=2)
    shares = np.linspace(0, 1, 101)
    first, second = (each.ravel() for each in np.meshgrid(shares, shares))
    nothing = np.zeros_like(first)
    rows = np.stack([np.stack([w, 1 - w, nothing], 1) for w in (first, second)], axis=1)
    with jax.enable_x64(True):
        base = jax.tree.map(jnp.asarray, schedule_of(fitted, rows[0], mix.ends, mix.warmup))
        errors = jax.jit(
            jax.vmap(
                lambda row: schedule_error(
                    fitted.params, Schedule(weights=row, ends=base.ends, sizes=base.sizes, warmup=base.warmup), 16
                )
            )
        )(rows)
        least = float(jnp.min(errors))
    assert mix.error <= least + 1e-12
    assert np.log(least - 0.1) - np.log(mix.error - 0.1) < 1e-3
    assert np.log(least - 0.1) >= np.log(mix.error - 0.1) - mix.gap


def test_the_same_bytes_again():
    one, other = (optimize_schedule(SHIPPED, 128e6, segments=5).to_dict() for _ in range(2))
    assert json.dumps(one, allow_nan=False) == json.dumps(other, allow_nan=False)
    assert one["pools"]["names"][0] == "top 10 %"
    assert "any schedule with this warm-up lowers y by at most" in one["certificate"]


def test_too_many_epochs_to_search():
    """The better of the starts is returned, and says so."""
    fitted = small(sizes=(30.0, 5e6, 2e6))
    mix = optimize_schedule(fitted, 50e6, segments=2)
    assert mix.steps == 0
    assert "too large to search" in mix.certificate
    assert "too large to search" in str(mix)
    assert mix.best_first_error - 1e-12 <= mix.error <= mix.static_error


def test_the_text_is_at_most_80_columns_wide(fine: list[Any]):
    count = 14
    params = UtilityParams(
        scale=1e6, floor=0.1, utility=-np.linspace(0.2, 0.19, count), half_life=2.0, reference_size=1e6, dilution=0.0
    )
    pools = Pools.of({f"a pool with a name that goes on and on and on, number {i}": 1e6 for i in range(count)})
    many = optimize_schedule(FittedLaw(utility, params, pools), 30e6, segments=40)
    for mix in (*fine, many):
        text = str(mix)
        assert max(map(len, text.splitlines())) <= 80
        assert "never validated on data whose order was planned" in text
        assert len(text.splitlines()) < 45


# What is refused.

BAD = {
    "diluted": (lambda: published("datacomp-tmars").utility, 64e6, "dilution.*with_params"),
    "another law": (lambda: published("datacomp-tmars").effective_data, 64e6, "effective_data"),
    "budget": (lambda: SHIPPED, 4e6, "more samples than the law's scale"),
    "nan": (lambda: SHIPPED, np.nan, "budget nan"),
    "two budgets": (lambda: SHIPPED, np.array([64e6, 128e6]), "budget"),
    "scales": (lambda: SHIPPED.with_params(scale=np.full(4, 4e6)), 64e6, "scale .*shared"),
    "utility": (lambda: SHIPPED.with_params(utility=np.array([-0.1, -0.1, 0.0, -0.1])), 64e6, "below 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_planned(case: str):
    fitted, budget, message = BAD[case]
    assert effective_data != utility
    for ask in (best_first, optimize_schedule):
        with pytest.raises(InputError, match=message):
            ask(fitted(), budget)


def test_bad_segments_and_schedules():
    for segments in (0, 2.5, True):
        with pytest.raises(InputError, match="segments"):
            optimize_schedule(SHIPPED, 64e6, segments=segments)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="expected one row"):
        predict_schedule(SHIPPED, np.eye(4), [64e6])
    with pytest.raises(InputError, match="ascending"):
        predict_schedule(SHIPPED, np.eye(4)[:2], [64e6, 64e6])
    with pytest.raises(InputError, match="sum to"):
        predict_schedule(SHIPPED, [[0.5, 0, 0, 0]], [64e6])
    with pytest.raises(InputError, match=r"did you mean '10-20 %'"):
        best_first(SHIPPED, 64e6, {"10-20%": 1})
    with pytest.raises(InputError, match="epochs of pool"):
        best_first(small(sizes=(1.0, 1.0, 1.0)).with_params(half_life=np.full(3, 1e9)), 1e9)


def test_dilution_is_refused_by_the_formula_too():
    fitted = SHIPPED.with_params(dilution=0.5)
    one = schedule_of(SHIPPED, [[1, 0, 0, 0]], [64e6], [1, 0, 0, 0])
    with pytest.raises(InputError, match=r"dilution 0\.5"):
        schedule_error(fitted.params, one, 8)
    assert np.isnan(gradient_of(fitted, one, 8)[0])  # traced: its value is not known
    wide = SHIPPED.with_params(floor=np.full(4, 0.1))
    with pytest.raises(InputError, match="floor of shape"):
        schedule_error(wide.params, one, 8)


def test_the_best_static_weights_however_many_epochs(rng: np.random.Generator):
    """At 1e13 samples a search would have to scan 781,250 epochs a pool, of which all but the first wear out."""
    fitted = published("datacomp-tmars").utility.with_params(dilution=0.0)
    far, near = (optimize_schedule(fitted, budget, segments=2) for budget in (1e13, 1e10))
    assert far.static_error == pytest.approx(near.static_error, abs=1e-5)
    assert far.best_first_error <= far.error <= far.static_error
    # As close to the certain optimum of the law as the warm-up, of a third of an epoch, lets it be.
    best = optimize_mix(fitted, 1e13)
    assert best.certificate.gap <= 1e-9
    assert best.error <= far.static_error <= best.error + 2e-3
    for row in rng.dirichlet(2000 * far.static_weights + 1e-3, 10):
        assert predict_schedule(fitted, row[None], [1e13]) >= far.static_error - 1e-9
