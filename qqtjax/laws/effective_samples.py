"""Effective samples: repeats add ever fewer samples, up to a limit per pool, to one power law of their sum."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.continued import overall_weights
from qqtjax.laws.law import Law, Range
from qqtjax.laws.repetition import real
from qqtjax.laws.utility import mixed, utility_ranges
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EffectiveSamplesParams:
    """Parameters of the effective-samples law; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        scale: n0_i, `[P]`, samples of pool i alone, none repeated, at which y - d = 1. The quality of a sample
            against one of the first pool is c_i = n0_1 / n0_i, and A = n0_1^beta.
        floor: d, the irreducible error (`[P]`: a mixture's floor is the weighted mean).
        exponent: beta > 0.
        saturation: R_i*, `[P]`, epochs: all repeats together are worth at most R_i* epochs of fresh samples.
    """

    scale: ArrayLike
    floor: ArrayLike
    exponent: ArrayLike
    saturation: ArrayLike


def effective_count(scale: ArrayLike, saturation: ArrayLike, run: Run) -> Array:
    """sum_i U_i h_i(k_i) / n0_i, `[]`: all samples in units of a pool's scale, repeats counted for what they are worth.

    Symbols and source as in `effective_samples_law`.

    Args:
        scale: n0_i, `[P]` or shared, samples.
        saturation: R_i*, `[P]` or shared, epochs.
        run: one run.
    """
    sizes = jnp.asarray(real(run.sizes))
    unknown = jnp.isinf(sizes)
    known = jnp.where(unknown, 1.0, sizes)
    drawn, scale = jnp.asarray(real(run.samples_seen)) * run.weights, jnp.asarray(real(scale))
    if run.seen_before is not None:
        drawn = drawn + real(run.seen_before)
    epochs = jnp.where(unknown, 0.0, drawn / known)
    repeats = jnp.maximum(epochs - 1, 0.0)
    saturation = jnp.asarray(saturation)
    worth = jnp.minimum(epochs, 1.0) - saturation * jnp.expm1(-repeats / saturation)
    return jnp.sum(jnp.where(unknown, drawn / scale, known / scale * worth))


def effective_samples_law(params: EffectiveSamplesParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error when the worth of a pool's repeats saturates, and pools add up.

        y = d + A D'^(-beta),    D' = sum_i c_i U_i h_i(k_i),    k_i = n w_i / U_i,
        h_i(k) = k up to k = 1,  1 + R_i* (1 - exp(-(k - 1) / R_i*)) beyond,

    evaluated as y = d + (sum_i U_i h_i / n0_i)^(-beta), since A and the c_i are identified only together. h has
    no kink: its slope is 1 on both sides of k = 1, and so is the derivative returned there. For a model that is
    trained on, exposures add: k_i = (e_i + n w_i) / U_i with e_i = `seen_before_i`, and a floor per pool is averaged
    over all samples.

    Source: the repetition part of Muennighoff et al., "Scaling Data-Constrained Language Models", arXiv 2305.16264
    (one pool, c = 1); quality and saturation per pool, and earlier training, are our extension.

    Args:
        params: see `EffectiveSamplesParams`.
        run: one run; an infinite size means samples that never repeat.
        max_epochs: not needed; here for the common signature.

    Returns:
        `[]` error in the unit of the measured metric; `inf` at zero samples seen.

    Example:
        >>> import numpy as np
        >>> p = EffectiveSamplesParams(scale=np.array([1e6]), floor=0.1, exponent=0.5, saturation=np.array([1e6]))
        >>> r = Run(weights=np.array([1.0]), sizes=np.array([1e6]), samples_seen=4e6)
        >>> round(float(effective_samples_law(p, r)), 4)
        0.6
    """
    effective = effective_count(params.scale, params.saturation, run)
    excess = jnp.exp(-jnp.asarray(params.exponent) * jnp.log(effective))
    return mixed(params.floor, overall_weights(run)) + excess


def effective_samples_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    shared = utility_ranges(runs)
    return {
        "scale": shared["scale"],
        "floor": shared["floor"],
        "exponent": Range(1e-4, 2.0, 0.02, 0.5, log=True),
        "saturation": shared["half_life"],
    }


def effective_samples_convex(params: EffectiveSamplesParams) -> bool:
    """Is the error convex in the weights: D' is concave in them, and a negative power of it falls, convex."""
    return all(bool(np.all(np.asarray(each) > 0)) for each in (params.scale, params.exponent, params.saturation))


effective_samples = Law(
    name="effective_samples",
    function=effective_samples_law,
    params=EffectiveSamplesParams,
    ranges=effective_samples_ranges,
    per_pool=("scale", "saturation"),
    scans=lambda params: False,
    convex=effective_samples_convex,
    symbols={"scale": "n0", "floor": "d", "exponent": "beta", "saturation": "R*"},
)
