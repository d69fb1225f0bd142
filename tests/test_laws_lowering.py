"""The laws compiled: for other devices, in float32, under every transformation, no more often than needed."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.export
import numpy as np
import pytest
from reference import evaluate

from qqtjax import laws
from qqtjax.laws import EffectiveSamplesParams, FittedLaw, PowerParams, UtilityParams
from qqtjax.runs import Pools, Run

SCANS = 64
PARAMS = UtilityParams(
    scale=4e6,
    floor=0.1,
    utility=np.array([-0.16, -0.125, -0.1, -0.085]),
    half_life=np.array([6.7, 8.5, 5.3, 2.3]),
    reference_size=np.full(4, 12.8e6),
)
SHAPED = dataclasses.replace(PARAMS, decay_shape=1.5)
BLIND = PowerParams(scale=4e6, floor=0.1, utility=PARAMS.utility)
SATURATING = EffectiveSamplesParams(
    scale=np.array([4e6, 6e6, 9e6, 2e7]), floor=0.1, exponent=0.15, saturation=np.array([6.7, 8.5, 5.3, 2.3])
)
CASES = {
    "utility": (laws.utility, PARAMS, None),
    "utility by scan": (laws.utility, PARAMS, SCANS),
    "utility, shaped": (laws.utility, SHAPED, SCANS),
    "released_utility": (laws.released_utility, PARAMS, None),
    "effective_data": (laws.effective_data, PARAMS, SCANS),
    "effective_samples": (laws.effective_samples, SATURATING, None),
    "power": (laws.power, BLIND, None),
}


def mostly_slow(*quick: str) -> list[Any]:
    """All cases, of which only some are compiled in the quick suite."""
    return [case if case in quick else pytest.param(case, marks=pytest.mark.slow) for case in CASES]


def batch(count: int = 8, seed: int = 0) -> Run:
    """Runs of up to 60 epochs."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(4), count)
    sizes = 10 ** rng.uniform(6, 8, (count, 4))
    return Run(
        weights=weights,
        sizes=sizes,
        samples_seen=10 ** rng.uniform(-1, np.log10(60), count) / np.max(weights / sizes, axis=1),
    )


def cast(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype), tree)


def slopes(law: laws.Law, max_epochs: int | None, params: Any, runs: Run) -> Any:
    """Values and gradients of a batch of runs: jit, vmap and grad at once."""

    def one(params: Any, run: Run) -> Any:
        return jax.value_and_grad(lambda *both: law(*both, max_epochs), argnums=(0, 1))(params, run)

    return jax.vmap(one, in_axes=(None, 0))(params, runs)


@pytest.mark.parametrize("case", CASES)
def test_lowers_for_accelerators(case: str):
    law, params, max_epochs = CASES[case]
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            function = jax.jit(partial(slopes, law, max_epochs))
            exported = jax.export.export(function, platforms=["cuda", "tpu"])(cast(params, dtype), cast(batch(), dtype))
        assert exported.platforms == ("cuda", "tpu")
        assert {aval.dtype for aval in exported.out_avals} == {np.dtype(dtype)}
        kind = "f64" if dtype == np.float64 else "f32"
        assert f"{kind}>" in exported.mlir_module()
        if dtype == np.float32:
            assert "f64" not in exported.mlir_module()


# Error of float32 relative to float64 at the same float32 inputs: of y relative to y, and of x dy/dx relative
# to the largest |x dy/dx| of the run (a derivative that is a small difference of large terms keeps theirs).
FLOAT32_VALUE, FLOAT32_GRADIENT = 3e-6, 3e-5


@pytest.mark.parametrize("case", mostly_slow("utility"))
def test_float32(case: str):
    """What a caller without 64 bits gets: float32 throughout, and close."""
    law, params, max_epochs = CASES[case]
    count = 256
    single = cast((params, batch(count)), np.float32)
    function = jax.jit(partial(slopes, law, max_epochs))
    assert not jax.config.jax_enable_x64
    value, gradient = jax.tree.map(np.asarray, function(*single))
    with jax.enable_x64(True):
        exact = cast(single, np.float64)
        exact_value, exact_gradient = jax.tree.map(np.asarray, function(*exact))
    assert np.max(np.abs(value / exact_value - 1)) < FLOAT32_VALUE
    largest, errors = np.zeros(count), np.zeros(count)
    for x, got, want in zip(*map(jax.tree.leaves, (exact, gradient, exact_gradient)), strict=True):
        scale = np.broadcast_to(np.abs(x), np.shape(got)).reshape(count, -1)
        got, want = got.reshape(count, -1), want.reshape(count, -1)
        largest = np.maximum(largest, np.max(scale * np.abs(want), axis=1))
        errors = np.maximum(errors, np.max(scale * np.abs(got - want), axis=1))
    assert np.max(errors / largest) < FLOAT32_GRADIENT


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("wide", [False, True], ids=["default", "x64"])
def test_the_dtype_follows_the_inputs(case: str, wide: bool):
    """No 64 bits are needed, and none appear for inputs of 32."""
    law, params, max_epochs = CASES[case]
    with jax.enable_x64(wide):
        found = jax.eval_shape(partial(slopes, law, max_epochs), *cast((params, batch()), np.float32))
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float32)}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", CASES)
def test_no_implicit_promotion(case: str):
    """Ranks and dtypes are never promoted behind the reader's back."""
    law, params, max_epochs = CASES[case]
    params, runs = cast((params, batch(1)), np.float64)
    run = jax.tree.map(lambda leaf: leaf[0], runs)
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        assert jax.eval_shape(lambda *both: law(*both, max_epochs), params, run).shape == ()


