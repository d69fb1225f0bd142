"""How good are weights that somebody else found: the certificate of any mix."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw, Shares
from qqtjax.laws.power import power
from qqtjax.mix.asked import before_of, budgets_of, constraints_of, factors_of, laws_of, sizes_of
from qqtjax.mix.combined import combine, epochs_at, is_convex, objective, scanned_to
from qqtjax.mix.constraints import check
from qqtjax.mix.feasible import TOLERANCE, violation
from qqtjax.mix.objectives import weighted
from qqtjax.mix.programme import solve
from qqtjax.mix.result import DUALITY_GAP, GLOBAL, KKT_RESIDUAL, LOCAL, Certificate
from qqtjax.mix.separable import is_separable, slopes, stacked
from qqtjax.mix.several import minimise
from qqtjax.mix.single import compiled_terms
from qqtjax.mix.stationarity import box_fall, residual
from qqtjax.mix.trained_on import from_scratch
from qqtjax.runs import Pools


def certify(
    fit: FittedLaw | Mapping[str, FittedLaw],
    weights: Shares,
    budget: float,
    *,
    sizes: ArrayLike | Mapping[str, float] | None = None,
    seen_before: Mapping[str, float] | ArrayLike | None = None,
    metric_weights: Mapping[str, float] | None = None,
    worst_case: bool = False,
    **constraints: Any,
) -> Certificate:
    """How much better than these weights any others can be, whoever found them: the certificate of `optimize_mix`.

        y(w, n) - y(v, n) <= gap    for every v that satisfies the constraints

    For laws whose optimum `optimize_mix` proves to be global: under bounds alone from the slopes at these weights, at
    the cost of one evaluation (`mix.water_filling.gap_bound`, over the best price); under rows, distances, penalties
    and for several metrics from the lower bound of linear programmes. The first is tight at the optimum and loose far
    from it, where it is what a straight line through the slopes would gain. For other laws the gap is the KKT
    residual: what first-order moves gain. Source: ours.

    Args:
        fit: as in `optimize_mix`, like all that follow.
        weights: `{pool: share}` or `[P]`, of sum 1.
        budget: samples seen, one number.
        sizes: `{pool: samples}` or `[P]` to plan for.
        seen_before: samples that the model was trained on before.
        metric_weights: `{metric: factor}`.
        worst_case: the largest of the errors counts.
        **constraints: what all weights must satisfy.

    Returns:
        A `Certificate`; its gap is in the unit of the error.

    Raises:
        InputError: weights that do not satisfy the constraints to 1e-9, or as in `optimize_mix`.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> mine = certify(paper, [0.75, 0.25, 0, 0], 64e6)
        >>> best = qqt.optimize_mix(paper, 64e6)
        >>> excess = float(paper.predict([0.75, 0.25, 0, 0], 64e6)) - best.error
        >>> 0 < excess <= mine.gap < 0.02, certify(paper, best.weights, 64e6).gap < 1e-12
        (True, True)
    """
    laws = list(laws_of(fit).values())
    budgets, planned = budgets_of(budget), sizes_of(sizes, laws)
    if budgets.ndim or planned.ndim > 1:
        raise InputError("certify: expected one budget and one size for each pool")
    seen, pools = float(budgets), Pools(laws[0].pools.names, planned)
    before = before_of(seen_before, laws[0])
    factors = factors_of(laws_of(fit), metric_weights, worst_case)
    laws = [dataclasses.replace(each, pools=pools) for each in laws]
    feasible = constraints_of(constraints).bind(pools, seen, seen_before=before)
    check(feasible, pools, seen)
    shares = pools.weights(weights)
    shares = shares / shares.sum()
    missed = violation(feasible, shares)
    if missed > TOLERANCE:
        raise InputError(f"weights {shares.round(6).tolist()}: they miss a constraint by {missed:.2g}")
    if before is not None and all(each.law == power for each in laws):
        laws = [dataclasses.replace(each, params=from_scratch(each.params, seen, before)) for each in laws]
        before = None
    if not all(is_separable(each.law, each.params, before) for each in laws):
        combined = combine(laws, seen, feasible, factors, worst_case, before)
        combined = scanned_to(combined, float(epochs_at(combined, shares)))
        left = residual(combined, feasible, shares)
        return Certificate(KKT_RESIDUAL, left, None, GLOBAL if is_convex(combined) else LOCAL)
    factor = 1.0 if factors is None else float(factors[0])
    if len(laws) == 1 and np.ndim(laws[0].params.floor) == 0 and feasible.kl_penalty is None is feasible.l1_penalty:
        one = laws[0]
        terms = compiled_terms(one, seen)
        with jax.enable_x64(True):
            each, left, right = jax.device_get(_slopes(terms, shares))
            if feasible.plain:
                gap, _ = box_fall(-left, -right, shares, feasible.low, np.maximum(feasible.low, feasible.high))
            else:
                gap = (
                    -each.sum() - solve(stacked([terms]), np.zeros(1), weighted(np.ones(1), 1), feasible, shares).bound
                )
        gap = max(float(gap), 0.0)
        return Certificate(DUALITY_GAP, factor * float(np.exp(-each.sum()) * -np.expm1(-gap)), gap, GLOBAL)
    floors = np.stack([np.broadcast_to(np.asarray(each.params.floor, np.float64), shares.shape) for each in laws])
    with jax.enable_x64(True):
        parts = stacked([compiled_terms(each, seen) for each in laws])
        bound = minimise(parts, floors, weighted(factors, len(laws)), feasible).bound
    reached = float(objective(combine(laws, seen, feasible, factors, worst_case, None), shares[None])[0])
    return Certificate(DUALITY_GAP, max(reached - bound, 0.0), None, GLOBAL)


_slopes = jax.jit(slopes)
