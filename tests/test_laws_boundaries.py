"""Exact epoch ends: counted as whole, continuous in value, and with the derivative from the right."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
import reference

from qqtjax import laws
from qqtjax.laws import repetition
from qqtjax.runs import Run

count_epochs = jax.jit(repetition.count_epochs)
EPOCHS = np.unique(np.concatenate([np.arange(1, 65), np.geomspace(65, 1e5, 200).astype(int)])).astype(float)


def ends(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(k, n, w, N) with n = k N / w rounded to a float, for simple and for arbitrary weights and sizes."""
    k = np.repeat(EPOCHS, 20)
    weights = np.where(rng.random(k.size) < 0.5, rng.integers(1, 21, k.size) / 20, rng.uniform(0.01, 1, k.size))
    sizes = np.where(rng.random(k.size) < 0.5, rng.integers(1, 2000, k.size) * 6400.0, rng.uniform(1e3, 1e8, k.size))
    return k, k * sizes / weights, weights, sizes


@pytest.mark.usefixtures("x64")
class TestCount:
    def test_whole_where_the_float_quotient_misses_by_an_ulp_or_two(self, rng: np.random.Generator):
        k, seen, weights, sizes = ends(rng)
        ulps = np.abs(seen * weights / sizes - k) / np.spacing(k)
        assert np.max(ulps) >= 1  # the floats do miss
        assert np.any(seen * weights / sizes < k)
        for moved in (seen, np.nextafter(seen, 0), np.nextafter(seen, np.inf)):
            epochs = count_epochs(moved, weights, sizes)
            np.testing.assert_array_equal(epochs.whole, k)
            np.testing.assert_array_equal(epochs.log_ratio, 0.0)
            np.testing.assert_allclose(epochs.log_epochs, np.log(k), rtol=1e-15, atol=0)

    def test_not_whole_a_little_beside_it(self, rng: np.random.Generator):
        k, seen, weights, sizes = ends(rng)
        before, after = (
            count_epochs(seen * (1 - 1e-12), weights, sizes),
            count_epochs(seen * (1 + 1e-12), weights, sizes),
        )
        np.testing.assert_array_equal(before.whole, k - 1)
        np.testing.assert_array_equal(after.whole, k)
        np.testing.assert_allclose(after.log_ratio, 1e-12, rtol=2e-3)
        later = k > 1
        np.testing.assert_allclose(before.log_ratio[later], np.log(k[later] / (k[later] - 1)), rtol=1e-6)

    def test_nothing_seen_nothing_drawn_and_endless_pools(self):
        for seen, weight, size in ((0.0, 1.0, 1e6), (1e9, 0.0, 1e6), (1e9, 1.0, np.inf), (9.9e5, 1.0, 1e6)):
            assert [float(each) for each in count_epochs(seen, weight, size)] == [0.0, 0.0, 0.0]


def test_whole_in_float32():
    """Counts beyond 2^24 have no exact float32, and yet 640M samples at a half of 32M are ten epochs."""
    for k, weight, size in ((10, 0.5, 32e6), (25, 0.2, 5.12e6), (7, 0.3, 12.8e6), (100, 1.0, 12_345_678.0)):
        epochs = count_epochs(*(np.float32(each) for each in (k * size / weight, weight, size)))
        assert epochs.whole.dtype == np.float32
        assert (float(epochs.whole), float(epochs.log_ratio)) == (k, 0.0)


SIZE, HALF_LIFE, SLOPE, SCALE, FLOOR = 1.7e6, 6.0, -0.23, 4e6, 0.1


def one_pool(**changes: Any) -> reference.Inputs:
    given = {
        "weights": [1.0],
        "sizes": [SIZE],
        "samples_seen": SIZE,
        "scale": SCALE,
        "floor": FLOOR,
        "utility": [SLOPE],
        "half_life": [HALF_LIFE],
        "reference_size": [SIZE],
    }
    return reference.Inputs(**{**given, **changes})


LENGTHS = {laws.utility: [None, 256], laws.effective_data: [256], laws.released_utility: [None]}
CASES = [(law, length) for law, lengths in LENGTHS.items() for length in lengths]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("law", "length"), CASES, ids=lambda value: getattr(value, "name", str(value)))
def test_continuous_with_the_slope_of_the_coming_epoch(law: laws.Law, length: int | None):
    """In the utility law log(y - d) has the slope b delta^k from n = k N on, and b delta^(k-1) before it."""
    floor = 0.0 if law is laws.released_utility else FLOOR
    params, run = reference.arguments(one_pool(floor=floor))

    @jax.jit
    def value_and_slope(seen: Any) -> tuple[jax.Array, jax.Array]:
        def error(seen: Any) -> jax.Array:
            return law(params, Run(weights=run.weights, sizes=run.sizes, samples_seen=seen), length)

        return jax.value_and_grad(error)(seen)

    for k in (1, 2, 3, 11, 64, 200):
        end = k * SIZE
        at, right = (float(each) for each in value_and_slope(end))
        before, left = (float(each) for each in value_and_slope(end * (1 - 1e-9)))
        assert before == pytest.approx(at, rel=1e-8, abs=0)
        assert before >= at
        delta = 2 ** (-1 / HALF_LIFE)
        if law is laws.effective_data:
            effective = SIZE * np.sum(delta ** np.arange(k))
            slopes = [SLOPE * delta**j * end / effective for j in (k, k - 1)]
        else:
            slopes = [SLOPE * delta**j for j in (k, k - 1)]
        found = [right * end / (at - floor), left * end / (before - floor)]
        assert found == pytest.approx(slopes, rel=1e-7, abs=1e-14)
        after = float(value_and_slope(end * (1 + 1e-6))[0])
        assert (after - at) / (end * 1e-6) == pytest.approx(right, rel=1e-5, abs=1e-16)
