"""What a mix is judged by: the errors of one law or several as one number, with its slopes on both sides of kinks.

    J(w) = sum_m q_m y_m(w)  or  max_m q_m y_m(w),   + kappa sum_i w_i log(w_i / r_i) + rho sum_i |w_i - r_i|

or, of the errors of many draws of the parameters, a tail (`mix.objectives`) in place of the largest.

The errors y_m are smooth in the weights except where a pool ends an epoch, (e_i + n w_i) / N_i whole, and the last
penalty has a kink at w_i = r_i. All these kinks lie across single pools and add up to first order, so that the slopes
on both sides, pool by pool, tell what every small move does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from qqtjax.errors import InputError
from qqtjax.laws.effective_data import effective_data
from qqtjax.laws.effective_samples import effective_samples
from qqtjax.laws.fitted import FittedLaw, length_for
from qqtjax.laws.law import Law
from qqtjax.laws.power import power
from qqtjax.laws.repetition import bucket
from qqtjax.laws.utility import utility
from qqtjax.mix.feasible import Feasible
from qqtjax.mix.objectives import Judging, weighted
from qqtjax.runs import Run

# A weight so close to a kink, relative to itself, lies on it; its slopes are taken so far on either side.
ON_KINK, ASIDE, ULPS = 1e-9, 1e-11, 16 * np.finfo(float).eps
FEW, MANY = 4, 32  # points in one call of the compiled program
MOST_VALUED, MOST_SLOPED = 1 << 22, 1 << 20  # work of one value, and of one value with slopes, that is undertaken
LEAST_WEIGHT = 1e-30  # where the logarithm of a smaller weight is taken


class Combined(NamedTuple):
    """One objective on P pools at one budget.

    Attributes:
        laws: M laws.
        lengths: their static `max_epochs`, None where nothing is scanned; points of more epochs are evaluated by a
            longer scan.
        params: their parameters, float64, every leaf with a leading axis of draws; M errors in all.
        sizes: `[P]` N_i.
        samples_seen: n.
        seen_before: `[P]` e_i, or None.
        metric_weights: `[M]` q_m.
        judging: how the q_m y_m become one number, or None for their sum.
        least: `[M]` what is subtracted from each y_m first: 0, or the least that it can be, for regrets.
        reference: `[P]` r_i, ones without penalties.
        kl: kappa.
        l1: rho.
    """

    laws: tuple[Law, ...]
    lengths: tuple[int | None, ...]
    params: tuple[Any, ...]
    sizes: np.ndarray
    samples_seen: float
    seen_before: np.ndarray | None
    metric_weights: np.ndarray
    judging: Judging | None
    least: np.ndarray
    reference: np.ndarray
    kl: float
    l1: float


class Local(NamedTuple):
    """The objective around one point, without the entropy penalty; R rows: one, or all that are judged together.

    Attributes:
        point: `[P]` the weights, those that lie next to a kink set on it.
        kink: `[P]` does the weight lie on a kink.
        values: `[R]`.
        left: `[R, P]` slopes towards less of a pool.
        right: `[R, P]` slopes towards more of it.
    """

    point: np.ndarray
    kink: np.ndarray
    values: np.ndarray
    left: np.ndarray
    right: np.ndarray


def combine(
    fitteds: Sequence[FittedLaw],
    samples_seen: float,
    feasible: Feasible,
    metric_weights: np.ndarray | None,
    worst_case: bool,
    seen_before: np.ndarray | None,
    drawn: Judging | None = None,
    least: np.ndarray | None = None,
) -> Combined:
    """One objective of several laws and the penalties of the constraints.

    With `drawn` the laws' parameters have a leading axis of draws, and it says how all their errors become one number,
    each less its own of `least` where that is given.

    Raises:
        InputError: laws of other pools than the first or than the constraints; metric weights that are not M finite
            numbers >= 0; `seen_before` that is not `[P]` finite numbers >= 0.
    """
    pools = fitteds[0].pools
    for each in fitteds:
        if each.pools.names != pools.names or not np.array_equal(each.pools.sizes, pools.sizes):
            raise InputError("the laws of one mix have different pools: expected the same names and sizes in all")
    if feasible.names != pools.names or feasible.samples_seen != samples_seen:
        raise InputError("constraints are bound to other pools or another budget: bind them to those of the laws")
    given = np.ones(len(fitteds)) if metric_weights is None else np.asarray(metric_weights, np.float64)
    judging = drawn or (weighted(None, len(fitteds)) if worst_case and len(fitteds) > 1 else None)
    if given.shape != (len(fitteds),) or not np.all(np.isfinite(given)) or np.any(given < 0) or not np.any(given > 0):
        raise InputError(f"metric weights {given.tolist()}: expected {len(fitteds)} finite numbers >= 0, one above 0")
    before = None if seen_before is None else np.asarray(seen_before, np.float64)
    if before is not None and (before.shape != (len(pools),) or not np.all(np.isfinite(before)) or np.any(before < 0)):
        raise InputError(f"samples seen before {before.tolist()}: expected {len(pools)} finite numbers >= 0")
    most = Run(weights=feasible.high, sizes=pools.sizes, samples_seen=samples_seen, seen_before=before)
    penalties = [each for each in (feasible.kl_penalty, feasible.l1_penalty) if each is not None]
    return Combined(
        laws=tuple(each.law for each in fitteds),
        lengths=tuple(
            None if each.law in (power, effective_samples) else length_for(each.law, each.params, most)
            for each in fitteds
        ),
        params=tuple(
            jax.tree.map(lambda leaf: np.asarray(leaf, np.float64)[... if drawn else None], each.params)
            for each in fitteds
        ),
        sizes=np.asarray(pools.sizes, np.float64),
        samples_seen=float(samples_seen),
        seen_before=before,
        metric_weights=given if drawn is None else drawn.most if drawn.fixed else np.ones(len(drawn.most)),
        judging=None if judging is None or judging.fixed else judging,
        least=np.zeros(len(fitteds if drawn is None else drawn.most)) if least is None else least,
        reference=penalties[0][0] if penalties else np.ones(len(pools)),
        kl=feasible.kl_penalty[1] if feasible.kl_penalty else 0.0,
        l1=feasible.l1_penalty[1] if feasible.l1_penalty else 0.0,
    )


def is_convex(combined: Combined) -> bool:
    """Is the objective proved convex in the weights: every law's error is, and the rest keeps it.

    With `seen_before` that is known of `laws.utility` with dilution 0 (`laws.continued`), of `laws.effective_samples`
    (exposures add within a concave function) and of `laws.power`.
    """
    for law, params in zip(combined.laws, combined.params, strict=True):
        if not law.convex(params):
            return False
        earlier = combined.seen_before is not None and np.any(combined.seen_before > 0)
        if earlier and law not in (power, effective_samples):
            if law != utility or np.any(np.asarray(params.dilution) != 0):
                return False
    return True


def law_errors(
    laws: tuple[Law, ...],
    lengths: tuple[int | None, ...],
    params: tuple[Any, ...],
    sizes: Array,
    samples_seen: Array,
    before: Array | None,
    weights: Array,
) -> Array:
    """`[M]` predicted errors at weights `[P]`; traceable."""
    run = Run(weights=weights, sizes=sizes, samples_seen=samples_seen, seen_before=before)

    def drawn(law: Law, length: int | None, each: Any) -> Array:
        return jax.vmap(lambda own: law(own, run, length))(each)

    return jnp.concatenate(list(map(drawn, laws, lengths, params)))


@partial(jax.jit, static_argnums=(0, 1))
def _errors_and_slopes(
    laws: tuple, lengths: tuple, params: tuple, sizes: Array, seen: Array, before: Array | None, points: Array
) -> tuple[Array, Array]:
    def one(weights: Array) -> tuple[Array, Array]:
        errors, pull = jax.vjp(partial(law_errors, laws, lengths, params, sizes, seen, before), weights)
        return errors, jax.vmap(lambda row: pull(row)[0])(jnp.eye(len(errors), dtype=errors.dtype))

    return jax.vmap(one)(points)


@partial(jax.jit, static_argnums=(0, 1))
def _errors(
    laws: tuple, lengths: tuple, params: tuple, sizes: Array, seen: Array, before: Array | None, points: Array
) -> tuple[Array]:
    return (jax.vmap(partial(law_errors, laws, lengths, params, sizes, seen, before))(points),)


def epochs_at(combined: Combined, points: np.ndarray) -> np.ndarray:
    """`[...]` the most epochs that any pool goes through at points `[..., P]`, earlier training included."""
    before = 0.0 if combined.seen_before is None else combined.seen_before
    return np.max((before + combined.samples_seen * points) / combined.sizes, axis=-1)


def work_of(combined: Combined, epochs: float) -> float:
    """What one evaluation of so many epochs takes: pools x draws x steps of the longest scan; 0 without scans."""
    width, draws = len(combined.sizes), len(combined.metric_weights) / len(combined.laws)
    scans = zip(combined.laws, combined.lengths, strict=True)
    steps = [bucket(epochs) * (width if law == effective_data else 1) for law, length in scans if length is not None]
    return float(width * draws * max(steps, default=0))


def scanned_to(combined: Combined, epochs: float) -> Combined:
    """The same objective, by scans over so many epochs."""
    return combined._replace(lengths=tuple(None if each is None else bucket(epochs) for each in combined.lengths))


def _evaluated(program: Any, combined: Combined, points: np.ndarray, size: int) -> list[np.ndarray]:
    """What a program gives at points `[B, P]`, in calls of one size, so that little is compiled."""
    with jax.enable_x64(True):
        found = [
            program(
                combined.laws,
                combined.lengths,
                combined.params,
                combined.sizes,
                combined.samples_seen,
                combined.seen_before,
                np.pad(few, [(0, size - len(few)), (0, 0)], mode="edge"),
            )
            for few in (points[start : start + size] for start in range(0, len(points), size))
        ]
        return [np.concatenate(each)[: len(points)] for each in zip(*found, strict=True)]


def _long_enough(combined: Combined, points: np.ndarray) -> Combined:
    """The same objective, by scans that cover all these points."""
    known = max((each for each in combined.lengths if each is not None), default=None)
    if known is None:
        return combined
    epochs = float(np.max(epochs_at(combined, points)))
    return combined if epochs <= known * (1 + ON_KINK) else scanned_to(combined, epochs)


def _rows(combined: Combined, errors: np.ndarray) -> np.ndarray:
    """`[B, R]` of errors `[B, M]`: the q_m y_m, or their sum."""
    each = (errors - combined.least) * combined.metric_weights
    return each.sum(1, keepdims=True) if combined.judging is None else each


def rows_at(combined: Combined, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows `[B, R]` and their slopes `[B, R, P]` at points `[B, P]`: the q_m y_m, or their sum; without penalties.

    NaN where that takes scans too long for slopes.
    """
    own = _long_enough(combined, points)
    if work_of(own, float(np.max(epochs_at(own, points)))) > MOST_SLOPED:
        count = 1 if combined.judging is None else len(combined.metric_weights)
        return np.full((len(points), count), np.nan), np.full((len(points), count, points.shape[1]), np.nan)
    errors, slopes = _evaluated(_errors_and_slopes, own, points, FEW if len(points) <= FEW else MANY)
    slopes = slopes * combined.metric_weights[:, None]
    return _rows(combined, errors), slopes.sum(1, keepdims=True) if combined.judging is None else slopes


