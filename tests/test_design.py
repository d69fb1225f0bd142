"""Planning of training runs: what a run would teach, against exact algebra, refits and planted cases."""

from __future__ import annotations

import dataclasses
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.planted import SIZE, curves
from qqtjax import InputError
from qqtjax.cli.main import main
from qqtjax.design import Study, believe, design, next_run, sensitivity
from qqtjax.design.candidates import candidates_for, simplex_grid
from qqtjax.design.knowledge import Normals, Payoffs, information, regret_now, remaining, saving
from qqtjax.laws import UtilityParams
from qqtjax.runs import Runs

# Two pools that compete and two that do not.
TRUTH = UtilityParams(
    scale=4e6,
    floor=0.1,
    utility=-np.array([0.16, 0.15, 0.05, 0.04]),
    half_life=np.array([5.0, 6.0, 5.0, 5.0]),
    reference_size=np.full(4, SIZE),
)
NOISE = 0.003
EPOCHS = (0.25, 0.5, 1.0, 2.0)


@pytest.fixture(scope="module")
def measured() -> Runs:
    return curves(TRUTH, EPOCHS, NOISE, np.random.default_rng(3))


@pytest.fixture(scope="module")
def belief(measured: Runs):
    return believe(measured, noise=NOISE)


@pytest.fixture(scope="module")
def answer(measured: Runs):
    return next_run(measured, 640e6, noise=NOISE, price_per_sample=1e-6, draws=256)


def test_covariance_after_a_run_is_that_of_adding_its_information(x64, rng):
    root, jacobian = rng.normal(size=(4, 4)), rng.normal(size=(3, 4))
    jacobian[2] = 0.0  # a checkpoint that is none
    before = root @ root.T + np.eye(4)
    after = np.linalg.inv(np.linalg.inv(before) + jacobian.T @ jacobian / 0.5**2)
    np.testing.assert_allclose(remaining(before, jacobian, 0.5), after, rtol=1e-10, atol=1e-12)
    gained = math.log(np.linalg.det(before) / np.linalg.det(after))
    assert float(information(before, jacobian, 0.5)) == pytest.approx(gained, rel=1e-10)


def test_regret_of_two_options_is_that_of_a_normal_difference(x64, rng):
    """y_0 - y_1 ~ N(0, v): deciding at once costs E max(0, .) = sd / sqrt(2 pi); knowing half of it less."""
    sd, noise = 0.01, 0.01
    tiny = 1e-6  # so that exp is linear: the errors are 1 + tiny L
    linear = Payoffs(np.zeros(2), np.array([[sd], [0.0]]), np.log(np.full(2, tiny)), np.zeros((2, 1)))
    normals = Normals(rng.normal(size=(200_000, 1)), rng.normal(size=(200_000, 1)))
    now = regret_now(linear, jnp.eye(1), normals).mean()
    assert float(now) == pytest.approx(sd / math.sqrt(2 * math.pi), rel=0.01)
    # The estimate has variance 1/2: what is saved is E max(0, m) = sd sqrt(1/2) / sqrt(2 pi).
    saved = saving(linear, jnp.eye(1), jnp.full((1, 1), noise), noise, normals).mean()
    assert float(saved) == pytest.approx(sd * math.sqrt(0.5) / math.sqrt(2 * math.pi), rel=0.01)


def test_a_belief_from_many_exact_checkpoints_is_the_truth():
    many = curves(TRUTH, (0.25, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0), 1e-5, np.random.default_rng(0))
    found = believe(many)
    assert found.noise == pytest.approx(1e-5, rel=0.4)
    for name in ("utility", "half_life", "scale"):
        np.testing.assert_allclose(getattr(found.fitted.params, name), getattr(TRUTH, name), rtol=5e-3)


def test_what_was_never_repeated_keeps_the_prior_of_its_half_life(measured):
    once = measured.select(measured.samples_seen <= SIZE)
    found = believe(once, noise=NOISE, prior={"half_life": (2.0, 8.0)})
    spread = found.standard_deviations()
    for place, name in enumerate(once.pools.names):
        assert spread[f"half_life of {name}"] == pytest.approx(math.log(2), rel=1e-6)
        assert found.fitted.params.half_life[place] == pytest.approx(4.0, rel=1e-6)


@pytest.mark.slow
def test_implicit_derivative_of_the_fit_is_that_of_refitting(measured, belief):
    slopes = sensitivity(belief)
    assert slopes.shape == (len(belief.x), len(measured))
    step = 1e-4
    for row in (3, 9):
        moved = []
        for sign in (1, -1):
            error = measured.error.copy()
            error[row] += sign * step
            moved.append(believe(dataclasses.replace(measured, error=error), noise=NOISE).x)
        central = (moved[0] - moved[1]) / (2 * step)
        np.testing.assert_allclose(slopes[:, row], central, rtol=1e-3, atol=1e-3 * np.abs(central).max())


