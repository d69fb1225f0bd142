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
# # Mixes, and how sure
#
# A filter takes whole pools. A *mix* gives each pool a weight, which is a smaller error for nothing, and a proof that no other
# weights do better under the law. Then: how sure is all that, and which run would tell more?

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import qqtjax as qqt

plt.rcParams |= {"figure.dpi": 75, "figure.figsize": (8, 4.5)}
runs = qqt.wordclip("C")  # five pools, C00 clean to C80 with 80 % of the pairs mismatched
alone, mixed = runs.select(runs.single), runs.select(~runs.single)
fitted = qqt.fit(alone)
budget = 320e3

# %% [markdown]
# ## The best mix, with constraints and a certificate

# %%
print(qqt.optimize_mix(fitted, budget=budget))

# %% [markdown]
# *global optimum* is a statement about the law: under it, no other weights are better by more than the duality gap. Constraints
# may be limits on repeats, on shares and on sums of shares; the proof stays.

# %%
limited = qqt.optimize_mix(
    fitted,
    budget=budget,
    max_epochs=12,
    caps={"C40": 0.2},
    groups={"noisy": qqt.mix.Group(("C40", "C60", "C80"), low=0.3)},
)
print(limited)

# %% [markdown]
# Constraints that no weights satisfy are refused, and say which ones collide:

# %%
try:
    qqt.optimize_mix(fitted, budget=budget, max_epochs=2)
except qqt.InputError as problem:
    print(problem)

# %% [markdown]
# ## Shadow prices: what is one more sample worth?
#
# More unique samples of a pool, or more compute? The number is a price: one new sample of the pool is worth as much as training on
# so many more samples. Pools that the best mix leaves out are worth nothing at this budget.

# %%
for pool, worth in zip(fitted.pools.names, qqt.mix.break_even(fitted, budget), strict=True):
    print(f"one more sample of {pool}: worth training on {worth:.2f} more")
entries = qqt.mix.entry_budgets(fitted, 10e6)
print("from which budget on a pool belongs in the mix:", [f"{each:,.0f}" for each in entries])

# %% [markdown]
# All of it differentiates. The best error as a function of the budget, with the derivative by implicit differentiation:

# %%
with jax.enable_x64(True):
    none, all_of_it = np.zeros(5), np.ones(5)  # bounds of each weight
    value, slope = jax.value_and_grad(qqt.mix.best_error, argnums=2)(
        fitted.params, fitted.pools.sizes, budget, none, all_of_it
    )
value, slope = float(value), float(slope)
print(f"best error {value:.4f}; doubling the budget from here buys about {-slope * budget * np.log(2):.4f}")

# %% [markdown]
# ## How sure is the decision?
#
# Draws of the parameters, here by Student's t over whole runs, turn every answer into many. Below: how often each filter is the
# best of them, over budgets. Where two lines cross the choice is a coin toss, and costs next to nothing either way.

# %%
draws = qqt.draw(fitted, alone, 400, method=qqt.StudentT(qqt.Unit.RUN))
plan = qqt.plan(fitted, budgets=np.geomspace(10e3, 320e3, 25), draws=draws)
_, axes = plt.subplots()
axes = qqt.plot.best(plan, axes=axes)
# %% [markdown]
# From which budget on does adding the second pool pay? A set of budgets, not a number:

# %%
print(qqt.crossover_set(draws, {"C00": 1}, {"C00": 0.5, "C20": 0.5}, 5e3, 320e3))

# %% [markdown]
# Many mixes are nearly as good as the best. How far may each weight move for at most .001 of error? The longer the bar, the less the
# exact weight matters.

# %%
_, axes = plt.subplots()
axes = qqt.plot.near_best(qqt.near_best(fitted, budget, 1e-3), axes=axes)
# %% [markdown]
# ## Do the probabilities come true?
#
# The law was fitted to pools trained alone. Eleven mixtures were trained as well; for every pair of runs at the same budget the
# draws say how likely the one is better, and what was measured says which was.

# %%
pairs = qqt.measured_pairs(draws, mixed)
found = qqt.reliability(pairs.probability, pairs.happened)
print(found)
_, axes = plt.subplots(figsize=(5, 5))
axes = qqt.plot.reliability(found, axes=axes)
# %% [markdown]
# On pools whose samples were drawn anew they were too sure (95 % stated, 67 % right among filters, [page](
# ../benchmarks/results/studies_redraws.md)): draws know what the runs leave open, not where the law is wrong.
#
# ## One mix for many possible truths
#
# The worst tenth of the draws instead of the point estimate (CVaR .9), with the same kind of certificate:

# %%
print(qqt.robust_mix(draws, budget, qqt.CVaR(0.9)))

# %% [markdown]
# ## The next run
#
# With few checkpoints the decision is open. Which run saves most regret per sample that it trains on?

# %%
early = alone.select((alone.samples_seen <= 20e3) & (alone.seed == alone.seed.min()))
answer = qqt.next_run(early, 160e3, noise=0.01, filters_only=True, checkpoints=(1, 2, 4))
print(answer)

# %%
_, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
axes = qqt.plot.next_run(answer, axes=axes)
