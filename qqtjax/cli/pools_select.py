"""`qqt pools select`: from a plan, a mix or a rule to the samples to keep."""

from __future__ import annotations

import json as json_text
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import pools_options as p
from qqtjax.cli import words
from qqtjax.errors import InputError
from qqtjax.text import did_you_mean, show_count

EXAMPLES = """Examples:
  qqt pools select pools.parquet --plan plan.json --budget 640M -o kept.parquet
  qqt plan runs.csv --json | qqt pools select pools.parquet --plan -
      --budget 128M --option mix -o kept.parquet
  qqt pools select pools.parquet --plan mix.json --order hardest
  qqt pools select pools.parquet --keep .3 --balance .5 --order hardest
  qqt pools select pools.parquet --top .3 -o kept.parquet"""
PLAN, RULES, DRAW = "From a plan", "By a rule instead", "Draw"
BEST, MIX = "best", "mix"
EXPECTED = "expected what qqt plan --json or qqt mix --json prints"


class Choice(NamedTuple):
    """What a plan says to train on.

    Attributes:
        samples_seen: the budget.
        weights: `{pool: share}`.
        sizes: `{pool: samples}` that the plan was made for; not finite where it is not known.
    """

    samples_seen: float
    weights: dict[str, float]
    sizes: dict[str, float]


