"""Fits: planted parameters come back, solvers agree, and a fit says what it cannot know."""

import dataclasses
import json
import warnings

import jax
import numpy as np
import pytest

from benchmarks import planted, recovery, released_grid
from qqtjax import laws
from qqtjax.errors import InputError, QQTWarning
from qqtjax.fit import LBFGS, Adam, LevenbergMarquardt, fit, fit_metrics
from qqtjax.io.saved import load_fit, save_fit
from qqtjax.laws.fitted import evaluate
from qqtjax.runs import Pools, Runs


@pytest.fixture(scope="module")
def truth():
    return planted.draw_truth(np.random.default_rng(7))


@pytest.fixture(scope="module")
def curves(truth):
    return planted.curves(truth)


@pytest.fixture(scope="module")
def noisy(truth):
    return planted.curves(truth, noise=0.003, rng=np.random.default_rng(8))


def mixtures_of(truth, weights, sizes, epochs, law=laws.utility, **changes):
    """Noise-free checkpoints of mixtures, as a table."""
    weights, sizes = np.asarray(weights, float), np.asarray(sizes, float)
    count, pools = weights.shape
    seen = np.tile(np.asarray(epochs) * planted.SIZE, count)
    runs = Runs(
        pools=Pools.of({f"pool{i}": planted.SIZE for i in range(pools)}),
        source=pools + np.repeat(np.arange(count), len(epochs)),
        mixes=weights,
        mix_sizes=sizes,
        samples_seen=seen,
        error=np.ones(len(seen)),
        run=np.repeat(np.arange(count), len(epochs)),
        run_names=tuple(f"mix{i}" for i in range(count)),
        seed=np.zeros(len(seen), int),
        metric=np.zeros(len(seen), int),
    )
    params = dataclasses.replace(truth, **changes)
    return dataclasses.replace(runs, error=evaluate(law, params, runs.as_run()))


def test_planted_parameters_come_back_from_noise_free_curves():
    errors = recovery.recover(15, seed=3)
    assert np.max(errors) <= 1e-6


@pytest.mark.slow
def test_planted_parameters_come_back_in_99_percent_of_200_truths():
    errors = recovery.recover(200)
    assert np.mean(errors <= 1e-6) >= 0.99


def test_gradient_solvers_end_where_least_squares_ends(noisy):
    reference = fit(noisy, max_epochs=16).diagnostics.rmse ** 2
    lbfgs = fit(noisy, max_epochs=16, solver=LBFGS(), starts=16).diagnostics.rmse ** 2
    adam = fit(noisy, max_epochs=16, solver=Adam(), starts=16).diagnostics.rmse ** 2
    assert abs(lbfgs - reference) <= 1e-10
    assert abs(adam - reference) <= 1e-8


@pytest.mark.slow
def test_solvers_agree_and_the_released_grid_is_never_better_on_50_noisy_tables():
    excess = recovery.compare(50)
    assert max(excess["L-BFGS"]) <= 1e-10
    assert max(excess["Adam"]) <= 1e-8
    assert max(excess["grid"]) <= 0.0


def test_no_cell_of_the_released_grid_is_better(noisy):
    floor = float(fit(noisy).params.floor)
    assert recovery.grid_excess(noisy, floor) <= 0.0


def test_the_released_grid_evaluates_the_law(truth, curves):
    pool = laws.utility.params(
        scale=released_grid.NORMALISER / 0.02,
        floor=0.1,
        utility=np.full(4, -0.2),
        half_life=np.full(4, 3.0),
        reference_size=np.full(4, planted.SIZE),
    )
    expected = evaluate(laws.utility, pool, curves.as_run())
    for predict in released_grid.FORMS.values():
        ours = [predict(0.02, -0.2, 3.0, 0.1, n, planted.SIZE) for n in curves.samples_seen.tolist()]
        np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_scan_and_closed_form_fit_the_same(truth):
    longer = planted.curves(truth, (0.25, 0.5, 1, 3, 9, 17, 30), noise=0.003, rng=np.random.default_rng(8))
    closed, scanned = fit(longer), fit(longer, max_epochs=32)
    assert closed.diagnostics.settings["max_epochs"] is None
    np.testing.assert_allclose(closed.params.half_life, scanned.params.half_life, rtol=1e-6)


def test_same_seed_same_bytes(noisy):
    first, second = fit(noisy, seed=5), fit(noisy, seed=5)
    same = jax.tree.map(lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes(), first.params, second.params)
    assert jax.tree.all(same)


def test_caller_keeps_its_precision(noisy):
    before = jax.config.jax_enable_x64
    fitted = fit(noisy)
    assert jax.config.jax_enable_x64 == before
    assert fitted.params.utility.dtype == np.float64


