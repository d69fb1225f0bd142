"""Looking at results: figures by matplotlib, which is loaded when one is drawn.

Every figure takes results (a fit, draws, a table, a profile, ..) and matplotlib Axes of yours or none, and returns the
Axes. It evaluates the laws that it is given; it never fits, draws or searches. Nothing global is touched.

Example:
    >>> import qqtjax as qqt
    >>> runs = qqt.wordclip("C")
    >>> axes = qqt.plot.curves(qqt.fit(runs.select(runs.single)), runs)
    >>> axes.set_title("word-CLIP")
    Text(0.5, 1.0, 'word-CLIP')
    >>> qqt.plot.save_figure(axes.figure, "curves.svg")  # doctest: +SKIP
"""

from qqtjax.plot.bakeoff import bakeoff as bakeoff
from qqtjax.plot.best import best as best
from qqtjax.plot.budgets import budgets as budgets
from qqtjax.plot.colours import pool_colours as pool_colours
from qqtjax.plot.curves import curves as curves
from qqtjax.plot.disagreement import disagreement as disagreement
from qqtjax.plot.mixtures import mixtures as mixtures
from qqtjax.plot.near_best import near_best as near_best
from qqtjax.plot.next_run import next_run as next_run
from qqtjax.plot.profile import profile as profile
from qqtjax.plot.reliability import reliability as reliability
from qqtjax.plot.repetition import repetition as repetition
from qqtjax.plot.residuals import residuals as residuals
from qqtjax.plot.save import save_figure as save_figure
from qqtjax.plot.stability import stability as stability
from qqtjax.plot.weights import weights as weights
