"""A sweep on disk: a folder of Parquet files, one a finished part, and a manifest that says what they belong to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from qqtjax.errors import InputError, MissingExtraError

SCHEMA, SCHEMA_VERSION = "qqtjax.sweep", 1
MANIFEST, LOCK, ARRAYS = "manifest.json", ".lock", "axes.npz"
PART = re.compile(r"part-(\d{8})\.parquet")
UNFINISHED = ".unfinished"


def require_parquet() -> Any:
    """The package pyarrow with its Parquet module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("a sweep on disk needs pyarrow: pip install 'qqtjax[parquet]'") from None
    return pyarrow


@contextlib.contextmanager
def locked(folder: Path, process: int) -> Iterator[None]:
    """Hold a folder against other sweeps while in here; the system lets go when the process ends, however it does.

    Args:
        folder: it is made where it is missing.
        process: number of this process among those of one sweep.

    Raises:
        InputError: another process holds it, or it cannot be made or written.
    """
    with as_one_line(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / (LOCK if process == 0 else f"{LOCK}-{process}")).open("a")
    with file:
        try:
            import fcntl
        except ImportError:  # no locks of this kind on Windows
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{folder}: another sweep is writing there; wait for it, or give another folder") from None
        yield


@contextlib.contextmanager
def as_one_line(folder: Path) -> Iterator[None]:
    """Turn what the system says of a folder into one line.

    Raises:
        InputError: it cannot be written, or the disk is full; what is finished stays.
    """
    try:
        yield
    except OSError as problem:
        reason = problem.strerror or str(problem).splitlines()[0]
        kept = "; finished parts are kept" if folder.is_dir() and finished(folder) else ""
        raise InputError(f"{folder}: cannot be written ({reason}){kept}") from None


@contextlib.contextmanager
def damaged(folder: Path) -> Iterator[None]:
    """Turn what a file with other contents than ours leads to into one line.

    Raises:
        InputError: something is missing in it, or is not what it should be.
    """
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, IndexError) as problem:
        raise InputError(
            f"{folder}: damaged ({type(problem).__name__}: {problem}); remove it and sweep again"
        ) from None


def begin(folder: Path, identity: dict[str, Any], description: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write the manifest of a new sweep, or find that the folder holds this very one.

    Args:
        folder: an existing folder.
        identity: what must be the same for a sweep to go on, `{what: text}`.
        description: what a reader needs to know beside it.
        arrays: the axes, which are too long for JSON.

    Raises:
        InputError: it holds another sweep, or other files and no sweep.
    """
    path = folder / MANIFEST
    if path.exists():
        with damaged(folder):
            found = dict(read_manifest(folder)["identity"])
        differ = [what for what in {**identity, **found} if identity.get(what) != found.get(what)]
        if differ:
            raise InputError(
                f"{folder}: holds another sweep ({', '.join(differ)} differ); give another folder, or remove this one"
            )
        return
    strangers = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
    strangers = [name for name in strangers if name != ARRAYS]
    if strangers:
        raise InputError(f"{folder}: not empty and no sweep (it holds {strangers[0]}); give a new or empty folder")
    document = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "identity": identity, **description}
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    with as_one_line(folder):
        with whole(folder / ARRAYS) as temporary:
            np.savez(temporary, **arrays)  # pyright: ignore[reportArgumentType]
        with whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name for a file, which gets its own when it is complete and on the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{UNFINISHED}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep_away(folder: Path) -> None:
    """Remove what killed processes left unfinished; only while the folder is held."""
    for left in folder.glob(f".*{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            left.unlink()


def finished(folder: Path) -> set[int]:
    """Numbers of the parts that are there."""
    return {int(found[1]) for each in folder.iterdir() if (found := PART.fullmatch(each.name))}


def part_path(folder: Path, part: int) -> Path:
    """The file of one part."""
    return folder / f"part-{part:08d}.parquet"


def write_part(folder: Path, part: int, columns: dict[str, np.ndarray]) -> None:
    """Write one part, whole or not at all.

    Args:
        folder: of the sweep.
        part: its number.
        columns: `{name: [M]}`; places on an axis as int32, values as floats.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    pyarrow = require_parquet()
    places = [name for name, values in columns.items() if values.dtype.kind == "i"]
    with as_one_line(folder), whole(part_path(folder, part)) as temporary:
        pyarrow.parquet.write_table(
            pyarrow.table(columns),
            temporary,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            column_encoding={name: "DELTA_BINARY_PACKED" for name in places},
        )


def read_part(folder: Path, part: int) -> dict[str, np.ndarray]:
    """The columns of one part.

    Raises:
        InputError: it is damaged.
    """
    pyarrow = require_parquet()
    path = part_path(folder, part)
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as problem:
        raise InputError(
            f"{path}: cannot be read ({str(problem).splitlines()[0]}); remove it and sweep again"
        ) from None
    return {name: table[name].to_numpy() for name in table.column_names}


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest.

    Raises:
        InputError: there is none, or not one that this version reads.
    """
    path = folder / MANIFEST
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder}: no sweep there (no {MANIFEST})") from None
    except (OSError, ValueError):
        raise InputError(f"{path}: cannot be read as JSON; expected the manifest of a sweep") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise InputError(f"{path}: not the manifest of a sweep")
    if document.get("schema_version") != SCHEMA_VERSION:
        version = document.get("schema_version")
        raise InputError(f"{path}: schema version {version}, this version of qqtjax reads {SCHEMA_VERSION}")
    return document


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """The axes that were written beside the manifest.

    Raises:
        InputError: they cannot be read.
    """
    try:
        with np.load(folder / ARRAYS, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as problem:
        raise InputError(f"{folder / ARRAYS}: cannot be read ({type(problem).__name__}: {problem})") from None


def digest(*arrays: Any) -> str:
    """A fingerprint of arrays and texts: the first 16 hexadecimal digits of their SHA-256."""
    found = hashlib.sha256()
    for each in arrays:
        if isinstance(each, str):
            found.update(each.encode())
        else:
            dense = np.ascontiguousarray(each)
            found.update(f"{dense.dtype.str}{dense.shape}".encode())
            found.update(dense.tobytes())
    return found.hexdigest()[:16]


def code_version() -> str:
    """A fingerprint of the code that a sweep's numbers depend on."""
    package = Path(__file__).parent.parent
    files = [file for room in ("laws", "mix", "sweep") for file in sorted((package / room).glob("*.py"))]
    return digest(*(file.read_text(encoding="utf-8") for file in [*files, package / "runs.py"]))
