"""Do complexity and learning complexity predict how fast a pool wears out, and how much it is worth?

    python -m benchmarks.pool_covariates

The 15 pools of word-CLIP (families C, R and V), all redraws. Half-life and utility come from the fits of the single
pools of each family and redraw (0.25 to 20 units, 64 starts, as in PROTOCOL.md), averaged over redraws. Covariates are
of the pairs alone, averaged over the same redraws:

- *complexity*: mean over the pairs of C_j = d_inter d_intra of the cluster of their vector; spherical k-means of all
  400,000 vectors, k = 500, 20 neighbours;
- *spread*: 1 - length of the mean unit vector of the pool;
- *DLC*: mean learning complexity of the pairs, at most 4,000 a pool, under 50 masks of the two linear towers of a
  word-CLIP model trained on 39,936 pairs of the fresh reference of family C; the loss is the contrastive one, against
  the 1,000 first target words.

Pools whose half-life ends at a bound of the fit in any redraw are left out: these runs do not tell it, nor the utility
that goes with it. Each covariate alone: least squares across pools, every pool left out in turn, permutation test.
"Within families" has one intercept a family, and is compared with these alone; values are dealt anew within families.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import qqtjax as qqt
from benchmarks import record
from benchmarks.wordclip.data import draw_order, draw_pools, draw_targets, draw_vague_pools, load_vocabulary
from benchmarks.wordclip.model import Config, Trainer
from benchmarks.wordclip.settings import FAMILIES, REDRAWS
from qqtjax.pools.complexity import complexity, inter_distance, intra_distance
from qqtjax.pools.covariates import Regression, regress
from qqtjax.pools.dlc import mean_masked_loss
from qqtjax.pools.kmeans import kmeans

UNIT = 9_984
WINDOW = (0.25 * UNIT, 20 * UNIT)
CLUSTERS, NEIGHBOURS, PASSES = 500, 20, 20
PAIRS, QUARTERS, SEED = 4_000, 16, 11
SHUFFLES = 2_000


def fits() -> tuple[dict[str, dict[str, float]], list[str]]:
    """`{pool: {"log half-life": .., "utility": ..}}`, means over redraws with standard deviations, and bounds hit."""
    found: dict[str, dict[str, list[float]]] = {}
    hit: list[str] = []
    for family, redraws in REDRAWS.items():
        for redraw in redraws:
            runs = qqt.wordclip(family, roles=["single"], redraws=[redraw])
            inside = (runs.samples_seen >= WINDOW[0]) & (runs.samples_seen <= WINDOW[1])
            fitted = qqt.fit(runs.select(inside), starts=64, seed=0)
            assert fitted.diagnostics is not None
            hit += [f"{line} (redraw {redraw})" for line in fitted.diagnostics.bounds_hit]
            for place, pool in enumerate(fitted.pools.names):
                of = found.setdefault(pool, {"log half-life": [], "utility": []})
                of["log half-life"].append(float(np.log(fitted.params.half_life[place])))
                of["utility"].append(float(fitted.params.utility[place]))
    numbers = {
        pool: {
            **{name: float(np.mean(each)) for name, each in of.items()},
            **{f"sd {name}": float(np.std(each, ddof=1)) for name, each in of.items()},
        }
        for pool, of in found.items()
    }
    return numbers, hit


def cluster_complexity(vectors: np.ndarray) -> np.ndarray:
    """`[V]` complexity of the cluster that each vector is in."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = kmeans(vectors, CLUSTERS, passes=PASSES, seed=0)
    cosine = unit @ found.centroids.T
    label, distance = cosine.argmax(1), 1 - cosine.max(1)
    sums = np.bincount(label, distance, minlength=CLUSTERS)
    counts = np.bincount(label, minlength=CLUSTERS)
    each = complexity(inter_distance(found.centroids, NEIGHBOURS), intra_distance(sums, counts))
    return each[label]


def frozen(trainer: Trainer) -> Any:
    """Weights of a model trained once through a part of the fresh reference."""
    pool, config = draw_pools(0)["C00-fresh"], trainer.config
    samples = QUARTERS * config.steps_per_quarter * config.batch_size
    order = draw_order([len(pool.words)], [1.0], samples, SEED)
    shape = (QUARTERS, config.steps_per_quarter, config.batch_size)
    words, vectors = (jnp.asarray(each[order].reshape(shape)) for each in (pool.words, pool.vectors))
    weights = nnx.split(trainer._towers(SEED))[1]
    state = weights, jax.tree.map(jnp.copy, weights), trainer.optimiser.init(weights), jnp.int32(0)
    for quarter in range(QUARTERS):
        state = trainer._train_quarter(state, words[quarter], vectors[quarter], jax.random.key(SEED))
    return state[1]


def pair_loss(trainer: Trainer) -> Any:
    """The contrastive loss of each pair against the first candidates of the target."""
    others = trainer.target[0]

    def loss(weights: Any, batch: Any) -> jax.Array:
        towers = nnx.merge(trainer.graph, weights)
        spelled, looked = towers.spell(trainer.grams[batch["words"]]), towers.look(trainer.vectors[batch["vectors"]])
        scale = jnp.minimum(jnp.exp(towers.log_scale[...]), trainer.config.max_scale)
        match = scale * jnp.sum(spelled * looked, -1)
        by_word = jnp.concatenate([match[:, None], scale * spelled @ towers.look(trainer.vectors[others]).T], 1)
        by_vector = jnp.concatenate([match[:, None], scale * looked @ towers.spell(trainer.grams[others]).T], 1)
        return (jax.nn.logsumexp(by_word, 1) + jax.nn.logsumexp(by_vector, 1)) / 2 - match

    return loss


