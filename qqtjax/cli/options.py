"""The options that commands share, and the runs that they describe."""

from __future__ import annotations

import shlex
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from qqtjax.cli import words
from qqtjax.errors import InputError, QQTWarning
from qqtjax.text import did_you_mean

READING, FITTING, SOURCE, OUTPUT = "Reading runs", "Fitting", "Instead of FIT", "Output"
PUBLISHED_LAWS = ("utility", "released_utility", "effective_data")
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def option(*names: str, group: str, metavar: str | None = None, help: str, **rest: Any) -> Any:
    """An option of a group; without a default in its help unless it is a number."""
    rest.setdefault("show_default", False)
    return typer.Option(*names, metavar=metavar, help=help, rich_help_panel=group, **rest)


RunsArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUNS",
        help="Measured runs: CSV, JSON lines, Parquet, a DataComp evaluation folder, or - for standard input.",
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    option(
        group=READING,
        metavar="NAME",
        help="csv, jsonl, parquet, wide, datacomp, olmix, regmix, openclip, datablations or chinchilla; guessed by "
        "default.",
    ),
]
Value = Annotated[
    str | None,
    option(group=READING, metavar="NAME", help="error, accuracy or loss, where the table does not tell."),
]
PoolSizes = Annotated[
    str | None,
    option(
        "--pools",
        group=READING,
        metavar="POOL=SIZE,..",
        help="Pool sizes that the table does not give: top10=12.8M,top20=12.8M.",
    ),
]
Nested = Annotated[
    str | None,
    option(
        group=READING,
        metavar="POOL,..",
        help="Filters that contain each other, smallest first: top10,top20,top30.",
    ),
]
Disjoint = Annotated[bool, option("--disjoint", group=READING, help="Pools whose names look nested share no samples.")]
Metric = Annotated[
    str | None, option(group=READING, metavar="NAME", help="The metric to use, where there are several.")
]
Tasks = Annotated[
    str | None, option(group=READING, metavar="NAME,..", help="Metrics to average into one: imagenet,vtab.")
]
PerEpoch = Annotated[
    str | None,
    option(
        "--samples-per-epoch",
        group=READING,
        metavar="COUNT",
        help="Samples of one trainer epoch, for an evaluation folder.",
    ),
]
PerStep = Annotated[
    str | None,
    option("--samples-per-step", group=READING, metavar="COUNT", help="Samples of one step, for a table with steps."),
]
Seen = Annotated[
    str | None,
    option(
        "--samples-seen",
        group=READING,
        metavar="COUNT",
        help="Samples that every run has seen, for mixtures without a column for it.",
    ),
]
LawName = Annotated[
    str | None,
    option(
        group=FITTING,
        metavar="NAME",
        help="The law: utility (the default), effective_samples, ..; any unknown name lists them all.",
    ),
]
Starts = Annotated[
    int,
    option(group=FITTING, metavar="N", min=1, max=100_000, help="Starting points of the fit.", show_default=True),
]
Seed = Annotated[
    int,
    option(
        group=OUTPUT,
        metavar="N",
        min=0,
        max=2**32 - 1,
        help="Of every random number; the same seed gives the same answer.",
        show_default=True,
    ),
]
Output = Annotated[
    str | None,
    option(
        "-o",
        "--output",
        group=OUTPUT,
        metavar="FILE",
        help="Write the result as JSON; - for standard output.",
    ),
]
Published = Annotated[str | None, option(group=SOURCE, metavar="NAME", help="Published constants: datacomp-tmars.")]
PublishedLaw = Annotated[
    str | None,
    option(
        "--law",
        group=SOURCE,
        metavar="NAME",
        help="Which of their laws: utility (the default), released_utility or effective_data.",
    ),
]
Json = Annotated[bool, option("--json", group=OUTPUT, help="Print one JSON document on standard output, nothing else.")]

EMBEDDED = {"wordclip-C": "C", "wordclip-R": "R", "wordclip-V": "V"}


class Reading(NamedTuple):
    """What the user says about how to read runs, as typed."""

    format: str | None
    value: str | None
    pools: str | None
    nested: str | None
    disjoint: bool
    metric: str | None
    tasks: str | None
    samples_per_epoch: str | None
    samples_per_step: str | None
    samples_seen: str | None

    def settings(self) -> dict[str, Any]:
        """Arguments for `read_runs`.

        Raises:
            InputError: an option that cannot be understood.
        """
        from qqtjax.io.read import FORMATS
        from qqtjax.io.tidy import VALUES

        if self.metric is not None and self.tasks is not None:
            raise InputError("--metric and --tasks: expected one of them")
        if self.metric is not None and not self.metric.strip():
            raise InputError("--metric: empty, expected a name")
        count = {
            name: None if text is None else words.positive(text, f"--{name.replace('_', '-')}")
            for name, text in (
                ("samples_per_epoch", self.samples_per_epoch),
                ("samples_per_step", self.samples_per_step),
                ("samples_seen", self.samples_seen),
            )
        }
        return {
            "format": None if self.format is None else words.one_of(self.format, FORMATS, "--format"),
            "value": None if self.value is None else words.one_of(self.value, VALUES, "--value"),
            "pools": None if self.pools is None else words.sizes(self.pools, "--pools"),
            "nested": None if self.nested is None else words.name_list(self.nested, "--nested"),
            "disjoint": self.disjoint,
            "metric": self.metric,
            "tasks": None if self.tasks is None else words.name_list(self.tasks, "--tasks"),
            **count,
        }

    def refuse(self, source: str) -> None:
        """Raise `InputError` if anything is said though there is nothing to read."""
        for name, given in zip(self._fields, self, strict=True):
            if given is not None and given is not False:
                raise InputError(f"--{name.replace('_', '-')}: applies to runs of yours, not to {source}")


