"""Baselines on features and by training: against their definitions written out, bounds, closed forms, planted truth."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from qqtjax.errors import InputError
from qqtjax.pools.el2n import el2n, grand
from qqtjax.pools.forgetting import forgetting, forgetting_events, trained_complexity
from qqtjax.pools.herding import herding
from qqtjax.pools.k_center import k_center
from qqtjax.pools.moderate import moderate
from qqtjax.pools.short_runs import short_runs


def order_of(places: np.ndarray, picks: int) -> list[int]:
    return np.argsort(places, kind="stable")[:picks].tolist()


def herd_by_hand(x: np.ndarray, picks: int) -> list[int]:
    found: list[int] = []
    for _ in range(picks):
        left = [row for row in range(len(x)) if row not in found]
        off = [np.linalg.norm(x.mean(axis=0) - x[[*found, row]].mean(axis=0)) for row in left]
        found.append(left[int(np.argmin(off))])
    return found


@pytest.mark.usefixtures("x64")
def test_herding_is_its_definition(rng: np.random.Generator):
    x = rng.normal(size=(40, 3)) + 5
    places = herding(x, 12)
    assert order_of(places, 12) == herd_by_hand(x, 12)
    assert np.sum(places == 12) == 28


@pytest.mark.usefixtures("x64")
def test_herding_keeps_the_mean_better_than_random_draws(rng: np.random.Generator):
    x = rng.normal(size=(300, 8))
    off = np.linalg.norm(x[herding(x, 20) < 20].mean(axis=0) - x.mean(axis=0))
    random = [np.linalg.norm(x[rng.permutation(300)[:20]].mean(axis=0) - x.mean(axis=0)) for _ in range(200)]
    assert off < min(random) / 3


@pytest.mark.usefixtures("x64")
def test_k_center_takes_the_farthest_each_time(rng: np.random.Generator):
    x = rng.normal(size=(60, 4))
    order = order_of(k_center(x, 15), 15)
    assert order[0] == np.argmin(np.linalg.norm(x - x.mean(axis=0), axis=1))
    for time in range(1, 15):
        nearest = np.linalg.norm(x[:, None] - x[order[:time]], axis=-1).min(axis=1)
        assert order[time] == np.argmax(nearest)


@pytest.mark.usefixtures("x64")
def test_k_center_is_within_twice_the_best(rng: np.random.Generator):
    for _ in range(5):
        x = rng.normal(size=(14, 2))
        apart = np.linalg.norm(x[:, None] - x, axis=-1)
        best = min(apart[:, list(each)].min(axis=1).max() for each in itertools.combinations(range(14), 4))
        ours = apart[:, k_center(x, 4) < 4].min(axis=1).max()
        assert best - 1e-12 <= ours <= 2 * best + 1e-12


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("rule", [herding, k_center])
def test_groups_are_picked_from_one_by_one(rng: np.random.Generator, rule: object):
    x, groups = rng.normal(size=(200, 3)), rng.integers(0, 3, 200)
    picks = np.array([5, 0, 9])
    places = rule(x, picks, groups)
    for group in range(3):
        members = groups == group
        expected = rule(x[members], int(picks[group]))
        np.testing.assert_array_equal(places[members], expected)
        assert np.sum(places[members] < picks[group]) == picks[group]
    few = rule(x, 1000, groups)
    for group in range(3):
        assert sorted(few[groups == group]) == list(range(np.sum(groups == group)))


@pytest.mark.usefixtures("x64")
def test_duplicates_are_never_picked_twice():
    x = np.ones((5, 3))
    for rule in (herding, k_center):
        assert sorted(rule(x, 5)) == [0, 1, 2, 3, 4]


def test_moderate_is_nearest_to_the_median_of_each_class(rng: np.random.Generator):
    x, y = rng.normal(size=(80, 5)), rng.integers(0, 2, 80)
    found = moderate(x, y)
    for label in (0, 1):
        members = x[y == label]
        distance = np.sqrt(((members - members.mean(axis=0)) ** 2).sum(axis=1))
        np.testing.assert_allclose(found[y == label], np.abs(distance - np.median(distance)), atol=1e-12)


MODELS = 2  # one number for all tests on the blobs, so that they share what is compiled


def linear(params: dict, x: jax.Array) -> jax.Array:
    return x @ params["w"] + params["b"]


def fresh(key: jax.Array) -> dict:
    return {"w": 0.1 * jax.random.normal(key, (4, 3)), "b": jnp.zeros(3)}


@pytest.fixture
def blobs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three classes, and a tenth of the labels wrong: `x, labels, wrong`."""
    y = np.arange(126) % 3
    x = (3 * np.eye(4)[y] + rng.normal(size=(126, 4))).astype(np.float32)
    wrong = np.arange(126) % 10 == 7
    return x, np.where(wrong, (y + 1) % 3, y), wrong


