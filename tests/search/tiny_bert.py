"""A BERT of a few hundred random numbers in a folder, and the same computed the slow, plain way."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, LAYERS, HEADS, WIDE = 8, 2, 2, 16
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *".,!?-", "hello", "world", "read", "file"]
VOCABULARY += [*LETTERS, *(f"##{letter}" for letter in LETTERS)]
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": WIDTH,
    "intermediate_size": WIDE,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "max_position_embeddings": 64,
    "layer_norm_eps": 1e-12,
}

Tensors = dict[str, Any]


def tensors(seed: int = 1) -> Tensors:
    """Return random weights under the names that BERT models have."""
    dice = np.random.default_rng(seed)
    shapes = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), WIDTH),
        "embeddings.position_embeddings.weight": (64, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
    }
    for layer in (f"encoder.layer.{number}" for number in range(LAYERS)):
        for name in ("attention.self.query", "attention.self.key", "attention.self.value"):
            shapes |= {f"{layer}.{name}.weight": (WIDTH, WIDTH), f"{layer}.{name}.bias": (WIDTH,)}
        for name, out, into in (
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", WIDE, WIDTH),
            ("output.dense", WIDTH, WIDE),
        ):
            shapes |= {f"{layer}.{name}.weight": (out, into), f"{layer}.{name}.bias": (out,)}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{layer}.{name}.weight": (WIDTH,), f"{layer}.{name}.bias": (WIDTH,)}
    return {name: dice.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write_model(folder: Path, *, dtype: str = "F32", prefix: str = "", seed: int = 1) -> Path:
    """Write a folder as sentence-transformers does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    kind = np.float32 if dtype == "F32" else np.float16
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, tensor in tensors(seed).items():
        content = tensor.astype(kind).tobytes()
        offsets = [len(body), len(body) + len(content)]
        header[prefix + name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": offsets}
        body += content
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    return folder


def reference(ids: list[int], weights: Tensors) -> list[float]:
    """Return the mean of the last states, of length 1, computed with plain numbers."""
    words = weights["embeddings.word_embeddings.weight"]
    places = weights["embeddings.position_embeddings.weight"]
    kinds = weights["embeddings.token_type_embeddings.weight"]
    x = [
        [float(words[i][d] + places[p][d] + kinds[0][d]) for d in range(WIDTH)]
        for p, i in enumerate(ids)
    ]
    x = [_norm(row, weights, "embeddings.LayerNorm") for row in x]
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        mixed = _attention(x, weights, f"{layer}.attention.self")
        x = [
            _norm(
                _sum(row, _dense(m, weights, f"{layer}.attention.output.dense")),
                weights,
                f"{layer}.attention.output.LayerNorm",
            )
            for row, m in zip(x, mixed, strict=True)
        ]
        x = [
            _norm(
                _sum(
                    row,
                    _dense(
                        [_gelu(v) for v in _dense(row, weights, f"{layer}.intermediate.dense")],
                        weights,
                        f"{layer}.output.dense",
                    ),
                ),
                weights,
                f"{layer}.output.LayerNorm",
            )
            for row in x
        ]
    mean = [sum(row[d] for row in x) / len(x) for d in range(WIDTH)]
    length = math.sqrt(sum(v * v for v in mean))
    return [v / length for v in mean]


def _attention(x: list[list[float]], weights: Tensors, name: str) -> list[list[float]]:
    queries, keys, values = (
        [_dense(row, weights, f"{name}.{part}") for row in x] for part in ("query", "key", "value")
    )
    size = WIDTH // HEADS
    mixed = [[0.0] * WIDTH for _ in x]
    for head in range(HEADS):
        own = range(head * size, (head + 1) * size)
        for at, query in enumerate(queries):
            weighted = [
                math.exp(sum(query[d] * key[d] for d in own) / math.sqrt(size)) for key in keys
            ]
            for d in own:
                total = sum(w * value[d] for w, value in zip(weighted, values, strict=True))
                mixed[at][d] = total / sum(weighted)
    return mixed


def _dense(row: list[float], weights: Tensors, name: str) -> list[float]:
    matrix, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return [
        float(sum(w * v for w, v in zip(line, row, strict=True)) + b)
        for line, b in zip(matrix, bias, strict=True)
    ]


def _norm(row: list[float], weights: Tensors, name: str) -> list[float]:
    mean = sum(row) / len(row)
    spread = math.sqrt(sum((v - mean) ** 2 for v in row) / len(row) + 1e-12)
    pairs = zip(row, weights[f"{name}.weight"], weights[f"{name}.bias"], strict=True)
    return [float((v - mean) / spread * w + b) for v, w, b in pairs]


def _sum(a: list[float], b: list[float]) -> list[float]:
    return [x + y for x, y in zip(a, b, strict=True)]


def _gelu(x: float) -> float:
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))
