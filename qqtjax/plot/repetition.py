"""Utility against repetition: what a sample of each pool is still worth when it is shown again."""

from __future__ import annotations

import importlib
from typing import Any

import jax
import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws.draws import Draws
from qqtjax.laws.fitted import FittedLaw
from qqtjax.laws.repetition import decay, decay_rate
from qqtjax.laws.utility import UtilityParams
from qqtjax.plot.axes import legend, own_axes
from qqtjax.plot.colours import pool_colours, pool_dashes
from qqtjax.plot.intervals import apart, interval

# Epochs shown at least and, unless the caller asks for more, at most.
FEW, MANY = 8, 32


def repetition(fit: FittedLaw | Draws, *, epochs: int | None = None, level: float = 0.95, axes: Any = None) -> Any:
    """Effective utility of each pool trained alone in its k-th epoch; where lines cross, the better pool changes.

        b_i D_i(k - 1),   D_i(k) = 2^(-(k / tau_hat_i)^s),   tau_hat_i = tau_i (N_i / Nref_i)^gamma,   k = 1, 2, ..

    Source: Figure 4 of arXiv 2404.07177.

    Args:
        fit: a law with decaying utility (`laws.utility`, `laws.released_utility`, `laws.effective_data`), or draws in
            its place for the bands.
        epochs: how many are shown; by default as many as were fitted, from 8 to 32.
        level: share of the draws inside a band, equal tails.
        axes: matplotlib Axes to draw on, by default of a new figure.

    Returns:
        The Axes.

    Raises:
        MissingExtraError: no matplotlib.
        InputError: a law without decaying utility; no epochs; a level that is not between 0 and 1.

    Example:
        >>> import qqtjax as qqt
        >>> axes = repetition(qqt.published("datacomp-tmars").utility)
        >>> [round(float(line.get_ydata()[0]), 3) for line in axes.get_lines()]
        [-0.16, -0.125, -0.1, -0.085]
    """
    fitted, draws = apart(fit, level)
    if not isinstance(fitted.params, UtilityParams):
        raise InputError(f"law {fitted.law.name} has no utility that decays with repetition; laws.utility has one")
    if epochs is None:
        most = FEW if fitted.seen is None else float(np.max(fitted.seen.epochs))
        epochs = int(np.clip(np.ceil(most), FEW, MANY))
    if epochs < 1:
        raise InputError(f"epochs {epochs!r}: expected 1 or more")
    axes = own_axes(axes)
    shown = np.arange(1, epochs + 1)
    worth = _worth(fitted.params, fitted.pools.sizes, epochs)
    band = None if draws is None else interval(_worth(draws.params, fitted.pools.sizes, epochs), level)
    dashes = pool_dashes(fitted.pools.names)
    for index, (name, colour) in enumerate(pool_colours(fitted.pools.names).items()):
        if band is not None:
            low, high = band[:, :, index]
            axes.fill_between(shown, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(
            shown, worth[:, index], dashes[name], marker="o", markersize=3, linewidth=1.5, color=colour, label=name
        )
    axes.xaxis.set_major_locator(importlib.import_module("matplotlib.ticker").MaxNLocator(integer=True))
    axes.set_xlim(0.5, epochs + 0.5)
    axes.set_xlabel("epoch k of training on the pool alone")
    axes.set_ylabel("effective utility b D(k - 1), more negative is better")
    legend(axes)
    return axes


def _worth(params: Any, sizes: np.ndarray, epochs: int) -> np.ndarray:
    """`[..., E, P]` utility in each epoch; leading axes of the parameters stay in front."""
    utility, half_life, reference = (
        np.asarray(each)[..., None, :] for each in (params.utility, params.half_life, params.reference_size)
    )
    dilution = np.asarray(params.dilution)[..., None, None]
    shape = None if params.decay_shape is None else np.asarray(params.decay_shape)[..., None, None]
    with jax.enable_x64(True):
        rate = decay_rate(half_life, dilution, 1.0, sizes, reference)
        return utility * np.asarray(decay(np.arange(epochs)[:, None], rate, shape))
