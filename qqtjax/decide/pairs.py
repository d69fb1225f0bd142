"""Pairs of measured runs at one budget: how surely draws say which is better, and which was."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.draws import Draws
from qqtjax.runs import Runs

MOST = 20_000


class Pairs(NamedTuple):
    """N pairs of checkpoints, an A and a B each.

    Attributes:
        rows: `[N, 2]` of the table.
        probability: `[N]` stated, that A is measured below B.
        happened: `[N]` bool, was it.
    """

    rows: np.ndarray
    probability: np.ndarray
    happened: np.ndarray


def measured_pairs(draws: Draws, runs: Runs, noise: float | None = None, *, most: int = MOST, seed: int = 0) -> Pairs:
    """All pairs of checkpoints of different pools or mixtures with equal samples seen, which of them is A drawn.

        P(A below B) = mean over s of Phi((y_s(w_B, n) - y_s(w_A, n)) / (sqrt(2) sigma))

    Source: ours; y_s is the law under draw s, sigma the noise of one measured error. Pairs that share a run depend on
    each other: thirty runs are not 435 facts. Runs on parts of pools and pairs of equal measured error are left out.

    Args:
        draws: of a fit that has not seen `runs`.
        runs: measured runs on its pools, one metric.
        noise: sigma; by default the root mean square of the fit's residuals.
        most: so many pairs, drawn evenly, where there are more.
        seed: of all that is drawn.

    Returns:
        The `Pairs`; `reliability(pairs.probability, pairs.happened)` says whether they come true.

    Raises:
        InputError: several metrics, other pools than the law's, a noise that is not positive or not known; no pair.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> alone, mixed = runs.select(runs.single), runs.select(~runs.single)
        >>> found = measured_pairs(qqt.draw(qqt.fit(alone), alone, 200), mixed)
        >>> bool(np.mean(found.happened[found.probability > 0.9]) > 0.9)
        True
    """
    fitted = draws.fitted
    if len(runs.metric_names) > 1:
        raise InputError(f"the table has the metrics {', '.join(runs.metric_names)}: expected one")
    if fitted.pools.names != runs.pools.names:
        raise InputError(
            f"pools {', '.join(runs.pools.names)}: expected those of the law, {', '.join(fitted.pools.names)}"
        )
    sigma = noise if noise is not None else 0.0 if fitted.diagnostics is None else fitted.diagnostics.rmse
    if not 0 < sigma < np.inf:
        raise InputError(f"noise {sigma!r}: expected the standard deviation of one measured error, above 0")
    rng = np.random.default_rng(seed)
    rows = _pairs(runs, most, rng)
    if not len(rows):
        raise InputError("no two runs of different pools or mixtures were measured at equal samples seen")
    used, place = np.unique(rows, return_inverse=True)
    drawn = draws.predict(runs.weights[used], runs.samples_seen[used])
    first, second = place.reshape(rows.shape).T
    return Pairs(rows, _below(drawn, first, second, sigma), runs.error[rows[:, 0]] < runs.error[rows[:, 1]])


def _pairs(runs: Runs, most: int, rng: np.random.Generator) -> np.ndarray:
    """`[N, 2]` rows of at most so many pairs, in random order within each."""
    whole = np.all((runs.sizes == runs.pools.sizes) | (runs.weights == 0), axis=1)
    found = [np.zeros((0, 2), int)]
    for seen in np.unique(runs.samples_seen[whole]):
        at = np.flatnonzero(whole & (runs.samples_seen == seen))
        pairs = at[np.stack(np.triu_indices(len(at), 1), axis=1)]
        differ = runs.source[pairs[:, 0]] != runs.source[pairs[:, 1]]
        apart = runs.error[pairs[:, 0]] != runs.error[pairs[:, 1]]
        found.append(pairs[differ & apart])
    rows = np.concatenate(found)
    if len(rows) > most:
        rows = rows[np.sort(rng.choice(len(rows), most, replace=False))]
    return rng.permuted(rows, axis=1)


def _below(drawn: np.ndarray, first: np.ndarray, second: np.ndarray, sigma: float) -> np.ndarray:
    """`[N]` probability that a measurement of the first lies below one of the second; draws one at a time."""
    from scipy.special import ndtr

    total = np.zeros(len(first))
    for errors in drawn:
        total += ndtr((errors[second] - errors[first]) / (np.sqrt(2) * sigma))
    return total / len(drawn)
