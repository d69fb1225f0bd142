"""Draws from the posterior of a pooled fit, curved as it is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from qqtjax.errors import InputError
from qqtjax.fit.clusters import run_notes
from qqtjax.fit.fitting import checked_importance
from qqtjax.fit.pooled_problem import Pooling, blocks, prepare, sampled
from qqtjax.fit.problem import SAME
from qqtjax.laws import FittedLaw
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import evaluate
from qqtjax.runs import Runs


def pooled_draws(
    fitted: FittedLaw, runs: Runs, count: int = 1000, *, seed: int = 0, importance: np.ndarray | None = None
) -> Draws:
    """Draw all parameters of a pooled fit: what pools share from its weighted points, each pool's own around its best.

    Args:
        fitted: a fit of `fit_pooled`.
        runs: the table that was fitted.
        count: S >= 1 draws.
        seed: of the draws of each pool's own parameters; the points are those of the fit.
        importance: `[M]` weights of the checkpoints, if the fit was given any.

    Returns:
        `Draws`.

    Raises:
        InputError: not a pooled fit, other runs than those fitted, a wrong count.
    """
    info = fitted.diagnostics
    if info is None or info.pooled is None:
        raise InputError("draws of a pooled fit: expected a fit of fit_pooled")
    if not (isinstance(count, int | np.integer) and count >= 1):
        raise InputError(f"draws {count!r}: expected a whole number >= 1")
    settings = info.settings
    same = len(runs) == len(info.residuals) and runs.pools.names == fitted.pools.names
    if (
        not same
        or np.max(np.abs(evaluate(fitted.law, fitted.params, runs.as_run()) - runs.error - info.residuals)) > SAME
    ):
        raise InputError("these are not the runs that were fitted: their residuals differ from those of the fit")
    if settings["importance"] == "given" and importance is None:
        raise InputError("the fit was given weights of its checkpoints: pass the same as importance=")
    pooling = Pooling(**settings["pooling"])
    # Names of coordinates are fields, or fields with the pools that they are of.
    free = tuple(dict.fromkeys(name.split(" of ")[0] for name in settings["free"]))
    bounds = {name: (float(low), float(high)) for name, (low, high) in settings["bounds"].items()}
    asked = (settings["share"], settings["fixed"], free, bounds)
    measured, weight = np.asarray(runs.error, np.float64)[None], checked_importance(runs, importance)
    with jax.enable_x64(True):
        ready = prepare(runs, fitted.law, pooling, measured, weight, asked, settings["max_epochs"])
        values = ready.outer.at(sampled(ready, pooling, settings["seed"]).resampled(count))
        population, rng = ready.population, np.random.default_rng(seed)
        place = np.asarray(population.place)
        drawn = []
        for each in blocks(ready, values, np.zeros(1, int)):
            steps = rng.standard_normal((len(each.x), len(place)))
            moved = each.x[:, place] + np.einsum("lij,lj->li", np.linalg.cholesky(each.covariance), steps)
            x = np.array(each.x)
            x[:, place] = np.clip(moved, population.low, population.high)
            drawn.append(x)
        unpack = jax.vmap(ready.space.layout.unpack, in_axes=(0, None))
        params = unpack(jnp.asarray(np.concatenate(drawn)), ready.data.fixed)
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    notes = ("pools are taken as draws from one distribution, with weak priors on what they share",)
    notes += run_notes(runs, None)
    return Draws(fitted, params, "posterior of the pooled fit", float(np.inf), notes)
