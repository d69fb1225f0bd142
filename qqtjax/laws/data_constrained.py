"""The data-constrained law: repeats and excess parameters are both worth ever less."""

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
from qqtjax.laws.repetition import real
from qqtjax.laws.utility import mixed
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DataConstrainedParams:
    """Parameters of the data-constrained law; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        scale: n0_i = B_i^(1/beta), `[P]`, samples of pool i alone, none repeated, at which the data term is 1;
            the quality of a sample against one of the first pool is c_i = n0_1 / n0_i.
        floor: E, the irreducible error (`[P]`: a mixture's floor is the weighted mean).
        exponent: beta > 0.
        saturation: R_D*, epochs: all repeats together are worth at most R_D* epochs of fresh samples.
        model_scale: m0 = A^(1/alpha), parameters at which the model's term is 1.
        model_exponent: alpha > 0.
        model_saturation: R_N*: excess parameters together are worth at most R_N* times those that the data can use.
    """

    scale: ArrayLike
    floor: ArrayLike
    exponent: ArrayLike
    saturation: ArrayLike
    model_scale: ArrayLike
    model_exponent: ArrayLike
    model_saturation: ArrayLike


def data_constrained_law(params: DataConstrainedParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error of a model of M parameters trained on repeated samples.

        L = E + A / N'^alpha + B / D'^beta,
        D' = sum_i c_i U_i (1 + R_D* (1 - exp(-R_i / R_D*))),   R_i = max(n w_i / U_i - 1, 0),
        N' = U_N (1 + R_N* (1 - exp(-R_N / R_N*))),             R_N = M / U_N - 1,
        U_N = min(M, N_opt),   alpha A / N_opt^alpha = beta B / (sum_i c_i min(U_i, n w_i))^beta

    N_opt being the compute-optimal model for the unique samples seen; evaluated in units of the scales.

    Source: Muennighoff et al., arXiv 2305.16264, equations 5, 6 and 10, in the reading of the function printed in the
    authors' repository huggingface/datablations (one pool, c = 1). Qualities of several pools are our extension.

    Args:
        params: see `DataConstrainedParams`.
        run: one run with `model_size`; an infinite size means samples that never repeat.
        max_epochs: not needed; here for the common signature.

    Returns:
        `[]` error; `inf` at zero samples seen.

    Raises:
        InputError: no `model_size`, or `seen_before`.

    Example:
        The authors' constants for C4:

        >>> p = published_data_constrained()
        >>> r = Run(weights=np.ones(1), sizes=np.array([25e9]), samples_seen=242e9, model_size=6.34e9)
        >>> round(float(data_constrained_law(p, r)), 4)
        2.2256
    """
    refuse_seen_before("data_constrained", run)
    alpha, beta = jnp.asarray(params.model_exponent), jnp.asarray(params.exponent)
    log_data = jnp.log(effective_count(params.scale, params.saturation, run))
    drawn = jnp.asarray(real(run.samples_seen)) * run.weights
    unique = jnp.sum(jnp.minimum(drawn, real(run.sizes)) / jnp.asarray(real(params.scale)))
    log_size = log_capacity("data_constrained", run, params.model_scale)
    log_optimal = (jnp.log(alpha / beta) + beta * jnp.log(unique)) / alpha
    excess = jnp.maximum(jnp.expm1(log_size - log_optimal), 0.0)
    saturation = jnp.asarray(params.model_saturation)
    log_used = jnp.minimum(log_size, log_optimal) + jnp.log1p(-saturation * jnp.expm1(-excess / saturation))
    return mixed(params.floor, run.weights) + jnp.exp(-alpha * log_used) + jnp.exp(-beta * log_data)


def published_data_constrained() -> DataConstrainedParams:
    """The authors' constants for language models on C4, in tokens, parameters and nats; one pool.

    a = 6.255414, b = 7.3049974, e = .6254804 (logarithms of A, B, E), alpha = beta = .3526596,
    R_D* = 15.387756, R_N* = 5.309743. Source: the README of huggingface/datablations.
    """
    exponent = 0.3526596
    return DataConstrainedParams(
        scale=np.exp(np.array([7.3049974]) / exponent),
        floor=float(np.exp(0.6254804)),
        exponent=exponent,
        saturation=15.387756,
        model_scale=float(np.exp(6.255414 / exponent)),
        model_exponent=exponent,
        model_saturation=5.309743,
    )


def data_constrained_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    return {
        **effective_samples_ranges(runs),
        **capacity_ranges(runs),
        "model_saturation": Range(1e-2, 1e4, 1.0, 30.0, log=True),
    }


def data_constrained_convex(params: DataConstrainedParams) -> bool:
    """Not proved: N' rises with the unique samples, but not as a known concave function of the weights."""
    return False


data_constrained = Law(
    name="data_constrained",
    function=data_constrained_law,
    params=DataConstrainedParams,
    ranges=data_constrained_ranges,
    per_pool=("scale",),
    scans=lambda params: False,
    convex=data_constrained_convex,
    symbols={
        "scale": "n0",
        "floor": "E",
        "exponent": "beta",
        "saturation": "R_D*",
        "model_scale": "m0",
        "model_exponent": "alpha",
        "model_saturation": "R_N*",
    },
    needs=("model_size", "samples_seen", "sizes"),
)
