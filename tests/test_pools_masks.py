"""Nested magnitude masks: exact counts whatever the ties, capacities of both schedules, what is masked by default."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qqtjax.errors import InputError
from qqtjax.pools.functional import functional
from qqtjax.pools.masks import Geometric, Linear, alive_counts, kernels, masked, masks_of

under = jax.jit(masked, static_argnums=1)
SHAPES = {"one": (4, 5), "two": (3, 2, 2), "three": (7, 1)}


def drawn(seed: int, levels: int, dtype: object = np.float32) -> dict[str, np.ndarray]:
    """Weights with few distinct magnitudes, so that most thresholds fall among equal ones."""
    rng = np.random.default_rng(seed)
    return {name: rng.integers(-levels, levels + 1, shape).astype(dtype) for name, shape in SHAPES.items()}


def alive(params: dict, masks: object, step: int) -> dict[str, np.ndarray]:
    marked = under(params, masks.places, masks.threshold[step], masks.cut[step])
    return {name: np.asarray(leaf) for name, leaf in marked.items()}


def by_hand(params: dict, count: int) -> dict[str, np.ndarray]:
    """The `count` weights of largest magnitude, the earlier ones among equals, by one stable sort."""
    leaves, tree = jax.tree.flatten(params)
    flat = np.concatenate([leaf.ravel() for leaf in leaves]).astype(np.float64)
    keep = np.zeros(flat.size, bool)
    keep[np.argsort(-np.abs(flat), kind="stable")[:count]] = True
    parts = np.split(np.where(keep, flat, 0), np.cumsum([leaf.size for leaf in leaves])[:-1])
    return jax.tree.unflatten(tree, [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(1, 6), share=st.floats(0, 1))
def test_the_largest_weights_stay_and_the_first_of_equal_ones(seed: int, levels: int, share: float):
    params = drawn(seed, levels)
    masks = masks_of(params, [share])
    count = int(alive_counts([share], 39)[0])
    assert masks.alive.sum() == count
    expected = by_hand(params, count)
    found = alive(params, masks, 0)
    for name, leaf in expected.items():
        np.testing.assert_array_equal(found[name], leaf)


def test_masks_of_falling_capacities_lie_within_each_other(rng: np.random.Generator):
    params = {"a": rng.normal(size=(30, 20)).round(1), "b": rng.normal(size=(20, 5)).round(1)}
    masks = masks_of(params, Linear(20))
    before = None
    for step in range(len(masks)):
        now = np.concatenate([leaf.ravel() != 0 for leaf in alive(params, masks, step).values()])
        assert before is None or not np.any(now & ~before)
        before = now


def test_half_precision_has_many_equal_weights_and_the_counts_are_exact(rng: np.random.Generator):
    params = {"kernel": jnp.asarray(rng.normal(size=(200, 100)), jnp.bfloat16)}
    masks = masks_of(params, Geometric())
    found = [
        int(np.count_nonzero(under(params, masks.places, masks.threshold[step], masks.cut[step])["kernel"]))
        for step in range(len(masks))
    ]
    assert found == Geometric().alive(20_000).tolist() == masks.alive[:, 0].tolist()
    assert len(np.unique(np.abs(np.asarray(params["kernel"], np.float32)))) < 2000


def test_every_layer_for_itself(rng: np.random.Generator):
    params = {"large": 100 + rng.normal(size=(10, 10)), "small": rng.normal(size=(20, 10))}
    together, apart = masks_of(params, [0.3]), masks_of(params, [0.3], per_layer=True)
    assert together.alive.tolist() == [[90, 0]]
    assert apart.alive.tolist() == [[30, 60]]
    np.testing.assert_array_equal(apart.capacities, [0.3])


def test_released_capacities_end_at_a_third_and_those_of_the_paper_at_two_percent():
    released, paper = Geometric().alive(1_000_000), Linear().alive(1_000_000)
    assert len(released) == len(paper) == 50
    np.testing.assert_allclose(released / 1e6, 0.98 ** np.arange(50), atol=1e-5)
    np.testing.assert_allclose(paper / 1e6, np.linspace(1, 0.02, 50), atol=1e-6)
    assert Geometric(0.2, 3).alive(1000).tolist() == [1000, 800, 640]


def test_golden_capacities(golden: Path):
    found = np.load(golden / "dlc.npz")
    masks = masks_of({"W0": found["W0"], "W1": found["W1"], "b0": found["b0"], "b1": found["b1"]})
    np.testing.assert_allclose(masks.capacities, found["capacity"], atol=1e-12)


def test_nothing_and_everything():
    params = {"kernel": np.array([[0.0, 0.0], [1.0, 2.0]])}
    masks = masks_of(params, [0.0, 1.0])
    assert masks.capacities.tolist() == [0, 1]
    assert not np.any(alive(params, masks, 0)["kernel"])
    np.testing.assert_array_equal(alive(params, masks, 1)["kernel"], params["kernel"])


def test_what_is_masked_by_default_in_a_flax_module():
    from flax import nnx

    class Block(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.embed = nnx.Embed(11, 8, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
            self.norm = nnx.LayerNorm(8, rngs=rngs)
            self.convolution = nnx.Conv(8, 8, (3,), rngs=rngs)
            self.head = nnx.Linear(8, 3, rngs=rngs)

    _, params = functional(nnx.eval_shape(lambda: Block(nnx.Rngs(0))))
    flags = jax.tree_util.tree_map_with_path(kernels, params)
    masked_leaves = {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, flag in jax.tree_util.tree_flatten_with_path(flags)[0]
        if flag
    }
    expected = {f"attention/{name}/kernel" for name in ("query", "key", "value", "out")}
    assert masked_leaves == expected | {"convolution/kernel"}


@pytest.mark.parametrize(
    ("params", "capacities", "message"),
    [
        ({"bias": np.ones((2, 2))}, [1.0], r"no weights to mask among the parameters \(bias\)"),
        ({"kernel": np.array([[1.0, np.nan]])}, [1.0], "parameter kernel: holds a weight that is not finite"),
        ({"kernel": np.ones((2, 2))}, [1.5], r"capacities \[1.5\]: expected shares"),
        ({"kernel": np.ones((2, 2))}, [], r"capacities \[\]: expected shares"),
        ({"kernel": np.ones((2, 2))}, Geometric(1.0), "interval 1.0: expected a share"),
        ({"kernel": np.ones((2, 2))}, Linear(0), "0 masks: expected a whole number"),
    ],
)
def test_what_cannot_be_masked_is_said_in_one_line(params: dict, capacities: object, message: str):
    with pytest.raises(InputError, match=message):
        masks_of(params, capacities)
