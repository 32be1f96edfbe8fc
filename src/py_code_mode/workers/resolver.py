"""Looks names up for sessions, in threads: the C library's resolver cannot be awaited."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

from py_code_mode.workers.addresses import Address, canonical

#: A blocking look-up of a name; raises OSError (``socket.gaierror``).
Lookup = Callable[[str], Sequence[Address]]
Ended = Callable[[Sequence[Address], BaseException | None], None]

#: Look-ups of all sessions, and of one, that may be under way at once.
_AT_ONCE: Final = 32
AT_ONCE_PER_SESSION: Final = 4
_MOST_ADDRESSES: Final = 32


class Resolver:
    """Shared by the sessions of a pool."""

    def __init__(self, lookup: Lookup | None = None, *, at_once: int = _AT_ONCE) -> None:
        self._lookup = lookup or look_up
        self._places = asyncio.Semaphore(at_once)

    async def resolve(self, name: str, mine: asyncio.Semaphore) -> Sequence[Address]:
        """Return the addresses of a name. Raises OSError.

        A place, and one of ``mine``, is taken until the thread has ended, which may be long after
        the caller has lost patience: otherwise slow name servers would gather threads.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[Address]] = loop.create_future()
        await mine.acquire()
        try:
            await self._places.acquire()
        except BaseException:
            mine.release()
            raise

        def ended(found: Sequence[Address], error: BaseException | None) -> None:
            self._places.release()
            mine.release()
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found)

        try:
            # A daemon, or one slow name server would hold up the end of the host.
            work = functools.partial(self._work, name, loop, ended)
            threading.Thread(target=work, name="egress-lookup", daemon=True).start()
        except RuntimeError:
            ended((), OSError("the host has no thread to look the name up"))
        return await answer

    def _work(self, name: str, loop: asyncio.AbstractEventLoop, ended: Ended) -> None:
        found: Sequence[Address] = ()
        error: BaseException | None = None
        try:
            found = self._lookup(name)
        except Exception as failure:  # noqa: BLE001 - whoever waits is told
            error = failure
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(ended, found, error)


def look_up(name: str) -> list[Address]:
    """Return the addresses that this host's own resolver gives, in its order. Raises OSError."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return [canonical(ip_address(text)) for text in texts][:_MOST_ADDRESSES]
