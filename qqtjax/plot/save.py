"""A figure as a file, written whole or not at all."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import Any

from qqtjax.errors import InputError, MissingExtraError
from qqtjax.io.whole import write_whole

KINDS = (".png", ".pdf", ".svg")


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure of so many inches; nothing global is touched.

    Raises:
        MissingExtraError: no matplotlib.
    """
    try:
        return importlib.import_module("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    except ImportError:
        raise MissingExtraError("figures need matplotlib: pip install 'qqtjax[plot]'") from None


def check_figure_name(path: str | Path) -> str:
    """The kind of figure that a file name asks for: png, pdf or svg.

    Raises:
        InputError: another ending.
    """
    kind = Path(path).suffix.lower()
    if kind not in KINDS:
        raise InputError(f"{path}: a figure, expected a name that ends in {', '.join(KINDS)}")
    return kind[1:]


def save_figure(figure: Any, path: str | Path, dpi: float = 150) -> None:
    """Write a figure; the kind follows from the name, and the same figure is the same bytes.

    Args:
        figure: of matplotlib.
        path: ends in .png, .pdf or .svg.
        dpi: dots an inch, for .png.

    Raises:
        InputError: another ending, or it cannot be written.
    """
    kind = check_figure_name(path)
    content = io.BytesIO()
    # No date and no random names, so that the same figure is the same bytes.
    undated = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    with importlib.import_module("matplotlib").rc_context({"svg.hashsalt": "qqtjax"}):
        figure.savefig(content, format=kind, dpi=dpi, metadata=undated)
    write_whole(content.getvalue(), path)
