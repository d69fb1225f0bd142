"""What every law must do, the ones of tomorrow too: laws are found by their files, truths drawn from their ranges."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.export
import numpy as np
import pytest

import qqtjax as qqt
from qqtjax import laws
from qqtjax.errors import InputError, QQTWarning
from qqtjax.fit.objective import gather, pick
from qqtjax.fit.parameters import Space, search_space
from qqtjax.laws import FittedLaw, Law
from qqtjax.laws.fitted import evaluate, length_for
from qqtjax.laws.law import lacking
from qqtjax.runs import Pools, Run, Runs

EVERY = pytest.mark.parametrize("law", laws.ALL, ids=lambda law: law.name)
POOLS = Pools.of({"a": 1e6, "b": 3e6, "c": 1e7})
# These are planted and recovered in tests of their own (or, the released code's, not meant to be fitted).
ELSEWHERE = (laws.utility, laws.effective_data, laws.effective_samples, laws.power, laws.released_utility)
FITTED = [law for law in laws.ALL if law not in ELSEWHERE]


def table(error: np.ndarray | None = None, per_mixture: int = 8) -> Runs:
    """Three pools and fifteen mixtures, each at eight budgets and three sizes of the model, up to about 20 epochs."""
    rng = np.random.default_rng(3)
    mixes = np.concatenate([rng.dirichlet(np.ones(3), 12), [[0.5, 0.5, 0], [0.3, 0, 0.7], [0, 0.5, 0.5]]])
    sources = np.repeat(np.arange(3 + len(mixes)), per_mixture)
    count = len(sources)
    weights = np.concatenate([np.eye(3), mixes])[sources]
    epochs = np.tile(np.geomspace(0.2, 20, per_mixture), 3 + len(mixes))
    run = np.arange(count)
    return Runs(
        pools=POOLS,
        source=sources,
        mixes=mixes,
        mix_sizes=np.broadcast_to(POOLS.sizes, mixes.shape),
        samples_seen=epochs / np.max(weights / POOLS.sizes, axis=1),
        error=np.linspace(2.0, 1.0, count) if error is None else error,
        run=run,
        run_names=tuple(map(str, run)),
        seed=np.zeros(count, int),
        metric=np.zeros(count, int),
        model_size=np.geomspace(1e6, 1e8, 3)[rng.integers(0, 3, count)],
    )


def truth_of(law: Law, runs: Runs, seed: int) -> Any:
    """Parameters drawn from the middle half of the law's starting ranges."""
    space = search_space(law, runs)
    share = np.random.default_rng(seed).uniform(0.25, 0.75, (1, len(space)))
    return params_at(space, space.place(share)[0])


def params_at(space: Space, coordinates: np.ndarray) -> Any:
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, space.layout.unpack(jax.numpy.asarray(coordinates), space.fixed))


@EVERY
def test_finite_with_and_without_a_pool_in_float64_and_lowered(law: Law):
    """One compiled program a law: values, gradients against central differences, weight 0, accelerators."""
    runs = table(per_mixture=2)
    params = truth_of(law, runs, 1)
    dense = runs.as_run()
    length = length_for(law, params, dense) if law.scans(params) else None

    def total(params: Any, run: Run) -> jax.Array:
        return law(params, run, length)

    def both(params: Any, run: Run) -> Any:
        return jax.vmap(jax.value_and_grad(total, argnums=(0, 1)), in_axes=(None, 0))(params, run)

    with jax.enable_x64(True):
        params, dense = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf, float), (params, dense))
        exported = jax.export.export(jax.jit(both), platforms=["cpu", "cuda", "tpu"])(params, dense)
        value, (by_params, by_run) = jax.tree.map(np.asarray, exported.call(params, dense))
        assert np.all(np.isfinite(value))
        for slopes in jax.tree.leaves((by_params, by_run)):
            assert np.all(np.isfinite(slopes))
        for field in dataclasses.fields(params):
            at = getattr(params, field.name)
            if at is None:
                continue
            for place in np.ndindex(np.shape(at)):
                step = 1e-5 * max(float(np.abs(at[place])), 1e-3)
                ends = []
                for sign in (1, -1):
                    moved = np.array(at)
                    moved[place] += sign * step
                    changed = dataclasses.replace(params, **{field.name: jax.numpy.asarray(moved)})
                    ends.append(np.asarray(exported.call(changed, dense)[0]))
                found = getattr(by_params, field.name)[(slice(None), *place)]
                size = np.max(np.abs(found)) + 1e-6 * np.max(value) / step
                np.testing.assert_allclose(found, (ends[0] - ends[1]) / (2 * step), atol=1e-4 * size, rtol=0)
        # A pool that a run does not draw from is left out of a fit's rows, so that it must not matter.
        drawn_only, drawn = gather(runs)
        alone = runs.single
        assert np.asarray(drawn_only.weights).shape[1] == 3
        few = jax.tree.map(lambda leaf: np.asarray(leaf)[alone], drawn_only)
        for row, pool in enumerate(runs.source[alone]):
            one = dataclasses.replace(
                few,
                **{
                    name: np.asarray(getattr(few, name))[row][: 1 if name in ("weights", "sizes") else None]
                    for name in ("weights", "sizes")
                },
                samples_seen=few.samples_seen[row],
                model_size=few.model_size[row],
            )
            predicted = float(law(pick(params, drawn[alone][row][:1]), one, length))
            assert predicted == pytest.approx(float(value[alone][row]), rel=1e-12), pool


