"""Folders of DataComp-style evaluations, one JSON line a task: turned into the tidy form."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qqtjax.errors import InputError, QQTWarning
from qqtjax.io.cells import Place
from qqtjax.io.files import check_text, json_object, read_bytes
from qqtjax.io.sizes import argument_size
from qqtjax.io.wide import match_pool, pools_named
from qqtjax.text import did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame

EPOCH_FILE = re.compile(r"eval_results_epoch_(\d+)_step_-1\.jsonl")
EPOCH_FOLDER = re.compile(r"(.*)_(\d+)x")
EVALUATION = "eval_results.jsonl"
DEFAULT_TASK = "imagenet1k"
EXPECTED = "eval_results_epoch_{k}_step_-1.jsonl or {pool}_{k}x/eval_results.jsonl"


class Evaluation(NamedTuple):
    """One evaluation file: the folder name of its pool, its run, and the epochs that were trained."""

    path: Path
    pool: str
    run: str
    epoch: int


def tidy_from_datacomp(
    folder: str | os.PathLike[str],
    *,
    pools: Mapping[str, float | str] | None,
    samples_per_epoch: float | str | Mapping[str, float | str] | None,
    tasks: Sequence[str] | None = None,
) -> tuple[DataFrame, Place]:
    """One row for each checkpoint and task, from `key` and `metrics.main_metric` (an accuracy).

    Two layouts, also mixed: `{pool}/eval_results_epoch_{k}_step_-1.jsonl` (one run, its checkpoints) and
    `{pool}_{k}x/eval_results.jsonl` (one run for each length). The folder may also be that of one pool. A
    folder belongs to the pool whose name it contains; folders of no pool are left out with a warning.

    Args:
        folder: the root folder.
        pools: sizes in samples of the pools that the folder names contain.
        samples_per_epoch: samples in one trainer's epoch, for all pools or by pool.
        tasks: the keys to read; None is ImageNet (`imagenet1k`).

    Raises:
        InputError: a missing argument, nothing usable, an unknown task, a metric that is no number.
    """
    import pandas as pd

    root = Path(folder)
    evaluations = find_evaluations(root)
    if not evaluations:
        raise InputError(f"{root}: no evaluation in this folder, expected {EXPECTED}")
    if not pools:
        raise InputError(f"{root}: a folder of evaluations needs pools={{name: size in samples}} for its folder names")
    if samples_per_epoch is None:
        raise InputError(f"{root}: a folder of evaluations needs samples_per_epoch= (often the size of the pool)")
    owners = owners_of(evaluations, pools, root)
    lengths = epoch_lengths(samples_per_epoch, pools)
    wanted = list(tasks or [DEFAULT_TASK])
    rows: list[tuple[str, str, float, str, float]] = []
    lines: list[tuple[Path, int]] = []
    for each in evaluations:
        if each.pool not in owners:
            continue
        pool = owners[each.pool]
        for task, (accuracy, line) in read_evaluation(each.path, wanted).items():
            rows.append((pool, each.run, each.epoch * lengths[pool], task, accuracy))
            lines.append((each.path, line))

    def place(row: int | None = None, column: str | None = None) -> str:
        if row is None:
            return str(root)
        path, line = lines[row]
        return f"{path}, line {line}" + ("" if column is None else f", {column}")

    return pd.DataFrame(rows, columns=["pool", "run", "samples_seen", "metric", "accuracy"]), place


def find_evaluations(root: Path) -> list[Evaluation]:
    """The evaluations under a folder, by pool and then by epoch."""
    found, skipped = [], []
    for path in sorted(root.rglob("*.jsonl")):
        folder = path.parent
        if epochs := EPOCH_FILE.fullmatch(path.name):
            found.append(Evaluation(path, folder.resolve().name, folder.resolve().name, int(epochs[1])))
        elif path.name == EVALUATION and (length := EPOCH_FOLDER.fullmatch(folder.resolve().name)):
            pool = length[1] or folder.resolve().parent.name
            found.append(Evaluation(path, pool, f"{pool}_{length[2]}x", int(length[2])))
        elif path.name.startswith("eval_results"):
            skipped.append(path)
    if found and skipped:
        more = f" (and {len(skipped) - 1} more files)" if len(skipped) > 1 else ""
        warnings.warn(
            f"{skipped[0]}: left out: it names no whole epoch, expected {EXPECTED}{more}",
            QQTWarning,
            stacklevel=4,
        )
    return sorted(found, key=lambda each: (each.pool, each.epoch))


def owners_of(evaluations: Sequence[Evaluation], pools: Mapping[str, float | str], root: Path) -> dict[str, str]:
    """Folder name -> pool.

    Raises:
        InputError: a pool without a folder, a folder that names two pools.
    """
    folders = list(dict.fromkeys(each.pool for each in evaluations))
    if len(folders) == 1 and len(pools) == 1:
        return {folders[0]: next(iter(pools))}
    owners, strangers = {}, []
    for folder in folders:
        if pools_named(folder, pools):
            owners[folder] = match_pool(folder, pools, str(root))
        else:
            strangers.append(folder)
    for pool in pools:
        if pool not in owners.values():
            there = f"the folders are {', '.join(folders)}{did_you_mean(pool, folders)}"
            raise InputError(f"{root}: no folder for pool {pool!r}; {there}")
    if strangers:
        warnings.warn(f"{root}: left out, as they name no pool: {', '.join(strangers)}", QQTWarning, stacklevel=4)
    return owners


def epoch_lengths(
    samples_per_epoch: float | str | Mapping[str, float | str], pools: Mapping[str, float | str]
) -> dict[str, float]:
    """Pool -> samples in one trainer's epoch.

    Raises:
        InputError: a pool without a length, or one that is no positive number.
    """
    by_pool = samples_per_epoch if isinstance(samples_per_epoch, Mapping) else dict.fromkeys(pools, samples_per_epoch)
    missing = [pool for pool in pools if pool not in by_pool]
    if missing:
        raise InputError(f"samples_per_epoch=: no length for pool {missing[0]!r}{did_you_mean(missing[0], by_pool)}")
    return {pool: argument_size(pool, by_pool[pool], "samples_per_epoch=") for pool in pools}


def read_evaluation(path: Path, tasks: Sequence[str]) -> dict[str, tuple[float, int]]:
    """The accuracy of each task, and its line.

    Raises:
        InputError: a task that is not there, a metric that is no number, two lines that disagree.
    """
    data, name = read_bytes(path)
    check_text(data, name)
    found: dict[str, tuple[float, int]] = {}
    keys: list[str] = []
    for line, text in enumerate(data.decode("utf-8-sig").splitlines(), 1):
        if not text.strip():
            continue
        where = f"{name}, line {line}"
        record = json_object(text, where)
        key = record.get("key")
        if not isinstance(key, str):
            raise InputError(f"{where}: no text under 'key', expected the name of a task")
        keys.append(key)
        if key not in tasks:
            continue
        metrics = record.get("metrics")
        accuracy = metrics.get("main_metric") if isinstance(metrics, dict) else None
        if isinstance(accuracy, bool) or not isinstance(accuracy, int | float):
            raise InputError(f"{where}: found {accuracy!r} under metrics.main_metric of {key!r}, expected an accuracy")
        if key in found and found[key][0] != accuracy:
            before, at = found[key]
            raise InputError(f"{where}: {key!r} is {accuracy}, and {before} on line {at}; expected one value")
        found.setdefault(key, (float(accuracy), line))
    for task in tasks:
        if task not in found:
            known = f"the tasks are {', '.join(keys)}{did_you_mean(task, keys)}"
            raise InputError(f"{name}: no task {task!r} (choose with metric= or tasks=); {known}")
    return found
