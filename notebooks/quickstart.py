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
# # Quickstart: your runs to a plan
#
# You have three pools of data, the best 10 % by some score, the next 10 % and the next, and a few checkpoints of a model
# trained on each alone. Which should you train on with 32, 128 or 640 million samples, and how sure is that?

# %%
import io

import pandas as pd

import qqtjax as qqt

table = """pool,pool_size,samples_seen,error
top10,12.8M,3.2M,0.725
top10,12.8M,6.4M,0.651
top10,12.8M,12.8M,0.586
top10,12.8M,32M,0.523
top10,12.8M,64M,0.497
top10,12.8M,128M,0.481
top20,12.8M,3.2M,0.773
top20,12.8M,6.4M,0.706
top20,12.8M,12.8M,0.644
top20,12.8M,32M,0.581
top20,12.8M,64M,0.547
top20,12.8M,128M,0.526
top30,12.8M,3.2M,0.827
top30,12.8M,6.4M,0.765
top30,12.8M,12.8M,0.708
top30,12.8M,32M,0.648
top30,12.8M,64M,0.610
top30,12.8M,128M,0.584
"""
runs = qqt.read_runs(pd.read_csv(io.StringIO(table)))  # or read_runs("runs.csv")
fitted = qqt.fit(runs)
draws = qqt.draw(fitted, runs, 400)  # what the parameters may also be
plan = qqt.plan(fitted, budgets=[32e6, 128e6, 640e6], draws=draws)
print(plan)

# %% [markdown]
# Read: at 32M samples the best pool alone wins. At 128M it has been seen ten times and is worn out; the second pool
# joins. At 640M the choice among filters is four to one, and costs .0004 where it is wrong. A crossover with its interval
# says from which budget on the choice changes.
#
# ## What was fitted
#
# Every pool has a *utility* b (the slope of the curve on fresh data) and a *half-life* tau (after how many epochs a
# repetition teaches half of what it did).

# %%
print(fitted)

# %%
import matplotlib.pyplot as plt

plt.rcParams |= {"figure.dpi": 60, "figure.figsize": (8, 4.5)}
_, axes = plt.subplots()
axes = qqt.plot.curves(draws, runs, axes=axes)
# %% [markdown]
# Error against budget for each filter, with the crossovers and their intervals. The plan is asked anew on more budgets.

# %%
import numpy as np

fine = qqt.plan(fitted, budgets=np.geomspace(10e6, 640e6, 25), draws=draws)
_, axes = plt.subplots()
axes = qqt.plot.budgets(fine, axes=axes)
# %%
_, axes = plt.subplots()
axes = qqt.plot.best(fine, axes=axes)
# %% [markdown]
# ## A law of your own
#
# A law is a dataclass of parameters, a function from parameters and a run to an error, and a record that says where to look
# for the parameters. Here is one that knows repeats only by their number: the *k*-th pass over a pool teaches 1/k of the first.
# With $U_i$ unique samples of pool $i$ and $R_i$ repeats of them,
#
# $$ y = d + \Big(\sum_i U_i \, (1 + \log(1 + R_i)) / n_i\Big)^{-\beta}. $$

# %%
import dataclasses

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class HarmonicParams:
    floor: float
    exponent: float
    scale: jax.Array  # one a pool


def harmonic(params, run, max_epochs=None):
    drawn = run.samples_seen * run.weights
    unique = jnp.minimum(drawn, run.sizes)
    worth = unique * (1 + jnp.log1p(drawn / run.sizes - unique / run.sizes))
    return params.floor + jnp.sum(worth / params.scale) ** -params.exponent


mine = qqt.laws.Law(
    name="harmonic",
    function=harmonic,
    params=HarmonicParams,
    ranges=lambda runs: {
        "floor": qqt.laws.Range(0.0, runs.error.min(), 0.0, runs.error.min()),
        "exponent": qqt.laws.Range(0.01, 1.0, 0.1, 0.4, log=True),
        "scale": qqt.laws.Range(1.0, 1e9, 1e4, 1e7, log=True),
    },
    per_pool=("scale",),
    scans=lambda params: False,
    convex=lambda params: False,
    symbols={"floor": "d", "exponent": "beta", "scale": "n0"},
)
own = qqt.fit(runs, law=mine)
print(own)
print(qqt.optimize_mix(own, budget=640e6))

# %% [markdown]
# It can be held against the others on what neither has seen: here the checkpoints beyond 3 epochs.

# %%
print(qqt.bakeoff(runs, (mine, qqt.laws.utility, qqt.laws.power), "epochs>3"))

# %% [markdown]
# Read: on these made-up runs the harmonic law is clearly behind the utility law and ahead of the power law, which is blind to
# repeats. Its predictions are too high (bias above 0): later passes teach more than 1/k here. Those of the power law are too low.
