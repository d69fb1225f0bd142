"""From real targets to whole samples: the total is met exactly, inside the bounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from qqtjax.errors import InputError

SLACK = 0.5  # samples by which the targets' sum may miss the total: what rounding of floats leaves, and no more


def round_exact(x: ArrayLike, total: int, lower: ArrayLike = 0, upper: ArrayLike = np.inf) -> np.ndarray:
    """Whole counts nearest to real ones with an exact total, by the method of largest remainders.

        N_j = floor(x_j), then one more to the largest x_j - N_j until sum_j N_j = M;   l_j <= N_j <= u_j

    These are the whole numbers that minimise sum (N_j - x_j)^2 under the same constraints, if x satisfies them. Ties
    go to the larger x, then to the earlier pool.

    Args:
        x: `[P]` samples, as `project` gives them: inside the bounds, with sum M up to rounding.
        total: M >= 0, samples.
        lower: `[P]` or one whole number, l; not above x.
        upper: `[P]` or one whole number or `inf`, u; not below x.

    Returns:
        `[P]` int64 with sum M.

    Raises:
        InputError: x that is not finite, a sum that is not M, bounds that leave no such counts.

    Source: Hamilton's method; the released script of arXiv 2401.04578 rounds every x_j by itself and misses the total.

    Example:
        >>> round_exact([1.4, 2.4, 3.2], 7).tolist()
        [1, 3, 3]
    """
    real = np.asarray(x, np.float64)
    if real.ndim != 1 or not np.all(np.isfinite(real)):
        raise InputError(f"counts of shape {real.shape}: expected a row of finite numbers")
    wanted = whole_total(total)
    if not abs(real.sum() - wanted) <= max(SLACK, 1e-12 * wanted):
        raise InputError(f"counts sum to {real.sum():.12g}: expected the total {wanted}")
    low = np.ceil(np.broadcast_to(np.asarray(lower, np.float64), real.shape)).astype(np.int64)
    # A pool never needs more than the total; this also makes infinite bounds whole.
    high = np.floor(np.minimum(np.asarray(upper, np.float64), max(wanted, 1))) * np.ones_like(real)
    high = np.maximum(high.astype(np.int64), low)
    if not low.sum() <= wanted <= high.sum():
        raise InputError(f"bounds leave {low.sum()} to {high.sum()} samples: expected the total {wanted} among them")
    counts = np.clip(np.floor(real).astype(np.int64), low, high)
    while missing := wanted - int(counts.sum()):
        step = 1 if missing > 0 else -1
        movable = np.flatnonzero(counts < high if step > 0 else counts > low)
        order = np.lexsort((-step * real[movable], -step * (real - counts)[movable]))
        counts[movable[order[: abs(missing)]]] += step
    return counts


def whole_total(total: float, available: int | None = None) -> int:
    """A total of samples as a whole number.

    Args:
        total: M.
        available: samples that there are, where that limits it.

    Raises:
        InputError: negative, not whole, or more than there are.

    Example:
        >>> whole_total(3.0)
        3
    """
    if not (total >= 0 and total == np.floor(total)) or np.isinf(total):
        raise InputError(f"total {total:.12g}: expected a whole number of samples >= 0")
    if available is not None and total > available:
        raise InputError(f"total {total:.12g}: more than the {available} samples that there are")
    return int(total)


def whole_sizes(sizes: ArrayLike) -> np.ndarray:
    """`[P]` int64 of pool sizes.

    Raises:
        InputError: not a row of whole numbers >= 0.
    """
    found = np.asarray(sizes, np.float64)
    wrong = ~(found >= 0) | (found != np.floor(found)) | np.isinf(found)
    if found.ndim != 1 or not len(found):
        raise InputError(f"sizes of shape {found.shape}: expected one for each of at least one pool")
    if np.any(wrong):
        place = int(np.argmax(wrong))
        raise InputError(f"size {found[place]:.12g} of pool {place}: expected a whole number of samples >= 0")
    return found.astype(np.int64)


def checked_share(share: float, what: str = "keep") -> float:
    """A share of the samples.

    Raises:
        InputError: not a number from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise InputError(f"{what} {share:.12g}: expected a share from 0 to 1")
    return float(share)
