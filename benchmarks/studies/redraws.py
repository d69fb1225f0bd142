"""word-CLIP: fit on some redraws of the pools, decide for another, and see whether the stated probabilities come true.

    python -m benchmarks.studies.redraws

Fits see single pools alone; the options are filters and mixes, judged by what was measured in a redraw that no fit saw.
The setup is in `benchmarks/PROTOCOL.md`.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

import qqtjax as qqt
from benchmarks import record
from benchmarks.evidence.measured import BUDGETS, HEADLINE, UNIT, WINDOWS, inside, options, read_table
from benchmarks.evidence.metrics import nested
from benchmarks.studies.reliability import Reliability, brier, reliability
from benchmarks.wordclip import settings
from qqtjax.fit.clusters import Unit
from qqtjax.laws.draws import Draws

SEED, STARTS, DRAWS, BINS = 20261127, 32, 1000, 5
SEEN = UNIT * np.array(BUDGETS)


class Judged(NamedTuple):
    """Decisions for held-out redraws: C choices (a redraw and budget each) and N events (a pair of options there).

    Attributes:
        right: `[C]` is the choice the option that measured best.
        chosen: `[C]` probability of the choice.
        chosen_noisy: `[C]` the same for what one more measurement of all options would say, with its noise.
        regret: `[C]` measured error of the choice above that of the option that measured best.
        below: `[N]` P(A is the better of the two).
        below_noisy: `[N]` the same for one more measurement of both, with its noise.
        plug_in: `[N]` 1 where the fit prefers A.
        happened: `[N]` 1 where A measured better.
        contested: `[N]` is the fitted gap below 2 standard deviations over the draws.
    """

    right: np.ndarray
    chosen: np.ndarray
    chosen_noisy: np.ndarray
    regret: np.ndarray
    below: np.ndarray
    below_noisy: np.ndarray
    plug_in: np.ndarray
    happened: np.ndarray
    contested: np.ndarray


def fit_redraws(alone: pd.DataFrame, family: str, redraws: Sequence[int]) -> tuple[Draws, float]:
    """Draws around the fit to the single pools of some redraws, whole runs being the unit; and the sd of residuals."""
    rows = alone.loc[(alone["family"] == family) & alone["redraw"].isin(redraws)].reset_index(drop=True)
    rows["run"] = rows["run"] + " redraw " + rows["redraw"].astype(str)
    columns = ["run", "seed", "pool", "pool_size", "samples_seen", "error"]
    runs = qqt.read_runs(rows[columns], pools=settings.FAMILIES[family])
    fitted = qqt.fit(runs, starts=STARTS, seed=SEED)
    off = fitted.predict(runs.weights, runs.samples_seen) - runs.error
    return qqt.draw(fitted, runs, DRAWS, qqt.StudentT(by=Unit.RUN), seed=SEED), float(np.std(off))


def judge(draws: Draws, noise: float, measured: pd.DataFrame, shares: Mapping[str, Mapping[str, float]]) -> Judged:
    """Decide among options at every budget, and look at the held-out redraw.

    Args:
        draws: around a fit to other redraws.
        noise: standard deviation of one measured error; those of `measured` are means over two seeds.
        measured: the checkpoints of the held-out redraw.
        shares: the options.
    """
    names = list(shares)
    error = measured.pivot_table(index="run", columns="samples_seen", values="error").loc[names, SEEN].to_numpy()
    decision = qqt.decide(draws, shares, SEEN)
    best = decision.best[None]
    weights = np.stack([draws.fitted.pools.weights(dict(each)) for each in shares.values()])
    drawn = draws.predict(weights[:, None, :], SEEN)
    noise_of_mean = noise / np.sqrt(len(settings.SEEDS))
    again = drawn + noise_of_mean * np.random.default_rng(SEED).normal(size=drawn.shape)
    pairs = np.array(list(itertools.combinations(range(len(names)), 2)))
    # Which of a pair is A: every second one is turned round.
    pairs[1::2] = pairs[1::2, ::-1]
    one, other = pairs.T
    gaps, fitted_gaps = drawn[:, one] - drawn[:, other], decision.error[one] - decision.error[other]
    return Judged(
        right=decision.best == error.argmin(axis=0),
        chosen=decision.chosen,
        chosen_noisy=np.mean(again.argmin(axis=1) == best, axis=0),
        regret=np.take_along_axis(error, best, axis=0)[0] - error.min(axis=0),
        below=np.mean(gaps < 0, axis=0).ravel(),
        below_noisy=np.mean(norm.cdf(-gaps / (np.sqrt(2) * noise_of_mean)), axis=0).ravel(),
        plug_in=(fitted_gaps < 0).astype(float).ravel(),
        happened=(error[one] < error[other]).astype(float).ravel(),
        contested=(np.abs(fitted_gaps) < 2 * gaps.std(axis=0)).ravel(),
    )


def figures(every: Sequence[Judged]) -> dict[str, Any]:
    """Accuracy of the choices, and calibration of the pairs."""
    judged = Judged(*(np.concatenate(each) for each in zip(*every, strict=True)))
    found: dict[str, Any] = {
        "choices": len(judged.right),
        "right": float(judged.right.mean()),
        "probability": float(judged.chosen.mean()),
        "probability with noise": float(judged.chosen_noisy.mean()),
        "regret": float(judged.regret.mean()),
    }
    for label, rows in (("all pairs", np.ones(len(judged.below), bool)), ("contested pairs", judged.contested)):
        happened = judged.happened[rows]
        rate = float(happened.mean())
        found[label] = {
            "pairs": len(happened),
            "base rate": rate * (1 - rate),
            "plug-in": brier(judged.plug_in[rows], happened),
        }
        for name, stated in (("P", judged.below[rows]), ("P with noise", judged.below_noisy[rows])):
            table = reliability(stated, happened, BINS)
            found[label][name] = {"brier": brier(stated, happened), "calibration": table.error} | {
                field: getattr(table, field).tolist() for field in table._fields
            }
    return found


def main() -> None:
    """Every family, from all other redraws and from single ones; write the page."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    start = time.perf_counter()
    table = inside(read_table(("single", "mixture")), WINDOWS[HEADLINE][0])
    table = table.loc[table["seed"].isin(settings.SEEDS)]
    alone = table.loc[table["role"] == "single"]
    judged: dict[tuple[str, str, str], list[Judged]] = {}
    for family, redraws in settings.REDRAWS.items():
        shares = {each.name: each.weights for each in options(family)}
        kinds = {"nested filters": {name: shares[name] for name in nested(family)}, "all options": shares}
        sources = {
            "all others": [[own for own in redraws if own != held] for held in redraws],
            "one other": [[own] for own in redraws],
        }
        for source, fitted_on in sources.items():
            for seen in fitted_on:
                draws, noise = fit_redraws(alone, family, seen)
                for held in (each for each in redraws if each not in seen):
                    measured = table.loc[(table["family"] == family) & (table["redraw"] == held)]
                    for kind, own in kinds.items():
                        judged.setdefault((source, kind, family), []).append(judge(draws, noise, measured, own))
    found = {", ".join(key): figures(each) for key, each in judged.items()}
    for source, kind in dict.fromkeys(key[:2] for key in judged):
        every = [one for key, each in judged.items() if key[:2] == (source, kind) for one in each]
        found[f"{source}, {kind}, all families"] = figures(every)
    found = dict(sorted(found.items(), key=lambda item: item[0].split(", ")[:2]))
    record.write("studies_redraws", "python -m benchmarks.studies.redraws", found, _page(found, start))


