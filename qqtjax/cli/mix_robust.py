"""`qqt mix --robust`: one mix for all that the fits leave open."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np

from qqtjax.cli import options as o
from qqtjax.cli import words
from qqtjax.errors import InputError

DOUBTS = "Robust to what the fit leaves open"


class Robust(enum.StrEnum):
    """What is minimised over draws of the parameters."""

    MEAN = "mean"
    CVAR = "cvar"
    WORST = "worst"


Kind = Annotated[
    Robust | None,
    o.option(
        "--robust",
        group=DOUBTS,
        help="One mix for all draws: the least mean, mean of the worst (cvar) or worst error. Several FITs are "
        "several laws for the same metric.",
    ),
]
Level = Annotated[
    float | None, o.option(group=DOUBTS, metavar="SHARE", help="Of cvar: .9, the default, is the worst tenth.")
]
Count = Annotated[int | None, o.option("--draws", group=DOUBTS, metavar="N", help="Draws of each fit; 256 by default.")]
Regret = Annotated[
    bool, o.option("--regret", group=DOUBTS, help="Judge each draw by how far above its own best error a mix is.")
]
LawWeights = Annotated[
    list[str] | None,
    o.option("--law-weight", group=DOUBTS, metavar="NAME=WEIGHT,..", help="How likely each of several FITs is."),
]
DRAWS, MOST_DRAWS, LEVEL = 256, 10_000, 0.9


def check_options(
    robust: Robust | None, level: float | None, draws: int | None, regret: bool, weights: list[str] | None
) -> None:
    """Raise `InputError` for options that need another, or numbers out of range."""
    given = {"--level": level is not None, "--draws": draws is not None, "--regret": regret, "--law-weight": weights}
    for name in (name for name, used in given.items() if used and robust is None):
        raise InputError(f"{name}: needs --robust")
    if level is not None and robust is not Robust.CVAR:
        raise InputError("--level: needs --robust cvar")
    if level is not None and not 0 <= level < 1:
        raise InputError(f"--level: found {level:g}, expected a number from 0 to below 1")
    if draws is not None and not 1 <= draws <= MOST_DRAWS:
        raise InputError(f"--draws: found {draws}, expected a whole number from 1 to {MOST_DRAWS}")


def robust_mixes(
    laws: dict[str, Any],
    budgets: list[float],
    robust: Robust,
    level: float | None,
    draws: int | None,
    regret: bool,
    weights: list[str] | None,
    seed: int,
    question: dict[str, Any],
    say: Callable[[str], None],
) -> list[Any]:
    """The `Mix` at each budget."""
    from qqtjax.laws.draws import Draws, draw_params
    from qqtjax.mix.objectives import CVaR, Mean, Worst
    from qqtjax.mix.robust import robust_mix
    from qqtjax.text import show_count

    objective = {Robust.MEAN: Mean(), Robust.CVAR: CVaR(LEVEL if level is None else level), Robust.WORST: Worst()}
    likely = {} if weights is None else words.shares(",".join(weights), "--law-weight", list(laws))
    uncertain = {}
    for name, fitted in laws.items():
        with words.naming(name):
            params = draw_params(fitted, draws or DRAWS, seed)
        drawn = Draws(fitted, params, method="normal approximation", freedom=np.inf, notes=())
        uncertain[drawn] = likely.get(name, 1.0)
    found = []
    for seen in budgets:
        say(f"finding one mix for all draws at {show_count(seen)} samples")
        found.append(robust_mix(uncertain, seen, objective[robust], regret=regret, seed=seed, **question))
    return found
