"""The repetition-aware mixture law: saturating repeats, a floor that moves with the weights, and model size."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.capacity import capacity_ranges, log_capacity
from qqtjax.laws.continued import refuse_seen_before
from qqtjax.laws.effective_samples import effective_count, effective_samples_ranges
from qqtjax.laws.law import Law, Range
from qqtjax.laws.utility import mixed
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RepetitionAwareParams:
    """Parameters of the repetition-aware mixture law; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        scale: n0_i = 1 / tau_i up to a factor, `[P]`, samples of pool i alone at which the data term of a model of m0
            parameters is 1.
        floor: E + gamma_i, `[P]`: the mixture's is their weighted mean, E + sum_i gamma_i h_i.
        exponent: alpha > 0, of the effective samples.
        saturation: r_1, epochs, shared by all pools unless asked for: what all repeats are worth at most.
        model_scale: m0, parameters at which the model's term is 1.
        model_exponent: beta > 0, of the model's own term.
        model_growth: delta: how the data term grows with the size of the model.
    """

    scale: ArrayLike
    floor: ArrayLike
    exponent: ArrayLike
    saturation: ArrayLike
    model_scale: ArrayLike
    model_exponent: ArrayLike
    model_growth: ArrayLike


def repetition_aware_law(params: RepetitionAwareParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error of a mixture with scarce pools, for a model of M parameters.

        L = E + C / M^beta + B M^delta / D_eff^alpha + sum_i gamma_i h_i,
        D_eff = sum_i tau_i h_i D r_eff(r_i) / r_i,
        r_eff(r) = r up to r = 1,   1 + r_1 (1 - exp(-(r - 1) / r_1)) beyond,   r_i = D h_i / U_i

    with h the weights and D the samples seen.

    Source: Sedova et al., "Scaling Laws for Mixture Pretraining Under Data Constraints", arXiv 2605.12715, in the
    reading of a third party's code for several pools (marin): the paper has one scarce pool in a generic one.

    Args:
        params: see `RepetitionAwareParams`.
        run: one run with `model_size`; an infinite size means samples that never repeat.
        max_epochs: not needed; here for the common signature.

    Returns:
        `[]` error; `inf` at zero samples seen.

    Raises:
        InputError: no `model_size`, or `seen_before`.

    Example:
        >>> p = RepetitionAwareParams(scale=np.array([1e9]), floor=1.5, exponent=0.5, saturation=1e9,
        ...                           model_scale=1e6, model_exponent=0.5, model_growth=0.5)
        >>> r = Run(weights=np.array([1.0]), sizes=np.array([1e10]), samples_seen=1e11, model_size=1e8)
        >>> round(float(repetition_aware_law(p, r)), 4)
        2.6
    """
    refuse_seen_before("repetition_aware", run)
    log_data = jnp.log(effective_count(params.scale, params.saturation, run))
    log_size = log_capacity("repetition_aware", run, params.model_scale)
    of_model = jnp.exp(-jnp.asarray(params.model_exponent) * log_size)
    of_data = jnp.exp(jnp.asarray(params.model_growth) * log_size - jnp.asarray(params.exponent) * log_data)
    return mixed(params.floor, run.weights) + of_model + of_data


def repetition_aware_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    return {
        **effective_samples_ranges(runs),
        **capacity_ranges(runs),
        "model_growth": Range(-1.0, 2.0, -0.1, 0.3),
    }


def repetition_aware_convex(params: RepetitionAwareParams) -> bool:
    """Is the error convex in the weights: D_eff is concave in them, a negative power of it convex, the floor linear."""
    return all(bool(np.all(np.asarray(each) > 0)) for each in (params.scale, params.exponent, params.saturation))


repetition_aware = Law(
    name="repetition_aware",
    function=repetition_aware_law,
    params=RepetitionAwareParams,
    ranges=repetition_aware_ranges,
    per_pool=("scale", "floor"),
    scans=lambda params: False,
    convex=repetition_aware_convex,
    symbols={
        "scale": "n0",
        "floor": "E + gamma",
        "exponent": "alpha",
        "saturation": "r_1",
        "model_scale": "m0",
        "model_exponent": "beta",
        "model_growth": "delta",
    },
    needs=("model_size", "samples_seen"),
)
