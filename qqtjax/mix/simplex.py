"""The best continuous mix by projected subgradients on the simplex: local, without a certificate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from optax import projections

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw
from qqtjax.laws.law import Law
from qqtjax.laws.repetition import bucket_for
from qqtjax.mix.predict import errors_of
from qqtjax.runs import Run

LOCAL = "local, no certificate"
STEPS, SCAN_STEPS = 1200, 300
FIRST_STEP, LAST_STEP = 0.3, 1e-7
RANDOM_STARTS = 4
BUDGETS = 4  # in one call of the compiled program, whatever their number
# Laws that scan: pools times scanned epochs. Up to the first the whole search, up to the second a shorter one, one
# budget at a time, beyond it none: what it takes grows with them.
WHOLE_SEARCH, SHORT_SEARCH, SHORT_STEPS = 512, 2048, 100
# A weight below this is dropped, and a filter is kept, when the error does not tell them apart.
NEGLIGIBLE_WEIGHT, NEGLIGIBLE_ERROR = 1e-4, 1e-9


class Mixes(NamedTuple):
    """The best mix found at each budget.

    Attributes:
        weights: `[B, P]`, each row sums to 1.
        error: `[B]` predicted errors.
        certificate: what is known about how good they are.
        searched: `[B]` bool: False where a law that scans goes through too many epochs to search, so that the
            row is the best of the starts.
    """

    weights: np.ndarray
    error: np.ndarray
    certificate: str
    searched: np.ndarray


def optimize_mixes(
    fitted: FittedLaw,
    budgets: Sequence[float] | np.ndarray,
    *,
    starts: ArrayLike | None = None,
    seed: int = 0,
) -> Mixes:
    """Weights w on the simplex that minimise the predicted error y(w, n) at each budget n.

        w <- project(w - eta_t g / |g|),   g = dy/dw along the simplex,   eta_t from 0.3 to 1e-7, geometric

    The best iterate of the best start is kept, so the result is never worse than a start. Budgets and starts are one
    vmapped jit; other budgets, or another number of them, do not compile anew. The error is piecewise smooth with
    kinks at whole epochs; for `laws.utility` with b < 0 and dilution in [0, 1] and for `laws.effective_samples` it is
    convex in w, for other laws the result is a local optimum. Nothing certifies it. A law that scans is searched with
    300 instead of 1,200 steps; where pools times epochs (the most that the smallest pool alone would go through, up
    to a power of two) exceed 512, with 100; where they exceed 2,048 the best start is returned instead.

    Args:
        fitted: the law.
        budgets: `[B]` samples seen.
        starts: `[S, P]` weights to start from, beside uniform, each pool alone and random ones.
        seed: of the random starts.

    Raises:
        InputError: a budget that is not a positive number.

    Example:
        >>> import numpy as np
        >>> from qqtjax.laws import FittedLaw, UtilityParams, utility
        >>> from qqtjax.runs import Pools
        >>> params = UtilityParams(scale=4e6, floor=0.1, utility=np.array([-0.16, -0.125]),
        ...                        half_life=np.array([6.73, 8.55]), reference_size=np.full(2, 12.8e6))
        >>> fitted = FittedLaw(utility, params, Pools.of({"top10": 12.8e6, "top20": 12.8e6}))
        >>> optimize_mixes(fitted, [64e6]).weights.round(2).tolist()
        [[0.8, 0.2]]
    """
    seen = np.atleast_1d(np.asarray(budgets, np.float64))
    if not np.all(np.isfinite(seen)) or not np.all(seen > 0):
        raise InputError(f"budgets {seen.tolist()}: expected positive numbers of samples")
    count, width = len(seen), len(fitted.pools)
    given = np.zeros((0, width)) if starts is None else np.asarray(starts, np.float64).reshape(-1, width)
    drawn = np.random.default_rng(seed).dirichlet(np.ones(width), RANDOM_STARTS)
    begin = np.concatenate([given, np.full((1, width), 1 / width), np.eye(width), drawn])
    scans = fitted.law.scans(fitted.params)
    work = np.array([width * bucket_for(each, np.ones(width), fitted.pools.sizes) for each in seen])
    searched = (not scans) | (work <= SHORT_SEARCH)
    whole = (not scans) | (work <= WHOLE_SEARCH)
    weights = np.empty((count, width))
    weights[whole] = _search(fitted, seen[whole], begin, SCAN_STEPS if scans else STEPS, BUDGETS)
    weights[searched & ~whole] = _search(fitted, seen[searched & ~whole], begin, SHORT_STEPS, 1)
    for place in np.flatnonzero(~searched):
        errors = errors_of(fitted, begin, np.full(len(begin), seen[place]))
        weights[place] = begin[np.argmin(errors)]
    return _tidied(fitted, seen, weights, given, searched)


def _search(fitted: FittedLaw, budgets: np.ndarray, begin: np.ndarray, steps: int, at_once: int) -> np.ndarray:
    """`[B, P]` weights found from the starts `begin`, so many budgets in one call."""
    count, width = len(budgets), len(fitted.pools)
    if not count:
        return np.zeros((0, width))
    # Few shapes, so that few programs are compiled.
    begin = np.pad(begin, [(0, -len(begin) % 8), (0, 0)], mode="edge")
    padded = np.pad(budgets, (0, -count % at_once), mode="edge").reshape(-1, at_once)
    with jax.enable_x64(True):
        scans = fitted.law.scans(fitted.params)
        length = bucket_for(budgets.max(), np.ones(width), fitted.pools.sizes) if scans else None
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), fitted.params)
        sizes = jnp.asarray(fitted.pools.sizes, jnp.float64)
        found = [
            np.asarray(_descend(fitted.law, params, sizes, jnp.asarray(few), jnp.asarray(begin), length, steps))
            for few in padded
        ]
    return np.concatenate(found)[:count]


@partial(jax.jit, static_argnums=(0, 5, 6))
def _descend(
    law: Law, params: Any, sizes: Array, budgets: Array, starts: Array, max_epochs: int | None, steps: int
) -> Array:
    """`[B, P]` best weights over all starts `[S, P]`."""

    def best_from(budget: Array, start: Array) -> tuple[Array, Array]:
        def error(weights: Array) -> Array:
            return law(params, Run(weights=weights, sizes=sizes, samples_seen=budget), max_epochs)

        def step(t: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            weights, best, least = state
            value, slope = jax.value_and_grad(error)(weights)
            better = value < least
            best, least = jnp.where(better, weights, best), jnp.where(better, value, least)
            along = jnp.nan_to_num(slope - jnp.mean(slope))
            length = jnp.linalg.norm(along)
            size = FIRST_STEP * (LAST_STEP / FIRST_STEP) ** (t / steps)
            moved = weights - size * along / jnp.where(length > 0, length, 1.0)
            return projections.projection_simplex(moved), best, least

        _, best, least = lax.fori_loop(0, steps, step, (start, start, jnp.asarray(jnp.inf, start.dtype)))
        return best, least

    over_starts = jax.vmap(best_from, in_axes=(None, 0))
    weights, errors = jax.vmap(over_starts, in_axes=(0, None))(budgets, starts)
    return jnp.take_along_axis(weights, jnp.argmin(errors, axis=1)[:, None, None], axis=1)[:, 0]


def _tidied(
    fitted: FittedLaw, budgets: np.ndarray, weights: np.ndarray, starts: np.ndarray, searched: np.ndarray
) -> Mixes:
    """Without negligible weights, and a given start instead wherever it is as good."""
    kept = np.where(weights < NEGLIGIBLE_WEIGHT, 0.0, weights)
    options = np.stack([kept, weights], axis=1)
    if len(starts):
        given = np.broadcast_to(starts, (len(budgets), *starts.shape))
        options = np.concatenate([given, options], axis=1)
    options = options / options.sum(-1, keepdims=True)
    count, choices, width = options.shape
    errors = errors_of(fitted, options.reshape(-1, width), np.repeat(budgets, choices))
    errors = errors.reshape(count, choices)
    # The first option within a hair of the best: starts before the thinned mix before the mix.
    chosen = np.argmax(errors <= errors.min(1, keepdims=True) + NEGLIGIBLE_ERROR, axis=1)
    rows = np.arange(count)
    return Mixes(options[rows, chosen], errors[rows, chosen], LOCAL, searched)
