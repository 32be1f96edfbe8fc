"""What a failing Redis looks like to callers: one error, with host and port and what to do."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Iterator

from redis import exceptions as redis_py

from py_code_mode.errors import (
    CodeModeError,
    ConfigurationError,
    StorageFullError,
    StorageUnavailableError,
)
from py_code_mode.store.redis_url import RedisAddress

#: What redis-py and the sockets below it raise. TimeoutError is an OSError.
ANY = (redis_py.RedisError, OSError, asyncio.IncompleteReadError)
ResponseError = redis_py.ResponseError
NoScriptError = redis_py.NoScriptError

_AWAY = (redis_py.ConnectionError, redis_py.TimeoutError, OSError, asyncio.IncompleteReadError)
_REFUSED = (redis_py.AuthenticationError, redis_py.AuthorizationError)
#: Answers of a server that is starting, failing over or busy, and will be itself again.
_PASSING = re.compile(r"Loading|ReadOnly|READONLY|MasterDown|TryAgain|BUSY |max number of clients")

#: By redis-py's class or the server's words: the error to raise, and the advice that goes with it.
_ANSWERS: tuple[tuple[str, type[CodeModeError], str], ...] = (
    (
        r"OutOfMemory|OOM |used memory > 'maxmemory'",
        StorageFullError,
        "is out of memory: delete artifacts or skills, or give it more memory (maxmemory)",
    ),
    (
        r"WRONGPASS|invalid username-password|invalid password|Invalid Username",
        StorageUnavailableError,
        "refused the password: check user and password of the URL (/ + = percent-encoded), and "
        "whether the key was renewed",
    ),
    (
        r"^Auth|NOAUTH|Authentication required|without any password configured",
        StorageUnavailableError,
        "wants another password than the URL has: give the one it has, or none if it has none",
    ),
    (
        r"NoPermission|NOPERM|no permissions",
        StorageUnavailableError,
        "does not let this user do that{command}: allow the user the commands @read, @write, "
        "@connection, @scripting and @transaction on the keys of this prefix",
    ),
    (
        r"WRONGTYPE",
        StorageUnavailableError,
        "has a key of another type{key}: delete or rename it, or use another prefix",
    ),
    (
        r"ReadOnly|READONLY",
        StorageUnavailableError,
        "is a read-only replica: give the address of the primary",
    ),
    (r"Loading", StorageUnavailableError, "is still loading its data: try again in a moment"),
    (
        r"MISCONF",
        StorageUnavailableError,
        "cannot save to its own disk and takes no changes: see its log",
    ),
    (r"MasterDown", StorageUnavailableError, "has lost its primary: check the replication"),
    (
        r"^(Moved|Ask|Cluster)|MOVED|CROSSSLOT|CLUSTERDOWN",
        ConfigurationError,
        "is a cluster: use one without clustering (Azure Managed Redis: policy NoCluster)",
    ),
    (
        r"DB index|invalid DB|Invalid Database",
        ConfigurationError,
        "has no such database: use /0 at the end of the URL",
    ),
    (
        r"max number of clients",
        StorageUnavailableError,
        "has no connection left: raise maxclients or run fewer replicas",
    ),
    (
        r"unknown command|unknown subcommand",
        StorageUnavailableError,
        "lacks a command{command}: it must be Redis 6.2 or newer, or Valkey",
    ),
)

#: By what is in the chain of causes, the first that fits; the advice follows "Redis at host:port".
_CAUSES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    (
        (ssl.SSLCertVerificationError,),
        "has a certificate that is not trusted here: name its private CA "
        "(?ssl_ca_certs=/path/ca.pem), and use the host name that the certificate has",
    ),
    (
        (ssl.SSLError,),
        "and we agree on no TLS: it must offer TLS 1.2 or newer, and the files of ssl_ca_certs "
        "and other ssl_ options must hold certificates",
    ),
    ((socket.gaierror,), "cannot be found: there is no such host; check the name"),
    (
        (ConnectionRefusedError, FileNotFoundError),
        "is not running or not reachable: connection refused; check host and port",
    ),
    (
        (TimeoutError, redis_py.TimeoutError),
        "did not answer in time; it may be hung, overloaded or behind a firewall",
    ),
    (
        (redis_py.ConnectionError, OSError, asyncio.IncompleteReadError),
        "closed the connection; is it restarting?",
    ),
)


def is_passing(error: BaseException) -> bool:
    """Tell whether it is worth the while to try again in a moment."""
    if isinstance(error, _REFUSED) or _first(error, ssl.SSLCertVerificationError):
        return False
    return isinstance(error, _AWAY) or bool(_PASSING.search(_told(error)))


def is_of_a_replica(reply: object) -> bool:
    """Tell whether a reply says that the server takes no changes, because another one does."""
    return isinstance(reply, ResponseError) and bool(re.search("ReadOnly|READONLY", _told(reply)))


def seems_the_wrong_protocol(error: BaseException) -> bool:
    """Tell whether the server may have hung up because it speaks TLS, or because it does not."""
    if _first(error, ssl.SSLCertVerificationError, ConnectionRefusedError, socket.gaierror):
        return False
    return isinstance(error, (*_AWAY, redis_py.InvalidResponse)) and not isinstance(error, _REFUSED)


def translated(
    error: BaseException, address: RedisAddress, *, key: str = "", other_protocol: bool = False
) -> CodeModeError:
    """Return what to raise for ``error``; ``key`` is named where its type is the matter.

    Invariant: no message has more of the error than the name of a command.
    """
    where = f"Redis at {address.shown}"
    if other_protocol:
        return StorageUnavailableError(f"{where} {_protocol_advice(address)}")
    if isinstance(error, redis_py.RedisError):
        for pattern, kind, advice in _ANSWERS:
            if re.search(pattern, _told(error)):
                named = advice.format(command=_command(error), key=f", {key!r}" if key else "")
                return kind(f"{where} {named}")
    return _unreachable(where, error)


def _protocol_advice(address: RedisAddress) -> str:
    if address.tls:
        return "does not speak TLS on this port: use redis://, or the port that does"
    return "speaks TLS on this port: use rediss:// instead of redis://"


def _unreachable(where: str, error: BaseException) -> CodeModeError:
    for kinds, advice in _CAUSES:
        if _first(error, *kinds):
            return StorageUnavailableError(f"{where} {advice}")
    return StorageUnavailableError(f"{where} answered what we did not expect; see its log")


def _told(error: BaseException) -> str:
    """Return what the server said; redis-py turns some of its codes into classes."""
    return f"{type(error).__name__}: {error}"


def _command(error: BaseException) -> str:
    found = re.search(r"(?:command|run the) [`']([\w|]+)", str(error))
    return f" ({found[1]})" if found else ""


def _first(error: BaseException, *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__
