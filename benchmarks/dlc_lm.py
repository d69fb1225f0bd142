"""DLC of a causal language model by the likelihood of the response: signatures as prompts, docstrings as responses.

    python -m benchmarks.dlc_lm

A small transformer in flax NNX is pretrained, byte by byte, on text that ships with Python: its help topics and the
sources of one half of the standard library. The documented functions of the other half are the instruction data.
Three questions: does DLC find responses that are spoilt; do its masks agree with each other; and what does fine-tuning
on half of the data, chosen by each rule, reach on held-out responses.
"""

from __future__ import annotations

import functools
import time
import zlib
from pydoc_data.topics import topics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from scipy import stats

from benchmarks.docstrings import docstrings, files
from benchmarks.record import write
from qqtjax.pools.dlc_text import dlc_response_scores, response_loss
from qqtjax.pools.drawing import draw
from qqtjax.pools.flexrand import flexrand
from qqtjax.pools.functional import functional
from qqtjax.pools.masks import Geometric
from qqtjax.pools.partition import Partition

WIDTH, LAYERS, HEADS, LENGTH, BYTES = 96, 2, 4, 128, 128
STEPS, BATCH, RATE = 800, 24, 3e-3
PROMPT = 60  # bytes of a prompt at most
SOURCE = 3_000_000  # bytes of sources to pretrain on at most
TRAIN, TEST = 800, 300
SPOILT = 0.1
KEEP, SPLITS, SEEDS = 0.5, (0.25, 0.75), 3
TUNE_EPOCHS, TUNE_RATE = 2, 5e-4
SCHEDULES = {"3 masks": Geometric(0.2, 3), "10 masks": Geometric(0.1, 10), "the whole network alone": [1.0]}


class Block(nnx.Module):
    """Attention over what stands before, then a hidden layer; each after a norm."""

    def __init__(self, rngs: nnx.Rngs):
        self.before = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.mix = nnx.Linear(WIDTH, 3 * WIDTH, use_bias=False, rngs=rngs)
        self.out = nnx.Linear(WIDTH, WIDTH, use_bias=False, rngs=rngs)
        self.between = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.up = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs)
        self.down = nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        """`[B, T, WIDTH]`."""
        parts = jnp.split(self.mix(self.before(x)).reshape(*x.shape[:2], 3 * HEADS, -1), 3, axis=2)
        x = x + self.out(jax.nn.dot_product_attention(*parts, is_causal=True).reshape(x.shape))
        return x + self.down(nnx.gelu(self.up(self.between(x))))


