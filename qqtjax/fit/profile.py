"""Profile likelihood: one parameter held at each point of a grid, all others fitted again."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING

import numpy as np

from qqtjax.errors import InputError, QQTWarning
from qqtjax.fit.candidates import Candidates
from qqtjax.fit.clusters import run_notes
from qqtjax.fit.diagnose import diagnose
from qqtjax.fit.fitting import fit
from qqtjax.fit.many import solved
from qqtjax.fit.problem import Problem, problem_of, refitted_by
from qqtjax.laws import FittedLaw
from qqtjax.runs import Runs

if TYPE_CHECKING:
    from pandas import DataFrame

# Points of the first grid on each side of the estimate, in standard errors.
OFFSETS = np.array([0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0, 20.0, 50.0])
# A parameter that is not identified has no standard error: so much of its range instead.
SHARE = 0.02
# Points that close in on each end of the interval, and how often.
CLOSER, TIMES = 5, 2
WIDTH = 128
# An improvement, relative to the objective, that is worth telling the neighbours.
NEWS = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Profile:
    """What the data say of one parameter, whatever the others; G points.

    Attributes:
        field: the parameter.
        pool: of which pool, or several joined by +; None where it is shared by all.
        estimate: the best value.
        low: lower end of the interval; the bound of the fit where `open_low`.
        high: upper end; the bound where `open_high`.
        open_low: is the lowest value allowed as good as others: the data do not end the interval there.
        open_high: the same of the highest.
        level: of the interval.
        freedom: degrees of freedom of the noise.
        grid: `[G]` values of the parameter, ascending.
        objective: `[G]` half the weighted sum of squares with the others fitted.
        statistic: `[G]` signed root of the excess, sqrt(nu (objective / least - 1)); Student's t in a linear model.
        notes: what the interval does not know.
    """

    field: str
    pool: str | None
    estimate: float
    low: float
    high: float
    open_low: bool
    open_high: bool
    level: float
    freedom: float
    grid: np.ndarray
    objective: np.ndarray
    statistic: np.ndarray
    notes: tuple[str, ...]

    def to_frame(self) -> DataFrame:
        """The curve, for a plot: columns `value`, `objective`, `statistic`, a row a point."""
        import pandas as pd

        return pd.DataFrame({"value": self.grid, "objective": self.objective, "statistic": self.statistic})

    def __str__(self) -> str:
        name = self.field if self.pool is None else f"{self.field} of {self.pool}"
        if self.open_low and self.open_high:
            return f"{name}: no value from {self.low:.4g} to {self.high:.4g} is refused at {self.level:.0%}"
        low = f"{self.low:.4g}" + (" (open)" if self.open_low else "")
        high = f"{self.high:.4g}" + (" (open)" if self.open_high else "")
        return f"{name} = {self.estimate:.4g}, {self.level:.0%} from {low} to {high}"


def profile(
    fitted: FittedLaw,
    runs: Runs,
    field: str,
    *,
    level: float = 0.95,
    importance: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[Profile, ...]:
    """Intervals of a parameter from the profile of the objective, with the curves to plot.

        {v : S(v) <= S_min (1 + F_{1, nu}(level) / nu)},   S(v) = min over all others of the sum of squares

    with nu the degrees of freedom of the noise, whose size is not known. Every point of the grid is fitted from the
    estimate, from the way there that the estimate's covariance foretells, and from where its neighbours on both sides
    ended, until none finds better; the lowest wins. Where no value up to a bound is refused the interval is open
    there. Checkpoints count as independent. Source: Bates and Watts, Nonlinear Regression Analysis, 1988, chapter 6.

    A parameter that the fit held (dilution, decay_shape) is freed first. An interval of dilution says which values
    the law needs to describe these runs; mixtures alone do not tell it from other ways in which pools interact.

    Args:
        fitted: a fit of squares.
        runs: the table that was fitted.
        field: half_life, floor, dilution, decay_shape or any other parameter of the law that can be fitted.
        level: of the interval.
        importance: `[M]` weights of the checkpoints, if the fit was given any.
        seed: of the starts, where the parameter is freed first.

    Returns:
        A `Profile` of each of its values: one where it is shared, one a pool otherwise.

    Raises:
        InputError: a field that the law does not have or that was fixed; a Huber loss; an exact fit; a wrong level;
            as `problem_of`.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C", roles=("single",))
        >>> floor, = profile(qqt.fit(runs), runs, "floor")
        >>> floor.open_low, floor.low, floor.high < 0.2
        (True, 0.0, True)
    """
    from scipy import stats

    if not 0 < level < 1:
        raise InputError(f"level {level!r}: expected a number between 0 and 1, for example 0.95")
    fitted = _freed(fitted, runs, field, importance, seed)
    problem = problem_of(fitted, runs, importance)
    if problem.objective.huber is not None:
        raise InputError("profile: the fit has a Huber loss, expected one of squares")
    used = int(np.sum(np.asarray(problem.data.importance) > 0))
    freedom = used - len(problem.space)
    if freedom <= 0:
        raise InputError(
            f"profile: {len(problem.space)} free parameters from {used} checkpoints leave nothing to compare"
        )
    if np.sqrt(np.mean(problem.residuals**2)) <= 1e-12 * np.mean(np.abs(runs.error)):
        raise InputError("profile: the law describes the runs exactly, so that nothing is known of their noise")
    places = [i for i, name in enumerate(problem.space.names) if name.split(" of ")[0] == field]
    curves = _Curves(problem, runs, places)
    threshold = float(stats.t.ppf(0.5 + level / 2, freedom))
    for _ in range(TIMES):
        curves.add(curves.closer(freedom, threshold))
    return tuple(
        _profile(problem, curves, index, level, freedom, threshold, run_notes(runs, None))
        for index in range(len(places))
    )


def _freed(fitted: FittedLaw, runs: Runs, field: str, importance: np.ndarray | None, seed: int) -> FittedLaw:
    """The fit, or one in which the field is free as well."""
    if fitted.diagnostics is None:
        raise InputError("profile: these parameters were not fitted here; expected a fit of measured runs")
    settings = fitted.diagnostics.settings
    known = fitted.law.ranges(runs)
    if field not in known:
        raise InputError(
            f"profile: law {fitted.law.name} has no parameter {field!r}; expected one of {', '.join(known)}"
        )
    fields = tuple(dict.fromkeys(name.split(" of ")[0] for name in settings["free"]))
    if field in fields:
        return fitted
    if field in settings["fixed"]:
        raise InputError(f"profile: {field} was fixed by the fit; leave it free, or out of fixed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QQTWarning)  # said when the runs were fitted first
        return fit(
            runs,
            fitted.law,
            share=settings["share"],
            fixed=settings["fixed"],
            free=(*fields, field),
            bounds=settings["bounds"],
            log=settings["log"],
            huber=settings["huber"],
            importance=importance,
            seed=seed,
        )


class _Curves:
    """The points of all curves so far: where each ended, and how well."""

    def __init__(self, problem: Problem, runs: Runs, places: list[int]) -> None:
        self.problem, self.runs, self.places = problem, runs, places
        self.objective_of = refitted_by(problem, runs)
        space, weight = problem.space, np.asarray(problem.data.importance)
        self.low, self.high = space.box()
        findings = diagnose(space, problem.x, problem.residuals, problem.slopes, weight)
        covariance = findings.factor.T @ findings.factor
        self.best = 0.5 * float(np.sum(weight * problem.residuals**2))
        # Which curve a point belongs to, where it is held, where the others ended, and the objective there.
        self.curve, self.value = np.arange(len(places)), problem.x[places]
        self.x, self.objective = np.tile(problem.x, (len(places), 1)), np.full(len(places), self.best)
        first, self.towards = [], []
        for place in places:
            variance = covariance[place, place]
            width = np.sqrt(variance) if variance > 0 else SHARE * (self.high[place] - self.low[place])
            self.towards.append(covariance[:, place] / variance if variance > 0 else np.zeros(len(problem.x)))
            ends = [self.low[place], self.high[place]]
            around = problem.x[place] + width * np.concatenate([-OFFSETS, OFFSETS])
            first.append(np.unique(np.clip(np.concatenate([around, ends]), *ends)))
        self.add(first)

    def add(self, values: list[np.ndarray]) -> None:
        """Fit new points of each curve, then every point from its neighbours until nothing is gained."""
        curve = np.concatenate([np.full(len(each), index) for index, each in enumerate(values)])
        value = np.concatenate(values)
        if not len(value):
            return
        x = self.problem.x
        held = np.array(self.places)[curve]
        foretold = x + (value - x[held])[:, None] * np.array(self.towards)[curve]
        ends, objective = self._fit(held, value, np.stack([np.broadcast_to(x, foretold.shape), foretold], axis=1))
        self.curve, self.value = np.concatenate([self.curve, curve]), np.concatenate([self.value, value])
        self.x, self.objective = np.concatenate([self.x, ends]), np.concatenate([self.objective, objective])
        order = np.lexsort((self.value, self.curve))
        self.curve, self.value, self.x, self.objective = (
            each[order] for each in (self.curve, self.value, self.x, self.objective)
        )
        news = np.ones(len(self.value), bool)
        while news.any():
            news = self._ask_neighbours(news)

    def _ask_neighbours(self, news: np.ndarray) -> np.ndarray:
        """Fit again, from there, the points beside those with news; which of them found better."""
        count = len(self.value)
        beside = np.clip(np.arange(count)[:, None] + np.array([-1, 1]), 0, count - 1)
        beside = np.where(self.curve[beside] == self.curve[:, None], beside, np.arange(count)[:, None])
        asked = np.flatnonzero(np.any(news[beside], axis=1))
        held = np.array(self.places)[self.curve[asked]]
        ends, objective = self._fit(held, self.value[asked], self.x[beside[asked]])
        better = objective < self.objective[asked] * (1 - NEWS)
        found = asked[better]
        self.x[found], self.objective[found] = ends[better], objective[better]
        told = np.zeros(count, bool)
        told[found] = True
        return told

    def _fit(self, held: np.ndarray, value: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fit with coordinate `held[N]` at `value[N]`, from `begins[N, S, F]`; where it ended, and the objective."""
        count, starts, _ = begins.shape
        boxes = np.tile(np.stack([self.low, self.high]), (count, 1, 1))
        boxes[np.arange(count), :, held] = value[:, None]
        weight = np.asarray(self.problem.data.importance)
        errors, weights = (np.broadcast_to(each, (count, len(weight))) for each in (self.runs.error, weight))
        candidates = Candidates(
            self.runs, self.objective_of, self.problem.space, errors, weights, boxes, starts, lambda *lane: begins[lane]
        )
        # Of one width, so that a handful of points compiles nothing of its own.
        found = solved([candidates], width=WIDTH)[0]
        return candidates.best, found.objective

    def statistic(self, index: int, freedom: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points of one curve: coordinates, objectives, signed roots of the excess over the best of all points."""
        own = self.curve == index
        value, objective = self.value[own], self.objective[own]
        least = self.objective.min()
        root = np.sqrt(freedom * np.maximum(objective / least - 1, 0.0))
        return value, objective, np.where(value < value[np.argmin(objective)], -root, root)

    def closer(self, freedom: float, threshold: float) -> list[np.ndarray]:
        """New points between the last that is refused and the first that is not, at both ends of each curve."""
        found = []
        for index in range(len(self.places)):
            value, _, root = self.statistic(index, freedom)
            kept = np.flatnonzero(np.abs(root) <= threshold)
            gaps = [(kept[0] - 1, kept[0]), (kept[-1], kept[-1] + 1)]
            inside = [(value[a], value[b]) for a, b in gaps if a >= 0 and b < len(value)]
            new = [np.linspace(a, b, CLOSER + 2)[1:-1] for a, b in inside]
            found.append(np.concatenate(new) if new else np.zeros(0))
        return found


def _profile(
    problem: Problem,
    curves: _Curves,
    index: int,
    level: float,
    freedom: float,
    threshold: float,
    notes: tuple[str, ...],
) -> Profile:
    place = curves.places[index]
    value, objective, root = curves.statistic(index, freedom)
    kept = np.flatnonzero(np.abs(root) <= threshold)
    first, last = kept[0], kept[-1]
    low = value[0] if first == 0 else np.interp(-threshold, root[first - 1 : first + 1], value[first - 1 : first + 1])
    high = value[-1] if last == len(value) - 1 else np.interp(threshold, root[last : last + 2], value[last : last + 2])
    if curves.objective.min() < curves.best * (1 - 1e-6):
        notes = (*notes, "the fit is not the best one: with other starts it ends lower")
    spread = problem.space.ranges[place]
    natural = [
        float(problem.space.natural(np.where(np.arange(len(problem.x)) == place, one, problem.x))[place])
        for one in (value[np.argmin(objective)], low, high)
    ]
    grid = (np.sign(spread.low) or 1.0) * np.exp(value) if spread.log else value
    flip = -1 if grid[0] > grid[-1] else 1
    opened = (first == 0, last == len(value) - 1)[::flip]
    ends = natural[1:][::flip]
    field, _, pool = problem.space.names[place].partition(" of ")
    return Profile(
        field=field,
        pool=pool or None,
        estimate=natural[0],
        low=ends[0],
        high=ends[1],
        open_low=bool(opened[0]),
        open_high=bool(opened[1]),
        level=level,
        freedom=float(freedom),
        grid=grid[::flip],
        objective=objective[::flip],
        statistic=flip * root[::flip],
        notes=notes,
    )
