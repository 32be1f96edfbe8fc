"""What the zygote makes ready once for all its workers: modules, the tier, rules and filters."""

from __future__ import annotations

import gc
import os
import resource
import sys
from typing import Any, Final

import msgpack

from py_code_mode_guest import lockdown
from py_code_mode_guest.confine import Confinement
from py_code_mode_guest.tool_policy import compile_tool_filter

#: What programs may read and run. Of /etc only what a network client looks up.
_TOOL_TREES: Final = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt"),
    *("/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf"),  # not private: keys
    *("/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/ca-trust"),
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf"),
    *("/etc/gai.conf", "/etc/services", "/etc/protocols", "/etc/ld.so.cache", "/etc/localtime"),
    *("/etc/alternatives", "/etc/ca-certificates", "/etc/fonts"),
    *("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"),
)
_LIMITS: Final = ("memory_mb", "max_file_mb", "max_open_files", "max_threads")


def prepare(config: dict[str, Any]) -> tuple[Confinement, dict[str, Any]]:
    """Load what sessions share, learn what the kernel enforces, and get the lockdown ready."""
    os.mkdir(config["root"], 0o711)
    failed = _preload(config["preload"])
    if config["enforce"] and os.geteuid() == 0:
        lockdown.drop_bounding_set()  # of no use to us, and inherited by every worker
    report = _probe(config, failed)
    pages = _statm()
    confinement = Confinement(
        enforce=config["enforce"],
        landlock_abi=report["landlock"],
        own_uid=report["own_uid"],
        rules=lockdown.ReadRules.open(_readable(config["readable"]), hidden=config["hidden"]),
        program=lockdown.compile_filter(
            own_uid=report["own_uid"], truncate=report["landlock"] >= 3
        ),
        tool_rules=lockdown.ReadRules.open(
            [*_TOOL_TREES, *_python_trees()],
            hidden=[*config["hidden"], *_site_packages()],
            execute=True,
        ),
        tool_programs={
            network: compile_tool_filter(
                network=network, own_uid=report["own_uid"], landlock_abi=report["landlock"]
            )
            for network in (True, False)
        },
        root=config["root"],
        zygote_pid=os.getpid(),
        address_space=pages[0] * resource.getpagesize(),
        data=pages[5] * resource.getpagesize(),
        **{name: config[name] for name in _LIMITS},
    )
    gc.collect()
    gc.freeze()
    return confinement, report


def _preload(modules: list[str]) -> dict[str, str]:
    failed = {}
    for name in modules:
        try:
            __import__(name)
        except Exception as error:  # noqa: BLE001 - reported to the operator by name
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def _probe(config: dict[str, Any], failed: dict[str, str]) -> dict[str, Any]:
    abi = min(lockdown.landlock_abi(), config["max_landlock_abi"])
    own_uid = config["uid_probe"] is not None and _can_become(config["uid_probe"], config["root"])
    if not own_uid:
        os.chmod(config["root"], 0o700)
    return {
        "pid": os.getpid(),
        "landlock": abi if config["enforce"] else 0,
        "seccomp": lockdown.seccomp_available(),
        "own_uid": own_uid,
        "preload_failed": failed,
        "python": sys.version.split()[0],
    }


def _can_give_away(root: str, uid: int) -> None:
    """Try what making a session's folder takes. Raises OSError."""
    folder = os.path.join(root, "probe")
    os.mkdir(folder, 0o700)
    try:
        os.chown(folder, uid, uid)
    finally:
        os.rmdir(folder)


def _can_become(uid: int, root: str) -> bool:
    """Try in a child whether sessions can have uids of their own and still read Python's files."""
    pid = os.fork()
    if pid == 0:
        try:
            _can_give_away(root, uid)
            lockdown.become(uid, uid)
            for path in (os.__file__, msgpack.__file__, __file__, root):
                os.stat(path)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - any failure means no
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _readable(extra: list[str]) -> list[str]:
    """What agent code may read: Python's trees, shared libraries, time zones, fonts, CA bundles."""
    return [
        *(path for path in sys.path if path),
        *extra,
        os.path.dirname(os.path.abspath(__file__)),
        os.path.join(sys.base_prefix, "lib"),
        *("/usr/lib", "/lib", "/lib64", "/usr/local/lib"),
        *("/usr/share/zoneinfo", "/etc/localtime", "/usr/share/fonts", "/etc/fonts"),
        *("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/usr/share/ca-certificates"),
        *("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"),
    ]


def _python_trees() -> list[str]:
    """The interpreter and its library, wherever it is installed: packages are built with it."""
    return [os.path.join(sys.base_prefix, name) for name in ("bin", "lib", "include")]


def _statm() -> list[int]:
    with open("/proc/self/statm", encoding="ascii") as file:
        return [int(number) for number in file.read().split()]


def _site_packages() -> list[str]:
    """Python's packages: among them are the server's own, which are no tool's business."""
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
