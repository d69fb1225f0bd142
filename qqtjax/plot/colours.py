"""Colours: the same pool has the same one in every figure, and nobody needs to tell red from green."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe and Ito, Color Universal Design, 2008, in their order, without yellow, which white paper swallows, and
# without black, which is kept for what belongs to no pool.
OKABE_ITO = ("#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7")
# Perceptually even, from dark to light: viridis (Smith and van der Walt, 2015) short of its yellow end.
EVEN = ("#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58")
DASHES = ("--", ":", "-.")
# What belongs to no pool: measured points of many pools, a diagonal, a zero line.
NEUTRAL, FAINT = "#333333", "#b3b3b3"


def pool_colours(names: Sequence[str]) -> dict[str, str]:
    """`{pool: "#rrggbb"}`: those of Okabe and Ito first, then evenly spaced ones.

    Args:
        names: all pools of the table, in its order, so that a pool keeps its colour from figure to figure.

    Example:
        >>> pool_colours(["top10", "top20"])
        {'top10': '#e69f00', 'top20': '#56b4e9'}
    """
    first = min(len(names), len(OKABE_ITO))
    return dict(zip(names, (*OKABE_ITO[:first], *even_colours(len(names) - first)), strict=True))


def pool_dashes(names: Sequence[str]) -> dict[str, str]:
    """`{pool: line style}` beside `pool_colours`: solid for the first six, dashes and dots for those that follow.

    Args:
        names: all pools of the table, in its order.

    Example:
        >>> pool_dashes(["top10", "top20"])
        {'top10': '-', 'top20': '-'}
    """
    return {
        name: "-" if place < len(OKABE_ITO) else DASHES[(place - len(OKABE_ITO)) % len(DASHES)]
        for place, name in enumerate(names)
    }


def even_colours(count: int) -> tuple[str, ...]:
    """So many colours from dark to light in perceptually even steps, for what has an order or is not a pool.

    Args:
        count: how many; may be 0.

    Example:
        >>> even_colours(2)
        ('#440154', '#6ece58')
    """
    places = [(len(EVEN) - 1) * index / max(count - 1, 1) for index in range(count)]
    return tuple(_between(int(place), place % 1) for place in places)


def _between(index: int, share: float) -> str:
    """The colour a share of the way from one of the even ones to the next."""
    low, high = (_channels(EVEN[min(each, len(EVEN) - 1)]) for each in (index, index + 1))
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(low, high, strict=True))


def _channels(colour: str) -> list[int]:
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
