"""Does the half-life grow with the pool, as the pair-counting argument says? Two measures, one without any law.

    python -m benchmarks.theorem.analyse

Reads `benchmarks/results/theorem_runs.csv`, which `benchmarks.theorem.train` wrote: nothing has to be trained.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

import qqtjax as qqt
from benchmarks import record
from benchmarks.evidence.metrics import Interval, interval
from benchmarks.evidence.page import grid
from benchmarks.theorem.train import BATCHES, REDRAWS, REFERENCE, SIZES, STRIDE, TABLE, Job
from benchmarks.wordclip.data import TARGET_SIZE, VOCABULARY
from qqtjax.errors import QQTWarning
from qqtjax.laws import FittedLaw, UtilityParams, utility
from qqtjax.runs import Pools, Runs

BEHIND = 0.02
REFERENCE_SIZE = 10_000.0
GAMMAS = np.arange(0, 1.51, 0.25)
SEARCHED = (-0.5, 1.5)
SHAPES = {"shape 1": (), "shape free": ("decay_shape",)}
# Parts of the range of sizes in which a slope is taken too; beyond 40k pools are seen for 6 epochs or less.
PARTS = {"2.5k to 10k": SIZES[:3], "10k to 40k": SIZES[2:5]}


def epochs_until_behind(rows: pd.DataFrame, reference: pd.DataFrame, size: int) -> tuple[float, bool, bool]:
    """Epochs at which the log error of the repeated run is `BEHIND` above fresh data.

    Returns:
        Epochs (the last ones, where that never happens), whether that is censored, and whether the reference had
        itself been through all of its samples by then.
    """
    seen = rows["samples_seen"].to_numpy(float)
    fresh = np.interp(np.log(seen), np.log(reference["samples_seen"]), np.log(reference["error"]))
    above = np.log(rows["error"].to_numpy()) - fresh
    places = np.flatnonzero((above > BEHIND) & (seen > size))
    whole = float(reference["pool_size"].iloc[0])
    if not len(places):
        return float(seen[-1] / size), True, bool(seen[-1] > whole)
    last = int(places[0])
    share = (BEHIND - above[last - 1]) / (above[last] - above[last - 1]) if last and above[last - 1] < BEHIND else 1.0
    at = np.exp(np.log(seen[last - 1]) + share * np.log(seen[last] / seen[last - 1])) if last else seen[0]
    return float(at / size), False, bool(at > whole)


def law_free(own: pd.DataFrame) -> tuple[dict[int, tuple[float, bool, bool]], float]:
    """Epochs until behind, by size, and the slope of their logarithm over log size; one batch and redraw."""
    reference = own.loc[own["reference"]]
    found = {
        size: epochs_until_behind(own.loc[(own["pool_size"] == size) & ~own["reference"]], reference, size)
        for size in SIZES
    }
    seen = {size: epochs for size, (epochs, censored, _) in found.items() if not censored}
    return found, slope(seen) if len(seen) > 2 else np.nan


def one_pool(own: pd.DataFrame) -> Runs:
    """Runs on parts of one large pool: the half-life of each is tied to its size by the dilution."""
    sizes = np.unique(own["pool_size"])
    source = 1 + np.searchsorted(sizes, own["pool_size"])
    return Runs(
        pools=Pools(("clean",), np.array([REFERENCE_SIZE])),
        source=source,
        mixes=np.ones((len(sizes), 1)),
        mix_sizes=sizes[:, None].astype(float),
        samples_seen=own["samples_seen"].to_numpy(float),
        error=own["error"].to_numpy(float),
        run=source - 1,
        run_names=tuple(f"{size}" for size in sizes),
        seed=np.zeros(len(own), int),
        metric=np.zeros(len(own), int),
    )


def own_half_lives(own: pd.DataFrame) -> np.ndarray:
    """Half-life of each size when all share the utility and nothing ties their half-lives."""
    rows = own.assign(pool=own["pool_size"].astype(str))[["pool", "pool_size", "samples_seen", "error"]]
    runs = qqt.read_runs(rows.reset_index(drop=True))
    fitted = qqt.fit(runs, share={"utility": True})
    found = dict(zip(fitted.pools.names, np.asarray(fitted.params.half_life), strict=True))
    return np.array([found[str(size)] for size in SIZES])


def profile(own: pd.DataFrame) -> dict[str, Any]:
    """Best gamma, half-life at 10k pairs, and the sum of squares over gamma; for both decay shapes."""
    runs, found = one_pool(own), {}
    for shape, free in SHAPES.items():
        best = qqt.fit(runs, free=[*free, "dilution"], bounds={"dilution": SEARCHED})
        info = best.diagnostics
        assert info is not None
        squares = []
        for gamma in GAMMAS:
            held = qqt.fit(runs, free=free, fixed={"dilution": gamma}).diagnostics
            assert held is not None
            squares.append(held.rmse)
        found[shape] = {
            "gamma": float(best.params.dilution),
            "half_life": float(np.asarray(best.params.half_life).reshape(-1)[0]),
            "decay_shape": None if best.params.decay_shape is None else float(best.params.decay_shape),
            "rmse": info.rmse,
            "rmse_by_gamma": squares,
        }
    return found


def plant(gamma: float, half_life: float = 4.0) -> pd.DataFrame:
    """Errors without noise of pools that follow the utility law with this gamma, in the layout of the runs."""
    params = UtilityParams(
        scale=500.0,
        floor=0.0,
        utility=np.array([-0.12]),
        half_life=np.array([half_life]),
        reference_size=np.array([REFERENCE_SIZE]),
        dilution=gamma,
    )
    tables = []
    for size in (*SIZES, REFERENCE):
        job = Job(64, size, 0)
        count = size or VOCABULARY - TARGET_SIZE
        seen = np.array(job.evaluated_at, float) * STRIDE
        law = FittedLaw(utility, params, Pools.of({"clean": count}))
        columns = {"batch": 64, "redraw": 0, "pool_size": count, "reference": size == REFERENCE}
        tables.append(pd.DataFrame({"samples_seen": seen, "error": law.predict({"clean": 1}, seen)}).assign(**columns))
    return pd.concat(tables, ignore_index=True)


def slope(value_by_size: dict[int, float]) -> float:
    """Least-squares slope of log value over log size."""
    sizes, values = np.array(list(value_by_size)), np.array(list(value_by_size.values()))
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def part_rows(results: dict[int, dict[str, Any]]) -> list[list[str]]:
    """Slopes of both measures that are free for every size, by batch and part of the range."""
    rows = []
    for batch, found in results.items():
        by_measure = {
            "epochs until behind": [{size: at[0] for size, at in behind.items()} for behind in found["behind"]],
            "own half-life": [dict(zip(SIZES, each, strict=True)) for each in found["half_lives"]],
        }
        for measure, redraws in by_measure.items():
            slopes = [interval([slope({s: each[s] for s in part}) for each in redraws]) for part in PARTS.values()]
            rows.append([str(batch), measure, *(each.show(2) for each in slopes)])
    return rows


def verdict(gamma: Interval) -> str:
    """The protocol's rule."""
    if not gamma.low <= 1 <= gamma.high:
        return "contradicted"
    return "undecided" if gamma.low <= 0 else "supported"


