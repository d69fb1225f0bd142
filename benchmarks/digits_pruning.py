"""DLC and its competitors on digits: what it agrees with, what is learnt from what each rule keeps, what it costs.

    python -m benchmarks.digits_pruning

A network is pretrained on the digits 0 to 4 of a training split; the task is all ten digits, learnt by a logistic
probe on its frozen features from the part of the training split that a rule keeps. Every network has a split of its
own. FlexRand's share of easy samples is chosen on a fifth of the training split, and the probes that this takes are
counted.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from benchmarks.record import write
from qqtjax.pools.dlc_classes import dlc_scores, inverse_distance, squared_distance
from qqtjax.pools.drawing import draw
from qqtjax.pools.el2n import el2n, grand
from qqtjax.pools.flexrand import flexrand
from qqtjax.pools.forgetting import forgetting, trained_complexity
from qqtjax.pools.herding import herding
from qqtjax.pools.k_center import k_center
from qqtjax.pools.masks import Geometric, Linear
from qqtjax.pools.moderate import moderate
from qqtjax.pools.partition import Partition
from qqtjax.pools.short_runs import short_runs
from qqtjax.pools.uniform import uniform_counts

NETWORKS, DRAWS = 10, 5
TRAIN, CLASSES, PRETRAINED = 1297, 10, 5
KEEPS = (0.1, 0.2, 0.3, 0.4, 0.5)
SPLITS = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
HELD_OUT = 0.2
REPEATS = 5
OURS, RIVALS = "FlexRand, chosen", ("random", "DLC, easiest", "DLC, hardest", "k-center", "EL2N, hardest")


def features(params: Any, x: Any) -> Any:
    hidden = jnp.maximum(x @ params["W0"] + params["b0"], 0)
    return jnp.maximum(hidden @ params["W1"] + params["b1"], 0)


def logits(params: Any, x: Any) -> Any:
    return features(params, x) @ params["head"] + params["bias"]


def fresh(key: Any, classes: int) -> dict[str, Any]:
    keys = jax.random.split(key, 3)
    shapes = {"W0": (64, 128), "W1": (128, 64), "head": (64, classes)}
    params = {
        name: jax.random.normal(each, shape) * np.sqrt(2 / shape[0])
        for each, (name, shape) in zip(keys, shapes.items(), strict=True)
    }
    return params | {"b0": jnp.zeros(128), "b1": jnp.zeros(64), "bias": jnp.zeros(classes)}


def pretrained(x: np.ndarray, y: np.ndarray, seed: int) -> dict[str, Any]:
    """Parameters of the features, trained on the first five digits."""
    seen = y < PRETRAINED
    runs = short_runs(
        logits, lambda key: fresh(key, PRETRAINED), x[seen], y[seen], epochs=100, seed=seed, optimizer=optax.adam(1e-3)
    )
    *_, last = runs
    params = jax.tree.map(lambda leaf: leaf[0], last.params)
    return {name: params[name] for name in ("W0", "b0", "W1", "b1")}


def probe(x: np.ndarray, y: np.ndarray, test: np.ndarray, truth: np.ndarray) -> float:
    """Accuracy of a logistic regression on standardised features."""
    scale = x.std(axis=0) + 1e-6
    middle = x.mean(axis=0)
    with threadpool_limits(1):  # threads that wait for each other take longer than so few samples do
        found = LogisticRegression(max_iter=2000).fit((x - middle) / scale, y)
        return float(found.score((test - middle) / scale, truth))


def clock(work: dict[str, Callable[[], Any]]) -> dict[str, dict[str, float]]:
    """Seconds by the clock and of the processor of each one's first call, and medians of later ones, in turns."""

    def once(name: str) -> tuple[float, float]:
        start = time.perf_counter(), time.process_time()
        work[name]()
        return time.perf_counter() - start[0], time.process_time() - start[1]

    jax.clear_caches()
    first = {name: once(name) for name in work}
    later = [{name: once(name) for name in work} for _ in range(REPEATS)]
    return {
        name: {
            "first": first[name][0],
            "warm": statistics.median(each[name][0] for each in later),
            "warm_cpu": statistics.median(each[name][1] for each in later),
        }
        for name in work
    }


