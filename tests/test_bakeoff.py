"""The bake-off: a planted law wins, nothing that is held out leaks, and decisions are scored as by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

import qqtjax as qqt
from qqtjax.bakeoff import Baseline, bakeoff, ensemble, load_bakeoff, parse_split, stack
from qqtjax.bakeoff.baselines import BASELINES
from qqtjax.bakeoff.contestants import default_contestants, entered, reason_against
from qqtjax.bakeoff.paired import difference
from qqtjax.bakeoff.scores import cells, decisions, errors, half_width
from qqtjax.bakeoff.splits import Above, held_out
from qqtjax.cli.main import main
from qqtjax.errors import InputError
from qqtjax.fit.model import Model
from qqtjax.laws.fitted import evaluate
from qqtjax.runs import Pools, Run, Runs

WEIGHTS = np.vstack([np.eye(3), np.random.default_rng(3).dirichlet(np.ones(3), 9).round(2)])
WEIGHTS[:, 2] = 1 - WEIGHTS[:, :2].sum(axis=1)
BUDGETS = np.array([4e5, 1e6, 2e6, 4e6, 8e6])
SIZES = np.array([1e6, 1e6, 2e6])
NOISE = 0.002


def table(model_size=None, metrics=1):
    """Twelve mixtures at five budgets by the law of effective samples, with noise; a run a mixture."""
    mixes, seen = (each.ravel() for each in np.meshgrid(np.arange(12), BUDGETS, indexing="ij"))
    rng = np.random.default_rng(5)
    truth = qqt.laws.EffectiveSamplesParams(
        scale=np.array([1e4, 3e4, 2e5]), floor=0.1, exponent=0.3, saturation=np.array([4.0, 2.0, 8.0])
    )
    run = Run(weights=WEIGHTS[mixes], sizes=np.tile(SIZES, (60, 1)), samples_seen=seen)
    error = evaluate(qqt.laws.effective_samples, truth, run)
    return Runs(
        pools=Pools(("a", "b", "c"), SIZES),
        source=np.tile(mixes, metrics),
        mixes=WEIGHTS[3:],
        mix_sizes=np.tile(SIZES, (9, 1)),
        samples_seen=np.tile(seen, metrics),
        error=np.concatenate([error + k * 0.05 + NOISE * rng.normal(size=60) for k in range(metrics)]),
        run=np.tile(mixes, metrics),
        run_names=tuple(f"run{i}" for i in range(12)),
        seed=np.zeros(60 * metrics, int),
        metric=np.repeat(np.arange(metrics), 60),
        metric_names=tuple(f"m{k}" for k in range(metrics)),
        model_size=model_size,
    )


def mean(runs):
    """The mean of what was fitted, whatever is asked."""
    middle = runs.error.mean()
    return lambda others: np.full(len(others), middle)


LAWS = (qqt.laws.power, qqt.laws.effective_samples, Baseline("mean", mean))


@pytest.fixture(scope="module")
def runs():
    return table(metrics=2)


@pytest.fixture(scope="module")
def result(runs):
    return bakeoff(runs, LAWS, "mixtures:.25", starts=4)


def test_the_planted_law_wins_on_mixtures_that_nobody_saw(result):
    assert set(result.laws[:2]) == {"effective_samples", "stacked"}
    planted, power = result.score("effective_samples"), result.score("power")
    assert planted.mae < 2 * NOISE
    assert power.mae > 3 * planted.mae
    assert planted.regret < 2 * NOISE
    assert result.score("mean").pairs_right == 0.5
    assert planted.pairs_right > 0.9
    assert planted.coverage >= 0.7
    assert (planted.parameters, planted.converged) == (8, 1.0)
    assert all(weights["effective_samples"] > 0.8 for weights in result.weights.values())
    gap = result.difference("power", "effective_samples")
    assert 0 < gap.low < gap.mean < gap.high
    assert gap.blocks == 3


def test_predictions_do_not_depend_on_what_is_held_out(runs, result):
    """Held-out errors of another planet: bounds, starts, Huber's delta and stacking must not know them."""
    out = np.isin(np.arange(60), result.rows)
    changed = np.where(np.tile(out, 2), 1e-3 * np.arange(120), runs.error)
    again = bakeoff(dataclasses.replace(runs, error=changed), LAWS, "mixtures:.25", starts=4)
    np.testing.assert_array_equal(again.rows, result.rows)
    assert again.weights == result.weights
    for metric in result.metrics:
        for law in result.laws:
            np.testing.assert_array_equal(again.predicted[metric][law], result.predicted[metric][law])


