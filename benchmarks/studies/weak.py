"""Is each planted weak case flagged, and are sound studies left alone?

    python -m benchmarks.studies.weak

A study counts as flagged when its fit lists a parameter as not identified, at a bound or hanging on too little, or
warns of the checkpoints that are missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable

import numpy as np

import qqtjax as qqt
from benchmarks import record
from benchmarks.studies import truths as made
from benchmarks.studies.fitted import errors_at_the_truth
from qqtjax.errors import QQTWarning
from qqtjax.laws.fitted import evaluate
from qqtjax.runs import Runs

SEED, STARTS = 20261126, 16
TELLABLE = 4  # standard errors from nothing


def study(rng: np.random.Generator, epochs: tuple[float, ...] = made.EPOCHS, floor: float | None = None) -> Runs:
    """One measured study."""
    truths = made.draw_truths(rng, 1)
    if floor is not None:
        truths = truths._replace(floor=np.array([floor]))
    runs = made.table(epochs)
    return dataclasses.replace(runs, error=made.measure(rng, truths, runs)[0])


def natural_mixtures(rng: np.random.Generator) -> Runs:
    """Unions of two to four of the equal pools, and no pool alone."""
    truths = made.draw_truths(rng, 1)
    unions = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1]], float)
    mixes = unions / unions.sum(axis=1, keepdims=True)
    count, length = len(mixes), len(made.EPOCHS)
    zero = np.zeros(count * length, int)
    run = np.repeat(np.arange(count), length)
    sizes = np.where(mixes > 0, made.SIZE, 0.0)
    runs = dataclasses.replace(
        made.table(),
        source=made.POOLS + run,
        mixes=mixes,
        mix_sizes=np.full_like(sizes, made.SIZE),
        samples_seen=(np.array(made.EPOCHS) * sizes.sum(axis=1)[:, None]).ravel(),
        error=np.full(len(run), 0.5),
        run=run,
        run_names=tuple(f"union {place}" for place in range(count)),
        seed=zero,
        metric=zero,
    )
    single = made.params_of(truths)
    own = type(single)(**{name: None if value is None else value[0] for name, value in vars(single).items()})
    error = evaluate(qqt.laws.utility, own, runs.as_run())
    return dataclasses.replace(runs, error=error + made.NOISE * rng.normal(size=len(error)))


def one_pool(rng: np.random.Generator) -> Runs:
    """The first pool of a study alone."""
    runs = study(rng)
    return runs.select(runs.source == 0)


def flags(runs: Runs, **settings) -> tuple[str, ...]:
    """Everything that a fit says of itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QQTWarning)
        told = qqt.fit(runs, starts=STARTS, **settings).diagnostics
    assert told is not None
    return (*told.unidentified, *told.bounds_hit, *told.warnings)


CASES: dict[str, tuple[Callable[[np.random.Generator], Runs], dict, str]] = {
    "no repetition": (lambda rng: study(rng, (0.1, 0.25, 0.5, 0.75, 1.0)), {}, "half-li"),
    "no checkpoint inside the first epoch (epochs 2 to 10)": (lambda rng: study(rng, (2, 3, 5, 7, 10)), {}, "scale"),
    "the same: floor": (lambda rng: study(rng, (2, 3, 5, 7, 10)), {}, "floor"),
    "floor 0": (lambda rng: study(rng, floor=0.0), {}, "floor"),
    "one pool with its scale free": (one_pool, {}, "scale"),
    "dilution from natural mixtures of equal pools": (natural_mixtures, {"free": ("dilution",)}, "dilution"),
}


def main() -> None:
    """Count the flags of every case and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--sound", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    found = {}
    for place, (name, (make, settings, word)) in enumerate(CASES.items()):
        rng = np.random.default_rng([arguments.seed, place])
        told = [flags(make(rng), **settings) for _ in range(arguments.studies)]
        found[name] = float(np.mean([any(word in line for line in lines) for lines in told]))
        print(name, found[name], flush=True)
    rng = np.random.default_rng([arguments.seed, 99])
    truths = made.draw_truths(rng, arguments.sound)
    runs = made.table()
    measured = made.measure(rng, truths, runs)
    sound = [flags(dataclasses.replace(runs, error=error)) for error in measured]
    wide = errors_at_the_truth(runs, made.params_of(truths))
    told = (truths.floor >= TELLABLE * wide[:, 1]) & np.all(wide[:, 2 + made.POOLS :] <= 1 / TELLABLE, axis=1)
    flagged = np.array([bool(lines) for lines in sound])
    found["of the prior"], found["tellable"] = float(flagged.mean()), float(told.mean())
    found["of the tellable"] = float(flagged[told].mean())
    counted = Counter(line.split(" (")[0].split(" of ")[0] for lines in sound for line in lines)
    rows = "\n".join(f"| {name} | {share:.1%} |" for name, share in found.items() if name in CASES)
    said = "; ".join(f"{name} ({count})" for name, count in counted.most_common())
    page = f"""# Weak studies and their flags

{arguments.studies} studies a case, truths and noise as for the coverage of intervals. Asked: every one flagged.

| planted | flagged |
|---|---|
{rows}

Of {arguments.sound:,} studies of the prior (epochs .25, 1, 2, 5, 10; floors from .02 on), whose intervals hold what
they say (`studies_coverage`), {found["of the prior"]:.1%} are flagged (asked: at most 2 %): {said or "none"}. Some of
them are weak: of the {found["tellable"]:.0%} in which the floor lies {TELLABLE} standard errors from 0 or more and no
log half-life has one above {1 / TELLABLE:g} (by the derivatives at the truth), {found["of the tellable"]:.1%} are
flagged.
"""
    command = f"python -m benchmarks.studies.weak --studies {arguments.studies} --sound {arguments.sound}"
    record.write("studies_weak", f"{command} --seed {arguments.seed}", found, page)


if __name__ == "__main__":
    main()