def rank(one: np.ndarray, two: np.ndarray) -> float:
    return float(stats.spearmanr(one, two).statistic)


class Network:
    """One network, its split, and what each rule keeps of it."""

    def __init__(self, seed: int) -> None:
        data = load_digits()
        order = np.random.default_rng(seed).permutation(len(data.target))
        x, y = (data.data / 16).astype(np.float32)[order], data.target[order]
        self.seed, self.x, self.y = seed, x[:TRAIN], y[:TRAIN]
        self.test, self.truth = x[TRAIN:], y[TRAIN:]
        self.params = pretrained(self.x, self.y, seed)
        self.z, self.z_test = (np.asarray(features(self.params, each)) for each in (self.x, self.test))

    def init(self, key: Any) -> dict[str, Any]:
        """The pretrained network with a fresh head."""
        head = jax.random.normal(key, (64, CLASSES)) * 0.1
        return jax.tree.map(jnp.asarray, self.params) | {"head": head, "bias": jnp.zeros(CLASSES)}

    def dlc(self, capacities: Any = Geometric(), loss: Any = inverse_distance) -> np.ndarray:  # noqa: B008
        """Scores under a pretrained network that is not trained any further."""
        return dlc_scores(features, self.params, self.x, self.y, capacities=capacities, loss=loss, rows=TRAIN).scores

    def trained(self, score: Callable[..., np.ndarray], **how: Any) -> np.ndarray:
        """Scores by training from the pretrained network."""
        return score(logits, self.init, self.x, self.y, **{"seed": self.seed, **how})

    def agreement(self, scores: dict[str, np.ndarray]) -> dict[str, float]:
        """Spearman correlations with learning complexity by SGD."""
        complexity = self.trained(trained_complexity, epochs=50)
        again = self.trained(trained_complexity, epochs=50, seed=self.seed + 1000)
        variants = {
            "DLC, 50 masks as released": scores["DLC"],
            "DLC, 10 masks as released": self.dlc(Geometric(0.1, 10)),
            "DLC, 5 masks as released": self.dlc(Geometric(0.2, 5)),
            "DLC, 50 masks of the paper": self.dlc(Linear()),
            "DLC, squared distances": self.dlc(loss=squared_distance),
            "DLC, squared distances, 50 masks of the paper": self.dlc(Linear(), squared_distance),
            "the whole network alone": self.dlc([1.0]),
            "EL2N": scores["EL2N"],
            "GraNd": scores["GraNd"],
            "forgetting, 50 epochs": scores["forgetting"],
            "SGD once more, another seed": again,
        }
        found = {name: rank(each, complexity) for name, each in variants.items()}
        return found | {"(5 masks with 50 masks)": rank(variants["DLC, 5 masks as released"], scores["DLC"])}

    def accuracy(self, rows: np.ndarray) -> float:
        """On the test split, of a probe on some rows."""
        return probe(self.z[rows], self.y[rows], self.z_test, self.truth)

    def chosen_split(self, dlc: np.ndarray, keep: float) -> float:
        """FlexRand's share of easy samples, by the accuracy on a held-out fifth of the training split."""
        order = np.random.default_rng(1000 + self.seed).permutation(TRAIN)
        held, rest = np.split(order, [round(HELD_OUT * TRAIN)])
        classes = Partition.by_label(self.y[rest], dlc[rest])

        def held_out(split: float) -> float:
            kept = [rest[flexrand(classes, keep, split, seed).rows] for seed in range(DRAWS)]
            return float(np.mean([probe(self.z[k], self.y[k], self.z[held], self.y[held]) for k in kept]))

        return max(SPLITS, key=held_out)

    def kept(self, scores: dict[str, np.ndarray], keep: float) -> tuple[dict[str, list[float]], float, float]:
        """Accuracies of every rule over the draws, the share that was chosen, and the seconds of choosing it."""
        counts = uniform_counts(np.bincount(self.y), round(keep * TRAIN), balance=0)
        start = time.process_time()
        split = self.chosen_split(scores["DLC"], keep)
        seconds = time.process_time() - start
        easy_first = {
            "herding": herding(self.z, counts, self.y),
            "k-center": k_center(self.z, counts, self.y),
            "moderate": moderate(self.z, self.y),
        }
        pools = {name: Partition.by_label(self.y, each) for name, each in (scores | easy_first).items()}
        found = {
            "random": [draw(pools["DLC"], counts, "random", seed).rows for seed in range(DRAWS)],
            "FlexRand, chosen": [flexrand(pools["DLC"], keep, split, seed).rows for seed in range(DRAWS)],
            **{
                f"FlexRand {each:g}": [flexrand(pools["DLC"], keep, each, seed).rows for seed in range(DRAWS)]
                for each in SPLITS
            },
            "DLC, easiest": [draw(pools["DLC"], counts, "easiest").rows],
            "DLC, hardest": [draw(pools["DLC"], counts, "hardest").rows],
            "EL2N, hardest": [draw(pools["EL2N"], counts, "hardest").rows],
            "GraNd, hardest": [draw(pools["GraNd"], counts, "hardest").rows],
            "forgetting, hardest": [draw(pools["forgetting"], counts, "hardest").rows],
            **{name: [draw(pools[name], counts, "easiest").rows] for name in easy_first},
        }
        return {name: [self.accuracy(rows) for rows in each] for name, each in found.items()}, split, seconds


