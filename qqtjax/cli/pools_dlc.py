"""`qqt pools dlc`: score samples by the learning complexity that a frozen network gives them."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import typer

from qqtjax.cli import interrupt, points, words
from qqtjax.cli import options as o
from qqtjax.cli import output as out
from qqtjax.cli import pools_arrays as arrays
from qqtjax.cli import pools_options as p
from qqtjax.errors import InputError

EXAMPLES = """Examples:
  qqt pools dlc images.npy --labels labels.npy --model nets:resnet
      -o pools.parquet
  qqt pools flexrand pools.parquet --column score --label pool --keep .3
      --split .75 -o kept.parquet
  qqt pools dlc images.npy --labels labels.npy --model nets:resnet
      --method features --capacities linear:10 --json
  qqt pools dlc tokens.npy --response response.npy --model nets:llm
      --work work/ -o pools.parquet
and nets.py, in this folder or installed, holds
  def resnet():               # no arguments; a flax NNX module works too:
      return apply, params    # apply(params, batch) -> features, or logits"""
MODEL, SCORE = "The frozen network", "How it scores"
SCHEMA, SCHEMA_VERSION = "qqtjax.dlc", 1
LOSSES = ("inverse", "squared")
CAPACITIES = "geometric:INTERVAL:STEPS, linear:STEPS, or shares such as 1,.5,.2"
SHOWN = 30


def dlc(
    inputs: Annotated[
        str | None,
        typer.Argument(
            metavar="INPUTS", help="Samples as .npy, a row each; it may be larger than memory.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        o.option(
            group=MODEL,
            metavar="MODULE:NAME",
            help="A function of yours without arguments that returns (apply, params) or a flax NNX module.",
        ),
    ] = None,
    method: Annotated[
        str | None,
        o.option(
            group=MODEL, metavar="NAME", help="Method of the NNX module that gives features; by default its call."
        ),
    ] = None,
    labels: Annotated[
        str | None,
        o.option(group=SCORE, metavar="FILE", help="Classes: .npy, or text with one a line."),
    ] = None,
    response: Annotated[
        str | None,
        o.option(
            group=SCORE,
            metavar="FILE",
            help="Instead of labels, for language models: .npy like INPUTS, true where a token is of the response.",
        ),
    ] = None,
    capacities: Annotated[
        str | None,
        o.option(
            group=SCORE,
            metavar="HOW",
            help=f"{CAPACITIES}; by default geometric:.02:50, and geometric:.2:3 for language models.",
        ),
    ] = None,
    per_layer: Annotated[
        bool | None,
        o.option(
            "--per-layer/--all-layers",
            group=SCORE,
            help="Rank the weights of each layer for itself (the default of language models), or all together.",
        ),
    ] = None,
    distance: Annotated[
        str, o.option(group=SCORE, metavar="NAME", help="Logits from distances: inverse (the default) or squared.")
    ] = "inverse",
    rows: Annotated[
        int | None, o.option(group=p.WORK, metavar="N", min=1, help="Samples of one batch: 256, or 16 of text.")
    ] = None,
    work: p.Work = None,
    output: p.Scored = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> out.Answer:
    """Score every sample by its mean loss over masked copies of a frozen network: low is easy, high is hard.

    Nothing is trained. In Python: qqtjax.pools.dlc_classes.dlc_scores and qqtjax.pools.dlc_text.dlc_response_scores.
    """
    if inputs is None:
        raise InputError("INPUTS: missing, expected a .npy file with a row for each sample")
    if model is None:
        raise InputError("--model: missing, expected MODULE:NAME, for example nets:resnet")
    if (labels is None) == (response is None):
        raise InputError("--labels and --response: expected one of them")
    wanted = words.one_of(distance, LOSSES, "--distance")
    how: dict[str, Any] = {} if rows is None else {"rows": rows}
    if capacities is not None:
        how["capacities"] = _capacities(capacities)
    if per_layer is not None:
        how["per_layer"] = per_layer
    if work is not None and not work.strip():
        raise InputError("--work: empty, expected a folder")
    p.check_kept(output)
    samples = arrays.array(inputs, "INPUTS")
    classes = np.full(len(samples), "all") if labels is None else arrays.labels(labels, len(samples), inputs)
    answers = None if response is None else arrays.array(response, "--response")
    network, params = _model(model, method)
    how |= {"folder": work, "about": f"{model} {method or ''}"}
    with points.counted("samples") as told, _in_file(inputs):
        how["progress"] = told
        if answers is None:
            from qqtjax.pools import dlc_classes

            loss = dlc_classes.inverse_distance if wanted == "inverse" else dlc_classes.squared_distance
            found = dlc_classes.dlc_scores(_Checked(network, model), params, samples, classes, loss=loss, **how)
        else:
            from qqtjax.pools import dlc_text

            found = dlc_text.dlc_response_scores(_Checked(network, model), params, samples, answers, **how)
    return _answer(found, classes, output, json)


def _answer(found: Any, classes: np.ndarray, output: str | None, json: bool) -> out.Answer:
    from qqtjax.pools.partition import Partition

    split = Partition.by_label(classes, found.scores)
    if output is not None:
        with interrupt.writing:
            split.save(output)
        print(f"qqt: wrote {output}", file=sys.stderr)
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "samples": len(split),
        "masks": len(found.capacities),
        "capacities": found.capacities.tolist(),
        "pools": [_pool(name, np.sort(found.scores[split.members(name)])) for name in split.pools.names],
    }
    return out.Answer(out.as_json(document) if json else _table(document), json)


