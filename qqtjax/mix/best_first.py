"""The best schedule without dilution, in closed form: each pool's epochs, the most valuable first."""

from __future__ import annotations

import dataclasses

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw, Shares
from qqtjax.laws.utility import UtilityParams
from qqtjax.mix.schedule import number, planned, warmup_of

LOG2 = np.log(2.0)
MOST_LAYERS = 10_000_000
HALVINGS = 200


@dataclasses.dataclass(frozen=True, eq=False)
class BestFirst:
    """The best order of all, layer by layer; a layer is one epoch of one pool. L layers, P pools.

    Attributes:
        budget: samples seen, n.
        scale: n0, samples: where the order begins.
        error: y at the end.
        log_excess: log((y - d) / A0) = -F.
        pool: `[L]` int, which pool each layer comes from, in the order in which they are drawn.
        epoch: `[L]` int, which epoch of it (0 is the first).
        ends: `[L]` samples seen at which each layer ends; the last is the budget.
        epochs: `[P]` epochs that each pool has been through at the end, the warm-up's counted.
        warmup: `[P]` weights of the first n0 samples.
    """

    budget: float
    scale: float
    error: float
    log_excess: float
    pool: np.ndarray
    epoch: np.ndarray
    ends: np.ndarray
    epochs: np.ndarray
    warmup: np.ndarray

    def averaged(self, ends: np.ndarray) -> np.ndarray:
        """`[T, P]` weights that draw the same samples in each segment ending at `ends`, evenly mixed within it."""
        starts = np.concatenate([[self.scale], self.ends[:-1]])
        knots = np.concatenate([[self.scale], self.ends])
        stops = np.concatenate([[self.scale], ends])
        drawn = np.empty((len(ends), len(self.warmup)))
        for i in range(len(self.warmup)):
            own = np.where(self.pool == i, self.ends - starts, 0.0)
            drawn[:, i] = np.diff(np.interp(stops, knots, np.concatenate([[0.0], np.cumsum(own)])))
        drawn = np.maximum(drawn, 0.0)
        return drawn / drawn.sum(axis=1, keepdims=True)


def best_first(fitted: FittedLaw, budget: float, warmup: Shares | None = None) -> BestFirst:
    """The order of samples that minimises `schedule_error` among all orders, given the warm-up.

        -log((y - d) / A0) = F = sum_l v_l log(S_l / S_{l-1}),    S_0 = n0,  S_l = S_{l-1} + m_l,  the last S is n

    over the layers (pool i, epoch k) sorted by their value v = |b_i| D_i(k), the largest first. A layer's mass m is
    N_i, less what the warm-up has used of it. Since values fall with k, the order of a pool's epochs is kept. Why it
    is optimal: with V(s) the value drawn up to s, F = V(n) / n + integral of V / s^2 ds rises with V everywhere, and
    no order has more of V at any s than the best first. Source: ours.

    The first n0 samples (`scale`) earn nothing, so that a free optimiser would burn the worst pool there; they are
    fixed by convention instead, to `warmup`. The law was never validated on data whose order was planned.

    Args:
        fitted: `laws.utility` with dilution 0, any decay shape.
        budget: n, samples seen, above the law's scale.
        warmup: weights of the first n0 samples, `{pool: share}` or `[P]`; None: the best pool alone.

    Raises:
        InputError: a law that no schedule can be planned with, a budget that does not exceed its scale, or more than
            ten million layers.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility.with_params(dilution=0.0)
        >>> best = best_first(paper, 64e6)
        >>> round(best.error, 5), best.epochs.round(2).tolist()
        (0.76957, [4.0, 1.0, 0.0, 0.0])
    """
    params = planned(fitted, budget)
    shares = warmup_of(fitted, warmup)
    scale, budget = number(params.scale), float(budget)
    sizes = fitted.pools.sizes
    begun = np.where(np.isinf(sizes), 0.0, scale * shares / sizes)
    nearest = np.round(begun)
    begun = np.where(np.abs(begun - nearest) <= 4 * np.finfo(float).eps * begun, nearest, begun)
    pool, epoch, mass, log_value = _layers(params, sizes, begun, budget - scale)
    ends = scale + np.cumsum(mass)
    count = int(np.searchsorted(ends, budget)) + 1
    pool, epoch, ends, log_value = pool[:count], epoch[:count], ends[:count], log_value[:count]
    ends[-1] = budget
    starts = np.concatenate([[scale], ends[:-1]])
    gained = float(np.sum(np.exp(log_value) * np.log1p((ends - starts) / starts)))
    drawn = np.bincount(pool, ends - starts, minlength=len(sizes))
    return BestFirst(
        budget=budget,
        scale=scale,
        error=number(params.floor) + number(params.amplitude) * float(np.exp(-gained)),
        log_excess=-gained,
        pool=pool,
        epoch=epoch,
        ends=ends,
        epochs=begun + np.where(np.isinf(sizes), 0.0, drawn / sizes),
        warmup=shares,
    )


