"""InfoLaw: the error is a power of the information gathered, of which a repeated pool has only so much."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.capacity import model_size_of
from qqtjax.laws.continued import refuse_seen_before
from qqtjax.laws.law import Law, Range
from qqtjax.laws.repetition import real
from qqtjax.laws.utility import utility_ranges
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class InfoLawParams:
    """Parameters of InfoLaw; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        scale: `[P]`, alpha^(1/beta) / f_i: the information at which the error is 1, over the quality f_i of the pool.
        exponent: beta > 0.
        rate: b: what of lambda does not depend on the model.
        rate_growth: a of lambda(M) = a ln M + b; None: lambda = b, and the model's size is not asked for.
    """

    scale: ArrayLike
    exponent: ArrayLike
    rate: ArrayLike
    rate_growth: ArrayLike | None = None


def infolaw_law(params: InfoLawParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error from the information in the samples seen.

        L = alpha info^(-beta),   info = sum_i f_i U_i ln K (1 - exp(-lambda(M) R_i / ln K)),
        lambda(M) = a ln M + b,   R_i = n w_i / U_i,   K = n

    with U_i the unique samples of a pool, R_i its epochs and K all samples seen (taken as e at least). There is no
    floor. As U -> inf a pool gives f_i lambda n w_i.

    Source: Zhou et al., "InfoLaw", arXiv 2605.02364, as told by a note on the paper (its f_d = exp(-theta d) of the
    d-th quality bucket is one free number a pool here); whether K counts all tokens or those of the pool was not
    confirmed.

    Args:
        params: see `InfoLawParams`.
        run: one run; an infinite size means samples that never repeat.
        max_epochs: not needed; here for the common signature.

    Returns:
        `[]` error; `inf` at zero samples seen.

    Raises:
        InputError: no `model_size` although `rate_growth` is set, or `seen_before`.

    Example:
        >>> p = InfoLawParams(scale=np.array([1e9]), exponent=0.5, rate=1.0)
        >>> r = Run(weights=np.array([1.0]), sizes=np.array([np.inf]), samples_seen=4e9)
        >>> round(float(infolaw_law(p, r)), 6)
        0.5
    """
    refuse_seen_before("infolaw", run)
    rate = jnp.asarray(params.rate)
    if params.rate_growth is not None:
        rate = rate + jnp.asarray(params.rate_growth) * jnp.log(model_size_of("infolaw", run))
    seen, sizes = jnp.asarray(real(run.samples_seen)), jnp.asarray(real(run.sizes))
    unknown = jnp.isinf(sizes)
    known = jnp.where(unknown, 1.0, sizes)
    drawn, log_seen = seen * run.weights, jnp.log(jnp.maximum(seen, np.e))
    learnt = -known * log_seen * jnp.expm1(-rate * drawn / known / log_seen)
    information = jnp.sum(jnp.where(unknown, rate * drawn, learnt) / jnp.asarray(real(params.scale)))
    return jnp.exp(-jnp.asarray(params.exponent) * jnp.log(information))


def published_infolaw(buckets: int) -> InfoLawParams:
    """The constants of the paper for quality buckets 1 .. `buckets`, best first, in tokens, parameters and nats.

    theta = .922, a = .140, b = .018, alpha = 3.7373, beta = .0441. Source: as for `infolaw_law`.

    Example:
        >>> published_infolaw(3).scale.shape
        (3,)
    """
    quality = np.exp(-0.922 * np.arange(1, buckets + 1))
    return InfoLawParams(scale=3.7373 ** (1 / 0.0441) / quality, exponent=0.0441, rate=0.018, rate_growth=0.140)


def infolaw_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    least, most = float(np.min(runs.samples_seen)), float(np.max(runs.samples_seen))
    varies = runs.model_size is not None and len(np.unique(runs.model_size)) > 1
    # Without a floor the error is a power of all samples: the scale lies where that power reaches 1.
    ceiling = utility_ranges(runs)["floor"].high
    far = 1e12 if ceiling > 1 else 1e6
    return {
        "scale": Range(least * 1e-12, most * 1e24, least * 1e-3, most * far, log=True),
        "exponent": Range(1e-3, 3.0, 0.02, 0.5, log=True),
        "rate": Range(1e-4, 1e3, 0.1, 3.0, log=True),
        "rate_growth": Range(1e-4, 1e2, 0.01, 0.5, log=True, fitted=varies),
    }


def infolaw_convex(params: InfoLawParams) -> bool:
    """Is the error convex in the weights: information is concave in them, a negative power of it convex."""
    return all(bool(np.all(np.asarray(each) > 0)) for each in (params.scale, params.exponent, params.rate))


infolaw = Law(
    name="infolaw",
    function=infolaw_law,
    params=InfoLawParams,
    ranges=infolaw_ranges,
    per_pool=("scale",),
    scans=lambda params: False,
    convex=infolaw_convex,
    symbols={"scale": "n0", "exponent": "beta", "rate": "b", "rate_growth": "a"},
    needs=("samples_seen", "sizes"),
)
