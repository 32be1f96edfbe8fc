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

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Spawner:
    """Starts programs in one process group, with signals as a fresh process has them."""

    def __init__(self, group: int, default_signals: Sequence[int]) -> None:
        self._attributes = ctypes.create_string_buffer(_ROOM)
        signals = ctypes.create_string_buffer(_ROOM)
        _call("posix_spawnattr_init", self._attributes)
        _call(
            "posix_spawnattr_setflags",
            self._attributes,
            ctypes.c_short(_SETPGROUP | _SETSIGDEF | _SETSIGMASK),
        )
        _call("posix_spawnattr_setpgroup", self._attributes, ctypes.c_int(group))
        _libc.sigemptyset(signals)
        _call("posix_spawnattr_setsigmask", self._attributes, signals)
        for number in default_signals:
            _libc.sigaddset(signals, ctypes.c_int(number))
        _call("posix_spawnattr_setsigdefault", self._attributes, signals)

    def start(self, argv: Sequence[str], env: Mapping[str, str], streams: Sequence[int]) -> int:
        """Start a program with these descriptors as its standard streams; returns its pid.

        Raises OSError.
        """
        actions = ctypes.create_string_buffer(_ROOM)
        _call("posix_spawn_file_actions_init", actions)
        try:
            for target, fd in enumerate(streams):
                _call(
                    "posix_spawn_file_actions_adddup2",
                    actions,
                    ctypes.c_int(fd),
                    ctypes.c_int(target),
                )
            pid = ctypes.c_int()
            variables = [f"{name}={value}" for name, value in env.items()]
            _call(
                "posix_spawn", ctypes.byref(pid), argv[0].encode(), actions, self._attributes,
                _texts(argv), _texts(variables),
            )  # fmt: skip
            return pid.value
        finally:
            _call("posix_spawn_file_actions_destroy", actions)


def _texts(texts: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
    if any(b"\0" in text for text in encoded):  # it would end there
        raise OSError(errno.EINVAL, "an argument has a NUL")
    return (ctypes.c_char_p * (len(texts) + 1))(*encoded, None)


def _call(function: str, *arguments: object) -> None:
    error: int = getattr(_libc, function)(*arguments)
    if error:
        raise OSError(error, os.strerror(error))