def test_fit_on_mixtures_alone_recovers_dilution_and_the_rest(truth):
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(4), 12)
    sizes = planted.SIZE * rng.uniform(0.2, 1.0, (12, 4))
    truth = dataclasses.replace(truth, reference_size=np.full(4, planted.SIZE))
    runs = mixtures_of(truth, weights, sizes, planted.EPOCHS, dilution=0.6)
    fitted = fit(runs, free=["dilution"])
    np.testing.assert_allclose(fitted.params.dilution, 0.6, rtol=1e-6)
    np.testing.assert_allclose(fitted.params.half_life, truth.half_life, rtol=1e-5)


def test_decay_shape_and_amplitude_can_be_fitted(truth):
    shaped = dataclasses.replace(truth, decay_shape=1.7)
    fitted = fit(planted.curves(shaped), free="decay_shape")
    np.testing.assert_allclose(fitted.params.decay_shape, 1.7, rtol=1e-6)
    larger = dataclasses.replace(truth, amplitude=2.5)
    fitted = fit(planted.curves(larger), free=["amplitude"])
    np.testing.assert_allclose(fitted.params.amplitude, 2.5, rtol=1e-4)


@pytest.mark.parametrize("law", [laws.effective_data, laws.released_utility], ids=lambda law: law.name)
def test_other_laws_recover_their_own_parameters(truth, law):
    fitted = fit(planted.curves(truth, law=law), law, starts=32)
    assert recovery.largest_error(fitted.params, truth) <= 1e-6


def test_sharing_by_all_and_by_groups(truth):
    together = dataclasses.replace(truth, half_life=np.array([4.0, 4.0, 9.0, 9.0]))
    runs = planted.curves(together)
    groups = [["pool0", "pool1"], ["pool2", "pool3"]]
    fitted = fit(runs, share={"half_life": groups})
    np.testing.assert_allclose(fitted.params.half_life, [4, 4, 9, 9], rtol=1e-6)
    one = fit(runs, share={"half_life": True})
    assert np.ndim(one.params.half_life) == 0
    assert one.diagnostics.objective > fitted.diagnostics.objective


def test_scale_may_differ_between_pools(truth):
    apart = dataclasses.replace(truth, scale=np.array([2e6, 3e6, 4e6, 5e6]))
    fitted = fit(planted.curves(apart), share={"scale": False})
    np.testing.assert_allclose(fitted.params.scale, apart.scale, rtol=1e-6)


def test_floors_may_differ_between_pools(truth):
    apart = dataclasses.replace(truth, floor=np.array([0.05, 0.4, 0.05, 0.4]))
    fitted = fit(planted.curves(apart), share={"floor": False})
    np.testing.assert_allclose(fitted.params.floor, apart.floor, atol=1e-6)


def test_groups_are_told_apart_by_their_pools_and_not_by_their_names(truth):
    runs = planted.curves(dataclasses.replace(truth, half_life=np.array([4.0, 4.0, 9.0, 2.0])))
    named = dataclasses.replace(runs, pools=Pools(("a", "b", "a+b", "c"), runs.pools.sizes))
    fitted = fit(named, share={"half_life": [["a", "b"]]})
    np.testing.assert_allclose(fitted.params.half_life, [4, 4, 9, 2], rtol=1e-6)


def test_fixed_values_and_bounds_hold(curves, truth):
    fitted = fit(curves, fixed={"floor": 0.05, "half_life": {"pool0": 3.0}}, bounds={"utility": (-0.2, -0.1)})
    assert fitted.params.floor == 0.05
    assert fitted.params.half_life[0] == 3.0
    assert np.all((fitted.params.utility >= -0.2 - 1e-12) & (fitted.params.utility <= -0.1 + 1e-12))
    assert any(line.startswith("utility of pool") for line in fitted.diagnostics.bounds_hit)
    assert np.isnan(fitted.diagnostics.standard_errors.half_life[0])


def test_log_excess_residuals_recover_too(curves, truth):
    assert recovery.largest_error(fit(curves, log=True).params, truth) <= 1e-6


def test_huber_ignores_an_outlier_that_squares_follow(truth):
    runs = planted.curves(truth, noise=1e-4, rng=np.random.default_rng(1))
    error = runs.error.copy()
    error[5] += 0.1
    spoiled = dataclasses.replace(runs, error=error)
    robust, plain = fit(spoiled, huber=3e-4), fit(spoiled)
    miss = [np.max(np.abs(f.params.utility / truth.utility - 1)) for f in (robust, plain)]
    assert miss[0] < 0.02
    assert miss[1] > 3 * miss[0]


