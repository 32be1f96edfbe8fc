"""What the session image must do in a hardened container; each proof returns the fact it found."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from container_engine import Answer, Container, Engine

ROOT: Final = Path(__file__).resolve().parents[1]
TOKEN: Final = "a-token-of-the-proof-0123456789"  # noqa: S105 - good for these containers alone
_HEALTHY_S: Final = 2.0
_STARTS: Final = 5
_GRACE_S: Final = 20
_HARDENED: Final = (
    *("--read-only", "--network", "none"),
    *("--tmpfs", "/tmp:rw,nosuid,nodev,size=512m,mode=1777"),  # noqa: S108 - the container's
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--pids-limit", "512", "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"),
)
_TOOLS: Final = """
import json
health = json.loads(tools.curl.get(url="http://127.0.0.1:8080/health"))
status = tools.jq.query(filter=".status", input=json.dumps(health))
ports = tools.nmap.scan(target="127.0.0.1", ports="8079,8080")
[json.loads(status), "8080/tcp open" in ports and "8079/tcp closed" in ports]
"""
_CHART: Final = """
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
x = np.linspace(0, 6, 50)
plt.plot(x, np.sin(x))
display(plt.gcf())
float(pd.DataFrame({"x": x})["x"].sum())
"""
_GREEDY: Final = "hoard = []\nwhile True: hoard.append(b'x' * 16_000_000)"


class ProofError(Exception):
    """Raised when the image does not do what it must."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to start the container, and the sandbox tier that it must reach there."""

    name: str
    user: str
    tier: str
    capabilities: tuple[str, ...] = ()

    def options(self, **variables: str) -> list[str]:
        """Return the options for the engine, without those of the memory."""
        settings = {"CONTAINER_AUTH_TOKEN": TOKEN, "STORAGE_PATH": "/tmp/base", **variables}  # noqa: S108
        added = [each for name in self.capabilities for each in ("--cap-add", name)]
        given = [each for pair in settings.items() for each in ("--env", "=".join(pair))]
        return [*_HARDENED, "--user", self.user, *added, *given]


#: An own uid per session takes these four and nothing else.
WAYS: Final = (
    Way("non-root", "54321:54321", "B"),
    Way("root without capabilities", "0", "B"),
    Way("root", "0", "A", ("CHOWN", "KILL", "SETGID", "SETUID")),
)


@dataclass(frozen=True, slots=True)
class Proof:
    """Makes the proofs with one engine, image and way to start it."""

    engine: Engine
    image: str
    way: Way

    def all(self) -> dict[str, Callable[[], list[str]]]:
        """Return the proofs by what they are about."""
        return {
            "starts": self.starts,
            "serves": self.serves,
            "outlives a greedy session": self.outlives_a_greedy_session,
            "drains": self.drains,
            "refuses to start without a token": self.refuses_without_token,
            "refuses to start below its tier": self.refuses_below_its_tier,
        }

    def starts(self) -> list[str]:
        """Started several times, of which the fastest tells least of what else the machine does."""
        took = []
        for _ in range(_STARTS):
            options = [*self.way.options(), "--memory", "1g"]
            with self.engine.container(self.image, options) as server:
                took.append(_until_healthy(server) - server.started_at())
            if took[-1] <= _HEALTHY_S:
                break
        _must(took[-1] <= _HEALTHY_S, f"healthy after {took} s, over {_HEALTHY_S:g} s each time")
        return [f"healthy {took[-1]:.2f} s after the container's start (start {len(took)})"]

    def serves(self) -> list[str]:
        """One server, asked for everything that leaves it as it was."""
        shared = ["--volume", f"{ROOT / 'examples' / 'shared'}:/config:ro", "--memory", "1g"]
        options = [*self.way.options(CONFIG_PATH="/config"), *shared]
        with self.engine.container(self.image, options) as server:
            _until_healthy(server)
            found = [_tier(server, self.way.tier), _bearer(server)]
            found += [_tools(server), _chart(server), _no_secret(server), _who(server)]
        return found

    def outlives_a_greedy_session(self) -> list[str]:
        """The container's memory runs out before the session's own limit does."""
        memory = ["--memory", "600m", "--memory-swap", "600m"]
        options = [*self.way.options(SESSION_MEMORY_MB="8000", POOL_SIZE="1"), *memory]
        with self.engine.container(self.image, options) as server:
            _until_healthy(server)
            answer = _execute(server, _GREEDY, session="greedy")
            _must(answer["error_type"] in ("WorkerCrashed", "MemoryError"), f"greedy: {answer}")
            again = _execute(server, "6 * 7", session="greedy")
            _must(again["value"] == 42 and server.running(), f"after the greedy: {again}")
        how = f"greedy session of 8000 MB in 600 MB: {answer['error_type']}"
        return [f"{how}, lost={answer['state']['lost']}; the server answers the next run"]

    def drains(self) -> list[str]:
        """Stopped while a run is under way."""
        options = [*self.way.options(), "--memory", "1g"]
        with self.engine.container(self.image, options) as server, ThreadPoolExecutor(1) as pool:
            _until_healthy(server)
            code = "import time; time.sleep(4); 'finished'"
            running = pool.submit(_execute, server, code, beside=self.image)
            time.sleep(2.5)
            began = time.monotonic()
            exit_code = server.stop(_GRACE_S)
            took = time.monotonic() - began
            value = running.result()["value"]
        _must((value, exit_code) == ("finished", 0) and took < _GRACE_S, f"{value=} {exit_code=}")
        return [f"stopped amid a run: the run was answered, exit code 0 after {took:.1f} s"]

    def refuses_without_token(self) -> list[str]:
        """The token is unset, then too short."""
        found = []
        for token, about in (("", "empty"), ("short", "too short")):
            options = self.way.options(CONTAINER_AUTH_TOKEN=token)
            found.append(f"a token that is {about}: {self._refusal(options)}")
        return found

    def refuses_below_its_tier(self) -> list[str]:
        """A seccomp profile takes Landlock away."""
        profile = str(ROOT / "scripts" / "seccomp-without-landlock.json")
        options = [*self.way.options(), "--security-opt", f"seccomp={profile}"]
        found = [f"without Landlock: {self._refusal(options)}"]
        lower = "C" if self.way.tier == "A" else "D"
        options = [*self.way.options(MIN_SANDBOX_TIER="D"), "--security-opt", f"seccomp={profile}"]
        with self.engine.container(self.image, options) as server:
            _until_healthy(server)
            found.append(f"without Landlock, MIN_SANDBOX_TIER=D: {_tier(server, lower)}")
        return found

    def _refusal(self, options: list[str]) -> str:
        ended = self.engine.run("run", "--rm", *options, self.image)
        lines = [line for line in ended.stderr.splitlines() if "py-code-mode" in line]
        _must(ended.exit_code == 2 and len(lines) == 1, f"{ended.exit_code}: {ended.stderr}")
        return f"exit code 2, {lines[0]!r}"


