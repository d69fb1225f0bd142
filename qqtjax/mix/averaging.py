"""The best weights for the mean error over draws of the parameters, under bounds alone: water-filling in turn.

    minimise  sum_s p_s (d_s + exp(-F_s(w))),   q_s = p_s exp(-F_s(w)) / M(w),   M(w) = sum_s p_s exp(-F_s(w))

At any weights w the best v of the separable concave sum_s q_s F_s shows where to go, for v - w is a direction of
descent, and how far it is at most (Donsker and Varadhan): log M(w) - log M* <= sum_s q_s (F_s(v) - F_s(w)) + gap of v.
The bound closes at kinks, which all draws share. Source: ours.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from qqtjax.laws.law import Law
from qqtjax.mix.separable import Terms, joined, separable_terms, total
from qqtjax.mix.water_filling import water_fill

MOST_ROUNDS, PATIENCE = 60, 3
SHORTER = 0.5  # each step tried is so much of the last
STEPS = 12  # of them
CLOSED = 1e-13  # relative gap at which the search ends


class Averaged(NamedTuple):
    """The best weights for the mean over draws.

    Attributes:
        weights: `[P]`, their sum is 1.
        excess: `[]` M(w), the mean error above the floors.
        gap: `[]` M(w) - M* is at most this.
        rounds: `[]` water-fillings.
    """

    weights: Array
    excess: Array
    gap: Array
    rounds: Array


class _Search(NamedTuple):
    weights: Array
    logs: Array  # [S] log of p_s exp(-F_s(w)); before the first round of p_s alone
    excess: Array
    gap: Array  # of log M
    rounds: Array
    failures: Array


def drawn_terms(laws: tuple[Law, ...], params: tuple[Any, ...], sizes: Array, samples_seen: Array) -> Terms:
    """The functions f_si of all draws of laws for which `is_separable`, with a leading axis of S on every leaf.

    Args:
        laws: static.
        params: of each law, with a leading axis of draws on every leaf.
        sizes: `[P]`.
        samples_seen: `[]`.
    """

    def one(law: Law, own: Any) -> Terms:
        terms = separable_terms(law, own, sizes, samples_seen)
        return terms._replace(dilution=jnp.broadcast_to(terms.dilution, (1, sizes.shape[0])))

    each = [jax.vmap(partial(one, law))(own) for law, own in zip(laws, params, strict=True)]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *each)


def fill_mean(parts: Terms, probabilities: Array, low: Array, high: Array) -> Averaged:
    """Weights of the least mean error over draws with l_i <= w_i <= u_i and sum w = 1: the global optimum.

    Args:
        parts: concave functions of S draws, as `drawn_terms` makes them.
        probabilities: `[S]` p_s >= 0.
        low: `[P]` l, with sum l <= 1.
        high: `[P]` u, with sum u >= 1.
    """
    part = SHORTER ** jnp.arange(STEPS, dtype=low.dtype)  # the whole step first

    def unfinished(search: _Search) -> Array:
        return (search.gap > CLOSED) & (search.rounds < MOST_ROUNDS) & (search.failures < PATIENCE)

    def step(search: _Search) -> _Search:
        shares = jax.nn.softmax(search.logs)
        found = water_fill(joined(parts, shares), low, high)
        tried = search.weights + part[:, None] * (found.weights - search.weights)
        logs = jax.vmap(lambda terms: jax.vmap(partial(total, terms))(tried))(parts)
        logs = jnp.log(probabilities) - logs.T
        # Draws without probability have infinite logarithms.
        gained = jnp.sum(jnp.where(shares > 0, shares * (search.logs - logs[0]), 0.0))
        gap = jnp.where(search.rounds > 0, jnp.maximum(gained + found.gap, 0.0), jnp.inf)
        each = jnp.exp(jax.nn.logsumexp(logs, axis=1))
        best = jnp.argmin(each)
        better = (each[best] < search.excess) & (gap > CLOSED)
        return _Search(
            weights=jnp.where(better, tried[best], search.weights),
            logs=jnp.where(better, logs[best], search.logs),
            excess=jnp.where(better, each[best], search.excess),
            gap=gap,
            rounds=search.rounds + 1,
            failures=jnp.where(better | (gap < search.gap), 0, search.failures + 1),
        )

    infinite, none = jnp.full((), jnp.inf, low.dtype), jnp.zeros((), jnp.int32)
    room = high - low
    start = low + room * ((1.0 - jnp.sum(low)) / jnp.maximum(jnp.sum(room), jnp.finfo(low.dtype).tiny))
    found = lax.while_loop(unfinished, step, _Search(start, jnp.log(probabilities), infinite, infinite, none, none))
    return Averaged(found.weights, found.excess, found.excess * -jnp.expm1(-found.gap), found.rounds)
