"""Other processes: starting them, tracing them, signalling them."""

from __future__ import annotations

import pytest

from hostile.arena import Arena
from hostile.attempt import CRASHED, MAIN, NO_LANDLOCK, REFUSED, Attempt

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETUPS = (*MAIN, NO_LANDLOCK)
FILTER = "seccomp: no such call in the filter"
OWN_ONLY = "seccomp: signals to its own pid only"

ATTEMPTS = (
    Attempt(
        "starts programs the usual ways",
        "seccomp: neither fork nor exec; an audit hook says so in words",
        """
        import subprocess, pty
        [tried(lambda: os.system("touch " + HOST["victim"] + "/made")),
         tried(lambda: subprocess.run(["/bin/true"])),
         tried(lambda: os.posix_spawn("/bin/true", ["true"], {})),
         tried(lambda: os.popen("true").read()),
         tried(lambda: os.execv("/bin/true", ["true"])),
         tried(lambda: pty.spawn("/bin/true"))]
        """,
    ),
    Attempt(
        "forks past Python",
        FILTER,
        """
        [tried(os.fork), syscall("clone", 17, 0, 0, 0, 0), syscall("clone", 0x4000 | 0x100 | 17, 0),
         syscall("clone3", ctypes.create_string_buffer(88), 88),
         *([syscall(57), syscall(58)] if os.uname().machine == "x86_64" else [])]
        """,
    ),
    Attempt(
        "makes a thread with new namespaces",
        "seccomp: clone for threads only, without CLONE_NEW*",
        """
        thread = 0x10F00
        [syscall("clone", thread | flag, 0, 0, 0, 0)
         for flag in (0x10000000, 0x20000000, 0x40000000, 0x00020000, 0x02000000, 0x00800000 | 17)]
        """,
    ),
    Attempt(
        "executes a file by every call there is",
        "seccomp: no exec; Landlock: EXECUTE nowhere",
        """
        argv = (ctypes.c_char_p * 2)(b"true", None)
        [syscall("execve", b"/bin/true", argv, 0), syscall("execveat", -100, b"/bin/true", argv, 0, 0),
         syscall("execveat", os.open(os.__file__, os.O_RDONLY), b"", argv, 0, 0x1000)]
        """,
        REFUSED,
    ),
    Attempt(
        "executes an own file that it made executable",
        "seccomp: no exec; Landlock: EXECUTE nowhere",
        r"""
        open("own.sh", "w").write("#!/bin/sh\ntouch " + HOST["victim"] + "/made\n")
        os.chmod("own.sh", 0o755)
        argv = (ctypes.c_char_p * 2)(b"own.sh", None)
        [tried(lambda: os.execv("own.sh", ["own.sh"])), syscall("execve", b"own.sh", argv, 0)]
        """,
    ),
    Attempt(
        "executes an anonymous file in memory",
        "seccomp: neither memfd_create nor execveat",
        """
        fd = os.memfd_create("x") if tried(lambda: os.memfd_create("y"))[:4] == "done" else 3
        [tried(lambda: os.memfd_create("x")), syscall("memfd_create", b"x", 1),
         syscall("memfd_secret", 0), syscall("execveat", fd, b"", 0, 0, 0x1000)]
        """,
    ),
    Attempt(
        "traces and inspects the host, the zygote, its sibling",
        FILTER,
        """
        buffer = ctypes.create_string_buffer(64)
        iov = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 64)
        [word for pid in (HOST["pid"], HOST["zygote"], HOST["sibling"], os.getpid())
         for word in (syscall("ptrace", 16, pid, 0, 0), syscall("ptrace", 0x4206, pid, 0, 0),
                      syscall("process_vm_readv", pid, iov, 1, iov, 1, 0),
                      syscall("process_vm_writev", pid, iov, 1, iov, 1, 0),
                      syscall("kcmp", pid, pid, 0, 0, 0), syscall("move_pages", pid, 1, 0, 0, 0, 0))]
        """,
    ),
    Attempt(
        "asks to be traced by its parent",
        FILTER,
        """syscall("ptrace", 0, 0, 0, 0)""",
    ),
    Attempt(
        "takes descriptors of the host by pidfd",
        FILTER,
        """
        [word for pid in (HOST["pid"], HOST["zygote"], HOST["sibling"])
         for word in (tried(lambda: os.pidfd_open(pid)), syscall("pidfd_open", pid, 0),
                      syscall("pidfd_getfd", 3, 0, 0), syscall("pidfd_send_signal", 3, 10, 0, 0))]
        """,
    ),
    *(
        Attempt(
            f"signals {who}",
            OWN_ONLY,
            f"""
            import signal
            [word for number in (0, 10, 15, 1, 29) for word in
             (tried(lambda: os.kill({pid}, number)), syscall("kill", {pid}, number),
              syscall("tgkill", {pid}, {pid}, number), syscall("tkill", {pid}, number),
              syscall("rt_sigqueueinfo", {pid}, number, ctypes.create_string_buffer(128)))]
            """,
        )
        for who, pid in (
            ("the host", "HOST['pid']"),
            ("the zygote", "HOST['zygote']"),
            ("its sibling", "HOST['sibling']"),
            ("its process group", "0"),
            ("everybody", "-1"),
            ("the host's process group", "-HOST['pid']"),
        )
    ),
    Attempt(
        "signals the host with a pid whose high word is its own",
        "seccomp compares the word that the kernel reads",
        """[syscall("kill", (os.getpid() << 32) | HOST["pid"], 10),
            syscall("kill", (1 << 32) | HOST["sibling"], 10)]""",
    ),
    Attempt(
        "kills itself",
        "nothing: its session ends and says so",
        """os.kill(os.getpid(), 9)""",
        CRASHED,
    ),
    Attempt(
        "loads a library of its own making",
        "nothing: its code meets the same filter; the file here is no library",
        r"""
        open("own.so", "wb").write(b"\x7fELF" + bytes(200))
        tried(lambda: ctypes.CDLL("./own.so"))
        """,
        frozenset({"OSError"}),
    ),
    Attempt(
        "lets machine code call execve",
        "seccomp: machine code meets the same filter",
        r"""
        import mmap
        def machine(code):
            global page
            page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
                             prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            page.write(code)
            start = ctypes.addressof(ctypes.c_char.from_buffer(page))
            return ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)(start)
        word = "EPERM"
        if os.uname().machine == "x86_64":
            got = machine(b"\xb8\x3b\x00\x00\x00\x0f\x05\xc3")(b"/bin/true", None, None)
            word = errno.errorcode[-got]
        word
        """,
    ),
    Attempt(
        "calls the kernel by int 0x80",
        "seccomp: the wrong architecture kills the process",
        r"""
        import mmap
        assert os.uname().machine == "x86_64"
        page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
                         prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # getpid of the 32-bit table
        ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
        """,
        CRASHED | {"AssertionError"},
    ),
    Attempt(
        "calls the kernel by x32 numbers",
        "seccomp: numbers with that bit are no calls",
        """
        x86 = os.uname().machine == "x86_64"
        [syscall(0x40000000 | number) if x86 else "ENOSYS" for number in (39, 41, 57, 520, 545)]
        """,
        frozenset({"ENOSYS"}),
    ),
    Attempt(
        "makes calls with numbers that no table has",
        "seccomp: default deny",
        """[syscall(number) for number in (-1, 468, 500, 1000, 0x3FFFFFFF, 2**31, 2**32 + 57)]""",
        REFUSED,
    ),
)


async def test_a_guest_reaches_no_process(ground: Arena, attempt: Attempt) -> None:
    await ground.survive(attempt)
