"""The nearest point with a given total inside bounds: exact, in sorted breakpoints, differentiable."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike


def project(target: ArrayLike, lower: ArrayLike, upper: ArrayLike, total: ArrayLike) -> Array:
    """The point nearest to a target among those of a given total within bounds.

        x = argmin 1/2 sum_j (x_j - c_j)^2   s.t.   sum_j x_j = M,   l_j <= x_j <= u_j
        x = clip(c + t, l, u)   with the one number t for which the total is M

    The total rises with t, linearly between the breakpoints l_j - c_j and u_j - c_j. These are sorted once; a binary
    search over them finds the two between which t lies, and with them the free set F of coordinates strictly within
    their bounds, for which t is a mean. O(P log P), no tolerance, no iteration count.

    Derivatives, forward and reverse, of any order; with dF the change of the free targets:

        dx_F = dc_F + (dM - sum_L dl - sum_U du - sum_F dc) / |F|,   dx_L = dl_L,   dx_U = du_U

    that is, a cotangent has its mean over F subtracted, and dx_F / dM = 1 / |F|. A coordinate that lies on a bound
    counts as held by it (by the lower one if the two are equal).

    Args:
        target: `[P]` c.
        lower: `[P]` l or one number, finite.
        upper: `[P]` u or one number, at least l; `inf` is allowed.
        total: `[]` M. Below sum l all are at l, above sum u all at u: what `jit` can trace cannot raise.

    Returns:
        `[P]` x, in the dtype of the arguments: for totals beyond 2^24 inside `jax.enable_x64(True)`.

    Source: the quadratic programme of density-based pruning (arXiv 2401.04578, section 3); the method is the known one
    for the continuous quadratic knapsack problem (Brucker 1984; Kiwiel 2008).

    Example:
        >>> project([0.5, 2.0, 3.5], 1.0, 3.0, 6.0).tolist()  # t = 0.0, and then 0.5 of it
        [1.0, 2.0, 3.0]
        >>> project([0.5, 2.0, 3.5], 1.0, 3.0, 5.0).tolist()
        [1.0, 1.25, 2.75]
        >>> jax.grad(lambda total: project([0.5, 2.0, 3.5], 1.0, 3.0, total)[1])(5.0).tolist()
        0.5
    """
    target, lower, upper, total = (jnp.asarray(each) for each in (target, lower, upper, total))
    dtype = jnp.result_type(target, lower, upper, total, jnp.float32)
    target = target.astype(dtype)
    low, high = (jnp.broadcast_to(each, target.shape).astype(dtype) for each in (lower, upper))
    return _compiled(target, low, high, total.astype(dtype))


def _sorted_as_whole_numbers(values: Array) -> Array:
    """Floats sorted by their bits, which XLA does several times faster on a CPU than by its own order of floats."""
    whole = jnp.int64 if values.dtype == jnp.float64 else jnp.int32

    def flipped(bits: Array) -> Array:
        """Negative floats rise where their bits fall: all but the sign is turned over, and back."""
        return jnp.where(bits < 0, bits ^ jnp.iinfo(whole).max, bits)

    bits = jnp.sort(flipped(lax.bitcast_convert_type(values, whole)))
    return lax.bitcast_convert_type(flipped(bits), values.dtype)


@jax.custom_jvp
def _project(target: Array, lower: Array, upper: Array, total: Array) -> Array:
    points = lax.platform_dependent(
        jnp.concatenate([lower - target, upper - target]), cpu=_sorted_as_whole_numbers, default=jnp.sort
    )

    def total_at(shift: Array) -> Array:
        return jnp.sum(jnp.clip(target + shift, lower, upper))

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        left, right = ends
        middle = (left + right) // 2
        under = total_at(points[middle]) <= total
        return jnp.where(under, middle, left), jnp.where(under, right, middle)

    first, last = jnp.zeros((), jnp.int32), jnp.full((), len(points) - 1, jnp.int32)
    left, right = lax.fori_loop(0, max(1, len(points) - 1).bit_length(), halve, (first, last))
    # Between two neighbouring breakpoints the same coordinates are free: no rounding decides which.
    free = (lower - target <= points[left]) & (upper - target >= points[right]) & (lower < upper)
    held = jnp.where(lower - target > points[left], lower, upper)
    room = total - jnp.sum(jnp.where(free, 0.0, held))
    count = jnp.maximum(jnp.sum(free), 1).astype(target.dtype)
    shift = (room - jnp.sum(jnp.where(free, target, 0.0))) / count
    return jnp.where(free, jnp.clip(target + shift, lower, upper), held)


@_project.defjvp
def _project_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    _, lower, upper, _ = primals
    of_target, of_lower, of_upper, of_total = tangents
    point = _project(*primals)
    free = (point > lower) & (point < upper)
    held = jnp.where(point <= lower, of_lower, of_upper)
    count = jnp.maximum(jnp.sum(free), 1).astype(point.dtype)
    shift = (of_total - jnp.sum(jnp.where(free, of_target, held))) / count
    return point, jnp.where(free, of_target + shift, held)


# Outside of other programs it is one of its own, instead of an operation at a time.
_compiled = jax.jit(_project)
