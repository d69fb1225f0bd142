"""The best weights over pools for any fitted law, budget and constraints: `optimize_mix`."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError, QQTWarning
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import FittedLaw
from qqtjax.mix.alternatives import alternatives, any_errors, runner_ups, separable_errors
from qqtjax.mix.asked import (
    before_of,
    budgets_of,
    check_draws,
    constraints_of,
    factors_of,
    laws_of,
    seed_of,
    sizes_of,
    starts_of,
)
from qqtjax.mix.constraints import Constraints, check
from qqtjax.mix.feasible import Feasible, active
from qqtjax.mix.many import solve_many
from qqtjax.mix.predict import tie_of_pools
from qqtjax.mix.result import Mix, Mixes
from qqtjax.mix.separable import is_separable
from qqtjax.mix.single import Solved, in_doubles, solve_one
from qqtjax.runs import Pools
from qqtjax.text import show_count


def optimize_mix(
    fit: FittedLaw | Draws | Mapping[str, FittedLaw],
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
        fit: a fitted law, `Draws` of one (the best mix of each), or `{metric: law}` on the same pools, whose errors
            are summed (`metric_weights`) or of which the worst counts (`worst_case`).
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
        axis only where it was given; `mixes.at(place)` is the `Mix` of one of them.

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
    if isinstance(fit, Draws):
        fit, draws = fit.in_place_of(draws)
    laws = laws_of(fit)
    first = next(iter(laws.values()))
    asked = constraints_of(constraints)
    budgets = budgets_of(budget)
    planned = sizes_of(sizes, list(laws.values()))
    before = before_of(seen_before, first)
    factors = factors_of(laws, metric_weights, worst_case)
    given, seed = starts_of(starts, len(first.pools)), seed_of(seed)
    below = _scale_warning(laws, float(np.min(budgets)) + (0.0 if before is None else float(before.sum())))
    if below:
        warnings.warn(below, QQTWarning, stacklevel=2)
    many = budgets.ndim > 0 or draws is not None or planned.ndim > 1
    if many:
        if len(laws) > 1:
            raise InputError("several metrics with many budgets, draws or sizes: expected one problem at a time")
        check_draws(draws, first)
        found = solve_many(first, factors, draws, planned, budgets, asked, before, given, seed)
        if not found.searched.all():
            warnings.warn(found.certificate, QQTWarning, stacklevel=2)
        rest = (factors, draws, planned, budgets, asked, before, given, seed)
        return dataclasses.replace(found, single=lambda index: _one_of(laws, *rest, index))
    return _one(laws, factors, planned, float(budgets), asked, before, given, seed)


def _one(
    laws: dict[str, FittedLaw],
    factors: np.ndarray | None,
    sizes: np.ndarray,
    budget: float,
    asked: Constraints,
    before: np.ndarray | None,
    starts: np.ndarray | None,
    seed: int,
) -> Mix:
    pools = Pools(next(iter(laws.values())).pools.names, sizes)
    laws = {name: dataclasses.replace(each, pools=pools) for name, each in laws.items()}
    feasible = asked.bind(pools, budget, seen_before=before)
    check(feasible, pools, budget)
    solved = solve_one(list(laws.values()), factors, budget, feasible, before, starts, seed)
    return _answer(laws, factors, budget, feasible, before, solved)


def _one_of(
    laws: dict[str, FittedLaw],
    factors: np.ndarray | None,
    draws: Any,
    sizes: np.ndarray,
    budgets: np.ndarray,
    asked: Constraints,
    before: np.ndarray | None,
    starts: np.ndarray | None,
    seed: int,
    index: tuple[int, ...],
) -> Mix:
    """The problem at one place of draws x sizes x budgets, each axis only where it was given."""
    places = list(index)
    if draws is not None:
        draw = places.pop(0)
        own = jax.tree.map(lambda leaf: np.asarray(leaf)[draw], draws)
        laws = {name: dataclasses.replace(each, params=own) for name, each in laws.items()}
    if sizes.ndim > 1:
        sizes = sizes[places.pop(0)]
    return _one(laws, factors, sizes, float(budgets[tuple(places)]), asked, before, starts, seed)


def notes_on(laws: Mapping[str, FittedLaw], weights: np.ndarray, budget: float, before: np.ndarray | None) -> list[str]:
    """What to know about predictions of a mix `[P]`: below the scale, epochs below it, how far they extrapolate."""
    pools = next(iter(laws.values())).pools
    total = budget + (0.0 if before is None else float(before.sum()))
    notes = [text for text in (_scale_warning(laws, total), _short_epochs(laws, pools, weights)) if text]
    beyond = dict.fromkeys(each.extrapolation(weights, budget) for each in laws.values())
    return [*notes, *(f"extrapolates: {text}" for text in beyond if text)]


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
    others = alternatives(first, feasible)
    params = in_doubles(first.params)
    if len(laws) == 1 and np.ndim(params.floor) == 0 and is_separable(first.law, params, before):
        errors = separable_errors(first, params, budget, weights, others)[:, None]
    else:
        rows = np.concatenate([weights[None], others.rows()])
        errors = any_errors(list(laws.values()), budget, feasible, before, rows)
    together = errors.max(axis=1) if factors is None else errors @ factors
    notes = notes_on(laws, weights, budget, before)
    if not solved.certificate.searched:
        notes.append(str(solved.certificate))
        warnings.warn(notes[-1], QQTWarning, stacklevel=4)
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
        runner_ups=runner_ups(others, together[1:], feasible),
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
