"""The page of the evidence: tables, the answers to the protocol's questions, and what was decided afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.evidence.measured import HEADLINE, WINDOWS
from benchmarks.evidence.metrics import BEST_POOL, FOUR_EPOCHS, RULES, Interval, interval, is_filter, options
from benchmarks.evidence.predict import OPTIMISED
from benchmarks.wordclip import settings

if TYPE_CHECKING:
    from benchmarks.evidence.score import Table

FIRST = "utility, dilution 1"
RIVAL = "effective samples"
NAMES = {"V": "V, the test", "C": "C", "R": "R"}
CAVEATS = """What the intervals leave out: all runs of a family share one target of 4,000 words, and all redraws the
same two seeds. A predictor chooses from fits to the single pools of the redraw, both seeds; only the best option is
chosen on other runs than it is valued on. *Dilution carried* has seen the mixtures of redraw 0 of C and R, so a third
of its figures in C and R is no prediction; of V it has seen nothing. Predictions are those of
[predictions.csv](../evidence/predictions.csv), errors those of [the table](../../qqtjax/data/wordclip.csv): the command
at the end of this page needs no training."""
COLUMNS = ("mixture error", "bias", "differences", "pairs right", "regret of filters", "regret", "hits, regret")


def cell(value: Interval | None, metric: str) -> str:
    if value is None:
        return "-"
    return value.show(2 if metric in ("pairs right",) or metric.startswith("hits") else 4, sign=metric == "bias")


def grid(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    head = list(head)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def names_of(table: Table) -> list[str]:
    return [*table.per_redraw["mixture error"].columns, *RULES]


def family_table(table: Table) -> str:
    rows = []
    for name in names_of(table):
        shown = [table.show(m, name) if name in table.per_redraw[m] else None for m in COLUMNS]
        rows.append([name, *(cell(value, metric) for value, metric in zip(shown, COLUMNS, strict=True))])
    return grid(["predictor", *COLUMNS[:-1], "hits"], rows)


def verdict(paired: Interval | None) -> str:
    """Win, tie or loss of the utility law (lower is better)."""
    if paired is None:
        return "-"
    return "wins" if paired.high < 0 else "loses" if paired.low > 0 else "ties"


def paired_table(table: Table) -> str:
    rows = []
    for name in names_of(table):
        if name == FIRST:
            continue
        row = [name]
        for metric in ("mixture error", "differences", "regret of filters", "regret"):
            paired = table.paired(metric, name) if name in table.per_redraw[metric] else None
            row.append("-" if paired is None else f"{paired.show(sign=True)} {verdict(paired)}")
        rows.append(row)
    return grid(["utility, dilution 1, less", "mixture error", "differences", "regret of filters", "regret"], rows)


def all_windows(tables: Mapping[tuple[str, str], Table], family: str, metric: str) -> str:
    some = {window: tables[family, window] for window in WINDOWS}
    names = list(dict.fromkeys(name for table in some.values() for name in names_of(table)))
    rows = []
    for name in names:
        shown = [t.show(metric, name) if name in t.per_redraw[metric] else None for t in some.values()]
        if any(shown):
            rows.append([name, *(cell(value, metric) for value in shown)])
    return grid([metric, *(f"{w} units" if w != "pilot" else "0.25 to 8, scored 10 to 32" for w in WINDOWS)], rows)


def losses(tables: Mapping[tuple[str, str], Table]) -> str:
    """Every predictor and rule that the utility law loses to, in each family and window."""
    rows = []
    for (family, window), table in tables.items():
        row = [family, window]
        for metric in ("mixture error", "differences", "regret of filters", "regret"):
            better = []
            for name in names_of(table):
                paired = table.paired(metric, name)
                if paired is not None and paired.low > 0:
                    better.append(f"{name} ({cell(paired, 'bias')})")
            row.append("; ".join(better) or "none")
        rows.append(row)
    return grid(["family", "window", "mixture error", "differences", "regret of filters", "regret"], rows)


def count_options(family: str) -> str:
    """How many filters and hand-made mixes a plan chooses from."""
    filters = [is_filter(each.name) for each in options(family)]
    return f"{family} {sum(filters)} filters and {len(filters) - sum(filters)} mixes"


def answers(table: Table, redraws: int) -> str:
    """The protocol's questions, answered by rule."""
    errors = table.per_redraw["mixture error"]
    halved = {name: int((errors[FIRST] < errors[name] / 2).sum()) for name in ("blind", "interpolation")}
    hits = table.per_redraw["hits, regret"][FIRST]
    lines = [
        f"- **Q1** Mixture error {cell(table.show('mixture error', FIRST), '')}: below half of the "
        "repetition-blind law's "
        f"({cell(table.show('mixture error', 'blind'), '')}) in {halved['blind']} of {redraws} redraws, below half of "
        f"interpolation's ({cell(table.show('mixture error', 'interpolation'), '')}) in "
        f"{halved['interpolation']} of {redraws}."
    ]
    against = (
        table.paired("mixture error", RIVAL),
        table.paired("regret", RIVAL),
        table.paired("regret of filters", RIVAL),
    )
    lines.append(
        f"- **Q2** Against effective samples with a saturation per pool it {verdict(against[0])} in mixture error "
        f"({cell(against[0], 'bias')}), {verdict(against[1])} in regret over all options "
        f"({cell(against[1], 'bias')}) and "
        f"{verdict(against[2])} in regret of filters ({cell(against[2], 'bias')})."
    )
    rules = []
    for rule in (BEST_POOL, FOUR_EPOCHS):
        paired = table.paired("regret of filters", rule)
        rules.append(f"against *{rule}* it {verdict(paired)} ({cell(paired, 'bias')})")
    lines.append(
        f"- **Q3** Regret of the filters it chooses {cell(table.show('regret of filters', FIRST), '')}: "
        f"{'; '.join(rules)}."
    )
    others = []
    for name in ("utility, dilution 0", "utility, shape free, dilution 1"):
        paired = table.paired("mixture error", name), table.paired("regret", name)
        others.append(
            f"against *{name}* it {verdict(paired[0])} in mixture error ({cell(paired[0], 'bias')}) and "
            f"{verdict(paired[1])} in regret ({cell(paired[1], 'bias')})"
        )
    lines.append(f"- **Q4** Dilution 1 with the paper's shape: {'; '.join(others)}.")
    total = table.budgets * redraws
    lines.append(
        f"- **Q5** {round(float(hits.mean()) * total)} hits in {total} choices among all options, "
        f"{round(float(table.per_redraw['hits, regret of filters'][FIRST].mean()) * total)} among filters."
    )
    return "\n".join(lines)


