"""The lines of the deployment guide, verbatim, against a TLS Redis with a private CA."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from redis_server import PASSWORD, RedisServer, RedisSource

from .conftest import ROOT, shell

TOOLS = """
python -m py_code_mode.store bootstrap \\
    --source ./examples/shared/tools \\
    --target "$REDIS_URL" \\
    --prefix agent:tools \\
    --type tools
"""
SKILLS = """
python -m py_code_mode.store bootstrap \\
    --source ./examples/shared/skills \\
    --target "$REDIS_URL" \\
    --prefix agent:skills
"""
DEPS = """
python -c "
import redis
r = redis.from_url('$REDIS_URL')
# Add packages that should be pre-installed
r.sadd('agent:deps', 'requests>=2.0', 'beautifulsoup4')
"
"""
VERIFY = """
python -m py_code_mode.store list --target "$REDIS_URL" --prefix agent:tools --type tools
python -m py_code_mode.store list --target "$REDIS_URL" --prefix agent:skills
python -m py_code_mode.store list --target "$REDIS_URL" --prefix agent:deps --type deps
"""


@pytest.fixture
def server(redis_servers: RedisSource) -> RedisServer:
    return redis_servers.start_tls()


def test_the_lines_fill_a_redis(server: RedisServer) -> None:
    done = shell(TOOLS + SKILLS + DEPS + VERIFY, REDIS_URL=server.url)
    assert (done.returncode, done.stderr) == (0, "")
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        tools = sorted((ROOT / "examples/shared/tools").glob("*.yaml"))
        names = [f"agent:tools:{path.stem}" for path in tools]
        assert sorted(client.keys("agent:tools:*")) == names
        assert [client.get(name) for name in names] == [path.read_text() for path in tools]
        assert client.keys("agent:skills:*") == ["agent:skills:analyze_repo"]
        source = client.hget("agent:skills:analyze_repo", "source")
        assert source == (ROOT / "examples/shared/skills/analyze_repo.py").read_text()
        assert client.smembers("agent:deps") == {"requests>=2.0", "beautifulsoup4"}
    shown = done.stdout
    assert f"Redis at localhost:{server.port}" in shown
    for line in ["+ curl", "+ jq", "+ nmap", "+ analyze_repo", "beautifulsoup4", "requests>=2.0"]:
        assert line in shown.split("\n") or f"{line} " in shown
    for secret in [PASSWORD, quote(PASSWORD, safe=""), "://"]:
        assert secret not in shown


def test_a_key_pasted_raw_into_the_url_works_too(server: RedisServer) -> None:
    raw = server.url.replace(quote(PASSWORD, safe=""), PASSWORD)
    done = shell(TOOLS + SKILLS, REDIS_URL=raw)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_lines_again_change_nothing(server: RedisServer) -> None:
    assert shell(TOOLS + SKILLS, REDIS_URL=server.url).returncode == 0
    again = shell(TOOLS + SKILLS, REDIS_URL=server.url)
    assert again.returncode == 0
    assert "+" not in again.stdout
    assert "0 added, 0 changed, 0 removed, 3 unchanged" in again.stdout


def test_the_whole_store_is_filled_from_python(server: RedisServer) -> None:
    done = shell(
        "python examples/azure-container-apps/bootstrap_redis.py --deps 'requests>=2.0' httpx",
        REDIS_URL=server.url,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert len(client.keys("agent:tools:*")) == 3
        assert client.keys("agent:skills:*") == ["agent:skills:analyze_repo"]
        assert client.smembers("agent:deps") == {"requests>=2.0", "httpx"}
    assert PASSWORD not in done.stdout


def test_the_script_says_what_is_missing_or_bad(server: RedisServer, tmp_path: Path) -> None:
    script = "python examples/azure-container-apps/bootstrap_redis.py"
    unset = shell(script)
    assert (unset.returncode, unset.stderr.splitlines()[-1].partition("error: ")[2]) == (
        2,
        "set REDIS_URL, like rediss://:PASSWORD@HOST:PORT/0",
    )
    (tmp_path / "bad.py").write_text("x = 1\n")
    bad = shell(f"{script} --skills '{tmp_path}' --deps 'a b'", REDIS_URL=server.url)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert f"{tmp_path}/bad.py:1: " in bad.stderr
    assert "--deps:1: " in bad.stderr
    with redis.Redis.from_url(server.url) as client:
        assert client.keys("*") == []
