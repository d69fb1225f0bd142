"""Options that the commands share, and the words they are written in: `32M`, `top10=.7,top20=.3`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from qqtjax.errors import InputError

RunsArgument = Annotated[
    str | None,
    typer.Argument(
        help="Measured runs: CSV, JSON lines, Parquet, a DataComp evaluation folder, or - for standard input.",
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(help="csv, jsonl, parquet, wide or datacomp; guessed by default.", show_default=False),
]
PoolSizes = Annotated[
    str | None,
    typer.Option(
        "--pools",
        help="Pool sizes that the table does not give: top10=12.8M,top20=12.8M.",
        show_default=False,
    ),
]
Nested = Annotated[
    str | None,
    typer.Option(
        help="Filters that contain each other, smallest first: top10,top20,top30.", show_default=False
    ),
]
Disjoint = Annotated[bool, typer.Option("--disjoint", help="Pools whose names look nested share no samples.")]
Metric = Annotated[
    str | None, typer.Option(help="The metric to use, where the table has several.", show_default=False)
]
Tasks = Annotated[
    str | None, typer.Option(help="Metrics to average first: imagenet,vtab.", show_default=False)
]
PerEpoch = Annotated[
    str | None,
    typer.Option(
        "--samples-per-epoch",
        help="Samples of one trainer epoch, for an evaluation folder.",
        show_default=False,
    ),
]
PerStep = Annotated[
    str | None,
    typer.Option("--samples-per-step", help="Samples of one step, for a wide table.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Seed = Annotated[int, typer.Option(help="Of every random number; the same seed gives the same answer.")]
Starts = Annotated[int, typer.Option(help="Starting points of the fit.")]


def numbers(text: str, what: str) -> list[float]:
    """Counts from `32M,128M`.

    Raises:
        InputError: an entry that is no number.
    """
    return [number(part, what) for part in text.split(",") if part.strip()]


def number(text: str, what: str) -> float:
    """One count from text, with the option's name in what goes wrong."""
    from qqtjax.io import parse_count

    try:
        return parse_count(text)
    except InputError as problem:
        raise InputError(f"{what}: {problem}") from None


def assignments(text: str, what: str) -> dict[str, float]:
    """`{name: number}` from `top10=.7,top20=.3`.

    Raises:
        InputError: an entry without `=`, or with a value that is no number.
    """
    found = {}
    for part in text.split(","):
        if not part.strip():
            continue
        name, sign, value = part.rpartition("=")
        if not sign or not name.strip():
            raise InputError(f"{what}: found {part.strip()!r}, expected NAME=NUMBER, for example top10=0.7")
        found[name.strip()] = number(value, f"{what}: {name.strip()}")
    if not found:
        raise InputError(f"{what}: empty, expected NAME=NUMBER[,NAME=NUMBER ...]")
    return found


def read(
    source: str,
    format: str | None,
    pools: str | None,
    nested: str | None,
    disjoint: bool,
    metric: str | None,
    tasks: str | None,
    samples_per_epoch: str | None,
    samples_per_step: str | None,
) -> Any:
    """Measured runs with the options of a command."""
    from qqtjax.io import read_runs

    return read_runs(
        source,
        format=format,
        pools=None if pools is None else assignments(pools, "--pools"),
        nested=None if nested is None else [part.strip() for part in nested.split(",")],
        disjoint=disjoint,
        metric=metric,
        tasks=None if tasks is None else [part.strip() for part in tasks.split(",")],
        samples_per_epoch=None
        if samples_per_epoch is None
        else number(samples_per_epoch, "--samples-per-epoch"),
        samples_per_step=None if samples_per_step is None else number(samples_per_step, "--samples-per-step"),
    )


def words(text: str | None) -> list[str]:
    """Names from `a,b`."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


EMBEDDED = {"wordclip-C": "C", "wordclip-R": "R"}


def is_embedded(runs: str | None) -> bool:
    """Does the argument name runs that come with qqtjax (the default)."""
    return runs is None or (runs in EMBEDDED and not Path(runs).exists())


def table_named(runs: str | None) -> Any:
    """Runs that come with qqtjax."""
    from qqtjax.io.tables import wordclip

    return wordclip(EMBEDDED[runs or "wordclip-C"])


def law_named(name: str) -> Any:
    """One of qqtjax's laws by its name.

    Raises:
        InputError: no such law; the nearest name is suggested.
    """
    import difflib

    from qqtjax import laws

    known = {law.name: law for law in laws.ALL}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"--law: no law {name!r}; there are {', '.join(known)}{hint}")
    return known[name]


@contextlib.contextmanager
def progress(stages: int) -> Iterator[Callable[[str], None]]:
    """Say on standard error what is being done; a bar on a terminal, a line a stage elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: print(f"qqt: {text}", file=sys.stderr)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=stages)
        done = -1

        def say(text: str) -> None:
            nonlocal done
            done += 1
            bar.update(task, description=text, completed=done)

        yield say


def emit(document: dict[str, Any]) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(document, indent=1, allow_nan=False) + "\n")


def write_json(document: dict[str, Any], path: Path) -> None:
    """A JSON document in a file, whole or not at all."""
    from qqtjax.io.saved import write_text

    write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", path)


def split_names(values: Sequence[str] | None, what: str, separator: str) -> dict[str, str]:
    """`{name: rest}` from repeated `NAME=rest`."""
    found = {}
    for value in values or ():
        name, sign, rest = value.partition("=")
        if not sign or not rest:
            raise InputError(f"{what}: found {value!r}, expected NAME={separator}")
        found[name.strip()] = rest
    return found
