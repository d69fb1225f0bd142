"""Which option is best at each budget, with which probability, and what choosing another would cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import Shares

if TYPE_CHECKING:
    import pandas as pd

# Errors this close, relatively, are one: a mix that is one of the options is not beaten by it.
TIE = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class Decision:
    """What draws say of F options at B budgets.

    Attributes:
        names: of the options.
        budgets: `[B]` samples seen.
        error: `[F, B]` predicted by the fit itself.
        low: `[F, B]` lower ends of the intervals.
        high: `[F, B]` upper ends.
        level: share of the draws inside them.
        best: `[B]` place of the option that the fit prefers.
        probability: `[F, B]` share of the draws in which an option is the best of all; ties are shared.
        regret: `[F, B]` mean over the draws of how far an option's error lies above the best one's.
        method: of the draws, in words.
        notes: what they do not know.
    """

    names: tuple[str, ...]
    budgets: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float
    best: np.ndarray
    probability: np.ndarray
    regret: np.ndarray
    method: str
    notes: tuple[str, ...]

    @property
    def chosen(self) -> np.ndarray:
        """`[B]` probability that the choice is the best option."""
        return np.take_along_axis(self.probability, self.best[None], axis=0)[0]

    @property
    def regret_if_wrong(self) -> np.ndarray:
        """`[B]` mean regret of the choice over the draws in which it is not the best; 0 where there are none."""
        regret = np.take_along_axis(self.regret, self.best[None], axis=0)[0]
        wrong = 1 - self.chosen
        return np.where(wrong > 0, regret / np.where(wrong > 0, wrong, 1.0), 0.0)

    @property
    def runner_up(self) -> np.ndarray:
        """`[B]` place of the option most likely to be best instead; by predicted error where none ever is."""
        others = np.arange(len(self.names))[:, None] != self.best
        if len(self.names) == 1:
            return self.best
        likely = np.where(others, self.probability, -1.0)
        near = np.where(others, self.error, np.inf)
        return np.where(likely.max(axis=0) > 0, np.argmax(likely, axis=0), np.argmin(near, axis=0))

    def to_frame(self) -> pd.DataFrame:
        """One row an option and budget."""
        import pandas as pd

        option, budget = np.indices(self.error.shape)
        columns = {
            "samples_seen": self.budgets[budget.ravel()],
            "option": np.array(self.names, object)[option.ravel()],
            "error": self.error.ravel(),
            "low": self.low.ravel(),
            "high": self.high.ravel(),
            "probability_best": self.probability.ravel(),
            "expected_regret": self.regret.ravel(),
            "chosen": (option == self.best[None]).ravel(),
        }
        return pd.DataFrame(columns).sort_values(["samples_seen", "error"], kind="stable", ignore_index=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, a list of budgets."""
        rows = []
        for place, samples_seen in enumerate(self.budgets):
            best, second = int(self.best[place]), int(self.runner_up[place])
            rows.append(
                {
                    "samples_seen": float(samples_seen),
                    "choice": self.names[best],
                    "probability": float(self.chosen[place]),
                    "regret_if_wrong": float(self.regret_if_wrong[place]),
                    "expected_regret": float(self.regret[best, place]),
                    "runner_up": self.names[second] if second != best else None,
                    "options": {
                        name: {
                            "error": float(self.error[index, place]),
                            "low": float(self.low[index, place]),
                            "high": float(self.high[index, place]),
                            "probability": float(self.probability[index, place]),
                            "expected_regret": float(self.regret[index, place]),
                        }
                        for index, name in enumerate(self.names)
                    },
                }
            )
        return {"level": self.level, "method": self.method, "notes": list(self.notes), "budgets": rows}


