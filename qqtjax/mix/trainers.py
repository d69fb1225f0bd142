"""A mix as the trainer's own configuration: up-sampling factors, blend weights, samples to choose."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from qqtjax.errors import InputError
from qqtjax.mix.result import Mix
from qqtjax.text import did_you_mean

# Levanter draws whole samples of every block; at most 2^16 - 1.
LEVANTER_BLOCK = 2**15
# YAML 1.1 takes 1e-05 for text, and 1.0e-05 for a number.
BARE_EXPONENT = re.compile(r"(?<=: )(\d+)(?=e-\d+,?$)", re.MULTILINE)


class Drawn(NamedTuple):
    """What a run draws from one pool.

    Attributes:
        name: of the pool.
        path: of its data.
        share: w, of all samples.
        samples: whole samples, repeats counted.
        epochs: K = samples / size.
    """

    name: str
    path: str
    share: float
    samples: int
    epochs: float


class Trainer(NamedTuple):
    """A trainer, or a plain file.

    Attributes:
        name: what `export_mix` and `--export` call it.
        write: makes the text of its configuration.
    """

    name: str
    write: Callable[[list[Drawn]], str]


def export_mix(mix: Mix, trainer: str, paths: Mapping[str, str] | None = None) -> str:
    """A mix as the configuration of a trainer.

    Every share is of whole samples (`Mix.samples`); pools that get none are left out.

    Args:
        mix: the best weights at one budget.
        trainer: open_clip, megatron, streaming, olmix, levanter, or json for `{pool: weight}`; see the functions of
            these names.
        paths: `{pool: where its data are}`; the pool's name stands in for a path that is not given.

    Returns:
        The text of a file, without a final newline.

    Raises:
        InputError: an unknown trainer or pool; for open_clip, a pool without a finite size.

    Example:
        >>> import qqtjax as qqt
        >>> mix = qqt.optimize_mix(qqt.published("datacomp-tmars").utility, 64e6)
        >>> print(export_mix(mix, "megatron", {"top 10 %": "/data/top", "10-20 %": "/data/next"}))
        --data-path 51200000 /data/top 12800000 /data/next
    """
    writers = {each.name: each.write for each in TRAINERS}
    if trainer not in writers:
        hint = did_you_mean(trainer, writers)
        raise InputError(f"trainer {trainer!r}: expected one of {', '.join(writers)}{hint}")
    for name in paths or ():
        mix.pools.index(name)
    total = sum(mix.samples)
    drawn = [
        Drawn(name, (paths or {}).get(name, name), samples / total, samples, samples / size)
        for name, samples, size in zip(mix.pools.names, mix.samples, mix.pools.sizes.tolist(), strict=True)
        if samples
    ]
    return writers[trainer](drawn)


def open_clip(drawn: list[Drawn]) -> str:
    """Arguments of `open_clip_train.main`, as a shell or xargs reads them.

        factor_i = K_i = n w_i / N_i

    open_clip draws shards with replacement, each as often as its pool's factor says, so that a pool's share is
    proportional to N_i factor_i where shards hold equally many samples. `--train-num-samples` times `--epochs` is
    the budget; split it as you like.

    Raises:
        InputError: a pool without a finite size.

    Source: mlfoundations/open_clip, README, "Multiple data sources"; `--dataset-resampled` is asked for there.
    """
    for each in drawn:
        if not each.epochs > 0:
            raise InputError(f"pool {each.name!r}: size inf, expected a finite one: open_clip draws by size")
    return shlex.join(
        [
            "--train-data", "::".join(each.path for each in drawn),
            "--train-data-upsampling-factors", "::".join(repr(each.epochs) for each in drawn),
            "--dataset-resampled",
            "--train-num-samples", str(sum(each.samples for each in drawn)),
            "--epochs", "1",
        ]
    )  # fmt: skip


def megatron(drawn: list[Drawn]) -> str:
    """`--data-path weight prefix weight prefix ..`; weights are whole samples, and Megatron divides by their sum.

    Without `--data-path` in front it is what `--data-args-path` reads. How long to train is said elsewhere
    (`--train-samples`, in sequences).

    Source: NVIDIA/Megatron-LM, `get_blend_from_list` in megatron/core/datasets/utils.py.
    """
    return shlex.join(["--data-path", *(part for each in drawn for part in (str(each.samples), each.path))])


def streaming(drawn: list[Drawn]) -> str:
    """`streams` of MosaicML's StreamingDataset, each to `choose` its samples in one epoch, which is the whole run.

    A path with `://` is `remote`, else `local`.

    Source: mosaicml/streaming, `streaming.Stream`; the map by name is what llm-foundry reads as `dataset.streams`.
    """
    return _yaml(
        {
            "streams": {
                each.name: {"remote" if "://" in each.path else "local": each.path, "choose": each.samples}
                for each in drawn
            }
        }
    )


def olmix(drawn: list[Drawn]) -> str:
    """The section `mix` of an olmix launch file: weights that sum to 1, and how often each pool may repeat.

    `repetition_factor` is a limit in epochs, at least 1; the planned epochs, rounded up.

    Source: allenai/olmix, plans/023_explicit_mix_field.md, the flat form.
    """
    return _yaml(
        {
            "mix": {
                each.name: {"weight": each.share, "repetition_factor": max(1.0, math.ceil(1e3 * each.epochs) / 1e3)}
                for each in drawn
            }
        }
    )


def levanter(drawn: list[Drawn]) -> str:
    """The part of Levanter's section `data` that mixes: weights by the names of its datasets.

    Levanter draws whole samples of every block and gives the rest to the largest pool: in blocks of 2^15 a share is
    off by less than 3e-5, and a smaller one is never drawn.

    Source: marin-community/levanter, `LMMixtureDatasetConfig` and `MixtureDataset` in src/levanter/data.
    """
    weights = {each.name: each.share for each in drawn}
    return _yaml({"data": {"train_weights": weights, "stop_strategy": "restart", "mixture_block_size": LEVANTER_BLOCK}})


def plain(drawn: list[Drawn]) -> str:
    """`{pool: weight}` as JSON."""
    return json.dumps({each.name: each.share for each in drawn}, indent=1)


def _yaml(document: dict[str, Any]) -> str:
    """JSON that is YAML too."""
    return BARE_EXPONENT.sub(r"\1.0", json.dumps(document, indent=1))


TRAINERS = (
    Trainer("open_clip", open_clip),
    Trainer("megatron", megatron),
    Trainer("streaming", streaming),
    Trainer("olmix", olmix),
    Trainer("levanter", levanter),
    Trainer("json", plain),
)