def covariates() -> dict[str, dict[str, float]]:
    """`{pool: {covariate: mean over redraws}}`."""
    vocabulary = load_vocabulary()
    trainer = Trainer(Config(), vocabulary, draw_targets()[0])
    weights, loss = frozen(trainer), pair_loss(trainer)
    complexities = cluster_complexity(vocabulary.vectors)
    unit = vocabulary.vectors / np.linalg.norm(vocabulary.vectors, axis=1, keepdims=True)
    found: dict[str, dict[str, list[float]]] = {}
    for family, redraws in REDRAWS.items():
        for redraw in redraws:
            drawn = draw_vague_pools(vocabulary.vectors, redraw) if family == "V" else draw_pools(redraw)
            for name in FAMILIES[family]:
                pool = drawn[name]
                some = np.random.default_rng(SEED).permutation(len(pool.words))[:PAIRS]
                data = {"words": pool.words[some], "vectors": pool.vectors[some]}
                of = found.setdefault(name, {"complexity": [], "spread": [], "DLC": []})
                of["complexity"].append(float(complexities[pool.vectors].mean()))
                of["spread"].append(float(1 - np.linalg.norm(unit[pool.vectors].mean(0))))
                of["DLC"].append(float(mean_masked_loss(loss, weights, data, rows=1_000).scores.mean()))
    return {pool: {name: float(np.mean(each)) for name, each in of.items()} for pool, of in found.items()}


def across(name: str, numbers: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Slope, its standard error, skill on held-out pools and p-value over all pools."""
    found = regress({name: numbers}, values)
    return {
        "slope": float(found.slopes[0]),
        "standard_error": float(found.standard_errors[0]),
        "skill": found.skill,
        "p_value": found.p_value,
    }


def within(name: str, numbers: np.ndarray, values: np.ndarray, families: np.ndarray) -> dict[str, float]:
    """The same with an intercept a family: what the covariate adds to knowing the family."""
    members = {f"in {each}": (families == each).astype(float) for each in np.unique(families)[1:]}

    def compared(values: np.ndarray) -> tuple[Regression, float]:
        whole, alone = (regress(of, values, shuffles=1) for of in ({name: numbers, **members}, members))
        return whole, 1 - np.sum((values - whole.held_out) ** 2) / np.sum((values - alone.held_out) ** 2)

    whole, skill = compared(values)
    rng = np.random.default_rng(SEED)
    as_good = 1
    for _ in range(SHUFFLES - 1):
        dealt = values.copy()
        for each in np.unique(families):
            dealt[families == each] = rng.permutation(values[families == each])
        as_good += compared(dealt)[1] >= skill - 1e-12
    return {
        "slope": float(whole.slopes[0]),
        "standard_error": float(whole.standard_errors[0]),
        "skill": float(skill),
        "p_value": as_good / SHUFFLES,
    }


def main() -> None:
    """Measure and write the page."""
    (outcome, hit), inputs = fits(), covariates()
    left_out = [pool for pool in outcome if any(line.startswith(f"half_life of {pool} ") for line in hit)]
    pools = [pool for pool in outcome if pool not in left_out]
    families = np.array([next(family for family, of in FAMILIES.items() if pool in of) for pool in pools])
    rows: list[dict[str, Any]] = []
    for target in ("log half-life", "utility"):
        values = np.array([outcome[pool][target] for pool in pools])
        for name in ("complexity", "spread", "DLC"):
            numbers = np.array([inputs[pool][name] for pool in pools])
            numbers /= np.std(numbers)
            about = {"number": target, "covariate": name}
            rows.append({**about, "scope": "all pools", **across(name, numbers, values)})
            rows.append({**about, "scope": "within families", **within(name, numbers, values, families)})
    figures = {
        "pools": {pool: {**outcome[pool], **inputs[pool]} for pool in outcome},
        "bounds_hit": hit,
        "left_out": left_out,
        "regressions": rows,
    }
    of_pools = "\n".join(
        f"| {pool} | {np.exp(each['log half-life']):.2f} | {each['sd log half-life']:.2f} | {each['utility']:.3f} | "
        f"{each['sd utility']:.3f} | {each['complexity']:.4f} | {each['spread']:.3f} | {each['DLC']:.2f} |"
        for pool, each in figures["pools"].items()
    )
    lines = "\n".join(
        f"| {row['number']} | {row['covariate']} | {row['scope']} | {row['slope']:+.3f} | "
        f"{row['standard_error']:.3f} | {row['skill']:+.2f} | {row['p_value']:.3f} |"
        for row in rows
    )
    page = f"""# Covariates of half-life and utility

Do numbers of a pool's samples, known before anything is trained on it, predict its half-life and utility? {len(pools)}
pools of word-CLIP, means over redraws; left out are {", ".join(left_out) or "none"}, whose half-lives end at a bound of
the fit in a redraw. "Skill" is 1 less the squared error on held-out pools over that of the mean of the others (within
families: over that of the mean of the others of the family): 1 perfect, 0 no better than no covariate. "p" is from a
permutation test of the skill; of {len(rows)} tests one in 20 is below .05 by chance. Slopes are per standard deviation
of the covariate.

| number | covariate | scope | slope | se | skill | p |
|---|---|---|---|---|---|---|
{lines}

| pool | half-life, epochs | sd of its log | utility | sd | complexity | spread | DLC |
|---|---|---|---|---|---|---|---|
{of_pools}
"""
    record.write("pool_covariates", "python -m benchmarks.pool_covariates", figures, page)


if __name__ == "__main__":
    main()
