"""`next_run`: which training run would most reduce the regret of the decision at a target budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from qqtjax.design.belief import Belief, believe
from qqtjax.design.candidates import ALREADY, CHECKPOINTS, Candidate, candidates_for, options_for
from qqtjax.design.knowledge import (
    Normals,
    information,
    payoffs,
    regret_now,
    saving,
)
from qqtjax.errors import InputError
from qqtjax.fit.objective import Objective
from qqtjax.fit.parameters import Bounds, Fixed, Share
from qqtjax.laws import Law, utility
from qqtjax.laws.fitted import Shares
from qqtjax.mix.filters import Option
from qqtjax.plain import to_plain
from qqtjax.runs import Run, Runs

DRAWS = 512
LEAST_SURE = 2.0  # standard errors of a difference that is more than the luck of the draws
ONE_RUN = (
    "run-to-run noise is not known from one run a pool: checkpoints count as independent, and a run that is repeated "
    "may teach less than is shown"
)
APPROXIMATE = "normal approximation about the fit with a weak prior; the law itself is taken as right"


@dataclasses.dataclass(frozen=True, eq=False)
class Worth:
    """What one training run is worth.

    Attributes:
        run: the training run.
        price: of its samples, in the unit of `price_per_sample`, or None.
        regret: expected regret of the decision after it, in the unit of the error.
        reduction: by how much less than now.
        reduction_error: standard error of that over the draws.
        information: by how much log det of what is known of the parameters rises, in nats (D-optimality).
    """

    run: Candidate
    price: float | None
    regret: float
    reduction: float
    reduction_error: float
    information: float

    @property
    def per_sample(self) -> float:
        """Reduction of the expected regret for each sample trained on."""
        return self.reduction / self.run.cost


@dataclasses.dataclass(frozen=True, eq=False)
class NextRun:
    """The runs that may be made next, best first.

    Attributes:
        budget: the target budget, samples seen.
        pools: names of the pools.
        choice: what would be trained there if it were decided now.
        choice_error: its predicted error.
        regret: expected regret of that.
        regret_error: standard error of that over the draws.
        options: how many options there are.
        rows: every candidate within the spend, the largest reduction of regret for each sample first; without any
            reduction, by information for each sample.
        noise: standard deviation of one measured error.
        noise_given: was it given.
        price_per_sample: or None.
        spend: most samples that the run may train on, or None.
        notes: what the figures do not know.
    """

    budget: float
    pools: tuple[str, ...]
    choice: Option
    choice_error: float
    regret: float
    regret_error: float
    options: int
    rows: tuple[Worth, ...]
    noise: float
    noise_given: bool
    price_per_sample: float | None
    spend: float | None
    notes: tuple[str, ...]

    @property
    def best(self) -> Worth:
        """The most reduction of regret for each sample."""
        return self.rows[0]

    @property
    def most(self) -> Worth:
        """The most reduction of regret, whatever it costs within the spend."""
        return max(self.rows, key=lambda row: row.reduction)

    @property
    def most_informative(self) -> Worth:
        """D-optimality: the most information on the parameters for each sample."""
        return max(self.rows, key=lambda row: row.information / row.run.cost)

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return to_plain(self)

    def __str__(self) -> str:
        from qqtjax.design.text import next_run_text

        return next_run_text(self)


def next_run(
    runs: Runs,
    budget: float,
    law: Law = utility,
    *,
    price_per_sample: float | None = None,
    spend: float | None = None,
    mixtures: Mapping[str, Shares] | None = None,
    checkpoints: Sequence[float] = CHECKPOINTS,
    longest: float | None = None,
    resume: bool = True,
    filters_only: bool = False,
    noise: float | None = None,
    prior: Bounds | None = None,
    share: Share | None = None,
    fixed: Fixed | None = None,
    free: Iterable[str] = (),
    bounds: Bounds | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> NextRun:
    """Rank the training runs that may be made next by how much regret they save at a target budget, per sample.

        V(c) = E[y_(a_0)(theta) - min_a y_a(theta)] - E[y_(a_c)(theta) - min_a y_a(theta)]

    theta ~ N(x, S) is what the runs so far leave open (`believe`), a_0 the best option at x, a_c the best at the
    estimate after run c has been measured (`design.knowledge.saving`). A run is ranked by V(c) over the samples
    that it trains on; its checkpoints come for free along the way. D-optimality (`information`) is shown beside.

    Args:
        runs: the measured table (one metric).
        budget: the target, samples seen.
        law: the law, one with a closed form.
        price_per_sample: in any unit.
        spend: most that the run may cost, in samples, or with `price_per_sample` in its unit.
        mixtures: `{name: {pool: share}}` that may be trained as well; pools alone, the unions of the best 2, 3, ..
            pools and the best mix so far are always among them.
        checkpoints: where a run is measured, in epochs of all that it draws from; it may end at each of them.
        longest: no run ends beyond so many samples; by default the larger of the most samples seen so far and a
            quarter of the budget.
        resume: may measured runs be continued, at the cost of the samples that are added.
        filters_only: decide among nested filters and pools alone, without mixes.
        noise: standard deviation of one measured error; by default that of the residuals.
        prior: as for `believe`.
        share: as for `fit`.
        fixed: as for `fit`.
        free: as for `fit`.
        bounds: as for `fit`.
        draws: S of the parameters and of the measurements, the same for all candidates.
        seed: of the draws and the starting points; the same seed gives the same bytes.

    Returns:
        A `NextRun`: print it for the ranking; `best` is the run worth making.

    Raises:
        InputError: as `believe`; a budget, price, spend or number of draws that is not positive; nothing within them.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> first = runs.select(runs.single & (runs.samples_seen <= 20e3))
        >>> answer = next_run(first, 160e3, noise=0.01, filters_only=True, checkpoints=(1, 2, 4))
        >>> answer.best.reduction > 0
        True
    """
    for name, value in (
        ("budget", budget),
        ("price_per_sample", price_per_sample),
        ("spend", spend),
        ("longest", longest),
    ):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} {value!r}: expected a positive number")
    if not (isinstance(draws, int | np.integer) and draws >= 2):
        raise InputError(f"draws {draws!r}: expected a whole number >= 2")
    belief = believe(runs, law, noise=noise, prior=prior, share=share, fixed=fixed, free=free, bounds=bounds, seed=seed)
    options = options_for(belief.fitted, filters_only)
    place = decision(belief, options, budget)
    named = {**({} if mixtures is None else mixtures)}
    if np.count_nonzero(options[place].weights) > 1 and not options[place].pools:
        named.setdefault("best mix so far", options[place].weights)
    most = longest or max(float(runs.samples_seen.max()), budget / 4)
    allowed = np.inf if spend is None else spend / (price_per_sample or 1.0)
    candidates = candidates_for(belief.fitted, runs, named, checkpoints, most, resume)
    if min(each.cost for each in candidates) > allowed * ALREADY:
        raise InputError(f"spend {spend:g}: no run is that cheap; expected more, or earlier checkpoints")
    found = scores(belief, options, budget, candidates, draws, seed)
    now = found.now
    rows = [
        Worth(
            run=each,
            price=None if price_per_sample is None else each.cost * price_per_sample,
            regret=float(now.mean() - saved.mean()),
            reduction=float(saved.mean()),
            reduction_error=float(np.std(saved, ddof=1) / np.sqrt(draws)),
            information=float(learnt),
        )
        for each, saved, learnt in zip(candidates, found.saved, found.information, strict=True)
        if each.cost <= allowed * ALREADY
    ]
    rows.sort(key=lambda row: (-row.per_sample, -row.information / row.run.cost))
    best = rows[0]
    notes = [APPROXIMATE]
    if best.reduction <= LEAST_SURE * best.reduction_error:
        notes.append("no run saves more regret than the luck of the draws: the decision is nearly made")
    if len(set(zip(runs.source.tolist(), runs.run.tolist(), runs.seed.tolist(), strict=True))) <= len(set(runs.source)):
        notes.append(ONE_RUN)
    return NextRun(
        budget=float(budget),
        pools=runs.pools.names,
        choice=options[place],
        choice_error=float(belief.fitted.predict(options[place].weights, budget)),
        regret=float(now.mean()),
        regret_error=float(np.std(now, ddof=1) / np.sqrt(draws)),
        options=len(options),
        rows=tuple(rows),
        noise=belief.noise,
        noise_given=belief.noise_given,
        price_per_sample=price_per_sample,
        spend=spend,
        notes=tuple(notes),
    )


def decision(belief: Belief, options: Sequence[Option], budget: float) -> int:
    """Place of the option with the least predicted error at the budget."""
    weights = np.stack([each.weights for each in options])
    return int(np.argmin(belief.fitted.predict(weights, budget)))


class Scores(NamedTuple):
    """What all candidates are worth.

    Attributes:
        now: `[S]` draws of the regret of deciding at once.
        saved: `[C, S]` draws of what each candidate saves.
        information: `[C]` nats.
    """

    now: np.ndarray
    saved: np.ndarray
    information: np.ndarray


def scores(
    belief: Belief, options: Sequence[Option], budget: float, candidates: Sequence[Candidate], draws: int, seed: int
) -> Scores:
    """Score candidates against each other with common random numbers.

    Args:
        belief: what is known so far.
        options: what may be trained at the target budget.
        budget: samples seen.
        candidates: C training runs.
        draws: S.
        seed: of the random numbers.
    """
    longest = max(len(each.checkpoints) for each in candidates)
    # Where a run has fewer checkpoints, its last stands in for those that do not count.
    marks = np.stack([np.pad(each.checkpoints, (0, longest - len(each.checkpoints)), "edge") for each in candidates])
    counts = np.array([len(each.checkpoints) for each in candidates])
    weights = np.stack([each.weights for each in candidates])
    rng = np.random.default_rng(seed)
    normals = Normals(rng.standard_normal((draws, len(belief.x))), rng.standard_normal((draws, longest)))
    with jax.enable_x64(True):
        fixed = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), belief.space.fixed)
        found = _scores(
            belief.objective,
            belief.x,
            belief.covariance,
            fixed,
            belief.noise,
            _batch(belief, np.stack([each.weights for each in options]), np.full(len(options), float(budget))),
            _batch(belief, np.repeat(weights, longest, axis=0), marks.ravel()),
            np.arange(longest) < counts[:, None],
            normals,
        )
        return Scores(*(np.asarray(each) for each in found))


def _batch(belief: Belief, weights: np.ndarray, samples_seen: np.ndarray) -> Run:
    sizes = np.broadcast_to(belief.fitted.pools.sizes, weights.shape)
    return Run(weights=weights, sizes=sizes, samples_seen=samples_seen)


@partial(jax.jit, static_argnums=0)
def _scores(
    objective: Objective,
    x: Array,
    covariance: Array,
    fixed: Any,
    noise: Array,
    options: Run,
    marks: Run,
    counts: Array,
    normals: Normals,
) -> tuple[Array, Array, Array]:
    payoff = payoffs(objective, x, fixed, options)
    law, length = objective.layout.law, objective.max_epochs

    def predicted(x: Array) -> Array:
        params = objective.layout.unpack(x, fixed)
        return jax.vmap(lambda run: law(params, run, length))(marks)

    slopes = jax.jacfwd(predicted)(x).reshape(*counts.shape, len(x))
    jacobians = jnp.where(counts[..., None], slopes, 0.0)
    # In turn: all candidates' estimates of all options at once would not fit into memory.
    saved = lax.map(lambda jacobian: saving(payoff, covariance, jacobian, noise, normals), jacobians)
    learnt = jax.vmap(lambda jacobian: information(covariance, jacobian, noise))(jacobians)
    return regret_now(payoff, covariance, normals), saved, learnt
