"""`qqt plot`: figures about decisions."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from qqtjax.cli import options as o
from qqtjax.cli import words
from qqtjax.cli.plan_command import default_budgets
from qqtjax.cli.plot_frame import FIGURE, Draws, Level, Source, Split, figure, held_out_rows, share
from qqtjax.errors import InputError

DRAWS, NEXT_DRAWS = 400, 512
# Budgets of a line: smooth to the eye.
GRID = 128
QUESTION = "Question"

Budgets = Annotated[
    str | None,
    o.option(group=QUESTION, metavar="COUNT,..", help="Budgets in samples seen: 32M,128M,640M or 1M:1B:log:50."),
]


class _Planned(NamedTuple):
    """A plan, and what it was made from."""

    plan: Any
    fitted: Any
    draws: Any


@figure
def budgets(
    source: Source,
    budgets: Budgets = None,
    published: o.Published = None,
    draws: Draws = DRAWS,
    law: o.LawName = None,
    starts: o.Starts = 64,
) -> Any:
    """Predicted error of every filter and the best mix against budget: Figure 5 of the paper.

    Rings are budgets at which the best filter changes, bars below where they may truly lie, by draws. Lines are thin
    where they extrapolate. RUNS may be a fit that qqt fit -o wrote.
    """
    from qqtjax.plot import budgets as draw

    found = _planned(source, budgets, published, law, starts, draws)
    return draw(found.plan, found.fitted.pools)


@figure
def weights(
    source: Source,
    budgets: Budgets = None,
    published: o.Published = None,
    law: o.LawName = None,
    starts: o.Starts = 64,
) -> Any:
    """Weights of the best mix against budget, stacked. RUNS may be a fit that qqt fit -o wrote."""
    from qqtjax.plot import weights as draw

    found = _planned(source, budgets, published, law, starts, 0)
    return draw(found.plan, found.fitted.pools)


@figure
def best(
    source: Source,
    budgets: Budgets = None,
    draws: Annotated[
        int, o.option(group=o.FITTING, metavar="N", min=2, max=100_000, help="Random draws.", show_default=True)
    ] = DRAWS,
    law: o.LawName = None,
    starts: o.Starts = 64,
) -> Any:
    """Probability that each filter is the best, and that the best mix beats them all, against budget.

    RUNS may be a fit that qqt fit -o wrote.
    """
    import numpy as np

    from qqtjax.decide import probability_unbeaten
    from qqtjax.plot import best as draw

    found = _planned(source, budgets, None, law, starts, draws, sure=True)
    if found.plan.decision is None:
        raise InputError(
            f"how sure it is: law {found.fitted.law.name} scans too many epochs to be asked under each draw"
        )
    rows, names = found.plan.rows, found.fitted.pools.names
    mixes = np.array([[row.mix.weights[name] for name in names] for row in rows])
    options = {each.name: each.weights for each in rows[0].options}
    seen = np.array([row.samples_seen for row in rows])
    mix = probability_unbeaten(found.draws, mixes, options, seen)
    return draw(found.plan, found.fitted.pools, mix=mix)


@figure
def reliability(
    source: Source,
    outcomes: Annotated[
        str | None,
        o.option(
            group="Instead of RUNS", metavar="FILE", help="A table with columns probability and outcome (1 or 0)."
        ),
    ] = None,
    bins: Annotated[
        int, o.option(group=FIGURE, metavar="N", min=1, max=1000, help="Bins of equal mass.", show_default=True)
    ] = 10,
    level: Level = ".95",
    split: Split = None,
    noise: Annotated[
        str | None,
        o.option(group=o.FITTING, metavar="ERROR", help="Noise (sd) of one measured error; else from the residuals."),
    ] = None,
    draws: Annotated[
        int, o.option(group=o.FITTING, metavar="N", min=2, max=100_000, help="Random draws.", show_default=True)
    ] = DRAWS,
    law: o.LawName = None,
    starts: o.Starts = 64,
) -> Any:
    """Does what is stated with a probability happen that often.

    Events are those of a table, or all pairs of runs that the fit has not seen (mixtures, or what --split holds out),
    measured at equal samples seen: stated is the probability that the one is measured below the other. Pairs that
    share a run are no independent events, so whiskers are too short for them.
    """
    from qqtjax.decide import measured_pairs
    from qqtjax.decide import reliability as table_of
    from qqtjax.io.outcomes import read_outcomes
    from qqtjax.plot import reliability as draw

    inside = share(level)
    sigma = None if noise is None else words.positive(noise, "--noise")
    if outcomes is not None:
        if source.runs is not None:
            raise InputError("RUNS and --outcomes: expected one of them")
        source.reading.refuse("a table of outcomes")
        return draw(table_of(*read_outcomes(outcomes), bins), level=inside)
    to_fit = source.table.to_fit()
    hidden = ~to_fit if split is None else held_out_rows(source.table, split, source.seed)
    if not hidden.any():
        raise InputError("every checkpoint was fitted: hold some out with --split, for example random:.2")
    seen = source.table.select(to_fit & ~hidden)
    drawn = source.drawn(source.fitted(law, starts, seen), draws, seen)
    pairs = measured_pairs(drawn, source.table.select(hidden), sigma, seed=source.seed)
    return draw(table_of(pairs.probability, pairs.happened, bins), level=inside)


@figure
def next(
    source: Source,
    budget: Annotated[
        str | None,
        o.option(group=QUESTION, metavar="COUNT", help="The target, samples seen; by default twice the most so far."),
    ] = None,
    spend: Annotated[
        str | None, o.option(group=QUESTION, metavar="COUNT", help="Most samples that the run may train on.")
    ] = None,
    fresh_only: Annotated[
        bool, o.option("--fresh-only", group=QUESTION, help="Measured runs cannot be continued.")
    ] = False,
    filters_only: Annotated[
        bool, o.option("--filters-only", group=QUESTION, help="Decide among nested filters and pools, without mixes.")
    ] = False,
    noise: Annotated[
        str | None,
        o.option(group=QUESTION, metavar="ERROR", help="Noise (sd) of one measured error; else from the residuals."),
    ] = None,
    shown: Annotated[
        int, o.option(group=FIGURE, metavar="N", min=1, max=100, help="Runs shown.", show_default=True)
    ] = 12,
    draws: Annotated[
        int, o.option(group=o.FITTING, metavar="N", min=2, max=100_000, help="Random draws.", show_default=True)
    ] = NEXT_DRAWS,
    law: o.LawName = None,
) -> Any:
    """Which training run to make next: regret of the decision at a budget that each saves, and what is left.

    The ranking is that of qqt next: all rows are fitted, mixtures included.
    """
    from qqtjax.design import next_run
    from qqtjax.plot import next_run as draw

    target = None if budget is None else words.positive(budget, "--budget")
    most = None if spend is None else words.positive(spend, "--spend")
    sigma = None if noise is None else words.positive(noise, "--noise")
    chosen = o.law_named(law)
    table = source.table
    source.say(f"fitting {len(table)} checkpoints and comparing what may be run next")
    found = next_run(
        table,
        target or 2 * float(table.samples_seen.max()),
        chosen,
        resume=not fresh_only,
        spend=most,
        filters_only=filters_only,
        noise=sigma,
        draws=draws,
        seed=source.seed,
    )
    return draw(found, shown=shown)


@figure
def near_best(
    source: Source,
    budget: Annotated[
        str | None,
        o.option(group=QUESTION, metavar="COUNT", help="Samples seen; by default the largest budget of qqt plan."),
    ] = None,
    epsilon: Annotated[
        str, o.option(group=QUESTION, metavar="ERROR", help="How much worse a mix may be: .001.", show_default=True)
    ] = ".001",
    published: o.Published = None,
    law: o.LawName = None,
    starts: o.Starts = 64,
) -> Any:
    """The range over which each pool's weight may move within epsilon of the least error.

    RUNS may be a fit that qqt fit -o wrote.
    """
    from qqtjax.decide import near_best as near_best_of
    from qqtjax.plot import near_best as draw

    target = None if budget is None else words.positive(budget, "--budget")
    within = words.positive(epsilon, "--epsilon")
    fitted = source.fitted(law, starts) if published is None else source.constants(published, law)
    source.say("looking for mixes that are nearly best")
    return draw(near_best_of(fitted, target or max(_usual(fitted, published)), within, source.seed))


def _planned(
    source: Source,
    budgets: str | None,
    published: str | None,
    law: str | None,
    starts: int,
    draws: int,
    sure: bool = False,
) -> _Planned:
    """A plan at the budgets that were typed, or evenly over the usual range.

    Raises:
        InputError: budgets that cannot be understood, fewer than two; no draws where the figure needs them (`sure`);
            as `Source`.
    """
    import numpy as np

    from qqtjax.plan import plan

    asked = None if budgets is None else np.unique(words.counts(budgets, "--budgets"))
    if asked is not None and len(asked) < 2:
        raise InputError(f"--budgets: found {budgets}, expected two or more different budgets")
    if published is None:
        fitted = source.fitted(law, starts)
        around = source.drawn(fitted, draws)
    else:
        fitted = around = source.constants(published, law)
    if asked is None:
        usual = _usual(fitted, published)
        asked = np.geomspace(min(usual), max(usual), GRID)
    found = None if around is fitted else around
    if sure and found is None:
        raise InputError("how sure it is: no parameters can be drawn around this fit")
    source.say(f"planning for {len(asked)} budgets")
    return _Planned(plan(fitted, asked, draws=found, seed=source.seed), fitted, found)


def _usual(fitted: Any, published: str | None) -> list[float]:
    """The budgets at which `qqt plan` answers where none are asked for."""
    from qqtjax.io.tables import published as constants

    return default_budgets(fitted) if published is None else list(constants(published).budgets)


COMMANDS = (
    (
        budgets,
        "Error of every filter and mix by budget.",
        """Examples:
  qqt plot budgets
  qqt plot budgets runs.csv --budgets 1M:1B:log:50 -o figure5.pdf
  qqt plot budgets --published datacomp-tmars
  qqt plot budgets fit.json --title "Which filter, when\"""",
    ),
    (
        weights,
        "The best mix by budget, stacked.",
        """Examples:
  qqt plot weights
  qqt plot weights runs.csv --budgets 1M:1B:log:50 -o weights.pdf
  qqt plot weights --published datacomp-tmars""",
    ),
    (
        best,
        "Probability of being best, by budget.",
        """Examples:
  qqt plot best
  qqt plot best runs.csv --budgets 1M:1B:log:50 -o best.pdf
  qqt plot best fit.json --draws 2000""",
    ),
    (
        reliability,
        "Do stated probabilities come true.",
        """Examples:
  qqt plot reliability
  qqt plot reliability runs.csv --split "samples_seen>128M"
  qqt plot reliability --outcomes decisions.csv --bins 5 -o reliability.pdf""",
    ),
    (
        next,
        "Which training run to make next.",
        """Examples:
  qqt plot next
  qqt plot next runs.csv --budget 640M --spend 64M -o next.pdf
  qqt plot next runs.csv --budget 640M --filters-only --fresh-only""",
    ),
    (
        near_best,
        "How far the best weights may move.",
        """Examples:
  qqt plot near-best
  qqt plot near-best runs.csv --budget 640M --epsilon .002 -o range.pdf
  qqt plot near-best --published datacomp-tmars --budget 128M""",
    ),
)
