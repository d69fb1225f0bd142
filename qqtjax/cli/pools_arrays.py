"""Arrays and labels of samples as `qqt pools dlc` and `qqt pools score` read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qqtjax.errors import InputError

NUMBERS = "fiubc"  # kinds of NumPy's types


def array(path: str, what: str, kinds: str = NUMBERS) -> np.ndarray:
    """The array of a `.npy` file, as a memory map.

    Args:
        path: the file.
        what: the argument or option that names it.
        kinds: of NumPy's types that it may hold.

    Raises:
        InputError: no such file, not an array, or one of something else.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{what}: {path}: no such file") from None
    except (OSError, ValueError, EOFError) as problem:
        raise InputError(f"{what}: {path}: not an array in a .npy file ({str(problem).splitlines()[0]})") from None
    if not isinstance(found, np.ndarray) or not found.ndim or not len(found):
        raise InputError(f"{what}: {path}: expected one array with a row for each sample")
    if found.dtype.kind not in kinds:
        raise InputError(f"{what}: {path}: holds {found.dtype}, expected numbers")
    return found


def labels(path: str, count: int, inputs: str) -> np.ndarray:
    """The classes that `--labels` names.

    Args:
        path: `.npy`, or text with a class a line.
        count: how many there have to be.
        inputs: the file that has so many rows.

    Raises:
        InputError: they cannot be read, are not one for each row, or one is empty.
    """
    if Path(path).suffix.lower() == ".npy":
        found = array(path, "--labels", NUMBERS + "U")
    else:
        try:
            found = np.array(Path(path).read_text(encoding="utf-8").splitlines(), np.str_)
        except (OSError, ValueError) as problem:
            reason = getattr(problem, "strerror", None) or "not text in UTF-8"
            raise InputError(f"--labels: {path}: cannot be read ({reason})") from None
        blank = np.flatnonzero(np.char.strip(found) == "")
        if len(blank):
            raise InputError(f"--labels: {path}: line {blank[0] + 1} is empty, expected a class")
    if found.shape != (count,):
        shape = f"{len(found)} labels" if found.ndim == 1 else f"shape {found.shape}"
        raise InputError(f"--labels: {path}: {shape}, expected one for each of the {count} rows of {inputs}")
    return found
