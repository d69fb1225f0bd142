"""Which training run each checkpoint belongs to, and checkpoints that are there twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qqtjax.io.cells import Place, first_of_each, refuse, texts
from qqtjax.io.sources import Sources
from qqtjax.text import show_count

if TYPE_CHECKING:
    from pandas import DataFrame


def name_runs(
    frame: DataFrame,
    sources: Sources,
    tag: np.ndarray,
    pool_names: list[str],
    seed: np.ndarray,
    model_size: np.ndarray | None,
) -> tuple[np.ndarray, list[str]]:
    """`[M]` index of the training run, and distinct names of the runs.

    Checkpoints of one run share the name in the column `run`, what they were trained on, the seed and the
    model size; what the name does not tell apart is added to it. Without a name a run is called by its pool
    or mixture, or by the text (`tag`) that a row with weights has in the column `pool`.
    """
    import pandas as pd

    written, words = texts(frame, "run") if "run" in frame else (np.full(len(frame), -1), [])
    keys = pd.DataFrame({"word": written, "source": sources.code, "seed": seed})
    keys["model_size"] = 0.0 if model_size is None else model_size
    run = keys.groupby(list(keys.columns), sort=False).ngroup().to_numpy()
    runs = keys.iloc[first_of_each(run)].reset_index(drop=True)
    labels = np.array(sources.labels, object)[runs["source"]]
    tags = tag[first_of_each(run)]
    labels = np.where(tags >= 0, np.array([*pool_names, ""], object)[tags], labels)
    name = pd.Series(np.where(runs["word"] >= 0, np.array([*words, ""], object)[runs["word"]], labels))
    details = {
        "source": pd.Series(np.array(sources.labels, object)[runs["source"]]),
        "model_size": runs["model_size"].map(lambda size: f"model {show_count(size)}"),
        "seed": "seed " + runs["seed"].astype(str),
    }
    base = name.copy()
    for column, detail in details.items():
        varies = runs[column].groupby(base).transform("nunique") > 1
        name = name.where(~varies, name + ", " + detail)
    return run, [str(each) for each in name]


def drop_repeats(
    run: np.ndarray,
    metric: np.ndarray,
    samples_seen: np.ndarray,
    error: np.ndarray,
    measured: str,
    place: Place,
) -> np.ndarray:
    """`[M]` bool: rows to keep; of equal checkpoints the first.

    Raises:
        InputError: one checkpoint measured twice with different results.
    """
    import pandas as pd

    keys = pd.DataFrame({"run": run, "metric": metric, "samples_seen": samples_seen})
    repeated = keys.duplicated().to_numpy()
    if not repeated.any():
        return ~repeated
    first = keys.groupby(list(keys.columns), sort=False).ngroup().to_numpy()
    first = first_of_each(first)[first]
    shown = 1 - error if measured == "accuracy" else error
    bad = error != error[first]
    if bad.any():
        row = int(np.argmax(bad))
        expected = (
            f"{shown[first[row]]:.9g} as in row {first[row] + 1}: "
            f"the same run, seed, metric and samples_seen ({show_count(samples_seen[row])})"
        )
        refuse(bad, lambda row: shown[row], expected, place, measured)
    return ~repeated