def decide(draws: Draws, options: Mapping[str, Shares], budgets: ArrayLike, level: float = 0.95) -> Decision:
    """What draws of the parameters say of a choice among filters and mixes.

        P_f(n) = mean over s of [y_s(w_f, n) = min_g y_s(w_g, n)]
        R_f(n) = mean over s of (y_s(w_f, n) - min_g y_s(w_g, n))

    Source: ours; y_s is the law under draw s.

    Args:
        draws: S draws of a fit.
        options: F of them, `{name: {pool: share} or [P] shares}`.
        budgets: `[B]` samples seen, repeats counted.
        level: of the intervals, equal tails.

    Returns:
        A `Decision`.

    Raises:
        InputError: no option, wrong shares, a level that is not between 0 and 1, budgets not above 0.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C", roles=("single",))
        >>> draws = qqt.draw(qqt.fit(runs), runs, 200)
        >>> found = decide(draws, {"C00": {"C00": 1}, "C00+C20": {"C00": 0.5, "C20": 0.5}}, [10e3, 80e3])
        >>> [found.names[place] for place in found.best], found.probability.sum(axis=0).tolist()
        (['C00', 'C00+C20'], [1.0, 1.0])
    """
    if not options:
        raise InputError("no options: expected at least one filter or mix")
    if not 0 < level < 1:
        raise InputError(f"level {level!r}: expected a number between 0 and 1, for example 0.95")
    seen = np.atleast_1d(np.asarray(budgets, np.float64))
    weights = np.stack([draws.fitted.pools.weights(shares) for shares in options.values()])
    drawn = draws.predict(weights[:, None, :], seen)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    error = draws.fitted.predict(weights[:, None, :], seen)
    least = drawn.min(axis=1, keepdims=True)
    wins = drawn == least
    return Decision(
        names=tuple(options),
        budgets=seen,
        error=error,
        low=low,
        high=high,
        level=level,
        best=np.argmin(error, axis=0),
        probability=np.mean(wins / wins.sum(axis=1, keepdims=True), axis=0),
        regret=np.mean(drawn - least, axis=0),
        method=f"{len(draws)} draws, {draws.method}",
        notes=draws.notes,
    )


def probability_below(draws: Draws, first: Shares, second: Shares, samples_seen: ArrayLike) -> np.ndarray:
    """Probability that one mix has the lower error, at each budget; a tie counts half.

    Args:
        draws: S draws of a fit.
        first: `{pool: share}` or `[P]` shares.
        second: the other mix.
        samples_seen: `[...]` budgets.

    Returns:
        The shape of `samples_seen`.

    Raises:
        InputError: wrong shares, budgets not above 0.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C", roles=("single",))
        >>> draws = qqt.draw(qqt.fit(runs), runs, 200)
        >>> float(probability_below(draws, {"C00": 1}, {"C60": 1}, 20e3))
        1.0
    """
    ours, theirs = (draws.predict(weights, samples_seen) for weights in (first, second))
    return np.mean((ours < theirs) + 0.5 * (ours == theirs), axis=0)


def probability_unbeaten(
    draws: Draws, mixes: ArrayLike, options: Mapping[str, Shares], budgets: ArrayLike
) -> np.ndarray:
    """Probability that a mix of its own at each budget is at least as good as every option.

        P(n) = mean over s of [y_s(w(n), n) <= min_f y_s(w_f, n)]

    Source: ours; y_s is the law under draw s.

    Args:
        draws: S draws of a fit.
        mixes: `[B, P]` shares.
        options: F of them, `{name: {pool: share} or [P] shares}`.
        budgets: `[B]` samples seen, repeats counted.

    Returns:
        `[B]`.

    Raises:
        InputError: no option, wrong shares, another number of mixes than of budgets, budgets not above 0.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C", roles=("single",))
        >>> draws = qqt.draw(qqt.fit(runs), runs, 200)
        >>> mixes = [[1, 0, 0, 0, 0], [0.6, 0.4, 0, 0, 0]]
        >>> [bool(each > 0.9) for each in probability_unbeaten(draws, mixes, {"C00": {"C00": 1}}, [10e3, 80e3])]
        [True, True]
    """
    if not options:
        raise InputError("no options: expected at least one filter or mix")
    seen, shares = np.atleast_1d(np.asarray(budgets, np.float64)), np.asarray(mixes, np.float64)
    if shares.ndim != 2 or len(shares) != len(seen):
        raise InputError(f"mixes of shape {shares.shape}: expected shares of every pool at each of {len(seen)} budgets")
    weights = np.stack([draws.fitted.pools.weights(each) for each in options.values()])
    least = draws.predict(weights[:, None, :], seen).min(axis=1)
    return np.mean(draws.predict(shares, seen) <= least * (1 + TIE), axis=0)
