"""What float32 costs, over every half-life and number of epochs that a sweep may meet, and the layout of many runs."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from qqtjax import laws
from qqtjax.laws import UtilityParams
from qqtjax.laws.closed_form import lost_to_repetition, value_and_slopes
from qqtjax.laws.law import errors_of, wide
from qqtjax.laws.logarithm import LARGEST, SMALLEST, log, log1p_unit
from qqtjax.runs import Run

POINTS, POOLS = 1 << 16, 4
# The largest errors, as the docstrings state them.
OF_SUMS, OF_ERRORS = 4e-6, 1e-6


def points(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Epochs from 1e-3 to 1e9 and half-lives from 0.05 to 1e7, in float32."""
    rng = np.random.default_rng(seed)
    epochs, half_lives = 10 ** rng.uniform(-3, 9, POINTS), 10 ** rng.uniform(np.log10(0.05), 7, POINTS)
    return epochs.astype(np.float32), half_lives.astype(np.float32)


def doubles(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def both(function: Any, *arguments: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Results in float32 and, at the same numbers, in float64."""
    single = [np.asarray(each) for each in jax.tree.leaves(jax.jit(function)(*arguments))]
    with jax.enable_x64(True):
        return single, [np.asarray(each) for each in jax.tree.leaves(jax.jit(function)(*doubles(arguments)))]


def test_sums_over_epochs():
    epochs, half_lives = points()
    rates = np.log(np.log(2) / half_lives).astype(np.float32)
    (single,), (double,) = both(lost_to_repetition, epochs, rates)
    assert single.dtype == np.float32
    assert np.all(single[epochs < 1] == 0)
    assert 0 < np.max(np.abs(single - double)) < OF_SUMS
    whole = np.maximum(np.floor(epochs), 1)
    ratios = np.log1p(np.maximum(epochs - whole, 0) / whole).astype(np.float32)
    for one, two in zip(*both(value_and_slopes, whole, ratios, np.exp(rates)), strict=True):
        assert np.max(np.abs(one - two)) < OF_SUMS


@pytest.mark.parametrize("dilution", [0.0, 1.0])
def test_predicted_errors(dilution: float):
    """Relative to the error y, for mixtures of four pools, utilities to -0.16."""
    rng = np.random.default_rng(1)
    epochs, half_lives = (each.reshape(POOLS, -1) for each in points(1))
    weights = rng.dirichlet(np.ones(POOLS), epochs.shape[1]).T
    seen = 10 ** rng.uniform(6, 11, epochs.shape[1])
    sizes = seen * weights / epochs
    params = UtilityParams(
        scale=4e6,
        floor=0.1,
        utility=np.array([-0.16, -0.125, -0.1, -0.085])[:, None],
        half_life=half_lives,
        reference_size=sizes if dilution == 0 else np.full((POOLS, 1), 12.8e6),
        dilution=dilution,
    )
    runs = Run(weights=weights, sizes=sizes, samples_seen=seen)
    params, runs = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), (params, runs))
    (single,), (double,) = both(lambda params, runs: laws.utility(params, runs), params, runs)
    assert single.dtype == np.float32
    assert np.max(np.abs(single / double - 1)) < OF_ERRORS


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("max_epochs", [None, 64], ids=["closed form", "scan"])
def test_pools_first_equals_vmap(rng: np.random.Generator, max_epochs: int | None):
    weights = rng.dirichlet(np.ones(3), 50)
    sizes = 10 ** rng.uniform(6, 8, (50, 3))
    sizes[::7, 0] = np.inf
    weights[::5, 1] = 0.0
    runs = Run(weights=weights, sizes=sizes, samples_seen=np.append(10 ** rng.uniform(6, 7.5, 49), 0.0))
    params = UtilityParams(
        scale=4e6,
        floor=np.array([0.1, 0.2, 0.05]),
        utility=np.array([-0.16, -0.12, -0.1]),
        half_life=np.array([0.3, 7.0, np.inf]),
        reference_size=np.full(3, 1e7),
    )
    last = jax.tree.map(lambda leaf: np.moveaxis(leaf, 0, -1), runs)
    expected = jax.vmap(lambda run: laws.utility(params, run, max_epochs))(runs)
    assert np.isinf(expected[-1])
    for options in (None, wide("cpu")):
        program = jax.jit(partial(errors_of, laws.utility, max_epochs=max_epochs), compiler_options=options)
        np.testing.assert_allclose(program(params, last), expected, rtol=1e-14)
    by_vmap = errors_of(dataclasses.replace(laws.utility, trailing=False), params, last, max_epochs)
    np.testing.assert_allclose(by_vmap, expected, rtol=1e-14)


@pytest.mark.usefixtures("x64")
def test_runs_with_earlier_training_take_the_other_way(rng: np.random.Generator):
    runs = Run(
        weights=rng.dirichlet(np.ones(2), 4),
        sizes=np.full((4, 2), 1e6),
        samples_seen=np.full(4, 8e6),
        seen_before=np.array([[1e6, 0], [0, 1e6], [3e6, 2e6], [0, 0]]),
    )
    params = UtilityParams(
        scale=4e6, floor=0.1, utility=np.full(2, -0.1), half_life=np.full(2, 3.0), reference_size=np.full(2, 1e6)
    )
    expected = jax.vmap(lambda run: laws.utility(params, run, 32))(runs)
    last = jax.tree.map(lambda leaf: np.moveaxis(leaf, 0, -1), runs)
    np.testing.assert_allclose(errors_of(laws.utility, params, last, 32), expected, rtol=1e-14)


def test_logarithms():
    rng = np.random.default_rng(2)
    near, far = rng.uniform(0, 1, 500), 10 ** rng.uniform(-36, 36, 500)
    for dtype, ulps in ((np.float64, 3), (np.float32, 3)):
        with jax.enable_x64(dtype is np.float64), mp.workdps(30):
            for function, exact, values in ((log1p_unit, mp.log1p, near), (log, mp.log, far)):
                x = values.astype(dtype)
                found = np.asarray(jax.jit(function)(x))
                want = [exact(mp.mpf(float(each))) for each in x]
                gaps = [abs(mp.mpf(float(a)) - b) / max(abs(b), mp.mpf(0.5)) for a, b in zip(found, want, strict=True)]
                assert found.dtype == dtype
                assert max(gaps) < ulps * np.finfo(dtype).eps
                slopes = jax.vmap(jax.grad(function))(jnp.asarray(x))
                np.testing.assert_allclose(slopes, 1 / (x + (function is log1p_unit)), rtol=3 * np.finfo(dtype).eps)
            assert log(jnp.asarray(0.0, dtype)) == -np.inf
            assert log(jnp.asarray(1.0, dtype)) == 0
            assert log(jnp.asarray(SMALLEST / 5, dtype)) == log(jnp.asarray(SMALLEST, dtype))
            assert log(jnp.asarray(3 * LARGEST, dtype)) == log(jnp.asarray(LARGEST, dtype))