def values_at(combined: Combined, points: np.ndarray) -> np.ndarray:
    """`[B, R]` rows at points `[B, P]`, without penalties; NaN where that takes scans too long even for values."""
    epochs = epochs_at(combined, points)
    lengths = [each for each in combined.lengths if each is not None]
    beyond = epochs > lengths[0] * (1 + ON_KINK) if lengths else np.zeros(len(points), bool)
    within = np.array([work_of(combined, each) <= MOST_VALUED for each in epochs])
    found = np.full((len(points), 1 if combined.judging is None else len(combined.metric_weights)), np.nan)
    for chosen in (~beyond & within, beyond & within):
        if np.any(chosen):
            own = _long_enough(combined, points[chosen])
            found[chosen] = _rows(combined, _evaluated(_errors, own, points[chosen], MANY)[0])
    return found


def judged(combined: Combined, rows: np.ndarray) -> np.ndarray:
    """`[B]` rows `[B, R]` as one number each."""
    return rows[:, 0] if combined.judging is None else np.array([combined.judging.of(each) for each in rows])


def penalty(combined: Combined, points: np.ndarray) -> np.ndarray:
    """`[B]` what the penalties add at points `[B, P]`."""
    used = np.maximum(points, LEAST_WEIGHT) / np.where(combined.reference > 0, combined.reference, 1.0)
    divergence = combined.kl * np.sum(points * np.log(used), axis=1)
    return divergence + combined.l1 * np.sum(np.abs(points - combined.reference), axis=1)


