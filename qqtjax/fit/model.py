"""A law together with how it is fitted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from qqtjax.fit.parameters import Bounds, Fixed, Share
from qqtjax.laws import Law


class Model(NamedTuple):
    """A law with what is shared, fixed, free and bounded, and what its residuals are; each as `fit` takes it.

    Attributes:
        law: the law.
        share: `{field: True | False | [[pool, ...], ...]}`: one value for all pools, one a pool, one a group.
        fixed: `{field: value | [P] values | {pool: value}}`: not fitted.
        free: fields with a default (dilution, decay_shape, amplitude) to be fitted as well.
        bounds: `{field: (low, high)}` in the parameter's own unit.
        log: residuals of the log excess error log(y - d) instead of the error.
        huber: where the loss turns linear, in the unit of the residual (error, or log error); None: squares.
        max_epochs: evaluate by the scan of this length; by default as `fit`.

    Example:
        >>> from qqtjax.laws import effective_data, utility
        >>> models = Model(utility, free=("dilution",)), Model(effective_data, huber=0.01)
    """

    law: Law
    share: Share | None = None
    fixed: Fixed | None = None
    free: Iterable[str] = ()
    bounds: Bounds | None = None
    log: bool = False
    huber: float | None = None
    max_epochs: int | None = None
