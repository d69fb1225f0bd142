"""From the weights of a bake-off to the laws of a robust plan: each fitted to all runs, with its weight."""

from __future__ import annotations

import warnings

from qqtjax.bakeoff.contestants import sizes_to_part
from qqtjax.bakeoff.result import Bakeoff
from qqtjax.errors import InputError, QQTWarning
from qqtjax.fit.fitting import fit
from qqtjax.laws import FittedLaw
from qqtjax.runs import Runs

LEAST_WEIGHT = 0.01


def ensemble(
    result: Bakeoff, runs: Runs, *, metric: str | None = None, starts: int = 16, seed: int = 0
) -> dict[FittedLaw, float]:
    """The laws that a bake-off stacked, fitted to all runs, with their weights: what `robust_mix` takes.

    Baselines (no formula to plan with), laws of less than .01 and laws that need a fit for each size of the model are
    left out; the weights of the others are scaled to sum 1. Each is fitted in the way that inner folds chose.

    Args:
        result: of `bakeoff` on these runs, not one from a file, which does not say how laws are fitted.
        runs: the measured table.
        metric: which of the targets; None where there is one.
        starts: of each fit.
        seed: of the starts.

    Returns:
        `{fit: weight}`.

    Raises:
        InputError: an unknown metric, or no law that has a weight and a formula.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C", roles=("single",))
        >>> runs = runs.select(runs.seed == runs.seed.min())
        >>> found = qqt.bakeoff(runs, (qqt.laws.power, qqt.laws.log_linear), "samples_seen>100k", huber=False)
        >>> round(sum(ensemble(found, runs, starts=4).values()), 6)
        1.0
    """
    name = result.metrics[0] if metric is None and len(result.metrics) == 1 else metric
    if name is None or name not in result.metrics:
        raise InputError(f"metric {metric!r}: expected one of {', '.join(result.metrics)}")
    table, models = runs.for_metric(name), result.models.get(name, {})
    chosen = {
        law: weight
        for law, weight in result.weights.get(name, {}).items()
        if weight >= LEAST_WEIGHT and law in models and sizes_to_part(models[law].law, table) is None
    }
    if not chosen:
        raise InputError("ensemble: no law with a formula has a weight, expected a result of bakeoff with several laws")
    total = sum(chosen.values())
    with warnings.catch_warnings():
        # The bake-off has judged these laws; what the table leaves open, `fit` says when it is asked.
        warnings.simplefilter("ignore", QQTWarning)
        return {
            fit(table, **models[law]._asdict(), starts=starts, seed=seed): weight / total
            for law, weight in chosen.items()
        }
