"""What a bake-off found: scores, differences, who was left out; as text, table and JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qqtjax.bakeoff.paired import Difference, difference
from qqtjax.errors import InputError
from qqtjax.fit.model import Model
from qqtjax.plain import to_plain

if TYPE_CHECKING:
    import pandas

SCHEMA, SCHEMA_VERSION = "qqtjax.bakeoff", 1
STACKED = "stacked"


class Score(NamedTuple):
    """How one law did on one target's held-out checkpoints.

    Attributes:
        metric: the target.
        law: name of the law.
        mae: mean absolute error, in the unit of the metric.
        rmse: root mean squared error.
        bias: mean of predicted minus measured.
        rank: Spearman's rank correlation.
        coverage: share of the held-out checkpoints inside the interval of nominal level.
        half_width: mean half width of these intervals; infinite where inner folds were too small for the level.
        regret: of choosing by prediction, see `scores.Decisions`.
        pairs_right: share of pairs ordered as measured.
        inner_mae: mean absolute error of the inner folds, inside the training split.
        parameters: fitted; 0 for baselines.
        converged: share of the outer fits that ended at an optimum.
        agreeing: share of their starts that ended at the best objective.
        huber: share of the outer fits for which inner folds chose the Huber loss.
        apart: was each size of the model fitted on its own.
        seconds: of all fits of this law on this table, compilation included, shared by its targets.
    """

    metric: str
    law: str
    mae: float
    rmse: float
    bias: float
    rank: float
    coverage: float
    half_width: float
    regret: float
    pairs_right: float
    inner_mae: float
    parameters: int
    converged: float
    agreeing: float
    huber: float
    apart: bool
    seconds: float


@dataclasses.dataclass(frozen=True, eq=False)
class Bakeoff:
    """Laws against each other on checkpoints that none of them was fitted on; H of them, T targets.

    Attributes:
        split: what was held out, as typed.
        seed: of split, starts and resampling.
        level: nominal coverage of the intervals.
        checkpoints: fitted (in the first fold) and held out.
        scores: one for each target and law, laws in the order of their mean absolute error over targets.
        left_out: `{law: reason}`.
        weights: `{metric: {law: weight}}` of the stacked mean of laws, chosen by the inner folds.
        rows: `[H]` which checkpoints of a target's table were held out.
        block: `[H]` run or mixture of each, for differences.
        measured: `{metric: [H]}`.
        predicted: `{metric: {law: [H]}}`.
        settings: what else was asked for.
        models: `{metric: {law: how most of its outer fits were fitted}}`; not kept in files.
    """

    split: str
    seed: int
    level: float
    checkpoints: tuple[int, int]
    scores: tuple[Score, ...]
    left_out: dict[str, str]
    weights: dict[str, dict[str, float]]
    rows: np.ndarray
    block: np.ndarray
    measured: dict[str, np.ndarray]
    predicted: dict[str, dict[str, np.ndarray]]
    settings: dict[str, Any]
    models: dict[str, dict[str, Model]] = dataclasses.field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The targets."""
        return tuple(self.measured)

    @property
    def laws(self) -> tuple[str, ...]:
        """Who took part, closest first, the mean over targets."""
        return tuple(dict.fromkeys(score.law for score in self.scores))

    def score(self, law: str, metric: str | None = None) -> Score:
        """How a law did: on one target, or the mean over all of them.

        Raises:
            InputError: a law that did not take part, or an unknown metric.
        """
        if law not in self.laws:
            raise InputError(f"law {law!r} did not take part: expected one of {', '.join(self.laws)}")
        found = [each for each in self.scores if each.law == law and metric in (None, each.metric)]
        if not found:
            raise InputError(f"unknown metric {metric!r}: the table has {', '.join(self.metrics)}")
        if len(found) == 1:
            return found[0]
        means = {name: float(np.mean([getattr(each, name) for each in found])) for name in Score._fields[2:-1]}
        whole = {"parameters": found[0].parameters, "apart": found[0].apart, "seconds": found[0].seconds}
        return Score("mean", law, **{**means, **whole})

    def difference(self, first: str, second: str, metric: str | None = None) -> Difference:
        """Mean absolute error of one law minus another's, its interval over whole runs or mixtures.

        Args:
            first: the one law.
            second: the other.
            metric: one target; None: the mean over all.
        """
        chosen = self.metrics if metric is None else (metric,)
        misses = [
            np.mean([np.abs(self.predicted[each][law] - self.measured[each]) for each in chosen], axis=0)
            for law in (self.score(first, metric).law, self.score(second, metric).law)
        ]
        return difference((first, misses[0]), (second, misses[1]), self.block, self.seed)

    def to_frame(self) -> pandas.DataFrame:
        """One row a target and law."""
        import pandas

        return pandas.DataFrame([each._asdict() for each in self.scores])

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data."""
        document = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del document["models"]
        document["scores"] = [each._asdict() for each in self.scores]
        document["differences"] = [self.difference(law, self.laws[0])._asdict() for law in self.laws[1:]]
        return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **to_plain(document)}

    def __str__(self) -> str:
        from qqtjax.bakeoff.text import bakeoff_table

        return bakeoff_table(self)


def load_bakeoff(path: str | Path) -> Bakeoff:
    """The result that `qqt bakeoff -o` or `json.dump(result.to_dict())` wrote.

    Args:
        path: the file.

    Returns:
        The `Bakeoff`, without its models: how laws were fitted is not in the file.

    Raises:
        InputError: not such a file.

    Example:
        >>> load_bakeoff("README.md")
        Traceback (most recent call last):
        qqtjax.errors.InputError: README.md: no JSON, expected a result of qqt bakeoff
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as problem:
        raise InputError(f"{path}: cannot be read ({problem.strerror})") from None
    except ValueError:
        raise InputError(f"{path}: no JSON, expected a result of qqt bakeoff") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise InputError(f"{path}: expected a result of qqt bakeoff (schema {SCHEMA})")
    if document["schema_version"] != SCHEMA_VERSION:
        raise InputError(f"{path}: schema version {document['schema_version']}, expected {SCHEMA_VERSION}")
    return Bakeoff(
        **{name: document[name] for name in ("split", "seed", "left_out", "weights", "settings")},
        level=float(document["level"]),
        checkpoints=tuple(document["checkpoints"]),
        scores=tuple(Score(**{name: _number(value) for name, value in each.items()}) for each in document["scores"]),
        rows=np.array(document["rows"], int),
        block=np.array(document["block"], int),
        measured={name: np.array(each, np.float64) for name, each in document["measured"].items()},
        predicted={
            name: {law: np.array(each, np.float64) for law, each in laws.items()}
            for name, laws in document["predicted"].items()
        },
    )


def _number(value: Any) -> Any:
    return float(value) if value in ("nan", "inf", "-inf") else value
