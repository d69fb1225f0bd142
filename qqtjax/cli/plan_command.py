"""`qqt plan`: the main job."""

from __future__ import annotations

from typing import Annotated, Any

from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import words
from qqtjax.errors import InputError

EXAMPLES = """Examples:
  qqt plan
  qqt plan runs.csv --budgets 32M,128M,640M
  qqt plan runs.csv --target-error .55
  qqt plan runs.csv --budgets 1B --sizes top10=1.28e9,top20=1.28e9
  qqt plan fit.json --filter mine=top10+top30 --mix half=top10:.5+top20:.5
  qqt plan --published datacomp-tmars"""
QUESTION, SOURCE = "Question", "Instead of RUNS"
DRAWS = 400


def plan(
    runs: o.RunsArgument = None,
    budgets: Annotated[
        str | None,
        o.option(group=QUESTION, metavar="COUNT,..", help="Samples seen that you can afford: 32M,128M,640M."),
    ] = None,
    flops: Annotated[str | None, o.option(group=QUESTION, metavar="COUNT,..", help="Budgets in FLOPs instead.")] = None,
    flops_per_sample: Annotated[
        str | None,
        o.option("--flops-per-sample", group=QUESTION, metavar="COUNT", help="The price of one sample."),
    ] = None,
    target_error: Annotated[
        str | None,
        o.option("--target-error", group=QUESTION, metavar="ERROR", help="Find the cheapest budget that reaches it."),
    ] = None,
    sizes: Annotated[
        str | None,
        o.option(
            group=QUESTION,
            metavar="POOL=SIZE,..",
            help="Plan for pools of other sizes than fitted: top10=1.28e9.",
        ),
    ] = None,
    filter: Annotated[
        list[str] | None,
        o.option(
            group=QUESTION,
            metavar="NAME=POOL+POOL..",
            help="A filter of your own, the union of pools: mine=top10+top30. May be repeated.",
        ),
    ] = None,
    mix: Annotated[
        list[str] | None,
        o.option(
            group=QUESTION,
            metavar="NAME=POOL:SHARE+..",
            help="A mix of your own: half=top10:.5+top20:.5. May be repeated.",
        ),
    ] = None,
    order: Annotated[
        str | None,
        o.option(group=QUESTION, metavar="POOL,..", help="Pools, best first; by default as the law ranks them."),
    ] = None,
    rule_epochs: Annotated[
        str,
        o.option("--rule-epochs", group=QUESTION, metavar="N", help="Epochs of the rule of thumb, 4 by default."),
    ] = "4",
    fit_file: Annotated[
        str | None,
        o.option("--fit", group=SOURCE, metavar="FILE", help="A fit that qqt fit -o wrote, - for standard input."),
    ] = None,
    published: Annotated[
        str | None,
        o.option(group=SOURCE, metavar="NAME", help="Published constants: datacomp-tmars."),
    ] = None,
    draws: Annotated[
        int, o.option(group=QUESTION, metavar="N", min=0, help="Draws that say how sure the answer is; 0: none.")
    ] = DRAWS,
    law: o.LawName = None,
    starts: o.Starts = 64,
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
    """Which data to train on at each budget: the best filter, the best mix, and where the answer changes.

    RUNS may also be a fit that qqt fit -o wrote. Without RUNS: the runs that come with qqtjax (wordclip-C; also
    wordclip-R, wordclip-V). Pools measured alone are fitted, and measured mixtures show how well the fit predicts
    what it has not seen; without such pools every row is fitted.
    """
    from qqtjax.io.saved import fit_to_dict
    from qqtjax.plan import plan as make_plan

    if sum(each is not None for each in (runs, published, fit_file)) > 1:
        raise InputError("RUNS, --published and --fit: expected one of them")
    if budgets is not None and flops is not None:
        raise InputError("--budgets and --flops: expected one of them")
    if flops is not None and flops_per_sample is None:
        raise InputError("--flops: needs --flops-per-sample, the price of one sample seen")
    if fit_file is None and runs is not None and o.is_saved_fit(runs):
        runs, fit_file = None, runs
    asked = None if budgets is None else words.positives(budgets, "--budgets")
    question: dict[str, Any] = {
        "flops": None if flops is None else words.positives(flops, "--flops"),
        "flops_per_sample": None
        if flops_per_sample is None
        else words.positive(flops_per_sample, "--flops-per-sample"),
        "target_error": None if target_error is None else words.positive(target_error, "--target-error"),
        "max_epochs_rule": words.positive(rule_epochs, "--rule-epochs"),
        "seed": seed,
    }
    own_filters = words.named(filter, "--filter", "POOL+POOL")
    own_mixes = words.named(mix, "--mix", "POOL:SHARE+POOL:SHARE")
    chosen = o.law_named(law)
    out.check_writable(output)
    reading = o.Reading(
        format, value, pools, nested, disjoint, metric, tasks, samples_per_epoch, samples_per_step, samples_seen
    )

    wanted: list[float] | None = None
    with out.progress(4) as say:
        if published is not None or fit_file is not None:
            source = str(fit_file if published is None else published)
            reading.refuse(source)
            if law is not None:
                raise InputError(f"--law: applies to runs that are fitted, not to {source}")
            say(f"loading {source}")
            if published is not None:
                from qqtjax.io.tables import published as load_published

                with words.naming("--published"):
                    constants = load_published(published)
                fitted, wanted = constants.released_utility, list(constants.budgets)
                question["reference_laws"] = {
                    "utility": constants.utility,
                    "effective_data": constants.effective_data,
                }
            else:
                fitted = o.fit_named(source)
                question["draws"] = o.drawn_around(fitted, None, draws, seed)
            question |= of_pools(fitted.pools, sizes, order, own_filters, own_mixes)
        else:
            say("reading runs")
            table = o.runs_named(runs, reading)
            question |= of_pools(table.pools, sizes, order, own_filters, own_mixes)
            fitted, question["blind"] = _fitted(table, chosen, starts, seed, say)
            question["runs"] = table
            question["draws"] = o.drawn_around(fitted, table.select(table.to_fit()), draws, seed)
        if asked is None and flops is None and target_error is None:
            asked = wanted or default_budgets(fitted)
        say("planning")
        answer = make_plan(fitted, asked, **question)
    head = {"schema": "qqtjax.plan", "schema_version": 1}
    document = {**head, **answer.to_dict(), "fit": fit_to_dict(fitted)}

    def shown() -> str:
        return str(answer) if fitted.diagnostics is None else f"{answer}\n\n{fitted}"

    return out.finish(document, shown, output, json)


def of_pools(
    pools: Any, sizes: str | None, order: str | None, filters: dict[str, str], mixes: dict[str, str]
) -> dict[str, Any]:
    """What the user says of pools as arguments of `qqtjax.plan`, checked as soon as the pools are known.

    Args:
        pools: of the table or fit.
        sizes: as typed.
        order: as typed.
        filters: `{name: text}` of `--filter`.
        mixes: `{name: text}` of `--mix`.

    Raises:
        InputError: an unknown pool, wrong shares, a pool that the order misses.
    """
    names = pools.names
    said = {
        "sizes": None if sizes is None else words.sizes(sizes, "--sizes", names),
        "order": None if order is None else words.name_list(order, "--order", names),
        "filters": {name: words.name_list(text, f"--filter {name}", names, "+") for name, text in filters.items()},
        "mixes": {name: words.shares(text, f"--mix {name}", names, ":", "+") for name, text in mixes.items()},
    }
    with words.naming("--sizes"):
        list(map(pools.index, said["sizes"] or ()))
    for name, members in said["filters"].items():
        with words.naming(f"--filter {name}"):
            list(map(pools.index, members))
    for name, shares in said["mixes"].items():
        with words.naming(f"--mix {name}"):
            pools.weights(shares)
    if said["order"] is not None:
        with words.naming("--order"):
            list(map(pools.index, said["order"]))
        missing = [name for name in names if name not in said["order"]]
        if missing:
            raise InputError(f"--order: misses {', '.join(missing)}; expected every pool once, best first")
    return said


def _fitted(table: Any, law: Any, starts: int, seed: int, say: Any) -> tuple[Any, Any]:
    """The law fitted to the rows for fitting and, where others are left to check it, the repetition-blind law."""
    from qqtjax import laws
    from qqtjax.fit import fit

    if len(table.metric_names) > 1:
        raise InputError(
            f"{len(table.metric_names)} metrics ({', '.join(table.metric_names)}): choose one with --metric, or "
            "average with --tasks"
        )
    rows = table.to_fit()
    fitted_rows = table.select(rows)
    say(f"fitting law {law.name} to {words.runs_text(fitted_rows)}")
    fitted = fit(fitted_rows, law, starts=starts, seed=seed)
    if rows.all():
        return fitted, None
    say("fitting the repetition-blind law, for comparison")
    return fitted, fit(fitted_rows, laws.power, starts=starts, seed=seed)


def default_budgets(fitted: Any) -> list[float]:
    """Powers of two times the smallest pool: from one epoch of it to twice the most samples seen; the last seven."""
    import numpy as np

    finite = fitted.pools.sizes[np.isfinite(fitted.pools.sizes)]
    most = 2.0 * fitted.seen.samples_seen[1] if fitted.seen else 64.0 * finite.min(initial=1e6)
    first = float(finite.min()) if len(finite) else most / 64
    count = int(np.clip(np.floor(np.log2(most / first)), 0, 12)) + 1
    return [first * 2.0**k for k in range(count)][-7:]
