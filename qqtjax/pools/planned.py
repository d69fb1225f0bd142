"""From the weights of a mix or plan to the samples of each pool to train on, and how often."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from qqtjax.errors import InputError, QQTWarning
from qqtjax.mix import Mix
from qqtjax.mix.allocation import whole_samples
from qqtjax.pools.drawing import Order, Selection, draw
from qqtjax.pools.partition import Partition
from qqtjax.text import show_count

NEAR = 0.01  # relative difference of sizes that is not worth a warning


class Planned(NamedTuple):
    """What training on some weights draws from each pool.

    Attributes:
        unique: `[P]` int64 different samples.
        samples: `[P]` int64 samples seen, repeats counted; they sum to the budget.
        epochs: `[P]` how often the different samples are gone through; 0 for a pool that gives none.
    """

    unique: np.ndarray
    samples: np.ndarray
    epochs: np.ndarray


def planned_counts(partition: Partition, mix: Mix | Mapping[str, float], samples_seen: float | None = None) -> Planned:
    """Samples to keep of each pool for a mix at a budget: no more of a pool than one pass needs, all for more.

        unique_j = min(n w_j, N_j),   epochs_j = n w_j / unique_j

    Args:
        partition: the pools; N are its counts.
        mix: w, a `Mix`, or `{pool: share}` as a plan's `row.best.weights`; pools that are not named give none.
        samples_seen: n, the budget; a `Mix` knows its own.

    Returns:
        `Planned`, in the order of the partition's pools.

    Raises:
        InputError: an unknown pool, shares that do not sum to 1, no budget, a share of a pool without samples.

    Warns:
        QQTWarning: a pool of another size than the one that the mix was planned for.

    Source: epochs K_j = n w_j / N_j of arXiv 2404.07177.

    Example:
        >>> split = Partition.of([0, 0, 1, 1, 1, 1], ["web", "books"])
        >>> found = planned_counts(split, {"web": 0.75, "books": 0.25}, samples_seen=8)
        >>> found.unique.tolist(), found.epochs.tolist()
        ([2, 2], [3.0, 1.0])
    """
    if isinstance(mix, Mix):
        for name, size, share in zip(mix.pools.names, mix.pools.sizes, mix.weights, strict=True):
            if share > 0:
                warn_of_size(name, size, int(partition.counts[partition.pools.index(name)]))
        samples_seen = mix.samples_seen if samples_seen is None else samples_seen
        mix = dict(zip(mix.pools.names, mix.weights.tolist(), strict=True))
    if samples_seen is None or not 1 <= samples_seen < np.inf:
        raise InputError(f"samples seen {samples_seen}: expected the budget, at least one sample")
    weights = partition.pools.weights({name: share for name, share in mix.items() if share != 0})
    samples = np.array(whole_samples(weights, round(samples_seen)))
    sizes = partition.counts
    gone = np.flatnonzero((samples > 0) & (sizes == 0))
    if len(gone):
        raise InputError(f"pool {partition.pools.names[gone[0]]!r}: the mix draws from it, but it has no samples")
    unique = np.minimum(samples, sizes)
    return Planned(unique, samples, samples / np.maximum(unique, 1))


def select_planned(
    partition: Partition,
    mix: Mix | Mapping[str, float],
    samples_seen: float | None = None,
    order: Order = "random",
    seed: int = 0,
) -> Selection:
    """The samples to train on for a mix at a budget, with the epochs of each pool.

    Args:
        partition: as in `planned_counts`.
        mix: as there.
        samples_seen: as there.
        order: which samples of a pool that is not gone through once: as in `draw`. The law speaks of random ones.
        seed: of the draw.

    Returns:
        `Selection` with `epochs`.

    Raises:
        InputError: as in `planned_counts` and `draw`.

    Example:
        >>> split = Partition.of([0, 0, 1, 1, 1, 1], ["web", "books"])
        >>> print(select_planned(split, {"web": 0.75, "books": 0.25}, samples_seen=8))
         pool pool_size kept removed share_kept epochs
          web         2    2       0     100.0%      3
        books         4    2       2      50.0%      1
        kept 4 of 6 samples (66.7%), removed 2
    """
    planned = planned_counts(partition, mix, samples_seen)
    drawn = draw(partition, planned.unique, order, seed)
    return Selection(partition, drawn.rows, planned.epochs)


def warn_of_size(name: str, planned: float, here: int) -> None:
    """Warn if a pool has another size than the one that was planned for.

    Args:
        name: of the pool.
        planned: its size in the plan, samples; `inf` fits any.
        here: its size here.
    """
    if np.isfinite(planned) and abs(here - planned) > NEAR * planned:
        warnings.warn(
            f"pool {name!r} has {show_count(here)} samples, but was planned for with {show_count(planned)}: its "
            "epochs, and so the best weights, are others",
            QQTWarning,
            stacklevel=3,
        )