def objective(combined: Combined, points: np.ndarray) -> np.ndarray:
    """`[B]` J at points `[B, P]`; inf where it is not a number."""
    found = judged(combined, values_at(combined, points)) + penalty(combined, points)
    return np.where(np.isnan(found), np.inf, found)


def kinks_around(combined: Combined, point: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The next kink below, the nearest one and the next above each weight, `[P]`: -inf, NaN and inf where none is."""
    before = 0.0 if combined.seen_before is None else combined.seen_before
    epochs = (before + combined.samples_seen * point) / combined.sizes
    known = np.where(np.isinf(combined.sizes), 0.0, combined.sizes)

    def place(whole: np.ndarray, none: float) -> np.ndarray:
        there = np.isfinite(combined.sizes) & (whole >= 1) & (whole * known >= before)
        return np.where(there, (whole * known - before) / combined.samples_seen, none)

    nearest = place(np.round(epochs), np.nan)
    on = np.abs(point - nearest) <= near(combined, point)
    whole = np.where(on, np.round(epochs), np.floor(epochs))
    below = place(np.where(on, whole - 1, whole), -np.inf)
    above = place(whole + 1, np.inf)
    if combined.l1 > 0:
        at = combined.reference
        closer = ~(np.abs(point - nearest) <= np.abs(point - at))
        nearest = np.where(closer, at, nearest)
        on = np.abs(point - at) <= near(combined, point)
        below = np.where((at < point) & ~on, np.maximum(below, at), below)
        above = np.where((at > point) & ~on, np.minimum(above, at), above)
    return below, nearest, above


def near(combined: Combined, point: np.ndarray) -> np.ndarray:
    """`[P]` how far from a kink a weight still lies on it."""
    return ON_KINK * point + _rounding(combined, point)


def _rounding(combined: Combined, point: np.ndarray) -> np.ndarray:
    before = 0.0 if combined.seen_before is None else combined.seen_before
    return ULPS * (before / combined.samples_seen + point)


def look(combined: Combined, weights: np.ndarray) -> Local:
    """The objective around weights `[P]`, without the entropy penalty, which is smooth and has no finite slope at 0."""
    _, nearest, _ = kinks_around(combined, weights)
    kink = np.abs(weights - nearest) <= near(combined, weights)
    point = np.where(kink, nearest, weights)
    aside = np.where(kink, ASIDE * point + _rounding(combined, point), 0.0)
    lower, upper = np.maximum(point - aside, 0.0), point + aside
    values, slopes = rows_at(combined, np.stack([point, lower, upper]))
    less = np.where(point > combined.reference, combined.l1, -combined.l1)
    more = np.where(point >= combined.reference, combined.l1, -combined.l1)
    distance = combined.l1 * np.sum(np.abs(point - combined.reference))
    return Local(point, kink, values[0] + distance, slopes[1] + less, slopes[2] + more)
