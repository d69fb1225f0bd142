"""Parameters drawn from what a fit leaves open, as a stack that predictions, mixes and sweeps take in its place."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw, Shares, length_for
from qqtjax.laws.law import Law
from qqtjax.runs import Run


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """What a fit leaves open, as S equally likely sets of parameters beside the best one.

    Attributes:
        fitted: the fit itself.
        params: the law's parameters, every leaf with a leading axis of S, float64.
        method: how they were drawn, in words.
        freedom: degrees of freedom that the checkpoints leave; infinite where that does not apply.
        notes: what these draws do not know.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> fitted = qqt.fit(runs.select(runs.single))
        >>> draws = Draws(fitted, draw_params(fitted, 100), "normal", np.inf, ())
        >>> draws.predict([0.5, 0.5, 0, 0, 0], 80e3).shape, len(draws)
        ((100,), 100)
    """

    fitted: FittedLaw
    params: Any
    method: str
    freedom: float
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(jax.tree.leaves(self.params)[0])

    def at(self, draw: int) -> FittedLaw:
        """The law with the parameters of one draw."""
        return dataclasses.replace(self.fitted, params=jax.tree.map(lambda leaf: leaf[draw], self.params))

    def in_place_of(self, given: Any) -> tuple[FittedLaw, Any]:
        """The fit and its draws, for functions that take both apart; `given` is what they were told of draws.

        Raises:
            InputError: draws were given twice.
        """
        if given is not None:
            raise InputError("draws: given twice, in place of the fit and as draws=; expected one of them")
        return self.fitted, self.params

    def predict(self, weights: Shares, samples_seen: ArrayLike) -> np.ndarray:
        """Predicted errors under every draw, float64.

        Args:
            weights: `{pool: share}`, `[P]`, or `[M, P]` for many mixes.
            samples_seen: samples seen; broadcast against the mixes.

        Returns:
            `[S, ...]`, behind the S as `FittedLaw.predict`.

        Raises:
            InputError: as in `FittedLaw.predict`.
        """
        pools, seen = self.fitted.pools, np.asarray(samples_seen, np.float64)
        if not np.all(seen > 0):
            raise InputError(f"samples seen {np.min(seen):g}: expected positive numbers")
        many = not isinstance(weights, dict) and np.ndim(weights) > 1  # pyright: ignore[reportArgumentType]
        dense = np.apply_along_axis(pools.weights, -1, np.asarray(weights)) if many else pools.weights(weights)
        shape = np.broadcast_shapes(seen.shape, dense.shape[:-1])
        rows = np.broadcast_to(dense, (*shape, len(pools))).reshape(-1, len(pools))
        run = Run(
            weights=rows,
            sizes=np.broadcast_to(pools.sizes, rows.shape),
            samples_seen=np.broadcast_to(seen, shape).reshape(-1),
        )
        count = len(rows)
        # A power-of-two batch, so that a new number of runs rarely compiles anew.
        extra = (1 << max(count - 1, 0).bit_length()) - count
        run = jax.tree.map(lambda leaf: np.pad(leaf, [(0, extra)] + [(0, 0)] * (leaf.ndim - 1), mode="edge"), run)
        with jax.enable_x64(True):
            length = length_for(self.fitted.law, self.params, run)
            found = np.asarray(_predicted(self.fitted.law, self.params, run, length))
        return found[:, :count].reshape(len(self), *shape)


@partial(jax.jit, static_argnums=(0, 3))
def _predicted(law: Law, params: Any, runs: Run, max_epochs: int | None) -> Array:
    each = jax.vmap(lambda own, run: law(own, run, max_epochs), in_axes=(None, 0))
    return jax.vmap(each, in_axes=(0, None))(params, runs)


def draw_params(fitted: FittedLaw, count: int, seed: int = 0) -> Any:
    """Draw parameters from the normal approximation of a fit.

        theta_s = theta_hat + L^T z_s,   z_s ~ N(0, I),   L^T L = s^2 (J^T W J)^-1

    in the coordinates of the fit (logarithms of scale, utility, half-life, ..), kept to its bounds. As its standard
    errors: checkpoints count as independent, run-to-run noise is not known, parameters at a bound and directions
    that the data do not identify stay where they are. Source: least squares, as for the standard errors.

    Args:
        fitted: a fit.
        count: S >= 1 draws.
        seed: of the random numbers; the same seed gives the same bytes.

    Returns:
        The law's parameters, every leaf with a leading axis of S, in float64.

    Raises:
        InputError: published constants or a fit without standard errors, or a wrong count.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> fitted = qqt.fit(runs.select(runs.single))
        >>> draws = draw_params(fitted, 1000)
        >>> draws.utility.shape
        (1000, 5)
    """
    if not (isinstance(count, int | np.integer) and count >= 1):
        raise InputError(f"draws {count!r}: expected a whole number >= 1")
    spread = None if fitted.diagnostics is None else fitted.diagnostics.spread
    if spread is None:
        raise InputError("draws: these parameters have no standard errors; expected a fit of measured runs")
    factors = [each for each in vars(spread.factor).values() if each is not None]
    directions = len(factors[0]) if factors else 0
    if not any(np.any(each) for each in factors):
        raise InputError("draws: this fit has no standard errors; fit more checkpoints, or fewer parameters")
    steps = np.random.default_rng(seed).standard_normal((count, directions))
    drawn = {}
    for field in dataclasses.fields(fitted.params):
        value, factor = getattr(fitted.params, field.name), getattr(spread.factor, field.name)
        if value is None:
            drawn[field.name] = None
            continue
        value = np.asarray(value, np.float64)
        change = np.zeros((count, *value.shape)) if factor is None else np.tensordot(steps, factor, 1)
        moved = value * np.exp(change) if field.name in spread.logs else value + change
        if factor is not None:
            # What did not move keeps its bytes, wherever it lies.
            moved = np.where(change == 0, value, np.clip(moved, *spread.bounds[field.name]))
        drawn[field.name] = np.broadcast_to(moved, (count, *value.shape)).copy()
    return dataclasses.replace(fitted.params, **drawn)
