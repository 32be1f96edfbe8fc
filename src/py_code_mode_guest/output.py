"""What agent code prints and displays, captured, capped and sent while it runs.

Each of a run's first lines leaves at once, so that a process which is killed in mid-run has its
output told; after that lines are gathered for a few milliseconds.
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from py_code_mode_guest import interrupts
from py_code_mode_guest.texts import printable
from py_code_mode_guest.wire import DISPLAY_COST

_EAGER_LINES: Final = 500
_GATHER_S: Final = 0.005
_GATHER_CHARS: Final = 32 * 1024


class Outlet:
    """The way out of one run: two streams and the displays, each with ``max_bytes`` of room.

    ``lock`` is the one that ``send`` takes, where it takes one.
    """

    def __init__(
        self, send: Callable[[dict[str, Any]], None], lock: threading.RLock | None = None
    ) -> None:
        self._send = send
        self._lock = lock or threading.RLock()
        self._left: dict[str, int] = {}
        self._parts: list[list[str]] = []  # [stream, text] in the order of writing
        self._gathered = 0
        self._lines = 0
        self._flushed_at = 0.0
        self._running = False
        self.max_bytes = 0
        self.truncated: set[str] = set()

    def begin(self, max_bytes: int) -> None:
        """Open the outlet for a run; what threads wrote since the last one comes first."""
        with self._lock:
            self.max_bytes = max_bytes
            self.truncated = set()
            self._left = dict.fromkeys(("stdout", "stderr", "displays"), max_bytes)
            self._lines = 0
            waiting, self._parts, self._gathered = self._parts, [], 0
            self._running = True
        for stream, text in waiting:
            self.write(stream, text)

    def end(self) -> list[list[str]]:
        """Close the outlet and return what was not sent yet, for the run's last frame."""
        with interrupts.shield(), self._lock:
            self._running = False
            parts, self._parts, self._gathered = self._parts, [], 0
            return parts

    def write(self, stream: str, text: str) -> None:
        """Take text for ``stdout`` or ``stderr``; over its room it is dropped and told."""
        text = printable(text)
        with interrupts.shield(), self._lock:
            if stream in self.truncated:
                return
            text = self._fit(stream, text)
            self._gather(stream, text)
            if self._running and self._due(text):
                self.flush()

    def flush(self) -> None:
        """Send what was gathered."""
        with interrupts.shield(), self._lock:
            if not self._running or not self._parts:
                return
            parts, self._parts, self._gathered = self._parts, [], 0
            self._flushed_at = time.monotonic()
            self._send({"type": "output", "parts": parts})

    def display(self, bundle: dict[str, str | bytes]) -> None:
        """Send one MIME bundle, or what of it fits."""
        with interrupts.shield(), self._lock:
            if not self._running:
                return
            # The host counts the same, and ends who sends more.
            bundle, cut = _fit_bundle(bundle, self._left["displays"] - DISPLAY_COST)
            if cut:
                self.truncated.add("displays")
            if bundle:
                self._left["displays"] -= DISPLAY_COST + _bundle_size(bundle)
                self.flush()
                self._send({"type": "display", "bundle": bundle})

    def _fit(self, stream: str, text: str) -> str:
        room = self._left.get(stream, self.max_bytes)
        size = len(text) if text.isascii() else len(text.encode())
        self._left[stream] = room - size
        if size <= room:
            return text
        self.truncated.add(stream)
        return text.encode()[:room].decode("utf-8", "ignore")

    def _gather(self, stream: str, text: str) -> None:
        if self._parts and self._parts[-1][0] == stream:
            self._parts[-1][1] += text
        elif text:
            self._parts.append([stream, text])
        self._gathered += len(text)

    def _due(self, text: str) -> bool:
        if self._gathered > _GATHER_CHARS:
            return True
        if "\n" not in text:
            return False
        self._lines += 1
        return self._lines <= _EAGER_LINES or time.monotonic() - self._flushed_at > _GATHER_S


def flush_replaced() -> None:
    """Flush what agent code has put in the streams' place, such as a TextIOWrapper around one."""
    for stream in (sys.stdout, sys.stderr):
        if type(stream) is not Stream:
            with contextlib.suppress(Exception):
                stream.flush()


class NoInput(io.TextIOWrapper):
    """``sys.stdin`` of a session: at its end, and never closed (``exit()`` would)."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def close(self) -> None:
        """Nothing."""


class Stream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` of a session."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, name: str, outlet: Outlet) -> None:
        self._name = name
        self._outlet = outlet
        self.buffer = _Bytes(name, outlet)

    @property
    def name(self) -> str:
        return f"<{self._name}>"

    def writable(self) -> bool:
        return True

    def reconfigure(self, **_options: Any) -> None:
        """Nothing, for code that asks for UTF-8 or for lines at once, which it has."""

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._outlet.write(self._name, str(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]  # as text files do
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._outlet.flush()

    def close(self) -> None:
        """Nothing: a session's streams outlive every ``with`` that agent code puts them in."""


class _Bytes(io.RawIOBase):
    """What ``sys.stdout.buffer`` is for: bytes, shown as text."""

    def __init__(self, name: str, outlet: Outlet) -> None:
        self._name = name
        self._outlet = outlet

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        body = bytes(data)
        self._outlet.write(self._name, body.decode("utf-8", "backslashreplace"))
        return len(body)

    def flush(self) -> None:
        self._outlet.flush()

    def close(self) -> None:
        """Nothing, as for the text stream."""


def _bundle_size(bundle: dict[str, str | bytes]) -> int:
    data = sum(len(d) if isinstance(d, bytes) else len(d.encode()) for d in bundle.values())
    return data + sum(map(len, bundle))


def _fit_bundle(bundle: dict[str, str | bytes], room: int) -> tuple[dict[str, str | bytes], bool]:
    """Return the representations that fit, plainest first, and whether any was left out."""
    kept: dict[str, str | bytes] = {}
    for media_type in sorted(bundle, key=lambda name: name != "text/plain"):
        size = _bundle_size({media_type: bundle[media_type]})
        if size <= room:
            kept[media_type] = bundle[media_type]
            room -= size
    return kept, len(kept) < len(bundle)
