"""What a law is: a pure function with its parameter type, bounds and starting ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from qqtjax.runs import Run, Runs


class Range(NamedTuple):
    """Where a parameter may lie and where a fit starts to look for it.

    Attributes:
        low: lower bound.
        high: upper bound.
        start_low: lower end of the starting range.
        start_high: upper end of the starting range.
        log: search in the logarithm of the magnitude (the bounds must then share a sign).
        fitted: is the parameter fitted unless the caller says otherwise.
        default: its value when it is not.
    """

    low: float
    high: float
    start_low: float
    start_high: float
    log: bool = False
    fitted: bool = True
    default: float | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Law:
    """A law as one record: call it like the function that it wraps.

    Attributes:
        name: its name in files and tables.
        function: `(params, run, max_epochs) -> error`: one run in, one number out; `vmap` does the rest.
        params: the parameter type, a frozen dataclass registered as a pytree.
        ranges: from measured runs to the `Range` of each field; fields without one are data of the pools
            (`reference_size`).
        per_pool: fields with one value a pool; the others are shared unless the caller says otherwise.
        scans: does evaluating these parameters need a static `max_epochs`, for a run from scratch (`seen_before`
            None); `length_for` of `laws.fitted` answers for any run.
        convex: is the predicted error proved convex in the weights on the simplex for these parameters, for every
            size and budget of runs from scratch. The parameters are concrete; leading axes mean all of them.
        symbols: the paper's symbol of each field, for tables.
        trailing: does the function also take axes of runs from scratch behind that of the pools; see `errors_of`.
        needs: what a table must have for this law to say anything of its own, see `lacking`: `model_size` (without
            it nothing is predicted), `sizes`, `weights`, `samples_seen`.
    """

    name: str
    function: Callable[[Any, Run, int | None], Array]
    params: type
    ranges: Callable[[Runs], dict[str, Range]]
    per_pool: tuple[str, ...]
    scans: Callable[[Any], bool]
    convex: Callable[[Any], bool]
    symbols: dict[str, str]
    trailing: bool = False
    needs: tuple[str, ...] = ()

    def __call__(self, params: Any, run: Run, max_epochs: int | None = None) -> Array:
        """Predicted error of one run."""
        return self.function(params, run, max_epochs)

    def __hash__(self) -> int:
        return hash((self.name, self.function))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Law) and (self.name, self.function) == (other.name, other.function)


def lacking(law: Law, runs: Runs) -> tuple[str, ...]:
    """Which of the columns that a law needs a table does not vary, or does not have.

    `model_size`: two sizes of the model; `sizes`: a pool seen more than once; `weights`: two mixtures or pools;
    `samples_seen`: two budgets.

    Args:
        law: any law.
        runs: a table.

    Example:
        >>> import qqtjax as qqt
        >>> lacking(qqt.laws.chinchilla, qqt.wordclip("C"))
        ('model_size',)
    """
    has = {
        "model_size": lambda: runs.model_size is not None and len(np.unique(runs.model_size)) > 1,
        "sizes": lambda: bool(np.any(runs.epochs > 1)),
        "weights": lambda: len(np.unique(runs.source)) > 1 and len(runs.pools) > 1,
        "samples_seen": lambda: len(np.unique(runs.samples_seen)) > 1,
    }
    return tuple(column for column in law.needs if not has[column]())


def wide(platform: str) -> dict[str, Any] | None:
    """Options of `jax.jit` with which the loops of a law fill the vectors of a processor; None elsewhere.

    XLA takes 256 bits where it could take 512; a processor without them is not affected.

    Args:
        platform: as `jax.default_backend` names it.

    Example:
        >>> wide("cpu"), wide("tpu")
        ({'xla_cpu_prefer_vector_width': 512}, None)
    """
    return {"xla_cpu_prefer_vector_width": 512} if platform == "cpu" else None


def errors_of(law: Law, params: Any, runs: Run, max_epochs: int | None = None) -> Array:
    """Errors of many runs under one law, with the pools on the first axis and the runs on the last.

    What `vmap` gives with the runs first; but a loop along a long last axis becomes vector code, one along a few
    pools does not.

    Args:
        law: any law.
        params: its parameters, each one number or `[P]`.
        runs: a `Run` whose arrays are `[P, M]` and, for numbers of a run, `[M]`.
        max_epochs: as the law takes it.

    Returns:
        `[M]` errors.

    Example:
        >>> import numpy as np
        >>> from qqtjax.laws import UtilityParams, utility
        >>> p = UtilityParams(scale=4e6, floor=0.1, utility=np.array([-0.16]), half_life=np.array([5.0]),
        ...                   reference_size=np.array([1e6]))
        >>> r = Run(weights=np.ones((1, 2)), sizes=np.full((1, 2), 1e6), samples_seen=np.array([4e6, 64e6]))
        >>> [round(float(each), 4) for each in errors_of(utility, p, r)]
        [1.1468, 1.0612]
    """
    if law.trailing and runs.seen_before is None:
        return law(jax.tree.map(_before_runs, params), runs, max_epochs)
    return jax.vmap(lambda run: law(params, run, max_epochs), in_axes=-1)(runs)


def _before_runs(leaf: Any) -> Any:
    """A parameter of every pool, `[P]`, as `[P, 1]`."""
    return jnp.asarray(leaf)[:, None] if jnp.ndim(leaf) else leaf
