"""The main job: from a fitted law and budgets to what to train on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from qqtjax.decide import crossover_set, decide
from qqtjax.errors import InputError
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import FittedLaw, Shares
from qqtjax.laws.repetition import bucket
from qqtjax.mix import whole_samples
from qqtjax.mix.filters import Option, quality_order
from qqtjax.mix.predict import error_table, tie_of_pools
from qqtjax.plan.best import best_mixes
from qqtjax.plan.crossovers import every_epoch_until, find_crossings, frontier, search_range
from qqtjax.plan.evidence import mixture_evidence
from qqtjax.plan.inverse import cheapest_budgets, cheapest_mix
from qqtjax.plan.options import all_options, different
from qqtjax.plan.question import is_error_rate, samples_to_afford
from qqtjax.plan.result import Crossover, FrontierStep, Plan, PlanRow, Recipe, Target, Variant
from qqtjax.runs import Runs
from qqtjax.text import show_count

BEST_MIX = "best mix"
# A change of dilution matters when the choice changes, the error moves by this much, or a share by that much.
NOTICEABLE_ERROR, NOTICEABLE_SHARE = 0.002, 0.05
MOST_SCANNED = 2**27  # steps of a scan over all draws, options and budgets: some seconds
NOTICEABLE_BUDGET = 0.02  # relative, of the cheapest budget that reaches a target


@dataclasses.dataclass(frozen=True)
class _Question:
    """What does not change from law to law: options, prices, order."""

    options: list[Option]
    order: list[int]
    budgets: np.ndarray
    flops_per_sample: float | None
    rule_epochs: float
    error_rate: bool
    horizon: float | None
    target_error: float | None
    seed: int

    def price(self, samples_seen: float) -> float | None:
        return None if self.flops_per_sample is None else samples_seen * self.flops_per_sample


def plan(
    fit: FittedLaw,
    budgets: Iterable[float] | float | None = None,
    *,
    flops: Iterable[float] | float | None = None,
    flops_per_sample: float | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    mixes: Mapping[str, Shares] | None = None,
    order: Sequence[str] | None = None,
    max_epochs_rule: float = 4,
    sizes: Mapping[str, float] | None = None,
    target_error: float | None = None,
    runs: Runs | None = None,
    blind: FittedLaw | None = None,
    reference_laws: Mapping[str, FittedLaw] | None = None,
    horizon: float | None = None,
    error_rate: bool | None = None,
    draws: Draws | None = None,
    seed: int = 0,
) -> Plan:
    """Which data to train on at each budget: the best filter, the best mix, and where the answer changes.

    For each budget n the predicted error y(w, n) of every nested filter, w_i = N_i / sum N over the best k
    pools, of no filtering and of whatever the user names; the best of them; the best continuous mix,
    with its certificate; the rule of thumb "the smallest filter within so many epochs" with its regret. Then every
    budget at which two options tie.

    Args:
        fit: a fitted law, with its pools.
        budgets: samples seen, repeats counted.
        flops: budgets in FLOPs instead; needs `flops_per_sample`.
        flops_per_sample: the price of one sample seen.
        filters: `{name: [pool, ...]}`: uniform sampling of a union.
        mixes: `{name: {pool: share}}`.
        order: pool names, best first; by default by fitted utility (or `scale`, where the law has none).
        max_epochs_rule: epochs that the rule of thumb allows.
        sizes: `{pool: samples}` to plan for, where they differ from the fitted ones.
        target_error: also find the cheapest budget that reaches this error.
        runs: the measured table; its mixtures show how well the law predicts what was not fitted.
        blind: a repetition-blind law fitted on the same rows, for comparison there.
        reference_laws: `{name: law}` whose answers are shown beside; on the same pools.
        horizon: the budget up to which crossovers and the target are searched, samples seen.
        error_rate: is the metric an error rate, so that a prediction above 1 is flagged; by default it is one
            unless its name says otherwise (a loss, nll, perplexity, ...) or `runs` or the floor exceed 1.
        draws: of the fit's parameters (`qqt.draw`): the plan then says how sure each choice is, what a wrong one
            costs, and between which budgets it changes. A law that scans too many epochs for that is not asked.
        seed: of the random starts of the mix.

    Returns:
        A `Plan`: print it, or take `to_dict()`, `to_frame()`.

    Raises:
        InputError: no budget, one that is not a positive number, FLOPs without a price, an unknown pool,
            wrong shares, a target that is not positive, several metrics in `runs`, draws of another law or pools.

    Example:
        >>> from qqtjax.laws import UtilityParams, utility
        >>> from qqtjax.runs import Pools
        >>> params = UtilityParams(scale=4e6, floor=0.1, utility=np.array([-0.16, -0.125]),
        ...                        half_life=np.array([6.727, 8.545]), reference_size=np.full(2, 12.8e6))
        >>> pools = Pools.of({"top10": 12.8e6, "top20": 12.8e6})
        >>> answer = plan(FittedLaw(utility, params, pools), [32e6, 128e6])
        >>> [row.best.name for row in answer.rows]
        ['top10', 'all pools']
        >>> [(cross.below, cross.above, round(cross.samples_seen / 1e6, 1)) for cross in answer.crossovers]
        [('top10', 'all pools', 81.8)]
    """
    seen = samples_to_afford(budgets, flops, flops_per_sample, needed=target_error is None)
    for what, value in (
        ("max_epochs_rule", max_epochs_rule),
        ("target_error", target_error),
        ("horizon", horizon),
        ("flops_per_sample", flops_per_sample),
    ):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"{what} {value!r}: expected a positive number")
    resized = {}
    fitted = fit
    if sizes:
        fitted = fit.with_sizes(sizes)
        before = dict(zip(fit.pools.names, fit.pools.sizes, strict=True))
        resized = {name: (float(before[name]), float(size)) for name, size in sizes.items()}
    others = _on_the_same_pools(reference_laws or {}, fitted, sizes)
    ranked = quality_order(fitted, order)
    question = _Question(
        options=all_options(fitted, ranked, filters, mixes),
        order=ranked,
        budgets=seen,
        flops_per_sample=flops_per_sample,
        rule_epochs=float(max_epochs_rule),
        error_rate=is_error_rate(fitted, runs) if error_rate is None else error_rate,
        horizon=horizon,
        target_error=target_error,
        seed=seed,
    )
    rows, certificate = _rows(fitted, question)
    crossovers, steps, high = _changes(fitted, question)
    decision = None
    if draws is not None:
        draws = _draws_of(fitted, fit, draws)
        named = {option.name: option.weights for option in different(question.options)}
        if len(seen) and _affordable(draws, np.stack(list(named.values())), seen):
            decision = decide(draws, named, seen)
            crossovers = tuple(_in_doubt(each, draws, named, seen, high) for each in crossovers)
    target = _target(fitted, question, high)
    return Plan(
        law=fitted.law.name,
        source=fitted.source,
        metric=fitted.metric,
        pools={fitted.pools.names[i]: float(fitted.pools.sizes[i]) for i in ranked},
        scale=tie_of_pools(fitted.params),
        rule_epochs=question.rule_epochs,
        certificate=certificate,
        rows=rows,
        crossovers=crossovers,
        frontier=steps,
        horizon=high,
        target=target,
        resized=resized,
        dilutions=_dilutions(fitted, question) if sizes else (),
        beside=tuple(_variant(each, name, question) for name, each in others.items()),
        evidence=None if runs is None else mixture_evidence(fit, runs, blind=blind, others=reference_laws),
        decision=decision,
        warnings=_warnings(fitted, question, rows, high),
    )


def _recipe(fitted: FittedLaw, question: _Question, option: Option, samples_seen: float, error: float) -> Recipe:
    names, sizes, weights = fitted.pools.names, fitted.pools.sizes, option.weights
    counts = whole_samples(weights, round(samples_seen))
    drawn = [i for i in question.order if weights[i] > 0]
    return Recipe(
        name=option.name,
        pools=option.pools,
        weights={names[i]: float(weights[i]) for i in question.order},
        error=float(error),
        epochs={names[i]: float(samples_seen * weights[i] / sizes[i]) for i in drawn},
        samples={names[i]: counts[i] for i in drawn},
        extrapolation=fitted.extrapolation(weights, samples_seen),
        impossible=bool(question.error_rate and error > 1),
    )


def _rows(fitted: FittedLaw, question: _Question) -> tuple[tuple[PlanRow, ...], str]:
    """A row for each budget, and what is proved of their mixes."""
    if not len(question.budgets):
        return (), ""
    weights = np.stack([option.weights for option in question.options])
    errors = error_table(fitted, weights, question.budgets)
    found = best_mixes(fitted, question.budgets, weights, question.seed)
    rows = []
    for column, budget in enumerate(question.budgets):
        recipes = tuple(
            _recipe(fitted, question, option, budget, errors[place, column])
            for place, option in enumerate(question.options)
        )
        best = recipes[int(np.argmin(errors[:, column]))]
        rule = _rule_of_thumb(recipes, question.rule_epochs)
        mix = _recipe(fitted, question, Option(BEST_MIX, found.weights[column], 0), budget, found.error[column])
        rows.append(
            PlanRow(
                samples_seen=float(budget),
                flops=question.price(float(budget)),
                options=recipes,
                best=best,
                mix=mix,
                mix_searched=bool(found.searched[column]),
                mix_gap=float(found.gap[column]),
                mix_proof=str(found.proof[column]),
                rule=rule,
                regret=rule.error - best.error,
                warnings=_row_warnings(fitted, float(budget), recipes, best, mix, bool(found.searched[column])),
            )
        )
    return tuple(rows), found.certificate


def _rule_of_thumb(recipes: Sequence[Recipe], most_epochs: float) -> Recipe:
    """The smallest nested filter of which no pool is repeated more often than that; else the largest."""
    nested = [recipe for recipe in recipes if recipe.pools] or list(recipes)
    for recipe in nested:
        if max(recipe.epochs.values()) <= most_epochs * (1 + 1e-9):
            return recipe
    return nested[-1]


def _row_warnings(
    fitted: FittedLaw, budget: float, recipes: Sequence[Recipe], best: Recipe, mix: Recipe, searched: bool
) -> tuple[str, ...]:
    warnings = []
    scale = tie_of_pools(fitted.params)
    if scale and budget < scale:
        warnings.append(
            f"below the scale of {scale:.4g} samples, where all pools tie: the law ranks filters in reverse"
        )
    above = [recipe.name for recipe in [*recipes, mix] if recipe.impossible]
    if above:
        warnings.append(f"a predicted error rate above 1: {', '.join(above)}")
    if not searched:
        epochs = budget / float(np.min(fitted.pools.sizes))
        warnings.append(
            f"no mix searched: {show_count(epochs, 3)} epochs of the smallest pool are too many for a law that scans "
            "them; shown is the best of the filters and a few random mixes"
        )
    for recipe in (best, mix):
        if recipe.extrapolation:
            warnings.append(f"{recipe.name} extrapolates: {recipe.extrapolation}")
    return tuple(warnings)


def _warnings(fitted: FittedLaw, question: _Question, rows: Sequence[PlanRow], high: float) -> tuple[str, ...]:
    warnings = []
    sizes = dict(zip(fitted.pools.names, fitted.pools.sizes, strict=True))
    unknown = [name for name, size in sizes.items() if np.isinf(size)]
    if unknown and len(fitted.pools) > 1:
        warnings.append(f"no union with {', '.join(unknown)}: its size is not known; it is shown alone")
    scale = tie_of_pools(fitted.params)
    if scale:
        picked = [recipe.weights for row in rows for recipe in (row.best, row.mix)]
        small = [name for name, size in sizes.items() if any(each[name] * scale > size for each in picked)]
        if small:
            warnings.append(
                f"an epoch of {', '.join(small)} is below the scale of {scale:.4g} samples: many epochs "
                "of it may be predicted to hurt"
            )
    reach = max(question.budgets, default=0.0)
    if high < max(question.horizon or 0.0, reach):
        warnings.append(
            f"crossovers and the target were searched up to {show_count(high, 4)} samples only: a law that scans "
            "epochs would have to scan too many beyond"
        )
    exact = every_epoch_until(fitted, np.stack([option.weights for option in different(question.options)]), high)
    if exact < min(high, max(question.horizon or 0.0, reach)):
        warnings.append(
            f"beyond {show_count(exact, 4)} samples crossovers were not looked for within every epoch: a pair that "
            "crosses twice in a row may be missed there"
        )
    return tuple(warnings)


def _changes(fitted: FittedLaw, question: _Question) -> tuple[tuple[Crossover, ...], tuple[FrontierStep, ...], float]:
    options = different(question.options)
    weights = np.stack([option.weights for option in options])
    low, high = search_range(fitted, weights, question.budgets, question.horizon)
    found = find_crossings(fitted, weights, low, high)
    steps = frontier(fitted, weights, found, low, high) if high > low else []
    deciding = {start for start, _ in steps[1:]}
    crossovers = tuple(
        Crossover(
            samples_seen=crossing.samples_seen,
            flops=question.price(crossing.samples_seen),
            below=options[crossing.below].name,
            above=options[crossing.above].name,
            decides=crossing.samples_seen in deciding,
            extrapolation=_outside(fitted, weights[[crossing.below, crossing.above]], crossing.samples_seen),
        )
        for crossing in found
    )
    shown = tuple(
        FrontierStep(start, options[option].name, fitted.extrapolation(weights[option], start))
        for start, option in steps
    )
    return crossovers, shown, high


def _draws_of(fitted: FittedLaw, fit: FittedLaw, draws: Draws) -> Draws:
    """The draws on the sizes that are planned for."""
    if draws.fitted.law != fit.law or draws.fitted.pools.names != fit.pools.names:
        raise InputError(
            f"draws of law {draws.fitted.law.name} on {', '.join(draws.fitted.pools.names)}: expected those of the "
            f"fit, law {fit.law.name} on {', '.join(fit.pools.names)}"
        )
    return dataclasses.replace(draws, fitted=fitted)


def _affordable(draws: Draws, weights: np.ndarray, budgets: np.ndarray) -> bool:
    """Can a law that scans be evaluated under every draw."""
    if not draws.fitted.law.scans(draws.params):
        return True
    epochs = float(np.max(weights / draws.fitted.pools.sizes) * np.max(budgets))
    return len(draws) * weights.size * len(budgets) * bucket(epochs) <= MOST_SCANNED


def _in_doubt(
    crossing: Crossover, draws: Draws, options: Mapping[str, np.ndarray], budgets: np.ndarray, high: float
) -> Crossover:
    """A crossover that decides, with the budgets where it may lie: looked for from a tenth of it to ten times it."""
    if not crossing.decides:
        return crossing
    law, params = draws.fitted.law, draws.fitted.params
    reach = max(10 * crossing.samples_seen, *budgets) if len(budgets) else 10 * crossing.samples_seen
    if law.scans(params):
        reach = max(2 * crossing.samples_seen, *budgets) if len(budgets) else 2 * crossing.samples_seen
    # All pools tie at the scale, which is no crossing: stay half of the way away from it.
    low = max(0.1 * crossing.samples_seen, np.sqrt((tie_of_pools(params) or 0.0) * crossing.samples_seen))
    pair = options[crossing.below], options[crossing.above]
    return dataclasses.replace(crossing, doubt=crossover_set(draws, *pair, low, min(reach, max(high, low * 1.01))))


def _outside(fitted: FittedLaw, weights: np.ndarray, samples_seen: float) -> str:
    reasons = [fitted.extrapolation(each, samples_seen) for each in weights]
    return next((reason for reason in reasons if reason), "")


def _target(fitted: FittedLaw, question: _Question, high: float) -> Target | None:
    error = question.target_error
    if error is None:
        return None
    weights = np.stack([option.weights for option in question.options])
    low = tie_of_pools(fitted.params) or high * 1e-6
    budgets = cheapest_budgets(fitted, weights, error, low, high)
    place = int(np.argmin(budgets))
    cheapest = float(budgets[place])
    within = cheapest if np.isfinite(cheapest) else high
    mixed, shares = cheapest_mix(fitted, error, weights, within, low, question.seed)

    def recipe(option: Option, samples_seen: float) -> Recipe | None:
        if not np.isfinite(samples_seen):
            return None
        value = error_table(fitted, option.weights[None], np.array([samples_seen]))[0, 0]
        return _recipe(fitted, question, option, samples_seen, value)

    def known(samples_seen: float) -> tuple[float | None, float | None]:
        return (samples_seen, question.price(samples_seen)) if np.isfinite(samples_seen) else (None, None)

    at_horizon = error_table(fitted, weights, np.array([high])).min()
    if not np.isfinite(mixed):
        at_horizon = min(at_horizon, best_mixes(fitted, np.array([high]), weights, question.seed).error[0])
    floor = getattr(fitted.params, "floor", None)
    samples, flops = known(cheapest)
    mix_samples, mix_flops = known(mixed)
    return Target(
        error=error,
        best=recipe(question.options[place], cheapest),
        samples_seen=samples,
        flops=flops,
        mix=recipe(Option(BEST_MIX, shares, 0), mixed),
        mix_samples_seen=mix_samples,
        mix_flops=mix_flops,
        horizon=high,
        limit=float(at_horizon),
        floor=None if floor is None else float(np.min(np.asarray(floor))),
    )


def _variant(fitted: FittedLaw, name: str, question: _Question) -> Variant:
    _, steps, high = _changes(fitted, question)
    return Variant(name, _rows(fitted, question)[0], steps, _target(fitted, question, high))


def _on_the_same_pools(
    laws: Mapping[str, FittedLaw], fitted: FittedLaw, sizes: Mapping[str, float] | None
) -> dict[str, FittedLaw]:
    for name, each in laws.items():
        if each.pools.names != fitted.pools.names:
            raise InputError(
                f"reference law {name!r}: its pools are {', '.join(each.pools.names)}; expected "
                f"{', '.join(fitted.pools.names)}"
            )
    return {name: each.with_sizes(sizes) if sizes else each for name, each in laws.items()}


def _dilutions(fitted: FittedLaw, question: _Question) -> tuple[Variant, ...]:
    """Dilution 0 and 1, where a choice, an error or the way to the target depends on it."""
    if getattr(fitted.params, "dilution", None) is None:
        return ()
    variants = tuple(
        _variant(fitted.with_params(dilution=float(value)), f"dilution {value}", question) for value in (0, 1)
    )
    pairs = zip(variants[0].rows, variants[1].rows, strict=True)
    matters = any(
        first.best.name != second.best.name
        or abs(first.best.error - second.best.error) > NOTICEABLE_ERROR
        or abs(first.mix.error - second.mix.error) > NOTICEABLE_ERROR
        or _moved(first.mix, second.mix)
        for first, second in pairs
    )
    return variants if matters or _target_moves(variants[0].target, variants[1].target) else ()


def _moved(first: Recipe, second: Recipe) -> bool:
    shares = zip(first.weights.values(), second.weights.values(), strict=True)
    return max(abs(a - b) for a, b in shares) > NOTICEABLE_SHARE


def _target_moves(first: Target | None, second: Target | None) -> bool:
    """Is a target reached in other ways: by other data, at another budget, or by one of the two only."""
    if first is None or second is None:
        return False
    for one, other in ((first.samples_seen, second.samples_seen), (first.mix_samples_seen, second.mix_samples_seen)):
        if (one is None) != (other is None):
            return True
        if one is not None and other is not None and abs(one - other) > NOTICEABLE_BUDGET * other:
            return True
    if first.best is not None and second.best is not None and first.best.name != second.best.name:
        return True
    if first.mix is not None and second.mix is not None and _moved(first.mix, second.mix):
        return True
    return first.best is None and first.mix is None and abs(first.limit - second.limit) > NOTICEABLE_ERROR