def _layers(
    params: UtilityParams, sizes: np.ndarray, begun: np.ndarray, needed: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(pool, epoch, mass, log value) of the most valuable layers, best first, of at least the mass needed.

    Values are compared as logarithms: after a thousand half-lives they are 0 as numbers and still in order.
    """
    log_slopes = np.log(-np.asarray(params.utility))
    half_lives = np.asarray(params.half_life)
    shape = 1.0 if params.decay_shape is None else np.broadcast_to(np.asarray(params.decay_shape), sizes.shape)
    shape = shape * np.ones(len(sizes))
    first = np.floor(begun)
    left = 1.0 - (begun - first)
    # No pool can be asked for more than all that is needed.
    most = np.where(np.isinf(sizes), 1.0, np.floor(needed / sizes) + 2.0)
    limit = np.where(np.isinf(sizes), needed, sizes)

    def log_values(i: np.ndarray, k: np.ndarray) -> np.ndarray:
        return log_slopes[i] - LOG2 * (k / half_lives[i]) ** shape[i]

    def counts(level: float) -> np.ndarray:
        """Layers of each pool worth `level` or more."""
        above = np.maximum((log_slopes - level) / LOG2, 0.0)
        last = np.floor(np.where(above > 0, half_lives, 0.0) * above ** (1.0 / shape))
        return np.where(log_slopes < level, 0.0, np.clip(last - first + 1.0, 0.0, most))

    def mass_above(level: float) -> float:
        count = counts(level)
        return float(np.sum(np.where(count > 0, (left + count - 1.0) * limit, 0.0)))

    pools = np.arange(len(sizes))
    high, low = float(np.max(log_slopes)), float(np.min(log_values(pools, first + most)))
    for _ in range(HALVINGS):
        middle = 0.5 * (high + low)
        high, low = (high, middle) if mass_above(middle) >= needed else (middle, low)
    # One more each: the layer at the level itself may be lost to rounding.
    chosen = np.minimum(counts(low) + 1.0, most)
    if chosen.sum() > MOST_LAYERS:
        smallest = int(np.argmax(chosen))
        raise InputError(
            f"{chosen[smallest]:.3g} epochs of pool number {smallest + 1} ({sizes[smallest]:g} samples) in this "
            f"budget: expected at most {MOST_LAYERS:.0e} epochs in all"
        )
    pool = np.repeat(pools, chosen.astype(int))
    ordinal = np.arange(len(pool)) - np.repeat(np.cumsum(chosen) - chosen, chosen.astype(int))
    epoch = first[pool] + ordinal
    mass = limit[pool] * np.where(ordinal == 0, left[pool], 1.0)
    log_value = log_values(pool, epoch)
    order = np.lexsort((pool, epoch, -log_value))
    return pool[order], epoch[order].astype(int), mass[order], log_value[order]
