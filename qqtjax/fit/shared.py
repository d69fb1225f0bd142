"""What pools share, as functions of a vector whose prior is a standard normal: the outer half of a pooled fit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qqtjax.fit.parameters import Space

# Weak priors. The spread of a field over pools: half normal, of half the width that the law searches for a start.
# The noise: log-normal around half a percent of the range of the measured errors, a factor e either way.
SPREAD_SHARE, NOISE_SHARE, NOISE_WIDTH = 0.5, 0.005, 1.0
# Of that width; pools that differ by less count as one.
LEAST_SPREAD = 1e-5


class Outer(NamedTuple):
    """Shared coordinates, spreads and noise of B versions of a table.

    Shared logarithms are normal around the middle of the law's starting range, half its width; other shared
    coordinates are uniform between their bounds.

    Attributes:
        place: `[N']` which of the N coordinates of the layout are shared.
        logs: `[N']` are they logarithms.
        first: `[B, N']` middle, or lower bound.
        size: `[B, N']` width, or distance of the bounds.
        coordinates: N.
        widths: `[K]` of the pooled fields.
        spread: `[K]` those that are known, NaN where they are estimated.
        noise: `[B]` known, or the middle of its prior.
        noise_known: is it known.
    """

    place: np.ndarray
    logs: np.ndarray
    first: np.ndarray
    size: np.ndarray
    coordinates: int
    widths: np.ndarray
    spread: np.ndarray
    noise: np.ndarray
    noise_known: bool

    @property
    def dimensions(self) -> int:
        """Length of the vector."""
        return len(self.place) + int(np.sum(np.isnan(self.spread))) + int(not self.noise_known)

    def of(self, which: np.ndarray) -> Outer:
        """That of some of the versions."""
        return self._replace(first=self.first[which], size=self.size[which], noise=self.noise[which])

    def at(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates of the layout `[B, L, N]`, spreads `[B, L, K]`, noises `[B, L]` at vectors `[B, L, D]`."""
        from scipy import special

        count, is_open = len(self.place), np.isnan(self.spread)
        shared = np.zeros((*z.shape[:2], self.coordinates))
        share = np.where(self.logs, z[..., :count], special.ndtr(z[..., :count]))
        shared[..., self.place] = self.first[:, None] + self.size[:, None] * share
        spread = np.broadcast_to(self.spread, (*z.shape[:2], len(self.spread))).copy()
        # The quantile of a half normal, from above, where it is exact.
        half = -special.ndtri(0.5 * special.ndtr(-z[..., count : count + int(is_open.sum())]))
        spread[..., is_open] = SPREAD_SHARE * self.widths[is_open] * half
        noise = np.broadcast_to(self.noise[:, None], z.shape[:2])
        if not self.noise_known:
            noise = noise * np.exp(NOISE_WIDTH * z[..., -1])
        return shared, np.maximum(spread, LEAST_SPREAD * self.widths), noise


def outer_of(
    spaces: list[Space],
    place: np.ndarray,
    widths: np.ndarray,
    spread: np.ndarray,
    errors: np.ndarray,
    noise: float | None,
) -> Outer:
    """The outer half of a pooled fit to B versions of a table.

    Args:
        spaces: the search space of each version.
        place: `[N']` coordinates that pools share.
        widths: `[K]` half the starting ranges of the pooled fields.
        spread: `[K]` known spreads, NaN where they are estimated.
        errors: `[B, M]`.
        noise: sigma where it is known.
    """
    logs = np.array([spaces[0].ranges[index].log for index in place], bool)
    ends = np.array([each.place(np.array([[0.0], [1.0]]))[:, place] for each in spaces])
    boxes = np.array([np.array(each.box())[:, place] for each in spaces])
    first = np.where(logs, ends.mean(axis=1), boxes[:, 0])
    size = np.where(logs, 0.5 * np.abs(np.diff(ends, axis=1)[:, 0]), np.diff(boxes, axis=1)[:, 0])
    middle = NOISE_SHARE * np.ptp(errors, axis=1) if noise is None else np.full(len(errors), float(noise))
    return Outer(place, logs, first, size, len(spaces[0]), widths, spread, middle, noise is not None)
