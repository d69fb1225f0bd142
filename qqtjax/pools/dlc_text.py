"""Learning complexity for language models: the mean negative log-likelihood of the response."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.pools.dlc import DLC, Progress, mean_masked_loss
from qqtjax.pools.masks import Capacities, Geometric, Maskable, kernels

# Released for language models: three masks, each keeping .8 of what the last one kept.
TEXT_CAPACITIES = Geometric(interval=0.2, steps=3)


def response_loss(logits: Array, tokens: Array, response: Array) -> Array:
    """Mean negative log-likelihood of the tokens of a response, each given all tokens before it.

        L = -1/|R| sum_{t in R} log p(x_t | x_<t)

    Args:
        logits: `[B, T, V]`, those at place t being for the token at place t + 1.
        tokens: `[B, T]` int.
        response: `[B, T]` bool, which tokens are the response (R). The first token of a row never counts: nothing
            stands before it.

    Returns:
        `[B]` losses, in nats a token.

    Example:
        >>> even = jnp.zeros((1, 3, 4))  # knows nothing of 4 tokens: log 4
        >>> response_loss(even, jnp.array([[0, 1, 2]]), jnp.array([[False, True, True]])).round(4)
        Array([1.3863], dtype=float32)
    """
    likely = jax.nn.log_softmax(logits[:, :-1], axis=-1)
    of_next = jnp.take_along_axis(likely, tokens[:, 1:, None], axis=-1)[..., 0]
    counts = response[:, 1:].astype(of_next.dtype)
    return -jnp.sum(of_next * counts, axis=1) / jnp.sum(counts, axis=1)


@dataclasses.dataclass(frozen=True)
class _OfResponse:
    """The loss of a batch; equal for equal functions, so that it is compiled once."""

    apply: Callable[[Any, Any], Array]

    def __call__(self, params: Any, batch: Any) -> Array:
        logits = self.apply(params, batch[0])
        if jnp.ndim(logits) != 3 or logits.shape[:2] != batch[0].shape:
            raise InputError(
                f"logits of shape {jnp.shape(logits)}: expected {batch[0].shape} and the size of the vocabulary"
            )
        return response_loss(logits, *batch)


def dlc_response_scores(
    apply: Callable[[Any, Any], Array],
    params: Any,
    tokens: ArrayLike,
    response: ArrayLike,
    *,
    capacities: Capacities = TEXT_CAPACITIES,
    maskable: Maskable = kernels,
    per_layer: bool = True,
    rows: int = 16,
    together: int = 1,
    keep_losses: bool = False,
    progress: Progress | None = None,
    folder: str | os.PathLike[str] | None = None,
    about: str = "",
) -> DLC:
    """Learning complexity of prompts with responses under a frozen causal language model.

        DLC(x) = 1/f sum_s L(M_s * theta, x),   L = -1/|R| sum_{t in R} log p(x_t | x_<t)

    Args:
        apply: `(params, tokens [B, T]) -> logits [B, T, V]`. For a flax NNX module:
            `dlc_response_scores(*functional(module), tokens, response)`.
        params: its parameters (theta).
        tokens: `[N, T]` int: prompt, response, and anything as padding behind.
        response: `[N, T]` bool, which tokens are the response; false for prompt and padding.
        capacities: f = 3 in steps of .2 by default. The released code loses its masks between steps and stays at
            .8; ours go on to .64.
        maskable: `(path, leaf) -> bool`, which leaves are masked; by default `kernels`.
        per_layer: rank the weights of every leaf for itself, as released for language models.
        rows: of one batch.
        together: masks that are evaluated side by side.
        keep_losses: return `[f, N]` losses too.
        progress: called with rows done and N.
        folder: keep finished rows there; run again after a stop, it goes on behind them, to the same bytes.
        about: a name for the network, whose code cannot be compared; it must be the same for that.

    Returns:
        `DLC`: scores in nats a token (low is easy).

    Raises:
        InputError: shapes that do not match, tokens that are no whole numbers, a row without a response.

    Source: arXiv 2402.05356v2, its instruction-tuning experiments.

    Example:
        >>> apply = lambda params, tokens: params["kernel"][tokens]  # a bigram model
        >>> params = {"kernel": np.array([[0.0, 3.0], [-1.0, 0.0]])}
        >>> found = dlc_response_scores(apply, params, [[0, 1], [0, 0]], [[0, 1], [0, 1]])
        >>> found.scores.round(3)
        array([0.049, 3.049])
    """
    words, chosen = np.asarray(tokens), np.asarray(response)
    if words.ndim != 2 or words.shape[0] == 0 or words.shape[1] < 2:
        raise InputError(f"tokens of shape {words.shape}: expected [N, T] with T of at least 2")
    if words.dtype.kind not in "iu":
        raise InputError(f"tokens of type {words.dtype}: expected whole numbers")
    if chosen.shape != words.shape:
        raise InputError(f"response of shape {chosen.shape}: expected {words.shape}, that of the tokens")
    empty = ~chosen[:, 1:].any(axis=1)
    if empty.any():
        raise InputError(f"row {int(empty.argmax())}: no token of a response behind the first token")
    return mean_masked_loss(
        _OfResponse(apply),
        params,
        (words.astype(np.int32), chosen.astype(bool)),
        capacities=capacities,
        maskable=maskable,
        per_layer=per_layer,
        rows=rows,
        together=together,
        keep_losses=keep_losses,
        progress=progress,
        folder=folder,
        about=about,
    )
