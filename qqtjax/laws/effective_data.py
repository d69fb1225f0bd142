"""The paper's other law: repeats count as fewer and fewer effective samples of one power law."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from qqtjax.laws.continued import refuse_seen_before
from qqtjax.laws.law import Law
from qqtjax.laws.repetition import bucket_for, count_epochs, decay, decay_rate, real
from qqtjax.laws.utility import SYMBOLS, UtilityParams, fresh_exponent, mixed, utility_ranges
from qqtjax.runs import Run


class _State(NamedTuple):
    """Carried from one epoch boundary of some pool to the next."""

    seen: Array  # samples seen so far
    effective: Array  # n_eff so far, samples
    gained: Array  # log(y - d) gained since the first boundary
    epochs: Array  # [P] epochs that each pool has finished


def effective_data_law(params: UtilityParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error when a repeated sample counts as delta_i^k of a fresh one.

        d log(y - d) = sum_i w_i b_i D_i(k_i) ds / n_eff,     d n_eff = sum_i w_i D_i(k_i) ds,

    with n_eff = s and y - d = A0 (s / n0)^(sum_i w_i b_i) until the first epoch of any pool ends. Between two
    boundaries both right-hand sides are constant, so each `lax.scan` step is exact and ends at the next boundary.

    Source: arXiv 2404.07177, the effective-data formulation; for equal pools sampled uniformly it is the released
    aggregation b_e = sum_i b_i delta_ie / sum_i delta_ie. General weights are our derivation.

    Args:
        params: see `UtilityParams`.
        run: one run.
        max_epochs: static: the most epochs of any pool; beyond it the result is NaN. Needed only when traced.

    Returns:
        `[]` error; `inf` at zero samples seen.

    Raises:
        MaxEpochsError: traced without `max_epochs`.
        InputError: the run has `seen_before`, which this law does not know.

    Example:
        >>> import numpy as np
        >>> p = UtilityParams(scale=1e5 / 0.022, floor=0.1, utility=np.array([-2.005 / 11]),
        ...                   half_life=np.array([4.0]), reference_size=np.array([12.8e6]))
        >>> r = Run(weights=np.array([1.0]), sizes=np.array([12.8e6]), samples_seen=128e6)
        >>> round(float(effective_data_law(p, r)), 4)
        0.7137
    """
    refuse_seen_before("effective_data", run)
    if max_epochs is None:
        max_epochs = bucket_for(run.samples_seen, run.weights, run.sizes)
    weights, total = jnp.asarray(run.weights), jnp.asarray(real(run.samples_seen))
    whole = count_epochs(total, weights, run.sizes).whole
    rate = decay_rate(params.half_life, params.dilution, weights, run.sizes, params.reference_size)
    sizes = jnp.asarray(real(run.sizes))
    drawn = (weights > 0) & jnp.isfinite(sizes)
    # Samples seen by the whole run during one epoch of each pool.
    length = jnp.where(drawn, sizes, 1.0) / jnp.where(drawn, weights, 1.0)

    def next_boundary(epochs: Array) -> tuple[Array, Array]:
        ahead = jnp.where(epochs < whole, (epochs + 1) * length, jnp.inf)
        pool = jnp.argmin(ahead)
        finished = jnp.isinf(ahead[pool])
        return jnp.where(finished, total, ahead[pool]), epochs.at[pool].add(jnp.where(finished, 0.0, 1.0))

    def step(state: _State, _: None) -> tuple[_State, None]:
        worth = weights * decay(state.epochs, rate, params.decay_shape)
        end, epochs = next_boundary(state.epochs)
        span = end - state.seen
        growth = jnp.sum(worth) * span / state.effective
        tiny = growth < 1e-9
        # log(1 + x) / x without 0 / 0 when every repeat is worthless.
        per_growth = jnp.where(tiny, 1 - growth / 2, jnp.log1p(growth) / jnp.where(tiny, 1.0, growth))
        gained = state.gained + jnp.sum(worth * params.utility) * span / state.effective * per_growth
        return _State(end, state.effective + jnp.sum(worth) * span, gained, epochs), None

    first, epochs = next_boundary(jnp.zeros_like(whole))
    started = jnp.where(first > 0, first, 1.0)  # no samples seen: 0 / 0
    state, _ = lax.scan(step, _State(first, started, jnp.zeros_like(first), epochs), length=weights.size * max_epochs)
    start = fresh_exponent(weights * params.utility, first, params.scale)
    log_excess = mixed(jnp.log(params.amplitude), weights) + start + state.gained
    result = mixed(params.floor, weights) + jnp.exp(log_excess)
    return jnp.where(jnp.max(whole) <= max_epochs, result, jnp.nan)


effective_data = Law(
    name="effective_data",
    function=effective_data_law,
    params=UtilityParams,
    ranges=utility_ranges,
    per_pool=("utility", "half_life"),
    scans=lambda params: True,
    convex=lambda params: False,  # not proved
    symbols=SYMBOLS,
)