def analyse(table: pd.DataFrame, redraws: list[int]) -> dict[int, dict[str, Any]]:
    """All figures by batch size; one entry a redraw in each list."""
    results = {}
    for batch in sorted(set(table["batch"])):
        found: dict[str, Any] = {"behind": [], "slope": [], "profile": [], "half_lives": []}
        for redraw in redraws:
            own = table.loc[(table["batch"] == batch) & (table["redraw"] == redraw)].reset_index(drop=True)
            behind, slope = law_free(own)
            found["behind"].append(behind)
            found["slope"].append(slope)
            found["profile"].append(profile(own))
            found["half_lives"].append(own_half_lives(own).tolist())
        results[int(batch)] = found
    return results


def behind_rows(results: dict[int, dict[str, Any]]) -> list[list[str]]:
    """Mean epochs until behind, by batch and size; > where a redraw is censored, * where the reference repeats."""
    rows = []
    for batch, found in results.items():
        row = [str(batch)]
        for size in SIZES:
            cells = [behind[size] for behind in found["behind"]]
            mark = (">" if any(c[1] for c in cells) else "", "*" if any(c[2] for c in cells) else "")
            epochs = interval([c[0] for c in cells])
            row.append(f"{mark[0]}{epochs.mean:.2f}{mark[1]}" if any(mark) else epochs.show(2))
        rows.append([*row, interval(found["slope"]).show(2) if len(found["slope"]) > 1 else f"{found['slope'][0]:.2f}"])
    return rows


