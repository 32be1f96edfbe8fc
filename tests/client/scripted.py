"""A server of plain sockets that answers as a test says, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

RESULT: dict[str, Any] = {
    "value": 2,
    "stdout": "",
    "stderr": "",
    "error": None,
    "error_type": None,
    "is_ok": True,
    "execution_time_ms": 0.5,
    "session_id": "s",
    "displays": [],
    "state": {"generation": 1, "lost": False, "durable": False, "not_restored": []},
    "truncated": [],
}


@dataclass
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Answer:
    """What is sent back; ``close`` closes the connection after it, with no word to announce it."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    close: bool = False

    def encoded(self) -> bytes:
        content = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        lines = [f"HTTP/1.1 {self.status} X", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + content


#: None: the connection is closed without an answer.
Script = Callable[[Request], Awaitable[Answer | None]]


class Scripted:
    """The server: ``script`` answers each request in turn."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[Request] = []
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while (request := await self._read(reader, number)) is not None:
                self.requests.append(request)
                answer = await self._script(request)
                if answer is None:
                    break
                writer.write(answer.encoded())
                await writer.drain()
                if answer.close:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Request | None:
        first = await reader.readline()
        if not first:
            return None
        method, path, _ = first.decode().split(" ", 2)
        headers = {}
        while line := (await reader.readline()).decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, path, headers, body, connection)


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[Scripted]:
    """A server that listens on loopback."""
    made = Scripted(script)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()


def answering(*answers: Answer | None) -> Script:
    """Return a script of these answers, the last of which is given again and again."""
    left = list(answers)

    async def script(_request: Request) -> Answer | None:
        return left.pop(0) if len(left) > 1 else left[0]

    return script
