"""Powers whose values and derivatives stay finite at zero."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def power_from_zero(base: ArrayLike, exponent: ArrayLike) -> Array:
    """x^p for x >= 0 and p > 0, with the derivatives 0 at x = 0, where for p < 1 the true one is infinite.

    Args:
        base: x.
        exponent: p, of the same shape or one number.

    Example:
        >>> import jax
        >>> [float(each) for each in jax.value_and_grad(power_from_zero)(0.0, 0.5)]
        [0.0, 0.0]
    """
    base = jnp.asarray(base)
    some = base > 0
    return jnp.where(some, jnp.exp(jnp.asarray(exponent) * jnp.log(jnp.where(some, base, 1.0))), 0.0)
