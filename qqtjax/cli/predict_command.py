"""`qqt predict`: what a fitted law says of one mix."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import words
from qqtjax.errors import InputError

EXAMPLES = """Examples:
  qqt predict fit.json --weights top10=.7,top20=.3 --samples-seen 640M
  qqt predict fit.json --weights top10=1 --samples-seen 32M,128M --json
  qqt predict fit.json --weights mix.json --samples-seen 640M
  qqt fit runs.csv -o - | qqt predict - --weights top10=1 --samples-seen 640M"""
ASKING = "Question"


def predict(
    fit: Annotated[str, typer.Argument(metavar="FIT", help="A fit that qqt fit -o wrote, or - for standard input.")],
    weights: Annotated[
        str,
        o.option(
            group=ASKING,
            metavar="POOL=SHARE,..",
            help="Share of the samples from each pool: top10=.7,top20=.3; or a file that qqt mix -o wrote.",
        ),
    ],
    samples_seen: Annotated[
        str,
        o.option(
            "--samples-seen",
            group=ASKING,
            metavar="COUNT,..",
            help="Samples seen, repeats counted: 640M or 32M,128M.",
        ),
    ],
    sizes: Annotated[
        str | None,
        o.option(group=ASKING, metavar="POOL=SIZE,..", help="Pools of other sizes than fitted: top10=1.28e9."),
    ] = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> out.Answer:
    """Predict the error of a mix of pools at given budgets, with epochs per pool and how far that extrapolates."""
    seen = words.positives(samples_seen, "--samples-seen")
    fitted = o.fit_named(fit)
    names = fitted.pools.names
    if sizes is not None:
        changed = words.sizes(sizes, "--sizes", names)
        with words.naming("--sizes"):
            fitted = fitted.with_sizes(changed)
    wanted = words.mix(weights, "--weights", names)
    with words.naming("--weights"):
        shares = fitted.pools.weights(wanted)
    rows = _predictions(fitted, shares, seen)
    document = {
        "schema": "qqtjax.prediction",
        "schema_version": 1,
        "law": fitted.law.name,
        "metric": fitted.metric,
        "weights": dict(zip(names, shares.tolist(), strict=True)),
        "predictions": rows,
    }

    def shown() -> str:
        return "\n".join(_line(row, fitted.metric) for row in rows)

    return out.finish(document, shown, None, json)


def _line(row: dict[str, Any], metric: str) -> str:
    from qqtjax.text import show_count

    used = ", ".join(f"{name} {count:.3g}" for name, count in row["epochs"].items() if count > 0)
    note = f"; extrapolates: {row['extrapolation']}" if row["extrapolation"] else ""
    return f"{show_count(row['samples_seen'])} samples: {metric} {row['error']:.5f} (epochs: {used or 'none'}){note}"


def _predictions(fitted: Any, shares: np.ndarray, seen: list[float]) -> list[dict[str, Any]]:
    from qqtjax.text import show_count

    errors = fitted.predict(shares, np.array(seen))
    for budget, error in zip(seen, errors, strict=True):
        if not np.isfinite(error):
            raise InputError(f"no finite prediction at {show_count(budget)} samples ({error}): is the fit damaged?")
    epochs = fitted.epochs(shares, np.array(seen))
    return [
        {
            "samples_seen": budget,
            "error": float(error),
            "epochs": dict(zip(fitted.pools.names, map(float, each), strict=True)),
            "extrapolation": fitted.extrapolation(shares, budget),
        }
        for budget, error, each in zip(seen, errors, epochs, strict=True)
    ]
