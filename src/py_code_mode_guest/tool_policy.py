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
    NOT_SUPPORTED,
    OWN_GROUP,
    OWN_PID,
    PRETEND,
    Action,
    Check,
    FilterProgram,
    When,
    compile_rules,
    when,
)
from py_code_mode_guest.seccomp import METADATA, POLICY, XATTR

# fmt: off
_DENIED: Final = """
    acct add_key bpf chroot clock_adjtime clock_settime delete_module fanotify_init finit_module
    fsconfig fsmount fsopen fspick init_module inotify_init inotify_init1 ioperm iopl kcmp
    kexec_file_load kexec_load keyctl landlock_create_ruleset mbind migrate_pages mount
    mount_setattr move_mount move_pages mq_open mq_unlink msgctl msgget msgrcv msgsnd
    name_to_handle_at open_by_handle_at open_tree perf_event_open personality pidfd_getfd
    pivot_root process_madvise process_vm_readv process_vm_writev ptrace quotactl reboot
    request_key semctl semget semop semtimedop sethostname setdomainname setns setsid settimeofday
    shmat shmctl shmget swapoff swapon syslog umount2 unshare userfaultfd vhangup
""".split()  # noqa: SIM905 - a list of strings of this length reads worse
#: Signals by a number that may be anybody's; ``kill`` has a rule of its own.
_SIGNALS: Final = (
    "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "tgkill", "tkill",
)
# fmt: on
_UNSEEN: Final = ("clone3", "io_uring_enter", "io_uring_register", "io_uring_setup")

#: New namespaces, and CLONE_PARENT, by which a child would be the jail's, who never asked for it.
_CLONE_REFUSED: Final = 0x7E020080 | 0x8000
_ITSELF: Final = Check(0, (0,))
#: F_SETOWN, F_SETSIG, F_SETOWN_EX: whom the kernel signals, and how, when a descriptor is ready.
_FCNTL_REFUSED: Final = (8, 10, 15)
#: The same as ioctls (FIOSETOWN, SIOCSPGRP), and TIOCSTI, TIOCLINUX, which type at a terminal.
_IOCTL_REFUSED: Final = (0x8901, 0x8902, 0x5412, 0x541C)
_MSG_FASTOPEN: Final = 0x20000000
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_SOCK_STREAM, _SOCK_DGRAM, _SOCK_SEQPACKET, _SOCK_TYPE_MASK = 1, 2, 5, 0xF
#: The protocol that goes with the type; TCP, UDP, and ICMP for pings. Not MPTCP and SCTP, whose
#: connections Landlock does not see.
_PROTOCOLS: Final = (0, 6, 17, 1, 58)
_NO_FAMILY: Final = ERRNO | errno.EAFNOSUPPORT
_NETLINK_ROUTE: Final = (Check(0, (_AF_NETLINK,)), Check(2, (0,)))  # name look-ups list interfaces
_INTERNET: Final = (
    Check(0, (_AF_INET, _AF_INET6)),
    Check(1, (_SOCK_STREAM, _SOCK_DGRAM), mask=_SOCK_TYPE_MASK),  # no raw packets
    Check(2, _PROTOCOLS),
)

_RULES: Final[Mapping[str, Action]] = {
    **dict.fromkeys(_DENIED, DENY),
    # Their flags or rings are out of the filter's sight; callers fall back.
    **dict.fromkeys(_UNSEEN, NO_SUCH_CALL),
    # Neither Landlock nor file modes guard these where a file is anybody's to write.
    **dict.fromkeys(XATTR, NOT_SUPPORTED),
    "clone": when(Check(0, (0,), mask=_CLONE_REFUSED)),
    # The group of the slot, whose leader is a zombie and so never killed; never another one.
    "setpgid": when(_ITSELF, Check(1, (OWN_PID,))),
    # With one uid for all, others' limits and shares would be a program's to change.
    "prlimit64": when(_ITSELF),
    "sched_setaffinity": when(_ITSELF),
    "sched_setattr": when(_ITSELF),
    "sched_setparam": when(_ITSELF),
    "sched_setscheduler": when(_ITSELF),
    "setpriority": when(Check(0, (0, 1)), Check(1, (0,))),  # of a process or group, not of a user
    "ioprio_set": when(Check(0, (1, 2)), Check(1, (0,))),
    "fcntl": When(((Check(1, _FCNTL_REFUSED),),), then=DENY, otherwise=ALLOW),
    "ioctl": When(((Check(1, _IOCTL_REFUSED),),), then=DENY, otherwise=ALLOW),
    # A datagram socket can send to any socket by its path, which Landlock does not see.
    "socketpair": when(
        Check(0, (_AF_UNIX,)), Check(1, (_SOCK_STREAM, _SOCK_SEQPACKET), mask=_SOCK_TYPE_MASK)
    ),
    # MSG_FASTOPEN makes a connect() of a send, which Landlock does not see.
    "sendto": when(Check(3, (0,), mask=_MSG_FASTOPEN)),
    "sendmsg": when(Check(2, (0,), mask=_MSG_FASTOPEN)),
    "sendmmsg": when(Check(3, (0,), mask=_MSG_FASTOPEN)),
}


def tool_rules(*, network: bool, own_uid: bool, landlock_abi: int) -> Mapping[str, Action]:
    """Return the rules for programs with or without a network.

    What the session's own uid or Landlock does not bound on this machine, the filter does.
    """
    rules = dict(_RULES)
    # Unix sockets are reached by path or name, which neither Landlock nor a uid hides.
    families = (_INTERNET, _NETLINK_ROUTE) if network else (_NETLINK_ROUTE,)
    rules["socket"] = When(families, otherwise=_NO_FAMILY)
    if not own_uid:
        rules.update(dict.fromkeys(METADATA, PRETEND))
    if not own_uid and landlock_abi < 6:
        # A program may then signal its own group, and nobody by a number of its own.
        rules.update(dict.fromkeys(_SIGNALS, DENY), kill=when(Check(0, (0, OWN_GROUP))))
    if landlock_abi < 3:
        rules.update({call: POLICY[call] for call in ("open", "openat", "openat2")}, truncate=DENY)
    return rules


def compile_tool_filter(*, network: bool, own_uid: bool, landlock_abi: int) -> FilterProgram:
    """Compile the rules for this machine; the pid it asks for is the slot's process group."""
    rules = tool_rules(network=network, own_uid=own_uid, landlock_abi=landlock_abi)
    return compile_rules(rules, default=ALLOW)
