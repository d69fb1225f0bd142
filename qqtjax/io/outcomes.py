"""Tables of stated probabilities and what came of them."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from qqtjax.io.cells import flags, numbers, refuse, require
from qqtjax.io.files import read_table


class Outcomes(NamedTuple):
    """N events.

    Attributes:
        probability: `[N]` stated, from 0 to 1.
        happened: `[N]` bool.
    """

    probability: np.ndarray
    happened: np.ndarray


def read_outcomes(source: str | os.PathLike[str]) -> Outcomes:
    """The columns `probability` and `outcome` of a CSV, JSON lines or Parquet file, one row an event.

    Args:
        source: a file; `-` is standard input. An outcome is 1, true or yes, or else 0, false or no.

    Returns:
        What `qqtjax.decide.reliability` takes.

    Raises:
        InputError: no such file or column, a cell that is no probability or no outcome; the text says which.
        MissingExtraError: Parquet without pyarrow.
    """
    frame, place = read_table(source)
    for column in ("probability", "outcome"):
        require(frame, column, place)
    probability = numbers(frame, "probability", place)
    outside = ~((probability >= 0) & (probability <= 1))
    refuse(outside, lambda row: probability[row], "a probability from 0 to 1", place, "probability")
    return Outcomes(probability, flags(frame, "outcome", place))