@pytest.mark.parametrize("case", CASES)
def test_one_run_in_one_number_out(case: str):
    law, params, max_epochs = CASES[case]
    runs = batch(3)
    run = jax.tree.map(lambda leaf: leaf[0], runs)
    assert jax.eval_shape(lambda run: law(params, run, max_epochs), run).shape == ()
    assert jax.eval_shape(jax.vmap(lambda run: law(params, run, max_epochs)), runs).shape == (3,)


@pytest.mark.parametrize("case", CASES)
def test_a_new_budget_is_not_a_new_program(case: str):
    law, params, max_epochs = CASES[case]
    traces = 0

    @jax.jit
    def error(params: Any, run: Run) -> jax.Array:
        nonlocal traces
        traces += 1
        return law(params, run, max_epochs)

    for seen in (32e6, 128e6, 640e6, 1.28e7):
        error.lower(params, Run(weights=np.full(4, 0.25), sizes=np.full(4, 12.8e6), samples_seen=seen))
    error.lower(
        dataclasses.replace(params, scale=params.scale * 0.75, floor=0.2),
        Run(weights=np.array([1.0, 0, 0, 0]), sizes=np.full(4, np.inf), samples_seen=1e9),
    )
    assert traces == 1


@pytest.mark.parametrize("scans", [False, True], ids=["closed form", "scan"])
def test_predictions_trace_once_a_bucket(scans: bool):
    """`FittedLaw.predict` picks the length: new budgets inside one power of two reuse the program."""
    lengths = []

    def counting(params: Any, run: Run, max_epochs: int | None) -> jax.Array:
        lengths.append(max_epochs)
        return laws.utility.function(params, run, max_epochs)

    law = dataclasses.replace(laws.utility, function=counting)
    fitted = FittedLaw(law, SHAPED if scans else PARAMS, Pools.of(dict.fromkeys("abcd", 12.8e6)))
    for epochs in (33.0, 40.0, 50.7, 63.0):
        fitted.predict({"a": 1}, epochs * 12.8e6)
    assert lengths == ([64] if scans else [None])
    fitted.predict({"a": 1}, 100 * 12.8e6)
    assert lengths == ([64, 128] if scans else [None])


@pytest.mark.parametrize("case", mostly_slow("utility", "effective_data"))
def test_a_fitted_law_predicts_in_float64_under_any_default(case: str):
    law, params, max_epochs = CASES[case]
    pools = Pools.of({"a": 12.8e6, "b": 6.4e6, "c": 3e7, "d": np.inf})
    fitted = FittedLaw(law, params, pools)
    seen = np.array([1e6, 64e6, 301e6])
    weights = {"a": 0.5, "b": 0.3, "d": 0.2}
    assert not jax.config.jax_enable_x64
    predicted = fitted.predict(weights, seen)
    assert predicted.dtype == np.float64
    with jax.enable_x64(True):
        expected = [evaluate(law, params, fitted.run(weights, each), max_epochs) for each in seen]
    np.testing.assert_allclose(predicted, expected, rtol=1e-14)
    np.testing.assert_array_equal(fitted.predict(weights, seen[1]), predicted[1])


def test_runs_spread_over_two_devices():
    """A batch sharded over devices gives what one device gives."""
    assert jax.device_count() >= 2
    mesh = jax.make_mesh((2,), ("runs",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("runs"))
    runs = cast(batch(16), np.float32)
    function = jax.jit(jax.vmap(lambda run: laws.utility(PARAMS, run)))
    found = function(jax.device_put(runs, spread))
    assert len(found.sharding.device_set) == 2
    np.testing.assert_allclose(found, function(runs), rtol=1e-6)
