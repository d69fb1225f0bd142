"""Does the law predict measured mixtures that were never fitted? Families C and R of word-CLIP.

    python -m benchmarks.wordclip_evidence

Single pools are fitted in a window of samples seen, measured mixtures in the same window are predicted. Windows are in
units of 10,000 samples, one epoch of a graded pool. These families, their windows, decay shape and dilution were looked
at while the library was made: development data, not a test.
"""

from __future__ import annotations

import dataclasses
import warnings

import qqtjax as qqt
from benchmarks import record
from qqtjax.errors import QQTWarning
from qqtjax.laws import effective_data, power
from qqtjax.plan import Evidence
from qqtjax.runs import Runs

UNIT = 10_000
WINDOWS = ((0.25, 20), (0.5, 20), (1, 20), (2, 10))
COLUMNS = ("mae", "bias", "mae_difference", "accuracy", "regret", "regret_filter")


def windowed(family: str, first: float, last: float, remainder: bool = True) -> Runs:
    """Checkpoints in a window, equally weighted; without the large unfiltered pool if so wanted.

    Samples seen are whole batches of 64, up to half a batch below the round number.
    """
    runs = qqt.wordclip(family)
    units = runs.samples_seen / UNIT
    rows = (units >= first - 64 / UNIT) & (units <= last + 64 / UNIT)
    chosen = dataclasses.replace(runs.select(rows), eval_size=None)
    return chosen if remainder else chosen.for_pools(runs.pools.names[:-1])


def score(runs: Runs) -> Evidence:
    """Fit the single pools with every variant and score the mixtures."""
    alone = runs.select(runs.single)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QQTWarning)
        geometric = qqt.fit(alone)
        shaped = qqt.fit(alone, free=["decay_shape"])
        others = {
            # Alone on its own pool a sample is undiluted, so the fit is the same for every dilution.
            "utility, dilution 0": geometric.with_params(dilution=0.0),
            "utility, shape free, dilution 1": shaped,
            "utility, shape free, dilution 0": shaped.with_params(dilution=0.0),
            "effective data, dilution 1": qqt.fit(alone, effective_data),
        }
        blind = qqt.fit(alone, power)
        found = qqt.mixture_evidence(geometric, runs, blind=blind, others=others)
    assert found is not None
    return found


def ratio(evidence: Evidence) -> float:
    """Mean absolute error of the law over that of the repetition-blind law."""
    blind = next(each for each in evidence.scores if "blind" in each.name)
    return evidence.scores[0].mae / blind.mae


def section(title: str, evidence: Evidence) -> str:
    """One table."""
    lines = [
        f"| {each.name} | " + " | ".join(f"{getattr(each, column):.4f}" for column in COLUMNS) + " |"
        for each in evidence.scores
    ]
    return f"""## {title}

{evidence.checkpoints} checkpoints of {evidence.mixtures} mixtures, {evidence.pairs} pairs at {evidence.budgets}
budgets; MAE of the law over that of the blind law: **{ratio(evidence):.2f}**.

| predicted by | MAE | bias | MAE of differences | pairs right | regret | regret of filters |
|---|---|---|---|---|---|---|
{chr(10).join(lines)}
"""


def main() -> None:
    """Score everything and write the results."""
    sections, figures = [], {}
    for family in ("C", "R"):
        for first, last in WINDOWS:
            name = f"family {family}, fitted on {first:g} to {last:g} epochs"
            evidence = score(windowed(family, first, last))
            sections.append(section(name, evidence))
            figures[name] = {each.name: dataclasses.asdict(each) for each in evidence.scores}
        name = f"family {family}, 0.25 to 20 epochs, without the unfiltered remainder"
        evidence = score(windowed(family, *WINDOWS[0], remainder=False))
        sections.append(section(name, evidence))
        figures[name] = {each.name: dataclasses.asdict(each) for each in evidence.scores}
    page = f"""# Measured mixtures that were never fitted (word-CLIP)

Single pools are fitted (dilution 1 and decay shape 1 unless said), mixtures in the same window predicted; columns: mean
absolute error, bias, mean absolute error of differences at equal budget, share of pairs ordered rightly, regret of the
setting and of the filter that each would choose. Two seeds. Development data: families and windows were looked at
before.

{chr(10).join(sections)}"""
    record.write("wordclip_evidence", "python -m benchmarks.wordclip_evidence", figures, page)


if __name__ == "__main__":
    main()