def test_el2n_and_grand_of_a_linear_model_have_a_closed_form(blobs: tuple):
    """The gradient of a linear softmax model is (p - y) x [x, 1]: its norm is EL2N times that of [x, 1]."""
    x, y, _ = blobs
    how = {"epochs": 2, "models": MODELS, "seed": 5}
    errors, gradients = el2n(linear, fresh, x, y, **how), grand(linear, fresh, x, y, **how)
    np.testing.assert_allclose(gradients, errors * np.sqrt((x**2).sum(axis=1) + 1), rtol=1e-4)
    *_, last = short_runs(linear, fresh, x, y, **how)
    p = jax.nn.softmax(jax.vmap(linear, in_axes=(0, None))(last.params, x))
    np.testing.assert_allclose(errors, np.linalg.norm(p - np.eye(3)[y], axis=2).mean(axis=0), rtol=1e-4)


def test_wrong_labels_score_high(blobs: tuple):
    x, y, wrong = blobs
    for rule, epochs in ((el2n, 10), (grand, 10), (trained_complexity, 20), (forgetting, 40)):
        scores = rule(linear, fresh, x, y, epochs=epochs, models=MODELS, seed=0)
        above = np.mean(scores[wrong][:, None] > scores[~wrong]) + np.mean(scores[wrong][:, None] == scores[~wrong]) / 2
        assert above > 0.85  # area under the curve


def test_models_side_by_side_are_the_mean_of_their_own(blobs: tuple):
    x, y, _ = blobs
    how = {"epochs": 3, "models": MODELS, "seed": 1}
    runs = list(short_runs(linear, fresh, x, y, **how))
    events = [forgetting_events([each.correct[model] for each in runs]) for model in range(MODELS)]
    np.testing.assert_array_equal(forgetting(linear, fresh, x, y, **how), np.mean(events, axis=0))
    assert not np.array_equal(runs[0].params["w"][0], runs[0].params["w"][1])


def test_losses_are_those_before_the_step(blobs: tuple):
    """One batch an epoch: what is reported for an epoch is the loss of the parameters after the one before."""
    x, y, _ = blobs
    runs = list(short_runs(linear, fresh, x, y, epochs=3, models=MODELS))
    for before, after in itertools.pairwise(runs):
        logits = np.array([x @ w + b for w, b in zip(before.params["w"], before.params["b"], strict=True)])
        expected = np.log(np.exp(logits).sum(axis=2)) - logits[:, np.arange(len(y)), y]
        np.testing.assert_allclose(after.loss, expected, rtol=1e-4)
    complexity = trained_complexity(linear, fresh, x, y, epochs=2, models=MODELS)
    np.testing.assert_allclose(complexity, (runs[1].loss + runs[2].loss).mean(axis=0) / 2, rtol=1e-4)


def test_every_sample_is_visited_once_an_epoch_and_a_step_is_the_mean_over_its_batch():
    """With losses that are linear in one weight, an epoch of SGD moves it by the sum of the batches' mean gradients."""
    x = np.arange(1.0, 8.0, dtype=np.float32)[:, None] ** 2
    y = np.array([0, 1, 0, 1, 0, 1, 0])
    moved = short_runs(
        lambda w, rows: jnp.concatenate([rows * w, jnp.zeros_like(rows)], axis=1) * 1e-3,
        lambda key: jnp.zeros(()),
        x,
        y,
        epochs=1,
        batch=3,
        optimizer=optax.sgd(1.0),
    )
    (epoch,) = moved
    # At w = 0 a sample's gradient is x (1/2 - [y = 0]) / 1000; batches have 3, 3 and 1 samples.
    np.testing.assert_allclose(epoch.loss[0], np.log(2), atol=1e-4)
    gradient = x[:, 0] * (0.5 - (y == 0)) * 1e-3
    order = np.random.default_rng([0, 0, 0]).permutation(7)  # seed, epoch, model
    parts = np.split(gradient[order], [3, 6])
    np.testing.assert_allclose(epoch.params[0], -sum(part.mean() for part in parts), rtol=1e-3)


def test_the_same_seed_gives_the_same_bytes(blobs: tuple):
    x, y, _ = blobs
    one, two, other = (el2n(linear, fresh, x, y, epochs=2, models=MODELS, seed=seed) for seed in (3, 3, 4))
    assert one.tobytes() == two.tobytes() != other.tobytes()


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: herding(np.ones(3), 1), r"features of shape \(3,\)"),
        (lambda: k_center(np.array([[1.0], [np.inf]]), 1), "features: row 1 is not finite"),
        (lambda: herding(np.ones((3, 1)), 1.5), "picks 1.5: expected a whole number"),
        (lambda: herding(np.ones((3, 1)), [2, 2], [0, 0, 1]), "picks: 2 of group 1, which has 1 samples"),
        (lambda: moderate(np.ones((3, 1)), [0, 1]), r"groups of shape \(2,\): expected one for each of 3"),
        (lambda: el2n(linear, fresh, np.ones((3, 4)), [0, 1]), r"labels of shape \(2,\): expected one for each of 3"),
        (lambda: el2n(linear, fresh, np.ones((3, 4)), [0, 1, 2], epochs=0), "epochs 0: expected"),
        (
            lambda: forgetting(linear, fresh, np.full((126, 4), np.nan), np.arange(126) % 3, epochs=1, models=MODELS),
            "training diverged in epoch 1",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(work: object, message: str):
    with pytest.raises(InputError, match=message):
        work()
