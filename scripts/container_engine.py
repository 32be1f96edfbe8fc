"""Docker or podman, whichever there is, as far as the scripts for images need them."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

_CLIENT: Final = Path(__file__).with_name("image_client.py")
_PATIENCE_S: Final = 120.0
_BUILD_S: Final = 1800.0
_NAMES: Final = ("docker", "podman")


class EngineError(Exception):
    """Raised when an engine did not do what it was asked for."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer, as the client in the container tells it."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Engine:
    """One engine's command line, used in a folder of its own that ends with it.

    Podman's monitor leaves a file where it was started when a container's memory ran out, so paths
    in arguments are absolute.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._folder = tempfile.mkdtemp(prefix="py-code-mode-engine-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def run(self, *arguments: str, stdin: str = "", timeout_s: float = _PATIENCE_S) -> Ended:
        """Run a command of the engine and wait for it."""
        try:
            done = subprocess.run(  # noqa: S603 - an operator's own engine
                [self.name, *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
                cwd=self._folder,
            )
        except subprocess.TimeoutExpired:
            said = f"{self.name} {arguments[0]} took more than {timeout_s:g} s"
            raise EngineError(said) from None
        return Ended(done.returncode, done.stdout.strip("\n"), done.stderr.strip())

    def must(self, *arguments: str, timeout_s: float = _PATIENCE_S) -> str:
        """Run a command that has to succeed; returns what it printed. Raises EngineError."""
        ended = self.run(*arguments, timeout_s=timeout_s)
        if ended.exit_code != 0:
            command = " ".join([self.name, *arguments[:2]])
            last = (ended.stderr or ended.stdout)[-2000:]
            raise EngineError(f"{command} ended with {ended.exit_code}: {last}")
        return ended.stdout

    def has_image(self, image: str) -> bool:
        """Say whether the image is in the engine's own store."""
        return self.run("image", "inspect", image).exit_code == 0

    def build(self, dockerfile: str, image: str, context: Path, options: Sequence[str]) -> None:
        """Build an image. Raises EngineError."""
        # HEALTHCHECK is of Docker's own image format alone.
        given = ["--format", "docker", *options] if self.name == "podman" else [*options]
        folder = context.resolve()
        named = ["-f", str(folder / dockerfile), "-t", image]
        self.must("build", *given, *named, str(folder), timeout_s=_BUILD_S)

    def size(self, image: str) -> int:
        """Return an image's bytes, those of its base included."""
        return int(self.must("image", "inspect", "--format", "{{.Size}}", image))

    def attend(
        self, image: str, options: Sequence[str], *command: str, timeout_s: float = _PATIENCE_S
    ) -> Ended:
        """Run a container until it ends, and remove it, also where it does not end in time."""
        name = _new_name()
        try:
            asked = ["run", "--name", name, *options, image, *command]
            return self.run(*asked, timeout_s=timeout_s)
        finally:
            self.run("rm", "--force", "--volumes", name)

    def service(self, project: str, name: str) -> str:
        """Return the id of the container that runs a service of compose. Raises EngineError."""
        labels = {"project": project, "service": name}
        wanted = [
            f"--filter=label=com.docker.compose.{key}={value}" for key, value in labels.items()
        ]
        found = self.must("ps", "--quiet", *wanted).split()
        if not found:
            raise EngineError(f"no container runs the service {name} of {project}")
        return found[0]

    @contextlib.contextmanager
    def container(self, image: str, options: Sequence[str]) -> Iterator[Container]:
        """Start a container, and remove it in the end."""
        name = _new_name()
        try:
            self.must("run", "--detach", "--name", name, *options, image)
            yield Container(self, name)
        finally:
            self.run("rm", "--force", "--volumes", name)


@dataclass(frozen=True, slots=True)
class Container:
    """One running container."""

    engine: Engine
    name: str

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        body: Any = None,
        session: str = "",
        beside: str = "",
        timeout_s: float = 60.0,
    ) -> Answer:
        """Ask the server from inside the container, which needs no network of its own.

        With ``beside``, an image, from a second container that shares its network and outlives it.
        Raises EngineError where no answer came.
        """
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"X-Session-ID": session} if session else {}
        asked = {
            "method": method,
            "path": path,
            "headers": headers,
            "body": "" if body is None else json.dumps(body),
            "wait": timeout_s,
        }
        python = ["python", "-", json.dumps(asked)]
        if beside:
            shared = ["--rm", "--network", f"container:{self.name}", "--entrypoint", python[0]]
            command = ["run", "--interactive", *shared, beside, *python[1:]]
        else:
            command = ["exec", "--interactive", self.name, *python]
        ended = self.engine.run(*command, stdin=_CLIENT.read_text(), timeout_s=timeout_s + 10)
        if ended.exit_code != 0:
            raise EngineError(f"no answer to {method} {path}: {ended.stderr[-500:]}")
        return Answer(**json.loads(ended.stdout))

    def sh(
        self, script: str, *, stdin: str = "", unset: str = "", privileged: bool = False
    ) -> Ended:
        """Run a shell script inside, with the variable ``unset`` empty, or as root of old."""
        options = ["--interactive", *(["--env", f"{unset}="] if unset else [])]
        options += ["--privileged", "--user", "0"] if privileged else []
        return self.engine.run("exec", *options, self.name, "sh", "-c", script, stdin=stdin)

    def logs(self) -> str:
        """Return all that the server has written."""
        ended = self.engine.run("logs", self.name)
        return f"{ended.stdout}\n{ended.stderr}".strip()

    def config(self) -> dict[str, Any]:
        """Return what the image says of how to run it."""
        shown = self.engine.must("inspect", "--format", "{{json .Config}}", self.name)
        config: dict[str, Any] = json.loads(shown)
        return config

    def started_at(self) -> float:
        """Return when it was started, in seconds since the epoch."""
        started = self.engine.must("inspect", "--format", "{{json .State.StartedAt}}", self.name)
        # Nine digits of a second, and a zone that docker writes as Z.
        return datetime.fromisoformat(
            re.sub(r"(\.\d{6})\d*", r"\1", json.loads(started))
        ).timestamp()

    def running(self) -> bool:
        """Say whether it runs."""
        ended = self.engine.run("inspect", "--format", "{{.State.Running}}", self.name)
        return ended.stdout == "true"

    def stop(self, grace_s: int) -> int:
        """Ask the server to end, kill it after the grace time; returns its exit code."""
        self.engine.must("stop", "--time", str(grace_s), self.name)
        return int(self.engine.must("inspect", "--format", "{{.State.ExitCode}}", self.name))


def _new_name() -> str:
    return f"py-code-mode-proof-{secrets.token_hex(4)}"


def find_engine(wanted: str = "") -> Engine | None:
    """Return an engine that works, or None; ``wanted`` is the name of the only one to try."""
    for name in [wanted] if wanted else _NAMES:
        # A client without its daemon is no engine.
        if shutil.which(name) is not None and (engine := Engine(name)).run("info").exit_code == 0:
            return engine
    return None
