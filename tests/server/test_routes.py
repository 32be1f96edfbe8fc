"""Every row of the table of routes, through HTTP, as a client meets it."""

from __future__ import annotations

import base64
import json
import secrets

import pytest

from .serving import Client, Server, code_of, eventually, meanwhile

SKILL = '"""Double a number."""\n\ndef run(n: int) -> int:\n    return 2 * n\n'
REFUSED_NAMES = {"invalid_artifact_name", "artifact_not_found", "not_found"}


@pytest.fixture
def name() -> str:
    return f"s_{secrets.token_hex(6)}"


def test_execute_answers_with_every_field(client: Client) -> None:
    answer = client.run("print('out'); import sys; print('err', file=sys.stderr); 6 * 7")
    assert answer.pop("execution_time_ms") > 0
    assert len(answer.pop("session_id")) >= 22
    assert answer == {
        "value": 42,
        "stdout": "out\n",
        "stderr": "err\n",
        "error": None,
        "error_type": None,
        "is_ok": True,
        "displays": [],
        "state": {"generation": 1, "lost": False, "durable": False, "not_restored": []},
        "truncated": [],
    }


def test_a_session_keeps_its_variables_and_counts_its_runs(client: Client, session: str) -> None:
    client.run("x = 20", session)
    answer = client.run("x + 1", session)
    assert (answer["value"], answer["session_id"]) == (21, session)
    assert answer["state"] == {
        "generation": 2,
        "lost": False,
        "durable": False,
        "not_restored": [],
    }


def test_without_an_id_every_run_has_a_session_of_its_own(client: Client) -> None:
    first, second = client.run("x = 1"), client.run("x")
    assert first["session_id"] != second["session_id"]
    assert second["error_type"] == "NameError"
    assert client.value("x", first["session_id"]) == 1


def test_code_that_fails_is_an_answer(client: Client) -> None:
    answer = client.run("print('before')\n1 / 0")
    assert (answer["is_ok"], answer["error_type"]) == (False, "ZeroDivisionError")
    assert answer["stdout"] == "before\n"
    assert "1 / 0" in answer["error"]
    assert "py_code_mode" not in answer["error"]


def test_values_travel_as_the_contract_says(client: Client) -> None:
    code = "{'b': b'\\x00\\xff', 'n': float('nan'), 't': (1, {2}), 'd': {'$type': 1}, 'o': object}"
    assert client.value(code) == {
        "b": {"$type": "bytes", "base64": "AP8="},
        "n": {"$type": "float", "value": "nan"},
        "t": [1, [2]],
        "d": {"$type": "dict", "items": [["$type", 1]]},
        "o": "<class 'object'>",
    }


@pytest.mark.parametrize(
    "code",
    [
        "lambda: 1",
        "{1: 2}",
        "x = []; x.append(x); x",
        "'\\ud800'",
        "10 ** 5000",
        "class A:\n  def __repr__(self): raise ValueError\nA()",
        "float('inf')",
        "eval('[' * 90 + ']' * 90)",
        "__import__('decimal').Decimal(1)",
    ],
)
def test_no_value_makes_a_run_fail_to_answer(client: Client, code: str) -> None:
    assert client.run(code)["is_ok"]


def test_a_timeout_is_an_answer_and_keeps_the_variables(client: Client, session: str) -> None:
    answer = client.run("x = 5\nprint('kept', flush=True)\nwhile True: pass", session, timeout=0.5)
    assert answer["error_type"] == "ExecutionTimeoutError"
    assert (answer["stdout"], answer["state"]["lost"]) == ("kept\n", False)
    assert client.value("x", session) == 5


@pytest.mark.parametrize("timeout", [1e-300, 1e-5, 0.001])
def test_hardly_any_time_is_a_timeout_too(client: Client, session: str, timeout: float) -> None:
    answer = client.run("while True: pass", session, timeout=timeout)
    assert answer["error_type"] == "ExecutionTimeoutError"
    assert client.value("1", session) == 1


def test_interrupt_stops_a_run_and_says_idle_where_there_is_none(
    server: Server, client: Client, session: str
) -> None:
    client.run("x = 1", session)
    headers = {"X-Session-ID": session}
    assert client.post("/interrupt", headers=headers).json() == {
        "status": "idle",
        "session_id": session,
    }
    with server.client() as other, meanwhile(lambda: other.run("while True: pass", session)) as run:
        eventually(
            lambda: client.post("/interrupt", headers=headers).json()["status"] == "interrupted"
        )
        assert run.result()["error_type"] == "KeyboardInterrupt"
    assert client.value("x", session) == 1


