"""Finds out whether a Redis that hung up speaks TLS, so that the error can say so."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

from py_code_mode.store.redis_url import RedisAddress


async def speaks_the_other(address: RedisAddress, *, timeout_s: float) -> bool:
    """Tell whether the server speaks TLS where we did not, or does not where we did.

    Nothing secret is sent: a handshake, or a PING. One that does not answer in time does not.
    """
    if not address.host:
        return False
    with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(timeout_s):
            return await (_answers_plainly(address) if address.tls else _shakes_hands(address))
    return False


async def _shakes_hands(address: RedisAddress) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Only the protocol is of interest, and nothing is sent: no certificate has to be right.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    writer.close()
    return True


async def _answers_plainly(address: RedisAddress) -> bool:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(b"PING\r\n")
        return await reader.readexactly(1) in {b"+", b"-"}
    finally:
        writer.close()