def select(
    pools: Annotated[
        str,
        typer.Argument(metavar="POOLS", help="Pools that qqt pools quantile -o wrote.", show_default=False),
    ],
    plan: Annotated[
        str | None,
        o.option(group=PLAN, metavar="FILE", help="What qqt plan or qqt mix wrote as JSON; - for standard input."),
    ] = None,
    budget: Annotated[
        str | None, o.option(group=PLAN, metavar="COUNT", help="Which of its budgets, where there are several.")
    ] = None,
    option: Annotated[
        str | None,
        o.option(group=PLAN, metavar="NAME", help="best (the best filter, the default), mix, or an option by name."),
    ] = None,
    counts: Annotated[
        str | None, o.option(group=RULES, metavar="POOL=COUNT,..", help="Samples to keep of each pool: top10=5k.")
    ] = None,
    keep: Annotated[
        str | None, o.option(group=RULES, metavar="SHARE", help="The same share of every pool, with a floor.")
    ] = None,
    balance: Annotated[
        str | None,
        o.option(group=RULES, metavar="SHARE", help="The floor of --keep: this part of an equal share; 0 by default."),
    ] = None,
    top: Annotated[
        str | None, o.option(group=RULES, metavar="SHARE", help="The samples of highest scores over all pools.")
    ] = None,
    at_least: Annotated[
        str | None, o.option("--at-least", group=RULES, metavar="SCORE", help="The samples of at least this score.")
    ] = None,
    order: Annotated[
        str | None,
        o.option(group=DRAW, metavar="NAME", help="Which samples of a pool: random (the default), hardest or easiest."),
    ] = None,
    output: p.Kept = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> out.Answer:
    """Which samples to keep: what a plan or mix trains on, or what a rule keeps of each pool.

    A plan's samples come with the epochs of their pools: a pool that is gone through less than once gives that part of
    it, one that is repeated gives all. The hardest samples of a pool are those of the highest scores.
    """
    rules = {"--plan": plan, "--counts": counts, "--keep": keep, "--top": top, "--at-least": at_least}
    used = [name for name, given in rules.items() if given is not None]
    if len(used) != 1:
        raise InputError(f"{', '.join(used) or 'no rule'}: expected one of {', '.join(rules)}")
    for name, given, needs in (
        ("--budget", budget, "--plan"),
        ("--option", option, "--plan"),
        ("--balance", balance, "--keep"),
    ):
        if given is not None and rules[needs] is None:
            raise InputError(f"{name}: applies to {needs}")
    if order is not None and used[0] in ("--top", "--at-least"):
        raise InputError(f"--order: {used[0]} keeps the highest scores")
    from qqtjax.pools.drawing import ORDERS, SCHEMA, draw
    from qqtjax.pools.partition import Partition
    from qqtjax.pools.planned import select_planned, warn_of_size
    from qqtjax.pools.thresholds import above_counts, top_counts
    from qqtjax.pools.uniform import uniform_counts

    way: Any = "random" if order is None else words.one_of(order, ORDERS, "--order")
    p.check_kept(output)
    with out.progress(2) as say:
        say(f"reading {pools}")
        partition = Partition.load(pools)
        sizes = partition.counts
        say("choosing samples")
        if plan is not None:
            choice = chosen(plan, budget, option)
            with words.naming("--plan"):
                for name, size in choice.sizes.items():
                    if choice.weights.get(name):
                        warn_of_size(name, size, int(sizes[partition.pools.index(name)]))
                kept = select_planned(partition, choice.weights, choice.samples_seen, way, seed)
        elif counts is not None:
            wanted = words.shares(counts, "--counts", partition.pools.names)
            with words.naming("--counts"):
                kept = draw(partition, wanted, way, seed)
        elif keep is not None:
            total = round(_share(keep, "--keep") * int(sizes.sum()))
            floor = 0.0 if balance is None else _share(balance, "--balance")
            kept = draw(partition, uniform_counts(sizes, total, floor), way, seed)
        else:
            name = used[0]
            share = words.number(str(at_least), name) if top is None else _share(top, name)
            with words.naming(name):
                wanted = (above_counts if top is None else top_counts)(partition, share)
            kept = draw(partition, wanted, "hardest")
    return p.answer(SCHEMA, kept, kept.to_dict(), output, json)


def _share(text: str, option: str) -> float:
    """A share that an option names."""
    from qqtjax.pools.rounding import checked_share

    share = words.number(text, option)
    with words.naming(option):
        return checked_share(share, "share")


def chosen(path: str, budget: str | None, option: str | None) -> Choice:
    """What a plan or mix in JSON says to train on.

    Args:
        path: the file, or `-`.
        budget: which of its budgets, as typed, or None.
        option: "best", "mix", the name of an option, or None.

    Raises:
        InputError: it cannot be read, is something else, has no such budget or option.
    """
    name = "standard input" if path == "-" else path
    document = _document(path, name)
    schema = document.get("schema")
    try:
        if schema == "qqtjax.plan":
            row = _at(document["rows"], budget, name)
            return Choice(row["samples_seen"], _option(row, option, name), _sizes(document["pools"]))
        if schema == "qqtjax.mix":
            if document.get("schedules"):
                raise InputError(f"{name}: a schedule, expected weights that stay the same")
            if option is not None:
                raise InputError(f"--option: {name} is a mix, not a plan with options")
            row = _at(document["mixes"], budget, name)
            return Choice(row["samples_seen"], row["weights"], _sizes(row["sizes"]))
    except (KeyError, TypeError, ValueError) as problem:
        if isinstance(problem, InputError):
            raise
        raise InputError(f"{name}: damaged ({type(problem).__name__}: {problem}); {EXPECTED}") from None
    raise InputError(f"{name}: neither a plan nor a mix; {EXPECTED}")


def _document(path: str, name: str) -> dict[str, Any]:
    """A file or standard input as a JSON object."""
    if not path.strip():
        raise InputError(f"empty file name; {EXPECTED}")
    if path == "-":
        o.check_standard_input()
    try:
        found = json_text.loads(sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except json_text.JSONDecodeError as problem:
        raise InputError(f"{name}: line {problem.lineno}: not JSON ({problem.msg}); {EXPECTED}") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{name}: cannot be read as text ({problem.__class__.__name__})") from None
    if not isinstance(found, dict):
        raise InputError(f"{name}: neither a plan nor a mix; {EXPECTED}")
    return found


def _at(rows: list[dict[str, Any]], budget: str | None, name: str) -> dict[str, Any]:
    """The row of a budget."""
    known = ", ".join(show_count(row["samples_seen"]) for row in rows)
    if budget is None:
        if len(rows) != 1:
            raise InputError(f"--budget: missing; {name} has {known}")
        return rows[0]
    wanted = words.positive(budget, "--budget")
    for row in rows:
        # A budget is typed as it is printed, with six digits.
        if abs(row["samples_seen"] - wanted) <= 1e-5 * wanted:
            return row
    raise InputError(f"--budget: {name} has no {budget}; it has {known}")


def _option(row: dict[str, Any], option: str | None, name: str) -> dict[str, float]:
    """The weights of an option of a plan at one budget."""
    named = {each["name"]: each["weights"] for each in row["options"]}
    named = {BEST: row["best"]["weights"], MIX: row["mix"]["weights"], **named}
    if option is not None and option not in named:
        near = did_you_mean(option, named)
        raise InputError(f"--option: {name} has no {option!r}; expected one of {', '.join(named)}{near}")
    return named[BEST if option is None else option]


def _sizes(sizes: dict[str, Any]) -> dict[str, float]:
    return {name: float(size) for name, size in sizes.items()}
