"""The utility law of pools that help each other: a mixture is worth more than the mean of its exponents."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.continued import refuse_seen_before
from qqtjax.laws.law import Law, Range
from qqtjax.laws.utility import SYMBOLS, UtilityParams, mixed, run_exponent, utility_convex, utility_ranges
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ComplementaryParams:
    """Parameters of the utility law with complementary pools; P pools. One number where shared, `[P]` where per pool.

    Attributes:
        scale: n0, samples: where every pool's y - d = A0.
        floor: d, the irreducible error (`[P]`: a mixture's floor is the weighted mean).
        utility: b_i < 0, `[P]`.
        half_life: tau_i > 0, `[P]`, epochs, as measured on `reference_size` samples trained alone.
        reference_size: Nref_i, `[P]`, samples; `inf` together with an infinite pool size.
        complement: sigma: two pools half and half take sigma / 4 from log(y - d), many small ones up to sigma / 2;
            below 0 pools are in each other's way.
        dilution: gamma: 1 is Theorem 1 of the utility law, 0 exposure only.
        amplitude: A0, error at n0 above the floor.
    """

    scale: ArrayLike
    floor: ArrayLike
    utility: ArrayLike
    half_life: ArrayLike
    reference_size: ArrayLike
    complement: ArrayLike
    dilution: ArrayLike = 1.0
    amplitude: ArrayLike = 1.0


def complementary_law(params: ComplementaryParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error of a mixture of pools each of which has something that the others lack.

        log(y - d) = log A0 + sum_i w_i b_i G_i(n) - sigma sum_{i<j} w_i w_j,
        sum_{i<j} w_i w_j = (1 - sum_i w_i^2) / 2

    with G_i of `laws.utility` (geometric decay). The gain is the chance that two samples come from different pools,
    the same at every budget. Pools alone are as in the utility law, and only mixtures identify sigma. Pools count as
    different by name: one pool split in two identical halves would gain, unlike in the utility law.

    Source: ours; the utility law is that of arXiv 2404.07177, which has no such term.

    Args:
        params: see `ComplementaryParams`.
        run: one run.
        max_epochs: as `laws.utility`: by the scan of this length; None: the closed form.

    Returns:
        `[]` error; `inf` at zero samples seen.

    Raises:
        InputError: `seen_before`.

    Example:
        >>> p = ComplementaryParams(scale=4e6, floor=0.1, utility=np.full(2, -0.16), half_life=np.full(2, 5.0),
        ...                         reference_size=np.full(2, 1e6), complement=0.2)
        >>> alone, both = (Run(weights=np.array(w), sizes=np.full(2, 1e7), samples_seen=8e6)
        ...                for w in ([1.0, 0.0], [0.5, 0.5]))
        >>> [round(float(complementary_law(p, each)), 4) for each in (alone, both)]
        [0.995, 0.9514]
    """
    refuse_seen_before("complementary", run)
    weights = jnp.asarray(run.weights)
    # As a sum of products w_i (1 - w_i), which loses no digits where one pool has almost everything.
    differing = 0.5 * jnp.sum(weights * (1 - weights))
    log_amplitude = mixed(jnp.log(jnp.asarray(params.amplitude)), weights)
    exponent = run_exponent(_utility(params), run, max_epochs)
    return mixed(params.floor, weights) + jnp.exp(log_amplitude + exponent - jnp.asarray(params.complement) * differing)


def _utility(params: ComplementaryParams) -> UtilityParams:
    given = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    del given["complement"]
    return UtilityParams(**given)


def complementary_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    shared = utility_ranges(runs)
    names = ("scale", "floor", "utility", "half_life", "dilution", "amplitude")
    mixtures = bool(np.any(np.sum(runs.weights > 0, axis=1) > 1))
    return {
        **{name: shared[name] for name in names},
        "complement": Range(-5.0, 5.0, -0.1, 0.5, fitted=mixtures, default=0.0),
    }


def complementary_convex(params: ComplementaryParams) -> bool:
    """Is the error proved convex in the weights: as the utility law's, if sigma >= 0, for |w|^2 is convex."""
    return utility_convex(_utility(params)) and bool(np.all(np.asarray(params.complement) >= 0))


complementary = Law(
    name="complementary",
    function=complementary_law,
    params=ComplementaryParams,
    ranges=complementary_ranges,
    per_pool=("utility", "half_life"),
    scans=lambda params: False,
    convex=complementary_convex,
    symbols={
        **{name: SYMBOLS[name] for name in ("scale", "floor", "utility", "half_life", "reference_size")},
        "complement": "sigma",
        "dilution": "gamma",
        "amplitude": "A0",
    },
    needs=("weights", "samples_seen"),
)
