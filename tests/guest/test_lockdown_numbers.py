"""The numbers we copied from Linux, compared with the headers of the machine the tests run on."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from py_code_mode_guest import landlock, seccomp
from py_code_mode_guest.syscalls import Machine

INCLUDE = Path("/usr/include")
X86_64_HEADER = INCLUDE / "x86_64-linux-gnu/asm/unistd_64.h"
GENERIC_HEADER = INCLUDE / "asm-generic/unistd.h"
#: Younger than the headers of Debian 12 (Linux 6.1); compared as soon as the headers know them.
YOUNG = {"fchmodat2", "setxattrat", "getxattrat", "listxattrat", "removexattrat"}


def header(path: Path) -> str:
    """Return a header's text; without linux-libc-dev skips, or fails where CI promises it."""
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{path} is missing: install linux-libc-dev")
        pytest.skip(f"{path} is missing: install linux-libc-dev")
    return path.read_text()


def x86_64_numbers() -> dict[str, int]:
    found = re.findall(r"#define __NR_(\w+)\s+(\d+)", header(X86_64_HEADER))
    return {name: int(number) for name, number in found}


def aarch64_numbers() -> dict[str, int]:
    """As arm64 builds them: 64 bits, with renameat, the old rlimit calls and newfstatat."""
    text = header(GENERIC_HEADER)
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)
    numbers = {name: int(number) for name, number in found}
    for name, old in re.findall(r"#define __NR_(\w+)\s+__NR3264_(\w+)", text):
        if old in numbers:
            numbers[name] = numbers[old]
    return numbers


@pytest.mark.parametrize("machine", Machine)
def test_system_call_numbers_are_those_of_the_headers(machine: Machine) -> None:
    known = x86_64_numbers() if machine is Machine.X86_64 else aarch64_numbers()
    ours = dict(machine.numbers)
    assert {name: ours[name] for name in ours if name in known} == {
        name: known[name] for name in ours if name in known
    }
    assert ours.keys() - known.keys() <= YOUNG


@pytest.mark.parametrize("machine", Machine)
def test_no_call_that_the_machine_has_is_missing_from_its_table(machine: Machine) -> None:
    known = x86_64_numbers() if machine is Machine.X86_64 else aarch64_numbers()
    named = seccomp.policy(own_uid=True, truncate=True).keys() & known.keys()
    assert named <= machine.numbers.keys()


def test_every_name_of_the_rule_book_has_a_number() -> None:
    named = seccomp.policy(own_uid=True, truncate=True).keys()
    assert named <= Machine.X86_64.numbers.keys() | Machine.AARCH64.numbers.keys()


def test_no_two_calls_share_a_number() -> None:
    for machine in Machine:
        assert len(set(machine.numbers.values())) == len(machine.numbers)


@pytest.mark.parametrize(("machine", "elf"), [(Machine.X86_64, 62), (Machine.AARCH64, 183)])
def test_audit_architectures_are_those_of_the_header(machine: Machine, elf: int) -> None:
    text = header(INCLUDE / "linux/audit.h")
    bits = {
        name: int(value, 16)
        for name, value in re.findall(r"#define __AUDIT_ARCH_(64BIT|LE)\s+(0x\d+)", text)
    }
    assert machine.audit_arch == elf | bits["64BIT"] | bits["LE"]


def test_landlock_rights_are_those_of_the_header() -> None:
    text = header(INCLUDE / "linux/landlock.h")
    found = re.findall(r"#define LANDLOCK_ACCESS_FS_(\w+)\s+\(1ULL << (\d+)\)", text)
    assert len(found) >= 13
    assert {name: getattr(landlock, name) for name, _ in found} == {
        name: 1 << int(bit) for name, bit in found
    }


def test_seccomp_actions_are_those_of_the_header() -> None:
    text = header(INCLUDE / "linux/seccomp.h")
    found = dict(re.findall(r"#define SECCOMP_RET_(\w+)\s+(0x[0-9a-f]+)U", text))
    assert tuple(int(found[name], 16) for name in ("ALLOW", "KILL_PROCESS", "ERRNO")) == (
        seccomp.ALLOW,
        seccomp.KILL_PROCESS,
        seccomp.ERRNO,
    )


@pytest.mark.parametrize(
    ("abi", "last_right"),
    [
        (1, landlock.MAKE_SYM),
        (2, landlock.REFER),
        (3, landlock.TRUNCATE),
        (4, landlock.TRUNCATE),
        (5, landlock.IOCTL_DEV),
        (7, landlock.IOCTL_DEV),
    ],
)
def test_a_ruleset_governs_every_right_of_its_abi(abi: int, last_right: int) -> None:
    assert landlock.handled_access(abi) == (last_right << 1) - 1


def test_a_writable_folder_lacks_execution_and_special_files() -> None:
    forbidden = (
        landlock.EXECUTE
        | landlock.MAKE_CHAR
        | landlock.MAKE_BLOCK
        | landlock.MAKE_FIFO
        | landlock.MAKE_SOCK
        | landlock.IOCTL_DEV
    )
    assert landlock.handled_access(7) & ~forbidden == landlock.WRITABLE
