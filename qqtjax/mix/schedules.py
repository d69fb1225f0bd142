"""The best weights for every segment of training: `optimize_schedule`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw, Shares
from qqtjax.laws.utility import UtilityParams
from qqtjax.mix.best_first import BestFirst, best_first
from qqtjax.mix.optimize import optimize_mix
from qqtjax.mix.schedule import Schedule, evaluate_schedule, number, planned
from qqtjax.mix.schedule_search import WHOLE_SEARCH, search
from qqtjax.plain import to_plain
from qqtjax.runs import Pools
from qqtjax.text import show_count

WIDE, NARROW, STATIC = (0.3, 1e-3), (0.03, 3e-4), (0.3, 1e-6)  # first and last step size
ROWS, COLUMNS, NAME = 16, 9, 40  # of the table in text


@dataclasses.dataclass(frozen=True, eq=False)
class ScheduledMix:
    """The best schedule found, and how far from the best it can be. T segments, P pools.

    Attributes:
        pools: the pools.
        budget: samples seen, n.
        scale: n0: the first n0 samples are the warm-up, which earns nothing and is not optimised.
        warmup: `[P]` weights of the warm-up.
        ends: `[T]` samples seen at which each segment ends.
        weights: `[T, P]` weights of each segment.
        epochs: `[P]` epochs that each pool has been through at the end, the warm-up's counted.
        error: predicted error y.
        best_first_error: the least of any schedule with this warm-up, in closed form (`best_first`).
        static_error: of the best weights that stay the same after this warm-up.
        static_weights: `[P]` those weights.
        gap: no other weights of these segments lower log(y - d) by more.
        steps: of the search; 0 where it was too large to make, and the better of its starts is returned.
    """

    pools: Pools
    budget: float
    scale: float
    warmup: np.ndarray
    ends: np.ndarray
    weights: np.ndarray
    epochs: np.ndarray
    error: float
    best_first_error: float
    static_error: float
    static_weights: np.ndarray
    gap: float
    steps: int

    @property
    def certificate(self) -> str:
        """What is known about how good the schedule is, in words."""
        searched = "" if self.steps else "; too large to search: the best of the starts"
        return (
            f"other weights of these segments lower log(y - d) by at most {self.gap:.1e}, "
            f"any schedule with this warm-up lowers y by at most {self.error - self.best_first_error:.1e}{searched}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The schedule as plain data that strict JSON holds."""
        return {**to_plain(self), "certificate": self.certificate}

    def __str__(self) -> str:
        return _text(self)


def optimize_schedule(
    fitted: FittedLaw, budget: float, *, segments: int = 16, warmup: Shares | None = None
) -> ScheduledMix:
    """Weights of every segment of training that minimise the predicted error at the budget.

        minimise y = d + A0 exp(sum_i b_i I_i(w_1, ..., w_T))    each w_t on the simplex

    with I_i of `schedule_error`, T segments whose ends are spaced evenly in log(samples seen) between n0 and the
    budget. Without dilution the exponent is convex in the weights, so that a local optimum is the global one and a
    bound from gradients certifies it (`ScheduledMix.gap`). Projected supergradients start from the best order of all
    averaged over each segment and from the best static weights; the result is never worse than either. Nothing is
    random. Source: ours.

    The first n0 samples (the law's `scale`) earn nothing, so that a free optimiser would burn the worst pool there;
    they are fixed by convention to `warmup`, and the static weights compared with begin after the same warm-up. A
    static mix that also fills the warm-up, as in `laws.utility`, is another convention: where n0 is not small against
    the best pool it can come out lower. The law was never validated on data whose order was planned: nobody has
    measured what is gained here.

    Args:
        fitted: `laws.utility` with dilution 0 (`fitted.with_params(dilution=0.0)` plans without it).
        budget: n, samples seen, above the law's scale.
        segments: T. More come closer to the best order of all: for the published pools at 2 billion samples 16 stay
            1.6e-4 in error above it, 64 3.5e-5.
        warmup: weights of the first n0 samples, `{pool: share}` or `[P]`; None: the best pool alone.

    Returns:
        A `ScheduledMix`: weights of every segment, errors, the gap, the static weights compared with.

    Raises:
        InputError: a law that no schedule can be planned with, a budget that does not exceed its scale, or a number
            of segments that is not a whole number from 1 on.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility.with_params(dilution=0.0)
        >>> mix = optimize_schedule(paper, 64e6, segments=4)
        >>> round(mix.static_error, 4), round(mix.error, 4), round(mix.best_first_error, 4)
        (0.7728, 0.7697, 0.7696)
    """
    if isinstance(segments, bool) or not isinstance(segments, int | np.integer) or segments < 1:
        raise InputError(f"segments {segments!r}: expected a whole number from 1 on")
    params = planned(fitted, budget)
    best = best_first(fitted, budget, warmup)
    scale, budget = best.scale, best.budget
    ends = scale * (budget / scale) ** (np.arange(1, segments + 1) / segments)
    ends[-1] = budget

    def schedule(weights: np.ndarray, ends: np.ndarray) -> Schedule:
        return Schedule(weights=weights, ends=ends, sizes=fitted.pools.sizes, warmup=best.warmup)

    def errors(options: np.ndarray, ends: np.ndarray) -> np.ndarray:
        return np.array([evaluate_schedule(params, schedule(each, ends)) for each in options])

    static = _best_static(fitted, params, best)
    constant = np.repeat(static, segments, axis=0)
    averaged = best.averaged(ends)
    starts = np.stack([averaged, averaged, constant])
    found, bound, steps = search(params, starts, schedule(averaged, ends), np.array([WIDE, NARROW, WIDE]))
    options = np.concatenate([found, [averaged, constant]])
    error = errors(options, ends)
    weights = options[np.argmin(error)]
    spans = np.diff(ends, prepend=scale)
    floor, amplitude = number(params.floor), number(params.amplitude)
    log_excess = float(np.log((error.min() - floor) / amplitude))
    return ScheduledMix(
        pools=fitted.pools,
        budget=budget,
        scale=scale,
        warmup=best.warmup,
        ends=ends,
        weights=weights,
        epochs=(scale * best.warmup + spans @ weights) / fitted.pools.sizes,
        error=float(error.min()),
        best_first_error=best.error,
        static_error=float(error[-1]),
        static_weights=static[0],
        gap=max(0.0, log_excess - max(bound, best.log_excess)),
        steps=steps,
    )


