"""A way to a Redis that can be slow, cut in the middle, or lead to another server."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

_PIECE = 16 * 1024


@dataclass
class Proxy:
    """Passes on what it gets; change the fields at any time."""

    target: int
    #: The connection is cut once the client has sent so many bytes.
    cut_after: float = math.inf
    #: What the client gets, at most.
    bytes_per_s: float = math.inf
    #: Sees what the client sends.
    on_sent: Callable[[bytes], object] = lambda _: None
    port: int = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection("127.0.0.1", self.target)
        back = asyncio.create_task(self._return(upstream, writer))
        try:
            await self._send(reader, downstream)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            downstream.transport.abort()
            writer.transport.abort()
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = 0
        while piece := await reader.read(_PIECE):
            self.on_sent(piece)
            rest = self.cut_after - sent
            writer.write(piece[: int(rest)] if rest < len(piece) else piece)
            await writer.drain()
            sent += len(piece)
            if sent >= self.cut_after:
                return

    async def _return(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(_PIECE):
            if self.bytes_per_s < math.inf:
                await asyncio.sleep(len(piece) / self.bytes_per_s)
            writer.write(piece)
            await writer.drain()


@asynccontextmanager
async def proxy_to(target: int) -> AsyncIterator[Proxy]:
    """Yield a proxy to a server's port."""
    proxy = Proxy(target)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        await proxy.serve(reader, writer)
        serving.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0)  # the event loop closes the sockets
