"""A power law of a model that is trained on, as a power law from scratch: `seen_before` only moves its constants."""

from __future__ import annotations

import dataclasses

import numpy as np

from qqtjax.laws.power import PowerParams


def from_scratch(params: PowerParams, samples_seen: float, before: np.ndarray) -> PowerParams:
    """Parameters with which a run from scratch has the error that these have after earlier training.

        y = d' + A' (n / n0')^(sum_i w_i b_i),   n_T = n + n_b,  lo = max(n_b, n0),  v = e / n_b
        n0' = n lo / n_T,   d'_i = (n d_i + sum_j e_j d_j) / n_T
        log A'_i = (n log A_i + sum_j e_j log A_j) / n_T + sum_j v_j b_j log(lo_j / n0_j)

    Args:
        params: `PowerParams`, numbers or `[P]`.
        samples_seen: n.
        before: `[P]` e_i >= 0, one above 0.

    Source: `laws.power` with `seen_before`, rearranged.

    Example:
        >>> from qqtjax.laws import FittedLaw, power
        >>> from qqtjax.runs import Pools
        >>> params = PowerParams(scale=1e6, floor=0.1, utility=np.array([-0.1, -0.2]))
        >>> fitted = FittedLaw(power, params, Pools.of({"a": 1e6, "b": 1e6}))
        >>> again = dataclasses.replace(fitted, params=from_scratch(params, 3e6, np.array([5e6, 0.0])))
        >>> float(abs(fitted.predict([0.5, 0.5], 3e6, [5e6, 0]) - again.predict([0.5, 0.5], 3e6))) < 1e-15
        True
    """
    wide = np.ones(len(before))
    total = samples_seen + before.sum()
    scale, utility = np.asarray(params.scale, np.float64) * wide, np.asarray(params.utility, np.float64) * wide
    start = np.maximum(before.sum(), scale)

    def overall(values: np.ndarray) -> np.ndarray:
        return (samples_seen * values + before @ values) / total

    floor, amplitude = (np.asarray(each, np.float64) for each in (params.floor, params.amplitude))
    gained = (before / before.sum() * utility) @ np.log(start / scale)
    return dataclasses.replace(
        params,
        scale=samples_seen * start / total,
        floor=overall(floor * wide) if floor.ndim else floor,
        amplitude=np.exp(overall(np.log(amplitude) * wide) + gained),
        utility=utility,
    )
