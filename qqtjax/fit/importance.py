"""Posterior means by adaptive importance sampling, where the prior is a standard normal; many problems side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Freedom of the proposals: tails wide enough that no weight runs away.
FREEDOM = 6.0
# A proposal follows at least this share of a round's points, their weights flattened until it does.
FOLLOWED = 0.25
RIDGE = 1e-9
IMPOSSIBLE = -1e300


class Proposal(NamedTuple):
    """Where a round of points was drawn from, in B problems.

    Attributes:
        centre: `[B, D]`.
        factor: `[B, D, D]` lower factor of the scale matrix.
        freedom: of the multivariate t; infinite: normal.
    """

    centre: np.ndarray
    factor: np.ndarray
    freedom: float

    def draw(self, count: int, seed: tuple[int, int]) -> np.ndarray:
        """`[B, count, D]` points, the same quasi-random ones moved into each problem's place.

        Args:
            count: a power of two.
            seed: of the scrambling.
        """
        from scipy import special
        from scipy.stats import chi2, qmc

        dimensions = self.centre.shape[1]
        share = qmc.Sobol(dimensions + 1, rng=np.random.default_rng(seed)).random(count)
        # Off the ends of the unit interval, which scrambled points may touch.
        share = (share * (1 - 2.0**-40)) + 2.0**-41
        steps = special.ndtri(share[:, :-1])
        if np.isfinite(self.freedom):
            steps = steps * np.sqrt(self.freedom / chi2.ppf(share[:, -1:], self.freedom))
        return self.centre[:, None] + np.einsum("bij,lj->bli", self.factor, steps)

    def of(self, chosen: np.ndarray) -> Proposal:
        """That of some of the problems."""
        return Proposal(self.centre[chosen], self.factor[chosen], self.freedom)

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """`[B, L]` at `[B, L, D]` points."""
        from scipy import special

        dimensions, freedom = points.shape[2], self.freedom
        steps = np.einsum("bij,blj->bli", np.linalg.inv(self.factor), points - self.centre[:, None])
        square = np.sum(steps**2, axis=-1)
        volume = np.sum(np.log(np.diagonal(self.factor, axis1=1, axis2=2)), axis=-1)[:, None]
        if not np.isfinite(freedom):
            return -0.5 * square - volume - 0.5 * dimensions * np.log(2 * np.pi)
        constant = (
            special.gammaln((freedom + dimensions) / 2)
            - special.gammaln(freedom / 2)
            - 0.5 * dimensions * np.log(freedom * np.pi)
        )
        return constant - volume - 0.5 * (freedom + dimensions) * np.log1p(square / freedom)


class Sample(NamedTuple):
    """Weighted points of B posteriors.

    Attributes:
        points: `[B, N, D]`.
        weights: `[B, N]`, of sum 1.
        effective: `[B]` how many equally weighted points they are worth: 1 / sum of squared weights.
    """

    points: np.ndarray
    weights: np.ndarray
    effective: np.ndarray

    def mean(self, values: np.ndarray) -> np.ndarray:
        """`[B, ...]` posterior mean of what was found at the points, `[B, N, ...]`."""
        return np.einsum("bn,bn...->b...", self.weights, values)

    def resampled(self, count: int) -> np.ndarray:
        """`[B, count, D]` points that weigh the same: those at evenly spaced shares of the summed weights."""
        shares = (np.arange(count) + 0.5) / count
        total = np.cumsum(self.weights, axis=1)
        picked = [np.searchsorted(each / each[-1], shares) for each in total]
        return np.take_along_axis(self.points, np.array(picked)[..., None], axis=1)


def sample(
    log_likelihood: Callable[[np.ndarray, np.ndarray], np.ndarray],
    problems: int,
    dimensions: int,
    lanes: int,
    rounds: int,
    enough: float,
    seed: int,
) -> Sample:
    """Weighted points of the posterior p(z | y) ~ exp(l(z)) N(z; 0, I) of each problem.

    The first round comes from the prior; every later one from a multivariate t with the mean and covariance of all
    points so far. All points are weighted by the posterior over the mixture of all proposals, so that no early choice
    stays. Source: Cornuet, Marin, Mira, Robert, "Adaptive multiple importance sampling", Scand. J. Stat. 39 (2012).

    Args:
        log_likelihood: `[R, L, D]` points and which R of the problems they are for, to `[R, L]`; not finite:
            impossible.
        problems: B.
        dimensions: D >= 1.
        lanes: L, points of a round, a power of two.
        rounds: most rounds.
        enough: effective points after which a problem needs no more.
        seed: of the points; the same seed gives the same bytes.

    Returns:
        `Sample`; N is at most L times the rounds, points that none uses left out.

    Example:
        >>> found = sample(lambda z, which: -50.0 * (z[..., 0] - 1.0) ** 2, 1, 1, 64, 8, 100.0, 0)
        >>> bool(abs(found.mean(found.points[..., 0])[0] - 100 / 101) < 1e-3)
        True
    """
    from scipy import special

    running = np.arange(problems)
    centre, factor = (
        np.zeros((problems, dimensions)),
        np.broadcast_to(np.eye(dimensions), (problems, *[dimensions] * 2)),
    )
    proposals: list[Proposal] = []
    points, heights = np.zeros((problems, 0, dimensions)), np.zeros((problems, 0))
    drawn = np.zeros((problems, 0))
    everywhere, weights = np.zeros((problems, rounds * lanes, dimensions)), np.zeros((problems, rounds * lanes))
    effective = np.zeros(problems)
    for turn in range(rounds):
        latest = Proposal(centre, factor, FREEDOM if turn else np.inf)
        proposals.append(latest)
        new = latest.draw(lanes, (seed, turn))
        height = log_likelihood(new, running) - 0.5 * np.sum(new**2, axis=-1)
        # Over all proposals: the new one is added at the old points, all of them at the new points.
        drawn = np.logaddexp(drawn, latest.log_density(points))
        at_new = np.asarray(special.logsumexp([each.log_density(new) for each in proposals], axis=0))
        drawn = np.concatenate([drawn, at_new], axis=1)
        points = np.concatenate([points, new], axis=1)
        heights = np.concatenate([heights, np.where(np.isfinite(height), height, -np.inf)], axis=1)
        logs = np.where(np.isfinite(heights), heights - drawn, IMPOSSIBLE)
        weight = _normalised(logs)
        worth = np.where(np.any(np.isfinite(heights), axis=1), 1.0 / np.sum(weight**2, axis=1), 0.0)
        everywhere[running, : points.shape[1]], weights[running, : points.shape[1]] = points, weight
        effective[running] = worth
        short = worth < enough
        if not np.any(short):
            break
        running, points, heights, drawn = running[short], points[short], heights[short], drawn[short]
        proposals = [each.of(short) for each in proposals]
        centre, factor = _moments(points, _flattened(logs[short], FOLLOWED * lanes))
    used = np.any(weights > 0, axis=0)
    return Sample(everywhere[:, used], weights[:, used], effective)


def _normalised(logs: np.ndarray) -> np.ndarray:
    weights = np.exp(logs - np.max(logs, axis=1, keepdims=True))
    return weights / np.sum(weights, axis=1, keepdims=True)


def _flattened(logs: np.ndarray, wanted: float) -> np.ndarray:
    """Weights to the highest power, at most 1, at which they are worth the wanted number of points."""
    power = np.ones((len(logs), 1))
    top = logs - np.max(logs, axis=1, keepdims=True)
    for _ in range(40):
        weights = _normalised(power * top)
        short = 1.0 / np.sum(weights**2, axis=1, keepdims=True) < wanted
        if not np.any(short):
            break
        power = np.where(short, 0.8 * power, power)
    return _normalised(power * top)


def _moments(points: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centre = np.einsum("bn,bnd->bd", weights, points)
    away = points - centre[:, None]
    covariance = np.einsum("bn,bni,bnj->bij", weights, away, away) + RIDGE * np.eye(points.shape[2])
    return centre, np.linalg.cholesky(covariance)
