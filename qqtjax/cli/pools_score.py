"""`qqt pools score`: score samples by the rules that others use, from features alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import pools_arrays as arrays
from qqtjax.cli import pools_options as p
from qqtjax.cli import words
from qqtjax.errors import InputError

if TYPE_CHECKING:
    import jax

EXAMPLES = """Examples:
  qqt pools score features.npy --labels labels.npy --rule k-center --keep .3
      -o pools.parquet
  qqt pools select pools.parquet --keep .3 --order easiest -o kept.parquet
  qqt pools score features.npy --labels labels.npy --rule el2n -o pools.parquet
  qqt pools select pools.parquet --keep .3 --order hardest -o kept.parquet"""
RULE, RUNS = "Rule", "Training runs of el2n, grand and forgetting"
PICKED, TRAINED = ("herding", "k-center"), ("el2n", "grand", "forgetting")
RULES = (*PICKED, "moderate", *TRAINED)
EPOCHS = {"el2n": 20, "grand": 20, "forgetting": 50}
MODELS = 10


def score(
    features: Annotated[
        str | None,
        typer.Argument(metavar="FEATURES", help="Features of the samples as .npy, a row each.", show_default=False),
    ] = None,
    rule: Annotated[str | None, o.option(group=RULE, metavar="NAME", help=f"{', '.join(RULES)}.")] = None,
    labels: Annotated[
        str | None,
        o.option(group=RULE, metavar="FILE", help="Classes: .npy, or text with one a line; else all are one class."),
    ] = None,
    keep: Annotated[
        str | None,
        o.option(
            group=RULE,
            metavar="SHARE",
            help="Of herding and k-center: stop when this share of each class is picked; all by default.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, o.option(group=RUNS, metavar="N", min=1, help="Of each run: 20, of forgetting 50.")
    ] = None,
    models: Annotated[int | None, o.option(group=RUNS, metavar="N", min=1, help="Runs to average over: 10.")] = None,
    output: p.Scored = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> out.Answer:
    """Score samples by a rule to compare with: which to keep by it is then for qqt pools select.

    herding, k-center and moderate give the lowest scores to what they would keep (--order easiest). el2n, grand and
    forgetting train a linear classifier on the features and give high scores to what is hard (--order hardest).

    In Python: qqtjax.pools.herding, k_center, moderate, el2n and forgetting, the last two with any network.
    """
    if features is None:
        raise InputError("FEATURES: missing, expected a .npy file with a row of numbers for each sample")
    if rule is None:
        raise InputError(f"--rule: missing, expected one of {', '.join(RULES)}")
    words.one_of(rule, RULES, "--rule")
    if keep is not None and rule not in PICKED:
        raise InputError(f"--keep: applies to {' and '.join(PICKED)}; qqt pools select keeps a share by any score")
    for name, given in (("--epochs", epochs), ("--models", models)):
        if given is not None and rule not in TRAINED:
            raise InputError(f"{name}: applies to {', '.join(TRAINED)}")
    if labels is None and rule in TRAINED:
        raise InputError(f"--labels: missing, {rule} trains a classifier")
    p.check_kept(output)
    from qqtjax.pools.rounding import checked_share

    with words.naming("--keep"):
        share = 1.0 if keep is None else checked_share(words.number(keep, "--keep"), "share")
    rows = arrays.array(features, "FEATURES")
    classes = np.full(len(rows), "all") if labels is None else arrays.labels(labels, len(rows), features)
    from qqtjax.pools.partition import SCHEMA, Partition

    split = Partition.by_label(classes)
    with out.progress(2) as say, words.naming(features):
        say(f"scoring by {rule}")
        if rule in PICKED:
            found = _picked(rule, rows, split, share)
        elif rule == "moderate":
            from qqtjax.pools.moderate import moderate

            found = moderate(rows, split.index)
        else:
            found = _trained(rule, rows, split, epochs or EPOCHS[rule], models or MODELS, seed)
    scored = Partition.of(split.index, split.pools.names, found)
    return p.answer(SCHEMA, scored, {"rule": rule} | scored.to_dict(), output, json)


def _picked(rule: str, rows: np.ndarray, split: Any, share: float) -> np.ndarray:
    from qqtjax.pools.herding import herding
    from qqtjax.pools.k_center import k_center
    from qqtjax.pools.uniform import uniform_counts

    counts = uniform_counts(split.counts, round(share * len(rows)), 0)
    return (herding if rule == "herding" else k_center)(rows, counts, split.index)


def _trained(rule: str, rows: np.ndarray, split: Any, epochs: int, models: int, seed: int) -> np.ndarray:
    """Scores of short training runs of a linear classifier on standardised features."""
    from qqtjax.pools.el2n import el2n, grand
    from qqtjax.pools.forgetting import forgetting
    from qqtjax.pools.picking import checked_features

    whole = checked_features(rows)
    whole = ((whole - whole.mean(axis=0)) / (whole.std(axis=0) + 1e-6)).astype(np.float32)
    classes = len(split.pools)
    if classes < 2:
        raise InputError("one class: expected at least two")

    def init(key: Any) -> Any:
        import jax

        return {"kernel": 0.01 * jax.random.normal(key, (whole.shape[1], classes)), "bias": np.zeros(classes)}

    return {"el2n": el2n, "grand": grand, "forgetting": forgetting}[rule](
        _linear, init, whole, split.index, epochs=epochs, models=models, seed=seed
    )


def _linear(params: Any, rows: jax.Array) -> jax.Array:
    return rows @ params["kernel"] + params["bias"]
