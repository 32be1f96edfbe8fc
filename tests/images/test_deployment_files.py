"""Dockerfiles, compose and manifests, held to their own rules where the tools are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted(ROOT.glob("examples/**/Dockerfile*"))
COMPOSE = ROOT / "deploy" / "compose.yaml"
MANIFESTS = sorted((ROOT / "deploy" / "k8s").glob("[a-z]*.yaml"))


def tool(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def check(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    check(tool("hadolint"), path)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_have_one_base_and_need_no_buildkit(path: Path) -> None:
    words = [line.split() for line in path.read_text().splitlines() if line.strip()]
    stages = {line[3] for line in words if line[0] == "FROM" and len(line) == 4}
    bases = {line[1] for line in words if line[0] == "FROM"} - stages
    assert bases == {"python:3.12-slim"}
    assert not any("--mount" in line or "<<" in "".join(line) for line in words)


def test_the_compose_file_fits_the_schema() -> None:
    check(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_compose_has_no_default_for_a_secret_and_every_service_is_hardened() -> None:
    services: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    assert set(services) == {"session-1", "session-2", "proxy", "redis"}
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert {"mem_limit", "pids_limit"} <= set(service)
    environment = services["session-1"]["environment"]
    assert environment["CONTAINER_AUTH_TOKEN"].startswith("${CONTAINER_AUTH_TOKEN:?")
    assert "${REDIS_PASSWORD:?" in environment["REDIS_URL"]
    example = (ROOT / "deploy" / ".env.example").read_text().splitlines()
    assert [line for line in example if line and not line.startswith("#")] == [
        "CONTAINER_AUTH_TOKEN=",
        "REDIS_PASSWORD=",
    ]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_fit_the_strict_schema(path: Path) -> None:
    if path.name == "kustomization.yaml":
        pytest.skip("kustomize's own, which the cluster never sees")
    check(tool("kubernetes-validate"), "--strict", path)
