"""``posix_spawn`` without the interpreter's lock, which ``os.posix_spawn`` holds until the exec.

The kernel suspends the calling thread until the child has its new program; with the lock held, all
other slots of a jail would wait for that too.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping, Sequence
from typing import Final

_SETPGROUP, _SETSIGDEF, _SETSIGMASK = 0x02, 0x04, 0x08
#: More than any C library's structures take (glibc: 336, 80 and 128 bytes).
_ROOM: Final = 1024

#: This one gives the lock up while it is called ...
_posix_spawn: Final = ctypes.CDLL(None).posix_spawn
#: ... and these do not: they are quicker than taking it again.
_libc: Final = ctypes.PyDLL(None)


class Spawner:
    """Starts programs in one process group, with signals as a fresh process has them."""

    def __init__(self, group: int, default_signals: Sequence[int]) -> None:
        """Prepare what all programs have in common. Raises OSError."""
        signals = ctypes.create_string_buffer(_ROOM)
        self._attributes = attributes = ctypes.create_string_buffer(_ROOM)
        _check(_libc.posix_spawnattr_init(attributes))
        flags = _SETPGROUP | _SETSIGDEF | _SETSIGMASK
        _check(_libc.posix_spawnattr_setflags(attributes, ctypes.c_short(flags)))
        _check(_libc.posix_spawnattr_setpgroup(attributes, group))
        _libc.sigemptyset(signals)
        _check(_libc.posix_spawnattr_setsigmask(attributes, signals))
        for number in default_signals:
            _libc.sigaddset(signals, number)
        _check(_libc.posix_spawnattr_setsigdefault(attributes, signals))

    def start(self, argv: Sequence[str], env: Mapping[str, str], streams: Sequence[int]) -> int:
        """Start a program with these descriptors as its standard streams; returns its pid.

        Raises OSError.
        """
        arguments = _texts(argv)
        variables = _texts([f"{name}={value}" for name, value in env.items()])
        actions = ctypes.create_string_buffer(_ROOM)
        _check(_libc.posix_spawn_file_actions_init(actions))
        try:
            for target, fd in enumerate(streams):
                _check(_libc.posix_spawn_file_actions_adddup2(actions, fd, target))
            pid = ctypes.c_int()
            _check(
                _posix_spawn(
                    ctypes.byref(pid), arguments[0], actions, self._attributes, arguments, variables
                )
            )
            return pid.value
        finally:
            _libc.posix_spawn_file_actions_destroy(actions)


def _texts(texts: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    try:
        encoded = [text.encode() for text in texts]
    except UnicodeEncodeError:
        raise OSError(errno.EINVAL, "an argument has half of a surrogate pair") from None
    if any(b"\0" in text for text in encoded):  # it would end there
        raise OSError(errno.EINVAL, "an argument has a NUL")
    return (ctypes.c_char_p * (len(texts) + 1))(*encoded, None)


def _check(error: int) -> None:
    if error:
        raise OSError(error, os.strerror(error))
