"""Says in one line why uv could not install something, from what it printed."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from typing import Final

from py_code_mode.errors import DepInstallError
from py_code_mode.models import ProgramEnd
from py_code_mode.packages.specs import name_of
from py_code_mode.text import one_line, plain

log = logging.getLogger(__name__)

_NAME: Final = r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)"
#: Why there was no build, where the operator did not allow any.
BUILDS_OFF: Final = "building from source is off (the operator's DEPS_ALLOW_BUILD)"
_REASON_CHARS: Final = 300
#: What is looked at of uv's output, in which builds and descriptions have a say.
_READ_CHARS: Final = 20_000
#: Where an index is, and where our folders are, is no business of agent code.
_PLACES: Final = re.compile(r"[\w+]+://[^\s`'\")]+|(?<![\w.])/[^\s`'\":)]+")
_NETWORK: Final = re.compile(
    r"network was disabled|error sending request|Failed to fetch|operation timed out|dns error"
    r"|Request failed after|client error"
)
_REFUSED: Final = re.compile(r"HTTP status client error \((?P<status>40[137])")
_FETCHED: Final = re.compile(rf"Failed to fetch: `?\S*/{_NAME}/`?\s")

#: The first that is found decides; its groups fill the reason.
_REASONS: Final = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r"No space left on device|os error 28\b", "the disk is full"),
        (
            rf"Wheels are required for `{_NAME}`",
            "it has no wheel, and {no_build}",
        ),
        (rf"Failed to build `{_NAME}==.*?\[stderr\](?P<detail>.*)", "its build failed: {detail}"),
        (rf"Failed to build `{_NAME}==(?P<detail>.*)", "its build failed: {detail}"),
        (
            rf"for package `{_NAME}==\S+ cause: Package `(?P<detail>\S+)` was included as a URL",
            "it depends on {detail} by a URL, which is not accepted",
        ),
        (
            rf"{_NAME}(?:==\S+)? has no wheels with a matching (?P<detail>.*?tag)",
            "it has no wheel for this platform (no matching {detail})",
        ),
        (
            rf"{_NAME}(?:[<>=!~]=?\S+)? requires Python (?P<detail>\S+)",
            "it requires Python {detail}",
        ),
        (
            rf"structure of `{_NAME}` \(\S+ was invalid: (?P<detail>.*)",
            "its file is broken: {detail}",
        ),
        (rf"Because {_NAME} was not found in", "there is no such package"),
        (rf"\b{_NAME} was not found in", "there is no such package"),
        (
            rf"there (?:is no version|are no versions) of {_NAME}(?P<detail>[<>=!~]\S+)",
            "no version fits {detail}",
        ),
        (
            rf"only (?:the following versions of )?{_NAME}(?P<had>[<>=!~]\S*) (?:is|are) available"
            r".* you require (?P=name)(?P<detail>[<>=!~]\S+)",
            "no version fits {detail}; there is {had}",
        ),
    )
)
_CONFLICT: Final = re.compile(
    r"cause: (?P<detail>.*(?:incompatible|unsatisfiable|cannot be used).*?)(?: hint: |$)"
)


def install_error(
    stderr: str, specs: Collection[str], *, no_build: str = BUILDS_OFF
) -> DepInstallError:
    """Return the error for a failed installation of ``specs``; ``no_build`` says why none was."""
    text = " ".join(stderr[:_READ_CHARS].split())
    found = _network(text) or _known(text, no_build) or _conflict(text) or _unknown(text)
    package = found[0] or ", ".join(_direct(specs))
    reason = one_line(found[1], _REASON_CHARS)
    return failed(one_line(package), f"{reason}{_needed_by(found[0], specs)}")


def build_error(end: ProgramEnd, package: str, specs: Collection[str]) -> DepInstallError | None:
    """Return the error for a step of a build in a jail; None where it went well."""
    if end.exit_code == 0 and not (end.timed_out or end.truncated):
        return None
    said = end.stderr[-_READ_CHARS:].decode(errors="replace")
    if end.timed_out:
        reason = "its build did not end in time"
    elif end.truncated:
        reason = "its build says or makes too much"
    elif end.exit_code is None:
        reason = f"its build was ended: {_without_places(end.reason)}"
    elif end.exit_code < 0:
        reason = f"its build was ended by signal {-end.exit_code}"
    else:
        lines = said.strip().splitlines()
        reason = f"its build failed: {_without_places(lines[-1]) if lines else 'it says nothing'}"
    log.warning("%s: %s; it said:\n%s", package, reason, plain(said))
    return failed_build(package, reason, specs)


def failed_build(package: str, reason: str, specs: Collection[str]) -> DepInstallError:
    """Return the error that says ``reason`` of a package that was to be built for ``specs``."""
    return failed(package, f"{one_line(reason, _REASON_CHARS)}{_needed_by(package, specs)}")


def failed(package: str, reason: str) -> DepInstallError:
    """Return the error that says ``reason`` of ``package``."""
    return DepInstallError(
        f"{package} could not be installed: {reason}. Nothing was changed",
        package=package,
        reason=reason,
    )


def unknown_extra(stderr: str, specs: Collection[str]) -> DepInstallError | None:
    """Return the error where one of ``specs`` asks for an extra that its package does not have."""
    pattern = rf"`{_NAME}(?:==\S+)?` does not have an extra named `(?P<extra>[^`]+)`"
    direct = {name_of(spec) for spec in specs}
    for found in re.finditer(pattern, stderr):
        if name_of(found["name"]) in direct:
            return failed(found["name"], f"it has no extra {one_line(found['extra'], 80)!r}")
    return None


def _direct(specs: Collection[str]) -> list[str]:
    return sorted(filter(None, map(name_of, specs)))


def _needed_by(package: str, specs: Collection[str]) -> str:
    direct = _direct(specs)
    if not package or package in direct:
        return ""
    return f" (needed by {direct[0] if len(direct) == 1 else 'one of ' + ', '.join(direct)})"


def _network(text: str) -> tuple[str, str] | None:
    if (refused := _REFUSED.search(text)) is not None:
        return "", f"the package index refused access (HTTP {refused['status']})"
    if _NETWORK.search(text) is None:
        return None
    fetched = _FETCHED.search(text)
    return fetched["name"] if fetched else "", "the package index could not be reached"


def _known(text: str, no_build: str) -> tuple[str, str] | None:
    for pattern, reason in _REASONS:
        if (found := pattern.search(text)) is not None:
            groups = {key: _without_places(value) for key, value in found.groupdict().items()}
            return groups.get("name", "").rstrip(".,"), reason.format(**groups, no_build=no_build)
    return None


def _conflict(text: str) -> tuple[str, str] | None:
    found = _CONFLICT.search(text)
    if found is None:
        return None
    cause, _, _ = found["detail"].partition(" And because you require")
    return "", f"the versions conflict: {_without_places(cause)}"


def _unknown(text: str) -> tuple[str, str]:
    _, _, said = text.rpartition("error: ")
    return "", _without_places(said) or "the installer failed and did not say why"


def _without_places(text: str) -> str:
    return _PLACES.sub("...", text).strip(" .,")
