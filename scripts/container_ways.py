"""The ways in which the session image is started, and what it must reach there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TOKEN: Final = "a-token-of-the-proof-0123456789"  # noqa: S105 - good for these containers alone
_BOUNDED: Final = (
    *("--network", "none", "--pids-limit", "512"),
    *("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"),
)
_HARDENED: Final = (
    "--read-only",
    *("--tmpfs", "/tmp:rw,nosuid,nodev,size=512m,mode=1777"),  # noqa: S108 - the container's
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to start the container, and the sandbox tier that it must reach there."""

    name: str
    user: str
    tier: str
    #: The set-ups of the hostile suite that this one's rights suffice for.
    setups: tuple[str, ...]
    capabilities: tuple[str, ...] = ()
    #: Else it has what engines give to everybody: a root that it may write to, and capabilities.
    hardened: bool = True

    def options(self, **variables: str) -> list[str]:
        """Return the options for the engine, without those of the memory."""
        settings = {"CONTAINER_AUTH_TOKEN": TOKEN, "STORAGE_PATH": "/tmp/base", **variables}  # noqa: S108
        given = [each for pair in settings.items() for each in ("--env", "=".join(pair))]
        return [*self.rights(), *given]

    def rights(self) -> list[str]:
        """Return those of the options that say what it may do."""
        added = [each for name in self.capabilities for each in ("--cap-add", name)]
        hardened = _HARDENED if self.hardened else ()
        return [*_BOUNDED, *hardened, "--user", self.user, *added]


#: Older kernels, whose sessions share a uid.
_OLDER: Final = ("landlock-abi-1", "landlock-abi-3")
_ROOTS: Final = ("own-uid", "no-landlock")
_NON_ROOT: Final = Way("non-root", "54321:54321", "B", ("unprivileged", *_OLDER))
_IN_NAME: Final = "root-without-capabilities"
WAYS: Final = (
    _NON_ROOT,
    Way("root without capabilities", "0", "B", (_IN_NAME, *_OLDER)),
    #: An own uid per session takes these four and nothing else.
    Way("root", "0", "A", _ROOTS, ("CHOWN", "KILL", "SETGID", "SETUID")),
    #: As where nobody can say how, such as in Azure Container Apps.
    Way("root, not hardened", "0", "A", (*_ROOTS, _IN_NAME, *_NON_ROOT.setups), hardened=False),
)
