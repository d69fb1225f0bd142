"""Score every pair of the heap: frequency, mismatch, density, DLC and EL2N; each with the time that it took.

A small network of the same kind as the one that is trained later, fitted to the reference set, plays the part of CLIP
in a CLIP score and of the frozen pre-trained network in DLC. EL2N comes from short runs on the heap itself.
"""

import time
from collections import deque
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.circle.raw import Raw, draw_raw, vocabulary
from benchmarks.wordclip.data import Pool, draw_order, draw_targets
from benchmarks.wordclip.model import Config, Trainer
from qqtjax.pools.dbp import dbp
from qqtjax.pools.density import PAPER
from qqtjax.pools.dlc import mean_masked_loss

KEEP = 0.277
CLUSTERS = 100
SCORER_SEED, SCORER_QUARTERS = 1_000, 32
EL2N_SEEDS, EL2N_QUARTERS = (2_000, 2_001, 2_002), 16
DISTRACTORS = 511  # reference pairs that a pair is told apart from in DLC
BLOCK = 1_000  # pairs of the heap that a pair is told apart from in EL2N


class Scores(NamedTuple):
    """Of every pair of the heap, and who is kept where the rule is more than an order.

    Attributes:
        rank: frequency rank of the word; low is frequent.
        match: cosine of the scoring network between spelling and vector; high is good.
        dlc: loss over nested masks of the scoring network; high is hard.
        el2n: norm of the error vector after a short run; high is hard.
        density: rows kept by density-based pruning.
        matched_density: rows kept by it among the better-matching half.
        uniform: rows kept by a uniform share of every cluster (SSP).
        seconds: of each.
    """

    rank: np.ndarray
    match: np.ndarray
    dlc: np.ndarray
    el2n: np.ndarray
    density: np.ndarray
    matched_density: np.ndarray
    uniform: np.ndarray
    seconds: dict[str, float]


@cache
def trainer() -> Trainer:
    """The compiled training loop; its target is that of families C and R."""
    return Trainer(Config(), vocabulary(), draw_targets()[0])


def trained(pool: Pool, quarters: int, seed: int) -> nnx.State:
    """Averaged weights after so many quarters on a pool."""
    loop = trainer()
    samples = quarters * loop.config.steps_per_quarter * loop.config.batch_size
    order = draw_order([len(pool.words)], [1.0], samples, seed)
    return deque(loop.follow(pool, order, seed), maxlen=1)[0][1]


def embedded(weights: nnx.State, pool: Pool) -> tuple[jax.Array, jax.Array]:
    """Unit vectors of the spellings and of the vectors, `[N, 48]` each."""
    loop = trainer()
    towers = nnx.merge(loop.graph, weights)
    return towers.spell(loop.grams[pool.words]), towers.look(loop.vectors[pool.vectors])


def masked_losses(weights: nnx.State, raw: Raw) -> np.ndarray:
    """DLC of every pair: telling the partner apart from reference pairs, both ways, under nested masks.

    The towers' matrices are masked, the embedding of n-grams is not; capacities as released.
    """
    loop = trainer()
    others = slice(0, DISTRACTORS)
    grams = loop.grams[raw.reference.words[others]]
    vectors = loop.vectors[raw.reference.vectors[others]]

    def loss(weights: nnx.State, batch: dict[str, jax.Array]) -> jax.Array:
        towers = nnx.merge(loop.graph, weights)
        scale = jnp.minimum(jnp.exp(towers.log_scale[...]), loop.config.max_scale)
        spelled, looked = towers.spell(batch["grams"]), towers.look(batch["vectors"])
        partner = jnp.sum(spelled * looked, -1, keepdims=True)
        ways = (spelled @ towers.look(vectors).T, looked @ towers.spell(grams).T)
        each = [-jax.nn.log_softmax(scale * jnp.concatenate([partner, way], 1))[:, 0] for way in ways]
        return (each[0] + each[1]) / 2

    data = {"grams": np.asarray(loop.grams)[raw.heap.words], "vectors": np.asarray(loop.vectors)[raw.heap.vectors]}
    return mean_masked_loss(loss, weights, data, rows=1_000).scores


@jax.jit
def _error_norms(spelled: jax.Array, looked: jax.Array, scale: jax.Array) -> jax.Array:
    """`[B]` norm of softmax - onehot within a block, mean of both ways."""
    logits = scale * spelled @ looked.T
    one_hot = jnp.eye(len(logits))
    norms = [jnp.linalg.norm(jax.nn.softmax(each, -1) - one_hot, axis=-1) for each in (logits, logits.T)]
    return (norms[0] + norms[1]) / 2


def error_norms(heap: Pool) -> np.ndarray:
    """EL2N of every pair after about one epoch on the heap, mean over runs."""
    total = np.zeros(len(heap.words))
    for seed in EL2N_SEEDS:
        weights = trained(heap, EL2N_QUARTERS, seed)
        spelled, looked = embedded(weights, heap)
        scale = jnp.exp(nnx.merge(trainer().graph, weights).log_scale[...])
        order = np.random.default_rng(seed).permutation(len(total))
        for block in order.reshape(-1, BLOCK):
            total[block] += np.asarray(_error_norms(spelled[block], looked[block], scale))
    return total / len(EL2N_SEEDS)


def score(redraw: int) -> Scores:
    """All scores of one redraw."""
    raw = draw_raw(redraw)
    heap, seconds = raw.heap, {}

    def timed(name, call):
        started = time.perf_counter()
        found = call()
        seconds[name] = round(time.perf_counter() - started, 2)
        return found

    # Compiled before the clock starts.
    trained(heap, 1, 0)
    weights = timed("scoring network", lambda: trained(raw.reference, SCORER_QUARTERS, SCORER_SEED))
    spelled, looked = embedded(weights, heap)
    match = timed("match", lambda: np.asarray(jnp.sum(spelled * looked, -1), np.float64))
    dlc = timed("dlc", lambda: masked_losses(weights, raw))
    el2n = timed("el2n", lambda: error_norms(heap))
    vectors = vocabulary().vectors[heap.vectors].astype(np.float32)
    settings = PAPER._replace(clusters=CLUSTERS, keep=KEEP)
    half = np.sort(np.argsort(-match, kind="stable")[: len(match) // 2])
    total = round(KEEP * len(match))
    density = timed("density", lambda: dbp(vectors, settings, total=total, seed=redraw).selection.rows)
    matched = timed("matched density", lambda: dbp(vectors[half], settings, total=total, seed=redraw).selection.rows)
    ssp = settings._replace(balance=0.5)
    uniform = timed("uniform", lambda: dbp(vectors, ssp, rule="uniform", total=total, seed=redraw).selection.rows)
    return Scores(heap.words.astype(np.float64), match, dlc, el2n, density, half[matched], uniform, seconds)
