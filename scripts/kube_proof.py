"""Lets podman play deploy/k8s beside a running compose, whose Redis it uses, and asks what runs."""

from __future__ import annotations

import base64
import contextlib
import json
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
#: What podman names the one pod that it makes of the Deployment, whatever `replicas` says.
_POD: Final = "session-server-pod-0"
_SECRET: Final = "session-server"  # noqa: S105 - its name


def prove(engine: Engine, variables: Mapping[str, str], ca: str) -> list[str]:
    """Play the manifests and return what was found. Raises EngineError.

    Args:
        engine: podman.
        variables: those of deploy/.env.
        ca: the certificate that the Redis of compose is known by.
    """
    token = variables["CONTAINER_AUTH_TOKEN"]
    redis_url = _REDIS_URL.format(password=variables["REDIS_PASSWORD"])
    secret = {"auth-token": token, "redis-url": redis_url}
    objects = [_secret(_SECRET, secret), _config("redis-ca", {"ca.pem": ca})]
    with _played(engine, objects) as server:
        took = _until_ready(server)
        sandbox = server.request("GET", "/info", token=token).body["sandbox"]
        body = {"code": "artifacts.save('played', 6 * 7); artifacts.load('played')"}
        answer = server.request("POST", "/execute", token=token, body=body).body
    if (sandbox["tier"], answer["value"]) != ("B", 42):
        raise EngineError(f"the played server: {sandbox} {answer}")
    return [f"podman kube play deploy/k8s: ready after {took:.1f} s, tier {sandbox['tier']}"]


@contextlib.contextmanager
def _played(engine: Engine, objects: list[dict[str, Any]]) -> Iterator[Container]:
    manifests = sorted(path for path in FOLDER.glob("*.yaml") if path.name not in _NO_MANIFESTS)
    texts = [json.dumps(each) for each in objects] + [path.read_text() for path in manifests]
    _refuse_what_is_there(engine)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write("\n---\n".join(texts))
        file.flush()
        try:
            engine.must("kube", "play", "--network", _network(engine), file.name)
            yield Container(engine, f"{_POD}-session-server")
        finally:
            engine.run("kube", "down", file.name)
            engine.run("secret", "rm", _SECRET)


def _refuse_what_is_there(engine: Engine) -> None:
    """Keep away from the pod and the secret of somebody else. Raises EngineError."""
    for kind, name in (("pod", _POD), ("secret", _SECRET)):
        if engine.run(kind, "inspect", name).exit_code == 0:
            raise EngineError(f"podman has a {kind} {name}: remove it (podman {kind} rm {name})")


def _network(engine: Engine) -> str:
    """Return the network that the Redis of compose is in."""
    label = "label=com.docker.compose.service=redis"
    redis = engine.must("ps", "--quiet", "--filter", label).splitlines()[0]
    found = engine.must("inspect", "--format", "{{json .NetworkSettings.Networks}}", redis)
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


def _secret(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def _config(name: str, data: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data)}
