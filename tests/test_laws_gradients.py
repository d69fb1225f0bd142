"""Every derivative of every law against 50 digits."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from qqtjax import laws
from qqtjax.laws import PowerParams, UtilityParams
from qqtjax.runs import Run

pytestmark = pytest.mark.usefixtures("x64")

TOLERANCE = 1e-9  # relative to the derivative, or to LEAST (y - d) where that is more
LEAST = 1e-8


@partial(jax.jit, static_argnums=(0, 3))
def value_and_gradient(law: laws.Law, params: Any, run: Run, max_epochs: int | None) -> tuple[Any, Any]:
    return jax.value_and_grad(lambda params, run: law(params, run, max_epochs), argnums=(0, 1))(params, run)


def gradient(law: laws.Law, params: Any, run: Run, max_epochs: int | None) -> tuple[Any, Run]:
    return value_and_gradient(law, params, run, max_epochs)[1]


def random_point(rng: np.random.Generator, pools: int, most: float, **changes: Any) -> reference.Inputs:
    """A point off the epoch ends, up to `most` epochs of its most repeated pool.

    Floor and amplitude are per pool where the number of pools is even, else shared; so is three pools' tau.
    """
    while True:
        weights, sizes = rng.dirichlet(np.ones(pools)), 10 ** rng.uniform(3, 9, pools)
        seen = float(10 ** rng.uniform(-2, np.log10(most)) / np.max(weights / sizes))
        epochs = seen * weights / sizes
        if np.all(np.abs(epochs - np.round(epochs)) > 1e-12 * epochs):
            break

    def drawn(low: float, high: float, each: bool) -> Any:
        return rng.uniform(low, high, pools).tolist() if each else float(rng.uniform(low, high))

    def drawn_log(low: float, high: float, each: bool) -> Any:
        logs = np.asarray(drawn(low, high, each))
        return (10**logs).tolist()

    given = {
        "weights": weights.tolist(),
        "sizes": sizes.tolist(),
        "samples_seen": seen,
        "scale": drawn_log(3, 9, False),
        "floor": drawn(0, 0.3, pools % 2 == 0),
        "utility": (-np.asarray(drawn_log(-2.5, -0.2, True))).tolist(),
        "half_life": drawn_log(-1, 6, pools != 3),
        "reference_size": (sizes * 10 ** rng.uniform(-1, 1, pools)).tolist(),
        "dilution": drawn(0, 2, False),
        "amplitude": drawn(0.3, 3, pools % 2 == 0),
    }
    return reference.Inputs(**{**given, **changes})


def worst_error(
    inputs: reference.Inputs, max_epochs: int | None = None, at_boundary: list[bool] | None = None
) -> float:
    """The largest error of any derivative of the utility law at a point, in the measure of `TOLERANCE`."""
    above, expected = reference.utility_gradient(inputs, at_boundary)
    found = gradient(laws.utility, *reference.arguments(inputs), max_epochs)
    names = [field.name for record in found for field in dataclasses.fields(record)]
    assert set(expected) <= set(names)
    worst = 0.0
    for record in found:
        for name, wanted in expected.items():
            if wanted is None or not hasattr(record, name):
                continue
            rows = wanted if isinstance(wanted, list) else [wanted]
            for got, want in zip(np.atleast_1d(getattr(record, name)), rows, strict=True):
                error = abs(reference.mpf(float(got)) - want) / max(abs(want), above * LEAST)
                worst = max(worst, float(error))
                assert error <= TOLERANCE, (name, float(got), float(want), inputs)
    return worst


class TestReference:
    """The reference's own derivatives, before anything is held against them."""

    @pytest.mark.parametrize("shape", [None, 1.7])
    def test_by_differences_of_the_definition(self, rng: np.random.Generator, shape: float | None):
        for pools in (1, 2):
            inputs = random_point(rng, pools, 30.0, decay_shape=shape, dilution=[0.3, 1.7][:pools])
            above, found = reference.utility_gradient(inputs)
            floor = reference.mixed(inputs.floor, inputs.weights)
            assert abs((above + floor) / reference.utility_by_definition(inputs) - 1) < 1e-45
            for name, got in found.items():
                rows = list(enumerate(got)) if isinstance(got, list) else [(None, got)]
                for index, each in rows:
                    if each is None:
                        continue
                    want = reference.difference(reference.utility_by_definition, inputs, name, index)
                    assert abs(each - want) <= 1e-28 * max(abs(want), above * LEAST), (name, index)

    def test_integer_sums_are_the_sums(self):
        for whole, rate in ((1, "0.3"), (40, "1e-7"), (700, "0.004"), (90, "3.5")):
            rate, log_ratio = reference.mpf(rate), reference.mpf("0.9") / whole
            steps = [reference.mp.log(reference.mpf(m + 1) / m) for m in range(1, whole)] + [log_ratio]
            terms = [reference.mp.exp(-rate * m) * step for m, step in enumerate(steps, 1)]
            expected = (
                reference.mp.fsum(terms),
                reference.mp.fsum(m * term for m, term in enumerate(terms, 1)),
                reference.mp.exp(-rate * whole),
            )
            found = reference.geometric_sums(whole, log_ratio, rate)
            assert all(abs(a - b) < 1e-50 for a, b in zip(found, expected, strict=True))