class Model(nnx.Module):
    """A causal language model of bytes."""

    def __init__(self, rngs: nnx.Rngs):
        self.embedding = nnx.Embed(BYTES, WIDTH, rngs=rngs)
        self.place_embedding = nnx.Embed(LENGTH, WIDTH, rngs=rngs)
        self.blocks = nnx.List([Block(rngs) for _ in range(LAYERS)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, BYTES, rngs=rngs)

    def __call__(self, tokens: Any) -> Any:
        """`[B, T]` bytes to `[B, T, BYTES]` logits of the next one."""
        x = self.embedding(tokens) + self.place_embedding(jnp.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def encoded(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("ascii", errors="replace"), np.uint8).astype(np.int32)


def to_pretrain(module: str) -> bool:
    """Which half of the standard library a module belongs to."""
    return zlib.crc32(module.encode()) % 2 == 0


def corpus() -> np.ndarray:
    """Bytes to pretrain on."""
    sources = [source for module, source in files() if to_pretrain(module)]
    order = np.random.default_rng(0).permutation(len(sources))
    text = encoded("\n".join(sources[row] for row in order))[:SOURCE]
    return np.concatenate([encoded("\n".join(topics.values())), text])


def pairs() -> tuple[list[str], list[str]]:
    """Prompts and responses of the other half that fit whole."""
    prompts, responses = [], []
    for each in docstrings():
        prompt, response = f'{each.signature[: PROMPT - 10]}:\n    """', f'{each.text}"""'
        if not to_pretrain(each.module) and len(prompt) + len(response) <= LENGTH:
            prompts.append(prompt)
            responses.append(response)
    order = np.random.default_rng(1).permutation(len(prompts))[: TRAIN + TEST]
    return [prompts[row] for row in order], [responses[row] for row in order]


def rows(prompts: list[str], responses: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """`[N, LENGTH]` bytes, and which of them are the response."""
    tokens, chosen = np.zeros((len(prompts), LENGTH), np.int32), np.zeros((len(prompts), LENGTH), bool)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        own = encoded(prompt + response)[:LENGTH]
        tokens[row, : len(own)] = own
        chosen[row, len(prompt) : len(own)] = True
    return tokens, chosen


@functools.cache
def trainer(apply: Any, rate: float, steps: int) -> tuple[Any, Any]:
    """AdamW with a cosine schedule, and its step on a batch of tokens and responses; compiled once."""
    rule = optax.adamw(optax.warmup_cosine_decay_schedule(0, rate, max(steps // 10, 1), steps), weight_decay=0.01)

    @jax.jit
    def step(params: Any, memory: Any, tokens: Any, chosen: Any) -> Any:
        slopes = jax.grad(lambda own: response_loss(apply(own, tokens), tokens, chosen).mean())(params)
        change, memory = rule.update(slopes, memory, params)
        return optax.apply_updates(params, change), memory

    return rule, step


def train(apply: Any, params: Any, batches: Any, rate: float, steps: int) -> Any:
    """Parameters after a step on each batch."""
    rule, step = trainer(apply, rate, steps)
    memory = rule.init(params)
    for tokens, chosen in batches:
        params, memory = step(params, memory, tokens, chosen)
    return params


def pretraining(text: np.ndarray) -> Any:
    """Random stretches of the corpus; every byte counts."""
    rng = np.random.default_rng(2)
    for _ in range(STEPS):
        starts = rng.integers(0, len(text) - LENGTH, BATCH)
        yield text[starts[:, None] + np.arange(LENGTH)], np.ones((BATCH, LENGTH), bool)


def tuning(tokens: np.ndarray, chosen: np.ndarray, seed: int) -> tuple[list[Any], int]:
    """Shuffled batches of a few epochs."""
    rng = np.random.default_rng(seed)
    steps = len(tokens) // BATCH
    found = []
    for _ in range(TUNE_EPOCHS):
        order = rng.permutation(len(tokens))
        found += [(tokens[part], chosen[part]) for part in np.split(order[: steps * BATCH], steps)]
    return found, len(found)


def spoilt(responses: list[str], marked: np.ndarray) -> dict[str, list[str]]:
    """Responses of which the marked ones are spoilt, in several ways."""
    rng = np.random.default_rng(3)
    picked = np.flatnonzero(marked)

    def words(text: str) -> str:
        own = text.split()
        return " ".join(own[place] for place in rng.permutation(len(own)))

    def letters(text: str) -> str:
        return "".join(text[place] for place in rng.permutation(len(text)))

    changed = {
        "of another prompt": {row: responses[other] for row, other in zip(picked, np.roll(picked, 1), strict=True)},
        "words in random order": {row: words(responses[row]) for row in picked},
        "letters in random order": {row: letters(responses[row]) for row in picked},
    }
    return {how: [own.get(row, text) for row, text in enumerate(responses)] for how, own in changed.items()}


def area_under_curve(scores: np.ndarray, marked: np.ndarray) -> float:
    """Probability that a marked sample scores higher than another one."""
    return float(stats.mannwhitneyu(scores[marked], scores[~marked]).statistic / (marked.sum() * (~marked).sum()))


def main() -> None:
    """Measure and write the page."""
    apply, params = functional(Model(nnx.Rngs(0)))
    text = corpus()
    start = time.perf_counter()
    params = train(apply, params, pretraining(text), RATE, STEPS)
    jax.block_until_ready(params)
    pretrained_in = time.perf_counter() - start

    prompts, responses = pairs()
    count = len(prompts) - TEST
    tokens, chosen = rows(prompts, responses)
    own, test = (tokens[:count], chosen[:count]), (tokens[count:], chosen[count:])

    seconds, scores = {}, {}
    for name, capacities in SCHEDULES.items():
        start = time.perf_counter()
        scores[name] = dlc_response_scores(apply, params, *own, capacities=capacities, rows=64).scores
        seconds[name] = time.perf_counter() - start
    dlc = scores["3 masks"]

    marked = np.random.default_rng(4).permutation(count) < round(SPOILT * count)
    areas: dict[str, dict[str, float]] = {}
    for how, mixed in spoilt(responses[:count], marked).items():
        own_rows = rows(prompts[:count], mixed)
        areas[how] = {
            name: area_under_curve(
                dlc_response_scores(apply, params, *own_rows, capacities=each, rows=64).scores, marked
            )
            for name, each in SCHEDULES.items()
        }
    length = chosen[:count].sum(axis=1)
    correlations = {
        name: {
            "3 masks": float(stats.spearmanr(dlc, each).statistic),
            "length": float(stats.spearmanr(length, each).statistic),
        }
        for name, each in scores.items()
    }

    def held_out(params: Any) -> float:
        return float(dlc_response_scores(apply, params, *test, capacities=[1.0], rows=64).scores.mean())

    pool = Partition.of(np.zeros(count, int), ["all"], dlc)
    half = [round(KEEP * count)]
    kept: dict[str, Any] = {
        "random": lambda seed: draw(pool, half, "random", seed).rows,
        **{f"FlexRand {each:g}": lambda seed, each=each: flexrand(pool, KEEP, each, seed).rows for each in SPLITS},
        "DLC, easiest": lambda seed: draw(pool, half, "easiest").rows,
        "DLC, hardest": lambda seed: draw(pool, half, "hardest").rows,
        "all of the data": lambda seed: np.arange(count),
    }
    reached: dict[str, list[float]] = {}
    start = time.perf_counter()
    for name, rule in kept.items():
        reached[name] = []
        for seed in range(SEEDS):
            chosen_rows = rule(seed)
            batches, steps = tuning(own[0][chosen_rows], own[1][chosen_rows], seed)
            reached[name].append(held_out(train(apply, params, batches, TUNE_RATE, steps)))
    tuned_in = time.perf_counter() - start

    before = held_out(params)
    table = "\n".join(
        f"| {name} | {np.mean(each):.4f} ± {stats.sem(each):.4f} | "
        f"{np.mean(np.subtract(each, reached['random'])):+.4f} |"
        for name, each in reached.items()
    )
    masks = "\n".join(
        f"| {name} | {seconds[name]:.1f} | {each['3 masks']:.3f} | {each['length']:+.3f} |"
        for name, each in correlations.items()
    )
    found = "\n".join(
        f"| {how} | {' | '.join(f'{own[name]:.3f}' for name in SCHEDULES)} |" for how, own in areas.items()
    )
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    page = f"""# DLC of a language model

A causal transformer of {size:,} parameters over bytes, pretrained for {STEPS} steps of {BATCH} x {LENGTH}
bytes on {len(text) / 1e6:.1f} MB of help topics and sources ({pretrained_in:.0f} s). Prompts are signatures and
responses docstrings of the other half of the standard library: {count} to choose from, {TEST} held out. Before
fine-tuning the held-out responses cost {before:.3f} nats a byte.

## Masks

Every layer is masked for itself: 3 masks go down to .64 of the weights, 10 masks to .39.

| capacities | seconds with compilation | Spearman with 3 masks | Spearman with the length of the response |
|---|---|---|---|
{masks}

## Spoilt responses: {SPOILT:.0%} of them

The probability that a spoilt response scores higher than one that is not (area under the curve).

| how | {" | ".join(SCHEDULES)} |
|---|{"---|" * len(SCHEDULES)}
{found}

## Fine-tuning on {KEEP:.0%} of the data for {TUNE_EPOCHS} epochs

Nats a byte of held-out responses, ± standard error over {SEEDS} seeds of shuffle and draw; lower is better.
All fine-tuning runs together took {tuned_in:.0f} s.

| rule | held-out | minus random |
|---|---|---|
{table}
"""
    figures = {
        "parameters": size,
        "pretraining_seconds": pretrained_in,
        "before": before,
        "seconds": seconds,
        "correlations": correlations,
        "area_under_curve": areas,
        "reached": reached,
    }
    write("dlc_lm", "python -m benchmarks.dlc_lm", figures, page)


if __name__ == "__main__":
    main()
