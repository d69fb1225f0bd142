"""What a report shows, gathered: results only, so that writing the page computes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qqtjax.decide import NearBest, Prediction
from qqtjax.laws import FittedLaw
from qqtjax.mix import Mix
from qqtjax.plain import to_plain
from qqtjax.plan import Plan
from qqtjax.runs import Runs

if TYPE_CHECKING:
    from qqtjax.design import NextRun

SCHEMA, SCHEMA_VERSION = "qqtjax.report", 1


class Curves(NamedTuple):
    """Predicted errors along the budget.

    Attributes:
        budgets: `[G]` samples seen, ascending.
        names: of the F lines.
        error: `[F, G]` predicted.
    """

    budgets: np.ndarray
    names: tuple[str, ...]
    error: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Preset:
    """The plan for one set of pool sizes, with what a page shows beside it.

    Attributes:
        name: in words.
        sizes: `{pool: size}` of the pools that are planned for at another size than fitted.
        plan: as `qqtjax.plan` gives it for these sizes.
        near: B ranges over which the weights of the best mix may move; empty where there are none.
        mix: B predictions of the best mix with intervals; empty without draws.
        capped: B best mixes within the most epochs, None where so many epochs do not suffice; empty without a limit.
        curves: every filter's error along the budget.
    """

    name: str
    sizes: dict[str, float]
    plan: Plan
    near: tuple[NearBest, ...]
    mix: tuple[Prediction, ...]
    capped: tuple[Mix | None, ...]
    curves: Curves


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where a report comes from.

    Attributes:
        table: name of the file that was read, or of the runs that come with the package.
        sha256: of its bytes, in hexadecimal, or None where it is no single file.
        command: that made the report, as typed, or nothing.
        date: in words, or nothing.
        seed: of every random number.
    """

    table: str = ""
    sha256: str | None = None
    command: str = ""
    date: str = ""
    seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """All that a report shows.

    Attributes:
        fit: the law that the plan is made with.
        runs: the measured table, one metric.
        predicted: `[M]` errors that the law predicts for the checkpoints.
        pools: every pool's learning curve under the law, as far as it was measured.
        presets: one or more; the first is shown first.
        max_epochs: limit of `Preset.capped`, or None.
        next_run: the run that is worth making next, or None.
        no_next_run: why there is none, in words.
        unsure: why nothing is known of how sure the answer is, in words; empty where there are draws.
        versions: `{package: version}`.
        provenance: where all this comes from.
    """

    fit: FittedLaw
    runs: Runs
    predicted: np.ndarray
    pools: Curves
    presets: tuple[Preset, ...]
    max_epochs: float | None
    next_run: NextRun | None
    no_next_run: str
    unsure: str
    versions: dict[str, str]
    provenance: Provenance

    def to_dict(self) -> dict[str, Any]:
        """Everything but the measured table as plain data for JSON."""
        from qqtjax.io.saved import fit_to_dict

        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "provenance": to_plain(self.provenance),
            "versions": self.versions,
            "checkpoints": len(self.runs),
            "presets": [
                {
                    "name": preset.name,
                    "sizes": preset.sizes,
                    "plan": preset.plan.to_dict(),
                    "near_best": [to_plain(each._asdict()) for each in preset.near],
                    "mix_intervals": [to_plain(each._asdict()) for each in preset.mix],
                    "max_epochs": self.max_epochs,
                    "mixes_within_max_epochs": [None if each is None else each.to_dict() for each in preset.capped],
                }
                for preset in self.presets
            ],
            "next_run": None if self.next_run is None else self.next_run.to_dict(),
            "no_next_run": self.no_next_run,
            "fit": fit_to_dict(self.fit),
        }

    def to_html(self) -> str:
        """The page: one document that needs nothing else, and no network.

        Raises:
            MissingExtraError: no plotly or no jinja2.
        """
        from qqtjax.report.page import page

        return page(self)

    def save(self, path: str | Path) -> None:
        """Write the page whole or not at all.

        Args:
            path: of the file.

        Raises:
            MissingExtraError: no plotly or no jinja2.
            InputError: it cannot be written.
        """
        from qqtjax.io.whole import write_whole

        write_whole(self.to_html().encode(), path)

    def __str__(self) -> str:
        plan = self.presets[0].plan
        return f"report of {len(plan.rows)} budgets and {len(self.presets)} sets of pool sizes\n\n{plan}"
