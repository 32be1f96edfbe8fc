"""The endpoint tier, against a local server that speaks the real protocol."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from py_code_mode.errors import SearchUnavailableError
from py_code_mode.search import endpoint
from py_code_mode.search.endpoint import EndpointEmbedder

from .embeddings_server import DIM, EmbeddingsServer, embeddings_server, vector_of

KEY = "key-of-the-test-0123456789"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddingsServer]:
    monkeypatch.setattr(endpoint, "_PAUSES_S", (0.01, 0.01))
    with embeddings_server() as running:
        yield running


@pytest.fixture
def embedder(server: EmbeddingsServer) -> Iterator[EndpointEmbedder]:
    made = EndpointEmbedder("small", server.url, key=KEY, timeout_s=5)
    yield made
    made.close()


def test_texts_get_the_servers_vectors_brought_to_length_one(
    server: EmbeddingsServer, embedder: EndpointEmbedder
) -> None:
    texts = [f"text {n}" for n in range(200)]
    expected = np.array([vector_of(text) for text in texts])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.embed_docs(texts), expected, atol=1e-6)
    assert [len(request["input"]) for request in server.requests] == [96, 96, 8]
    assert {request["model"] for request in server.requests} == {"small"}
    assert set(server.keys) == {f"Bearer {KEY}"}
    np.testing.assert_allclose(embedder.embed_query("text 7"), expected[7], atol=1e-6)


def test_empty_texts_are_not_sent_and_long_ones_are_cut(
    server: EmbeddingsServer, embedder: EndpointEmbedder
) -> None:
    found = embedder.embed_docs(["", "a", " \n", "x" * 100_000])
    assert [len(text) for text in server.texts] == [1, 8000]
    assert np.linalg.norm(found, axis=1).tolist() == pytest.approx([0, 1, 0, 1])
    assert embedder.embed_docs([""]).shape == (1, DIM)
    assert embedder.embed_docs([]).shape == (0, DIM)


def test_the_id_names_model_and_server_and_the_size_is_asked_once(
    server: EmbeddingsServer, embedder: EndpointEmbedder
) -> None:
    assert embedder.id == f"openai-small@{server.url.removeprefix('http://')}"
    assert (embedder.dim, embedder.dim, len(server.requests)) == (DIM, DIM, 1)


def test_a_busy_server_is_asked_again(server: EmbeddingsServer, embedder: EndpointEmbedder) -> None:
    server.planned = [(429, {"Retry-After": "0"}, b""), (503, {"Retry-After": "soon"}, b"")]
    assert embedder.embed_query("a").shape == (DIM,)
    assert len(server.requests) == 3


def body(*vectors: list[float]) -> bytes:
    data = [{"index": n, "embedding": vector} for n, vector in enumerate(vectors)]
    return json.dumps({"data": data}).encode()


WRONG = {
    "unknown key": ((401, {}, b'{"error": "bad key: %s"}' % KEY.encode()), "HTTP 401.*bad key"),
    "unknown model": ((404, {}, b"no such model"), "HTTP 404: no such model"),
    "moved": ((307, {"Location": "http://127.0.0.1:1/"}, b""), "HTTP 307"),
    "no JSON": ((200, {}, b"<html>"), "not JSON"),
    "no embeddings": ((200, {}, b"{}"), "not that of an embeddings endpoint"),
    "a list": ((200, {}, b"[]"), "not that of an embeddings endpoint"),
    "text": ((200, {}, b'{"data": [{"index": 0, "embedding": "AAA"}]}'), "not that of"),
    "too many": ((200, {}, body([1.0], [2.0])), r"shape \(2, 1\) for 1 texts"),
    "infinite": ((200, {}, b'{"data": [{"index": 0, "embedding": [1e999]}]}'), "shape"),
    "ragged": ((200, {}, body([[1.0], [1.0, 2.0]])), "not that of"),  # type: ignore[list-item]
}


@pytest.mark.parametrize(("answer", "told"), WRONG.values(), ids=WRONG)
def test_what_went_wrong_is_told_and_the_key_is_not(
    server: EmbeddingsServer,
    embedder: EndpointEmbedder,
    answer: tuple[int, dict[str, str], bytes],
    told: str,
) -> None:
    server.planned = [answer]
    with pytest.raises(SearchUnavailableError, match=told) as caught:
        embedder.embed_query("a")
    shown = f"{caught.value!r} {caught.value.message} {embedder!r} {vars(caught.value)}"
    assert KEY not in shown
    assert "check EMBEDDINGS" in shown


def test_vectors_that_change_their_size_are_refused(
    server: EmbeddingsServer, embedder: EndpointEmbedder
) -> None:
    embedder.embed_query("a")
    server.planned = [(200, {}, body([1.0, 2.0]))]
    with pytest.raises(SearchUnavailableError, match="had 16 numbers, now 2"):
        embedder.embed_query("a")


def test_a_server_that_does_not_answer_is_given_up(server: EmbeddingsServer) -> None:
    embedder = EndpointEmbedder("small", server.url, timeout_s=0.05)
    server.planned = [lambda: time.sleep(0.3)] * 3
    with pytest.raises(SearchUnavailableError, match="ReadTimeout"):
        embedder.embed_query("a")
    embedder.close()
    assert server.keys == [None] * 3


def test_a_server_that_is_not_there_is_told(server: EmbeddingsServer) -> None:
    embedder = EndpointEmbedder("small", "http://127.0.0.1:1/v1", key=KEY)
    with pytest.raises(SearchUnavailableError, match=r"127\.0\.0\.1:1/v1/embeddings failed: Conn"):
        embedder.embed_query("a")
    embedder.close()


def test_without_httpx2_the_extra_is_named(
    embedder: EndpointEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(SearchUnavailableError, match=r"pip install 'py-code-mode\[endpoint\]'"):
        embedder.embed_query("a")
