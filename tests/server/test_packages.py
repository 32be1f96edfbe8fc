"""Packages that the store lists are there before the server says that it is ready."""

from __future__ import annotations

import pytest

from packages.wheels import sdist, wheel
from redis_server import RedisSource

from .serving import Place, Server, code_of, eventually, health_s, meanwhile


@pytest.fixture
def uv(own: Place) -> dict[str, str]:
    """What lets the server install from a folder of ours and from nowhere else."""
    folder = own.folder / "wheels"
    folder.mkdir()
    wheel(folder, "tinypkg", "1.0")
    wheel(folder, "otherpkg", "2.0", requires=["tinypkg"])
    return {"UV_FIND_LINKS": str(folder), "UV_OFFLINE": "1", "UV_NO_INDEX": "1"}


def reasons(server: Server) -> tuple[int, list[str], str]:
    with server.client(token=None) as client:
        answer = client.get("/ready")
        return answer.status_code, answer.json()["reasons"], answer.json()["detail"]


def test_what_the_store_lists_is_there_at_the_first_run(own: Place, uv: dict[str, str]) -> None:
    (own.folder / "store").mkdir()
    (own.folder / "store" / "requirements.txt").write_text("otherpkg>=1\n")
    with own.start(**uv).client() as client:
        assert client.value("import otherpkg, tinypkg; tinypkg.__version__") == "1.0"
        assert client.get("/api/deps").json() == ["otherpkg>=1"]
        assert client.post("/api/deps/sync").json() == ["otherpkg==2.0", "tinypkg==1.0"]
        assert client.get("/info").json()["packages"] == ["otherpkg>=1"]


def test_a_package_that_cannot_be_installed_is_named_until_the_list_changes(
    own: Place, uv: dict[str, str], redis_servers: RedisSource
) -> None:
    redis = redis_servers.start()
    redis.cli("SADD", "agent:deps", "tinypkg", "no-such-package-here==9")
    server = own.make(REDIS_URL=redis.url, **uv).start(until="/health")
    eventually(lambda: reasons(server)[1] == ["deps_failed"])
    status, _, detail = reasons(server)
    assert status == 503
    assert "no-such-package-here" in detail
    with server.client() as client:
        assert client.value("1") == 1  # sessions run, with what there is
        assert code_of(client.post("/api/deps/sync")) == (422, "dep_install")
        redis.cli("SREM", "agent:deps", "no-such-package-here==9")
        eventually(lambda: reasons(server)[0] == 200)
        assert client.value("import tinypkg; tinypkg.__version__") == "1.0"
        redis.cli("SADD", "agent:deps", "git+https://example.invalid/x")
        eventually(lambda: reasons(server)[1] == ["deps_failed"])
        redis.cli("DEL", "agent:deps")
        eventually(lambda: reasons(server)[0] == 200)


def test_with_leave_packages_come_and_go_over_http(own: Place, uv: dict[str, str]) -> None:
    with own.start(ALLOW_RUNTIME_DEPS="true", **uv).client() as client:
        added = client.post("/api/deps/add", json={"package": "tinypkg==1.0"})
        assert (added.status_code, added.json()) == (201, ["tinypkg==1.0"])
        assert client.value("import tinypkg; tinypkg.__version__") == "1.0"
        missing = client.post("/api/deps/add", json={"package": "no-such-package-here"})
        assert code_of(missing) == (422, "dep_install")
        assert "installed" not in missing.json()["detail"].split("no-such-package-here")[0]
        for spec in ("git+https://example.invalid/x", "/tmp/x", "-e .", "x; os_name=='a'", ""):
            refusal = client.post("/api/deps/add", json={"package": spec})
            assert code_of(refusal) == (422, "invalid_dep")
        assert client.get("/api/deps").json() == ["tinypkg==1.0"]
        removed = client.post("/api/deps/remove", json={"package": "tinypkg"})
        assert (removed.status_code, removed.json()) == (200, [])
        again = client.post("/api/deps/remove", json={"package": "tinypkg"})
        assert code_of(again) == (404, "dep_not_found")


def test_an_install_keeps_neither_runs_nor_health_waiting(own: Place, uv: dict[str, str]) -> None:
    modules = {f"manymods/m{number}.py": "x = [1, 2, 3]\n" * 200 for number in range(1500)}
    wheel(own.folder / "wheels", "manymods", files={"manymods/__init__.py": "", **modules})
    server = own.start(ALLOW_RUNTIME_DEPS="true", **uv)
    with server.client() as client, server.client() as other:
        other.run("x = 1", "bystander")
        with meanwhile(
            lambda: client.post("/api/deps/add", json={"package": "manymods"})
        ) as installing:
            took = []
            while not installing.done():
                took.append(health_s(server))
                assert other.value("x", "bystander") == 1
            assert installing.result().json() == ["manymods"]
        assert sorted(took)[len(took) // 2] < 0.25, took
        assert other.value("import manymods.m7; manymods.m7.x[:3]", "bystander") == [1, 2, 3]


def test_sources_are_built_where_the_operator_lets_them(own: Place, uv: dict[str, str]) -> None:
    sdist(own.folder / "wheels", "sourcepkg", attempt="REPORT = sorted(os.environ)")
    with own.start(ALLOW_RUNTIME_DEPS="true", **uv).client() as client:
        refused = client.post("/api/deps/add", json={"package": "sourcepkg"})
        assert code_of(refused) == (422, "dep_install")
        assert "DEPS_ALLOW_BUILD" in refused.json()["detail"]
    server = own.make(ALLOW_RUNTIME_DEPS="true", DEPS_ALLOW_BUILD="true", **uv).start()
    with server.client() as client:
        added = client.post("/api/deps/add", json={"package": "sourcepkg"})
        assert (added.status_code, added.json()) == (201, ["sourcepkg"])
        seen = client.value("import sourcepkg; sourcepkg.report")
        assert not [name for name in seen if name.startswith(("UV_", "CONTAINER", "STORAGE"))]
