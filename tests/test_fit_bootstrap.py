"""Bootstraps against linear theory, against fits from everywhere, and what they refuse."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

import qqtjax as qqt
from benchmarks.planted import curves, draw_truth
from qqtjax.fit.bootstrap import (
    WEBB,
    ResidualBootstrap,
    RunBootstrap,
    WildBootstrap,
    _versions,
    bootstrap,
    column_space,
    given_back,
    refit,
)
from qqtjax.fit.clusters import Unit, units_of
from qqtjax.fit.problem import coordinates_of, problem_of
from qqtjax.runs import Runs

EPOCHS = (0.25, 1.0, 2.0, 5.0, 10.0)


def repeated(runs: Runs, times: int, noise: float, rng: np.random.Generator) -> Runs:
    """Every run trained several times, with an effect of the run as large as the noise."""
    rows = np.tile(np.arange(len(runs)), times)
    seed = np.repeat(np.arange(times), len(runs))
    table = runs.select(rows)
    run = table.run * times + seed
    error = table.error + noise * (rng.normal(size=run.max() + 1)[run] + rng.normal(size=len(rows)))
    names = tuple(f"{name}, seed {each}" for name in runs.run_names for each in range(times))
    return dataclasses.replace(table, run=run, run_names=names, seed=seed, error=error)


@pytest.fixture(scope="module")
def quiet():
    """A fit with so little noise that it is linear in it, and its table."""
    rng = np.random.default_rng(5)
    runs = curves(draw_truth(rng), EPOCHS, 1e-5, rng)
    return qqt.fit(runs), runs


@pytest.fixture(scope="module")
def noisy(quiet):
    rng = np.random.default_rng(6)
    runs = dataclasses.replace(quiet[1], error=quiet[1].error + 3e-3 * rng.normal(size=len(quiet[1])))
    return qqt.fit(runs), runs


@pytest.fixture(scope="module")
def thrice(quiet):
    """Three runs a pool, and the fit's statement as if its estimate were that of one run each."""
    table = repeated(quiet[1], 3, 1e-3, np.random.default_rng(7))
    weighted = problem_of(*quiet)
    slopes = np.tile(weighted.slopes, (3, 1))
    step = np.linalg.lstsq(slopes, table.error - np.tile(quiet[1].error, 3), rcond=None)[0]
    left = np.tile(quiet[1].error + weighted.residuals, 3) + slopes @ step - table.error
    data = weighted.data._replace(importance=np.ones(len(table)))
    return weighted._replace(slopes=slopes, residuals=left, data=data), table


@pytest.mark.parametrize("kind", [ResidualBootstrap(), WildBootstrap()])
def test_a_little_noise_moves_the_fit_as_linear_theory_says(quiet, kind):
    fitted, runs = quiet
    problem = problem_of(fitted, runs)
    draws = bootstrap(fitted, runs, kind, 128, seed=3)
    errors, _, freedom = _versions(problem, runs, kind, 128, np.random.default_rng(3))
    foretold = problem.x + (errors - runs.error - problem.residuals) @ np.linalg.pinv(problem.slopes).T
    found = np.array([coordinates_of(problem.space, draws.at(each).params) for each in range(128)])
    np.testing.assert_allclose(
        found - problem.x, foretold - problem.x, rtol=2e-2, atol=1e-2 * foretold.std(axis=0).min()
    )
    assert draws.freedom == freedom == len(runs) - len(problem.space)
    assert "run-to-run noise is not known" in draws.notes[0]


def test_residuals_that_change_places_have_the_covariance_of_least_squares(quiet):
    """Student's t of nu degrees of freedom around the estimate: variance s^2 nu / (nu - 2) on average over studies."""
    fitted, runs = quiet
    problem = problem_of(fitted, runs)
    basis = column_space(problem.slopes)
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(200):
        noise = rng.normal(size=len(runs))
        left = basis @ (basis.T @ noise) - noise
        study = problem._replace(residuals=left)
        errors, _, freedom = _versions(study, runs, ResidualBootstrap(), 50, rng)
        drawn = errors - runs.error - left
        spread = np.mean((drawn @ basis) ** 2)
        ratios.append(spread * (freedom - 2) / freedom)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("by", [None, Unit.RUN])
def test_what_the_fit_explained_away_is_given_back(thrice, by):
    """The sum over units of given-back outer products is unbiased for noise of one size, by its exact mean."""
    problem, table = thrice
    basis = column_space(problem.slopes)
    labels = np.arange(len(table)) if by is None else units_of(table, by)
    hat = np.eye(len(table)) - basis @ basis.T
    give = np.stack([given_back(column, basis, labels) for column in hat])
    covariance = give.T @ give
    same = labels[:, None] == labels
    np.testing.assert_allclose(covariance[same], np.eye(len(table))[same], atol=1e-9)


def test_wild_factors_are_webbs_and_one_a_run(thrice):
    problem, table = thrice
    assert np.mean(WEBB) == 0
    assert np.mean(WEBB**2) == pytest.approx(1)
    assert np.mean(WEBB**4) == pytest.approx(7 / 6)
    errors, weights, freedom = _versions(problem, table, WildBootstrap(Unit.RUN), 500, np.random.default_rng(1))
    labels = units_of(table, Unit.RUN)
    noise = given_back(-problem.residuals, column_space(problem.slopes), labels)
    factors = (errors - table.error - problem.residuals) / noise
    for label in range(labels.max() + 1):
        own = factors[:, labels == label]
        np.testing.assert_allclose(own, own[:, :1] * np.ones(own.shape[1]), rtol=1e-6)
    assert freedom == labels.max() + 1 - len(table.pools)
    assert np.all(weights == 1)


