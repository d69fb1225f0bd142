"""Chinchilla's law of model size and fresh samples, as a sum of exponentials of logarithms."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.capacity import capacity_ranges, log_capacity
from qqtjax.laws.continued import refuse_seen_before
from qqtjax.laws.law import Law, Range
from qqtjax.laws.repetition import real
from qqtjax.laws.utility import mixed, utility_ranges
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ChinchillaParams:
    """Parameters of Chinchilla's law; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        scale: n0_i = B_i^(1/beta), `[P]`, samples of pool i alone at which the data term is 1.
        floor: E, the irreducible error (`[P]`: a mixture's floor is the weighted mean).
        exponent: beta > 0.
        model_scale: m0 = A^(1/alpha), parameters at which the model's term is 1.
        model_exponent: alpha > 0.
        coupling: gamma; 1 is the paper, where both terms add.
    """

    scale: ArrayLike
    floor: ArrayLike
    exponent: ArrayLike
    model_scale: ArrayLike
    model_exponent: ArrayLike
    coupling: ArrayLike = 1.0


def chinchilla_law(params: ChinchillaParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error from model size and samples seen, each sample as if fresh.

        L = E + (A / M^alpha + B / D^beta)^gamma = E + exp(gamma LSE(a - alpha ln M, b - beta ln D))

    with a = ln A = alpha ln m0, b = ln B, and D / n0 = sum_i w_i n / n0_i for a mixture. At fixed alpha and beta the
    logarithms are linear in a and b, which is why fits converge in this form.

    Source: Hoffmann et al., arXiv 2203.15556, equation 10 and section D.2 (LSE); gamma is of Busbridge et al.,
    arXiv 2502.08606. Quality of pools inside D is our extension. For the paper's robust fit give `huber` to `fit`;
    the paper's is on ln L, for which `importance = error**-2` stands in where the residuals are small.

    Args:
        params: see `ChinchillaParams`.
        run: one run with `model_size`; its sizes are not looked at.
        max_epochs: not needed; here for the common signature.

    Returns:
        `[]` error; `inf` at zero samples seen.

    Raises:
        InputError: no `model_size`, or `seen_before`.

    Example:
        >>> p = ChinchillaParams(scale=np.array([1e9]), floor=1.5, exponent=0.5, model_scale=1e6, model_exponent=0.5)
        >>> r = Run(weights=np.array([1.0]), sizes=np.array([np.inf]), samples_seen=1e11, model_size=1e8)
        >>> round(float(chinchilla_law(p, r)), 6)
        1.7
    """
    refuse_seen_before("chinchilla", run)
    counted = jnp.sum(jnp.asarray(real(run.samples_seen)) * run.weights / jnp.asarray(real(params.scale)))
    of_data = -jnp.asarray(params.exponent) * jnp.log(counted)
    of_model = -jnp.asarray(params.model_exponent) * log_capacity("chinchilla", run, params.model_scale)
    log_excess = jnp.asarray(params.coupling) * jnp.logaddexp(of_model, of_data)
    return mixed(params.floor, run.weights) + jnp.exp(log_excess)


def chinchilla_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    shared = utility_ranges(runs)
    return {
        "scale": shared["scale"],
        "floor": shared["floor"],
        "exponent": Range(1e-3, 3.0, 0.1, 0.7, log=True),
        **capacity_ranges(runs),
        "coupling": Range(0.05, 20.0, 0.5, 2.0, log=True, fitted=False, default=1.0),
    }


def chinchilla_convex(params: ChinchillaParams) -> bool:
    """Is the error convex in the weights: a negative power of a linear count is, and gamma >= 1 keeps it."""
    positive = all(bool(np.all(np.asarray(each) > 0)) for each in (params.scale, params.exponent))
    return positive and bool(np.all(np.asarray(params.coupling) >= 1))


chinchilla = Law(
    name="chinchilla",
    function=chinchilla_law,
    params=ChinchillaParams,
    ranges=chinchilla_ranges,
    per_pool=("scale",),
    scans=lambda params: False,
    convex=chinchilla_convex,
    symbols={
        "scale": "n0",
        "floor": "E",
        "exponent": "beta",
        "model_scale": "m0",
        "model_exponent": "alpha",
        "coupling": "gamma",
    },
    needs=("model_size", "samples_seen"),
)
