"""What agent code may connect to: the operator's patterns. Pure; the broker does the connecting."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from py_code_mode.errors import ConfigurationError
from py_code_mode.workers.addresses import Address, objection, parse_address

_MAX_NAME: Final = 253
_MAX_PORT: Final = 65535
_SHOWN: Final = 8
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
#: What C libraries read as a part of an IPv4 address. No public name ends in such a label.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_EXAMPLE: Final = "api.example.org:443"


class RefusedError(Exception):
    """Raised when agent code asks for a connection that it may not have; says why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern. ``host`` is an address, a name, or ``*`` and a suffix (``*.example.org``)."""

    host: Address | str
    port: int

    def fits(self, host: Address | str, port: int) -> bool:
        """Say whether it allows this host; port 0 stands for any."""
        if port not in (0, self.port):
            return False
        if isinstance(self.host, str) and isinstance(host, str) and self.host.startswith("*"):
            return host.endswith(self.host[1:])
        return self.host == host

    def __str__(self) -> str:
        bracketed = not isinstance(self.host, str) and self.host.version == 6
        return f"[{self.host}]:{self.port}" if bracketed else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """The rules, and how fast a session may use them.

    ``burst`` requests may come at once, and ``per_second`` thereafter; more of them wait.
    """

    rules: tuple[Rule, ...]
    per_second: float = 20.0
    burst: int = 64

    @classmethod
    def parse(
        cls, patterns: Sequence[str], *, per_second: float = 20.0, burst: int = 64
    ) -> EgressPolicy:
        """Return the policy of patterns such as ``*.example.org:443`` or ``[::1]:8000``.

        Raises ConfigurationError, which lists every pattern that cannot be used.
        """
        if isinstance(patterns, str):
            raise ConfigurationError("egress patterns are a list of texts, not one text")
        rules, problems = [], []
        for pattern in patterns:
            try:
                rules.append(parse_rule(pattern))
            except ValueError as error:
                problems.append(f"egress pattern {pattern!r}: {error}")
        if problems:
            raise ConfigurationError("\n".join(problems))
        return cls(tuple(rules), per_second, burst)

    def lists(self, host: Address | str, port: int) -> bool:
        """Say whether a rule names this host and port (0: any port)."""
        return any(rule.fits(host, port) for rule in self.rules)

    def check_host(self, host: Address | str, port: int) -> None:
        """Raise RefusedError unless it is listed."""
        if self.lists(host, port):
            return
        where = f"{host}:{port}" if port else str(host)
        allowed = ", ".join(map(str, self.rules[:_SHOWN]))
        more = f" and {len(self.rules) - _SHOWN} more" if len(self.rules) > _SHOWN else ""
        raise RefusedError(
            f"this session may not connect to {where}; it may connect to {allowed}{more}. Use"
            " those, or a tool, or ask the operator to add it to EGRESS_ALLOW"
        )

    def objection(self, address: Address, port: int) -> str | None:
        """Return why this address is none to connect to although its name is allowed, or None.

        An address that stands in the patterns itself is one, whatever its kind.
        """
        kind = objection(address)
        if kind is None or self.lists(address, port):
            return None
        return f"{address} is {kind}"

    def permitted(self, name: str, addresses: Iterable[Address], port: int) -> list[Address]:
        """Return those of a name's addresses that may be connected to, at least one.

        Raises RefusedError where there is none.
        """
        found = [(address, self.objection(address, port)) for address in addresses]
        permitted = [address for address, why in found if why is None]
        if found and not permitted:
            raise RefusedError(
                f"this session may not connect to {name}: {found[0][1]}. The operator can allow"
                " the address itself in EGRESS_ALLOW"
            )
        return permitted


def parse_host(text: str) -> Address | str:
    """Return an address, or a name in lower case without its final dot.

    Raises ValueError for what is neither, and for addresses that are not in their usual form.
    """
    if len(text) > _MAX_NAME + 1:
        raise ValueError(f"a host of {len(text):,} characters")
    address = parse_address(text)
    if address is not None:
        return address
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > _MAX_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"{text[:100]!a} is neither a host name nor an address")
    if _NUMBER.fullmatch(labels[-1]):
        raise ValueError(f"{text[:100]!a} is no address in its usual form, as 192.0.2.1 is")
    return name


def parse_rule(pattern: str) -> Rule:
    """Return the rule of one pattern. Raises ValueError, which says what is wrong with it."""
    if not isinstance(pattern, str):
        raise ValueError(f"a pattern is text, as {_EXAMPLE}")  # noqa: TRY004 - one kind to catch
    pattern = pattern.strip()
    if "//" in pattern:
        raise ValueError(f"give host and port without a scheme, as {_EXAMPLE}")
    if "/" in pattern:
        raise ValueError("paths and ranges of addresses cannot be allowed; give host:port")
    host, colon, port = pattern.rpartition(":")
    if ":" in host and not host.startswith("["):
        raise ValueError("give an IPv6 address in brackets, as [2001:db8::1]:443")
    if not colon or pattern.endswith("]"):
        raise ValueError(f"a port is missing, as in {_EXAMPLE}")
    return Rule(_pattern_host(host), _pattern_port(port))


def _pattern_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= _MAX_PORT):
        raise ValueError(f"{text!r} is no port from 1 to {_MAX_PORT}")
    return int(text)


def _pattern_host(text: str) -> Address | str:
    if not text.isascii():
        raise ValueError("give the name in its ASCII form, which begins with xn--")
    if text == "*":
        return text
    if text.startswith("["):
        address = parse_address(text[1:-1]) if text.endswith("]") else None
        if address is None:
            raise ValueError("what is in brackets must be an IPv6 address")
        return _reachable(address)
    if text.startswith("*."):
        suffix = parse_host(text[2:])
        if not isinstance(suffix, str):
            raise ValueError("a wildcard goes before a name, not an address")
        return f"*.{suffix}"
    if "*" in text:
        raise ValueError("a wildcard is the whole first label, as in *.example.org:443")
    return _reachable(parse_host(text))


def _reachable(host: Address | str) -> Address | str:
    if not isinstance(host, str) and (host.is_unspecified or host.is_multicast):
        raise ValueError(f"{host} is no address of one host")
    return host
