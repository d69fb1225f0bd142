"""`qqt pools dbp`: from embeddings to the samples that density-based pruning keeps."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import pools_options as p
from qqtjax.cli import words
from qqtjax.errors import InputError

EXAMPLES = """Examples:
  qqt pools dbp embeddings.npy --clusters 500 --keep 0.277 -o kept.parquet
  qqt pools dbp shards/ --column embedding --keep 112M --dedup 0.01 \\
      --work work/ -o kept.parquet
  qqt pools dbp embeddings.npy --preset released --keep 0.8 -o kept.parquet
  qqt pools dbp embeddings.npy --rule ssp --keep 0.5 -o kept.parquet"""
QUESTION, CLUSTERING = "What is kept", "Clusters"
SCHEMA = "qqtjax.pruned"
RULES = {"dbp": "density", "ssp": "uniform"}
SSP_BALANCE = 0.5  # the cluster balance of the baseline


def dbp(
    embeddings: Annotated[
        str | None,
        typer.Argument(
            metavar="EMBEDDINGS",
            help="A .npy, .parquet or .safetensors file, or a folder of one kind of them.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        str | None,
        o.option(group=QUESTION, metavar="SHARE", help="What to keep: a share up to 1, or a count such as 112M."),
    ] = None,
    rule: Annotated[
        str,
        o.option(group=QUESTION, metavar="NAME", help="dbp (by complexity, the default) or ssp (a uniform share)."),
    ] = "dbp",
    order: Annotated[
        str,
        o.option(
            group=QUESTION, metavar="NAME", help="Of each cluster: hardest (farthest; the default), easiest or random."
        ),
    ] = "hardest",
    dedup: Annotated[
        float | None,
        o.option(
            group=QUESTION,
            metavar="EPS",
            help="First remove samples whose cosine to one of their cluster is above 1 - EPS.",
        ),
    ] = None,
    preset: Annotated[
        str,
        o.option(group=QUESTION, metavar="NAME", help="Defaults of the paper (the default) or of its released code."),
    ] = "paper",
    temperature: Annotated[
        float | None,
        o.option(group=QUESTION, metavar="T", help="Of the softmax over complexities: 0.1; released 0.5."),
    ] = None,
    balance: Annotated[
        float | None,
        o.option(
            group=QUESTION,
            metavar="B",
            help="The part of an equal share that every cluster keeps: 0 (one sample); released and ssp 0.5.",
        ),
    ] = None,
    clusters: Annotated[
        int | None, o.option(group=CLUSTERING, metavar="K", help="How many clusters: 500; released 10000.")
    ] = None,
    neighbours: Annotated[
        int | None, o.option(group=CLUSTERING, metavar="L", help="Nearest other centroids that count: 20.")
    ] = None,
    passes: Annotated[
        int, o.option(group=CLUSTERING, metavar="N", min=1, help="Passes of k-means at most.", show_default=True)
    ] = 100,
    tolerance: Annotated[
        float,
        o.option(
            group=CLUSTERING,
            metavar="RISE",
            min=0,
            help="Stop when a pass raises the mean cosine by less.",
            show_default=True,
        ),
    ] = 1e-5,
    points: Annotated[
        int | None,
        o.option(
            "--points-per-centroid",
            group=CLUSTERING,
            metavar="N",
            min=1,
            help="Find the centroids on so many rows for each; all by default.",
        ),
    ] = None,
    column: Annotated[
        str | None,
        o.option(group=p.WORK, metavar="NAME", help="The Parquet column, or tensor, that holds the embeddings."),
    ] = None,
    ids: Annotated[
        str | None,
        o.option("--id", group=p.WORK, metavar="NAME", help="A Parquet column of names of samples, for the result."),
    ] = None,
    memory: Annotated[
        str, o.option(group=p.WORK, metavar="BYTES", help="What embeddings may take at once: 1G by default.")
    ] = "1G",
    work: p.Work = None,
    output: p.Kept = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> out.Answer:
    """Prune embeddings by density: keep most of the complex clusters, and of each the samples farthest from its centre.

    In Python: qqtjax.pools.dbp.
    """
    if embeddings is None:
        raise InputError("EMBEDDINGS: missing, expected a .npy, .parquet or .safetensors file or a folder of them")
    if keep is None:
        raise InputError("--keep: missing, expected a share such as 0.277, or a count such as 112M")
    p.check_kept(output)
    kind = RULES[words.one_of(rule, RULES, "--rule")]
    words.one_of(order, ("hardest", "easiest", "random"), "--order")
    room = words.positive(re.sub(r"i?[bB]$", "", memory.strip()), "--memory")
    wanted = words.positive(keep, "--keep")
    if wanted > 1 and wanted != int(wanted):
        raise InputError(f"--keep: found {keep!r}, expected a share up to 1 or a whole number of samples")
    from qqtjax.pools.dbp import dbp as run
    from qqtjax.pools.density import PAPER, RELEASED
    from qqtjax.pools.embeddings import Embeddings

    settings = {"paper": PAPER, "released": RELEASED}[words.one_of(preset, ("paper", "released"), "--preset")]
    if rule == "ssp":
        settings = settings._replace(balance=SSP_BALANCE)
    typed = {"clusters": clusters, "temperature": temperature, "neighbours": neighbours, "balance": balance}
    settings = settings._replace(**{name: value for name, value in typed.items() if value is not None})
    if wanted <= 1:
        settings = settings._replace(keep=wanted)
    source = Embeddings.of(embeddings, column)
    with out.progress(passes + 2) as say:
        pruned = run(
            source,
            settings,
            total=int(wanted) if wanted > 1 else None,
            rule=kind,  # pyright: ignore[reportArgumentType]
            order=order,  # pyright: ignore[reportArgumentType]
            dedup=dedup,
            passes=passes,
            tolerance=tolerance,
            points_per_centroid=points,
            ids=None if ids is None else source.column(ids),
            seed=seed,
            memory=room,
            folder=work,
            progress=say,
        )
    document: dict[str, Any] = {
        "rule": rule,
        "order": order,
        "settings": settings._asdict() | {"keep": wanted},
        "seed": seed,
        **pruned.to_dict(),
    }
    return p.answer(SCHEMA, pruned, document, output, json)
