"""Which runs are made: every pool alone, mixtures of pools, and references that never repeat a sample."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .data import MISMATCHED, MISMATCHED_REMAINDER, POOL_SIZE, RANKS, RANKS_REMAINDER, REMAINDER_SIZE

FAMILIES = {
    "C": (*MISMATCHED, MISMATCHED_REMAINDER[0]),
    "R": (*RANKS, RANKS_REMAINDER[0]),
}
SEEDS = (0, 1)
FRESH = {"C": ("C00-fresh", "C40-fresh"), "R": ("R4-fresh",)}

# Quarters of a pool of 10,000 samples; `model.Config.steps_per_quarter` says how long one is.
CHECKPOINTS = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128)
FRESH_CHECKPOINTS = (*CHECKPOINTS[:14], 78)

# Weights of the four pools of a family, from its best to its worst.
MIXTURES = {
    "nat2": (1 / 2, 1 / 2, 0, 0),
    "nat3": (1 / 3, 1 / 3, 1 / 3, 0),
    "nat4": (1 / 4, 1 / 4, 1 / 4, 1 / 4),
    "grad4": (0.5, 0.25, 0.15, 0.1),
    "top2-3to1": (3 / 4, 1 / 4, 0, 0),
    "ends-3to1": (3 / 4, 0, 0, 1 / 4),
    "ends-1to1": (1 / 2, 0, 0, 1 / 2),
    "ends-1to3": (1 / 4, 0, 0, 3 / 4),
}
SUBSAMPLES = {"union25": 0.25, "union50": 0.5}


@dataclass(frozen=True)
class Setting:
    """One thing to train on: the weights of its pools, and the share of each pool's samples that is used."""

    family: str
    role: str
    name: str
    weights: dict[str, float]
    subsample: float = 1.0
    checkpoints: tuple[int, ...] = CHECKPOINTS


def all_settings(families: Iterable[str] = tuple(FAMILIES)) -> list[Setting]:
    """Every setting of the families given, in the order of the table."""
    settings = []
    for family in families:
        *four, remainder = FAMILIES[family]
        settings += [Setting(family, "single", name, {name: 1.0}) for name in (*four, remainder)]
        for name, weights in MIXTURES.items():
            used = {pool: weight for pool, weight in zip(four, weights, strict=True) if weight}
            settings.append(Setting(family, "mixture", f"{family}-{name}", used))
        equal = dict.fromkeys(four, 1 / 4)
        for name, share in SUBSAMPLES.items():
            settings.append(Setting(family, "mixture", f"{family}-{name}", equal, share))
        sizes = np.array([POOL_SIZE] * 4 + [REMAINDER_SIZE])
        by_size = dict(zip(FAMILIES[family], (sizes / sizes.sum()).tolist(), strict=True))
        settings.append(Setting(family, "mixture", f"{family}-all", by_size))
        settings += [
            Setting(family, "fresh", name, {name: 1.0}, checkpoints=FRESH_CHECKPOINTS) for name in FRESH[family]
        ]
    return settings
