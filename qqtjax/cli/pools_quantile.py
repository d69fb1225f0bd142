"""`qqt pools quantile`: pools of the samples between quantiles of a score."""

from __future__ import annotations

from typing import Annotated

from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import pools_options as p
from qqtjax.cli import words
from qqtjax.errors import InputError

EXAMPLES = """Examples:
  qqt pools quantile scores.parquet --column clip --edges .1,.2,.3,1
  qqt pools quantile scores.csv --column tmars --id uid --edges .1,.2
      -o pools.parquet --table runs.csv
  qqt pools quantile dlc.npy --ascending --edges .5,1 --names easy,hard"""
POOLS = "Pools"


def quantile(
    scores: p.ScoresArgument,
    column: p.Column = None,
    id: p.IdColumn = None,
    edges: Annotated[
        str | None,
        o.option(
            group=POOLS, metavar="SHARE,..", help="Where pools end, best first: .1,.2 are the best tenth, the next."
        ),
    ] = None,
    names: Annotated[
        str | None,
        o.option(group=POOLS, metavar="NAME,..", help="Names of the pools; by default top10,10-20 in per cent."),
    ] = None,
    ascending: Annotated[bool, o.option("--ascending", group=POOLS, help="Low scores are best.")] = False,
    table: Annotated[
        str | None,
        o.option(
            group=o.OUTPUT,
            metavar="FILE",
            help="Write a CSV with the pools' sizes, to be filled in with measured errors for qqt plan.",
        ),
    ] = None,
    output: p.Kept = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> out.Answer:
    """Disjoint pools of the samples between quantiles of a score, of exact sizes.

    Samples beyond the last edge are in no pool. Samples of equal scores on an edge are parted in the order of rows.
    """
    if edges is None:
        raise InputError("--edges: missing, expected shares that rise, such as .1,.2,.3")
    shares = words.positives(edges, "--edges")
    called = None if names is None else words.name_list(names, "--names")
    p.check_kept(output)
    out.check_writable(table)
    from qqtjax.pools.partition import SCHEMA
    from qqtjax.pools.quantiles import quantile_pools

    with out.progress(2) as say:
        say(f"reading {scores}")
        found = p.read_scores(scores, column, id)
        say("sorting scores")
        with words.naming("--names" if called is not None and len(called) != len(shares) else "--edges"):
            pools = quantile_pools(found.scores, shares, called, not ascending, found.ids)
    if table is not None:
        out.write_file(pools.table().to_csv(index=False), table)
    return p.answer(SCHEMA, pools, pools.to_dict(), output, json)
