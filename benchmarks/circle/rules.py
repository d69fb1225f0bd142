"""Who is kept: the rules, all with the same number of pairs, and the pools whose curves the law is fitted to."""

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from benchmarks.circle.raw import SIZE, Raw, draw_raw
from benchmarks.circle.scores import KEEP, Scores, score
from qqtjax.pools.drawing import Order, draw
from qqtjax.pools.flexrand import flexrand
from qqtjax.pools.partition import Partition
from qqtjax.pools.quantiles import quantile_pools

RUNS = Path(__file__).parent / "runs"
TOTAL = round(KEEP * SIZE)
MATCH_EDGES, RANK_EDGES = (KEEP, 0.6, 1.0), (KEEP, 1.0)
POOLS = tuple(f"match{m}-rank{r}" for m in range(1, 4) for r in range(1, 3))
SPLITS = (0.1, 0.25, 0.5, 0.75, 0.9)
RULES = (
    "everything",
    "random",
    "frequency rank",
    "match",
    "SSP",
    "DBP",
    "match, then DBP",
    "DLC with FlexRand",
    "EL2N, hardest",
    "EL2N, easiest",
)

LATER = "match 60"


class Choice(NamedTuple):
    """What to train on: rows of the heap in parts, and the share of the samples that each part gives."""

    parts: tuple[np.ndarray, ...]
    weights: tuple[float, ...]

    @property
    def digest(self) -> str:
        """Of rows and weights."""
        parts = [part.astype("<i4").tobytes() for part in self.parts]
        return hashlib.sha256(b"|".join([*parts, np.array(self.weights, "<f8").tobytes()])).hexdigest()[:16]


@cache
def raw(redraw: int) -> Raw:
    """The heap and the reference, once a process."""
    return draw_raw(redraw)


def store(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays under a temporary name, then rename."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".tmp.npz")
    np.savez_compressed(temporary, **cast(dict[str, Any], arrays))
    os.replace(temporary, path)


@cache
def scored(redraw: int) -> Scores:
    """The scores of a redraw, made once and kept."""
    path = RUNS / f"scores.redraw{redraw}.npz"
    if not path.exists():
        *arrays, seconds = score(redraw)
        named = dict(zip(Scores._fields[:-1], arrays, strict=True))
        store(path, named | {f"seconds/{name}": np.array(value) for name, value in seconds.items()})
    with np.load(path) as stored:
        seconds = {name.split("/")[1]: float(stored[name]) for name in stored.files if name.startswith("seconds/")}
        return Scores(**{name: stored[name] for name in Scores._fields[:-1]}, seconds=seconds)


@cache
def pools(redraw: int) -> Partition:
    """The six pools: three by match, each parted by the frequency of the word."""
    scores = scored(redraw)
    by_match = quantile_pools(scores.match, MATCH_EDGES).index
    by_rank = quantile_pools(scores.rank, RANK_EDGES, descending=False).index
    return Partition.of(len(RANK_EDGES) * by_match + by_rank, POOLS)


def by_order(values: np.ndarray, order: Order, seed: int = 0) -> np.ndarray:
    """So many rows of the heap: those of the lowest or highest value, or random ones."""
    whole = Partition.of(np.zeros(len(values), int), ["heap"], scores=values)
    return draw(whole, [TOTAL], order, seed).rows


def by_flexrand(redraw: int, split: float) -> np.ndarray:
    """Rows of the two-region draw on DLC."""
    scores = scored(redraw).dlc
    whole = Partition.of(np.zeros(len(scores), int), ["heap"], scores=scores)
    return flexrand(whole, KEEP, split, seed=redraw).rows


def kept(redraw: int, split: float) -> dict[str, np.ndarray]:
    """Rows kept by every rule; FlexRand with this split."""
    scores = scored(redraw)
    rows = (
        np.arange(SIZE),
        by_order(scores.rank, "random", seed=redraw),
        by_order(scores.rank, "easiest"),
        by_order(scores.match, "hardest"),
        scores.uniform,
        scores.density,
        scores.matched_density,
        by_flexrand(redraw, split),
        by_order(scores.el2n, "hardest"),
        by_order(scores.el2n, "easiest"),
    )
    return dict(zip(RULES, rows, strict=True))


def counts(redraw: int, rows: np.ndarray) -> np.ndarray:
    """`[6]` pairs of each pool among some rows of the heap."""
    return np.bincount(pools(redraw).index[rows], minlength=len(POOLS)).astype(float)


def store_choices(redraw: int, choices: dict[str, Choice]) -> None:
    """Keep what is to be trained on."""
    arrays = {}
    for name, choice in choices.items():
        arrays[f"{name}/weights"] = np.array(choice.weights)
        arrays |= {f"{name}/{place}": part.astype(np.int32) for place, part in enumerate(choice.parts)}
    store(RUNS / f"choices.redraw{redraw}.npz", arrays)


@cache
def choices(redraw: int) -> dict[str, Choice]:
    """What `benchmarks.circle.predict` has chosen."""
    path = RUNS / f"choices.redraw{redraw}.npz"
    if not path.exists():
        raise SystemExit("nothing is chosen yet: python -m benchmarks.circle.predict")
    with np.load(path) as stored:
        names = {name.split("/")[0] for name in stored.files}
        found = {}
        for name in sorted(names):
            weights = tuple(stored[f"{name}/weights"].tolist())
            found[name] = Choice(tuple(stored[f"{name}/{place}"] for place in range(len(weights))), weights)
        return found


def later_choices(redraw: int) -> dict[str, Choice]:
    """The better-matching 60 %: trained after the other results were seen, to compare the plan with a wider filter."""
    return {LATER: Choice((np.flatnonzero(pools(redraw).index < 2 * len(RANK_EDGES)),), (1.0,))}


def pool_choices(redraw: int) -> dict[str, Choice]:
    """Every pool alone."""
    split = pools(redraw)
    return {name: Choice((split.members(name),), (1.0,)) for name in POOLS}
