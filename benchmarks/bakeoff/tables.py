"""The public tables as `Runs`: which rows are used, what a pool is, and which split each table is scored on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from qqtjax.io.tables import wordclip
from qqtjax.runs import Pools, Runs

# Of regmix.
TARGETS = ("github", "pile_cc", "wikipedia_en")


class Table(NamedTuple):
    """One table and how it is scored.

    Attributes:
        name: of the page's section.
        runs: the rows used, one metric or several.
        splits: what is held out, one after the other.
        about: which rows, in words.
        marks: `{split: {who: mean absolute error}}` known beforehand, and what to aim at.
        starts: of each outer fit.
        huber: is a Huber loss tried too.
    """

    name: str
    runs: Runs
    splits: tuple[str, ...]
    about: str
    marks: Mapping[str, Mapping[str, float]] = {}
    starts: int = 8
    huber: bool = True


def measured(
    pools: Mapping[str, float],
    weights: np.ndarray,
    sizes: np.ndarray,
    samples_seen: np.ndarray,
    errors: Mapping[str, np.ndarray],
    runs: np.ndarray,
    model_size: np.ndarray | None = None,
) -> Runs:
    """A table of runs from dense arrays, every metric at every checkpoint.

    Args:
        pools: `{name: size}`.
        weights: `[M, P]`.
        sizes: `[M, P]` unique samples of each pool that the run draws from.
        samples_seen: `[M]`.
        errors: `{metric: [M]}`.
        runs: `[M]` name of each checkpoint's run.
        model_size: `[M]` parameters, or None.
    """
    known = Pools.of(pools)
    distinct, place = np.unique(np.hstack([weights, sizes]), axis=0, return_inverse=True)
    mixes, mix_sizes = np.split(distinct, 2, axis=1)
    # A pool alone, with all its samples, is that pool and no mixture.
    alone = (mixes.max(axis=1) == 1) & np.all((mix_sizes == known.sizes) | (mixes == 0), axis=1)
    source = np.where(alone, mixes.argmax(axis=1), len(known) + np.arange(len(mixes)))[place.ravel()]
    names, run = np.unique(runs.astype(str), return_inverse=True)
    count, rows = len(errors), len(source)
    return Runs(
        pools=known,
        source=np.tile(source, count),
        mixes=mixes,
        mix_sizes=mix_sizes,
        samples_seen=np.tile(np.asarray(samples_seen, np.float64), count),
        error=np.concatenate([np.asarray(each, np.float64) for each in errors.values()]),
        run=np.tile(run, count),
        run_names=tuple(names.tolist()),
        seed=np.zeros(rows * count, int),
        metric=np.repeat(np.arange(count), rows),
        metric_names=tuple(errors),
        model_size=None if model_size is None else np.tile(np.asarray(model_size, np.float64), count),
    )


def _losses(table: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name.removeprefix("loss_"): table[name].to_numpy() for name in table if name.startswith("loss_")}


def _fresh(table: pd.DataFrame, tokens: np.ndarray, runs: pd.Series, model_size: np.ndarray | None = None) -> Runs:
    """A table of mixtures (`w_<pool>`, `loss_<target>`) whose pools never repeat."""
    columns = [name for name in table if name.startswith("w") and name != "which"]
    weights = table[columns].to_numpy(np.float64)
    weights = weights / weights.sum(axis=1, keepdims=True)
    pools = {name.removeprefix("w_"): np.inf for name in columns}
    return measured(pools, weights, np.full(weights.shape, np.inf), tokens, _losses(table), runs, model_size)


def _one_pool(
    pool: str,
    size: float,
    unique: np.ndarray,
    samples: np.ndarray,
    error: np.ndarray,
    runs: pd.Series,
    model: np.ndarray,
) -> Runs:
    """Runs on subsets, of so many samples each, of one pool."""
    return measured({pool: size}, np.ones((len(unique), 1)), unique[:, None], samples, {"error": error}, runs, model)


def datablations(folder: Path) -> Table:
    """Language models on repeated C4, seeds averaged, those that overfit left out by their size."""
    table = pd.read_csv(folder / "datablations" / "final_runs.csv")
    sane = (table.params >= 1e8) & (table.params <= table.unique_tokens) & (table.tokens >= 2 * table.params)
    keys = ["params", "tokens", "unique_tokens"]
    table = table[sane].groupby(keys, as_index=False).val_loss.mean()
    unique, tokens, params = (table[name].to_numpy(np.float64) for name in ("unique_tokens", "tokens", "params"))
    names = table.index.to_series()
    size = float(unique.max())
    runs = _one_pool("c4", size, unique, tokens, table.val_loss.to_numpy(), names, params)
    marks = {
        "epochs>8": {"blind": 0.244, "utility": 0.099, "data-constrained": 0.112, "aim": 0.095},
        "random:.2": {"blind": 0.073, "utility": 0.036, "data-constrained": 0.035},
    }
    about = "params >= 1e8, params <= unique tokens, tokens >= 2 params; one pool, C4, of which a run has a subset"
    return Table("datablations", runs, ("epochs>8", "random:.2", "samples_seen>100B", "model_size>2B"), about, marks)


def openclip(folder: Path) -> Table:
    """CLIP models on subsets of LAION; error = 1 - ImageNet top-1."""
    table = pd.read_csv(folder / "openclip" / "final_runs.csv")
    unique, samples, work = (table[name].to_numpy(np.float64) for name in ("unique_samples", "samples_seen", "gmacs"))
    error = 1 - table.imagenet_top1.to_numpy()
    # B/32 and B/16 have as many parameters, and differ threefold in what they compute with them.
    runs = _one_pool("laion", float(unique.max()), unique, samples, error, table.run, work * 1e9)
    marks = {"epochs>100": {"blind": 0.083, "utility, each size": 0.0059, "data-constrained, each size": 0.0072}}
    about = (
        "18 finished runs; one pool, LAION, of which a run has a subset; size of model in GMACs; error as a fraction"
    )
    return Table("openclip", runs, ("epochs>100", "runs:each"), about, marks)


def slimpajama(folder: Path) -> Table:
    """Mixtures of seven domains, four sizes of models, eight targets; the first quarter of each run is left out."""
    table = pd.read_csv(folder / "slimpajama" / "mixture_runs.csv")
    runs = table.mixture_id.astype(str) + "/" + table.params.map("{:g}".format)
    last = table.tokens.groupby(runs).transform("max")
    used = (table.tokens > 0.25 * last) & table.notna().all(axis=1)
    table, runs = table[used], runs[used]
    marks = {
        "mixtures:.2": {
            "log-linear": 0.0235,
            "utility": 0.0169,
            "effective samples": 0.0112,
            "additive": 0.0101,
            "aim": 0.0095,
        }
    }
    about = "the last three quarters of the checkpoints; rows without one of the losses left out"
    made = _fresh(table, table.tokens.to_numpy(), runs, table.params.to_numpy())
    return Table("slimpajama", made, ("mixtures:.2",), about, marks, starts=4, huber=False)


def mixinglaws(folder: Path, pools: int, first_step: int = 0, finished: bool = False) -> Table:
    """Mixtures of two or three domains, two or three sizes of models.

    Of three: the checkpoints from `first_step` on, or the last of the largest models alone.
    """
    table = pd.read_csv(folder / "mixinglaws" / f"{pools}Mix.csv").dropna()
    table = table[table.step >= first_step]
    if finished:
        table = table[(table["size"] == "410M") & (table.step == table.step.max())]
    made = _fresh(table, table.tokens.to_numpy(), table.run_id, table.params_nonembed.to_numpy())
    if pools == 2:
        marks = {
            "samples_seen>22B": {
                "log-linear": 0.0250,
                "utility": 0.0148,
                "effective samples": 0.0190,
                "additive": 0.0142,
            }
        }
        return Table("mixinglaws 2Mix", made, ("samples_seen>22B", "mixtures:.2"), "all rows", marks)
    marks = {
        "mixtures:.2": {
            "log-linear": 0.096,
            "utility": 0.064,
            "effective samples": 0.029,
            "additive": 0.020,
            "aim": 0.019,
        }
    }
    if finished:
        about = "the last checkpoints of the 410M models; added after the figures of all steps"
        marks = {"mixtures:each": marks["mixtures:.2"]}
        return Table("mixinglaws 3Mix 410M", made, ("mixtures:each",), about, marks, starts=4, huber=False)
    if first_step:
        about = (
            f"rows with all losses from step {first_step:,} on, where 2Mix begins; added after the figures of all steps"
        )
        return Table("mixinglaws 3Mix late", made, ("mixtures:.2",), about, marks, starts=4, huber=False)
    about = "all rows with all losses, very early steps too"
    return Table("mixinglaws 3Mix", made, ("mixtures:.2",), about, marks, starts=4, huber=False)


def regmix(folder: Path) -> Table:
    """Mixtures of 17 domains at one budget and one size of models; the source's own test runs are held out.

    Three of its 13 targets: the one with a mark, the one that the source chooses by, and one more.
    """
    parts = [pd.read_csv(folder / "regmix" / f"{part}_1m.csv").assign(which=part) for part in ("train", "test")]
    table = pd.concat(parts, ignore_index=True)
    others = [name for name in table if name.startswith("loss_") and name.removeprefix("loss_") not in TARGETS]
    table = table.drop(columns=others)
    names = table.which + table["index"].astype(str)
    # One budget: 1,000 steps of 1M tokens by the source; nothing depends on the figure.
    made = _fresh(table, np.full(len(table), 1e9), names)
    marks = {
        "runs:test*": {
            "log-linear, github": 0.462,
            "utility, github": 0.303,
            "effective samples, github": 0.096,
            "aim, github": 0.09,
        }
    }
    return Table("regmix", made, ("runs:test*",), "all rows; 3 of 13 targets", marks, starts=4, huber=False)


def overtraining(folder: Path) -> Table:
    """Models of 10M to 7B parameters trained on C4 far past the optimum, none of it repeated."""
    table = pd.read_csv(folder / "overtraining" / "runs.csv")
    size = np.full(len(table), np.inf)
    params, tokens = table.params.to_numpy(np.float64), table.tokens.to_numpy(np.float64)
    made = _one_pool("c4", np.inf, size, tokens, table.loss_c4_val.to_numpy(), table.name, params)
    return Table("overtraining", made, ("samples_seen>30B", "random:.2"), "all rows; target C4 validation")


def chinchilla(folder: Path) -> Table:
    """Points of Chinchilla's Figure 4: tokens are FLOP / (6 params)."""
    table = pd.read_csv(folder / "chinchilla" / "runs.csv")
    params = table.params.to_numpy(np.float64)
    tokens = table.flop.to_numpy(np.float64) / (6 * params)
    names = table.index.to_series()
    made = _one_pool("massivetext", np.inf, np.full(len(table), np.inf), tokens, table.loss.to_numpy(), names, params)
    return Table("chinchilla", made, ("samples_seen>50B", "model_size>5B", "random:.2"), "all rows")


def embedded() -> tuple[Table, ...]:
    """The word-CLIP runs that come with qqtjax, every second checkpoint of the first seed."""
    about = "first drawing, first seed, every second checkpoint; filters and mixtures as measured"
    found = []
    for family in ("C", "R", "V"):
        runs = wordclip(family)
        used = (runs.seed == 0) & np.isin(runs.samples_seen, np.unique(runs.samples_seen)[::2])
        splits = ("mixtures:.5", "epochs>8")
        found.append(Table(f"word-CLIP {family}", runs.select(used), splits, about, starts=4, huber=False))
    return tuple(found)


def public(folder: Path) -> tuple[Table, ...]:
    """Every public table of a folder, the small ones first."""
    return (
        openclip(folder),
        datablations(folder),
        overtraining(folder),
        chinchilla(folder),
        mixinglaws(folder, 2),
        mixinglaws(folder, 3),
        mixinglaws(folder, 3, first_step=10_000),
        mixinglaws(folder, 3, finished=True),
        slimpajama(folder),
        regmix(folder),
    )