def test_next_run_teaches_about_pools_that_compete(measured, answer):
    best = answer.best
    assert best.reduction > 2 * best.reduction_error
    assert best.run.weights[:2].sum() == pytest.approx(1.0)
    assert best.run.checkpoints[-1] > 2 * SIZE  # half-lives are what is open
    assert answer.regret > 0
    assert answer.most.reduction == max(row.reduction for row in answer.rows)
    assert best.price == pytest.approx(best.run.cost * 1e-6)


def test_what_teaches_more_is_worth_no_less_information(answer):
    """D-optimality of a longer run on the same pools, whose checkpoints contain those of the shorter."""
    alone = [row for row in answer.rows if row.run.name == "pool1" and row.run.resumes is None]
    alone.sort(key=lambda row: row.run.cost)
    gained = [row.information for row in alone]
    assert len(gained) > 3
    assert gained == sorted(gained)


def test_the_same_seed_gives_the_same_answer_and_a_spend_holds(measured, answer):
    again = next_run(measured, 640e6, noise=NOISE, price_per_sample=1e-6, draws=256)
    assert again.to_dict() == answer.to_dict()
    cheap = [row for row in answer.rows if row.price <= 20.0]
    within = next_run(measured, 640e6, noise=NOISE, price_per_sample=1e-6, spend=20.0, draws=256)
    assert {row.run.cost for row in within.rows} == {row.run.cost for row in cheap}


def test_next_run_prints_within_80_columns(answer):
    text = str(answer)
    assert max(map(len, text.splitlines())) <= 80
    assert "Expected regret" in text
    assert "run-to-run noise is not known" in " ".join(text.split())


def test_runs_are_continued_from_where_they_ended(measured, belief):
    found = candidates_for(belief.fitted, measured, {}, (1.0, 2.0, 4.0), 4 * SIZE, resume=True)
    on = [each for each in found if each.resumes == "pool0"]
    assert [(each.cost / SIZE, each.checkpoints.tolist()) for each in on] == [(2.0, [4 * SIZE])]
    assert not [
        each for each in candidates_for(belief.fitted, measured, {}, (1.0,), SIZE, resume=False) if each.resumes
    ]
    # Two steps short of a mark: the mark would tell what is known already.
    short = dataclasses.replace(measured, samples_seen=measured.samples_seen * 0.999)
    on = [each for each in candidates_for(belief.fitted, short, {}, (1.0, 2.0, 4.0), 4 * SIZE, resume=True)]
    assert [each.checkpoints.tolist() for each in on if each.resumes == "pool0"] == [[4 * SIZE]]


def test_one_pool_alone_has_one_option():
    np.testing.assert_array_equal(simplex_grid(1), [[1.0]])


def test_grid_of_mixes_is_the_simplex():
    grid = simplex_grid(3)
    assert len(grid) == 66
    assert len(np.unique(grid, axis=0)) == 66
    np.testing.assert_allclose(grid.sum(axis=1), 1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": -1.0}, "budget -1.0: expected a positive number"),
        ({"budget": 640e6, "spend": 1.0, "noise": NOISE}, "spend 1: no run is that cheap"),
        ({"budget": 640e6, "noise": -1.0}, "noise -1.0: expected a positive number"),
        ({"budget": 640e6, "prior": {"depth": (1.0, 2.0)}}, "prior: 'depth' is not fitted"),
        ({"budget": 640e6, "prior": {"half_life": (3.0, 2.0)}}, "prior of half_life: .3, 2., expected low < high"),
        ({"budget": 640e6, "noise": NOISE, "checkpoints": (2.0, 1.0)}, "expected positive epochs, rising"),
        ({"budget": 640e6, "draws": 1}, "draws 1: expected a whole number >= 2"),
    ],
)
def test_bad_input_is_one_line(measured, settings, message):
    budget = settings.pop("budget")
    with pytest.raises(InputError, match=message):
        next_run(measured, budget, **settings)


def test_noise_cannot_be_found_from_too_few_checkpoints(measured):
    few = measured.select(measured.samples_seen == SIZE)
    with pytest.raises(InputError, match="checkpoints leave too little to find their noise"):
        believe(few)


@pytest.fixture(scope="module")
def planned():
    studies = [Study((0.5, 1.0)), Study((0.5, 1.0, 2.0)), Study((0.5, 1.0, 2.0, 5.0)), Study((0.5, 1.0), 4)]
    return design({"a": SIZE, "b": SIZE}, 256e6, studies=studies, price_per_sample=2e-6)


