"""Fitted laws as versioned JSON: written whole or not at all, reloaded to the same bytes."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from qqtjax import laws
from qqtjax.errors import InputError
from qqtjax.io.whole import write_whole
from qqtjax.laws import Diagnostics, FittedLaw, Law, Seen
from qqtjax.laws.fitted import Pooled, Spread
from qqtjax.plain import to_plain
from qqtjax.runs import Pools

SCHEMA = "qqtjax.fit"
SCHEMA_VERSION = 1


def write_text(text: str, path: str | Path) -> None:
    """Write a whole file or nothing: a temporary name in the same folder, then a rename; `-` is standard output.

    Raises:
        InputError: the folder does not exist or cannot be written.
    """
    if str(path) == "-":
        sys.stdout.write(text)
        return
    write_whole(text.encode("utf-8"), path)


def fit_to_dict(fitted: FittedLaw) -> dict[str, Any]:
    """A fitted law as plain data."""
    info = fitted.diagnostics
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "law": fitted.law.name,
        "metric": fitted.metric,
        "source": fitted.source,
        "pools": dict(zip(fitted.pools.names, to_plain(fitted.pools.sizes), strict=True)),
        "params": to_plain(fitted.params),
        "seen": None if fitted.seen is None else to_plain(fitted.seen._asdict()),
        "diagnostics": None if info is None else to_plain(info),
    }


def save_fit(fitted: FittedLaw, path: str | Path) -> None:
    """Write a fitted law as JSON; `load_fit` gives back the same bytes of every parameter.

    Args:
        fitted: what to write.
        path: the file, or `-` for standard output.

    Raises:
        InputError: the file cannot be written; nothing is left behind.

    Example:
        >>> import pathlib, tempfile
        >>> import qqtjax as qqt
        >>> paper = qqt.published("datacomp-tmars").utility
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "fit.json"
        ...     save_fit(paper, path)
        ...     bool(load_fit(path).params.half_life[0] == paper.params.half_life[0])
        True
    """
    write_text(json.dumps(fit_to_dict(fitted), indent=1, allow_nan=False) + "\n", path)


def load_fit(path: str | Path, law: Law | None = None) -> FittedLaw:
    """Read a fitted law that `save_fit` wrote.

    Args:
        path: the file, or `-` for standard input.
        law: the law, if it is not one of qqtjax's own.

    Returns:
        The `FittedLaw`.

    Raises:
        InputError: no such file, not JSON, not a saved fit, a version or law that is not known.

    Example:
        >>> load_fit("nowhere.json")
        Traceback (most recent call last):
        qqtjax.errors.InputError: nowhere.json: no such file
    """
    name = "standard input" if str(path) == "-" else str(path)
    try:
        text = sys.stdin.read() if str(path) == "-" else Path(path).read_text(encoding="utf-8")
        saved = json.loads(text)
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{name}: cannot be read as text ({problem.__class__.__name__})") from None
    except json.JSONDecodeError as problem:
        raise InputError(
            f"{name}: line {problem.lineno}: not JSON ({problem.msg}); expected a file written by qqt fit -o"
        ) from None
    if not isinstance(saved, dict) or saved.get("schema") != SCHEMA:
        raise InputError(f"{name}: not a saved fit; expected a file written by qqt fit -o")
    if saved.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{name}: schema version {saved.get('schema_version')}, this version of qqtjax reads {SCHEMA_VERSION}"
        )
    try:
        return fit_from_dict(saved, law)
    except InputError as problem:
        raise InputError(f"{name}: {problem}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise InputError(f"{name}: a damaged fit ({problem}); write it again with qqt fit -o") from None


def fit_from_dict(saved: dict[str, Any], law: Law | None = None) -> FittedLaw:
    """A fitted law from the plain data of `fit_to_dict`.

    Args:
        saved: the data.
        law: the law, if it is not one of qqtjax's own.

    Raises:
        InputError: a law that is not known, parameters that are not those of its pools.
        KeyError, TypeError, ValueError, AttributeError: damaged data.
    """
    if law is None:
        known = {each.name: each for each in laws.ALL}
        if saved["law"] not in known:
            raise InputError(
                f"law {saved['law']!r} is not one of {', '.join(known)}; in Python, pass yours: load_fit(law=...)"
            )
        law = known[saved["law"]]
    pools = Pools.of({pool: float(size) for pool, size in saved["pools"].items()})
    seen, info = saved["seen"], saved["diagnostics"]
    if seen is not None:
        seen = Seen(**{**seen, "samples_seen": tuple(seen["samples_seen"]), "epochs": _array(seen["epochs"])})
    if info is not None:
        info = Diagnostics(
            **{
                **info,
                "standard_errors": _params(law, info["standard_errors"]),
                "residuals": _array(info["residuals"]),
                "spread": _spread(law, info.get("spread")),
                "pooled": _pooled(info.get("pooled")),
                **{key: tuple(info[key]) for key in ("bounds_hit", "unidentified", "warnings")},
            }
        )
    params = _params(law, saved["params"])
    for field in dataclasses.fields(params):
        value = getattr(params, field.name)
        if value is None:
            continue
        if np.ndim(value) and len(value) != len(pools):
            raise InputError(f"{field.name} has {len(value)} values for {len(pools)} pools")
        if np.any(np.isnan(value)):
            raise InputError(f"{field.name} is not a number")
    return FittedLaw(
        law=law,
        params=params,
        pools=pools,
        seen=seen,
        diagnostics=info,
        source=saved["source"],
        metric=str(saved["metric"]),
    )


def _pooled(plain: dict[str, Any] | None) -> Pooled | None:
    if plain is None:
        return None
    return Pooled(**{**plain, "shrinkage": {name: tuple(each) for name, each in plain["shrinkage"].items()}})


def _spread(law: Law, plain: dict[str, Any] | None) -> Spread | None:
    if plain is None:
        return None
    bounds = {field: (float(low), float(high)) for field, (low, high) in plain["bounds"].items()}
    return Spread(_params(law, plain["factor"]), tuple(plain["logs"]), bounds)


def _params(law: Law, plain: dict[str, Any]) -> Any:
    return law.params(**{key: None if one is None else _array(one) for key, one in plain.items()})


def _array(plain: Any) -> np.ndarray:
    return np.asarray(plain, np.float64)
