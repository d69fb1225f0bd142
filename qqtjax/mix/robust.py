"""One mix for many possible truths: the least mean, tail or worst of the errors that draws predict."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from qqtjax.errors import InputError, QQTWarning
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import FittedLaw
from qqtjax.mix.alternatives import alternatives, runner_ups
from qqtjax.mix.asked import before_of, budgets_of, check_draws, constraints_of, laws_of, seed_of, sizes_of, starts_of
from qqtjax.mix.averaging import drawn_terms, fill_mean
from qqtjax.mix.combined import combine, epochs_at, scanned_to, values_at
from qqtjax.mix.constraints import Constraints, check
from qqtjax.mix.descent import descend
from qqtjax.mix.feasible import Feasible, active
from qqtjax.mix.objectives import CVaR, Judging, Mean, Worst, weighted
from qqtjax.mix.optimize import notes_on, optimize_mix
from qqtjax.mix.programme import values
from qqtjax.mix.result import DUALITY_GAP, GLOBAL, KKT_RESIDUAL, Certificate, Mix, Mixes, RunnerUp
from qqtjax.mix.separable import Terms, is_separable
from qqtjax.mix.several import minimise, penalty
from qqtjax.mix.single import Solved, in_doubles, solve_one
from qqtjax.runs import Pools

Uncertain = Draws | FittedLaw
Objective = Mean | CVaR | Worst
MEAN, PLUG_IN = Mean(), "best mix of the fit itself"


class Ensemble(NamedTuple):
    """All that may be true: L laws, each with its draws; S draws in all.

    Attributes:
        fits: `{name: law}` the point fits.
        params: of each law, every leaf with a leading axis of draws, float64.
        probabilities: `[S]` p_s, of sum 1; the draws of a law share its weight.
        likeliest: the place of the law with the largest weight.
        notes: what the draws do not know.
    """

    fits: dict[str, FittedLaw]
    params: tuple[Any, ...]
    probabilities: np.ndarray
    likeliest: int
    notes: tuple[str, ...]

    @property
    def plug_in(self) -> FittedLaw:
        """What one would plan with if it were certain: the point fit of the law with the largest weight."""
        return list(self.fits.values())[self.likeliest]

    def on(self, pools: Pools) -> Ensemble:
        """The same on pools of other sizes."""
        return self._replace(fits={name: dataclasses.replace(each, pools=pools) for name, each in self.fits.items()})


def robust_mix(
    uncertain: Uncertain | Sequence[Uncertain] | Mapping[Uncertain, float],
    budget: float | ArrayLike,
    objective: Objective = MEAN,
    *,
    regret: bool = False,
    sizes: ArrayLike | Mapping[str, float] | None = None,
    seen_before: Mapping[str, float] | ArrayLike | None = None,
    starts: ArrayLike | None = None,
    seed: int = 0,
    **constraints: Any,
) -> Mix | Mixes:
    """One mix for all that may be true: the least mean, tail or worst case of the error over draws and over laws.

        w* = argmin over w of  max over q of  sum_s q_s y_s(w, n),   0 <= q_s <= c_s,  sum q = 1

    with c = p for the mean, p / (1 - level) for a tail and 1 for the worst case (`mix.objectives`). For `laws.utility`
    with the paper's decay, b < 0 and dilution in [0, 1], and for `laws.power`, every y_s is convex in the weights, so
    that the optimum is global and comes with a duality gap: the mean by water-filling in turn (`mix.averaging`), the
    others by linear programmes over tangents in the logarithm (`mix.several`). If any draw is of another kind, the best
    of many local searches is returned with its KKT residual. Source: ours; see `mix.objectives` for the measures.

    Args:
        uncertain: draws of a fit, a fit (taken as certain), several of them, or `{draws or fit: weight}`; laws may
            differ, on the same pools. The weight of each is shared by its draws.
        budget: samples seen, repeats counted; an array for many budgets, by the same compiled programs.
        objective: `Mean()`, `CVaR(level)` or `Worst()`.
        regret: judge each draw by how much more than its own best error a mix has, y_s(w) - min y_s, which leaves out
            what no choice of data can change.
        sizes: `{pool: samples}` or `[P]` to plan for.
        seen_before: `{pool: samples}` or `[P]` that the model was trained on before.
        starts: `[S, P]` weights to start local searches from, beside those of their own.
        seed: of the random starts of local searches.
        **constraints: as for `optimize_mix`.

    Returns:
        A `Mix`: `error` is the objective, `errors` the mean over draws, the worst draw and what the fit itself
        predicts; the runner-up "best mix of the fit itself" is the plug-in choice, judged alike. With an array of
        budgets `Mixes`, whose `at` has the `Mix` of each.

    Raises:
        InputError: as in `optimize_mix`; no fits, weights that are not positive, laws on different pools.

    Example:
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> doubted = {paper: 0.5, paper.with_params(dilution=0.0): 0.5}
        >>> mix = robust_mix(doubted, 64e6, qqt.mix.CVaR(0.9))
        >>> mix.weights.round(3).tolist(), round(mix.error, 4), mix.certificate.proof
        ([0.925, 0.075, 0.0, 0.0], 0.7726, 'global')
    """
    ensemble = ensemble_of(uncertain)
    laws = list(ensemble.fits.values())
    asked, planned = constraints_of(constraints), sizes_of(sizes, laws)
    seen, before = budgets_of(budget), before_of(seen_before, laws[0])
    if planned.ndim > 1:
        raise InputError("robust_mix: expected one size for each pool")
    if not isinstance(objective, Objective):
        raise InputError(f"objective {objective!r}: expected Mean(), CVaR(level) or Worst() of qqtjax.mix")
    given, seed = starts_of(starts, len(laws[0].pools)), seed_of(seed)
    pools = Pools(laws[0].pools.names, planned)
    ensemble = ensemble.on(pools)
    found = {}
    for place in np.ndindex(seen.shape):
        feasible = asked.bind(pools, float(seen[place]), seen_before=before)
        check(feasible, pools, float(seen[place]))
        question = _Question(float(seen[place]), feasible, asked, before, given, seed)
        found[place] = _one(ensemble, objective, regret, question)
    return _many(found, seen) if seen.ndim else found[()]


def _one(ensemble: Ensemble, objective: Objective, regret: bool, question: _Question) -> Mix:
    """The mix at one budget."""
    feasible = question.feasible
    least = _least(ensemble, question) if regret else np.zeros(len(ensemble.probabilities))
    rest = (question.samples_seen, feasible, question.before, question.starts, question.seed)
    plug_in = solve_one([ensemble.plug_in], np.ones(1), *rest).weights
    judging, convex = objective.judging(ensemble.probabilities), _convex(ensemble, question)
    solved = _solve(ensemble, judging, convex, least, question, plug_in)
    rows = np.stack([solved.weights, plug_in, *alternatives(ensemble.plug_in, feasible).rows()])
    errors = _errors(ensemble, convex, question, rows)
    what = f"{objective} of {'regret' if regret else ensemble.plug_in.metric}"
    return _answer(ensemble, judging, what, least, question, rows, errors, solved)


class _Question(NamedTuple):
    """Budget, constraints (bound and as given), earlier training, starts and seed."""

    samples_seen: float
    feasible: Feasible
    asked: Constraints
    before: np.ndarray | None
    starts: np.ndarray | None
    seed: int

    @property
    def limits(self) -> dict[str, Any]:
        """As `optimize_mix` takes them."""
        return {field.name: getattr(self.asked, field.name) for field in dataclasses.fields(self.asked)}


def _many(found: dict[tuple[int, ...], Mix], budgets: np.ndarray) -> Mixes:
    mixes = list(found.values())

    def each(values: list[Any]) -> np.ndarray:
        return np.array(values).reshape(*budgets.shape, *np.shape(values[0]))

    return Mixes(
        pools=mixes[0].pools,
        samples_seen=budgets,
        sizes=each([mix.pools.sizes for mix in mixes]),
        weights=each([mix.weights for mix in mixes]),
        error=each([mix.error for mix in mixes]),
        gap=each([mix.certificate.gap for mix in mixes]),
        kind=each([mix.certificate.kind for mix in mixes]),
        proof=each([mix.certificate.proof for mix in mixes]),
        searched=each([mix.certificate.searched for mix in mixes]),
        single=found.__getitem__,
    )


def ensemble_of(uncertain: Uncertain | Sequence[Uncertain] | Mapping[Uncertain, float]) -> Ensemble:
    """Draws, fits or several of them with weights, checked.

    Raises:
        InputError: none, weights that are not positive numbers, laws on different pools, draws that do not fit.
    """
    weights: dict[Uncertain, float]
    if isinstance(uncertain, Mapping):
        weights = {each: weight for each, weight in uncertain.items()}
    elif isinstance(uncertain, Sequence):
        weights = {each: 1.0 for each in uncertain}
    else:
        weights = {uncertain: 1.0}
    if not weights or not all(isinstance(each, Draws | FittedLaw) for each in weights):
        raise InputError("robust_mix: expected draws or fits, or {draws or fit: weight}")
    for weight in weights.values():
        if not (isinstance(weight, int | float | np.number) and 0 < weight < np.inf):
            raise InputError(f"robust_mix: weight {weight!r} of a law: expected a positive number")
    fits, params, shares = {}, [], []
    for number, (each, weight) in enumerate(weights.items()):
        fitted = each.fitted if isinstance(each, Draws) else each
        fits[f"{number + 1}: {fitted.law.name}"] = fitted
        if isinstance(each, Draws):
            check_draws(each.params, fitted)
            params.append(in_doubles(each.params))
        else:
            params.append(jax.tree.map(lambda leaf: leaf[None], in_doubles(fitted.params)))
        count = len(jax.tree.leaves(params[-1])[0])
        shares.append(np.full(count, weight / count))
    together = np.concatenate(shares)
    likeliest = int(np.argmax([float(weight) for weight in weights.values()]))
    notes = dict.fromkeys(note for each in weights if isinstance(each, Draws) for note in each.notes)
    return Ensemble(laws_of(fits), tuple(params), together / together.sum(), likeliest, tuple(notes))


def _least(ensemble: Ensemble, question: _Question) -> np.ndarray:
    """`[S]` the best error of every draw."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QQTWarning)
        for fitted, params in zip(ensemble.fits.values(), ensemble.params, strict=True):
            own = {"draws": params, "seen_before": question.before, "starts": question.starts, "seed": question.seed}
            found.append(optimize_mix(fitted, question.samples_seen, **own, **question.limits).error)
    return np.concatenate(found)


