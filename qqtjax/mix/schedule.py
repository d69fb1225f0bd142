"""Weights that change over training: `Schedule`, and the utility law evaluated on one by a scan over segments.

The law was never validated on data whose order was planned: it was fitted on pools sampled uniformly and on mixes
that stay what they are. What a schedule gains here is what the formula says, not what anybody has measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, tree_util
from jax.core import Tracer
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw, Shares
from qqtjax.laws.repetition import LOG2, SNAP_ULPS, bucket, decay, real
from qqtjax.laws.utility import UtilityParams, utility
from qqtjax.text import show_count

NO_DILUTION = (
    "the law does not say how half-lives dilute while the weights vary: expected dilution 0; "
    "fitted.with_params(dilution=0.0) plans without dilution"
)


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """What one training run draws from, segment after segment. A pytree; `vmap` stacks schedules.

    The first n0 samples (the law's `scale`) are the warm-up: they are drawn from `warmup`, the segments cover what
    follows. The law counts from n0, so that what is drawn before earns nothing; were it free, an optimiser would burn
    the worst pool there. It is a convention, fixed before anything is optimised.

    Attributes:
        weights: `[T, P]` share of each segment's samples drawn from each pool; rows sum to 1.
        ends: `[T]` samples seen at which each segment ends, ascending, all above n0; the last is the budget.
        sizes: `[P]` unique samples of each pool (N_i); `inf` is allowed.
        warmup: `[P]` share of the first n0 samples drawn from each pool; they sum to 1.

    Example:
        >>> one = Schedule(weights=np.eye(2), ends=np.array([8e6, 16e6]), sizes=np.full(2, 8e6), warmup=np.eye(2)[0])
        >>> one.weights.shape
        (2, 2)
    """

    weights: ArrayLike
    ends: ArrayLike
    sizes: ArrayLike
    warmup: ArrayLike


def log_excess(params: UtilityParams, schedule: Schedule, max_epochs: int) -> Array:
    """log((y - d) / A0) = sum_i b_i I_i of `schedule_error`, `[]`: convex in the weights where every b_i <= 0.

    With x_i epochs of pool i behind it, k = floor(x_i), a segment from s0 to s1 of weight w_i adds to I_i

        w_i [D_i(k) log(s1 / s0) - sum_{j > k} (D_i(j - 1) - D_i(j)) relu(log(s1 / s_j))],
        s_j = s0 + (j - x_i) N_i / w_i   (where epoch j ends),    x_i <- x_i + w_i (s1 - s0) / N_i

    Where x_i is a whole number at the end of a segment, derivatives are those from the right in w_i: what is drawn
    next from the pool counts as its next epoch, in this segment as in the later ones.

    Args:
        params: see `schedule_error`.
        schedule: see `Schedule`.
        max_epochs: static; the most epochs that any pool ends within one segment. More gives NaN.
    """
    for name in ("scale", "floor", "amplitude"):
        shape = jnp.shape(getattr(params, name))
        if shape:
            raise InputError(f"{name} of shape {shape}: a schedule needs one {name} shared by all pools")
    dtype = jnp.result_type(float, *(real(leaf) for leaf in jax.tree.leaves((params, schedule))))
    params, schedule = jax.tree.map(lambda leaf: jnp.asarray(real(leaf), dtype), (params, schedule))
    sizes = jnp.asarray(schedule.sizes)
    known = jnp.isfinite(sizes)
    # Per sample: 1 / N, and 0 where nothing is ever repeated.
    passes = jnp.where(known, 1.0, 0.0) / jnp.where(known, sizes, 1.0)
    utilities = jnp.broadcast_to(params.utility, sizes.shape)
    rate = jnp.broadcast_to(LOG2 / jnp.asarray(params.half_life), sizes.shape)[None]
    numbers = jnp.arange(max_epochs + 1, dtype=dtype)[:, None]

    @jax.checkpoint
    def step(carry: tuple[Array, Array, Array], segment: tuple[Array, Array]) -> tuple[Any, None]:
        total, start, before = carry
        share, end = segment
        relative = (end - start) / end
        drawn = share * (end - start) * passes
        after = _snapped(before + drawn)
        whole, last = (lax.stop_gradient(jnp.floor(each)) for each in (before, after))
        ending = whole[None] + numbers
        worth = decay(ending, rate, params.decay_shape)
        ended = (ending <= last[None])[1:]
        # The share of the segment that lies after the end of epoch j; in epochs, so that a boundary stays exact.
        rest = jnp.where(ended, after[None] - ending[1:], 0.0) / jnp.where(last > whole, drawn, 1.0)[None]
        lost = jnp.sum((worth[:-1] - worth[1:]) * -jnp.log1p(-rest * relative), axis=0)
        gained = share * (worth[0] * -jnp.log1p(-relative) - lost)
        covered = (end >= start) & jnp.all(last - whole <= max_epochs)
        # Multiplied, not selected, so that derivatives are NaN too.
        total = total + jnp.sum(utilities * gained) * jnp.where(covered, 1.0, jnp.nan)
        return (total, end, after), None

    begin = _snapped(jnp.asarray(params.scale) * jnp.asarray(schedule.warmup) * passes)
    start = (jnp.zeros((), dtype), jnp.asarray(params.scale), begin)
    (total, _, _), _ = lax.scan(step, start, (schedule.weights, schedule.ends))
    return total


def _snapped(epochs: Array) -> Array:
    """Epochs within 4 ulp of a whole number as that number; the gradient stays that of the epochs."""
    nearest = jnp.round(epochs)
    close = jnp.abs(epochs - nearest) <= SNAP_ULPS * jnp.finfo(epochs.dtype).eps * epochs
    return epochs + lax.stop_gradient(jnp.where(close, nearest - epochs, 0.0))


def schedule_error(params: UtilityParams, schedule: Schedule, max_epochs: int) -> Array:
    """Predicted error of the utility law without dilution at the end of a schedule, by one scan over its segments.

        y = d + A0 exp(sum_i b_i I_i),    I_i = integral from n0 to n of w_i(s) D_i(floor(x_i(s))) ds / s,
        x_i(s) = (warmup_i n0 + integral from n0 to s of w_i) / N_i,    D_i(k) = 2^(-(k / tau_i)^shape)

    The first n0 samples, the warm-up, follow `schedule.warmup` and earn nothing (see `Schedule`: without that
    convention the worst pool would be burnt there). Constant weights equal to the warm-up give `laws.utility` at
    dilution 0 as long as n0 <= N_i / w_i. The law was never validated on data whose order was planned. Source: ours,
    the instantaneous form dy/ds = b (y - d) / s of arXiv 2404.07177 with weights that vary.

    Args:
        params: of `laws.utility`, dilution 0; `scale`, `floor` and `amplitude` shared by all pools.
        schedule: see `Schedule`.
        max_epochs: static; the most epochs that any pool ends within one segment (`epochs_needed`). A schedule with
            more gives NaN, never a truncated sum; so do ends that fall.

    Returns:
        `[]` error. Gradients are finite at weight 0 and at epoch boundaries, where they are those from the right.

    Raises:
        InputError: dilution other than 0 (where it is traced the error is NaN instead), or a parameter per pool
            that must be shared.

    Example:
        >>> p = UtilityParams(scale=4e6, floor=0.1, utility=np.array([-0.16, -0.125]), dilution=0.0,
        ...                   half_life=np.array([6.73, 8.55]), reference_size=np.full(2, 12.8e6))
        >>> one = Schedule(weights=np.eye(2), ends=np.array([16e6, 32e6]), sizes=np.full(2, 12.8e6),
        ...                warmup=np.array([1.0, 0.0]))
        >>> round(float(schedule_error(p, one, 2)), 4)
        0.8379
    """
    traced = isinstance(params.dilution, Tracer)
    if not traced and np.any(np.asarray(params.dilution) != 0):
        raise InputError(f"dilution {np.asarray(params.dilution).tolist()}: {NO_DILUTION}")
    error = jnp.asarray(params.floor) + jnp.asarray(params.amplitude) * jnp.exp(
        log_excess(params, schedule, max_epochs)
    )
    return error * jnp.where(jnp.all(jnp.asarray(params.dilution) == 0), 1.0, jnp.nan) if traced else error


def number(value: ArrayLike) -> float:
    """A parameter that all pools share, as a float."""
    return float(np.asarray(value))


def epochs_needed(schedule: Schedule, scale: float) -> int:
    """`max_epochs` for a schedule whose values are known: a power of two, so that few lengths are compiled."""
    ends = np.asarray(schedule.ends, np.float64)
    spans = np.diff(ends, prepend=float(scale))
    most = float(np.max(spans[:, None] * np.asarray(schedule.weights, np.float64) / np.asarray(schedule.sizes)))
    return bucket(most * (1 + 1e-6) + 1)


def planned(fitted: FittedLaw, budget: float) -> UtilityParams:
    """The law's parameters in float64, `utility` and `half_life` as `[P]`, if schedules can be planned with it.

    Raises:
        InputError: another law, dilution other than 0, a utility that is not below 0, a scale, floor or amplitude
            per pool, or a budget that does not exceed the scale.
    """
    if fitted.law != utility:
        raise InputError(f"law {fitted.law.name!r}: schedules are defined for laws.utility only")
    params = fitted.params
    if np.any(np.asarray(params.dilution) != 0):
        raise InputError(f"dilution {np.asarray(params.dilution).tolist()}: {NO_DILUTION}")
    for name in ("scale", "floor", "amplitude"):
        if np.ndim(getattr(params, name)):
            raise InputError(f"{name} {np.asarray(getattr(params, name)).tolist()}: expected one shared by all pools")
    wide = np.ones(len(fitted.pools))
    slopes = np.asarray(params.utility, np.float64) * wide
    if not np.all(slopes < 0):
        raise InputError(f"utility {slopes.tolist()}: expected numbers below 0")
    scale = number(params.scale)
    if np.ndim(budget) or not scale < budget < np.inf:
        given = budget if np.ndim(budget) else show_count(float(budget))
        raise InputError(
            f"budget {given}: expected more samples than the law's scale ({show_count(scale)}): "
            "what is drawn before earns nothing, so there is nothing to schedule"
        )
    return UtilityParams(
        scale=np.float64(scale),
        floor=np.float64(params.floor),
        utility=slopes,
        half_life=np.asarray(params.half_life, np.float64) * wide,
        reference_size=np.asarray(params.reference_size, np.float64) * wide,
        dilution=np.float64(0.0),
        decay_shape=None if params.decay_shape is None else np.asarray(params.decay_shape, np.float64),
        amplitude=np.float64(params.amplitude),
    )


def warmup_of(fitted: FittedLaw, warmup: Shares | None) -> np.ndarray:
    """`[P]` weights of the first n0 samples: as given, or the best pool alone (the least b, the first of equals)."""
    if warmup is not None:
        return fitted.pools.weights(warmup)
    slopes = np.broadcast_to(np.asarray(fitted.params.utility, np.float64), (len(fitted.pools),))
    return np.eye(len(slopes))[np.argmin(slopes)]


def predict_schedule(
    fitted: FittedLaw, weights: ArrayLike, ends: Sequence[float] | np.ndarray, warmup: Shares | None = None
) -> float:
    """Predicted error y of one schedule on a fitted law's pools, float64; see `schedule_error` for the formula.

    The law was never validated on data whose order was planned.

    Args:
        fitted: `laws.utility` with dilution 0.
        weights: `[T, P]`, rows sum to 1.
        ends: `[T]` samples seen at which each segment ends, ascending.
        warmup: weights of the first n0 samples, `{pool: share}` or `[P]`; None: the best pool alone.

    Raises:
        InputError: a law that no schedule can be planned with, or weights and ends that make no schedule.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility.with_params(dilution=0.0)
        >>> falling = [[1, 0, 0, 0], [0.5, 0.5, 0, 0]]
        >>> round(predict_schedule(paper, falling, [51.2e6, 64e6]), 4)
        0.7713
    """
    stops = np.atleast_1d(np.asarray(ends, np.float64))
    rows = np.asarray(weights, np.float64)
    if rows.shape != (len(stops), len(fitted.pools)) or not len(stops):
        raise InputError(
            f"weights of shape {rows.shape}: expected one row for each of {len(stops)} segments, "
            f"one column for each of {len(fitted.pools)} pools"
        )
    params = planned(fitted, stops[-1])
    if not np.all(np.diff(stops, prepend=number(params.scale)) > 0):
        raise InputError(
            f"segment ends {stops.tolist()}: expected ascending counts above the law's scale "
            f"({show_count(number(params.scale))})"
        )
    dense = np.stack([fitted.pools.weights(row) for row in rows])
    one = Schedule(weights=dense, ends=stops, sizes=fitted.pools.sizes, warmup=warmup_of(fitted, warmup))
    return evaluate_schedule(params, one)


def evaluate_schedule(params: UtilityParams, schedule: Schedule) -> float:
    """`schedule_error` of a schedule whose values are known, compiled, in float64 whatever the caller's default."""
    with jax.enable_x64(True):
        params, schedule = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), (params, schedule))
        return float(_evaluate(params, schedule, epochs_needed(schedule, number(params.scale))))


@partial(jax.jit, static_argnums=2)
def _evaluate(params: UtilityParams, schedule: Schedule, max_epochs: int) -> Array:
    return schedule_error(params, schedule, max_epochs)
