"""`fit_laws` and `fit_many`: one table, many versions of its measured errors, all fitted at once."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.fit.candidates import Candidates, from_everywhere
from qqtjax.fit.fitting import check_settings, checked_importance
from qqtjax.fit.lanes import stream
from qqtjax.fit.model import Model
from qqtjax.fit.objective import Objective
from qqtjax.fit.parameters import Bounds, Fixed, Share
from qqtjax.laws import Law, utility
from qqtjax.runs import Runs

# Lanes of a block: on a CPU one that stays in the cache of a core, on an accelerator enough to fill it.
CPU_WIDTH, ACCELERATOR_WIDTH = 128, 8192


class Fits(NamedTuple):
    """Many fits of one law; B tables, S starts.

    Attributes:
        params: the law's parameters with a leading axis of B on every leaf, as `optimize_mix(draws=...)` takes them.
        objective: `[B]` half the weighted sum of squares (or Huber losses) at the best end point.
        converged: `[B]` is the best end point an optimum.
        objectives: `[B, S]` of all starts; infinite where a start failed.
    """

    params: Any
    objective: np.ndarray
    converged: np.ndarray
    objectives: np.ndarray


def fit_many(
    runs: Runs,
    law: Law = utility,
    *,
    errors: ArrayLike | None = None,
    importance: ArrayLike | None = None,
    share: Share | None = None,
    fixed: Fixed | None = None,
    free: Iterable[str] = (),
    bounds: Bounds | None = None,
    log: bool = False,
    huber: float | None = None,
    starts: int = 64,
    seed: int = 0,
    max_epochs: int | None = None,
    max_iterations: int = 500,
    width: int | None = None,
    workers: int | None = None,
) -> Fits:
    """Fit a law to B versions of a table whose measured errors or weights differ, in float64, from S starts each.

    Minimises sum_r v_br rho(f_r(params_b) - y_br) for every b, as `fit` does for one table: all parameters jointly,
    bounds and starting ranges from each version's own errors. Every start is followed until a step promises less than
    1e-12 of its objective. Where all rows are single pools the normal equations are an arrow (`fit.arrow`).

    Args:
        runs: the measured table (one metric); M checkpoints on P pools.
        law: the law to fit.
        errors: `[B, M]` measured errors; default those of the table in each.
        importance: `[B, M]` weights of the checkpoints; default `eval_size` where the table has it, else equal.
        share: as for `fit`.
        fixed: as for `fit`.
        free: as for `fit`.
        bounds: as for `fit`.
        log: as for `fit`.
        huber: as for `fit`.
        starts: S, the same points of the starting ranges for each version.
        seed: of the starting points; the same seed and width give the same bytes, whatever the workers.
        max_epochs: evaluate by the scan of this length; by default as `fit`.
        max_iterations: a start that needs more is left where it is.
        width: problems in one compiled call; the default suits the device. Memory grows with it, not with B.
        workers: calls in flight; by default one a core on a CPU where all rows are single pools, else one.

    Returns:
        `Fits`: `params` stacked, ready for `optimize_mix(draws=...)`.

    Raises:
        InputError: as `fit`; errors or importance that are not `[B, M]` finite numbers, or of different B.

    Example:
        >>> import numpy as np
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> runs = runs.select(runs.single)
        >>> errors = runs.error + 1e-3 * np.random.default_rng(0).normal(size=(3, len(runs)))
        >>> fits = fit_many(runs, errors=errors, starts=16)
        >>> fits.params.half_life.shape, bool(fits.converged.all())
        ((3, 5), True)
    """
    model = Model(law, share, fixed, free, bounds, log, huber, max_epochs)
    settings = {"starts": starts, "seed": seed, "max_iterations": max_iterations, "width": width, "workers": workers}
    return fit_laws(runs, (model,), errors=errors, importance=importance, **settings)[0]


def fit_laws(
    runs: Runs,
    models: Sequence[Model],
    *,
    errors: ArrayLike | None = None,
    importance: ArrayLike | None = None,
    starts: int = 64,
    seed: int = 0,
    max_iterations: int = 500,
    width: int | None = None,
    workers: int | None = None,
) -> tuple[Fits, ...]:
    """Fit several laws to the same B versions of a table, as `fit_many` does each, all by one compiled program.

    Every call of the program moves one block of lanes of each law; the places of lanes that are done are filled from
    the law's own queue, so that no start waits for another, and a law that has ended costs nothing.

    Args:
        runs: the measured table (one metric); M checkpoints on P pools.
        models: L laws, each with what is shared, fixed, free and bounded.
        errors: as for `fit_many`.
        importance: as for `fit_many`.
        starts: S of each law, the same points of its starting ranges for each version.
        seed: of the starting points; the same seed and width give the same bytes, whatever the workers.
        max_iterations: a start that needs more is left where it is.
        width: lanes of one block of one law; the default suits the device.
        workers: calls in flight; by default one a core on a CPU where all rows are single pools, else one.

    Returns:
        `Fits` of each law, in the order of `models`.

    Raises:
        InputError: no law; as `fit_many`.

    Example:
        >>> import numpy as np
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> runs = runs.select(runs.single)
        >>> errors = runs.error + 1e-3 * np.random.default_rng(0).normal(size=(3, len(runs)))
        >>> models = Model(qqt.laws.power), Model(qqt.laws.power, share={"floor": False}, huber=0.01)
        >>> shared, own = fit_laws(runs, models, errors=errors, starts=8)
        >>> shared.params.floor.shape, own.params.floor.shape
        ((3,), (3, 5))
    """
    if not models:
        raise InputError("no laws to fit: expected at least one model")
    for model in models:
        check_settings(runs, starts, seed, model.huber)
    measured, weights = _versions(runs, errors, importance)
    candidates = [from_everywhere(runs, model, measured, weights, starts, seed) for model in models]
    return solved(candidates, max_iterations, width, workers)


def solved(
    candidates: Sequence[Candidates], max_iterations: int = 500, width: int | None = None, workers: int | None = None
) -> tuple[Fits, ...]:
    """Follow the starts of several laws to their ends, all by one compiled program.

    Args:
        candidates: the starts of each law, as many of each.
        max_iterations: as for `fit_laws`.
        width: as for `fit_laws`.
        workers: as for `fit_laws`.
    """
    lanes = max(each.queue.count for each in candidates)
    on_cpu = jax.default_backend() == "cpu"
    width = width or min(CPU_WIDTH if on_cpu else ACCELERATOR_WIDTH, max(8, 1 << (lanes - 1).bit_length()))
    if workers is None:
        # Dense problems take all cores by themselves, and two large ones can wait for each other's threads without end.
        alone = not on_cpu or not all(each.queue.block.arrow for each in candidates)
        workers = 1 if alone else min(os.cpu_count() or 1, math.ceil(lanes / width))
    with jax.enable_x64(True):
        stream([each.queue for each in candidates], width, workers, max_iterations)
        fixed = [jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), each.fixed) for each in candidates]
        params = _unpacked(tuple(each.objective for each in candidates), [each.best for each in candidates], fixed)
    return tuple(
        Fits(jax.tree.map(np.asarray, found), each.best_objective, each.sound, each.objectives)
        for found, each in zip(params, candidates, strict=True)
    )


@partial(jax.jit, static_argnums=0)
def _unpacked(objectives: tuple[Objective, ...], bests: Sequence[Array], fixed: Sequence[Any]) -> list[Any]:
    return [
        jax.vmap(objective.layout.unpack, in_axes=(0, None))(best, values)
        for objective, best, values in zip(objectives, bests, fixed, strict=True)
    ]


def _versions(runs: Runs, errors: ArrayLike | None, importance: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """`[B, M]` errors and weights of mean 1."""
    given = {name: value for name, value in (("errors", errors), ("importance", importance)) if value is not None}
    try:
        arrays = {name: np.asarray(value, np.float64) for name, value in given.items()}
    except (TypeError, ValueError):
        raise InputError(f"{' and '.join(given)}: expected numbers") from None
    for name, value in arrays.items():
        if value.ndim != 2 or value.shape[1] != len(runs) or not len(value) or not np.all(np.isfinite(value)):
            raise InputError(f"{name} of shape {value.shape}: expected [B, {len(runs)}] finite numbers")
    counts = {len(value) for value in arrays.values()}
    if len(counts) > 1:
        raise InputError("errors and importance: expected the same number of versions")
    count = counts.pop() if counts else 1
    measured = np.broadcast_to(arrays.get("errors", runs.error), (count, len(runs)))
    weights = arrays.get("importance")
    if weights is None:
        return measured, np.broadcast_to(checked_importance(runs, None), (count, len(runs)))
    return measured, np.stack([checked_importance(runs, each) for each in weights])