class _Convex(NamedTuple):
    """Draws whose errors are y_s(w) = d_s . w + exp(-F_s(w)) with F_s separable and concave.

    Attributes:
        parts: the functions F_s, stacked.
        floors: `[S, P]` d_s.
    """

    parts: Terms
    floors: np.ndarray


def _convex(ensemble: Ensemble, question: _Question) -> _Convex | None:
    """The draws as convex functions of the weights; None where that is not proved of all."""
    fits = list(ensemble.fits.values())
    known = zip(fits, ensemble.params, strict=True)
    if not all(is_separable(each.law, params, question.before) for each, params in known):
        return None
    sizes = np.asarray(fits[0].pools.sizes, np.float64)
    floors = [
        np.broadcast_to(floor if floor.ndim > 1 else floor[:, None], (len(floor), len(sizes)))
        for floor in (params.floor for params in ensemble.params)
    ]
    with jax.enable_x64(True):
        laws, seen = tuple(each.law for each in fits), np.float64(question.samples_seen)
        parts = jax.device_get(_compiled_terms(laws, ensemble.params, sizes, seen))
    return _Convex(parts, np.concatenate(floors))


_compiled_terms = jax.jit(drawn_terms, static_argnums=0)


def _solve(
    ensemble: Ensemble,
    judging: Judging,
    convex: _Convex | None,
    least: np.ndarray,
    question: _Question,
    plug_in: np.ndarray,
) -> Solved:
    feasible = question.feasible
    if convex is None:
        fits = ensemble.fits.values()
        laws = [dataclasses.replace(each, params=own) for each, own in zip(fits, ensemble.params, strict=True)]
        given = [plug_in, *([] if question.starts is None else question.starts)]
        given += list(alternatives(ensemble.plug_in, feasible).rows())
        found = descend(
            laws,
            question.samples_seen,
            feasible,
            seen_before=question.before,
            starts=np.stack(given),
            seed=question.seed,
            drawn=judging,
            least=least,
        )
        proof = Certificate(KKT_RESIDUAL, found.residual, None, found.proof.split(":")[0], found.searched)
        return Solved(found.weights, found.objective, proof)
    floors = convex.floors - least[:, None]
    with jax.enable_x64(True):
        if judging.fixed and feasible.plain and np.all(np.ptp(floors, axis=1) == 0):
            high = np.maximum(feasible.low, feasible.high)
            best = jax.device_get(_compiled_mean(convex.parts, judging.most, feasible.low, high))
            proof = Certificate(DUALITY_GAP, float(best.gap), None, GLOBAL)
            return Solved(best.weights, float(judging.most @ floors[:, 0] + best.excess), proof)
        found = minimise(convex.parts, floors, judging, feasible, plug_in)
    proof = Certificate(DUALITY_GAP, max(found.objective - found.bound, 0.0), None, GLOBAL)
    return Solved(found.weights, found.objective, proof)


