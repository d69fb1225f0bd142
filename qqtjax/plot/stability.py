"""Do the parameters stay where they are as the first checkpoints are dropped, or as the dilution is varied?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qqtjax.decide.sensitivity import Sensitivity
from qqtjax.errors import InputError
from qqtjax.plot.axes import count_axis, count_ticks, legend, own_panels
from qqtjax.plot.colours import NEUTRAL, pool_colours, pool_dashes
from qqtjax.plot.parameters import is_wide, parameter_label
from qqtjax.runs import Pools


def stability(found: Sensitivity, pools: Pools, *, fields: Sequence[str] | None = None, axes: Any = None) -> Any:
    """Each parameter under every variant of a fit, a panel a parameter; level lines can be trusted.

    Args:
        found: of `drop_early`, where the values are the epochs before which checkpoints were dropped.
        pools: of the runs that it was made from.
        fields: parameters to show; by default all that change.
        axes: an array of one matplotlib Axes for each of them, by default of a new figure.

    Returns:
        `[fields]` Axes.

    Raises:
        MissingExtraError: no matplotlib.
        InputError: no such parameter, or none that changes; another number of pools or of Axes.

    Example:
        >>> import qqtjax as qqt
        >>> from qqtjax.decide import over_dilution
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> found = over_dilution(paper, {"top": {"top 10 %": 1}}, [64e6])
        >>> [each.get_ylabel() for each in stability(found, paper.pools, fields=["floor", "half_life"])]
        ['floor', 'half-life, epochs']
    """
    values = {name: np.asarray(value) for name, value in vars(found.params).items() if value is not None}
    for name in fields or ():
        if name not in values:
            raise InputError(f"no parameter {name!r}: expected some of {', '.join(values)}")
    shown = list(fields or (name for name, value in values.items() if np.any(value != value[:1])))
    if not shown:
        raise InputError("no parameter changes: there is nothing to compare")
    for name in shown:
        if values[name].ndim > 1 and values[name].shape[1] != len(pools):
            raise InputError(f"pools: {len(pools)} given, expected those of the fit ({values[name].shape[1]})")
    panels = own_panels(axes, 1, len(shown), 3.2 * len(shown), 3.4)[0]
    for name, panel in zip(shown, panels, strict=True):
        value = values[name]
        if value.ndim == 1:
            panel.plot(found.values, value, "-o", color=NEUTRAL, markersize=4)
        else:
            dashes = pool_dashes(pools.names)
            for index, (pool, colour) in enumerate(pool_colours(pools.names).items()):
                panel.plot(
                    found.values, value[:, index], dashes[pool], marker="o", color=colour, markersize=4, label=pool
                )
        if is_wide(value):
            count_axis(panel.yaxis, parameter_label(name))
        else:
            panel.set_ylabel(parameter_label(name))
            count_ticks(panel.yaxis)
        panel.set_xlabel(found.what)
    shared = [panel for panel in panels if panel.get_legend_handles_labels()[0]]
    if shared:
        legend(shared[-1])
    return panels
