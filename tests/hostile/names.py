"""Where guests with egress may connect to, and the names that are to lead them elsewhere."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final

from py_code_mode.workers.addresses import Address
from py_code_mode.workers.egress import EgressPolicy

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "open.test": ("127.0.0.1",),
    "inside.test": ("127.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
    "metadata.test": ("169.254.169.254", "fd00:ec2::254", "168.63.129.16"),
    "private.test": ("10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1", "fc00::1"),
    "nowhere.test": ("0.0.0.0", "::", "224.0.0.1", "255.255.255.255"),
}
_TURNS: Final = itertools.cycle(("169.254.169.254", "127.0.0.1"))


def allowed(facts: Mapping[str, Any]) -> EgressPolicy:
    """Return a policy by which one server can be reached, and names have to be looked up."""
    ports = (facts["open"], facts["tcp"], 80)
    patterns = [f"127.0.0.1:{facts['open']}", *(f"*.test:{port}" for port in ports)]
    return EgressPolicy.parse(patterns, per_second=200)


def look_up(name: str) -> Sequence[Address]:
    """Return the addresses of a name; those of ``turning.test`` change from time to time."""
    if name == "turning.test":
        return [ip_address(next(_TURNS))]
    if name not in _NAMES:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [ip_address(text) for text in _NAMES[name]]
