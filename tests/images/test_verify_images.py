"""The script that verifies images, with a program in the place of the engine."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from container_engine import Container, Engine, EngineError, find_engine
from container_ways import WAYS, Way
from image_proofs import Proof
from server_facts import ProofError

SCRIPT = Path(__file__).parents[2] / "scripts" / "verify_images.py"


def test_without_an_engine_it_says_what_it_needs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "apt-get install podman" in done.stderr


def test_a_client_without_its_daemon_is_no_engine(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_engine(engine.name)
    assert found is not None
    assert found.name == "podman"
    monkeypatch.setenv("ENGINE_INFO", "1")
    assert find_engine(engine.name) is None


def test_a_container_is_removed_whatever_happens(engine: Engine, tmp_path: Path) -> None:
    with (
        pytest.raises(ProofError),
        engine.container("image", ["--read-only"]) as container,
    ):
        raise ProofError("not what it must")
    started, removed = (tmp_path / "log").read_text().splitlines()
    assert started == f"run --detach --name {container.name} --read-only image"
    assert removed == f"rm --force --volumes {container.name}"


def test_a_container_that_does_not_end_is_removed_too(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_HANGS", "yes")
    with pytest.raises(EngineError, match=r"podman run took more than 0\.5 s"):
        engine.attend("image", ["--read-only"], "serve", timeout_s=0.5)
    started, removed = (tmp_path / "log").read_text().splitlines()
    name = re.fullmatch("run --name ([a-z0-9-]+) --read-only image serve", started)
    assert name is not None
    assert removed == f"rm --force --volumes {name[1]}"


def test_an_engine_that_fails_is_told_with_its_words(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_RUN", "125")
    with pytest.raises(EngineError, match="podman run --detach ended with 125"):
        engine.must("run", "--detach")


def test_what_an_engine_leaves_behind_goes_with_it(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    other = Engine(engine.name)
    folder = Path(other.must("pwd"))
    assert [each.name for each in folder.iterdir()] == ["oom"]
    del other
    gc.collect()
    assert not folder.exists()
    assert list(here.iterdir()) == []


def test_an_image_is_built_from_absolute_paths(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    engine.build("a/Dockerfile", "image", Path("context"), ["--network", "host"])
    context = tmp_path / "context"
    options = f"--format docker --network host -f {context}/a/Dockerfile -t image {context}"
    assert (tmp_path / "log").read_text() == f"build {options}\n"


def test_a_request_goes_in_through_the_engine(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"status": 200, "headers": {"a": "b"}, "body": {"c": 1}}
    monkeypatch.setenv("ENGINE_EXEC", json.dumps(answer))
    got = Container(engine, "name").request("GET", "/info", token="secret")
    assert (got.status, got.headers, got.body) == (200, {"a": "b"}, {"c": 1})


def test_both_engines_tell_when_a_container_was_started(engine: Engine) -> None:
    assert Container(engine, "name").started_at() == 1767323045.678901


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_container_has_the_rights_of_its_way(engine: Engine, tmp_path: Path, way: Way) -> None:
    with pytest.raises(ProofError):
        Proof(engine, "image", way, "suite").refuses_without_token()
    asked = (tmp_path / "log").read_text()
    hard = re.search("--pids-limit .*--read-only .*--cap-drop ALL .*no-new-privileges", asked)
    assert (hard is not None) == (way.name != "root, not hardened")
    assert ("--cap-add" in asked) == (way.name == "root")
    assert "--privileged" not in asked


@pytest.mark.parametrize(
    ("said", "proved"),
    [
        ("t[own-uid-a] PASSED\nt[b-no-landlock] PASSED\n==== 2 passed, 1 xfailed in 1s ====", True),
        ("t[own-uid-a] PASSED\n==== 1 passed in 1s ====", False),
        (
            "t[own-uid-a] PASSED\nt[no-landlock-a] PASSED\nt[no-landlock-b] SKIPPED\n"
            "==== 2 passed, 1 skipped in 1s ====",
            False,
        ),
        ("==== no tests ran in 1s ====", False),
    ],
    ids=["made", "a set-up left out", "skipped", "nothing"],
)
def test_the_hostile_suite_counts_where_each_set_up_was_made(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    proved: bool,
) -> None:
    monkeypatch.setenv("ENGINE_SAID", said)
    proof = Proof(engine, "image", WAYS[2], "suite")
    if proved:
        (fact,) = proof.survives_the_hostile_suite()
        assert fact.endswith("2 passed, 1 xfailed in 1s (own-uid 1, no-landlock 1)")
    else:
        with pytest.raises(ProofError):
            proof.survives_the_hostile_suite()
