"""Programs of tools: what they try from inside the jail."""

from __future__ import annotations

import pytest

from hostile.arena import Arena
from hostile.attempt import ABI_1, ABI_3, MAIN, NO_LANDLOCK, REFUSED, WITH_LANDLOCK, Attempt, Setup

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETUPS = (*MAIN, ABI_1, ABI_3, NO_LANDLOCK)
NOTHING = frozenset({"nothing"})


def _inside(
    name: str,
    stopped_by: str,
    code: str,
    sees: frozenset[str] = REFUSED,
    *,
    setups: tuple[Setup, ...] = SETUPS,
    tool: str = "python",
) -> Attempt:
    """Return an attempt that a tool's program makes; its words are ``said``."""
    chosen = tuple(setup for setup in SETUPS if setup in setups)
    return Attempt(
        f"has a tool's program that {name}", stopped_by, f"inside({code!r}, {tool!r})", sees, chosen
    )


OTHERS = """[HOST["pid"], HOST["zygote"], HOST["sibling"], 1]"""

ATTEMPTS = (
    _inside(
        "looks for secrets in its environment",
        "it is started with the variables of its definition, and no others",
        """
environ = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
entries, i = [], 0
while environ[i]: entries.append(environ[i]); i += 1
said = ["found" if any(b"CANARY" in e or b"SECRET" in e for e in entries) else "nothing"]
""",
        NOTHING,
    ),
    _inside(
        "reads /proc of the host, the zygote, the sibling and process 1",
        "Landlock; where there is none, other uids and PR_SET_DUMPABLE 0",
        f"""
said = [word for pid in {OTHERS} for word in (
    *(tried(lambda: open(f"/proc/{{pid}}/{{n}}", "rb").read(1)) for n in ("environ", "mem", "maps")),
    *(tried(lambda: os.readlink(f"/proc/{{pid}}/{{n}}")) for n in ("cwd", "root", "exe")),
    tried(lambda: os.listdir(f"/proc/{{pid}}/fd")))]
""",
        REFUSED | {"ENOENT", "ESRCH"},
    ),
    _inside(
        "reads /proc of itself, its jail, its session's worker, and the list of processes",
        "Landlock: /proc is not readable",
        """
said = [tried(lambda: open(f"/proc/{pid}/{n}", "rb").read(1))
        for pid in ("self", os.getppid(), HOST["worker"]) for n in ("environ", "mem", "cmdline", "stat")]
said += [tried(lambda: os.listdir("/proc")), tried(lambda: open("/proc/net/tcp").read(1)),
         tried(lambda: os.listdir("/sys"))]
""",
        setups=WITH_LANDLOCK,
    ),
    _inside(
        "reads memory and environment of its jail and its session's worker",
        "PR_SET_DUMPABLE 0",
        """
said = [tried(lambda: open(f"/proc/{pid}/{n}", "rb").read(1))
        for pid in (os.getppid(), HOST["worker"]) for n in ("environ", "mem", "maps")]
said += [tried(lambda: os.listdir(f"/proc/{pid}/fd")) for pid in (os.getppid(), HOST["worker"])]
""",
    ),
    _inside(
        "traces others, and itself",
        "seccomp: no tracing, no reading of memory, no descriptors of others",
        f"""
buffer = ctypes.create_string_buffer(64)
iov = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 64)
said = [word for pid in (*{OTHERS}, os.getppid(), HOST["worker"], os.getpid()) for word in (
    syscall("ptrace", 16, pid, 0, 0), syscall("ptrace", 0x4206, pid, 0, 0), syscall("kcmp", pid, pid, 0, 0, 0),
    syscall("process_vm_readv", pid, iov, 1, iov, 1, 0), syscall("process_vm_writev", pid, iov, 1, iov, 1, 0),
    syscall("move_pages", pid, 1, 0, 0, 0, 0), syscall("pidfd_getfd", 3, 0, 0))]
said.append(syscall("ptrace", 0, 0, 0, 0))
""",
    ),
    _inside(
        "signals the host, the zygote, the sibling and process 1",
        "its own uid, Landlock from ABI 6; below that seccomp: its own group only",
        f"""
said = [word for pid in {OTHERS} for number in (10, 15, 1, 29, 19) for word in (
    syscall("kill", pid, number), syscall("tgkill", pid, pid, number), syscall("tkill", pid, number),
    syscall("rt_sigqueueinfo", pid, number, ctypes.create_string_buffer(128)))]
fds = [os.pidfd_open(pid) for pid in {OTHERS} if tried(lambda: os.pidfd_open(pid))[:4] == "done"]
said += [syscall("pidfd_send_signal", fd, 10, 0, 0) for fd in fds]
""",
    ),
    _inside(
        "signals its jail and its session's worker, and everybody",
        "Landlock from ABI 6; below that, with one uid for all, seccomp: its own group only",
        """
said = [syscall("kill", pid, number) for pid in (os.getppid(), HOST["worker"]) for number in (15, 9, 19)]
for number in (15, 9): syscall("kill", -1, number)  # "done" where nobody could be signalled
said += [syscall("tkill", HOST["worker"], 9)]
if HOST["pid"] > 1:  # the group of process 1 cannot be named: -1 is everybody
    said += [syscall("kill", -HOST["pid"], 15)]
""",
        REFUSED | {"ESRCH"},
        setups=WITH_LANDLOCK,
    ),
    _inside(
        "has the kernel signal the host when its pipe is ready",
        "seccomp: nobody may be named as the owner of a descriptor's signals",
        f"""
import fcntl, socket
a, b = socket.socketpair()
said = []
for pid in {OTHERS[:-4]}]:
    said += [tried(lambda: fcntl.fcntl(a, fcntl.F_SETOWN, pid)), tried(lambda: fcntl.fcntl(a, 10, 10)),
             tried(lambda: fcntl.fcntl(a, 15, struct.pack("ii", 1, pid))),
             tried(lambda: fcntl.ioctl(a, 0x8901, struct.pack("i", pid))),
             tried(lambda: fcntl.ioctl(a, 0x8902, struct.pack("i", pid)))]
fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
b.send(b"x")
""",
    ),
    _inside(
        "limits, slows down and pins others",
        "seccomp: limits, priority and processors of itself alone",
        f"""
lowest = struct.pack("QQ", 0, 0)
mask = struct.pack("Q", 1)
said = [word for pid in {OTHERS} for word in (
    syscall("prlimit64", pid, 7, lowest, 0), syscall("prlimit64", pid, 0, lowest, 0),
    syscall("setpriority", 0, pid, 19), syscall("setpriority", 1, pid, 19),
    syscall("sched_setaffinity", pid, 8, mask), syscall("ioprio_set", 1, pid, 3 << 13),
    syscall("sched_setattr", pid, struct.pack("IIQiIQQQ", 48, 3, 0, 0, 0, 0, 0, 0), 0))]
said += [syscall("setpriority", 2, 0, 19), syscall("setpriority", 2, os.getuid(), 19),
         syscall("ioprio_set", 3, os.getuid(), 3 << 13)]
""",
    ),
    _inside(
        "changes modes, owners, times and attributes of the host's files",
        "own uid: the kernel says no; one uid for all: seccomp pretends success and does nothing",
        """
v = HOST["victim"]
for path in (v, v + "/open", v + "/private", "/usr/bin/env"):
    tried(lambda: os.chmod(path, 0o777)), tried(lambda: os.chown(path, os.getuid(), os.getgid()))
    tried(lambda: os.utime(path, (1, 1))), tried(lambda: os.lchown(path, 1, 1))
    tried(lambda: os.setxattr(path, "user.x", b"y"))
    fd = os.open(path, os.O_PATH)
    tried(lambda: os.chmod(f"/proc/self/fd/{fd}", 0o777)), tried(lambda: os.chown("", 1, 1, dir_fd=fd))
    syscall(452, fd, b"", 0o777, 0x1000)  # fchmodat2
said = ["tried"]
""",
        frozenset({"tried"}),
        setups=WITH_LANDLOCK,
    ),
    _inside(
        "writes, truncates, renames, links and removes the host's files",
        "Landlock; where there is none, only what the modes give to everybody",
        """
v = HOST["victim"]
said = [tried(lambda: open(v + "/private", "a")), tried(lambda: open(v + "/open", "r+")),
        tried(lambda: os.open(v + "/open", os.O_RDONLY | os.O_TRUNC)),
        tried(lambda: os.open(v + "/open", 3 | os.O_TRUNC)),
        tried(lambda: os.truncate(v + "/open", 0)), tried(lambda: os.unlink(v + "/open")),
        tried(lambda: os.rename(v + "/open", v + "/other")), tried(lambda: os.rename(v + "/open", "x")),
        tried(lambda: os.link(v + "/open", "x")), tried(lambda: os.mkdir(v + "/made")),
        tried(lambda: os.mkfifo(v + "/fifo")), tried(lambda: os.symlink("x", v + "/sym")),
        tried(lambda: open("/tmp/made-by-a-tool", "w")), tried(lambda: open("/dev/shm/made", "w"))]
""",
        REFUSED | {"EXDEV"},
        setups=WITH_LANDLOCK,
    ),
    _inside(
        "reads files of the server, of the system and of its sibling",
        "Landlock: programs, libraries and the session's folder alone",
        """
os.symlink("/etc/passwd", "to-passwd") if not os.path.lexists("to-passwd") else None
said = [tried(lambda p=p: open(p).read(1)) for p in (
    "/etc/passwd", "/etc/shadow", HOST["source"] + "/errors.py", HOST["victim"] + "/open", "to-passwd",
    HOST["sibling_folder"] + "/own", HOST["home"] + "/../../victim/open", "/root/.bashrc", "/dev/kmsg")]
said += [tried(lambda p=p: os.listdir(p)) for p in (
    HOST["sibling_folder"], HOST["victim"], HOST["home"] + "/..", "/", "/tmp", "/home", "/root", "/etc",
    "/etc/ssl", *filter(os.path.isdir, ("/etc/ssl/private", "/etc/pki/tls/private")))]
""",
        REFUSED | {"ENOENT"},
        setups=WITH_LANDLOCK,
    ),
    _inside(
        "reads what is its sibling's",
        "Landlock; where there is none, the sibling's uid",
        """
said = [tried(lambda: open(HOST["sibling_folder"] + "/own").read(1)),
        tried(lambda: os.listdir(HOST["sibling_folder"])), tried(lambda: open(HOST["victim"] + "/private").read(1))]
""",
    ),
    _inside(
        "reaches Unix sockets of the host",
        "seccomp: no Unix sockets but connected pairs",
        """
import socket
said = [tried(lambda: socket.socket(family, kind)) for family in (1, 16, 17, 38, 40, 2, 10)
        for kind in (1, 2, 3, 5) if (family, kind) not in ((16, 3), (16, 2), (2, 1), (2, 2), (10, 1), (10, 2))]
for kind in (2, 3):
    def reach():
        one, _ = socket.socketpair(1, kind)
        for name in ("dgram", "abstract_dgram"): one.sendto(b"x", HOST[name])
    said.append(tried(reach))
    def connect():
        one, _ = socket.socketpair(1, kind)
        one.connect(HOST["dgram"]); one.send(b"x")
    said.append(tried(connect))
one, _ = socket.socketpair()
said += ["EPERM" if tried(lambda: one.connect(HOST["stream"]))[:4] != "done" else "connected"]
""",
        REFUSED | {"EAFNOSUPPORT", "EOPNOTSUPP", "ESOCKTNOSUPPORT", "EPROTONOSUPPORT"},
    ),
    _inside(
        "has no network and uses it",
        "seccomp: no internet sockets; Landlock: no TCP",
        """
import socket
said = [tried(lambda: socket.create_connection(("127.0.0.1", HOST["tcp"]), 1)),
        tried(lambda: socket.socket(2, 2).sendto(b"x", ("127.0.0.1", HOST["udp"]))),
        *(tried(lambda: socket.socket(family, kind, protocol)) for family in (2, 10) for kind, protocol in
          ((1, 0), (2, 0), (3, 255), (1, 262), (1, 132), (2, 1)))]
""",
        REFUSED | {"EAFNOSUPPORT"},
        tool="offline",
    ),
    _inside(
        "connects to a port that its definition does not list",
        "Landlock from ABI 4; seccomp: no protocol and no flag that it does not see",
        """
import socket
there = ("127.0.0.1", HOST["tcp"])
def fast():
    socket.socket().sendto(b"x", 0x20000000, there)
def fast_message():
    socket.socket().sendmsg([b"x"], [], 0x20000000, there)
def later():
    s = socket.socket(); s.setsockopt(6, 30, 1); s.connect(there); s.send(b"x")
def multipath():
    socket.socket(2, 1, 262).connect(there)
said = [tried(lambda: socket.create_connection(there, 1)), tried(fast), tried(fast_message),
        tried(later), tried(multipath), tried(lambda: socket.socket(2, 1, 132).connect(there)),
        tried(lambda: socket.socket().bind(("127.0.0.1", 0)))]
""",
        REFUSED | {"EAFNOSUPPORT", "EPROTONOSUPPORT"},
        setups=MAIN,
        tool="narrow",
    ),
    _inside(
        "takes memory, queues and semaphores that others share",
        "seccomp: no System V and no POSIX queues, not even those that are there",
        """
sysv = dict(x86_64=((29, 3), (30, 3), (31, 3), (64, 3), (65, 3), (66, 4), (68, 2), (69, 4), (70, 5), (71, 3), (240, 4), (241, 1)),
            aarch64=((194, 3), (196, 3), (195, 3), (190, 3), (193, 3), (191, 4), (186, 2), (189, 4), (188, 5), (187, 3), (180, 4), (181, 1)))
said = [syscall(number, *[0] * n) for number, n in sysv[os.uname().machine]]
""",
    ),
    _inside(
        "changes what is mounted, named, timed and loaded",
        "seccomp, and no capabilities",
        """
said = [syscall(name, 0, 0, 0, 0, 0) for name in (
    "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "bpf", "keyctl", "add_key", "request_key",
    "perf_event_open", "userfaultfd", "io_uring_setup", "open_by_handle_at", "name_to_handle_at", "sethostname",
    "setdomainname", "settimeofday", "swapon", "reboot", "kexec_load", "finit_module", "delete_module", "acct",
    "quotactl", "personality", "fanotify_init", "fsopen", "open_tree", "process_madvise", "mbind", "syslog",
    "inotify_init1", "landlock_create_ruleset")]
said += [syscall("setresuid", 1, 1, 1), syscall("setuid", 12345)] if os.getuid() not in (1, 12345) else []
said += [syscall("clone", flag | 17, 0, 0, 0, 0) for flag in (0x10000000, 0x20000000, 0x40000000, 0x20000, 0x2000000)]
""",
    ),
    _inside(
        "leaves its session and its process group",
        "seccomp: no setsid, no other group",
        """
def elsewhere(call, *args):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if call(*args)[:4] == "done" else 1)
    return "EPERM" if os.waitpid(pid, 0)[1] else "done"
said = [tried(os.setsid), elsewhere(tried, os.setsid), elsewhere(syscall, 112 if os.uname().machine == "x86_64" else 157),
        tried(lambda: os.setpgid(0, 0)), elsewhere(tried, lambda: os.setpgid(0, 0)),
        tried(lambda: os.setpgid(0, HOST["pid"])), tried(lambda: os.setpgid(os.getppid(), 0))]
""",
    ),
    _inside(
        "gives its children to its jail",
        "seccomp: no CLONE_PARENT",
        """said = [syscall("clone", 0x8000 | 17, 0, 0, 0, 0)]""",
    ),
    _inside(
        "raises its limits, becomes root, ends the jail's grip",
        "hard limits, no_new_privs, no capabilities",
        """
import resource
kinds = [k for k in range(16) if resource.getrlimit(k)[1] >= 0]
said = [tried(lambda k=k: resource.setrlimit(k, (resource.getrlimit(k)[1] + 1,) * 2)) for k in kinds]
said += [tried(lambda: os.nice(-1)), syscall("prctl", 8, 0, 0, 0, 0) if 0 else "EPERM"]
said += ["EPERM" if w in ("EPERM", "ValueError") else w for w in said]
""",
        REFUSED | {"ValueError"},
    ),
)


async def test_a_program_reaches_what_is_its_sessions_alone(
    ground: Arena, attempt: Attempt
) -> None:
    await ground.survive(attempt)
