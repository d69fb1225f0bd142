"""Draws as an npz file: the fit as JSON, and every parameter as an array; written whole or not at all."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from pathlib import Path

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.saved import fit_from_dict, fit_to_dict
from qqtjax.io.whole import write_whole
from qqtjax.laws import Law
from qqtjax.laws.draws import Draws

SCHEMA = "qqtjax.draws"
SCHEMA_VERSION = 1
ABOUT = "about"
PREFIX = "params."


def save_draws(draws: Draws, path: str | Path) -> None:
    """Write draws with their fit; `load_draws` gives back the same bytes of every parameter.

    Args:
        draws: what to write.
        path: the file, an npz archive whatever its name.

    Raises:
        InputError: the file cannot be written; nothing is left behind.

    Example:
        >>> import pathlib, tempfile, jax
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> draws = Draws(paper, jax.tree.map(lambda leaf: np.stack([leaf, leaf]), paper.params), "twice", 1.0, ())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "draws.npz"
        ...     save_draws(draws, path)
        ...     len(load_draws(path))
        2
    """
    about = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "fit": fit_to_dict(draws.fitted),
        "method": draws.method,
        "freedom": draws.freedom if np.isfinite(draws.freedom) else None,
        "notes": list(draws.notes),
    }
    fields = {field.name: getattr(draws.params, field.name) for field in dataclasses.fields(draws.params)}
    arrays = {PREFIX + name: np.asarray(value, np.float64) for name, value in fields.items() if value is not None}
    content = io.BytesIO()
    np.savez(content, **{ABOUT: np.array(json.dumps(about, allow_nan=False)), **arrays})  # pyright: ignore[reportArgumentType]
    write_whole(content.getvalue(), path)


def load_draws(path: str | Path, law: Law | None = None) -> Draws:
    """Read draws that `save_draws` or `qqt fit --save-draws` wrote.

    Args:
        path: the file.
        law: the law, if it is not one of qqtjax's own.

    Returns:
        The `Draws`, with their fit.

    Raises:
        InputError: no such file, not saved draws, a version or law that is not known.

    Example:
        >>> load_draws("nowhere.npz")
        Traceback (most recent call last):
        qqtjax.errors.InputError: nowhere.npz: no such file
    """
    expected = "expected a file written by qqt fit --save-draws"
    try:
        # Opened here, so that it is closed even where it is no archive.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        about = json.loads(str(arrays.pop(ABOUT)))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, KeyError, AttributeError, EOFError, zipfile.BadZipFile) as problem:
        raise InputError(f"{path}: not saved draws ({type(problem).__name__}); {expected}") from None
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        raise InputError(f"{path}: not saved draws; {expected}")
    if about.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema version {about.get('schema_version')}, this version of qqtjax reads {SCHEMA_VERSION}"
        )
    try:
        fitted = fit_from_dict(about["fit"], law)
        found = {name.removeprefix(PREFIX): value for name, value in arrays.items()}
        absent = {field.name: None for field in dataclasses.fields(fitted.law.params)}
        params = fitted.law.params(**{**absent, **found})
        counts = {len(value) for value in found.values()}
        if len(counts) != 1:
            raise ValueError(f"parameters of {sorted(counts)} draws")
        freedom = np.inf if about["freedom"] is None else float(about["freedom"])
        return Draws(fitted, params, str(about["method"]), freedom, tuple(about["notes"]))
    except InputError as problem:
        raise InputError(f"{path}: {problem}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise InputError(f"{path}: damaged draws ({problem}); write them again") from None