def test_a_checkpoint_without_importance_does_not_count(truth):
    runs = planted.curves(truth)
    error, weight = runs.error.copy(), np.ones(len(runs))
    error[3] += 0.2
    weight[3] = 0.0
    spoiled = dataclasses.replace(runs, error=error)
    assert recovery.largest_error(fit(spoiled, importance=weight).params, truth) <= 1e-6
    by_size = dataclasses.replace(spoiled, eval_size=weight)
    assert recovery.largest_error(fit(by_size).params, truth) <= 1e-6


def test_an_outlier_does_not_inflate_huber_standard_errors(truth):
    clean = planted.curves(truth, noise=1e-4, rng=np.random.default_rng(1))
    error = clean.error.copy()
    error[5] += 0.1
    robust = fit(dataclasses.replace(clean, error=error), huber=3e-4).diagnostics.standard_errors.utility
    plain = fit(clean).diagnostics.standard_errors.utility
    assert np.all(robust < 4 * plain)


def test_checkpoints_without_importance_leave_standard_errors_alone(noisy):
    twice = noisy.select(np.tile(np.arange(len(noisy)), 2))
    weight = np.repeat([1.0, 0.0], len(noisy))
    once = fit(noisy).diagnostics.standard_errors.utility
    np.testing.assert_allclose(fit(twice, importance=weight).diagnostics.standard_errors.utility, once, rtol=1e-6)


def test_a_fit_that_stops_short_says_so(noisy):
    hasty = LevenbergMarquardt(look=1, finalists=1, max_iterations=2)
    assert not fit(noisy, solver=hasty, starts=2).diagnostics.converged
    assert fit(noisy).diagnostics.converged


def test_standard_errors_are_the_spread_over_repetitions(truth):
    rng = np.random.default_rng(2)
    fits = [fit(planted.curves(truth, noise=0.001, rng=rng), starts=16) for _ in range(60)]
    spread = np.std([f.params.utility for f in fits], axis=0, ddof=1)
    stated = np.median([f.diagnostics.standard_errors.utility for f in fits], axis=0)
    np.testing.assert_allclose(stated, spread, rtol=0.4)


def test_half_lives_without_repeats_are_named_unidentified(truth):
    once = planted.curves(truth, epochs=(0.1, 0.3, 0.6, 0.9))
    with pytest.warns(QQTWarning, match="no checkpoint repeats any pool"):
        fitted = fit(once)
    assert sum("half_life" in line for line in fitted.diagnostics.unidentified) == 4


def test_no_checkpoint_inside_the_first_epoch_warns(truth):
    late = planted.curves(truth, epochs=(2.0, 4.0, 6.0, 8.0, 10.0))
    with pytest.warns(QQTWarning, match="no checkpoint inside the first epoch"):
        fit(late)


def test_one_checkpoint_warns(curves):
    keep = (curves.source != 2) | (curves.samples_seen == curves.samples_seen.min())
    with pytest.warns(QQTWarning, match="one checkpoint only of pool 'pool2'"):
        fit(curves.select(keep))


def test_fewer_checkpoints_than_parameters_is_said(truth):
    few = planted.curves(truth, epochs=(0.5, 3.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QQTWarning)
        fitted = fit(few)
    assert fitted.diagnostics.unidentified[-1].endswith("free parameters from 8 checkpoints: no standard errors")


def test_several_metrics_side_by_side_or_averaged(truth):
    first, second = planted.curves(truth), planted.curves(dataclasses.replace(truth, floor=truth.floor + 0.1))
    both = dataclasses.replace(
        first,
        source=np.tile(first.source, 2),
        samples_seen=np.tile(first.samples_seen, 2),
        error=np.concatenate([first.error, second.error]),
        run=np.tile(first.run, 2),
        seed=np.tile(first.seed, 2),
        metric=np.repeat([0, 1], len(first)),
        metric_names=("imagenet", "vtab"),
    )
    with pytest.raises(InputError, match="2 metrics"):
        fit(both)
    fits = fit_metrics(both)
    assert fits["vtab"].params.floor - fits["imagenet"].params.floor == pytest.approx(0.1, abs=1e-8)
    mean = fit(both.average_metrics(["imagenet", "vtab"]))
    assert mean.params.floor == pytest.approx(truth.floor + 0.05, abs=1e-8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fixed": {"tau": 3}}, "no parameter 'tau'"),
        ({"free": ["floor"], "fixed": {"floor": 0}}, "both fixed and free"),
        ({"bounds": {"floor": (0.3, 0.1)}}, "low < high"),
        ({"bounds": {"utility": (-0.3, 0.1)}}, "same sign"),
        ({"share": {"half_life": [["pool0", "pol1"]]}}, "did you mean 'pool1'"),
        ({"starts": 0}, "at least 1"),
        ({"seed": -1}, "seed -1"),
        ({"fixed": {"floor": -1.0}}, "fixed floor: -1.0, expected at least 0"),
        ({"fixed": {"scale": 0.0}}, "fixed scale: 0.0, expected positive"),
        ({"huber": 0.0}, "huber 0.0: expected a positive number"),
        ({"fixed": {"half_life": -1.0}}, "fixed half_life: -1.0, expected positive"),
        ({"bounds": {"dilution": (0, 1)}}, "dilution is not fitted unless it is in free"),
        ({"fixed": {"floor": 0.5}, "bounds": {"floor": (0, 0.2)}}, "is fixed and has bounds"),
        ({"share": {"reference_size": True}}, "reference_size is not fitted"),
        ({"share": {"half_life": [["pool0"], ["pool0"]]}}, "in two groups"),
        ({"importance": np.ones(3)}, "finite numbers"),
    ],
)
def test_unusable_settings_are_named(curves, settings, message):
    with pytest.raises(InputError, match=message):
        fit(curves, **settings)