def _best_static(fitted: FittedLaw, params: UtilityParams, best: BestFirst) -> np.ndarray:
    """`[1, P]` the best weights that stay the same after the warm-up.

    Searched at the budget, and at one that needs no shorter search: where the data wear out before it, its best weights
    are those of any larger budget. Starts are the best order averaged, the best pool, a uniform mix, and the certain
    optimum of the law with the paper's decay, whose own warm-up follows the weights: as it is, and moved to the same
    exposures.
    """
    width, sizes = len(fitted.pools), fitted.pools.sizes
    overall = optimize_mix(fitted.with_params(decay_shape=None), best.budget).weights
    left = np.maximum(best.budget * overall - best.scale * best.warmup, 0.0)
    last = np.array([best.budget])
    starts = [best.averaged(last)[0], np.eye(width)[int(np.argmin(params.utility))], np.full(width, 1 / width)]
    options = np.stack([*starts, overall, left / left.sum()])[:, None]

    def schedule(weights: np.ndarray, ends: np.ndarray) -> Schedule:
        return Schedule(weights=weights, ends=ends, sizes=sizes, warmup=best.warmup)

    enough = best.scale + np.min(sizes) * max(WHOLE_SEARCH / width / 2 - 2, 1.0)
    ends = dict.fromkeys([best.budget, min(best.budget, float(enough))])
    step_sizes = np.array([STATIC] * len(options))
    found = [search(params, options, schedule(options[0], np.array([end])), step_sizes)[0] for end in ends]
    tried = np.concatenate(found)
    return tried[int(np.argmin([evaluate_schedule(params, schedule(each, last)) for each in tried]))]


def _text(mix: ScheduledMix) -> str:
    """The schedule as a table of shares in percent, at most 80 columns wide."""
    count = len(mix.ends)
    shown = np.sort(np.argsort(-mix.epochs * mix.pools.sizes, kind="stable")[:COLUMNS])
    spans = np.diff(mix.ends, prepend=mix.scale)
    begin = "  ".join(
        f"{_short(name)} {share:.0%}" for name, share in zip(mix.pools.names, mix.warmup, strict=True) if share > 0
    )
    lines = [
        f"Schedule of {count} segment{'s' if count > 1 else ''} to {show_count(mix.budget, 4)} samples seen",
        f"  error                     {mix.error:.6f}",
        f"  best static weights       {mix.static_error:.6f}   after the same warm-up",
        f"  best of any schedule      {mix.best_first_error:.6f}   closed form, same warm-up",
        f"  left to gain, log(y - d)  {mix.gap:.1e}    by other weights of these segments",
    ]
    if not mix.steps:
        lines.append("  too large to search: the best of its starts")
    lines.append(f"The first {show_count(mix.scale, 4)} samples are fixed by convention (they earn nothing):")
    lines.append("  " + (begin if len(begin) <= 76 else f"{np.count_nonzero(mix.warmup)} pools"))
    lines.append("The law was never validated on data whose order was planned.")
    lines += ["", "     pool" + " " * (NAME - 2) + "epochs"]
    lines += [f"{place + 1:4d} {_short(mix.pools.names[place]):{NAME}s} {mix.epochs[place]:7.2f}" for place in shown]
    rest = len(mix.pools) - len(shown)
    if rest:
        lines.append(f"     and {rest} more pool{'s' if rest > 1 else ''}, as 'rest' below")
    groups = np.array_split(np.arange(count), min(count, ROWS))
    averaged = ", segments averaged" if count > ROWS else ""
    lines += ["", f"share of each pool, %, until so many samples seen{averaged}"]
    head = "".join(f"{place + 1:6d}" for place in shown)
    lines.append(" " * 10 + head + ("  rest" if rest else ""))
    for group in groups:
        share = spans[group] @ mix.weights[group] / spans[group].sum()
        cells = [100 * share[place] for place in shown] + ([100 * (1 - share[shown].sum())] if rest else [])
        row = "".join(f"{cell:6.1f}" if cell >= 0.05 else "     ." for cell in cells)
        lines.append(f"{show_count(float(mix.ends[group[-1]]), 4):>10s}{row}")
    return "\n".join(lines)


def _short(name: str) -> str:
    return name if len(name) <= NAME else name[: NAME - 3] + "..."
