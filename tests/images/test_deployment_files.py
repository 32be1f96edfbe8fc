"""Dockerfiles, compose and manifests, held to their own rules by the tools that know them."""

from __future__ import annotations

import importlib.metadata
import ipaddress
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import py_code_mode

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted(ROOT.glob("examples/**/Dockerfile*"))
COMPOSE = ROOT / "deploy" / "compose.yaml"
#: A kustomization is never seen by the cluster, and a patch is no whole object.
NO_MANIFESTS = ("kustomization.yaml", "runtime-class.yaml")
MANIFESTS = sorted(
    path for path in (ROOT / "deploy" / "k8s").rglob("*.yaml") if path.name not in NO_MANIFESTS
)

#: Which Python asks: the image's, whatever runs the tests.
IMAGE_PYTHON = {"python_version": "3.12", "python_full_version": "3.12.0"}


def tool(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not installed; it comes with the extra dev: make check")
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


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_are_made_of_packages_and_of_the_repository_alone(path: Path) -> None:
    steps = re.sub(r"\\\n", " ", path.read_text()).splitlines()
    assert not any(step.startswith("ADD ") for step in steps)
    assert not any("://" in step for step in steps if step.startswith("RUN "))


def add_needs(requirement: Requirement, found: set[str]) -> None:
    """Add what pip installs for a requirement there, and is not in ``found``, with its extras."""
    for each in map(Requirement, importlib.metadata.requires(requirement.name) or ()):
        extras = ["", *requirement.extras]
        wanted = not each.marker or any(
            each.marker.evaluate({**IMAGE_PYTHON, "extra": name}) for name in extras
        )
        key = f"{canonicalize_name(each.name)}{sorted(each.extras) or ''}"
        if wanted and key not in found:
            found.add(key)
            add_needs(each, found)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_all_that_pip_installs_into_an_image_is_pinned(path: Path) -> None:
    text = path.read_text()
    given = dict(re.findall(r"^ARG (EXTRAS|PACKAGES)=(.*)$", text, flags=re.MULTILINE))
    assert '-c constraints.txt ".[${EXTRAS}]" ${PACKAGES} ' in text
    extras, more = given["EXTRAS"], given["PACKAGES"]
    found = set(more.split())
    for name in [f"py-code-mode[{extras}]", *more.split()]:
        add_needs(Requirement(name), found)
    needed = {key.partition("[")[0] for key in found}
    assert {"fastapi", "mcp", "redis", "pandas", "requests", "uvloop"} <= needed
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    assert needed - pins == set()


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


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_manifests_fit_the_strict_schema(path: Path) -> None:
    check(tool("kubernetes-validate"), "--strict", path)


def test_kustomizations_name_every_manifest() -> None:
    for path in (ROOT / "deploy" / "k8s").rglob("kustomization.yaml"):
        there = {each.name for each in MANIFESTS if each.parent == path.parent}
        assert set(yaml.safe_load(path.read_text())["resources"]) == there


@pytest.mark.parametrize("path", ["deployment.yaml", "redis/redis.yaml"])
def test_pods_are_restricted(path: str) -> None:
    text = (ROOT / "deploy" / "k8s" / path).read_text()
    pod = yaml.safe_load(text)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "10.1.2.3",
        "fd00:ec2::254",
    ],
)
def test_tools_never_reach_metadata_or_private_addresses(address: str) -> None:
    text = (ROOT / "deploy" / "k8s" / "network-policy.yaml").read_text()
    rules = yaml.safe_load(text)["spec"]["egress"]
    blocks = [to["ipBlock"] for rule in rules for to in rule["to"] if "ipBlock" in to]
    wanted = ipaddress.ip_address(address)
    for block in blocks:
        if wanted in ipaddress.ip_network(block["cidr"]):
            assert any(wanted in ipaddress.ip_network(each) for each in block["except"])


def test_the_secrets_of_compose_are_made_once_and_the_password_is_no_part_of_them(
    tmp_path: Path,
) -> None:
    script = tmp_path / "compose.sh"
    shutil.copy(ROOT / "deploy" / "compose.sh", script)
    check(script, "secrets")
    env = tmp_path / ".env"
    made = dict(line.split("=", 1) for line in env.read_text().splitlines())
    assert {name: len(value) for name, value in made.items()} == {
        "CONTAINER_AUTH_TOKEN": 64,
        "REDIS_PASSWORD": 64,
    }
    folder = tmp_path / "secrets"
    assert (env.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    files = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(files) == {"ca.pem", "redis.key", "redis.pem", "users.acl"}
    assert not any(made["REDIS_PASSWORD"] in text for text in files.values())
    check(script, "secrets")
    assert files == {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_and_manifests_name_the_version_that_is_in_them(path: Path) -> None:
    assert f"ARG VERSION={py_code_mode.__version__}\n" in path.read_text()
    kustomization = ROOT / "deploy" / "k8s" / "kustomization.yaml"
    (image,) = yaml.safe_load(kustomization.read_text())["images"]
    assert image["newTag"] == py_code_mode.__version__
