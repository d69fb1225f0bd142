"""Who takes part: laws with the ways of fitting them that inner cross-validation chooses from, and baselines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from qqtjax.errors import InputError
from qqtjax.fit.model import Model
from qqtjax.laws import ALL, Law, complementary, power, utility, utility_capacity
from qqtjax.laws.law import lacking
from qqtjax.laws.repetition import bucket
from qqtjax.runs import Runs

# A law that scans over epochs is left out where epochs, pools and checkpoints are more than so many steps together.
MOST_STEPS = 100_000
# What sets a law of decaying utility apart from the power law.
WEAR = {"half_life", "reference_size", "dilution", "decay_shape"}

Predict = Callable[[Runs], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Baseline:
    """Anything that learns from runs and predicts errors of others, without a formula.

    Attributes:
        name: in tables.
        fit: `runs -> predict`, where `predict(runs)` gives `[M]` errors; its settings it chooses by those runs.

    Example:
        >>> def mean(runs):
        ...     return lambda others: np.full(len(others), runs.error.mean())
        >>> Baseline("mean", mean).name
        'mean'
    """

    name: str
    fit: Callable[[Runs], Predict]


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A law with the ways of fitting it among which inner cross-validation chooses.

    Attributes:
        name: in tables.
        models: the candidates, at least one, all of one law.
    """

    name: str
    models: tuple[Model, ...]


Entry = Law | Model | Contestant | Baseline


def default_contestants() -> tuple[Contestant, ...]:
    """Every law, and the utility law with the dilution of token losses.

    Laws of our own have the dilution, and how size changes utility and half-life, chosen inside the training split.

    Example:
        >>> "utility, dilution 0" in [each.name for each in default_contestants()]
        True
    """
    exposure = {"dilution": 0.0}
    own = {
        utility_capacity.name: (
            Model(utility_capacity),
            Model(utility_capacity, fixed=exposure),
            Model(utility_capacity, free=("utility_growth", "half_life_growth")),
            Model(utility_capacity, fixed=exposure, free=("utility_growth", "half_life_growth")),
        ),
        complementary.name: (Model(complementary), Model(complementary, fixed=exposure)),
    }
    published = [Contestant(law.name, own.get(law.name, (Model(law),))) for law in ALL]
    return (*published, Contestant("utility, dilution 0", (Model(utility, fixed=exposure),)))


def entered(laws: Iterable[Entry], huber: float | None) -> tuple[Contestant | Baseline, ...]:
    """Laws and models as contestants, each also with a Huber loss.

    Args:
        laws: what takes part; a `Model` that says how it is fitted is one candidate, as it is.
        huber: where the loss of the second candidate turns linear; None: squares only.

    Raises:
        InputError: nobody, a name twice, or something that is none of these.
    """
    found: list[Contestant | Baseline] = []
    for each in laws:
        if isinstance(each, Law):
            each = Contestant(each.name, (Model(each),))
        elif isinstance(each, Model):
            each = Contestant(each.law.name, (each,))
        if isinstance(each, Baseline):
            found.append(each)
        elif isinstance(each, Contestant):
            robust = tuple(one._replace(huber=huber) for one in each.models if one.huber is None and huber is not None)
            found.append(dataclasses.replace(each, models=(*each.models, *robust)))
        else:
            raise InputError(f"laws: {each!r}, expected laws, models, contestants or baselines")
    names = [each.name for each in found]
    if not names:
        raise InputError("laws: none, expected at least one")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"laws: two are called {name!r}; name them apart with Contestant(name, models)")
    return tuple(found)


def knows_model_size(law: Law, runs: Runs) -> bool:
    """Does the size of the model enter a law: it is needed, or something is fitted on this table because it varies."""
    if "model_size" in law.needs:
        return True
    unsized = dataclasses.replace(runs, model_size=None)
    fitted, without = (law.ranges(each) for each in (runs, unsized))
    return any(fitted[name].fitted != without[name].fitted for name in fitted)


def sizes_to_part(law: Law, runs: Runs) -> np.ndarray | None:
    """`[M]` sizes of the models where there are several and the law does not know them: each is fitted apart."""
    sizes = runs.model_size
    return None if sizes is None or len(np.unique(sizes)) < 2 or knows_model_size(law, runs) else sizes


def reason_against(law: Law, runs: Runs, training: Sequence[np.ndarray]) -> str:
    """Why a law cannot take part, in words; empty where it can.

    Args:
        law: the law.
        runs: the whole table.
        training: `[M]` masks of what is fitted.
    """
    missing = lacking(law, runs)
    if missing:
        return f"the table does not vary {', '.join(missing)}"
    for rows in training:
        missing = lacking(law, runs.select(rows))
        if missing:
            return f"what is fitted does not vary {', '.join(missing)}"
    sizes = sizes_to_part(law, runs)
    if sizes is not None and not all(np.isin(sizes, sizes[rows]).all() for rows in training):
        return "does not know the size of the model"
    fields = {field.name for field in dataclasses.fields(law.params)}
    repeated = bool(np.any(runs.epochs > 1))
    if not repeated and fields & WEAR and fields - WEAR == {field.name for field in dataclasses.fields(power.params)}:
        return "no pool is repeated: it is the power law here"
    steps = bucket(float(runs.epochs.max())) * len(runs.pools) * len(runs)
    if law.scans(law.params(**dict.fromkeys(fields))) and steps > MOST_STEPS:
        return f"evaluates epoch by epoch: {runs.epochs.max():.0f} epochs at {len(runs)} checkpoints are too many"
    return ""
