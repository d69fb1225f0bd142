"""Polynomials by Estrin's scheme: in pairs, then pairs of pairs.

Horner's scheme has as many steps that wait for each other as coefficients; a loop that evaluates several long
polynomials spends its time on waiting. Here the steps are as many as the binary digits of the degree.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array


def polynomial(coefficients: Sequence[float | Array], x: Array) -> Array:
    """Value at x of the polynomial with ascending coefficients.

    Args:
        coefficients: one or more, numbers or arrays that broadcast with x.
        x: the point.

    Source: G. Estrin, "Organization of computer systems", 1960.

    >>> import jax.numpy as jnp
    >>> float(polynomial((1.0, 2.0, 3.0), jnp.array(2.0)))
    17.0
    """
    terms = list(coefficients)
    while len(terms) > 1:
        pairs = [low + high * x for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
        x = x * x
    return jnp.asarray(terms[0])


def derivative(coefficients: Sequence[float | Array]) -> list[float | Array]:
    """Ascending coefficients of the derivative.

    >>> derivative((1.0, 2.0, 3.0))
    [2.0, 6.0]
    """
    return [power * coefficient for power, coefficient in enumerate(coefficients)][1:]
