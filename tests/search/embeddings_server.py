"""A local server that speaks OpenAI's ``/embeddings`` and misbehaves when told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DIM = 16

#: What a server answers instead: status, headers, body.
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class EmbeddingsServer:
    """What was asked, and how the next requests are answered: by ``planned``, then rightly."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    planned: list[Answer | Callable[[], None]] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """Every text that was sent, in order."""
        return [text for request in self.requests for text in request["input"]]


def vector_of(text: str) -> list[float]:
    """Return what the server gives for a text; not of length 1."""
    return [float(byte) - 100 for byte in blake2b(text.encode(), digest_size=DIM).digest()]


@contextmanager
def embeddings_server() -> Iterator[EmbeddingsServer]:
    """Run a server on a free port of loopback."""
    state = EmbeddingsServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/embeddings"
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.requests.append(request)
            state.keys.append(self.headers["Authorization"])
            planned = state.planned.pop(0) if state.planned else None
            if callable(planned):
                planned()
                planned = None
            self._answer(*(planned or (200, {}, _right(request))))

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(BrokenPipeError):  # whoever asked has given up
                self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _right(request: dict[str, Any]) -> bytes:
    data = [
        {"object": "embedding", "index": index, "embedding": vector_of(text)}
        for index, text in enumerate(request["input"])
    ]
    # Nothing promises an order.
    return json.dumps({"object": "list", "data": data[::-1], "model": request["model"]}).encode()
