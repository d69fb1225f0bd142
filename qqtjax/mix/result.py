"""The best mix as an answer: weights, what is known about them, and what else was worth considering."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from qqtjax.errors import InputError
from qqtjax.mix.allocation import whole_samples
from qqtjax.plain import to_plain
from qqtjax.runs import Pools

GLOBAL, LOCAL = "global", "local"
DUALITY_GAP, KKT_RESIDUAL = "duality gap", "KKT residual"
ROUNDING = 1e-15  # of a gap in float64: a smaller one is printed as this


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What is known about how good weights are.

    Attributes:
        kind: "duality gap" (from a lower bound) or "KKT residual" (from first-order moves).
        gap: no weights that satisfy the constraints have an error lower by more than this, in the unit of the error;
            for a local proof: no first-order move lowers the error by more. As computed: rounding of about 1e-15 of
            the error comes on top.
        log_gap: the same in the logarithm of the error above the floor, where the bound was made there, else None.
        proof: "global" or "local".
        searched: False where the law scans too many epochs for a whole search, so that only weights with fewer of them
            were searched, or only starts compared: other weights, not far away, may be better.
    """

    kind: str
    gap: float
    log_gap: float | None
    proof: str
    searched: bool = True

    def __str__(self) -> str:
        gap = max(self.gap, ROUNDING)
        if not self.searched:
            known = f"first-order moves gain at most {gap:.0e} ({self.kind})"
            known = known if np.isfinite(gap) else "nothing is known about what other weights gain"
            return f"searched only in part, too many epochs for a law that scans them: {known}"
        if self.proof == GLOBAL:
            return f"global optimum: no other weights are better by more than {gap:.0e} ({self.kind})"
        return f"local optimum ({self.kind} {gap:.0e}): other weights far away may be better"


