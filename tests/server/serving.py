"""The real server for tests: ``py-code-mode serve`` as an operator starts it, ended by its pid."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx2

TOKEN = "a-token-of-the-tests-0123456789"
START_S = 60.0
#: How long a test waits for what comes by itself; never a measure of speed.
PATIENCE_S = 45.0
#: What /proc tells of a process to those alone who may trace it.
PRIVATE = ("environ", "mem", "maps", "fd/0")
#: Makes root what it is in a container that leaves it nothing.
WITHOUT = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
COMMAND = Path(sys.executable).with_name("py-code-mode")
_LISTENING = re.compile(r"listening on (http://[^\s\"]+)")

Json = dict[str, Any]
T = TypeVar("T")


class Server:
    """One server process. ``variables`` are its settings; ``folder`` takes all that it writes."""

    def __init__(self, folder: Path, variables: Mapping[str, str], arguments: Sequence[str] = ()):
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir(exist_ok=True)
        self.log_file = folder / f"log-{len(list(folder.glob('log-*')))}"
        self.variables = {
            "CONTAINER_AUTH_TOKEN": TOKEN,
            "HOST": "127.0.0.1",
            "PORT": "0",
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "debug",
            "WORK_DIR": str(self.work),
            **variables,
        }
        self._arguments = arguments
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, until: str = "/ready") -> Server:
        """Start it and wait until ``until`` answers 200."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [COMMAND, "serve", *self._arguments],
                env={**clean_environ(), **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        try:
            found = eventually(lambda: self._is_over() or _LISTENING.search(self.log), START_S)
            assert isinstance(found, re.Match), f"the server did not start:\n{self.log}"
            self.url = found[1]
            with self.client() as client:
                eventually(lambda: client.get(until).status_code == 200, START_S)
        except BaseException:
            self.kill()
            raise
        return self

    @property
    def pid(self) -> int:
        """The pid, which is also that of the command that was started."""
        assert self.process is not None
        return self.process.pid

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        """Everything it has written."""
        return self.log_file.read_text(errors="replace")

    def log_lines(self, event: str) -> list[Json]:
        """Return the log's objects of one event."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def processes(self) -> list[int]:
        """Return the pids of the server and of everything below it."""
        parents = _parents()
        family = [self.pid]
        for pid in family:
            family += [child for child, parent in parents.items() if parent == pid]
        return family

    def client(self, token: str | None = TOKEN, timeout: float = 60.0) -> Client:
        """Return a client with a pool of connections of its own."""
        return Client(self.url, token, timeout)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server alone."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, patience_s: float = 60.0) -> int:
        """Ask it to end; returns its exit code."""
        process = self.process
        assert process is not None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        return process.wait(patience_s)

    def kill(self) -> None:
        """End it at once, and wait for the end of all it started."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        family = self.processes()[1:]
        process.kill()
        process.wait(10)
        eventually(lambda: not any(map(is_alive, family)))

    def _is_over(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None


class Client(httpx2.Client):
    """An HTTP client that knows the server's token and how code is run."""

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        super().__init__(base_url=url, headers=headers, timeout=timeout, trust_env=False)

    def execute(self, code: str, session: str | None = None, **body: Any) -> httpx2.Response:
        """POST /execute."""
        headers = {} if session is None else {"X-Session-ID": session}
        return self.post("/execute", json={"code": code, **body}, headers=headers)

    def run(self, code: str, session: str | None = None, **body: Any) -> Json:
        """Run code that the server accepts; returns the whole answer."""
        response = self.execute(code, session, **body)
        assert response.status_code == 200, response.text
        answer: Json = response.json()
        return answer

    def value(self, code: str, session: str | None = None, **body: Any) -> Any:
        """Return the value of code that works."""
        answer = self.run(code, session, **body)
        assert answer["error"] is None, answer["error"]
        return answer["value"]


class Place:
    """Makes servers that share one folder, and ends them after the test."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="py-code-mode-server-"))
        self.folder.chmod(0o711)  # workers are other users, who must reach their folders in it
        self.servers: list[Server] = []

    def make(self, *arguments: str, **variables: str) -> Server:
        """Return a server on files, unless its variables say something else; not started."""
        given = dict(variables)
        if "REDIS_URL" not in given:
            given.setdefault("STORAGE_PATH", str(self.folder / "store"))
        server = Server(self.folder, given, arguments)
        self.servers.append(server)
        return server

    def start(self, *arguments: str, **variables: str) -> Server:
        """Return a server that is ready."""
        return self.make(*arguments, **variables).start()

    def close(self) -> None:
        """End all servers and remove all they wrote."""
        for server in self.servers:
            server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def place() -> Iterator[Place]:
    """A place for servers."""
    made = Place()
    try:
        yield made
    finally:
        made.close()


def refused(variables: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Start a server that is to refuse, with nothing but these variables; returns how it ended."""
    return subprocess.run(
        [COMMAND, "serve", *arguments],
        env={**clean_environ(), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )


def clean_environ() -> dict[str, str]:
    """Return what every process has, and no setting of ours."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}


@contextlib.contextmanager
def meanwhile(work: Callable[[], T]) -> Iterator[Future[T]]:
    """Do something in a thread while the block runs; the block may wait for what comes of it."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)


def together(works: Sequence[Callable[[], T]]) -> list[T]:
    """Do all of it at the same time; returns what came of each, in their order."""
    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(PATIENCE_S) for future in [pool.submit(work) for work in works]]


def eventually(check: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Return what ``check`` returns once that is true; AssertionError after the patience."""
    end = time.monotonic() + patience_s
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < end, f"it did not come true within {patience_s:g} s"
        time.sleep(0.05)


def health_s(server: Server) -> float:
    """Return how long ``/health`` takes now."""
    with server.client(token=None) as client:
        begun = time.monotonic()
        assert client.get("/health").status_code == 200
        return time.monotonic() - begun


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    return state_of(pid) not in {"", "Z", "X"}


def hidden(pid: int, name: str, uid: int | None = None) -> bool:
    """Tell whether the kernel keeps a file of /proc from a program of our uid, or of another.

    Root goes without its capabilities, as it does in the server's children.
    """
    way = [*WITHOUT] if os.geteuid() == 0 else []
    way += ["--reuid", str(uid), "--regid", str(uid), "--clear-groups"] if uid is not None else []
    look = ["head", "-c1", f"/proc/{pid}/{name}"]
    done = subprocess.run([*way, *look], capture_output=True, check=False)
    return done.returncode != 0 and b"Permission denied" in done.stderr


def state_of(pid: int) -> str:
    """Return the letter of a process's state, empty where it is gone."""
    fields = _stat(pid)
    return fields[0] if fields else ""


def _parents() -> dict[int, int]:
    found = {int(name): _stat(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    return {pid: int(fields[1]) for pid, fields in found.items() if fields}


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def code_of(response: httpx2.Response) -> tuple[int, str]:
    """Return status and code of a problem, whose form is checked."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    assert {"type", "title", "status", "detail", "code"} <= body.keys(), body
    assert body["status"] == response.status_code
    assert body["detail"]
    return response.status_code, body["code"]
