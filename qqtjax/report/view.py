"""What a page says, in words and numbers: every text that the slider shows is written here, beforehand."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from qqtjax.design.next_run import LEAST_SURE
from qqtjax.design.text import shares_of, small
from qqtjax.io.mixes import SCHEMA as MIX_SCHEMA
from qqtjax.io.mixes import SCHEMA_VERSION as MIX_VERSION
from qqtjax.plan import Evidence, Plan, PlanRow, Recipe
from qqtjax.plan.text import count_text, error_text
from qqtjax.report.contents import Preset, Report
from qqtjax.text import show_count

NOTHING = "–"
TIE = 5e-5  # what four decimals do not show
SAME_OF_POOLS = re.compile(r"(\w+) of (.+): (.+)")
Field = tuple[float | None, str]  # a number and how it is written; None: words only


class Stop(NamedTuple):
    """What the page shows where the slider stops.

    Attributes:
        samples_seen: the budget.
        budget: the same in words.
        said: the answer in one sentence.
        fields: `{key: (number, text)}`, the same keys at every stop.
        warnings: what to know there.
        files: `{ending: text}` of the best mix.
    """

    samples_seen: float
    budget: str
    said: str
    fields: dict[str, Field]
    warnings: list[str]
    files: dict[str, str]


def stops(report: Report, preset: Preset) -> list[Stop]:
    """One for every budget of a preset.

    Args:
        report: for the pools, the limit of epochs and the fit's own warnings.
        preset: one of its presets.
    """
    return [_stop(report, preset, place) for place in range(len(preset.plan.rows))]


def _stop(report: Report, preset: Preset, place: int) -> Stop:
    plan, row = preset.plan, preset.plan.rows[place]
    budget = count_text(row.samples_seen)
    fields = {
        "budget": (row.samples_seen, budget),
        **_choice(plan, row, place),
        **_mix(report, preset, place),
        **_pools(preset, row, place),
        **_options(plan, row, place),
    }
    sure = "" if plan.decision is None else f", the best option with probability {fields['probability'][1]}"
    said = (
        f"{budget} samples, pools {preset.name}: train on {row.best.name}; predicted {plan.metric} "
        f"{error_text(row.best.error)}{sure}. Best mix {fields['mix'][1]}: {error_text(row.mix.error)}."
    )
    return Stop(row.samples_seen, budget, said, fields, _warnings(preset, row), _files(plan, row))


def _choice(plan: Plan, row: PlanRow, place: int) -> dict[str, Field]:
    fields: dict[str, Field] = {
        "choice": (None, row.best.name),
        "choice-pools": (None, _of_pools(row.best, plan)),
        "error": (row.best.error, error_text(row.best.error)),
        "rule": (None, f"{row.rule.name}{_of_pools(row.rule, plan)}"),
        "rule-regret": (row.regret, error_text(row.regret)),
        "interval": (None, "its interval is not known"),
        "probability": (None, "not known"),
        "wrong": (None, NOTHING),
        "wrong-note": (None, "not known"),
        "runner-up": (None, NOTHING),
        "runner-up-probability": (None, NOTHING),
    }
    decision = plan.decision
    if decision is None:
        return fields
    best, second = int(decision.best[place]), int(decision.runner_up[place])
    likely, cost = float(decision.chosen[place]), float(decision.regret_if_wrong[place])
    fields["interval"] = (None, _interval(decision.level, decision.low[best, place], decision.high[best, place]))
    fields["probability"] = (likely, _probability(likely))
    fields["wrong"] = (cost, error_text(cost) if cost > 0 else NOTHING)
    fields["wrong-note"] = (None, "mean regret where another is best" if cost > 0 else "no draw prefers another filter")
    if second != best:
        behind = float(decision.probability[second, place])
        fields["runner-up"] = (None, decision.names[second])
        fields["runner-up-probability"] = (behind, _probability(behind))
    return fields


def _mix(report: Report, preset: Preset, place: int) -> dict[str, Field]:
    row = preset.plan.rows[place]
    gain = row.best.error - row.mix.error
    names, shares = tuple(row.mix.weights), list(row.mix.weights.values())
    known = preset.mix[place] if preset.mix else None
    proof = f"no other weights are better by more than {max(row.mix_gap, 1e-15):.0e}"
    if row.mix_proof != "global":
        proof = "the best of many local searches"
    fields: dict[str, Field] = {
        "mix": (None, shares_of(names, shares)),
        "mix-error": (row.mix.error, error_text(row.mix.error)),
        "mix-gain": (
            gain,
            f"{error_text(gain)} below the best filter" if gain > TIE else "no better than the best filter",
        ),
        "mix-interval": (
            None,
            "its interval is not known" if known is None else _interval(known.level, known.low, known.high),
        ),
        "mix-proof": (None, proof if row.mix_searched else "not searched: the best of a few tried"),
    }
    if report.max_epochs is not None:
        capped = preset.capped[place]
        fields["capped"] = (None, "none: so many epochs of all pools are less than the budget")
        fields["capped-error"] = (None, NOTHING)
        if capped is not None:
            fields["capped"] = (None, shares_of(capped.pools.names, capped.weights.tolist()))
            fields["capped-error"] = (capped.error, error_text(capped.error))
    return fields


def _pools(preset: Preset, row: PlanRow, place: int) -> dict[str, Field]:
    near = preset.near[place] if preset.near else None
    fields: dict[str, Field] = {}
    for index, (pool, share) in enumerate(row.mix.weights.items()):
        fields[f"pool-{index}-share"] = (share, _percent(share))
        ends = (share, share) if near is None else (near.low[pool], near.high[pool])
        for end, value in zip(("low", "high"), ends, strict=True):
            fields[f"pool-{index}-{end}"] = (value, NOTHING if near is None else _percent(value))
        epochs = row.mix.epochs.get(pool, 0.0)
        size = preset.plan.pools[pool]
        # A pool of unknown size has no epochs to count.
        fields[f"pool-{index}-epochs"] = (epochs, NOTHING if np.isinf(size) else f"{epochs:.3g}")
        samples = row.mix.samples.get(pool, 0)
        fields[f"pool-{index}-samples"] = (samples, f"{samples:,}")
        fields[f"pool-{index}-filter"] = (row.best.weights[pool], _percent(row.best.weights[pool]))
        fields[f"pool-{index}-size"] = (_finite(size), size_text(size))
    return fields


def _options(plan: Plan, row: PlanRow, place: int) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    known = {} if plan.decision is None else {name: at for at, name in enumerate(plan.decision.names)}
    for index, option in enumerate(row.options):
        endless = all(np.isinf(plan.pools[pool]) for pool in option.epochs)
        mark = ["best"] * (option is row.best) + ["rule of thumb"] * (option is row.rule)
        fields[f"option-{index}-mark"] = (None, ", ".join(mark))
        fields[f"option-{index}-error"] = (option.error, error_text(option.error) + "!" * option.impossible)
        fields[f"option-{index}-epochs"] = (None, NOTHING if endless else f"{max(option.epochs.values()):.3g}")
        at = known.get(option.name)
        if plan.decision is None or at is None:
            fields[f"option-{index}-interval"] = fields[f"option-{index}-probability"] = (None, NOTHING)
            continue
        span = float(plan.decision.low[at, place]), float(plan.decision.high[at, place])
        likely = float(plan.decision.probability[at, place])
        fields[f"option-{index}-interval"] = (None, _span(*span))
        fields[f"option-{index}-probability"] = (likely, _probability(likely))
    return fields


def _warnings(preset: Preset, row: PlanRow) -> list[str]:
    """Those of the budget, of the whole plan, and what the answer owes to the dilution."""
    found = [*row.warnings, *preset.plan.warnings]
    for variant in preset.plan.dilutions:
        other = next(each for each in variant.rows if each.samples_seen == row.samples_seen)
        if other.best.name != row.best.name:
            found.append(
                f"these are not the sizes that were measured; under {variant.name} the best filter would be "
                f"{other.best.name} with {preset.plan.metric} {error_text(other.best.error)}"
            )
        elif abs(other.best.error - row.best.error) > 5e-4:
            found.append(
                f"these are not the sizes that were measured; under {variant.name} the predicted {preset.plan.metric} "
                f"of {other.best.name} would be {error_text(other.best.error)}"
            )
    return found


def _files(plan: Plan, row: PlanRow) -> dict[str, str]:
    """The best mix as `qqtjax.io.mixes.load_mix` reads it, and as YAML."""
    mix = {
        "samples_seen": row.samples_seen,
        "law": plan.law,
        "sizes": {name: _finite(size) for name, size in plan.pools.items()},
        "weights": row.mix.weights,
        "samples": row.mix.samples,
        "error": row.mix.error,
    }
    document = {"schema": MIX_SCHEMA, "schema_version": MIX_VERSION, "mixes": [mix]}
    # A text in JSON is one in YAML.
    lines = [f"# the best mix at {row.samples_seen:.0f} samples seen, law {plan.law}", "weights:"]
    lines += [f"  {json.dumps(name)}: {share!r}" for name, share in row.mix.weights.items()]
    return {"json": json.dumps(document, indent=1) + "\n", "yaml": "\n".join(lines) + "\n"}


def overview(preset: Preset) -> dict[str, Field]:
    """The plan at every budget, `at-PLACE-..`."""
    plan = preset.plan
    fields: dict[str, Field] = {}
    for place, row in enumerate(plan.rows):
        likely = None if plan.decision is None else float(plan.decision.chosen[place])
        fields |= {
            f"at-{place}-choice": (None, row.best.name),
            f"at-{place}-error": (row.best.error, error_text(row.best.error)),
            f"at-{place}-probability": (likely, NOTHING if likely is None else _probability(likely)),
            f"at-{place}-mix": (None, shares_of(tuple(row.mix.weights), list(row.mix.weights.values()))),
            f"at-{place}-mix-error": (row.mix.error, error_text(row.mix.error)),
            f"at-{place}-rule": (None, row.rule.name),
            f"at-{place}-rule-regret": (row.regret, error_text(row.regret)),
        }
    return fields


def crossings(preset: Preset) -> list[str]:
    """Where the best option changes, in words."""
    plan = preset.plan
    found = []
    for each in plan.crossovers:
        if not each.decides:
            continue
        text = f"{each.below} until {count_text(each.samples_seen)} samples, then {each.above}"
        text += "" if each.doubt is None else f" ({100 * each.doubt.level:g} %: {each.doubt})"
        found.append(text + (", extrapolated" if each.extrapolation else ""))
    return found or [f"No two options change places up to {count_text(plan.horizon)} samples."]


def resized(preset: Preset) -> str:
    """Which pools are planned for at another size, in words."""
    changes = [
        f"{name} {size_text(after)} (measured {size_text(before)})"
        for name, (before, after) in preset.plan.resized.items()
    ]
    return ", ".join(changes) or "All pools have the size that they were measured at."


def parameters(report: Report) -> tuple[list[str], list[list[str]], list[list[str]]]:
    """The law's parameters: the head, a row a pool, and `[name, value, standard error]` of what pools share."""
    law, params, pools, info = report.fit.law, report.fit.params, report.fit.pools, report.fit.diagnostics
    errors = None if info is None else info.standard_errors
    fields = [each.name for each in dataclasses.fields(params) if getattr(params, each.name) is not None]
    own = [each for each in fields if np.ndim(getattr(params, each)) == 1 and each != "reference_size"]

    def symbol(name: str) -> str:
        words = name.replace("_", " ")
        return f"{words} ({law.symbols[name]})" if name in law.symbols else words

    def error_of(name: str, place: int | None = None) -> str:
        if errors is None or getattr(errors, name) is None:
            return NOTHING
        value = float(np.asarray(getattr(errors, name))[() if place is None else place])
        return f"{value:.2g}" if np.isfinite(value) else NOTHING

    head = ["pool", "size", *(text for name in own for text in (symbol(name), "standard error"))]
    rows = [
        [
            pool,
            size_text(pools.sizes[place]),
            *(text for name in own for text in (f"{getattr(params, name)[place]:.4g}", error_of(name, place))),
        ]
        for place, pool in enumerate(pools.names)
    ]
    shared = [
        [symbol(name), f"{float(np.asarray(getattr(params, name))):.5g}", error_of(name)]
        for name in fields
        if np.ndim(getattr(params, name)) == 0
    ]
    return head, rows, shared


