"""What a law is: a pure function with its parameter type, bounds and starting ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

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
    """

    name: str
    function: Callable[[Any, Run, int | None], Array]
    params: type
    ranges: Callable[[Runs], dict[str, Range]]
    per_pool: tuple[str, ...]
    scans: Callable[[Any], bool]
    convex: Callable[[Any], bool]
    symbols: dict[str, str]

    def __call__(self, params: Any, run: Run, max_epochs: int | None = None) -> Array:
        """Predicted error of one run."""
        return self.function(params, run, max_epochs)

    def __hash__(self) -> int:
        return hash((self.name, self.function))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Law) and (self.name, self.function) == (other.name, other.function)
