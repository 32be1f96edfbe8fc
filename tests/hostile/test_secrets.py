"""Secrets of the host: its environment, its memory, what /proc tells of it and of siblings."""

from __future__ import annotations

import pytest

from hostile.arena import Arena
from hostile.attempt import MAIN, NO_LANDLOCK, REFUSED, WITH_LANDLOCK, Attempt
from hostile.rights import have

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETUPS = (*MAIN, NO_LANDLOCK)
NOTHING = frozenset({"nothing"})

ATTEMPTS = (
    Attempt(
        "looks for the secret in its environment",
        "the zygote is started by exec with an environment of its own, which workers clear",
        """
        import re
        found = [v for v in os.environ.values() if "CANARY" in v]
        libc.getenv.restype = ctypes.c_char_p
        found += [n for n in (b"HOSTILE_SECRET",) if libc.getenv(n)]
        "found" if found else "nothing"
        """,
        NOTHING,
    ),
    Attempt(
        "walks the C environ and the stack above it for the environment it was started with",
        "the zygote is started by exec with an environment of its own",
        """
        environ = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
        entries, i = [], 0
        while environ and environ[i]:
            entries.append(environ[i]); i += 1
        "found" if any(b"CANARY" in e or b"SECRET" in e for e in entries) else "nothing"
        """,
        NOTHING,
    ),
    Attempt(
        "reads its own environ, memory, maps and command line in /proc",
        "Landlock: /proc is not readable",
        """
        names = ("environ", "mem", "maps", "smaps", "cmdline", "stack", "auxv")
        [tried(lambda n=n: open(f"/proc/self/{n}", "rb").read(1)) for n in names]
        """,
        setups=WITH_LANDLOCK,
    ),
    *(
        Attempt(
            f"reads environ, memory and descriptors of {what} in /proc",
            "Landlock; where there is none, other uids and PR_SET_DUMPABLE 0",
            f"""
            base = f"/proc/{{{pid}}}/"
            files = [tried(lambda n=n: open(base + n, "rb").read(1)) for n in ("environ", "mem")]
            links = [tried(lambda n=n: os.readlink(base + n)) for n in ("cwd", "root", "exe")]
            folders = [tried(lambda n=n: os.listdir(base + n)) for n in ("fd", "map_files")]
            [*files, *links, *folders, tried(lambda: open(base + "root/etc/shadow").read(1))]
            """,
            REFUSED | {"ENOENT"},
        )
        for what, pid in (
            ("the host", "HOST['pid']"),
            ("the zygote", "HOST['zygote']"),
            ("its sibling", "HOST['sibling']"),
            ("process 1", "1"),
            ("its parent", "os.getppid()"),
        )
    ),
    Attempt(
        "lists the processes of the machine",
        "Landlock: /proc is not readable",
        """[tried(lambda: os.listdir("/proc")), tried(lambda: open("/proc/net/tcp").read(1))]""",
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "reads /sys and kernel messages",
        "Landlock: neither is readable; syslog is no call of the filter",
        """
        [tried(lambda: os.listdir("/sys")), tried(lambda: open("/sys/kernel/notes").read(1)),
         tried(lambda: open("/dev/kmsg").read(1)), syscall("syslog", 3, ctypes.create_string_buffer(64), 64)]
        """,
        REFUSED | {"ENOENT"},
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "looks for the secret in every object that the collector knows",
        "workers descend from a process that never held it",
        """
        import gc
        shape = "HOSTILE" + "_CANARY_"
        hit = [o for o in gc.get_objects() for v in (o.values() if type(o) is dict else ())
               if type(v) in (str, bytes) and shape in str(v) and len(v) < 200]
        hits = [h for h in hit if h.get("shape") is not shape]
        "found" if hits else "nothing"
        """,
        NOTHING,
    ),
    Attempt(
        "scans the memory around every object for the shape of the secret",
        "workers descend from a process that never held it",
        """
        import gc, re
        shape = re.compile(b"HOSTILE" + b"_CANARY_[0-9a-f]{16}")
        libc.sbrk.restype = ctypes.c_void_p
        end = libc.sbrk(0)
        pages = {id(o) >> 12 for o in gc.get_objects()} | {id(m) >> 12 for m in sys.modules}
        pages |= set(range((end - (24 << 20)) >> 12, end >> 12))
        out, into = os.pipe()
        hits = read = 0
        for page in sorted(pages):
            if libc.write(into, ctypes.c_void_p(page << 12), 4096) == 4096:
                read += 1
                hits += bool(shape.search(os.read(out, 4096)))
        os.close(out), os.close(into)
        "found" if hits else "nothing" if read > 500 else f"too little: {read}"
        """,
        NOTHING,
    ),
    Attempt(
        "walks the frames below its own for what the zygote knows of other sessions",
        "the worker forgets the zygote's tables of pids, folders and uids",
        """
        found, below = [], sys._getframe()
        while below:
            for value in list(below.f_locals.values()):
                if type(value).__name__ == "Zygote":
                    found += [*value._workers, *value._folders]
            below = below.f_back
        "found" if found else "nothing"
        """,
        NOTHING,
    ),
    Attempt(
        "asks for descriptors beyond its own four",
        "the worker closes all others after the lockdown's last use of them",
        """
        extra = []
        for fd in range(4, 4096):
            try: os.fstat(fd); extra.append(fd)
            except OSError: pass
        "found" if extra else "nothing"
        """,
        NOTHING,
    ),
    Attempt(
        "loads the artifact and skill services for the host's objects",
        "the package of the host is unreadable, and a session's own stands in for it",
        """
        import importlib
        names = ("py_code_mode.workers.pool", "py_code_mode.sessions.manager", "py_code_mode.models")
        [tried(lambda n=n: importlib.import_module(n)) for n in names]
        """,
        frozenset({"ModuleNotFoundError"}),
    ),
)


async def test_a_guest_learns_no_secret(ground: Arena, attempt: Attempt) -> None:
    await ground.survive(attempt)


async def test_no_process_of_ours_is_started_with_a_secret(ground: Arena) -> None:
    for pid in (ground.facts["zygote"], ground.facts["sibling"]):
        assert ground.is_hidden(pid) is not have("SYS_PTRACE")
        assert ground.started_with(pid) == set()


async def test_a_worker_holds_four_descriptors(ground: Arena) -> None:
    if not have("SYS_PTRACE"):
        with pytest.raises(PermissionError):
            ground.descriptors(ground.facts["sibling"])
        return  # an attempt above counts them from inside
    held = ground.descriptors(ground.facts["sibling"])
    assert [held.pop(0), held.pop(1), held.pop(2)] == ["/dev/null"] * 3
    assert held.pop(3).startswith("socket:")
    assert held == {}
