"""`bakeoff`: laws against each other on runs that they were not fitted on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from qqtjax.bakeoff.contestants import (
    Baseline,
    Contestant,
    Entry,
    default_contestants,
    entered,
    reason_against,
    sizes_to_part,
)
from qqtjax.bakeoff.result import STACKED, Bakeoff, Score
from qqtjax.bakeoff.scores import cells, decisions, errors, half_width
from qqtjax.bakeoff.splits import Split, by_mixture, by_run, held_out, parse_split
from qqtjax.bakeoff.stacking import stack
from qqtjax.bakeoff.versions import Outcome, Version, fit_baseline, fit_law, split_by_size
from qqtjax.errors import InputError
from qqtjax.fit.model import Model
from qqtjax.fit.parameters import search_space
from qqtjax.runs import Runs

# The second candidate of each law: its loss turns linear at so much of the spread of the fitted errors.
HUBER_SHARE = 0.02
# Starts of an inner fit, which decides between candidates only.
INNER_STARTS = 2
# Laws are stacked that predict so much of what the inner folds hold out: one fitted to each size of the model on its
# own has nothing to say where an inner fold leaves no run of a size.
STACKED_SHARE = 0.75


class _Table(NamedTuple):
    """One table with its folds; K folds, T targets, J inner folds of each fold, M checkpoints.

    `inner` is `[K, J, M]`: what each inner fold of a fold holds out of what the fold fits.
    """

    runs: Runs
    metrics: tuple[str, ...]
    errors: np.ndarray
    folds: np.ndarray
    inner: np.ndarray
    seed: int
    starts: int

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The fold and target of each outer fit."""
        return [(fold, target) for fold in range(len(self.folds)) for target in range(len(self.errors))]

    def outer_versions(self) -> list[Version]:
        return [Version(i, t, ~self.folds[k], self.folds[k]) for i, (k, t) in enumerate(self.pairs)]

    def inner_versions(self) -> list[Version]:
        count = self.inner.shape[1]
        return [
            Version(i * count + j, t, ~self.folds[k] & ~self.inner[k, j], self.inner[k, j])
            for i, (k, t) in enumerate(self.pairs)
            for j in range(count)
        ]


class _Entry(NamedTuple):
    """What a contestant predicted; N = K T outer fits in the order of `_Table.pairs`.

    `outer` is `[N, M]`, `inner` `[N, J, M]`, both NaN where nothing is predicted; `models` are those that the inner
    folds chose, none of a baseline.
    """

    name: str
    outer: np.ndarray
    inner: np.ndarray
    converged: np.ndarray
    agreeing: np.ndarray
    models: tuple[Model, ...] = ()
    parameters: int = 0
    apart: bool = False
    seconds: float = 0.0


def bakeoff(
    runs: Runs,
    laws: Iterable[Entry] | None = None,
    split: str | Split = "random:.2",
    *,
    seed: int = 0,
    starts: int = 8,
    level: float = 0.9,
    huber: bool = True,
    progress: Callable[[str], None] = lambda text: None,
) -> Bakeoff:
    """Fit laws to some checkpoints and score what they predict for the others.

    Each law is fitted to all targets, folds and starts at once (`fit_laws`). Between the candidates of a law (squares
    or a Huber loss, and for laws of our own how they are fitted), inner folds of the same kind as the split decide,
    inside what is fitted; the intervals (split conformal) and the weights of the stacked mean of laws rest on them too.
    A law that does not know the size of the model is fitted to each size on its own.

    Args:
        runs: the measured table, one metric or several; several are several targets.
        laws: laws, `Model`s, `Contestant`s or `Baseline`s; None: every law.
        split: what is held out, see `parse_split`.
        seed: of split, starts and resampling; the same seed gives the same figures.
        starts: of each outer fit.
        level: nominal coverage of the intervals.
        huber: is each law also fitted with a Huber loss, for inner folds to choose; squares only take half the time.
        progress: told who is being fitted.

    Returns:
        A `Bakeoff`: print it for the table.

    Raises:
        InputError: a split that leaves nothing to fit or to score, metrics measured at different checkpoints, no law.

    Example:
        >>> import qqtjax as qqt
        >>> def mean(runs):
        ...     return lambda others: np.full(len(others), runs.error.mean())
        >>> bakeoff(qqt.wordclip("C"), [Baseline("mean", mean)], "samples_seen>100k").checkpoints
        (540, 225)
    """
    kind = parse_split(split) if isinstance(split, str) else split
    if not 0 < level < 1:
        raise InputError(f"level {level!r}: expected a number between 0 and 1")
    table = _table(runs, kind, seed, starts)
    spread = np.mean([np.std(table.errors[:, ~fold]) for fold in table.folds])
    # To a power of two, so that splits of one table share compiled programs.
    turns = float(2.0 ** np.round(np.log2(HUBER_SHARE * spread))) if huber and spread > 0 else None
    contestants = entered(default_contestants() if laws is None else laws, turns)
    entries, left_out = [], {}
    for each in contestants:
        progress(f"fitting {each.name}")
        began = time.perf_counter()
        entry = _from_baseline(each, table) if isinstance(each, Baseline) else _from_law(each, table)
        if isinstance(entry, str):
            left_out[each.name] = entry
        else:
            entries.append(entry._replace(seconds=time.perf_counter() - began))
    if not entries:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise InputError(f"no law can be fitted to this table: {reasons}")
    weights = {}
    if len(entries) > 1 and table.inner.shape[1]:
        stacked, weights = _stacked(entries, table)
        entries.append(stacked)
    return _result(entries, table, left_out, weights, str(kind), level)


