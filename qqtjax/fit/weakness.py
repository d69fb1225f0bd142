"""What a table cannot tell, whatever its residuals: flags that a fit carries beside its standard errors."""

from __future__ import annotations

import numpy as np

from qqtjax.fit.parameters import Space
from qqtjax.runs import Runs

# A floor whose one-sided interval holds 0 is not told from none.
LEVEL = 0.95
NATURAL = 1e-3


def weak_points(runs: Runs, space: Space, x: np.ndarray, errors: np.ndarray, freedom: float) -> tuple[str, ...]:
    """Which parameters hang on too little, and why.

    Flagged are: scale and floor where no checkpoint lies inside the first epoch of a pool (the curve there is what
    tells them from utility and half-life); a floor that is not told from 0; a scale that one pool alone must give (it
    trades off against that pool's utility and floor); a dilution fitted to mixtures of equal pools at their natural
    weights (there it is one factor of all half-lives). Other parameters that the data do not move are found by their
    derivatives (`fit.diagnose`).

    Args:
        runs: the fitted table.
        space: the search space of the fit.
        x: `[F]` the optimum.
        errors: `[F]` standard errors in the parameters' own units; NaN where there is none.
        freedom: degrees of freedom of the noise.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C", roles=("single",))
        >>> one = qqt.fit(runs.for_pools(["C00"]), starts=8)
        >>> [line.split(":")[0] for line in one.diagnostics.unidentified]
        ['scale']
    """
    from scipy import stats

    found = []
    free = {name.split(" of ")[0] for name in space.names}
    used = runs.weights > 0
    alone = used.sum(axis=1) == 1
    if np.all(np.max(runs.epochs, axis=1) > 1 + 1e-9):
        late = [name for name in ("scale", "floor") if name in free]
        if late:
            found.append(f"{', '.join(late)}: weakly, no checkpoint lies inside the first epoch of a pool")
    low, high = space.box()
    for place, name in enumerate(space.names):
        inside = x[place] > low[place] + 1e-7 * (high[place] - low[place])
        if name.split(" of ")[0] == "floor" and inside and np.isfinite(errors[place]) and freedom > 0:
            if x[place] <= stats.t.ppf(LEVEL, freedom) * errors[place]:
                found.append(f"{name}: not told from 0 ({x[place]:.3g}, standard error {errors[place]:.2g})")
    if "scale" in space.names and np.count_nonzero(used.any(axis=0)) == 1:
        found.append("scale: weakly, one pool alone must tell it from utility and floor")
    if "dilution" in free and not np.all(alone) and _natural(runs, alone):
        found.append("dilution: not by natural mixtures of equal pools, where it is one factor of all half-lives")
    return tuple(found)


def _natural(runs: Runs, alone: np.ndarray) -> bool:
    """Do all mixtures draw from pools of one size, each in proportion to its size."""
    weights, sizes = runs.weights[~alone], np.asarray(runs.as_run().sizes)[~alone]
    for shares, own in zip(weights, sizes, strict=True):
        drawn = shares > 0
        if np.ptp(shares[drawn]) > NATURAL or np.ptp(own[drawn]) > NATURAL * own[drawn].max():
            return False
    return True