def times(network: Network) -> dict[str, dict[str, float]]:
    """Seconds of every score on one network; their usual settings, and shorter ones."""
    work = {
        "DLC, 50 masks": lambda: network.dlc(),
        "DLC, 10 masks": lambda: network.dlc(Geometric(0.1, 10)),
        "EL2N, 10 models x 20 epochs": lambda: network.trained(el2n, epochs=20, models=10),
        "EL2N, 1 model x 20 epochs": lambda: network.trained(el2n, epochs=20, models=1),
        "GraNd, 10 models x 20 epochs": lambda: network.trained(grand, epochs=20, models=10),
        "forgetting, 1 model x 200 epochs": lambda: network.trained(forgetting, epochs=200),
        "forgetting, 1 model x 50 epochs": lambda: network.trained(forgetting, epochs=50),
        "learning complexity by SGD, 50 epochs": lambda: network.trained(trained_complexity, epochs=50),
    }
    return clock(work)


def passes() -> dict[str, float]:
    """What a score costs in forward passes over the data, a training step counting as three: whatever the machine."""
    return {
        "DLC, 50 masks": 51,
        "DLC, 10 masks": 11,
        "EL2N, 10 models x 20 epochs": 10 * (20 * 3 + 1),
        "EL2N, 1 model x 20 epochs": 20 * 3 + 1,
        "GraNd, 10 models x 20 epochs": 10 * (20 * 3 + 3),
        "forgetting, 1 model x 200 epochs": 200 * 3,
        "forgetting, 1 model x 50 epochs": 50 * 3,
        "learning complexity by SGD, 50 epochs": 50 * 4,
    }


def interval(values: list[float], sign: str = "") -> str:
    """Mean over the networks with its 95 % interval by Student's t; a difference is bold where it leaves out 0."""
    mean, error = float(np.mean(values)), stats.sem(values)
    half = float(stats.t.ppf(0.975, len(values) - 1) * error)
    text = f"{mean:{sign}.3f} ± {half:.3f}"
    return f"**{text}**" if sign and abs(mean) > half else text


def gaps(accuracy: list[Any], keep: float, one: str, two: str) -> list[float]:
    """Accuracy of one rule minus that of another, for each network."""
    return [float(np.mean(each[keep][one]) - np.mean(each[keep][two])) for each in accuracy]


