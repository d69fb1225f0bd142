"""`qqt design`: what a study would tell before any of it is run."""

from __future__ import annotations

from typing import Annotated, Any

from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import words
from qqtjax.errors import InputError

EXAMPLES = """Examples:
  qqt design --pools 4 --size 12.8M --budget 640M
  qqt design --pools 2,4,8 --size 12.8M --budget 640M --price-per-sample 2e-6
  qqt design --pools 4 --size 12.8M --budget 640M --noise .006 --runs 3 \\
      --epochs .25,.5,1,2 --epochs .25,1,5
  qqt design --pools 4 --size 12.8M --budget 640M --prior half_life=1:4 --json"""
QUESTION = "Question"
MOST_POOLS = 64


def design(
    pools: Annotated[str, o.option(group=QUESTION, metavar="N,..", help="How many pools; several are compared.")],
    size: Annotated[str, o.option(group=QUESTION, metavar="COUNT", help="Samples of each pool.")],
    budget: Annotated[
        str, o.option(group=QUESTION, metavar="COUNT", help="The target: samples seen of the run that is decided.")
    ],
    epochs: Annotated[
        list[str] | None,
        o.option(
            group=QUESTION,
            metavar="EPOCHS,..",
            help="A study: where every pool is measured, .25,.5,1,2. May be repeated; six studies by default.",
        ),
    ] = None,
    runs: Annotated[
        int, o.option(group=QUESTION, metavar="N", min=1, max=1000, help="Runs of every pool, with --epochs.")
    ] = 1,
    noise: Annotated[
        str, o.option(group=QUESTION, metavar="ERROR", help="Noise (sd) of one measured error, .003 by default.")
    ] = ".003",
    price_per_sample: Annotated[
        str | None, o.option("--price-per-sample", group=QUESTION, metavar="PRICE", help="In any unit.")
    ] = None,
    prior: Annotated[
        str | None,
        o.option(
            group=QUESTION,
            metavar="FIELD=LOW:HIGH,..",
            help="What is expected of scale, floor, utility, half_life: half_life=1:4 (one sd either side).",
        ),
    ] = None,
    output: o.Output = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> out.Answer:
    """What studies of pools would tell before any run: cost, intervals, and how good the decision would be."""
    from qqtjax.design import Study
    from qqtjax.design import design as make_design
    from qqtjax.runs import Pools

    counts = [_count(each) for each in words.positives(pools, "--pools")]
    each_size, target = words.positive(size, "--size"), words.positive(budget, "--budget")
    settings: dict[str, Any] = {
        "noise": words.positive(noise, "--noise"),
        "price_per_sample": None
        if price_per_sample is None
        else words.positive(price_per_sample, "--price-per-sample"),
        "prior": None if prior is None else words.ranges(prior, "--prior"),
        "seed": seed,
    }
    if epochs:
        settings["studies"] = [Study(tuple(words.positives(each, "--epochs")), runs) for each in epochs]
    elif runs > 1:
        raise InputError("--runs: applies to studies given with --epochs")
    out.check_writable(output)
    found = []
    with out.progress(len(counts)) as say:
        for count in counts:
            say(f"what studies of {count} pools would tell")
            named = Pools.of({f"pool {place + 1}": each_size for place in range(count)})
            found.append(make_design(named, target, **settings))
    document = {"schema": "qqtjax.design", "schema_version": 1, "designs": [each.to_dict() for each in found]}
    return out.finish(document, lambda: "\n\n".join(map(str, found)), output, json)


def _count(value: float) -> int:
    if value != int(value) or value > MOST_POOLS:
        raise InputError(f"--pools: found {value:g}, expected a whole number from 1 to {MOST_POOLS}")
    return int(value)
