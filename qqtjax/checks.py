"""What a table of runs cannot tell: one line for each thing that makes its fit worth less than it looks."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from qqtjax.runs import Runs

# What a law calls the wear of repeated samples: one pool's, and all pools' with the symbol.
WEAR = {"half_life": ("half-life", "half-lives (tau)"), "saturation": ("saturation", "saturations (R*)")}


def check_runs(runs: Runs, fields: Collection[str] = ("utility", "half_life")) -> list[str]:
    """Warnings about what the checkpoints leave open; nothing is refused.

    Args:
        runs: measured checkpoints.
        fields: the parameters of the law to be fitted. A `half_life` or a `saturation` is learnt from repeats only;
            a law without `utility` tells its pools apart by `scale`.

    Returns:
        One line for each: a pool with one checkpoint or none, no repeated epoch anywhere, no checkpoint
        inside the first epoch, checkpoints that did not end their own learning-rate schedule.

    Example:
        >>> from qqtjax.runs import Pools
        >>> import numpy as np
        >>> zeros, none = np.zeros(2, int), np.zeros((0, 1))
        >>> runs = Runs(pools=Pools.of({"top10": 1e6}), source=zeros, mixes=none, mix_sizes=none,
        ...             samples_seen=np.array([2e5, 5e5]), error=np.array([0.9, 0.8]),
        ...             run=zeros, run_names=("a",), seed=zeros, metric=zeros)
        >>> check_runs(runs)
        ['no checkpoint repeats any pool: the half-lives (tau) are not identified']
    """
    few, most, counts = epochs_of_pools(runs)
    quality = "utility" if "utility" in fields else "scale"
    wear, wears = next((words for name, words in WEAR.items() if name in fields), ("", ""))
    names = np.array(runs.pools.names)
    found = []
    if (counts == 0).any():
        found.append(f"no checkpoint uses {listed(names[counts == 0])}")
    if (counts == 1).any():
        left_open = f"{quality} and {wear} are not both identified" if wear else f"{quality} rests on that alone"
        found.append(f"one checkpoint only of {listed(names[counts == 1])}: {left_open}")
    if wear and len(runs) and not (most > 1).any():
        found.append(f"no checkpoint repeats any pool: the {wears} are not identified")
    late = (counts > 0) & (few >= 1)
    if wear and late.any():
        tangled = ["utility", wear, "scale"] if quality == "utility" else ["scale", wear, "exponent"]
        which = "any pool" if late[counts > 0].all() else listed(names[late])
        found.append(
            f"no checkpoint inside the first epoch of {which}: {', '.join(tangled)} and floor trade off "
            "against each other, and predictions for fresh data may be far off although the fit looks good"
        )
    if runs.annealed is not None and not runs.annealed.all():
        found.append(
            f"{np.count_nonzero(~runs.annealed)} of {len(runs)} checkpoints did not end their own "
            "learning-rate schedule (annealed is false): they are fitted as if they were finished runs"
        )
    return found


def epochs_of_pools(runs: Runs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`[P]` fewest and most epochs of a checkpoint in each pool, and `[P]` how many checkpoints (2: or more).

    Works on the distinct sources, so that a long table of single pools is never made dense.
    """
    pools = len(runs.pools)
    sources = pools + len(runs.mixes)
    low, high = np.full(sources, np.inf), np.full(sources, -np.inf)
    np.minimum.at(low, runs.source, runs.samples_seen)
    np.maximum.at(high, runs.source, runs.samples_seen)
    few, most = np.full(pools, np.inf), np.full(pools, -np.inf)
    counts = np.zeros(pools, int)
    used = np.isfinite(low)
    for pool in range(pools):
        share = np.concatenate([np.arange(pools) == pool, runs.mixes[:, pool]])
        size = np.concatenate([np.full(pools, runs.pools.sizes[pool]), runs.mix_sizes[:, pool]])
        has = used & (share > 0)
        if has.any():
            few[pool] = np.min(low[has] * share[has] / size[has])
            most[pool] = np.max(high[has] * share[has] / size[has])
            distinct = np.unique(np.concatenate([low[has], high[has]]))
            counts[pool] = 1 if len(distinct) == 1 and has.sum() == 1 else 2
    return few, most, counts


def listed(names: np.ndarray) -> str:
    """Pool names for a message, at most five."""
    some = ", ".join(repr(str(name)) for name in names[:5])
    return f"pool{'s' * (len(names) > 1)} {some}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"