def test_residuals_of_whole_runs_keep_the_order_of_training(thrice):
    problem, table = thrice
    errors, _, _ = _versions(problem, table, ResidualBootstrap(Unit.RUN), 50, np.random.default_rng(1))
    drawn = errors - table.error - problem.residuals
    labels = units_of(table, Unit.RUN)
    noise = given_back(-problem.residuals, column_space(problem.slopes), labels)
    vectors = np.stack([noise[labels == label] for label in range(labels.max() + 1)])
    vectors = vectors - vectors.mean(axis=0)
    # Each is one of the vectors, times the size of the noise in its draw.
    for row in drawn[:, labels == 4]:
        cosines = vectors @ row / np.linalg.norm(vectors, axis=1) / np.linalg.norm(row)
        assert np.max(cosines) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("by", [Unit.RUN, Unit.SEED, Unit.REDRAW])
def test_whole_runs_are_drawn_within_each_pool(thrice, by):
    problem, table = thrice
    if by is Unit.REDRAW:
        names = tuple(name.replace(", seed ", " redraw ") for name in table.run_names)
        table = dataclasses.replace(table, run_names=names, seed=np.zeros_like(table.seed))
    errors, weights, _ = _versions(problem, table, RunBootstrap(by), 200, np.random.default_rng(1))
    assert np.all(errors == table.error)
    labels = units_of(table, by)
    for source in range(len(table.pools)):
        own = weights[:, table.source == source]
        np.testing.assert_allclose(own.mean(axis=1), 1.0)
        assert set(np.round(own.ravel(), 9)) == {0.0, 1.5, 3.0}
        # The variance of a weighted mean is that of the mean of three.
        values = np.array([1.0, 2.0, 6.0])[np.unique(labels[table.source == source], return_inverse=True)[1]]
        assert np.var((own * values).mean(axis=1)) == pytest.approx(np.var([1.0, 2.0, 6.0], ddof=1) / 3, rel=0.25)


def test_refits_end_where_fits_from_everywhere_end(noisy):
    fitted, runs = noisy
    problem = problem_of(fitted, runs)
    for kind in (ResidualBootstrap(), WildBootstrap()):
        errors, weights, _ = _versions(problem, runs, kind, 64, np.random.default_rng(2))
        warm = refit(fitted, runs, problem, errors, weights, 2, 0)
        cold = qqt.fit_many(runs, errors=errors, starts=16)
        assert warm.converged.all()
        np.testing.assert_allclose(warm.objective, cold.objective, rtol=1e-6)


def test_the_same_seed_gives_the_same_bytes_also_of_a_saved_fit(noisy, tmp_path):
    fitted, runs = noisy
    qqt.save_fit(fitted, tmp_path / "fit.json")
    first, again, other = (
        bootstrap(each, runs, count=64, seed=seed)
        for each, seed in ((fitted, 1), (qqt.load_fit(tmp_path / "fit.json"), 1), (fitted, 2))
    )
    for one, two in zip(jax.tree.leaves(first.params), jax.tree.leaves(again.params), strict=True):
        assert one.tobytes() == two.tobytes()
        assert one.shape[0] == 64
    assert not np.array_equal(first.params.scale, other.params.scale)


def test_what_is_refused_is_said_in_one_line(noisy, thrice):
    fitted, runs = noisy
    for kind in (WildBootstrap(Unit.RUN), ResidualBootstrap(Unit.RUN), RunBootstrap()):
        with pytest.raises(qqt.InputError, match="pool pool0 has one run: run-to-run noise is not known; expected two"):
            bootstrap(fitted, runs, kind, 8)
    with pytest.raises(qqt.InputError, match="draws 0: expected a whole number >= 1"):
        bootstrap(fitted, runs, count=0)
    with pytest.raises(qqt.InputError, match=r"19 checkpoints of pools .*: expected the 20 that were fitted"):
        bootstrap(fitted, runs.select(np.arange(19)))
    with pytest.raises(qqt.InputError, match="not the runs that were fitted: their residuals differ"):
        bootstrap(fitted, dataclasses.replace(runs, error=runs.error[::-1].copy()))
    with pytest.raises(qqt.InputError, match="not fitted here"):
        bootstrap(qqt.published("datacomp-tmars").utility, runs)
    problem, table = thrice
    kept = np.delete(np.arange(len(table)), 3)
    shorter = problem._replace(
        slopes=problem.slopes[kept],
        residuals=problem.residuals[kept],
        data=problem.data._replace(importance=np.ones(59)),
    )
    with pytest.raises(qqt.InputError, match="runs of 4 to 5 checkpoints: expected as many of each"):
        _versions(shorter, table.select(kept), ResidualBootstrap(Unit.RUN), 8, np.random.default_rng(0))
    few = problem._replace(
        slopes=problem.slopes[:4], residuals=problem.residuals[:4], data=problem.data._replace(importance=np.ones(4))
    )
    with pytest.raises(qqt.InputError, match="free parameters from 4 checkpoints"):
        _versions(few, table.select(np.arange(4)), WildBootstrap(), 8, np.random.default_rng(0))
