"""Mixes as versioned JSON, as `qqt mix -o` writes them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from qqtjax.errors import InputError
from qqtjax.runs import WEIGHT_SUM_TOLERANCE

SCHEMA = "qqtjax.mix"
SCHEMA_VERSION = 1
EXPECTED = "expected a file written by qqt mix -o"


def load_mix(path: str | Path) -> dict[str, float]:
    """Read the weights of the mix that `qqt mix -o` wrote.

    Args:
        path: the file.

    Returns:
        `{pool: share}` in the order of the pools, with sum 1; pools that are not drawn from have 0.

    Raises:
        InputError: no such file, not JSON, not a mix, a version that is not known, a schedule or mixes of several
            budgets, shares that are not finite numbers >= 0 or do not sum to 1.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "mix.json")
        ...     mix = {"samples_seen": 64e6, "weights": {"top10": 0.8, "top20": 0.2}}
        ...     _ = file.write_text(json.dumps({"schema": "qqtjax.mix", "schema_version": 1, "mixes": [mix]}))
        ...     load_mix(file)
        {'top10': 0.8, 'top20': 0.2}
    """
    try:
        saved = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{path}: cannot be read as text ({problem.__class__.__name__})") from None
    except json.JSONDecodeError as problem:
        raise InputError(f"{path}: line {problem.lineno}: not JSON ({problem.msg}); {EXPECTED}") from None
    if not isinstance(saved, dict) or saved.get("schema") != SCHEMA:
        raise InputError(f"{path}: not a mix; {EXPECTED}")
    if saved.get("schema_version") != SCHEMA_VERSION:
        version = saved.get("schema_version")
        raise InputError(f"{path}: schema version {version}, this version of qqtjax reads {SCHEMA_VERSION}")
    if saved.get("schedules"):
        raise InputError(f"{path}: a schedule, expected a mix whose weights stay the same")
    mixes = saved.get("mixes")
    if isinstance(mixes, list) and len(mixes) > 1:
        raise InputError(f"{path}: mixes of {len(mixes)} budgets, expected one")
    try:
        return _checked(saved["mixes"][0]["weights"])
    except InputError as problem:
        raise InputError(f"{path}: {problem}") from None
    except (KeyError, IndexError, TypeError, AttributeError):
        raise InputError(f"{path}: a damaged mix without weights; write it again with qqt mix -o") from None


def _checked(weights: dict[str, Any]) -> dict[str, float]:
    for pool, share in weights.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < math.inf:
            raise InputError(f"weight of pool {pool!r}: found {share!r}, expected a finite number >= 0")
    total = math.fsum(weights.values())
    if abs(total - 1) > WEIGHT_SUM_TOLERANCE:
        raise InputError(f"weights sum to {total:.9g}: expected 1")
    return {pool: float(share) for pool, share in weights.items()}
