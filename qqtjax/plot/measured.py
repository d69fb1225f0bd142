"""What figures need of a measured table: that it fits the law, and predictions of its rows."""

from __future__ import annotations

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.fitted import FittedLaw, evaluate
from qqtjax.runs import Runs


def check_table(fitted: FittedLaw, runs: Runs) -> None:
    """Raise `InputError` unless a table has one metric and the pools of the law."""
    if len(runs.metric_names) > 1:
        raise InputError(
            f"the table has the metrics {', '.join(runs.metric_names)}: choose one with runs.for_metric(name)"
        )
    if fitted.pools.names != runs.pools.names:
        raise InputError(
            f"the table's pools {', '.join(runs.pools.names)} are not the law's {', '.join(fitted.pools.names)}"
        )


def predicted_errors(fitted: FittedLaw, runs: Runs) -> np.ndarray:
    """`[M]` errors that a law predicts for the checkpoints of a table.

    Raises:
        InputError: several metrics, or other pools than the law's.
    """
    check_table(fitted, runs)
    return evaluate(fitted.law, fitted.params, runs.as_run())
