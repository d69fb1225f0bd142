"""The best mix as plain text that fits 80 columns: of one budget, or of several in one table."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from qqtjax.mix.result import GLOBAL, ROUNDING, Mix, Mixes
from qqtjax.text import show_count

WIDTH = 80
MOST_POOLS = 24
MOST_COLUMNS, COLUMN = 4, 10  # pools side by side in the table of budgets
HARD_SPACE = "\N{NO-BREAK SPACE}"
EXACT = 1e15  # samples, up to which whole numbers are written out


def mix_text(mix: Mix) -> str:
    """The answer, a row for each pool that is drawn from, and what is known about it.

    Args:
        mix: what `optimize_mix` returned.
    """
    lines = _wrapped(
        f"{show_count(mix.samples_seen)} samples: predicted {mix.metric} {mix.error:.5f} ({mix.law})"
        + (f"; {mix.objective:.5f} with penalties" if abs(mix.objective - mix.error) > 5e-6 else "")
    )
    if len(mix.errors) > 1:
        lines += _wrapped(_metrics(mix), "  ")
    drawn = [pool for pool in range(len(mix.pools)) if mix.weights[pool] > 0]
    shown = _largest(mix.weights, MOST_POOLS)
    width = max(4, *(len(_short(mix.pools.names[pool])) for pool in shown))
    lines += ["", f"{'pool':<{width}}  {'weight':>8} {'samples':>20} {'epochs':>9}"]
    samples = mix.samples
    for pool in shown:
        count = f"{samples[pool]:,}" if samples[pool] < EXACT else show_count(samples[pool])
        name = _short(mix.pools.names[pool])
        lines.append(f"{name:<{width}}  {mix.weights[pool]:>8.5f} {count:>20} {mix.epochs[pool]:>9.4g}")
    if len(drawn) > len(shown):
        rest = np.setdiff1d(drawn, shown)
        lines.append(f"{'others':<{width}}  {mix.weights[rest].sum():>8.5f}  ({len(rest)} pools)")
    lines += _unused([mix])
    lines += ["", *_wrapped(str(mix.certificate))]
    if mix.active:
        lines += _wrapped(f"active: {_names(list(mix.active))}")
    if mix.runner_ups:
        lines += ["", "instead:"]
        for other in mix.runner_ups:
            note = "" if other.feasible else "  (violates the constraints)"
            lines += _wrapped(f"{other.error:.5f} ({other.error - mix.error:+.5f})  {other.name}{note}", "  ")
    lines += [line for text in mix.warnings for line in _wrapped(f"warning: {text}")]
    return "\n".join(lines)


def mixes_text(mixes: Sequence[Mix]) -> str:
    """A row for each budget with the shares in percent and epochs of the pools that are drawn from most.

    Args:
        mixes: what `optimize_mix` returned for the same fit at two or more budgets.
    """
    first = mixes[0]
    weights = np.stack([mix.weights for mix in mixes])
    shown = _largest(weights.max(axis=0), MOST_COLUMNS)
    others = np.setdiff1d(np.flatnonzero(weights.any(axis=0)), shown)
    names = [first.pools.names[pool] for pool in shown]
    numbered = any(len(name) > COLUMN for name in names)
    heads = [f"pool {place + 1}" for place in range(len(names))] if numbered else names
    lines = _wrapped(f"The best mix at {len(mixes)} budgets: predicted {first.metric} ({first.law})")
    if numbered:
        lines += [line for head, name in zip(heads, names, strict=True) for line in _wrapped(f"{head}: {name}", "  ")]
    rest = "  rest" if len(others) else ""
    lines += [
        "",
        " " * 23 + "".join(f"  {head:>{COLUMN}}" for head in heads) + rest,
        f"{'budget':>7}  {'error':>7}  {'gap':>5}" + f"  {'%':>4} {'ep.':>5}" * len(heads) + ("     %" if rest else ""),
    ]
    for mix in mixes:
        cells = [_cell(mix.weights[pool], mix.epochs[pool]) for pool in shown]
        left = f"  {_percent(mix.weights[others].sum()):>4}" if rest else ""
        head = f"{_count(mix.samples_seen, 4):>7}  {mix.error:>7.5f}  {max(mix.certificate.gap, ROUNDING):>5.0e}"
        lines.append(head + "".join(cells) + left)
    lines += ["", *_wrapped("%: share of the samples; ep.: epochs; gap: of the certificate, in error"), *_unused(mixes)]
    lines += _remarks(mixes, lambda mix: [_proof(mix)])
    if len(first.errors) > 1:
        lines += _remarks(mixes, lambda mix: [_metrics(mix)])
    lines += _active(mixes)
    lines += _remarks(mixes, lambda mix: [f"warning: {each}" for each in mix.warnings])
    return "\n".join(lines)


def many_text(mixes: Mixes) -> str:
    """A row for each of the first problems with the shares in percent of the pools that are drawn from most.

    Args:
        mixes: what `optimize_mix` returned for many budgets, sizes or draws.
    """
    shape, count = mixes.error.shape, mixes.error.size
    weights = mixes.weights.reshape(count, -1)
    shown = _largest(weights.max(axis=0), MOST_COLUMNS)
    names = [mixes.pools.names[pool] for pool in shown]
    heads = (
        [f"pool {place + 1}" for place in range(len(names))] if any(len(name) >= COLUMN for name in names) else names
    )
    others = np.setdiff1d(np.arange(weights.shape[1]), shown)
    lines = [f"The best mixes of {count} problems" + (f", {' x '.join(map(str, shape))}" if len(shape) > 1 else "")]
    if heads != names:
        lines += [line for head, name in zip(heads, names, strict=True) for line in _wrapped(f"{head}: {name}", "  ")]
    lines += [
        "",
        f"{'at':>9}  {'budget':>7}  {'error':>7}  {'gap':>5}"
        + "".join(f" {head:>{COLUMN - 1}}" for head in heads)
        + "  rest",
    ]
    for place in range(min(count, MOST_POOLS)):
        index = np.unravel_index(place, shape)
        gap = max(float(mixes.gap[index]), ROUNDING)
        rest = _percent(float(weights[place, others].sum()))
        cells = "".join(f" {_percent(share):>{COLUMN - 1}}" for share in weights[place, shown])
        lines.append(
            f"{','.join(map(str, index)):>9}  {_count(float(mixes.samples_seen[index]), 4):>7}"
            f"  {mixes.error[index]:>7.5f}  {gap:>5.0e}{cells}  {rest:>4}"
        )
    if count > MOST_POOLS:
        lines.append(f"and {count - MOST_POOLS} more")
    lines += ["", *_wrapped("shares in percent; gap: of the certificate, in error; at: place, for mixes.at(place)")]
    return "\n".join([*lines, *_wrapped(mixes.certificate)])


def _largest(weights: np.ndarray, most: int) -> list[int]:
    """The places of the largest positive weights, in the order of the pools."""
    return sorted(int(place) for place in np.argsort(-weights, kind="stable")[:most] if weights[place] > 0)


def _metrics(mix: Mix) -> str:
    return ", ".join(f"{name} {error:.5f}" for name, error in mix.errors.items())


def _proof(mix: Mix) -> str:
    sure = mix.certificate
    if not sure.searched:
        return str(sure)
    if sure.proof == GLOBAL:
        return f"global optimum: no other weights are better by more than the gap ({sure.kind})"
    return f"local optimum: no first-order move gains more than the gap ({sure.kind})"


def _by_budget(mixes: Sequence[Mix], said: Callable[[Mix], Iterable[str]]) -> dict[str, str]:
    """`{text: " at 32M, 64M"}`: the budgets that each text is said of, "" for all of them."""
    found: dict[str, list[str]] = {}
    for mix in mixes:
        for text in said(mix):
            found.setdefault(text, []).append(_count(mix.samples_seen, 4))
    return {text: "" if len(budgets) == len(mixes) else f" at {_names(budgets)}" for text, budgets in found.items()}


def _remarks(mixes: Sequence[Mix], said: Callable[[Mix], Iterable[str]]) -> list[str]:
    """Each text once, with its budgets."""
    found = _by_budget(mixes, said).items()
    return [line for text, where in found for line in _wrapped(f"{text} [{where[1:]}]" if where else text)]


def _active(mixes: Sequence[Mix]) -> list[str]:
    """The constraints that are active at the same budgets together."""
    found: dict[str, list[str]] = {}
    for text, where in _by_budget(mixes, lambda mix: mix.active).items():
        found.setdefault(where, []).append(text)
    return [line for where, texts in found.items() for line in _wrapped(f"active{where}: {_names(texts)}")]


def _cell(share: float, epochs: float) -> str:
    return f"  {_percent(share):>4} {_few(epochs):>5}" if share > 0 else f"  {'.':>4} {'.':>5}"


def _percent(share: float) -> str:
    return "." if share <= 0 else "<0.1" if share < 1e-3 else f"{100 * share:.3g}"


def _few(epochs: float) -> str:
    return "<.01" if 0 < epochs < 0.01 else _count(epochs, 2 if epochs < 1 else 3)


def _count(number: float, digits: int) -> str:
    """A count in at most three columns more than digits."""
    return show_count(number, digits) if number < EXACT else f"{number:.0e}"


def _unused(mixes: Sequence[Mix]) -> list[str]:
    drawn = np.any([mix.weights > 0 for mix in mixes], axis=0)
    left_out = [name for name, used in zip(mixes[0].pools.names, drawn, strict=True) if not used]
    return _wrapped(f"not drawn from: {_names(left_out)}") if left_out else []


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:26]}.."


def _names(names: list[str]) -> str:
    # A name is not broken between lines.
    return ", ".join(name.replace(" ", HARD_SPACE) for name in names[:8]) + (
        f" and {len(names) - 8} more" if len(names) > 8 else ""
    )


def _wrapped(text: str, indent: str = "") -> list[str]:
    lines = textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False)
    return [line.replace(HARD_SPACE, " ") for line in lines]
