"""Does P(A has a lower error than B) come true, where the decision is contested?

    python -m benchmarks.studies.decisions
    python -m benchmarks.studies.decisions --studies 200 --seed 1     # a quicker look

Truths and noise are those of `benchmarks/studies/truths.py`, fits and draws those of `benchmarks/studies/fitted.py`;
what is decided and what counts as contested is in `benchmarks/PROTOCOL.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import qqtjax as qqt
from benchmarks import record
from benchmarks.studies import truths as made
from benchmarks.studies.fitted import STARTS, draws_of, fit_studies, params_at
from benchmarks.studies.reliability import over_studies, table_rows
from qqtjax.decide import Reliability, reliability
from qqtjax.decide.reliability import brier
from qqtjax.laws import UtilityParams, utility
from qqtjax.runs import Run, Runs

SEED, DRAWS, BINS, ASKED, CONTESTED = 20261128, 400, 10, 0.05, 2.0
BUDGETS = np.array([64e6, 120e6, 200e6, 360e6, 640e6])
PAIRS = np.array(list(itertools.combinations(range(made.POOLS), 2)))
PRIORS = {"stated prior": made.PRIOR, "shifted prior": made.SHIFTED}
BOOTSTRAPPED, AT_ONCE = 500, 50


class Events(NamedTuple):
    """N contested decisions between an A and a B.

    Attributes:
        study: `[N]`.
        probability: `[N]` that A has the lower error.
        plug_in: `[N]` 1 where the fit itself prefers A, else 0.
        happened: `[N]` 1 where A truly has the lower error.
    """

    study: np.ndarray
    probability: np.ndarray
    plug_in: np.ndarray
    happened: np.ndarray


def nested(order: np.ndarray) -> np.ndarray:
    """`[B, 4, 4]` weights of the unions of the first 1, 2, 3, 4 pools in each study's order `[B, 4]`."""
    place = np.argsort(order, axis=1)
    sizes = np.arange(1, made.POOLS + 1)
    return (place[:, None, :] < sizes[:, None]) / sizes[:, None]


@jax.jit
def _errors(params: UtilityParams, weights: jax.Array, budgets: jax.Array) -> jax.Array:
    sizes = jnp.full(made.POOLS, made.SIZE)

    def one(own: UtilityParams, shares: jax.Array, n: jax.Array) -> jax.Array:
        return utility(own, Run(weights=shares, sizes=sizes, samples_seen=n))

    options = jax.vmap(jax.vmap(one, (None, None, 0)), (None, 0, None))
    draws = jax.vmap(options, (0, None, None))
    return jax.lax.map(lambda each: draws(each[0], each[1], budgets), (params, weights), batch_size=AT_ONCE)


def errors(params: UtilityParams, weights: np.ndarray) -> np.ndarray:
    """`[B, S, F, N]` errors of F options of each study at the budgets, under S sets of parameters (stacked B S)."""
    apart = jax.tree.map(lambda leaf: np.reshape(leaf, (len(weights), -1, *np.shape(leaf)[1:])), params)
    with jax.enable_x64(True):
        return np.asarray(_errors(apart, weights, BUDGETS))


def contested(
    drawn: np.ndarray, fitted: np.ndarray, true: np.ndarray, doubted: np.ndarray, rng: np.random.Generator
) -> Events:
    """Decisions of all pairs at all budgets with a doubted gap below 2 standard deviations over the draws.

    Args:
        drawn: `[B, S, F, N]` errors under the draws.
        fitted: `[B, F, N]` under the fit.
        true: `[B, F, N]`.
        doubted: `[B, F, N]` errors whose gaps decide what is contested: the true ones, or the fitted ones.
        rng: which of a pair is A.
    """
    one, other = PAIRS.T
    gaps, plug, truth, size = (each[..., one, :] - each[..., other, :] for each in (drawn, fitted, true, doubted))
    below = np.mean(gaps < 0, axis=1)
    turned = rng.random(below.shape) < 0.5
    keep = np.abs(size) < CONTESTED * gaps.std(axis=1)
    study = np.broadcast_to(np.arange(len(below))[:, None, None], below.shape)
    return Events(
        study=study[keep],
        probability=np.where(turned, 1 - below, below)[keep],
        plug_in=((plug < 0) != turned)[keep].astype(float),
        happened=((truth < 0) != turned)[keep].astype(float),
    )


def table_of(events: Events) -> Reliability:
    """Reliability in bins of equal mass."""
    return reliability(events.probability, events.happened, BINS)


def figures(events: Events, rng: np.random.Generator) -> dict[str, Any]:
    """Calibration error with its interval over studies, and Brier scores."""
    _, study = np.unique(events.study, return_inverse=True)

    def error(rows: np.ndarray) -> float:
        return reliability(events.probability[rows], events.happened[rows], BINS).error

    table = table_of(events)
    return {
        "decisions": len(study),
        "studies": int(study.max()) + 1,
        "calibration": table.error,
        "interval": over_studies(error, study, rng),
        "brier": table.brier,
        "base rate": table.rate * (1 - table.rate),
        "plug-in": brier(events.plug_in, events.happened),
        "stated": table.stated.tolist(),
        "happened": table.happened.tolist(),
        "count": table.count.tolist(),
    }


