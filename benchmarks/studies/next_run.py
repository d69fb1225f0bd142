"""Samples until the decision is good: runs chosen by regret saved per sample, against uniform designs and D-optimality.

The question, the target and the stopping rule are in `benchmarks/PROTOCOL.md`. Everything is computed for all studies
at once: the measurements of a study are counts and means over the same cells (what is trained, checkpoint).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from benchmarks import record
from benchmarks.studies.truths import NOISE, POOLS, SIZE, draw_truths, errors, params_of, table
from qqtjax.design.belief import Posterior, posterior, weak_prior
from qqtjax.design.candidates import simplex_grid
from qqtjax.design.knowledge import Normals, Payoffs, information, payoffs, saving
from qqtjax.fit.objective import Data, Objective
from qqtjax.fit.parameters import search_space
from qqtjax.laws import utility
from qqtjax.plain import to_plain
from qqtjax.runs import Run

COMMAND = "python -m benchmarks.studies.next_run"
STUDIES, SEED = 200, 8
BUDGET, FAR = 128e6, 640e6  # the target, and one that is reported beside it
TARGET = 0.001  # regret, in error
REACHED = 0.9  # share of the studies that must have reached it
CAP = 40.0  # in pool sizes (12.8M samples); the stopping rule
BAR = 0.6
RESAMPLES = 2000
# Checkpoints of every run, in epochs: close together, so that no design overshoots for want of a place to stop.
EPOCHS = (0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0)
START = 0.5  # epochs of every pool before anything is chosen
DRAWS = 64
ROUNDS = (2.0, 5.0)  # epochs of the uniform designs that begin anew

LADDER = np.array(EPOCHS)
SOURCES = np.vstack([np.eye(POOLS), np.full((1, POOLS), 1 / POOLS)])
LONG = len(LADDER)
OPTIONS = simplex_grid(POOLS)
LASTS = np.flatnonzero(LADDER >= START)
# Candidates: what is trained, the checkpoint at which it ends, and whether its longest run is continued.
SOURCE, LAST, RESUMES = (each.ravel() for each in np.meshgrid(np.arange(len(SOURCES)), LASTS, [False, True]))
COST_TO = np.concatenate([[0.0], LADDER])

cells = np.repeat(SOURCES, LONG, axis=0)
cell_samples = np.tile(LADDER * SIZE, len(SOURCES))
cell_source, cell_mark = np.repeat(np.arange(len(SOURCES)), LONG), np.tile(np.arange(LONG), len(SOURCES))


class Known(NamedTuple):
    """What has been measured in B studies.

    Attributes:
        count: `[B, cells]` measurements.
        total: `[B, cells]` their sum.
        depth: `[B, sources]` last checkpoint of the longest run, -1 without one.
        spent: `[B]` samples, in pool sizes.
    """

    count: np.ndarray
    total: np.ndarray
    depth: np.ndarray
    spent: np.ndarray


class World(NamedTuple):
    """B truths.

    Attributes:
        budget: the target, samples.
        exact: `[B, cells]` errors without noise.
        regret: `[B, options]` at the target budget.
    """

    budget: float
    exact: np.ndarray
    regret: np.ndarray


class Path(NamedTuple):
    """What a way of planning led to, after each of T steps.

    Attributes:
        spent: `[T, B]` samples, in pool sizes.
        regret: `[T, B]` of the decision.
    """

    spent: np.ndarray
    regret: np.ndarray


SPACE = search_space(utility, table(), bounds={"floor": (0.0, 0.6), "half_life": (0.05, 500.0)})
# Of the analyst: about the middle of the truths' prior, wider than it.
PRIOR = weak_prior(
    SPACE, {"utility": (-0.4, -0.05), "half_life": (1.5, 20.0), "scale": (5e5, 2e7), "floor": (0.0, 0.32)}
)
OBJECTIVE = Objective(SPACE.layout, None, False, None)


def world(studies: int, seed: int, budget: float = BUDGET) -> World:
    """Truths of all heterogeneities."""
    truths = params_of(draw_truths(np.random.default_rng(seed), studies))
    at_budget = errors(truths, OPTIONS, np.full(len(OPTIONS), budget))
    return World(budget, errors(truths, cells, cell_samples), at_budget - at_budget.min(axis=1, keepdims=True))


@jax.jit
def _fitted(error: Array, count: Array, starts: Array) -> Posterior:
    runs = Run(weights=cells, sizes=np.full_like(cells, SIZE), samples_seen=cell_samples)
    everyone = np.broadcast_to(np.arange(POOLS), cells.shape)
    fixed = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), SPACE.fixed)
    low, high = (jnp.asarray(each) for each in SPACE.box())

    def one(error: Array, count: Array, starts: Array) -> Posterior:
        return posterior(OBJECTIVE, Data(runs, everyone, error, count, fixed), PRIOR, NOISE, starts, low, high)

    return jax.vmap(one)(error, count, starts)


def fitted(known: Known, starts: np.ndarray) -> Posterior:
    """The fit of every study, from its starts `[B, S, F]`."""
    return _fitted(known.total / np.maximum(known.count, 1.0), known.count, starts)


def _payoffs(x: Array, budget: Array) -> Payoffs:
    samples = jnp.full(len(OPTIONS), budget)
    runs = Run(weights=OPTIONS, sizes=np.full_like(OPTIONS, SIZE), samples_seen=samples)
    return payoffs(OBJECTIVE, x, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), SPACE.fixed), runs)


@jax.jit
def decided(x: Array, budget: Array) -> Array:
    """`[B]` which option looks best."""
    return jnp.argmin(jax.vmap(lambda one: _payoffs(one, budget).log_excess)(x), axis=1)


def _jacobians(found: Posterior, first: Array) -> Array:
    """`[C, marks, F]` of the candidates of one study; rows of zeros where nothing is measured."""
    marks = jnp.arange(LONG)[:, None]

    def one(source: Array, first: Array, last: Array) -> Array:
        rows = lax.dynamic_slice(found.jacobian, (source * LONG, 0), (LONG, len(found.x)))
        return jnp.where((marks > first) & (marks <= last), rows, 0.0)

    return jax.vmap(one)(jnp.asarray(SOURCE), first, jnp.asarray(LAST))


@jax.jit
def learnt(found: Posterior, first: Array) -> Array:
    """`[B, C]` information of every candidate, whose runs go on from the checkpoints `first`, `[B, C]`."""

    def study(found: Posterior, first: Array) -> Array:
        return jax.vmap(lambda each: information(found.covariance, each, NOISE))(_jacobians(found, first))

    return jax.vmap(study)(found, first)


@jax.jit
def saved(found: Posterior, first: Array, budget: Array, normals: Normals) -> Array:
    """`[B, C]` expected regret that every candidate saves."""

    def study(given: tuple[Posterior, Array]) -> Array:
        found, first = given
        payoff = _payoffs(found.x, budget)
        # In turn: all candidates' estimates of all options of all studies would not fit into memory.
        return lax.map(
            lambda each: jnp.mean(saving(payoff, found.covariance, each, NOISE, normals)), _jacobians(found, first)
        )

    return lax.map(study, (found, first))


def measured(known: Known, truth: World, rows: np.ndarray, rng: np.random.Generator) -> Known:
    """After one more measurement of the cells in a mask `[B, cells]`."""
    noise = NOISE * rng.normal(size=rows.shape)
    return known._replace(count=known.count + rows, total=known.total + rows * (truth.exact + noise))


def started(truth: World, rng: np.random.Generator) -> Known:
    """Every pool trained alone to the first checkpoints."""
    studies, last = len(truth.exact), int(np.flatnonzero(LADDER == START)[0])
    depth = np.full((studies, len(SOURCES)), -1)
    depth[:, :POOLS] = last
    none = Known(np.zeros_like(truth.exact), np.zeros_like(truth.exact), depth, np.full(studies, POOLS * START))
    rows = (cell_source < POOLS) & (cell_mark <= last)
    return measured(none, truth, np.broadcast_to(rows, truth.exact.shape), rng)


def first_fit(known: Known) -> Posterior:
    """From the middle of the prior and three points of the ranges."""
    starts = np.vstack([PRIOR.centre, SPACE.draw_starts(3, 0)])
    return fitted(known, np.broadcast_to(starts, (len(known.spent), *starts.shape)))


def again(known: Known, found: Posterior) -> Posterior:
    """From the last fit."""
    return fitted(known, np.asarray(found.x)[:, None])


def regret_of(truth: World, found: Posterior) -> np.ndarray:
    """`[B]` of what is decided."""
    return truth.regret[np.arange(len(truth.regret)), np.asarray(decided(found.x, truth.budget))]


def chosen_runs(truth: World, by_regret: bool, seed: int) -> Path:
    """One run at a time, by regret saved or by information, for each sample, until the cap."""
    rng, studies = np.random.default_rng([seed, 1]), np.arange(len(truth.exact))
    known = started(truth, rng)
    found = first_fit(known)
    spent, regret = [known.spent], [regret_of(truth, found)]
    while True:
        first = np.where(RESUMES, known.depth[:, SOURCE], -1)
        cost = COST_TO[LAST + 1] - COST_TO[first + 1]
        possible = (LAST > first) & (~RESUMES | (first >= 0)) & (known.spent[:, None] + cost <= CAP + 1e-9)
        live = np.any(possible, axis=1)
        if not live.any():
            return Path(np.array(spent), np.array(regret))
        price = np.where(possible, cost, np.inf)
        per_sample = np.asarray(learnt(found, first)) / price
        if by_regret:
            of_draws = np.random.default_rng([seed, 2, len(spent)])
            normals = Normals(of_draws.normal(size=(DRAWS, len(SPACE))), of_draws.normal(size=(DRAWS, LONG)))
            gained = np.where(possible, np.asarray(saved(found, first, truth.budget, normals)) / price, -np.inf)
            # Where no draw decides otherwise after any run, information is all that is left to buy.
            per_sample = np.where(gained.max(axis=1, keepdims=True) > 0, gained, per_sample)
        best = np.argmax(np.where(possible, per_sample, -np.inf), axis=1)
        begun, source, last = first[studies, best], SOURCE[best], LAST[best]
        new = (cell_mark > begun[:, None]) & (cell_mark <= last[:, None])
        rows = (cell_source == source[:, None]) & new
        known = measured(known, truth, np.logical_and(rows, live[:, None]), rng)
        depth = known.depth.copy()
        depth[studies[live], source[live]] = last[live]
        known = known._replace(depth=depth, spent=known.spent + np.where(live, cost[studies, best], 0.0))
        found = again(known, found)
        spent.append(known.spent)
        regret.append(regret_of(truth, found))


def uniform_runs(truth: World, epochs: float | None, seed: int) -> Path:
    """Every pool to the same epochs: one run each, ever longer (then again), or rounds of so many epochs."""
    rng = np.random.default_rng([seed, 3])
    known = started(truth, rng)
    found = first_fit(known)
    spent, regret = [known.spent], [regret_of(truth, found)]
    mark = int(np.flatnonzero(LADDER == START)[0])
    while True:
        if epochs is None:
            mark = (mark + 1) % LONG
            of_marks, cost = np.equal(cell_mark, mark), POOLS * (LADDER[mark] - (LADDER[mark - 1] if mark else 0.0))
        else:
            of_marks, cost = LADDER[cell_mark] <= epochs, POOLS * epochs
        if known.spent[0] + cost > CAP + 1e-9:
            return Path(np.array(spent), np.array(regret))
        rows = np.logical_and(of_marks, cell_source < POOLS)
        known = measured(known, truth, np.broadcast_to(rows, truth.exact.shape), rng)
        known = known._replace(spent=known.spent + cost)
        found = again(known, found)
        spent.append(known.spent)
        regret.append(regret_of(truth, found))


def needed(path: Path, target: float) -> np.ndarray:
    """`[B]` samples (in pool sizes) from which on the regret stays within the target; `inf` where it never does."""
    stays = np.flip(np.logical_and.accumulate(np.flip(path.regret <= target, 0), 0), 0)
    first = np.argmax(stays, axis=0)
    return np.where(stays.any(axis=0), path.spent[first, np.arange(len(first))], np.inf)


def quantile(samples: np.ndarray) -> float:
    """Samples within which the stated share of the studies has reached the target."""
    return float(np.quantile(samples, REACHED, method="higher"))


def interval(ours: np.ndarray, others: list[np.ndarray], seed: int) -> tuple[float, float]:
    """95 % bootstrap interval over studies of our samples over those of the best other design."""
    rng = np.random.default_rng(seed)
    ratios = []
    for _ in range(RESAMPLES):
        picked = rng.integers(len(ours), size=len(ours))
        ratios.append(quantile(ours[picked]) / min(quantile(each[picked]) for each in others))
    return float(np.quantile(ratios, 0.025)), float(np.quantile(ratios, 0.975))


def compared(budget: float) -> dict[str, Any]:
    """All designs on the same studies at one target budget."""
    truth = world(STUDIES, SEED, budget)
    paths = {
        "chosen by regret saved": chosen_runs(truth, True, SEED),
        "chosen by information (D-optimality)": chosen_runs(truth, False, SEED),
        "uniform, one run a pool, ever longer": uniform_runs(truth, None, SEED),
    }
    paths |= {f"uniform, runs of {epochs:g} epochs": uniform_runs(truth, epochs, SEED) for epochs in ROUNDS}
    samples = {name: needed(path, TARGET) for name, path in paths.items()}
    ours, *others = samples.values()
    rows = {
        name: {
            "samples_at_90": quantile(each) * SIZE,
            "samples_at_75": float(np.quantile(each, 0.75, method="higher")) * SIZE,
            "samples_at_50": float(np.quantile(each, 0.5, method="higher")) * SIZE,
            "mean_with_cap": float(np.minimum(each, CAP).mean()) * SIZE,
            "never": float(np.isinf(each).mean()),
            "regret_at_cap": float(paths[name].regret[-1].mean()),
        }
        for name, each in samples.items()
    }
    return {
        "budget": budget,
        "designs": rows,
        "ratio": quantile(ours) / min(map(quantile, others)),
        "ratio_interval": interval(ours, others, SEED),
        "ratio_of_means": np.minimum(ours, CAP).mean() / min(np.minimum(each, CAP).mean() for each in others),
        "regret_at_start": float(next(iter(paths.values())).regret[0].mean()),
    }


def page(found: list[dict[str, Any]]) -> str:
    """The figures as text."""
    lines = [
        "# The next training run",
        "",
        f"{STUDIES} studies of four pools of 12.8M (`benchmarks/studies/truths.py`, all heterogeneities, noise",
        f"{NOISE}), seed {SEED}; the question, the target and the stopping rule are in `benchmarks/PROTOCOL.md`.",
        f"Samples, those of the start included, within which {REACHED:.0%} of the studies have come to a regret of",
        f"{TARGET} for good (those that never do within {CAP:g} pool sizes count as never); also for 75 % and 50 %,",
        "and the mean, never counted as the cap.",
    ]
    for each in found:
        which = "the target budget" if each["budget"] == BUDGET else "a farther budget, no part of the bar"
        low, high = each["ratio_interval"]
        lines += [
            "",
            f"## {each['budget'] / 1e6:g}M samples, {which}",
            "",
            "| design | 90 % | 75 % | 50 % | mean | never | regret at the cap |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, row in each["designs"].items():
            counts = " | ".join(
                f"{row[key] / 1e6:.1f}M" if np.isfinite(row[key]) else "never"
                for key in ("samples_at_90", "samples_at_75", "samples_at_50", "mean_with_cap")
            )
            lines.append(f"| {name} | {counts} | {row['never']:.1%} | {row['regret_at_cap']:.5f} |")
        lines += [
            "",
            f"Regret after the start {each['regret_at_start']:.5f}. Samples of the first over those of the best of the "
            f"others: **{each['ratio']:.2f}** (95 % interval over studies {low:.2f} to {high:.2f}); of the means "
            f"{each['ratio_of_means']:.2f}.",
        ]
    lines += [
        "",
        "The first reported run (seed 7), in which the regret after a run was a mean over draws of the truth as well,",
        "came to .69 (.56 to 1.00) at 128M and .95 (.73 to 1.07) at 640M: missed. This is the second, on others.",
    ]
    reached = found[0]["ratio"] <= BAR
    lines += ["", f"Bar: at most {BAR:.0%} of the samples at the target budget: {'reached' if reached else 'missed'}."]
    return "\n".join(lines)


def main() -> None:
    """Measure and write the page."""
    with jax.enable_x64(True):
        found = [compared(budget) for budget in (BUDGET, FAR)]
    record.write("studies_next_run", COMMAND, {"bar": BAR, "target": TARGET, "budgets": to_plain(found)}, page(found))


if __name__ == "__main__":
    main()
