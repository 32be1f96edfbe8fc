"""Keeps what the command's own arguments and variables have of secrets out of what it prints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote

#: Shorter ones protect nothing, and hiding them would hide half of each message.
_MIN_CHARS = 3
_URL = re.compile(r"^(?:--[\w-]+=)?\w+://(?P<rest>.*)$", re.DOTALL)
#: As connection strings of other clients have it.
_PASSWORD = re.compile(r"password=([^,;\s]+)", re.IGNORECASE)


class Secrets:
    """The users and passwords in ``words``, in every form in which they could be printed."""

    def __init__(self, words: Iterable[str]) -> None:
        found = {form for word in words for part in _parts(word) for form in _forms(part)}
        self._hidden = sorted((text for text in found if len(text) >= _MIN_CHARS), key=len)[::-1]

    def hide(self, text: str) -> str:
        """Return ``text`` with ``***`` in place of each secret."""
        for secret in self._hidden:
            text = text.replace(secret, "***")
        return text


def _parts(word: str) -> Iterator[str]:
    """Yield what is secret in one argument: without an ``@``, all of a URL may be."""
    yield from _PASSWORD.findall(word)
    url = _URL.match(word.strip())
    if url is None:
        return
    login, at, _ = url["rest"].rpartition("@")
    if not at:
        login = url["rest"] if url["rest"].startswith(":") else ""
    yield login
    yield login.partition(":")[2] or login


def _forms(secret: str) -> Iterator[str]:
    for text in (secret, unquote(secret), quote(secret, safe="")):
        yield text
        yield ascii(text)[1:-1]
