"""AutoScale: each pool's samples add to a stock that it starts with."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.continued import refuse_seen_before
from qqtjax.laws.law import Law, Range
from qqtjax.laws.repetition import real
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AutoScaleParams:
    """Parameters of AutoScale; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        start: L_inf + sum_i N0_i^(-gamma_i), error with no samples.
        scale: N0_i, `[P]`, samples that the other pools are worth to what pool i teaches.
        exponent: gamma_i > 0, `[P]`.
    """

    start: ArrayLike
    scale: ArrayLike
    exponent: ArrayLike


def autoscale_law(params: AutoScaleParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error when every pool teaches something of its own.

        y = L_inf + sum_i (N0_i + n w_i)^(-gamma_i) = start - sum_i (N0_i^(-gamma_i) - (N0_i + n w_i)^(-gamma_i))

    repeats as if fresh. The second form, evaluated here, counts the pools' sum without samples in `start`, so that a
    pool of weight 0 does not matter; the bound L_inf >= 0 is not enforced.

    Source: Kang et al., "AutoScale", arXiv 2407.20177, in the reading of olmix' code for targets other than the pools.

    Args:
        params: see `AutoScaleParams`.
        run: one run; its sizes are not looked at.
        max_epochs: not needed; here for the common signature.

    Returns:
        `[]` error.

    Raises:
        InputError: `seen_before`.

    Example:
        >>> p = AutoScaleParams(start=2.0, scale=np.array([4.0]), exponent=np.array([0.5]))
        >>> r = Run(weights=np.array([1.0]), sizes=np.array([np.inf]), samples_seen=12.0)
        >>> round(float(autoscale_law(p, r)), 6)
        1.75
    """
    refuse_seen_before("autoscale", run)
    scale, exponent = jnp.asarray(real(params.scale)), jnp.asarray(params.exponent)
    grown = jnp.log1p(jnp.asarray(real(run.samples_seen)) * run.weights / scale)
    gained = jnp.exp(-exponent * jnp.log(scale)) * jnp.expm1(-exponent * grown)
    return jnp.asarray(params.start) + jnp.sum(gained)


def autoscale_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    worst, most = float(np.max(runs.error)), float(np.max(runs.samples_seen))
    return {
        "start": Range(1e-3 * worst, 1e2 * worst, 0.7 * worst, 2 * worst),
        "scale": Range(1e-9 * most, 1e4 * most, 1e-4 * most, most, log=True),
        "exponent": Range(1e-3, 3.0, 0.02, 0.3, log=True),
    }


autoscale = Law(
    name="autoscale",
    function=autoscale_law,
    params=AutoScaleParams,
    ranges=autoscale_ranges,
    per_pool=("scale", "exponent"),
    scans=lambda params: False,
    # A sum of falling powers of linear functions.
    convex=lambda params: True,
    symbols={"start": "L_0", "scale": "N0", "exponent": "gamma"},
    needs=("weights",),
)
