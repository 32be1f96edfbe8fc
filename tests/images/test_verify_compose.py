"""What the proof of compose leaves alone, with a program in the place of the engine."""

from __future__ import annotations

import kube_proof
import pytest
import verify_compose
from container_engine import Engine, EngineError


def test_a_compose_that_runs_already_is_not_killed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENGINE_PS", "3d768b35a3ec")
    assert verify_compose.main({"ENGINE": engine.name}) == 2
    assert "make compose-down" in capsys.readouterr().err


def test_a_pod_of_somebody_else_is_not_replaced(engine: Engine) -> None:
    variables = {"CONTAINER_AUTH_TOKEN": "token", "REDIS_PASSWORD": "password"}
    with pytest.raises(EngineError, match="podman has a pod session-server-pod-0"):
        kube_proof.prove(engine, variables, "a certificate")


def test_podman_plays_one_replica_and_publishes_it_on_loopback_alone() -> None:
    text = "\n".join(kube_proof.manifests())
    assert "replicas: 1\n" in text
    assert "containerPort: 8080, hostIP: 127.0.0.1, hostPort: " in text
    assert {"Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget"} <= {
        line.removeprefix("kind: ") for line in text.splitlines()
    }
