"""Which runs are made: every pool alone, mixtures of pools, and references that never repeat a sample."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .data import (
    MISMATCHED,
    MISMATCHED_REMAINDER,
    POOL_SIZE,
    RANKS,
    RANKS_REMAINDER,
    REMAINDER_SIZE,
    VAGUE,
    VAGUE_REMAINDER,
)

# Five pools a family, from the best to the unfiltered remainder, with their sizes.
FAMILIES = {
    "C": dict.fromkeys(MISMATCHED, POOL_SIZE) | {MISMATCHED_REMAINDER[0]: REMAINDER_SIZE},
    "R": dict.fromkeys(RANKS, POOL_SIZE) | {RANKS_REMAINDER[0]: REMAINDER_SIZE},
    "V": {name: size for name, (size, _) in (VAGUE | dict([VAGUE_REMAINDER])).items()},
}
FRESH = {"C": ("C00-fresh", "C40-fresh"), "R": ("R4-fresh",), "V": ("V1-fresh",)}
REDRAWS = {"C": range(3), "R": range(3), "V": range(5)}
SEEDS = (0, 1)
# A third seed for the options, where they are compared with optimised weights.
THIRD_SEED, THIRD_SEED_REDRAWS = 2, range(2)
NOT_OPTIONS = ("union25", "union50", "ends-1to3", "worst2", "part40")

# Quarters of a pool of 10,000 samples; `model.Config.steps_per_quarter` says how long one is.
CHECKPOINTS = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128)
FRESH_CHECKPOINTS = (*CHECKPOINTS[:14], 78)

# Weights of the four pools of families C and R, from the best to the worst.
EQUAL_SIZES = {
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
# Family V: unions in proportion to size, and weights of the five pools.
UNIONS = {"nat2": (0, 1), "nat3": (0, 1, 2), "nat4": (0, 1, 2, 3), "all": (0, 1, 2, 3, 4), "worst2": (2, 3)}
UNEQUAL_SIZES = {
    "mix2-3to2": (0.6, 0.4, 0, 0, 0),
    "mix3": (0.6, 0.2, 0.2, 0, 0),
    "grad4": (0.4, 0.3, 0.2, 0.1, 0),
    "flat4": (0.25, 0.25, 0.25, 0.25, 0),
    "lean5": (0.3, 0.25, 0.2, 0.15, 0.1),
}
PART = ("part40", 0.4)


@dataclass(frozen=True)
class Setting:
    """One thing to train on: the weights of its pools, and the share of each pool's samples that is used."""

    family: str
    role: str
    name: str
    weights: dict[str, float]
    subsample: float = 1.0
    checkpoints: tuple[int, ...] = CHECKPOINTS

    @property
    def is_option(self) -> bool:
        """May a plan choose it: every setting but those that only test the prediction."""
        return self.role in ("single", "mixture") and not self.name.endswith(NOT_OPTIONS)


def union(family: str, members: Iterable[int]) -> dict[str, float]:
    """Weights in proportion to size."""
    sizes = FAMILIES[family]
    names = [list(sizes)[place] for place in members]
    shares = np.array([sizes[name] for name in names]) / sum(sizes[name] for name in names)
    return dict(zip(names, shares.tolist(), strict=True))


def mixtures(family: str) -> list[Setting]:
    """The mixtures of a family."""
    pools = list(FAMILIES[family])

    def setting(name: str, weights: dict[str, float], subsample: float = 1.0) -> Setting:
        return Setting(family, "mixture", f"{family}-{name}", weights, subsample)

    by_hand = UNEQUAL_SIZES if family == "V" else EQUAL_SIZES
    mixed = [
        setting(name, {pool: weight for pool, weight in zip(pools, weights, strict=False) if weight})
        for name, weights in by_hand.items()
    ]
    if family == "V":
        unions = [setting(name, union(family, members)) for name, members in UNIONS.items()]
        return [*unions, *mixed, setting(PART[0], union(family, range(4)), PART[1])]
    parts = [setting(name, union(family, range(4)), share) for name, share in SUBSAMPLES.items()]
    return [*mixed, *parts, setting("all", union(family, range(5)))]


def all_settings(families: Iterable[str] = tuple(FAMILIES)) -> list[Setting]:
    """Every setting of the families given, in the order of the table; optimised weights come beside them."""
    settings = []
    for family in families:
        settings += [Setting(family, "single", name, {name: 1.0}) for name in FAMILIES[family]]
        settings += mixtures(family)
        settings += [
            Setting(family, "fresh", name, {name: 1.0}, checkpoints=FRESH_CHECKPOINTS) for name in FRESH[family]
        ]
    return settings
