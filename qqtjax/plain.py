"""Results as plain data that strict JSON holds."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np


def to_plain(value: Any) -> Any:
    """Arrays, dataclasses and numbers as what strict JSON holds; numbers that are not finite become words.

    Args:
        value: any nest of dataclasses, dicts, lists, tuples, arrays and scalars; anything else stays as it is.

    Returns:
        Dicts with text keys, lists, strings, numbers, booleans and None.

    Example:
        >>> to_plain({"sizes": np.array([1.0, np.inf])})
        {'sizes': [1.0, 'inf']}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return to_plain(np.asarray(value).tolist())
    if isinstance(value, list | tuple):
        return [to_plain(one) for one in value]
    if isinstance(value, float) and not np.isfinite(value):
        return "nan" if np.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
