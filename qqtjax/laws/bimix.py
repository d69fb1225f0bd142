"""BiMix: a power of each pool's share times a power of the samples seen."""

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
class BiMixParams:
    """Parameters of BiMix; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        start: F_0, error of a mixture that draws from none of the pools that help, after endless training.
        benefit: F_i w0^(-alpha_i), `[P]`, error that an endless share of pool i would take away.
        curvature: alpha_i > 0, `[P]`.
        scale: n0, samples at which the error is twice its limit: B / n0^beta = C.
        exponent: beta > 0.
        least_share: w0, added to each share: the paper's power diverges at a share of 0.
    """

    start: ArrayLike
    benefit: ArrayLike
    curvature: ArrayLike
    scale: ArrayLike
    exponent: ArrayLike
    least_share: ArrayLike = 1e-2


def bimix_law(params: BiMixParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error of a target that several pools serve.

        y = (sum_i F_i (w_i + w0)^(-alpha_i)) (B / n^beta + C)
          = (F_0 - sum_i F_i (w0^(-alpha_i) - (w_i + w0)^(-alpha_i))) ((n / n0)^(-beta) + 1)

    The second line, evaluated here, counts the pools' sum at weight 0 in F_0, so that a pool of weight 0 does not
    matter; F_0 is free where the paper's would be that sum.

    Source: Ge et al., "BiMix", arXiv 2405.14908: L_i = (A_i / w_i^alpha_i) (B_i / n^beta_i + C_i) for the loss on pool
    i itself, from memory (its five coefficients a domain agree). The sum over pools for other targets is the form in
    olmix' code; w0 is ours.

    Args:
        params: see `BiMixParams`.
        run: one run; its sizes are not looked at.
        max_epochs: not needed; here for the common signature.

    Returns:
        `[]` error; `inf` at zero samples seen.

    Raises:
        InputError: `seen_before`.

    Example:
        >>> p = BiMixParams(start=3.0, benefit=np.array([2.0]), curvature=np.array([0.5]), scale=1e6, exponent=0.5,
        ...                 least_share=1 / 3)
        >>> r = Run(weights=np.array([1.0]), sizes=np.array([np.inf]), samples_seen=4e6)
        >>> round(float(bimix_law(p, r)), 6)
        3.0
    """
    refuse_seen_before("bimix", run)
    grown = jnp.log1p(jnp.asarray(run.weights) / jnp.asarray(params.least_share))
    helped = -jnp.expm1(-jnp.asarray(params.curvature) * grown)
    of_mixture = jnp.asarray(params.start) - jnp.sum(jnp.asarray(params.benefit) * helped)
    log_count = jnp.log(jnp.asarray(real(run.samples_seen)) / jnp.asarray(real(params.scale)))
    return of_mixture * (1 + jnp.exp(-jnp.asarray(params.exponent) * log_count))


def bimix_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    least, most = float(np.min(runs.error)), float(np.max(runs.error))
    first, last = float(np.min(runs.samples_seen)), float(np.max(runs.samples_seen))
    return {
        "start": Range(1e-3 * least, 1e2 * most, 0.5 * most, 2 * most),
        "benefit": Range(1e-9 * most, 1e2 * most, 0.02 * most, 0.5 * most, log=True),
        "curvature": Range(1e-3, 3.0, 0.05, 0.7, log=True),
        "scale": Range(first * 1e-12, last * 1e3, first * 1e-3, last * 0.1, log=True),
        "exponent": Range(1e-3, 3.0, 0.1, 0.7, log=True),
        "least_share": Range(1e-6, 10.0, 1e-3, 0.3, log=True, fitted=False, default=1e-2),
    }


bimix = Law(
    name="bimix",
    function=bimix_law,
    params=BiMixParams,
    ranges=bimix_ranges,
    per_pool=("benefit", "curvature"),
    scans=lambda params: False,
    # A falling power of the shifted share is convex, and a sum of them times a positive number.
    convex=lambda params: True,
    symbols={
        "start": "F_0",
        "benefit": "F",
        "curvature": "alpha",
        "scale": "n0",
        "exponent": "beta",
        "least_share": "w0",
    },
    needs=("weights", "samples_seen"),
)
