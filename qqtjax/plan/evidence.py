"""How well measured mixtures were predicted: the law, the repetition-blind law, and interpolation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw
from qqtjax.mix.predict import errors_with_sizes
from qqtjax.runs import Runs

INTERPOLATION = "interpolation"
SAME_SHARE = 1e-6


@dataclasses.dataclass(frozen=True)
class Score:
    """How one way to predict did on the measured mixtures.

    Attributes:
        name: of the law, or "interpolation".
        mae: mean absolute error over the mixture checkpoints.
        bias: mean of predicted less measured error over the same.
        mae_difference: mean absolute error of predicted differences between two settings at one budget.
        accuracy: share of those pairs whose better one was predicted; pairs that were measured as equal count
            for nobody, a predicted tie is half right; NaN where no pair is left.
        regret_filter: measured error of the filter it would choose less that of the best measured filter,
            mean over budgets; NaN where no budget has two filters.
        regret: the same over all measured settings.
    """

    name: str
    mae: float
    bias: float
    mae_difference: float
    accuracy: float
    regret_filter: float
    regret: float


@dataclasses.dataclass(frozen=True)
class Evidence:
    """How well measured mixtures were predicted.

    Attributes:
        scores: one for each way to predict; the law itself first.
        mixtures: how many different mixtures.
        checkpoints: how many of their checkpoints were scored (each seed counts).
        left_out: mixture checkpoints outside the measured range of a pool alone, which cannot be interpolated
            and count for nobody.
        pairs: pairs of settings at one budget, at least one of them a mixture; seeds averaged.
        budgets: budgets at which at least two settings were measured, a mixture among them.
        held_out: was the law fitted on pools alone (or not fitted here: published constants); False where
            its fit saw mixtures, which may be these.
    """

    scores: tuple[Score, ...]
    mixtures: int
    checkpoints: int
    left_out: int
    pairs: int
    budgets: int
    held_out: bool


def mixture_evidence(
    fitted: FittedLaw,
    runs: Runs,
    *,
    blind: FittedLaw | None = None,
    others: Mapping[str, FittedLaw] | None = None,
) -> Evidence | None:
    """Score predictions of measured mixtures of two or more pools; None where there is none to score.

    Interpolation predicts sum_i w_i y_i(n), where y_i is the measured error of pool i alone, seeds averaged,
    linear in log n between checkpoints. Rows outside the measured range of a pool are left out for everybody.
    Single-pool rows take part in pairs and choices, each law with its own prediction of them. A filter is one
    pool, or a union of whole pools sampled uniformly.

    Args:
        fitted: the law, fitted on the single-pool rows.
        runs: the measured table, one metric; mixture rows are those of two or more pools.
        blind: a repetition-blind law fitted on the same rows.
        others: more laws to score, by name; one that is called like another score is shown as "name (2)".

    Returns:
        An `Evidence`, or None.

    Raises:
        InputError: several metrics, or other pools than the law's.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> alone = runs.select(runs.single)
        >>> law, blind = qqt.fit(alone), qqt.fit(alone, law=qqt.laws.power)
        >>> found = qqt.mixture_evidence(law, runs, blind=blind)
        >>> found.scores[0].mae < 0.45 * found.scores[1].mae
        True
    """
    if len(runs.metric_names) > 1:
        raise InputError(
            f"the table has the metrics {', '.join(runs.metric_names)}: choose one with runs.for_metric(name)"
        )
    weights, seen = runs.weights, runs.samples_seen
    mixture = np.count_nonzero(weights, axis=1) > 1
    if not mixture.any():
        return None
    if fitted.pools.names != runs.pools.names:
        raise InputError(f"the table's pools {runs.pools.names} are not the law's {fitted.pools.names}")
    between = interpolate(runs)
    known = np.isfinite(between)
    left_out = int(np.sum(mixture & ~known))
    scored = mixture & known
    if not scored.any():
        return None
    laws = {fitted.law.name: fitted}
    if blind is not None:
        laws[f"repetition-blind ({blind.law.name})"] = blind
    for name, each in (others or {}).items():
        laws[_free_name(name, {*laws, INTERPOLATION})] = each
    rows = scored | (runs.single & known)
    predicted = {
        name: errors_with_sizes(each, weights[rows], runs.sizes[rows], seen[rows]) for name, each in laws.items()
    }
    predicted[INTERPOLATION] = between[rows]
    table = runs.select(rows)
    # One entry for each setting at each budget, seeds averaged.
    keys, place = np.unique(np.stack([table.source, table.samples_seen]), axis=1, return_inverse=True)
    measured = _averaged(table.error, place)
    mixed = _averaged(mixture[rows], place) > 0
    hard = _averaged(_is_filter(table), place) > 0
    groups = [np.flatnonzero(keys[1] == budget) for budget in np.unique(keys[1])]
    groups = [group for group in groups if len(group) > 1 and mixed[group].any()]
    pairs = [(i, j) for group in groups for a, i in enumerate(group) for j in group[a + 1 :] if mixed[i] or mixed[j]]
    own = mixture[rows]
    scores = []
    for name, values in predicted.items():
        off = (values - table.error)[own]
        expected = _averaged(values, place)
        scores.append(
            Score(
                name=name,
                mae=float(np.mean(np.abs(off))),
                bias=float(np.mean(off)),
                **_pairwise(expected, measured, np.array(pairs, int).reshape(-1, 2)),
                regret_filter=_regret(expected, measured, [group[hard[group]] for group in groups]),
                regret=_regret(expected, measured, groups),
            )
        )
    return Evidence(
        scores=tuple(scores),
        mixtures=len(np.unique(table.source[own])),
        checkpoints=int(own.sum()),
        left_out=left_out,
        pairs=len(pairs),
        budgets=len(groups),
        held_out=fitted.seen is None or fitted.seen.mixtures == 0,
    )


def interpolate(runs: Runs) -> np.ndarray:
    """`[M]` errors as weighted means of the single-pool errors at the same samples seen, NaN out of range.

    sum_i w_i y_i(n),    y_i linear in log n between the checkpoints of pool i alone, seeds averaged
    """
    position = np.log(runs.samples_seen)
    weights = runs.weights
    total = np.zeros(len(runs))
    for pool in range(len(runs.pools)):
        alone = runs.source == pool
        places, index = np.unique(position[alone], return_inverse=True)
        drawn = weights[:, pool] > 0
        if not len(places):
            total[drawn] = np.nan
            continue
        curve = np.interp(position, places, _averaged(runs.error[alone], index), left=np.nan, right=np.nan)
        total[drawn] += weights[drawn, pool] * curve[drawn]
    return total


def _free_name(name: str, taken: set[str]) -> str:
    """The name, or "name (2)", "name (3)", ... where it is taken."""
    free, count = name, 1
    while free in taken:
        count += 1
        free = f"{name} ({count})"
    return free


def _averaged(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    place = place.reshape(-1)
    return np.bincount(place, values) / np.bincount(place)


def _is_filter(runs: Runs) -> np.ndarray:
    """`[M]` bool: one whole pool, or whole pools sampled in proportion to their sizes."""
    per_source = [True] * len(runs.pools)
    for weights, sizes in zip(runs.mixes, runs.mix_sizes, strict=True):
        drawn = weights > 0
        whole = np.allclose(sizes[drawn], runs.pools.sizes[drawn], rtol=SAME_SHARE)
        uniform = np.allclose(weights[drawn], sizes[drawn] / sizes[drawn].sum(), atol=SAME_SHARE)
        per_source.append(bool(whole and np.isfinite(sizes[drawn]).all() and uniform))
    return np.array(per_source)[runs.source]


def _pairwise(predicted: np.ndarray, measured: np.ndarray, pairs: np.ndarray) -> dict[str, float]:
    if not len(pairs):
        return {"mae_difference": float("nan"), "accuracy": float("nan")}
    expected = predicted[pairs[:, 0]] - predicted[pairs[:, 1]]
    actual = measured[pairs[:, 0]] - measured[pairs[:, 1]]
    # A predicted tie is half right.
    right = np.where(expected == 0, 0.5, np.sign(expected) == np.sign(actual))[actual != 0]
    return {
        "mae_difference": float(np.mean(np.abs(expected - actual))),
        "accuracy": float(np.mean(right)) if len(right) else float("nan"),
    }


def _regret(predicted: np.ndarray, measured: np.ndarray, groups: list[np.ndarray]) -> float:
    lost = [measured[group[np.argmin(predicted[group])]] - measured[group].min() for group in groups if len(group) > 1]
    return float(np.mean(lost)) if lost else float("nan")
