"""Data Mixing Laws over budgets and model sizes: one exponential of the weights times a power of the samples."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.capacity import capacity_ranges, shortfall
from qqtjax.laws.continued import refuse_seen_before
from qqtjax.laws.law import Law, Range
from qqtjax.laws.repetition import real
from qqtjax.laws.utility import mixed, utility_ranges
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DataMixingParams:
    """Parameters of Data Mixing Laws over budgets; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        scale: n0_i, `[P]`, samples of pool i alone at which its error is 1 above the floor; t_i = beta ln n0_i.
        floor: c, the irreducible error (`[P]`: a mixture's floor is the weighted mean).
        exponent: beta > 0, of the samples seen.
        model_scale: m0, parameters at which the model's term is 1; None without one.
        model_exponent: alpha > 0 of the model's term; None without one.
    """

    scale: ArrayLike
    floor: ArrayLike
    exponent: ArrayLike
    model_scale: ArrayLike | None = None
    model_exponent: ArrayLike | None = None


def data_mixing_law(params: DataMixingParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error of a mixture at any budget, repeats as if fresh.

        y = c + n^(-beta) exp(sum_i t_i w_i) + (M / m0)^(-alpha),   t_i = beta ln n0_i

    that is (n / prod_i n0_i^(w_i))^(-beta): scales are averaged geometrically where `effective_samples` averages
    their inverses.

    Source: the exponential of Ye et al., arXiv 2403.16952, equation 7. The paper nests it with laws of steps and of
    size, c + (k / x)^alpha, fitted one after the other; this joint form in one formula is ours.

    Args:
        params: see `DataMixingParams`.
        run: one run; its sizes are not looked at.
        max_epochs: not needed; here for the common signature.

    Returns:
        `[]` error; `inf` at zero samples seen.

    Raises:
        InputError: no `model_size` although there is a model's term, or `seen_before`.

    Example:
        >>> p = DataMixingParams(scale=np.array([1e6, 4e6]), floor=1.0, exponent=0.5)
        >>> r = Run(weights=np.array([0.5, 0.5]), sizes=np.full(2, np.inf), samples_seen=8e6)
        >>> round(float(data_mixing_law(p, r)), 6)
        1.5
    """
    refuse_seen_before("data_mixing", run)
    log_scale = mixed(jnp.log(jnp.asarray(real(params.scale))), run.weights)
    excess = jnp.exp(-jnp.asarray(params.exponent) * (jnp.log(real(run.samples_seen)) - log_scale))
    of_model = shortfall("data_mixing", run, params.model_scale, params.model_exponent)
    return mixed(params.floor, run.weights) + excess + of_model


def data_mixing_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    shared = utility_ranges(runs)
    most = float(np.max(runs.samples_seen))
    return {
        "scale": shared["scale"]._replace(high=most * 1e12),
        "floor": shared["floor"],
        "exponent": Range(1e-3, 3.0, 0.1, 0.7, log=True),
        **capacity_ranges(runs),
    }


data_mixing = Law(
    name="data_mixing",
    function=data_mixing_law,
    params=DataMixingParams,
    ranges=data_mixing_ranges,
    per_pool=("scale",),
    scans=lambda params: False,
    # exp of a linear function, and a floor that is linear.
    convex=lambda params: True,
    symbols={
        "scale": "n0",
        "floor": "c",
        "exponent": "beta",
        "model_scale": "m0",
        "model_exponent": "alpha",
    },
    needs=("weights", "samples_seen"),
)
