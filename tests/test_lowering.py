"""Every compiled kernel: for accelerators without LAPACK, with float32 inputs, and traced no more often than needed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from test_laws_lowering import BLIND, CASES, PARAMS, SCANS, batch, cast, slopes

from qqtjax import laws
from qqtjax.fit import arrow, lanes, solvers
from qqtjax.fit.objective import Data, Objective, gather
from qqtjax.fit.parameters import Space, search_space
from qqtjax.laws.closed_form import lost_to_repetition, value_and_slopes
from qqtjax.laws.law import errors_of, wide
from qqtjax.mix import averaging, combined, optimum, schedule
from qqtjax.mix.separable import utility_terms
from qqtjax.mix.water_filling import water_fill
from qqtjax.runs import Pools, Run, Runs

SIZES = np.full(4, 12.8e6)
EVEN = np.full(4, 0.25)
SCHEDULE = schedule.Schedule(
    weights=np.array([[0.7, 0.3, 0, 0], [0.1, 0.2, 0.3, 0.4]]), ends=np.array([64e6, 256e6]), sizes=SIZES, warmup=EVEN
)


def table() -> Runs:
    """Four pools, each measured alone at five counts."""
    seen = np.tile(SIZES[0] * np.array([0.5, 1.0, 2.0, 5.0, 10.0]), 4)
    source = np.repeat(np.arange(4), 5)
    run = Run(weights=np.eye(4)[source], sizes=np.tile(SIZES, (20, 1)), samples_seen=seen)
    return Runs(
        pools=Pools.of(dict(zip("abcd", SIZES, strict=True))),
        source=source,
        mixes=np.zeros((0, 4)),
        mix_sizes=np.zeros((0, 4)),
        samples_seen=seen,
        error=laws.fitted.evaluate(laws.utility, PARAMS, run),
        run=source,
        run_names=tuple("abcd"),
        seed=np.zeros(20, int),
        metric=np.zeros(20, int),
    )


def fit_problem(starts: int = 4) -> tuple[Runs, Space, Objective, tuple[Any, ...]]:
    """A table, its search space, an objective, and data, starts and bounds as the solvers take them."""
    runs = table()
    space = search_space(laws.utility, runs, None, None, (), None)
    run, drawn = gather(runs)
    data = Data(run, drawn.astype(np.int32), runs.error, np.ones(20), space.fixed)
    return runs, space, Objective(space.layout, None, False, None), (data, space.draw_starts(starts, 0), *space.box())


def fit_lanes() -> tuple[Callable[..., Any], Any]:
    """Every start of one fit."""
    _, _, objective, problem = fit_problem()
    solver = solvers.LevenbergMarquardt(look=3, finalists=2, max_iterations=5)
    return partial(solvers._lm_lanes, objective, solver), problem


def fit_block(by_pool: bool) -> tuple[Callable[..., Any], Any]:
    """One block of many fits, from its start, with rows by pool or dense."""
    runs, space, objective, (data, starts, low, high) = fit_problem()
    order = np.arange(len(space))
    rows, index = data, np.arange(20)
    if by_pool:
        divided = arrow.divide(space.layout)
        assert divided is not None
        order = arrow.order(*divided)
        rows, index, _ = arrow.by_pool(runs, space)
    count = len(starts)
    own = lanes.Lanes(
        start=starts[:, order].T,
        low=np.repeat(low[order, None], count, axis=1),
        high=np.repeat(high[order, None], count, axis=1),
        error=np.repeat(runs.error[index][..., None], count, axis=-1),
        importance=np.ones((*index.shape, count)),
    )
    block = lanes.Block(objective, by_pool, 3, 1e-6)

    def advanced(rows: Any, own: Any) -> Any:
        states = lanes.blank((block,), (rows,), (own,))
        (state,) = lanes.advance((block,), (rows,), (own,), (jnp.ones(count, bool),), states)
        return state.x

    return advanced, (rows, own)


def filling() -> tuple[Callable[..., Any], Any]:
    """The best weights under bounds, for several budgets."""

    def best(params: Any, budgets: Any) -> Any:
        return jax.vmap(lambda seen: water_fill(utility_terms(params, SIZES, seen), jnp.zeros(4), jnp.ones(4)))(budgets)

    return best, (PARAMS, np.array([64e6, 256e6]))


def averaging_of_draws() -> tuple[Callable[..., Any], Any]:
    """The best weights for the mean over draws."""

    def best(params: Any, seen: Any) -> Any:
        parts = averaging.drawn_terms((laws.utility,), (params,), jnp.asarray(SIZES), seen)
        return averaging.fill_mean(parts, jnp.full(2, 0.5), jnp.zeros(4), jnp.ones(4))

    given = dataclasses.replace(PARAMS, decay_shape=None)
    return best, (jax.tree.map(lambda leaf: np.stack([leaf, leaf]).astype(float), given), np.float64(64e6))


def optimum_of(function: Callable[..., Any]) -> tuple[Callable[..., Any], Any]:
    """What is best, and its derivatives in the sizes and the budget."""

    def both(params: Any, sizes: Any, seen: Any) -> Any:
        def value(sizes: Any, seen: Any) -> Any:
            return function(params, sizes, seen, 0.0, 1.0)

        return value(sizes, seen), jax.jacobian(value, argnums=(0, 1))(sizes, seen)

    return both, (PARAMS, SIZES, np.float64(256e6))


def scheduled() -> tuple[Callable[..., Any], Any]:
    """A schedule's error and its gradient."""

    def both(params: Any, weights: Any) -> Any:
        def error(weights: Any) -> Any:
            return schedule.schedule_error(params, dataclasses.replace(SCHEDULE_32, weights=weights), SCANS)

        return jax.value_and_grad(error)(weights)

    return both, (dataclasses.replace(PARAMS, dilution=0.0), SCHEDULE.weights)


