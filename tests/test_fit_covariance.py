"""Covariances: of least squares, of whole runs by another way, and draws that have them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

import qqtjax as qqt
from qqtjax.errors import InputError
from qqtjax.fit.clusters import Unit, units_of
from qqtjax.fit.covariance import covariance, draw_normal, sandwich
from qqtjax.fit.problem import problem_of


@pytest.fixture(scope="module")
def measured():
    runs = qqt.wordclip("C", roles=("single",))
    return qqt.fit(runs, fixed={"floor": 0.0}), runs


def at_a_bound(problem) -> np.ndarray:
    low, high = problem.space.box()
    return (problem.x <= low + 1e-6 * (high - low)) | (problem.x >= high - 1e-6 * (high - low))


def test_independent_checkpoints_have_the_covariance_of_least_squares(measured):
    fitted, runs = measured
    problem = problem_of(fitted, runs)
    inside = np.flatnonzero(~at_a_bound(problem))
    root = np.sqrt(problem.data.importance)  # evaluations differ in size
    slopes = root[:, None] * problem.slopes[:, inside]
    freedom = len(runs) - len(inside)
    exact = np.linalg.inv(slopes.T @ slopes) * np.sum((root * problem.residuals) ** 2) / freedom
    found = covariance(fitted, runs)
    np.testing.assert_allclose((found.factor.T @ found.factor)[np.ix_(inside, inside)], exact, rtol=1e-6)
    assert np.all(found.freedom == freedom)
    assert np.all(found.standard_errors[at_a_bound(problem)] == 0)


def test_whole_runs_are_a_sandwich(measured):
    fitted, runs = measured
    problem = problem_of(fitted, runs)
    inside = np.flatnonzero(~at_a_bound(problem))
    root = np.sqrt(problem.data.importance)
    slopes, noise = root[:, None] * problem.slopes[:, inside], -root * problem.residuals
    bread = np.linalg.inv(slopes.T @ slopes)
    hat = slopes @ bread @ slopes.T
    meat = np.zeros_like(bread)
    labels = units_of(runs, Unit.RUN)
    for label in np.unique(labels):
        own = labels == label
        values, vectors = np.linalg.eigh((np.eye(len(runs)) - hat)[np.ix_(own, own)])
        pull = slopes[own].T @ (vectors * values**-0.5 @ vectors.T) @ noise[own]
        meat += np.outer(pull, pull)
    found = covariance(fitted, runs, Unit.RUN)
    both = (found.factor.T @ found.factor)[np.ix_(inside, inside)]
    np.testing.assert_allclose(both, bread @ meat @ bread, rtol=1e-6)
    # A pool's own runs say most of it: three of them, and at most all fifteen.
    assert np.all((found.freedom[inside] > 1.5) & (found.freedom[inside] < 15))


def test_draws_have_that_covariance_and_heavier_tails(measured):
    fitted, runs = measured
    found = covariance(fitted, runs, Unit.RUN)
    drawn = draw_normal(fitted, runs, 20_000, Unit.RUN, seed=3)
    again = draw_normal(fitted, runs, 20_000, Unit.RUN, seed=3)
    assert np.array_equal(drawn.params.utility, again.params.utility)
    logs = np.log(-drawn.params.utility[:, 0])
    wide = found.standard_errors[found.names.index("utility of C00")]
    for share in (0.75, 0.975):
        expected = wide * stats.t.ppf(share, found.freedom[found.names.index("utility of C00")])
        above = np.quantile(logs - np.log(-fitted.params.utility[0]), share)
        assert above == pytest.approx(expected, rel=0.05)
    assert np.median(logs) == pytest.approx(np.log(-fitted.params.utility[0]), abs=0.05 * wide)
    assert np.all(drawn.params.floor == 0)


def test_what_is_not_known_is_said(measured):
    fitted, runs = measured
    one = runs.select(runs.seed == runs.seed.min())
    alone = qqt.fit(one, fixed={"floor": 0.0}, starts=8)
    assert any("one run" in note for note in covariance(alone, one).notes)
    with pytest.raises(InputError, match="one run"):
        covariance(alone, one, Unit.RUN)
    other = dataclasses.replace(runs, error=runs.error + 0.01)
    with pytest.raises(InputError, match="not the runs that were fitted"):
        covariance(fitted, other)


def test_the_freedom_of_a_mean_of_each_pool_is_its_own(rng):
    # Two pools, means of 3 and 5 units of 4 checkpoints each: exactly 2 and 4 degrees of freedom.
    labels = np.repeat(np.arange(8), 4)
    slopes = np.stack([labels < 3, labels >= 3], axis=1).astype(float)
    noise = rng.normal(size=8)[labels] + rng.normal(size=32)
    noise -= slopes @ np.linalg.lstsq(slopes, noise, rcond=None)[0]
    factor, freedom = sandwich(slopes, noise, labels)
    np.testing.assert_allclose(freedom, [2, 4], rtol=1e-12)
    means = noise.reshape(8, 4).mean(axis=1)
    exact = [np.var(means[:3], ddof=1) / 3, np.var(means[3:], ddof=1) / 5]
    np.testing.assert_allclose(np.sum(factor**2, axis=0), exact, rtol=1e-12)
