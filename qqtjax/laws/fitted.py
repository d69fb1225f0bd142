"""A law with its parameters and pools: what a fit yields and what plan, mix and sweep take."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws.capacity import at_model_size
from qqtjax.laws.law import Law, errors_of, wide
from qqtjax.laws.repetition import bucket_for
from qqtjax.runs import Pools, Run

Shares = Mapping[str, float] | ArrayLike
# Checkpoints lie on whole batches, so that round budgets end a little beyond the last of them.
MARGIN = 1.05


class Seen(NamedTuple):
    """The range of what a law was fitted on.

    Attributes:
        samples_seen: least and most samples seen.
        epochs: `[P]` most epochs of each pool.
        checkpoints: number of checkpoints fitted.
        runs: number of training runs fitted.
        mixtures: how many of the checkpoints draw from two or more pools.
    """

    samples_seen: tuple[float, float]
    epochs: np.ndarray
    checkpoints: int
    runs: int
    mixtures: int


@dataclasses.dataclass(frozen=True, eq=False)
class Spread:
    """How far the parameters of a fit may lie from the optimum, together: a square root of their covariance.

    Attributes:
        factor: the parameter type; a field that was fitted holds `[K, ...]`, its change along each of K independent
            directions of one standard deviation, 0 where it is fixed or at a bound; other fields None.
        logs: the fields whose changes are those of the logarithm.
        bounds: `{field: (low, high)}` that the fit kept to.
    """

    factor: Any
    logs: tuple[str, ...]
    bounds: dict[str, tuple[float, float]]


@dataclasses.dataclass(frozen=True, eq=False)
class Pooled:
    """What a pooled fit found of pools at large; coordinates are logarithms where the law searches in them.

    Attributes:
        spread: `{field: s}` standard deviation across pools, in the field's coordinate.
        centre: `{field: value}` of a typical pool (at the mean covariate), in the field's own unit.
        slope: `{field: c}` change of the coordinate a unit of the covariate; empty without one.
        slope_error: `{field: standard deviation of c}`.
        shrinkage: `{field: [P]}` share of each pool's estimate that does not come from its own data: 0 where it
            stands alone, 1 - 1 / P where all pools count as one.
        noise: sigma, standard deviation of the error of a checkpoint.
        effective: how many equally weighted points of the posterior this rests on.
    """

    spread: dict[str, float]
    centre: dict[str, float]
    slope: dict[str, float]
    slope_error: dict[str, float]
    shrinkage: dict[str, tuple[float, ...]]
    noise: float
    effective: float


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnostics:
    """What a fit says about itself.

    Attributes:
        converged: did the solver of the best start reach its tolerance.
        reason: the same in words.
        objective: half the weighted sum of squares (or Huber losses) at the optimum.
        rmse: root mean squared error of the fitted checkpoints, in the unit of the metric.
        mae: their mean absolute error.
        agreeing: how many of the starts ended at the best objective (1e-6 relative).
        starts: how many there were.
        standard_errors: the parameter type, filled with standard errors (NaN: fixed, or at a bound).
        bounds_hit: which parameters ended at which bound.
        unidentified: which parameters the data do not identify, and why.
        warnings: what else the reader should know.
        residuals: `[M]` predicted minus measured error of the fitted checkpoints, in the table's order.
        settings: what was asked for (loss, target, solver, seed, fixed, ...), for the record.
        spread: their joint uncertainty, as far as the standard errors go; None where there are none.
        pooled: what a pooled fit found of pools at large; None for other fits.
    """

    converged: bool
    reason: str
    objective: float
    rmse: float
    mae: float
    agreeing: int
    starts: int
    standard_errors: Any
    bounds_hit: tuple[str, ...]
    unidentified: tuple[str, ...]
    warnings: tuple[str, ...]
    residuals: np.ndarray
    settings: dict[str, Any]
    spread: Spread | None = None
    pooled: Pooled | None = None


def length_for(law: Law, params: Any, run: Run) -> int | None:
    """The static `max_epochs` that a law needs for these runs, earlier training included; None where it needs none.

    Args:
        law: any law.
        params: its parameters.
        run: one run, or a batch of runs, with known values.
    """
    if not law.scans(params) and run.seen_before is None:
        return None
    return bucket_for(run.samples_seen, run.weights, run.sizes, run.seen_before)


@functools.cache
def _compiled(platform: str) -> Any:
    return jax.jit(_errors, static_argnums=(0, 3), compiler_options=wide(platform))


def _errors(law: Law, params: Any, run: Run, max_epochs: int | None) -> Array:
    return errors_of(law, params, jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), run), max_epochs)


def evaluate(law: Law, params: Any, run: Run) -> np.ndarray:
    """Predicted errors of a batch of runs in float64, whatever the caller's default.

    Args:
        law: any law.
        params: its parameters.
        run: a batched `Run`: `weights[M, P]`, `sizes[M, P]`, `samples_seen[M]`, and perhaps `seen_before[M, P]`.

    Returns:
        `[M]` errors.
    """
    count = len(np.asarray(run.samples_seen))
    if count == 0:
        return np.zeros(0)
    with jax.enable_x64(True):
        max_epochs = length_for(law, params, run)
        # A power-of-two batch, so that a new number of runs rarely compiles anew.
        padded = 1 << (count - 1).bit_length()
        batch = jax.tree.map(
            lambda leaf: np.pad(
                np.asarray(leaf, np.float64),
                [(0, padded - count)] + [(0, 0)] * (np.ndim(leaf) - 1),
                mode="edge",
            ),
            run,
        )
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        return np.asarray(_compiled(jax.default_backend())(law, params, batch, max_epochs))[:count]


@dataclasses.dataclass(frozen=True, eq=False)
class FittedLaw:
    """A law, its parameters and its pools; from a fit also what was seen and the diagnostics.

    Attributes:
        law: the law.
        params: its parameters, in the order of `pools`.
        pools: names and sizes (the sizes that predictions use; the law's `reference_size` stays as measured).
        seen: the range of the fitted checkpoints, or None for published constants.
        diagnostics: of the fit, or None.
        source: where the parameters come from, in words.
        metric: what the error measures.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> round(float(paper.predict({"top 10 %": 1}, 32e6)), 4)
        0.8296
        >>> round(float(paper.predict({"top 10 %": 1}, 20e6, seen_before={"top 10 %": 12e6})), 4)
        0.8296
    """

    law: Law
    params: Any
    pools: Pools
    seen: Seen | None = None
    diagnostics: Diagnostics | None = None
    source: str = ""
    metric: str = "error"

    def run(self, weights: Shares, samples_seen: float, seen_before: Shares | None = None) -> Run:
        """One `Run` on these pools, the sizes filled in.

        Args:
            weights: `{pool: share}` or `[P]`.
            samples_seen: samples seen in this run.
            seen_before: `{pool: samples}` (pools not named: 0) or `[P]` samples of earlier training, or None.

        Raises:
            InputError: unknown pool, wrong weights, samples seen not above 0, earlier samples that are negative or
                not finite or not one for each pool.
        """
        if not (np.ndim(samples_seen) == 0 and float(samples_seen) > 0):
            raise InputError(f"samples seen {samples_seen!r}: expected one positive number")
        return Run(
            weights=self.pools.weights(weights),
            sizes=self.pools.sizes,
            samples_seen=float(samples_seen),
            seen_before=self._exposure(seen_before),
        )

    def predict(self, weights: Shares, samples_seen: ArrayLike, seen_before: Shares | None = None) -> np.ndarray:
        """Predicted error, float64.

        Args:
            weights: `{pool: share}`, `[P]`, or `[M, P]` for many mixes.
            samples_seen: samples seen; broadcast against the mixes.
            seen_before: `{pool: samples}` or `[P]` samples of earlier training, the same for all, or None.

        Returns:
            Errors: the shape of `samples_seen` broadcast against the leading shape of `weights`.

        Raises:
            InputError: as in `run`, or `seen_before` with a law that does not know it.
        """
        dense, exposure = self._dense(weights), self._exposure(seen_before)
        seen = np.asarray(samples_seen, np.float64)
        if not np.all(seen > 0):
            raise InputError(f"samples seen {np.min(seen):g}: expected positive numbers")
        shape = np.broadcast_shapes(seen.shape, dense.shape[:-1])
        dense = np.broadcast_to(dense, (*shape, len(self.pools))).reshape(-1, len(self.pools))
        batch = Run(
            weights=dense,
            sizes=np.broadcast_to(self.pools.sizes, dense.shape),
            samples_seen=np.broadcast_to(seen, shape).reshape(-1),
            seen_before=None if exposure is None else np.broadcast_to(exposure, dense.shape),
        )
        return evaluate(self.law, self.params, batch).reshape(shape)

    def epochs(self, weights: Shares, samples_seen: ArrayLike) -> np.ndarray:
        """`[..., P]` epochs of each pool: K_i = n w_i / N_i."""
        return np.asarray(samples_seen, np.float64)[..., None] * self._dense(weights) / self.pools.sizes

    def extrapolation(self, weights: Shares, samples_seen: float) -> str:
        """How far a prediction lies outside what was fitted, in words; empty where it does not."""
        if self.seen is None:
            return ""
        reasons = []
        least, most = self.seen.samples_seen
        if samples_seen > most * MARGIN:
            reasons.append(f"{samples_seen / most:.3g}x the most samples seen")
        if samples_seen < least / MARGIN:
            reasons.append(f"{least / samples_seen:.3g}x below the least samples seen")
        beyond = self.epochs(weights, samples_seen) / np.maximum(self.seen.epochs, 1.0)
        worst = int(np.argmax(beyond))
        if beyond[worst] > MARGIN:
            reasons.append(f"{beyond[worst]:.3g}x the epochs fitted of {self.pools.names[worst]}")
        return ", ".join(reasons)

    def with_sizes(self, sizes: Mapping[str, float]) -> FittedLaw:
        """The same law on pools of other sizes; half-lives stay tied to the sizes that they were measured on.

        Raises:
            InputError: an unknown pool, a size that is not positive, or a finite size for a pool whose half-life
                or saturation was never measured because it was fitted as infinite.
        """
        changed = dict(zip(self.pools.names, self.pools.sizes, strict=True))
        reference = getattr(self.params, "reference_size", None)
        for name, size in sizes.items():
            place = self.pools.index(name)
            if reference is not None and np.isinf(np.asarray(reference)[place]) and np.isfinite(size):
                raise InputError(f"pool {name!r} was fitted with an infinite size: its half-life is not known")
            endless = self.seen is not None and np.isinf(self.pools.sizes[place]) and self.seen.epochs[place] == 0
            if endless and hasattr(self.params, "saturation") and np.isfinite(size):
                raise InputError(f"pool {name!r} was fitted with an infinite size: its saturation is not known")
            changed[name] = size
        return dataclasses.replace(self, pools=Pools.of(changed))

    def at_model_size(self, model_size: float) -> FittedLaw:
        """The same law for models of one size, for laws that need it: predictions, mixes and plans then have no other.

        Raises:
            InputError: not a positive number of parameters.
        """
        return dataclasses.replace(self, law=at_model_size(self.law, model_size))

    def with_params(self, **changes: Any) -> FittedLaw:
        """The same law with some parameters replaced, for example `with_params(dilution=0.0)`."""
        return dataclasses.replace(self, params=dataclasses.replace(self.params, **changes))

    def _dense(self, weights: Shares) -> np.ndarray:
        if not isinstance(weights, Mapping) and np.ndim(weights) > 1:
            rows = np.asarray(weights, np.float64)
            return np.apply_along_axis(self.pools.weights, -1, rows)
        return self.pools.weights(weights)

    def _exposure(self, seen_before: Shares | None) -> np.ndarray | None:
        if seen_before is None:
            return None
        if isinstance(seen_before, Mapping):
            exposure = np.zeros(len(self.pools))
            for name, samples in seen_before.items():
                exposure[self.pools.index(name)] += float(samples)
        else:
            exposure = np.asarray(seen_before, np.float64)
            if exposure.shape != (len(self.pools),):
                expected = f"one for each of {len(self.pools)} pools"
                raise InputError(f"samples seen before of shape {exposure.shape}: expected {expected}")
        if not np.all(np.isfinite(exposure)) or np.any(exposure < 0):
            raise InputError(f"samples seen before {exposure.tolist()}: expected finite numbers >= 0")
        return exposure

    def __str__(self) -> str:
        from qqtjax.laws.table import fitted_table

        return fitted_table(self)
