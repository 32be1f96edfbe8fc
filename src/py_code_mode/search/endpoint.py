"""The tier that asks an HTTP endpoint which speaks OpenAI's ``/embeddings``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from py_code_mode.errors import SearchUnavailableError
from py_code_mode.search.embedder import Vectors
from py_code_mode.search.lexical import MAX_CHARS

#: Texts per request; servers take up to 2,048 texts and some 300,000 tokens.
_AT_ONCE = 96
#: What is sent of one text: models read 8,192 tokens, and a token has one character at least.
_MAX_SENT_CHARS = 8_000
#: Seconds before a request is sent again, where the server is busy or the connection broke.
_PAUSES_S = (0.5, 2.0)
_LONGEST_PAUSE_S = 5.0
_SHOWN_CHARS = 200
_BUSY = frozenset({408, 409, 429, 500, 502, 503, 504})


class EndpointEmbedder:
    """A model behind ``url`` + ``/embeddings``. The key is sent, and never shown or logged.

    Args:
        timeout_s: how long one request may take.
    """

    def __init__(self, model: str, url: str, *, key: str = "", timeout_s: float = 20.0) -> None:
        parts = urlsplit(url)
        self.id = f"openai-{model}@{parts.netloc}{parts.path}"
        self._model = model
        self._url = f"{url.rstrip('/')}/embeddings"
        self._key = key
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._client: Any = None
        self._dim = 0

    @property
    def dim(self) -> int:
        """How many numbers the server's vectors have; asks once. Raises SearchUnavailableError."""
        return self._dim or len(self.embed_query("a"))

    def embed_docs(self, texts: Sequence[str]) -> Vectors:
        """Return float32 vectors of shape (texts, dim). Raises SearchUnavailableError."""
        sent = [text[: min(MAX_CHARS, _MAX_SENT_CHARS)] for text in texts]
        # Servers refuse empty texts; these have no direction.
        having = [position for position, text in enumerate(sent) if text.strip()]
        rows = [
            self._ask([sent[position] for position in having[start : start + _AT_ONCE]])
            for start in range(0, len(having), _AT_ONCE)
        ]
        found = np.zeros((len(sent), self._dim if rows else self.dim), np.float32)
        if rows:
            found[having] = np.concatenate(rows)
        return found

    def embed_query(self, text: str) -> Vectors:
        """Return a float32 vector of shape (dim,). Raises SearchUnavailableError."""
        vector: Vectors = self.embed_docs([text])[0]
        return vector

    def close(self) -> None:
        """Close the connections; the next text opens others."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _ask(self, texts: Sequence[str]) -> Vectors:
        answer = self._post({"model": self._model, "input": texts, "encoding_format": "float"})
        try:
            ordered = sorted(answer["data"], key=lambda each: int(each["index"]))
            found = np.array([each["embedding"] for each in ordered], np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise self._failed(
                f"its answer is not that of an embeddings endpoint: {error!r}"
            ) from None
        if found.ndim != 2 or len(found) != len(texts) or not np.isfinite(found).all():
            raise self._failed(f"it gave vectors of shape {found.shape} for {len(texts)} texts")
        if self._dim not in {0, found.shape[1]}:
            raise self._failed(f"its vectors had {self._dim} numbers, now {found.shape[1]}")
        self._dim = found.shape[1]
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        vectors: Vectors = found / np.maximum(lengths, np.float32(1e-12))
        return vectors

    def _post(self, body: Mapping[str, Any]) -> Any:
        client = self._connected()
        import httpx2  # noqa: PLC0415 - an extra; _connected() says so where it is missing

        for pause_s in self._pauses():
            try:
                response = client.post(self._url, json=body)
            except httpx2.HTTPError as error:
                if pause_s is None:
                    raise self._failed(f"{type(error).__name__}: {error}") from None
                time.sleep(pause_s)
                continue
            if response.is_success:
                return self._decoded(response)
            if pause_s is None or response.status_code not in _BUSY:
                raise self._failed(f"HTTP {response.status_code}: {response.text}")
            time.sleep(_asked_pause(response, pause_s))
        raise AssertionError("the last attempt raises")

    def _pauses(self) -> Iterator[float | None]:
        """Yield what to wait after each attempt; None after the last."""
        yield from (*_PAUSES_S, None)

    def _decoded(self, response: Any) -> Any:
        try:
            return response.json()
        except ValueError:
            raise self._failed("its answer is not JSON") from None

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                try:
                    import httpx2  # noqa: PLC0415 - an extra
                except ImportError as error:
                    raise SearchUnavailableError(
                        "EMBEDDINGS=openai:… needs httpx2: pip install 'py-code-mode[endpoint]'"
                    ) from error
                headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
                self._client = httpx2.Client(
                    headers=headers, timeout=self._timeout_s, follow_redirects=False
                )
            return self._client

    def _failed(self, why: str) -> SearchUnavailableError:
        """Return the error; what a server echoes of the key is taken out."""
        shown = " ".join(why.split())
        if self._key:
            shown = shown.replace(self._key, "***")
        return SearchUnavailableError(
            f"the embeddings endpoint {self._url} failed: {shown[:_SHOWN_CHARS]}; check "
            "EMBEDDINGS and its key, or set EMBEDDINGS=static"
        )


def _asked_pause(response: Any, pause_s: float) -> float:
    """Return what the server asks to wait, within bounds."""
    try:
        return min(float(response.headers.get("Retry-After", pause_s)), _LONGEST_PAUSE_S)
    except ValueError:
        return pause_s