def fit_notes(report: Report) -> list[str]:
    """What the fit says about itself."""
    info = report.fit.diagnostics
    if info is None:
        return []
    return [
        *([] if info.converged else [f"the fit did not converge: {info.reason}"]),
        *(f"bound hit: {each}" for each in info.bounds_hit),
        *(f"not identified: {each}" for each in together(info.unidentified)),
        *info.warnings,
    ]


def together(notes: Sequence[str]) -> list[str]:
    """Notes that say the same of several pools as one.

    Example:
        >>> together(["half_life of A: no repeats", "half_life of B: no repeats"])
        ['half_life of A, B: no repeats']
    """
    pools: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        found = SAME_OF_POOLS.fullmatch(note)
        key, pool = ((found[1], found[3]), found[2]) if found else ((note, ""), "")
        pools.setdefault(key, []).append(pool)
    return [f"{what} of {', '.join(of)}: {why}" if why else what for (what, why), of in pools.items()]


def size_text(size: float) -> str:
    """A pool's size.

    Example:
        >>> size_text(12.8e6), size_text(float("inf"))
        ('12.8M', 'not known')
    """
    return "not known" if np.isinf(size) else count_text(float(size))


def next_words(report: Report) -> dict[str, str]:
    """The run that is worth making next, in words; without one the reason."""
    found = report.next_run
    if found is None:
        return {"what": "Not known", "why": f"{report.no_next_run[:1].upper()}{report.no_next_run[1:]}."}
    sure = found.best.reduction > LEAST_SURE * found.best.reduction_error
    row = found.best if sure else found.most_informative
    last, cost = (show_count(value, 4) for value in (float(row.run.checkpoints[-1]), row.run.cost))
    target = show_count(found.budget, 4)
    what = (
        f"Train on {row.run.name} for {last} samples"
        if row.run.resumes is None
        else (f"Continue {row.run.resumes} to {last} samples, {cost} more")
    )
    if not sure:
        return {
            "what": f"None for the decision at {target} samples",
            "why": f"What would teach most about the law, for each sample: {what[:1].lower()}{what[1:]}.",
        }
    return {
        "what": what,
        "why": (
            f"It lowers the expected regret of the decision at {target} samples from {small(found.regret)} to "
            f"{small(row.regret)}: more for each sample than any other of {len(found.rows)} runs compared."
        ),
    }


def evidence_rows(evidence: Evidence) -> list[list[str]]:
    """How well measured mixtures were predicted, a row a way to predict."""

    def known(value: float, text: str) -> str:
        return NOTHING if np.isnan(value) else text

    return [
        [
            score.name,
            error_text(score.mae),
            known(score.mae_difference, error_text(score.mae_difference)),
            known(score.accuracy, f"{100 * score.accuracy:.0f} %"),
            *(known(each, error_text(each)) for each in (score.regret, score.regret_filter)),
        ]
        for score in evidence.scores
    ]


def _of_pools(recipe: Recipe, plan: Plan) -> str:
    if not recipe.pools:
        return ""
    if recipe.pools == len(plan.pools):
        return " (no filtering)"
    return f" ({recipe.pools} of {len(plan.pools)} pools)"


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.005 else "< 1 %"


def _probability(value: float) -> str:
    return f"{value:.2f}"


def _interval(level: float, low: float, high: float) -> str:
    return f"{100 * level:g} %: {_span(low, high)}"


def _span(low: float, high: float) -> str:
    return f"{error_text(low)} to {error_text(high)}"
