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
from benchmarks.studies.reliability import table_rows
from benchmarks.wordclip import settings
from qqtjax.decide import reliability
from qqtjax.decide.reliability import brier
from qqtjax.fit.clusters import Unit
from qqtjax.laws.draws import Draws

SEED, STARTS, DRAWS, BINS = 20261127, 32, 1000, 5
SEEN = UNIT * np.array(BUDGETS)
PAIRS = ("all pairs", "contested pairs")
TABLE = ("stated", "happened", "count")
NEWLINE = "\n"


class Judged(NamedTuple):
    """Decisions for held-out redraws: C choices (a redraw and budget each) and N events (a pair of options there).

    Attributes:
        right: `[C]` is the choice the option that measured best.
        copied: `[C]` is the option that measured best in the redraws of the fit, mixtures measured too, the one.
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
    copied: np.ndarray
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


def errors_of(measured: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """`[F, B]` mean measured error of the options at the budgets."""
    return measured.pivot_table(index="run", columns="samples_seen", values="error").loc[list(names), SEEN].to_numpy()


def judge(
    draws: Draws,
    noise: float,
    measured: pd.DataFrame,
    elsewhere: pd.DataFrame,
    shares: Mapping[str, Mapping[str, float]],
) -> Judged:
    """Decide among options at every budget, and look at the held-out redraw.

    Args:
        draws: around a fit to other redraws.
        noise: standard deviation of one measured error; those of `measured` are means over two seeds.
        measured: the checkpoints of the held-out redraw.
        elsewhere: those of the redraws of the fit, mixtures too.
        shares: the options.
    """
    names = list(shares)
    error = errors_of(measured, names)
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
        copied=errors_of(elsewhere, names).argmin(axis=0) == error.argmin(axis=0),
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
        "copied": float(judged.copied.mean()),
        "probability": float(judged.chosen.mean()),
        "probability with noise": float(judged.chosen_noisy.mean()),
        "regret": float(judged.regret.mean()),
    }
    for label, rows in zip(PAIRS, (np.ones(len(judged.below), bool), judged.contested), strict=True):
        happened = judged.happened[rows]
        rate = float(happened.mean())
        found[label] = {
            "pairs": len(happened),
            "base rate": rate * (1 - rate),
            "plug-in": brier(judged.plug_in[rows], happened),
        }
        for name, stated in (("P", judged.below[rows]), ("P with noise", judged.below_noisy[rows])):
            table = reliability(stated, happened, BINS)
            found[label][name] = {"brier": table.brier, "calibration": table.error} | {
                field: getattr(table, field).tolist() for field in TABLE
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
                own = table.loc[table["family"] == family]
                elsewhere = own.loc[own["redraw"].isin(seen)]
                for held in (each for each in redraws if each not in seen):
                    measured = own.loc[own["redraw"] == held]
                    for kind, among in kinds.items():
                        one = judge(draws, noise, measured, elsewhere, among)
                        for label in (family, "all families"):
                            judged.setdefault((source, kind, label), []).append(one)
    found = {}
    for source, kind in dict.fromkeys(key[:2] for key in judged):
        for label in ("all families", *settings.REDRAWS):
            found[f"{source}, {kind}, {label}"] = figures(judged[source, kind, label])
    record.write("studies_redraws", "python -m benchmarks.studies.redraws", found, _page(found, start))


def _diagram(title: str, own: dict[str, Any]) -> str:
    """Reliability of P, and of P with noise, one above the other."""
    parts = [
        f"| *{name}* | | |\n{table_rows(*(own[name][field] for field in TABLE))}" for name in ("P", "P with noise")
    ]
    return f"{title}:\n\n| stated | happened | pairs |\n|---|---|---|\n{NEWLINE.join(parts)}"


def _page(found: dict[str, dict[str, Any]], start: float) -> str:
    choices, pairs, tables = [], [], []
    for name, each in found.items():
        source, kind, family = name.split(", ")
        choices.append(
            f"| {source} | {kind} | {family} | {each['choices']} | {each['right']:.2f} | {each['copied']:.2f} | "
            f"{each['probability']:.2f} | {each['probability with noise']:.2f} | {each['regret']:.4f} |"
        )
        for label in PAIRS:
            own = each[label]
            shown = (f"{own[p]['calibration']:.3f} | {own[p]['brier']:.3f}" for p in ("P", "P with noise"))
            pairs.append(
                f"| {source} | {kind} | {family} | {label.split()[0]} | {own['pairs']} | {' | '.join(shown)} | "
                f"{own['base rate']:.3f} | {own['plug-in']:.3f} |"
            )
        if family == "all families":
            tables += [_diagram(f"Fitted on {source}, {label} of {kind}", each[label]) for label in PAIRS]
    budgets = ", ".join(f"{budget:g}" for budget in BUDGETS)
    blank = "\n\n"
    first = next(iter(found.values()))
    return f"""# word-CLIP: deciding for a redraw that no fit saw

`laws.utility`, dilution 1, fitted to the single pools (both seeds, {HEADLINE} units) of all other redraws or of one
other; {DRAWS} Student's t draws, whole runs being the unit. Options are the five nested filters, or all filters and
hand-made mixes, at {budgets} units; judged by the held-out redraw's measured
errors, means over two seeds. No mixture is fitted. Families C and R have three redraws, V has five: too few for
intervals over redraws, and budgets of one redraw move together. P is what the library states, of expected errors;
*with noise* adds that of measuring (the standard deviation of the fit's residuals over the root of 2), since what is
judged is one measurement of another redraw.

Among the nested filters, fitted on all other redraws, the choice measured best in {first["right"]:.0%} of cases, and
was given {first["probability"]:.0%} on average, {first["probability with noise"]:.0%} with noise.
The option that measured best in those other redraws does so here in {first["copied"]:.0%}: what P does not know is
less the luck of a redraw than how far the law itself is off.

Choices: how often the choice is the option that measured best; how often the option that measured best in the redraws
of the fit is (it has seen every mixture measured there, the fits none); the mean probability that the choice was given;
and its measured error above that of the option that measured best (the luck of the best of several included).

| fitted on | options | family | choices | right | best elsewhere is right | mean P | with noise | regret |
|---|---|---|---|---|---|---|---|---|
{NEWLINE.join(choices)}

Pairs: P(A measures better than B), calibration error (over {BINS} bins of equal mass), Brier scores. Contested: the
fitted gap is below 2 standard deviations over the draws.

| fitted on | options | family | which | pairs | error of P | Brier | error with noise | Brier | base rate | plug-in |
|---|---|---|---|---|---|---|---|---|---|---|
{NEWLINE.join(pairs)}

{blank.join(tables)}

{time.perf_counter() - start:.0f} s.
"""


if __name__ == "__main__":
    main()
