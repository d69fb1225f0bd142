"""What the weights of a mix must satisfy, as it is typed after `qqt mix`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from qqtjax.cli import options as o
from qqtjax.cli import words
from qqtjax.errors import InputError

LIMITS, REFERENCE = "Limits on the weights", "Distance from a mix of yours"
GROUP_FORM = "POOL+POOL:LOW..HIGH"

Cap = Annotated[
    list[str] | None,
    o.option("--cap", group=LIMITS, metavar="POOL=SHARE,..", help="Largest shares of the samples: web=.6."),
]
Minimum = Annotated[
    list[str] | None, o.option("--min", group=LIMITS, metavar="POOL=SHARE,..", help="Least shares: books=.1.")
]
Fixed = Annotated[
    list[str] | None, o.option("--fix", group=LIMITS, metavar="POOL=SHARE,..", help="Shares that are given: code=.2.")
]
MaxEpochs = Annotated[
    list[str] | None,
    o.option(
        "--max-epochs",
        group=LIMITS,
        metavar="[POOL=]N,..",
        help="Most epochs, of every pool or of one: 20 or web=4,books=20. Given as both, a pool's own counts.",
    ),
]
InGroups = Annotated[
    list[str] | None,
    o.option(
        "--group",
        group=LIMITS,
        metavar=f"NAME={GROUP_FORM}",
        help="Least and largest share of pools together; either may be left out: text=web+books:0.2..0.6.",
    ),
]
Cost = Annotated[
    list[str] | None,
    o.option("--cost", group=LIMITS, metavar="POOL=PRICE,..", help="Price of a sample seen; 0 where not named."),
]
MaxCost = Annotated[
    str | None, o.option("--max-cost", group=LIMITS, metavar="COST", help="What all samples seen may cost.")
]
MinPools = Annotated[
    str | None,
    o.option("--min-pools", group=LIMITS, metavar="N", help="Least effective number of pools, exp(entropy)."),
]
Reference = Annotated[
    str | None,
    o.option("--reference", group=REFERENCE, metavar="MIX", help="POOL=SHARE,.. or a file that qqt mix -o wrote."),
]
MaxKl = Annotated[
    str | None, o.option("--max-kl", group=REFERENCE, metavar="NATS", help="Largest divergence, sum w log(w / ref).")
]
MaxL1 = Annotated[
    str | None, o.option("--max-l1", group=REFERENCE, metavar="SUM", help="Largest sum |w - ref|, from 0 to 2.")
]
KlPenalty = Annotated[
    str | None,
    o.option("--kl-penalty", group=REFERENCE, metavar="ERROR", help="Error added for each nat of divergence."),
]
L1Penalty = Annotated[
    str | None,
    o.option("--l1-penalty", group=REFERENCE, metavar="ERROR", help="Error added for each unit of sum |w - ref|."),
]


class Limits(NamedTuple):
    """All of them, as typed."""

    cap: list[str] | None
    min: list[str] | None
    fix: list[str] | None
    max_epochs: list[str] | None
    group: list[str] | None
    cost: list[str] | None
    max_cost: str | None
    min_pools: str | None
    reference: str | None
    max_kl: str | None
    max_l1: str | None
    kl_penalty: str | None
    l1_penalty: str | None

    def given(self) -> list[str]:
        """The options that were used."""
        return [f"--{name.replace('_', '-')}" for name, text in zip(self._fields, self, strict=True) if text]

    def settings(self, names: Sequence[str]) -> dict[str, Any]:
        """Arguments for `Constraints`.

        Args:
            names: of the pools.

        Raises:
            InputError: an option that cannot be understood, or a pool that is unknown.
        """
        numbers = ("max_cost", "min_pools", "max_kl", "max_l1", "kl_penalty", "l1_penalty")
        found: dict[str, Any] = {
            "caps": words.by_pool(self.cap, "--cap", names),
            "minimums": words.by_pool(self.min, "--min", names),
            "fixed": words.by_pool(self.fix, "--fix", names),
            "max_epochs": None if self.max_epochs is None else _epochs(self.max_epochs, names),
            "groups": None if self.group is None else _groups(self.group, names),
            "cost": words.by_pool(self.cost, "--cost", names),
        }
        for name in numbers:
            text = getattr(self, name)
            found[name] = None if text is None else words.number(text, f"--{name.replace('_', '-')}")
        if self.reference is not None:
            found["reference"] = words.mix(self.reference, "--reference", names)
            for pool in found["reference"]:
                words.known_pool(pool, "--reference", names)
        return {name: value for name, value in found.items() if value is not None}


def _epochs(texts: Sequence[str], names: Sequence[str]) -> float | dict[str, float]:
    """One limit for all pools, or `{pool: epochs}`."""
    general = [text for text in texts if "=" not in text]
    if len(general) > 1:
        raise InputError("--max-epochs: one limit for all pools is given twice")
    own = words.by_pool([text for text in texts if "=" in text] or None, "--max-epochs", names)
    if not general:
        return own or {}
    limit = words.number(general[0], "--max-epochs")
    return limit if own is None else {**dict.fromkeys(names, limit), **own}


def _groups(texts: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    from qqtjax.mix.constraints import Group

    found = {}
    for name, text in words.named(texts, "--group", GROUP_FORM).items():
        what = f"--group {name}"
        together, sign, limits = text.rpartition(":")
        low, dots, high = (part.strip() for part in limits.partition(".."))
        if not (sign and dots and (low or high)):
            raise InputError(f"{what}: found {text!r}, expected {GROUP_FORM}, for example web+books:0.2..0.6")
        members = words.name_list(together, what, names, "+")
        for pool in members:
            words.known_pool(pool, what, names)
        sides = words.number(low or "0", what), words.number(high or "1", what)
        found[name] = Group(tuple(members), *sides)
    return found