def optimised_table(table: pd.DataFrame) -> str:
    rows = []
    for _, row in table.iterrows():
        shown = [f"{row['units']:.0f}", OPTIMISED[row["law"]], f"{row['predicted']:.4f}", f"{row['measured']:.4f}"]
        for kind in ("filter", "mix"):
            shown.append(f"{row[f'best {kind}']:.4f}")
            for redraw in settings.THIRD_SEED_REDRAWS:
                shown.append(f"{row[f'less {kind}, redraw {redraw}']:+.4f} ({row[f'sd {kind}, redraw {redraw}']:.4f})")
        rows.append(shown)
    head = ["units", "weights by", "predicted", "measured", "best filter", "less it, redraw 0", "redraw 1"]
    return grid([*head, "best hand-made mix", "less it, redraw 0", "redraw 1"], rows)


def optimised_summary(best: Mapping[str, pd.DataFrame]) -> str:
    rows = []
    for family, table in best.items():
        for law, own in table.groupby("law", sort=False):
            row = [NAMES[family], OPTIMISED[str(law)]]
            for kind in ("filter", "mix"):
                less = own[[f"less {kind}, redraw {redraw}" for redraw in settings.THIRD_SEED_REDRAWS]]
                each = ", ".join(f"{value:+.4f}" for value in less.mean())
                row.append(f"{interval(less.mean()).show(sign=True)} ({each})")
                row.append(f"{int((less.mean(axis=1) < 0).sum())} of {len(own)}")
            rows.append(row)
    head = ["family", "weights by", "less the best filter", "better at", "less the best hand-made mix", "better at"]
    return grid(head, rows)


