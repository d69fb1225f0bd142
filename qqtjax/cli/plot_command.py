"""`qqt plot`: one command a figure."""

from __future__ import annotations

from collections.abc import Callable

import typer

from qqtjax.cli import plot_decisions, plot_fits
from qqtjax.cli.helping import Command, Group
from qqtjax.cli.output import Answer

NEXT = """What to do next:
  qqt plot curves                        the runs that come with qqtjax
  qqt plot curves runs.csv -o curves.pdf yours
  qqt plot curves --help                 options of a figure, with examples"""

plot = typer.Typer(cls=Group, rich_markup_mode=None, add_completion=False)


@plot.callback(invoke_without_command=True)
def _plot(context: typer.Context) -> Answer | None:
    """Figures as PNG, PDF or SVG, of the runs that come with qqtjax or of yours."""
    return Answer(context.get_help(), False) if context.invoked_subcommand is None else None


def _add(commands: tuple[tuple[Callable[..., Answer], str, str], ...]) -> None:
    """Each is a command, what its figure shows in a few words, and its examples."""
    for command, shows, examples in commands:
        name = command.__name__.replace("_", "-")
        plot.command(name, cls=Command, short_help=shows, epilog=examples)(command)


_add(plot_fits.COMMANDS)
_add(plot_decisions.COMMANDS)
