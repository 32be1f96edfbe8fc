"""``egress_allow`` of a session, and sessions without it."""

from __future__ import annotations

import pytest

from py_code_mode import MemoryStorage, Session
from py_code_mode.errors import ConfigurationError
from sessions.net import Net


async def test_without_a_list_there_is_no_network_and_no_broker(session: Session) -> None:
    for code in (
        "import socket; socket.socket()",
        "import socket; socket.create_connection(('127.0.0.1', 80))",
        "import urllib.request as u; u.urlopen('http://example.org/')",
    ):
        result = await session.run(code)
        assert result.error is not None
        assert "tools.curl(...)" in result.error
        assert "EGRESS_ALLOW" in result.error
    loaded = "import sys; [name for name in sys.modules if 'egress' in name or 'stand_ins' in name]"
    assert (await session.run(loaded)).value == []
    counted = "import os\nn = 0\nfor fd in range(50):\n    try: n += os.fstat(fd) is not None\n    except OSError: pass\nn"
    assert (await session.run(counted)).value == 4


async def test_a_session_takes_a_list(net: Net) -> None:
    async with Session(MemoryStorage(), egress_allow=[f"127.0.0.1:{net.plain}"]) as opened:
        code = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{net.plain}/').read()"
        assert (await opened.run(code)).value == b"hello"


async def test_a_session_refuses_a_list_that_cannot_work() -> None:
    with pytest.raises(ConfigurationError, match="a port is missing"):
        Session(MemoryStorage(), egress_allow=["api.github.com"])


async def test_without_the_sandbox_sockets_are_native(net: Net) -> None:
    async with Session(MemoryStorage(), sandbox="off", egress_allow=["api.example:443"]) as opened:
        code = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{net.plain}/').read()"
        assert (await opened.run(code)).value == b"hello"