def _until_healthy(server: Container) -> float:
    """Wait until the server is alive; returns when that was, in seconds since the epoch."""
    ended = server.sh(
        "for i in $(seq 600); do"
        " curl -sfo /dev/null 127.0.0.1:8080/health && exec date +%s.%N; sleep .05; done; exit 1"
    )
    _must(ended.exit_code == 0, f"not healthy: {ended.stderr}\n{server.logs()}")
    return float(ended.stdout)


def _tier(server: Container, tier: str) -> str:
    sandbox = server.request("GET", "/info", token=TOKEN).body["sandbox"]
    _must(sandbox["tier"] == tier, f"tier {tier} was expected: {sandbox}")
    return f"tier {tier} reported (Landlock ABI {sandbox['landlock_abi']})"


def _bearer(server: Container) -> str:
    for token in ("", TOKEN + "x"):
        answer: Answer = server.request("GET", "/info", token=token)
        _must(answer.status == 401 and "www-authenticate" in answer.headers, f"{answer}")
    return "401 without a token and with a wrong one"


def _tools(server: Container) -> str:
    answer = _execute(server, _TOOLS)
    _must(answer["value"] == ["ok", True], f"tools: {answer}")
    return "a run called curl, jq and nmap -sT -Pn"


def _chart(server: Container) -> str:
    answer = _execute(server, _CHART)
    bundles = [each for each in answer["displays"] if "image/png" in each]
    pictures = [len(each["image/png"]["base64"]) for each in bundles]
    _must(answer["value"] == 150.0 and bool(pictures), f"chart: {answer}")
    seconds = answer["execution_time_ms"] / 1000
    return f"numpy, pandas and a chart ({pictures[0] * 3 // 4:,} bytes of PNG) in {seconds:.1f} s"


def _no_secret(server: Container) -> str:
    script = 'read s; for p in /proc/[0-9]*; do grep -qaF "$s" $p/environ && echo $p; done; true'
    ended = server.sh(script, stdin=f"{TOKEN}\n", unset="CONTAINER_AUTH_TOKEN")
    _must(ended.stdout == "", f"the token is in the environment of {ended.stdout}")
    answer = _execute(server, "open('/proc/1/environ').read()")
    _must(answer["error_type"] == "PermissionError", f"/proc/1/environ: {answer}")
    return "no process has the token in its environment; agent code may not open /proc/1/environ"


def _who(server: Container) -> str:
    ended = server.sh("tr '\\0' ' ' < /proc/1/cmdline; grep -E '^(Uid|CapEff)' /proc/1/status")
    words = ended.stdout.split()
    _must("py_code_mode.server" in words, f"process 1: {ended}")
    uid, capabilities = words[words.index("Uid:") + 1], words[words.index("CapEff:") + 1]
    _must(int(capabilities, 16) == 0, f"the server has capabilities: {ended}")
    return f"process 1 is the server: uid {uid}, no capabilities"


def _execute(server: Container, code: str, *, session: str = "", beside: str = "") -> Any:
    body = {"code": code, "timeout": 50}
    answer = server.request(
        "POST", "/execute", token=TOKEN, body=body, session=session, beside=beside
    )
    _must(answer.status == 200, f"{answer.status}: {json.dumps(answer.body)}")
    return answer.body


def _must(condition: bool, otherwise: str) -> None:  # noqa: FBT001 - the one thing it says
    if not condition:
        raise ProofError(otherwise)
