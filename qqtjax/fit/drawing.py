"""The one door to draws: parameters that a fit leaves open, by whichever method."""

from __future__ import annotations

import dataclasses

import numpy as np

from qqtjax.errors import InputError
from qqtjax.fit.bootstrap import ResidualBootstrap, RunBootstrap, WildBootstrap, bootstrap
from qqtjax.fit.clusters import Unit
from qqtjax.fit.covariance import draw_normal
from qqtjax.fit.pooled_draws import pooled_draws
from qqtjax.fit.posterior import posterior
from qqtjax.laws import FittedLaw
from qqtjax.laws.draws import Draws
from qqtjax.runs import Runs


@dataclasses.dataclass(frozen=True)
class Posterior:
    """Bayes' rule with weak priors, see `fit.posterior`.

    Attributes:
        chains: of the sampler.
        warmup: steps of each that are not kept.
    """

    chains: int = 4
    warmup: int = 300


@dataclasses.dataclass(frozen=True)
class StudentT:
    """Student's t around the fit, by its covariance, see `fit.covariance`; no refit.

    Attributes:
        by: None: independent checkpoints; a unit: whole runs (redraws, seeds).
    """

    by: Unit | None = None


Method = ResidualBootstrap | WildBootstrap | RunBootstrap | StudentT | Posterior


def draw(
    fitted: FittedLaw,
    runs: Runs,
    count: int = 1000,
    method: Method | None = None,
    *,
    seed: int = 0,
    importance: np.ndarray | None = None,
) -> Draws:
    """Draw parameters that a fit leaves open; mixes, sweeps and plans take the draws in place of the fit.

    Args:
        fitted: a fit.
        runs: the table that was fitted.
        count: S >= 1 draws.
        method: `ResidualBootstrap()` (default), `WildBootstrap()`, `RunBootstrap()`, `StudentT()` or `Posterior()`.
            Where every pool has several runs, `by=Unit.RUN` takes the noise between runs in. A pooled fit has its own
            posterior (`fit.pooled_draws`) and takes no method.
        seed: of the random numbers; the same seed gives the same bytes.
        importance: `[M]` weights of the checkpoints, if the fit was given any.

    Returns:
        `Draws`.

    Raises:
        InputError: as the method, see `fit.bootstrap` and `fit.posterior`; a method for a pooled fit.
        MissingExtraError: `Posterior` without the posterior extra.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C", roles=("single",))
        >>> draws = draw(qqt.fit(runs), runs, 200, WildBootstrap())
        >>> errors = draws.predict({"C00": 0.5, "C20": 0.5}, 80e3)
        >>> errors.shape, draws.method
        ((200,), 'wild bootstrap of checkpoints')
    """
    if fitted.diagnostics is not None and fitted.diagnostics.pooled is not None:
        if method is not None:
            raise InputError("a pooled fit is drawn from its own posterior: expected no method")
        return pooled_draws(fitted, runs, count, seed=seed, importance=importance)
    if isinstance(method, Posterior):
        settings = dataclasses.asdict(method)
        return posterior(fitted, runs, count, seed=seed, importance=importance, **settings)
    if isinstance(method, StudentT):
        return draw_normal(fitted, runs, count, method.by, seed=seed, importance=importance)
    return bootstrap(fitted, runs, method, count, seed=seed, importance=importance)
