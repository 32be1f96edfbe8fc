"""What the filter decides, learnt by running it as the kernel would, for both machines."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode_guest import bpf, seccomp
from py_code_mode_guest.seccomp import ALLOW, KILL_PROCESS, compile_filter
from py_code_mode_guest.syscalls import Machine

PID = 4321
HIGH = 1 << 32
EPERM = seccomp.ERRNO | errno.EPERM
ENOSYS = seccomp.ERRNO | errno.ENOSYS
ENOTSUP = seccomp.ERRNO | errno.ENOTSUP
SUCCESS = seccomp.ERRNO

machines = pytest.mark.parametrize("machine", Machine)
words = st.integers(0, 2**64 - 1) | st.integers(0, 2**12) | st.sampled_from([PID, HIGH, HIGH + PID])
arguments = st.tuples(words, words, words, words, words, words)


def simulate(code: bytes, number: int, args: Sequence[int] = (), *, arch: int) -> int:
    """Run classic BPF over a ``struct seccomp_data``; return the filter's verdict."""
    padded = [*args, *[0] * (6 - len(args))]
    data = struct.pack("=IIQ6Q", number, arch, 0, *(arg % 2**64 for arg in padded))
    program = list(struct.iter_unpack("=HBBI", code))
    accumulator = position = 0
    while True:
        opcode, jt, jf, k = program[position]
        position += 1
        if opcode == 0x06:
            return int(k)
        if opcode == 0x20:
            accumulator = struct.unpack_from("=I", data, k)[0]
        elif opcode == 0x54:
            accumulator &= k
        elif opcode == 0x05:
            position += k
        else:
            taken = {0x15: accumulator == k, 0x35: accumulator >= k}[opcode]
            position += jt if taken else jf


def verdict(
    machine: Machine, name: str, *args: int, own_uid: bool = True, truncate: bool = True
) -> int:
    program = compile_filter(own_uid=own_uid, truncate=truncate, machine=machine)
    number = machine.numbers[name]
    return simulate(program.for_pid(PID), number, args, arch=machine.audit_arch)


COMPILED = {m: compile_filter(own_uid=True, truncate=True, machine=m).for_pid(PID) for m in Machine}

