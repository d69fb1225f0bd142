"""Intervals of parameters from draws, as numbers and as text."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import NamedTuple

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.draws import Draws


class Interval(NamedTuple):
    """Between which values a parameter lies.

    Attributes:
        field: the parameter.
        pool: of which pool; None where it is shared by all.
        estimate: of the fit.
        low: lower end.
        high: upper end.
    """

    field: str
    pool: str | None
    estimate: float
    low: float
    high: float


def parameter_intervals(draws: Draws, level: float = 0.95) -> tuple[Interval, ...]:
    """Equal-tailed intervals of every parameter that the draws vary.

    Args:
        draws: S draws.
        level: share of the draws inside.

    Returns:
        An `Interval` of each parameter, pool by pool where there is one a pool.

    Raises:
        InputError: a level that is not between 0 and 1.

    Example:
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C", roles=("single",))
        >>> fitted = qqt.fit(runs)
        >>> draws = Draws(fitted, qqt.draw_params(fitted, 500), "normal", float("inf"), ())
        >>> [each.field for each in parameter_intervals(draws)][:2]
        ['scale', 'utility']
    """
    if not 0 < level < 1:
        raise InputError(f"level {level!r}: expected a number between 0 and 1, for example 0.95")
    found = []
    for field in dataclasses.fields(draws.params):
        drawn = getattr(draws.params, field.name)
        if drawn is None or np.all(drawn == drawn[0]):
            continue
        ends = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
        estimate = np.asarray(getattr(draws.fitted.params, field.name))
        if drawn.ndim == 1:
            found.append(Interval(field.name, None, float(estimate), *ends.tolist()))
            continue
        estimate = np.broadcast_to(estimate, drawn.shape[1:])
        for index, pool in enumerate(draws.fitted.pools.names):
            if np.any(drawn[:, index] != drawn[0, index]):
                found.append(Interval(field.name, pool, float(estimate[index]), *ends[:, index].tolist()))
    return tuple(found)


def intervals_table(draws: Draws, level: float = 0.95) -> str:
    """The same as text that fits 80 columns, with the method and what it does not know.

    Args:
        draws: S draws.
        level: as for `parameter_intervals`.
    """
    rows = [("parameter", "estimate", "from", "to")]
    for field, pool, estimate, low, high in parameter_intervals(draws, level):
        name = field if pool is None else f"{field} of {pool}"
        rows.append((name, f"{estimate:.4g}", f"{low:.4g}", f"{high:.4g}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    head = f"{100 * level:.4g} % of {len(draws)} draws, {draws.method}:"
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    notes = [textwrap.fill(f"note: {note}", 80, subsequent_indent="  ") for note in draws.notes]
    return "\n".join([head, *lines, *notes])