def test_a_longer_study_tells_more_and_costs_more(planned):
    once, twice, five, four_runs = planned.rows
    assert [row.cost / SIZE for row in planned.rows] == [2.0, 4.0, 10.0, 8.0]
    assert once.price == pytest.approx(once.cost * 2e-6)
    assert once.regret > twice.regret > five.regret
    assert planned.blind.regret > once.regret
    assert five.errors["half_life"] < twice.errors["half_life"] / 2
    # Without a repeat a half-life stays what the prior says: 2 .. 15 is one standard deviation either side.
    assert once.errors["half_life"] == pytest.approx(1.96 * math.log(7.5) / 2, rel=1e-3)
    assert four_runs.errors["half_life"] == pytest.approx(once.errors["half_life"], rel=1e-9)


@pytest.mark.slow
def test_expected_intervals_are_those_of_the_fit():
    """The spread of estimates over simulated studies of one truth, which a narrow prior of truths is."""
    truth = UtilityParams(
        scale=4e6, floor=0.1, utility=-np.full(4, 0.15), half_life=np.full(4, 5.0), reference_size=np.full(4, SIZE)
    )
    narrow = {"scale": (3.99e6, 4.01e6), "floor": (0.0999, 0.1001), "utility": (-0.1501, -0.1499)}
    epochs = (0.25, 0.5, 1.0, 2.0)
    told = design({f"pool{i}": SIZE for i in range(4)}, 640e6, studies=[Study(epochs)], prior=narrow, truths=16)
    lives = []
    for seed in range(24):
        runs = curves(truth, epochs, NOISE, np.random.default_rng(seed))
        lives.append(believe(runs, noise=NOISE, prior={**narrow, "half_life": (2.0, 15.0)}).fitted.params.half_life)
    shrunk = (1.96 * math.log(7.5) / 2) ** 2
    expected = told.rows[0].errors["half_life"]
    # Of a posterior: the estimates scatter by S (1 - S / t^2) of the prior's t^2.
    scatter = 1.96 * np.std(np.log(lives))
    assert scatter == pytest.approx(expected * math.sqrt(1 - expected**2 / shrunk), rel=0.35)


def test_design_prints_within_80_columns_and_the_same_seed_gives_the_same(planned):
    text = str(planned)
    assert max(map(len, text.splitlines())) <= 80
    assert "run-to-run noise" in text
    again = design({"a": SIZE, "b": SIZE}, 256e6, studies=[row.study for row in planned.rows], price_per_sample=2e-6)
    assert again.to_dict() == planned.to_dict()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 0.0}, "budget 0.0: expected a positive number"),
        ({"budget": 1e9, "studies": []}, "studies: none given"),
        ({"budget": 1e9, "studies": [Study((2.0, 1.0))]}, r"study of epochs \[2.0, 1.0\], 1 runs: expected positive"),
        ({"budget": 1e9, "truths": 0}, "truths 0: expected a whole number >= 2"),
        ({"budget": 1e9, "prior": {"tau": (1.0, 2.0)}}, "prior: 'tau' is not fitted"),
    ],
)
def test_bad_input_of_a_design_is_one_line(settings, message):
    with pytest.raises(InputError, match=message):
        design({"a": SIZE, "b": SIZE}, **settings)


def test_design_needs_sizes():
    with pytest.raises(InputError, match="a pool without a size"):
        design({"a": SIZE, "b": np.inf}, 1e9)


def test_qqt_design_prints_a_document(capsys):
    studies = " ".join(f"--epochs {marks}" for marks in (".5,1", "1,2", ".5,1,2", ".5,5"))
    main(f"design --pools 2 --size 12.8M --budget 256M {studies} --json".split())
    (one,) = json.loads(capsys.readouterr().out)["designs"]
    assert one["rows"][0]["cost"] == 2 * SIZE


def test_qqt_next_prints_a_document(capsys, tmp_path, measured):
    rows = ["pool,pool_size,samples_seen,loss"]
    names = [measured.pools.names[place] for place in measured.source]
    rows += [f"{name},{SIZE},{n},{y}" for name, n, y in zip(names, measured.samples_seen, measured.error, strict=True)]
    (tmp_path / "runs.csv").write_text("\n".join(rows))
    words = f"next {tmp_path}/runs.csv --budget 640M --price-per-sample 1e-6 --noise .003 --draws 256 --json"
    main(words.split())
    found = json.loads(capsys.readouterr().out)
    best = found["rows"][0]
    assert best["price"] == pytest.approx(best["run"]["cost"] * 1e-6)
    assert sum(best["run"]["weights"][:2]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("design --pools 2.5 --size 1M --budget 2M", "--pools: found 2.5"),
        ("design --pools 2 --size 1M --budget 2M --prior half_life=1", "--prior: half_life: found '1'"),
        ("design --pools 2 --size 1M --budget 2M --runs 3", "--runs: applies to studies given with --epochs"),
        ("next --budget nothing", "--budget"),
        ("next --budget 2M --mix half=nowhere:1", "--mix half: unknown pool 'nowhere'"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(capsys, words, message):
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert message in said.err
    assert "Traceback" not in said.err
