"""Parameters along an axis: their names with units, and whether they need a logarithm."""

from __future__ import annotations

import numpy as np

UNITS = {"scale": "samples", "half_life": "epochs", "saturation": "epochs"}
# Values further apart than this share an axis only on a logarithm.
WIDE = 30.0


def parameter_label(field: str) -> str:
    """A parameter as a label, with its unit where it has one.

    Example:
        >>> parameter_label("half_life"), parameter_label("floor")
        ('half-life, epochs', 'floor')
    """
    words = field.replace("_", "-" if field == "half_life" else " ")
    return f"{words}, {UNITS[field]}" if field in UNITS else words


def is_wide(values: np.ndarray) -> bool:
    """Are these values positive and far apart."""
    return bool(np.min(values) > 0 and np.max(values) > WIDE * np.min(values))
