"""The covariance of what was fitted: of independent checkpoints, or of whole runs (a sandwich)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qqtjax.errors import InputError
from qqtjax.fit.bootstrap import column_space, given_back
from qqtjax.fit.clusters import Unit, run_notes, units_by_source, units_of
from qqtjax.fit.diagnose import NULL_DIRECTION, diagnose
from qqtjax.fit.problem import Problem, problem_of
from qqtjax.laws import FittedLaw
from qqtjax.laws.draws import Draws
from qqtjax.runs import Runs


class Covariance(NamedTuple):
    """A square root of the covariance of the coordinates of a fit (logarithms of scale, utility, half-life, ..).

    Attributes:
        names: `[F]` of the coordinates.
        factor: `[K, F]`: the covariance is its transpose times itself; 0 for coordinates at a bound.
        freedom: `[F]` degrees of freedom of the noise that each rests on.
        notes: what it does not know.
    """

    names: tuple[str, ...]
    factor: np.ndarray
    freedom: np.ndarray
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

    with r the weighted residuals and H their hat matrix. The sandwich lets checkpoints of a run share their noise. Few
    runs estimate it badly, and what concerns one pool rests on few of them: each coordinate has the degrees of freedom
    of its own estimated variance (Satterthwaite's). Source: Bell and McCaffrey, Survey Methodology 28 (2002), "CR2" and
    its freedom; Liang and Zeger, Biometrika 73 (1986).

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
        >>> alone.names[0], bool(alone.standard_errors[0] < whole.standard_errors[0]), bool(whole.freedom[0] < 15)
        ('scale', True, True)
    """
    return _of(problem_of(fitted, runs, importance), runs, by)


def _of(problem: Problem, runs: Runs, by: Unit | None) -> Covariance:
    weight = np.asarray(problem.data.importance)
    found = diagnose(problem.space, problem.x, problem.residuals, problem.slopes, weight, problem.objective.huber)
    if not np.any(found.factor):
        raise InputError(f"{len(problem.space)} free parameters from {len(runs)} checkpoints: no standard errors")
    notes = run_notes(runs, by)
    if by is None:
        freedom = np.full(len(problem.x), float(np.count_nonzero(weight) - len(found.factor)))
        return Covariance(problem.space.names, found.factor, freedom, notes)
    units_by_source(runs, by)
    weighted = np.sqrt(weight)[:, None] * problem.slopes * np.any(found.factor != 0, axis=0)
    return Covariance(
        problem.space.names, *sandwich(weighted, -np.sqrt(weight) * problem.residuals, units_of(runs, by)), notes
    )


def sandwich(slopes: np.ndarray, noise: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A square root of the CR2 covariance of least squares, and the degrees of freedom of each coordinate.

    Args:
        slopes: `[M, F]` derivatives of the weighted predictions; 0 for coordinates that do not move.
        noise: `[M]` weighted residuals.
        labels: `[M]` units that vary as a whole, 0 .. G - 1.

    Returns:
        `[G, F]`, and `[F]` (infinite for coordinates that do not move).
    """
    norms = np.linalg.norm(slopes, axis=0)
    safe = np.where(norms > 0, norms, 1.0)
    _, singular, right = np.linalg.svd(slopes / safe, full_matrices=False)
    inverse = np.where(singular > NULL_DIRECTION * singular[0], 1 / np.maximum(singular, 1e-300), 0.0)
    bread = (right.T * inverse**2) @ right / safe / safe[:, None]
    basis = column_space(slopes)
    given = given_back(np.column_stack([noise, slopes @ bread]), basis, labels)
    count = labels.max() + 1
    factor = np.stack([slopes[labels == g].T @ given[labels == g, 0] for g in range(count)]) @ bread
    # What the estimate makes of the noise of each unit, were that noise of one size: [F, G, M].
    effect = np.zeros((slopes.shape[1], count, len(labels)))
    for g in range(count):
        own = labels == g
        effect[:, g, own] = given[own, 1:].T
    effect -= (effect @ basis) @ basis.T
    products = effect @ effect.transpose(0, 2, 1)
    total, squares = np.trace(products, axis1=1, axis2=2), np.sum(products**2, axis=(1, 2))
    return factor, np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1.0), np.inf)


def noise_sizes(freedom: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """`[*shape, F]` sqrt(nu / c), c one quantile of chi^2_nu for all coordinates: each is Student's t by itself."""
    from scipy import stats

    share = rng.random((*shape, 1))
    different, place = np.unique(freedom, return_inverse=True)
    finite = np.where(np.isfinite(different), different, 1.0)
    each = np.where(np.isfinite(different), np.sqrt(finite / stats.chi2.ppf(share, finite)), 1.0)
    return each[..., place]


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

    in the coordinates of the fit, kept to its bounds. Where coordinates differ in nu each has its own c, of
    one quantile.

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
    sizes = noise_sizes(found.freedom, (count,), rng)
    moved = np.clip(problem.x + sizes * (steps @ found.factor), *problem.space.box())
    with jax.enable_x64(True):
        unpack = jax.vmap(problem.objective.layout.unpack, in_axes=(0, None), out_axes=0)
        params = unpack(jnp.asarray(moved), problem.data.fixed)
    whole = "independent checkpoints" if by is None else f"whole {by.value}s"
    return Draws(
        fitted, jax.tree.map(np.asarray, params), f"Student's t of {whole}", float(found.freedom.min()), found.notes
    )
