"""Agent code connects with the libraries it knows, and only where it may."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from py_code_mode import MemoryStorage
from py_code_mode.services.registry import Services
from py_code_mode.sessions.manager import SessionManager
from py_code_mode.workers.egress import EgressPolicy
from py_code_mode.workers.pool import Pool
from py_code_mode.workers.zygote import ZygoteConfig
from sessions.conftest import LIMITS, Run
from sessions.net import Net

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def manager(net: Net) -> AsyncIterator[SessionManager]:
    store = MemoryStorage()
    policy = EgressPolicy.parse(net.patterns, burst=2000)
    config = ZygoteConfig(root="/tmp/py-code-mode-test", limits=LIMITS)
    async with SessionManager(
        pool=Pool(config, egress=policy, lookup=net.names),
        services=Services(store, limits=LIMITS),
        limits=LIMITS,
    ) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def online(run: Run, net: Net) -> Run:
    ports = f"PLAIN, TLS, FORBIDDEN = {net.plain}, {net.tls}, {net.forbidden}"
    code = f"{ports}\nopen('ca.pem', 'w').write({net.ca!r})\nA = f'http://localhost:{{PLAIN}}/'\nB = f'https://localhost:{{TLS}}/'"
    assert (await run(code)).is_ok
    return run


WORKS = {
    "urllib": "import urllib.request as u; u.urlopen(A).read().decode()",
    "urllib by address": "import urllib.request as u; u.urlopen(f'http://127.0.0.1:{PLAIN}/').read().decode()",
    "urllib over TLS": "import ssl, urllib.request as u; u.urlopen(B, context=ssl.create_default_context(cafile='ca.pem')).read().decode()",
    "requests": "import requests; requests.get(A).text",
    "requests that keeps connections": "import requests; s = requests.Session(); [s.get(A).text for _ in range(3)][-1]",
    "requests that posts": "import requests; requests.post(A, data=b'hello').text",
    "requests over TLS": "import requests; requests.get(B, verify='ca.pem').text",
    "requests that follows": "import requests; requests.get(A + 'to//there').text",
    "httpx2": "import httpx2; httpx2.get(A).text",
    "httpx2 over TLS": "import httpx2, ssl; httpx2.get(B, verify=ssl.create_default_context(cafile='ca.pem')).text",
    "httpx2 in coroutines": "import httpx2, ssl\nasync with httpx2.AsyncClient(verify=ssl.create_default_context(cafile='ca.pem')) as c: r = (await c.get(B)).text\nr",
    "many of httpx2 at once": "import asyncio, httpx2\nasync with httpx2.AsyncClient() as c: r = await asyncio.gather(*(c.get(A) for _ in range(60)))\n{x.text for x in r}.pop()",
    "http.client": "import http.client as h; c = h.HTTPConnection('localhost', PLAIN, timeout=5); c.request('GET', '/'); c.getresponse().read().decode()",
    "asyncio streams": "import asyncio; r, w = await asyncio.open_connection('localhost', PLAIN); w.write(b'GET / HTTP/1.0\\r\\n\\r\\n'); t = (await r.read()).decode(); w.close(); t[-5:]",
    "asyncio streams over TLS": "import asyncio, ssl; r, w = await asyncio.open_connection('localhost', TLS, ssl=ssl.create_default_context(cafile='ca.pem')); w.write(b'GET / HTTP/1.0\\r\\n\\r\\n'); t = (await r.read()).decode(); w.close(); t[-5:]",
    "a loop's sock_connect": "import asyncio, socket\ns = socket.socket(); s.setblocking(False); l = asyncio.get_running_loop(); await l.sock_connect(s, ('127.0.0.1', PLAIN)); await l.sock_sendall(s, b'GET / HTTP/1.0\\r\\n\\r\\n')\nt = b''\nwhile d := await l.sock_recv(s, 1000): t += d\nt[-5:].decode()",
    "a socket that is connected by hand": "import socket; s = socket.socket(); s.settimeout(3); s.setsockopt(6, 1, 1); s.connect(('localhost', PLAIN)); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); t = b''.join(iter(lambda: s.recv(1000), b'')); t[-5:].decode() if s.gettimeout() == 3 and s.getsockopt(6, 1) and s.getpeername()[1] == PLAIN else 'no'",
    "TLS around a socket before it is connected": "import socket, ssl; s = ssl.create_default_context(cafile='ca.pem').wrap_socket(socket.socket(), server_hostname='localhost'); s.connect(('localhost', TLS)); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); b''.join(iter(lambda: s.recv(1000), b''))[-5:].decode()",
    "connect_ex": "import socket; s = socket.socket(); n = s.connect_ex(('127.0.0.1', PLAIN)); 'hello' if n == 0 else n",
    "threads": "import urllib.request as u\nfrom concurrent.futures import ThreadPoolExecutor as T\nwith T(16) as t: r = set(t.map(lambda _: u.urlopen(A).read(), range(100)))\nr.pop().decode()",
}  # fmt: skip


@pytest.mark.parametrize("name", WORKS)
async def test_a_library_works_unmodified(online: Run, name: str) -> None:
    result = await online(WORKS[name])
    assert (result.value, result.error) == ("hello", None)


async def test_large_bodies_pass_by_the_host(online: Run) -> None:
    assert (
        await online.value("import requests; len(requests.get(A + 'large').content)") == 5_000_000
    )


REFUSED = {
    "a name that is not listed": ("import socket; socket.create_connection(('example.org', 443))", "PermissionError", "EGRESS_ALLOW"),
    "a port that is not listed": ("import socket; socket.create_connection(('127.0.0.1', FORBIDDEN))", "PermissionError", "127.0.0.1"),
    "urllib": ("import urllib.request as u; u.urlopen('http://example.org/')", "URLError", "may not connect to example.org:80"),
    "requests": ("import requests; requests.get('http://example.org/')", "ConnectionError", "may not connect to example.org:80"),
    "httpx2": ("import httpx2; httpx2.get('http://example.org/')", "ConnectError", "may not connect to example.org:80"),
    "asyncio": ("import asyncio; await asyncio.open_connection('example.org', 443)", "PermissionError", "EGRESS_ALLOW"),
    "a name that leads inside": ("import socket; socket.create_connection(('inside.test', FORBIDDEN))", "PermissionError", "loopback"),
    "a name that leads to metadata": ("import requests; requests.get('http://metadata.test/')", "ConnectionError", "metadata"),
    "a redirect to metadata": ("import requests; requests.get(A + 'to/http://169.254.169.254/latest')", "ConnectionError", "169.254.169.254:80"),
    "a redirect to another port": ("import requests; requests.get(f'{A}to/http://127.0.0.1:{FORBIDDEN}/')", "ConnectionError", "127.0.0.1"),
    "UDP": ("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "PermissionError", "TCP"),
    "a look-up for UDP": ("import socket; socket.getaddrinfo('localhost', 53, type=socket.SOCK_DGRAM)", "PermissionError", "TCP"),
    "listening": ("import socket; socket.create_server(('127.0.0.1', 0))", "PermissionError", "listen"),
    "a raw socket": ("import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", "PermissionError", "TCP"),
    "netlink": ("import socket; socket.socket(socket.AF_NETLINK)", "PermissionError", "TCP"),
    "a name that nobody knows": ("import socket; socket.getaddrinfo('nobody.invalid.test', 80)", "gaierror", ""),
    "a second connection of one socket": ("import socket; s = socket.create_connection(('127.0.0.1', PLAIN)); s.connect(('127.0.0.1', TLS))", "OSError", "already connected"),
    "no port": ("import socket; socket.socket().connect(('127.0.0.1', 0))", "ConnectionRefusedError", ""),
    "half an address": ("import socket; socket.socket().connect('127.0.0.1')", "TypeError", "tuple"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_anything_else_is_refused_in_words(online: Run, name: str) -> None:
    code, error_type, said = REFUSED[name]
    result = await online(code)
    assert result.error_type == error_type, result.error
    assert said in str(result.error)
    assert not result.state.lost


async def test_names_read_as_before(online: Run, net: Net) -> None:
    code = """
