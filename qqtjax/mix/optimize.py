"""The best weights over pools for any fitted law, budget and constraints: `optimize_mix`."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError, QQTWarning
from qqtjax.laws.fitted import FittedLaw, evaluate
from qqtjax.mix.asked import budgets_of, check_draws, check_numbers, constraints_of, numbers, sizes_of
from qqtjax.mix.constraints import check
from qqtjax.mix.feasible import TOLERANCE, Feasible, active, violation
from qqtjax.mix.filters import nested_filters, quality_order
from qqtjax.mix.many import solve_many
from qqtjax.mix.predict import tie_of_pools
from qqtjax.mix.result import Mix, Mixes, RunnerUp
from qqtjax.mix.single import Solved, solve_one
from qqtjax.runs import Pools, Run
from qqtjax.text import show_count

MOST_COMPARED = 256  # pools, the best ones, that stand alone or in a nested filter beside the best mix


def optimize_mix(
    fit: FittedLaw | Mapping[str, FittedLaw],
    budget: float | ArrayLike,
    *,
    draws: Any = None,
    sizes: ArrayLike | Mapping[str, float] | None = None,
    seen_before: Mapping[str, float] | ArrayLike | None = None,
    metric_weights: Mapping[str, float] | None = None,
    worst_case: bool = False,
    starts: ArrayLike | None = None,
    seed: int = 0,
    **constraints: Any,
) -> Mix | Mixes:
    """Weights over pools that minimise the predicted error at a budget, under constraints, with a proof.

        w* = argmin y(w, n),   sum_i w_i = 1,   all constraints

    For `laws.utility` with the paper's decay, b < 0 and dilution in [0, 1] (and for `laws.power`) the optimum is
    global and certified by a duality gap: by water-filling under bounds alone, by linear programmes over ever finer
    pieces under rows, distances, penalties and for several metrics. For every other law the best of many local
    searches is returned with its KKT residual; where the law is known to be convex in the weights, that too is
    global. Source: ours, for the law of arXiv 2404.07177.

    Args:
        fit: a fitted law, or `{metric: law}` on the same pools, whose errors are summed (`metric_weights`) or of
            which the worst counts (`worst_case`).
        budget: samples seen, repeats counted; an array for many budgets at once.
        draws: the law's parameters with a leading axis of S draws on every leaf, in place of `fit.params`.
        sizes: `{pool: samples}` or `[P]` to plan for, or `[Z, P]` for many; half-lives stay tied to the sizes that
            they were measured on.
        seen_before: `{pool: samples}` or `[P]` that the model was trained on before; `budget` comes on top.
        metric_weights: `{metric: factor}`; 1 each by default.
        worst_case: minimise the largest of the errors.
        starts: `[S, P]` weights to start local searches from, beside those of their own.
        seed: of the random starts of local searches.
        **constraints: what the weights must satisfy, as for `mix.Constraints`: `caps`, `minimums`, `bounds`,
            `fixed`, `max_epochs`, `groups`, `cost` and `max_cost`, `reference` with `max_kl`, `max_l1`, `kl_penalty`
            or `l1_penalty`, `min_pools`.

    Returns:
        A `Mix`; with an array of budgets, `draws` or `[Z, P]` sizes `Mixes`, of shape draws x sizes x budgets, each
        axis only where it was given.

    Raises:
        InputError: a budget that is not a positive number, an unknown pool, metric or constraint, parameters that
            are not numbers, constraints that collide (which, and the largest budget that can be reached).

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> mix = optimize_mix(paper, 640e6, max_epochs=20)
        >>> mix.weights.round(4).tolist(), round(mix.error, 4), mix.certificate.proof
        ([0.4, 0.4, 0.2, 0.0], 0.6413, 'global')
        >>> optimize_mix(paper, [64e6, 128e6]).weights.round(3).tolist()
        [[0.8, 0.2, 0.0, 0.0], [0.667, 0.333, 0.0, 0.0]]
    """
    laws = _laws(fit)
    first = next(iter(laws.values()))
    asked = constraints_of(constraints)
    budgets = budgets_of(budget)
    planned = sizes_of(sizes, list(laws.values()))
    before = _before(seen_before, first)
    factors = _factors(laws, metric_weights, worst_case)
    given = _starts(starts, len(first.pools))
    below = _scale_warning(laws, float(np.min(budgets)) + (0.0 if before is None else float(before.sum())))
    if below:
        warnings.warn(below, QQTWarning, stacklevel=2)
    many = budgets.ndim > 0 or draws is not None or planned.ndim > 1
    if many:
        if len(laws) > 1:
            raise InputError("several metrics with many budgets, draws or sizes: expected one problem at a time")
        check_draws(draws, first)
        return solve_many(first, factors, draws, planned, budgets, asked, before, given, seed)
    pools = Pools(first.pools.names, planned)
    laws = {name: dataclasses.replace(each, pools=pools) for name, each in laws.items()}
    feasible = asked.bind(pools, float(budgets), seen_before=before)
    check(feasible, pools, float(budgets))
    solved = solve_one(list(laws.values()), factors, float(budgets), feasible, before, given, seed)
    return _answer(laws, factors, float(budgets), feasible, before, solved)


def _laws(fit: FittedLaw | Mapping[str, FittedLaw]) -> dict[str, FittedLaw]:
    laws = dict(fit) if isinstance(fit, Mapping) else {getattr(fit, "metric", ""): fit}
    if not laws or not all(isinstance(each, FittedLaw) for each in laws.values()):
        raise InputError("fit: expected a fitted law, or {metric: fitted law}")
    pools = next(iter(laws.values())).pools
    for name, each in laws.items():
        if each.pools.names != pools.names or not np.array_equal(each.pools.sizes, pools.sizes):
            raise InputError(f"metric {name!r}: its pools differ from those of the first; expected the same pools")
        check_numbers("the fit's", each.params)
    return laws


def _before(seen_before: Mapping[str, float] | ArrayLike | None, fitted: FittedLaw) -> np.ndarray | None:
    """`[P]` samples, or None where there are none."""
    if seen_before is None:
        return None
    given = seen_before if isinstance(seen_before, Mapping) else numbers("seen_before", seen_before)
    exposure = fitted.run(np.eye(len(fitted.pools))[0], 1.0, given).seen_before
    return np.asarray(exposure) if np.any(exposure) else None


def _starts(starts: ArrayLike | None, count: int) -> np.ndarray | None:
    """`[S, P]` weights."""
    if starts is None:
        return None
    given = np.atleast_2d(numbers("starts", starts))
    if given.ndim != 2 or given.shape[1] != count or not np.all(np.isfinite(given)):
        raise InputError(f"starts of shape {given.shape}: expected [S, {count}] finite weights")
    return given


def _factors(
    laws: Mapping[str, FittedLaw], metric_weights: Mapping[str, float] | None, worst_case: bool
) -> np.ndarray | None:
    if worst_case:
        if metric_weights is not None:
            raise InputError("metric_weights and worst_case: expected one of them")
        return None
    factors = np.ones(len(laws))
    for name, factor in (metric_weights or {}).items():
        if name not in laws:
            raise InputError(f"metric_weights: unknown metric {name!r}: there are {', '.join(laws)}")
        if not (isinstance(factor, int | float | np.number) and np.isfinite(factor) and factor >= 0):
            raise InputError(f"metric_weights of {name!r} {factor!r}: expected a finite number >= 0")
        factors[list(laws).index(name)] = factor
    if not factors.any():
        raise InputError("metric_weights are all 0: expected one above 0")
    return factors


def _scale_warning(laws: Mapping[str, FittedLaw], seen: float) -> str:
    scales = [scale for each in laws.values() if (scale := tie_of_pools(each.params))]
    if not scales or seen >= max(scales):
        return ""
    return (
        f"{show_count(seen)} samples are below the scale of {show_count(max(scales))}, where all pools tie: outside "
        "what the law describes, and it ranks pools in reverse"
    )


def _answer(
    laws: dict[str, FittedLaw],
    factors: np.ndarray | None,
    budget: float,
    feasible: Feasible,
    before: np.ndarray | None,
    solved: Solved,
) -> Mix:
    first = next(iter(laws.values()))
    pools, weights = first.pools, solved.weights

    def predicted(mixes: Sequence[np.ndarray]) -> np.ndarray:
        """`[M, L]` errors of mixes under each law."""
        rows = np.stack(mixes)
        run = Run(
            weights=rows,
            sizes=np.broadcast_to(pools.sizes, rows.shape),
            samples_seen=np.full(len(rows), budget),
            seen_before=None if before is None else np.broadcast_to(before, rows.shape),
        )
        return np.stack([evaluate(each.law, each.params, run) for each in laws.values()], axis=1)

    def joined(errors: np.ndarray) -> np.ndarray:
        return errors.max(axis=1) if factors is None else errors @ factors

    named = _others(first, feasible)
    errors = predicted([weights, *(row for _, row in named)])
    together = joined(errors)
    total = budget + (0.0 if before is None else float(before.sum()))
    notes = [text for text in (_scale_warning(laws, total), _short_epochs(laws, pools, weights)) if text]
    notes += [
        f"extrapolates: {text}"
        for text in dict.fromkeys(each.extrapolation(weights, budget) for each in laws.values())
        if text
    ]
    runner_ups = _best_of_each(pools, named, together[1:], feasible)
    return Mix(
        law=", ".join(dict.fromkeys(each.law.name for each in laws.values())),
        metric=first.metric if len(laws) == 1 else ("worst metric" if factors is None else "weighted metrics"),
        pools=pools,
        samples_seen=budget,
        weights=weights,
        error=float(together[0]),
        errors=dict(zip(laws, map(float, errors[0]), strict=True)),
        epochs=budget * weights / pools.sizes,
        certificate=solved.certificate,
        active=active(feasible, weights),
        runner_ups=runner_ups,
        objective=solved.objective,
        seen_before=before,
        warnings=tuple(notes),
    )


def _short_epochs(laws: Mapping[str, FittedLaw], pools: Pools, weights: np.ndarray) -> str:
    scale = max((tie_of_pools(each.params) or 0.0) for each in laws.values())
    short = [name for name, size, share in zip(pools.names, pools.sizes, weights, strict=True) if share * scale > size]
    if not short:
        return ""
    return (
        f"an epoch of {', '.join(short[:5])} is below the scale of {show_count(scale, 4)} samples: many epochs of it "
        "may be predicted to hurt"
    )


def _others(fitted: FittedLaw, feasible: Feasible) -> list[tuple[str, np.ndarray]]:
    """`(name, [P] weights)`: pools alone and nested filters of the best, all in proportion, the reference."""
    pools = fitted.pools
    order = quality_order(fitted)[:MOST_COMPARED]
    named = []
    for place in order:
        alone = np.zeros(len(pools))
        alone[place] = 1.0
        named.append((f"single pool {pools.names[place]}", alone))
    for option in nested_filters(pools, order):
        named.append((f"nested filter {option.name}", option.weights))
    if np.all(np.isfinite(pools.sizes)):
        named.append(("proportional to size", pools.union(range(len(pools)))))
    distances = (feasible.l1, feasible.kl_penalty, feasible.l1_penalty)
    references = [each[0] for each in distances if each is not None]
    references += [each.reference for each in feasible.entropies if abs(each.reference.sum() - 1) <= TOLERANCE]
    return named + [("reference", each) for each in references[:1]]


def _best_of_each(
    pools: Pools, named: list[tuple[str, np.ndarray]], errors: np.ndarray, feasible: Feasible
) -> tuple[RunnerUp, ...]:
    """The best of each kind, ascending by error."""
    found = []
    for kind in ("single pool", "nested filter", "proportional", "reference"):
        places = [place for place, (name, _) in enumerate(named) if name.startswith(kind)]
        if not places:
            continue
        place = min(places, key=lambda each: errors[each])
        name, row = named[place]
        found.append(
            RunnerUp(
                name=f"best {name}" if kind in ("single pool", "nested filter") else name,
                weights=dict(zip(pools.names, map(float, row), strict=True)),
                error=float(errors[place]),
                feasible=violation(feasible, row) <= TOLERANCE,
            )
        )
    return tuple(sorted(found, key=lambda other: other.error))
