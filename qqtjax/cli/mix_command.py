"""`qqt mix`: the best weights over pools for a fitted law."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from qqtjax.cli import mix_limits as m
from qqtjax.cli import mix_robust as r
from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import words
from qqtjax.cli.mix_prices import prices_of, prices_text
from qqtjax.errors import InputError

EXAMPLES = """Examples:
  qqt mix fit.json --budget 640M --max-epochs 20 --cap web=.6 -o mix.json
  qqt mix fit.json --budget 32M,128M,640M --group text=web+books:0.2..0.6
  qqt mix fit.json --budget 640M --reference mix.json --max-l1 .2
  qqt mix imagenet.json vtab.json --budget 640M --metric-weight vtab=2
  qqt mix fit.json --budget 640M --robust cvar --level .9 --draws 500
  qqt mix --published datacomp-tmars --budget 640M --prices
  qqt mix --published datacomp-tmars --budget 640M --schedule 16
  qqt mix fit.json --budget 640M --export open_clip --path 'web={0..9}.tar'"""
QUESTION, METRICS, EXPORT = "Question", "Several metrics", "For a trainer"
NO_DILUTION = "schedules are planned with dilution 0: the law does not say how half-lives dilute when weights vary"
NOT_VALIDATED = "the law was never validated on data whose order was planned"


def mix(
    fits: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FIT",
            help="A fit that qqt fit -o wrote, or - for standard input; several for several metrics.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        o.option(group=QUESTION, metavar="COUNT,..", help="Samples seen that you can afford: 640M or 32M,128M."),
    ] = None,
    schedule: Annotated[
        int | None,
        o.option(group=QUESTION, metavar="N", min=1, max=4096, help="Weights of their own for N segments of training."),
    ] = None,
    prices: Annotated[
        bool,
        o.option("--prices", group=QUESTION, help="Also what more data, more compute or a better pool would change."),
    ] = False,
    sizes: Annotated[
        str | None,
        o.option(group=QUESTION, metavar="POOL=SIZE,..", help="Pools of other sizes than fitted: web=1.28e9."),
    ] = None,
    seen_before: Annotated[
        list[str] | None,
        o.option(
            "--seen-before",
            group=QUESTION,
            metavar="POOL=COUNT,..",
            help="Samples that the model was trained on before; the budget comes on top.",
        ),
    ] = None,
    cap: m.Cap = None,
    minimum: m.Minimum = None,
    fixed: m.Fixed = None,
    max_epochs: m.MaxEpochs = None,
    group: m.InGroups = None,
    cost: m.Cost = None,
    max_cost: m.MaxCost = None,
    min_pools: m.MinPools = None,
    reference: m.Reference = None,
    max_kl: m.MaxKl = None,
    max_l1: m.MaxL1 = None,
    kl_penalty: m.KlPenalty = None,
    l1_penalty: m.L1Penalty = None,
    metric_weight: Annotated[
        list[str] | None,
        o.option(
            "--metric-weight",
            group=METRICS,
            metavar="NAME=FACTOR,..",
            help="Factors of the errors in their sum, 1 by default. The name is the fit's metric, or where two "
            "have the same that of the file, without its ending.",
        ),
    ] = None,
    worst_case: Annotated[
        bool, o.option("--worst-case", group=METRICS, help="The lowest possible worst error instead of a sum.")
    ] = False,
    robust: r.Kind = None,
    level: r.Level = None,
    draws: r.Count = None,
    regret: r.Regret = False,
    law_weight: r.LawWeights = None,
    export: Annotated[
        str | None,
        o.option(
            group=EXPORT,
            metavar="NAME",
            help="Write the trainer's configuration instead: open_clip, megatron, streaming, olmix, levanter or json.",
        ),
    ] = None,
    path: Annotated[
        list[str] | None,
        o.option("--path", group=EXPORT, metavar="POOL=PATH", help="Where a pool's data are; else its name."),
    ] = None,
    published: o.Published = None,
    law: o.PublishedLaw = None,
    output: o.Output = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> out.Answer:
    """The best weights over pools at a budget, under limits of yours, with a proof of how good they are.

    FIT is what qqt fit runs.csv -o fit.json writes. Options that take POOL=.. may be repeated.
    """
    limits = m.Limits(
        cap, minimum, fixed, max_epochs, group, cost, max_cost, min_pools, reference, max_kl, max_l1, kl_penalty,
        l1_penalty,
    )  # fmt: skip
    o.check_source(fits, published, law)
    if budget is None:
        raise InputError("--budget: missing, expected the samples seen that you can afford, such as 640M")
    budgets = words.positives(budget, "--budget")
    several = {"--metric-weight": bool(metric_weight), "--worst-case": worst_case}
    for name in (name for name, used in several.items() if used and len(fits or ()) < 2):
        raise InputError(f"{name}: needs two or more fits, one a metric")
    r.check_options(robust, level, draws, regret, law_weight)
    if robust is not None:
        _alone("--robust", [name for name, used in several.items() if used] + (["--prices"] if prices else []))
    many_fits = ["several fits"] if len(fits or ()) > 1 else []
    doubted = ["--robust"] if robust is not None else []
    before = ["--seen-before"] if seen_before else []
    if schedule is not None:
        _alone("--schedule", [*limits.given(), *before, *doubted, *(["--prices"] if prices else []), *many_fits])
    if prices:
        _alone("--prices", [*before, *many_fits])
    if export is None and path:
        raise InputError("--path: needs --export")
    if export is not None:
        others = {"--schedule": schedule is not None, "--prices": prices, "--json": json}
        others["several budgets"] = len(budgets) > 1
        _alone("--export", [name for name, used in others.items() if used])
        from qqtjax.mix.trainers import TRAINERS

        words.one_of(export, [each.name for each in TRAINERS], "--export")
    out.check_writable(output)
    with out.progress(2 + len(budgets)) as say:
        mixes: list[Any] = []
        laws = _loaded(fits, published, law, say)
        if sizes is not None:
            laws = {name: o.resized(each, sizes) for name, each in laws.items()}
        first = next(iter(laws.values()))
        names = first.pools.names
        paths = _paths(path, names)
        asked = limits.settings(names)
        if schedule is not None:
            document, parts = _scheduled(first, budgets, schedule, say)
        elif robust is not None:
            asked = {"seen_before": _counts(seen_before, names), **asked}
            mixes = r.robust_mixes(laws, budgets, robust, level, draws, regret, law_weight, seed, asked, say)
            document, parts = _shown(mixes)
        else:
            question = {
                "seen_before": _counts(seen_before, names),
                "metric_weights": _factors(metric_weight, list(laws)),
                "worst_case": worst_case,
                "seed": seed,
            }
            mixes, document, parts = _mixed(laws, budgets, question, asked, prices, say)
    if export is not None:
        return _exported(mixes[0], export, paths, output)
    from qqtjax.io.mixes import SCHEMA, SCHEMA_VERSION
    from qqtjax.io.saved import fit_to_dict

    head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION}
    used = {"fits": {name: fit_to_dict(each) for name, each in laws.items()}}
    return out.finish({**head, **document, **used}, lambda: "\n\n".join(part() for part in parts), output, json)


def _alone(option: str, others: list[str]) -> None:
    """Raise `InputError` if anything is asked for that the option cannot be combined with."""
    if others:
        raise InputError(f"{option}: cannot be combined with {', '.join(others)}")


def _loaded(fits: list[str] | None, published: str | None, law: str | None, say: Callable[[str], None]) -> dict:
    """`{metric: law}`; by the names of their files where two have one metric."""
    if published is not None:
        say(f"loading {published}")
        fitted = o.published_law(published, law)
        return {fitted.metric: fitted}
    paths = fits or []
    for path in paths:
        o.refuse_runs(path, "qqt mix")
    say(f"loading {', '.join(paths)}")
    loaded = [o.fit_named(path) for path in paths]
    for names in ([each.metric for each in loaded], [Path(path).stem for path in paths], paths):
        if len(set(names)) == len(paths):
            return dict(zip(names, loaded, strict=True))
    twice = next(path for path in paths if paths.count(path) > 1)
    raise InputError(f"{twice}: given twice")


def _counts(texts: list[str] | None, names: tuple[str, ...]) -> dict[str, float] | None:
    found = words.by_pool(texts, "--seen-before", names)
    for name, count in (found or {}).items():
        if not 0 <= count < float("inf"):
            raise InputError(f"--seen-before: {name}: found {count:g}, expected a number of samples >= 0")
    return found


def _factors(texts: list[str] | None, metrics: list[str]) -> dict[str, float] | None:
    return None if texts is None else words.shares(",".join(texts), "--metric-weight", metrics)


def _mixed(
    laws: dict[str, Any],
    budgets: list[float],
    question: dict[str, Any],
    asked: dict[str, Any],
    prices: bool,
    say: Callable[[str], None],
) -> tuple[list[Any], dict[str, Any], list[Callable[[], str]]]:
    """The best mix at each budget, the document and the parts of the text."""
    from qqtjax.mix.constraints import Constraints
    from qqtjax.mix.optimize import optimize_mix
    from qqtjax.text import show_count

    worth = []
    if prices:
        say("finding prices")
        with words.naming("--prices"):
            worth = prices_of(next(iter(laws.values())), budgets, Constraints(**asked))
    mixes = []
    for seen in budgets:
        say(f"finding the best mix at {show_count(seen)} samples")
        mixes.append(optimize_mix(laws, seen, **question, **asked))
    document, parts = _shown(mixes)
    rows = document["mixes"]
    for row, each in zip(rows, worth, strict=False):
        row["prices"] = each
        at = f"{show_count(row['samples_seen'])} samples: " if len(rows) > 1 else ""
        parts.append(lambda row=row, at=at: at + prices_text(row["prices"], row))
    return mixes, document, parts


def _shown(mixes: list[Any]) -> tuple[dict[str, Any], list[Callable[[], str]]]:
    """The document and the parts of the text of mixes at one budget or several."""
    from qqtjax.mix.text import mixes_text

    return {"mixes": [each.to_dict() for each in mixes]}, [
        lambda: str(mixes[0]) if len(mixes) == 1 else mixes_text(mixes)
    ]


def _paths(texts: list[str] | None, names: tuple[str, ...]) -> dict[str, str]:
    """`{pool: path}`; a path may hold any sign."""
    found: dict[str, str] = {}
    for text in texts or ():
        for name, path in words.assignments(text, "--path", names, separator="\n").items():
            words.known_pool(name, "--path", names)
            if name in found:
                raise InputError(f"--path: {name!r} is given twice")
            found[name] = path
    return found


def _exported(mix: Any, trainer: str, paths: dict[str, str], output: str | None) -> out.Answer:
    """The trainer's configuration, in the file or on standard output; beside a file the mix as text."""
    from qqtjax.mix.trainers import export_mix

    with words.naming("--export"):
        text = export_mix(mix, trainer, paths)
    if output is None or output == "-":
        return out.Answer(text, True)
    out.write_file(text + "\n", output)
    print(f"qqt: wrote {output}", file=sys.stderr)
    return out.Answer(str(mix), False)


def _scheduled(
    fitted: Any, budgets: list[float], segments: int, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Callable[[], str]]]:
    """The document and the parts of the text: the best weights of every segment of training."""
    from qqtjax.mix.schedules import optimize_schedule
    from qqtjax.text import show_count

    notes = [NOT_VALIDATED]
    if np.any(np.asarray(getattr(fitted.params, "dilution", 0.0)) != 0):
        fitted = fitted.with_params(dilution=0.0)
        notes.insert(0, NO_DILUTION)
    found = []
    with words.naming("--schedule"):
        for seen in budgets:
            say(f"finding the best schedule to {show_count(seen)} samples")
            found.append(optimize_schedule(fitted, seen, segments=segments))
    parts: list[Callable[[], str]] = [each.__str__ for each in found]
    if NO_DILUTION in notes:
        parts.append(lambda: textwrap.fill(NO_DILUTION, 80, break_on_hyphens=False))
    return {"schedules": [each.to_dict() for each in found], "notes": notes}, parts