def test_a_metric_alone_is_what_it_is_among_others(runs, result):
    alone = bakeoff(runs.for_metric("m1"), LAWS[2:], "mixtures:.25")
    assert alone.score("mean").mae == result.score("mean", "m1").mae


def test_a_result_comes_back_from_its_file(result, tmp_path):
    path = tmp_path / "bakeoff.json"
    path.write_text(json.dumps(result.to_dict(), allow_nan=False))
    again = load_bakeoff(path)
    assert str(again) == str(result)
    assert again.to_dict() == result.to_dict()
    assert max(map(len, str(result).splitlines())) <= 80
    assert len(result.to_frame()) == 8
    path.write_text("{}")
    with pytest.raises(InputError, match="expected a result of qqt bakeoff"):
        load_bakeoff(path)


@pytest.mark.slow
def test_stacked_laws_are_ready_for_a_robust_plan(runs, result):
    fits = ensemble(result, runs, metric="m0", starts=4)
    weights = dict(zip((each.law.name for each in fits), fits.values(), strict=True))
    assert sum(fits.values()) == pytest.approx(1)
    assert weights["effective_samples"] > 0.8
    with pytest.raises(InputError, match="expected one of m0, m1"):
        ensemble(result, runs)
    budget = 6e6
    mix = qqt.robust_mix(fits, budget, starts=np.eye(3))

    def mean(weights):
        return sum(share * float(each.predict(weights, budget)) for each, share in fits.items())

    assert mix.error == pytest.approx(mean(mix.weights), rel=1e-6)
    others = np.vstack([WEIGHTS, [qqt.optimize_mix(each, budget).weights for each in fits]])
    assert mix.error <= min(map(mean, others)) + 1e-9


def test_one_size_of_model_is_not_another():
    """Fitted to each size apart, a law that does not know the size sees no difference between the two."""
    sizes = np.where(np.arange(60) % 2, 1e8, 1e9)
    sized = table(sizes)
    sized = dataclasses.replace(sized, error=sized.error + (sizes > 5e8))
    found = bakeoff(sized, (Model(qqt.laws.effective_samples, huber=0.01), LAWS[2]), "random:.2", starts=4)
    score = found.score("effective_samples")
    assert score.apart
    assert score.mae < 3 * NOISE
    assert bakeoff(sized, LAWS, "model_size>1e8").left_out.keys() == {"power", "effective_samples"}


@pytest.mark.parametrize(
    ("law", "changes", "words"),
    [
        ("chinchilla", {}, "vary model_size"),
        ("utility", {"samples_seen": np.full(60, 1e5)}, "power law here"),
        ("effective_data", {"samples_seen": np.full(60, 1e9)}, "epoch by epoch"),
        ("log_linear", {"source": np.zeros(60, int)}, "vary weights"),
    ],
)
def test_who_is_left_out_is_told_why(law, changes, words):
    runs = dataclasses.replace(table(), **changes)
    assert words in reason_against(getattr(qqt.laws, law), runs, [np.ones(60, bool)])
    assert not reason_against(qqt.laws.power, runs, [np.ones(60, bool)])