def test_reset_clears_variables_and_folder(client: Client, session: str) -> None:
    client.run("x = 1; open('f', 'w').write('1')", session)
    answer = client.post("/reset", headers={"X-Session-ID": session})
    assert (answer.status_code, answer.json()) == (200, {"status": "reset", "session_id": session})
    code = "import os; ('x' in globals(), os.path.exists('f'))"
    assert client.run(code, session)["state"] == {
        "generation": 1,
        "lost": False,
        "durable": False,
        "not_restored": [],
    }
    assert client.value(code, session) == [False, False]


def test_delete_ends_the_session(client: Client, session: str) -> None:
    client.run("x = 1", session)
    headers = {"X-Session-ID": session}
    answer = client.delete("/session", headers=headers)
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "deleted", "session_id": session},
    )
    assert code_of(client.delete("/session", headers=headers)) == (404, "session_unknown")
    again = client.run("'x' in globals()", session)
    assert (again["value"], again["state"]["generation"], again["state"]["lost"]) == (
        False,
        1,
        False,
    )


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/interrupt"), ("POST", "/reset"), ("DELETE", "/session")]
)
def test_an_unknown_session_is_told(client: Client, session: str, method: str, path: str) -> None:
    headers = {"X-Session-ID": session}
    assert code_of(client.request(method, path, headers=headers)) == (404, "session_unknown")
    assert code_of(client.request(method, path)) == (422, "invalid_request")


@pytest.mark.parametrize("given", ["", "a b", "a/b", "x" * 129, "é", "a\tb", "a;b"])
def test_session_ids_have_a_form(client: Client, given: str) -> None:
    response = client.post(
        "/execute", json={"code": "1"}, headers={b"X-Session-ID": given.encode("latin-1")}
    )
    assert code_of(response) == (422, "invalid_session_id")


def test_health_and_ready(client: Client) -> None:
    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert health.json()["uptime_seconds"] > 0
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ready", "reasons": [], "detail": ""},
    )


def test_info_says_what_agent_code_can_do(client: Client) -> None:
    info = client.get("/info").json()
    assert set(info) == {
        "tools",
        "skills",
        "artifacts_path",
        "packages",
        "sandbox",
        "limits",
        "version",
    }
    assert "echo" in [tool["name"] for tool in info["tools"]]
    assert info["sandbox"]["tier"] in {"A", "B", "C"}
    assert info["limits"]["max_code_bytes"] == 100_000


def test_tools_are_listed_and_found(client: Client) -> None:
    tools = {tool["name"]: tool for tool in client.get("/api/tools").json()}
    assert tools["echo"] == {
        "name": "echo",
        "description": "Print a text again",
        "tags": ["text"],
        "callables": ["say"],
    }
    found = client.get("/api/tools/search", params={"query": "wait some seconds", "limit": 1})
    assert [tool["name"] for tool in found.json()] == ["sleep"]
    assert found.json()[0]["score"] > 0


@pytest.mark.parametrize("path", ["/api/tools/search", "/api/skills/search"])
@pytest.mark.parametrize("query", ["", "?query=x&limit=0", "?query=x&limit=many", "?limit=3"])
def test_a_search_without_sense_is_told(client: Client, path: str, query: str) -> None:
    assert code_of(client.get(path + query)) == (422, "invalid_request")


def test_a_skill_is_made_shown_found_run_and_deleted(client: Client, name: str) -> None:
    made = client.post("/api/skills", json={"name": name, "source": SKILL})
    assert made.status_code == 201
    assert (made.json()["version"], made.json()["origin"]) == (1, "api")
    shown = client.get(f"/api/skills/{name}").json()
    assert (shown["source"], shown["description"]) == (SKILL, "Double a number.")
    assert name in [skill["name"] for skill in client.get("/api/skills").json()]
    found = client.get("/api/skills/search", params={"query": "double a number", "limit": 50})
    assert name in [skill["name"] for skill in found.json()]
    assert client.value(f"skills.{name}(n=4)") == 8
    assert client.delete(f"/api/skills/{name}").status_code == 204
    assert code_of(client.get(f"/api/skills/{name}")) == (404, "skill_not_found")
    assert code_of(client.delete(f"/api/skills/{name}")) == (404, "skill_not_found")