def test_a_table_of_some_pools_fits_like_those_pools_alone(truth):
    weights = [[0.5, 0, 0.5, 0], [0, 0, 1, 0], [0.2, 0.3, 0.5, 0]]
    runs = mixtures_of(truth, weights, np.full((3, 4), planted.SIZE), [1, 4])
    some = runs.for_pools(["pool2", "pool0"])
    assert some.pools.names == ("pool2", "pool0")
    np.testing.assert_array_equal(some.weights, [[0.5, 0.5], [0.5, 0.5], [1, 0], [1, 0]])
    np.testing.assert_array_equal(some.error, runs.error[:4])
    alone = planted.curves(truth).for_pools(["pool3"])
    assert len(alone) == len(planted.EPOCHS)
    assert np.all(alone.source == 0)


def test_nothing_to_fit_is_said(curves):
    with pytest.raises(InputError, match="no checkpoints"):
        fit(curves.select(np.zeros(len(curves), bool)))


def test_saved_fit_reloads_to_the_same_bytes(noisy, tmp_path):
    fitted = fit(noisy)
    path = tmp_path / "fit.json"
    save_fit(fitted, path)
    again = load_fit(path)
    same = jax.tree.map(lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes(), fitted.params, again.params)
    assert jax.tree.all(same)
    assert str(again) == str(fitted)
    save_fit(again, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert again.predict({"pool0": 0.5, "pool1": 0.5}, 1e8) == fitted.predict({"pool0": 0.5, "pool1": 0.5}, 1e8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s | {"schema_version": 99}, "schema version 99"),
        (lambda s: s | {"schema": "x"}, "not a saved fit"),
        (lambda s: s | {"law": "mine"}, "law 'mine' is not one of"),
        (lambda s: {k: v for k, v in s.items() if k != "pools"}, "damaged"),
        (lambda s: s | {"pools": {"pool0": 1e6}}, "utility has 4 values for 1 pools"),
        (lambda s: s | {"params": s["params"] | {"utility": ["nan", -0.1, -0.1, -0.1]}}, "utility is not a number"),
        (lambda s: s | {"pools": s["pools"] | {"pool1": -1.0}}, "fit.json: .*'pool1': size -1.0"),
    ],
)
def test_damaged_files_are_refused(noisy, tmp_path, change, message):
    path = tmp_path / "fit.json"
    save_fit(fit(noisy), path)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=message):
        load_fit(path)


def test_saving_into_a_missing_folder_is_one_line(noisy, tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        save_fit(fit(noisy), tmp_path / "none" / "fit.json")
    assert list(tmp_path.iterdir()) == []


def test_extrapolation_is_stated(noisy):
    fitted = fit(noisy)
    assert fitted.extrapolation({"pool0": 1}, 10 * planted.SIZE) == ""
    assert "4x the most samples seen" in fitted.extrapolation({"pool0": 1}, 40 * planted.SIZE)
    assert "4x the epochs" in fitted.extrapolation({"pool0": 1}, 40 * planted.SIZE)


def test_a_pool_of_unknown_size_cannot_be_resized(truth):
    runs = planted.curves(truth, epochs=(0.1, 0.3, 0.6, 0.9))
    endless = dataclasses.replace(runs, pools=Pools(runs.pools.names, np.full(4, np.inf)))
    with pytest.warns(QQTWarning, match="no checkpoint repeats any pool"):
        fitted = fit(endless)
    with pytest.raises(InputError, match="half-life is not known"):
        fitted.with_sizes({"pool1": 1e6})


def test_printed_fit_fits_a_terminal(noisy):
    text = str(fit(noisy))
    assert max(map(len, text.splitlines())) <= 80
    assert "half_life (tau)" in text