def main() -> None:
    """Measure and write the page."""
    agreement, accuracy, splits, choosing = [], [], [], []
    for seed in range(NETWORKS):
        network = Network(seed)
        scores = {
            "DLC": network.dlc(),
            "EL2N": network.trained(el2n),
            "GraNd": network.trained(grand),
            "forgetting": network.trained(forgetting, epochs=50),
        }
        agreement.append(network.agreement(scores))
        found = {keep: network.kept(scores, keep) for keep in KEEPS}
        accuracy.append({keep: each[0] for keep, each in found.items()})
        splits.append({keep: each[1] for keep, each in found.items()})
        choosing.append(sum(each[2] for each in found.values()) / len(KEEPS))
        everything = network.accuracy(np.arange(TRAIN))
        accuracy[-1][1.0] = {"everything": [everything]}
        print(f"network {seed + 1} of {NETWORKS}", flush=True)
    load = os.getloadavg()[0]
    taken, cost = times(Network(0)), passes()
    rules = list(accuracy[0][KEEPS[0]])

    def cell(rule: str, keep: float) -> str:
        own = [np.mean(each[keep][rule]) for each in accuracy]
        against = interval(gaps(accuracy, keep, rule, "random"), "+")
        return f"{np.mean(own):.3f}" if rule == "random" else f"{np.mean(own):.3f} ({against})"

    heads = " | ".join(f"keep {keep:g}" for keep in KEEPS)
    table = "\n".join(f"| {rule} | {' | '.join(cell(rule, keep) for keep in KEEPS)} |" for rule in rules)
    same = "\n".join(
        f"| {name} | {interval([each[name] for each in agreement])} | {min(each[name] for each in agreement):.3f} |"
        for name in agreement[0]
    )
    base, base_cpu = taken["DLC, 50 masks"]["warm"], taken["DLC, 50 masks"]["warm_cpu"]
    clocks = "\n".join(
        f"| {name} | {each['warm']:.3f} | {each['warm'] / base:.1f} | {each['warm_cpu'] / base_cpu:.1f} | "
        f"{each['first']:.2f} | {cost[name]:.0f} | {cost[name] / cost['DLC, 50 masks']:.1f} |"
        for name, each in taken.items()
    )
    whole = np.mean([each[1.0]["everything"] for each in accuracy])
    beside = "\n".join(
        f"| {rule} | {' | '.join(interval(gaps(accuracy, keep, OURS, rule), '+') for keep in KEEPS)} |"
        for rule in RIVALS
    )
    shares = {keep: sorted(each[keep] for each in splits) for keep in KEEPS}
    chosen = "; ".join(
        f"keep {keep:g}: {own[0]:g} to {own[-1]:g}, median {statistics.median(own):g}" for keep, own in shares.items()
    )
    page = f"""# Pruning digits: DLC with FlexRand against its competitors

{NETWORKS} networks (64-128-64, pretrained on the digits 0 to 4), each with its own split into {TRAIN} training and
{1797 - TRAIN} test samples of all ten digits; a logistic probe on frozen features. Random rules: {DRAWS} draws each.
± is the 95 % interval of the mean over the networks.

## Spearman correlation with learning complexity by SGD over 50 epochs (asked of DLC: above .5)

| score | mean | least |
|---|---|---|
{same}

SGD with another seed is as much agreement as any score could reach. The released masks keep 1 to .37 of the weights,
those of the paper 1 to .02.

## Test accuracy (in brackets: minus random at the same share; bold where the interval leaves out 0)

All training samples: {whole:.3f}. Every rule keeps the same share of each class.

| rule | {heads} |
|---|{"---|" * len(KEEPS)}
{table}

"FlexRand, chosen" takes the share of easy samples that was best on a held-out fifth of the training split
({chosen}).
Choosing it takes {len(SPLITS) * DRAWS} probes, {statistics.mean(choosing):.2f} CPU seconds a share kept, beside
{base_cpu:.2f} for the scores themselves. The other FlexRand rows are what each fixed share would have given; to pick
the best of them afterwards would be to look at the test set.

### "FlexRand, chosen" minus other rules

| rule | {heads} |
|---|{"---|" * len(KEEPS)}
{beside}

## Seconds to score {TRAIN} samples

Warm: median of {REPEATS}, in turns, by the clock, and its ratio also by processor time (load average before:
{load:.1f} on {os.cpu_count()} cores). First: with what had to be compiled for it. Passes: forward passes over the data
that the score needs, a training step counted as three. The paper claims 35 times less time for DLC than for scores by
training.

| score | warm, s | times DLC's | by processor time | first call, s | passes | times DLC's |
|---|---|---|---|---|---|---|
{clocks}
"""
    figures = {
        "agreement": agreement,
        "accuracy": accuracy,
        "splits": splits,
        "choosing_cpu_seconds": choosing,
        "seconds": taken,
        "passes": cost,
    }
    write("digits_pruning", "python -m benchmarks.digits_pruning", figures, page)


if __name__ == "__main__":
    main()
