"""The tidy table of all finished runs, and the record of how it came about."""

import csv
import hashlib
import io
import json
from importlib.metadata import metadata
from pathlib import Path

from . import data, settings
from .stored import PACKAGE

COLUMNS = {
    "family": "C (pools differ in their share of mismatched pairs), R (clean pools of ever rarer words) or V "
    "(words with the vectors of less and less similar words)",
    "role": "single: one pool; mixture: several pools; fresh: a reference that never repeats a sample; optimised: "
    "weights that a fitted law chose for one budget of one redraw",
    "run": "name of the setting; setting, redraw and seed together are one training run",
    "redraw": "which drawing of the pools",
    "seed": "of the initial weights, the order of the samples, the n-gram dropout and the vector noise",
    "pool": "the pool trained on; empty for a mixture",
    "pool_size": "unique pairs in the pool; empty for a mixture",
    "weights": "pool=share of the training samples, for a mixture",
    "subsample": "share of each pool's pairs that a mixture draws from; empty means 1",
    "samples_seen": "training samples so far, repeats counted",
    "error": "retrieval error of the target words (chance 0.9), five significant digits",
    "eval_size": "effective number of evaluated words: the size of a sample of independent yes-or-no "
    "outcomes with the same sampling variance, error (1 - error) / variance, where the variance of the "
    "mean over the 4,000 target words is estimated from the words. All runs share the target, so this "
    "noise is largely common to them",
}


SIZES = {name: size for pools in settings.FAMILIES.values() for name, size in pools.items()} | {
    "C00-fresh": 196_000,
    "C40-fresh": 196_000,
    "R4-fresh": 104_000,
    "V1-fresh": 196_000,
}


def table_rows(runs: list[dict]) -> list[dict]:
    """One row a checkpoint, in the order of `runs`."""
    rows = []
    for run in runs:
        weights, subsample = run["weights"], run["subsample"]
        mixed = len(weights) > 1
        (pool,) = [""] if mixed else weights
        for checkpoint in run["checkpoints"]:
            error = checkpoint["error"]
            rows.append(
                {
                    "family": run["family"],
                    "role": run["role"],
                    "run": run["name"],
                    "redraw": run["redraw"],
                    "seed": run["seed"],
                    "pool": pool,
                    "pool_size": "" if mixed else SIZES[pool],
                    "weights": " ".join(f"{k}={v:.12g}" for k, v in weights.items()) if mixed else "",
                    "subsample": "" if subsample == 1 else f"{subsample:g}",
                    "samples_seen": checkpoint["samples_seen"],
                    "error": f"{error:.5g}",
                    "eval_size": round(error * (1 - error) / checkpoint["variance"]),
                }
            )
    return rows


def to_csv(rows: list[dict]) -> bytes:
    """The table as bytes, the same on every system."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def describe_pool(name: str) -> dict:
    """What a pool holds, in words."""
    pool = name.removesuffix("-fresh")
    ranks = {"R": data.RANKS | dict([data.RANKS_REMAINDER])}.get(pool[0], {}).get(pool, (0, data.C_RANKS))
    if pool == data.MISMATCHED_REMAINDER[0]:
        ranks = (0, data.VOCABULARY)
    described = {"size": SIZES[name], "ranks": f"{ranks[0]} to {ranks[1]}"}
    if pool.startswith("C"):
        described["mismatched"] = (data.MISMATCHED | dict([data.MISMATCHED_REMAINDER]))[pool]
    if pool.startswith("V"):
        described["neighbours"] = (data.VAGUE | dict([data.VAGUE_REMAINDER]))[pool][1]
    return described


def trained(runs: list[dict]) -> dict[str, dict[str, dict[str, str]]]:
    """When the first and the last run of each family and role was finished."""
    dates: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        dates.setdefault((run["family"], run["role"]), []).append(run["date"])
    found: dict[str, dict[str, dict[str, str]]] = {}
    for (family, role), several in dates.items():
        found.setdefault(family, {})[role] = {"first": min(several), "last": max(several)}
    return found


def provenance(runs: list[dict], table: bytes) -> dict:
    """Where the table comes from: the data, what was trained and how, on what, and when."""
    used = {pool for run in runs for pool in run["weights"]}
    environments = []
    for run in runs:
        if run["environment"] not in environments:
            environments.append(run["environment"])
    package = metadata(PACKAGE)
    return {
        "name": "wordclip",
        "description": "Contrastive alignment of a word's spelling (hashed character n-grams) with its "
        "GloVe vector, trained on pools of different quality, alone and mixed, for up to 32 epochs of a "
        "pool of 10,000 pairs.",
        "command": "python -m benchmarks.wordclip.train",
        "table": {
            "file": "wordclip.csv",
            "sha256": hashlib.sha256(table).hexdigest(),
            "rows": table.count(b"\n") - 1,
            "runs": len(runs),
            "columns": COLUMNS,
        },
        "metric": "retrieval error: the probability that a target word's partner is not ranked first among "
        "itself and 9 random others, computed exactly from its rank among 1,000 candidates, mean of both "
        "directions and of 4,000 words (4 sets of 1,000)",
        "target": f"{data.TARGET_SIZE} words of ranks 0 to {data.TARGET_RANKS} for families C and R, as many others "
        "for V; in no pool of the family",
        "pools": {name: describe_pool(name) for name in SIZES if name in used},
        "redraws": {family: len(redraws) for family, redraws in settings.REDRAWS.items()},
        "pool_seed": data.POOL_SEED,
        "seeds": sorted({run["seed"] for run in runs}),
        "training": {
            "spelling_tower": f"2-, 3- and 4-grams of <word>, at most {data.MAX_GRAMS}, crc32 into "
            f"{data.BUCKETS} buckets, embedding, sum / sqrt(count + 1), linear, normalised",
            "vector_tower": "50 dimensions standardised over all words, linear, normalised",
            "loss": "symmetric InfoNCE with a learned scale",
            "optimiser": "AdamW, constant rate after a linear warm-up, weight decay on matrices only",
            "evaluated_weights": "average that keeps the share (1 - 1/t)^averaging_power of itself at step t",
            "order": "each pool is gone through epoch by epoch, reshuffled each time, at exactly its weight",
            "config": runs[0]["config"],
        },
        "data": {
            "package": PACKAGE,
            "version": package["Version"],
            "summary": package["Summary"],
            "license_stated_by_package": package["License-Expression"],
            "license_note": "as the package says: Python wrapper Apache-2.0; pretrained vectors PDDL-1.0",
            "source": "Stanford glove.6B, https://nlp.stanford.edu/projects/glove/ "
            "(Jeffrey Pennington, Richard Socher, Christopher D. Manning)",
            "in_table": "the table holds measured errors only, no words and no vectors",
        },
        "environments": environments,
        "wall_time_seconds": round(sum(run["seconds"] for run in runs)),
        "trained": trained(runs),
    }


def write_table(runs: list[dict], folder: Path) -> Path:
    """Write `wordclip.csv` and `wordclip.json` into a folder."""
    families = list(settings.FAMILIES)
    order = {setting.name: i for i, setting in enumerate(settings.all_settings())}
    last = len(order)
    runs = sorted(
        runs,
        key=lambda run: (
            families.index(run["family"]),
            run["redraw"],
            order.get(run["name"], last),
            run["name"] if run["role"] == "optimised" else "",
            run["seed"],
        ),
    )
    table = to_csv(table_rows(runs))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "wordclip.csv"
    path.write_bytes(table)
    text = json.dumps(provenance(runs, table), indent=2)
    (folder / "wordclip.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    return path
