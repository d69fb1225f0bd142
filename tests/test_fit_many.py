"""Many fits at once: they are the fits that `fit` makes, by arrow or densely, whoever else is in the block."""

import dataclasses
from functools import partial

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import planted
from qqtjax import laws
from qqtjax.errors import InputError
from qqtjax.fit import Model, arrow, fit, fit_laws, fit_many, lanes, many
from qqtjax.fit.levenberg_marquardt import DENSE, FURTHEST_UP
from qqtjax.fit.objective import Data, Objective, gather, quadratic
from qqtjax.fit.parameters import search_space
from qqtjax.mix import optimize_mix
from qqtjax.runs import Runs

EPOCHS = (0.25, 1.0, 2.0, 5.0, 10.0)
SAME = {"starts": 8, "width": 32}


@pytest.fixture(scope="module")
def truth():
    return planted.draw_truth(np.random.default_rng(7))


@pytest.fixture(scope="module")
def table(truth):
    return planted.curves(truth, EPOCHS, noise=0.003, rng=np.random.default_rng(8))


@pytest.fixture(scope="module")
def errors(table):
    return table.error + 0.003 * np.random.default_rng(9).normal(size=(3, len(table)))


def with_mixture(table: Runs) -> Runs:
    """The table with its last checkpoint relabelled as a mixture of two pools."""
    source = table.source.copy()
    source[-1] = len(table.pools)
    mixes = np.array([[0.0, 0.0, 0.5, 0.5]])
    return dataclasses.replace(table, source=source, mixes=mixes, mix_sizes=np.full((1, 4), planted.SIZE))


def versions(table: Runs, errors: np.ndarray) -> list[Runs]:
    return [dataclasses.replace(table, error=each) for each in errors]


def assert_fits(found, fitted, rtol=1e-5):
    for version, one in enumerate(fitted):
        assert found.objective[version] <= one.diagnostics.objective * (1 + 1e-9)
        for field in ("scale", "floor", "utility", "half_life"):
            got = getattr(found.params, field)[version]
            np.testing.assert_allclose(got, getattr(one.params, field), rtol=rtol, err_msg=field)
    assert found.converged.all()


def test_each_version_is_the_fit_of_its_own_table(table, errors):
    found = fit_many(table, errors=errors, **SAME)
    assert_fits(found, [fit(each) for each in versions(table, errors)])
    assert found.objectives.shape == (3, 8)
    np.testing.assert_array_equal(found.objective, found.objectives.min(axis=1))


def test_planted_parameters_come_back(truth):
    curves = planted.curves(truth, EPOCHS)
    found = fit_many(curves, importance=np.ones((2, len(curves))), **SAME)
    assert found.converged.all()
    for field in ("scale", "floor", "utility", "half_life"):
        want = np.asarray(getattr(truth, field))
        np.testing.assert_allclose(getattr(found.params, field), np.stack([want] * 2), rtol=1e-6)


def test_weights_differ_by_version(table):
    weights = np.random.default_rng(3).uniform(0.5, 2.0, size=(3, len(table)))
    found = fit_many(table, importance=weights, **SAME)
    assert_fits(found, [fit(table, importance=each) for each in weights])


def test_dense_and_arrow_end_alike(table, errors, monkeypatch):
    by_arrow = fit_many(table, errors=errors, **SAME)
    monkeypatch.setattr(arrow, "divide", lambda layout: None)
    densely = fit_many(table, errors=errors, **SAME)
    np.testing.assert_allclose(densely.objectives, by_arrow.objectives, rtol=1e-9)
    np.testing.assert_allclose(densely.params.half_life, by_arrow.params.half_life, rtol=1e-6)


