"""Published constants of the laws, with their source."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources

import numpy as np

from qqtjax.errors import InputError
from qqtjax.laws import FittedLaw, Law, UtilityParams, effective_data, released_utility, utility
from qqtjax.runs import Pools
from qqtjax.text import did_you_mean


@dataclasses.dataclass(frozen=True, eq=False)
class Check:
    """A published row that is no pool of its own, to check the laws against.

    Attributes:
        title: what it is.
        weights: `[P]` what it draws from each pool.
        subsample: share of each pool's samples that it draws from.
        utility: `{law: b}` as published, when fitted as if it were one pool.
        half_life: `{law: tau}` as published, epochs.
    """

    title: str
    weights: np.ndarray
    subsample: float
    utility: dict[str, float]
    half_life: dict[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Published:
    """Constants that others fitted and published, ready to predict with.

    Attributes:
        name: the name they are loaded by.
        title: the data and the metric.
        source: where they come from, in words.
        released_utility: the law as the constants were fitted: its floor sinks with every epoch.
        utility: the paper's equation with the same constants.
        effective_data: the paper's other law, with its own constants.
        budgets: samples seen at which the paper compares filters.
        check: a published row that is no pool.
    """

    name: str
    title: str
    source: str
    released_utility: FittedLaw
    utility: FittedLaw
    effective_data: FittedLaw
    budgets: tuple[float, ...]
    check: Check


def published(name: str = "datacomp-tmars") -> Published:
    """Published constants by name.

    Args:
        name: `datacomp-tmars`: four pools of DataComp medium, released with the paper (arXiv 2404.07177).

    Returns:
        `Published`: the fitted laws, under the names of `laws`.

    Raises:
        InputError: an unknown name.

    Example:
        >>> published("datacomp-tmars").utility.pools.names
        ('top 10 %', '10-20 %', '20-30 %', '30-40 %')
    """
    text = (resources.files("qqtjax") / "data" / "published.json").read_text(encoding="utf-8")
    tables = json.loads(text)["tables"]
    if name not in tables:
        raise InputError(f"unknown constants {name!r}; there are {', '.join(tables)}{did_you_mean(name, tables)}")
    table = tables[name]
    pools = Pools.of(dict(zip(table["pools"]["names"], table["pools"]["sizes"], strict=True)))
    source = f"arXiv {table['source']['arxiv']}: {table['source']['origin']}"

    def fitted(law: Law, constants: str) -> FittedLaw:
        values = table["laws"][constants]
        params = UtilityParams(
            scale=table["normaliser"] / values["a"],
            floor=values["floor"],
            utility=np.array(values["utility"]),
            half_life=np.array(values["half_life"]),
            reference_size=pools.sizes,
        )
        return FittedLaw(law, params, pools, source=source, metric=table["metric"])

    row = table["check"]
    return Published(
        name=name,
        title=table["title"],
        source=source,
        released_utility=fitted(released_utility, "utility"),
        utility=fitted(utility, "utility"),
        effective_data=fitted(effective_data, "effective_data"),
        budgets=tuple(table["budgets"]),
        check=Check(
            title=row["title"],
            weights=np.array(row["weights"]),
            subsample=row["subsample"],
            utility={law: values["utility"] for law, values in row["laws"].items()},
            half_life={law: values["half_life"] for law, values in row["laws"].items()},
        ),
    )
