"""Starts deploy/compose.yaml, kills a replica under load, and proves that nothing is lost.

    make verify-compose       # or: python scripts/verify_compose.py

Every artifact and skill that was acknowledged is there afterwards, every session that lost its
variables is told so, and once the proxy knows of the death every request is served. Podman then
plays deploy/k8s too, with the same Redis. Needs the image py-code-mode-session and what
deploy/compose.sh needs. With STAND_INS=1, images of Redis and HAProxy that are missing are made
from Debian's packages, where no registry can be reached.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import kube_proof
from compose_load import Driver, Ledger, Proxy
from container_engine import Engine, EngineError, find_engine

ROOT: Final = Path(__file__).resolve().parents[1]
DEPLOY: Final = ROOT / "deploy"
STAND_INS: Final = {
    "docker.io/library/redis:7-alpine": "redis.Dockerfile",
    "docker.io/library/haproxy:3.2-alpine": "haproxy.Dockerfile",
}
PROJECT: Final = "py-code-mode-proof"
_READY_S: Final = 60.0
_DRIVERS: Final = 8
_BEFORE_S: Final = 5.0
_AFTER_S: Final = 10.0
#: How long the proxy may take to see that a replica is gone: two checks, one second apart.
_NOTICE_S: Final = 3.0


def main(environ: Mapping[str, str]) -> int:
    """Start, load, kill, look; returns the exit code."""
    engine = find_engine(environ.get("ENGINE", ""))
    if engine is None:
        sys.stderr.write("verify-compose needs docker or podman, and found neither at work\n")
        return 2
    port = int(environ.get("PROXY_PORT") or 8080)
    if not is_free(port):
        sys.stderr.write(f"verify-compose: port {port} is in use; set PROXY_PORT to another\n")
        return 2
    compose = Compose({**environ, "COMPOSE_PROJECT_NAME": PROJECT, "PROXY_PORT": str(port)})
    try:
        if environ.get("STAND_INS") == "1":
            make_stand_ins(engine, shlex.split(environ.get("BUILD_OPTIONS", "")))
        compose.must("up")
        proxy = Proxy(port, variables()["CONTAINER_AUTH_TOKEN"])
        await_both(proxy)
        failed = report(lose_one(engine, proxy), proxy)
        play(engine)
    except EngineError as error:
        sys.stderr.write(f"verify-compose: {error}\n")
        return 1
    else:
        return failed
    finally:
        compose.run("down", "--volumes")


@dataclass(frozen=True, slots=True)
class Compose:
    """deploy/compose.yaml as a project of its own, beside one that is in use."""

    environ: Mapping[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run compose.sh and wait for it."""
        return subprocess.run(  # noqa: S603 - our own script
            [DEPLOY / "compose.sh", *arguments],
            env=self.environ,
            check=False,
            capture_output=True,
            text=True,
        )

    def must(self, *arguments: str) -> None:
        """Run what has to succeed. Raises EngineError."""
        ended = self.run(*arguments)
        if ended.returncode != 0:
            said = (ended.stderr or ended.stdout)[-2000:]
            raise EngineError(f"compose.sh {arguments[0]} ended with {ended.returncode}: {said}")


def is_free(port: int) -> bool:
    """Say whether nobody listens there on loopback: it would be taken for the proxy."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def make_stand_ins(engine: Engine, options: list[str]) -> None:
    """Build the images of others that are missing, under their names."""
    folder = ROOT / "scripts" / "stand-ins"
    for image, dockerfile in STAND_INS.items():
        if not engine.has_image(image):
            engine.build(dockerfile, image, folder, options)
            print(f"==> made a stand-in of {image}", flush=True)


def variables() -> dict[str, str]:
    """Return what compose.sh has put into deploy/.env."""
    lines = (DEPLOY / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def play(engine: Engine) -> None:
    """Let podman play the manifests of Kubernetes. Raises EngineError."""
    if engine.name != "podman":
        print(f"==> {engine.name} plays no manifests of Kubernetes: not proved here", flush=True)
        return
    ca = (DEPLOY / "secrets" / "ca.pem").read_text()
    redis = engine.service(PROJECT, "redis")
    for fact in kube_proof.prove(engine, redis, variables(), ca):
        print(f"ok    {fact}", flush=True)


def await_both(proxy: Proxy) -> None:
    """Wait until the proxy sends requests to two replicas. Raises EngineError."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        seen = {proxy.replica() for _ in range(8)} - {""}
        if len(seen) == 2:
            return
        time.sleep(0.5)
    raise EngineError(f"two replicas were not ready within {_READY_S:g} s")


def lose_one(engine: Engine, proxy: Proxy) -> Ledger:
    """Let clients work, kill a replica amid it, let them go on; returns what they saw."""
    ledger = Ledger()
    over = threading.Event()
    threads = [
        threading.Thread(target=Driver(number, proxy, ledger).work, args=[over])
        for number in range(_DRIVERS)
    ]
    for thread in threads:
        thread.start()
    time.sleep(_BEFORE_S)
    engine.must("kill", engine.service(PROJECT, "session-1"))
    ledger.settled_at = time.monotonic() + _NOTICE_S
    print(f"==> killed session-1 while {_DRIVERS} clients worked", flush=True)
    time.sleep(_AFTER_S)
    over.set()
    for thread in threads:
        thread.join()
    return ledger


def report(ledger: Ledger, proxy: Proxy) -> int:
    """Print what was found; returns 0 where nothing was lost in silence."""
    missing = [path for path, value in ledger.kept.items() if proxy.get(path) != (200, value)]
    missing += [path for path in ledger.created if proxy.get(path)[0] != 200]
    facts = {
        f"{ledger.runs} runs; {ledger.failed} were under way on the killed replica": ledger.runs
        > 0,
        f"{len(ledger.kept)} artifacts acknowledged, {len(missing)} of them or of"
        f" {len(ledger.created)} skills missing": not missing and bool(ledger.kept),
        f"{ledger.told} sessions lost their variables and were told so": ledger.told > 0,
        f"{ledger.silent} were not told": ledger.silent == 0,
        f"{ledger.late} of the later requests failed": ledger.late == 0,
    }
    for fact, holds in facts.items():
        print(f"{'ok   ' if holds else 'FAIL '} {fact}", flush=True)
    return int(not all(facts.values()))


if __name__ == "__main__":
    sys.exit(main(os.environ))