import socket
[socket.getaddrinfo("localhost", PLAIN, socket.AF_INET), socket.gethostbyname("localhost"),
 socket.gethostbyname_ex("localhost")[2], socket.getaddrinfo("127.0.0.1", "https")[0][4],
 socket.getaddrinfo(b"::1", 80)[0][4], socket.getaddrinfo(None, 1, socket.AF_INET)[0][4],
 socket.socket().getsockname(), socket.socket(socket.AF_INET6).getsockname()]
"""
    assert await online.value(code) == [
        [
            [
                "<AddressFamily.AF_INET: 2>",
                "<SocketKind.SOCK_STREAM: 1>",
                6,
                "",
                ["127.0.0.1", net.plain],
            ]
        ],
        "127.0.0.1",
        ["127.0.0.1"],
        ["127.0.0.1", 443],
        ["::1", 80, 0, 0],
        ["127.0.0.1", 1],
        ["0.0.0.0", 0],
        ["::", 0, 0, 0],
    ]


async def test_a_timeout_is_kept(online: Run) -> None:
    code = (
        "import socket, time; s = socket.create_connection(('127.0.0.1', PLAIN), 0.2); t = time.monotonic()\n"
        "try: s.recv(1)\nexcept TimeoutError as error: e = str(error)\n[e, time.monotonic() - t < 2]"
    )
    assert await online.value(code) == ["timed out", True]


async def test_connections_leave_no_descriptor_behind(online: Run) -> None:
    code = """
