"""`qqt fit`: measured runs to a fitted law."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qqtjax.cli import options as o
from qqtjax.errors import InputError

EXAMPLES = (
    "Examples:  qqt fit runs.csv -o fit.json   |   qqt fit runs.csv --free dilution --fix floor=0.1   |   "
    "qqt fit wordclip-C --law effective_data --json"
)


def fit(
    runs: o.RunsArgument = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the fit as JSON.", show_default=False)
    ] = None,
    law: Annotated[str, typer.Option(help="utility, effective_data, released_utility or power.")] = "utility",
    free: Annotated[
        str | None, typer.Option(help="Also fit: dilution,decay_shape,amplitude.", show_default=False)
    ] = None,
    fix: Annotated[
        str | None, typer.Option(help="Do not fit: floor=0.1,dilution=0.", show_default=False)
    ] = None,
    bounds: Annotated[
        str | None, typer.Option(help="Bounds: floor=0:0.3,half_life=1:30.", show_default=False)
    ] = None,
    share: Annotated[
        str | None, typer.Option(help="One value for all pools: half_life.", show_default=False)
    ] = None,
    per_pool: Annotated[
        str | None, typer.Option(help="One value for each pool: scale,floor.", show_default=False)
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Residuals of the log excess error.")] = False,
    huber: Annotated[
        float | None, typer.Option(help="Huber loss, linear beyond this residual.", show_default=False)
    ] = None,
    solver: Annotated[str, typer.Option(help="lm, adam or lbfgs.")] = "lm",
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
    """Fit a law to measured runs and print its parameters with standard errors.

    All rows are fitted, mixtures included. Without RUNS the runs that come with qqtjax are fitted; wordclip-C and
    wordclip-R name them.
    """
    from qqtjax.fit import LBFGS, Adam, LevenbergMarquardt, fit_metrics
    from qqtjax.io.saved import fit_to_dict, save_fit

    solvers = {"lm": LevenbergMarquardt(), "adam": Adam(), "lbfgs": LBFGS()}
    if solver not in solvers:
        raise InputError(f"--solver: no solver {solver!r}; there are lm, adam and lbfgs")
    chosen = o.law_named(law)
    with o.progress(3) as say:
        say("reading runs")
        table = o.table_named(runs) if o.is_embedded(runs) else o.read(
            str(runs), format, pools, nested, disjoint, metric, tasks, samples_per_epoch, samples_per_step
        )  # fmt: skip
        say(f"fitting law {law} to {len(table)} checkpoints of {len(table.pools)} pools")
        fits = fit_metrics(
            table,
            chosen,
            free=o.words(free),
            fixed=None if fix is None else o.assignments(fix, "--fix"),
            bounds=None if bounds is None else _bounds(bounds),
            share={**dict.fromkeys(o.words(share), True), **dict.fromkeys(o.words(per_pool), False)},
            log=log,
            huber=huber,
            solver=solvers[solver],
            starts=starts,
            seed=seed,
        )
        if output is not None and len(fits) > 1:
            raise InputError(
                f"-o: {len(fits)} metrics ({', '.join(fits)}); choose one with --metric or average with --tasks"
            )
        if output is not None:
            save_fit(next(iter(fits.values())), output)
    if str(output) == "-":
        return
    if json:
        documents = [fit_to_dict(each) for each in fits.values()]
        o.emit(documents[0] if len(documents) == 1 else {"fits": documents})
        return
    for name, each in fits.items():
        if len(fits) > 1:
            print(f"metric {name}")
        print(each)
        if len(fits) > 1:
            print()


def _bounds(text: str) -> dict[str, tuple[float, float]]:
    found = {}
    for name, rest in o.split_names(text.split(","), "--bounds", "LOW:HIGH").items():
        low, sign, high = rest.partition(":")
        if not sign:
            raise InputError(f"--bounds: found {rest!r} for {name}, expected LOW:HIGH")
        found[name] = (o.number(low, f"--bounds: {name}"), o.number(high, f"--bounds: {name}"))
    return found
