"""A session's jail: the process that runs the programs of its tools.

A call runs in a *slot*: a thread that confined itself once, so that starting a program is one
``posix_spawn`` (which uses vfork) and no Python runs between fork and exec. The slot has a process
group whose leader is a zombie: it cannot be killed, and the filter lets nobody leave, so killing
the group ends exactly what the call started, daemons included.

One slot reads the host's requests, even while its program runs: a call that comes alone is never
handed from thread to thread. The main thread stays unconfined and starts the others. It is in no
Landlock domain, so that no program may signal this process.

Host to jail: ``spawn``, ``cancel``. Jail to host: ``ready``, then one ``ended`` for each spawn.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, Final

import msgpack

from py_code_mode_guest.confine import Confinement, confine_jail, confine_slot
from py_code_mode_guest.spawn import Spawner
from py_code_mode_guest.talk import Pipes, Talk, Watched, open_pipes
from py_code_mode_guest.wire import HEADER, pack

_CHUNK: Final = 64 * 1024
#: Python ignores these, and what is ignored stays so across exec.
_DEFAULT_SIGNALS: Final = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT)


#: Network allowed, and to which ports: slots are made per profile, for good.
Profile = tuple[bool, tuple[int, ...] | None]
_MOST_TOOLS: Final[Profile] = (True, None)


def main(sock: socket.socket, folder: str, uid: int | None, confinement: Confinement) -> None:
    """Serve the host until it goes away. Never returns."""
    warnings.simplefilter("ignore")  # of forking with threads: the child only exits
    Jail(confine_jail(sock, folder, uid, confinement), folder, confinement).serve()


class Jail:
    """Reads requests and hands each to a slot that is free."""

    def __init__(self, sock: socket.socket, folder: str, confinement: Confinement) -> None:
        self._sock = sock
        self._received = bytearray()
        self._folder = folder
        self._confinement = confinement
        self._send_lock = threading.Lock()
        self._free: dict[Profile, queue.LifoQueue[SlotThread]] = {}
        self._running: dict[int, Slot] = {}
        #: For the main thread, which is not confined: what a slot may not do for another.
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._reader = Slot(self, _MOST_TOOLS, Watched(sock.fileno(), self._read))
        self._readers_own: dict[str, Any] | None = None

    def serve(self) -> None:
        """Answer the host until it closes the socket."""
        threading.Thread(target=self._serve, daemon=True).start()
        while True:
            self._orders.get()()

    def send(self, message: dict[str, Any]) -> None:
        """Send one frame; any slot may."""
        frame = pack(message)
        with self._send_lock:
            self._sock.sendall(frame)

    def release(self, slot: Slot, request_id: int) -> None:
        """Take a slot back whose program has ended."""
        self._running.pop(request_id, None)
        if isinstance(slot, SlotThread):
            if slot.failure is None:
                self._free[slot.profile].put(slot)
        else:
            self._readers_own = None

    def confine(self, group: int, profile: Profile) -> None:
        """Confine the calling thread as a slot."""
        network, ports = profile
        confine_slot(self._folder, group, self._confinement, network=network, ports=ports)

    def environment(self, variables: dict[str, str]) -> dict[str, str]:
        """Return a program's whole environment."""
        return {"HOME": self._folder, "TMPDIR": self._folder, **variables}

    def _serve(self) -> None:
        try:
            self._reader.prepare()
            if self._reader.failure is not None:
                self.send({"type": "failed", "reason": self._reader.failure})
                return
            self.send({"type": "ready"})
            while True:
                if self._readers_own is None:
                    self._read()
                else:
                    self._reader.execute(self._readers_own)
        finally:
            os._exit(70)  # nobody else reads

    def _read(self) -> None:
        """Wait for what the host says next, and see to it; ends the process when it is gone."""
        try:
            data = self._sock.recv(_CHUNK)
        except ConnectionError:
            data = b""
        if not data:
            os._exit(0)
        received = self._received
        received += data
        while len(received) >= HEADER.size:
            end = HEADER.size + HEADER.unpack_from(received)[0]
            if len(received) < end:
                return
            with memoryview(received)[HEADER.size : end] as body:
                message = msgpack.unpackb(body)
            del received[:end]
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        request_id = message["id"]
        if message["type"] == "spawn":
            self._running[request_id] = self._slot_for(message)
        elif request_id in self._running:
            slot = self._running[request_id]
            self._orders.put(lambda: slot.cancel(request_id))

    def _slot_for(self, request: dict[str, Any]) -> Slot:
        ports = request["ports"]
        profile = (request["network"], None if ports is None else tuple(ports))
        if profile == _MOST_TOOLS and self._readers_own is None:
            self._readers_own = request
            return self._reader
        try:
            slot = self._free.setdefault(profile, queue.LifoQueue()).get_nowait()
        except queue.Empty:
            started = slot = SlotThread(self, profile)
            self._orders.put(lambda: self._start(started))
        slot.requests.put(request)
        return slot

    def _start(self, slot: SlotThread) -> None:
        try:
            threading.Thread(target=slot.run, daemon=True).start()
        except RuntimeError as error:  # no thread to be had: the uid's limit
            request = slot.requests.get()
            self._running.pop(request["id"], None)
            answer = _never_started(f"no room for another program: {error}")
            self.send({**answer, "type": "ended", "id": request["id"]})


