"""What a server in a container must do when asked; each function returns the fact it found."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

from container_engine import Answer, Container
from container_ways import TOKEN

#: Process 1 looks for orphans every two seconds.
_BURIED_S: Final = 10
_ORPHANS: Final = 5
#: Prints how many there are while they run. Only the children of process 1: a jail buries its own.
_LEAVE_ORPHANS: Final = rf"""
children() {{ cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*(\(.*\)) \(.\) 1 .*/\1 \2/;t;d'; }}
for i in $(seq {_ORPHANS}); do (sleep 2 &); done
for i in $(seq 15); do
    n=$(children | grep -c '^sleep '); [ $n = {_ORPHANS} ] && break; sleep .1
done
echo $n
for i in $(seq {_BURIED_S}); do sleep 1; children | grep -Eq '^sleep | Z' || exit 0; done
exit 1
"""
_LABELS: Final = (
    *("title", "description", "source", "licenses"),
    *("base.name", "version", "revision"),
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


class ProofError(Exception):
    """Raised when the image does not do what it must."""


def must(condition: bool, otherwise: str) -> None:  # noqa: FBT001 - the one thing it says
    """Raise ProofError with these words unless the condition holds."""
    if not condition:
        raise ProofError(otherwise)


def until_healthy(server: Container) -> float:
    """Wait until the server is alive; returns when that was, in seconds since the epoch."""
    ended = server.sh(
        "for i in $(seq 600); do"
        " curl -sfo /dev/null 127.0.0.1:8080/health && exec date +%s.%N; sleep .05; done; exit 1"
    )
    must(ended.exit_code == 0, f"not healthy: {ended.stderr}\n{server.logs()}")
    return float(ended.stdout)


def until_saved(server: Container, artifact: str) -> None:
    """Wait until a run has saved an artifact."""
    for _ in range(100):
        if server.request("GET", f"/api/artifacts/{artifact}", token=TOKEN).status == 200:
            return
        time.sleep(0.1)
    raise ProofError(f"the artifact {artifact} was never saved")


def execute(server: Container, code: str, *, session: str = "", beside: str = "") -> Any:
    """Run code in a session; returns the answer."""
    body = {"code": code, "timeout": 50}
    answer = server.request(
        "POST", "/execute", token=TOKEN, body=body, session=session, beside=beside
    )
    must(answer.status == 200, f"{answer.status}: {json.dumps(answer.body)}")
    return answer.body


def describes_itself(server: Container) -> str:
    """Labels, and a HEALTHCHECK that an engine without a timer for it can be asked for too."""
    config = server.config()
    labels = config["Labels"]
    missing = [name for name in _LABELS if not labels.get(f"org.opencontainers.image.{name}")]
    must(not missing, f"labels without a value: {missing}")
    kind, script = config["Healthcheck"]["Test"]
    ended = server.sh(script)
    must((kind, ended.exit_code) == ("CMD-SHELL", 0), f"the HEALTHCHECK: {kind} {ended}")
    return f"the HEALTHCHECK passes; {len(_LABELS)} OCI labels"


def reports_tier(server: Container, tier: str) -> str:
    """The tier that the sandbox reaches."""
    sandbox = server.request("GET", "/info", token=TOKEN).body["sandbox"]
    must(sandbox["tier"] == tier, f"tier {tier} was expected: {sandbox}")
    return f"tier {tier} reported (Landlock ABI {sandbox['landlock_abi']})"


def wants_a_token(server: Container) -> str:
    """No token, and a wrong one."""
    for token in ("", TOKEN + "x"):
        answer: Answer = server.request("GET", "/info", token=token)
        must(answer.status == 401 and "www-authenticate" in answer.headers, f"{answer}")
    return "401 without a token and with a wrong one"


def calls_tools(server: Container) -> str:
    """The example tools, on the server itself."""
    answer = execute(server, _TOOLS)
    must(answer["value"] == ["ok", True], f"tools: {answer}")
    return "a run called curl, jq and nmap -sT -Pn"


def draws_a_chart(server: Container) -> str:
    """The packages that are there for agent code."""
    answer = execute(server, _CHART)
    bundles = [each for each in answer["displays"] if "image/png" in each]
    pictures = [len(each["image/png"]["base64"]) for each in bundles]
    must(answer["value"] == 150.0 and bool(pictures), f"chart: {answer}")
    seconds = answer["execution_time_ms"] / 1000
    return f"numpy, pandas and a chart ({pictures[0] * 3 // 4:,} bytes of PNG) in {seconds:.1f} s"


def hides_secrets(server: Container) -> str:
    """Nobody inside may look at process 1; who is let in by the engine finds nothing anywhere."""
    hidden = server.sh("head -c1 /proc/1/environ", unset="CONTAINER_AUTH_TOKEN")
    must("Permission denied" in hidden.stderr, f"/proc/1/environ is not hidden: {hidden}")
    # With every capability, or there would be nothing to see.
    script = (
        "read s; for p in /proc/[0-9]*; do"
        ' tr "\\0" " " < $p/environ | grep -qaF "$s" && echo "$p has it"; done;'
        ' tr "\\0" "\\n" < /proc/1/environ | grep -c =; true'
    )
    ended = server.sh(script, stdin=f"{TOKEN}\n", unset="CONTAINER_AUTH_TOKEN", privileged=True)
    seen = ended.stdout.isdigit() and int(ended.stdout) > 0
    must(seen and "denied" not in ended.stderr, f"the environments: {ended}")
    answer = execute(server, "open('/proc/1/environ').read()")
    must(answer["error_type"] == "PermissionError", f"/proc/1/environ: {answer}")
    return "no process has the token in its environment; /proc/1/environ is hidden from all inside"


def is_process_1(server: Container) -> str:
    """The server itself, with no rights but those of its uid."""
    ended = server.sh("tr '\\0' ' ' < /proc/1/cmdline; grep -E '^(Uid|CapEff)' /proc/1/status")
    words = ended.stdout.split()
    must("py_code_mode.server" in words, f"process 1: {ended}")
    uid, capabilities = words[words.index("Uid:") + 1], words[words.index("CapEff:") + 1]
    must(int(capabilities, 16) == 0, f"the server has capabilities: {ended}")
    return f"process 1 is the server: uid {uid}, no capabilities"


def buries_orphans(server: Container) -> str:
    """Programs whose parent ends before them."""
    ended = server.sh(_LEAVE_ORPHANS)
    must((ended.exit_code, ended.stdout) == (0, str(_ORPHANS)), f"orphans, and those left: {ended}")
    return f"process 1 buried {_ORPHANS} orphans"


#: Those that hold for every image of the server.
ALL: Final[tuple[Callable[[Container], str], ...]] = (
    wants_a_token,
    describes_itself,
    calls_tools,
    hides_secrets,
    is_process_1,
    buries_orphans,
)
