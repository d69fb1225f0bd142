"""`qqt fit`: measured runs to a fitted law."""

from __future__ import annotations

from typing import Annotated, Any

from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import words
from qqtjax.cli.fit_draws import Drawing
from qqtjax.cli.fit_pooling import Pooled
from qqtjax.errors import InputError

DRAWING, POOLING = "Uncertainty", "Pools with few checkpoints"
EXAMPLES = """Examples:
  qqt fit runs.csv -o fit.json
  qqt fit runs.csv --free dilution --fix floor=0.1 --bounds half_life=1:30
  qqt fit wordclip-C --law effective_data --json
  qqt fit few.csv --pooling --covariate top10=.31,top20=.29,top30=.28
  qqt fit runs.csv --draws 1000 --method wild --save-draws draws.npz"""


def fit(
    runs: o.RunsArgument = None,
    law: o.LawName = None,
    free: Annotated[
        str | None,
        o.option(group=o.FITTING, metavar="FIELD,..", help="Also fit: dilution,decay_shape,amplitude."),
    ] = None,
    fix: Annotated[
        str | None,
        o.option(group=o.FITTING, metavar="FIELD=VALUE,..", help="Do not fit: floor=0.1,dilution=0."),
    ] = None,
    bounds: Annotated[
        str | None,
        o.option(group=o.FITTING, metavar="FIELD=LOW:HIGH,..", help="Bounds: floor=0:0.3,half_life=1:30."),
    ] = None,
    share: Annotated[
        str | None, o.option(group=o.FITTING, metavar="FIELD,..", help="One value for all pools: half_life.")
    ] = None,
    per_pool: Annotated[
        str | None,
        o.option("--per-pool", group=o.FITTING, metavar="FIELD,..", help="One value for each pool: scale,floor."),
    ] = None,
    log: Annotated[bool, o.option("--log", group=o.FITTING, help="Residuals of the log excess error.")] = False,
    huber: Annotated[
        str | None,
        o.option(group=o.FITTING, metavar="RESIDUAL", help="Huber loss, linear beyond this residual."),
    ] = None,
    solver: Annotated[str, o.option(group=o.FITTING, metavar="NAME", help="lm (the default), adam or lbfgs.")] = "lm",
    starts: o.Starts = 64,
    draws: Annotated[
        int | None,
        o.option(group=DRAWING, metavar="N", min=1, max=1_000_000, help="Draw parameters; intervals are added."),
    ] = None,
    method: Annotated[
        str | None,
        o.option(group=DRAWING, metavar="NAME", help="residual (the default), wild, runs or posterior."),
    ] = None,
    by: Annotated[
        str | None,
        o.option(
            group=DRAWING,
            metavar="UNIT",
            help="Draw whole run, redraw or seed; by default runs where every pool has several, else checkpoints.",
        ),
    ] = None,
    level: Annotated[
        str | None, o.option(group=DRAWING, metavar="SHARE", help="Level of the intervals: .95 by default.")
    ] = None,
    save_draws: Annotated[
        str | None,
        o.option("--save-draws", group=DRAWING, metavar="FILE", help="Write the draws as npz, for load_draws."),
    ] = None,
    pooling: Annotated[
        bool,
        o.option("--pooling", group=POOLING, help="Pools with one to three checkpoints borrow from each other."),
    ] = False,
    covariate: Annotated[
        str | None,
        o.option(group=POOLING, metavar="POOL=SCORE,..", help="Scores that the pools' parameters may follow."),
    ] = None,
    format: o.Format = None,
    value: o.Value = None,
    pools: o.PoolSizes = None,
    nested: o.Nested = None,
    disjoint: o.Disjoint = False,
    metric: o.Metric = None,
    tasks: o.Tasks = None,
    samples_per_epoch: o.PerEpoch = None,
    samples_per_step: o.PerStep = None,
    samples_seen: o.Seen = None,
    output: o.Output = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> out.Answer:
    """Fit a law to measured runs and print its parameters with standard errors.

    All rows are fitted, mixtures included. Without RUNS the runs that come with qqtjax are fitted; wordclip-C,
    wordclip-R and wordclip-V name them. A table of several metrics gives one fit for each.
    """
    from qqtjax.fit import LBFGS, Adam, LevenbergMarquardt, fit_metrics
    from qqtjax.io.saved import fit_to_dict
    from qqtjax.laws.intervals import intervals_table

    solvers = {"lm": LevenbergMarquardt, "adam": Adam, "lbfgs": LBFGS}
    chosen = o.law_named(law)
    settings: dict[str, Any] = {
        "free": _fields(free, "--free"),
        "fixed": {} if fix is None else words.shares(fix, "--fix"),
        "bounds": {} if bounds is None else words.ranges(bounds, "--bounds"),
        "share": _shared(share, per_pool),
        "log": log,
        "huber": None if huber is None else words.positive(huber, "--huber"),
        "solver": solvers[words.one_of(solver, solvers, "--solver")](),
        "starts": starts,
        "seed": seed,
    }
    drawing = Drawing(draws, method, by, level, save_draws)
    drawing.check()
    pooled = Pooled(pooling, covariate, {"log": log, "huber": huber is not None, "solver": solver != "lm"})
    pooled.check()
    out.check_writable(output)
    out.check_writable(save_draws, "--save-draws")
    reading = o.Reading(
        format, value, pools, nested, disjoint, metric, tasks, samples_per_epoch, samples_per_step, samples_seen
    )
    with out.progress(3) as say:
        say("reading runs")
        table = o.runs_named(runs, reading)
        several = len(table.metric_names) > 1
        if several and (output, draws) != (None, None):
            option = "-o" if draws is None else "--draws"
            raise InputError(
                f"{option}: {len(table.metric_names)} metrics ({', '.join(table.metric_names)}); choose one with "
                "--metric or average with --tasks"
            )
        say(f"fitting law {chosen.name} to {words.runs_text(table)}")
        fits = pooled.fit(table, chosen, settings) if pooling else fit_metrics(table, chosen, **settings)
        drawn = None
        if draws is not None:
            say(f"drawing {draws} sets of parameters")
            drawn = drawing.draw(next(iter(fits.values())), table, seed)
    documents = [fit_to_dict(each) for each in fits.values()]
    if drawn is not None:
        documents[0]["draws"] = drawing.document(drawn)
        if save_draws is not None:
            from qqtjax.io.saved_draws import save_draws as write_draws

            write_draws(drawn, save_draws)
    together = {"schema": "qqtjax.fits", "schema_version": 1, "fits": documents}

    def shown() -> str:
        if drawn is not None:
            return f"{drawn.fitted}\n\n{intervals_table(drawn, drawing.share)}"
        if not several:
            return str(*fits.values())
        return "\n\n".join(f"metric {name}\n{each}" for name, each in fits.items())

    return out.finish(together if several else documents[0], shown, output, json)


def _fields(text: str | None, what: str) -> list[str]:
    return [] if text is None else words.name_list(text, what)


def _shared(share: str | None, per_pool: str | None) -> dict[str, bool]:
    together, apart = _fields(share, "--share"), _fields(per_pool, "--per-pool")
    for name in together:
        if name in apart:
            raise InputError(f"--share and --per-pool: {name!r} is in both, expected one of them")
    return {**dict.fromkeys(together, True), **dict.fromkeys(apart, False)}