def _table(runs: Runs, split: Split, seed: int, starts: int) -> _Table:
    tables = [runs.for_metric(name) for name in runs.metric_names]
    first = tables[0]
    for name, each in zip(runs.metric_names, tables, strict=True):
        fields = ("source", "samples_seen", "run", "seed", "model_size")
        if not all(np.array_equal(getattr(each, field), getattr(first, field)) for field in fields):
            raise InputError(f"metric {name!r} was measured at other checkpoints than {runs.metric_names[0]!r}")
    folds = held_out(split, first, seed)
    parts = [split.inner(first.select(~fold), seed) for fold in folds]
    inner = np.zeros((len(folds), min(len(each) for each in parts), len(first)), bool)
    for fold, held, found in zip(folds, inner, parts, strict=True):
        held[:, ~fold] = found[: len(held)]
    return _Table(first, runs.metric_names, np.stack([each.error for each in tables]), folds, inner, seed, starts)


def _from_law(contestant: Contestant, table: _Table) -> _Entry | str:
    """What a law predicts, or why it cannot take part."""
    law = contestant.models[0].law
    reason = reason_against(law, table.runs, [~fold for fold in table.folds])
    if reason:
        return reason
    models = contestant.models if np.any(table.runs.epochs > 1) else _told_apart_without_repeats(contestant.models)
    inner, outer = table.inner_versions(), table.outer_versions()
    slots, parts = len(outer), table.inner.shape[1]
    sizes = sizes_to_part(law, table.runs)
    if sizes is not None:
        inner, outer = (split_by_size(each, sizes) for each in (inner, outer))
    try:
        space = [search_space(law, table.runs, model.share, model.fixed, model.free, model.bounds) for model in models]
        tried = [_fit(table, inner, model, slots * parts, INNER_STARTS).predicted for model in models]
        guesses = np.reshape(tried, (len(models), slots, parts, len(table.runs)))
        chosen = np.argmin([_inner_mae(guess, table) for guess in guesses], axis=0) if parts else np.zeros(slots, int)
        ends = [
            _fit(table, [each for each in outer if chosen[each.slot] == i], model, slots, table.starts)
            for i, model in enumerate(models)
        ]
    except InputError as problem:
        return str(problem)
    end = Outcome(*(np.stack(each)[chosen, np.arange(slots)] for each in zip(*ends, strict=True)))
    if not np.all(np.isfinite(end.predicted[_held(table)])):
        return "predicts something that is not finite"
    return _Entry(
        contestant.name,
        end.predicted,
        guesses[chosen, np.arange(slots)],
        end.converged,
        end.agreeing,
        tuple(models[i] for i in chosen),
        parameters=len(space[int(np.bincount(chosen).argmax())]),
        apart=sizes is not None,
    )


def _told_apart_without_repeats(models: tuple[Model, ...]) -> tuple[Model, ...]:
    """Without the candidates that differ from another in the wear of repeats only."""
    wear = {"dilution", "half_life_growth"}
    found: dict[str, Model] = {}
    for model in models:
        fixed = {name: value for name, value in (model.fixed or {}).items() if name not in wear}
        rest = model._replace(fixed=fixed, free=tuple(name for name in model.free if name not in wear))
        found.setdefault(repr(rest), model)
    return tuple(found.values())


def _fit(table: _Table, versions: list[Version], model: Model, slots: int, starts: int) -> Outcome:
    return fit_law(table.runs, table.errors, versions, model, slots, starts, table.seed)


def _from_baseline(baseline: Baseline, table: _Table) -> _Entry | str:
    slots, parts = len(table.pairs), table.inner.shape[1]
    try:
        inner, outer = (
            fit_baseline(table.runs, table.errors, versions, baseline, count)
            for versions, count in ((table.inner_versions(), slots * parts), (table.outer_versions(), slots))
        )
    except InputError as problem:
        return str(problem)
    if not np.all(np.isfinite(outer.predicted[_held(table)])):
        return "predicts something that is not finite"
    guesses = inner.predicted.reshape(slots, parts, len(table.runs))
    return _Entry(baseline.name, outer.predicted, guesses, outer.converged, outer.agreeing)


def _held(table: _Table) -> np.ndarray:
    """`[N, M]` what each outer fit predicts."""
    return np.array([table.folds[fold] for fold, _ in table.pairs])


def _inner_misses(guesses: np.ndarray, table: _Table) -> np.ndarray:
    """`[N, J, M]` predicted minus measured of the inner folds."""
    return guesses - np.array([table.errors[target] for _, target in table.pairs])[:, None]


