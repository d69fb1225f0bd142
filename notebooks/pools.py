# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Pools: from embeddings to the samples to keep
#
# The law needs pools. Scores, clusters or a model make them; a plan says how many samples of each to train on; exact counts and one
# seeded draw turn that into a list of samples.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import qqtjax as qqt
from qqtjax.pools import PAPER, Partition, dbp, flexrand, kmeans, quantile_pools, select_planned

plt.rcParams |= {"figure.dpi": 60, "figure.figsize": (8, 4.5)}
digits = load_digits()
rows = digits.data - digits.data.mean(axis=0)
print(f"{len(rows)} images of digits as vectors of {rows.shape[1]} numbers")

# %% [markdown]
# ## Clusters, and pruning by density
#
# Spherical k-means groups the vectors by direction. Density-based pruning keeps more of the clusters that are wide and far from
# others, and of each cluster the samples far from its centre. Its counts meet the total exactly.

# %%
clusters = kmeans(rows, 10, seed=0)
print(
    "mean cosine to the nearest centroid",
    round(float(clusters.mean_cosine[-1]), 3),
    "members",
    clusters.counts.tolist(),
)
pruned = dbp(rows, PAPER._replace(clusters=10, neighbours=5, keep=0.277), seed=0)
kept = pruned.selection
print(f"kept {len(kept)} of {len(rows)}; of each cluster {kept.kept.tolist()}")

# %% [markdown]
# ## A score, and FlexRand
#
# A score of difficulty: how far a digit lies from the centre of its own class. (For images and texts `dlc_scores` and
# `dlc_response_scores` take the loss of a frozen network under nested masks instead.) FlexRand draws from an easy and a hard
# region of each class, here three quarters from the easy one.

# %%
centres = np.stack([rows[digits.target == label].mean(axis=0) for label in range(10)])
difficulty = np.linalg.norm(rows - centres[digits.target], axis=1)
classes = Partition.of(digits.target, [f"digit {label}" for label in range(10)], scores=difficulty)
easy = flexrand(classes, keep=0.3, split=0.75, seed=0)
print(f"FlexRand keeps {len(easy)}; of each class {easy.kept.tolist()}")

# %% [markdown]
# ## Pools by quantiles of the score
#
# The best tenth, the next tenth, and so on: disjoint, of exactly these sizes.

# %%
pools = quantile_pools(-difficulty, [0.1, 0.2, 0.4, 1.0])
print(dict(zip(pools.pools.names, pools.counts.tolist(), strict=True)))

# %% [markdown]
# ## From pools to a plan
#
# Now train a small model on each pool alone and measure it a few times. Here the errors are made up by a law, with a little noise,
# so that the notebook is short.

# %%
rng = np.random.default_rng(0)
sizes = pools.counts.astype(float)
truth = qqt.laws.FittedLaw(
    qqt.laws.utility,
    qqt.laws.UtilityParams(
        scale=20.0,
        floor=0.05,
        utility=np.array([-0.28, -0.24, -0.2, -0.15]),
        half_life=np.array([3.0, 4.0, 5.0, 6.0]),
        reference_size=sizes,
    ),
    qqt.Pools(pools.pools.names, sizes),
)
lines = ["pool,pool_size,samples_seen,error"]
for name, size in zip(pools.pools.names, sizes, strict=True):
    for epochs in (0.5, 1, 2, 5, 10):
        error = float(truth.predict({name: 1.0}, epochs * size)) + 0.002 * rng.normal()
        lines.append(f"{name},{size:.0f},{epochs * size:.0f},{error:.4f}")

# %%
import io

import pandas as pd

runs = qqt.read_runs(pd.read_csv(io.StringIO("\n".join(lines))), disjoint=True)
fitted = qqt.fit(runs)
plan = qqt.plan(fitted, budgets=[500, 2000, 8000], draws=qqt.draw(fitted, runs, 200))
print(plan)

# %%
_, axes = plt.subplots()
axes = qqt.plot.curves(fitted, runs, axes=axes)
# %% [markdown]
# ## From the plan to the samples to keep
#
# At 2,000 samples the best mix wants so many of each pool: no more of a pool than one pass needs, all of it where it repeats. The
# result is the list of rows to train on, with the epochs of each pool.

# %%
mix = qqt.optimize_mix(fitted, budget=2000)
print(mix)
chosen = select_planned(pools, mix, seed=0)
print(f"train on {len(chosen)} of {len(rows)} samples; of each pool {chosen.kept.tolist()}")
print("the first rows:", chosen.rows[:10].tolist())
