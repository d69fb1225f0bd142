"""Looking at results: figures by matplotlib, which is loaded when one is drawn."""

from qqtjax.plot.bakeoff import bakeoff_figure as bakeoff_figure
from qqtjax.plot.save import save_figure as save_figure
