"""What people would train on instead of the best mix: pools alone, nested filters, all in proportion, a reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from qqtjax.laws.fitted import FittedLaw
from qqtjax.laws.law import Law
from qqtjax.mix.combined import combine, epochs_at, scanned_to, values_at
from qqtjax.mix.feasible import TOLERANCE, Feasible, violation
from qqtjax.mix.filters import quality_order, union_name
from qqtjax.mix.objectives import weighted
from qqtjax.mix.result import RunnerUp
from qqtjax.mix.separable import separable_terms, subset, total
from qqtjax.runs import Pools

MOST_COMPARED = 256  # pools, the best ones, that stand alone or in a nested filter beside the best mix
SINGLE, NESTED, PROPORTIONAL, REFERENCE = "single pool", "nested filter", "proportional to size", "reference"


class Alternatives(NamedTuple):
    """Choices on P pools: K pools alone, F nested filters, then all in proportion and the reference where there are.

    Attributes:
        pools: the pools.
        order: `[K]` the best pools, best first.
        finite: `[F]` those of them whose size is known; the first k make a filter.
        others: `{kind: [P] weights}`.
    """

    pools: Pools
    order: np.ndarray
    finite: np.ndarray
    others: dict[str, np.ndarray]

    @property
    def kinds(self) -> np.ndarray:
        """`[M]` what each choice is."""
        return np.array([SINGLE] * len(self.order) + [NESTED] * len(self.finite) + [*self.others])

    def members(self, place: int) -> np.ndarray:
        """The pools that a choice draws from, best first."""
        if place < len(self.order):
            return self.order[place : place + 1]
        if place < len(self.order) + len(self.finite):
            return self.finite[: place - len(self.order) + 1]
        return np.arange(len(self.pools))

    def row(self, place: int) -> np.ndarray:
        """`[P]` weights of a choice."""
        first = len(self.order) + len(self.finite)
        if place >= first:
            return list(self.others.values())[place - first]
        weights, members = np.zeros(len(self.pools)), self.members(place)
        sizes = self.pools.sizes[members]
        weights[members] = 1.0 if len(members) == 1 else sizes / sizes.sum()
        return weights

    def rows(self) -> np.ndarray:
        """`[M, P]` weights of all."""
        return np.stack([self.row(place) for place in range(len(self.kinds))])


def alternatives(fitted: FittedLaw, feasible: Feasible) -> Alternatives:
    """The best 256 pools alone, their nested unions, all pools in proportion to their sizes, and the reference mix.

    Unions need sizes: of pools whose size is not known there are none.
    """
    pools = fitted.pools
    order = np.array(quality_order(fitted)[:MOST_COMPARED])
    others = {}
    if np.all(np.isfinite(pools.sizes)):
        others[PROPORTIONAL] = pools.sizes / pools.sizes.sum()
    distances = (feasible.l1, feasible.kl_penalty, feasible.l1_penalty)
    references = [each[0] for each in distances if each is not None]
    references += [each.reference for each in feasible.entropies if abs(each.reference.sum() - 1) <= TOLERANCE]
    if references:
        others[REFERENCE] = references[0]
    return Alternatives(pools, order, order[np.isfinite(pools.sizes[order])], others)


def separable_errors(
    fitted: FittedLaw, params: Any, samples_seen: float, weights: np.ndarray, found: Alternatives
) -> np.ndarray:
    """`[1 + M]` errors of a mix `[P]` and of its alternatives, by a law with one floor whose terms are separable.

    Args:
        fitted: the law.
        params: its parameters in float64.
        samples_seen: the budget.
        weights: `[P]`.
        found: M alternatives.
    """
    rows = np.stack([weights, *found.others.values()])
    with jax.enable_x64(True):
        alone, nested, rest = jax.device_get(
            _gained(fitted.law, params, found.pools.sizes, np.float64(samples_seen), found.order, found.finite, rows)
        )
    gained = np.concatenate([rest[:1], alone, nested, rest[1:]])
    return float(np.max(np.asarray(params.floor))) + np.exp(-gained)


@partial(jax.jit, static_argnums=0)
def _gained(
    law: Law, params: Any, sizes: Array, samples_seen: Array, order: Array, finite: Array, rows: Array
) -> tuple[Array, Array, Array]:
    """F of pools alone `[K]`, of nested filters `[F]` and of rows `[R, P]`."""
    terms = separable_terms(law, params, sizes, samples_seen)
    one = jnp.ones((1,), sizes.dtype)
    alone = jax.vmap(lambda place: total(subset(terms, place[None]), one))(order)
    known = sizes[finite]
    few = subset(terms, finite)
    kept = jnp.tril(jnp.broadcast_to(known, (finite.shape[0],) * 2))
    nested = jax.vmap(partial(total, few))(kept / jnp.cumsum(known)[:, None])
    return alone, nested, jax.vmap(partial(total, terms))(rows)


def any_errors(
    laws: Sequence[FittedLaw], samples_seen: float, feasible: Feasible, before: np.ndarray | None, rows: np.ndarray
) -> np.ndarray:
    """`[B, L]` errors of mixes `[B, P]` under each law; NaN where a law would have to scan too many epochs.

    Laws that scan go as far as the first mix for those with no more epochs than it.
    """
    each = combine(laws, samples_seen, feasible, None, True, before)._replace(judging=weighted(None, len(laws)))
    return values_at(scanned_to(each, float(epochs_at(each, rows[0]))), rows)


def runner_ups(found: Alternatives, errors: np.ndarray, feasible: Feasible) -> tuple[RunnerUp, ...]:
    """The best of each kind and, where that violates the constraints, the best that does not; ascending by error.

    Args:
        found: M choices.
        errors: `[M]`, NaN for those that were not evaluated.
        feasible: the constraints.
    """
    kinds = found.kinds
    chosen: list[RunnerUp] = []
    for kind in dict.fromkeys(kinds.tolist()):
        places = np.flatnonzero((kinds == kind) & ~np.isnan(errors))
        for rank, place in enumerate(places[np.argsort(errors[places], kind="stable")]):
            met = _met(found, int(place), feasible)
            if rank and not met:
                continue
            weights = dict(zip(found.pools.names, found.row(int(place)).tolist(), strict=True))
            name = _name(found, kind, int(place), "best feasible" if rank else "best")
            chosen.append(RunnerUp(name, weights, float(errors[place]), met))
            if met:
                break
    return tuple(sorted(chosen, key=lambda other: other.error))


def _met(found: Alternatives, place: int, feasible: Feasible) -> bool:
    members = found.members(place)
    # Most that violate anything have too much of a pool, which is soon seen.
    if len(members) == 1 and feasible.high[members[0]] < 1 - TOLERANCE:
        return False
    if feasible.plain and not feasible.low.any() and feasible.high.min() >= 1:
        return True
    return violation(feasible, found.row(place)) <= TOLERANCE


def _name(found: Alternatives, kind: str, place: int, best: str) -> str:
    if kind in (PROPORTIONAL, REFERENCE):
        return kind
    members, count = found.members(place), len(found.pools)
    everything = kind == NESTED and len(members) == count > 1
    name = "all pools" if everything else union_name([found.pools.names[each] for each in members])
    return f"{best} {kind} {name}"
