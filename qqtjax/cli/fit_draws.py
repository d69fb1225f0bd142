"""What `qqt fit --draws` adds to a fit: draws around it, and intervals of its parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

from qqtjax.cli import words
from qqtjax.errors import InputError

METHODS = ("residual", "wild", "runs", "posterior")
UNITS = ("run", "redraw", "seed")


class Drawing(NamedTuple):
    """What the user says about draws, as typed.

    Attributes:
        count: of draws; None: none are wanted.
        method: one of METHODS.
        by: one of UNITS.
        level: of the intervals.
        path: where the draws go.
    """

    count: int | None
    method: str | None
    by: str | None
    level: str | None
    path: str | None

    def check(self) -> None:
        """Raise `InputError` if an option cannot be understood, or says something of draws that nobody wants."""
        if self.count is None:
            for name, given in (("method", self.method), ("by", self.by), ("level", self.level)):
                if given is not None:
                    raise InputError(f"--{name}: applies to --draws")
            if self.path is not None:
                raise InputError("--save-draws: applies to --draws")
            return
        if self.path == "-":
            raise InputError("--save-draws: -: an archive, expected a file name")
        method = words.one_of(self.method or METHODS[0], METHODS, "--method")
        if self.by is not None:
            words.one_of(self.by, UNITS, "--by")
            if method == "posterior":
                raise InputError("--by: applies to a bootstrap, not to --method posterior")
        if not 0 < self.share < 1:
            raise InputError(f"--level: found {self.level}, expected a number between 0 and 1, such as .95")

    @property
    def share(self) -> float:
        """Level of the intervals."""
        return 0.95 if self.level is None else words.number(self.level, "--level")

    def draw(self, fitted: Any, runs: Any, seed: int) -> Any:
        """Draws around a fit; by whole runs, if not said otherwise, where every pool has several.

        Raises:
            InputError: as `draw`.
        """
        from qqtjax.fit.bootstrap import ResidualBootstrap, RunBootstrap, WildBootstrap
        from qqtjax.fit.clusters import Unit, several_runs
        from qqtjax.fit.drawing import Posterior, draw

        kind = self.method or METHODS[0]
        if fitted.diagnostics.pooled is not None and (self.method, self.by) == (None, None):
            return draw(fitted, runs, self.count or 1, seed=seed)
        if self.by is not None:
            by = Unit(self.by)
        else:
            by = Unit.RUN if kind == "runs" or several_runs(runs) else None
        if kind == "posterior":
            method = Posterior()
        elif kind == "runs":
            method = RunBootstrap(by or Unit.RUN)
        else:
            method = (ResidualBootstrap if kind == "residual" else WildBootstrap)(by)
        return draw(fitted, runs, self.count or 1, method, seed=seed)

    def document(self, draws: Any) -> dict[str, Any]:
        """Draws as plain data: how they were made, and the intervals."""
        from qqtjax.laws.intervals import parameter_intervals

        return {
            "count": len(draws),
            "method": draws.method,
            "freedom": draws.freedom if draws.freedom < float("inf") else None,
            "notes": list(draws.notes),
            "level": self.share,
            "intervals": [each._asdict() for each in parameter_intervals(draws, self.share)],
        }