def runs_named(runs: str | None, reading: Reading) -> Any:
    """The measured runs that the argument names: those that come with qqtjax, a file, a folder, standard input.

    Raises:
        InputError: what is wrong with them, or with what was said of them.
    """
    from qqtjax.io import read_runs
    from qqtjax.io.tables import wordclip

    if runs is None or (runs in EMBEDDED and not Path(runs).exists()):
        name = runs or "wordclip-C"
        reading.refuse(f"the runs that come with qqtjax ({name})")
        return wordclip(EMBEDDED[name])
    if not runs.strip():
        raise InputError("RUNS: empty, expected a file, a folder, or - for standard input")
    settings = reading.settings()
    if runs == "-":
        check_standard_input()
    elif not Path(runs).exists() and (near := did_you_mean(runs, EMBEDDED)):
        raise InputError(f"{runs}: no such file or folder{near}")
    elif is_saved_fit(runs):
        raise InputError(f"{runs}: a saved fit, expected measured runs")
    return read_runs(runs, **settings)


def fit_named(path: str) -> Any:
    """The saved fit that a file or `-` holds.

    Raises:
        InputError: there is none.
    """
    from qqtjax.io.saved import load_fit

    if not path.strip():
        raise InputError("empty file name, expected a fit that qqt fit -o wrote, or - for standard input")
    if path == "-":
        check_standard_input()
    return load_fit(path)


def check_standard_input() -> None:
    """Raise `InputError` if `-` names nothing."""
    if sys.stdin is None:
        raise InputError("-: standard input is closed")


def is_saved_fit(path: str) -> bool:
    """Does a file begin as `qqt fit -o` writes it."""
    from qqtjax.io.saved import SCHEMA

    return is_saved(path, SCHEMA)


def is_saved(path: str, schema: str) -> bool:
    """Does a file begin as a result of this schema."""
    try:
        with open(path, "rb") as file:
            return f'"schema": "{schema}"'.encode() in file.read(200)
    except OSError:
        return False


def law_named(name: str | None) -> Any:
    """One of qqtjax's laws by its name; by default `utility`.

    Raises:
        InputError: no such law.
    """
    from qqtjax import laws

    known = {law.name: law for law in laws.ALL}
    return laws.utility if name is None else known[words.one_of(name, known, "--law")]


def check_source(fits: Any, published: str | None, law: str | None) -> None:
    """Raise `InputError` unless the law comes from either saved fits or published constants."""
    if (not fits) == (published is None):
        raise InputError("FIT and --published: expected one of them")
    if law is not None and published is None:
        raise InputError("--law: applies to --published; a saved fit knows its law")


def published_law(name: str, law: str | None) -> Any:
    """One of the laws of published constants.

    Raises:
        InputError: no such constants, or no such law of theirs.
    """
    from qqtjax.io.tables import published

    chosen = words.one_of(law or PUBLISHED_LAWS[0], PUBLISHED_LAWS, "--law")
    with words.naming("--published"):
        return getattr(published(name), chosen)


def refuse_runs(path: str, command: str) -> None:
    """Raise `InputError` if a path names measured runs: they are fitted first, so that the fit can be looked at."""
    place = Path(path)
    embedded = path in EMBEDDED and not place.exists()
    if embedded or place.is_dir() or (place.suffix.lower() in TABLES and place.exists()):
        raise InputError(
            f"{path}: measured runs, expected a fit: run qqt fit {shlex.quote(path)} -o fit.json first, then "
            f"{command} fit.json"
        )


def resized(fitted: Any, sizes: str) -> Any:
    """The law on pools of the sizes that were typed.

    Raises:
        InputError: no sizes, an unknown pool, one whose half-life at another size is not known.
    """
    changed = words.sizes(sizes, "--sizes", fitted.pools.names)
    with words.naming("--sizes"):
        return fitted.with_sizes(changed)


def drawn_around(fitted: Any, runs: Any, count: int, seed: int) -> Any:
    """Draws around a fit without refitting it, of whole runs where every pool has several; None where none exist.

    Args:
        fitted: a fit.
        runs: the rows that were fitted; None: a saved fit, which knows its covariance of independent checkpoints.
        count: of draws.
        seed: of the random numbers.
    """
    from qqtjax.fit.clusters import Unit, several_runs
    from qqtjax.fit.drawing import StudentT, draw
    from qqtjax.laws.draws import Draws, draw_params

    if not count:
        return None
    try:
        if runs is None:
            note = "from a saved fit: checkpoints were taken as independent"
            return Draws(fitted, draw_params(fitted, count, seed), "normal approximation", float("inf"), (note,))
        return draw(fitted, runs, count, StudentT(Unit.RUN if several_runs(runs) else None), seed=seed)
    except InputError as reason:
        if runs is None:
            return None
        warnings.warn(f"how sure is not known: {reason}", QQTWarning, stacklevel=2)
        return None