def test_a_skill_is_replaced_only_where_that_is_asked_for(client: Client, name: str) -> None:
    client.post("/api/skills", json={"name": name, "source": SKILL})
    again = {"name": name, "source": SKILL.replace("2 * n", "3 * n"), "description": "Triple."}
    assert code_of(client.post("/api/skills", json=again)) == (409, "skill_exists")
    replaced = client.post("/api/skills", json={**again, "overwrite": True})
    assert (replaced.status_code, replaced.json()["version"]) == (201, 2)
    earlier = client.get(f"/api/skills/{name}", params={"version": 1})
    assert earlier.json()["source"] == SKILL
    late = client.get(f"/api/skills/{name}", params={"version": 10**30})
    assert code_of(late) == (404, "skill_not_found")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "ok", "source": "x = 1"},
        {"name": "ok", "source": "def run(:"},
        {"name": "list", "source": SKILL},
        {"name": "../up", "source": SKILL},
        {"name": "", "source": SKILL},
    ],
)
def test_a_bad_skill_is_422(client: Client, body: dict[str, str]) -> None:
    assert code_of(client.post("/api/skills", json=body)) == (422, "invalid_skill")


def test_artifacts_keep_their_type_and_may_be_in_folders(client: Client, name: str) -> None:
    for data in (5, "text", [1, {"a": None}], 1.5, {"$type": "bytes", "base64": "AP8="}):
        made = client.post("/api/artifacts", json={"name": f"{name}/a.bin", "data": data})
        assert made.status_code == 201
        assert client.get(f"/api/artifacts/{name}/a.bin").json() == data
    record = client.get(f"/api/artifacts/{name}/a.bin?meta").json()
    assert (record["name"], record["size"], record["media_type"]) == (
        f"{name}/a.bin",
        2,
        "application/octet-stream",
    )
    assert f"{name}/a.bin" in [each["name"] for each in client.get("/api/artifacts").json()]
    assert client.get(f"/api/artifacts/{name}%2Fa.bin").status_code == 200
    assert client.delete(f"/api/artifacts/{name}/a.bin").status_code == 204
    for query in ("", "?meta", "?raw"):
        missing = client.get(f"/api/artifacts/{name}/a.bin{query}")
        assert code_of(missing) == (404, "artifact_not_found")
    assert code_of(client.delete(f"/api/artifacts/{name}/a.bin")) == (404, "artifact_not_found")


def test_what_agents_save_is_there_over_http_and_the_other_way_round(
    client: Client, name: str
) -> None:
    client.run(f"artifacts.save('{name}', b'\\x00', description='d', metadata={{'k': 1}})")
    record = client.get(f"/api/artifacts/{name}?meta").json()
    assert (record["description"], record["metadata"]) == ("d", {"k": 1})
    client.post("/api/artifacts", json={"name": name, "data": [1, 2]})
    assert client.value(f"artifacts.load('{name}')") == [1, 2]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"$type": "float", "value": "nan"}, (422, "artifact_type")),
        ({"$type": "unknown"}, (422, "invalid_request")),
        ({"$type": "bytes", "base64": "%"}, (422, "invalid_request")),
        ({"$type": "bytes", "base64": "\u00e9"}, (422, "invalid_request")),
        ({"$type": "dict", "items": [1]}, (422, "invalid_request")),
        ({"$type": "dict", "items": [[[], 1]]}, (422, "invalid_request")),
        ({"$type": "dict", "items": [[1, 1]]}, (422, "artifact_type")),
        ({"$type": ["x"]}, (422, "invalid_request")),
    ],
)
def test_data_that_cannot_come_back_equal_is_refused(
    client: Client, name: str, data: object, code: tuple[int, str]
) -> None:
    response = client.post("/api/artifacts", json={"name": name, "data": data})
    assert code_of(response) == code


def test_data_nested_deeper_than_anything_is_refused(client: Client, name: str) -> None:
    for depth in (500, 900, 2_000, 50_000):
        nested = "[" * depth + "]" * depth
        response = client.post(
            "/api/artifacts", content=f'{{"name": "{name}", "data": {nested}}}'.encode()
        )
        assert code_of(response)[0] in {400, 422}, depth


@pytest.mark.parametrize(
    "path", ["..", "a/../../b", "/etc/passwd", "a//b", "a/", ".", "%00", "a%0Ab"]
)
def test_an_artifact_never_leaves_its_root(client: Client, path: str) -> None:
    # The client would tidy the path up, so that it is written percent-encoded.
    encoded = path if path.startswith("%") or "%" in path else path.replace(".", "%2E")
    for query in ("", "?raw", "?meta"):
        response = client.get(f"/api/artifacts/{encoded}{query}")
        assert code_of(response)[1] in REFUSED_NAMES, path
    body = {"name": path, "data": 1}
    if "%" not in path:
        assert code_of(client.post("/api/artifacts", json=body)) == (422, "invalid_artifact_name")


