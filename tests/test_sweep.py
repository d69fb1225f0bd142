"""Sweeps: every point is the plain prediction, reductions are those of the whole grid, best mixes are certified."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import jax.export
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qqtjax as qqt
from qqtjax import laws
from qqtjax.sweep import blocks
from qqtjax.sweep.grid import Rows, grid_of
from qqtjax.sweep.result import described

PAPER = qqt.published("datacomp-tmars").utility
EFFECTIVE = qqt.published("datacomp-tmars").effective_data
BUDGETS = np.geomspace(1e7, 1e10, 7)
SIZES = np.stack([PAPER.pools.sizes, 3 * PAPER.pools.sizes])


def draws(count: int, rng: np.random.Generator) -> Any:
    """Parameters scattered around the published ones."""
    params = PAPER.params
    scattered = {
        "scale": params.scale * np.exp(0.2 * rng.normal(size=count)),
        "floor": params.floor + 0.02 * rng.random(count),
        "utility": params.utility * np.exp(0.1 * rng.normal(size=(count, 4))),
        "half_life": params.half_life * np.exp(0.3 * rng.normal(size=(count, 4))),
        "reference_size": np.tile(params.reference_size, (count, 1)),
        "dilution": rng.random(count),
        "amplitude": np.exp(0.1 * rng.normal(size=count)),
    }
    return dataclasses.replace(params, **scattered)


def traces(block: Any) -> int:
    """How many programs of a block there are."""
    return block.program("cpu")._cache_size()


def one(params: Any, draw: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[draw], params)


def plainly(params: Any, sizes: np.ndarray, budgets: np.ndarray, mixes: np.ndarray, fitted: Any = PAPER) -> np.ndarray:
    """`[S, Z, B, W]` by one prediction after another."""
    found = np.empty((len(jax.tree.leaves(params)[0]), len(sizes), len(budgets), len(mixes)))
    for draw, size, budget in np.ndindex(found.shape[:3]):
        pools = qqt.Pools(fitted.pools.names, sizes[size])
        own = dataclasses.replace(fitted, params=one(params, draw), pools=pools)
        found[draw, size, budget] = own.predict(mixes, budgets[budget])
    return found


@given(st.integers(1, 7), st.integers(1, 5))
def test_a_simplex_has_every_mix_once_in_order(steps, pools):
    simplex = qqt.Simplex(1 / steps)
    rows = simplex.rows(np.arange(simplex.count(pools)), pools)
    every = [mix for mix in itertools.product(range(steps + 1), repeat=pools) if sum(mix) == steps]
    np.testing.assert_allclose(rows * steps, sorted(every), atol=1e-12)


@pytest.mark.parametrize("law", ["utility", "effective data", "decay shape"])
def test_every_point_is_the_plain_prediction(law, rng):
    fitted = {"utility": PAPER, "effective data": EFFECTIVE, "decay shape": PAPER.with_params(decay_shape=1.5)}[law]
    mixes = rng.dirichlet(np.ones(4), 9)
    params = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), fitted.params)
    params = dataclasses.replace(params, scale=np.array([1.0, 1.3]) * fitted.params.scale)
    budgets = np.geomspace(1e7, 1e9, 5)
    found = qqt.sweep(fitted, budgets=budgets, weights=mixes, sizes=SIZES, draws=params)
    assert found.axes.names == ("draw", "size", "budget", "mix")
    np.testing.assert_allclose(found.error, plainly(params, SIZES, budgets, mixes, fitted), rtol=1e-12)


def test_axes_that_were_not_given_are_not_there(rng):
    mix = {"top 10 %": 0.5, "10-20 %": 0.5}
    single = qqt.sweep(PAPER, budgets=64e6, weights=mix)
    assert (single.axes.names, single.error.shape) == ((), ())
    assert float(single.error) == pytest.approx(float(PAPER.predict(mix, 64e6)), rel=1e-14)
    assert qqt.sweep(PAPER, budgets=BUDGETS, weights=mix).error.shape == (7,)
    assert qqt.sweep(PAPER, budgets=64e6, weights=[mix, mix]).error.shape == (2,)
    table = qqt.sweep(PAPER, budgets=BUDGETS, filters=[["top 10 %"], ["top 10 %", "20-30 %"]]).frame()
    assert table.columns.tolist()[:2] == ["samples_seen", "mix"]
    assert len(table) == 14


@pytest.mark.parametrize("memory", [2**24, 2**30])
@pytest.mark.parametrize("k", [1, 3, 5000])
def test_the_best_mixes_are_those_of_the_whole_grid(k, memory, rng):
    """With 16 MiB there are many tiles of mixes and many blocks of rows."""
    simplex, params = qqt.Simplex(0.04), draws(3, rng)
    whole = qqt.sweep(PAPER, budgets=BUDGETS, weights=simplex, draws=params).error
    count = min(k, simplex.count(4))
    found = qqt.sweep(PAPER, budgets=BUDGETS, weights=simplex, draws=params, reduce=qqt.TopK(k), memory=memory)
    assert found.axes.names == ("draw", "budget", "rank")
    order = np.argsort(whole, axis=-1, kind="stable")[..., :count]
    np.testing.assert_allclose(found.error, np.take_along_axis(whole, order, axis=-1), rtol=1e-14)
    # Where two mixes differ by rounding alone, either may come first.
    np.testing.assert_allclose(np.take_along_axis(whole, found.mix, axis=-1), found.error, rtol=1e-14)
    assert np.all(np.sort(found.mix, axis=-1)[..., 1:] != np.sort(found.mix, axis=-1)[..., :-1])
    np.testing.assert_array_equal(found.weights[1, 2], simplex.rows(found.mix[1, 2], 4))


def test_of_equal_mixes_the_first_is_kept():
    twice = [{"top 10 %": 1}, {"10-20 %": 1}, {"top 10 %": 1}]
    assert qqt.sweep(PAPER, budgets=[1e7], weights=twice, reduce=qqt.TopK(1)).mix.tolist() == [[0]]
    assert qqt.sweep(PAPER, budgets=[1e7], weights=twice, reduce=qqt.TopK(3)).mix.tolist() == [[0, 2, 1]]


def test_quantiles_are_those_of_the_whole_grid(rng):
    params, levels = draws(41, rng), (0.0, 0.05, 0.5, 1.0)
    whole = qqt.sweep(PAPER, budgets=BUDGETS, filters=True, draws=params).error
    found = qqt.sweep(PAPER, budgets=BUDGETS, filters=True, draws=params, reduce=qqt.Quantiles(levels))
    assert found.axes.names == ("budget", "mix", "level")
    np.testing.assert_allclose(found.error, np.moveaxis(np.quantile(whole, levels, axis=0), 0, -1), rtol=1e-13)
    assert found.frame()["level"].tolist()[:4] == list(levels)


def test_zipped_axes_move_together(rng):
    count = 500
    params, mixes = draws(count, rng), rng.dirichlet(np.ones(4), count)
    budgets, sizes = rng.uniform(1e7, 1e9, count), rng.uniform(1e6, 1e8, (count, 4))
    found = qqt.sweep(PAPER, budgets=budgets, weights=mixes, sizes=sizes, draws=params, zipped=True)
    assert found.axes.names == ("point",)
    for point in range(0, count, 37):
        own = dataclasses.replace(PAPER, params=one(params, point), pools=qqt.Pools(PAPER.pools.names, sizes[point]))
        assert found.error[point] == pytest.approx(float(own.predict(mixes[point], budgets[point])), rel=1e-12)
    np.testing.assert_allclose(found.frame()["weight_top 10 %"], mixes[:, 0])


@pytest.mark.parametrize("limits", [{}, {"max_epochs": 8}, {"caps": {"top 10 %": 0.3}}])
def test_best_mixes_are_those_of_optimize_mix(limits, rng):
    params = draws(3, rng)
    budgets = np.geomspace(2e7, 4e8, 5)
    found = qqt.sweep(PAPER, budgets=budgets, sizes=SIZES, draws=params, optimize=True, **limits)
    single = qqt.optimize_mix(PAPER, budgets, sizes=SIZES, draws=params, **limits)
    np.testing.assert_allclose(found.error, single.error, rtol=1e-12)
    np.testing.assert_allclose(found.weights, single.weights, atol=1e-6)
    assert np.all(found.gap <= 1e-12)
    assert found.frame()["gap"].max() <= 1e-12


def test_best_mixes_one_by_one_where_bounds_do_not_suffice():
    found = qqt.sweep(PAPER, budgets=[64e6, 640e6], optimize=True, min_pools=2.5)
    for place, budget in enumerate((64e6, 640e6)):
        alone = qqt.optimize_mix(PAPER, budget, min_pools=2.5)
        assert found.error[place] == pytest.approx(alone.error, abs=1e-12)
        np.testing.assert_allclose(found.weights[place], alone.weights, atol=1e-9)


def test_best_mixes_zipped(rng):
    budgets, params = np.geomspace(2e7, 4e9, 6), draws(6, rng)
    found = qqt.sweep(PAPER, budgets=budgets, draws=params, optimize=True, zipped=True)
    multiplied = qqt.sweep(PAPER, budgets=budgets, draws=params, optimize=True)
    np.testing.assert_allclose(found.error, np.diagonal(multiplied.error), rtol=1e-13)


def test_float32_is_close(rng):
    """Half-lives down to 0.5 and up to 1e5 epochs."""
    params = dataclasses.replace(draws(8, rng), half_life=10 ** rng.uniform(-0.3, 5, (8, 4)))
    ask = {"budgets": BUDGETS, "weights": qqt.Simplex(0.1), "draws": params}
    exact, found = qqt.sweep(PAPER, **ask), qqt.sweep(PAPER, dtype="float32", **ask)
    assert found.error.dtype == np.float32
    np.testing.assert_allclose(found.error, exact.error, rtol=1e-5)


def test_a_billion_points_are_described_in_a_few_kilobytes():
    grid = grid_of(PAPER, np.geomspace(1e7, 1e10, 200), qqt.Simplex(0.005), None, False, SIZES, None, 0, False)
    assert len(grid) > 5e8
    held = [*jax.tree.leaves(grid.params), grid.sizes, grid.budgets]
    assert sum(leaf.nbytes for leaf in held) < 4096


def test_other_questions_of_the_same_shape_do_not_compile(rng):
    ask = {"weights": rng.dirichlet(np.ones(4), 11), "reduce": qqt.TopK(2)}
    qqt.sweep(PAPER, budgets=BUDGETS, draws=draws(5, rng), **ask)
    qqt.sweep(PAPER, budgets=BUDGETS, optimize=True)
    compiled = traces(blocks.lowest_so_far), traces(blocks.best)
    ask["weights"] = rng.dirichlet(np.ones(4), 11)
    qqt.sweep(PAPER, budgets=2 * BUDGETS, draws=draws(5, rng), **ask)
    qqt.sweep(PAPER, budgets=3 * BUDGETS, optimize=True)
    assert (traces(blocks.lowest_so_far), traces(blocks.best)) == compiled


def test_many_blocks_and_parts_compile_once():
    ask = {"weights": qqt.Simplex(0.0625), "memory": 2**24}
    before = traces(blocks.predicted)
    told = []
    qqt.sweep(PAPER, budgets=np.geomspace(1e7, 1e9, 97), progress=lambda *done: told.append(done), **ask)
    assert len(told) > 10
    assert traces(blocks.predicted) == before + 1


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_blocks_lower_for_accelerators(platform):
    mesh, single = blocks.devices(), np.float32
    rows = jax.tree.map(
        lambda leaf: np.broadcast_to(np.asarray(leaf, single), (mesh.size, 8, *np.shape(leaf))),
        Rows(PAPER.params, PAPER.pools.sizes, np.float64(1e8)),
    )
    mixes = np.full((16, 4), 0.25, single)
    kept = np.full((mesh.size, 8, 2), np.inf, single), np.zeros((mesh.size, 8, 2), np.int32)
    bounds = np.zeros((mesh.size, 8, 4), single), np.ones((mesh.size, 8, 4), single)
    law = laws.utility
    programs = [
        jax.export.export(blocks.predicted.program(platform), platforms=[platform])(mesh, law, None, rows, mixes),
        jax.export.export(blocks.lowest_so_far.program(platform), platforms=[platform])(
            mesh, law, None, kept, rows, mixes, np.int32(0), np.int32(16)
        ),
        jax.export.export(blocks.best.program(platform), platforms=[platform])(mesh, law, rows, *bounds),
    ]
    for program in programs:
        assert "lapack" not in str(program.mlir_module()).lower()


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "weights, filters, optimize: expected exactly one"),
    ({"filters": True, "optimize": True}, "weights, filters, optimize: expected exactly one"),
    ({"filters": True, "budgets": [64e6, -1]}, "budget -1: expected a positive number"),
    ({"filters": True, "budgets": []}, "no budgets"),
    ({"filters": True, "dtype": "float16"}, "dtype 'float16'"),
    ({"filters": True, "memory": 10}, "memory 10: expected a number of bytes, at least"),
    ({"filters": True, "max_epochs": 3}, "max_epochs without optimize"),
    ({"filters": True, "draws": 5}, "no standard errors"),
    ({"filters": True, "reduce": qqt.Quantiles()}, "expected draws"),
    ({"filters": [["top 1 %"]]}, "unknown pool 'top 1 %'"),
    ({"filters": True, "sizes": SIZES}, "filters with several sizes"),
    ({"optimize": True, "reduce": qqt.TopK()}, "reduce with optimize"),
    ({"optimize": True, "max_epoch": 3}, "unknown constraint 'max_epoch'"),
    ({"optimize": True, "max_epochs": 1}, "max_epochs 1 of"),
    ({"weights": [0.5, 0.5]}, "weights of shape (2,)"),
    ({"weights": [[1, 0, 0, 0], [0.5, 0.2, 0, 0]]}, "mix 1: weights sum to 0.7"),
    ({"weights": [1, 0, 0, 0], "reduce": qqt.TopK()}, "expected several weights"),
    ({"weights": [[1, 0, 0, 0]] * 3, "budgets": [1e7, 1e8], "zipped": True}, "zipped axes of different lengths"),
    ({"weights": qqt.Simplex(1e-4), "budgets": [1e8]}, "mixes, expected at most"),
    ({"filters": [[]]}, "lists of distinct pool names"),
    ({"filters": [["top 10 %", "top 10 %"]]}, "lists of distinct pool names"),
    ({"filters": [3]}, "lists of distinct pool names"),
    (
        {"filters": [["top 10 %", "10-20 %"]], "sizes": [np.inf, 1e7, 1e7, 1e7]},
        "pool 'top 10 %' has no size, which a union needs",
    ),
    ({"filters": True, "reduce": "best"}, "reduce 'best': expected TopK(k) or Quantiles(levels)"),
    ({"filters": True, "reduce": qqt.TopK}, "expected TopK(k) or Quantiles(levels)"),
    ({"filters": True, "memory": "1G"}, "memory '1G': expected a number of bytes"),
    ({"filters": True, "out": 3}, "out 3: expected the name of a folder"),
    ({"filters": True, "draws": 1 << 62, "zipped": True}, "no standard errors"),
    (
        {"weights": qqt.Simplex(0.001), "sizes": np.full((10**5, 4), 1e7), "budgets": np.geomspace(1, 10, 10**6)},
        "points",
    ),
    ({"weights": qqt.Simplex(0.01), "budgets": np.geomspace(1e7, 1e9, 5000)}, "do not fit into the memory"),
]


@pytest.mark.parametrize(("ask", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_input_is_one_line(ask, message):
    with pytest.raises(qqt.QQTError) as raised:
        qqt.sweep(PAPER, **{"budgets": [64e6, 640e6], **ask})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_too_many_epochs_for_a_law_that_scans_them_are_refused():
    with pytest.raises(qqt.InputError, match=r"effective_data is scanned by epochs, .* expected at most"):
        qqt.sweep(EFFECTIVE, budgets=[1e8, 1e18], filters=True)
    # Zipped, every point counts its own.
    ask = {"weights": [[1, 0, 0, 0], [1, 0, 0, 0]], "budgets": [1e8, 1e12], "zipped": True}
    found = qqt.sweep(EFFECTIVE, sizes=[[1e6] * 4, [1e10] * 4], **ask)
    one = dataclasses.replace(EFFECTIVE, pools=qqt.Pools(EFFECTIVE.pools.names, np.full(4, 1e6)))
    assert found.error[0] == pytest.approx(float(one.predict([1, 0, 0, 0], 1e8)), rel=1e-12)


def test_zipped_mixes_of_a_simplex_are_named_in_the_table():
    simplex = qqt.Simplex(0.25)
    count = simplex.count(4)
    table = qqt.sweep(PAPER, budgets=np.geomspace(1e7, 1e9, count), weights=simplex, zipped=True).frame()
    np.testing.assert_array_equal(table["weight_top 10 %"], simplex.rows(np.arange(count), 4)[:, 0])
    assert table["mix"].tolist() == [*range(count)]


def test_draws_that_must_be_held_at_once_and_do_not_fit_are_refused(rng):
    with pytest.raises(qqt.InputError, match="20000 draws at once do not fit"):
        qqt.sweep(PAPER, budgets=[1e8], filters=True, draws=draws(20_000, rng), reduce=qqt.Quantiles(), memory=2**24)


@pytest.mark.parametrize(
    "make",
    [
        lambda: qqt.Simplex(0.3),
        lambda: qqt.Simplex("x"),
        lambda: qqt.TopK(0),
        lambda: qqt.TopK(True),
        lambda: qqt.Quantiles((2.0,)),
        lambda: qqt.Quantiles(0.5),
    ],
)
def test_what_cannot_be_meant_is_refused(make):
    with pytest.raises(qqt.InputError, match="expected"):
        make()


def test_draws_follow_the_standard_errors():
    runs = qqt.wordclip("C")
    fitted = qqt.fit(runs.select(runs.single))
    found = qqt.draw_params(fitted, 20_000, seed=1)
    expected = fitted.diagnostics.standard_errors
    logs = np.log(found.half_life[:, :4] / fitted.params.half_life[:4]).std(axis=0)
    np.testing.assert_allclose(logs, expected.half_life[:4] / fitted.params.half_life[:4], rtol=0.03)
    np.testing.assert_allclose(np.log(found.scale).std(), expected.scale / fitted.params.scale, rtol=0.03)
    assert np.all(found.floor == fitted.params.floor)  # at its bound
    assert np.all(found.dilution == 1)
    # Scale and utilities are far from independent: what is predicted inside the data is sure.
    seen = float(np.median(runs.samples_seen))
    spread = qqt.sweep(fitted, budgets=seen, weights=[1, 0, 0, 0, 0], draws=found).error.std()
    assert spread < 0.2 * np.std(fitted.diagnostics.residuals) * np.sqrt(len(runs)) / 2
    np.testing.assert_array_equal(qqt.draw_params(fitted, 20_000, seed=1).utility, found.utility)


def test_a_description_is_made_again(rng):
    found = qqt.sweep(PAPER, budgets=BUDGETS, weights=qqt.Simplex(0.25))
    plain, arrays = described(found.axes)
    assert plain["simplex"] == 0.25
    assert set(arrays) == {"budgets", "sizes", "pool_sizes"}
