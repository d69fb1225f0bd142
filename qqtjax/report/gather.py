"""From a fit and a measured table to a `Report`, by the functions that anybody may call."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from qqtjax.decide import NearBest, near_best, predict_interval
from qqtjax.errors import InputError
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import FittedLaw, Shares, evaluate
from qqtjax.laws.repetition import bucket
from qqtjax.mix import Mix, optimize_mix
from qqtjax.mix.filters import quality_order
from qqtjax.mix.predict import error_table
from qqtjax.plan import Plan, plan
from qqtjax.plan.question import is_error_rate, samples_to_afford
from qqtjax.report.contents import Curves, Preset, Provenance, Report
from qqtjax.report.presets import usual_presets
from qqtjax.runs import Runs
from qqtjax.text import show_count

if TYPE_CHECKING:
    from qqtjax.design import NextRun

PACKAGES = ("qqtjax", "jax", "jaxlib", "numpy", "scipy", "plotly", "jinja2")
GRID = 81  # budgets of a line: smooth to the eye
# Beyond these the ranges and the next run would take minutes.
MOST_POOLS, MOST_CHECKPOINTS = 32, 20_000
# A law that scans is asked for lines only as far as this many steps.
MOST_SCANNED = 2**24
NEAR = 1e-3
NEXT_DRAWS = 512
NO_DRAWS = "no draws of the parameters were made"


def report(
    fit: FittedLaw,
    runs: Runs,
    budgets: Iterable[float] | float,
    *,
    filters: Mapping[str, Sequence[str]] | None = None,
    mixes: Mapping[str, Shares] | None = None,
    order: Sequence[str] | None = None,
    max_epochs_rule: float = 4,
    presets: Mapping[str, Mapping[str, float]] | None = None,
    max_epochs: float | None = None,
    near: float | None = NEAR,
    draws: Draws | None = None,
    reference_laws: Mapping[str, FittedLaw] | None = None,
    with_next_run: bool = True,
    provenance: Provenance | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """What a report shows: plans for several sets of pool sizes, what is known about them, and what to run next.

    Plans are those of `qqtjax.plan`, ranges those of `near_best`, the run that of `design.next_run` at the largest
    budget. `save` writes the page, one HTML file that opens offline.

    Args:
        fit: a fitted law.
        runs: the measured table, one metric, on the pools of the law.
        budgets: samples seen, at which the page's slider stops.
        filters: as for `plan`.
        mixes: as for `plan`.
        order: as for `plan`.
        max_epochs_rule: as for `plan`.
        presets: `{name: {pool: size}}` to plan for, by default `usual_presets`; `{}` is as measured.
        max_epochs: show also the best mix that repeats no pool more often.
        near: the ranges of the weights are those of all mixes no worse than the best by this, in the unit of the
            error; None: no ranges.
        draws: of the fit's parameters (`qqtjax.draw`); without them nothing is said of how sure the answer is.
        reference_laws: `{name: law}` fitted on the same rows, whose answers stand beside.
        with_next_run: look for the run that is worth making next, which takes some seconds.
        provenance: where the table and the report come from.
        seed: of every random number; the same seed gives the same bytes.
        say: is told what is being done.

    Returns:
        A `Report`: `save("report.html")`, `to_html()`, `to_dict()`, or print it.

    Raises:
        InputError: as `plan` and `near_best`; no budget; no preset; a table of other pools or of several metrics.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> law = qqt.laws.power
        >>> fitted = qqt.fit(runs.select(runs.single), law, starts=8)
        >>> found = qqt.report(fitted, runs, [20e3, 80e3], presets={"as measured": {}}, near=None, with_next_run=False)
        >>> [row.best.name for row in found.presets[0].plan.rows]
        ['C00', 'C00']
        >>> found.save("report.html")  # doctest: +SKIP
    """
    if len(runs.metric_names) > 1:
        raise InputError(
            f"the table has the metrics {', '.join(runs.metric_names)}: choose one with runs.for_metric(name)"
        )
    if runs.pools.names != fit.pools.names:
        raise InputError(f"the table's pools {runs.pools.names} are not the law's {fit.pools.names}")
    seen = np.unique(samples_to_afford(budgets, None, None, needed=True))
    places = quality_order(fit, order)
    asked = usual_presets(fit, places) if presets is None else presets
    if not asked:
        raise InputError("no presets: expected at least one, {'as measured': {}} for the sizes of the fit")
    question: dict[str, Any] = {
        "filters": filters,
        "mixes": mixes,
        "order": order,
        "max_epochs_rule": max_epochs_rule,
        "reference_laws": reference_laws,
        "draws": draws,
        "error_rate": is_error_rate(fit, runs),
        "seed": seed,
    }
    made = []
    for place, (name, sizes) in enumerate(asked.items()):
        say(f"planning for pools {name}")
        # How well mixtures were predicted is a fact of the fit, not of the sizes that are planned for.
        answer = plan(fit, seen, sizes=sizes or None, runs=None if place else runs, **question)
        made.append(_preset(fit, name, dict(sizes), answer, draws, max_epochs, near, seed))
    found, reason = None, "it was not asked for"
    if with_next_run:
        say(f"looking for the run that is worth making next, to decide at {show_count(seen[-1], 4)} samples")
        found, reason = _next_run(fit, runs, float(seen[-1]), seed)
    first = made[0].plan
    return Report(
        fit=fit,
        runs=runs,
        predicted=evaluate(fit.law, fit.params, runs.as_run()),
        pools=_pool_curves(fit, runs),
        presets=tuple(made),
        max_epochs=max_epochs,
        next_run=found,
        no_next_run=reason,
        unsure="" if first.decision is not None else NO_DRAWS if draws is None else "the law scans too many epochs",
        versions=_versions(),
        provenance=Provenance(seed=seed) if provenance is None else provenance,
    )


def _preset(
    fit: FittedLaw,
    name: str,
    sizes: dict[str, float],
    answer: Plan,
    draws: Draws | None,
    max_epochs: float | None,
    near: float | None,
    seed: int,
) -> Preset:
    resized = fit.with_sizes(sizes) if sizes else fit
    budgets = [row.samples_seen for row in answer.rows]
    ranges: tuple[NearBest, ...] = ()
    if near is not None and 1 < len(fit.pools) <= MOST_POOLS and all(row.mix_searched for row in answer.rows):
        ranges = tuple(near_best(resized, budget, near, seed) for budget in budgets)
    intervals = ()
    if draws is not None and answer.decision is not None:
        drawn = dataclasses.replace(draws, fitted=resized)
        intervals = tuple(
            predict_interval(drawn, row.mix.weights, row.samples_seen, answer.decision.level) for row in answer.rows
        )
    capped = () if max_epochs is None else tuple(_capped(resized, budget, max_epochs, seed) for budget in budgets)
    return Preset(name, sizes, answer, ranges, intervals, capped, _curves(resized, answer))


def _capped(fit: FittedLaw, budget: float, max_epochs: float, seed: int) -> Mix | None:
    """The best mix within so many epochs of every pool, or None where that is less than the budget."""
    if budget > max_epochs * float(fit.pools.sizes.sum()):
        return None
    found = optimize_mix(fit, budget, max_epochs=max_epochs, seed=seed)
    assert isinstance(found, Mix)
    return found


def _curves(fit: FittedLaw, answer: Plan) -> Curves:
    """Every option's error from the least budget to the largest, on a grid that holds budgets and crossovers."""
    budgets = np.array([row.samples_seen for row in answer.rows])
    options = answer.rows[0].options
    weights = np.stack([fit.pools.weights(option.weights) for option in options])
    if fit.law.scans(fit.params):
        epochs = float(np.max(weights / fit.pools.sizes) * budgets[-1])
        points = int(MOST_SCANNED // (weights.size * bucket(epochs)))
    else:
        points = GRID
    between = np.geomspace(budgets[0], budgets[-1], min(GRID, max(points, 2)))
    crossings = np.array([each.samples_seen for each in answer.crossovers if each.decides])
    inside = crossings[(crossings > budgets[0]) & (crossings < budgets[-1])]
    grid = np.unique(np.concatenate([between[1:-1], budgets, inside]))
    return Curves(grid, tuple(option.name for option in options), error_table(fit, weights, grid))


def _pool_curves(fit: FittedLaw, runs: Runs) -> Curves:
    """Every pool alone over the range of samples seen in which any was measured."""
    grid = np.geomspace(runs.samples_seen.min(), runs.samples_seen.max(), GRID)
    return Curves(grid, fit.pools.names, error_table(fit, np.eye(len(fit.pools)), grid))


def _next_run(fit: FittedLaw, runs: Runs, budget: float, seed: int) -> tuple[NextRun | None, str]:
    """The run that is worth making next, or why none is known."""
    from qqtjax.design import next_run

    if len(fit.pools) == 1:
        return None, "one pool leaves nothing to decide"
    if len(fit.pools) > MOST_POOLS or len(runs) > MOST_CHECKPOINTS:
        return None, (
            f"with {len(fit.pools)} pools and {len(runs):,} checkpoints it takes long: ask qqt next "
            f"--budget {show_count(budget)}"
        )
    try:
        return next_run(runs, budget, fit.law, draws=NEXT_DRAWS, seed=seed), ""
    except InputError as problem:
        return None, str(problem)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
