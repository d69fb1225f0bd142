"""`qqt plot`: figures about fits."""

from __future__ import annotations

from typing import Annotated, Any

from qqtjax.cli import options as o
from qqtjax.cli import words
from qqtjax.cli.bakeoff_command import contestants
from qqtjax.cli.plot_frame import FIGURE, Draws, Level, Source, Split, figure, held_out_rows, share

DRAWS, SPLIT = 400, "random:.2"
LAWS = "utility,power,effective_samples"

LawNames = Annotated[str, o.option(group=o.FITTING, metavar="NAME,..", help="Laws by name.", show_default=True)]


@figure
def curves(
    source: Source,
    split: Split = None,
    until: Annotated[
        str | None, o.option(group=FIGURE, metavar="COUNT", help="Samples seen up to which the lines go.")
    ] = None,
    draws: Draws = DRAWS,
    level: Level = ".95",
    law: o.LawName = None,
    starts: o.Starts = 64,
) -> Any:
    """Learning curves of the pools with the law's line, its interval and points that were not fitted.

    The line is thin where it extrapolates. The band is that of the expected error: the noise of one more measurement
    comes on top.
    """
    from qqtjax.plot import curves as draw

    inside = share(level)
    last = None if until is None else words.positive(until, "--until")
    table = source.table
    rows = table.to_fit()
    if split is not None:
        rows = rows & ~held_out_rows(table, split, source.seed)
    fitted_rows = table.select(rows)
    fitted = source.fitted(law, starts, fitted_rows)
    fit = source.drawn(fitted, draws, fitted_rows)
    return draw(fit, table, held_out=~rows, until=last, level=inside)


@figure
def repetition(
    source: Source,
    epochs: Annotated[int | None, o.option(group=FIGURE, metavar="N", min=1, max=1000, help="Epochs shown.")] = None,
    published: o.Published = None,
    draws: Draws = DRAWS,
    level: Level = ".95",
    law: o.LawName = None,
    starts: o.Starts = 64,
) -> Any:
    """What a sample of each pool is still worth in its k-th epoch: Figure 4 of the paper.

    RUNS may be a fit that qqt fit -o wrote. Where two lines cross, the better pool changes.
    """
    from qqtjax.plot import repetition as draw

    inside = share(level)
    if published is None:
        fitted = source.fitted(law, starts)
        return draw(source.drawn(fitted, draws), epochs=epochs, level=inside)
    return draw(source.constants(published, law), epochs=epochs, level=inside)


@figure
def mixtures(source: Source, law: o.LawName = None, starts: o.Starts = 64) -> Any:
    """Mixtures as measured against what the law, fitted to pools alone, predicted for them, with rank correlations."""
    from qqtjax.plot import mixtures as draw

    return draw(source.fitted(law, starts), source.table)


@figure
def residuals(source: Source, law: o.LawName = None, starts: o.Starts = 64) -> Any:
    """Predicted less measured error of every checkpoint against its epochs: what the law misses where data repeat."""
    from qqtjax.plot import residuals as draw

    return draw(source.fitted(law, starts), source.table)


@figure
def stability(
    source: Source,
    drop: Annotated[
        str, o.option(group=o.FITTING, metavar="EPOCHS,..", help="Drop what was measured before.", show_default=True)
    ] = "0,.25,.5,1,2",
    parameters: Annotated[
        str | None,
        o.option(group=FIGURE, metavar="NAME,..", help="Which ones: half_life,floor; by default all that change."),
    ] = None,
    law: o.LawName = None,
    starts: o.Starts = 32,
) -> Any:
    """The parameters as the first checkpoints are dropped: level lines can be trusted."""
    import numpy as np

    from qqtjax.decide import drop_early
    from qqtjax.plot import stability as draw

    limits = [words.number(each, "--drop") for each in words.name_list(drop, "--drop")]
    fields = None if parameters is None else words.name_list(parameters, "--parameters")
    rows = source.to_fit
    chosen = o.law_named(law)
    source.say(f"fitting law {chosen.name} {len(limits)} times")
    # Only the parameters are drawn; the options do not matter.
    alone = dict(zip(rows.pools.names, np.eye(len(rows.pools)), strict=True))
    found = drop_early(rows, alone, rows.samples_seen.max(), limits, law=chosen, starts=starts, seed=source.seed)
    with words.naming("--parameters"):
        return draw(found, rows.pools, fields=fields)


