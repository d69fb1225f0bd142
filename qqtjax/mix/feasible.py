"""The weights that a mix may have, as arrays: bounds, rows, distances, diversity, and which of them are active."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

TOLERANCE = 1e-9  # by which a constraint may be missed, in shares or nats, and still counts as met


class Entropy(NamedTuple):
    """One convex limit on weights w.

        sum_i w_i log(w_i / r_i) <= most

    With a mix as r it limits the Kullback-Leibler divergence from that mix, with ones the effective number of pools.

    Attributes:
        name: what a person reads, such as `max_kl 0.1` or `min_pools 3`.
        reference: `[P]` r_i >= 0; where it is 0, so must w_i be.
        most: the limit, nats.
    """

    name: str
    reference: np.ndarray
    most: float


class Feasible(NamedTuple):
    """The weights w that satisfy a set of constraints on P pools at one budget, which may be none.

        sum_i w_i = 1,   low <= w <= high,   row_low <= rows w <= row_high,   entropies,   sum_i |w_i - r_i| <= most

    Made by `Constraints.bind`. All arrays are float64 except the kinds.

    Attributes:
        names: of the pools.
        samples_seen: the budget n.
        at: the same constraints at another budget.
        low: `[P]` least shares.
        high: `[P]` largest shares, at most 1; may be below `low`.
        low_kinds: `[P]` str, which constraint set `low`: "minimum", "fixed share", or "" for a plain 0.
        high_kinds: `[P]` str, which set `high`: "cap", "fixed share", "max_epochs", "max_kl with reference share",
            "kl_penalty with reference share", or "" for a plain 1.
        low_said: `[P]` the number that the user gave for it.
        high_said: `[P]` likewise; epochs for "max_epochs", else a share.
        rows: `[R, P]` coefficients of the groups (0 or 1) and of the cost (prices, the largest as 1).
        row_low: `[R]`, -inf where there is no lower limit.
        row_high: `[R]`, inf where there is no upper limit; the cost's is max_cost / (n times the largest price).
        row_names: R names, such as `group web at most 0.6`.
        entropies: the Kullback-Leibler divergence and the diversity, where they are limited.
        l1: `(reference [P], most)` of the summed absolute difference, or None.
        kl_penalty: `(reference [P], strength)`: add strength times the divergence to the error, or None.
        l1_penalty: `(reference [P], strength)`: likewise for the summed absolute difference, or None.
    """

    names: tuple[str, ...]
    samples_seen: float
    at: Callable[[float], Feasible]
    low: np.ndarray
    high: np.ndarray
    low_kinds: np.ndarray
    high_kinds: np.ndarray
    low_said: np.ndarray
    high_said: np.ndarray
    rows: np.ndarray
    row_low: np.ndarray
    row_high: np.ndarray
    row_names: tuple[str, ...]
    entropies: tuple[Entropy, ...]
    l1: tuple[np.ndarray, float] | None
    kl_penalty: tuple[np.ndarray, float] | None
    l1_penalty: tuple[np.ndarray, float] | None

    @property
    def plain(self) -> bool:
        """Are there only bounds on single pools: no rows, no entropies, no distance and no penalty."""
        distances = (self.l1, self.kl_penalty, self.l1_penalty)
        return not len(self.rows) and not self.entropies and all(each is None for each in distances)

    @property
    def low_names(self) -> tuple[str, ...]:
        """What set each lower bound, such as `minimum of web`; "" where it is a plain 0."""
        return tuple(f"{kind} of {name}" if kind else "" for kind, name in zip(self.low_kinds, self.names, strict=True))

    @property
    def high_names(self) -> tuple[str, ...]:
        """What set each upper bound, such as `max_epochs of top10`; "" where it is a plain 1."""
        return tuple(
            f"{kind} of {name}" if kind else "" for kind, name in zip(self.high_kinds, self.names, strict=True)
        )

    @property
    def l1_name(self) -> str:
        """What a person reads for the limit on the summed absolute difference, or ""."""
        return f"max_l1 {self.l1[1]:g}" if self.l1 else ""


def violation(feasible: Feasible, weights: ArrayLike) -> float:
    """The largest amount by which weights miss any constraint; 0 where they satisfy all.

    Args:
        feasible: the constraints.
        weights: `[P]` shares.

    Returns:
        Shares; nats for the entropies, parts of the most expensive possible run for the cost.

    Example:
        >>> from qqtjax.mix.constraints import Constraints
        >>> from qqtjax.runs import Pools
        >>> feasible = Constraints(caps={"top10": 0.5}).bind(Pools.of({"top10": 1e6, "web": 1e8}), 1e8)
        >>> violation(feasible, [0.75, 0.25]), violation(feasible, [0.5, 0.5])
        (0.25, 0.0)
    """
    shares = np.asarray(weights, np.float64)
    rows = feasible.rows @ shares
    missed = [
        np.zeros(1),
        np.atleast_1d(np.abs(shares.sum() - 1)),
        feasible.low - shares,
        shares - feasible.high,
        feasible.row_low - rows,
        rows - feasible.row_high,
        [relative_entropy(shares, each.reference) - each.most for each in feasible.entropies],
    ]
    if feasible.l1:
        reference, most = feasible.l1
        missed.append([np.abs(shares - reference).sum() - most])
    return float(np.max(np.concatenate(missed)))


def active(feasible: Feasible, weights: ArrayLike, tolerance: float = TOLERANCE) -> tuple[str, ...]:
    """The constraints that hold with equality, in words: bounds by pool, then rows, distance and entropies.

    Args:
        feasible: the constraints; a plain 0 or 1 is not named.
        weights: `[P]` shares.
        tolerance: distance from equality, in the units of `violation`.

    Returns:
        One line each; the fixed share of a pool once.

    Example:
        >>> from qqtjax.mix.constraints import Constraints
        >>> from qqtjax.runs import Pools
        >>> feasible = Constraints(max_epochs=20).bind(Pools.of({"top10": 1e6, "web": 1e8}), 1e8)
        >>> active(feasible, [0.2, 0.8])
        ('max_epochs of top10 (20)',)
    """
    shares = np.asarray(weights, np.float64)
    lines = []
    at_low = (feasible.low_kinds != "") & (np.abs(shares - feasible.low) <= tolerance)
    at_high = (feasible.high_kinds != "") & (np.abs(shares - feasible.high) <= tolerance)
    for pool in np.flatnonzero(at_low | at_high):
        if at_low[pool]:
            lines.append(f"{feasible.low_kinds[pool]} of {feasible.names[pool]} ({feasible.low_said[pool]:g})")
        if at_high[pool]:
            lines.append(f"{feasible.high_kinds[pool]} of {feasible.names[pool]} ({feasible.high_said[pool]:g})")
    rows = feasible.rows @ shares
    touched = (np.abs(rows - feasible.row_low) <= tolerance) | (np.abs(rows - feasible.row_high) <= tolerance)
    lines += [feasible.row_names[row] for row in np.flatnonzero(touched)]
    if feasible.l1 and abs(np.abs(shares - feasible.l1[0]).sum() - feasible.l1[1]) <= tolerance:
        lines.append(feasible.l1_name)
    for each in feasible.entropies:
        if abs(relative_entropy(shares, each.reference) - each.most) <= tolerance:
            lines.append(each.name)
    return tuple(dict.fromkeys(lines))


def relative_entropy(weights: np.ndarray, reference: np.ndarray) -> float:
    """`sum_i w_i log(w_i / r_i)` in nats; 0 for a pool without weight, inf for weight where r is 0.

    Example:
        >>> round(relative_entropy(np.array([0.5, 0.5, 0.0]), np.ones(3)), 6)
        -0.693147
    """
    used = weights > 0
    if np.any(reference[used] <= 0):
        return np.inf
    return float(np.sum(weights[used] * np.log(weights[used] / reference[used])))
