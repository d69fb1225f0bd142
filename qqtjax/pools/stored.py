"""Parquet files of pools and selections: written whole or not at all, with what they hold in their metadata."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qqtjax.errors import InputError, MissingExtraError

KEY = b"qqtjax"


def parquet() -> tuple[Any, Any]:
    """The packages `pyarrow` and `pyarrow.parquet`.

    Raises:
        MissingExtraError: they are not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("Parquet files need pyarrow: pip install 'qqtjax[parquet]'") from None
    return pyarrow, pyarrow.parquet


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name in the folder of a file, which takes the file's name when all is written.

    Args:
        path: where the file is to be; a link is followed.

    Raises:
        InputError: it cannot be written; what was there stays.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(Path(folder, "a.txt")) as temporary:
        ...         _ = temporary.write_text("whole")
        ...     [each.name for each in Path(folder).iterdir()]
        ['a.txt']
    """
    target = Path(os.path.realpath(path))
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as problem:
        raise InputError(f"{path}: cannot be written ({problem.strerror})") from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)
    except OSError as problem:
        reason = problem.strerror or str(problem).splitlines()[0]
        raise InputError(f"{path}: cannot be written ({reason})") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_columns(columns: dict[str, Any], about: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write columns as a Parquet file, whole or not at all.

    Args:
        columns: `{name: array}`, numpy or pyarrow, of one length.
        about: what a reader needs beside them, as JSON holds it; goes to the metadata.
        path: the file.

    Raises:
        InputError: it cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow, writer = parquet()
    table = pyarrow.table(columns).replace_schema_metadata({KEY: json.dumps(about, allow_nan=False).encode()})
    with whole_file(path) as temporary:
        writer.write_table(table, temporary)


def read_columns(path: str | os.PathLike[str], schema: str, version: int, made_by: str) -> tuple[Any, dict[str, Any]]:
    """The table and what its metadata say, as `write_columns` wrote them.

    Args:
        path: the file.
        schema: what it has to be.
        version: of the schema.
        made_by: what writes such files, for messages.

    Returns:
        A `pyarrow.Table`, and the metadata.

    Raises:
        InputError: no such file, not Parquet, something else, a version that is not known.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow, reader = parquet()
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        table = reader.read_table(os.fspath(path))
    except (pyarrow.ArrowException, OSError) as problem:
        raise InputError(f"{path}: not a Parquet file: {str(problem).splitlines()[0]}") from None
    try:
        about = json.loads((table.schema.metadata or {})[KEY])
    except (KeyError, ValueError):
        about = {}
    if about.get("schema") != schema:
        raise InputError(f"{path}: not what {made_by} writes (no {schema} in its metadata)")
    if about.get("schema_version") != version:
        raise InputError(
            f"{path}: schema version {about.get('schema_version')}, this version of qqtjax reads {version}"
        )
    return table, about
