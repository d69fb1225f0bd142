"""The page of the bake-off: a section a table, the laws in the order of their held-out error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.bakeoff.permutation import Test
from benchmarks.bakeoff.tables import Table
from qqtjax.bakeoff import Bakeoff
from qqtjax.bakeoff.result import STACKED

HEAD = (
    "| law | MAE | RMSE | bias | rank | in 90 % | regret | pairs right | worse than the first by | parameters "
    "| starts at the best | s |"
)


def whole(
    done: Sequence[tuple[Table, Sequence[Bakeoff]]], sections: Sequence[str], seconds: tuple[float, float], seed: int
) -> str:
    """The whole page.

    Args:
        done: the tables with their results.
        sections: the page's sections.
        seconds: that all of it took, by the clock and of processor time.
        seed: of the splits.
    """
    clock = "in several parts" if np.isnan(seconds[0]) else f"{seconds[0]:.0f} s by the clock"
    columns = [(table.name, result) for table, results in done for result in results]
    laws = list(dict.fromkeys(law for _, result in columns for law in result.laws))
    ratio = {
        law: [result.score(law).mae / result.score(result.laws[0]).mae if law in result.laws else np.nan
              for _, result in columns]
        for law in laws
    }  # fmt: skip
    laws.sort(
        key=lambda law: (-np.sum(np.isfinite(ratio[law])) * (np.nanmedian(ratio[law]) < 2), np.nanmedian(ratio[law]))
    )
    lines = [
        "# Bake-off",
        "",
        "Which law predicts runs that it was not fitted on. What is held out, how laws are fitted and what is chosen "
        "by inner folds: `benchmarks/PROTOCOL.md`; every attempt: `benchmarks/bakeoff/attempts.csv`. "
        f"Seed {seed}; two tables at a time, {seconds[1]:.0f} s of processor time, {clock}.",
        "",
        "Held-out mean absolute error over that of the closest law of the split; a dash: the law cannot express the "
        "table, or was left out (reasons below).",
        "",
        *(f"{i}. {name}: `{result.split}`, closest {result.laws[0]} at {result.score(result.laws[0]).mae:.4f}"
          for i, (name, result) in enumerate(columns, 1)),
        "",
        "| law | " + " | ".join(str(i) for i in range(1, len(columns) + 1)) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]  # fmt: skip
    for law in laws:
        lines.append(f"| {law} | " + " | ".join(_or_dash(each, ".1f") for each in ratio[law]) + " |")
    lines += [
        "",
        "Below: MAE, RMSE and bias (predicted minus measured) in the unit of the metric; rank: Spearman's; in 90 %: "
        "share of held-out checkpoints inside the 90 % interval from inner folds; regret and pairs: choices by "
        "prediction at one budget and size of model; worse than the first by: paired difference with its 95 % "
        "interval over whole mixtures or runs; starts at the best: of the outer fits, the fewest; s: wall seconds, "
        "compilation included; *: fitted to each size of the model on its own.",
        "",
    ]
    return "\n".join(lines) + "\n" + "\n".join(sections)


def section(name: str, about: str, result: Bakeoff, marks: Mapping[str, float]) -> str:
    """One split of one table."""
    out, laws = result.checkpoints[1], result.laws
    targets = f", mean over {len(result.metrics)} targets" if len(result.metrics) > 1 else ""
    lines = [f"### {name}: `{result.split}`", "", f"{about}. {out} checkpoints held out{targets}.", "", HEAD]
    lines.append("|---" * (HEAD.count("|") - 1) + "|")
    lines += [_row(result, law) for law in laws]
    # Not the stacked mean, whose weights were chosen on the same folds.
    inner = min((law for law in laws if law != STACKED), key=lambda law: result.score(law).inner_mae)
    lines += ["", f"By the inner folds one would choose {inner}: {result.score(inner).mae:.4f}."]
    lines += ["", *_against_marks(result, marks)]
    if result.left_out:
        reasons: dict[str, list[str]] = {}
        for law, reason in result.left_out.items():
            reasons.setdefault(reason, []).append(law)
        lines += [
            "",
            "Left out: " + "; ".join(f"{', '.join(names)} ({reason})" for reason, names in reasons.items()) + ".",
        ]
    return "\n".join(lines) + "\n"


def _row(result: Bakeoff, law: str) -> str:
    score, first = result.score(law), result.laws[0]
    behind = ""
    if law != first:
        gap = result.difference(law, first)
        behind = f"{gap.mean:.4f} [{gap.low:.4f}, {gap.high:.4f}]"
    found = (
        f"{100 * score.agreeing:.0f} %{'' if score.converged == 1 else ', not all converged'}"
        if score.parameters
        else ""
    )
    return (
        f"| {law}{'*' if score.apart else ''} | {score.mae:.4f} | {score.rmse:.4f} | {score.bias:+.4f} "
        f"| {_or_dash(score.rank, '.3f')} | {_or_dash(100 * score.coverage, '.0f')} | {_or_dash(score.regret, '.4f')} "
        f"| {_or_dash(100 * score.pairs_right, '.0f')} | {behind} | {score.parameters or ''} | {found} "
        f"| {score.seconds:.0f} |"
    )


def _or_dash(value: float, form: str) -> str:
    return "-" if np.isnan(value) else format(value, form)


def _against_marks(result: Bakeoff, marks: Mapping[str, float]) -> list[str]:
    if not marks:
        return []
    aims = {name: value for name, value in marks.items() if name.startswith("aim")}
    known = ", ".join(f"{name} {value:g}" for name, value in marks.items())
    lines = [f"Marks of the data's own page, another split: {known}."]
    for name, value in aims.items():
        target = name.partition(", ")[2] or None
        best = min(result.laws, key=lambda law: result.score(law, target).mae)
        mae = result.score(best, target).mae
        verdict = "reached" if mae <= value else "**not reached**"
        lines.append(f"Aim{f' for {target}' if target else ''} {value:g}: {verdict}, {mae:.4f} by {best}.")
    return lines


def permutation_section(tests: Mapping[str, Test], count: int) -> str:
    """The permutation test."""
    lines = [
        "## Permutation test: do unique tokens matter on datablations",
        "",
        f"Unique sizes permuted {count} times among runs of one model size and number of tokens, every law refitted; "
        "runs of more than 8 epochs held out. Statistic: error of the blind law (chinchilla) minus that of the law.",
        "",
        "| law | blind MAE | MAE | statistic | 95 % and largest of the permutations | p |",
        "|---|---|---|---|---|---|",
    ]
    for name, test in tests.items():
        high, most = np.quantile(test.permuted, 0.95), test.permuted.max()
        lines.append(
            f"| {name} | {test.blind:.4f} | {test.law:.4f} | {test.blind - test.law:+.4f} | {high:+.4f}, {most:+.4f} "
            f"| {test.p:.3f} |"
        )
    return "\n".join(lines) + "\n"


def capacity_section(result: Bakeoff, architecture: np.ndarray) -> str:
    """One law over three architectures beside laws fitted to each on its own, every run left out in turn.

    Args:
        result: of `runs:each` on the three architectures together.
        architecture: `[H]` name of each held-out run's architecture.
    """
    names = list(dict.fromkeys(architecture.tolist()))
    lines = [
        "## One law over three CLIP architectures",
        "",
        "Mean absolute error in points of ImageNet error, each of 18 runs left out in turn. Together: fitted to the "
        "other 17 runs; apart: to the other 5 of the same architecture.",
        "",
        f"| law | fitted | {' | '.join(names)} | all | parameters |",
        "|---" * (len(names) + 4) + "|",
    ]
    (metric,) = result.metrics
    for law in result.laws:
        score = result.score(law)
        miss = 100 * np.abs(result.predicted[metric][law] - result.measured[metric])
        each = " | ".join(f"{miss[architecture == name].mean():.2f}" for name in names)
        count = score.parameters * (len(names) if score.apart else 1) or ""
        how = "apart" if score.apart else "together"
        lines.append(f"| {law} | {how} | {each} | {miss.mean():.2f} | {count} |")
    return "\n".join(lines) + "\n"
