"""Regret of a robust choice and of the plug-in choice where the fitted law is wrong in a named way.

Truths differ from the law that is fitted, `laws.utility` with geometric decay and dilution 1, in one of three ways:
decay shape 2, dilution .3, or an interaction between pools, which adds -sigma sum_{i<j} w_i w_j to the log excess
error. The ensemble of all doubts knows that such things happen, not which; the ensemble of the named doubt knows which,
not how much. Choices are mixes of four pools in tenths.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import qqtjax as qqt
from benchmarks import record
from benchmarks.studies.truths import NOISE, POOLS, SIZE, draw_truths, table
from qqtjax.laws import UtilityParams, utility
from qqtjax.mix import CVaR, Mean
from qqtjax.runs import Run

BUDGET, STUDIES, SEED, DRAWS, TENTHS, LONGEST = 640e6, 200, 20261126, 24, 10, 64
KINDS = {"decay shape 2": (2.0, 1.0, 0.0), "dilution .3": (1.0, 0.3, 0.0), "interaction .3": (1.0, 1.0, 0.3)}
DILUTIONS, STRONGEST = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.0]), 0.6
PRIOR = 2.0  # sd of the weak prior on every coordinate of a draw, around the fit
ALL, NAMED, FIT = "all doubts", "the named doubt", "draws of the fit"
OBJECTIVES = {
    f"{objective} of {'regret' if regret else 'error'}, {which}": (which, objective, regret)
    for which, objective, regret in (
        (ALL, Mean(), False),
        (ALL, CVaR(0.5), True),
        (ALL, CVaR(0.9), True),
        (ALL, CVaR(0.9), False),
        (NAMED, CVaR(0.5), True),
        (NAMED, CVaR(0.9), True),
        (NAMED, CVaR(0.9), False),
        (FIT, CVaR(0.9), False),
        (FIT, CVaR(0.9), True),
    )
}
HEADLINES = (f"CVaR 0.5 of regret, {ALL}", f"CVaR 0.5 of regret, {NAMED}")


READING = """\
What helps is what the draws contain: the mean over all doubts does about as well as its tail, draws of the fit alone
help less, and at decay shape 2 fitting the shape does most of it. A tail of the error itself, rather than of the
regret, over all doubts is worse than plug-in: it plans for the worst worlds, where choices matter least."""


class World(NamedTuple):
    """B truths, or draws; `[B, 4]` or `[B]`."""

    utility: np.ndarray
    half_life: np.ndarray
    scale: np.ndarray
    floor: np.ndarray
    dilution: np.ndarray
    decay_shape: np.ndarray
    interaction: np.ndarray


def _error(truth: World, weights: Array, samples_seen: Array, max_epochs: int | None) -> Array:
    """One error; by the closed form where `max_epochs` is None, which takes the decay as geometric."""
    params = UtilityParams(
        scale=truth.scale,
        floor=truth.floor,
        utility=truth.utility,
        half_life=truth.half_life,
        reference_size=jnp.full(POOLS, SIZE),
        dilution=truth.dilution,
        decay_shape=None if max_epochs is None else truth.decay_shape,
    )
    run = Run(weights=weights, sizes=jnp.full(POOLS, SIZE), samples_seen=samples_seen)
    pairs, floor = 0.5 * (1.0 - jnp.sum(weights**2)), jnp.asarray(truth.floor)
    return floor + (utility(params, run, max_epochs) - floor) * jnp.exp(-truth.interaction * pairs)


@partial(jax.jit, static_argnums=3)
def _errors(truths: World, rows: Array, seen: Array, max_epochs: int | None) -> Array:
    """`[B, M]` errors of runs `[M, 4]`, `[M]` under each truth."""
    each = jax.vmap(_error, in_axes=(None, 0, 0, None))
    return jax.vmap(each, in_axes=(0, None, None, None))(truths, rows, seen, max_epochs)


def _single() -> tuple[np.ndarray, np.ndarray]:
    """Weights and samples seen of the checkpoints: every pool alone."""
    runs = table()
    return np.eye(POOLS)[runs.source], runs.samples_seen


def choices() -> np.ndarray:
    """`[286, 4]` mixes in tenths."""
    axes = [np.arange(TENTHS + 1)] * (POOLS - 1)
    counts = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, POOLS - 1)
    counts = counts[counts.sum(axis=1) <= TENTHS]
    return np.concatenate([counts, TENTHS - counts.sum(axis=1, keepdims=True)], axis=1) / TENTHS


def _coordinates(fits: qqt.Fits, shape: bool) -> np.ndarray:
    found = fits.params
    columns = [np.log(-found.utility), np.log(found.half_life), np.log(found.scale)[:, None], found.floor[:, None]]
    return np.concatenate([*columns, *([np.log(found.decay_shape)[:, None]] if shape else [])], axis=1)


def _truth_at(x: Array, shape: bool) -> World:
    """Parameters `[..., 4]` and `[...]` at coordinates `[..., K]`, dilution 1, no interaction."""
    full = jnp.ones(x.shape[:-1])
    own = jnp.exp(x[..., 10]) if shape else full
    utilities, half_lives, scale = -jnp.exp(x[..., :4]), jnp.exp(x[..., 4:8]), jnp.exp(x[..., 8])
    return World(utilities, half_lives, scale, jnp.clip(x[..., 9], 0.0, 0.5), full, own, 0 * full)  # pyright: ignore[reportArgumentType]


@partial(jax.jit, static_argnums=1)
def _slopes(x: Array, shape: bool) -> Array:
    rows, seen = map(jnp.asarray, _single())

    def predicted(one: Array) -> Array:
        return jax.vmap(_error, in_axes=(None, 0, 0, None))(_truth_at(one, shape), rows, seen, 16)

    return jax.vmap(jax.jacfwd(predicted))(x)


def draw_around(fits: qqt.Fits, shape: bool, count: int, rng: np.random.Generator) -> np.ndarray:
    """`[B, S, K]` coordinates from the normal approximation of each fit with a weak prior; the first is the fit."""
    x = _coordinates(fits, shape)
    slopes = np.asarray(_slopes(x, shape))
    variance = 2 * fits.objective / (slopes.shape[1] - x.shape[1])
    precision = np.einsum("bmk,bml->bkl", slopes, slopes) / variance[:, None, None] + np.eye(x.shape[1]) / PRIOR**2
    factor = np.linalg.cholesky(np.linalg.inv(precision))
    steps = rng.normal(size=(len(x), count, x.shape[1]))
    steps[:, 0] = 0.0
    return x[:, None] + np.einsum("bsk,blk->bsl", steps, factor)


def study(kind: str, count: int, seed: int) -> dict[str, np.ndarray]:
    """`{choice: [B] regrets}` of one kind of truth."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    full, rows = np.ones(count), choices()
    shape, gamma, sigma = KINDS[kind]
    truths = World(*draw_truths(rng, count), gamma * full, shape * full, sigma * full)
    seen = np.full(len(rows), BUDGET)
    single = np.asarray(_errors(truths, *_single(), LONGEST))
    measured = single + NOISE * rng.normal(size=single.shape)
    geometric = qqt.fit_many(table(), errors=measured, starts=16)
    shaped = qqt.fit_many(table(), errors=measured, starts=16, free=["decay_shape"])
    drawn = [draw_around(geometric, False, DRAWS, rng), draw_around(shaped, True, DRAWS, rng)]
    dilution = np.resize(DILUTIONS, DRAWS)
    found: dict[str, list[float]] = {"plug-in": [], "plug-in, free shape": [], **{name: [] for name in OBJECTIVES}}
    real = np.asarray(_errors(truths, rows, seen, LONGEST))

    def at(draws: World, length: int | None = None) -> np.ndarray:
        """`[S, M]` errors of the choices."""
        return np.asarray(_errors(draws, rows, seen, length))

    for place in range(count):
        alone = [_truth_at(drawn[0][place], False), _truth_at(drawn[1][place], True)]
        strength = STRONGEST * rng.uniform(size=DRAWS)
        some = {"dilution": dilution, "interaction": strength * (np.arange(DRAWS) % 2)}
        errors = {
            FIT: at(alone[0]),
            ALL: np.concatenate([at(alone[0]._replace(**some)), at(alone[1]._replace(**some), LONGEST)]),
        }
        if kind == "decay shape 2":
            errors[NAMED] = np.concatenate([errors[FIT], at(alone[1], LONGEST)])
        else:
            doubt = {"dilution": dilution} if kind == "dilution .3" else {"interaction": strength}
            errors[NAMED] = at(alone[0]._replace(**doubt))
        shaped_fit = jax.tree.map(lambda leaf: leaf[:1], alone[1])
        chosen = {
            "plug-in": np.argmin(errors[FIT][0]),
            "plug-in, free shape": np.argmin(at(shaped_fit, LONGEST)[0]),
        }
        for name, (which, objective, regret) in OBJECTIVES.items():
            each = errors[which] - (errors[which].min(axis=1, keepdims=True) if regret else 0.0)
            judging = objective.judging(np.full(len(each), 1 / len(each)))
            chosen[name] = np.argmin([judging.of(column) for column in each.T])
        for name, choice in chosen.items():
            found[name].append(float(real[place, choice] - real[place].min()))
    return {name: np.array(each) for name, each in found.items()}


