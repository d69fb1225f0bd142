"""A flax NNX module as a pure function of its parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def functional(module: Any, method: str = "__call__") -> tuple[Callable[[Any, Any], Any], Any]:
    """Take an NNX module apart into `apply(params, inputs)` and its parameters.

    The module itself is not changed. Its copy is in evaluation mode: no dropout, stored statistics of batch norms.

    Args:
        module: any `flax.nnx.Module`.
        method: its method that maps a batch of inputs to what is wanted (features, logits).

    Returns:
        `(apply, params)`; `params` is a pytree of the module's `nnx.Param` alone.

    Example:
        >>> from flax import nnx
        >>> import jax.numpy as jnp
        >>> apply, params = functional(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
        >>> apply(params, jnp.ones((4, 3))).shape
        (4, 2)
    """
    from flax import nnx

    frozen = nnx.clone(module)
    frozen.eval()
    graph, params, others = nnx.split(frozen, nnx.Param, ...)

    def apply(params: Any, inputs: Any) -> Any:
        return getattr(nnx.merge(graph, params, others), method)(inputs)

    return apply, nnx.to_pure_dict(params)
