"""A fitted law as plain text that fits 80 columns."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import Any

import numpy as np

from qqtjax.text import show_count


def _number(value: Any, digits: int = 4) -> str:
    value = float(value)
    if np.isnan(value):
        return ""
    return show_count(value, digits) if abs(value) >= 10**digits else f"{value:.{digits}g}"


def fitted_table(fitted: Any) -> str:
    """Parameters with standard errors, then what the fit says about itself.

    Args:
        fitted: a `FittedLaw`.
    """
    law, params, pools = fitted.law, fitted.params, fitted.pools
    info = fitted.diagnostics
    errors = info.standard_errors if info else None
    fields = [field.name for field in dataclasses.fields(params) if getattr(params, field.name) is not None]
    by_pool = [name for name in fields if np.ndim(getattr(params, name)) == 1 and name != "reference_size"]
    shared = [name for name in fields if np.ndim(getattr(params, name)) == 0]

    head = ["pool", "size"]
    for name in by_pool:
        head += [f"{name} ({law.symbols.get(name, name)})"] + (["se"] if errors else [])
    rows = [head]
    for index, pool in enumerate(pools.names):
        row = [pool, show_count(float(pools.sizes[index]))]
        for name in by_pool:
            row.append(_number(getattr(params, name)[index]))
            if errors:
                row.append(_number(np.asarray(getattr(errors, name))[index], 2))
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [f"law {law.name}" + (f", {fitted.source}" if fitted.source else "")]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    for name in shared:
        line = f"{name} ({law.symbols.get(name, name)}) = {_number(getattr(params, name), 5)}"
        error = _number(getattr(errors, name), 2) if errors else ""
        if error:
            line += f" +- {error}"
        elif info:
            line += "  (fixed)" if name not in info.settings.get("free", ()) else "  (no standard error)"
        lines.append(line)
    if info is None:
        return "\n".join(lines)
    lines.append(
        f"{fitted.seen.checkpoints} checkpoints of {fitted.seen.runs} runs; rmse {info.rmse:.3g}, mean absolute "
        f"error {info.mae:.3g}"
    )
    if info.pooled is None:
        lines.append(f"status: {info.reason}; {info.agreeing} of {info.starts} starts agree")
    else:
        lines += [*pooled_lines(info.pooled), f"status: {info.reason}"]
    notes = [f"bound hit: {line}" for line in info.bounds_hit]
    notes += [f"not identified: {line}" for line in info.unidentified]
    notes += [f"warning: {line}" for line in info.warnings]
    return "\n".join([*lines, *(textwrap.fill(note, 80, subsequent_indent="  ") for note in notes)])


def pooled_lines(pooled: Any) -> list[str]:
    """What a pooled fit found of pools at large, and how far each pool was drawn to the others."""
    lines = []
    for name, spread in pooled.spread.items():
        line = f"{name} over pools: typical {_number(pooled.centre[name])}, spread {_number(spread, 2)}"
        if name in pooled.slope:
            line += f", covariate {_number(pooled.slope[name], 3)} +- {_number(pooled.slope_error[name], 2)}"
        shares = " ".join(f"{share:.0%}" for share in pooled.shrinkage[name])
        lines.append(textwrap.fill(f"{line}; not from a pool's own data: {shares}", 80, subsequent_indent="  "))
    return [*lines, f"noise of a checkpoint: {_number(pooled.noise, 2)}"]
