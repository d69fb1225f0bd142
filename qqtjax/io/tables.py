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

ROLES = ("single", "mixture", "fresh", "optimised")


def wordclip(
    family: str = "C", roles: Sequence[str] = ("single", "mixture"), redraws: Sequence[int] | None = (0,)
) -> Runs:
    """Measured runs of word-CLIP: word spellings aligned with word vectors by contrastive training.

    Args:
        family: C (pools with more and more mismatched pairs), R (pools of rarer and rarer words) or V (words with
            the vectors of less and less similar words; pools of unequal size).
        roles: single (one pool alone), mixture (unions, graded mixes, subsampled unions), fresh (references
            that never repeat a sample; each adds a pool of its own), optimised (weights that a fitted law chose).
        redraws: drawings of the pools, 0 being the first: by default what one experiment measures, None for all.
            The same pool in another redraw has other samples of the same kind.

    Returns:
        `Runs`: the measured table as arrays; pools in order of quality, best first.

    Raises:
        InputError: an unknown family or role, or a redraw that was not made.

    Example:
        >>> wordclip("R", roles=["single"]).pools.names
        ('R1', 'R2', 'R3', 'R4', 'R5')
    """
    data = (resources.files("qqtjax") / "data" / "wordclip.csv").read_bytes()
    frame, place = csv_frame(data, "wordclip.csv")
    families = list(dict.fromkeys(frame["family"].astype(str)))
    if family not in families:
        raise InputError(f"unknown family {family!r} of word-CLIP; the families are {', '.join(families)}")
    roles = [roles] if isinstance(roles, str) else list(roles)
    for role in roles:
        if role not in ROLES:
            raise InputError(
                f"unknown role {role!r} of word-CLIP; the roles are {', '.join(ROLES)}{did_you_mean(role, ROLES)}"
            )
    frame = frame.loc[frame["family"] == family]
    alone = frame.loc[frame["role"] == "single"].drop_duplicates(subset=["pool"]).reset_index(drop=True)
    sizes = dict(zip(alone["pool"].astype(str), numbers(alone, "pool_size", place).tolist(), strict=True))
    drawn = numbers(frame.reset_index(drop=True), "redraw", place).astype(int)
    made = sorted(set(drawn.tolist()))
    for redraw in made if redraws is None else redraws:
        if redraw not in made:
            raise InputError(f"redraw {redraw!r} of family {family}: expected one of {', '.join(map(str, made))}")
    rows = np.isin(frame["role"].astype(str), roles) & np.isin(drawn, made if redraws is None else list(redraws))
    chosen = frame.loc[rows].reset_index(drop=True)
    chosen["run"] = chosen["run"].astype(str) + " redraw " + chosen["redraw"].astype(str)
    return make_runs(chosen, table_place("wordclip.csv"), pools=sizes)
