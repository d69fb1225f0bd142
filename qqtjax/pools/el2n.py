"""EL2N and GraNd: how large the error, or the gradient, of a sample is early in training."""

from __future__ import annotations

from collections.abc import Callable
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

Norm = Callable[[Apply, Any, Any, Array], Array]


def el2n(
    apply: Apply, init: Init, inputs: Any, labels: ArrayLike, *, epochs: int = 20, models: int = 10, **how: Any
) -> np.ndarray:
    """Norm of the error vector after a short training run, averaged over models.

        EL2N(x, y) = E || softmax(f(x; theta_t)) - onehot(y) ||

    Args:
        apply: `(params, batch) -> logits [B, K]`.
        init: `key -> params`.
        inputs: a pytree of arrays with N rows each.
        labels: `[N]` classes.
        epochs: of training (t); the paper takes 20 of 200.
        models: averaged over; the paper takes 10.
        **how: `seed`, `optimizer`, `batch` of `short_runs`.

    Returns:
        `[N]` float64 scores: high is hard.

    Raises:
        InputError: as `short_runs`.

    Source: Paul et al. (NeurIPS 2021), definition 2.2.
    """
    return _after(_error_norm, apply, init, inputs, labels, epochs, models, how)


def grand(
    apply: Apply, init: Init, inputs: Any, labels: ArrayLike, *, epochs: int = 20, models: int = 10, **how: Any
) -> np.ndarray:
    """Norm of a sample's gradient in all parameters after a short training run, averaged over models.

        GraNd(x, y) = E || d CE(f(x; theta_t), y) / d theta ||

    Args:
        apply: `(params, batch) -> logits [B, K]`.
        init: `key -> params`.
        inputs: a pytree of arrays with N rows each.
        labels: `[N]` classes.
        epochs: of training (t), at least 1.
        models: averaged over; the paper takes 10.
        **how: `seed`, `optimizer`, `batch` of `short_runs`.

    Returns:
        `[N]` float64 scores: high is hard.

    Raises:
        InputError: as `short_runs`.

    Source: Paul et al. (NeurIPS 2021), definition 2.1.
    """
    return _after(_gradient_norm, apply, init, inputs, labels, epochs, models, how)


def _error_norm(apply: Apply, params: Any, sample: Any, target: Array) -> Array:
    logits = apply(params, _as_batch(sample))[0]
    return jnp.linalg.norm(jax.nn.softmax(logits) - jax.nn.one_hot(target, logits.shape[-1], dtype=logits.dtype))


def _gradient_norm(apply: Apply, params: Any, sample: Any, target: Array) -> Array:
    def loss(params: Any) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(apply(params, _as_batch(sample))[0], target)

    return jnp.sqrt(sum(jnp.sum(slope**2) for slope in jax.tree.leaves(jax.grad(loss)(params))))


def _as_batch(sample: Any) -> Any:
    return jax.tree.map(lambda each: each[None], sample)


def _after(
    norm: Norm, apply: Apply, init: Init, inputs: Any, labels: ArrayLike, epochs: int, models: int, how: Any
) -> np.ndarray:
    """`[N]` mean norm over the models of a short run."""
    targets = jnp.asarray(numbered(labels, rows_of(inputs))[1])
    inputs = jax.tree.map(jnp.asarray, inputs)
    *_, last = short_runs(apply, init, inputs, labels, epochs=epochs, models=models, **how)

    return np.asarray(_scored(norm, apply, last.params, inputs, targets), np.float64)


@partial(jax.jit, static_argnums=(0, 1))
def _scored(norm: Norm, apply: Apply, params: Any, inputs: Any, targets: Array) -> Array:
    def of_model(own: Any) -> Array:
        return lax.map(lambda row: norm(apply, own, *row), (inputs, targets), batch_size=BATCH)

    return lax.map(of_model, params).mean(axis=0)
