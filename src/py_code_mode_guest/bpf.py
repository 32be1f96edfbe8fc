"""Rules about system calls, compiled to a seccomp filter (classic BPF).

Pure data and arithmetic: nothing here makes a system call. Two facts of the kernel carry the
design:

- The filter sees arguments, never what they point to, as 64-bit registers; BPF loads 32 bits. The
  kernel reads an ``int`` parameter from the low word alone, so that is all there is to compare;
  a pointer or a ``long`` has to be compared in both words.
- For calls that are allowed whatever their arguments, the kernel keeps a bitmap and never runs the
  filter. The others are found by binary search, so the price of a rule is about ten comparisons.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from py_code_mode_guest.syscalls import Machine, this_machine

ALLOW: Final = 0x7FFF0000
KILL_PROCESS: Final = 0x80000000
#: Or-ed with an errno; with 0 the call is skipped and the caller is told that it succeeded.
ERRNO: Final = 0x00050000

DENY: Final = ERRNO | errno.EPERM
NO_SUCH_CALL: Final = ERRNO | errno.ENOSYS
NOT_SUPPORTED: Final = ERRNO | errno.EOPNOTSUPP  # the same number as ENOTSUP on Linux
PRETEND: Final = ERRNO | 0

#: Stand in a check for the pid that the filter is installed for, and for its negative: its group.
OWN_PID: Final = -1
OWN_GROUP: Final = -2


class Check(NamedTuple):
    """One 32-bit word of an argument, masked, must be one of the values."""

    arg: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF
    high: bool = False


#: Checks that must all hold for the call to be allowed.
Case = tuple[Check, ...]


@dataclass(frozen=True)
class When:
    """Does ``then`` when any of the cases holds, and ``otherwise`` when none does."""

    cases: tuple[Case, ...]
    then: int = ALLOW
    otherwise: int = DENY


Action = int | When


def when(*checks: Check) -> When:
    """Allow a call when all the checks hold."""
    return When((checks,))


def null(arg: int) -> Case:
    """A pointer argument that is NULL: both words, or a pointer to 4 GiB would pass for it."""
    return Check(arg, (0,)), Check(arg, (0,), high=True)


class _Instruction(NamedTuple):
    """``struct sock_filter`` of classic BPF."""

    code: int
    k: int
    jt: int = 0
    jf: int = 0

    def pack(self) -> bytes:
        return struct.pack("=HBBI", self.code, self.jt, self.jf, self.k & 0xFFFFFFFF)


_LOAD, _AND, _JUMP, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06
_NUMBER_OFFSET, _ARCH_OFFSET, _ARGS_OFFSET = 0, 4, 16
_X32_BIT: Final = 0x40000000

_Code = tuple[_Instruction, ...]
#: The first number of a range of calls, and what to do with them.
_Range = tuple[int, _Code]


@dataclass(frozen=True)
class FilterProgram:
    """A compiled filter; the offsets are the byte positions where the own pid, or group, goes."""

    machine: Machine
    code: bytes = field(repr=False)
    pid_offsets: tuple[int, ...]
    group_offsets: tuple[int, ...]

    def for_pid(self, pid: int) -> bytes:
        """Return the instructions for the process that has this pid."""
        code = bytearray(self.code)
        for offset in self.pid_offsets:
            struct.pack_into("=I", code, offset, pid)
        for offset in self.group_offsets:
            struct.pack_into("=i", code, offset, -pid)
        return bytes(code)


def compile_rules(
    rules: Mapping[str, Action], *, default: int, machine: Machine | None = None
) -> FilterProgram:
    """Compile rules for a machine, by default this one; ``default`` is for calls without a rule.

    Raises ValueError where the machine is unknown.
    """
    machine = machine or this_machine()
    if machine is None:
        raise ValueError("seccomp filters are made for 64-bit Linux on x86_64 and aarch64 only")
    program = [
        _Instruction(_LOAD, _ARCH_OFFSET),
        _Instruction(_JUMP_EQUAL, machine.audit_arch, jt=1),
        _Instruction(_RETURN, KILL_PROCESS),
        _Instruction(_LOAD, _NUMBER_OFFSET),
        *_search(_ranges(machine, rules, default)),
    ]
    # Neither is an argument word, so these are the comparisons with them and nothing else.
    pids, groups = (
        tuple(8 * i + 4 for i, instruction in enumerate(program) if instruction.k == stands_for)
        for stands_for in (OWN_PID, OWN_GROUP)
    )
    return FilterProgram(machine, b"".join(i.pack() for i in program), pids, groups)


def _ranges(machine: Machine, rules: Mapping[str, Action], default: int) -> list[_Range]:
    """Cut all numbers into ranges that are treated alike, lowest first."""
    rest = _body(default)
    actions = {n: _body(rules[name]) for name, n in machine.numbers.items() if name in rules}
    starts = {0, *actions, *(number + 1 for number in actions)}
    ranges = [(start, actions.get(start, rest)) for start in sorted(starts)]
    if machine is Machine.X86_64:
        # The x32 ABI has the same audit arch; its numbers are ours with this bit set.
        ranges.append((_X32_BIT, _body(NO_SUCH_CALL)))
    return [
        current
        for previous, current in zip([None, *ranges], ranges, strict=False)
        if previous is None or previous[1] != current[1]
    ]


def _search(ranges: Sequence[_Range]) -> list[_Instruction]:
    """Find the range of the loaded number by halving, then run its body."""
    if len(ranges) == 1:
        return list(ranges[0][1])
    middle = len(ranges) // 2
    lower, upper = _search(ranges[:middle]), _search(ranges[middle:])
    start = ranges[middle][0]
    if len(lower) <= 0xFF:
        branch = [_Instruction(_JUMP_AT_LEAST, start, jt=len(lower))]
    else:  # conditional jumps reach 255 instructions, plain ones any number
        branch = [
            _Instruction(_JUMP_AT_LEAST, start, jt=0, jf=1),
            _Instruction(_JUMP, len(lower)),
        ]
    return [*branch, *lower, *upper]


def _body(action: Action) -> _Code:
    if isinstance(action, int):
        return (_Instruction(_RETURN, action),)
    cases = [instruction for case in action.cases for instruction in _case(case, action.then)]
    return (*cases, _Instruction(_RETURN, action.otherwise))


def _case(case: Case, then: int) -> list[_Instruction]:
    """Do ``then`` if every check holds; otherwise go on behind the case."""
    code = [_Instruction(_RETURN, then)]
    for check in reversed(case):
        code = [*_check(check, rest=len(code)), *code]
    return code


def _check(check: Check, *, rest: int) -> list[_Instruction]:
    """Continue with the ``rest`` instructions that follow if the check holds, else skip them."""
    code = [_Instruction(_LOAD, _ARGS_OFFSET + 8 * check.arg + 4 * check.high)]
    if check.mask != 0xFFFFFFFF:
        code.append(_Instruction(_AND, check.mask))
    for left in range(len(check.values) - 1, -1, -1):
        value = check.values[len(check.values) - 1 - left]
        code.append(_Instruction(_JUMP_EQUAL, value, jt=left, jf=0 if left else rest))
    return code
