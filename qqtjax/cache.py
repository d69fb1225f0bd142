"""Compiled programs kept between processes, in the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

SWITCH = "QQTJAX_CACHE"
OFF = ("0", "off", "no", "false")


def enable_compile_cache(folder: str | os.PathLike[str] | None = None) -> Path | None:
    """Turn on JAX's persistent compilation cache; the command line does, `import qqtjax` does not.

    Args:
        folder: where to keep compiled programs. By default the folder that JAX is already configured with, else
            the environment variable `QQTJAX_CACHE`, else the user's cache folder; `QQTJAX_CACHE=0` turns it off.

    Returns:
        The folder, or None where it is off or cannot be made.

    Example:
        >>> folder = enable_compile_cache()  # doctest: +SKIP
    """
    import jax

    wanted = os.environ.get(SWITCH, "")
    if folder is None and wanted.lower() in OFF and wanted:
        return None
    if folder is None and (configured := jax.config.values["jax_compilation_cache_dir"]):
        return Path(configured)
    if folder is None:
        import platformdirs

        folder = wanted or Path(platformdirs.user_cache_dir("qqtjax")) / "compiled"
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    return Path(folder)
