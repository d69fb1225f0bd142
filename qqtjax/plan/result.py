"""What a plan says, as plain data: it prints as a table, and goes to JSON or a data frame."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from qqtjax.decide import CrossoverSet, Decision
from qqtjax.plain import to_plain
from qqtjax.plan.evidence import Evidence

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What to train on at one budget, and what to expect.

    Attributes:
        name: of the filter or mix.
        pools: how many of the best pools a nested filter takes; 0 for mixes and what the user named.
        weights: `{pool: share}` in order of quality, every pool; the shares sum to 1.
        error: predicted error.
        epochs: `{pool: K_i = n w_i / N_i}` of the pools that are drawn from.
        samples: `{pool: whole samples}` of the same pools; they sum to the budget, rounded to a whole number.
        extrapolation: how far outside the fitted range this lies, in words; empty where it does not.
        impossible: is the prediction above 1 although the metric is an error rate.
    """

    name: str
    pools: int
    weights: dict[str, float]
    error: float
    epochs: dict[str, float]
    samples: dict[str, int]
    extrapolation: str
    impossible: bool


@dataclasses.dataclass(frozen=True)
class PlanRow:
    """One budget.

    Attributes:
        samples_seen: the budget, repeats counted.
        flops: its price, where a price per sample was given.
        options: every nested filter (smallest first, the last is no filtering), then what the user named.
        best: the option of least predicted error.
        mix: the best continuous mix found.
        mix_searched: False where the law would have to scan too many epochs to search one; `mix` is then the
            best of a few tried: the options, each pool alone, and random ones.
        mix_gap: no other weights have an error lower by more; for a local proof: to first order.
        mix_proof: "global" or "local".
        rule: what the rule of thumb picks: the smallest nested filter within its epochs, else the largest.
        regret: error of `rule` less error of `best`.
        warnings: what to know about this budget.
    """

    samples_seen: float
    flops: float | None
    options: tuple[Recipe, ...]
    best: Recipe
    mix: Recipe
    mix_searched: bool
    mix_gap: float
    mix_proof: str
    rule: Recipe
    regret: float
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Crossover:
    """A budget at which two options tie and change places.

    Attributes:
        samples_seen: the budget, solved to better than 1e-9 relative on the law.
        flops: its price, where a price per sample was given.
        below: the better one at smaller budgets.
        above: the better one at larger budgets.
        decides: does the best of all options change here.
        extrapolation: how far outside the fitted range this lies, in words; empty where it does not.
        doubt: the set of budgets at which the two may tie; for crossovers that decide, where draws were given.
    """

    samples_seen: float
    flops: float | None
    below: str
    above: str
    decides: bool
    extrapolation: str
    doubt: CrossoverSet | None = None


@dataclasses.dataclass(frozen=True)
class FrontierStep:
    """The option that is best from a budget on, until the next step.

    Attributes:
        samples_seen: from here on.
        option: its name.
        extrapolation: how far outside the fitted range this lies, in words; empty where it does not.
    """

    samples_seen: float
    option: str
    extrapolation: str


@dataclasses.dataclass(frozen=True)
class Target:
    """The cheapest way to a wanted error.

    Attributes:
        error: the wanted error.
        best: the cheapest option that reaches it, or None where none does within the horizon.
        samples_seen: its budget, or None.
        flops: the budget's price, or None.
        mix: the cheapest continuous mix found, or None.
        mix_samples_seen: its budget, or None.
        mix_flops: that budget's price, or None.
        horizon: how far it was searched, samples seen.
        limit: the least predicted error at the horizon, of any option or mix.
        floor: the least error that the law's floor leaves to any option, or None for a law without a floor.
    """

    error: float
    best: Recipe | None
    samples_seen: float | None
    flops: float | None
    mix: Recipe | None
    mix_samples_seen: float | None
    mix_flops: float | None
    horizon: float
    limit: float
    floor: float | None


@dataclasses.dataclass(frozen=True)
class Variant:
    """The same question answered by another law, or under another dilution.

    Attributes:
        name: of the law, or "dilution 0".
        rows: one a budget, as in `Plan`.
        frontier: as in `Plan`.
        target: as in `Plan`.
    """

    name: str
    rows: tuple[PlanRow, ...]
    frontier: tuple[FrontierStep, ...]
    target: Target | None


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which data to train on at each budget, according to one fitted law.

    Attributes:
        law: its name.
        source: where its parameters come from.
        metric: what the error measures.
        pools: `{name: size}`, best first; these sizes were planned for.
        scale: n0 in samples, where all pools tie and below which the law is not meant to be used; None for a law
            whose pools do not tie.
        rule_epochs: most epochs under the rule of thumb.
        certificate: what is known about how good the mixes are.
        rows: one a budget.
        crossovers: ascending, up to `horizon`.
        frontier: the best option from each budget on.
        horizon: the budget up to which crossovers were searched, samples seen.
        target: the answer for a wanted error, where one was given.
        resized: `{name: (fitted size, planned size)}` of the pools planned for at another size.
        dilutions: the answers for dilution 0 and 1, where pools were resized and the answer depends on it.
        beside: the answers of other laws that the caller passed.
        evidence: how well measured mixtures were predicted, where there were any.
        decision: how sure the choice among the options is at each budget, where draws were given.
        warnings: what to know about the whole plan.
    """

    law: str
    source: str
    metric: str
    pools: dict[str, float]
    scale: float | None
    rule_epochs: float
    certificate: str
    rows: tuple[PlanRow, ...]
    crossovers: tuple[Crossover, ...]
    frontier: tuple[FrontierStep, ...]
    horizon: float
    target: Target | None
    resized: dict[str, tuple[float, float]]
    dilutions: tuple[Variant, ...]
    beside: tuple[Variant, ...]
    evidence: Evidence | None
    decision: Decision | None
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as dicts, lists, strings and numbers that strict JSON holds; infinities become words."""
        plain = to_plain(dataclasses.replace(self, decision=None, crossovers=()))
        plain["decision"] = None if self.decision is None else self.decision.to_dict()
        for each in self.crossovers:
            doubt = None if each.doubt is None else each.doubt.to_dict()
            plain["crossovers"].append(to_plain(dataclasses.replace(each, doubt=None)) | {"doubt": doubt})
        return plain

    def to_frame(self) -> pd.DataFrame:
        """One row for each budget and option (the best mix included), as a pandas data frame."""
        import pandas as pd

        rows = []
        for row in self.rows:
            for role, recipe in [*(("option", option) for option in row.options), ("mix", row.mix)]:
                flat: dict[str, Any] = {
                    "samples_seen": row.samples_seen,
                    "flops": row.flops,
                    "option": recipe.name,
                    "kind": role,
                    "error": recipe.error,
                    "best": recipe is row.best,
                    "rule": recipe is row.rule,
                }
                flat |= {f"weight {pool}": share for pool, share in recipe.weights.items()}
                flat |= {f"epochs {pool}": recipe.epochs.get(pool, 0.0) for pool in recipe.weights}
                flat |= {f"samples {pool}": recipe.samples.get(pool, 0) for pool in recipe.weights}
                rows.append(flat)
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        from qqtjax.plan.text import plan_text

        return plan_text(self)