def test_deps_are_listed_and_synced_and_not_changed_at_run_time(client: Client) -> None:
    assert client.get("/api/deps").json() == []
    assert client.post("/api/deps/sync").json() == []
    for call in ("add", "remove"):
        response = client.post(f"/api/deps/{call}", json={"package": "six"})
        assert code_of(response) == (403, "runtime_deps_disabled")
    answer = client.run("deps.list(), deps.sync()\ndeps.add('six')")
    assert answer["error_type"] == "RuntimeDepsDisabledError"


def test_metrics_are_text_for_prometheus(client: Client) -> None:
    client.run("1")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE pycodemode_runs_total counter" in answer.text


def test_an_unknown_path_and_a_wrong_method_are_problems(client: Client) -> None:
    assert code_of(client.get("/nothing")) == (404, "not_found")
    assert code_of(client.get("/sessions")) == (404, "not_found")  # and none lists the sessions
    wrong = client.get("/execute")
    assert code_of(wrong) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", (400, "invalid_json")),
        (b"{", (400, "invalid_json")),
        (b"\xff\xfe", (400, "invalid_json")),
        (b"[" * 100_000, (400, "invalid_json")),
        (b'{"code": "\\ud800"}', (400, "invalid_json")),
        (b"[]", (422, "invalid_request")),
        (b"null", (422, "invalid_request")),
        (b"{}", (422, "invalid_request")),
        (b'{"code": 1}', (422, "invalid_request")),
        (b'{"code": "1", "timeout": "1"}', (422, "invalid_request")),
        (b'{"code": "1", "timeout": true}', (422, "invalid_request")),
        (b'{"code": "1", "unknown": 1}', (422, "invalid_request")),
        (b'{"code": "1", "timeout": NaN}', (422, "invalid_argument")),
        (b'{"code": "1", "timeout": 0}', (422, "invalid_argument")),
        (b'{"code": "1", "timeout": -1}', (422, "invalid_argument")),
        (b'{"code": "1", "execution_id": "a"}', (422, "invalid_request")),
        (b'{"code": "1", "execution_id": ""}', (422, "invalid_request")),
        (b'{"code": "1", "execution_id": "a b"}', (422, "invalid_request")),
    ],
)
def test_a_bad_body_of_execute_is_told(client: Client, body: bytes, code: tuple[int, str]) -> None:
    assert code_of(client.post("/execute", content=body)) == code


@pytest.mark.parametrize("path", ["/api/skills", "/api/artifacts", "/api/deps/add"])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 100_000, b"[]", b"null", b'"x"', b'{"name": "\\ud800"}']
)
def test_a_bad_body_of_the_other_routes_is_told(client: Client, path: str, body: bytes) -> None:
    status, code = code_of(client.post(path, content=body))
    assert (status, code) in {(400, "invalid_json"), (422, "invalid_request")}


def test_errors_name_the_place_and_never_repeat_the_value(client: Client) -> None:
    response = client.post("/api/skills", json={"name": 5, "source": "s3cret" * 10, "more": 1})
    assert code_of(response) == (422, "invalid_request")
    assert {each["where"] for each in response.json()["errors"]} == {"body.name", "body.more"}
    assert "s3cret" not in response.text


def test_bytes_are_as_large_in_base64_as_they_are(client: Client) -> None:
    value = client.value("bytes(range(256)) * 10")
    assert base64.b64decode(value["base64"]) == bytes(range(256)) * 10


def test_no_path_leads_to_another(client: Client) -> None:
    for path in ("/api/tools/", "/api/skills/", "/info/", "//info"):
        assert code_of(client.get(path)) == (404, "not_found"), path


@pytest.mark.parametrize(
    "called", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "x", ""]
)
def test_a_body_is_json_whatever_it_is_called(client: Client, name: str, called: str) -> None:
    """curl calls it a form, unless it is told."""
    headers = {"Content-Type": called}
    bodies = {
        "/execute": {"code": "1"},
        "/api/skills": {"name": name.replace("-", "_"), "source": "def run(): return 1"},
        "/api/artifacts": {"name": name, "data": 1},
    }
    for path, body in bodies.items():
        answer = client.post(path, content=json.dumps(body), headers=headers)
        assert answer.is_success, (path, answer.text)
    add = client.post("/api/deps/add", content=b'{"package": "x"}', headers=headers)
    assert code_of(add) == (403, "runtime_deps_disabled")