@dataclasses.dataclass(frozen=True)
class RunnerUp:
    """Weights worth knowing beside the best.

    Attributes:
        name: "best single pool C00", "best nested filter C00+C20", "proportional to size", "reference".
        weights: `{pool: share}`.
        error: predicted.
        feasible: do they satisfy the constraints.
    """

    name: str
    weights: dict[str, float]
    error: float
    feasible: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Mix:
    """The best weights over pools at one budget.

    Attributes:
        law: name of the law, or of the laws joined by commas.
        metric: what the error measures.
        pools: the pools, with the sizes planned for.
        samples_seen: the budget n.
        weights: `[P]`, they sum to 1.
        error: predicted; of several metrics the weighted sum or the worst. Penalties are not in it.
        errors: `{metric: error}`.
        epochs: `[P]` K_i = n w_i / N_i of this run.
        certificate: what is known about how good the weights are.
        active: the constraints that hold with equality, in words.
        runner_ups: other choices with their errors.
        objective: what was minimised: the error, and penalties where there are any.
        seen_before: `[P]` samples of each pool that the model was trained on before, or None.
        warnings: what to know.
    """

    law: str
    metric: str
    pools: Pools
    samples_seen: float
    weights: np.ndarray
    error: float
    errors: dict[str, float]
    epochs: np.ndarray
    certificate: Certificate
    active: tuple[str, ...]
    runner_ups: tuple[RunnerUp, ...]
    objective: float
    seen_before: np.ndarray | None
    warnings: tuple[str, ...]

    @property
    def samples(self) -> list[int]:
        """P whole samples to draw from each pool, n in all."""
        return whole_samples(self.weights, round(self.samples_seen))

    def to_dict(self) -> dict[str, Any]:
        """Everything as dicts, lists, strings and numbers that strict JSON holds; infinities become words."""
        names = self.pools.names

        def by_pool(values: Any) -> dict[str, Any]:
            return dict(zip(names, to_plain(values), strict=True))

        return {
            "law": self.law,
            "metric": self.metric,
            "samples_seen": self.samples_seen,
            "sizes": by_pool(self.pools.sizes),
            "weights": by_pool(self.weights),
            "samples": by_pool(self.samples),
            "epochs": by_pool(self.epochs),
            "error": self.error,
            "errors": to_plain(self.errors),
            "objective": self.objective,
            "certificate": {**to_plain(self.certificate), "text": str(self.certificate)},
            "active": list(self.active),
            "runner_ups": to_plain(list(self.runner_ups)),
            "seen_before": None if self.seen_before is None else by_pool(self.seen_before),
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        from qqtjax.mix.text import mix_text

        return mix_text(self)


@dataclasses.dataclass(frozen=True, eq=False)
class Mixes:
    """The best weights of many problems at once; `...` is draws, sizes and budgets, those that were given.

    What a `Mix` knows beyond this (active constraints, runner-ups, warnings) is found for one of them by `at`.

    Attributes:
        pools: the pools.
        samples_seen: `[...]` budgets n.
        sizes: `[..., P]` sizes N_i.
        weights: `[..., P]`, each sums to 1.
        error: `[...]` predicted errors.
        gap: `[...]` as in `Certificate.gap`.
        kind: `[...]` str, "duality gap" or "KKT residual".
        proof: `[...]` str, "global" or "local".
        searched: `[...]` bool, as in `Certificate.searched`.
        single: makes the `Mix` of one problem for `at`, or None.

    Example:
        >>> import qqtjax as qqt
        >>> mixes = qqt.optimize_mix(qqt.published("datacomp-tmars").utility, [64e6, 128e6])
        >>> mixes.error.round(4).tolist(), mixes.proof.tolist()
        ([0.7695, 0.7183], ['global', 'global'])
        >>> mixes.at(1).runner_ups[0].name
        'best nested filter top 10 %+10-20 %'
    """

    pools: Pools
    samples_seen: np.ndarray
    sizes: np.ndarray
    weights: np.ndarray
    error: np.ndarray
    gap: np.ndarray
    kind: np.ndarray
    proof: np.ndarray
    searched: np.ndarray
    single: Callable[[tuple[int, ...]], Mix] | None = None

    def __len__(self) -> int:
        return len(self.error)

    @property
    def epochs(self) -> np.ndarray:
        """`[..., P]` epochs K_i = n w_i / N_i."""
        return self.samples_seen[..., None] * self.weights / self.sizes

    @property
    def certificate(self) -> str:
        """What is known about how good they are, in words: the worst of each kind, and of how many it is."""
        known = [each.ravel() for each in (self.kind, self.proof, self.searched)]
        lines = []
        for kind, proof, searched in dict.fromkeys(zip(*(each.tolist() for each in known), strict=True)):
            of_them = np.logical_and.reduce([a == b for a, b in zip(known, (kind, proof, searched), strict=True)])
            worst = str(Certificate(kind, float(np.max(self.gap.ravel()[of_them])), None, proof, searched))
            lines.append(worst if of_them.all() else f"{of_them.sum()} of {of_them.size}: {worst}")
        return "; ".join(lines)

    def at(self, *index: int) -> Mix:
        """One of the problems solved again by itself, with what a `Mix` knows beyond this: active constraints,
        runner-ups, warnings.

        Args:
            *index: its place on every axis; negative ones count from the end.

        Raises:
            InputError: no such place.
        """
        shape = self.error.shape
        inside = len(index) == len(shape) and all(-n <= place < n for place, n in zip(index, shape, strict=True))
        if not inside or self.single is None:
            raise InputError(f"at{index}: expected a place in an array of shape {shape}")
        return self.single(tuple(place % n for place, n in zip(index, shape, strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """Everything as dicts, lists, strings and numbers that strict JSON holds; arrays as nested lists."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "single"}
        found["pools"] = list(self.pools.names)
        return {**to_plain(found), "certificate": self.certificate}

    def __str__(self) -> str:
        from qqtjax.mix.text import many_text

        return many_text(self)
