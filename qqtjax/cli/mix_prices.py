"""What more data, more compute or a better pool would change in the best mix: the table behind `--prices`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

HORIZON = 100.0  # times the largest budget (or the scale): pools that enter later are not worth waiting for
ONE_PERCENT, TEN_PERCENT = np.log(1.01), np.log(1.1)
MOST_POOLS, NAME = 24, 22
NEVER, LEFT = "never", "left"


def prices_of(fitted: Any, budgets: Sequence[float], constraints: Any) -> list[dict[str, Any]]:
    """Plain data for each budget, from derivatives of the best error to the right: of one more.

    Args:
        fitted: `laws.utility` on the pools that are planned for.
        budgets: B numbers of samples seen.
        constraints: bounds on single pools.

    Raises:
        InputError: another law, constraints on more than single pools, or some that no weights satisfy.
    """
    from qqtjax.mix.entry import entry_budgets
    from qqtjax.mix.prices import break_even, shadow_prices
    from qqtjax.plain import to_plain

    found = [
        (shadow_prices(fitted, budget, constraints), break_even(fitted, budget, constraints=constraints))
        for budget in budgets
    ]
    horizon = HORIZON * max(*budgets, float(np.max(fitted.params.scale)))
    entry = entry_budgets(fitted, horizon, constraints)
    return [
        to_plain(
            {
                "one_percent_more_samples_seen": prices.log_budget.right * ONE_PERCENT,
                "horizon": horizon,
                "pools": {
                    name: {
                        "one_percent_more_unique_samples": prices.log_size.right[place] * ONE_PERCENT + 0.0,
                        "ten_percent_longer_half_life": prices.log_half_life[place] * TEN_PERCENT + 0.0,
                        "unique_sample_in_samples_seen": worth[place],
                        "enters_at": entry[place],
                    }
                    for place, name in enumerate(fitted.pools.names)
                },
            }
        )
        for prices, worth in found
    ]


def prices_text(prices: dict[str, Any], mix: dict[str, Any]) -> str:
    """The table, at most 80 columns wide.

    Args:
        prices: of one budget, from `prices_of`.
        mix: the best mix there, as plain data.
    """
    from qqtjax.text import show_count

    weights, budget = mix["weights"], mix["samples_seen"]
    more = float(prices["one_percent_more_samples_seen"])
    said = f"{more:+.1e}" if np.isfinite(more) else "not within the limits on epochs"
    first = sorted(weights, key=lambda name: (-weights[name], float(prices["pools"][name]["enters_at"])))[:MOST_POOLS]
    shown = [name for name in weights if name in first]
    marks: set[str] = set()
    width = max(4, *(min(len(name), NAME) for name in shown))
    lines = [
        "what would change the error, to first order",
        f"  1 % more samples seen: {said}",
        "  more unique samples of a pool: below, its half-life stays as measured",
        "",
        f"{'':<{width}}  {'1 % more':>10}  {'half-life':>10}  {'one more unique is':>18}  {'enters':>8}",
        f"{'pool':<{width}}  {'unique':>10}  {'10 % longer':>10}  {'worth samples seen':>18}  {'at':>8}",
    ]
    for name in shown:
        each = {key: float(value) for key, value in prices["pools"][name].items()}
        enters = show_count(each["enters_at"], 4) if np.isfinite(each["enters_at"]) else NEVER
        enters = LEFT if weights[name] == 0 and each["enters_at"] < budget else enters
        marks.add(enters)
        lines.append(
            f"{name if len(name) <= NAME else name[: NAME - 2] + '..':<{width}}"
            f"  {_change(each['one_percent_more_unique_samples'])}  {_change(each['ten_percent_longer_half_life'])}"
            f"  {show_count(each['unique_sample_in_samples_seen'], 3):>18}  {enters:>8}"
        )
    if len(shown) < len(weights):
        lines.append(f"and {len(weights) - len(shown)} more pools")
    if NEVER in marks:
        lines.append(f"{NEVER}: not up to {show_count(prices['horizon'], 4)} samples, as far as was searched")
    if LEFT in marks:
        lines.append(f"{LEFT}: has a share at smaller budgets, none at this one")
    return "\n".join(lines)


def _change(number: float) -> str:
    return f"{number:>+10.1e}" if number else f"{'.':>10}"
