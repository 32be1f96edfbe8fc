"""The Lua scripts that change several keys in one step, each under the name of its file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from pathlib import Path

_FOLDER = Path(__file__).with_name("redis_lua")


@dataclass(frozen=True, slots=True)
class Script:
    """A script as servers take it: ``digest`` names it where they know it already."""

    name: str
    text: bytes
    digest: bytes


@cache
def script(name: str) -> Script:
    """Return the script of ``redis_lua/<name>.lua`` with the functions that all of them share."""
    parts = ("revision", "sizes", name)
    text = b"".join((_FOLDER / f"{part}.lua").read_bytes() for part in parts)
    # Redis names scripts by their SHA-1; nothing secret depends on it.
    digest = sha1(text, usedforsecurity=False).hexdigest().encode()
    return Script(name, text, digest)
