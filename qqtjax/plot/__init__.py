"""Looking at results: figures by matplotlib, which is loaded when one is drawn."""

from qqtjax.plot.bakeoff import bakeoff_figure as bakeoff_figure
from qqtjax.plot.colours import pool_colours as pool_colours
from qqtjax.plot.residuals import residuals as residuals
from qqtjax.plot.save import save_figure as save_figure