import asyncio, socket
def count(): return sum(1 for fd in range(256) if is_open(fd))
def is_open(fd):
    try: os.fstat(fd)
    except OSError: return False
    return True
import os
socket.create_connection(("127.0.0.1", PLAIN)).close()
before = count()
for _ in range(300):
    socket.create_connection(("127.0.0.1", PLAIN)).close()
async def cancelled():
    try: await asyncio.wait_for(asyncio.open_connection("127.0.0.1", PLAIN), 0)
    except TimeoutError: pass
await asyncio.gather(*(cancelled() for _ in range(30)))
tasks = [asyncio.create_task(asyncio.open_connection("127.0.0.1", PLAIN)) for _ in range(30)]
await asyncio.sleep(0.001)
for task in tasks: task.cancel()
for _, writer in (r for r in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(r, tuple)): writer.close()
await asyncio.sleep(0.3)
count() - before
"""
    assert await online.value(code) == 0


async def test_an_interrupt_ends_a_connection_attempt(online: Run) -> None:
    # Nobody accepts, and the queue is full: the attempt hangs.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        policy = EgressPolicy.parse([f"127.0.0.1:{port}"])
        config = ZygoteConfig(root="/tmp/py-code-mode-test", limits=LIMITS)
        services = Services(MemoryStorage(), limits=LIMITS)
        async with SessionManager(
            pool=Pool(config, egress=policy), services=services, limits=LIMITS
        ) as other:
            run = Run(other)
            code = f"import socket; x = 1; socket.create_connection(('127.0.0.1', {port}))"
            result = await run(code, timeout=0.5)
            assert (result.error_type, result.state.lost) == ("ExecutionTimeoutError", False)
            result = await run(code.replace(")))", "), 0.2)").replace("))", "), 0.2)"))
            assert result.error_type == "TimeoutError", result.error
            assert await run.value("x") == 1
        for filler in fillers:
            filler.close()


async def test_connections_end_with_their_session(online: Run, net: Net) -> None:
    code = "import socket; kept = socket.create_connection(('127.0.0.1', PLAIN)); kept.getsockname()[1]"
    port = await online.value(code)
    assert _connected_from(port)
    await online.manager.reset(online.id)
    deadline = time.monotonic() + 5
    while _connected_from(port) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    assert not _connected_from(port)
    assert (
        await online.value(
            f"import urllib.request as u; u.urlopen('http://127.0.0.1:{net.plain}/').read()"
        )
        == b"hello"
    )


def _connected_from(port: object) -> bool:
    """Say whether a TCP connection from this local port is established."""
    local = f":{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(local) and row[3] == "01" for row in rows)


async def test_each_decision_is_logged_with_the_session(
    online: Run, net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "py_code_mode.audit"):
        await online("import socket; socket.create_connection(('127.0.0.1', PLAIN))")
        await online("import socket; socket.create_connection(('example.org', 443))")
    found = [
        (line["decision"], line["session_id"], line["host"], line["port"])
        for line in (vars(record) for record in caplog.records)
        if "decision" in line
    ]
    assert found == [
        ("granted", online.id, "127.0.0.1", net.plain),
        ("refused", online.id, "example.org", 443),
    ]


async def test_a_tool_call_goes_on_beside_a_connection(online: Run) -> None:
    code = "import asyncio\nr = await asyncio.gather(artifacts.list.call_async(), asyncio.open_connection('127.0.0.1', PLAIN))\nr[0]"
    assert await online.value(code) == []
