"""`qqt pools flexrand`: a random draw from the easy and one from the hard part of each class."""

from __future__ import annotations

from typing import Annotated

from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import pools_options as p
from qqtjax.cli import words
from qqtjax.errors import InputError

EXAMPLES = """Examples:
  qqt pools flexrand dlc.parquet --column dlc --label class --keep .3
      --split .75 -o kept.parquet
  qqt pools flexrand dlc.npy --keep .5 --split .25 --seed 1 --json"""
DRAW = "Draw"


def flexrand(
    scores: p.ScoresArgument,
    column: p.Column = None,
    id: p.IdColumn = None,
    label: Annotated[
        str | None,
        o.option(group=p.SCORES, metavar="NAME", help="The column of classes; by default all samples are one."),
    ] = None,
    keep: Annotated[str | None, o.option(group=DRAW, metavar="SHARE", help="Share of the samples to keep: .3.")] = None,
    split: Annotated[
        str | None,
        o.option(
            group=DRAW,
            metavar="SHARE",
            help="Share of each class that is its easy part: above .5 keeps more of the hardest, below of the easiest.",
        ),
    ] = None,
    released: Annotated[
        bool,
        o.option(
            "--released", group=DRAW, help="The counts of the released code, which may miss the total by one a class."
        ),
    ] = False,
    output: p.Kept = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> out.Answer:
    """Keep random samples of the easy and of the hard part of each class (FlexRand), with an exact total.

    Low scores are easy. Half of what is kept comes from each part, unless the smaller one runs out.
    """
    if keep is None or split is None:
        raise InputError(f"--{'keep' if keep is None else 'split'}: missing, expected a share, such as .3")
    shares = [words.number(text, name) for text, name in ((keep, "--keep"), (split, "--split"))]
    p.check_kept(output)
    from qqtjax.pools.drawing import SCHEMA
    from qqtjax.pools.flexrand import flexrand as drawn
    from qqtjax.pools.flexrand import flexrand_shares
    from qqtjax.pools.partition import Partition

    with words.naming("--keep, --split"):
        flexrand_shares(*shares)
    with out.progress(2) as say:
        say(f"reading {scores}")
        found = p.read_scores(scores, column, id, label)
        say("drawing")
        if found.labels is None:
            partition = Partition.of([0] * len(found.scores), ["all"], found.scores, found.ids)
        else:
            partition = Partition.by_label(found.labels, found.scores, found.ids)
        kept = drawn(partition, *shares, seed=seed, exact=not released)
    return p.answer(SCHEMA, kept, kept.to_dict(), output, json)
