"""One problem: which solver its law and its constraints allow, and what that solver proves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from qqtjax import laws
from qqtjax.laws.fitted import FittedLaw
from qqtjax.laws.law import Law
from qqtjax.laws.utility import UtilityParams
from qqtjax.mix.alternatives import alternatives
from qqtjax.mix.descent import descend
from qqtjax.mix.feasible import Feasible
from qqtjax.mix.objectives import weighted
from qqtjax.mix.programme import solve
from qqtjax.mix.result import DUALITY_GAP, GLOBAL, KKT_RESIDUAL, Certificate
from qqtjax.mix.separable import Terms, is_separable, separable_terms, stacked, total
from qqtjax.mix.several import minimise
from qqtjax.mix.trained_on import from_scratch
from qqtjax.mix.water_filling import water_fill

LEAST_SLOPE = 1e-6  # of a pool that helps no model, for a start of a search


class Solved(NamedTuple):
    """What a solver ended with.

    Attributes:
        weights: `[P]`.
        objective: the errors, summed or the largest, with the penalties.
        certificate: what is proved.
    """

    weights: np.ndarray
    objective: float
    certificate: Certificate


def solve_one(
    fitteds: Sequence[FittedLaw],
    factors: np.ndarray | None,
    samples_seen: float,
    feasible: Feasible,
    seen_before: np.ndarray | None,
    starts: np.ndarray | None,
    seed: int,
) -> Solved:
    """The best weights of one problem, by the solver that proves most.

    Args:
        fitteds: M laws on the same pools.
        factors: `[M]` factors of their errors in a sum, or None for the worst case.
        samples_seen: the budget.
        feasible: constraints that something satisfies.
        seen_before: `[P]` or None.
        starts: `[S, P]` for local searches, or None.
        seed: of random starts.
    """
    if seen_before is not None and all(each.law == laws.power for each in fitteds):
        fitteds = [
            dataclasses.replace(each, params=from_scratch(each.params, samples_seen, seen_before)) for each in fitteds
        ]
        seen_before = None
    if not all(is_separable(each.law, each.params, seen_before) for each in fitteds):
        given = [] if starts is None else list(starts)
        given += list(alternatives(fitteds[0], feasible).rows())
        given += _with_geometric_decay(fitteds, samples_seen, feasible, seen_before)
        found = descend(
            fitteds,
            samples_seen,
            feasible,
            metric_weights=factors,
            worst_case=factors is None,
            seen_before=seen_before,
            starts=np.stack(given),
            seed=seed,
        )
        proof = Certificate(KKT_RESIDUAL, found.residual, None, found.proof.split(":")[0], found.searched)
        return Solved(found.weights, found.objective, proof)
    sizes = np.asarray(fitteds[0].pools.sizes, np.float64)
    floors = np.stack([np.broadcast_to(np.asarray(each.params.floor, np.float64), sizes.shape) for each in fitteds])
    penalised = feasible.kl_penalty is not None or feasible.l1_penalty is not None
    alone = len(fitteds) == 1 and np.ptp(floors) == 0 and not penalised
    seen = np.float64(samples_seen)
    with jax.enable_x64(True):
        if alone and feasible.plain:
            high = np.maximum(feasible.low, feasible.high)
            law, params = fitteds[0].law, in_doubles(fitteds[0].params)
            weights, *proved = jax.device_get(filled(law, params, sizes, seen, feasible.low, high))
            value, gap = map(float, proved)
        else:
            parts = stacked([compiled_terms(each, samples_seen) for each in fitteds])
            if not alone:
                found = minimise(parts, floors, weighted(factors, len(fitteds)), feasible)
                gap = max(found.objective - found.bound, 0.0)
                return Solved(found.weights, found.objective, Certificate(DUALITY_GAP, gap, None, GLOBAL))
            settled = solve(parts, np.zeros(1), weighted(np.ones(1), 1), feasible, np.full(len(sizes), 1 / len(sizes)))
            weights, value, gap = settled.weights, -settled.cost, max(settled.cost - settled.bound, 0.0)
    # log(y - d) = -F(w): the gap is proved in F.
    factor, excess = 1.0 if factors is None else float(factors[0]), float(np.exp(-value))
    certificate = Certificate(DUALITY_GAP, factor * excess * float(-np.expm1(-gap)), gap, GLOBAL)
    return Solved(weights, factor * (float(floors[0, 0]) + excess), certificate)


def _with_geometric_decay(
    fitteds: Sequence[FittedLaw], samples_seen: float, feasible: Feasible, seen_before: np.ndarray | None
) -> list[np.ndarray]:
    """`[P]` optima under bounds alone of laws with utilities, were their decay the paper's: starts of searches.

    For a model that is trained on also the weights that come to the best exposure overall.
    """
    found, low, high = [], feasible.low, np.maximum(feasible.low, feasible.high)
    spent = np.zeros(len(low)) if seen_before is None else seen_before
    total_seen = samples_seen + spent.sum()
    for each in fitteds:
        if not isinstance(each.params, UtilityParams):
            continue
        params = dataclasses.replace(
            each.params,
            decay_shape=None,
            dilution=np.clip(each.params.dilution, 0.0, 1.0),
            utility=np.minimum(each.params.utility, -LEAST_SLOPE),
        )
        problem = (laws.utility, in_doubles(params), np.asarray(each.pools.sizes, np.float64))
        with jax.enable_x64(True):
            found.append(np.asarray(filled(*problem, np.float64(samples_seen), low, high)[0]))
            if seen_before is not None:
                overall = np.asarray(filled(*problem, np.float64(total_seen), np.zeros_like(low), np.ones_like(low))[0])
                left = np.maximum(total_seen * overall - spent, 0.0)
                found.append(left / left.sum())
    return found


def in_doubles(params: Any) -> Any:
    """Parameters as float64 arrays, so that numbers and arrays share one compiled program."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)


@partial(jax.jit, static_argnums=0)
def filled(
    law: Law, params: Any, sizes: Array, samples_seen: Array, low: Array, high: Array
) -> tuple[Array, Array, Array]:
    """The best weights `[P]` under bounds alone, F there and its gap."""
    terms = separable_terms(law, params, sizes, samples_seen)
    found = water_fill(terms, low, high)
    return found.weights, total(terms, found.weights), found.gap


def compiled_terms(fitted: FittedLaw, samples_seen: float) -> Terms:
    """The functions f_i of a law for which `is_separable`, as numpy arrays in float64."""
    with jax.enable_x64(True):
        sizes = np.asarray(fitted.pools.sizes, np.float64)
        return jax.device_get(_terms(fitted.law, in_doubles(fitted.params), sizes, np.float64(samples_seen)))


_terms = partial(jax.jit, static_argnums=0)(separable_terms)
