"""A plan as plain text that fits 80 columns: the answer in words, then the tables."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from qqtjax.decide import Decision
from qqtjax.plan.evidence import Evidence
from qqtjax.plan.result import Plan, PlanRow, Recipe, Target, Variant
from qqtjax.text import show_count

WIDTH = 80
MOST_CROSSOVERS = 12


def count_text(value: float) -> str:
    """A count with four significant digits.

    Example:
        >>> count_text(64e6), count_text(1.28e9), count_text(100.54e6), count_text(250)
        ('64M', '1.28B', '100.5M', '250')
    """
    return show_count(value, 4)


def error_text(value: float) -> str:
    """An error with four decimals, without the leading zero.

    Example:
        >>> error_text(0.77284), error_text(1.5)
        ('.7728', '1.5000')
    """
    text = f"{value:.4f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def shares_text(weights: Sequence[float], width: int = 20) -> str:
    """Shares in order of quality, down to the last that is drawn from; as many as fit.

    Example:
        >>> shares_text([0.8, 0.2, 0.0]), shares_text([0.25] * 4, 15)
        ('.80/.20', '.25/.25/.25/.25')
    """
    last = max((i for i, share in enumerate(weights) if share > 0), default=0)
    parts = [f"{share:.2f}".removeprefix("0") if share > 0 else "0" for share in weights[: last + 1]]
    text = "/".join(parts)
    while len(text) > width and len(parts) > 1:
        parts.pop()
        text = "/".join(parts) + "/.."
    return text


def plan_text(plan: Plan) -> str:
    """The whole plan as text."""
    lines = [line for row in plan.rows for line in _wrapped(_answer(row, plan))]
    if plan.target is not None:
        lines += _wrapped(_target_answer(plan.target, plan))
    lines += ["", *_about(plan)]
    if plan.rows:
        lines += ["", *_table(plan.rows, plan)]
        lines += _wrapped(
            "rule of thumb: the smallest nested filter of at most "
            f"{plan.rule_epochs:g} epochs; mixes: shares in the order of the pools, {plan.certificate}",
            "  ",
        )
        lines += ["", "the best mix in whole samples (epochs):"]
        lines += [line for row in plan.rows for line in _recipe_lines(row)]
    if any(row.flops is not None for row in plan.rows):
        prices = ", ".join(f"{count_text(row.samples_seen)} = {row.flops:.4g} FLOPs" for row in plan.rows)
        lines += _wrapped(f"budgets: {prices}", "  ")
    if plan.decision is not None:
        lines += ["", *_decision_lines(plan.decision)]
    elif plan.rows:
        lines += ["", "how sure: not known without draws of the parameters (qqt.draw)"]
    lines += ["", *_crossover_lines(plan)]
    for variant in plan.dilutions:
        lines += ["", *_variant_lines(variant, plan, f"{variant.name} (the runs do not settle it):")]
    for variant in plan.beside:
        lines += ["", *_variant_lines(variant, plan, f"beside it, {variant.name}:")]
    if plan.evidence is not None:
        lines += ["", *_evidence_lines(plan.evidence)]
    warnings = _warning_lines(plan)
    if warnings:
        lines += ["", *warnings]
    return "\n".join(lines)


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_on_hyphens=False,
    )


def _of_pools(recipe: Recipe, plan: Plan) -> str:
    if not recipe.pools:
        return ""
    if recipe.pools == len(plan.pools):
        return " (no filtering)"
    return f" ({recipe.pools} of {len(plan.pools)} pools)"


def _answer(row: PlanRow, plan: Plan) -> str:
    text = (
        f"{count_text(row.samples_seen)} samples: train on {row.best.name}{_of_pools(row.best, plan)}: "
        f"predicted {plan.metric} {error_text(row.best.error)}"
    )
    if plan.scale and row.samples_seen < plan.scale:
        return f"{text}, but do not trust it: below the law's scale of {count_text(plan.scale)}"
    if row.best.error - row.mix.error > 5e-5:
        if not row.mix_searched:
            tried = f"the best of a few tried {shares_text(list(row.mix.weights.values()))}"
            return f"{text}; no mix searched: {tried} -> {error_text(row.mix.error)}"
        return f"{text}; best mix {shares_text(list(row.mix.weights.values()))} -> {error_text(row.mix.error)}"
    if len(plan.pools) == 1:
        return text
    return f"{text}; no mix found is better" if row.mix_searched else f"{text}; no mix searched"


def _target_answer(target: Target, plan: Plan) -> str:
    wanted = f"{plan.metric} {error_text(target.error)}"
    floor = "" if target.floor is None else f"; the law's floor is {error_text(target.floor)}"
    if target.best is None and target.mix is None:
        return (
            f"{wanted}: nothing reaches it within {count_text(target.horizon)} samples; the least predicted "
            f"there is {error_text(target.limit)}{floor}"
        )
    if target.best is None or target.samples_seen is None:
        text = f"{wanted}: no filter reaches it within {count_text(target.horizon)} samples"
    else:
        cost = "" if target.flops is None else f" ({target.flops:.4g} FLOPs)"
        text = (
            f"{wanted}: cheapest filter {target.best.name}{_of_pools(target.best, plan)} at "
            f"{count_text(target.samples_seen)} samples{cost}"
        )
    if target.mix is None or target.mix_samples_seen is None:
        return text
    cost = "" if target.mix_flops is None else f" ({target.mix_flops:.4g} FLOPs)"
    shares = shares_text(list(target.mix.weights.values()))
    return f"{text}; cheapest mix {shares} at {count_text(target.mix_samples_seen)}{cost}"


def _about(plan: Plan) -> list[str]:
    pools = ", ".join(f"{name} {_size(size)}" for name, size in plan.pools.items())
    lines = _wrapped(f"law {plan.law}" + (f", {plan.source}" if plan.source else ""))
    lines += _wrapped(f"pools, best first: {pools}")
    if plan.resized:
        changes = [
            f"{name} {_size(after)} (fitted on {_size(before)})" for name, (before, after) in plan.resized.items()
        ]
        lines += _wrapped(f"planned for other sizes than fitted: {', '.join(changes)}")
    return lines


def _size(size: float) -> str:
    return "of unknown size" if size == float("inf") else count_text(size)


def _clipped(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 2] + ".."


def _table(rows: Sequence[PlanRow], plan: Plan) -> list[str]:
    names = ("budget", "best filter", "error", "best mix", "error", "rule", "regret")
    lines = ["{:>8}  {:<17} {:>6}   {:<17} {:>6}   {:<8} {:>6}".format(*names)]
    for row in rows:
        shares = shares_text(list(row.mix.weights.values()), 17)
        rule = "all" if row.rule.pools == len(plan.pools) else f"top {row.rule.pools}"
        if not row.rule.pools:
            rule = row.rule.name
        lines.append(
            f"{count_text(row.samples_seen):>8}  {_clipped(row.best.name, 17):<17} {_flagged(row.best):<7}  "
            f"{shares:<17} {_flagged(row.mix):<7}  {_clipped(rule, 8):<8} {error_text(row.regret):>6}"
        )
    return lines


def _recipe_lines(row: PlanRow) -> list[str]:
    """How many samples to draw from each pool at one budget; pools of less than one sample are not drawn from."""
    drawn = [f"{pool} {count:,} ({row.mix.epochs[pool]:.3g})" for pool, count in row.mix.samples.items() if count > 0]
    return _wrapped(f"{count_text(row.samples_seen):>8}  {', '.join(drawn)}")


def _flagged(recipe: Recipe) -> str:
    return f"{error_text(recipe.error):>6}" + ("!" if recipe.impossible else "")


def _decision_lines(decision: Decision) -> list[str]:
    """How sure the best option is at every budget."""
    line = "{:>8}  {:<16} {:>13} {:>7} {:>8}  {:<15} {:>4}"
    lines = _wrapped(f"how sure ({decision.method}):")
    names = "best filter", f"{100 * decision.level:.3g}% of error", "P(best)", "if wrong", "runner-up", "P"
    lines.append(line.format("budget", *names))
    for place, samples_seen in enumerate(decision.budgets):
        best, second = int(decision.best[place]), int(decision.runner_up[place])
        low, high = decision.low[best, place], decision.high[best, place]
        cost = decision.regret_if_wrong[place]
        lines.append(
            line.format(
                count_text(float(samples_seen)),
                _clipped(decision.names[best], 16),
                f"{error_text(float(low))}-{error_text(float(high))}",
                f"{decision.chosen[place]:.2f}",
                error_text(float(cost)) if cost > 0 else "-",
                _clipped(decision.names[second], 15) if second != best else "-",
                f"{decision.probability[second, place]:.2f}" if second != best else "-",
            )
        )
    lines += [each for note in decision.notes for each in _wrapped(note, "  ")]
    return lines


def _crossover_lines(plan: Plan) -> list[str]:
    if not plan.crossovers:
        return [f"no two options change places up to {count_text(plan.horizon)} samples"]
    lines = [f"crossovers up to {count_text(plan.horizon)} samples (* the best option changes):"]
    # Those that decide are always shown.
    others = [crossing for crossing in plan.crossovers if not crossing.decides]
    hidden = {id(crossing) for crossing in others[MOST_CROSSOVERS:]}
    for crossing in plan.crossovers:
        if id(crossing) in hidden:
            continue
        mark = "*" if crossing.decides else " "
        beyond = f"  ({crossing.doubt})" if crossing.doubt is not None else ""
        beyond += "  (extrapolated)" if crossing.extrapolation else ""
        lines += _wrapped(
            f"{mark}{count_text(crossing.samples_seen):>8}  {_clipped(crossing.below, 24)} -> "
            f"{_clipped(crossing.above, 24)}{beyond}",
            " ",
        )
    if hidden:
        lines.append(f"  and {len(hidden)} more between options that are not the best there")
    return lines


def _variant_lines(variant: Variant, plan: Plan, title: str) -> list[str]:
    steps = [f"{step.option} from {count_text(step.samples_seen)}" for step in variant.frontier[1:]]
    lines = _wrapped(title) + (_table(variant.rows, plan) if variant.rows else [])
    unsearched = [count_text(row.samples_seen) for row in variant.rows if not row.mix_searched]
    if unsearched:
        lines += _wrapped(
            f"at {', '.join(unsearched)}: no mix searched (too many epochs to scan); shown is the best of the "
            "filters and a few random mixes",
            "  ",
        )
    if variant.frontier:
        first = f"best option: {variant.frontier[0].option} first"
        lines += _wrapped(", ".join([first, *steps]), "  ")
    if variant.target is not None:
        lines += _wrapped(_target_answer(variant.target, plan), "  ")
    return lines


def _evidence_lines(evidence: Evidence) -> list[str]:
    how = "not fitted" if evidence.held_out else "SOME OF THEM FITTED"
    lines = _wrapped(
        f"measured mixtures, {how}: {evidence.checkpoints} checkpoints of {evidence.mixtures} mixtures "
        f"({evidence.left_out} outside the range of the single pools left out), {evidence.pairs} pairs at "
        f"{evidence.budgets} budgets"
    )
    line = "{:<26} {:>7} {:>10} {:>11} {:>9} {:>11}"
    lines.append(line.format("predicted by", "MAE", "MAE diff.", "pairs right", "regret", "of filters"))
    for score in evidence.scores:
        errors = [error_text(score.mae), error_text(score.mae_difference)]
        choices = [error_text(score.regret), error_text(score.regret_filter)]
        lines.append(line.format(_clipped(score.name, 26), *errors, f"{score.accuracy:.0%}", *choices))
    return lines


def _warning_lines(plan: Plan) -> list[str]:
    lines = [f"warning: {text}" for text in plan.warnings]
    texts: dict[str, list[str]] = {}
    for row in plan.rows:
        for text in row.warnings:
            texts.setdefault(text, []).append(count_text(row.samples_seen))
    lines += [f"warning: at {', '.join(budgets)}: {text}" for text, budgets in texts.items()]
    return [line for text in lines for line in _wrapped(text)]
