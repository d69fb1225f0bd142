"""The log-linear law of mixtures at one budget: each target's own Data Mixing Law."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array, tree_util
from jax.typing import ArrayLike

from qqtjax.laws.continued import refuse_seen_before
from qqtjax.laws.law import Law, Range
from qqtjax.laws.utility import mixed, utility_ranges
from qqtjax.runs import Run, Runs


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LogLinearParams:
    """Parameters of the log-linear law; P pools.

    Attributes:
        floor: c, the irreducible error (`[P]`: a mixture's floor is the weighted mean).
        amplitude: k exp(t_i), `[P]`, error above the floor of pool i alone.
    """

    floor: ArrayLike
    amplitude: ArrayLike


def log_linear_law(params: LogLinearParams, run: Run, max_epochs: int | None = None) -> Array:
    """Predicted error of a mixture, whatever the budget.

        y = c + k exp(sum_i t_i w_i) = c + prod_i amplitude_i^(w_i)

    The weights sum to 1, so that k and a shift of all t are one parameter.

    Source: Ye et al., "Data Mixing Laws", arXiv 2403.16952, equation 7, and the log-linear regression of olmix, which
    is the same function; both read in the authors' code.

    Args:
        params: see `LogLinearParams`.
        run: one run; only its weights are looked at.
        max_epochs: not needed; here for the common signature.

    Returns:
        `[]` error.

    Raises:
        InputError: `seen_before`.

    Example:
        >>> p = LogLinearParams(floor=1.0, amplitude=np.array([4.0, 1.0]))
        >>> float(log_linear_law(p, Run(weights=np.array([0.5, 0.5]), sizes=np.full(2, np.inf), samples_seen=1e6)))
        3.0
    """
    refuse_seen_before("log_linear", run)
    return mixed(params.floor, run.weights) + jnp.exp(mixed(jnp.log(jnp.asarray(params.amplitude)), run.weights))


def log_linear_ranges(runs: Runs) -> dict[str, Range]:
    """Wide bounds and starting ranges in the units of the measured runs."""
    most = float(np.max(runs.error))
    return {
        "floor": utility_ranges(runs)["floor"],
        "amplitude": Range(1e-6 * most, 1e4 * most, 0.05 * most, 2.0 * most, log=True),
    }


log_linear = Law(
    name="log_linear",
    function=log_linear_law,
    params=LogLinearParams,
    ranges=log_linear_ranges,
    per_pool=("amplitude",),
    scans=lambda params: False,
    # exp of a linear function, and a floor that is linear.
    convex=lambda params: True,
    symbols={"floor": "c", "amplitude": "k exp t"},
    needs=("weights",),
)
