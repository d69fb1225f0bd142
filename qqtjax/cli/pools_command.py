"""`qqt pools`: the commands that make pools and choose samples, one module each."""

from __future__ import annotations

import typer

from qqtjax.cli import pools_dbp, pools_dlc, pools_flexrand, pools_quantile, pools_score, pools_select
from qqtjax.cli.helping import Command, Group
from qqtjax.cli.output import Answer

NEXT = """What to do next:
  qqt pools quantile --help    options of a command, with examples"""

pools = typer.Typer(cls=Group, rich_markup_mode=None, add_completion=False)


@pools.callback(invoke_without_command=True)
def _pools(context: typer.Context) -> Answer | None:
    """From scores or embeddings to pools, and from a plan to the samples to keep."""
    return Answer(context.get_help(), False) if context.invoked_subcommand is None else None


pools.command("quantile", cls=Command, short_help="Pools by quantiles of a score.", epilog=pools_quantile.EXAMPLES)(
    pools_quantile.quantile
)
pools.command(
    "flexrand", cls=Command, short_help="Random easy and hard samples of each class.", epilog=pools_flexrand.EXAMPLES
)(pools_flexrand.flexrand)
pools.command("select", cls=Command, short_help="From a plan or rule to samples.", epilog=pools_select.EXAMPLES)(
    pools_select.select
)
pools.command("dlc", cls=Command, short_help="Scores by a frozen network, untrained.", epilog=pools_dlc.EXAMPLES)(
    pools_dlc.dlc
)
pools.command("score", cls=Command, short_help="Scores of other rules, by features.", epilog=pools_score.EXAMPLES)(
    pools_score.score
)
pools.command("dbp", cls=Command, short_help="Embeddings pruned by density.", epilog=pools_dbp.EXAMPLES)(pools_dbp.dbp)
