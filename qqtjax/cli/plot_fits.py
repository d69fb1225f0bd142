"""`qqt plot`: figures about fits."""

from __future__ import annotations

from typing import Any

from qqtjax.cli import options as o
from qqtjax.cli.plot_frame import Source, figure


@figure
def residuals(source: Source, law: o.LawName = None, starts: o.Starts = 64) -> Any:
    """Predicted less measured error of every checkpoint against its epochs: what the law misses where data repeat."""
    from qqtjax.plot import residuals as draw

    return draw(source.fitted(law, starts), source.table)


RESIDUALS = """Examples:
  qqt plot residuals
  qqt plot residuals runs.csv -o residuals.pdf
  qqt plot residuals runs.csv --law effective_samples --title "By the other law\""""

COMMANDS = ((residuals, "What the law misses, by epochs.", RESIDUALS),)
