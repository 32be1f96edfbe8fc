"""What ``--prefix`` names: a collection like ``agent:tools``, below the prefix of a storage."""

from __future__ import annotations

from py_code_mode.bootstrap.items import KINDS, Kind
from py_code_mode.errors import ConfigurationError


def storage_prefix(prefix: str, kind: Kind) -> str:
    """Return the storage's prefix: ``agent`` for ``agent`` and for ``agent:tools``.

    Raises:
        ConfigurationError: if ``prefix`` names the collection of another kind.

    Example:
        >>> storage_prefix("agent:tools", "tools"), storage_prefix("team:a", "deps")
        ('agent', 'team:a')
    """
    if "://" in prefix:
        raise ConfigurationError("--prefix is what keys begin with, like agent:tools, and no URL")
    above, _, last = prefix.rpartition(":")
    if last == kind and above:
        return above
    if last in {*KINDS, "artifacts"}:
        meant = f"--type {last}" if last in KINDS and above else f"--prefix agent:{kind}"
        raise ConfigurationError(
            f"--prefix {prefix!r} does not go with --type {kind}; did you mean {meant}?"
        )
    return prefix
