"""Raw data as they come: right, vague and wrong pairs of words and vectors in one heap, drawn three times.

Nothing tells a rule which pair is which. A reference set of right pairs, disjoint from the heap and from the target,
stands for the curated data that a scoring network is trained on.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.wordclip.data import (
    C_RANKS,
    Pool,
    Vocabulary,
    draw_targets,
    free_words,
    load_vocabulary,
    make_vague,
    mismatch,
)

SEED = 27_700  # draws the heap and the reference
REDRAWS = range(3)
SIZE = 40_000
RIGHT, VAGUE, WRONG = 0.5, 0.2, 0.3  # shares of the heap
NEIGHBOURS = 50  # a vague pair has the vector of one of so many nearest words
REFERENCE_SIZE = 8_000


@dataclass(frozen=True)
class Raw:
    """One drawing: the heap in random order, and the reference set."""

    heap: Pool
    reference: Pool


@cache
def vocabulary() -> Vocabulary:
    """The words, once a process."""
    return load_vocabulary()


def draw_raw(redraw: int) -> Raw:
    """Draw the heap and the reference of one redraw."""
    rng = np.random.default_rng([SEED, redraw])
    words = free_words(rng, 0, C_RANKS, draw_targets()[0])
    ends = np.cumsum([round(share * SIZE) for share in (RIGHT, VAGUE, WRONG)])
    right, vague, wrong = np.split(words[: ends[-1]], ends[:-1])
    parts = [
        Pool(right, right.copy()),
        make_vague(vague, NEIGHBOURS, vocabulary().vectors, rng),
        mismatch(wrong, 1.0, rng),
    ]
    order = rng.permutation(ends[-1])
    heap = Pool(*(np.concatenate([getattr(part, side) for part in parts])[order] for side in ("words", "vectors")))
    reference = words[ends[-1] : ends[-1] + REFERENCE_SIZE]
    return Raw(heap, Pool(reference, reference))