def test_every_law_takes_part_by_default():
    names = [each.name for each in default_contestants()]
    assert {law.name for law in qqt.laws.ALL} < set(names)
    squares, robust = entered([qqt.laws.power], 0.01)[0].models
    assert (squares.huber, robust.huber) == (None, 0.01)
    with pytest.raises(InputError, match="two are called 'power'"):
        entered([qqt.laws.power, qqt.laws.power], None)


def test_a_law_with_more_parameters_than_checkpoints_is_left_out():
    runs = table()
    few = runs.select(np.arange(0, 60, 8))
    found = bakeoff(few, LAWS, "random:.25", starts=2)
    assert found.left_out["effective_samples"] == "6 checkpoints to fit 8 parameters"


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("samples_seen>4e6", 12),
        ("epochs>3.9", 14),
        ("runs:run1*", 15),
        ("pools:b", 50),
        ("random:.5", 30),
        ("mixtures:.5", 30),
    ],
)
def test_splits_hold_out_what_they_say(text, out):
    runs = table()
    assert parse_split(str(parse_split(text))) == parse_split(text)
    (fold,) = held_out(parse_split(text), runs, 0)
    inner = parse_split(text).inner(runs.select(~fold), 0)
    if text != "epochs>3.9":
        assert fold.sum() == out
    assert 2 <= len(inner) <= 3
    assert np.all(inner.any(axis=1) & ~inner.all(axis=1))
    if text.startswith("mixtures"):
        assert not set(runs.source[fold]) & set(runs.source[~fold])
        assert np.all(inner.sum(axis=0) == 1)


def test_each_run_is_held_out_once():
    folds = held_out(parse_split("runs:each"), table(), 0)
    assert folds.shape == (12, 60)
    assert np.all(folds.sum(axis=0) == 1)


def test_each_mixture_is_held_out_once_and_whole():
    runs = table()
    folds = held_out(parse_split("mixtures:each"), runs, 0)
    weights = [{tuple(row) for row in runs.weights[fold]} for fold in folds]
    assert np.all(folds.sum(axis=0) == 1)
    assert [len(each) for each in weights] == [1] * len(np.unique(runs.weights, axis=0))


def test_inner_folds_of_a_column_extrapolate():
    values = table().samples_seen
    for held in Above("samples_seen", 1e9).inner(table(), 0):
        assert values[held].min() > values[~held].max()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch>8", "did you mean 'epochs'"),
        ("epochs", "expected such as epochs>8"),
        ("epochs>many", "found 'many', expected a number"),
        ("mixtures:2", "expected one between 0 and 1"),
        ("pools:", "expected such as"),
    ],
)
def test_a_split_that_cannot_be_read_is_named(text, words):
    with pytest.raises(InputError, match=words):
        parse_split(text)


def test_a_split_that_leaves_nothing_is_refused():
    with pytest.raises(InputError, match="holds out 0 of 60"):
        bakeoff(table(), LAWS, "epochs>99")


def test_scores_are_those_written_down_by_hand(rng):
    guess, truth = rng.normal(size=(2, 40))
    option, cell = np.tile(np.arange(8), 5), np.repeat(np.arange(5), 8)
    found = decisions(guess, truth, option, cell)
    pairs = [(i, j) for i, j in itertools.combinations(range(40), 2) if cell[i] == cell[j]]
    right = np.mean([(guess[i] < guess[j]) == (truth[i] < truth[j]) for i, j in pairs])
    picked = [truth[8 * k + np.argmin(guess[8 * k : 8 * k + 8])] - truth[8 * k : 8 * k + 8].min() for k in range(5)]
    assert (found.cells, found.pairs) == (5, len(pairs))
    assert found.pairs_right == pytest.approx(right)
    assert found.regret == pytest.approx(np.mean(picked))
    ranks = np.corrcoef(np.argsort(np.argsort(guess)), np.argsort(np.argsort(truth)))[0, 1]
    assert errors(guess, truth).rank == pytest.approx(ranks)


