"""How the size of the model enters a law, and a law at one size of the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws.law import Law, Range
from qqtjax.laws.repetition import real
from qqtjax.runs import Run, Runs


def model_size_of(law: str, run: Run) -> Array:
    """Parameters of the model, `[]`.

    Raises:
        InputError: the run has none.
    """
    if run.model_size is None:
        raise InputError(f"law {law} needs model_size: expected the model's parameters with each run")
    return jnp.asarray(real(run.model_size))


def log_capacity(law: str, run: Run, model_scale: ArrayLike) -> Array:
    """log(M / m0): the size of the model against the scale of a law, `[]` or as many as scales.

    Raises:
        InputError: the run has no model size.
    """
    return jnp.log(model_size_of(law, run) / jnp.asarray(real(model_scale)))


def shortfall(law: str, run: Run, model_scale: ArrayLike | None, model_exponent: ArrayLike | None) -> Array:
    """What a model of finite size adds to the error: (M / m0)^(-alpha); 0 without an exponent.

    Source: the first term of Hoffmann et al., arXiv 2203.15556, equation 10, with A = m0^alpha.

    Args:
        law: its name, for messages.
        run: one run.
        model_scale: m0, parameters: where the term is 1; None without an exponent.
        model_exponent: alpha; None: no such term.

    Example:
        >>> run = Run(weights=np.ones(1), sizes=np.ones(1), samples_seen=1.0, model_size=4e6)
        >>> round(float(shortfall("mine", run, 1e6, 0.5)), 6)
        0.5
    """
    if model_scale is None or model_exponent is None:
        return jnp.zeros(())
    return jnp.exp(-jnp.asarray(model_exponent) * log_capacity(law, run, model_scale))


def capacity_ranges(runs: Runs) -> dict[str, Range]:
    """Ranges of `model_scale` and `model_exponent`; not fitted where the table has one size of the model or none."""
    sizes = np.ones(1) if runs.model_size is None else np.asarray(runs.model_size, np.float64)
    least, most = float(np.min(sizes)), float(np.max(sizes))
    varies = most > least
    return {
        "model_scale": Range(least * 1e-12, most * 1e3, least * 1e-4, most, log=True, fitted=varies),
        "model_exponent": Range(1e-3, 3.0, 0.1, 0.7, log=True, fitted=varies),
    }


@dataclasses.dataclass(frozen=True)
class AtModelSize:
    """A law's function with the size of the model filled in.

    Attributes:
        function: of the law.
        model_size: parameters.
    """

    function: Callable[[Any, Run, int | None], Array]
    model_size: float

    def __call__(self, params: Any, run: Run, max_epochs: int | None = None) -> Array:
        """Predicted error of one run of this size."""
        return self.function(params, dataclasses.replace(run, model_size=self.model_size), max_epochs)


def at_model_size(law: Law, model_size: float) -> Law:
    """A law of runs that do not say the size of the model: it is this one in all of them.

    Args:
        law: any law.
        model_size: parameters.

    Raises:
        InputError: not a positive number.

    Example:
        >>> from qqtjax.laws import chinchilla
        >>> at_model_size(chinchilla, 7e9).name
        'chinchilla at model size 7e+09'
    """
    if not (np.ndim(model_size) == 0 and np.isfinite(float(model_size)) and float(model_size) > 0):
        raise InputError(f"model size {model_size!r}: expected one positive number of parameters")
    return dataclasses.replace(
        law,
        name=f"{law.name} at model size {model_size:g}",
        function=AtModelSize(law.function, float(model_size)),
        needs=tuple(each for each in law.needs if each != "model_size"),
        trailing=False,
    )
