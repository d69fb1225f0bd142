"""Which checkpoints are held out, by name and seed, and the folds of the same kind inside what is left to fit."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Mapping

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.counts import parse_count
from qqtjax.runs import Runs
from qqtjax.text import did_you_mean, show_count

# Inner folds of groups, and the shares of the training values behind which inner folds of a column begin.
INNER_FOLDS, INNER_CUTS = 3, (0.5, 0.75)


def _model_size(runs: Runs) -> np.ndarray:
    if runs.model_size is None:
        raise InputError("split by model_size: the table has no model_size")
    return np.asarray(runs.model_size, np.float64)


def by_mixture(runs: Runs) -> np.ndarray:
    """`[M]` which mixture a checkpoint draws from: equal weights are one mixture, whatever the sizes."""
    return np.unique(runs.weights.round(9), axis=0, return_inverse=True)[1].ravel()


def by_run(runs: Runs) -> np.ndarray:
    """`[M]` which training run a checkpoint belongs to; seeds are runs of their own."""
    return np.unique(np.stack([runs.run, runs.seed]), axis=1, return_inverse=True)[1].ravel()


COLUMNS: Mapping[str, Callable[[Runs], np.ndarray]] = {
    "epochs": lambda runs: runs.epochs.max(axis=1),
    "samples_seen": lambda runs: runs.samples_seen,
    "model_size": _model_size,
}
UNITS: Mapping[str, Callable[[Runs], np.ndarray]] = {
    "mixtures": by_mixture,
    "runs": by_run,
    "random": lambda runs: np.arange(len(runs)),
}


@dataclasses.dataclass(frozen=True)
class Above:
    """Hold out what lies above a limit of a column: extrapolation.

    Attributes:
        column: epochs (of the pool seen most often), samples_seen or model_size.
        limit: checkpoints above it are held out.

    Example:
        >>> import qqtjax as qqt
        >>> Above("epochs", 8.0).folds(qqt.wordclip("C"), seed=0).sum(axis=1)
        array([160])
    """

    column: str
    limit: float

    def __str__(self) -> str:
        return f"{self.column}>{show_count(self.limit)}"

    def folds(self, runs: Runs, seed: int) -> np.ndarray:
        """`[1, M]` bool: what is held out."""
        return (COLUMNS[self.column](runs) > self.limit)[None]

    def inner(self, runs: Runs, seed: int) -> np.ndarray:
        """`[J, M]` bool: what inner folds of these training checkpoints hold out: above 1/2 and 3/4 of the values."""
        values = COLUMNS[self.column](runs)
        distinct = np.unique(values)
        cuts = sorted({int(share * (len(distinct) - 1)) for share in INNER_CUTS if len(distinct) > 1})
        return np.array([values > distinct[cut] for cut in cuts]).reshape(len(cuts), len(runs))


@dataclasses.dataclass(frozen=True)
class Whole:
    """Hold out whole mixtures or runs, or checkpoints at random, a share of them.

    Attributes:
        unit: mixtures, runs or random.
        share: how many of them, in (0, 1), drawn with the seed.

    Example:
        >>> import qqtjax as qqt
        >>> Whole("mixtures", 0.25).folds(qqt.wordclip("C"), seed=0).mean(axis=1).round(2)
        array([0.24])
    """

    unit: str
    share: float

    def __str__(self) -> str:
        return f"{self.unit}:{self.share:g}"

    def folds(self, runs: Runs, seed: int) -> np.ndarray:
        """`[1, M]` bool: what is held out."""
        return _drawn(UNITS[self.unit](runs), self.share, seed)[None]

    def inner(self, runs: Runs, seed: int) -> np.ndarray:
        """`[J, M]` bool: the units of these training checkpoints in parts of equal number, each held out once."""
        return _parts(UNITS[self.unit](runs), INNER_FOLDS, seed)


@dataclasses.dataclass(frozen=True)
class Each:
    """Hold out every mixture, run or checkpoint in turn.

    Attributes:
        unit: mixtures, runs or random.
    """

    unit: str

    def __str__(self) -> str:
        return f"{self.unit}:each"

    def folds(self, runs: Runs, seed: int) -> np.ndarray:
        """`[units, M]` bool: what is held out."""
        unit = UNITS[self.unit](runs)
        return np.unique(unit)[:, None] == unit

    def inner(self, runs: Runs, seed: int) -> np.ndarray:
        """`[J, M]` bool: the units of these training checkpoints in parts, each held out once."""
        return _parts(UNITS[self.unit](runs), INNER_FOLDS, seed)


@dataclasses.dataclass(frozen=True)
class Named:
    """Hold out the runs whose names match a pattern, such as `test*`.

    Attributes:
        pattern: of a shell: `*` is any text, `?` any letter.
    """

    pattern: str

    def __str__(self) -> str:
        return f"runs:{self.pattern}"

    def folds(self, runs: Runs, seed: int) -> np.ndarray:
        """`[1, M]` bool: what is held out."""
        matches = np.array([fnmatch.fnmatchcase(name, self.pattern) for name in runs.run_names])
        return matches[runs.run][None]

    def inner(self, runs: Runs, seed: int) -> np.ndarray:
        """`[J, M]` bool: the runs of these training checkpoints in parts, each held out once."""
        return _parts(by_run(runs), INNER_FOLDS, seed)


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Hold out all that draws from one pool.

    Attributes:
        pool: its name.
    """

    pool: str

    def __str__(self) -> str:
        return f"pools:{self.pool}"

    def folds(self, runs: Runs, seed: int) -> np.ndarray:
        """`[1, M]` bool: what is held out."""
        return (runs.weights[:, runs.pools.index(self.pool)] > 0)[None]

    def inner(self, runs: Runs, seed: int) -> np.ndarray:
        """`[J, M]` bool: the mixtures of these training checkpoints in parts, each held out once."""
        return _parts(by_mixture(runs), INNER_FOLDS, seed)


