"""A worker: the forked child that locks itself down and then runs one session's code."""

from __future__ import annotations

import builtins
import io
import os
import pydoc
import socket
import sys
import types
from typing import Any, Final

from py_code_mode_guest import errors, interrupts, refusals, tracebacks
from py_code_mode_guest.channel import Channel
from py_code_mode_guest.confine import Confinement, confine_worker
from py_code_mode_guest.incoming import LACKS_MEMORY
from py_code_mode_guest.interpreter import Interpreter
from py_code_mode_guest.namespaces import Namespace, Operation
from py_code_mode_guest.output import NoInput, Outlet, Stream, flush_replaced
from py_code_mode_guest.records import ext_hook
from py_code_mode_guest.reserve import Reserve
from py_code_mode_guest.skills import Invoke, Skill, Skills
from py_code_mode_guest.texts import printable
from py_code_mode_guest.tools import Tools
from py_code_mode_guest.values import encode_result
from py_code_mode_guest.wire import pack


def main(
    sock: socket.socket,
    folder: str,
    uid: int | None,
    confinement: Confinement,
    grants: socket.socket | None = None,
) -> None:
    """Confine this process and serve the host until it goes away. Never returns.

    ``grants`` is there where agent code may connect to somewhere: connections come through it.
    """
    sock = confine_worker(sock, folder, uid, confinement, grants)
    _environment(folder)
    if confinement.enforce:
        refusals.install(egress=grants is not None)
    Guest(sock, grants).serve()


def _environment(folder: str) -> None:
    os.environ.clear()
    os.environ.update(
        HOME=folder,
        TMPDIR=folder,
        MPLCONFIGDIR=os.path.join(folder, ".matplotlib"),
        MPLBACKEND="module://py_code_mode_guest.mpl_backend",
        PATH="",
        USER="session",
        LOGNAME="session",
        LANG="C.UTF-8",
        TZ="UTC",
        OPENBLAS_NUM_THREADS="1",
    )
    # Last, so that a file in the folder never hides the standard library.
    sys.path.append(folder)


def _connect_by(channel: Channel, grants: socket.socket) -> None:
    # Where there is no broker, no session pays for the import.
    from py_code_mode_guest import stand_ins  # noqa: PLC0415

    stand_ins.install(channel, grants)


_REHEARSED: Final = "_ = [f'{number}' for number in (1, 2.5)]\n1+1"
_CLASS_NAME: Final = vars(type)["__name__"]


