"""`qqt report`: everything that is known, in one HTML file that opens offline."""

from __future__ import annotations

import datetime
import hashlib
import os
import shlex
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import words
from qqtjax.cli.plan_command import DRAWS, QUESTION, default_budgets, of_pools
from qqtjax.cli.plot_frame import Source
from qqtjax.errors import InputError

EXAMPLES = """Examples:
  qqt report
  qqt report runs.csv -o report.html
  qqt report runs.csv --budgets 32M,64M,128M,256M,640M -o report.html
  qqt report runs.csv --sizes top10=1.28e9,top20=1.28e9 --max-epochs 4
  qqt report runs.csv --laws power,complementary --no-next"""
PAGE, BLIND = "Page", "repetition-blind (power)"
LAWS = "power,effective_samples"
MEGABYTE = 1e6


def report(
    context: typer.Context,
    runs: o.RunsArgument = None,
    budgets: Annotated[
        str | None,
        o.option(group=QUESTION, metavar="COUNT,..", help="Samples seen at which the slider stops: 32M,128M,640M."),
    ] = None,
    sizes: Annotated[
        str | None,
        o.option(
            group=QUESTION,
            metavar="POOL=SIZE,..",
            help="Plan first for pools of other sizes than fitted: top10=1.28e9.",
        ),
    ] = None,
    max_epochs: Annotated[
        str | None,
        o.option("--max-epochs", group=QUESTION, metavar="N", help="Show also the best mix that repeats no pool more."),
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
    draws: Annotated[
        int, o.option(group=QUESTION, metavar="N", min=0, help="Draws that say how sure the answer is; 0: none.")
    ] = DRAWS,
    near: Annotated[
        str,
        o.option(
            group=QUESTION, metavar="ERROR", help="Weights may move among mixes no worse than this, .001 by default."
        ),
    ] = ".001",
    next: Annotated[
        bool, o.option("--next/--no-next", group=QUESTION, help="Look for the run worth making next, or not.")
    ] = True,
    law: o.LawName = None,
    laws: Annotated[
        str,
        o.option(group=o.FITTING, metavar="NAME,..", help=f"Laws to stand beside, {LAWS} by default; empty: none."),
    ] = LAWS,
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
    date: Annotated[
        str | None,
        o.option(group=PAGE, metavar="TEXT", help="Stands on the page; by default SOURCE_DATE_EPOCH's day, or today."),
    ] = None,
    output: Annotated[
        str, o.option("-o", "--output", group=PAGE, metavar="FILE", help="The page, report.html by default.")
    ] = "report.html",
    seed: o.Seed = 0,
    json: Annotated[
        bool, o.option("--json", group=o.OUTPUT, help="Print what went into the page as JSON on standard output.")
    ] = False,
) -> out.Answer:
    """One HTML page with everything: the answer, a budget slider, figures, and how far to trust them.

    The page opens offline, on a phone too, and can be sent to anybody. Its numbers are those of qqt plan. Without
    RUNS: the runs that come with qqtjax.
    """
    from qqtjax.mix.filters import quality_order
    from qqtjax.plan.text import count_text
    from qqtjax.report import Provenance
    from qqtjax.report import report as make_report
    from qqtjax.report.page import check_installed
    from qqtjax.report.presets import GIVEN, usual_presets

    check_installed()
    if output == "-":
        raise InputError("-o: a page goes to a file, found -; --json prints what went into it")
    asked = None if budgets is None else words.positives(budgets, "--budgets")
    question: dict[str, Any] = {
        "max_epochs": None if max_epochs is None else words.positive(max_epochs, "--max-epochs"),
        "max_epochs_rule": words.positive(rule_epochs, "--rule-epochs"),
        "near": words.positive(near, "--near"),
        "with_next_run": next,
        "seed": seed,
    }
    own_filters = words.named(filter, "--filter", "POOL+POOL")
    own_mixes = words.named(mix, "--mix", "POOL:SHARE+POOL:SHARE")
    o.law_named(law)
    beside = [each.strip() for each in laws.split(",") if each.strip()]
    for name in beside:
        with words.naming("--laws"):
            o.law_named(name)
    day = day_of_the_page() if date is None else date
    out.check_writable(output)
    reading = o.Reading(
        format, value, pools, nested, disjoint, metric, tasks, samples_per_epoch, samples_per_step, samples_seen
    )
    with out.progress(10) as say:
        source = Source(runs, reading, seed, say)
        table = source.table
        question |= of_pools(table.pools, sizes, order, own_filters, own_mixes)
        resized = question.pop("sizes")
        fitted = source.fitted(law, starts)
        others = {
            BLIND if name == "power" else name: source.fitted(name, starts)
            for name in dict.fromkeys(beside)
            if name != fitted.law.name
        }
        say("drawing parameters")
        question["draws"] = o.drawn_around(fitted, source.to_fit, draws, seed)
        question["presets"] = usual_presets(fitted, quality_order(fitted, question["order"]))
        if resized is not None:
            with words.naming("--sizes"):
                fitted.with_sizes(resized)
            question["presets"] = {GIVEN: resized, **question["presets"]}
        found = make_report(
            fitted,
            table,
            slider_budgets(fitted) if asked is None else asked,
            reference_laws=others,
            provenance=Provenance(
                table=_table_name(runs),
                sha256=_sha256(runs),
                command=typed(context),
                date=day,
                seed=seed,
            ),
            say=say,
            **question,
        )
        say("writing the page")
        text = found.to_html()
        out.write_file(text, output)
    document = {**found.to_dict(), "file": output}
    row = found.presets[0].plan.rows[-1]
    shown = (
        f"wrote {output} ({len(text.encode()) / MEGABYTE:.1f} MB)\n"
        f"at {count_text(row.samples_seen)} samples: train on {row.best.name}; open the page for the rest"
    )
    return out.Answer(out.as_json(document) if json else shown, json)


def slider_budgets(fitted: Any) -> list[float]:
    """The budgets of `qqt plan`, and one and a half times each but the last.

    Args:
        fitted: the law, with what it has seen.
    """
    budgets = default_budgets(fitted)
    return sorted([*budgets, *(1.5 * each for each in budgets[:-1])])


def typed(context: typer.Context) -> str:
    """The command as it was typed, short of what was left at its default.

    Args:
        context: of the command.
    """
    parts = context.command_path.split()
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[parameter.name or ""]
        if parameter.param_type_name == "argument":
            parts.insert(len(context.command_path.split()), str(value))
        elif isinstance(value, bool):
            parts.append(parameter.opts[0] if value else (parameter.secondary_opts or parameter.opts)[0])
        else:
            for each in value if isinstance(value, list | tuple) else [value]:
                parts += [parameter.opts[0], str(each)]
    return shlex.join(parts)


def _table_name(runs: str | None) -> str:
    """The file's own name: folders are nobody else's business."""
    return "standard input" if runs == "-" else Path(runs or "wordclip-C").name


def _sha256(runs: str | None) -> str | None:
    """Of the file that was read, or of the table that comes with the package; None for folders and streams."""
    if runs is None or (runs in o.EMBEDDED and not Path(runs).exists()):
        return hashlib.sha256((resources.files("qqtjax") / "data" / "wordclip.csv").read_bytes()).hexdigest()
    return hashlib.sha256(Path(runs).read_bytes()).hexdigest() if Path(runs).is_file() else None


def day_of_the_page() -> str:
    """SOURCE_DATE_EPOCH's day, or today's, in UTC.

    Raises:
        InputError: SOURCE_DATE_EPOCH is not a number of seconds.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        when = (
            datetime.datetime.now(datetime.UTC)
            if given is None
            else datetime.datetime.fromtimestamp(int(given), datetime.UTC)
        )
    except (ValueError, OverflowError, OSError):
        raise InputError(f"SOURCE_DATE_EPOCH: found {given!r}, expected a whole number of seconds") from None
    return f"{when.day} {when:%B %Y}"
