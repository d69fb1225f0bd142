"""`design`: what a study of pools would tell before any of it is run, and what it costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from qqtjax.design.belief import Prior, inverse, weak_prior
from qqtjax.design.candidates import simplex_grid
from qqtjax.design.knowledge import draws_of, errors_at, payoffs, regret_of, standings
from qqtjax.errors import InputError
from qqtjax.fit.objective import Objective
from qqtjax.fit.parameters import search_space
from qqtjax.laws import utility
from qqtjax.plain import to_plain
from qqtjax.runs import Pools, Run, Runs

TRUTHS, DRAWS = 64, 64
Z95 = 1.959964
# One standard deviation either side, wide enough for image-text pools and their like: DataComp's published constants
# (utility -.16 .. -.085, half-life 2 .. 9, scale 4e6, floor .1) lie inside.
TRUTHS_PRIOR = {"scale": (1e6, 1e7), "floor": (0.02, 0.3), "utility": (-0.3, -0.08), "half_life": (2.0, 15.0)}


class Study(NamedTuple):
    """Every pool trained alone.

    Attributes:
        epochs: where a run is measured; the last is where it ends.
        runs: of every pool.
    """

    epochs: tuple[float, ...]
    runs: int = 1

    def __str__(self) -> str:
        marks = " ".join(f"{each:g}" for each in self.epochs)
        return marks if self.runs == 1 else f"{marks}, {self.runs} runs"


STUDIES = (
    Study((0.25, 0.5, 1.0)),
    Study((0.25, 0.5, 1.0, 2.0)),
    Study((0.25, 0.5, 1.0, 2.0, 5.0)),
    Study((2.0, 5.0)),
    Study((0.25, 0.5, 1.0, 2.0, 5.0), 3),
    Study((0.25, 0.5, 1.0, 2.0, 5.0, 10.0)),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Expected:
    """What one study would tell; medians over the truths unless said otherwise.

    Attributes:
        study: the study.
        cost: samples that it trains on, all pools together.
        price: of them, or None.
        errors: `{field: half-width}` of 95 % intervals; relative (of the logarithm) for all but the floor.
        prediction: half-width of the 95 % interval of the error of the best mix at the target budget.
        regret: mean over truths of the expected regret of the mix that would be chosen.
        right: probability that its regret is at most the noise of one measurement.
    """

    study: Study
    cost: float
    price: float | None
    errors: dict[str, float]
    prediction: float
    regret: float
    right: float


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """Studies side by side, in the order in which they were given.

    Attributes:
        pools: names and sizes.
        budget: the target budget, samples seen.
        noise: standard deviation of one measured error.
        prior: `{field: (low, high)}` that the truths were drawn from.
        blind: as the studies, with nothing measured at all.
        rows: what each study would tell.
    """

    pools: Pools
    budget: float
    noise: float
    prior: dict[str, tuple[float, float]]
    blind: Expected
    rows: tuple[Expected, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return to_plain(self)

    def __str__(self) -> str:
        from qqtjax.design.text import design_text

        return design_text(self)


def design(
    pools: Pools | Mapping[str, float],
    budget: float,
    *,
    studies: Sequence[Study] = STUDIES,
    noise: float = 0.003,
    price_per_sample: float | None = None,
    prior: Mapping[str, tuple[float, float]] | None = None,
    truths: int = TRUTHS,
    draws: int = DRAWS,
    seed: int = 0,
) -> Design:
    """What studies of pools would tell of the parameters, the predictions and the decision, before any run.

        S_t = (R J_t^T J_t / s^2 + diag(1 / t^2))^-1,   J_t the derivative of the checkpoints at truth t ~ prior

    gives the intervals (Fisher's information with the prior as weak knowledge, averaged over the prior); the decision
    is made at estimates theta_t + N(0, S_t) and valued at theta_t. For `laws.utility` with dilution 1 and the paper's
    decay; checkpoints count as independent, so that run-to-run noise makes all intervals wider than shown.

    Args:
        pools: names and sizes, finite.
        budget: the target, samples seen.
        studies: what may be run.
        noise: s, standard deviation of one measured error.
        price_per_sample: in any unit.
        prior: `{field: (low, high)}` in the parameter's own unit, one standard deviation either side of the middle,
            for fields that differ from `TRUTHS_PRIOR`.
        truths: T drawn from the prior.
        draws: of the estimate, for each truth.
        seed: of both; the same seed gives the same bytes.

    Raises:
        InputError: a pool without a size, a number that is not positive, epochs that do not rise, a wrong prior.

    Example:
        >>> table = design({"a": 12.8e6, "b": 12.8e6}, 256e6, studies=[Study((0.5, 1.0, 2.0))], truths=8)
        >>> table.rows[0].cost, table.rows[0].regret < table.blind.regret
        (51200000.0, True)
    """
    pools = pools if isinstance(pools, Pools) else Pools.of(pools)
    _check(pools, budget, noise, price_per_sample, studies, truths, draws)
    marks = np.array(sorted({each for study in studies for each in study.epochs}))
    counts = np.array([np.isin(marks, study.epochs) * study.runs for study in studies])
    counts = np.vstack([np.zeros(len(marks)), counts])
    space = search_space(utility, _table(pools, marks))
    ranges = {**TRUTHS_PRIOR, **(prior or {})}
    of_prior = weak_prior(space, ranges)
    objective = Objective(space.layout, None, False, None)
    rng = np.random.default_rng(seed)
    low, high = space.box()
    wanted = of_prior.centre + of_prior.sd * rng.standard_normal((truths, len(space)))
    normals = rng.standard_normal((draws, len(space)))
    grid = simplex_grid(len(pools))
    with jax.enable_x64(True):
        fixed = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), space.fixed)
        everywhere = np.repeat(np.eye(len(pools)), len(marks), axis=0)
        found = _expected(
            objective,
            np.clip(wanted, low, high),
            fixed,
            of_prior,
            noise,
            _runs(pools, everywhere, (pools.sizes[:, None] * marks).ravel()),
            np.tile(counts, (1, len(pools))),
            _runs(pools, grid, np.full(len(grid), float(budget))),
            normals,
        )
        sd, predicted, regret, right = (np.asarray(each) for each in found)
    fields = [name.split(" of ")[0] for name in space.names]
    rows = []
    for place, study in enumerate((Study((), 0), *studies)):
        cost = float(pools.sizes.sum()) * max(study.epochs, default=0.0) * study.runs
        widths = {
            field: Z95 * float(np.median(sd[:, place, [each == field for each in fields]]))
            for field in dict.fromkeys(fields)
        }
        rows.append(
            Expected(
                study=study,
                cost=cost,
                price=None if price_per_sample is None else cost * price_per_sample,
                errors=widths,
                prediction=Z95 * float(np.median(predicted[:, place])),
                regret=float(regret[:, place].mean()),
                right=float(right[:, place].mean()),
            )
        )
    blind, *told = rows
    return Design(pools, float(budget), noise, ranges, blind, tuple(told))


def _check(
    pools: Pools,
    budget: float,
    noise: float,
    price: float | None,
    studies: Sequence[Study],
    truths: int,
    draws: int,
) -> None:
    for name, value in (("budget", budget), ("noise", noise), ("price_per_sample", price)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} {value!r}: expected a positive number")
    for name, count in (("truths", truths), ("draws", draws)):
        if not (isinstance(count, int | np.integer) and count >= 2):
            raise InputError(f"{name} {count!r}: expected a whole number >= 2")
    if not np.all(np.isfinite(pools.sizes)):
        raise InputError("design: a pool without a size; expected the number of samples of each")
    if not studies:
        raise InputError("studies: none given, expected at least one")
    for study in studies:
        epochs = np.asarray(study.epochs, np.float64)
        rising = len(epochs) > 0 and np.all(np.isfinite(epochs)) and epochs[0] > 0 and np.all(np.diff(epochs) > 0)
        if not rising or not (isinstance(study.runs, int) and study.runs >= 1):
            wrong = f"study of epochs {list(study.epochs)}, {study.runs} runs"
            raise InputError(f"{wrong}: expected positive epochs, rising, and at least one run")


def _table(pools: Pools, marks: np.ndarray) -> Runs:
    """Checkpoints without errors, for the bounds of the parameters."""
    source = np.repeat(np.arange(len(pools)), len(marks))
    zero = np.zeros(len(source), int)
    return Runs(
        pools=pools,
        source=source,
        mixes=np.zeros((0, len(pools))),
        mix_sizes=np.zeros((0, len(pools))),
        samples_seen=(pools.sizes[:, None] * marks).ravel(),
        error=np.ones(len(source)),
        run=source,
        run_names=pools.names,
        seed=zero,
        metric=zero,
    )


def _runs(pools: Pools, weights: np.ndarray, samples_seen: np.ndarray) -> Run:
    return Run(weights=weights, sizes=np.broadcast_to(pools.sizes, weights.shape), samples_seen=samples_seen)


@partial(jax.jit, static_argnums=0)
def _expected(
    objective: Objective,
    truths: Array,
    fixed: Any,
    prior: Prior,
    noise: Array,
    marks: Run,
    counts: Array,
    options: Run,
    normals: Array,
) -> tuple[Array, Array, Array, Array]:
    """Standard deviations `[T, D, F]`, that of the best option's error, regret and P(right) `[T, D]`."""

    def predicted(x: Array) -> Array:
        params = objective.layout.unpack(x, fixed)
        return jax.vmap(lambda run: objective.layout.law(params, run, objective.max_epochs))(marks)

    def one_truth(x: Array) -> tuple[Array, Array, Array, Array]:
        slopes, payoff = jax.jacfwd(predicted)(x), payoffs(objective, x, fixed, options)
        true = errors_at(payoff, jnp.zeros((1, len(x))))
        best = jnp.argmin(true[0])
        slope = payoff.floor_slope[0] + jnp.exp(payoff.log_excess[best]) * payoff.slope[best]

        def one_study(count: Array) -> tuple[Array, Array, Array, Array]:
            known = jnp.einsum("m,mf,mg->fg", count, slopes, slopes) / noise**2
            covariance = inverse(known + jnp.diag(1.0 / prior.sd**2))
            estimates = standings(payoff, draws_of(covariance, normals))
            lost = regret_of(estimates, jnp.broadcast_to(true, estimates.shape))
            return (
                jnp.sqrt(jnp.diagonal(covariance)),
                jnp.sqrt(slope @ covariance @ slope),
                jnp.mean(lost),
                jnp.mean(lost <= noise),
            )

        return jax.vmap(one_study)(counts)

    return lax.map(one_truth, truths)
