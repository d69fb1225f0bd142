"""`qqt plan`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qqtjax.cli import options as o
from qqtjax.errors import InputError

EXAMPLES = (
    "Examples:  qqt plan   |   qqt plan runs.csv --budgets 32M,128M,640M   |   qqt plan --published datacomp-tmars   |   "
    "qqt plan runs.csv --budgets 1B --sizes top10=1.28e9,top20=1.28e9   |   qqt plan runs.csv --target-error .55"
)


def plan(
    runs: o.RunsArgument = None,
    budgets: Annotated[
        str | None, typer.Option(help="Samples seen that you can afford: 32M,128M,640M.", show_default=False)
    ] = None,
    flops: Annotated[str | None, typer.Option(help="Budgets in FLOPs instead.", show_default=False)] = None,
    flops_per_sample: Annotated[
        str | None, typer.Option("--flops-per-sample", help="The price of one sample.", show_default=False)
    ] = None,
    published: Annotated[
        str | None,
        typer.Option(help="Published constants instead of runs: datacomp-tmars.", show_default=False),
    ] = None,
    fit_file: Annotated[
        Path | None,
        typer.Option("--fit", help="A fit that qqt fit -o wrote, instead of runs.", show_default=False),
    ] = None,
    law: Annotated[str, typer.Option(help="The law to fit.")] = "utility",
    filter: Annotated[
        list[str] | None,
        typer.Option(help="A filter of your own, NAME=pool+pool; may be repeated.", show_default=False),
    ] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(
            help="A mix of your own, NAME=pool:share+pool:share; may be repeated.", show_default=False
        ),
    ] = None,
    order: Annotated[
        str | None, typer.Option(help="Pools, best first; by default by fitted utility.", show_default=False)
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(help="Plan for pools of other sizes than fitted: top10=1.28e9.", show_default=False),
    ] = None,
    target_error: Annotated[
        str | None,
        typer.Option("--target-error", help="The cheapest budget that reaches it.", show_default=False),
    ] = None,
    rule_epochs: Annotated[float, typer.Option("--rule-epochs", help="Epochs of the rule of thumb.")] = 4.0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the plan as JSON.", show_default=False)
    ] = None,
    starts: o.Starts = 64,
    format: o.Format = None,
    pools: o.PoolSizes = None,
    nested: o.Nested = None,
    disjoint: o.Disjoint = False,
    metric: o.Metric = None,
    tasks: o.Tasks = None,
    samples_per_epoch: o.PerEpoch = None,
    samples_per_step: o.PerStep = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> None:
    """Which data to train on at each budget: the best filter, the best mix, and where the answer changes.

    Without RUNS: the runs that come with qqtjax (wordclip-C; also wordclip-R). Pools measured alone are fitted, and
    measured mixtures show how well the fit predicts what it has not seen; without such pools every row is fitted.
    """
    from qqtjax.plan import plan as make_plan

    if sum(each is not None for each in (runs, published, fit_file)) > 1:
        raise InputError("RUNS, --published and --fit: expected one of them")
    with o.progress(4) as say:
        table, blind, beside = None, None, {}
        if published is not None:
            say(f"loading {published}")
            from qqtjax.io.tables import published as load_published

            constants = load_published(published)
            fitted, wanted = constants.released_utility, constants.budgets
            beside = {"utility": constants.utility, "effective_data": constants.effective_data}
        elif fit_file is not None:
            from qqtjax.io.saved import load_fit

            say(f"loading {fit_file}")
            fitted = load_fit(fit_file)
            wanted = None
        else:
            say("reading runs")
            table = o.table_named(runs) if o.is_embedded(runs) else o.read(
                str(runs), format, pools, nested, disjoint, metric, tasks, samples_per_epoch, samples_per_step
            )  # fmt: skip
            fitted, blind, wanted = _fitted(table, law, starts, seed, say)
        asked = None if budgets is None else o.numbers(budgets, "--budgets")
        if asked is None and flops is None and target_error is None:
            asked = wanted or default_budgets(fitted)
        say("planning")
        answer = make_plan(
            fitted,
            asked,
            flops=None if flops is None else o.numbers(flops, "--flops"),
            flops_per_sample=None
            if flops_per_sample is None
            else o.number(flops_per_sample, "--flops-per-sample"),
            filters={
                name: text.split("+") for name, text in o.split_names(filter, "--filter", "pool+pool").items()
            },
            mixes={
                name: o.assignments(text.replace("+", ",").replace(":", "="), f"--mix {name}")
                for name, text in o.split_names(mix, "--mix", "pool:share+pool:share").items()
            },
            order=None if order is None else o.words(order),
            max_epochs_rule=rule_epochs,
            sizes=None if sizes is None else o.assignments(sizes, "--sizes"),
            target_error=None if target_error is None else o.number(target_error, "--target-error"),
            runs=table,
            blind=blind,
            reference_laws=beside,
            seed=seed,
        )
    document = _document(answer, fitted)
    if output is not None:
        o.write_json(document, output)
    if str(output) == "-":
        return
    if json:
        o.emit(document)
        return
    print(answer)
    if fitted.diagnostics is not None:
        print()
        print(fitted)


def _fitted(table: Any, law: str, starts: int, seed: int, say: Any) -> tuple[Any, Any, list[float] | None]:
    from qqtjax import laws
    from qqtjax.fit import fit

    if len(table.metric_names) > 1:
        raise InputError(
            f"{len(table.metric_names)} metrics ({', '.join(table.metric_names)}): choose one with --metric, or "
            "average with --tasks"
        )
    rows = table.to_fit()
    fitted_rows = table.select(rows)
    say(f"fitting law {law} to {len(fitted_rows)} checkpoints of {len(table.pools)} pools")
    fitted = fit(fitted_rows, o.law_named(law), starts=starts, seed=seed)
    blind = None
    if not rows.all():
        blind = fit(fitted_rows, laws.power, starts=starts, seed=seed)
    return fitted, blind, None


def default_budgets(fitted: Any) -> list[float]:
    """Powers of two times the smallest pool: from one epoch of it to twice the most samples seen."""
    import numpy as np

    finite = fitted.pools.sizes[np.isfinite(fitted.pools.sizes)]
    most = 2.0 * fitted.seen.samples_seen[1] if fitted.seen else 64.0 * finite.min(initial=1e6)
    first = float(finite.min()) if len(finite) else most / 64
    count = int(np.clip(np.floor(np.log2(most / first)), 0, 12)) + 1
    budgets = [first * 2.0**k for k in range(count)]
    return budgets[-7:]


def _document(answer: Any, fitted: Any) -> dict[str, Any]:
    from qqtjax.io.saved import fit_to_dict

    return {"schema": "qqtjax.plan", "schema_version": 1, **answer.to_dict(), "fit": fit_to_dict(fitted)}