def descended() -> tuple[Callable[..., Any], Any]:
    """What the descent evaluates: several laws together, each with its draws, and their slopes."""
    kinds = (laws.utility, laws.power)
    function = partial(combined._errors_and_slopes, kinds, (None, None))
    points = np.stack([EVEN, np.array([0.7, 0.3, 0.0, 0.0])])
    drawn = tuple(jax.tree.map(lambda leaf: np.asarray(leaf)[None], each) for each in (PARAMS, BLIND))
    return function, (drawn, SIZES, np.float64(256e6), None, points)


def gradient_of_many() -> tuple[Callable[..., Any], Any]:
    """Predictions of many runs with the pools first, and their slopes."""

    def both(params: Any, runs: Run) -> Any:
        def value(weights: Any) -> Any:
            return errors_of(laws.utility, params, dataclasses.replace(runs, weights=weights))

        errors, pull = jax.vjp(value, runs.weights)
        return errors, pull(jnp.ones_like(errors))

    return both, (PARAMS, jax.tree.map(lambda leaf: np.moveaxis(leaf, 0, -1), batch()))


SCHEDULE_32 = cast(SCHEDULE, np.float32)
POINTS = (np.array([0.0, 1.0, 7.3, 1e6]), np.log([0.1, 2.0, 1e-3, 1e-6]))
KERNELS: dict[str, Callable[[], tuple[Callable[..., Any], Any]]] = {
    **{
        f"{name}, value and gradient": partial(
            lambda law, params, length: (partial(slopes, law, length), (params, batch())), *case
        )
        for name, case in CASES.items()
    },
    "utility of many runs": gradient_of_many,
    "lost to repetition": lambda: (jax.jit(lost_to_repetition), POINTS),
    "value and slopes": lambda: (
        jax.jit(value_and_slopes),
        (np.array([0.0, 3.0, 1e6]), np.full(3, 1e-7), np.full(3, 0.1)),
    ),
    "lanes of a fit": fit_lanes,
    "block of fits, by pool": partial(fit_block, True),
    "block of fits, dense": partial(fit_block, False),
    "water filling": filling,
    "water filling over draws": averaging_of_draws,
    "best weights": partial(optimum_of, optimum.best_weights),
    "best error": partial(optimum_of, optimum.best_error),
    "schedule": scheduled,
    "descent": descended,
}


def single(arguments: Any) -> Any:
    """Floats in float32, everything else as it is."""
    return jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float32) if np.asarray(leaf).dtype.kind == "f" else np.asarray(leaf), arguments
    )


