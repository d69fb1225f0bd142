"""Does the choice hang on the first checkpoints, or on the dilution?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.fit.many import fit_many
from qqtjax.laws import Law, utility
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import FittedLaw, Shares
from qqtjax.runs import Runs

if TYPE_CHECKING:
    import pandas as pd

EPOCHS = (0.0, 0.25, 0.5, 1.0, 2.0)
DILUTIONS = tuple(np.linspace(0.0, 1.0, 11).tolist())


class Sensitivity(NamedTuple):
    """The choice under V variants of one fit.

    Attributes:
        what: is varied, in words.
        values: `[V]` of it.
        names: of the F options.
        budgets: `[B]` samples seen.
        error: `[V, F, B]` predicted.
        params: the law's parameters, every leaf with a leading axis of V.
    """

    what: str
    values: np.ndarray
    names: tuple[str, ...]
    budgets: np.ndarray
    error: np.ndarray
    params: Any

    @property
    def best(self) -> np.ndarray:
        """`[V, B]` place of the best option."""
        return np.argmin(self.error, axis=1)

    @property
    def stable(self) -> np.ndarray:
        """`[B]` is the best option the same under every variant."""
        return np.all(self.best == self.best[:1], axis=0)

    def to_frame(self) -> pd.DataFrame:
        """One row a value, a column a budget: the best option there."""
        import pandas as pd

        rows = np.array(self.names, object)[self.best]
        return pd.DataFrame(rows, index=pd.Index(self.values, name=self.what), columns=self.budgets)


def drop_early(
    runs: Runs,
    options: Mapping[str, Shares],
    budgets: ArrayLike,
    epochs: Sequence[float] = EPOCHS,
    *,
    law: Law = utility,
    starts: int = 32,
    seed: int = 0,
    **settings: Any,
) -> Sensitivity:
    """Refit without the checkpoints before so many epochs, and choose again.

    All refits are one batch (`fit_many`), a dropped checkpoint being one of weight 0.

    Args:
        runs: the measured table, one metric.
        options: `{name: {pool: share} or [P] shares}`.
        budgets: `[B]` samples seen.
        epochs: V; a checkpoint stays if its pools have been gone through so often on average, n / sum of their sizes.
        law: to fit.
        starts: of each refit.
        seed: of the starts.
        **settings: as for `fit_many`.

    Returns:
        A `Sensitivity` whose values are the epochs.

    Raises:
        InputError: a limit that leaves a pool without checkpoints; as `fit_many`.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C", roles=("single",))
        >>> found = drop_early(runs, {"C00": {"C00": 1}, "two": {"C00": 0.5, "C20": 0.5}}, [10e3, 80e3], starts=8)
        >>> found.to_frame().shape
        (5, 2)
    """
    drawn = runs.weights > 0
    size = np.sum(np.where(drawn, np.asarray(runs.as_run().sizes), 0.0), axis=1)
    # Where a size is not known no epoch can be counted, and nothing is dropped.
    begun = np.where(np.isfinite(size), runs.samples_seen / size, np.inf)
    kept = np.stack([begun >= each * (1 - 1e-9) for each in epochs])
    for each, row in zip(epochs, kept, strict=True):
        lost = drawn.any(axis=0) & ~drawn[row].any(axis=0)
        if lost.any():
            names = ", ".join(np.array(runs.pools.names)[lost])
            raise InputError(
                f"no checkpoint of {names} at {each:g} epochs or later: expected at least one of every pool"
            )
    weight = kept.astype(np.float64) if runs.eval_size is None else kept * runs.eval_size
    fits = fit_many(runs, law, importance=weight, starts=starts, seed=seed, **settings)
    fitted = FittedLaw(law, jax.tree.map(lambda leaf: leaf[0], fits.params), runs.pools)
    return _chosen("checkpoints from epoch", epochs, fitted, fits.params, options, budgets)


def over_dilution(
    fit: FittedLaw, options: Mapping[str, Shares], budgets: ArrayLike, dilutions: Sequence[float] = DILUTIONS
) -> Sensitivity:
    """Choose again with dilution anywhere in [0, 1], which single pools cannot tell.

    Args:
        fit: of a law with a dilution, to pools alone; the other parameters stay.
        options: `{name: {pool: share} or [P] shares}`.
        budgets: `[B]` samples seen.
        dilutions: V of them.

    Returns:
        A `Sensitivity` whose values are the dilutions.

    Raises:
        InputError: a law without a dilution.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> two = {paper.pools.names[0]: 0.5, paper.pools.names[1]: 0.5}
        >>> found = over_dilution(paper, {"best": {paper.pools.names[0]: 1}, "two": two}, [100e6, 640e6])
        >>> found.stable.tolist()
        [False, True]
    """
    if not hasattr(fit.params, "dilution"):
        raise InputError(f"law {fit.law.name} has no dilution to vary")
    values = np.asarray(dilutions, np.float64)
    params = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (len(values), *np.shape(leaf))), fit.params)
    params = type(params)(**{**vars(params), "dilution": values})
    return _chosen("dilution", values, fit, params, options, budgets)


def _chosen(
    what: str,
    values: ArrayLike | Sequence[float],
    fit: FittedLaw,
    params: Any,
    options: Mapping[str, Shares],
    budgets: ArrayLike,
) -> Sensitivity:
    if not options:
        raise InputError("no options: expected at least one filter or mix")
    seen = np.atleast_1d(np.asarray(budgets, np.float64))
    weights = np.stack([fit.pools.weights(shares) for shares in options.values()])
    error = Draws(fit, params, what, np.inf, ()).predict(weights[:, None, :], seen)
    return Sensitivity(what, np.asarray(values, np.float64), tuple(options), seen, error, params)