@figure
def profile(
    source: Source,
    parameter: Annotated[
        str, o.option(group=o.FITTING, metavar="NAME", help="Which parameter.", show_default=True)
    ] = "half_life",
    level: Level = ".95",
    law: o.LawName = None,
    starts: o.Starts = 64,
) -> Any:
    """Profile likelihood of one parameter: how much worse the fit becomes as it is moved and all others follow."""
    from qqtjax.fit.profile import profile as profile_of
    from qqtjax.plot import profile as draw

    inside = share(level)
    fitted = source.fitted(law, starts)
    source.say(f"profile of {parameter}")
    with words.naming("--parameter"):
        found = profile_of(fitted, source.to_fit, parameter, level=inside, seed=source.seed)
    return draw(found, fitted.pools)


@figure
def disagreement(
    source: Source,
    budgets: Annotated[
        str | None,
        o.option(group=FIGURE, metavar="COUNT,..", help="A panel each; by default the most samples seen, twice that."),
    ] = None,
    laws: LawNames = LAWS,
    starts: o.Starts = 64,
) -> Any:
    """What several laws predict for each nested filter, and which of them each would choose (filled).

    Ticks are what was measured, where it was.
    """
    import numpy as np

    from qqtjax.mix.filters import nested_filters, quality_order
    from qqtjax.plot import disagreement as draw

    asked = None if budgets is None else words.positives(budgets, "--budgets")
    names = words.name_list(laws, "--laws")
    for name in names:
        with words.naming("--laws"):
            o.law_named(name)
    fitted = {name: source.fitted(name, starts) for name in names}
    first = fitted[names[0]]
    most = float(source.table.samples_seen.max())
    options = {each.name: each.weights for each in nested_filters(first.pools, quality_order(first))}
    return draw(fitted, options, np.array(asked or [most, 2 * most]), runs=source.table)


@figure
def bakeoff(source: Source, split: Split = None, laws: LawNames = LAWS, starts: o.Starts = 8) -> Any:
    """Laws against each other on held-out runs: how far every one was off, and what the closest ones predicted.

    RUNS may be a bake-off that qqt bakeoff -o wrote, which is much quicker.
    """
    from qqtjax.bakeoff import bakeoff as compare
    from qqtjax.bakeoff import load_bakeoff, parse_split
    from qqtjax.bakeoff.result import SCHEMA
    from qqtjax.plot import bakeoff as draw

    if source.runs is not None and o.is_saved(source.runs, SCHEMA):
        source.reading._replace(metric=None).refuse(f"a saved bake-off ({source.runs})")
        return draw(load_bakeoff(source.runs), source.reading.metric)
    with words.naming("--split"):
        kind = parse_split(split or SPLIT)
    wanted = contestants(laws)
    return draw(compare(source.table, wanted, kind, seed=source.seed, starts=starts, progress=source.say))


COMMANDS = (
    (
        curves,
        "Learning curves of pools, with the fit.",
        """Examples:
  qqt plot curves
  qqt plot curves runs.csv -o curves.pdf
  qqt plot curves --split "samples_seen>80k" --title "Fitted up to 80k"
  qqt plot curves runs.csv --until 1B --size 8x5 -o slide.svg""",
    ),
    (
        repetition,
        "Utility of each pool by epoch.",
        """Examples:
  qqt plot repetition
  qqt plot repetition --published datacomp-tmars -o figure4.pdf
  qqt plot repetition fit.json --epochs 20""",
    ),
    (
        mixtures,
        "Mixtures, predicted and measured.",
        """Examples:
  qqt plot mixtures
  qqt plot mixtures runs.csv -o mixtures.pdf
  qqt plot mixtures --law power --title "Blind to repetition\"""",
    ),
    (
        residuals,
        "What the law misses, by epochs.",
        """Examples:
  qqt plot residuals
  qqt plot residuals runs.csv -o residuals.pdf
  qqt plot residuals runs.csv --law effective_samples""",
    ),
    (
        stability,
        "Parameters without the first checkpoints.",
        """Examples:
  qqt plot stability
  qqt plot stability runs.csv --drop 0,.5,1 --parameters half_life,floor
  qqt plot stability wordclip-V -o stability.svg""",
    ),
    (
        profile,
        "Profile likelihood of a parameter.",
        """Examples:
  qqt plot profile
  qqt plot profile runs.csv --parameter floor -o floor.pdf
  qqt plot profile wordclip-R --level .9""",
    ),
    (
        disagreement,
        "What several laws would choose.",
        """Examples:
  qqt plot disagreement
  qqt plot disagreement runs.csv --budgets 128M,640M -o laws.pdf
  qqt plot disagreement --laws utility,effective_samples,data_constrained""",
    ),
    (
        bakeoff,
        "Laws against each other, held out.",
        """Examples:
  qqt bakeoff runs.csv -o found.json
  qqt plot bakeoff found.json -o laws.pdf
  qqt plot bakeoff --split "epochs>8" --laws utility,power""",
    ),
)