@pytest.mark.parametrize(
    "broken", ["mixture", *(pytest.param(one, marks=pytest.mark.slow) for one in ("group", "fixed for one pool"))]
)
def test_what_is_no_arrow_is_fitted_densely(table, errors, broken, monkeypatch):
    monkeypatch.setattr(lanes, "quadratics", None)  # would fail if called
    runs, settings = table, {}
    if broken == "mixture":
        runs = with_mixture(table)
    elif broken == "group":
        settings = {"share": {"half_life": [["pool0", "pool1"]]}}
    else:
        settings = {"fixed": {"half_life": {"pool2": 5.0}}}
    found = fit_many(runs, errors=errors[:1], **settings, **SAME)
    assert_fits(found, [fit(each, **settings) for each in versions(runs, errors[:1])])


CASES = {
    "utility": (laws.utility, {}),
    "own floor": (laws.utility, {"share": {"floor": False}}),
    "nothing shared": (laws.utility, {"share": {"floor": False, "scale": False}}),
    "dilution and amplitude": (laws.utility, {"free": ("dilution", "amplitude")}),
    "sizes of reference": (laws.utility, {"fixed": {"reference_size": [1e6, 2e6, 3e6, 4e6], "scale": 4e6}}),
    "power": (laws.power, {}),
    "effective_samples": (laws.effective_samples, {}),
    "effective_data": (laws.effective_data, {}),
}
QUICK = ("own floor", "power")


def dense_of(hessian: arrow.Hessian, lane: int, pools: int) -> np.ndarray:
    """The arrow as a full matrix."""
    own, shared = len(hessian.own), len(hessian.corner)
    full = np.zeros((own * pools + shared,) * 2)
    for pool in range(pools):
        for i in range(own):
            for j in range(i + 1):
                full[i * pools + pool, j * pools + pool] = hessian.own[i][j][pool, lane]
            for s in range(shared):
                full[own * pools + s, i * pools + pool] = hessian.border[i][s][pool, lane]
    for i in range(shared):
        for j in range(i + 1):
            full[own * pools + i, own * pools + j] = hessian.corner[i][j][lane]
    return full + np.tril(full, -1).T


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", [*QUICK, *(pytest.param(c, marks=pytest.mark.slow) for c in CASES if c not in QUICK)])
def test_the_arrow_is_the_dense_hessian(table, case):
    """Pools with different numbers of rows, weights that differ, both losses; one step too."""
    law, settings = CASES[case]
    runs = table.select(np.array([0, 1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 15, 18, 19, 4]))
    space = search_space(law, runs, **settings)
    own, shared = arrow.divide(space.layout)
    order, pools, count = arrow.order(own, shared), len(runs.pools), 3
    rng = np.random.default_rng(2)
    x = space.draw_starts(count, 0).T
    weight = rng.uniform(0.5, 2.0, (len(runs), count))
    rows, index, there = arrow.by_pool(runs, space)
    run, drawn = gather(runs)
    fixed = jax.tree.map(jnp.asarray, space.fixed)
    huber, log = (0.05, True) if case == "own floor" else (None, False)
    objective = Objective(space.layout, 12, log, huber)
    error = np.repeat(runs.error[:, None], count, axis=1)
    found = jax.jit(partial(arrow.quadratics, objective))(
        rows, x[order], error[index], weight[index] * there[:, :, None]
    )
    one = jax.jit(lambda x, weight: quadratic(objective, x, Data(run, jnp.asarray(drawn), runs.error, weight, fixed)))
    for lane in range(count):
        want = one(x[:, lane], weight[:, lane])
        full = np.asarray(want.hessian)[np.ix_(order, order)]
        np.testing.assert_allclose(found.objective[lane], want.objective, rtol=1e-12)
        np.testing.assert_allclose(found.gradient[:, lane], want.gradient[order], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(dense_of(found.hessian, lane, pools), full, rtol=1e-9, atol=1e-12)
        here = jax.tree.map(lambda leaf, lane=lane: leaf[..., lane], found.hessian)
        root, gradient = jnp.sqrt(jnp.diagonal(full)), jnp.asarray(rng.normal(size=len(order)))
        held = jnp.asarray(rng.random(len(order)) < 0.2)
        gradient = jnp.where(held, 0.0, gradient)
        steps = [way.solve(matrix, root, held, 1e-3, gradient) for way, matrix in ((arrow.ARROW, here), (DENSE, full))]
        np.testing.assert_allclose(*steps, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(arrow.ARROW.bend(here, gradient), DENSE.bend(full, gradient), rtol=1e-9)
        np.testing.assert_allclose(arrow.ARROW.diagonal(here), jnp.diagonal(full), rtol=1e-9)


def test_bytes_depend_on_the_seed_alone(table, errors):
    """Not on the other lanes of a block, the number of threads, or who ends first."""
    same = {**SAME, "width": 8}
    first = fit_many(table, errors=errors, **same, workers=1)
    for workers in (1, 3):
        again = fit_many(table, errors=errors, **same, workers=workers)
        assert jax.tree.all(jax.tree.map(lambda a, b: a.tobytes() == b.tobytes(), first, again))
    alone = fit_many(table, errors=errors[1:2], **same)
    np.testing.assert_array_equal(alone.objectives[0], first.objectives[1])
    assert not np.array_equal(fit_many(table, errors=errors, **same, seed=1).objectives, first.objectives)


def test_other_data_of_the_same_shape_is_no_new_program(table, errors):
    fit_many(table, errors=errors, **SAME)
    before = lanes.compiled(jax.default_backend())._cache_size()
    longer = np.concatenate([errors, errors[:, ::-1]])
    seen = table.samples_seen * 0.9
    fit_many(dataclasses.replace(table, samples_seen=seen), errors=longer, importance=1 + longer, **SAME, seed=3)
    assert lanes.compiled(jax.default_backend())._cache_size() == before


MODELS = (
    Model(laws.utility),
    Model(laws.power, share={"floor": False}, huber=0.05),
    Model(laws.effective_data, fixed={"floor": 0.0}, log=True),
)


def same_bytes(first, second) -> bool:
    return jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(a, b, equal_nan=True), first, second))


