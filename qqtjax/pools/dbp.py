"""From embeddings to the samples to keep: clusters, how complex each one is, counts, and the farthest of each."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from qqtjax.errors import InputError
from qqtjax.pools.assignment import Assignment, assign
from qqtjax.pools.complexity import checked_neighbours, complexity, inter_distance, intra_distance
from qqtjax.pools.density import PAPER, DensitySettings, checked_temperature, density_counts
from qqtjax.pools.drawing import ORDERS, Order, Selection, draw
from qqtjax.pools.embeddings import Embeddings
from qqtjax.pools.kmeans import MEMORY, PASSES, TOLERANCE, Clusters, kmeans
from qqtjax.pools.partition import NO_POOL, Partition, distinct_ids
from qqtjax.pools.rounding import checked_share
from qqtjax.pools.semdedup import Deduplicated, check_epsilon, semdedup
from qqtjax.pools.uniform import uniform_counts
from qqtjax.pools.work import Work
from qqtjax.text import did_you_mean, show_count

if TYPE_CHECKING:
    from pandas import DataFrame

RULES = ("density", "uniform")
SIMILARITY = "similarity"
SHOWN = 30  # clusters in the printed table

Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Pruned:
    """What density-based pruning (or its baseline) kept, and why.

    Attributes:
        selection: the samples kept; its pools are the clusters, the scores are distances to the centroids, and
            duplicates that were removed before are in no pool.
        clusters: centroids, and how k-means came to them.
        mean_cosine: of all rows that were clustered, to their centroids.
        d_intra: `[k]` mean distance of members to their centroid; NaN for an empty cluster.
        d_inter: `[k]` mean distance to the nearest other centroids.
        complexity: `[k]` C.
        duplicates: rows that SemDeDup removed first.
    """

    selection: Selection
    clusters: Clusters
    mean_cosine: float
    d_intra: np.ndarray
    d_inter: np.ndarray
    complexity: np.ndarray
    duplicates: int

    def report(self) -> DataFrame:
        """One row a cluster: as `Selection.report`, with `d_intra`, `d_inter` and `complexity`."""
        return self.selection.report().assign(d_intra=self.d_intra, d_inter=self.d_inter, complexity=self.complexity)

    def to_dict(self) -> dict[str, Any]:
        """Counts and distances as plain data that strict JSON holds; an empty cluster's d_intra is None."""
        whole = self.selection.to_dict()
        rows = self.report().to_dict("records")
        for row in rows:
            row["d_intra"] = None if math.isnan(row["d_intra"]) else row["d_intra"]
        return {
            **whole,
            "duplicates": self.duplicates,
            "mean_cosine": self.mean_cosine,
            "passes": len(self.clusters.mean_cosine),
            "converged": self.clusters.converged,
            "trained_on": self.clusters.rows,
            "pools": rows,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the kept samples as `Selection.save` does; a sample's score is its distance to the centroid.

        Args:
            path: the file; it is written whole or not at all.

        Raises:
            InputError: it cannot be written.
            MissingExtraError: pyarrow is not installed.
        """
        self.selection.save(path)

    def __str__(self) -> str:
        table = self.report().sort_values("complexity", ascending=False, kind="stable")
        counts = {name: "{:,.0f}".format for name in ("pool_size", "kept", "removed")}
        shares = {name: "{:.4f}".format for name in ("d_intra", "d_inter", "complexity")}
        formats = {**counts, **shares, "share_kept": "{:.1%}".format}
        text = table.head(SHOWN).to_string(index=False, formatters={name: formats[name] for name in table.columns[1:]})
        if len(table) > SHOWN:
            text += f"\n.. and {len(table) - SHOWN} clusters of less complexity"
        total, kept = len(self.selection.partition), len(self.selection)
        passes = f"{len(self.clusters.mean_cosine)} passes over {show_count(self.clusters.rows)} rows"
        ended = "" if self.clusters.converged else ", not settled"
        near = f"; {self.duplicates:,} near duplicates removed first" if self.duplicates else ""
        return (
            f"{text}\nk-means: mean cosine {self.mean_cosine:.5f} after {passes}{ended}{near}\n"
            f"kept {kept:,} of {show_count(total)} samples ({kept / total:.1%}), removed {total - kept:,}"
        )


def dbp(
    source: Any,
    settings: DensitySettings = PAPER,
    *,
    total: int | None = None,
    rule: Literal["density", "uniform"] = "density",
    order: Order = "hardest",
    dedup: float | None = None,
    passes: int = PASSES,
    tolerance: float = TOLERANCE,
    points_per_centroid: int | None = None,
    ids: Sequence[Any] | np.ndarray | None = None,
    seed: int = 0,
    memory: float = MEMORY,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Pruned:
    """Prune by density: keep most of the clusters that are complex, and of each the samples far from its centroid.

        C_j = d_inter,j d_intra,j,   P = softmax(C / T),   N = the whole counts nearest to M P inside their bounds,
        keep the N_j samples of cluster j that are farthest from its centroid

    Args:
        source: what `Embeddings.of` takes; `[N, d]`.
        settings: clusters, temperature, neighbours, balance and the share to keep: `PAPER`, `RELEASED`, or either with
            changes, as in `PAPER._replace(clusters=100)`.
        total: samples to keep (M); floor(keep N) of the settings by default, N being all rows that were given.
        rule: how many of each cluster: by "density", or a "uniform" share with the balance as a floor (SSP).
        order: which samples of a cluster: the "hardest" (farthest), the "easiest", or "random" ones.
        dedup: first remove near duplicates with this epsilon (`semdedup`), in clusters of their own; what is left is
            clustered anew. None: not at all.
        passes: of k-means, at most.
        tolerance: of k-means.
        points_per_centroid: of k-means.
        ids: `[N]` what the samples are called; their row numbers by default.
        seed: of everything that is random.
        memory: bytes that embeddings may take.
        folder: keep there what is finished; run again after a stop, it goes on.
        progress: called with a line on what is being done.

    Returns:
        `Pruned`; exactly M samples are kept.

    Raises:
        InputError: wrong rows (the file and row are named), more clusters than rows, a total above what there is, an
            unknown rule or order, an id given twice, a folder that holds something else.

    Source: Abbas et al. 2024 (arXiv 2401.04578); the uniform rule is that of Sorscher et al. 2022.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(300, 8)) + np.repeat(4 * np.eye(8)[:3], 100, axis=0)
        >>> pruned = dbp(rows, PAPER._replace(clusters=3, neighbours=2, keep=0.277))
        >>> len(pruned.selection), pruned.selection.partition.counts.sum()
        (83, np.int64(300))
    """
    embeddings = Embeddings.of(source)
    count = len(embeddings)
    if rule not in RULES:
        raise InputError(f"rule {rule!r}: expected one of {', '.join(RULES)}{did_you_mean(rule, RULES)}")
    if order not in ORDERS:
        raise InputError(f"order {order!r}: expected one of {', '.join(ORDERS)}{did_you_mean(order, ORDERS)}")
    if settings.clusters < 2:
        raise InputError(f"clusters {settings.clusters}: expected at least 2, so that each has a neighbour")
    # All that can be wrong is found out before hours of clustering.
    checked_temperature(settings.temperature)
    checked_share(settings.balance, "balance")
    checked_neighbours(settings.neighbours)
    names = None if ids is None else distinct_ids(np.asarray(ids), count)
    # The small addition keeps shares such as 0.29 of 100 from losing a sample to rounding.
    wanted = math.floor(checked_share(settings.keep) * count + 1e-6) if total is None else total
    if not 0 < wanted <= count:
        raise InputError(f"{wanted} samples to keep: expected at least 1 and at most the {count} rows that there are")
    if dedup is not None:
        check_epsilon(dedup)
    say = progress or (lambda text: None)
    work = Work.of(folder)

    def clustered(part: Embeddings, name: str) -> tuple[Clusters, Assignment]:
        place = None if work.folder is None else work.folder / name
        found = kmeans(
            part,
            settings.clusters,
            passes=passes,
            tolerance=tolerance,
            points_per_centroid=points_per_centroid,
            seed=seed,
            memory=memory,
            folder=place,
            progress=lambda done, most, cosine: say(f"pass {done} of at most {most}: mean cosine {cosine:.5f}"),
        )
        say(f"assigning {show_count(len(part))} rows")
        return found, assign(part, found.centroids, memory=memory, folder=place)

    rows, part = np.arange(count), embeddings
    found = clustered(embeddings, "clusters" if dedup is None else "duplicates")
    if dedup is not None:
        say(f"comparing {show_count(count)} rows with those of their cluster")
        rows = _deduplicated(work, embeddings, found[1], dedup, order, seed, memory).rows
        if wanted > len(rows):
            raise InputError(
                f"{wanted} samples to keep: only {len(rows)} are left when near duplicates are removed; keep fewer, or "
                "lower epsilon"
            )
        if len(rows) < count:
            part = embeddings.of_rows(rows)
            found = clustered(part, "clusters")
    clusters, assignment = found
    say("choosing samples")
    d_intra = intra_distance(assignment.distance_sums, assignment.counts)
    d_inter = inter_distance(clusters.centroids, settings.neighbours)
    product = complexity(d_inter, d_intra)
    if rule == "density":
        counts = density_counts(product, assignment.counts, wanted, settings.temperature, settings.balance)
    else:
        counts = uniform_counts(assignment.counts, wanted, settings.balance)
    partition = _partition(assignment, rows, count, names)
    if order == "random":
        selection = draw(partition, counts, "random", seed)
    else:
        selection = Selection(partition, rows[assignment.select(counts, order)])
    return Pruned(
        selection=selection,
        clusters=clusters,
        mean_cosine=assignment.mean_cosine,
        d_intra=d_intra,
        d_inter=d_inter,
        complexity=product,
        duplicates=count - len(rows),
    )


def _deduplicated(
    work: Work, embeddings: Embeddings, assignment: Assignment, epsilon: float, order: str, seed: int, memory: float
) -> Deduplicated:
    """Near duplicates; the cosines of an earlier run are used where they are there, whatever its epsilon."""
    place = Work(None if work.folder is None else work.folder / "duplicates")
    place.begin(SIMILARITY, {"order": order, "seed": seed if order == "random" else None})
    kept = place.load(SIMILARITY)
    if kept is not None:
        return Deduplicated(kept["similarity"], epsilon)
    found = semdedup(
        embeddings, assignment.labels, assignment.distances, epsilon, order=order, seed=seed, memory=memory
    )
    place.save(SIMILARITY, {"similarity": found.similarity})
    return found


def _partition(assignment: Assignment, rows: np.ndarray, count: int, ids: Any) -> Partition:
    """All rows in their clusters, those that were removed before in none."""
    clusters = len(assignment.counts)
    index, scores = np.full(count, NO_POOL, np.int32), np.zeros(count)
    index[rows], scores[rows] = assignment.labels, assignment.distances
    digits = len(str(clusters - 1))
    return Partition.of(index, [f"c{cluster:0{digits}d}" for cluster in range(clusters)], scores, ids)
