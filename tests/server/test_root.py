"""A server that is started as root and does not stay it."""

from __future__ import annotations

from pathlib import Path

import pytest

from packages.wheels import sdist

from .serving import PRIVATE, TOKEN, Place, hidden, refused

UID = 23456


def _uid(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("Uid:")).split()[1])


@pytest.mark.root
def test_root_becomes_another_and_sessions_have_uids_all_the_same(own: Place) -> None:
    for folder in (own.folder, own.folder / "store", own.folder / "open"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o1777)
    server = own.start(SERVER_UID=str(UID), WORK_DIR=str(own.folder / "open"))
    with server.client() as client:
        assert client.get("/info").json()["sandbox"]["own_uids"] is True
        assert client.run("import os; os.getuid()")["value"] > 200_000_000
        crashed = client.run("import os; os._exit(3)")
        assert crashed["error_type"] == "WorkerCrashed"
    family = server.processes()[:3]
    assert [(pid, name) for pid in family for name in PRIVATE if not hidden(pid, name, UID)] == []
    server_uid, launcher_uid, zygote_uid = [_uid(pid) for pid in server.processes()[:3]]
    assert (server_uid, launcher_uid, zygote_uid) == (UID, 0, 0)
    assert server.stop() == 0
    # What it installs packages into stays; nothing of a session's does.
    left = [path.name for path in (own.folder / "open").iterdir()]
    assert [name for name in left if "sessions" in name] == []


@pytest.mark.root
def test_what_has_given_up_root_builds_packages_with_uids_of_their_own(own: Place) -> None:
    for folder in (own.folder, own.folder / "store", own.folder / "open", own.folder / "links"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o1777)
    sdist(own.folder / "links", "sourcepkg", attempt="REPORT = os.getuid()").chmod(0o644)
    server = own.start(
        SERVER_UID=str(UID),
        WORK_DIR=str(own.folder / "open"),
        ALLOW_RUNTIME_DEPS="true",
        DEPS_ALLOW_BUILD="true",
        UV_FIND_LINKS=str(own.folder / "links"),
        UV_OFFLINE="1",
        UV_NO_INDEX="1",
    )
    with server.client() as client:
        added = client.post("/api/deps/add", json={"package": "sourcepkg"})
        assert added.status_code == 201, added.json()
        built_by, runs = client.value("import os, sourcepkg; [sourcepkg.report, os.getuid()]")
        assert min(built_by, runs) > 200_000_000
        assert built_by != runs


def test_a_uid_that_is_none_is_told() -> None:
    ended = refused({"CONTAINER_AUTH_TOKEN": TOKEN, "SERVER_UID": "nobody"})
    assert ended.returncode == 2
    assert "SERVER_UID must be a whole number, not 'nobody'" in ended.stderr
