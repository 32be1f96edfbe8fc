"""URLs as operators paste them: read right, refused where unsafe, never repeated."""

from __future__ import annotations

import traceback

import pytest
import redis

from py_code_mode.errors import ConfigurationError
from py_code_mode.store.redis import RedisStorage
from py_code_mode.store.redis_url import read_url

SECRET = "s3cr/et+key="


@pytest.mark.parametrize(
    ("url", "shown", "password"),
    [
        ("redis://localhost", "localhost:6379", None),
        ("redis://127.0.0.1:7000/3", "127.0.0.1:7000", None),
        ("redis://[::1]:7000", "[::1]:7000", None),
        (" rediss://:p%2Fa%2Bs%3D@host.example:6380/0\n", "host.example:6380", "p/a+s="),
        ("rediss://:p/a+s=@host.example:6380/0", "host.example:6380", "p/a+s="),
        ("rediss://:a#b?c/d@host.example:6380", "host.example:6380", "a#b?c/d"),
        ("rediss://:p%2Fa/b@host.example:6380", "host.example:6380", "p/a/b"),
        ("redis://user:pa+ss@10.0.0.1:1", "10.0.0.1:1", "pa+ss"),
        ("unix:///run/redis.sock?db=1", "/run/redis.sock", None),
    ],
)
def test_a_url_is_read(url: str, shown: str, password: str | None) -> None:
    address = read_url(url)
    assert (address.shown, address.connection.get("password")) == (shown, password)
    assert "s3cr" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        f"http://:{SECRET}@host/0",
        f"rediss://:{SECRET}@host:port/0",
        f"rediss://:{SECRET}@host:99999/0",
        f"rediss://:{SECRET}@host/zero",
        f"rediss://:{SECRET}@host/0?password={SECRET}",
        f"rediss://:{SECRET}@host/0?{SECRET}",
        f"rediss://:{SECRET}@host/0?db={SECRET}",
        f"rediss://:{SECRET}@@host/0",
        f"redis://:{SECRET}",
        "unix://",
        f"rediss://:{SECRET}@host/0?ssl_cert_reqs=none",
        f"rediss://:{SECRET}@host/0?ssl_check_hostname=false",
        "rediss://host.example:6380",
        "redis://10.0.0.7:6379",
        "redis://localhost.example:6379",
        "redis://0.0.0.0",
    ],
)
def test_a_url_that_cannot_work_or_is_not_safe_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisStorage(url)
    shown = "".join(traceback.format_exception(caught.value))
    assert "s3cr" not in shown
    assert "et+key" not in shown


def test_what_is_not_safe_can_be_allowed() -> None:
    for url in ["redis://10.0.0.7:6379", "rediss://:p@host/0?ssl_cert_reqs=none"]:
        assert RedisStorage(url, allow_insecure=True).describe().startswith("Redis at ")


def test_a_client_must_be_an_asynchronous_one_with_a_password() -> None:
    with pytest.raises(ConfigurationError, match=r"redis\.asyncio"):
        RedisStorage(redis=redis.Redis())
    with pytest.raises(ConfigurationError, match="has no password"):
        RedisStorage(redis=redis.asyncio.Redis(host="10.0.0.7"))
    storage = RedisStorage(redis=redis.asyncio.Redis(host="10.0.0.7", password="p"))
    assert storage.describe() == "Redis at 10.0.0.7:6379, prefix 'agent'"


def test_the_storage_says_where_it_is_and_nothing_secret() -> None:
    storage = RedisStorage(f"rediss://:{SECRET}@host.example:6380/0", prefix="p")
    assert storage.describe() == "Redis at host.example:6380, prefix 'p'"
    assert "s3cr" not in repr(vars(storage))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "either url"),
        ({"url": "redis://localhost", "redis": redis.asyncio.Redis()}, "either url"),
        ({"url": "redis://localhost", "max_store_mb": 0}, "max_store_mb"),
        ({"url": "redis://localhost", "inline_max": -1}, "inline_max"),
        ({"url": "redis://localhost", "store_timeout_s": 0}, "store_timeout_s"),
    ],
)
def test_arguments_that_cannot_work_are_named(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        RedisStorage(**options)  # type: ignore[arg-type]  # of any kind, as a caller's may be
