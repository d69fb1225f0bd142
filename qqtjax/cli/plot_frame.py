"""What all commands of `qqt plot` share: where a figure's data come from, and the file that it goes to."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from qqtjax.cli import interrupt, words
from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.errors import InputError, QQTWarning

FIGURE = "Figure"
# Dots an inch and inches: the largest image still fits a few GB of memory.
RESOLUTIONS = (10, 1200)
SIDES = (0.5, 24.0)

Draws = Annotated[
    int,
    o.option(group=o.FITTING, metavar="N", min=0, max=100_000, help="Draws that give bands, 400 by default; 0: none."),
]
Level = Annotated[str, o.option(group=o.FITTING, metavar="SHARE", help="Level of intervals: .95.")]
Split = Annotated[
    str | None,
    o.option(
        group=o.FITTING, metavar="SPLIT", help="Hold out: epochs>8, samples_seen>80k, random:.2, .. (quote the >)."
    ),
]


@dataclass(frozen=True)
class Source:
    """What a figure may be made of; each thing is computed when a command asks for it.

    Attributes:
        runs: the argument RUNS as typed.
        reading: what was said about how to read it.
        seed: of every random number.
        say: tells what is being done.
    """

    runs: str | None
    reading: o.Reading
    seed: int
    say: Callable[[str], None]

    @functools.cached_property
    def is_fit(self) -> bool:
        """Does RUNS name a saved fit."""
        return self.runs is not None and o.is_saved_fit(self.runs)

    @functools.cached_property
    def table(self) -> Any:
        """The measured runs, one metric.

        Raises:
            InputError: what is wrong with them; several metrics; a saved fit.
        """
        self.say("reading runs")
        table = o.runs_named(self.runs, self.reading)
        if len(table.metric_names) > 1:
            raise InputError(
                f"{len(table.metric_names)} metrics ({', '.join(table.metric_names)}): choose one with --metric, or "
                "average with --tasks"
            )
        return table

    @functools.cached_property
    def to_fit(self) -> Any:
        """The rows of the table that are fitted: pools alone, or all where a pool was not measured alone."""
        return self.table.select(self.table.to_fit())

    def fitted(self, law: str | None, starts: int, rows: Any = None) -> Any:
        """A law fitted to some rows of the table, by default `to_fit`, or the saved fit that RUNS names.

        Raises:
            InputError: an unknown law; a law or ways to read beside a saved fit; as `fit`.
        """
        from qqtjax.fit import fit

        if self.is_fit:
            self.reading.refuse(f"a saved fit ({self.runs})")
            if law is not None:
                raise InputError(f"--law: {self.runs} is a saved fit and knows its law")
            self.say("reading the fit")
            return o.fit_named(str(self.runs))
        chosen = o.law_named(law)
        rows = self.to_fit if rows is None else rows
        self.say(f"fitting law {chosen.name} to {words.runs_text(rows)}")
        return fit(rows, chosen, starts=starts, seed=self.seed)

    def constants(self, published: str, law: str | None) -> Any:
        """One of the laws of published constants, in place of RUNS.

        Raises:
            InputError: RUNS or ways to read them beside; no such constants, or no such law of theirs.
        """
        if self.runs is not None:
            raise InputError("RUNS and --published: expected one of them")
        self.reading.refuse("published constants")
        return o.published_law(published, law)

    def drawn(self, fitted: Any, count: int, rows: Any = None) -> Any:
        """Draws around the fit to those rows, as `qqt plan` takes them, in place of it; the fit where none exist."""
        self.say("drawing parameters")
        runs = None if self.is_fit else self.to_fit if rows is None else rows
        found = o.drawn_around(fitted, runs, count, self.seed)
        for note in () if found is None else found.notes:  # a figure has no room for them
            warnings.warn(f"bands: {note}", QQTWarning, stacklevel=2)
        return found or fitted


def figure(draw: Callable[..., Any]) -> Callable[..., out.Answer]:
    """A command from a function that draws; the options that all figures share are added here.

        @figure
        def residuals(source: Source, law: o.LawName = None, starts: o.Starts = 64) -> Any:
            from qqtjax.plot import residuals

            fitted = source.fitted(law, starts)
            return residuals(fitted, source.to_fit)

    Args:
        draw: takes a `Source` and options of its own, and returns matplotlib Axes or an array of them. Its name is
            that of the command and of the file, its docstring the help.

    Returns:
        What `app.command` takes.
    """
    name = draw.__name__.replace("_", "-")

    def command(
        runs: str | None,
        output: str | None,
        title: str | None,
        size: str | None,
        dpi: int,
        seed: int,
        json: bool,
        **rest: Any,
    ) -> out.Answer:
        from qqtjax.plot.save import check_figure_name, new_figure, save_figure

        path = output or f"{name}.png"
        out.check_writable(path)
        check_figure_name(path)
        sides = None if size is None else _sides(size)
        new_figure(1, 1)  # is there matplotlib
        reading = o.Reading(**{each: rest.pop(each) for each in o.Reading._fields})
        with out.progress(5) as say:
            axes = draw(Source(runs, reading, seed, say), **rest)
            say("drawing the figure")
            whole = _figure_of(axes)
            if sides is not None:
                whole.set_size_inches(*sides)
            if title is not None:
                whole.suptitle(title)
            with interrupt.writing:
                save_figure(whole, path, dpi)
        document = {"schema": "qqtjax.figure", "schema_version": 1, "figure": name, "file": path}
        return out.Answer(out.as_json(document), True) if json else out.Answer(f"wrote {path}", False)

    functools.update_wrapper(command, draw)
    own = list(inspect.signature(draw, eval_str=True).parameters.values())[1:]
    common = list(inspect.signature(_common, eval_str=True).parameters.values())
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (common[0], *own, *common[1:])]
    command.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def share(text: str, option: str = "--level") -> float:
    """A number between 0 and 1.

    Raises:
        InputError: anything else.
    """
    found = words.number(text, option)
    if not 0 < found < 1:
        raise InputError(f"{option}: found {text!r}, expected a number between 0 and 1, for example .95")
    return found


def held_out_rows(table: Any, split: str, seed: int) -> Any:
    """`[M]` bool: which checkpoints a split holds out.

    Raises:
        InputError: a split that cannot be understood, holds out nothing or all, or has several folds.
    """
    from qqtjax.bakeoff import parse_split
    from qqtjax.bakeoff.splits import held_out

    with words.naming("--split"):
        folds = held_out(parse_split(split), table, seed)
    if len(folds) != 1:
        raise InputError(f"--split: {split} holds out {len(folds)} parts in turn, expected one part")
    return folds[0]


def _common(
    runs: o.RunsArgument = None,
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
    output: Annotated[
        str | None,
        o.option(
            "-o",
            "--output",
            group=FIGURE,
            metavar="FILE",
            help="Ends in .png, .pdf or .svg; by default the figure's name with .png.",
        ),
    ] = None,
    title: Annotated[str | None, o.option(group=FIGURE, metavar="TEXT", help="Above the figure.")] = None,
    size: Annotated[
        str | None, o.option(group=FIGURE, metavar="WIDTHxHEIGHT", help="In inches: 6.4x4.4; each figure has its own.")
    ] = None,
    dpi: Annotated[
        int,
        o.option(
            group=FIGURE, metavar="N", min=RESOLUTIONS[0], max=RESOLUTIONS[1], help="Dots an inch.", show_default=True
        ),
    ] = 150,
    seed: o.Seed = 0,
    json: Annotated[
        bool, o.option("--json", group=o.OUTPUT, help="Print the file's name as JSON on standard output.")
    ] = False,
) -> None:
    """The options that all figures share: a signature, never called."""


def _sides(text: str) -> tuple[float, float]:
    """Inches from `6.4x4.4`.

    Raises:
        InputError: anything else.
    """
    width, sign, height = text.partition("x")
    if not sign:
        raise InputError(f"--size: found {text!r}, expected WIDTHxHEIGHT in inches, for example 6.4x4.4")
    sides = words.positive(width, "--size"), words.positive(height, "--size")
    if not all(SIDES[0] <= side <= SIDES[1] for side in sides):
        raise InputError(f"--size: found {text!r}, expected sides of {SIDES[0]:g} to {SIDES[1]:g} inches")
    return sides


def _figure_of(axes: Any) -> Any:
    """The matplotlib figure that Axes, or an array of them, lie in."""
    import numpy as np

    return np.asarray(axes, object).flat[0].figure
