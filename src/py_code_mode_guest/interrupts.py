"""Soft interrupts: SIGINT stops agent code, never our own work with the wire.

The host sends SIGINT at the deadline, again every 100 ms. In agent code it raises
KeyboardInterrupt in the main thread. Inside a :func:`shield` it is only noted, and raised when the
shield ends, so that a frame is written and read whole or not at all.
"""

from __future__ import annotations

# Asked before every run: without the enums that `signal` makes of them, twenty times faster.
import _signal  # type: ignore[import-not-found]
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final, TypeVar

T = TypeVar("T")

_SIGINT: Final = int(signal.SIGINT)
_SIG_UNBLOCK: Final = int(signal.SIG_UNBLOCK)
_MASK: Final = (_SIGINT,)


class _State:
    """Flags of the main thread; other threads are never interrupted and never touch them."""

    running = False  # is agent code under way, anywhere below?
    armed = False  # may KeyboardInterrupt be raised right here?
    noted = False  # did a signal come where it may not?
    main = threading.get_ident()


def install() -> None:
    """Take SIGINT for this process; before each run, since agent code may have changed it."""
    _State.main = threading.get_ident()
    _State.noted = False
    if _signal.getsignal(_SIGINT) is not _on_sigint:
        signal.signal(_SIGINT, _on_sigint)
    _signal.pthread_sigmask(_SIG_UNBLOCK, _MASK)


def _on_sigint(_signum: int, _frame: FrameType | None) -> None:
    if _State.armed:
        raise KeyboardInterrupt
    _State.noted = True


def guarded(function: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """Call ``function`` where interrupts may land; return its result, or what it raised.

    No interrupt escapes: between the stores to ``armed`` and the next bytecode there is no place
    where CPython runs a signal handler (that happens at calls, loops and function entries only).
    """
    try:
        _State.running = _State.armed = True
        result = function()
        _State.running = _State.armed = False
    except BaseException as error:  # noqa: BLE001 - the result is what was raised
        _State.running = _State.armed = False
        return None, error
    return result, None


class shield:  # noqa: N801 - reads as a statement: `with shield():`
    """A region of the main thread that an interrupt cannot enter; re-entrant."""

    __slots__ = ("_was_armed",)

    def __enter__(self) -> None:
        self._was_armed = False
        if threading.get_ident() == _State.main:
            self._was_armed, _State.armed = _State.armed, False

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        _exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if not self._was_armed:
            return
        _State.armed = True
        if _State.noted:
            _State.noted = False
            if exc_type is None:
                raise KeyboardInterrupt


def interruptible(wait: Callable[[], T]) -> T:
    """Call a blocking ``wait`` inside a shield such that an interrupt does end it.

    Only where a run is under way: between runs a late signal is dropped.
    """
    if threading.get_ident() != _State.main or not _State.running:
        return wait()
    try:
        _State.armed = True
        if _State.noted:
            _State.noted = False
            raise KeyboardInterrupt
        return wait()
    finally:
        _State.armed = False