def test_budgets_that_end_on_whole_batches_compete():
    runs = dataclasses.replace(table(), samples_seen=np.tile([1e6, 1.05e6, 1.2e6, 4e6, 4.2e6], 12))
    assert cells(runs)[:5].tolist() == [0, 0, 1, 2, 2]


def test_conformal_intervals_cover(rng):
    """Of exchangeable misses the nominal share or more, by no more than 1 / (J + 1)."""
    misses = rng.standard_t(2, size=(4000, 20))
    inside = [abs(each[-1]) <= half_width(each[:-1], 0.9) for each in misses]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.015)
    assert half_width(np.ones(8), 0.9) == np.inf


def test_stacking_is_the_simplex_optimum(rng):
    truth = rng.normal(size=50)
    guesses = truth + np.array([[0.3], [0.5], [1.0]]) * rng.normal(size=(3, 50)) + 0.1
    found = stack(guesses, truth)
    best = optimize.minimize(
        lambda v: np.sum((v @ guesses - truth) ** 2), np.full(3, 1 / 3), bounds=[(0, 1)] * 3, tol=1e-12,
        constraints={"type": "eq", "fun": lambda v: v.sum() - 1},
    )  # fmt: skip
    assert found.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(found, best.x, atol=1e-4)


def test_paired_intervals_know_that_blocks_are_not_many(rng):
    """Ten equal checkpoints a block are one observation: the interval is that of the block means."""
    means = rng.normal(0.1, 0.05, 12)
    block = np.repeat(np.arange(12), 10)
    found = difference(("a", means[block]), ("b", np.zeros(120)), block, 0)
    half = 1.96 * means.std() / np.sqrt(12)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.15)
    assert (found.mean, found.blocks) == (pytest.approx(means.mean()), 12)


def test_baselines_learn_and_do_not_peek(runs):
    alone = runs.for_metric("m0")
    found = bakeoff(alone, BASELINES, "mixtures:.25")
    assert all(found.score(each.name).mae < 0.6 * np.std(alone.error) for each in BASELINES)


def test_the_law_of_the_readme_takes_part(runs):
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (block,) = (each for each in re.findall(r"```python\n(.*?)```", readme, flags=re.S) if "HyperbolaParams" in each)
    names: dict[str, Any] = {"runs": runs.for_metric("m0")}
    exec(compile(block, "README.md", "exec", dont_inherit=True), names)
    assert names["found"].score("hyperbola").mae < 0.5 * np.std(names["runs"].error)


def test_the_command_says_who_is_closest(capsys, tmp_path):
    target = tmp_path / "found.json"
    main(["bakeoff", "wordclip-C", "--laws", "linear", "--split", "samples_seen>100k", "-o", str(target)])
    shown = capsys.readouterr().out
    assert "Held out: samples_seen>100k" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert load_bakeoff(target).laws == ("linear",)
    drawn = tmp_path / "laws.svg"
    main(["bakeoff", "wordclip-C", "--laws", "linear", "--split", "samples_seen>100k", "--figure", str(drawn)])
    assert "linear" in capsys.readouterr().out
    assert drawn.read_text().startswith("<?xml")
    with pytest.raises(SystemExit) as ended:
        main(["bakeoff", "wordclip-C", "--laws", "powr"])
    assert ended.value.code == 2
    assert "did you mean 'power'" in capsys.readouterr().err


@pytest.mark.slow
def test_an_aim_of_the_public_tables_is_reached(data_folder):
    from benchmarks.bakeoff.tables import datablations

    table = datablations(data_folder)
    assert len(table.runs) == 76
    names = ("utility_capacity", "chinchilla", "effective_samples")
    found = bakeoff(table.runs, [each for each in default_contestants() if each.name in names], "epochs>8")
    assert found.score("utility_capacity").mae < 0.095 < found.score("chinchilla").mae
    assert jnp.isfinite(found.score("chinchilla").half_width)
    assert "to fit 4 parameters" in found.left_out["effective_samples"]  # one run of a size is too few
