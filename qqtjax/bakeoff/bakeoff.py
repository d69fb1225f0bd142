"""`bakeoff`: laws against each other on runs that they were not fitted on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from qqtjax.bakeoff.contestants import Baseline, Entry, default_contestants, entered
from qqtjax.bakeoff.entrants import (
    INNER_STARTS,
    Entrant,
    from_baseline,
    from_law,
    inner_mae_of,
    inner_misses,
    stacked_mean,
)
from qqtjax.bakeoff.folded import Table, folded
from qqtjax.bakeoff.result import Bakeoff, Score
from qqtjax.bakeoff.scores import cells, decisions, errors, half_width
from qqtjax.bakeoff.splits import Split, by_mixture, by_run, parse_split
from qqtjax.errors import InputError
from qqtjax.fit.model import Model
from qqtjax.runs import Runs

# The second candidate of each law: its loss turns linear at so much of the spread of the fitted errors.
HUBER_SHARE = 0.02


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
    table = folded(runs, kind, seed, starts)
    spread = np.mean([np.std(table.errors[:, ~fold]) for fold in table.folds])
    # To a power of two, so that splits of one table share compiled programs.
    turns = float(2.0 ** np.round(np.log2(HUBER_SHARE * spread))) if huber and spread > 0 else None
    contestants = entered(default_contestants() if laws is None else laws, turns)
    entries, left_out = [], {}
    for each in contestants:
        progress(f"fitting {each.name}")
        began = time.perf_counter()
        entry = from_baseline(each, table) if isinstance(each, Baseline) else from_law(each, table)
        if isinstance(entry, str):
            left_out[each.name] = entry
        else:
            entries.append(entry._replace(seconds=time.perf_counter() - began))
    if not entries:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise InputError(f"no law can be fitted to this table: {reasons}")
    weights = {}
    if len(entries) > 1 and table.inner.shape[1]:
        stacked, weights = stacked_mean(entries, table)
        entries.append(stacked)
    return _tally(entries, table, left_out, weights, str(kind), level)


def _tally(
    entries: Sequence[Entrant],
    table: Table,
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
        misses, inner_mae = inner_misses(entry.inner, table), inner_mae_of(entry.inner, table)
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
