"""Logarithms that compile to vector code: on a CPU, XLA's own of float64 call a scalar routine for each element.

Both rest on one polynomial for log(1 + x) / x between 0 and 1, which `benchmarks/closed_form/derive.py` derives; it
is long, but a division costs more, and the compiler would keep its result in memory. The exponent of a number is
read from it in float32, so that nothing here needs 64-bit integers, which a TPU lacks.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array, lax

from qqtjax.laws.closed_form_coefficients import FLOAT32, FLOAT64
from qqtjax.laws.polynomial import polynomial

__all__ = ["LARGEST", "SMALLEST", "log", "log1p_unit"]

_LOG2_HIGH = 355.0 / 512.0  # of few bits: whole multiples of it are exact
_LOG2_LOW = math.log(2.0) - _LOG2_HIGH
SMALLEST, LARGEST = 1e-37, 1e37  # between which float32 holds a number and the inverse of its power of two


def _log1p(x: Array) -> Array:
    table = FLOAT64 if x.dtype == jnp.float64 else FLOAT32
    return x * polynomial(table.log1p, 2.0 * x - 1.0)


@jax.custom_jvp
def log1p_unit(x: Array) -> Array:
    """log(1 + x) for 0 <= x <= 1, to rounding.

    Args:
        x: float64 or float32.

    Source: a Chebyshev interpolant, derived in benchmarks/closed_form/derive.py.

    >>> import jax.numpy as jnp
    >>> [f"{each:.6f}" for each in log1p_unit(jnp.array([0.0, 1e-3, 1.0]))]
    ['0.000000', '0.001000', '0.693147']
    """
    return _log1p(x)


@log1p_unit.defjvp
def _log1p_unit_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (x,), (x_dot,) = primals, tangents
    return log1p_unit(x), x_dot / (1.0 + x)


@jax.custom_jvp
def log(x: Array) -> Array:
    """Natural logarithm, for x from 1e-37 to 1e37, to rounding; outside, that of the nearer end, but -inf at 0.

    Args:
        x: float64 or float32, >= 0.

    Source: x = m 2^e with 1 <= m <= 2, log x = e log 2 + log(1 + (m - 1)).

    >>> import jax.numpy as jnp
    >>> [f"{each:.6f}" for each in log(jnp.array([1.0, 2.0, 1e9]))]
    ['0.000000', '0.693147', '20.723267']
    """
    inside = jnp.clip(x, SMALLEST, LARGEST)
    bits = lax.bitcast_convert_type(inside.astype(jnp.float32), jnp.int32)
    exponent = (bits >> 23) - 127
    mantissa = inside * lax.bitcast_convert_type((127 - exponent) << 23, jnp.float32).astype(x.dtype)
    whole = exponent.astype(x.dtype)
    value = whole * _LOG2_HIGH + (whole * _LOG2_LOW + _log1p(mantissa - 1.0))
    return jnp.where(x > 0, value, -jnp.inf)


@log.defjvp
def _log_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (x,), (x_dot,) = primals, tangents
    return log(x), x_dot / x
