"""Says in words what the kernel refuses, so that a model knows what to do instead.

An audit hook, and no part of the enforcement: without it the same calls fail with a bare EPERM.
"""

from __future__ import annotations

import sys
from typing import Any, Final

_PROGRAMS: Final = (
    "a session cannot start programs or processes; call the programs you were given as"
    " tools.<name>(...), or use threads or asyncio"
)
_NETWORK: Final = (
    "a session has no network of its own; use a tool that reaches it, such as tools.curl(...)"
    " (tools.list() says which there are), or ask the operator to set EGRESS_ALLOW"
)
#: Where the operator has set it.
ONLY_TCP: Final = (
    "a session may only open TCP connections, and only to where EGRESS_ALLOW says; it cannot"
    " listen, nor use UDP or other sockets"
)
_AF_UNIX: Final = 1
#: TCP over either version, and whatever a descriptor already is.
_CONNECTABLE: Final = (_AF_UNIX, 2, 10, -1)
_REFUSED: Final = {
    "os.exec": _PROGRAMS,
    "os.fork": _PROGRAMS,
    "os.forkpty": _PROGRAMS,
    "os.posix_spawn": _PROGRAMS,
    "os.spawn": _PROGRAMS,
    "os.system": _PROGRAMS,
    "pty.spawn": _PROGRAMS,
    "subprocess.Popen": _PROGRAMS,
    "socket.getaddrinfo": _NETWORK,
    "socket.gethostbyname": _NETWORK,
}


def install(*, egress: bool = False) -> None:
    """Turn the usual attempts into a PermissionError with a message.

    ``egress`` says that sockets are made and connected with the host's help.
    """
    sys.addaudithook(_explain_with_egress if egress else _explain)


def _explain(event: str, args: tuple[Any, ...]) -> None:
    reason = _REFUSED.get(event)
    if reason is None and event == "socket.__new__" and args[1] != _AF_UNIX:
        reason = _NETWORK
    if reason is not None:
        raise PermissionError(1, reason)


def _explain_with_egress(event: str, args: tuple[Any, ...]) -> None:
    reason = _REFUSED.get(event)
    made = args[1] if event == "socket.__new__" else _AF_UNIX
    if reason is _NETWORK or event == "socket.bind" or made not in _CONNECTABLE:
        reason = ONLY_TCP
    if reason is not None:
        raise PermissionError(1, reason)
