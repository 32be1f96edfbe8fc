"""Reads the setting EMBEDDINGS, which says what searches go by."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from py_code_mode.errors import ConfigurationError
from py_code_mode.search.embedder import Embedder, Vectors

#: Packages offer embedders here: ``name = "module:make"``, called with what follows ``name:``.
GROUP = "py_code_mode.embedders"
#: Where the key of an endpoint is looked for, first to last.
KEY_VARIABLES = ("EMBEDDINGS_API_KEY", "OPENAI_API_KEY")
_FORMS = (
    "static (the default), lexical, dir:/path, onnx:/path, openai:model@https://host/v1, "
    f"or a name from the entry points {GROUP}"
)


class Lexical:
    """The choice of no model: its vectors have no numbers, and searches rank by words alone."""

    id = "lexical"
    dim = 0

    def embed_docs(self, texts: Sequence[str]) -> Vectors:
        """Return an array of shape (texts, 0)."""
        import numpy as np  # noqa: PLC0415 - no search by words needs it

        return np.zeros((len(texts), 0), np.float32)

    def embed_query(self, text: str) -> Vectors:
        """Return an array of shape (0,)."""
        vector: Vectors = self.embed_docs([text])[0]
        return vector


def choose_embedder(setting: str, variables: Mapping[str, str] | None = None) -> Embedder:
    """Return what ``setting`` names; nothing is loaded and nobody asked before the first search.

    Args:
        setting: ``static``, ``lexical``, ``dir:/path``, ``onnx:/path``,
            ``openai:model@https://host/v1``, or ``name`` or ``name:argument`` of an entry point.
        variables: where the key of an endpoint is, as EMBEDDINGS_API_KEY or OPENAI_API_KEY.

    Raises:
        ConfigurationError: for a setting that cannot work; says what can.
    """
    name, _, argument = setting.strip().partition(":")
    known: dict[str, Callable[[str], Embedder]] = {
        "": _static,
        "static": _static,
        "lexical": _lexical,
        "dir": _folder,
        "onnx": _onnx,
        "openai": lambda given: _endpoint(given, variables or {}),
    }
    return known[name](argument) if name in known else _offered(name, argument)


def _static(argument: str) -> Embedder:
    from py_code_mode.search.static import StaticEmbedder  # noqa: PLC0415 - it loads numpy

    _refuse_argument("static", argument)
    return StaticEmbedder()


def _lexical(argument: str) -> Embedder:
    _refuse_argument("lexical", argument)
    return Lexical()


def _folder(path: str) -> Embedder:
    from py_code_mode.search.folder import FolderEmbedder, Numpy  # noqa: PLC0415 - it loads numpy

    return FolderEmbedder(_existing("dir", path), Numpy())


def _onnx(path: str) -> Embedder:
    from py_code_mode.search.folder import FolderEmbedder  # noqa: PLC0415 - it loads numpy
    from py_code_mode.search.onnx import Onnx  # noqa: PLC0415

    return FolderEmbedder(_existing("onnx", path), Onnx())


def _endpoint(argument: str, variables: Mapping[str, str]) -> Embedder:
    from py_code_mode.search.endpoint import EndpointEmbedder  # noqa: PLC0415 - it loads numpy

    model, _, url = argument.rpartition("@")
    key = next((variables[name] for name in KEY_VARIABLES if variables.get(name)), "")
    problem = _problem_of(model, url, key)
    if problem:
        raise ConfigurationError(
            f"EMBEDDINGS=openai:… {problem}; it is written openai:model@https://host/v1"
        )
    return EndpointEmbedder(model, url, key=key)


def _problem_of(model: str, url: str, key: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return "has an address that is none"
    if not model or parts.scheme not in {"http", "https"} or not host:
        return "needs a model and an address"
    if parts.username or parts.password or parts.query or parts.fragment:
        return f"may have nothing but host and path; a key goes into {KEY_VARIABLES[0]}"
    if key and parts.scheme == "http" and not _is_loopback(host):
        return "would send its key unencrypted; use https"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _offered(name: str, argument: str) -> Embedder:
    """Return what a package offers under ``name``."""
    from importlib import metadata  # noqa: PLC0415 - it takes 25 ms, for those who need it

    found = [*metadata.entry_points(group=GROUP, name=name)]
    if not found or not re.fullmatch(r"[\w.-]+", name):
        raise ConfigurationError(f"EMBEDDINGS={_shown(name)} is not known; use {_FORMS}")
    try:
        make: Any = found[0].load()
        made = make(argument) if argument else make()
    except Exception as error:
        raise ConfigurationError(
            f"EMBEDDINGS={name}: the embedder of {found[0].value} could not be made: {error!r}"
        ) from error
    missing = [each for each in ("id", "embed_docs", "embed_query") if not hasattr(made, each)]
    if missing:
        raise ConfigurationError(
            f"EMBEDDINGS={name}: what {found[0].value} gives has no {', '.join(missing)}"
        )
    embedder: Embedder = made
    return embedder


def _existing(scheme: str, path: str) -> str:
    if not path or not Path(path).is_dir():
        raise ConfigurationError(
            f"EMBEDDINGS={scheme}:{_shown(path)} names no folder; give the one of a model that "
            "sentence-transformers saved"
        )
    return path


def _refuse_argument(name: str, argument: str) -> None:
    if argument:
        raise ConfigurationError(f"EMBEDDINGS={name} takes nothing after it; use {_FORMS}")


def _shown(text: str) -> str:
    return ascii(text)[1:81]
