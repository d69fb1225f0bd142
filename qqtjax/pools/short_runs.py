"""Short training runs of a classifier, several models side by side: what scores by training are taken from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.pools.dlc import rows_of
from qqtjax.pools.dlc_classes import numbered

Apply = Callable[[Any, Any], Array]
Init = Callable[[Array], Any]
BATCH = 128


class Epoch(NamedTuple):
    """What one pass over the data left behind, for S models.

    Attributes:
        params: pytree with a leading axis S, after the pass.
        loss: `[S, N]` loss of each sample when it was visited, before its step.
        correct: `[S, N]` bool, was it classified correctly then.
    """

    params: Any
    loss: Array
    correct: Array


@cache
def default_optimizer() -> optax.GradientTransformation:
    """Stochastic gradient descent with step .05 and momentum .9."""
    return optax.sgd(0.05, momentum=0.9)


def short_runs(
    apply: Apply,
    init: Init,
    inputs: Any,
    labels: ArrayLike,
    *,
    epochs: int,
    models: int = 1,
    seed: int = 0,
    optimizer: optax.GradientTransformation | None = None,
    batch: int = BATCH,
) -> Iterator[Epoch]:
    """Train models by cross-entropy, each on its own shuffle, and hand them over after every epoch.

    Args:
        apply: `(params, batch) -> logits [B, K]`.
        init: `key -> params`; pretrained parameters with a fresh head, or fresh ones.
        inputs: a pytree of arrays with N rows each, which must fit on the device.
        labels: `[N]` classes; K distinct ones.
        epochs: passes over the data.
        models: trained side by side (S).
        seed: of the parameters and the shuffles; the same seed gives the same bytes.
        optimizer: by default `default_optimizer()`.
        batch: samples of one step; the last step of an epoch has what is left.

    Yields:
        An `Epoch` after each pass.

    Raises:
        InputError: labels that do not match the inputs, a count below 1, training that diverges.

    Example:
        >>> x, y = np.array([[-1.0], [1.0]]), np.array([0, 1])
        >>> runs = short_runs(lambda w, x: x * w, lambda key: jnp.array([-1.0, 1.0]), x, y, epochs=3)
        >>> [bool(epoch.correct.all()) for epoch in runs]
        [True, True, True]
    """
    for name, number in (("epochs", epochs), ("models", models), ("batch", batch)):
        if int(number) != number or number < 1:
            raise InputError(f"{name} {number!r}: expected a whole number of at least 1")
    count = rows_of(inputs)
    targets = jnp.asarray(numbered(labels, count)[1])
    inputs = jax.tree.map(jnp.asarray, inputs)
    rule = default_optimizer() if optimizer is None else optimizer
    size = min(int(batch), count)
    params = jax.vmap(init)(jax.random.split(jax.random.key(seed), models))
    memory = jax.vmap(rule.init)(params)
    for number in range(epochs):
        order = np.array([np.random.default_rng([seed, number, each]).permutation(count) for each in range(models)])
        back = np.argsort(order, axis=1)
        params, memory, losses, correct = _epoch(apply, rule, size, params, memory, order, back, inputs, targets)
        if not np.isfinite(np.asarray(losses)).all():
            raise InputError(f"training diverged in epoch {number + 1}: expected another optimizer, or finite inputs")
        yield Epoch(params, losses, correct)


@partial(jax.jit, static_argnums=(0, 1, 2))
@partial(jax.vmap, in_axes=(None, None, None, 0, 0, 0, 0, None, None))
def _epoch(
    apply: Apply,
    rule: optax.GradientTransformation,
    size: int,
    params: Any,
    memory: Any,
    order: Array,
    back: Array,
    inputs: Any,
    targets: Array,
) -> tuple[Any, Any, Array, Array]:
    """One model's pass over the data in batches of one size; what fills up the last has no weight."""

    def of_batch(params: Any, batch: Any, own: Array, weights: Array) -> tuple[Array, tuple[Array, Array]]:
        logits = apply(params, batch)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, own)
        return jnp.sum(losses * weights) / jnp.sum(weights), (losses, jnp.argmax(logits, axis=1) == own)

    def step(state: tuple[Any, Any], part: tuple[Array, Array]) -> tuple[tuple[Any, Any], tuple[Array, Array]]:
        (params, memory), (rows, weights) = state, part
        batch = jax.tree.map(lambda each: each[rows], inputs)
        slopes, seen = jax.grad(of_batch, has_aux=True)(params, batch, targets[rows], weights)
        change, memory = rule.update(slopes, memory, params)
        return (optax.apply_updates(params, change), memory), seen

    steps = -(-len(order) // size)
    places = jnp.resize(order, (steps, size))
    weights = (jnp.arange(steps * size) < len(order)).astype(jnp.result_type(float)).reshape(steps, size)
    (params, memory), (losses, correct) = lax.scan(step, (params, memory), (places, weights))
    return params, memory, losses.ravel()[back], correct.ravel()[back]
