"""What the session image must do in a hardened container; each proof returns the fact it found."""

from __future__ import annotations

import json
import re
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
#: How long after the start of the container it is asked to end.
_MOMENTS_S: Final = (0.0, 0.3, 0.7)
_PROMPTLY_S: Final = 3.0
#: Process 1 looks for orphans every two seconds.
_BURIED_S: Final = 10
_SUITE_S: Final = 1500.0
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
    #: The set-ups of the hostile suite that this one's rights suffice for.
    setups: tuple[str, ...]
    capabilities: tuple[str, ...] = ()

    def options(self, **variables: str) -> list[str]:
        """Return the options for the engine, without those of the memory."""
        settings = {"CONTAINER_AUTH_TOKEN": TOKEN, "STORAGE_PATH": "/tmp/base", **variables}  # noqa: S108
        given = [each for pair in settings.items() for each in ("--env", "=".join(pair))]
        return [*self.rights(), *given]

    def rights(self) -> list[str]:
        """Return those of the options that say what it may do."""
        added = [each for name in self.capabilities for each in ("--cap-add", name)]
        return [*_HARDENED, "--user", self.user, *added]


#: Older kernels, whose sessions share a uid.
_OLDER: Final = ("landlock-abi-1", "landlock-abi-3")
#: An own uid per session takes these four and nothing else.
WAYS: Final = (
    Way("non-root", "54321:54321", "B", ("unprivileged", *_OLDER)),
    Way("root without capabilities", "0", "B", ("root-without-capabilities", *_OLDER)),
    Way("root", "0", "A", ("own-uid", "no-landlock"), ("CHOWN", "KILL", "SETGID", "SETUID")),
)


@dataclass(frozen=True, slots=True)
class Proof:
    """Makes the proofs with one engine, image and way to start it."""

    engine: Engine
    image: str
    way: Way
    #: The image with what runs the hostile suite.
    suite: str

    def all(self) -> dict[str, Callable[[], list[str]]]:
        """Return the proofs by what they are about."""
        return {
            "starts": self.starts,
            "serves": self.serves,
            "outlives a greedy session": self.outlives_a_greedy_session,
            "drains": self.drains,
            "ends while it starts": self.ends_while_it_starts,
            "refuses to start without a token": self.refuses_without_token,
            "refuses to start below its tier": self.refuses_below_its_tier,
            "survives the hostile suite": self.survives_the_hostile_suite,
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
            found += [_orphans(server)]
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

    def ends_while_it_starts(self) -> list[str]:
        """Process 1 gets no signal that it has no handler for."""
        took = []
        for moment in _MOMENTS_S:
            with self.engine.container(self.image, self.way.options()) as server:
                time.sleep(moment)
                began = time.monotonic()
                exit_code = server.stop(_GRACE_S)
                took.append(time.monotonic() - began)
                _must(exit_code == 0 and took[-1] < _PROMPTLY_S, f"{exit_code=} {took=}")
        return [f"stopped as it starts: exit code 0 after {max(took):.1f} s at most"]

    def survives_the_hostile_suite(self) -> list[str]:
        """As process 1, with the rights that the server has here; what it skips is a failure."""
        options = [*self.way.rights(), "--memory", "3g", "--volume", f"{ROOT}:/suite:ro"]
        chosen = ["-k", " or ".join(self.way.setups)]
        ended = self.engine.run("run", "--rm", *options, self.suite, *chosen, timeout_s=_SUITE_S)
        last = (ended.stdout.splitlines() or [ended.stderr])[-1].strip("= ")
        counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", last)}
        unwanted = counts.keys() & {"failed", "error", "errors", "skipped"}
        held = ended.exit_code == 0 and counts.get("passed", 0) > 0 and not unwanted
        _must(held, f"{last}\n{ended.stdout[-4000:]}")
        return [f"the hostile suite ({', '.join(self.way.setups)}): {last}"]

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
    hidden = server.sh("head -c1 /proc/1/environ", unset="CONTAINER_AUTH_TOKEN")
    _must("Permission denied" in hidden.stderr, f"/proc/1/environ is not hidden: {hidden}")
    # With every capability, or there would be nothing to see.
    script = (
        "read s; for p in /proc/[0-9]*; do"
        ' tr "\\0" " " < $p/environ | grep -qaF "$s" && echo "$p has it"; done;'
        ' tr "\\0" "\\n" < /proc/1/environ | grep -c =; true'
    )
    ended = server.sh(script, stdin=f"{TOKEN}\n", unset="CONTAINER_AUTH_TOKEN", privileged=True)
    _must(ended.stdout.isdigit() and int(ended.stdout) > 0, f"the environments: {ended}")
    answer = _execute(server, "open('/proc/1/environ').read()")
    _must(answer["error_type"] == "PermissionError", f"/proc/1/environ: {answer}")
    return "no environment has the token; /proc/1/environ is hidden from agent code and its own uid"


def _who(server: Container) -> str:
    ended = server.sh("tr '\\0' ' ' < /proc/1/cmdline; grep -E '^(Uid|CapEff)' /proc/1/status")
    words = ended.stdout.split()
    _must("py_code_mode.server" in words, f"process 1: {ended}")
    uid, capabilities = words[words.index("Uid:") + 1], words[words.index("CapEff:") + 1]
    _must(int(capabilities, 16) == 0, f"the server has capabilities: {ended}")
    return f"process 1 is the server: uid {uid}, no capabilities"


def _orphans(server: Container) -> str:
    # Those of others are theirs: a jail needs its own.
    left = "cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | grep -q '^Z 1 '"
    ended = server.sh(
        "for i in 1 2 3 4 5; do (sleep .5 &); done; sleep 1;"
        f" for i in $(seq {_BURIED_S * 4}); do {left} || exit 0; sleep .25; done; exit 1"
    )
    _must(ended.exit_code == 0, f"zombies are left: {ended}")
    return "process 1 buries orphans"


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