class Guest:
    """Serves the host's frames: one ``open``, then ``run`` after ``run``."""

    def __init__(self, sock: socket.socket, grants: socket.socket | None = None) -> None:
        self._reserve = Reserve()
        self._channel = Channel(sock, ext_hook, self._reserve.spend)
        if grants is not None:
            _connect_by(self._channel, grants)
        self._outlet = Outlet(self._channel.send, self._channel.send_lock)
        self._interpreter = Interpreter(self._outlet)
        self._prepare_modules()

    def serve(self) -> None:
        """Answer commands until the host closes the socket, which ends the process."""
        self._rehearse()
        self._channel.send({"type": "ready"})
        while True:
            command = self._channel.next_command()
            if command["type"] == "open":
                self._open(command["namespaces"])
            elif LACKS_MEMORY in command:
                self._channel.send(_out_of_memory(command))
            else:
                self._answer(command)

    def _answer(self, command: dict[str, Any]) -> None:
        """Run code and answer: with what it came to, where there is memory to pack that."""
        answer = self._run(command)
        try:
            self._channel.send(answer)
        except MemoryError:
            answer.clear()
            self._reserve.release()
            self._channel.send(_out_of_memory(command))

    def _rehearse(self) -> None:
        """Run once for nobody: the first run finds the pages copied that every run writes to."""
        command = {"id": 0, "code": _REHEARSED, "name": "<start>", "max_output_bytes": 1000}
        pack(self._run(command))
        self._interpreter.globals.pop("_", None)

    def _open(self, namespaces: dict[str, list[dict[str, str]]]) -> None:
        scope: dict[str, Any] = dict(errors.BY_NAME)
        for name, operations in namespaces.items():
            if name == "skills":
                scope[name] = Skills(
                    self._channel, name, operations, interpreter=self._interpreter, scope=scope
                )
            else:
                kind = Tools if name == "tools" else Namespace
                scope[name] = kind(self._channel, name, operations)
        self._interpreter.globals.update(scope)

    def _run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Run code and return what is to be answered."""
        max_bytes: int = command["max_output_bytes"]
        interrupts.install()
        self._outlet.begin(max_bytes)

        def work() -> tuple[Any, bool]:
            try:
                value = self._interpreter.run(command["code"], command["name"])
                return encode_result(value, max_bytes)
            finally:
                flush_replaced()

        outcome, error = interrupts.guarded(work)
        answer: dict[str, Any] = {"type": "done", "id": command["id"], "value": None}
        if outcome is not None:
            self._reserve.renew()
            answer["value"], cut = outcome
            if cut:
                self._outlet.truncated.add("value")
        else:
            met_limit = isinstance(error, (MemoryError, SystemError))
            if met_limit:
                self._reserve.release()
            answer["error"] = _describe(error)
            error = None  # it holds the frames, and they what filled the memory
            if met_limit:
                self._reserve.release()
        answer["parts"] = self._outlet.end()
        answer["truncated"] = sorted(self._outlet.truncated)
        return answer

    def _prepare_modules(self) -> None:
        """Point Python's own doors (streams, help, imports of our errors) at this session."""
        sys.stdin = sys.__stdin__ = NoInput()  # type: ignore[misc]  # as those below
        sys.stdout = sys.__stdout__ = Stream("stdout", self._outlet)  # type: ignore[misc, assignment]
        sys.stderr = sys.__stderr__ = Stream("stderr", self._outlet)  # type: ignore[misc, assignment]
        builtins.help = _help  # type: ignore[assignment]  # any callable will do
        package = types.ModuleType("py_code_mode", "In a session only `errors` is here.")
        package.__path__ = []
        package.errors = errors  # type: ignore[attr-defined]
        sys.modules["py_code_mode"] = package
        sys.modules["py_code_mode.errors"] = errors
        numpy = sys.modules.get("numpy")
        if numpy is not None:  # or every session would draw the zygote's random numbers
            numpy.random.seed()


def _out_of_memory(command: dict[str, Any]) -> dict[str, Any]:
    text = "MemoryError: this session's memory is full; delete what you no longer need (del name)"
    return {
        "type": "done",
        "id": command["id"],
        "value": None,
        "error": {"type": "MemoryError", "traceback": text},
        "parts": [],
        "truncated": [],
    }


def _describe(error: BaseException | None) -> dict[str, str]:
    """Return type and traceback of what a run raised; its ``__str__`` may be slow or hostile."""
    assert error is not None  # noqa: S101 - guarded() returns a result or an error
    # Past the metaclass, which is agent code too.
    name = printable(_CLASS_NAME.__get__(type(error)))[:200]
    text, failure = interrupts.guarded(lambda: tracebacks.render(error))
    if text is None:
        kind = type(failure).__name__
        text = f"{name} (its traceback could not be shown: {kind} while printing it)"
    return {"type": name, "traceback": text}


def _help(*args: Any) -> None:
    """Print what a namespace, an operation or a skill is; anything else as Python's own help."""
    if not args:
        sys.stdout.write("help(x) says what x is; try help(tools), help(skills)\n")
    elif isinstance(args[0], (Namespace, Invoke)):
        sys.stdout.write(f"{args[0]!r}\n")
    elif isinstance(args[0], (Operation, Skill)):
        sys.stdout.write(f"{args[0].__doc__}\n")
    else:
        pydoc.Helper(input=io.StringIO(""), output=sys.stdout)(args[0])
