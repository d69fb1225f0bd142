"""`qqt profile`: the interval of one parameter, whatever the others."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import words
from qqtjax.errors import InputError

EXAMPLES = """Examples:
  qqt profile runs.csv half_life
  qqt profile runs.csv floor --level .9 --json
  qqt profile runs.csv decay_shape -o shape.json"""


def profile(
    runs: Annotated[
        str, typer.Argument(metavar="RUNS", help="Measured runs, as for qqt fit; wordclip-C comes with qqtjax.")
    ],
    parameter: Annotated[
        str,
        typer.Argument(metavar="PARAMETER", help="half_life, floor, utility, scale, dilution, decay_shape, .."),
    ],
    law: o.LawName = None,
    fix: Annotated[
        str | None,
        o.option(group=o.FITTING, metavar="FIELD=VALUE,..", help="Do not fit: floor=0.1,dilution=0."),
    ] = None,
    level: Annotated[str, o.option(group=o.FITTING, metavar="SHARE", help="Level of the interval: .95.")] = ".95",
    starts: o.Starts = 64,
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
    output: o.Output = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> out.Answer:
    """Profile likelihood of one parameter: hold it at each point of a grid and fit all others again.

    Prints an interval for each of its values; --json and -o give the curve too. An end that the data do not set is
    called open. A parameter that a fit holds (dilution, decay_shape) is freed first.
    """
    from qqtjax.fit import fit as fit_law
    from qqtjax.fit.profile import profile as profile_of
    from qqtjax.plain import to_plain

    share = words.number(level, "--level")
    out.check_writable(output)
    chosen = o.law_named(law)
    fixed = {} if fix is None else words.shares(fix, "--fix")
    reading = o.Reading(
        format, value, pools, nested, disjoint, metric, tasks, samples_per_epoch, samples_per_step, samples_seen
    )
    with out.progress(3) as say:
        say("reading runs")
        table = o.runs_named(runs, reading)
        if len(table.metric_names) > 1:
            raise InputError(
                f"{len(table.metric_names)} metrics ({', '.join(table.metric_names)}); choose one with --metric or "
                "average with --tasks"
            )
        say(f"fitting law {chosen.name} to {words.runs_text(table)}")
        fitted = fit_law(table, chosen, fixed=fixed, starts=starts, seed=seed)
        say(f"profile of {parameter}")
        with words.naming("PARAMETER"):
            found = profile_of(fitted, table, parameter, level=share, seed=seed)
    document: dict[str, Any] = {
        "schema": "qqtjax.profile",
        "schema_version": 1,
        "law": chosen.name,
        "metric": fitted.metric,
        "profiles": [to_plain(each) for each in found],
    }

    def shown() -> str:
        notes = dict.fromkeys(note for each in found for note in each.notes)
        return "\n".join([*map(str, found), *(f"note: {note}" for note in notes)])

    return out.finish(document, shown, output, json)
