"""Plans of training runs as plain text that fits 80 columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from qqtjax.text import show_count

if TYPE_CHECKING:
    from qqtjax.design.design import Design
    from qqtjax.design.next_run import NextRun, Worth

WIDTH = 80
SHOWN = 8


def small(value: float) -> str:
    """A regret or an error in five decimals, without the leading zero.

    Example:
        >>> small(0.00412), small(1.5)
        ('.00412', '1.50000')
    """
    return f"{value:.5f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.5f}"


def shares_of(names: tuple[str, ...], weights: list[float]) -> str:
    """The pools that are drawn from with their shares.

    Example:
        >>> shares_of(("a", "b", "c"), [0.6, 0.4, 0.0]), shares_of(("a", "b"), [0.0, 1.0])
        ('60 % a, 40 % b', 'b alone')
    """
    drawn = [(name, share) for name, share in zip(names, weights, strict=True) if share > 0]
    if len(drawn) == 1:
        return f"{drawn[0][0]} alone"
    return ", ".join(f"{100 * share:.0f} % {name}" for name, share in drawn)


def _wrapped(text: str, hang: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=hang)


def _what(row: Worth) -> str:
    return f"continue {row.run.resumes}" if row.run.resumes is not None else row.run.name


def next_run_text(found: NextRun) -> str:
    """The whole answer as text."""
    choice = shares_of(found.pools, found.choice.weights.tolist())
    best, most, learnt = found.best, found.most, found.most_informative
    marks = ", ".join(show_count(mark, 4) for mark in best.run.checkpoints)
    lines = _wrapped(
        f"At {show_count(found.budget, 4)} samples, decided now: {choice}, predicted error {found.choice_error:.4f}. "
        f"Expected regret {small(found.regret)} +- {small(found.regret_error)} against the best of {found.options} "
        "options."
    )
    where = f"{_what(best)}, trained on" if best.run.resumes is None else f"{_what(best)} ({best.run.name}),"
    lines += ["", *_wrapped(f"Next: {where} {show_count(best.run.cost, 4)} samples, measured at {marks} samples.")]
    lines += [
        "",
        f"{'train on':<28}{'samples':>9}{'ends at':>9}{'regret':>9}{'saved per 1M':>14}{'info, nats':>11}",
    ]
    shown = list(found.rows[:SHOWN])
    shown += [row for row in dict.fromkeys((most, learnt)) if row not in shown]
    for row in shown:
        mark = "*" if row is most else "D" if row is learnt else " "
        lines.append(
            f"{mark} {textwrap.shorten(_what(row), 25, placeholder='..'):<26}{show_count(row.run.cost, 4):>9}"
            f"{show_count(float(row.run.checkpoints[-1]), 4):>9}{small(row.regret):>9}{row.per_sample * 1e6:>14.2e}"
            f"{row.information:>11.2f}"
        )
        if row.price is not None:
            lines[-1] = lines[-1].rstrip()
    lines += _wrapped(
        "regret: expected after the run and the decision made with it. * the most regret saved, whatever it costs; D "
        "the most information on the parameters for each sample (D-optimality), in nats"
    )
    if best.price is not None:
        lines += _wrapped(f"price: {best.price:.6g} for the first, {most.price:.6g} for the one marked *")
    source = "given" if found.noise_given else "from the residuals"
    lines += ["", *_wrapped(f"noise of one measured error: {found.noise:.3g} ({source})")]
    lines += [line for note in found.notes for line in _wrapped(f"note: {note}")]
    return "\n".join(lines)


def design_text(found: Design) -> str:
    """All studies as a table."""
    count = len(found.pools)
    least, most = show_count(float(found.pools.sizes.min()), 4), show_count(float(found.pools.sizes.max()), 4)
    lines = _wrapped(
        f"{count} pools of {least if least == most else f'{least} to {most}'} samples, to decide at "
        f"{show_count(found.budget, 4)} samples; noise of one measured error {found.noise:g}."
    )
    lines += [
        "",
        f"{'every pool at epochs':<26}{'samples':>8}{'b':>7}{'tau':>7}{'d':>7}{'error':>8}{'regret':>8}{'right':>8}",
    ]
    for row in (found.blind, *found.rows):
        name = textwrap.shorten(str(row.study), 25, placeholder="..") if row.study.epochs else "(nothing measured)"
        relative = [f"{min(100 * row.errors[field], 999):.0f} %" for field in ("utility", "half_life")]
        lines.append(
            f"{name:<26}{show_count(row.cost, 4):>8}{relative[0]:>7}{relative[1]:>7}{row.errors['floor']:>7.3f}"
            f"{row.prediction:>8.4f}{small(row.regret):>8}{100 * row.right:>6.0f} %"
        )
    lines += _wrapped(
        "b, tau, d: half-widths of 95 % intervals of utility, half-life (of their logarithms) and floor; error: that "
        "of the best mix at the budget; regret: expected of the mix chosen then; right: how often it is within the "
        "noise of one measurement"
    )
    if found.rows and found.rows[0].price is not None:
        lines += _wrapped("price of the studies in turn: " + ", ".join(f"{row.price:.6g}" for row in found.rows))
    ranges = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in found.prior.items())
    lines += ["", *_wrapped(f"truths drawn around {ranges} (one standard deviation either side)")]
    lines += _wrapped(
        "note: checkpoints count as independent and the law as right; run-to-run noise makes all of it wider"
    )
    return "\n".join(lines)
