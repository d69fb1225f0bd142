"""The posterior against Student's t where the law is linear, and what it refuses."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import qqtjax as qqt
from benchmarks.planted import curves, draw_truth
from qqtjax.fit.posterior import _disagreement, posterior
from qqtjax.fit.problem import coordinates_of, problem_of


def test_it_needs_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "blackjax", None)
    paper = qqt.published("datacomp-tmars").utility
    with pytest.raises(qqt.MissingExtraError, match=r"need blackjax: pip install 'qqtjax\[posterior\]'"):
        posterior(paper, qqt.wordclip("C"))


def test_chains_that_disagree_are_seen():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(4, 500, 3))
    assert np.all(_disagreement(mixed) < 1.01)
    mixed[0, :, 1] += 1
    assert (_disagreement(mixed) > 1.05).tolist() == [False, True, False]


@pytest.mark.slow
def test_with_little_noise_it_is_students_t():
    """Under flat priors and normal noise of unknown size: nu degrees of freedom around least squares."""
    pytest.importorskip("blackjax", reason="the posterior extra is not installed")
    rng = np.random.default_rng(5)
    runs = curves(draw_truth(rng), (0.25, 1.0, 2.0, 5.0, 10.0), 1e-5, rng)
    fitted = qqt.fit(runs)
    draws = posterior(fitted, runs, 4000, seed=1)
    assert len(draws.notes) == 1  # mixed, nothing diverged
    assert "run-to-run noise is not known" in draws.notes[0]
    problem = problem_of(fitted, runs)
    x = np.array([coordinates_of(problem.space, draws.at(each).params) for each in range(len(draws))])
    freedom = len(runs) - len(problem.space)
    covariance = np.linalg.inv(problem.slopes.T @ problem.slopes) * np.sum(problem.residuals**2) / (freedom - 2)
    sizes = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((x.mean(axis=0) - problem.x) / sizes, 0, atol=0.1)
    np.testing.assert_allclose(np.cov(x.T) / np.outer(sizes, sizes), covariance / np.outer(sizes, sizes), atol=0.15)
    again = posterior(fitted, runs, 4000, seed=1)
    assert again.params.half_life.tobytes() == draws.params.half_life.tobytes()
