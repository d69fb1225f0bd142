"""Public runs that nobody here made: CLIP on LAION subsets, and language models on repeated C4.

    QQTJAX_DATA=... python -m benchmarks.public_runs

`openclip`: per architecture four parameters (scale, floor, one utility and one half-life for all pools; the half-life
belongs to each pool's own size), every run left out in turn. Six runs an architecture: an anecdote, not a test.
`val_curves`: the same law on the validation curves of 2.8B-parameter models, each whole curve left out in turn.
Beside both the repetition-blind power law with the same sharing.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import record
from qqtjax.errors import InputError, QQTWarning
from qqtjax.fit import fit
from qqtjax.io import read_runs
from qqtjax.laws import power, utility
from qqtjax.laws.fitted import evaluate
from qqtjax.runs import Runs

THIN = 4


def data_folder() -> Path:
    """The folder of public tables."""
    if "QQTJAX_DATA" not in os.environ:
        raise InputError("QQTJAX_DATA is not set: expected the folder that holds openclip/ and datablations/")
    return Path(os.environ["QQTJAX_DATA"])


def openclip(architecture: str, folder: Path) -> Runs:
    """Finished runs of one architecture: error = 1 - ImageNet top-1, one pool a LAION subset."""
    table = pd.read_csv(folder / "openclip" / "final_runs.csv")
    table = table[table["arch"] == architecture]
    tidy = pd.DataFrame(
        {
            "pool": table["dataset"],
            "pool_size": table["unique_samples"],
            "samples_seen": table["samples_seen"],
            "accuracy": table["imagenet_top1"],
            "run": table["run"],
        }
    )
    return read_runs(tidy, disjoint=True)


def validation_curves(folder: Path) -> Runs:
    """Validation loss along training, tokens as samples, one pool a number of unique tokens."""
    table = pd.read_csv(folder / "datablations" / "val_curves.csv")
    name = (table["unique_tokens"] / 1e9).map("{:g}B".format)
    tidy = pd.DataFrame(
        {
            "pool": name,
            "pool_size": table["unique_tokens"],
            "samples_seen": table["tokens"],
            "loss": table["val_loss"],
            "run": name,
        }
    )
    return read_runs(tidy.drop_duplicates(["run", "samples_seen"]), disjoint=True)


def left_out(runs: Runs, groups: np.ndarray, thin: int = 1, starts: int = 64) -> dict[str, np.ndarray]:
    """`[M]` predicted minus measured error of each row, by laws fitted without the row's group."""
    misses = {}
    for law in (utility, power):
        share = {name: True for name in law.per_pool}
        miss = np.full(len(runs), np.nan)
        for group in np.unique(groups):
            out = groups == group
            kept = runs.select(np.flatnonzero(~out)[::thin])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", QQTWarning)
                fitted = fit(kept, law, share=share, starts=starts)
            miss[out] = evaluate(law, fitted.params, runs.select(out).as_run()) - runs.error[out]
        misses[law.name] = miss
    return misses


def main() -> None:
    """Score both tables and write the results."""
    folder = data_folder()
    lines, figures = [], {}
    for architecture in ("ViT-B-32", "ViT-B-16", "ViT-L-14"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", QQTWarning)
            runs = openclip(architecture, folder)
        misses = left_out(runs, runs.run)
        figures[architecture] = {name: miss.tolist() for name, miss in misses.items()}
        order = np.lexsort((runs.samples_seen, runs.pools.sizes[runs.source]))
        for row in order:
            pool = runs.pools.names[runs.source[row]]
            epochs = runs.samples_seen[row] / runs.pools.sizes[runs.source[row]]
            both = " | ".join(f"{100 * misses[name][row]:+.2f}" for name in ("utility", "power"))
            lines.append(f"| {architecture} | {pool} | {runs.samples_seen[row] / 1e9:.2f}B | {epochs:.1f} | {both} |")
        mean = " | ".join(f"{100 * np.mean(np.abs(misses[name])):.2f}" for name in ("utility", "power"))
        lines.append(f"| {architecture} | mean absolute | | | {mean} |")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QQTWarning)
        curves = validation_curves(folder)
    misses = left_out(curves, curves.run, THIN, starts=32)
    means = {name: float(np.mean(np.abs(miss))) for name, miss in misses.items()}
    figures["val_curves"] = means
    curve_lines = []
    for index, name in enumerate(curves.run_names):
        rows = curves.run == index
        both = " | ".join(f"{np.mean(np.abs(misses[law][rows])):.4f}" for law in ("utility", "power"))
        curve_lines.append(f"| {name} | {rows.sum()} | {both} |")
    page = f"""# Public runs

## CLIP on LAION (openclip), each run left out in turn

Predicted minus measured ImageNet error, in points. Six runs and four parameters an architecture: an anecdote.

| architecture | pool | samples seen | epochs | utility law | blind power law |
|---|---|---|---|---|---|
{chr(10).join(lines)}

## 2.8B language models on repeated C4 (val_curves), each whole curve left out in turn

Mean absolute error in nats; every {THIN}th checkpoint of the other curves is fitted, all of the left-out curve is
scored. The curves are read from plots (about 0.002 nats) and their points lie inside a learning-rate schedule.

| unique tokens of the curve left out | checkpoints | utility law | blind power law |
|---|---|---|---|
{chr(10).join(curve_lines)}
| all | {len(curves)} | {means["utility"]:.4f} | {means["power"]:.4f} |

Ratio utility / blind: {means["utility"] / means["power"]:.2f}.
"""
    record.write("public_runs", "QQTJAX_DATA=... python -m benchmarks.public_runs", figures, page)


if __name__ == "__main__":
    main()
