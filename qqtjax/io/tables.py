"""The runs that come with the package."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import numpy as np

from qqtjax.errors import InputError
from qqtjax.io.cells import numbers, table_place
from qqtjax.io.files import csv_frame
from qqtjax.io.published import published as published
from qqtjax.io.tidy import make_runs
from qqtjax.runs import Runs
from qqtjax.text import did_you_mean

ROLES = ("single", "mixture", "fresh")


def wordclip(family: str = "C", roles: Sequence[str] = ("single", "mixture")) -> Runs:
    """Measured runs of word-CLIP: word spellings aligned with word vectors by contrastive training.

    Args:
        family: C (pools with more and more mismatched pairs) or R (pools of rarer and rarer words).
        roles: single (one pool alone), mixture (unions, graded mixes, subsampled unions), fresh (references
            that never repeat a sample; each adds a pool of its own).

    Raises:
        InputError: an unknown family or role.

    Example:
        >>> wordclip("R", roles=["single"]).pools.names
        ('R1', 'R2', 'R3', 'R4', 'R5')
    """
    data = (resources.files("qqtjax") / "data" / "wordclip.csv").read_bytes()
    frame, place = csv_frame(data, "wordclip.csv")
    families = list(dict.fromkeys(frame["family"].astype(str)))
    if family not in families:
        raise InputError(f"unknown family {family!r} of word-CLIP; the families are {', '.join(families)}")
    for role in [roles] if isinstance(roles, str) else roles:
        if role not in ROLES:
            raise InputError(
                f"unknown role {role!r} of word-CLIP; the roles are {', '.join(ROLES)}{did_you_mean(role, ROLES)}"
            )
    frame = frame.loc[frame["family"] == family]
    alone = frame.loc[frame["role"] == "single"].drop_duplicates(subset=["pool"]).reset_index(drop=True)
    sizes = dict(zip(alone["pool"].astype(str), numbers(alone, "pool_size", place).tolist(), strict=True))
    rows = np.isin(frame["role"].astype(str), [roles] if isinstance(roles, str) else list(roles))
    return make_runs(frame.loc[rows].reset_index(drop=True), table_place("wordclip.csv"), pools=sizes)
