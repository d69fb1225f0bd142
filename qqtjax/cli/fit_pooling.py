"""What `qqt fit --pooling` fits instead: pools that borrow from each other."""

from __future__ import annotations

from typing import Any, NamedTuple

from qqtjax.cli import words
from qqtjax.errors import InputError


class Pooled(NamedTuple):
    """What the user says about pooling, as typed.

    Attributes:
        wanted: is it.
        covariate: scores of the pools, or None.
        others: options of a fit that pooling does not know, by name: were they given.
    """

    wanted: bool
    covariate: str | None
    others: dict[str, bool]

    def check(self) -> None:
        """Raise `InputError` if options contradict each other."""
        if not self.wanted:
            if self.covariate is not None:
                raise InputError("--covariate: applies to --pooling")
            return
        for name, given in self.others.items():
            if given:
                raise InputError(f"--{name} and --pooling: expected one of them")

    def fit(self, table: Any, law: Any, settings: dict[str, Any]) -> dict[str, Any]:
        """`{metric: fitted law}` of a table.

        Raises:
            InputError: as `fit_pooled`; scores that cannot be read.
        """
        from qqtjax.fit.pooled_problem import Pooling
        from qqtjax.fit.pooling import fit_pooled

        scores = None
        if self.covariate is not None:
            scores = words.shares(self.covariate, "--covariate", table.pools.names)
        pooling = Pooling(covariate=scores)
        known = {name: settings[name] for name in ("free", "fixed", "bounds", "share", "seed")}
        return {name: fit_pooled(table.for_metric(name), law, pooling=pooling, **known) for name in table.metric_names}
