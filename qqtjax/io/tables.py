"""Tables that come with the package: runs that were trained for it, and published constants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.cells import nearest, numbers, table_place
from qqtjax.io.files import csv_frame
from qqtjax.io.tidy import make_runs
from qqtjax.runs import Runs

ROLES = ("single", "mixture", "fresh")


def data_bytes(name: str) -> bytes:
    """The bytes of a file in the package's data folder."""
    return (resources.files("qqtjax") / "data" / name).read_bytes()


def wordclip(family: str = "C", roles: Sequence[str] = ("single", "mixture")) -> Runs:
    """Measured runs of word-CLIP: word spellings aligned with word vectors by contrastive training.

    Args:
        family: C (pools with more and more mismatched pairs) or R (pools of rarer and rarer words).
        roles: single (one pool alone), mixture (unions, graded mixes, subsampled unions), fresh (references
            that never repeat a sample).

    Raises:
        InputError: an unknown family or role.

    Example:
        >>> wordclip("R", roles=["single"]).pools.names  # doctest: +SKIP
        ('R1', 'R2', 'R3', 'R4')
    """
    frame, place = csv_frame(data_bytes("wordclip.csv"), "wordclip.csv")
    families = list(dict.fromkeys(frame["family"].astype(str)))
    if family not in families:
        raise InputError(f"unknown family {family!r} of word-CLIP; the families are {', '.join(families)}")
    for role in [roles] if isinstance(roles, str) else roles:
        if role not in ROLES:
            raise InputError(
                f"unknown role {role!r} of word-CLIP; the roles are {', '.join(ROLES)}{nearest(role, ROLES)}"
            )
    frame = frame.loc[frame["family"] == family]
    alone = frame.loc[frame["role"] == "single"].drop_duplicates(subset=["pool"]).reset_index(drop=True)
    sizes = dict(zip(alone["pool"].astype(str), numbers(alone, "pool_size", place).tolist(), strict=True))
    rows = np.isin(frame["role"].astype(str), [roles] if isinstance(roles, str) else list(roles))
    return make_runs(frame.loc[rows].reset_index(drop=True), table_place("wordclip.csv"), pools=sizes)


def published(name: str = "datacomp-tmars") -> dict[str, Any]:
    """Published constants of a law, as plain data with their source.

    Args:
        name: which constants; `datacomp-tmars` are those released with the paper.

    Raises:
        InputError: an unknown name.

    Example:
        >>> published("datacomp-tmars")["laws"]["utility"]["utility"]
        [-0.16, -0.125, -0.1, -0.085]
    """
    tables = json.loads(data_bytes("published.json"))["tables"]
    if name not in tables:
        raise InputError(f"unknown constants {name!r}; there are {', '.join(tables)}{nearest(name, tables)}")
    return tables[name]
