"""The training runs that may be made next, best first."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from qqtjax.design import NextRun
from qqtjax.design.next_run import Worth
from qqtjax.errors import InputError
from qqtjax.plot.axes import count_ticks, own_panels
from qqtjax.plot.colours import FAINT, NEUTRAL, pool_colours
from qqtjax.text import show_count

SHOWN = 12
LONGEST = 30  # characters of a run's name
UNIT = 1e6  # samples


def next_run(found: NextRun, *, shown: int = SHOWN, axes: Any = None) -> np.ndarray:
    """How much regret each training run saves for every million samples, and what is left after it.

    A bar is divided into the shares of the pools that the run would train on. Whiskers are two standard errors over
    the draws, which all runs share: differences are surer than they look. Unless it is among the first, the run that
    saves most, whatever it costs, stands last.

    Args:
        found: of `qqtjax.design.next_run`.
        shown: how many of the first.
        axes: two matplotlib Axes, by default of a new figure.

    Returns:
        `[2]` Axes: regret saved for a million samples, regret left.

    Raises:
        MissingExtraError: no matplotlib.
        InputError: another number of Axes; none shown.

    Example:
        >>> from qqtjax.design import next_run as next_run_of
        >>> import qqtjax as qqt
        >>> runs = qqt.wordclip("C")
        >>> first = runs.select(runs.single & (runs.samples_seen <= 20e3))
        >>> answer = next_run_of(first, 160e3, noise=0.01, filters_only=True, checkpoints=(1, 2, 4))
        >>> [axes.get_xlabel() for axes in next_run(answer)]
        ['regret saved for each 1M samples', 'expected regret after the run']
    """
    if shown < 1:
        raise InputError(f"shown {shown!r}: expected 1 or more")
    rows = list(found.rows[:shown])
    rows += [] if found.most in rows else [found.most]
    saved, left = own_panels(axes, 1, 2, 9.6, 1.5 + 0.28 * max(len(rows), 6))[0]
    places = np.arange(len(rows))
    per = UNIT * np.array([row.per_sample for row in rows])
    weights = np.array([row.run.weights for row in rows])
    start = np.zeros(len(rows))
    for pool, (name, colour) in enumerate(pool_colours(found.pools).items()):
        part = per * weights[:, pool]
        if weights[:, pool].any():
            saved.barh(places, part, left=start, color=colour, label=name)
        start += part
    doubt = np.array([row.reduction_error for row in rows])
    cost = np.array([row.run.cost for row in rows])
    style: dict[str, Any] = {"fmt": "none", "ecolor": NEUTRAL, "elinewidth": 1, "capsize": 2}
    saved.errorbar(per, places, xerr=2 * UNIT * doubt / cost, **style)
    saved.set_yticks(places, [_said(row) + (", most saved" if row is found.most else "") for row in rows])
    saved.set_ylabel("trained on, samples")
    saved.axvline(0, color=NEUTRAL, linewidth=0.8)
    saved.set_xlabel(f"regret saved for each {show_count(UNIT)} samples")
    saved.legend(frameon=False, fontsize="small", loc="lower right")
    regret = np.array([row.regret for row in rows])
    left.hlines(places, regret, found.regret, color=FAINT, linewidth=2)
    left.errorbar(regret, places, xerr=2 * doubt, **style)
    left.plot(regret, places, "o", color=NEUTRAL, markersize=5, label="after the run")
    left.axvline(found.regret, color=NEUTRAL, linewidth=1, linestyle="--", label=f"now: {found.regret:.2g}")
    left.set_yticks(places, [""] * len(rows))
    left.set_xlim(0, 1.05 * max(found.regret, float(np.max(regret + 2 * doubt))) or 1.0)
    left.set_xlabel("expected regret after the run")
    left.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for panel in (saved, left):
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.xaxis.set_major_locator(importlib.import_module("matplotlib.ticker").MaxNLocator(4))
        count_ticks(panel.xaxis)
    return np.array([saved, left], object)


def _said(row: Worth) -> str:
    """What is trained on, and for how long."""
    what = row.run.name if row.run.resumes is None else f"continue {row.run.resumes}"
    return f"{what if len(what) <= LONGEST else what[: LONGEST - 2] + '..'}, {show_count(row.run.cost, 3)}"