_compiled_mean = jax.jit(fill_mean)


def _errors(ensemble: Ensemble, convex: _Convex | None, question: _Question, rows: np.ndarray) -> np.ndarray:
    """`[B, S]` errors of mixes `[B, P]` under every draw; NaN where a law would have to scan too many epochs."""
    if convex is not None:
        with jax.enable_x64(True):
            return np.stack([convex.floors @ row + np.exp(-values(convex.parts, row)) for row in rows])
    laws = [dataclasses.replace(e, params=p) for e, p in zip(ensemble.fits.values(), ensemble.params, strict=True)]
    every = weighted(None, len(ensemble.probabilities))
    each = combine(laws, question.samples_seen, question.feasible, None, False, question.before, every)
    each = each._replace(judging=every)  # all rows, also of one draw
    return values_at(scanned_to(each, float(epochs_at(each, rows[0]))), rows)


def _answer(
    ensemble: Ensemble,
    judging: Judging,
    what: str,
    least: np.ndarray,
    question: _Question,
    rows: np.ndarray,
    errors: np.ndarray,
    solved: Solved,
) -> Mix:
    first, feasible = ensemble.plug_in, question.feasible
    value = np.array([judging.of(row) if np.all(np.isfinite(row)) else np.nan for row in errors - least])
    shares = dict(zip(first.pools.names, rows[1].tolist(), strict=True))
    others = runner_ups(alternatives(first, feasible), value[2:], feasible)
    beside = sorted((RunnerUp(PLUG_IN, shares, float(value[1]), True), *others), key=lambda other: other.error)
    itself = float(first.predict(solved.weights, question.samples_seen, question.before))
    notes = [*notes_on(ensemble.fits, solved.weights, question.samples_seen, question.before), *ensemble.notes]
    if not solved.certificate.searched:
        notes.append(str(solved.certificate))
        warnings.warn(notes[-1], QQTWarning, stacklevel=3)
    laws = f" of {len(ensemble.fits)} laws" if len(ensemble.fits) > 1 else ""
    return Mix(
        law=", ".join(dict.fromkeys(each.law.name for each in ensemble.fits.values())),
        metric=f"{what} over {errors.shape[1]} draws{laws}",
        pools=first.pools,
        samples_seen=question.samples_seen,
        weights=solved.weights,
        error=float(value[0]),
        errors={
            "mean over draws": float(ensemble.probabilities @ errors[0]),
            "worst draw": float(np.max(errors[0])),
            "the fit itself": itself,
        },
        epochs=question.samples_seen * solved.weights / first.pools.sizes,
        certificate=solved.certificate,
        active=active(feasible, solved.weights),
        runner_ups=tuple(beside),
        objective=float(value[0]) + penalty(feasible, solved.weights),
        seen_before=question.before,
        warnings=tuple(notes),
    )
