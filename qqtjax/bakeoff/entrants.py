"""What each contestant predicts, outside and inside the fitted part, and the stacked mean of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from qqtjax.bakeoff.contestants import Baseline, Contestant, reason_against, sizes_to_part
from qqtjax.bakeoff.folded import Table
from qqtjax.bakeoff.result import STACKED
from qqtjax.bakeoff.stacking import stack
from qqtjax.bakeoff.versions import Outcome, Version, fit_baseline, fit_law, split_by_size
from qqtjax.errors import InputError
from qqtjax.fit.model import Model
from qqtjax.fit.parameters import search_space

# Starts of an inner fit, which decides between candidates only.
INNER_STARTS = 2
# Laws are stacked that predict so much of what the inner folds hold out: one fitted to each size of the model on its
# own has nothing to say where an inner fold leaves no run of a size.
STACKED_SHARE = 0.75


class Entrant(NamedTuple):
    """What a contestant predicted; N = K T outer fits in the order of `Table.pairs`.

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


def from_law(contestant: Contestant, table: Table) -> Entrant | str:
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
        if short := _short(outer, len(space[0])):
            return short
        if _short(inner, max(map(len, space))):  # what passes through all that it is given has no best
            models = models[:1]
        tried = [_fit(table, inner, model, slots * parts, INNER_STARTS).predicted for model in models]
        guesses = np.reshape(tried, (len(models), slots, parts, len(table.runs)))
        chosen = np.argmin([inner_mae_of(guess, table) for guess in guesses], axis=0) if parts else np.zeros(slots, int)
        ends = [
            _fit(table, [each for each in outer if chosen[each.slot] == i], model, slots, table.starts)
            for i, model in enumerate(models)
        ]
    except InputError as problem:
        return str(problem)
    end = Outcome(*(np.stack(each)[chosen, np.arange(slots)] for each in zip(*ends, strict=True)))
    if not np.all(np.isfinite(end.predicted[_held(table)])):
        return "predicts something that is not finite"
    return Entrant(
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


def _short(versions: Sequence[Version], parameters: int) -> str:
    """Which of these fits has fewer checkpoints than parameters, in words; empty where none has."""
    fewest = min((int(each.fitted.sum()) for each in versions), default=parameters)
    checkpoints = f"{fewest} checkpoint{'' if fewest == 1 else 's'}"
    return f"{checkpoints} to fit {parameters} parameters" if fewest < parameters else ""


def _fit(table: Table, versions: list[Version], model: Model, slots: int, starts: int) -> Outcome:
    return fit_law(table.runs, table.errors, versions, model, slots, starts, table.seed)


def from_baseline(baseline: Baseline, table: Table) -> Entrant | str:
    """What a baseline predicts, or why it cannot take part."""
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
    return Entrant(baseline.name, outer.predicted, guesses, outer.converged, outer.agreeing)


def _held(table: Table) -> np.ndarray:
    """`[N, M]` what each outer fit predicts."""
    return np.array([table.folds[fold] for fold, _ in table.pairs])


def inner_misses(guesses: np.ndarray, table: Table) -> np.ndarray:
    """`[N, J, M]` predicted minus measured of the inner folds."""
    return guesses - np.array([table.errors[target] for _, target in table.pairs])[:, None]


def inner_mae_of(guesses: np.ndarray, table: Table) -> np.ndarray:
    """`[N]`; infinite where a prediction is, or where there is none."""
    misses = np.abs(inner_misses(guesses, table))
    count = np.sum(~np.isnan(misses), axis=(1, 2))
    return np.where(count > 0, np.nansum(misses, axis=(1, 2)) / np.maximum(count, 1), np.inf)


def stacked_mean(entries: Sequence[Entrant], table: Table) -> tuple[Entrant, dict[str, dict[str, float]]]:
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
    entry = Entrant(STACKED, mean, guess, np.ones(slots, bool), np.ones(slots))
    by_target = np.array([target for _, target in table.pairs])
    shown = {
        metric: {
            each.name: float(weight)
            for each, weight in zip(entries, weights[by_target == target].mean(axis=0), strict=True)
        }
        for target, metric in enumerate(table.metrics)
    }
    return entry, shown
