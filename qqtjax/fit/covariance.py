"""The covariance of what was fitted: of independent checkpoints, or of whole runs (a sandwich)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qqtjax.errors import InputError
from qqtjax.fit.bootstrap import column_space, given_back
from qqtjax.fit.clusters import Unit, run_notes, units_by_source, units_of
from qqtjax.fit.diagnose import diagnose
from qqtjax.fit.problem import Problem, problem_of
from qqtjax.laws import FittedLaw
from qqtjax.laws.draws import Draws
from qqtjax.runs import Runs


class Covariance(NamedTuple):
    """A square root of the covariance of the coordinates of a fit (logarithms of scale, utility, half-life, ..).

    Attributes:
        names: `[F]` of the coordinates.
        factor: `[K, F]`: the covariance is its transpose times itself; 0 for coordinates at a bound.
        freedom: degrees of freedom of the noise that it rests on.
        notes: what it does not know.
    """

    names: tuple[str, ...]
    factor: np.ndarray
    freedom: float
    notes: tuple[str, ...]

    @property
    def standard_errors(self) -> np.ndarray:
        """`[F]` of the coordinates; 0 at a bound."""
        return np.linalg.norm(self.factor, axis=0)


def covariance(
    fitted: FittedLaw, runs: Runs, by: Unit | None = None, *, importance: np.ndarray | None = None
) -> Covariance:
    """The covariance of the parameters around a fit, from its Jacobian.

        s^2 (J^T W J)^-1                                                   checkpoints independent
        sum_g u_g u_g^T,   u_g = (J^T W J)^-1 J_g^T W_g^1/2 (I - H_gg)^-1/2 r_g     runs (redraws, seeds) g independent

    with r the weighted residuals and H their hat matrix. The sandwich lets checkpoints of a run share their noise; it
    rests on as many degrees of freedom as there are runs beyond one for each pool. Source: Bell and McCaffrey, Survey
    Methodology 28 (2002), "CR2"; Liang and Zeger, Biometrika 73 (1986).

    Args:
        fitted: a fit.
        runs: the table that was fitted.
        by: None: independent checkpoints; else what varies as a whole.
        importance: `[M]` weights of the checkpoints, if the fit was given any.

    Returns:
        A `Covariance`.

    Raises:
        InputError: as `problem_of`; no checkpoint beyond the parameters; a pool with one run, where runs are asked for.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C", roles=("single",))
        >>> fitted = qqt.fit(runs)
        >>> alone, whole = covariance(fitted, runs), covariance(fitted, runs, Unit.RUN)
        >>> alone.names[0], bool(alone.standard_errors[0] < whole.standard_errors[0]), whole.freedom
        ('scale', True, 10.0)
    """
    return _of(problem_of(fitted, runs, importance), runs, by)


def _of(problem: Problem, runs: Runs, by: Unit | None) -> Covariance:
    weight = np.asarray(problem.data.importance)
    found = diagnose(problem.space, problem.x, problem.residuals, problem.slopes, weight, problem.objective.huber)
    if not np.any(found.factor):
        raise InputError(f"{len(problem.space)} free parameters from {len(runs)} checkpoints: no standard errors")
    notes = run_notes(runs, by)
    if by is None:
        return Covariance(problem.space.names, found.factor, float(np.count_nonzero(weight) - len(found.factor)), notes)
    by_source = units_by_source(runs, by)
    freedom = float(sum(len(own) - 1 for own in by_source.values()))
    labels, root = units_of(runs, by), np.sqrt(weight)
    moved = np.any(found.factor != 0, axis=0)
    weighted = root[:, None] * problem.slopes * moved
    noise = given_back(-root * problem.residuals, column_space(weighted), labels)
    pulls = np.stack([weighted[labels == label].T @ noise[labels == label] for label in range(labels.max() + 1)])
    # diagnose's factor is s (J^T W J)^-1/2: squared and without s it is the bread.
    bread = np.linalg.pinv(weighted.T @ weighted, rcond=1e-18, hermitian=True)
    return Covariance(problem.space.names, pulls @ bread, freedom, notes)


def draw_normal(
    fitted: FittedLaw,
    runs: Runs,
    count: int,
    by: Unit | None = None,
    *,
    seed: int = 0,
    importance: np.ndarray | None = None,
) -> Draws:
    """Draw parameters from Student's t around a fit: its covariance, with the size of the noise uncertain as well.

        x_s = x + sqrt(nu / c_s) L^T z_s,   z_s ~ N(0, I),   c_s ~ chi^2_nu,   L^T L the covariance

    in the coordinates of the fit, kept to its bounds.

    Args:
        fitted: a fit.
        runs: the table that was fitted.
        count: S >= 1 draws.
        by: as for `covariance`.
        seed: of the random numbers; the same seed gives the same bytes.
        importance: as for `covariance`.

    Returns:
        `Draws`.

    Raises:
        InputError: as `covariance`, or a wrong count.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C", roles=("single",))
        >>> draw_normal(qqt.fit(runs), runs, 100).params.utility.shape
        (100, 5)
    """
    if not (isinstance(count, int | np.integer) and count >= 1):
        raise InputError(f"draws {count!r}: expected a whole number >= 1")
    problem = problem_of(fitted, runs, importance)
    found = _of(problem, runs, by)
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((count, len(found.factor)))
    sizes = np.sqrt(found.freedom / rng.chisquare(found.freedom, (count, 1)))
    moved = np.clip(problem.x + sizes * steps @ found.factor, *problem.space.box())
    with jax.enable_x64(True):
        unpack = jax.vmap(problem.objective.layout.unpack, in_axes=(0, None), out_axes=0)
        params = unpack(jnp.asarray(moved), problem.data.fixed)
    whole = "independent checkpoints" if by is None else f"whole {by.value}s"
    return Draws(fitted, jax.tree.map(np.asarray, params), f"Student's t of {whole}", found.freedom, found.notes)