def log_excess(logs: jax.Array) -> jax.Array:
    """log(y - d) of one pool from the logarithms of its half-life, dilution, weight and samples seen."""
    half_life, dilution, weight, seen = jnp.exp(logs)
    params = UtilityParams(
        scale=4e6,
        floor=0.0,
        utility=jnp.asarray([-0.3]),
        half_life=half_life,
        reference_size=jnp.asarray([2e5]),
        dilution=dilution,
    )
    run = Run(weights=weight[None], sizes=jnp.asarray([1e5]), samples_seen=seen)
    return jnp.log(laws.utility(params, run))


SECOND_ORDER_POINTS = [
    np.log([half_life, 0.8, 0.6, epochs * 1e5 / 0.6])
    for half_life, epochs in ((3.0, 7.4), (0.3, 2.7), (40.0, 50.3), (500.0, 50.3))
]


class TestUtility:
    @pytest.mark.parametrize("pools", [1, 4])
    def test_closed_form(self, rng: np.random.Generator, pools: int):
        for _ in range(30):
            worst_error(random_point(rng, pools, 1e5))

    @pytest.mark.slow
    @pytest.mark.parametrize("pools", [1, 2, 3, 4])
    def test_closed_form_at_a_thousand_points(self, pools: int):
        rng = np.random.default_rng([pools, 1000])
        worst = max(worst_error(random_point(rng, pools, 1e5)) for _ in range(250))
        print(f"{pools} pools, 250 points: worst error of a derivative {worst:.1e}")

    def test_closed_form_close_to_the_epoch_ends(self, rng: np.random.Generator):
        for offset in (3e-12, -3e-12, 1e-9, -1e-9):
            for k in (1, 2, 13, 14, 977, 99_999):
                inputs = random_point(rng, 1, 1e5)
                seen = k * inputs.sizes[0] * (1 + offset)
                worst_error(inputs._replace(samples_seen=seen))

    def test_scan(self, rng: np.random.Generator):
        for _ in range(15):
            worst_error(random_point(rng, 4, 1e3), 1024)

    def test_scan_of_a_decay_shape(self, rng: np.random.Generator):
        for _ in range(15):
            shape = float(rng.uniform(0.4, 4))
            worst_error(random_point(rng, 4, 60.0, decay_shape=shape), 64)

    @pytest.mark.slow
    def test_scan_at_many_points(self):
        rng = np.random.default_rng(3)
        for _ in range(100):
            worst_error(random_point(rng, 4, 1e4), 16384)
            shape = float(rng.uniform(0.2, 10))
            worst_error(random_point(rng, 4, 200.0, decay_shape=shape), 256)

    def test_weight_zero_and_infinite_sizes(self, rng: np.random.Generator):
        """An unused pool has the derivative of using its first sample; an infinite one never repeats."""
        for _ in range(10):
            inputs = random_point(rng, 4, 1e3)
            weights, sizes, references = (list(each) for each in (inputs.weights, inputs.sizes, inputs.reference_size))
            weights[1], sizes[2], sizes[3], references[3] = 0.0, np.inf, np.inf, np.inf
            worst_error(inputs._replace(weights=weights, sizes=sizes, reference_size=references))

    def test_at_an_epoch_end_every_derivative_is_the_right_one(self, rng: np.random.Generator):
        """At n = k N / w of the first pool: from the right in n and w, from the left in N."""
        for k in (1, 2, 5, 12, 13, 14, 100, 4321, 99_999):
            inputs = random_point(rng, 4, 1e5)
            inputs = inputs._replace(samples_seen=float(k * inputs.sizes[0] / inputs.weights[0]))
            if max(epochs for _, epochs in reference.epochs_of(inputs)) < 2e5:
                worst_error(inputs, at_boundary=[True, False, False, False])

    def test_forward_mode(self):
        forward, reverse = jax.jit(jax.jacfwd(log_excess)), jax.jit(jax.grad(log_excess))
        for point in SECOND_ORDER_POINTS:
            np.testing.assert_allclose(forward(point), reverse(point), rtol=1e-13)

    @pytest.mark.slow
    def test_second_derivatives(self):
        reverse, hessian = jax.jit(jax.grad(log_excess)), jax.jit(jax.jacfwd(jax.jacfwd(log_excess)))
        for point in SECOND_ORDER_POINTS:
            rows = [(reverse(point + step) - reverse(point - step)) / 2e-6 for step in 1e-6 * np.eye(4)]
            np.testing.assert_allclose(hessian(point), rows, rtol=1e-6, atol=1e-8)


