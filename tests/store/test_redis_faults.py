"""What goes wrong with a real Redis: each fault its own message, and it heals by itself."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from py_code_mode.errors import (
    CodeModeError,
    ConfigurationError,
    StorageFullError,
    StorageUnavailableError,
)
from py_code_mode.store.redis import RedisStorage
from redis_server import PASSWORD, RedisServer, RedisSource, free_port, make_certificates

from .redis_storages import Open

TIMEOUT_S = 1.5


def assert_told(error: CodeModeError, server: RedisServer | int, *words: str) -> None:
    """Assert that a message is one line, names host and port, and has no secret."""
    message = str(error)
    port = server if isinstance(server, int) else server.port
    assert f"Redis at 127.0.0.1:{port}" in message or f"Redis at localhost:{port}" in message
    assert "\n" not in message
    for secret in [PASSWORD, quote(PASSWORD, safe=""), "wrong-key", "://:"]:
        assert secret not in message
    for word in words:
        assert word in message


async def fails(work: Awaitable[Any], kind: type[CodeModeError] = StorageUnavailableError) -> Any:
    """Return the error of ``work``, which must come in time."""
    begin = time.monotonic()
    with pytest.raises(kind) as caught:
        await work
    assert time.monotonic() - begin < TIMEOUT_S + 1.2
    return caught.value


# Reaching it


async def test_a_redis_that_is_away_is_named_at_once(open_storage: Open) -> None:
    port = free_port()
    storage = open_storage(f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/0")
    assert_told(await fails(storage.check()), port, "connection refused", "check host and port")


async def test_a_host_that_does_not_exist_is_named(open_storage: Open) -> None:
    storage = open_storage("redis://:wrong-key@no-such-host.invalid:6379/0")
    assert "there is no such host" in str(await fails(storage.check()))


async def test_a_wrong_password_is_told_without_repeating_it(
    redis_servers: RedisSource, open_storage: Open
) -> None:
    server = redis_servers.start("--requirepass", PASSWORD)
    storage = open_storage(f"redis://:wrong-key@127.0.0.1:{server.port}/0")
    assert_told(await fails(storage.check()), server, "refused the password", "percent-encoded")
    storage = open_storage(f"redis://127.0.0.1:{server.port}/0")
    assert_told(await fails(storage.check()), server, "password")


async def test_tls_with_a_private_ca_and_a_password_that_needs_encoding_works(
    redis_servers: RedisSource, open_storage: Open
) -> None:
    server = redis_servers.start_tls()
    raw = f"rediss://:{PASSWORD}@localhost:{server.port}/0?ssl_ca_certs={server.ca}"
    for url in [server.url, raw]:
        storage = open_storage(url)
        await storage.check()
        await storage.tools.add("jq", "x")
        assert await storage.tools.list() == {"jq": "x"}
        await storage.artifacts.add("a", b"\0" * 3_000_000)
        assert (await storage.artifacts.read("a"))[1] == b"\0" * 3_000_000


async def test_a_certificate_of_another_ca_is_told(
    redis_servers: RedisSource, open_storage: Open, tmp_path: Path
) -> None:
    server = redis_servers.start_tls()
    (tmp_path / "other").mkdir()
    other = make_certificates(tmp_path / "other")
    secret = quote(PASSWORD, safe="")
    for options in ["", f"?ssl_ca_certs={other}"]:
        storage = open_storage(f"rediss://:{secret}@localhost:{server.port}/0{options}")
        error = await fails(storage.check())
        assert_told(error, server, "not trusted", "ssl_ca_certs")
    by_address = open_storage(server.url.replace("localhost", "127.0.0.1"))
    assert_told(await fails(by_address.check()), server, "host name that the certificate has")


async def test_a_ca_file_that_is_missing_is_told(
    redis_servers: RedisSource, open_storage: Open
) -> None:
    server = redis_servers.start_tls()
    assert server.ca is not None
    with pytest.raises(ConfigurationError, match=r"ssl_ca_certs .* no file.*absent\.pem"):
        open_storage(server.url.replace("ca.pem", "absent.pem"))
    server.ca.with_name("empty.pem").write_text("")
    storage = open_storage(server.url.replace("ca.pem", "empty.pem"))
    assert_told(await fails(storage.check()), server, "ssl_ca_certs", "must hold certificates")


async def test_redis_to_a_tls_port_says_rediss(
    redis_servers: RedisSource, open_storage: Open
) -> None:
    server = redis_servers.start_tls()
    secret = quote(PASSWORD, safe="")
    storage = open_storage(
        f"redis://:{secret}@localhost:{server.port}/0", store_timeout_s=TIMEOUT_S
    )
    assert_told(await fails(storage.check()), server, "speaks TLS", "use rediss://")


async def test_rediss_to_a_plain_port_says_redis(
    redis_servers: RedisSource, open_storage: Open
) -> None:
    server = redis_servers.start("--requirepass", PASSWORD)
    secret = quote(PASSWORD, safe="")
    storage = open_storage(
        f"rediss://:{secret}@localhost:{server.port}/0", store_timeout_s=TIMEOUT_S
    )
    assert_told(await fails(storage.check()), server, "does not speak TLS", "use redis://")


async def test_a_user_who_may_not_administer_can_do_everything_we_need(
    redis_servers: RedisSource, open_storage: Open, tmp_path: Path
) -> None:
    server = redis_servers.start_restricted()
    storage = open_storage(server.url, max_store_mb=1, artifacts_path=tmp_path, inline_max=500_000)
    await use_everything(storage)


async def use_everything(storage: RedisStorage) -> None:
    """Call each operation; leave nothing."""
    await storage.check()
    await storage.tools.add("jq", "x")
    await storage.skills.add("f", "a = 1")
    await storage.skills.add("f", "a = 2", overwrite=True)
    for name, size in [("small", 10), ("large", 100_000), ("file", 600_000)]:
        await storage.artifacts.add(name, b"x" * size)
        assert len((await storage.artifacts.read(name))[1]) == size
    await storage.deps.add("requests")
    with pytest.raises(StorageFullError):
        await storage.artifacts.add("more", b"x" * 500_000)
    await storage.artifacts.sweep()
    assert await storage.resolutions.settle("k", ("a==1",)) == ("a==1",)
    assert [a.name for a in await storage.artifacts.list()] == ["file", "large", "small"]
    assert (await storage.tools.list(), await storage.deps.list()) == ({"jq": "x"}, ["requests"])
    for name in ["small", "large", "file"]:
        await storage.artifacts.remove(name)
    await storage.skills.remove("f")
    await storage.tools.remove("jq")
    await storage.deps.remove("requests")


async def test_the_rights_that_an_error_advises_are_enough(
    redis_servers: RedisSource, open_storage: Open, tmp_path: Path
) -> None:
    server = redis_servers.start()
    groups = ("+@read", "+@write", "+@connection", "+@scripting", "+@transaction")
    rules = ("reset", "on", f">{PASSWORD}", "~agent:*", *groups)
    assert server.cli("ACL", "SETUSER", "app", *rules) == b"+OK\r\n"
    url = f"redis://app:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/0"
    storage = open_storage(url, max_store_mb=1, artifacts_path=tmp_path, inline_max=500_000)
    await use_everything(storage)
    server.cli("SET", "agent:tools:theirs", "x")
    assert await storage.tools.list() == {"theirs": "x"}
    elsewhere = open_storage(url, prefix="other")
    error = await fails(elsewhere.deps.add("numpy"))
    assert_told(error, server, "does not let this user", "keys of this prefix")


async def test_a_user_who_lacks_a_right_is_told_which(
    redis_servers: RedisSource, open_storage: Open
) -> None:
    server = redis_servers.start()
    storage = open_storage(server.url)
    await storage.deps.add("numpy")
    server.cli("ACL", "SETUSER", "default", "-smembers", "-evalsha")
    assert_told(await fails(storage.deps.list()), server, "does not let this user", "smembers")
    assert_told(await fails(storage.tools.add("x", "y")), server, "evalsha", "@scripting")


async def test_a_database_that_is_not_there_is_told(
    redis_servers: RedisSource, open_storage: Open
) -> None:
    server = redis_servers.start()
    storage = open_storage(server.url.replace("/0", "/99"))
    error = await fails(storage.check(), ConfigurationError)
    assert_told(error, server, "no such database")


# What it can hold


async def test_a_full_redis_refuses_saves_and_lets_the_rest_be(
    redis_servers: RedisSource, open_storage: Open
) -> None:
    server = redis_servers.start("--maxmemory-policy", "noeviction")
    storage = open_storage(server.url)
    await storage.tools.add("jq", "x")
    skill = await storage.skills.add("f", "a = 1")
    saved = [await storage.artifacts.add(name, b"x" * 200_000) for name in "ab"]
    server.cli("CONFIG", "SET", "maxmemory", "1")
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: storage.artifacts.add("a", b"y"),
        lambda: storage.artifacts.add("c", b"y" * 200_000),
        lambda: storage.skills.add("f", "a = 2", overwrite=True),
        lambda: storage.tools.add("jq", "y"),
        lambda: storage.deps.add("z"),
    ]
    for call in calls:
        error = await fails(call(), StorageFullError)
        assert_told(error, server, "out of memory", "maxmemory")
    await storage.check()
    assert (await storage.skills.list(), await storage.tools.list()) == ([skill], {"jq": "x"})
    assert await storage.artifacts.list() == saved
    assert (await storage.artifacts.read("a"))[1] == b"x" * 200_000
    await storage.tools.remove("jq")
    await storage.skills.remove("f")
    for name in "ab":
        await storage.artifacts.remove(name)
    assert (await storage.skills.list(), await storage.tools.list()) == ([], {})
    server.cli("CONFIG", "SET", "maxmemory", "0")
    await storage.skills.add("f", "a = 1")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("read-only replica", "address of the primary")),
        (("CONFIG", "SET", "maxclients", "1"), ("no connection left", "maxclients")),
    ],
)
async def test_a_redis_that_takes_no_changes_says_why(
    redis_servers: RedisSource, open_storage: Open, setting: tuple[str, ...], words: tuple[str, ...]
) -> None:
    server = redis_servers.start()
    storage = open_storage(server.url, store_timeout_s=TIMEOUT_S)
    if "maxclients" not in setting:
        await storage.check()
    with ExitStack() as others:
        if "maxclients" in setting:
            others.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert server.cli(*setting) == b"+OK\r\n"
        for work in [storage.check(), storage.deps.add("x")]:
            assert_told(await fails(work), server, *words)


# Away, back, hung


async def test_a_restart_heals_by_itself(redis_servers: RedisSource, open_storage: Open) -> None:
    server = redis_servers.start()
    storage = open_storage(server.url, store_timeout_s=TIMEOUT_S)
    await asyncio.gather(*(storage.tools.add(f"t{n}", "x") for n in range(20)))
    await storage.tools.list()
    await asyncio.to_thread(server.stop, signal.SIGTERM)
    for work in [storage.tools.list(), storage.artifacts.add("x", b""), storage.check()]:
        assert_told(await fails(work), server, "connection refused")
    server.start()
    assert await storage.tools.list() == {}
    await asyncio.gather(*(storage.tools.add(f"t{n}", "x") for n in range(20)))
    assert len(await storage.tools.list()) == 20


async def test_a_short_absence_is_bridged(redis_servers: RedisSource, open_storage: Open) -> None:
    server = redis_servers.start()
    storage = open_storage(server.url)
    await storage.tools.list()
    await asyncio.to_thread(server.stop)
    call = asyncio.create_task(storage.skills.add("f", "a = 1"))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(server.start)
    assert (await call).version == 1


async def test_a_hung_redis_ends_calls_in_time_and_holds_up_nothing_else(
    redis_servers: RedisSource, open_storage: Open
) -> None:
    server = redis_servers.start()
    storage = open_storage(server.url, store_timeout_s=TIMEOUT_S)
    await storage.tools.add("jq", "x")
    await storage.tools.list()
    server.pause()
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    calls: list[Callable[[], Awaitable[Any]]] = [
        storage.tools.list,
        storage.deps.list,
        storage.check,
        lambda: storage.artifacts.add("x", b"1"),
        lambda: storage.skills.add("f", "a = 1"),
    ]
    beating = asyncio.create_task(beat())
    try:
        errors = await asyncio.gather(*(fails(call()) for call in calls))
    finally:
        beating.cancel()
    assert beats > 50
    for error in errors:
        assert_told(error, server, "did not answer in time")
    server.resume()
    assert await storage.tools.list() == {"jq": "x"}
    await storage.artifacts.add("x", b"2")
    assert (await storage.artifacts.read("x"))[1] == b"2"


async def test_many_callers_of_a_hung_redis_wait_for_one_time_limit(
    redis_servers: RedisSource, open_storage: Open
) -> None:
    server = redis_servers.start()
    storage = open_storage(server.url, store_timeout_s=TIMEOUT_S)
    await storage.tools.list()
    server.pause()
    begin = time.monotonic()
    calls = [fails(storage.tools.list()) for _ in range(50)]
    calls += [fails(storage.artifacts.list()) for _ in range(50)]
    for error in await asyncio.gather(*calls):
        assert_told(error, server, "did not answer in time")
    assert time.monotonic() - begin < TIMEOUT_S + 0.3
    server.resume()
    assert await storage.tools.list() == {}


async def test_a_skill_whose_answer_was_lost_is_created_once(
    redis_servers: RedisSource, open_storage: Open
) -> None:
    server = redis_servers.start()
    storage = open_storage(server.url, store_timeout_s=4.0)
    await storage.check()
    server.pause()
    call = asyncio.create_task(storage.skills.add("f", "a = 1", author="me"))
    removal = asyncio.create_task(storage.tools.list())
    await asyncio.sleep(2.5)  # the first attempt has been given up by now, and will be executed
    server.resume()
    saved = await call
    await removal
    assert saved.version == 1
    assert await storage.skills.get("f") == saved


async def test_a_cancelled_call_leaves_no_answer_to_the_next(redis_storage: RedisStorage) -> None:
    await redis_storage.tools.replace({f"t{n}": "x" * 1000 for n in range(300)})
    for number in range(60):
        calls = [
            asyncio.create_task(redis_storage.tools.list()),
            asyncio.create_task(redis_storage.tools.get("t7")),
            asyncio.create_task(redis_storage.artifacts.add("a", b"1")),
        ]
        await asyncio.sleep(number * 0.00003)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await redis_storage.deps.add("numpy")
        assert await redis_storage.deps.list() == ["numpy"]
        assert await redis_storage.tools.get("t8") == "x" * 1000
    assert len(await redis_storage.tools.list()) == 300
