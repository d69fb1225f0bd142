"""What was trained on, and what was measured: `Pools`, `Run` and `Runs`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jax import tree_util
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.text import did_you_mean

WEIGHT_SUM_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Pools:
    """Names and sizes of disjoint pools, in the user's order of quality (best first).

    Attributes:
        names: P distinct names.
        sizes: `[P]` unique samples in each pool (N_i); `inf` where repetition is unknown.

    Example:
        >>> pools = Pools.of({"top10": 12.8e6, "top20": 12.8e6})
        >>> pools.weights({"top10": 0.75, "top20": 0.25})
        array([0.75, 0.25])
    """

    names: tuple[str, ...]
    sizes: np.ndarray

    @classmethod
    def of(cls, sizes: Mapping[str, float]) -> Pools:
        """Make pools from `{name: size}`, checking every size.

        Raises:
            InputError: no pool, or a size that is not a positive number.
        """
        if not sizes:
            raise InputError("no pools: expected at least one pool name with its size in samples")
        for name, size in sizes.items():
            if not float(size) > 0:
                raise InputError(f"pool {name!r}: size {size!r}, expected a positive number of samples")
        return cls(tuple(sizes), np.array(list(sizes.values()), np.float64))

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Position of a pool.

        Raises:
            InputError: no such pool; the nearest name is suggested.
        """
        if name not in self.names:
            known = f"the pools are {', '.join(self.names)}"
            raise InputError(f"unknown pool {name!r}: {known}{did_you_mean(name, self.names)}")
        return self.names.index(name)

    def weights(self, weights: Mapping[str, float] | ArrayLike) -> np.ndarray:
        """`[P]` weights from `{name: share}` (pools not named get 0) or from P shares; they sum to 1.

        Raises:
            InputError: an unknown pool, a share that is negative or not finite, a wrong count, a total other than 1.
        """
        if isinstance(weights, Mapping):
            dense = np.zeros(len(self))
            for name, share in weights.items():
                dense[self.index(name)] += float(share)
        else:
            dense = np.asarray(weights, np.float64)
            if dense.shape != (len(self),):
                raise InputError(f"weights of shape {dense.shape}: expected one for each of {len(self)} pools")
        if not np.all(np.isfinite(dense)) or np.any(dense < 0):
            raise InputError(f"weights {dense.tolist()}: expected finite numbers >= 0")
        total = dense.sum()
        if abs(total - 1) > WEIGHT_SUM_TOLERANCE:
            raise InputError(f"weights sum to {total:.9g}: expected 1")
        return dense / total

    def union(self, members: Sequence[int] | np.ndarray) -> np.ndarray:
        """`[P]` weights of uniform sampling from the union of some pools: w_i = N_i / sum of their N."""
        dense = np.zeros(len(self))
        chosen = np.asarray(members, int)
        dense[chosen] = self.sizes[chosen] / self.sizes[chosen].sum()
        return dense


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One point of one training run: what was trained on, and for how long. A pytree; `vmap` stacks runs.

    Attributes:
        weights: `[P]` share of the training samples drawn from each pool (w_i); they sum to 1.
        sizes: `[P]` unique samples of each pool that the run draws from (N_i); `inf` is allowed.
        samples_seen: `[]` samples seen so far, repeats counted (n); those of this run alone.
        model_size: `[]` parameters of the model, where a law needs it.
        compute: `[]` FLOPs, where a law needs it.
        seen_before: `[P]` samples of each pool that the model had been trained on before this run, repeats
            counted (e_i); None for a model that starts from scratch.

    Example:
        >>> Run(weights=np.array([0.5, 0.5]), sizes=np.array([1e6, 1e6]), samples_seen=4e6).samples_seen
        4000000.0
    """

    weights: ArrayLike
    sizes: ArrayLike
    samples_seen: ArrayLike
    model_size: ArrayLike | None = None
    compute: ArrayLike | None = None
    seen_before: ArrayLike | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """The measured table as arrays: M checkpoints of training runs on P pools.

    Each checkpoint points at what it was trained on by `source`: `source < P` is that pool alone (never
    stored dense), `source - P` else is a row of `mixes`/`mix_sizes`.

    Attributes:
        pools: the disjoint pools.
        source: `[M]` int.
        mixes: `[K, P]` weights of the distinct mixtures.
        mix_sizes: `[K, P]` unique samples of each pool that the mixture draws from.
        samples_seen: `[M]` samples seen, repeats counted.
        error: `[M]` the measured metric, lower is better.
        run: `[M]` int, which training run a checkpoint belongs to (index into `run_names`).
        run_names: names of the runs.
        seed: `[M]` int seed of the run (0 where not given).
        metric: `[M]` int index into `metric_names`.
        metric_names: names of the metrics.
        eval_size: `[M]` examples in the evaluation, or None.
        model_size: `[M]` parameters, or None.
        annealed: `[M]` bool, or None: does the checkpoint end its own learning-rate schedule.
    """

    pools: Pools
    source: np.ndarray
    mixes: np.ndarray
    mix_sizes: np.ndarray
    samples_seen: np.ndarray
    error: np.ndarray
    run: np.ndarray
    run_names: tuple[str, ...]
    seed: np.ndarray
    metric: np.ndarray
    metric_names: tuple[str, ...] = ("error",)
    eval_size: np.ndarray | None = None
    model_size: np.ndarray | None = None
    annealed: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.source)

    def select(self, rows: np.ndarray) -> Runs:
        """The checkpoints that a boolean mask or an index array picks; pools and mixtures stay."""
        picked = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            per_checkpoint = isinstance(value, np.ndarray) and field.name not in ("mixes", "mix_sizes")
            picked[field.name] = value[rows] if per_checkpoint else value
        return Runs(**picked)

    @property
    def single(self) -> np.ndarray:
        """`[M]` bool: was the checkpoint trained on one pool alone, on all of its samples."""
        return self.source < len(self.pools)

    @property
    def weights(self) -> np.ndarray:
        """`[M, P]` dense weights; for tables too large for that, use `source` and `mixes`."""
        return np.concatenate([np.eye(len(self.pools)), self.mixes])[self.source]

    @property
    def sizes(self) -> np.ndarray:
        """`[M, P]` unique samples of each pool that the checkpoint's run draws from."""
        alone = np.broadcast_to(self.pools.sizes, (len(self.pools), len(self.pools)))
        return np.concatenate([alone, self.mix_sizes])[self.source]

    @property
    def epochs(self) -> np.ndarray:
        """`[M, P]` epochs K_i = n w_i / N_i that each pool has been through."""
        return self.samples_seen[:, None] * self.weights / self.sizes

    def to_fit(self) -> np.ndarray:
        """`[M]` bool: the rows to fit so that the others can check the fit.

        The pools alone where every pool was measured alone at two checkpoints or more; else every row.
        """
        alone = self.single
        counts = np.bincount(self.source[alone], minlength=len(self.pools))
        return alone if np.all(counts >= 2) else np.ones(len(self), bool)

    def as_run(self) -> Run:
        """All checkpoints as one batched `Run` (leading axis M), ready for `jax.vmap`."""
        return Run(
            weights=self.weights,
            sizes=self.sizes,
            samples_seen=self.samples_seen,
            model_size=self.model_size,
        )

    def for_pools(self, names: Sequence[str]) -> Runs:
        """The checkpoints that draw from these pools only, as a table of these pools.

        Raises:
            InputError: an unknown pool.
        """
        kept = np.array([self.pools.index(name) for name in names])
        others = np.setdiff1d(np.arange(len(self.pools)), kept)
        inside = np.flatnonzero(self.mixes[:, others].sum(axis=1) == 0)
        place = np.full(len(self.pools) + len(self.mixes), -1)
        place[kept] = np.arange(len(kept))
        place[len(self.pools) + inside] = len(kept) + np.arange(len(inside))
        chosen = self.select(place[self.source] >= 0)
        return dataclasses.replace(
            chosen,
            pools=Pools(tuple(names), self.pools.sizes[kept]),
            source=place[chosen.source],
            mixes=self.mixes[np.ix_(inside, kept)],
            mix_sizes=self.mix_sizes[np.ix_(inside, kept)],
        )

    def for_metric(self, name: str) -> Runs:
        """The checkpoints of one metric.

        Raises:
            InputError: no such metric.
        """
        if name not in self.metric_names:
            raise InputError(f"unknown metric {name!r}: the table has {', '.join(self.metric_names)}")
        chosen = self.select(self.metric == self.metric_names.index(name))
        return dataclasses.replace(chosen, metric=np.zeros(len(chosen), int), metric_names=(name,))

    def average_metrics(self, names: Sequence[str], name: str = "average") -> Runs:
        """One metric that is the plain mean of several, at the checkpoints where all of them were measured.

        The size of the evaluation is not kept: tasks of different sizes have no common one.

        Raises:
            InputError: an unknown metric, or no checkpoint with all of them.
        """
        tables = [self.for_metric(each) for each in names]
        keys = [list(zip(t.run, t.seed, t.source, t.samples_seen, strict=True)) for t in tables]
        places = [{key: row for row, key in enumerate(each)} for each in keys]
        shared = [key for key in keys[0] if all(key in place for place in places)]
        if not shared:
            raise InputError(f"no checkpoint was measured on all of the metrics {', '.join(names)}")
        first = tables[0].select(np.array([places[0][key] for key in shared]))
        errors = [t.error[[place[key] for key in shared]] for t, place in zip(tables, places, strict=True)]
        return dataclasses.replace(first, error=np.mean(errors, axis=0), metric_names=(name,), eval_size=None)
