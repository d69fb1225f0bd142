"""Forgetting events, and learning complexity by optimisation: what a whole training run says of a sample."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.typing import ArrayLike

from qqtjax.pools.dlc import rows_of
from qqtjax.pools.dlc_classes import numbered
from qqtjax.pools.short_runs import BATCH, Apply, Init, short_runs


def forgetting_events(correct: ArrayLike) -> np.ndarray:
    """How often a sample was forgotten: classified correctly at one visit, and wrongly at the next.

    Args:
        correct: `[T, N]` bool, at each of T visits.

    Returns:
        `[N]` float64 counts; T for a sample that was never learnt, which is more than any other can have.

    Source: Toneva et al. (ICLR 2019), definitions 1 and 2.

    Example:
        >>> forgetting_events([[0, 1, 0], [1, 0, 0], [1, 1, 0]])
        array([0., 1., 3.])
    """
    seen = np.asarray(correct, bool)
    forgotten = (seen[:-1] & ~seen[1:]).sum(axis=0)
    return np.where(seen.any(axis=0), forgotten, len(seen)).astype(np.float64)


def forgetting(
    apply: Apply, init: Init, inputs: Any, labels: ArrayLike, *, epochs: int, models: int = 1, **how: Any
) -> np.ndarray:
    """Forgetting events over a training run, averaged over models.

    Args:
        apply: `(params, batch) -> logits [B, K]`.
        init: `key -> params`.
        inputs: a pytree of arrays with N rows each.
        labels: `[N]` classes.
        epochs: visits of every sample (T); the paper takes 200.
        models: averaged over.
        **how: `seed`, `optimizer`, `batch` of `short_runs`.

    Returns:
        `[N]` float64 scores: high is hard.

    Raises:
        InputError: as `short_runs`.

    Source: Toneva et al. (ICLR 2019), algorithm 1: a sample is looked at when its batch is trained on.
    """
    seen = [
        np.asarray(each.correct)
        for each in short_runs(apply, init, inputs, labels, epochs=epochs, models=models, **how)
    ]
    return np.mean([forgetting_events(own) for own in np.stack(seen, axis=1)], axis=0)


def trained_complexity(
    apply: Apply, init: Init, inputs: Any, labels: ArrayLike, *, epochs: int, models: int = 1, **how: Any
) -> np.ndarray:
    """Learning complexity by optimisation: the mean loss over the epochs of a training run.

        LC(x, y) = 1/T sum_{t=1}^T CE( f(x; theta_t), y )

    Args:
        apply: `(params, batch) -> logits [B, K]`.
        init: `key -> params`.
        inputs: a pytree of arrays with N rows each.
        labels: `[N]` classes.
        epochs: of training (T); every sample is scored after each.
        models: averaged over.
        **how: `seed`, `optimizer`, `batch` of `short_runs`.

    Returns:
        `[N]` float64 scores: high is hard.

    Raises:
        InputError: as `short_runs`.

    Source: arXiv 2402.05356v2, section 3; what DLC stands in for.
    """
    targets = jnp.asarray(numbered(labels, rows_of(inputs))[1])
    inputs = jax.tree.map(jnp.asarray, inputs)

    runs = short_runs(apply, init, inputs, labels, epochs=epochs, models=models, **how)
    return np.mean([np.asarray(_losses(apply, each.params, inputs, targets), np.float64) for each in runs], axis=0)


@partial(jax.jit, static_argnums=0)
def _losses(apply: Apply, params: Any, inputs: Any, targets: Array) -> Array:
    def of_sample(own: Any, sample: Any, target: Array) -> Array:
        logits = apply(own, jax.tree.map(lambda each: each[None], sample))[0]
        return optax.softmax_cross_entropy_with_integer_labels(logits, target)

    def of_model(own: Any) -> Array:
        return lax.map(lambda row: of_sample(own, *row), (inputs, targets), batch_size=BATCH)

    return lax.map(of_model, params).mean(axis=0)
