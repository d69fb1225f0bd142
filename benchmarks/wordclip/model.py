"""Two towers, the contrastive loss, the training loop and the retrieval error."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from .data import BUCKETS, Pool, Vocabulary


@dataclass(frozen=True)
class Config:
    """Everything that a run's errors depend on, beside its pools, its order and its seed."""

    batch_size: int = 64
    steps_per_quarter: int = 39  # 39 batches of 64 are 2,496 samples: a quarter of a pool of 10,000, less 4
    embedding: int = 64
    embedding_sd: float = 0.1
    features: int = 48
    gram_dropout: float = 0.5
    vector_noise: float = 0.4
    initial_scale: float = 10.0
    max_scale: float = 100.0
    learning_rate: float = 3e-3
    warmup_steps: int = 20
    b2: float = 0.99
    weight_decay: float = 0.05
    averaging_power: int = 11
    candidates: int = 1_000
    distractors: int = 9


class Towers(nnx.Module):
    """A linear tower for spellings and one for vectors; both give unit vectors that should agree."""

    def __init__(self, config: Config, vector_size: int, rngs: nnx.Rngs):
        init = nnx.initializers.normal(config.embedding_sd)
        self.grams = nnx.Embed(BUCKETS, config.embedding, embedding_init=init, rngs=rngs)
        self.spelling = nnx.Linear(config.embedding, config.features, rngs=rngs)
        self.vector = nnx.Linear(vector_size, config.features, rngs=rngs)
        self.log_scale = nnx.Param(jnp.log(config.initial_scale))

    def spell(self, grams: jax.Array, keep: jax.Array | bool = True) -> jax.Array:
        """Embed hashed n-grams: the sum of those kept, over the root of their number plus one."""
        used = (grams >= 0) & keep
        total = jnp.sum(self.grams(jnp.maximum(grams, 0)) * used[..., None], -2)
        return normalise(self.spelling(total / jnp.sqrt(used.sum(-1, keepdims=True) + 1)))

    def look(self, vectors: jax.Array) -> jax.Array:
        """Embed GloVe vectors."""
        return normalise(self.vector(vectors))


def normalise(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.sum(x**2, -1, keepdims=True) + 1e-12)