@EVERY
def test_says_what_it_needs(law: Law):
    """A table without a needed column is refused in one line, or predicted by the rest of the law."""
    runs = table(per_mixture=2)
    assert lacking(law, runs) == ()
    blind = dataclasses.replace(runs, model_size=None)
    if "model_size" not in law.needs:
        params = truth_of(law, blind, 1)
        assert np.all(np.isfinite(evaluate(law, params, blind.as_run())))
        return
    assert lacking(law, blind) == ("model_size",)
    with pytest.raises(InputError, match=f"law {law.name} needs model_size"):
        qqt.fit(blind, law)
    params = truth_of(law, runs, 1)
    with pytest.raises(InputError, match=f"law {law.name} needs model_size"):
        FittedLaw(law, params, POOLS).predict({"a": 1}, 1e6)


@EVERY
def test_ranges_are_ranges(law: Law):
    fields = [field.name for field in dataclasses.fields(law.params)]
    for name, each in law.ranges(table()).items():
        assert name in fields
        assert each.low <= each.start_low <= each.high
        assert each.low <= each.start_high <= each.high
        assert not each.log or each.low * each.high > 0
        assert name in law.symbols
    assert set(law.per_pool) <= set(fields)


@EVERY
def test_convex_laws_are_convex_in_the_weights(law: Law, rng):
    params = truth_of(law, table(), 2)
    if not law.convex(params):
        return
    ends = rng.dirichlet(np.ones(3), (2, 8))
    along = np.linspace(0, 1, 9)[:, None, None]
    weights = ((1 - along) * ends[0] + along * ends[1]).reshape(-1, 3)
    batch = Run(
        weights=weights,
        sizes=np.broadcast_to(POOLS.sizes, weights.shape),
        samples_seen=np.full(len(weights), 2e7),
        model_size=np.full(len(weights), 1e7),
    )
    error = evaluate(law, params, batch).reshape(9, 8)
    chord = (1 - along[..., 0]) * error[0] + along[..., 0] * error[-1]
    assert np.all(error <= chord + 1e-12 * np.abs(chord))


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QQTWarning)
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("law", FITTED, ids=lambda law: law.name)
def test_planted_parameters_are_found_from_every_seed(law: Law):
    """Without noise: the planted error is met everywhere, by the same parameters from other starts."""
    template = table()
    planted = truth_of(law, template, 7)
    error = evaluate(law, planted, template.as_run())
    runs = dataclasses.replace(template, error=error)
    first, second = (qqt.fit(runs, law, starts=32, seed=seed) for seed in (0, 1))
    for fitted in (first, second):
        assert fitted.diagnostics is not None
        assert fitted.diagnostics.rmse <= 1e-6 * np.std(error)
    for field in dataclasses.fields(planted):
        wanted = getattr(planted, field.name)
        if wanted is not None:
            for fitted in (first, second):
                np.testing.assert_allclose(getattr(fitted.params, field.name), wanted, rtol=1e-3, atol=1e-6)
