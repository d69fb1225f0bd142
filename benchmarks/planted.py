"""Curves with known parameters: four pools of the paper's size, drawn from wide ranges."""

from __future__ import annotations

import dataclasses

import numpy as np

from qqtjax.laws import Law, UtilityParams, utility
from qqtjax.laws.fitted import evaluate
from qqtjax.runs import Pools, Runs

POOLS = 4
SIZE = 12.8e6
EPOCHS = (0.25, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0)


def draw_truth(rng: np.random.Generator) -> UtilityParams:
    """Scale log-uniform in 1e6 .. 2e7, floor in 0 .. 0.3, b in -0.4 .. -0.03, tau log-uniform in 1 .. 30."""
    return UtilityParams(
        scale=np.exp(rng.uniform(np.log(1e6), np.log(2e7))),
        floor=rng.uniform(0.0, 0.3),
        utility=-rng.uniform(0.03, 0.4, POOLS),
        half_life=np.exp(rng.uniform(0.0, np.log(30.0), POOLS)),
        reference_size=np.full(POOLS, SIZE),
    )


def curves(
    truth: UtilityParams,
    epochs: tuple[float, ...] = EPOCHS,
    noise: float = 0.0,
    rng: np.random.Generator | None = None,
    law: Law = utility,
) -> Runs:
    """One training run a pool, checkpoints at `epochs`, optional Gaussian noise on the error."""
    pools = Pools.of({f"pool{index}": SIZE for index in range(POOLS)})
    source = np.repeat(np.arange(POOLS), len(epochs))
    zero = np.zeros(len(source), int)
    runs = Runs(
        pools=pools,
        source=source,
        mixes=np.zeros((0, POOLS)),
        mix_sizes=np.zeros((0, POOLS)),
        samples_seen=np.tile(np.array(epochs) * SIZE, POOLS),
        error=np.ones(len(source)),
        run=source,
        run_names=pools.names,
        seed=zero,
        metric=zero,
    )
    error = evaluate(law, truth, runs.as_run())
    if rng is not None:
        error = error + noise * rng.normal(size=len(error))
    return dataclasses.replace(runs, error=error)