def gammas(found: dict[str, Any], shape: str) -> list[float]:
    """Best gamma of each redraw."""
    return [each[shape]["gamma"] for each in found["profile"]]


def page(results: dict[int, dict[str, Any]], unscaled: dict[int, dict[str, Any]]) -> str:
    """Tables and verdicts."""
    sizes = [f"{size / 1000:g}k" for size in SIZES]
    measures: list[list[str]] = []
    for batch, found in results.items():
        for name, values in (
            ("law-free", found["slope"]),
            *((f"profile, {shape}", gammas(found, shape)) for shape in SHAPES),
        ):
            gamma = interval(values)
            each = ", ".join(f"{value:.2f}" for value in values)
            measures.append([str(batch), name, each, gamma.show(2), verdict(gamma)])
    profiles = [
        [
            str(batch),
            shape,
            *(interval(v).show() for v in np.array([p[shape]["rmse_by_gamma"] for p in found["profile"]]).T),
        ]
        for batch, found in results.items()
        for shape in SHAPES
    ]
    at_reference = [
        [str(batch), shape, interval([p[shape]["half_life"] for p in found["profile"]]).show(2)]
        for batch, found in results.items()
        for shape in SHAPES
    ]
    half_lives = [
        [str(batch), *(interval(np.array(found["half_lives"])[:, place]).show(1) for place in range(len(SIZES)))]
        for batch, found in results.items()
    ]
    by_batch = [
        f"{size / 1000:g}k: "
        + interval(
            [
                float(
                    np.polyfit(np.log(list(results)), [np.log(f["behind"][r][size][0]) for f in results.values()], 1)[0]
                )
                for r in range(len(next(iter(results.values()))["behind"]))
            ]
        ).show(2)
        for size in SIZES
        if not any(each[size][1] for f in results.values() for each in f["behind"])
    ]
    planted = {gamma: law_free(plant(gamma)) for gamma in (0, 0.25, 0.5, 1)}
    calibration = [f"gamma {gamma:g}: {found[1]:.2f}" for gamma, found in planted.items()]
    parts = part_rows(results)
    for gamma, (behind, _) in planted.items():
        slopes = [slope({size: behind[size][0] for size in part}) for part in PARTS.values()]
        parts.append(["planted", f"epochs until behind, gamma {gamma:g}", *(f"{each:.2f}" for each in slopes)])
    other = [
        [str(batch), f"{found['slope'][0]:.2f}", *(f"{gammas(found, shape)[0]:.2f}" for shape in SHAPES)]
        for batch, found in unscaled.items()
    ]
    against = sum(row[-1] == "contradicted" for row in measures)
    return f"""# Does the half-life grow with the pool?

Theorem 1 of the paper says tau_hat = (N_hat / N) tau: a contrastive loss compares a sample with its batch, so an epoch
of a larger pool uses up a smaller share of its pairs. That is gamma (dilution) = 1, and a half-life inversely
proportional to the batch. Protocol: [PROTOCOL.md](../PROTOCOL.md); runs: [theorem_runs.csv](theorem_runs.csv), so that
the command at the end needs no training. Clean pairs, {len(SIZES)} sizes, {len(results)}
batch sizes, {len(REDRAWS)} redraws with one seed each, at most 16 epochs and 480k samples; ± is half of the 95 %
interval over redraws (Student's t with 2 degrees of freedom: wide). A batch of 64 is the one of the other pages.

## Gamma

{grid(["batch", "measure", "each redraw", "gamma", "the theorem is"], measures)}

## Law-free: epochs until 2 % behind fresh data

Log error {BEHIND} above the reference of all words at the same samples seen. > at least one redraw never got there (its
last epoch counts, and the size is not in the slope of that redraw); * the reference was itself in its second epoch.

{grid(["batch", *sizes, "slope"], behind_rows(results))}

The measure is coarse: no pool falls behind within its first epoch, whatever its half-life. Errors planted without
noise by the utility law (half-life of 4 epochs at 10k) give these slopes, which is what to compare with (found after
the protocol was written, whose rule takes the slope as it is): {"; ".join(calibration)}.

Slope of log epochs over log batch, by pool size (the argument says -1):
{"; ".join(by_batch) or "no size is uncensored"}.

## Parts of the range (looked at after the protocol)

One exponent for all sizes hides a bend: the half-life does not grow up to 10k pairs and grows above. Slopes of log
epochs over log size, ± over redraws, three sizes each; the last rows are planted without noise, as above.

{grid(["batch", "measure", *PARTS], parts)}

## Profile of gamma: residual (rmse) with gamma held, mean over redraws

{grid(["batch", "decay", *(f"{g:g}" for g in GAMMAS)], profiles)}

Half-life of a pool of 10k, gamma free (epochs):

{grid(["batch", "decay", "half-life"], at_reference)}

Half-life of every size on its own, utility shared (geometric decay; sizes seen for few epochs, at the right, are hardly
determined):

{grid(["batch", *sizes], half_lives)}

## Sensitivity: learning rate, weight decay and b2 of batch 64 (redraw 0)

{grid(["batch", "law-free", *SHAPES], other)}

## What follows

The theorem is contradicted in {against} of {len(measures)} measures. Best gamma by the profile, mean over batches:
{np.mean([gammas(found, "shape 1") for found in results.values()]):.2f} with the geometric decay,
{np.mean([gammas(found, "shape free") for found in results.values()]):.2f} with a free shape. Recommended dilution:

- **A pool of another size than the one measured** (a larger crawl, a pilot on a part, `--sizes`): 0.2, the profile's
  figure for the whole range, and a cautious one: by the table of parts it is about 0 below 10k pairs and up to about
  .5 from 10k to 40k, where every interval still excludes 1 (planted, .64 of epochs until behind). Above 40k nothing
  is determined. Dilution 1 would promise too much.
- **Mixing measured pools, contrastive loss**: 1, the default, as a description. It predicts the mixtures of all three
  families better than 0 in the headline window ([evidence](evidence.md)). The theorem cannot be the reason: a union of
  equal pools is a larger pool, and those follow the table above. That pools of different kinds help each other, or that
  the law's shape is wrong elsewhere, may be. Its choices are no better than those by 0 in family V. Where a decision
  changes between 0 and 1, do not rest it on either.
- **Token losses**: 0. The argument does not apply, and nothing here was measured on them.

One testbed, linear towers, one model size, constant rate, small pools (up to 160k pairs).
"""


def rounded(value: Any) -> Any:
    """The same figures to six significant digits: beyond them a fit depends on the order of its sums."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main() -> None:
    """Analyse the stored checkpoints and write the page."""
    table = pd.read_csv(TABLE)
    assert {*table["batch"]} == {*BATCHES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QQTWarning)
        results = analyse(table.loc[table["scaled"]], list(REDRAWS))
        unscaled = analyse(table.loc[~table["scaled"]], [0])
    text = page(results, unscaled)
    figures = rounded({"scaled": results, "unscaled": unscaled})
    record.write("theorem", "python -m benchmarks.theorem.analyse", figures, text)


if __name__ == "__main__":
    main()
