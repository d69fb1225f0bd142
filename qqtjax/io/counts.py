"""Counts as people write them: 32M, 1.28e7, 0.64B."""

from __future__ import annotations

import math
import re

from qqtjax.errors import InputError

EXPONENTS = {"": 0, "k": 3, "K": 3, "M": 6, "B": 9, "G": 9, "T": 12}
NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+))?\s*([a-zA-Z]?)")


def parse_count(text: object) -> float:
    """A number from text such as `32M`, `1.28e7`, `0.64B` or `inf`; a number passes through.

    Args:
        text: digits with an optional exponent and an optional suffix: k or K (1e3), M (1e6), B or G (1e9),
            T (1e12). The result is the float nearest to the decimal that was written.

    Raises:
        InputError: anything else, NaN included.

    Example:
        >>> parse_count("0.29M")
        290000.0
    """
    expected = "expected a number such as 32M, 1.28e7 or 0.64B"
    if not isinstance(text, str):
        try:
            number = math.nan if isinstance(text, bool) else float(text)  # pyright: ignore[reportArgumentType]
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if math.isnan(number):
            raise InputError(f"found {text!r}, {expected}")
        return number
    stripped = text.strip()
    if stripped.lower().lstrip("+-") in ("inf", "infinity"):
        return float(stripped)
    match = NUMBER.fullmatch(stripped)
    if match is None:
        raise InputError(f"found {text!r}, {expected}")
    digits, exponent, suffix = match.groups()
    if suffix not in EXPONENTS:
        raise InputError(f"found {text!r}, expected a suffix among k, M, B, G and T (M is a million)")
    number = float(f"{digits}e{int(exponent or 0) + EXPONENTS[suffix]}")
    if math.isinf(number):
        raise InputError(f"found {text!r}, too large for a number")
    return number
