"""A bake-off as a table of 80 columns."""

from __future__ import annotations

import textwrap

import numpy as np

from qqtjax.bakeoff.result import Bakeoff, Score

HEAD = f"{'law':<22}{'MAE':>8}{'RMSE':>8}{'bias':>9}{'rank':>6}{'in':>5}{'regret':>8}{'pairs':>6}{'fit':>5}"


def bakeoff_table(result: Bakeoff) -> str:
    """The table that `qqt bakeoff` prints.

    Args:
        result: of a bake-off.
    """
    fitted, out = result.checkpoints
    targets = f", mean over {len(result.metrics)} targets" if len(result.metrics) > 1 else ""
    lines = [
        f"Held out: {result.split} (seed {result.seed}): {out} checkpoints, {fitted} fitted{targets}",
        "",
        HEAD,
        *(_line(result.score(law)) for law in result.laws),
        "",
    ]
    notes = [
        f"in: % of held-out checkpoints inside the {100 * result.level:.0f} % interval, which rests on inner folds; "
        "regret: error of the option with the least predicted error minus the least measured, at equal samples seen "
        "and model size; pairs: % ordered as measured; fit: % of starts that ended at the best optimum, ! where not "
        "all fits converged.",
    ]
    if any(each.apart for each in result.scores):
        notes.append("*: each size of the model fitted on its own.")
    gaps = [result.difference(law, result.laws[0]) for law in result.laws[1:]]
    unclear = [gap.first for gap in gaps if not gap.low > 0]
    if gaps and np.isfinite(gaps[0].low):
        alike = f"no clear difference from {', '.join(unclear)}" if unclear else "the others are clearly behind"
        notes.append(f"{result.laws[0]} is closest; {alike} (95 % intervals over {gaps[0].blocks} runs or mixtures).")
    if len(result.metrics) == 1:
        (weights,) = result.weights.values() or ({},)
        some = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items() if weight >= 0.005)
        notes += [f"stacked: {some}."] if some else []
    notes += [f"left out: {law}: {reason}." for law, reason in result.left_out.items()]
    return "\n".join([*lines, *(each for note in notes for each in textwrap.wrap(note, 79, subsequent_indent="  "))])


def _line(score: Score) -> str:
    name = score.law + "*" * score.apart
    inside = "-" if np.isnan(score.coverage) else f"{100 * score.coverage:.0f}"
    right = "-" if np.isnan(score.pairs_right) else f"{100 * score.pairs_right:.0f}"
    regret = "-" if np.isnan(score.regret) else f"{score.regret:.4f}"
    rank = "-" if np.isnan(score.rank) else f"{score.rank:.2f}"
    found = f"{100 * score.agreeing:.0f}{'!' * (score.converged < 1)}" if score.parameters else "-"
    errors = f"{score.mae:8.4f}{score.rmse:8.4f}{score.bias:+9.4f}"
    return f"{name[:22]:<22}{errors}{rank:>6}{inside:>5}{regret:>8}{right:>6}{found:>5}"