def _interval(plug_in: np.ndarray, robust: np.ndarray, figure: str) -> tuple[float, float, float]:
    """Ratio robust / plug-in of a figure, with its 95 % interval from 2,000 bootstraps of the studies."""
    rng = np.random.default_rng(0)
    of = {"mean": lambda a: a.mean(axis=-1), "95 %": lambda a: np.quantile(a, 0.95, axis=-1)}[figure]
    picked = rng.integers(len(plug_in), size=(2000, len(plug_in)))
    low, high = np.quantile(of(robust[picked]) / of(plug_in[picked]), [0.025, 0.975])
    return float(of(robust) / of(plug_in)), float(low), float(high)


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.0f}"


def main() -> None:
    """Write the page; `--seed` and `--studies` for runs that choose the ensemble, which write nothing."""
    arguments = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    seed, count = int(arguments.get("--seed", SEED)), int(arguments.get("--studies", STUDIES))
    began = time.perf_counter()
    with jax.enable_x64(True):
        by_kind = {kind: study(kind, count, seed) for kind in KINDS}
    names = ["plug-in", "plug-in, free shape", *OBJECTIVES]
    pooled = {name: np.concatenate([by_kind[kind][name] for kind in KINDS]) for name in names}
    lines = ["| choice | " + " | ".join([*KINDS, "all"]) + " |", "|---|" + "---:|" * (len(KINDS) + 1)]
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name in names:
        cells = []
        for kind, each in [*((kind, by_kind[kind][name]) for kind in KINDS), ("all", pooled[name])]:
            figures.setdefault(name, {})[kind] = {"mean": each.mean(), "95 %": np.quantile(each, 0.95)}
            cells.append(f"{1e4 * each.mean():.1f} / {1e4 * np.quantile(each, 0.95):.1f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    ratios: dict[str, dict[str, dict[str, tuple[float, float, float]]]] = {}
    said = []
    for name in HEADLINES:
        said += [f"| {name}, against plug-in | mean regret | 95th percentile |", "|---|---:|---:|"]
        for kind, each in [*by_kind.items(), ("all", pooled)]:
            found = {figure: _interval(each["plug-in"], each[name], figure) for figure in ("mean", "95 %")}
            ratios.setdefault(name, {})[kind] = found
            cells = [f"{_percent(at)} % ({_percent(low)} .. {_percent(high)})" for at, low, high in found.values()]
            said.append(f"| {kind} | {' | '.join(cells)} |")
        said.append("")
    page = "\n".join(
        [
            "# Robust choice where the law is wrong in a named way",
            "",
            f"{count} truths of each kind, 4 pools of 12.8M samples, checkpoints at epochs .25, 1, 2, 5, 10, noise",
            f"{NOISE}, budget 640M; choices are the {len(choices())} mixes in tenths. Regret: error of the choice less",
            "that of the best one, under the truth. The protocol is in `benchmarks/PROTOCOL.md`.",
            "",
            *said,
            "Asked: 95th percentile 30 % lower, mean at most 10 % higher. In brackets 95 % intervals from 2,000",
            "bootstraps of the studies. Mean / 95th percentile of regret, x 1e-4:",
            "",
            *lines,
            "",
            READING,
            "",
            f"{time.perf_counter() - began:.0f} s.",
        ]
    )
    if arguments:
        print(page)
        return
    record.write("studies_robust", "python -m benchmarks.studies.robust", {"regret": figures, "ratios": ratios}, page)


if __name__ == "__main__":
    main()
