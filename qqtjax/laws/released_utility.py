"""What the code released with the paper computes as its utility law: the floor sinks with every epoch."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from qqtjax.laws.continued import refuse_seen_before
from qqtjax.laws.law import Law
from qqtjax.laws.repetition import count_epochs
from qqtjax.laws.utility import SYMBOLS, UtilityParams, fresh_exponent, lost_exponents, mixed, utility_ranges
from qqtjax.runs import Run


def released_utility_law(params: UtilityParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error as the released code has it: the floor is multiplied by the repetition product.

        y = (d + A0 exp(sum_i w_i b_i log m_i)) exp(sum_i w_i b_i (G_i - log m_i)),  m_i = min(n, N_i / w_i) / n0

    Source: the functions `func_effective_utility` and its aggregation, released with arXiv 2404.07177; the
    extension to general weights is ours. Use it for constants that were fitted with that code; it equals
    `utility` at floor 0. Not to be used for new fits.

    Args:
        params: see `UtilityParams`; `floor` sinks here.
        run: one run.
        max_epochs: as in `utility`.

    Returns:
        `[]` error.

    Raises:
        MaxEpochsError: as in `utility`.
        InputError: the run has `seen_before`, which this law does not know.

    Example:
        >>> import numpy as np
        >>> p = UtilityParams(scale=4e6, floor=0.1, utility=np.array([-0.16]), half_life=np.array([6.7272727]),
        ...                   reference_size=np.array([12.8e6]))
        >>> r = Run(weights=np.array([1.0]), sizes=np.array([12.8e6]), samples_seen=128e6)
        >>> round(float(released_utility_law(p, r)), 4)
        0.7127
    """
    refuse_seen_before("released_utility", run)
    weights = jnp.asarray(run.weights)
    lost = lost_exponents(params, run, max_epochs)
    epochs = count_epochs(run.samples_seen, weights, run.sizes)
    # log m_i is log(n / n0) less the log of the epochs that are over.
    slopes = weights * params.utility
    first = fresh_exponent(slopes, run.samples_seen, params.scale) - jnp.sum(slopes * epochs.log_epochs)
    start = jnp.exp(mixed(jnp.log(params.amplitude), weights) + first)
    return (mixed(params.floor, weights) + start) * jnp.exp(jnp.sum(slopes * (epochs.log_epochs - lost)))


released_utility = Law(
    name="released_utility",
    function=released_utility_law,
    params=UtilityParams,
    ranges=utility_ranges,
    per_pool=("utility", "half_life"),
    scans=lambda params: params.decay_shape is not None,
    convex=lambda params: False,  # not proved
    symbols=SYMBOLS,
)