def power_arguments(inputs: reference.Inputs) -> tuple[PowerParams, Run]:
    params, run = reference.arguments(inputs)
    names = ("scale", "floor", "utility", "amplitude")
    return PowerParams(**{name: getattr(params, name) for name in names}), run


OTHERS = {
    "released_utility": (laws.released_utility, reference.released_utility, None),
    "released_utility, shaped": (laws.released_utility, reference.released_utility, 64),
    "effective_data": (laws.effective_data, reference.effective_data, 64),
    "power": (laws.power, reference.power, None),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_laws_by_differences_in_fifty_digits(rng: np.random.Generator, case: str):
    """These have no derivative written by hand: the reference is differenced where 30 digits are left."""
    law, by_formula, max_epochs = OTHERS[case]
    shape = 1.6 if "shaped" in case else None
    for _ in range(4):
        inputs = random_point(rng, 2, 40.0, decay_shape=shape)
        split = power_arguments if law is laws.power else reference.arguments
        found = gradient(law, *split(inputs), max_epochs)
        above = by_formula(inputs)
        for record in found:
            for field in dataclasses.fields(record):
                got = getattr(record, field.name)
                if got is None:
                    continue
                for index, each in enumerate(np.atleast_1d(got)):
                    want = reference.difference(by_formula, inputs, field.name, index if np.ndim(got) else None)
                    error = abs(reference.mpf(float(each)) - want) / max(abs(want), above * LEAST)
                    assert error <= TOLERANCE, (field.name, index, float(each), float(want), inputs)


EDGES = [
    ([0.5, 0.5], [1e6, np.inf]),
    ([1.0, 0.0], [1e6, 1e6]),
    ([1.0, 0.0], [1e6, np.inf]),
    ([0.0, 1.0], [1e6, np.inf]),
]


@pytest.mark.parametrize(
    ("law", "length"),
    [(laws.utility, None), (laws.released_utility, None), (laws.effective_data, 64)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_everything_is_finite_at_the_edges(law: laws.Law, length: int | None):
    """Weight 0, infinite sizes, epoch ends, half-lives 0.1 to 1e6, any dilution, 1e6 epochs (scan: 64)."""
    most = 64.0 if length else 1e6
    for weights, sizes in EDGES:
        for dilution in (0.0, 0.5, 1.0, 2.0):
            for epochs in (1e-6, 1.0, 37.0, most):
                for half_life in (0.1, 1e6):
                    inputs = reference.Inputs(
                        weights=weights,
                        sizes=sizes,
                        samples_seen=epochs * 1e6 / (weights[0] or 1.0),
                        scale=4e6,
                        floor=[0.1, 0.2],
                        utility=[-0.2, -0.1],
                        half_life=[half_life] * 2,
                        reference_size=sizes,
                        dilution=dilution,
                        amplitude=[1.0, 2.0],
                    )
                    found = value_and_gradient(law, *reference.arguments(inputs), length)
                    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found)), inputs


def test_the_floor_of_the_released_law_sinks_with_its_gradient():
    """dy/dd is the repetition product there, and the weights in the equation."""
    inputs = reference.Inputs(
        weights=[1.0, 0.0],
        sizes=[1e6, 1e6],
        samples_seen=2e6,
        scale=4e6,
        floor=[0.1, 0.1],
        utility=[-0.2, -0.1],
        half_life=[3.0, 3.0],
        reference_size=[1e6, 1e6],
        amplitude=[1.0, 1.0],
    )
    params, run = reference.arguments(inputs)
    assert gradient(laws.utility, params, run, None)[0].floor.tolist() == [1, 0]
    product = 2 ** (-0.2 * 2 ** (-1 / 3))
    found = gradient(laws.released_utility, params, run, None)[0].floor
    np.testing.assert_allclose(found, [product, 0], rtol=1e-14)