def _inner_mae(guesses: np.ndarray, table: _Table) -> np.ndarray:
    """`[N]`; infinite where a prediction is, or where there is none."""
    misses = np.abs(_inner_misses(guesses, table))
    count = np.sum(~np.isnan(misses), axis=(1, 2))
    return np.where(count > 0, np.nansum(misses, axis=(1, 2)) / np.maximum(count, 1), np.inf)


def _stacked(entries: Sequence[_Entry], table: _Table) -> tuple[_Entry, dict[str, dict[str, float]]]:
    """The stacked mean of all, with weights of each fold and target; the weights by target, averaged over folds."""
    outer, inner = np.stack([each.outer for each in entries]), np.stack([each.inner for each in entries])
    weights = np.zeros((len(table.pairs), len(entries)))
    for slot, (_, target) in enumerate(table.pairs):
        guesses = inner[:, slot]
        part = table.inner[table.pairs[slot][0]]
        guesses, measured = guesses[:, part], np.broadcast_to(table.errors[target], part.shape)[part]
        # A law that leaves many of the inner held-out checkpoints open gets no weight.
        known = np.isfinite(guesses)
        sound = known.mean(axis=1) >= STACKED_SHARE
        if not sound.any():
            weights[slot] = 1 / len(entries)
            continue
        rows = known[sound].all(axis=0)
        weights[slot, sound] = stack(guesses[sound][:, rows], measured[rows])
    mean = np.einsum("nl,lnm->nm", weights, outer)
    used = np.where(weights.T[:, :, None, None] > 0, inner, 0.0)
    guess = np.einsum("nl,lnjm->njm", weights, used)
    guess = np.where(np.array([table.inner[fold] for fold, _ in table.pairs]), guess, np.nan)
    slots = len(table.pairs)
    entry = _Entry(STACKED, mean, guess, np.ones(slots, bool), np.ones(slots))
    by_target = np.array([target for _, target in table.pairs])
    shown = {
        metric: {
            each.name: float(weight)
            for each, weight in zip(entries, weights[by_target == target].mean(axis=0), strict=True)
        }
        for target, metric in enumerate(table.metrics)
    }
    return entry, shown


def _result(
    entries: Sequence[_Entry],
    table: _Table,
    left_out: dict[str, str],
    weights: dict[str, dict[str, float]],
    split: str,
    level: float,
) -> Bakeoff:
    rows = np.flatnonzero(table.folds.any(axis=0))
    runs = table.runs.select(rows)
    mixture = by_mixture(runs)
    block = mixture if len(np.unique(mixture)) > 1 else by_run(runs)
    option, cell = runs.source, cells(runs)
    measured = {metric: table.errors[target][rows] for target, metric in enumerate(table.metrics)}
    predicted: dict[str, dict[str, np.ndarray]] = {metric: {} for metric in table.metrics}
    models: dict[str, dict[str, Model]] = {metric: {} for metric in table.metrics}
    scores = []
    of_target = np.array([target for _, target in table.pairs])
    for entry in entries:
        misses, inner_mae = _inner_misses(entry.inner, table), _inner_mae(entry.inner, table)
        for target, metric in enumerate(table.metrics):
            slots = np.flatnonzero(of_target == target)
            used = [entry.models[slot] for slot in slots] if entry.models else []
            if used:
                models[metric][entry.name] = max(used, key=used.count)
            guess = np.nansum(np.where(np.isnan(entry.outer[slots]), 0.0, entry.outer[slots]), axis=0)[rows]
            predicted[metric][entry.name] = guess
            wide = np.zeros(len(table.runs))
            for slot in slots:
                known = misses[slot][np.isfinite(misses[slot])]
                wide[table.folds[table.pairs[slot][0]]] = half_width(known, level)
            inside = np.abs(guess - measured[metric]) <= wide[rows]
            choice = decisions(guess, measured[metric], option, cell)
            scores.append(
                Score(
                    metric,
                    entry.name,
                    *errors(guess, measured[metric]),
                    coverage=float(np.mean(inside)) if np.all(np.isfinite(wide)) else np.nan,
                    half_width=float(np.mean(wide[rows])),
                    regret=choice.regret,
                    pairs_right=choice.pairs_right,
                    inner_mae=float(np.mean(inner_mae[slots])),
                    parameters=entry.parameters,
                    converged=float(np.mean(entry.converged[slots])),
                    agreeing=float(np.mean(entry.agreeing[slots])),
                    huber=float(np.mean([model.huber is not None for model in used])) if used else 0.0,
                    apart=entry.apart,
                    seconds=entry.seconds,
                )
            )
    mean = {entry.name: np.mean([each.mae for each in scores if each.law == entry.name]) for entry in entries}
    return Bakeoff(
        split=split,
        seed=table.seed,
        level=level,
        checkpoints=(int((~table.folds[0]).sum()), len(rows)),
        scores=tuple(sorted(scores, key=lambda each: (mean[each.law], table.metrics.index(each.metric)))),
        left_out=left_out,
        weights=weights,
        rows=rows,
        block=block,
        measured=measured,
        predicted=predicted,
        settings={"starts": table.starts, "inner_starts": INNER_STARTS, "huber_share": HUBER_SHARE},
        models=models,
    )
