"""Words that every room uses: counts as people write them, and the nearest name to a misspelt one."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable

UNITS = (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3))


def show_count(number: float, digits: int = 6) -> str:
    """A count as people write it, with k, M, B or T.

    Args:
        number: any number; not finite ones read `inf`, `-inf`, `nan`.
        digits: significant digits; rounded first, so that 999,999.9 reads `1M`.

    Example:
        >>> show_count(12.8e6), show_count(100.54e6, 4), show_count(999_999.9), show_count(250)
        ('12.8M', '100.5M', '1M', '250')
    """
    rounded = float(f"{number:.{digits}g}")
    for unit, size in UNITS:
        if size <= abs(rounded) < math.inf:
            return f"{number / size:.{digits}g}{unit}"
    return f"{number:.{digits}g}"


def number_of(count: int, thing: str) -> str:
    """So many things, in the singular where there is one.

    Example:
        >>> number_of(1, "pool"), number_of(5, "pool")
        ('1 pool', '5 pools')
    """
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or nothing where none is near.

    Args:
        name: what was written.
        names: what is known.

    Example:
        >>> did_you_mean("top1O", ["top10", "web"]), did_you_mean("xyz", ["top10", "web"])
        ("; did you mean 'top10'?", '')
    """
    near = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
