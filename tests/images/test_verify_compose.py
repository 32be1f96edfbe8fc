"""What the proof of compose leaves alone, with a program in the place of the engine."""

from __future__ import annotations

import socket
from pathlib import Path

import kube_proof
import pytest
import verify_compose
from container_engine import Engine, EngineError


def test_a_port_that_is_in_use_is_not_taken_for_the_proxy(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert verify_compose.main({"ENGINE": engine.name, "PROXY_PORT": port}) == 2
    assert f"port {port} is in use" in capsys.readouterr().err


def test_the_service_of_another_project_is_not_killed(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_PS", "3d768b35a3ec")
    assert engine.service("proof", "redis") == "3d768b35a3ec"
    label = "--filter=label=com.docker.compose"
    asked = f"ps --quiet {label}.project=proof {label}.service=redis\n"
    assert (tmp_path / "log").read_text() == asked
    monkeypatch.setenv("ENGINE_PS", "")
    with pytest.raises(EngineError, match="no container runs the service redis of proof"):
        engine.service("proof", "redis")


def test_a_pod_of_somebody_else_is_not_replaced(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_INSPECT", '{"store": {}}')
    variables = {"CONTAINER_AUTH_TOKEN": "token", "REDIS_PASSWORD": "password"}
    with pytest.raises(EngineError, match="podman has a pod session-server-pod-0"):
        kube_proof.prove(engine, "redis", variables, "a certificate")


def test_podman_plays_one_replica_and_publishes_it_on_loopback_alone() -> None:
    text = "\n".join(kube_proof.manifests())
    assert "replicas: 1\n" in text
    assert "containerPort: 8080, hostIP: 127.0.0.1, hostPort: " in text
    assert {"Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget"} <= {
        line.removeprefix("kind: ") for line in text.splitlines()
    }