def write(
    tables: Mapping[tuple[str, str], Table],
    best: Mapping[str, pd.DataFrame],
    rest: Mapping[str, Mapping[str, pd.DataFrame]],
    carried: Mapping[str, float],
    dilutions: Mapping[str, list[float]],
    spreads: Mapping[str, Mapping[str, float]],
    events: Mapping[str, str],
) -> str:
    """The whole page."""
    count = {family: len(settings.REDRAWS[family]) for family in NAMES}
    parts = [
        f"""# Does the law predict mixtures that nobody fitted?

Protocol, written before these runs: [PROTOCOL.md](../PROTOCOL.md). Single pools are fitted, mixtures predicted,
predictions [committed](../evidence/) before the mixtures of the redraws were trained. Figures are means over redraws
of the pools plus or minus half of the 95 % interval over redraws (Student's t; {count["V"]} redraws of V, {count["C"]}
of C and R: with three redraws intervals are wide), two seeds each. Errors are retrieval errors (chance .9). The first
drawing of C and R is development data: their intervals are no test. Sd over seeds and, beyond it, over redraws: """
        + "; ".join(f"{f} {s['seeds']:.4f} and {s['redraws beyond seeds']:.4f}" for f, s in spreads.items())
        + ". Order of events: "
        + "; ".join(f"{what} {when or 'not in this history'}" for what, when in events.items())
        + ".\n\n"
        + CAVEATS,
        f"## Family V: the test, headline window ({HEADLINE} units)\n\n"
        + answers(tables["V", HEADLINE], count["V"])
        + "\n\n"
        + describe(tables["V", HEADLINE], count["V"])
        + "\n\n"
        + family_table(tables["V", HEADLINE])
        + "\n\nPaired per redraw; *wins*, *ties*, *loses* are said of the utility law with dilution 1:\n\n"
        + paired_table(tables["V", HEADLINE]),
    ]
    for family in ("C", "R"):
        table = tables[family, HEADLINE]
        parts.append(
            f"## Family {family}: development family, now in redraws ({HEADLINE} "
            f"units)\n\n{describe(table, count[family])}\n\n"
            f"{family_table(table)}\n\nPaired:\n\n{paired_table(table)}"
        )
    parts.append(
        "## All windows\n\nA window is fitted and scored; the last column is the pilot. Mixtures, redraws and "
        "seeds as above, checkpoints and budgets as far as they lie in the window; ± as above. In the pilot's window "
        "the unfiltered remainder (100k) is never repeated, so its half-life is not determined: beyond 100k the "
        "predictions of the remainder alone and of `all` are arbitrary (fitted again they differed by up to .05, the "
        "mixture errors by .0003, no regret changed; all other predictions came out the same to .00002)."
    )
    for family in NAMES:
        for metric in ("mixture error", "differences", "pairs right", "regret of filters", "regret"):
            parts.append(f"### Family {family}, {metric}\n\n{all_windows(tables, family, metric)}")
    parts.append(
        "## Where the utility law loses\n\nPredictors and rules that beat dilution 1 with the paper's shape: the 95 % "
        "interval over redraws of the paired difference (in brackets: law less predictor) excludes 0. Redraws and "
        "seeds as above; some hundred comparisons, not corrected for their number.\n\n" + losses(tables)
    )
    parts.append(
        "## Dilution fitted on mixtures\n\nThe carried dilution is "
        + " and ".join(f"{value:.2f} ({name})" for name, value in carried.items())
        + ", from the development drawings of C and R; 2 is the end of the range that was searched. *Dilution "
        "fitted* sees the "
        "mixtures of the other redraws. What it found, lowest and highest over redraws:\n\n"
        + grid(
            ["family and window", "dilution"],
            [
                [key.replace(" | ", ", "), f"{min(values):.2f} to {max(values):.2f}"]
                for key, values in dilutions.items()
            ],
        )
    )
    parts.append(
        "## Optimised weights, trained\n\nWeights chosen by the laws for one budget, fitted on the single "
        "pools of redraws 0 "
        "and 1, trained with three seeds; the best filter and the best hand-made mix are chosen on one half of "
        "the cells and "
        "valued on the other. The best mix is an oracle: to know it, all of them must be trained. Negative: the "
        "optimised weights are better. Two redraws, three seeds, four budgets; options: "
        + "; ".join(count_options(family) for family in best)
        + ". Mean ± half of the 95 % interval over the two redraws (Student's t with 1 degree of freedom), in "
        "brackets each redraw; *better at*: budgets.\n\n" + optimised_summary(best)
    )
    for family, table in best.items():
        parts.append(
            f"### Family {family}\n\nDifferences per redraw with the sd over seeds.\n\n{optimised_table(table)}"
        )
    parts.append(
        "## Decided after the runs\n\nThe effective-samples law fits single pools badly where the unfiltered remainder "
        "is among them (seen in C and R, before V was scored). The rival's better case: remainder neither fitted nor "
        "drawn from nor to be chosen, headline window, dilution 1; redraws, seeds, budgets and ± as above:\n\n"
        + grid(
            ["predictor", *(f"{family}: {metric}" for family, both in rest.items() for metric in both)],
            [
                [name, *(interval(table[name]).show() for both in rest.values() for table in both.values())]
                for name in rest["V"]["regret"].columns
            ],
        )
    )
    return "\n\n".join(parts)


def describe(table: Table, redraws: int) -> str:
    return (
        f"n: {table.mixtures} mixtures, {table.checkpoints} checkpoints a redraw, {redraws} redraws, 2 seeds, "
        f"{table.budgets} budgets for regret."
    )
