"""`qqt predict`: what a fitted law says of one mix."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer

from qqtjax.cli import options as o

EXAMPLES = (
    "Examples:  qqt predict fit.json --weights top10=.7,top20=.3 --samples-seen 640M   |   "
    "qqt predict fit.json --weights top10=1 --samples-seen 32M,128M --json"
)


def predict(
    fit: Annotated[str, typer.Argument(help="A fit that qqt fit -o wrote, or - for standard input.")],
    weights: Annotated[str, typer.Option(help="Share of the samples of each pool: top10=.7,top20=.3.")],
    samples_seen: Annotated[str, typer.Option("--samples-seen", help="Samples seen: 640M or 32M,128M.")],
    sizes: Annotated[
        str | None, typer.Option(help="Pools of other sizes: top10=1.28e9.", show_default=False)
    ] = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> None:
    """Predict the error of a mix of pools at given budgets, with epochs per pool and how far that extrapolates."""
    from qqtjax.io.counts import show_count
    from qqtjax.io.saved import load_fit, to_plain

    fitted = load_fit(fit)
    if sizes is not None:
        fitted = fitted.with_sizes(o.assignments(sizes, "--sizes"))
    shares = fitted.pools.weights(o.assignments(weights, "--weights"))
    seen = o.numbers(samples_seen, "--samples-seen")
    errors = np.atleast_1d(fitted.predict(shares, np.array(seen)))
    rows = [
        {
            "samples_seen": budget,
            "error": float(error),
            "epochs": dict(zip(fitted.pools.names, to_plain(fitted.epochs(shares, budget)), strict=True)),
            "extrapolation": fitted.extrapolation(shares, budget),
        }
        for budget, error in zip(seen, errors, strict=True)
    ]
    if json:
        mix = dict(zip(fitted.pools.names, shares.tolist(), strict=True))
        o.emit(
            {"law": fitted.law.name, "metric": fitted.metric, "weights": mix, "predictions": to_plain(rows)}
        )
        return
    for row in rows:
        used = ", ".join(f"{name} {float(k):.3g}" for name, k in row["epochs"].items() if float(k) > 0)
        note = f"; extrapolates: {row['extrapolation']}" if row["extrapolation"] else ""
        print(
            f"{show_count(row['samples_seen'])} samples: {fitted.metric} {row['error']:.5f} (epochs: {used}){note}"
        )
