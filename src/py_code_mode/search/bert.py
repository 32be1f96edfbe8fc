"""The forward pass of BERT encoders in numpy (Devlin et al., 2019), for texts of equal length."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from py_code_mode.search.embedder import Vectors

_TYPES = {"F32": np.float32, "F16": np.float16}
#: Longer headers are no safetensors file.
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Vectors
    bias: Vectors
    eps: float

    def __call__(self, x: Vectors) -> Vectors:
        apart = x - x.mean(-1, keepdims=True)
        spread = np.sqrt(np.square(apart).mean(-1, keepdims=True) + self.eps)
        normal: Vectors = apart / spread * self.weight + self.bias
        return normal


@dataclass(frozen=True, slots=True)
class _Linear:
    weight: Vectors
    bias: Vectors

    def __call__(self, x: Vectors) -> Vectors:
        # One large product: numpy would do one per text of the batch.
        flat = x.reshape(-1, x.shape[-1]) @ self.weight + self.bias
        return flat.reshape(*x.shape[:-1], -1)


@dataclass(frozen=True, slots=True)
class _Layer:
    queries_keys_values: _Linear
    attended: _Linear
    after_attention: _Norm
    widen: _Linear
    narrow: _Linear
    after: _Norm
    heads: int

    def __call__(self, x: Vectors) -> Vectors:
        x = self.after_attention(x + self.attended(self._attention(x)))
        return self.after(x + self.narrow(_gelu(self.widen(x))))

    def _attention(self, x: Vectors) -> Vectors:
        batch, length, width = x.shape
        size = width // self.heads
        apart = self.queries_keys_values(x).reshape(batch, length, 3, self.heads, size)
        queries, keys, values = apart.transpose(2, 0, 3, 1, 4)
        weights = queries @ keys.transpose(0, 1, 3, 2) / np.float32(math.sqrt(size))
        weights = np.exp(weights - weights.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        attended: Vectors = (weights @ values).transpose(0, 2, 1, 3).reshape(batch, length, width)
        return attended


class Bert:
    """An encoder; ``config`` is its ``config.json``, ``tensors`` its weights by name.

    Raises:
        KeyError, ValueError: for weights that are not those of such an encoder.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, Vectors]) -> None:
        if config.get("model_type") != "bert" or config.get("hidden_act", "gelu") != "gelu":
            raise ValueError("it is not a BERT encoder with the activation gelu")
        self.width: int = config["hidden_size"]
        self.max_tokens: int = config["max_position_embeddings"]
        self._eps: float = config.get("layer_norm_eps", 1e-12)
        self._heads: int = config["num_attention_heads"]
        self._tensors = {name.removeprefix("bert."): each for name, each in tensors.items()}
        self._words = self._tensors["embeddings.word_embeddings.weight"]
        self._places = (
            self._tensors["embeddings.position_embeddings.weight"]
            + self._tensors["embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = self._norm_of("embeddings.LayerNorm")
        self._layers = [self._layer(number) for number in range(config["num_hidden_layers"])]

    def __call__(self, ids: NDArray[np.int64]) -> Vectors:
        """Return the last hidden states, shape (texts, tokens, width), of ids (texts, tokens)."""
        x = self._norm(self._words[ids] + self._places[: ids.shape[1]])
        for layer in self._layers:
            x = layer(x)
        return x

    def _layer(self, number: int) -> _Layer:
        layer = f"encoder.layer.{number}"
        attention = f"{layer}.attention"
        parts = [self._linear(f"{attention}.self.{part}") for part in ("query", "key", "value")]
        return _Layer(
            _Linear(
                np.concatenate([part.weight for part in parts], axis=1),
                np.concatenate([part.bias for part in parts]),
            ),
            self._linear(f"{attention}.output.dense"),
            self._norm_of(f"{attention}.output.LayerNorm"),
            self._linear(f"{layer}.intermediate.dense"),
            self._linear(f"{layer}.output.dense"),
            self._norm_of(f"{layer}.output.LayerNorm"),
            self._heads,
        )

    def _linear(self, name: str) -> _Linear:
        return _Linear(self._tensors[f"{name}.weight"].T, self._tensors[f"{name}.bias"])

    def _norm_of(self, name: str) -> _Norm:
        return _Norm(self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"], self._eps)


def read_safetensors(path: Path) -> dict[str, Vectors]:
    """Return the tensors of a file as float32; those that are stored so stay mapped.

    Raises:
        ValueError: for a file that is none, or has other types of numbers.
        OSError: for one that cannot be read.
    """
    content = np.memmap(path, np.uint8, "r")
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    if start > min(len(content), _MAX_HEADER_BYTES):
        raise ValueError(f"{path.name} is not a safetensors file")
    header: dict[str, Any] = json.loads(content[8:start].tobytes())
    header.pop("__metadata__", None)
    return {
        name: _tensor(content[start:], name, described)
        for name, described in header.items()
        if described["dtype"] != "I64"  # position ids, which nothing needs
    }


def _tensor(content: NDArray[np.uint8], name: str, described: Mapping[str, Any]) -> Vectors:
    kind = _TYPES.get(described["dtype"])
    if kind is None:
        raise ValueError(f"{name} has numbers of type {described['dtype']}; F32 and F16 are known")
    begin, end = described["data_offsets"]
    stored = content[begin:end].view(kind).reshape(described["shape"])
    return np.asarray(stored).astype(np.float32, copy=False)


def _gelu(x: Vectors) -> Vectors:
    return x * np.float32(0.5) * (1 + _erf(x * np.float32(1 / math.sqrt(2))))


def _erf(x: Vectors) -> Vectors:
    """Return the error function to 1.5e-7 (Abramowitz and Stegun, 7.1.26)."""
    far = np.abs(x)
    t = 1 / (1 + np.float32(0.3275911) * far)
    series = np.zeros_like(t)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(factor)) * t
    found: Vectors = np.sign(x) * (1 - series * np.exp(-far * far))
    return found
