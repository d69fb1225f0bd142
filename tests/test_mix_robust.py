"""One mix for many draws: against a fine grid, against SLSQP on the epigraph, and where the answer is known."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qqtjax as qqt
from qqtjax.errors import InputError
from qqtjax.laws import FittedLaw, UtilityParams, utility
from qqtjax.laws.draws import Draws
from qqtjax.mix import CVaR, Mean, Worst, optimize_mix, robust_mix
from qqtjax.runs import Pools, Run

SIZE, BUDGET, STEP = 12.8e6, 256e6, 100
OBJECTIVES = (Mean(), CVaR(0.5), CVaR(0.9), Worst())


def drawn(count: int, width: int, seed: int, decay_shape: float | None = None, dilution: float | None = None) -> Draws:
    """Draws around pools of random quality: 10 % on b, 40 % on tau, 20 % on the scale, dilution anywhere in [0, 1]."""
    rng = np.random.default_rng(seed)
    best = -np.exp(rng.uniform(np.log(0.1), np.log(0.3), width))
    half = np.exp(rng.uniform(np.log(2), np.log(15), width))
    shape = None if decay_shape is None else np.full(count, decay_shape)
    params = UtilityParams(
        scale=4e6 * np.exp(0.2 * rng.normal(size=count)),
        floor=0.1 + 0.02 * rng.normal(size=count),
        utility=best * np.exp(0.1 * rng.normal(size=(count, width))),
        half_life=half * np.exp(0.4 * rng.normal(size=(count, width))),
        reference_size=np.full((count, width), SIZE),
        dilution=rng.uniform(0, 1, count) if dilution is None else np.full(count, dilution),
        decay_shape=shape,
        amplitude=np.ones(count),
    )
    centre = UtilityParams(
        scale=4e6, floor=0.1, utility=best, half_life=half, reference_size=np.full(width, SIZE), decay_shape=decay_shape
    )
    pools = Pools.of({f"p{place}": SIZE for place in range(width)})
    return Draws(FittedLaw(utility, centre, pools), params, method="made up", freedom=np.inf, notes=())


@jax.jit
def _errors(params, rows):
    def one(own, weights):
        return utility(own, Run(weights=weights, sizes=jnp.full(rows.shape[1], SIZE), samples_seen=BUDGET))

    return jax.vmap(lambda own: jax.vmap(lambda weights: one(own, weights))(rows))(params)


def errors(draws: Draws, rows: np.ndarray) -> np.ndarray:
    """`[S, M]` errors of mixes `[M, P]` under every draw, straight from the law."""
    with jax.enable_x64(True):
        return np.asarray(_errors(draws.params, rows))


def one_mix(uncertain, objective, **limits) -> qqt.Mix:
    found = robust_mix(uncertain, BUDGET, objective, **limits)
    assert isinstance(found, qqt.Mix)
    return found


def judge(objective, each: np.ndarray) -> np.ndarray:
    """`[M]` equal draws `[S, M]` judged as the textbooks define it."""
    if isinstance(objective, Mean):
        return each.mean(0)
    if isinstance(objective, Worst):
        return each.max(0)
    # Rockafellar and Uryasev: the least over t, which one of the values attains.
    over = np.maximum(each[:, None] - each[None], 0).mean(0) / (1 - objective.level)
    return (each + over).min(0)


@pytest.fixture(scope="module")
def three() -> Draws:
    return drawn(32, 3, seed=1)


@pytest.fixture(scope="module")
def grid(three: Draws) -> tuple[np.ndarray, np.ndarray]:
    """All mixes of three pools in steps of 1 %, and their errors."""
    first, second = np.meshgrid(np.arange(STEP + 1), np.arange(STEP + 1), indexing="ij")
    kept = first + second <= STEP
    rows = np.stack([first[kept], second[kept], STEP - first[kept] - second[kept]], axis=1) / STEP
    return rows, errors(three, rows)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_no_mix_of_a_fine_grid_is_better_and_the_best_is_near(three, grid, objective):
    found = one_mix(three, objective)
    of_grid = judge(objective, grid[1])
    assert found.certificate.proof == "global"
    assert found.certificate.gap <= 1e-10 * found.error
    assert np.isclose(found.error, judge(objective, errors(three, found.weights[None]))[0], rtol=1e-12)
    assert found.error <= of_grid.min() + 1e-13
    assert of_grid.min() - found.error < 2e-4  # what a step of 1 % costs
    assert np.abs(grid[0][np.argmin(of_grid)] - found.weights).max() < 0.1
    plug_in = next(other for other in found.runner_ups if other.name == "best mix of the fit itself")
    assert plug_in.error >= found.error


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_the_objective_is_convex_in_the_weights(grid, three, rng, objective):
    rows, each = grid
    ends = rng.integers(0, len(rows), (2, 200))
    middle = judge(objective, errors(three, 0.5 * (rows[ends[0]] + rows[ends[1]])))
    chord = 0.5 * (judge(objective, each[:, ends[0]]) + judge(objective, each[:, ends[1]]))
    assert np.all(middle <= chord + 1e-13)
    assert np.any(middle < chord - 1e-4)


def test_limits_bind_and_cost_something(three):
    free = one_mix(three, CVaR(0.9))
    limited = one_mix(three, CVaR(0.9), caps={"p2": 0.3}, max_epochs=9)
    assert np.all(limited.epochs <= 9 + 1e-9)
    assert limited.weights[2] <= 0.3
    assert limited.active
    assert limited.error > free.error
    assert limited.certificate.gap <= 1e-10


@pytest.mark.slow
def test_rows_bind_too(three):
    limits = {"groups": {"two": qqt.mix.Group(("p0", "p1"), 0.2, 0.55)}, "cost": {"p2": 2.0, "p0": 1.0, "p1": 1.0}}
    for objective in (Mean(), CVaR(0.9)):
        found = one_mix(three, objective, **limits, max_cost=1.5 * BUDGET)
        assert found.weights[:2].sum() <= 0.55 + 1e-9
        assert found.weights @ [1, 1, 2] <= 1.5 + 1e-9
        assert found.certificate.gap <= 1e-10


def test_many_budgets_are_each_their_own(three):
    budgets = np.array([[64e6, BUDGET]])
    found = robust_mix(three, budgets, Mean())
    assert isinstance(found, qqt.Mixes)
    assert found.weights.shape == (1, 2, 3)
    assert found.error[0, 1] == one_mix(three, Mean()).error
    assert found.at(0, 0).error == found.error[0, 0]
    assert found.error[0, 0] > found.error[0, 1]


def test_levels_lead_from_the_mean_to_the_worst_draw(three):
    values = [one_mix(three, CVaR(level)).error for level in (0.0, 0.5, 0.9, 0.999)]
    assert np.isclose(values[0], one_mix(three, Mean()).error, rtol=1e-12)
    assert np.isclose(values[3], one_mix(three, Worst()).error, rtol=1e-12)
    assert np.all(np.diff(values) > 0)


def test_draws_that_agree_get_their_own_best_mix(three):
    own = optimize_mix(three.fitted, BUDGET)
    point = dataclasses.replace(three.fitted.params, decay_shape=None)
    same = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf, float)[None], len(three), axis=0), point)
    for objective in OBJECTIVES:
        found = one_mix(dataclasses.replace(three, params=same), objective)
        assert np.allclose(found.weights, own.weights, atol=1e-7)
        assert np.isclose(found.error, own.error, rtol=1e-12)


def test_weights_of_laws_are_probabilities(three):
    halves = [
        dataclasses.replace(three, params=jax.tree.map(lambda leaf, part=part: leaf[part::2], three.params))
        for part in (0, 1)
    ]
    found = one_mix({halves[0]: 3.0, halves[1]: 1.0}, CVaR(0.5))
    each = errors(three, found.weights[None])[:, 0]
    spread = np.repeat(each, np.where(np.arange(len(each)) % 2, 1, 3))  # the draws of the first law three times
    assert np.isclose(found.error, judge(CVaR(0.5), spread[:, None])[0], rtol=1e-12)
    assert found.certificate.gap < 1e-12


@pytest.mark.slow
def test_regrets_leave_out_what_no_mix_can_change(three):
    own = optimize_mix(three.fitted, BUDGET, draws=three.params)
    assert isinstance(own, qqt.Mixes)
    mean, regret = (one_mix(three, Mean(), regret=each) for each in (False, True))
    assert np.allclose(mean.weights, regret.weights, atol=1e-7)
    assert np.isclose(regret.error, mean.error - own.error.mean(), rtol=1e-9)
    tail = one_mix(three, CVaR(0.9), regret=True)
    choices = np.concatenate([tail.weights[None], own.weights])  # every draw's own best mix is a choice, too
    judged = judge(CVaR(0.9), errors(three, choices) - own.error[:, None])
    assert np.isclose(tail.error, judged[0], rtol=1e-9)
    assert np.all(judged >= tail.error - 1e-12)
    assert tail.certificate.gap < 1e-10


@pytest.mark.slow
def test_against_slsqp_on_the_epigraph():
    from scipy.optimize import minimize

    draws, tail = drawn(12, 3, seed=2), 0.25
    found = one_mix(draws, CVaR(1 - tail))
    slopes = jax.jit(jax.jacobian(lambda weights: _errors(draws.params, weights[None])[:, 0]))
    count, width = 12, 3
    # min t + sum_s u_s / (S tail),  y_s(w) - t <= u_s
    cost = np.concatenate([np.zeros(width), [1.0], np.full(count, 1 / (count * tail))])
    jacobian = np.concatenate([np.zeros((count, width)), np.ones((count, 1)), np.eye(count)], axis=1)

    def steep(x):
        with jax.enable_x64(True):
            return jacobian - np.pad(np.asarray(slopes(x[:width])), [(0, 0), (0, 1 + count)])

    best = np.inf
    for start in np.random.default_rng(0).dirichlet(np.ones(width), 4):
        level = errors(draws, start[None])[:, 0]
        ended = minimize(
            lambda x: (cost @ x, cost),
            np.concatenate([start, [level.min()], level - level.min()]),
            jac=True,
            method="SLSQP",
            bounds=[(0, 1)] * width + [(None, None)] + [(0, None)] * count,
            constraints=[
                {"type": "eq", "fun": lambda x: x[:width].sum() - 1},
                {
                    "type": "ineq",
                    "fun": lambda x: x[width] + x[width + 1 :] - errors(draws, x[None, :width])[:, 0],
                    "jac": steep,
                },
            ],
            options={"maxiter": 300, "ftol": 1e-12},
        )
        weights = np.clip(ended.x[:width], 0, 1)
        best = min(best, judge(CVaR(1 - tail), errors(draws, weights[None] / weights.sum()))[0])
    assert found.error <= best + 1e-12
    assert best - found.error < 1e-8
    assert found.certificate.gap < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("objective", [CVaR(0.75), Worst()], ids=str)
def test_local_search_over_draws_finds_what_is_proved_elsewhere(objective):
    plain = drawn(12, 3, seed=2)
    scanned = drawn(12, 3, seed=2, decay_shape=1.0)
    proved, searched = one_mix(plain, objective), one_mix(scanned, objective)
    assert (proved.certificate.proof, searched.certificate.proof) == ("global", "local")
    assert searched.certificate.kind == "KKT residual"
    assert abs(searched.error - proved.error) < 1e-6


def test_mistakes_are_one_clear_line(three):
    elsewhere = dataclasses.replace(three.fitted, pools=Pools.of({"a": SIZE, "b": SIZE, "c": SIZE}))
    wrong = dataclasses.replace(three, params=dataclasses.replace(three.params, scale=np.full(7, 4e6)))
    for given, said in (
        ({three: 0.0}, "weight 0.0"),
        ({three: 1.0, elsewhere: 1.0}, "pools differ"),
        ([], "expected draws or fits"),
        (0.5, "expected draws or fits"),
        (wrong, "scale of shape"),
    ):
        with pytest.raises(InputError, match=said):
            robust_mix(given, BUDGET)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="level 1"):
        CVaR(1)
    with pytest.raises(InputError, match="objective 'mean'"):
        robust_mix(three, BUDGET, "mean")  # pyright: ignore[reportArgumentType]