#: call, arguments, verdict
DECISIONS: list[tuple[str, tuple[int, ...], int]] = [
    ("read", (0, 0, 0), ALLOW),
    ("futex", (1, 2, 3), ALLOW),
    ("mmap", (0, 4096, 7), ALLOW),
    ("seccomp", (1, 0, 0), EPERM),
    ("landlock_restrict_self", (3, 0), EPERM),
    ("clone3", (0, 88), ENOSYS),
    ("openat2", (0, 0, 0, 24), ENOSYS),
    ("clone", (0x3D0F00,), ALLOW),  # glibc's pthread_create
    ("clone", (0x7D0F00,), ALLOW),  # musl's
    ("clone", (17,), EPERM),  # fork
    ("clone", (0x4111,), EPERM),  # vfork
    ("clone", (0x3D0F00 | 0x10000000,), EPERM),  # a thread in a new user namespace
    ("clone", (0x3D0F00 | 0x2000,), EPERM),  # CLONE_PTRACE
    ("clone", (0x3D0F00 | HIGH,), EPERM),  # CLONE_CLEAR_SIGHAND
    ("openat", (3, 0, 0o2000000), ALLOW),
    ("openat", (3, 0, 0o1101), ALLOW),  # O_WRONLY|O_CREAT|O_TRUNC
    ("openat", (3, 0, 0o1002), ALLOW),
    ("openat", (3, 0, 0o1000), EPERM),  # O_RDONLY|O_TRUNC
    ("openat", (3, 0, 0o1003), EPERM),
    ("openat", (3, 0, 0o3), EPERM),
    ("openat", (3, 0, 0o1000 | HIGH), EPERM),
    ("open", (0, 0o1000), EPERM),
    ("open", (0, 0o1101), ALLOW),
    ("socketpair", (1, 1, 0, 0), ALLOW),
    ("socketpair", (1, 0o2004001, 0, 0), ALLOW),  # with SOCK_CLOEXEC and SOCK_NONBLOCK
    ("socketpair", (1, 2, 0, 0), EPERM),
    ("socketpair", (1, 5, 0, 0), EPERM),
    ("socketpair", (30, 1, 0, 0), EPERM),  # AF_TIPC
    ("sendto", (3, 1, 1, 0x4000, 0, 0), ALLOW),
    ("sendto", (3, 1, 1, 0, 0x1000, 16), EPERM),
    ("sendto", (3, 1, 1, 0, HIGH, 16), EPERM),  # an address whose low word is 0
    ("sendto", (3, 1, 1, 0x20000001, 0, 0), EPERM),
    ("sendmsg", (3, 1, 0x4000), ALLOW),
    ("sendmsg", (3, 1, 0x20000001), EPERM),
    ("sendmsg", (3, 1, 0x20000001 | HIGH), EPERM),
    ("setsockopt", (3, 1, 9), ALLOW),  # SO_KEEPALIVE
    ("setsockopt", (3, 6, 1), ALLOW),  # TCP_NODELAY
    ("setsockopt", (3, 6, 9), EPERM),  # SO_KEEPALIVE's number, of TCP
    ("setsockopt", (3, 1, 26), EPERM),  # SO_ATTACH_FILTER
    ("setsockopt", (3, 6, 31), EPERM),  # TCP_ULP
    ("setsockopt", (3, 0, 64), EPERM),  # netfilter
    ("kill", (PID, 15), ALLOW),
    ("kill", (PID | HIGH, 15), ALLOW),  # a pid is an int: the same process
    ("kill", (0, 15), EPERM),
    ("kill", (-1, 15), EPERM),
    ("kill", (-PID, 15), EPERM),
    ("kill", (1, 15), EPERM),
    ("tgkill", (PID, 4400, 15), ALLOW),
    ("tgkill", (4400, 4400, 15), EPERM),
    ("tgkill", (-1, PID, 15), EPERM),
    ("prlimit64", (0, 7, 0, 0x1000), ALLOW),
    ("prlimit64", (PID, 7, 0, 0x1000), ALLOW),
    ("prlimit64", (0, 7, 0x1000, 0), EPERM),
    ("prlimit64", (0, 7, HIGH, 0), EPERM),
    ("prlimit64", (1, 7, 0, 0x1000), EPERM),
    ("fcntl", (3, 1030, 0), ALLOW),
    ("fcntl", (3, 8, PID), EPERM),  # F_SETOWN
    ("fcntl", (3, 10, 0), EPERM),  # F_SETSIG
    ("fcntl", (3, 1024, 0), EPERM),  # F_SETLEASE
    ("fcntl", (3, 1026, 0), EPERM),  # F_NOTIFY
    ("fcntl", (3, 1031, 1 << 20), EPERM),  # F_SETPIPE_SZ
    ("ioctl", (3, 0x5401, 0), ALLOW),
    ("ioctl", (3, 0x5412, 0), EPERM),  # TIOCSTI
    ("prctl", (15, 1), ALLOW),
    ("prctl", (1, 9), EPERM),  # PR_SET_PDEATHSIG
    ("prctl", (4, 1), EPERM),  # PR_SET_DUMPABLE
    ("prctl", (22, 2), EPERM),  # PR_SET_SECCOMP
    ("prctl", (35, 8), EPERM),  # PR_SET_MM
    ("arch_prctl", (0x1002, 0), ALLOW),
    ("arch_prctl", (0x1012, 0), EPERM),  # ARCH_SET_CPUID
    ("madvise", (0, 4096, 14), ALLOW),
    ("madvise", (0, 4096, 12), EPERM),  # MADV_MERGEABLE
    ("pipe2", (0, 0o2004000), ALLOW),
    ("pipe2", (0, 0o200), EPERM),  # O_NOTIFICATION_PIPE
    ("renameat2", (3, 0, 3, 0, 1), ALLOW),
    ("renameat2", (3, 0, 3, 0, 4), EPERM),  # RENAME_WHITEOUT
    ("setxattr", (0, 0, 0, 0, 0), ENOTSUP),
    ("listxattrat", (0, 0, 0, 0, 0), ENOTSUP),
    ("fchmodat", (3, 0, 0o777), ALLOW),
    ("utimensat", (3, 0, 0, 0), ALLOW),
    ("truncate", (0, 0), ALLOW),
]


@machines
@pytest.mark.parametrize(("name", "args", "expected"), DECISIONS)
def test_the_filter_decides(
    machine: Machine, name: str, args: tuple[int, ...], expected: int
) -> None:
    if name not in machine.numbers:
        assert machine is Machine.AARCH64
        return
    assert verdict(machine, name, *args) == expected


#: x86_64 and aarch64 numbers of what must never get through, whatever its arguments.
FORBIDDEN = {
    "socket": (41, 198),
    "connect": (42, 203),
    "accept": (43, 202),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept4": (288, 242),
    "recvmmsg": (299, 243),
    "sendmmsg": (307, 269),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "tkill": (200, 130),
    "linkat": (265, 37),
    "mknodat": (259, 33),
    "mount": (165, 40),
    "umount2": (166, 39),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "swapon": (167, 224),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "syslog": (103, 116),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_setup": (206, 0),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "personality": (135, 92),
    "setpriority": (141, 140),
    "setrlimit": (160, 164),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    "set_mempolicy": (238, 237),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "vmsplice": (278, 75),
    "splice": (275, 76),
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setresuid": (117, 147),
    "setgroups": (116, 159),
    "capset": (126, 91),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "sethostname": (170, 161),
    "reboot": (169, 142),
    "init_module": (175, 105),
    "kexec_load": (246, 104),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "mlock": (149, 228),
    "sync": (162, 81),
    "syncfs": (306, 267),
}
#: On x86_64 alone.
FORBIDDEN_X86_64 = {
    "fork": 57,
    "vfork": 58,
    "link": 86,
    "mknod": 133,
    "modify_ldt": 154,
    "iopl": 172,
    "ioperm": 173,
    "inotify_init": 253,
}


