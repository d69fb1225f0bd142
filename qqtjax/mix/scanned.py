"""Laws that scan over epochs: how far a search goes, so that its work stays bounded.

One evaluation takes as long as the most epochs that the bounds allow, mostly those of the smallest pool alone, which
nobody would draw. So the search is held to weights of at most E epochs a pool, E is raised while that binds, and what
it ends with is judged by the law without that limit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.repetition import SMALLEST_BUCKET, bucket
from qqtjax.mix.combined import MOST_VALUED, Combined, epochs_at, work_of
from qqtjax.mix.emptiness import is_empty
from qqtjax.mix.feasible import Feasible
from qqtjax.text import show_count

WHOLE_SEARCH, SHORT_SEARCH, LAST_SEARCH = 512, 4096, 32768  # work of one evaluation
ROOM = 1.5  # times the epochs of the best start is where a search begins
RAISED = 4  # times as many epochs, where the limit binds
BINDS = 1e-6  # relative: weights so close to the limit are held by it


class Effort(NamedTuple):
    """How much a search does where one evaluation takes long.

    Attributes:
        steps: of projected subgradients from every start.
        starts: the most, the best ones.
        finished: how many of the mixes that they end at are finished.
        finish_steps: of each.
    """

    steps: int
    starts: int
    finished: int
    finish_steps: int


def effort(work: float) -> Effort:
    """What is done at this work of one evaluation; 0 where nothing scans."""
    if not work:
        return Effort(1200, 512, 3, 60)
    if work <= WHOLE_SEARCH:
        return Effort(300, 64, 3, 60)
    if work <= SHORT_SEARCH:
        return Effort(150, 16, 3, 60)
    return Effort(80, 8, 1, 20)


def held_to(feasible: Feasible, combined: Combined, epochs: float) -> Feasible:
    """The constraints, and at most so many epochs of every pool, earlier training included."""
    if not np.isfinite(epochs):
        return feasible
    before = 0.0 if combined.seen_before is None else combined.seen_before
    most = np.maximum(epochs * combined.sizes - before, 0.0) / combined.samples_seen
    return feasible._replace(high=np.minimum(feasible.high, np.maximum(most, feasible.low)))


def binds(feasible: Feasible, combined: Combined, epochs: float, weights: np.ndarray) -> bool:
    """Are weights held back by the limit on epochs, where the constraints alone would allow more."""
    if not np.isfinite(epochs):
        return False
    most = held_to(feasible, combined, epochs).high
    return bool(np.any((most < feasible.high) & (weights >= most * (1 - BINDS))))


def first_limit(combined: Combined, feasible: Feasible) -> float:
    """The least power of two of epochs, from 16, that leaves some weights; inf where nothing needs to be limited.

    Raises:
        InputError: even that takes longer than a value may.
    """
    before = np.zeros(len(combined.sizes)) if combined.seen_before is None else combined.seen_before
    if work_of(combined, float(epochs_at(combined, feasible.high))) <= SHORT_SEARCH:
        return np.inf
    # Minimums and earlier training are there whatever the limit.
    needed = max(float(epochs_at(combined, feasible.low)), float(np.max(before / combined.sizes)))
    needed = max(needed, (combined.samples_seen + before.sum()) / combined.sizes.sum())
    limit = float(bucket(max(needed, SMALLEST_BUCKET)))
    while work_of(combined, limit) <= MOST_VALUED:
        if not is_empty(held_to(feasible, combined, limit)):
            return limit
        limit *= 2
    names = ", ".join(dict.fromkeys(each.name for each in combined.laws))
    raise InputError(
        f"budget {show_count(combined.samples_seen)}: {show_count(limit / 2 + 1, 2)} or more epochs of some pool, too "
        f"many for {names}, which is scanned epoch by epoch; expected a smaller budget or larger pools"
    )


def start_limit(combined: Combined, least: float, weights: np.ndarray) -> float:
    """Where the search begins: with room around weights `[P]`, as far as the work allows; inf where `least` is."""
    if not np.isfinite(least):
        return np.inf
    wanted = float(bucket(ROOM * float(epochs_at(combined, weights))))
    while wanted > least and work_of(combined, wanted) > LAST_SEARCH:
        wanted /= 2
    return max(wanted, least)
