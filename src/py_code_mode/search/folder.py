"""The tiers on a local folder of a MiniLM-type model, as sentence-transformers saves them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from py_code_mode.errors import SearchUnavailableError
from py_code_mode.search.bert import Bert, read_safetensors
from py_code_mode.search.embedder import Vectors
from py_code_mode.search.lexical import MAX_CHARS
from py_code_mode.search.wordpiece import WordPieces, numbered

#: Texts that go through the model together; more takes memory and gains nothing.
_AT_ONCE = 32
#: What a model is fed of a text when its folder does not say, in word pieces.
_MAX_TOKENS = 256

Ids = NDArray[np.int64]
#: Takes ids of shape (texts, tokens), gives states of shape (texts, tokens, dim).
States = Callable[[Ids], Vectors]


class Runtime(Protocol):
    """What computes a model's last hidden states."""

    @property
    def scheme(self) -> str:
        """What chooses it in the setting, like ``dir``."""

    def weights(self, folder: Path) -> Path:
        """Return the file that holds the weights."""

    def load(self, folder: Path) -> States:
        """Read the model. Raises OSError, KeyError, ValueError, SearchUnavailableError."""


class Numpy:
    """Computes with numpy alone, about 10 ms for a short text."""

    scheme = "dir"

    def weights(self, folder: Path) -> Path:
        """Return the path of ``model.safetensors``."""
        return folder / "model.safetensors"

    def load(self, folder: Path) -> States:
        """Read ``config.json`` and the weights, which stay mapped."""
        return Bert(_json(folder / "config.json"), read_safetensors(self.weights(folder)))


@dataclass(frozen=True, slots=True)
class _Model:
    id: str
    dim: int
    pieces: WordPieces
    begin: int
    end: int
    first_only: bool
    max_tokens: int
    states: States

    def ids(self, text: str) -> list[int]:
        pieces = self.pieces.ids(text[:MAX_CHARS])[: self.max_tokens - 2]
        return [self.begin, *pieces, self.end]

    def vectors(self, ids: Ids) -> Vectors:
        states = self.states(ids)
        pooled = states[:, 0] if self.first_only else states.mean(1)
        lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
        return np.asarray(pooled / np.maximum(lengths, 1e-12), np.float32)


class FolderEmbedder:
    """A model in a folder: ``config.json``, ``vocab.txt`` or ``tokenizer.json``, weights.

    It is read on first use and stays. Texts are cut to the length the model was made for.
    """

    def __init__(self, path: str, runtime: Runtime) -> None:
        self._folder = Path(path)
        self._runtime = runtime
        self._lock = threading.Lock()
        self._loaded: _Model | None = None

    @property
    def id(self) -> str:
        """The folder's name and a hash of what is in it. Raises SearchUnavailableError."""
        return self._model().id

    @property
    def dim(self) -> int:
        """The width of the model. Raises SearchUnavailableError."""
        return self._model().dim

    def embed_docs(self, texts: Sequence[str]) -> Vectors:
        """Return float32 vectors of shape (texts, dim). Raises SearchUnavailableError."""
        model = self._model()
        found = np.zeros((len(texts), model.dim), np.float32)
        ids = [model.ids(text) for text in texts]
        # Texts of equal length together: no padding, and one product instead of many.
        alike: dict[int, list[int]] = defaultdict(list)
        for position, each in enumerate(ids):
            alike[len(each)].append(position)
        for same in alike.values():
            for start in range(0, len(same), _AT_ONCE):
                some = same[start : start + _AT_ONCE]
                found[some] = model.vectors(np.array([ids[position] for position in some]))
        return found

    def embed_query(self, text: str) -> Vectors:
        """Return a float32 vector of shape (dim,). Raises SearchUnavailableError."""
        vector: Vectors = self.embed_docs([text])[0]
        return vector

    def _model(self) -> _Model:
        with self._lock:
            if self._loaded is None:
                with _explained(self._runtime.scheme, self._folder):
                    self._loaded = _read(self._folder, self._runtime)
            return self._loaded


def _read(folder: Path, runtime: Runtime) -> _Model:
    tokenizer = _json(folder / "tokenizer_config.json", optional=True)
    pooling = _json(folder / "1_Pooling" / "config.json", optional=True)
    length = _json(folder / "sentence_bert_config.json", optional=True)
    config = _json(folder / "config.json")
    longest: int = config["max_position_embeddings"]
    index = numbered(_vocabulary(folder))
    model = _Model(
        id=f"{runtime.scheme}-{folder.resolve().name}-{_digest(folder, runtime)}",
        dim=config["hidden_size"],
        pieces=WordPieces(index, lower=tokenizer.get("do_lower_case", True)),
        begin=index["[CLS]"],
        end=index["[SEP]"],
        first_only=bool(pooling.get("pooling_mode_cls_token", False)),
        max_tokens=min(length.get("max_seq_length", _MAX_TOKENS), longest),
        states=runtime.load(folder),
    )
    model.vectors(np.array([model.ids("a")]))  # weights that do not fit are told now
    return model


def _vocabulary(folder: Path) -> list[str]:
    if (folder / "vocab.txt").exists():
        return (folder / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    found: dict[str, int] = _json(folder / "tokenizer.json")["model"]["vocab"]
    return sorted(found, key=lambda piece: found[piece])


def _digest(folder: Path, runtime: Runtime) -> str:
    """Return a hash of all that makes the vectors; 90 MB take a tenth of a second, once."""
    whole = hashlib.blake2b(digest_size=6)
    names = ("config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json")
    described = [folder / name for name in (*names, "sentence_bert_config.json")]
    for file in (runtime.weights(folder), *described, folder / "1_Pooling" / "config.json"):
        if file.exists():
            with file.open("rb") as opened:
                whole.update(hashlib.file_digest(opened, "blake2b").digest())
    return whole.hexdigest()


def _json(path: Path, *, optional: bool = False) -> dict[str, Any]:
    if optional and not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise TypeError(f"{path.name} is not an object")
    return found


@contextmanager
def _explained(scheme: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, ValueError, IndexError, TypeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else error
        raise SearchUnavailableError(
            f"the model in EMBEDDINGS={scheme}:{folder} cannot be used: {what}; give the folder "
            "of a BERT-type model of sentence-transformers, such as all-MiniLM-L6-v2"
        ) from error
