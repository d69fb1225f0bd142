"""Pools that borrow strength from each other: the evidence, the sampling, both limits, planted populations."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.stats import multivariate_normal

import qqtjax as qqt
from qqtjax.fit.bootstrap import WildBootstrap
from qqtjax.fit.drawing import draw
from qqtjax.fit.hierarchy import Given, Population, latents, precision
from qqtjax.fit.importance import sample
from qqtjax.fit.objective import Data, Objective, gather
from qqtjax.fit.parameters import search_space
from qqtjax.fit.pooled_problem import Pooling
from qqtjax.fit.pooling import fit_pooled, fit_pooled_many
from qqtjax.fit.problem import problem_of
from qqtjax.laws import Law, UtilityParams
from qqtjax.laws.fitted import evaluate
from qqtjax.laws.law import Range
from qqtjax.runs import Pools, Runs

SIZE = 12.8e6


def table(pools: int, epochs: tuple[float, ...]) -> Runs:
    """One run a pool, checkpoints at `epochs`; errors still to come."""
    named = Pools.of({f"pool{index}": SIZE for index in range(pools)})
    source = np.repeat(np.arange(pools), len(epochs))
    zero = np.zeros(len(source), int)
    return Runs(
        pools=named,
        source=source,
        mixes=np.zeros((0, pools)),
        mix_sizes=np.zeros((0, pools)),
        samples_seen=np.tile(np.array(epochs) * SIZE, pools),
        error=np.ones(len(source)),
        run=source,
        run_names=named.names,
        seed=zero,
        metric=zero,
    )


def measured(runs: Runs, utility: np.ndarray, half_life: np.ndarray, noise: float, seed: int) -> Runs:
    """The table with the utility law's errors at scale 3e6, floor .15, and noise."""
    truth = UtilityParams(
        scale=3e6, floor=0.15, utility=utility, half_life=half_life, reference_size=np.full(len(utility), SIZE)
    )
    error = evaluate(qqt.laws.utility, truth, runs.as_run())
    return dataclasses.replace(runs, error=error + noise * np.random.default_rng(seed).normal(size=len(error)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LineParams:
    """A level of each pool and one slope."""

    level: jax.Array
    slope: jax.Array


LINE = Law(
    name="line",
    function=lambda params, run, max_epochs=None: (
        jnp.sum(run.weights * params.level) - params.slope * jnp.log(run.samples_seen / SIZE)
    ),
    params=LineParams,
    ranges=lambda runs: {"level": Range(-50.0, 50.0, -1.0, 3.0), "slope": Range(0.0, 1.0, 0.1, 0.3)},
    per_pool=("level",),
    scans=lambda params: False,
    convex=lambda params: False,
    symbols={},
)


class Line(NamedTuple):
    """The linear law on three pools, ready for `latents`, and what is drawn at random in it."""

    runs: Runs
    objective: Objective
    data: Data
    population: Population
    weight: np.ndarray


@pytest.fixture(scope="module")
def line() -> Line:
    rng = np.random.default_rng(0)
    runs = dataclasses.replace(table(3, (0.5, 4.0)), error=1.0 + rng.normal(size=6))
    space = search_space(LINE, runs)
    run, drawn = gather(runs)
    weight = np.array([0.5, 1.0, 2.0, 1.0, 0.7, 0.8])
    score = np.array([-1.0, 0.2, 0.8])
    population = Population(
        place=np.arange(3),
        field=np.zeros(3, int),
        centre=np.full(3, 0.7),
        common=2.0 * np.stack([np.ones(3), score], axis=1),
        low=np.full(3, -50.0),
        high=np.full(3, 50.0),
    )
    assert space.names[3] == "slope"
    return Line(
        runs,
        Objective(space.layout, None, False, None),
        Data(run, drawn, runs.error, weight, space.fixed),
        population,
        weight,
    )


def test_the_evidence_of_a_linear_law_is_that_of_the_normal_it_is(line: Line):
    spread, noise, slope = np.array([[0.01], [0.3], [2.0], [0.3]]), np.array([0.1, 0.1, 0.5, 1.0]), [0.0, 0.2, 0.5, 0.9]
    shared = np.zeros((4, 4))
    shared[:, 3] = slope
    with jax.enable_x64(True):
        given = Given(shared, spread, noise, np.broadcast_to(line.runs.error, (4, 6)))
        found = jax.tree.map(np.asarray, latents(line.objective, line.data, line.population, given, 20))
        information = [np.asarray(precision(line.population, each)[0]) for each in spread]
    design = line.runs.weights
    exact, means = [], []
    for s, sigma, c, q in zip(spread[:, 0], noise, slope, information, strict=True):
        prior = s**2 * np.eye(3) + line.population.common @ line.population.common.T
        np.testing.assert_allclose(q @ prior, np.eye(3), atol=1e-8)
        covariance = design @ prior @ design.T + np.diag(sigma**2 / line.weight)
        centre = design @ line.population.centre - c * np.log(line.runs.samples_seen / SIZE)
        exact.append(multivariate_normal(centre, covariance).logpdf(line.runs.error))
        means.append(line.population.centre + prior @ design.T @ np.linalg.solve(covariance, line.runs.error - centre))
        left = prior - prior @ design.T @ np.linalg.solve(covariance, design @ prior)
        np.testing.assert_allclose(found.covariance[len(means) - 1], left, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(np.diff(found.evidence), np.diff(exact), rtol=1e-6)
    np.testing.assert_allclose(found.x[:, :3], means, rtol=1e-6)
    assert found.done.all()
    # What is estimated without the others: two numbers, a mean and a slope, where the pools are as one; else three.
    assert np.sum(1 - found.shrinkage[0]) == pytest.approx(2.0, abs=0.05)
    assert np.sum(1 - found.shrinkage[2]) == pytest.approx(3.0, abs=0.3)


def test_what_the_pools_share_follows_the_covariate(line: Line):
    """With hardly any noise and spread the common part is the straight line through the pools' levels."""
    level = 0.7 + 2.0 * (0.4 + 0.3 * np.array([-1.0, 0.2, 0.8]))
    error = np.broadcast_to(line.runs.weights @ level, (4, 6))
    with jax.enable_x64(True):
        given = Given(np.zeros((4, 4)), np.full((4, 1), 1e-3), np.full(4, 1e-3), error)
        found = jax.tree.map(np.asarray, latents(line.objective, line.data, line.population, given, 20))
    np.testing.assert_allclose(found.common[0], [0.4, 0.3], atol=1e-4)
    assert np.all(np.sqrt(np.diag(np.asarray(found.common_covariance[0]))) < 1e-2)


def test_importance_sampling_gives_normal_posteriors_side_by_side():
    precision_of, target = np.array([3.0, 1e4]), np.array([[1.0, -0.5], [0.3, 1.2]])
    asked = []

    def log_likelihood(z: np.ndarray, which: np.ndarray) -> np.ndarray:
        asked.append(which.tolist())
        return -0.5 * precision_of[which, None] * np.sum((z - target[which, None]) ** 2, axis=-1)

    found = sample(log_likelihood, 2, 2, 128, 30, 400.0, 3)
    shrunk = precision_of / (1 + precision_of)
    mean = found.mean(found.points)
    deviation = np.sqrt(1 / (1 + precision_of))
    np.testing.assert_array_less(np.abs(mean - shrunk[:, None] * target), 0.1 * deviation[:, None] + np.zeros((2, 2)))
    variance = found.mean((found.points - mean[:, None]) ** 2)
    np.testing.assert_allclose(variance, (deviation**2)[:, None] * np.ones((2, 2)), rtol=0.2)
    assert np.all(found.effective >= 400)
    assert asked[0] == [0, 1]
    assert asked[-1] == [1]
    again = sample(log_likelihood, 2, 2, 128, 30, 400.0, 3)
    assert np.array_equal(found.points, again.points)
    assert np.array_equal(found.weights, again.weights)


def test_importance_sampling_of_the_impossible_has_no_effective_points():
    found = sample(lambda z, which: np.full(z.shape[:2], -np.inf), 1, 2, 16, 3, 50.0, 0)
    assert found.effective[0] == 0


EPOCHS = (0.5, 2.0, 8.0)


@pytest.fixture(scope="module")
def three() -> Runs:
    """Four pools, three checkpoints each."""
    return measured(
        table(4, EPOCHS), -np.array([0.1, 0.15, 0.2, 0.3]), np.array([8.0, 3.0, 5.0, 12.0]), noise=3e-4, seed=1
    )


@pytest.fixture(scope="module")
def pooled(three: Runs) -> qqt.FittedLaw:
    return fit_pooled(three)


def test_pools_with_nothing_in_common_are_fitted_independently(three: Runs):
    """Within what SciPy's least squares leaves open, from the planted values and with its own derivatives."""
    wide = fit_pooled(three, pooling=Pooling(spread={"utility": 30.0, "half_life": 30.0}, noise=3e-4))

    def params(x: np.ndarray) -> UtilityParams:
        return UtilityParams(
            scale=np.exp(x[0]),
            floor=x[1],
            utility=-np.exp(x[2:6]),
            half_life=np.exp(x[6:]),
            reference_size=np.full(4, SIZE),
        )

    def misses(x: np.ndarray) -> np.ndarray:
        return (evaluate(qqt.laws.utility, params(x), three.as_run()) - three.error) / 3e-4

    planted = np.array([np.log(3e6), 0.15, *np.log([0.1, 0.15, 0.2, 0.3]), *np.log([8.0, 3.0, 5.0, 12.0])])
    alone = least_squares(misses, planted, x_scale="jac", xtol=1e-12, ftol=1e-12, gtol=1e-12)
    deviation = np.sqrt(np.diag(np.linalg.inv(alone.jac.T @ alone.jac)))
    found, spread = wide.params, wide.diagnostics
    x = np.array([np.log(found.scale), found.floor, *np.log(-found.utility), *np.log(found.half_life)])
    assert np.all(np.abs(x - alone.x) < 0.5 * deviation)
    assert spread is not None
    assert spread.converged
    assert spread.pooled is not None
    assert max(map(max, spread.pooled.shrinkage.values())) < 1e-3
    errors = spread.standard_errors
    stated = np.array([errors.scale / found.scale, errors.floor, *(errors.utility / -found.utility)])
    np.testing.assert_allclose(stated, deviation[:6], rtol=0.3)


def test_pools_without_a_spread_are_one(three: Runs):
    alike = measured(three, np.full(4, -0.2), np.full(4, 5.0), noise=3e-4, seed=2)
    one = fit_pooled(alike, pooling=Pooling(spread={"utility": 0.0, "half_life": 0.0}, noise=3e-4))
    assert np.ptp(one.params.utility) < 1e-3 * 0.2
    assert np.ptp(one.params.half_life) < 1e-3 * 5.0
    # One curve, through the mean of the pools at each epoch.
    predicted = one.predict(np.eye(4)[[0, 1, 2]], alike.samples_seen[:3])
    np.testing.assert_allclose(predicted, alike.error.reshape(4, 3).mean(axis=0), atol=1e-4)
    # Of eight numbers of the pools two are estimated, one b and one half-life.
    assert one.diagnostics is not None
    assert one.diagnostics.pooled is not None
    shrinkage = np.array(list(one.diagnostics.pooled.shrinkage.values()))
    assert np.sum(1 - shrinkage) == pytest.approx(2, abs=0.01)


def test_a_pooled_fit_says_how_far_pools_were_drawn_together(pooled: qqt.FittedLaw, tmp_path):
    found = pooled.diagnostics.pooled
    assert found is not None
    assert set(found.spread) == {"utility", "half_life"}
    assert all(0 <= share < 1 for each in found.shrinkage.values() for share in each)
    # Fitted closely at small noise: b lies within the planted errors, the spread of log b near its own .46.
    np.testing.assert_allclose(pooled.params.utility, [-0.1, -0.15, -0.2, -0.3], rtol=0.15)
    assert 0.2 < found.spread["utility"] < 1.0
    assert "utility over pools: typical" in str(pooled)
    assert "status: converged" in str(pooled)
    assert "every pool has 3 checkpoints or more" in " ".join(str(pooled).split())
    qqt.save_fit(pooled, tmp_path / "fit.json")
    again = qqt.load_fit(tmp_path / "fit.json")
    assert str(again) == str(pooled)
    assert again.diagnostics.pooled.shrinkage == found.shrinkage


def test_draws_of_a_pooled_fit_spread_as_its_posterior(pooled: qqt.FittedLaw):
    drawn = qqt.draw_params(pooled, 4000)
    errors = pooled.diagnostics.standard_errors
    wanted = errors.utility / np.abs(pooled.params.utility)
    np.testing.assert_allclose(np.std(np.log(-drawn.utility), axis=0), wanted, rtol=0.1)


def test_posterior_draws_of_a_pooled_fit_follow_its_curves(three: Runs, pooled: qqt.FittedLaw):
    """Every draw fits the checkpoints to about the noise, though scale, floor and b trade off along a curve."""
    drawn = draw(pooled, three, 256, seed=1)
    again = draw(pooled, three, 256, seed=1)
    assert np.array_equal(drawn.params.half_life, again.params.half_life)
    misses = drawn.predict(three.weights, three.samples_seen) - three.error
    assert np.median(np.sqrt(np.mean(misses**2, axis=1))) < 1.5e-3
    wide = np.std(np.log(drawn.params.scale)) / (pooled.diagnostics.standard_errors.scale / pooled.params.scale)
    assert 0.5 < wide < 1.5
    assert any("run-to-run noise" in note for note in drawn.notes)
    with pytest.raises(qqt.InputError, match="own posterior"):
        draw(pooled, three, 10, WildBootstrap())
    with pytest.raises(qqt.InputError, match="a pooled fit"):
        problem_of(pooled, three)
    with pytest.raises(qqt.InputError, match="not the runs that were fitted"):
        draw(pooled, dataclasses.replace(three, error=three.error + 0.01), 10)


def test_the_same_seed_gives_the_same_bytes_alone_and_side_by_side(three: Runs, pooled: qqt.FittedLaw):
    errors = np.stack([three.error, three.error + 1e-3])
    many = fit_pooled_many(three, errors=errors)
    again = fit_pooled_many(three, errors=errors)
    assert np.array_equal(many.params.half_life, again.params.half_life)
    np.testing.assert_allclose(many.params.utility[0], pooled.params.utility, rtol=5e-3)
    assert many.fields == ("utility", "half_life")
    assert many.spread.shape == (2, 2)


@pytest.mark.parametrize(
    ("pooling", "message"),
    [
        (Pooling(covariate={"pool0": 1.0}), "covariate: pool 'pool1' has no score"),
        (Pooling(covariate={"pole": 1.0}), "unknown pool 'pole'"),
        (Pooling(covariate=[1.0, 1.0, 1.0, 1.0]), "covariate: the same for all pools"),
        (Pooling(covariate=[1.0, 2.0]), "covariate of shape"),
        (Pooling(covariate=["a", "b", "c", "d"]), "covariate: expected numbers"),
        (Pooling(spread={"floor": 1.0}), "spread of 'floor', expected one of the pooled"),
        (Pooling(spread={"utility": -1.0}), "expected a finite number >= 0"),
        (Pooling(noise=0.0), "noise 0.0, expected a positive number"),
        (Pooling(lanes=100), "lanes 100, expected a power of two"),
        (Pooling(rounds=0), "rounds 0, expected at least 1"),
    ],
)
def test_settings_that_cannot_be_are_one_clear_line(three: Runs, pooling: Pooling, message: str):
    with pytest.raises(qqt.InputError, match=message):
        fit_pooled(three, pooling=pooling)


def test_one_value_for_all_pools_leaves_nothing_to_pool(three: Runs):
    with pytest.raises(qqt.InputError, match="two pools or more"):
        fit_pooled(three, share={"utility": True, "half_life": True})


@pytest.mark.slow
def test_planted_populations_and_covariates_are_recovered():
    """Twelve pools, three checkpoints: spread, slope and centre of both fields within their own uncertainty."""
    rng, pools = np.random.default_rng(5), 12
    score = np.linspace(-1.0, 1.0, pools)
    log_utility = np.log(0.15) + 0.3 * score + 0.2 * rng.normal(size=pools)
    log_half_life = np.log(5.0) - 0.4 * score + 0.4 * rng.normal(size=pools)
    runs = measured(table(pools, EPOCHS), -np.exp(log_utility), np.exp(log_half_life), noise=1e-3, seed=6)
    found = fit_pooled(runs, pooling=Pooling(covariate=score)).diagnostics.pooled
    assert found is not None
    assert found.spread["utility"] == pytest.approx(0.2, rel=0.5)
    assert found.spread["half_life"] == pytest.approx(0.4, rel=0.5)
    for name, slope in (("utility", 0.3), ("half_life", -0.4)):
        assert abs(found.slope[name] - slope) < 3 * found.slope_error[name] < 1.0
    assert found.centre["utility"] == pytest.approx(-0.15, rel=0.25)
    assert found.centre["half_life"] == pytest.approx(5.0, rel=0.35)
    assert found.noise == pytest.approx(1e-3, rel=0.5)