@given(args=arguments)
def test_forbidden_calls_are_refused_whatever_their_arguments(args: tuple[int, ...]) -> None:
    for column, machine in enumerate(Machine):
        for name, numbers in FORBIDDEN.items():
            got = simulate(COMPILED[machine], numbers[column], args, arch=machine.audit_arch)
            assert (name, got) == (name, EPERM)
    for name, number in FORBIDDEN_X86_64.items():
        arch = Machine.X86_64.audit_arch
        assert (name, simulate(COMPILED[Machine.X86_64], number, args, arch=arch)) == (name, EPERM)


@machines
@given(number=st.integers(0, 600) | st.integers(0, 2**32 - 1), args=arguments)
def test_unknown_calls_are_refused(machine: Machine, number: int, args: tuple[int, ...]) -> None:
    rules = seccomp.policy(own_uid=True, truncate=True)
    if number in {n for name, n in machine.numbers.items() if name in rules}:
        return
    x32 = machine is Machine.X86_64 and number >= 0x40000000
    got = simulate(COMPILED[machine], number, args, arch=machine.audit_arch)
    assert got == (ENOSYS if x32 else EPERM)


@machines
@given(arch=st.integers(0, 2**32 - 1), number=st.integers(0, 500))
def test_another_architecture_is_killed(machine: Machine, arch: int, number: int) -> None:
    if arch != machine.audit_arch:
        assert simulate(COMPILED[machine], number, arch=arch) == KILL_PROCESS


def test_the_other_abis_of_the_same_processor_are_killed_or_unknown() -> None:
    i386, arm = 0x40000003, 0x40000028
    assert simulate(COMPILED[Machine.X86_64], 20, arch=i386) == KILL_PROCESS
    assert simulate(COMPILED[Machine.AARCH64], 20, arch=arm) == KILL_PROCESS
    x32_getpid = 0x40000000 | Machine.X86_64.numbers["getpid"]
    arch = Machine.X86_64.audit_arch
    assert simulate(COMPILED[Machine.X86_64], x32_getpid, arch=arch) == ENOSYS


def low(word: int) -> int:
    return word & 0xFFFFFFFF


#: When a call may pass, said once more in plain Python.
MODELS: dict[str, Callable[[tuple[int, ...]], bool]] = {
    "kill": lambda a: low(a[0]) == PID,
    "tgkill": lambda a: low(a[0]) == PID,
    "prlimit64": lambda a: low(a[0]) in (0, PID) and a[2] == 0,
    "openat": lambda a: (
        (a[2] & 3, bool(a[2] & 0x200)) in {(0, False), (1, False), (2, False), (1, True), (2, True)}
    ),
    "clone": lambda a: bool(a[0] & 0x10000) and not a[0] & ~0x17D0F00,
    "sendto": lambda a: a[4] == 0 and not a[3] & 0x20000001,
    "sendmsg": lambda a: not a[2] & 0x20000001,
    "socketpair": lambda a: low(a[0]) == 1 and a[1] & 0xF == 1,
    "renameat2": lambda a: low(a[4]) in (0, 1, 2, 3),
}


@machines
@given(name=st.sampled_from(sorted(MODELS)), args=arguments)
def test_every_bit_that_matters_is_looked_at(
    machine: Machine, name: str, args: tuple[int, ...]
) -> None:
    got = simulate(COMPILED[machine], machine.numbers[name], args, arch=machine.audit_arch)
    assert got == (ALLOW if MODELS[name](args) else EPERM)


@machines
def test_without_an_own_uid_metadata_changes_are_only_pretended(machine: Machine) -> None:
    for name in ("fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "utimensat"):
        assert verdict(machine, name, own_uid=False) == SUCCESS
        assert verdict(machine, name, own_uid=True) == ALLOW


@machines
def test_truncating_by_path_needs_a_landlock_that_sees_it(machine: Machine) -> None:
    assert verdict(machine, "truncate", truncate=False) == EPERM
    assert verdict(machine, "ftruncate", truncate=False) == ALLOW


@machines
def test_the_pid_is_the_only_thing_that_differs_between_workers(machine: Machine) -> None:
    program = compile_filter(own_uid=True, truncate=True, machine=machine)
    assert len(program.pid_offsets) == 3  # kill, tgkill, prlimit64
    one, other = program.for_pid(0x01010101), program.for_pid(0x02020202)
    differing = {i // 4 * 4 for i in range(len(one)) if one[i] != other[i]}
    assert differing == set(program.pid_offsets)


@machines
def test_a_program_is_valid_classic_bpf_of_moderate_size(machine: Machine) -> None:
    program = list(struct.iter_unpack("=HBBI", COMPILED[machine]))
    assert len(program) < 1024  # the kernel takes 4096
    for position, (opcode, jt, jf, k) in enumerate(program):
        jump = k if opcode == 0x05 else max(jt, jf)
        assert position + 1 + jump < len(program) or opcode == 0x06
        if opcode == 0x20:
            assert k % 4 == 0
            assert k < 64


def test_a_machine_we_do_not_know_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf, "this_machine", lambda: None)
    with pytest.raises(ValueError, match="64-bit Linux"):
        compile_filter(own_uid=True, truncate=True)