class Slot:
    """One thread's place to run programs in, one at a time; ``watched`` is looked after too."""

    def __init__(self, jail: Jail, profile: Profile, watched: Watched | None = None) -> None:
        self.profile = profile
        self._jail = jail
        self._watched = watched
        self.failure: str | None = None
        self._group = 0
        self._turn = threading.Lock()  # guards the two below
        self._current = 0
        self._cancelled = 0

    def prepare(self) -> None:
        """Confine the calling thread."""
        try:
            self._group = _immortal_group()
            self._spawner = Spawner(self._group, _DEFAULT_SIGNALS)
            self._jail.confine(self._group, self.profile)
        except Exception as error:  # noqa: BLE001 - told to the caller; the program never starts
            self.failure = f"the jail could not be made: {error}"

    def execute(self, request: dict[str, Any]) -> None:
        """Run a program and tell the host how it ended."""
        with self._turn:
            self._current = request["id"]
        try:
            answer = _never_started(self.failure) if self.failure else self._run(request)
        except Exception as error:  # noqa: BLE001 - memory, descriptors: told; the slot goes on
            answer = _never_started(f"the jail could not run it: {type(error).__name__}: {error}")
        with self._turn:
            self._current = 0
        # First free, then answered: the next request may come with the answer.
        self._jail.release(self, request["id"])
        self._jail.send({**answer, "type": "ended", "id": request["id"]})

    def cancel(self, request_id: int) -> None:
        """End what this slot runs, if it still is that request."""
        with self._turn:
            self._cancelled = request_id
            if self._current == request_id and self._group:
                os.killpg(self._group, signal.SIGKILL)

    def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        with open_pipes(with_input=bool(request["stdin"])) as pipes:
            try:
                pid = self._start(request, pipes)
            except OSError as error:
                return _never_started(f"{request['argv'][0]}: {error.strerror}")
            try:
                if self._cancelled == request["id"]:  # while it was being started
                    os.killpg(self._group, signal.SIGKILL)
                pipes.close_theirs()
                deadline = time.monotonic() + request["timeout_s"]
                limit = request["max_output_bytes"]
                talk = Talk(pipes, request["stdin"], limit, deadline, self._watched)
                talk.until_exit(pid)
            finally:
                os.killpg(self._group, signal.SIGKILL)
                status = os.waitpid(pid, 0)[1]
            talk.drain()
        return {
            "exit_code": os.waitstatus_to_exitcode(status),
            "stdout": bytes(talk.output[pipes.stdout]),
            "stderr": bytes(talk.output[pipes.stderr]),
            "timed_out": talk.timed_out,
            "truncated": talk.truncated,
            "reason": "",
        }

    def _start(self, request: dict[str, Any], pipes: Pipes) -> int:
        environment = self._jail.environment(request["env"])
        return self._spawner.start(request["argv"], environment, pipes.theirs)


class SlotThread(Slot):
    """A slot with a thread of its own."""

    def __init__(self, jail: Jail, profile: Profile) -> None:
        super().__init__(jail, profile)
        self.requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def run(self) -> None:
        """Confine this thread, then run what comes."""
        self.prepare()
        while True:
            self.execute(self.requests.get())
            if self.failure is not None:
                return  # another call may find more room


def _immortal_group() -> int:
    """Return a process group that lives as long as we do: its leader is a zombie, never reaped."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def _never_started(reason: str) -> dict[str, Any]:
    return {
        "exit_code": None,
        "stdout": b"",
        "stderr": b"",
        "timed_out": False,
        "truncated": False,
        "reason": reason,
    }
