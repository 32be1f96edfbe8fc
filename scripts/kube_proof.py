"""Lets podman play deploy/k8s beside a running compose, whose Redis it uses, and asks what runs."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from container_engine import Container, Engine, EngineError

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "deploy" / "k8s"
#: A kustomization and its patch are no manifests.
_NO_MANIFESTS: Final = ("kustomization.yaml", "runtime-class.yaml")
_REDIS_URL: Final = "rediss://:{password}@redis:6379/0?ssl_ca_certs=/run/redis-ca/ca.pem"
_READY_S: Final = 30.0
#: What podman makes of them, in the order in which it can be removed.
_POD: Final = "session-server-pod-0"
_SECRET: Final = "session-server"  # noqa: S105 - its name
_CONFIG: Final = "redis-ca"
_MADE: Final = (("pod", _POD), ("volume", _CONFIG), ("volume", "work"), ("secret", _SECRET))


def prove(engine: Engine, redis: str, variables: Mapping[str, str], ca: str) -> list[str]:
    """Play the manifests and return what was found. Raises EngineError.

    Args:
        engine: podman.
        redis: the container of compose that runs Redis.
        variables: those of deploy/.env.
        ca: the certificate that the Redis of compose is known by.
    """
    token = variables["CONTAINER_AUTH_TOKEN"]
    redis_url = _REDIS_URL.format(password=variables["REDIS_PASSWORD"])
    secret = {"auth-token": token, "redis-url": redis_url}
    objects = [json.dumps(_config(_CONFIG, {"ca.pem": ca})), *manifests()]
    with _played(engine, _network(engine, redis), secret, objects) as server:
        took = _until_ready(server)
        sandbox = server.request("GET", "/info", token=token).body["sandbox"]
        body = {"code": "artifacts.save('played', 6 * 7); artifacts.load('played')"}
        answer = server.request("POST", "/execute", token=token, body=body).body
    if (sandbox["tier"], answer["value"]) != ("B", 42):
        raise EngineError(f"the played server: {sandbox} {answer}")
    return [f"podman kube play deploy/k8s: ready after {took:.1f} s, tier {sandbox['tier']}"]


def manifests() -> list[str]:
    """Return what is in the files, made to fit one machine.

    Podman publishes the port of each replica, on all addresses: here it is one, on loopback.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    changes = {
        "replicas: 2": "replicas: 1",
        "containerPort: 8080": f"containerPort: 8080, hostIP: 127.0.0.1, hostPort: {port}",
    }
    files = sorted(path for path in FOLDER.glob("*.yaml") if path.name not in _NO_MANIFESTS)
    texts = [file.read_text() for file in files]
    for old, new in changes.items():
        if sum(old in text for text in texts) != 1:
            raise EngineError(f"deploy/k8s has no {old!r} any more")
        texts = [text.replace(old, new) for text in texts]
    return texts


@contextlib.contextmanager
def _played(
    engine: Engine, network: str, secret: Mapping[str, str], objects: list[str]
) -> Iterator[Container]:
    for kind, name in _MADE:
        if engine.run(kind, "inspect", name).exit_code == 0:
            raise EngineError(f"podman has a {kind} {name}: remove it (podman {kind} rm {name})")
    try:
        _make_secret(engine, secret)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write("\n---\n".join(objects))
            file.flush()
            engine.must("kube", "play", "--network", network, file.name)
        yield Container(engine, f"{_POD}-session-server")
    finally:
        # `kube down` leaves a pod that did not start, and its volumes.
        for kind, name in _MADE:
            engine.run(kind, "rm", *(["--force"] if kind == "pod" else []), name)


def _make_secret(engine: Engine, values: Mapping[str, str]) -> None:
    """Make it as all versions of podman read it; 4.3 cannot read a Secret that it has played."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    made = engine.run("secret", "create", _SECRET, "-", stdin=json.dumps(data))
    if made.exit_code != 0:
        raise EngineError(f"podman secret create: {made.stderr}")


def _network(engine: Engine, container: str) -> str:
    """Return the network that a container is in."""
    found = engine.must("inspect", "--format", "{{json .NetworkSettings.Networks}}", container)
    return str(next(iter(json.loads(found))))


def _until_ready(server: Container) -> float:
    began = time.monotonic()
    said: object = "nothing"
    while time.monotonic() - began < _READY_S:
        with contextlib.suppress(EngineError):  # it does not listen yet
            said = server.request("GET", "/ready")
            if said.status == 200:
                return time.monotonic() - began
        time.sleep(0.1)
    raise EngineError(f"the played server is not ready: {said}\n{server.logs()}")


def _config(name: str, data: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data)}
