"""Redis URLs: read without ever being printed, and refused where they would be unsafe."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ssl import TLSVersion
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from redis.asyncio.connection import parse_url

from py_code_mode.errors import ConfigurationError

#: What may follow ``?`` in a URL. Time limits and retries are the storage's own business.
OPTIONS = frozenset(
    {
        "client_name",
        "db",
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
    }
)
_SCHEMES = ("redis", "rediss", "unix")
_EXAMPLE = "rediss://:PASSWORD@HOST:PORT/0, with / + = of the password percent-encoded"
#: One '@', so what is before it is user and password, also with a raw '/' in it.
_RAW_PASSWORD = re.compile(r"(?P<scheme>rediss?://)(?P<user>[^@]*[/?#\[\]][^@]*)@(?P<host>[^@]*)")


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where a Redis is and how to connect; ``shown`` is ``host:port``, safe for every message."""

    shown: str
    host: str
    port: int
    tls: bool
    connection: Mapping[str, Any] = field(repr=False)


def read_url(url: str, *, allow_insecure: bool = False) -> RedisAddress:
    """Return what ``url`` says.

    Raises:
        ConfigurationError: if it cannot be read, or is not safe: without a password beyond
            loopback, or without checking certificates. The message never repeats the URL.
    """
    parsed = _parsed(_with_encoded_password(url.strip()))
    address = address_of(parsed)
    _check_files(parsed)
    if not allow_insecure:
        _refuse_unsafe(parsed, address)
    if address.tls:
        parsed.setdefault("ssl_min_version", TLSVersion.TLSv1_2)
    return address


def address_of(connection: dict[str, Any], *, tls: bool | None = None) -> RedisAddress:
    """Return the address that the keyword arguments of a connection lead to."""
    path = connection.get("path")
    host = str(connection.get("host") or "localhost")
    port = int(connection.get("port") or 6379)
    kind = connection.get("connection_class")
    shown = str(path) if path else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if tls is None:
        tls = kind is not None and "SSL" in kind.__name__
    return RedisAddress(shown, "" if path else host, port, tls, connection)


def refuse_without_password(connection: Mapping[str, Any], address: RedisAddress) -> None:
    """Raise ConfigurationError for a Redis that anyone on the network could use."""
    known = connection.get("password") or connection.get("credential_provider")
    if not known and address.host and not _is_loopback(address.host):
        raise ConfigurationError(
            f"Redis at {address.shown} has no password in its URL, so anyone who reaches it could "
            f"change tools and skills: give one ({_EXAMPLE}), or allow it "
            "(allow_insecure=True, ALLOW_INSECURE_REDIS=true)"
        )


def _with_encoded_password(url: str) -> str:
    """Return the URL with a password that was pasted raw, as access keys often are, encoded."""
    raw = _RAW_PASSWORD.fullmatch(url)
    if raw is None:
        return url
    return f"{raw['scheme']}{quote(raw['user'], safe=':%+=!$&()*,;~')}@{raw['host']}"


def _parsed(url: str) -> dict[str, Any]:
    scheme = url.partition("://")[0]
    if scheme not in _SCHEMES or "://" not in url:
        raise ConfigurationError(
            f"a Redis URL begins with redis://, rediss:// or unix://: {_EXAMPLE}"
        )
    try:
        parts = urlsplit(url)
        _refuse_unknown(parse_qs(parts.query, keep_blank_values=True))
        parsed: dict[str, Any] = dict(parse_url(url))
        _ = parts.port
    except ValueError:
        # Invariant: neither this message nor its cause repeats what may be a password.
        raise ConfigurationError(f"the Redis URL cannot be read; its form is {_EXAMPLE}") from None
    _check_path(scheme, parts.path)
    return parsed


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    unknown = sorted(set(options) - OPTIONS)
    if unknown:
        raise ConfigurationError(
            f"the Redis URL has {len(unknown)} options that are not known here; after '?' may "
            f"stand {', '.join(sorted(OPTIONS))}"
        )


def _check_path(scheme: str, path: str) -> None:
    if scheme == "unix" and not path:
        raise ConfigurationError("a Redis URL of a socket is unix:///path/of/the/socket")
    if scheme != "unix" and not re.fullmatch(r"/?|/[0-9]{1,5}", path):
        raise ConfigurationError(
            f"what follows the host in a Redis URL is a database number; its form is {_EXAMPLE}"
        )


def _check_files(parsed: Mapping[str, Any]) -> None:
    for option in ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"):
        path = parsed.get(option)
        if path is not None and not os.path.exists(path):
            raise ConfigurationError(f"{option} of the Redis URL names no file: {path}")


def _refuse_unsafe(parsed: Mapping[str, Any], address: RedisAddress) -> None:
    refuse_without_password(parsed, address)
    unchecked = parsed.get("ssl_check_hostname", True) is False
    if address.tls and (unchecked or parsed.get("ssl_cert_reqs", "required") != "required"):
        raise ConfigurationError(
            f"the URL of Redis at {address.shown} switches the checking of certificates off: "
            "name the private CA instead (?ssl_ca_certs=/path/ca.pem), or allow it "
            "(allow_insecure=True, ALLOW_INSECURE_REDIS=true)"
        )


def _is_loopback(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