def _pool(name: str, scores: np.ndarray) -> dict[str, Any]:
    easy, middle, hard = np.quantile(scores, (0.1, 0.5, 0.9)).tolist()
    return {
        "pool": name,
        "pool_size": len(scores),
        "mean": float(scores.mean()),
        "easiest_tenth": easy,
        "median": middle,
        "hardest_tenth": hard,
    }


def _table(document: dict[str, Any]) -> str:
    import pandas as pd

    least, most = min(document["capacities"]), max(document["capacities"])
    table = pd.DataFrame(document["pools"])
    text = table.head(SHOWN).to_string(index=False, float_format="{:.4f}".format)
    more = f"\n.. and {len(table) - SHOWN} more pools" if len(table) > SHOWN else ""
    return (
        f"{text}{more}\n{document['samples']:,} samples under {document['masks']} masks, from {most:.3g} to "
        f"{least:.3g} of the weights"
    )


def _capacities(text: str) -> Any:
    """What `--capacities` asks for.

    Raises:
        InputError: none of the forms.
    """
    from qqtjax.pools.masks import Geometric, Linear

    how, *rest = (part.strip() for part in text.split(":"))
    wrong = f"--capacities: found {text!r}, expected {CAPACITIES}"
    if how == "geometric" and len(rest) == 2 and rest[1].isdecimal():
        return Geometric(words.number(rest[0], "--capacities"), int(rest[1]))
    if how == "linear" and len(rest) == 1 and rest[0].isdecimal():
        return Linear(int(rest[0]))
    if rest or not how:
        raise InputError(wrong)
    return [words.number(part, "--capacities") for part in text.split(",") if part.strip()]


class _Checked:
    """A network whose own mistakes are reported as those of `--model`."""

    def __init__(self, network: Any, text: str) -> None:
        self.network, self.text = network, text

    def __call__(self, params: Any, batch: Any) -> Any:
        try:
            found = self.network(params, batch)
        except Exception as problem:  # somebody else's code may fail in any way
            reason = (str(problem).splitlines() or [""])[0]
            raise InputError(
                f"--model {self.text}: on a batch of shape {batch.shape}: {type(problem).__name__}: {reason}"
            ) from None
        if not hasattr(found, "shape"):
            raise InputError(f"--model {self.text}: gives {type(found).__name__} for a batch, expected an array")
        return found


@contextlib.contextmanager
def _in_file(inputs: str) -> Iterator[None]:
    """Put the name of the file in front of what is wrong with one of its rows."""
    try:
        yield
    except InputError as problem:
        if not str(problem).startswith("row "):
            raise
        raise InputError(f"{inputs}, {problem}") from None


def _model(text: str, method: str | None) -> tuple[Any, Any]:
    """`(apply, params)` of the network that `--model` names.

    Raises:
        InputError: it is not there, it fails, or it gives something else.
    """
    place, _, name = text.partition(":")
    if not place or not name:
        raise InputError(f"--model: found {text!r}, expected MODULE:NAME, for example nets:resnet")
    sys.path.insert(0, os.getcwd())
    try:
        made = getattr(importlib.import_module(place), name)
        # A module is an answer, whatever it does when called.
        made = made if _is_module(made) or isinstance(made, tuple) else made()
    except Exception as problem:  # somebody else's code may fail in any way
        reason = (str(problem).splitlines() or [""])[0]
        raise InputError(f"--model {text}: {type(problem).__name__}: {reason}") from None
    finally:
        sys.path.remove(os.getcwd())
    if _is_module(made):
        from qqtjax.pools.functional import functional

        if not hasattr(made, method or "__call__"):
            raise InputError(f"--method: {type(made).__name__} has no method {method!r}")
        return functional(made, method or "__call__")
    if method is not None:
        raise InputError(f"--method: applies to a flax NNX module, --model {text} gives {type(made).__name__}")
    if not (isinstance(made, tuple) and len(made) == 2 and callable(made[0])):
        raise InputError(f"--model {text}: gives {type(made).__name__}, expected (apply, params) or a flax NNX module")
    import jax

    for path, leaf in jax.tree_util.tree_flatten_with_path(made[1])[0]:
        if not isinstance(leaf, jax.Array) and np.asarray(leaf).dtype.kind not in arrays.NUMBERS:
            where = jax.tree_util.keystr(path, simple=True, separator="/")
            raise InputError(f"--model {text}: parameter {where or 'params'}: {type(leaf).__name__}, expected an array")
    return made


def _is_module(thing: Any) -> bool:
    """Is it an NNX module; where flax is not loaded nothing is."""
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(thing, nnx.Module)
