"""Faults that an earlier implementation of this idea has, each as a client would meet it here."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from .conftest import fill
from .serving import TOKEN, Client, Place, Server, code_of, place, together

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "shared" / "tools"


@pytest.fixture(scope="module")
def shown() -> Iterator[Server]:
    """A server with the example tools, one that cannot be used, and a folder of the operator's."""
    with place() as made:
        store, config = made.folder / "store", made.folder / "config"
        fill(store)
        for tool in EXAMPLES.glob("*.yaml"):
            shutil.copy(tool, store / "tools")
        (store / "tools" / "broken.yaml").write_text("name: broken\ncommand: [\n")
        (store / "tools" / "absent.yaml").write_text(
            "name: absent\ndescription: Not installed\ncommand: no-such-program-here\n"
        )
        (config / "skills").mkdir(parents=True)
        (config / "skills" / "given.py").write_text(
            '"""The operator\'s."""\n\ndef run():\n    return 1\n'
        )
        yield made.start(CONFIG_PATH=str(config))


@pytest.fixture
def visitor(shown: Server) -> Iterator[Client]:
    with shown.client() as client:
        yield client


def test_concurrent_sessions_get_their_own_prints(client: Client) -> None:
    def talk(word: str) -> str:
        code = f"import time\nfor _ in range(20):\n  print({word!r}); time.sleep(0.01)"
        return str(client.run(code)["stdout"])

    words = [f"word-{number}" for number in range(8)]
    said = together([partial(talk, word) for word in words])
    assert said == [f"{word}\n" * 20 for word in words]


def test_runs_of_one_session_never_overlap(client: Client, session: str) -> None:
    client.run("log = []; import time", session)
    code = "log.append('in'); time.sleep(0.1); log.append('out')"
    together([lambda: client.run(code, session)] * 3)
    assert client.value("log", session) == ["in", "out"] * 3


def test_a_skill_may_call_tools_and_other_skills(client: Client) -> None:
    mark = secrets.token_hex(4)
    inner = '"""Inner."""\n\ndef run(text: str) -> str:\n    return tools.echo.say(text=text)\n'
    outer = (
        '"""Outer."""\n\nasync def run(text: str) -> str:\n'
        f"    return await skills.invoke_async('inner_{mark}', text=text)\n"
    )
    for name, source in (("inner", inner), ("outer", outer)):
        body = {"name": f"{name}_{mark}", "source": source}
        assert client.post("/api/skills", json=body).status_code == 201
    assert client.value(f"skills.outer_{mark}(text='deep')").strip() == "deep"


def test_a_skills_description_is_kept(client: Client) -> None:
    name = f"told_{secrets.token_hex(4)}"
    body = {"name": name, "source": "def run(): return 1", "description": "What it is for."}
    client.post("/api/skills", json=body)
    assert client.get(f"/api/skills/{name}").json()["description"] == "What it is for."


def test_agent_code_has_no_way_to_the_server_or_to_another_session(
    server: Server, client: Client, session: str
) -> None:
    client.run("open('mine', 'w').write('s3cret'); import os", session)
    folder = client.value("os.getcwd()", session)
    attempts = [
        f"import socket; socket.create_connection(('127.0.0.1', {server.port}), 2)",
        f"import urllib.request as u; u.urlopen('{server.url}/health', timeout=2)",
        f"open({folder + '/mine'!r}).read()",
        f"import os; os.listdir({str(Path(folder).parent)!r})",
        f"open('/proc/{server.pid}/environ').read()",
        f"open('/proc/{server.pid}/mem', 'rb').read(1)",
        f"open('/proc/{server.pid}/maps').read()",
        f"import os; os.kill({server.pid}, 9)",
        f"open({str(server.folder / 'store' / 'tools' / 'echo.yaml')!r}, 'a')",
        "import os; os.execv('/bin/sh', ['sh', '-c', 'env'])",
    ]
    for attempt in attempts:
        answer = client.run(attempt)
        assert not answer["is_ok"], attempt
        assert TOKEN not in str(answer)
    assert client.get("/health").status_code == 200
    assert client.value("open('mine').read()", session) == "s3cret"


def test_the_servers_own_objects_are_not_within_reach(client: Client) -> None:
    code = """
import sys, gc
names = {name.partition('.')[0] for name in sys.modules}
found = [type(each).__name__ for each in gc.get_objects() if type(each).__name__ in
         {'Settings', 'Core', 'SessionManager', 'FastAPI', 'Guard'}]
(sorted(names & {'fastapi', 'uvicorn', 'starlette', 'redis', 'structlog'}), found)
"""
    assert client.value(code) == [[], []]