Split = Above | Whole | Each | Named | Drawing


def parse_split(text: str) -> Split:
    """A split as it is typed; what is printed of it is read again as the same.

    `epochs>8`, `samples_seen>22B`, `model_size>1e9`; `mixtures:.2`, `runs:.2`, `random:.2` (a share);
    `mixtures:each`, `runs:each` (one after the other); `runs:test*` (a pattern of names); `pools:NAME`.

    Args:
        text: what was typed.

    Raises:
        InputError: what is wrong with it.

    Example:
        >>> parse_split("samples_seen>22B"), str(parse_split("mixtures:.2"))
        (Above(column='samples_seen', limit=22000000000.0), 'mixtures:0.2')
    """
    word, sign, rest = text.partition(">" if ">" in text else ":")
    word, rest = word.strip(), rest.strip()
    forms = "expected such as epochs>8, samples_seen>22B, mixtures:.2, mixtures:each, pools:NAME or random:.2"
    if not sign or not word or not rest:
        raise InputError(f"split {text!r}: {forms}")
    known = list(COLUMNS) if sign == ">" else [*UNITS, "pools"]
    if word not in known:
        raise InputError(f"split {text!r}: unknown {word!r}, {forms}{did_you_mean(word, known)}")
    if sign == ">":
        return Above(word, _number(rest, text))
    if word == "pools":
        return Drawing(rest)
    if rest == "each":
        return Each(word)
    if word == "runs" and not rest.replace(".", "", 1).isdigit():
        return Named(rest)
    share = _number(rest, text)
    if not 0 < share < 1:
        raise InputError(f"split {text!r}: a share of {share:g}, expected one between 0 and 1")
    return Whole(word, share)


def held_out(split: Split, runs: Runs, seed: int) -> np.ndarray:
    """`[K, M]` bool: what each fold of a split holds out.

    Raises:
        InputError: a fold that holds out nothing, or leaves nothing to fit.
    """
    folds = split.folds(runs, seed)
    for fold in folds:
        if not 0 < fold.sum() < len(runs):
            raise InputError(f"split {split}: holds out {fold.sum()} of {len(runs)} checkpoints, expected some to fit")
    return folds


def _number(text: str, whole: str) -> float:
    try:
        return parse_count(text)
    except InputError as problem:
        raise InputError(f"split {whole!r}: {problem}") from None


def _drawn(group: np.ndarray, share: float, seed: int) -> np.ndarray:
    distinct = np.unique(group)
    count = min(max(round(share * len(distinct)), 1), len(distinct))
    return np.isin(group, np.random.default_rng(seed).permutation(distinct)[:count])


def _parts(group: np.ndarray, most: int, seed: int) -> np.ndarray:
    distinct = np.random.default_rng(seed).permutation(np.unique(group))
    if len(distinct) < 2:
        return np.zeros((0, len(group)), bool)
    return np.array([np.isin(group, part) for part in np.array_split(distinct, min(most, len(distinct)))])
