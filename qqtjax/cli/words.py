"""How things are written on the command line: `32M,128M`, `top10=.7,top20=.3`, `mine=top10:.7+top20:.3`."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from qqtjax.errors import InputError
from qqtjax.text import did_you_mean, number_of

if TYPE_CHECKING:
    import numpy as np

    from qqtjax.runs import Runs

MIX_BOUNDS = {"caps": "--cap", "minimums": "--min", "fixed": "--fix"}
# How the library's messages name an argument, and how the command line does.
SPELLINGS = (
    (re.compile(r"\bpools=\{name: size in samples\}"), "--pools NAME=SIZE,..."),
    (re.compile(r"\bpools=\{'(.*?)': samples\}"), r"--pools \1=SIZE"),
    (re.compile(r"\bnested=\[(.*?)\]"), lambda found: f"--nested {found[1].replace(chr(39), '').replace(', ', ',')}"),
    (re.compile(r"\bdisjoint=True\b"), "--disjoint"),
    (
        re.compile(r"\bsamples_(per_epoch|per_step|seen)=(?=\w)"),
        lambda found: f"--samples-{found[1].replace('_', '-')} ",
    ),
    (re.compile(r"\bsamples_(per_epoch|per_step|seen)="), lambda found: f"--samples-{found[1].replace('_', '-')}"),
    (re.compile(r"\b(pools|nested|metric|tasks|format|value)=(?=['\w])"), r"--\1 "),
    (re.compile(r"\b(pools|nested|metric|tasks|format|value)=(?=[\s,;:)]|$)"), r"--\1"),
    (re.compile(r"^(free|bounds): "), r"--\1: "),
    (re.compile(r"^share: "), "--share, --per-pool: "),
    (re.compile(r"^fixed: "), "--fix: "),
    (re.compile(r"^bounds of "), "--bounds: "),
    (re.compile(r"^order "), "--order "),
    (re.compile(r"^(caps|minimums|fixed)(?= of )"), lambda found: MIX_BOUNDS[found[1]]),
    (re.compile(r"^(cost(?= of | without )|group(?= )|reference(?=: ))"), r"--\1"),
    (re.compile(r"^a reference(?= without )"), "--reference"),
    (re.compile(r"(?<= without )(?:a )?(cost|reference)(?=:)"), r"--\1"),
    (re.compile(r"^segments(?= )"), "--schedule"),
    (re.compile(r"\bmetric_weights\b"), "--metric-weight"),
    (re.compile(r"\bmax_epochs(?= )"), "--max-epochs"),
    (
        re.compile(r"\b(max_cost|max_kl|max_l1|kl_penalty|l1_penalty|min_pools|seen_before|worst_case)\b(?!=)"),
        lambda found: f"--{found[1].replace('_', '-')}",
    ),
)


def as_options(message: str) -> str:
    """A message of the library with its keyword arguments spelled as options.

    Example:
        >>> as_options("runs.csv: say nested=['top10', 'top20'] or disjoint=True")
        'runs.csv: say --nested top10,top20 or --disjoint'
    """
    for pattern, spelling in SPELLINGS:
        message = pattern.sub(spelling, message)
    return message


def runs_text(runs: Runs) -> str:
    """How much was measured: `255 checkpoints of 5 pools`."""
    return f"{number_of(len(runs), 'checkpoint')} of {number_of(len(runs.pools), 'pool')}"


def number(text: str, what: str) -> float:
    """One count from text, with the option's name in what goes wrong.

    Raises:
        InputError: no number.
    """
    from qqtjax.io import parse_count

    try:
        return parse_count(text)
    except InputError as problem:
        raise InputError(f"{what}: {problem}") from None


def positive(text: str, what: str) -> float:
    """One finite number above 0.

    Raises:
        InputError: anything else.
    """
    found = number(text, what)
    if not 0 < found < math.inf:
        raise InputError(f"{what}: found {text.strip()!r}, expected a positive number")
    return found


def positives(text: str, what: str) -> list[float]:
    """Positive numbers from `32M,128M`.

    Raises:
        InputError: an entry that is none, or no entry at all.
    """
    found = [positive(part, what) for part in text.split(",") if part.strip()]
    if not found:
        raise InputError(f"{what}: empty, expected numbers such as 32M,128M")
    return found


def counts(text: str, what: str) -> np.ndarray:
    """Positive numbers from `32M,128M`, or a range from `10M:10B:log:200` or `10M:10B:lin:200`.

    Raises:
        InputError: neither, or a range that does not rise.
    """
    import numpy as np

    if ":" not in text:
        return np.array(positives(text, what))
    form = f"{what}: found {text!r}, expected LOW:HIGH:log:COUNT or LOW:HIGH:lin:COUNT, for example 10M:10B:log:200"
    parts = [part.strip() for part in text.split(":")]
    if len(parts) != 4 or parts[2] not in ("log", "lin") or not parts[3].isdecimal() or int(parts[3]) < 2:
        raise InputError(form)
    low, high = (positive(part, what) for part in parts[:2])
    if not low < high:
        raise InputError(f"{what}: {parts[0]} is not below {parts[1]}, expected LOW:HIGH")
    return (np.geomspace if parts[2] == "log" else np.linspace)(low, high, int(parts[3]))


def one_of(text: str, choices: Iterable[str], what: str) -> str:
    """The text itself, if it is among the choices.

    Raises:
        InputError: it is not; the nearest choice is suggested.
    """
    known = list(choices)
    if text not in known:
        raise InputError(f"{what}: found {text!r}, expected one of {', '.join(known)}{did_you_mean(text, known)}")
    return text


def take_name(text: str, names: Sequence[str], ends: str) -> tuple[str, str]:
    """A name at the start of a text and what follows it; a known name may hold separators itself.

    Args:
        text: what is left to read.
        names: known names; the longest that fits wins.
        ends: the characters that may follow a name. Without a known one, the name ends at the first of them.

    Example:
        >>> take_name("a=b=.7,c=.3", ["a", "a=b"], "=,")
        ('a=b', '=.7,c=.3')
    """
    text = text.strip()
    for name in sorted(names, key=len, reverse=True):
        rest = text[len(name) :].lstrip()
        if text.startswith(name) and (not rest or rest[0] in ends):
            return name, rest
    end = min((place for place in map(text.find, ends) if place >= 0), default=len(text))
    return text[:end].strip(), text[end:]


def name_list(text: str, what: str, names: Sequence[str] = (), separator: str = ",") -> list[str]:
    """Distinct names from `top10,top20`.

    Raises:
        InputError: no name, or one given twice.
    """
    found, rest = [], text
    while rest.strip():
        name, rest = take_name(rest, names, separator)
        if name in found:
            raise InputError(f"{what}: {name!r} is given twice")
        found += [name] if name else []
        rest = rest[1:]
    if not found:
        raise InputError(f"{what}: empty, expected NAME{separator}NAME{separator}...")
    return found


def assignments(
    text: str, what: str, names: Sequence[str] = (), sign: str = "=", separator: str = ","
) -> dict[str, str]:
    """`{name: text}` from `top10=.7,top20=.3`, or with other signs from `top10:.7+top20:.3`.

    Args:
        text: what the user wrote.
        what: the option, for messages.
        names: known names, which may hold signs and separators themselves.
        sign: between a name and its value.
        separator: between entries.

    Raises:
        InputError: no entry, one without a sign, a name given twice.
    """
    found: dict[str, str] = {}
    rest = text
    while rest.strip():
        entry = rest.partition(separator)[0].strip()
        name, after = take_name(rest, names, sign + separator)
        value, _, rest = after[1:].partition(separator) if after[:1] == sign else ("", "", after[1:])
        if name in found:
            raise InputError(f"{what}: {name!r} is given twice")
        if not entry and not name:
            continue
        if not name or not value.strip():
            raise InputError(f"{what}: found {entry!r}, expected NAME{sign}VALUE, for example top10{sign}0.7")
        found[name] = value.strip()
    if not found:
        raise InputError(f"{what}: empty, expected NAME{sign}VALUE{separator}NAME{sign}VALUE{separator}...")
    return found


def shares(text: str, what: str, names: Sequence[str] = (), sign: str = "=", separator: str = ",") -> dict[str, float]:
    """`{name: number}`; see `assignments`.

    Raises:
        InputError: as there, or a value that is no number.
    """
    found = assignments(text, what, names, sign, separator)
    return {name: number(value, f"{what}: {name}") for name, value in found.items()}


def ranges(text: str, what: str) -> dict[str, tuple[float, float]]:
    """`{name: (low, high)}` from `floor=0:0.3,half_life=1:30`.

    Raises:
        InputError: as in `assignments`, or a value that is not two numbers.
    """
    found = {}
    for name, ends in assignments(text, what).items():
        low, sign, high = ends.partition(":")
        if not sign:
            raise InputError(f"{what}: {name}: found {ends!r}, expected LOW:HIGH")
        found[name] = (number(low, f"{what}: {name}"), number(high, f"{what}: {name}"))
    return found


def sizes(text: str, what: str, names: Sequence[str] = ()) -> dict[str, float]:
    """`{pool: samples}`; `inf` is allowed.

    Raises:
        InputError: as in `shares`, or a size that is not above 0.
    """
    found = shares(text, what, names)
    for name, size in found.items():
        if not size > 0:
            raise InputError(f"{what}: {name}: found {size:.9g}, expected a positive number of samples")
    return found


def by_pool(values: Sequence[str] | None, what: str, names: Sequence[str]) -> dict[str, float] | None:
    """`{pool: number}` from an option that may be repeated; None where it is not given.

    Raises:
        InputError: as in `shares`, or a pool that is not among the names; the nearest is suggested.
    """
    if values is None:
        return None
    found = shares(",".join(values), what, names)
    for name in found:
        known_pool(name, what, names)
    return found


def known_pool(name: str, what: str, names: Sequence[str]) -> None:
    """Raise `InputError` if a name is not among those of the pools; the nearest is suggested."""
    if name not in names:
        known = f"the pools are {', '.join(names)}"
        raise InputError(f"{what}: unknown pool {name!r}: {known}{did_you_mean(name, names)}")


def mix(text: str, what: str, names: Sequence[str]) -> dict[str, float]:
    """`{pool: share}` from `top10=.7,top20=.3`, or from a file that `qqt mix -o` wrote.

    Raises:
        InputError: as in `shares`, or a file that holds no mix.
    """
    if not os.path.exists(text) and not text.strip().endswith(".json"):
        return shares(text, what, names)
    from qqtjax.io.mixes import load_mix

    with naming(what):
        return load_mix(text)


def named(values: Sequence[str] | None, what: str, form: str) -> dict[str, str]:
    """`{name: rest}` from repeated `NAME=rest`.

    Raises:
        InputError: a value without a name, or a name given twice.
    """
    found: dict[str, str] = {}
    for value in values or ():
        name, sign, rest = (part.strip() for part in value.partition("="))
        if not (name and sign and rest):
            raise InputError(f"{what}: found {value!r}, expected NAME={form}")
        if name in found:
            raise InputError(f"{what}: {name!r} is given twice")
        found[name] = rest
    return found


@contextlib.contextmanager
def naming(what: str) -> Iterator[None]:
    """Put an option's name in front of what is wrong with its value."""
    try:
        yield
    except InputError as problem:
        raise InputError(f"{what}: {problem}") from None