def bootstrapped(runs: Runs, measured: np.ndarray) -> tuple[UtilityParams, UtilityParams]:
    """Fits, stacked B, and draws around them, stacked B S, as the library makes them for one study by default."""
    fits, drawn = [], []
    for own in measured:
        study = dataclasses.replace(runs, error=own)
        fitted = qqt.fit(study, starts=STARTS)
        fits.append(fitted.params)
        drawn.append(qqt.draw(fitted, study, DRAWS).params)
    return jax.tree.map(lambda *each: np.stack(each), *fits), jax.tree.map(lambda *each: np.concatenate(each), *drawn)


def case(prior: tuple, count: int, rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    """One prior: figures of the headline and beside it."""
    truths = made.draw_truths(rng, count, prior=prior)
    runs = made.table()
    measured = made.measure(rng, truths, runs)
    studies = fit_studies(runs, measured)
    # One draw more, to stand for the truth of studies whose draws are right by construction.
    coordinates = draws_of(studies, DRAWS + 1, rng)
    drawn_params = params_at(coordinates, studies.params)
    by_fit = nested(np.argsort(studies.params.utility, axis=1))
    by_name = nested(np.tile(np.arange(made.POOLS), (count, 1)))
    found = {}
    for name, weights in (("in fitted order", by_fit), ("in order of name", by_name)):
        every = errors(drawn_params, weights)
        drawn, stand_in = every[:, :DRAWS], every[:, DRAWS]
        fitted, true = errors(studies.params, weights)[:, 0], errors(made.params_of(truths), weights)[:, 0]
        kinds = {
            name: (true, true),
            f"{name}, contested by the fitted gap": (true, fitted),
            f"{name}, a draw in place of the truth": (stand_in, stand_in),
        }
        for kind, (judge, doubted) in kinds.items():
            found[kind] = figures(contested(drawn, fitted, judge, doubted, rng), rng)
    params, drawn_params = bootstrapped(runs, measured[:BOOTSTRAPPED])
    weights = nested(np.argsort(params.utility, axis=1))
    true = errors(made.params_of(made.Truths(*(leaf[:BOOTSTRAPPED] for leaf in truths))), weights)[:, 0]
    events = contested(errors(drawn_params, weights), errors(params, weights)[:, 0], true, true, rng)
    found["in fitted order, residual bootstrap"] = figures(events, rng)
    return found


def main() -> None:
    """Run both priors and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    start = time.perf_counter()
    found = {
        name: case(prior, arguments.studies, np.random.default_rng([arguments.seed, place]))
        for place, (name, prior) in enumerate(PRIORS.items())
    }
    sections = "\n\n".join(_section(name, each) for name, each in found.items())
    budgets = ", ".join(f"{budget / 1e6:.0f}M" for budget in BUDGETS)
    page = f"""# Probabilities of contested decisions

{arguments.studies:,} studies a prior, heterogeneities mixed: 4 pools of 12.8M samples measured alone at epochs .25, 1,
2, 5, 10, one run a pool, noise {made.NOISE}; fits of `laws.utility` from {STARTS} starts, {DRAWS} Student's t draws
around each. Decisions: every pair of the unions of the first 1, 2, 3, 4 pools, in the order of the fitted utilities, at
{budgets} samples; which one is A is drawn. Contested: the true gap is below
{CONTESTED:g} standard deviations of the gap over the draws. P is the share of draws in which A has the lower error.
Calibration error: mean |stated - happened| over {BINS} bins of equal mass, with its 95 % interval over studies
(resampling adds noise, so the interval leans upwards). Brier scores of P, of the base rate and of the fit's own choice,
taken as certain. Asked: calibration error at most {ASKED}, Brier score below both others.

Beside it: the pools in the order of their names, which depends on nothing; what is contested by the *fitted* gap
(knowing that the true gap is small makes any P look too sure); a draw of its own in place of each truth: what remains
there is what selection and the number of studies do to probabilities that are right; and the default of `qqt.draw`, the
residual bootstrap, in place of Student's t, on the first {BOOTSTRAPPED} studies, fitted by `qqt.fit` one at a time.

{sections}

{time.perf_counter() - start:.0f} s.
"""
    command = f"python -m benchmarks.studies.decisions --studies {arguments.studies} --seed {arguments.seed}"
    record.write("studies_decisions", command, found, page)


def _section(prior: str, kinds: dict[str, dict[str, Any]]) -> str:
    """One prior: the table of figures, and the reliability of the headline."""
    rows = []
    for kind, each in kinds.items():
        low, high = each["interval"]
        rows.append(
            f"| {kind} | {each['decisions']:,} of {each['studies']:,} studies | {each['calibration']:.3f} "
            f"({low:.3f} to {high:.3f}) | {each['brier']:.3f} | {each['base rate']:.3f} | {each['plug-in']:.3f} |"
        )
    headline = next(iter(kinds.values()))
    met = headline["calibration"] <= ASKED and headline["brier"] < min(headline["base rate"], headline["plug-in"])
    lines = "\n".join(rows)
    return f"""## {prior.capitalize()}: {"as asked" if met else "missed"}

| decisions | contested | calibration error | Brier of P | of the base rate | of the plug-in choice |
|---|---|---|---|---|---|
{lines}

Reliability of the first row:

| stated | happened | decisions |
|---|---|---|
{table_rows(headline["stated"], headline["happened"], headline["count"])}"""


if __name__ == "__main__":
    main()