def _page(found: dict[str, dict[str, Any]], start: float) -> str:
    choices, pairs, tables = [], [], []
    for name, each in found.items():
        source, kind, family = name.split(", ")
        choices.append(
            f"| {source} | {kind} | {family} | {each['choices']} | {each['right']:.2f} | {each['probability']:.2f} | "
            f"{each['probability with noise']:.2f} | {each['regret']:.4f} |"
        )
        for label in ("all pairs", "contested pairs"):
            own = each[label]
            shown = (f"{own[p]['calibration']:.3f} | {own[p]['brier']:.3f}" for p in ("P", "P with noise"))
            pairs.append(
                f"| {source} | {kind} | {family} | {label.split()[0]} | {own['pairs']} | {' | '.join(shown)} | "
                f"{own['base rate']:.3f} | {own['plug-in']:.3f} |"
            )
        if family == "all families":
            own = each["all pairs"]
            plain, noisy = (
                Reliability(*(np.array(own[p][field]) for field in Reliability._fields)) for p in ("P", "P with noise")
            )
            tables.append(
                f"Fitted on {source}, pairs of {kind}: P, and P with noise.\n\n"
                "| stated | happened | pairs |\n|---|---|---|\n"
                f"{plain.rows()}\n| **with noise** | | |\n{noisy.rows()}"
            )
    budgets = ", ".join(f"{budget:g}" for budget in BUDGETS)
    newline, blank = "\n", "\n\n"
    return f"""# word-CLIP: deciding for a redraw that no fit saw

`laws.utility`, dilution 1, fitted to the single pools (both seeds, {HEADLINE} units) of all other redraws or of one
other; {DRAWS} Student's t draws, whole runs being the unit. Options are the five nested filters, or all filters and
hand-made mixes, at {budgets} units; judged by the held-out redraw's measured
errors, means over two seeds. No mixture is fitted. Families C and R have three redraws, V has five: too few for
intervals over redraws, and budgets of one redraw move together. P is what the library states, of expected errors;
*with noise* adds that of measuring (the standard
deviation of the fit's residuals over the root of 2), since what is judged is one measurement of another redraw.

Choices: how often the choice is the option that measured best; the mean probability that it was given; and the measured
error above that of the option that measured best (the luck of the best of several included).

| fitted on | options | family | choices | right | mean P | with noise | regret |
|---|---|---|---|---|---|---|---|
{newline.join(choices)}

Pairs: P(A measures better than B), calibration error (over {BINS} bins of equal mass), Brier scores. Contested: the
fitted gap is below 2 standard deviations over the draws.

| fitted on | options | family | which | pairs | error of P | Brier | error with noise | Brier | base rate | plug-in |
|---|---|---|---|---|---|---|---|---|---|---|
{newline.join(pairs)}

{blank.join(tables)}

{time.perf_counter() - start:.0f} s.
"""


if __name__ == "__main__":
    main()