@pytest.mark.parametrize(
    "call",
    [
        "tools.cat(file='--version')",
        "tools.curl.get(url='--version')",
        "tools.curl(url='-o/tmp/x')",
        "tools.curl.get(url='file:///etc/passwd')",
        "tools.curl.get(url='FILE:///etc/passwd')",
        "tools.curl.get(url='gopher://127.0.0.1:6379/_x')",
    ],
)
def test_arguments_are_no_options_and_files_no_urls(visitor: Client, call: str) -> None:
    answer = visitor.run(call)
    assert not answer["is_ok"]
    assert "root:" not in str(answer)
    assert "GNU" not in answer["stdout"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("tools.echo.say(txt='x')", "txt"),
        ("tools.echo.say(text='x', more=1)", "more"),
        ("tools.echo.say()", "text"),
        ("tools.echo.say(text=[1])", "text"),
        ("tools.eco.say(text='x')", "echo"),
        ("tools.echo.sey(text='x')", "say"),
        ("tools.absent()", "no-such-program-here"),
        ("tools.broken()", "broken"),
    ],
)
def test_a_wrong_call_is_told_before_anything_runs(visitor: Client, call: str, words: str) -> None:
    answer = visitor.run(call)
    assert not answer["is_ok"]
    assert words in answer["error"]


def test_a_tool_tells_its_tags_parameters_and_docs(visitor: Client) -> None:
    code = "import contextlib, io\nhelp(tools.echo.say)\ntools.echo.say.signature()"
    answer = visitor.run(code)
    assert "text: str" in answer["value"]
    assert "What to print" in answer["stdout"]


def test_a_tool_that_cannot_be_used_does_not_stop_the_start(shown: Server, visitor: Client) -> None:
    names = [tool["name"] for tool in visitor.get("/api/tools").json()]
    assert {"echo", "cat"} <= set(names)
    assert "broken" not in names
    assert "broken.yaml" in shown.log


def test_a_tool_takes_its_input_and_says_how_it_failed(visitor: Client) -> None:
    assert visitor.value("tools.cat(input='{\"a\": 1}')") == '{"a": 1}'
    answer = visitor.run(
        "try:\n  tools.cat(file='/nothing')\nexcept Exception as e:\n"
        "  print(type(e).__name__, e.exit_code, e.stderr)"
    )
    assert answer["stdout"].startswith("ToolCallError 1 ")
    assert "/nothing" in answer["stdout"]


def test_a_syntax_error_shows_the_users_line_and_nothing_else(client: Client) -> None:
    error = client.run("x = 1\nx +")["error"]
    assert error.startswith('  File "<run 1>", line 2\n    x +\n')
    assert error.endswith("SyntaxError: invalid syntax")


def test_no_artifact_is_an_index(client: Client) -> None:
    for name in ("__index__", "index", ".state", ".index.json", "_meta"):
        client.run(f"artifacts.save({name!r}, 'mine')")
    kept = f"kept-{secrets.token_hex(4)}"
    client.post("/api/artifacts", json={"name": kept, "data": 1})
    assert kept in [each["name"] for each in client.get("/api/artifacts").json()]
    assert client.get(f"/api/artifacts/{kept}").json() == 1


def test_what_was_said_before_a_timeout_is_kept(client: Client) -> None:
    code = "import sys\nprint('out')\nprint('err', file=sys.stderr)\nwhile True: pass"
    answer = client.run(code, timeout=0.5)
    assert (answer["stdout"], answer["stderr"]) == ("out\n", "err\n")
    assert answer["error_type"] == "ExecutionTimeoutError"


def test_the_operators_skills_are_there_and_nobody_changes_them(visitor: Client) -> None:
    shown = visitor.get("/api/skills/given").json()
    assert (shown["origin"], shown["description"]) == ("config", "The operator's.")
    assert visitor.value("skills.given()") == 1
    source = "def run(): return 2"
    answer = visitor.run(f"skills.create('given', {source!r}, overwrite=True)")
    assert answer["error_type"] == "SkillProtectedError"
    body = {"name": "given", "source": source, "overwrite": True}
    assert code_of(visitor.post("/api/skills", json=body)) == (403, "skill_protected")
    assert code_of(visitor.delete("/api/skills/given")) == (403, "skill_protected")
    assert visitor.value("skills.given()") == 1


def test_skill_writes_of_agent_code_can_be_switched_off(own: Place) -> None:
    with own.start(ALLOW_SKILL_WRITES="false").client() as client:
        answer = client.run("skills.create('mine', 'def run(): return 1')")
        assert answer["error_type"] == "SkillWritesDisabledError"
        body = {"name": "ours", "source": "def run(): return 1"}
        assert client.post("/api/skills", json=body).status_code == 201
