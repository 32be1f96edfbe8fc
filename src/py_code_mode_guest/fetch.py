"""Starts the installer so that it can fetch source distributions and run nothing of theirs.

A source distribution is a stranger's code, and its metadata names files. The kernel lets this
process, and so the installer, read and write what it was given, and execute nothing more: what has
to be run to build is left to a jail. Started as ``python -m py_code_mode_guest.fetch REQUEST``.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Final

from py_code_mode_guest import lockdown
from py_code_mode_guest.bpf import ALLOW, DENY, compile_rules

#: What a client of an index reads beside its own folders. A source's metadata may name any of it.
_TREES: Final = (
    *("/lib", "/lib64", "/usr/lib", "/usr/local/lib", "/usr/share/ca-certificates"),
    *("/usr/local/share/ca-certificates", "/etc/ssl/certs", "/etc/ssl/cert.pem"),
    *("/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/ca-trust"),
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/ld.so.cache", "/etc/localtime"),
    *("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"),
)
#: Renaming from folder to folder, as the installer's cache does, is refused by those before.
LEAST_LANDLOCK_ABI: Final = 2


def main() -> None:
    """Become the program of the request, the last argument: JSON of argv, readable, writable."""
    request = json.loads(sys.argv[-1])
    argv = request["argv"]
    rules = lockdown.ReadRules.open([argv[0], *request["readable"], *_TREES], execute=True)
    program = os.open(argv[0], os.O_RDONLY | os.O_CLOEXEC)
    lockdown.no_new_privileges()
    lockdown.restrict_files(rules, request["writable"], abi=lockdown.landlock_abi(), net=False)
    # A program that is started by its descriptor goes through execveat, which nobody else uses.
    lockdown.install_filter(compile_rules({"execve": DENY}, default=ALLOW), os.getpid())
    os.execve(program, argv, os.environ)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
