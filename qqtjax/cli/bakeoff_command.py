"""`qqt bakeoff`: laws against each other on runs that they were not fitted on."""

from __future__ import annotations

from typing import Annotated, Any

from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import words
from qqtjax.errors import InputError

EXAMPLES = """Examples:
  qqt bakeoff runs.csv --split "epochs>8" --figure laws.png
  qqt bakeoff runs.csv --laws utility,effective_samples --split mixtures:.2
  qqt bakeoff wordclip-C --laws all,baselines --split "samples_seen>80k" --json
Splits (quote the >): epochs>8, samples_seen>22B, model_size>1B hold out what is
above; mixtures:.2, runs:.2, random:.2 a share, whole; mixtures:each, runs:each
one after the other; runs:test* runs by name; pools:top10 all that draws from a
pool."""
SCORING = "Scoring"


def bakeoff(
    runs: o.RunsArgument = None,
    laws: Annotated[
        str,
        o.option(
            group=SCORING,
            metavar="NAME,..",
            help="Laws by name; all; baselines (needs scikit-learn).",
            show_default=True,
        ),
    ] = "all",
    split: Annotated[
        str, o.option(group=SCORING, metavar="SPLIT", help="What is held out; see below.", show_default=True)
    ] = "random:.2",
    level: Annotated[
        str, o.option(group=SCORING, metavar="SHARE", help="Nominal coverage of the intervals.", show_default=True)
    ] = "0.9",
    squares: Annotated[
        bool, o.option("--squares", group=SCORING, help="Least squares only, no Huber loss: half the time.")
    ] = False,
    starts: o.Starts = 8,
    format: o.Format = None,
    value: o.Value = None,
    pools: o.PoolSizes = None,
    nested: o.Nested = None,
    disjoint: o.Disjoint = False,
    metric: o.Metric = None,
    tasks: o.Tasks = None,
    samples_per_epoch: o.PerEpoch = None,
    samples_per_step: o.PerStep = None,
    samples_seen: o.Seen = None,
    figure: Annotated[
        str | None, o.option(group=o.OUTPUT, metavar="FILE", help="Draw it too: .png, .pdf or .svg.")
    ] = None,
    output: o.Output = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> out.Answer:
    """Fit laws to some of the runs and score what they predict for the others.

    Laws are never ranked by how well they fit. What must be chosen (the loss, the intervals, the weights of the stacked
    mean of laws) is chosen inside the fitted part. Laws that cannot express the table are left out and listed.
    """
    from qqtjax.bakeoff import bakeoff as compare
    from qqtjax.bakeoff import parse_split
    from qqtjax.plot.save import check_figure_name, new_figure

    with words.naming("--split"):
        kind = parse_split(split)
    wanted = contestants(laws)
    share = words.positive(level, "--level")
    if not share < 1:
        raise InputError(f"--level: {level}, expected a share below 1")
    out.check_writable(output)
    if figure is not None:
        check_figure_name(figure)
        new_figure(1, 1)  # is there matplotlib
    reading = o.Reading(
        format, value, pools, nested, disjoint, metric, tasks, samples_per_epoch, samples_per_step, samples_seen
    )
    with out.progress(2 + len(wanted)) as say:
        say("reading runs")
        table = o.runs_named(runs, reading)
        result = compare(table, wanted, kind, seed=seed, starts=starts, level=share, huber=not squares, progress=say)
    if figure is not None:
        from qqtjax.plot import bakeoff as draw
        from qqtjax.plot import save_figure

        save_figure(draw(result)[0].figure, figure)
    return out.finish(result.to_dict(), lambda: str(result), output, json)


def contestants(text: str) -> list[Any]:
    """The contestants that are named, each once."""
    from qqtjax.bakeoff import default_contestants
    from qqtjax.bakeoff.baselines import BASELINES

    every = {each.name: [each] for each in (*default_contestants(), *BASELINES)}
    groups = {"all": list(default_contestants()), "baselines": list(BASELINES)}
    found: dict[str, Any] = {}
    for name in words.name_list(text, "--laws", [*groups, *every]):
        chosen = (groups | every)[words.one_of(name, [*groups, *every], "--laws")]
        found.update({each.name: each for each in chosen})
    return list(found.values())