LONG = ("utility, shaped", "released_utility", "effective_samples", "power", "best error", "block of fits, dense")


def some_slow() -> list[Any]:
    """All kernels; those much like another only in the slow suite."""
    return [pytest.param(name, marks=pytest.mark.slow) if name.startswith(LONG) else name for name in KERNELS]


@pytest.mark.parametrize("name", some_slow())
def test_lowers_for_accelerators_without_lapack(name: str):
    function, arguments = KERNELS[name]()
    for platform in ("cuda", "tpu"):
        exported = jax.export.export(jax.jit(function), platforms=[platform])(*single(arguments))
        assert exported.platforms == (platform,)
        text = exported.mlir_module()
        assert "f64>" not in text
        if platform == "tpu":
            assert not [target for target in targets(text) if "lapack" in target]


def targets(text: str) -> list[str]:
    """Names of the custom calls of a lowered program."""
    return re.findall(r"custom_call @([\w.]+)", text)


def test_lapack_would_be_seen():
    """A decomposition on a CPU leaves the name that the test above looks for."""
    exported = jax.export.export(jax.jit(jnp.linalg.cholesky), platforms=["cpu"])(np.eye(3, dtype=np.float32))
    assert [target for target in targets(exported.mlir_module()) if "lapack" in target]


@pytest.mark.parametrize("name", some_slow())
def test_runs_in_float32(name: str):
    assert not jax.config.jax_enable_x64
    function, arguments = KERNELS[name]()
    found = [np.asarray(leaf) for leaf in jax.tree.leaves(jax.jit(function)(*single(arguments)))]
    floats = [each for each in found if each.dtype.kind == "f"]
    assert floats
    assert {each.dtype for each in floats} == {np.dtype(np.float32)}
    assert all(np.all(np.isfinite(each)) for each in floats)


class Counted:
    """A law that counts how often it is traced."""

    def __init__(self) -> None:
        self.traces = 0
        self.law = dataclasses.replace(laws.utility, function=self.function)

    def function(self, params: Any, run: Run, max_epochs: int | None) -> jax.Array:
        self.traces += 1
        return laws.utility.function(params, run, max_epochs)


def test_predictions_of_new_budgets_draws_and_chunks_reuse_one_program():
    counted = Counted()
    program = jax.jit(partial(errors_of, counted.law), compiler_options=wide("cpu"))
    runs = jax.tree.map(lambda leaf: np.moveaxis(leaf, 0, -1), cast(batch(8), np.float32))
    for factor in (1.0, 1.3, 2.0):
        params = single(dataclasses.replace(PARAMS, half_life=PARAMS.half_life * factor, scale=PARAMS.scale * factor))
        for part in range(2):
            chunk = jax.tree.map(lambda leaf, part=part: leaf[..., 4 * part : 4 * part + 4], runs)
            program(params, dataclasses.replace(chunk, samples_seen=chunk.samples_seen * factor))
    assert counted.traces == 1


def test_best_mixes_of_new_budgets_and_draws_reuse_one_program():
    traces = 0

    @jax.jit
    def best(params: Any, sizes: Any, seen: Any) -> Any:
        nonlocal traces
        traces += 1
        return water_fill(utility_terms(params, sizes, seen), jnp.zeros(4), jnp.ones(4))

    for factor in (1.0, 1.3, 2.0):
        params = single(dataclasses.replace(PARAMS, half_life=PARAMS.half_life * factor, floor=0.1 * factor))
        best(params, single(SIZES / factor), np.float32(64e6 * factor))
    assert traces == 1


def test_fits_of_one_shape_reuse_one_program():
    counted = Counted()
    runs = table()
    again = dataclasses.replace(runs, error=runs.error * 1.01)
    settings = {"law": counted.law, "starts": 4, "max_epochs": None}
    first = laws_fit(runs, **settings)
    once = counted.traces
    assert once > 0
    second = laws_fit(again, **settings)
    assert counted.traces == once
    assert float(first.params.floor) != float(second.params.floor)


def laws_fit(runs: Runs, **settings: Any) -> laws.FittedLaw:
    """A fit, by the public function."""
    from qqtjax.fit import fit

    return fit(runs, **settings)
