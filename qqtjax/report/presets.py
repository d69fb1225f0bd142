"""Pool sizes that people ask about: more of the best data, or more of everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw

MEASURED, GIVEN = "as measured", "as given"


def usual_presets(fit: FittedLaw, order: Sequence[int]) -> dict[str, dict[str, float]]:
    """`{name: {pool: size}}` for which a report plans, the measured sizes first.

    Args:
        fit: the law; its pools have the measured sizes.
        order: positions of the pools, best first.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> list(usual_presets(paper, range(4)))
        ['as measured', 'half of the best pool', 'twice the best pool', 'ten times everything']
    """
    names, sizes = fit.pools.names, fit.pools.sizes
    finite = [place for place in order if np.isfinite(sizes[place])]
    if not finite:
        return {MEASURED: {}}
    best = finite[0]
    wanted = {
        MEASURED: {},
        "half of the best pool": {names[best]: float(sizes[best]) / 2},
        "twice the best pool": {names[best]: float(sizes[best]) * 2},
        "ten times everything": {names[place]: float(sizes[place]) * 10 for place in finite},
    }
    return {name: changed for name, changed in wanted.items() if _known(fit, changed)}


def _known(fit: FittedLaw, sizes: Mapping[str, float]) -> bool:
    """Does the law know what to expect of these sizes."""
    try:
        fit.with_sizes(sizes)
    except InputError:
        return False
    return True
