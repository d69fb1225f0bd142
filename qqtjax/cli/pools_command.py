"""`qqt pools`: the commands that make pools and choose samples, one module each."""

from __future__ import annotations

import typer

from qqtjax.cli.helping import Group
from qqtjax.cli.output import Answer

NEXT = """What to do next:
  qqt pools quantile --help    options of a command, with examples"""

pools = typer.Typer(cls=Group, rich_markup_mode=None, add_completion=False)


@pools.callback(invoke_without_command=True)
def _pools(context: typer.Context) -> Answer | None:
    """From scores or embeddings to pools, and from a plan to the samples to keep."""
    return Answer(context.get_help(), False) if context.invoked_subcommand is None else None
