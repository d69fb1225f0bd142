"""A fit stated again: the least-squares problem that a fitted law solved, for whatever looks at its optimum later."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from qqtjax.errors import InputError
from qqtjax.fit.candidates import scan_length
from qqtjax.fit.diagnose import linearised
from qqtjax.fit.fitting import checked_importance
from qqtjax.fit.objective import Data, Objective, gather
from qqtjax.fit.parameters import Space, search_space
from qqtjax.laws import FittedLaw
from qqtjax.runs import Runs

# Residuals of the same fit to the same table agree far better; those of another table do not.
SAME = 1e-8


class Problem(NamedTuple):
    """What a fit minimised, and where it ended; M checkpoints, F coordinates.

    Attributes:
        space: the search space.
        objective: what was minimised.
        data: the checkpoints.
        x: `[F]` the coordinates of the fit.
        params: the law's parameters there.
        residuals: `[M]` predicted minus measured there, on the scale that was fitted (error, or log excess error).
        slopes: `[M, F]` their derivative in the coordinates.
    """

    space: Space
    objective: Objective
    data: Data
    x: np.ndarray
    params: Any
    residuals: np.ndarray
    slopes: np.ndarray


def refitted_by(problem: Problem, runs: Runs) -> Objective:
    """The objective as many fits at once minimise it: by a scan of their own length where that is short."""
    return problem.objective._replace(max_epochs=scan_length(problem.space, runs))


def problem_of(fitted: FittedLaw, runs: Runs, importance: np.ndarray | None = None) -> Problem:
    """State again what a fit minimised.

    Args:
        fitted: a fit, as `fit` or `load_fit` gives it.
        runs: the table that was fitted.
        importance: `[M]` weights of the checkpoints, if the fit was given any.

    Raises:
        InputError: published constants; a pooled fit; other runs than those fitted; weights of the fit missing.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> runs = runs.select(runs.single)
        >>> problem = problem_of(qqt.fit(runs), runs)
        >>> problem.slopes.shape == (len(runs), len(problem.space))
        True
    """
    info = fitted.diagnostics
    if info is None:
        raise InputError("these parameters were not fitted here: expected a fit of measured runs")
    if info.pooled is not None:
        raise InputError("a pooled fit, whose pools borrow from each other; expected a fit by the runs alone")
    if len(runs) != len(info.residuals) or runs.pools.names != fitted.pools.names:
        raise InputError(
            f"{len(runs)} checkpoints of pools {', '.join(runs.pools.names)}: expected the {len(info.residuals)} that "
            f"were fitted, of {', '.join(fitted.pools.names)}"
        )
    settings = info.settings
    if settings["importance"] == "given" and importance is None:
        raise InputError("the fit was given weights of its checkpoints: pass the same as importance=")
    space = space_of(fitted, runs)
    x = coordinates_of(space, fitted.params)
    objective = Objective(space.layout, settings["max_epochs"], settings["log"], settings["huber"])
    with jax.enable_x64(True):
        run, drawn = gather(runs)
        run, fixed = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (run, space.fixed))
        data = Data(run, drawn, np.asarray(runs.error, np.float64), checked_importance(runs, importance), fixed)
        params, each, slopes = jax.tree.map(np.asarray, linearised(objective, x, data))
    if not settings["log"] and np.max(np.abs(each - info.residuals)) > SAME:
        raise InputError("these are not the runs that were fitted: their residuals differ from those of the fit")
    return Problem(space, objective, data, x, params, each, slopes)


def space_of(fitted: FittedLaw, runs: Runs) -> Space:
    """The search space of a fit's settings on a table: its own, or one with other errors at the same checkpoints."""
    assert fitted.diagnostics is not None
    settings = fitted.diagnostics.settings
    # Names of coordinates are fields, or fields with the pools that they are of.
    free = tuple(dict.fromkeys(name.split(" of ")[0] for name in settings["free"]))
    bounds = {name: (float(low), float(high)) for name, (low, high) in settings["bounds"].items()}
    return search_space(fitted.law, runs, settings["share"], settings["fixed"], free, bounds)


def coordinates_of(space: Space, params: Any) -> np.ndarray:
    """`[F]` where parameters lie in a search space."""
    x = np.full(len(space), np.nan)
    for slot in space.layout.slots:
        positions = np.array(slot.positions)
        value = np.broadcast_to(np.asarray(getattr(params, slot.field), np.float64), positions.shape)
        moved = np.log(np.abs(value)) if slot.sign else value
        x[positions[positions >= 0]] = moved[positions >= 0]
    return x
