"""`qqt next`: which training run to make next."""

from __future__ import annotations

from typing import Annotated, Any

from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import words

EXAMPLES = """Examples:
  qqt next runs.csv --budget 640M
  qqt next runs.csv --budget 640M --price-per-sample 2e-6 --spend 500
  qqt next runs.csv --budget 640M --filters-only --fresh-only --noise .003
  qqt next runs.csv --budget 640M --mix half=top10:.5+top20:.5 --json"""
QUESTION = "Question"


def next_run(
    budget: Annotated[
        str, o.option(group=QUESTION, metavar="COUNT", help="The target: samples seen of the run that is decided.")
    ],
    runs: o.RunsArgument = None,
    price_per_sample: Annotated[
        str | None, o.option("--price-per-sample", group=QUESTION, metavar="PRICE", help="In any unit.")
    ] = None,
    spend: Annotated[
        str | None,
        o.option(
            group=QUESTION, metavar="COUNT", help="Most that the run may cost: samples, or in the unit of the price."
        ),
    ] = None,
    mix: Annotated[
        list[str] | None,
        o.option(
            group=QUESTION,
            metavar="NAME=POOL:SHARE+..",
            help="A mix that may be trained as well: half=top10:.5+top20:.5. May be repeated.",
        ),
    ] = None,
    checkpoints: Annotated[
        str | None,
        o.option(group=QUESTION, metavar="EPOCHS,..", help="Where a run is measured and may end: .25,.5,1,2,5,10."),
    ] = None,
    longest: Annotated[
        str | None,
        o.option(
            group=QUESTION,
            metavar="COUNT",
            help="Longest run, samples seen; by default the longest so far or a quarter of the budget.",
        ),
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
    draws: Annotated[
        int, o.option(group=QUESTION, metavar="N", min=2, max=100_000, help="Random draws.", show_default=True)
    ] = 512,
    law: o.LawName = None,
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
    """Which training run would most reduce the regret of the decision at a target budget, for each sample.

    Runs of a pool alone, of unions of the best pools and of the best mix so far are compared, new or continued, at
    every length. All rows are fitted, mixtures included. Without RUNS: the runs that come with qqtjax.
    """
    from qqtjax.design import next_run as find_next_run

    chosen = o.law_named(law)
    question: dict[str, Any] = {
        name: None if text is None else words.positive(text, f"--{name.replace('_', '-')}")
        for name, text in (
            ("price_per_sample", price_per_sample),
            ("spend", spend),
            ("longest", longest),
            ("noise", noise),
        )
    }
    if checkpoints is not None:
        question["checkpoints"] = words.positives(checkpoints, "--checkpoints")
    target = words.positive(budget, "--budget")
    mixes = words.named(mix, "--mix", "POOL:SHARE+POOL:SHARE")
    out.check_writable(output)
    reading = o.Reading(
        format, value, pools, nested, disjoint, metric, tasks, samples_per_epoch, samples_per_step, samples_seen
    )
    with out.progress(2) as say:
        say("reading runs")
        table = o.runs_named(runs, reading)
        names = table.pools.names
        question["mixtures"] = {
            name: words.shares(text, f"--mix {name}", names, ":", "+") for name, text in mixes.items()
        }
        for name, shares in question["mixtures"].items():
            with words.naming(f"--mix {name}"):
                table.pools.weights(shares)
        say(f"fitting {words.runs_text(table)} and comparing what may be run next")
        found = find_next_run(
            table, target, chosen, resume=not fresh_only, filters_only=filters_only, draws=draws, seed=seed, **question
        )
    document = {"schema": "qqtjax.next", "schema_version": 1, **found.to_dict()}
    return out.finish(document, lambda: str(found), output, json)