class Trainer:
    """Trains and evaluates runs; holds the vocabulary, the target words and the two compiled functions."""

    def __init__(self, config: Config, vocabulary: Vocabulary, target: np.ndarray):
        self.config = config
        self.grams, self.vectors = jnp.asarray(vocabulary.grams), jnp.asarray(vocabulary.vectors)
        self.target = jnp.asarray(target.reshape(-1, config.candidates))
        towers = nnx.eval_shape(lambda: self._towers(0))
        self.graph = nnx.graphdef(towers)
        self.optimiser = optax.adamw(
            optax.join_schedules(
                [
                    optax.linear_schedule(0, config.learning_rate, config.warmup_steps),
                    optax.constant_schedule(config.learning_rate),
                ],
                [config.warmup_steps],
            ),
            b2=config.b2,
            weight_decay=config.weight_decay,
            mask=partial(jax.tree.map, lambda parameter: parameter.ndim > 1),
        )

    def _towers(self, seed: int) -> Towers:
        return Towers(self.config, self.vectors.shape[1], nnx.Rngs(seed))

    def follow(self, pool: Pool, order: np.ndarray, seed: int) -> Iterator[tuple[int, nnx.State]]:
        """Train on the pairs of a pool in the order given: after each quarter its number and the averaged weights.

        The weights are overwritten by the next quarter.
        """
        config = self.config
        shape = (-1, config.steps_per_quarter, config.batch_size)
        words, vectors = (jnp.asarray(x[order].reshape(shape)) for x in (pool.words, pool.vectors))
        weights = nnx.split(self._towers(seed))[1]
        state = weights, jax.tree.map(jnp.copy, weights), self.optimiser.init(weights), jnp.int32(0)
        key = jax.random.key(seed)
        for quarter in range(1, len(words) + 1):
            state = self._train_quarter(state, words[quarter - 1], vectors[quarter - 1], key)
            yield quarter, state[1]

    def train(self, pool: Pool, order: np.ndarray, quarters: Iterable[int], seed: int) -> list[dict]:
        """Train on the pairs of a pool in the order given; evaluate after each of `quarters`."""
        wanted = set(quarters)
        samples = self.config.steps_per_quarter * self.config.batch_size
        return [
            {"samples_seen": quarter * samples, **self.evaluate(weights)}
            for quarter, weights in self.follow(pool, order, seed)
            if quarter in wanted
        ]

    @partial(jax.jit, static_argnums=0, donate_argnums=1)
    def _train_quarter(self, state, words, vectors, key):
        """Take `steps_per_quarter` steps; state is (weights, their average, optimiser state, steps taken)."""

        def step(state, batch):
            weights, average, optimiser, count = state
            grads = jax.grad(self._loss)(weights, *batch, jax.random.fold_in(key, count))
            updates, optimiser = self.optimiser.update(grads, optimiser, weights)
            weights = optax.apply_updates(weights, updates)
            count += 1
            decay = (1 - 1 / count) ** self.config.averaging_power
            average = jax.tree.map(lambda a, w: decay * a + (1 - decay) * w, average, weights)
            return (weights, average, optimiser, count), None

        return jax.lax.scan(step, state, (words, vectors))[0]

    def _loss(self, weights, words, vectors, key) -> jax.Array:
        """Symmetric InfoNCE of one batch, with n-gram dropout and noise on the vectors."""
        towers = nnx.merge(self.graph, weights)
        dropout_key, noise_key = jax.random.split(key)
        grams, targets = self.grams[words], self.vectors[vectors]
        keep = jax.random.bernoulli(dropout_key, 1 - self.config.gram_dropout, grams.shape)
        noise = self.config.vector_noise * jax.random.normal(noise_key, targets.shape)
        scale = jnp.minimum(jnp.exp(towers.log_scale[...]), self.config.max_scale)
        logits = scale * towers.spell(grams, keep) @ towers.look(targets + noise).T
        match = -jnp.diagonal(jax.nn.log_softmax(logits, 0)) - jnp.diagonal(jax.nn.log_softmax(logits, 1))
        return match.mean() / 2

    def evaluate(self, weights) -> dict[str, float]:
        """Mean retrieval error of the target words, and its sampling variance, words being independent."""
        error = np.asarray(self._word_errors(weights), np.float64).ravel()
        if not np.isfinite(error).all():
            raise FloatingPointError("training diverged: a retrieval error is not finite")
        return {"error": error.mean(), "variance": error.var(ddof=1) / error.size}

    @partial(jax.jit, static_argnums=0)
    def _word_errors(self, weights) -> jax.Array:
        """Each target word's retrieval error, the mean of both directions.

        That is the probability that the partner is not ranked first among itself and 9 random others,
        computed exactly from the number of the 999 others that are ranked above it.
        """
        towers = nnx.merge(self.graph, weights)
        spelled, looked = towers.spell(self.grams[self.target]), towers.look(self.vectors[self.target])
        similarity = jnp.einsum("sif,sjf->sij", spelled, looked)
        partner = jnp.diagonal(similarity, axis1=1, axis2=2)
        others = self.config.candidates - 1
        drawn = jnp.arange(self.config.distractors)

        def error(above: jax.Array) -> jax.Array:
            return 1 - jnp.prod((others - above[..., None] - drawn) / (others - drawn), -1)

        by_word = error(jnp.sum(similarity > partner[:, :, None], 2))
        by_vector = error(jnp.sum(similarity > partner[:, None, :], 1))
        return jnp.where(jnp.isfinite(partner), (by_word + by_vector) / 2, jnp.nan)
