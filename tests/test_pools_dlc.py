"""Learning complexity: golden losses, the same by any route, language models, modules, what is wrong in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from qqtjax.errors import InputError
from qqtjax.pools import dlc, finished
from qqtjax.pools.dlc import mean_masked_loss
from qqtjax.pools.dlc_classes import dlc_scores, inverse_distance, pooled, squared_distance
from qqtjax.pools.dlc_text import dlc_response_scores, response_loss
from qqtjax.pools.functional import functional
from qqtjax.pools.masks import Geometric, Linear, masked, masks_of


def network(params: dict, x: jax.Array) -> jax.Array:
    return jnp.maximum(jnp.maximum(x @ params["W0"] + params["b0"], 0) @ params["W1"] + params["b1"], 0)


def random_network(rng: np.random.Generator, width: int = 6, features: int = 5) -> dict[str, np.ndarray]:
    return {
        "W0": rng.normal(size=(4, width)),
        "b0": rng.normal(size=width),
        "W1": rng.normal(size=(width, features)),
        "b1": np.ones(features),
    }


@pytest.mark.usefixtures("x64")
def test_golden_losses(golden: Path):
    found = dict(np.load(golden / "dlc.npz"))
    params = {name: found[name] for name in ("W0", "b0", "W1", "b1")}
    # Its centroids are those of a larger set.
    how = {"centroids": found["centroids"], "keep_losses": True, "rows": 100, "together": 4}
    scored = dlc_scores(network, params, found["X"], found["y"], **how)
    np.testing.assert_allclose(scored.losses, found["masked_losses"], atol=1e-6)
    np.testing.assert_allclose(scored.scores, found["dlc"], atol=1e-6)
    np.testing.assert_allclose(scored.capacities, found["capacity"], atol=1e-12)


def test_golden_scores_in_single_precision(golden: Path):
    found = dict(np.load(golden / "dlc.npz"))
    params = {name: found[name] for name in ("W0", "b0", "W1", "b1")}
    scored = dlc_scores(network, params, found["X"], found["y"], centroids=found["centroids"])
    np.testing.assert_allclose(scored.scores, found["dlc"], rtol=1e-4)
    own = dlc_scores(network, params, found["X"], found["y"])
    assert np.corrcoef(own.scores, found["dlc"])[0, 1] > 0.97


def by_hand(params: dict, x: np.ndarray, y: np.ndarray, counts: list[int]) -> np.ndarray:
    """`[f, N]` losses with masks that are written out, in NumPy."""
    flat = np.concatenate([np.abs(params["W0"]).ravel(), np.abs(params["W1"]).ravel()])
    order = np.argsort(-flat, kind="stable")

    def features(kept: np.ndarray) -> np.ndarray:
        first = params["W0"].size
        w0 = params["W0"] * kept[:first].reshape(params["W0"].shape)
        w1 = params["W1"] * kept[first:].reshape(params["W1"].shape)
        return np.maximum(np.maximum(x @ w0 + params["b0"], 0) @ w1 + params["b1"], 0)

    whole = features(np.ones(flat.size))
    centroids = np.array([whole[y == each].mean(axis=0) for each in np.unique(y)])
    found = []
    for count in counts:
        kept = np.zeros(flat.size)
        kept[order[:count]] = 1
        logits = 1 / np.linalg.norm(features(kept)[:, None] - centroids, axis=-1)
        found.append(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y])
    return np.array(found)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("capacities", [Geometric(0.3, 5), Linear(5), [0.9, 0.2, 0.5, 0.0, 1.0]])
def test_losses_are_those_of_masks_written_out(rng: np.random.Generator, capacities: object):
    params, x, y = random_network(rng), rng.normal(size=(23, 4)), np.arange(23) % 3
    scored = dlc_scores(network, params, x, y, capacities=capacities, keep_losses=True, rows=7)
    total = params["W0"].size + params["W1"].size
    counts = np.rint(scored.capacities * total).astype(int).tolist()
    np.testing.assert_allclose(scored.losses, by_hand(params, x, y, counts), rtol=1e-9)
    np.testing.assert_allclose(scored.scores, scored.losses.mean(axis=0), rtol=1e-12)


def test_scores_do_not_depend_on_batches_groups_of_masks_or_names_of_classes(rng: np.random.Generator):
    params, x, y = random_network(rng), rng.normal(size=(50, 4)), np.arange(50) % 4
    told: list[tuple[int, int]] = []
    one = dlc_scores(network, params, x, y, progress=lambda *each: told.append(each), rows=20)
    assert told == [(20, 50), (40, 50), (50, 50)]
    other = dlc_scores(network, params, x, y, rows=1000, together=8)
    np.testing.assert_allclose(other.scores, one.scores, rtol=2e-5)
    named = dlc_scores(network, params, x, np.array(["a", "b", "c", "d"])[y], rows=20)
    np.testing.assert_array_equal(named.scores, one.scores)


def test_a_memory_map_is_read_batch_by_batch(rng: np.random.Generator, tmp_path: Path):
    params, x, y = random_network(rng), rng.normal(size=(50, 4)).astype(np.float32), np.arange(50) % 4
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    whole = dlc_scores(network, params, x, y, rows=20).scores
    np.testing.assert_array_equal(dlc_scores(network, params, mapped, y, rows=20).scores, whole)


def test_one_compiled_program_serves_every_batch_mask_and_call(rng: np.random.Generator):
    traced = 0

    def counted(params: dict, batch: jax.Array) -> jax.Array:
        nonlocal traced
        traced += 1
        return network(params, batch)

    y, how = np.arange(90) % 3, {"capacities": Linear(12), "rows": 20}
    first = dlc_scores(counted, random_network(rng), rng.normal(size=(90, 4)), y, **how)
    assert traced <= 3  # once for the centroids, and the scan over masks may look at its body twice
    seen = traced
    other = dlc_scores(counted, random_network(rng), rng.normal(size=(90, 4)), y, **how)
    assert traced == seen
    assert not np.array_equal(first.scores, other.scores)


def test_the_whole_network_alone_gives_the_plain_loss(rng: np.random.Generator):
    params, x = random_network(rng), rng.normal(size=(9, 4))
    found = mean_masked_loss(lambda p, b: network(p, b).sum(axis=1), params, x, capacities=[1.0])
    np.testing.assert_allclose(found.scores, network(params, x).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("loss", [inverse_distance, squared_distance])
def test_samples_between_the_classes_are_hard(rng: np.random.Generator, loss: object):
    """Planted: beyond its own centroid, the farther a sample is on the way to the other class the harder it is."""
    share = np.linspace(0, 0.5, 200)
    ends = rng.normal(size=(2, 30))
    y = np.arange(200) % 2
    x = ends[y] * (1 - share[:, None]) + ends[1 - y] * share[:, None] + 0.2 * rng.normal(size=(200, 30))
    params = {"kernel": np.eye(30) + 0.05 * rng.normal(size=(30, 30))}
    scored = dlc_scores(lambda p, b: b @ p["kernel"], params, x, y, loss=loss, capacities=Linear(10))
    for label in (0, 1):
        beyond = scored.scores[(y == label) & (share > share[y == label].mean())]
        assert np.corrcoef(np.argsort(beyond), np.arange(len(beyond)))[0, 1] > 0.9


@pytest.mark.usefixtures("x64")
def test_squared_distances_are_a_gaussian_classifier(rng: np.random.Generator):
    z, c, y = rng.normal(size=(12, 3)) + 50, rng.normal(size=(4, 3)) + 50, np.arange(12) % 4
    likely = np.exp(-((z[:, None] - c) ** 2).sum(axis=-1))
    expected = -np.log(likely[np.arange(12), y] / likely.sum(axis=1))
    np.testing.assert_allclose(jax.jit(squared_distance)(z, c, y), expected, rtol=1e-9)


def test_features_are_averaged_over_places_and_tokens(rng: np.random.Generator):
    maps = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(pooled(jnp.asarray(maps)), maps.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(pooled(jnp.asarray(maps[:, 0])), maps[:, 0].mean(axis=1), rtol=1e-5)


def test_flax_modules_with_dropout_and_batch_norm_are_frozen(rng: np.random.Generator):
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.first = nnx.Linear(4, 8, rngs=rngs)
            self.norm = nnx.BatchNorm(8, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.head = nnx.Linear(8, 3, rngs=rngs)

        def features(self, x: jax.Array) -> jax.Array:
            return self.drop(nnx.relu(self.norm(self.first(x))))

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.head(self.features(x))

    net, x, y = Net(nnx.Rngs(0)), rng.normal(size=(30, 4)).astype(np.float32), np.arange(30) % 3
    apply, params = functional(net, "features")
    scored = dlc_scores(apply, params, x, y, capacities=Linear(4), keep_losses=True)
    assert not net.drop.deterministic  # the caller's module is as it was
    plain = {"kernel": np.asarray(net.first.kernel[...])}
    scale = np.asarray(net.norm.scale[...]) / np.sqrt(1 + net.norm.epsilon)

    def same(p: dict, b: jax.Array) -> jax.Array:
        return jnp.maximum((b @ p["kernel"]) * scale, 0)

    # Only the first layer is masked: the head is not on the way to the features, and is left alone.
    expected = dlc_scores(same, plain, x, y, capacities=Linear(4), keep_losses=True)
    np.testing.assert_allclose(scored.losses, expected.losses, rtol=1e-4)


def test_negative_log_likelihood_of_the_response_alone(rng: np.random.Generator):
    logits = rng.normal(size=(3, 6, 9)).astype(np.float32)
    tokens = rng.integers(0, 9, (3, 6))
    response = np.array([[0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 0, 0], [0, 1, 1, 1, 1, 0]], bool)
    likely = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    expected = [
        -np.mean([likely[row, t - 1, tokens[row, t]] for t in range(1, 6) if response[row, t]]) for row in range(3)
    ]
    found = jax.jit(response_loss)(logits, tokens, response)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_padding_behind_the_response_changes_nothing(rng: np.random.Generator):
    params = {"kernel": rng.normal(size=(7, 7))}
    tokens, response = rng.integers(0, 7, (5, 8)), np.arange(8) >= 3
    response = np.tile(response, (5, 1))
    longer = np.concatenate([tokens, rng.integers(0, 7, (5, 4))], axis=1)
    more = np.concatenate([response, np.zeros((5, 4), bool)], axis=1)

    def bigram(p: dict, t: jax.Array) -> jax.Array:
        return p["kernel"][t]

    short = dlc_response_scores(bigram, params, tokens, response)
    np.testing.assert_allclose(dlc_response_scores(bigram, params, longer, more).scores, short.scores, rtol=1e-5)
    # The released code's three masks would keep 1, .8 and .8: ours compound.
    assert short.capacities.tolist() == [49 / 49, 39 / 49, 31 / 49]


def test_rare_continuations_are_hard():
    """Planted: a bigram model that knows its data; surprising responses score high at every capacity."""
    counts = np.array([[80, 15, 5], [5, 80, 15], [15, 5, 80]], float)
    params = {"kernel": np.log(counts) - np.log(counts).min()}
    tokens = np.array([[0, 0, 0], [0, 1, 2], [0, 2, 1]])
    scored = dlc_response_scores(lambda p, t: p["kernel"][t], params, tokens, tokens >= 0)
    assert np.all(np.diff(scored.scores) > 0)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_a_batch_under_all_masks_lowers_for_accelerators(rng: np.random.Generator, platform: str):
    params = jax.tree.map(jnp.asarray, random_network(rng))
    masks = masks_of(params, Linear(4))
    x, y, centroids = jnp.zeros((8, 4)), jnp.zeros(8, jnp.int32), jnp.ones((3, 5))

    def losses(threshold: jax.Array, cut: jax.Array) -> jax.Array:
        def under(mask: tuple) -> jax.Array:
            return inverse_distance(network(masked(params, masks.places, *mask), x), centroids, y)

        return jax.lax.map(under, (threshold, cut), batch_size=2)

    rows = jnp.asarray(masks.threshold), jnp.asarray(masks.cut)
    exported = jax.export.export(jax.jit(losses), platforms=[platform])(*rows)
    assert exported.out_avals[0].shape == (4, 8)
    assert "custom_call" not in exported.mlir_module() or "lapack" not in exported.mlir_module()


X, Y = np.ones((6, 4)), np.arange(6) % 2


@pytest.mark.parametrize(
    ("x", "y", "how", "message"),
    [
        (np.where(np.arange(24).reshape(6, 4) == 13, np.nan, 1.0), Y, {}, "row 3: features that are not finite"),
        (X, Y[:5], {}, "arrays of 5 and 6 rows|labels of shape"),
        (X, np.zeros(6), {}, "labels: 1 class, expected at least two"),
        (X, np.array([0, 1, np.nan, 0, 1, 0]), {}, "labels: row 2 has none"),
        (X[:0], Y[:0], {}, "no rows"),
        (X, Y, {"rows": 0}, "rows 0: expected a whole number"),
        (X, Y, {"together": 0.5}, "together 0.5: expected a whole number"),
        (X, Y, {"loss": lambda z, c, y: z}, "loss of shape"),
        (X, Y, {"centroids": np.ones((1, 5))}, "labels: row 1: np.int64.1., expected a whole number below 1"),
        (X, Y, {"centroids": np.ones((2, 3))}, "features of shape .*: expected 3 for each sample"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, how: dict, message: str
):
    with pytest.raises(InputError, match=message):
        dlc_scores(network, random_network(rng), x, y, **how)


@pytest.mark.parametrize(
    ("tokens", "response", "message"),
    [
        (np.zeros((2, 1), int), np.ones((2, 1)), r"tokens of shape \(2, 1\)"),
        (np.zeros((2, 3)), np.ones((2, 3)), "tokens of type float64"),
        (np.zeros((2, 3), int), np.ones((2, 4)), r"response of shape \(2, 4\): expected \(2, 3\)"),
        (np.zeros((2, 3), int), [[0, 1, 0], [1, 0, 0]], "row 1: no token of a response behind the first"),
    ],
)
def test_responses_that_cannot_be_scored(tokens: np.ndarray, response: object, message: str):
    with pytest.raises(InputError, match=message):
        dlc_response_scores(lambda p, t: p["kernel"][t], {"kernel": np.ones((2, 2))}, tokens, response)


class Stopped(Exception):
    pass


def stop_after(rows: int) -> Callable[[int, int], None]:
    """What a kill between two batches leaves behind: the job ends, and nothing is tidied up."""

    def progress(done: int, total: int) -> None:
        if done >= rows:
            raise Stopped

    return progress


@pytest.mark.parametrize("keep_losses", [False, True])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_losses: bool
):
    monkeypatch.setattr(finished, "EVERY", 0)
    params, x, y = random_network(rng), rng.normal(size=(50, 4)), np.arange(50) % 4
    how: dict = {"rows": 20, "keep_losses": keep_losses}
    whole = dlc_scores(network, params, x, y, **how)
    for _ in range(2):  # twice at the same row: the second time nothing is left to do before it
        with pytest.raises(Stopped):
            dlc_scores(network, params, x, y, folder=tmp_path, progress=stop_after(20), **how)
    told: list[tuple[int, int]] = []
    again = dlc_scores(network, params, x, y, folder=tmp_path, progress=lambda *each: told.append(each), **how)
    assert told == [(20, 50), (40, 50), (50, 50)]
    assert again.scores.tobytes() == whole.scores.tobytes()
    if keep_losses:
        assert again.losses.tobytes() == whole.losses.tobytes()
    # When all is done nothing is computed any more.
    monkeypatch.setattr(dlc, "_losses", None)
    assert dlc_scores(network, params, x, y, folder=tmp_path, **how).scores.tobytes() == whole.scores.tobytes()
    for other, what in (
        (lambda: dlc_scores(network, params, x + 1, y, folder=tmp_path, **how), "data"),
        (lambda: dlc_scores(network, params, x, np.roll(y, 1), folder=tmp_path, **how), "data"),
        (lambda: dlc_scores(network, random_network(rng), x, y, folder=tmp_path, **how), "parameters"),
        (lambda: dlc_scores(network, params, x, y, folder=tmp_path, capacities=[0.5], **how), "masks"),
        (lambda: dlc_scores(network, params, x, y, folder=tmp_path, loss=squared_distance, **how), "loss"),
        (lambda: dlc_scores(network, params, x, y, folder=tmp_path, about="other", **how), "loss"),
    ):
        with pytest.raises(InputError, match=f"holds the work of something else .*{what}.* differ"):
            other()
    next(tmp_path.glob("dlc-*20.npz")).write_bytes(b"PK")
    with pytest.raises(InputError, match="damaged; remove the folder"):
        dlc_scores(network, params, x, y, folder=tmp_path, **how)


def test_finished_rows_wait_for_each_other_and_the_end_is_written(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(finished, "EVERY", 1e6)
    tokens, params = rng.integers(0, 3, (50, 4)), {"kernel": rng.normal(size=(3, 3))}
    how: dict = {"rows": 8, "folder": tmp_path}
    first = dlc_response_scores(lambda p, t: p["kernel"][t], params, tokens, tokens >= 0, **how)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["dlc-000000000000.npz", "dlc.json"]
    again = dlc_response_scores(lambda p, t: None, params, tokens, tokens >= 0, **how)
    assert again.scores.tobytes() == first.scores.tobytes()
