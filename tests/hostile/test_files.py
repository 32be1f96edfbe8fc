"""Files outside of the session's folder: reading, writing, links, races, metadata."""

from __future__ import annotations

import pytest

from hostile.arena import Arena
from hostile.attempt import ALL, READ_ONLY, REFUSED, WITH_LANDLOCK, Attempt

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETUPS = ALL
LANDLOCK = "Landlock: the rule set knows Python, libraries and the own folder"

ATTEMPTS = (
    Attempt(
        "reads files of the system that only root may read",
        "Landlock, and file modes where there is none",
        """[tried(lambda p=p: open(p, "rb").read(1)) for p in
            ("/etc/shadow", "/root/.bashrc", "/root/.ssh/id_rsa", HOST["victim"] + "/private")]""",
        REFUSED | {"ENOENT"},
    ),
    Attempt(
        "reads files that the world may read",
        LANDLOCK,
        """[tried(lambda p=p: open(p, "rb").read(1)) for p in
            ("/etc/passwd", "/etc/hostname", "/etc/resolv.conf", HOST["victim"] + "/open")]""",
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "reads the source of the server",
        "Landlock: the package of the host is left out of the readable trees",
        """
        import sys
        source, tag = HOST["source"], sys.implementation.cache_tag
        names = ("__init__.py", "errors.py", "workers/pool.py", f"__pycache__/errors.{tag}.pyc")
        [tried(lambda n=n: open(f"{source}/{n}", "rb").read(1)) for n in names]
        """,
        REFUSED | {"ENOENT"},
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "reads the source of the guest, which is no secret",
        "nothing: tracebacks and inspect show it",
        """
        import py_code_mode_guest.channel as channel
        "done" if "class Channel" in open(channel.__file__).read() else "other"
        """,
        frozenset({"done"}),
    ),
    Attempt(
        "lists folders that hold others' files",
        LANDLOCK,
        """[tried(lambda p=p: os.listdir(p)) for p in
            ("/", "/etc", "/home", "/root", "/tmp", "/run", "/var", "/proc", HOST["victim"],
             os.path.dirname(os.getcwd()))]""",
        REFUSED | {"ENOENT"},
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "reads, lists and writes the folder of its sibling",
        "Landlock; the uid of its own, mode 0700",
        """
        other = HOST["sibling_folder"]
        [tried(lambda: open(other + "/own").read()), tried(lambda: os.listdir(other)),
         tried(lambda: open(other + "/new", "w")), tried(lambda: os.unlink(other + "/own")),
         tried(lambda: os.rename(other + "/own", "stolen")), tried(lambda: os.mkdir(other + "/d")),
         tried(lambda: os.rename(other, other + "2")), tried(lambda: os.truncate(other + "/own", 0))]
        """,
        REFUSED | {"EXDEV"},
    ),
    Attempt(
        "makes a file beside its folder",
        "Landlock: only what is below its folder may be written",
        """[tried(lambda: open("../beside", "w")), tried(lambda: os.mkdir("../folder")),
            tried(lambda: os.symlink("/etc", "../link")),
            tried(lambda: os.rename(os.getcwd(), "../moved"))]""",
        REFUSED | {"EXDEV"},
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "renames its own folder, so that it is neither measured nor removed",
        "Landlock; where there is none, the parent's sticky bit is no help to us",
        """[tried(lambda: os.rename(os.getcwd(), "../moved"))]""",
        REFUSED | {"EXDEV"},
        setups=(ALL[-1],),
    ),
    Attempt(
        "writes to Python, to packages and to the system",
        LANDLOCK,
        """
        import msgpack as m
        [tried(lambda p=p: open(p, "a")) for p in
         (os.__file__, m.__file__, sys.executable, "/etc/ld.so.preload", "/etc/passwd",
          os.path.dirname(m.__file__) + "/evil.pth", "/usr/lib/evil", "/usr/local/lib/evil")]
        """,
        REFUSED | READ_ONLY | {"ETXTBSY"},  # said before anything else of a program that runs
    ),
    Attempt(
        "writes where everybody may",
        LANDLOCK,
        """[tried(lambda p=p: open(p, "w")) for p in
            ("/tmp/hostile", "/var/tmp/hostile", "/dev/shm/hostile", "/dev/full",
             HOST["victim"] + "/new", HOST["victim"] + "/open")]""",
        REFUSED | {"ENOENT"},
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "changes files of the host that their modes leave to everybody",
        LANDLOCK,
        """
        v = HOST["victim"]
        [tried(lambda: os.truncate(v + "/open", 0)), tried(lambda: os.unlink(v + "/open")),
         tried(lambda: os.rename(v + "/open", v + "/other")), tried(lambda: os.rmdir(v + "/inner")),
         tried(lambda: os.mkdir(v + "/made")), tried(lambda: os.symlink("/etc", v + "/link")),
         tried(lambda: os.rename(v + "/open", "stolen")), tried(lambda: os.rename("/dev/null", "n"))]
        """,
        REFUSED | {"EXDEV", "ENOTEMPTY", "EBUSY"},
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "truncates a file that it may not write, by flags that read",
        "seccomp: O_TRUNC without write access, and access mode 3, are refused",
        """
        v = HOST["victim"] + "/open"
        [tried(lambda f=f: os.open(v, f)) for f in
         (os.O_RDONLY | os.O_TRUNC, os.O_WRONLY | os.O_TRUNC, 3 | os.O_TRUNC, 3, os.O_CREAT | os.O_TRUNC)]
        """,
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "truncates a Python file that it may read",
        "seccomp: O_TRUNC without write access is refused; file modes",
        """[tried(lambda: os.open(os.__file__, os.O_RDONLY | os.O_TRUNC)),
            tried(lambda: os.truncate(os.__file__, 0))]""",
        REFUSED | READ_ONLY,
    ),
    Attempt(
        "changes modes, owners and times of the host's files",
        "own uid: the kernel says no; one uid for all: seccomp pretends success and does nothing",
        """
        v = HOST["victim"]
        for path in (v, v + "/open", v + "/private", os.__file__):
            tried(lambda: os.chmod(path, 0o777)), tried(lambda: os.chown(path, os.getuid(), 0))
            tried(lambda: os.utime(path, (1, 1))), tried(lambda: os.lchown(path, 1, 1))
        "tried"
        """,
        frozenset({"tried"}),
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "sets and reads extended attributes of the host's files",
        "seccomp: extended attributes are not supported",
        """
        v = HOST["victim"] + "/open"
        [tried(lambda: os.setxattr(v, "user.x", b"y")), tried(lambda: os.getxattr(v, "user.x")),
         tried(lambda: os.listxattr(v)), tried(lambda: os.removexattr(v, "user.x"))]
        """,
        frozenset({"ENOTSUP", "EOPNOTSUPP"}),
    ),
    Attempt(
        "follows symbolic links out of its folder",
        "Landlock judges where a link leads, not where it lies",
        """
        v = HOST["victim"]
        for name, target in (("a", v + "/open"), ("b", "/etc"), ("c", "/proc/self/root"), ("d", "../..")):
            os.symlink(target, name)
        words = [tried(lambda: open("a").read()), tried(lambda: open("a", "a")),
                 tried(lambda: open("b/passwd").read()), tried(lambda: os.listdir("b")),
                 tried(lambda: open("c/etc/passwd").read()), tried(lambda: os.listdir("d"))]
        for name in "abcd": os.unlink(name)
        words
        """,
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "makes hard links to files of the host",
        "seccomp: no link calls",
        """[tried(lambda: os.link(HOST["victim"] + "/open", "mine")),
            tried(lambda: os.link("/etc/passwd", "mine")),
            syscall("linkat", -100, os.__file__.encode(), -100, b"mine", 0)]""",
    ),
    Attempt(
        "makes device nodes, pipes and sockets",
        "seccomp: no mknod; Landlock: no such rights",
        """[tried(lambda: os.mknod("disk", 0o60600, os.makedev(8, 0))), tried(lambda: os.mkfifo("pipe")),
            syscall("mknodat", -100, b"node", 0o20600, 0x501)]""",
    ),
    Attempt(
        "climbs out through dot-dot, a folder's descriptor and fchdir",
        "Landlock judges where a path leads",
        """
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        up = os.open("/", getattr(os, "O_PATH", 0x200000))
        [tried(lambda: os.open("../" * 20 + "etc/passwd", os.O_RDONLY, dir_fd=here)),
         tried(lambda: os.open("etc/passwd", os.O_RDONLY, dir_fd=up)),
         tried(lambda: (os.fchdir(up), open("etc/passwd").read())),
         tried(lambda: (os.chdir("/etc"), open("passwd").read())),
         tried(lambda: os.chdir(os.environ["HOME"]))]
        """,
        REFUSED | {"done: None"},
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "swaps a folder for a link while another thread opens through it",
        "Landlock judges what was opened, not its name",
        """
        os.makedirs("swap", exist_ok=True); open("swap/open", "w").write("mine")
        if not os.path.lexists("link"): os.symlink(HOST["victim"], "link")
        stop, seen = threading.Event(), set()
        def swap():
            while not stop.is_set():
                libc.syscall(316 if os.uname().machine == "x86_64" else 276, -100, b"swap", -100, b"link", 2)
        threading.Thread(target=swap).start()
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            for mode in ("r", "a"):
                try: seen.add(open("swap/open", mode).read() if mode == "r" else bool(open("swap/open", "a")))
                except OSError: pass
        stop.set()
        "stolen" if any("CANARY" in str(s) for s in seen) else "own files only"
        """,
        frozenset({"own files only"}),
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "opens files by handle and by the links of /proc",
        "seccomp: no handle calls; Landlock judges where a path leads",
        """
        fd = os.open(HOST["victim"] + "/open", 0x200000)
        [syscall("name_to_handle_at", -100, b"/etc", ctypes.create_string_buffer(128), 0, 0),
         syscall("open_by_handle_at", 3, ctypes.create_string_buffer(128), 0),
         tried(lambda: open(f"/proc/self/fd/{fd}").read())]
        """,
        REFUSED,
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "copies a file of the host through the kernel",
        "Landlock: there is no descriptor to copy from",
        """
        [tried(lambda: os.sendfile(1, os.open("/etc/passwd", os.O_RDONLY), 0, 10)),
         tried(lambda: os.copy_file_range(os.open(HOST["victim"] + "/open", os.O_RDONLY), 1, 10))]
        """,
        setups=WITH_LANDLOCK,
    ),
    Attempt(
        "puts a module of its own before Python's and the guest's",
        "the folder is last on the path, and the worker has its modules already",
        """
        for name in ("py_code_mode_guest", "msgpack", "colorsys"):
            open(name + ".py", "w").write("raise SystemExit('taken over')")
        import colorsys
        word = "own" if "taken" in (colorsys.__doc__ or "") else "Python's"
        for name in ("py_code_mode_guest", "msgpack", "colorsys"): os.unlink(name + ".py")
        word
        """,
        frozenset({"Python's"}),
    ),
    Attempt(
        "leaves a tree that is deep, without modes, full of links and of odd names",
        "the wipe lifts folders to the top, as their owner, and follows no link",
        """
        os.mkdir("tree"); os.chdir("tree")
        for _ in range(60): os.mkdir("d" * 200); os.chdir("d" * 200)
        os.symlink("/", "root"); os.symlink(HOST["victim"], "victim")
        libc.mkdir(bytes([255, 10, 1]), 0o700); open("-rf", "w").close()
        os.chdir(os.environ["HOME"]); os.mkdir("shut"); os.mkdir("shut/inner")
        open("shut/inner/file", "w").close(); os.chmod("shut/inner", 0); os.chmod("shut", 0)
        os._exit(0)
        """,
        frozenset({"lost: WorkerCrashed"}),
    ),
)


async def test_a_guest_touches_no_file_but_its_own(ground: Arena, attempt: Attempt) -> None:
    await ground.survive(attempt)


async def test_a_folder_is_gone_with_its_worker(ground: Arena) -> None:
    await ground.settle()
    assert await ground.folders_are_those_of_workers()
