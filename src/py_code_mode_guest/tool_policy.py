"""What a tool's program may ask of the kernel: everything but this.

Programs are many and ours to choose, so the rule is the reverse of a worker's: Landlock and the uid
bound what they reach, and the filter takes away what would reach around them. A program stays in
the process group it was started in, so that ending the group ends all that it ever started.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

from py_code_mode_guest.bpf import (
    ALLOW,
    DENY,
    ERRNO,
    NO_SUCH_CALL,
    OWN_PID,
    Action,
    Check,
    FilterProgram,
    When,
    compile_rules,
    when,
)

# fmt: off
_DENIED: Final = """
    acct add_key bpf chroot clock_adjtime clock_settime delete_module fanotify_init finit_module
    fsconfig fsmount fsopen fspick init_module ioperm iopl kcmp kexec_file_load kexec_load keyctl
    landlock_create_ruleset mbind migrate_pages mount mount_setattr move_mount move_pages mq_open
    msgget name_to_handle_at open_by_handle_at open_tree perf_event_open personality pidfd_getfd
    pivot_root process_madvise process_vm_readv process_vm_writev ptrace quotactl reboot
    request_key semget sethostname setdomainname setns setsid settimeofday shmget swapoff swapon
    syslog umount2 unshare userfaultfd vhangup
""".split()  # noqa: SIM905 - a list of strings of this length reads worse
# fmt: on
_UNSEEN: Final = ("clone3", "io_uring_enter", "io_uring_register", "io_uring_setup")

_CLONE_NEW: Final = 0x7E020080
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_AF_INET, _AF_INET6, _AF_NETLINK = 2, 10, 16
_SOCK_STREAM, _SOCK_DGRAM, _SOCK_TYPE_MASK = 1, 2, 0xF
_NO_FAMILY: Final = ERRNO | errno.EAFNOSUPPORT
_NETLINK_ROUTE: Final = (Check(0, (_AF_NETLINK,)), Check(2, (0,)))  # name look-ups list interfaces
_INTERNET: Final = (
    Check(0, (_AF_INET, _AF_INET6)),
    Check(1, (_SOCK_STREAM, _SOCK_DGRAM), mask=_SOCK_TYPE_MASK),  # no raw packets
)


def tool_rules(*, network: bool) -> Mapping[str, Action]:
    """Return the rules for programs with or without a network."""
    families = (_INTERNET, _NETLINK_ROUTE) if network else (_NETLINK_ROUTE,)
    return {
        **dict.fromkeys(_DENIED, DENY),
        # Their flags or rings are out of the filter's sight; callers fall back.
        **dict.fromkeys(_UNSEEN, NO_SUCH_CALL),
        "clone": when(Check(0, (0,), mask=_CLONE_NEW)),
        # The group of the slot, whose leader is a zombie and so never killed; never another one.
        "setpgid": when(Check(0, (0,)), Check(1, (OWN_PID,))),
        # Unix sockets are reached by path or name, which neither Landlock nor a uid hides.
        "socket": When(families, otherwise=_NO_FAMILY),
        "ioctl": When(((Check(1, (_TIOCSTI, _TIOCLINUX)),),), then=DENY, otherwise=ALLOW),
    }


def compile_tool_filter(*, network: bool) -> FilterProgram:
    """Compile the rules for this machine; the pid it asks for is the slot's process group."""
    return compile_rules(tool_rules(network=network), default=ALLOW)
