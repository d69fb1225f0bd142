"""`qqt sweep`: predictions or best mixes at millions of points, to the terminal or to a folder."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import typer

from qqtjax.cli import mix_limits as m
from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import points, words
from qqtjax.errors import InputError

EXAMPLES = """Examples:
  qqt sweep fit.json --budgets 10M:10B:log:200 --weights simplex:.05 -o out/
  qqt sweep fit.json --budgets 10M:10B:log:50 --weights simplex:.1 --reduce best
  qqt sweep fit.json --budgets 32M,128M,640M --filters
  qqt sweep fit.json --budgets 64M,640M --optimize --max-epochs 20
  qqt sweep fit.json --budgets 10M:10B:log:50 --filters --draws 1000 \\
      --reduce quantiles:.05,.5,.95
  srun qqt sweep fit.json --budgets 10M:10B:log:200 --weights simplex:.01 \\
      --distributed -o out/"""
QUESTION, WORK, HOSTS = "Question", "How it is done", "Several processes"
SCHEMA, SCHEMA_VERSION = "qqtjax.sweep_summary", 1
SHOWN, MOST_IN_JSON = 40, 100_000
HEARTBEAT = 30  # seconds without a sign of life after which a process counts as gone


def sweep(
    fit: Annotated[
        str | None,
        typer.Argument(metavar="FIT", help="A fit that qqt fit -o wrote, or - for standard input.", show_default=False),
    ] = None,
    budgets: Annotated[
        str | None,
        o.option(
            group=QUESTION,
            metavar="RANGE",
            help="Samples seen: 32M,128M, or LOW:HIGH:log:COUNT, or LOW:HIGH:lin:COUNT.",
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        o.option(
            "--weights",
            group=QUESTION,
            metavar="MIXES",
            help="simplex:STEP for all mixes in steps of STEP, POOL=SHARE,.. or a file that qqt mix -o wrote; "
            "may be repeated.",
        ),
    ] = None,
    filters: Annotated[bool, o.option("--filters", group=QUESTION, help="The best 1, 2, .. pools, sampled alike.")] = (
        False
    ),
    optimize: Annotated[
        bool, o.option("--optimize", group=QUESTION, help="The best mix at every point, under the limits below.")
    ] = False,
    sizes: Annotated[
        list[str] | None,
        o.option(
            "--sizes",
            group=QUESTION,
            metavar="POOL=SIZE,..",
            help="Pools of other sizes than fitted; repeated, each is one point of the axis of sizes.",
        ),
    ] = None,
    draws: Annotated[
        int | None,
        o.option(
            group=QUESTION,
            metavar="N",
            min=1,
            max=10_000_000,
            help="Parameters drawn from the fit's normal approximation instead of the fitted ones.",
        ),
    ] = None,
    zipped: Annotated[
        bool, o.option("--zip", group=QUESTION, help="Axes move together, point by point, instead of being multiplied.")
    ] = False,
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
    reduce: Annotated[
        str | None,
        o.option(
            group=WORK,
            metavar="HOW",
            help="Keep only: best, top:K mixes of every budget, or quantiles:LEVEL,.. over draws.",
        ),
    ] = None,
    dtype: Annotated[str, o.option(group=WORK, metavar="NAME", help="float64 (the default) or float32.")] = "float64",
    memory: Annotated[str, o.option(group=WORK, metavar="BYTES", help="What it may take: 1G by default.")] = "1G",
    output: Annotated[
        str | None,
        o.option(
            "-o",
            "--output",
            group=o.OUTPUT,
            metavar="FOLDER",
            help="Write Parquet files; run again after a stop, the sweep goes on there.",
        ),
    ] = None,
    distributed: Annotated[
        bool,
        o.option("--distributed", group=HOSTS, help="Join the other processes of a SLURM job, TPU pod or the like."),
    ] = False,
    coordinator: Annotated[
        str | None, o.option(group=HOSTS, metavar="HOST:PORT", help="Of process 0, where nothing tells it.")
    ] = None,
    processes: Annotated[int | None, o.option(group=HOSTS, metavar="N", min=1, help="How many there are.")] = None,
    process: Annotated[int | None, o.option(group=HOSTS, metavar="I", min=0, help="Which one this is.")] = None,
    published: o.Published = None,
    law: o.PublishedLaw = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> out.Answer:
    """Predict the error, or find the best mix, at every point of draws x sizes x budgets x mixes.

    FIT is what qqt fit runs.csv -o fit.json writes. In Python: qqtjax.sweep, and qqtjax.load_sweep reads a folder.
    """
    limits = m.Limits(
        cap, minimum, fixed, max_epochs, group, cost, max_cost, min_pools, reference, max_kl, max_l1, None, None
    )
    o.check_source(fit, published, law)
    if budgets is None:
        raise InputError("--budgets: missing, expected samples seen such as 32M,128M or 10M:10B:log:200")
    chosen = [name for name, used in _mixes(weights, filters, optimize).items() if used]
    if len(chosen) != 1:
        raise InputError(f"{', '.join(_mixes(None, False, False))}: expected exactly one of them")
    if limits.given() and not optimize:
        raise InputError(f"{', '.join(limits.given())} without --optimize: limits are for the best mix")
    question: dict[str, Any] = {
        "budgets": words.counts(budgets, "--budgets"),
        "filters": filters or None,
        "optimize": optimize,
        "zipped": zipped,
        "dtype": words.one_of(dtype, ("float64", "float32"), "--dtype"),
        "reduce": _reduction(reduce),
        "memory": words.positive(re.sub(r"i?[bB]$", "", memory.strip()), "--memory"),
        "seed": seed,
        "out": output,
    }
    with _together(distributed, coordinator, processes, process):
        if fit is not None:
            o.refuse_runs(fit, "qqt sweep")
        fitted = o.fit_named(fit) if fit is not None else o.published_law(str(published), law)
        names = fitted.pools.names
        question |= limits.settings(names)
        if sizes is not None:
            planned = [o.resized(fitted, each).pools.sizes for each in sizes]
            question["sizes"] = planned[0] if len(planned) == 1 else np.stack(planned)
        if weights is not None:
            question["weights"] = _weights(weights, names)
        if draws is not None:
            question["draws"] = draws
        from qqtjax.sweep import sweep as run

        whole = json and output is None and reduce is None
        with points.counted() as told:

            def tell(done: int, total: int) -> None:
                if whole and total > MOST_IN_JSON:
                    raise InputError(
                        f"--json: {total} results, expected at most {MOST_IN_JSON}; write them with -o FOLDER"
                    )
                told(done, total)

            found = run(fitted, **question, progress=tell)
        return _answer(found, output, json)


def _mixes(weights: list[str] | None, filters: bool, optimize: bool) -> dict[str, bool]:
    return {"--weights": weights is not None, "--filters": filters, "--optimize": optimize}


def _reduction(text: str | None) -> Any:
    """What `--reduce` asks for.

    Raises:
        InputError: none of the ways to reduce.
    """
    from qqtjax.sweep import Quantiles, TopK

    if text is None:
        return None
    how, _, rest = text.partition(":")
    with words.naming("--reduce"):
        if how == "best" and not rest:
            return TopK(1)
        if how == "top" and rest.strip().isdecimal():
            return TopK(int(rest))
        if how == "quantiles" and rest:
            return Quantiles(tuple(words.number(level, "levels") for level in rest.split(",")))
        raise InputError(f"found {text!r}, expected best, top:K or quantiles:LEVEL,LEVEL,..")


def _weights(texts: list[str], names: tuple[str, ...]) -> Any:
    """The mixes that `--weights` names."""
    from qqtjax.sweep import Simplex

    if any(text.startswith("simplex:") for text in texts):
        if len(texts) > 1:
            raise InputError("--weights: simplex:STEP with other mixes: expected one of them")
        step = words.number(texts[0].removeprefix("simplex:"), "--weights")
        with words.naming("--weights"):
            return Simplex(step)
    found = []
    for text in texts:
        mix = words.mix(text, "--weights", names)
        for pool in mix:
            words.known_pool(pool, "--weights", names)
        found.append(mix)
    return found


@contextlib.contextmanager
def _together(distributed: bool, coordinator: str | None, processes: int | None, process: int | None) -> Iterator[None]:
    """Join other processes, and leave them at the end.

    Raises:
        InputError: a part of what is needed is missing, or nobody is found to join.
    """
    explicit = (coordinator, processes, process)
    if any(each is not None for each in explicit):
        if coordinator is None or processes is None or process is None:
            raise InputError("--coordinator, --processes, --process: expected all of them")
        if process >= processes:
            raise InputError(f"--process {process}: expected a number below --processes {processes}")
    elif not distributed:
        yield
        return
    import jax

    try:
        jax.distributed.initialize(coordinator, processes, process, heartbeat_timeout_seconds=HEARTBEAT)
    except (ValueError, RuntimeError) as problem:
        reason = str(problem).splitlines()[0]
        hint = "" if coordinator else "; name --coordinator, --processes and --process"
        raise InputError(f"--distributed: cannot join the other processes ({reason}){hint}") from None
    # What libraries say on standard output, such as who they are connected to, must not mix with the answer.
    sys.stdout.flush()
    answers = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
        jax.distributed.shutdown()
    finally:
        os.dup2(answers, 1)
        os.close(answers)


def _answer(found: Any, output: str | None, json: bool) -> out.Answer:
    """What goes to standard output: a summary of a folder, or the results."""
    import jax

    from qqtjax.text import show_count

    axes = found.axes
    if jax.process_index() > 0:
        return out.Answer("", False)
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "axes": dict(zip(axes.names, axes.shape, strict=True)),
        "law": axes.law,
        "metric": axes.metric,
        "folder": output,
        "rows": None,
    }
    if output is not None:
        lengths = " x ".join(f"{length} {name}" for name, length in zip(axes.names, axes.shape, strict=True))
        text = f"{output}: {show_count(axes.size)} results ({lengths}); read them with qqtjax.load_sweep({output!r})"
        return out.Answer(out.as_json(document) if json else text, json)
    if json:
        if axes.size > MOST_IN_JSON:
            raise InputError(f"--json: {axes.size} results, expected at most {MOST_IN_JSON}; write them with -o FOLDER")
        return out.Answer(out.as_json(document | {"rows": found.frame().to_dict("records")}), True)
    return out.Answer(_table(found), False)


def _table(found: Any) -> str:
    from qqtjax.text import show_count

    head = found.head(SHOWN)
    table = head.to_string(index=False, float_format="{:.5g}".format, formatters={"samples_seen": show_count})
    more = found.axes.size - len(head)
    return f"{table}\n.. and {show_count(more)} more; -o FOLDER keeps all of them" if more > 0 else table