def test_laws_in_one_call_are_each_law_alone(table, errors):
    """By one program, traced once, whatever the versions, the starts and the workers."""
    models = MODELS[:2]
    before = lanes.compiled(jax.default_backend())._cache_size()
    found = fit_laws(table, models, errors=errors, **SAME, workers=1)
    assert same_bytes(found, fit_laws(table, models, errors=errors, **SAME, workers=3))
    fit_laws(table, models, errors=np.concatenate([errors, errors]), **SAME, seed=3)
    assert lanes.compiled(jax.default_backend())._cache_size() == before + 1
    for model, each in zip(models, found, strict=True):
        alone = fit_many(table, errors=errors, **SAME, **model._asdict())
        np.testing.assert_allclose(each.objectives, alone.objectives, rtol=1e-12)
        for one, other in zip(jax.tree.leaves(each), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.slow
def test_every_law_in_one_call(table, errors):
    """Arrows and dense problems, of laws with other parameters; one of the laws needs far longer than the others."""
    models = (*MODELS, Model(laws.utility, share={"half_life": [["pool0", "pool1"]]}), Model(laws.effective_samples))
    found = fit_laws(table, models, errors=errors, **SAME)
    for model, each in zip(models, found, strict=True):
        alone = fit_many(table, errors=errors, **SAME, **model._asdict())
        np.testing.assert_allclose(each.objectives, alone.objectives, rtol=1e-12)
        np.testing.assert_array_equal(each.converged, alone.converged)


def test_memory_is_that_of_the_blocks(table, errors, monkeypatch):
    widths = []

    def watched(blocks, rows, given, fresh, states):
        widths.extend(np.shape(leaf)[-1] for leaf in jax.tree.leaves((given, fresh, states)))
        return advance(blocks, rows, given, fresh, states)

    advance = lanes.compiled(jax.default_backend())
    monkeypatch.setattr(lanes, "compiled", lambda platform: watched)
    fit_many(table, errors=np.repeat(errors, 10, axis=0), **SAME)
    assert set(widths) == {32}


def test_a_start_that_fails_never_wins(table, errors):
    def fragile(params, run, max_epochs=None):
        error = laws.utility.function(params, run, max_epochs)
        return jnp.where(params.scale < 2e6, jnp.nan, error)

    law = dataclasses.replace(laws.utility, function=fragile)
    space = search_space(law, table)
    failing = space.draw_starts(8, 0)[:, space.names.index("scale")] < np.log(2e6)
    assert 0 < failing.sum() < 8
    found = fit_many(table, law, errors=errors, **SAME)
    np.testing.assert_array_equal(np.isinf(found.objectives), np.stack([failing] * 3))
    assert np.isfinite(found.objective).all()


def test_where_every_start_fails_nothing_converged(table):
    law = dataclasses.replace(laws.utility, function=lambda *_: jnp.asarray(jnp.nan))
    found = fit_many(table, law, **SAME)
    assert np.isinf(found.objective).all()
    assert not found.converged.any()


def test_starts_that_need_too_long_are_not_converged(table, errors):
    found = fit_many(table, errors=errors, **SAME, max_iterations=4)
    assert np.isfinite(found.objective).all()
    assert not found.converged.any()


def test_no_start_of_many_pools_is_lost(monkeypatch):
    """Without a limit of the step most of these starts end where half-lives no longer matter."""
    assert FURTHEST_UP <= 1
    monkeypatch.setattr(planted, "POOLS", 16)
    rng = np.random.default_rng(0)
    runs = planted.curves(planted.draw_truth(rng), EPOCHS, 0.003, rng)
    found = fit_many(runs, starts=32, width=32)
    np.testing.assert_allclose(found.objectives, found.objective[0], rtol=1e-9)


def test_draws_of_the_best_mix(table, errors):
    found = fit_many(table, errors=errors, **SAME)
    mixes = optimize_mix(fit(table), 640e6, draws=found.params)
    assert mixes.weights.shape == (3, 4)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("runs", [pytest.param(lambda t: t, id="arrow"), pytest.param(with_mixture, id="dense")])
def test_lowers_for_accelerators(table, runs, monkeypatch):
    caught = []
    monkeypatch.setattr(many, "stream", lambda *given: caught.append(given))
    fit_many(runs(table), **SAME)
    (queue,), width, *_ = caught[0]
    block, rows = queue.block, queue.rows
    given = jax.tree.map(lambda leaf: np.repeat(leaf, width, axis=-1), queue.load(np.zeros(1, int)))
    states = jax.eval_shape(partial(lanes.blank, (block,)), (rows,), (given,))
    step = jax.jit(partial(lanes.advance, (block,)))
    for platform in ("cuda", "tpu"):
        exported = jax.export.export(step, platforms=[platform])((rows,), (given,), (np.zeros(width, bool),), states)
        assert exported.platforms == (platform,)
        assert platform == "cuda" or "lapack" not in exported.mlir_module().lower()
        if block.arrow:
            assert "cholesky" not in exported.mlir_module()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"errors": np.ones(20)}, "errors of shape"),
        ({"errors": np.ones((2, 3))}, "errors of shape"),
        ({"errors": np.full((2, 20), np.nan)}, "finite"),
        ({"errors": "some"}, "expected numbers"),
        ({"importance": -np.ones((2, 20))}, "importance"),
        ({"errors": np.ones((2, 20)), "importance": np.ones((3, 20))}, "same number of versions"),
        ({"starts": 0}, "starts 0"),
        ({"seed": -1}, "seed -1"),
        ({"fixed": {"scale": 1e6, "floor": 0.1, "utility": -0.1, "half_life": 3.0}}, "nothing to fit"),
    ],
)
def test_bad_input_is_named(table, settings, words):
    with pytest.raises(InputError, match=words):
        fit_many(table, **settings)
