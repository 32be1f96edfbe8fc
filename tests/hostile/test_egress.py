"""Connections, where the operator allows some: asking for others, and forging the asking."""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent

import pytest

from hostile.arena import Arena
from hostile.attempt import ALL, CRASHED, REFUSED, Attempt

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETUPS = tuple(replace(setup, egress=True) for setup in ALL)
FINE = frozenset({"fine"})
BROKER = "the broker: the name must be listed, and the address public or listed itself"
_ASK = """
def ask(operation="connect", **changes):
    good = {"host": "open.test", "port": HOST["open"], "version": 0}
    if operation == "connect": good |= {"address": "", "timeout_s": 2.0, "token": 1 << 40}
    message = {"namespace": "egress", "operation": operation, "args": [], "kwargs": {**good, **changes}}
    return channel().call(message).get("value")
def channel():
    import gc
    from py_code_mode_guest.channel import Channel
    return next(one for one in gc.get_objects() if type(one) is Channel)
def said(answer):
    return errno.errorcode.get(answer.get("errno"), "done: " + str(answer))
def second():
    import socket
    for fd in range(4, 1024):
        try: found = socket.socket(fileno=os.dup(fd))
        except OSError: continue
        if found.type == socket.SOCK_SEQPACKET: return fd
    raise LookupError
"""


def _asking(code: str) -> str:
    return _ASK + dedent(code)


def _forges(what: str, **changes: str) -> Attempt:
    """A request that no guest of ours makes, sent as a frame of its own."""
    fields = {
        "host": "'open.test'", "port": "HOST['open']", "version": "0", "address": "''",
        "timeout_s": "1.0", "token": "1",
    }  # fmt: skip
    kwargs = ", ".join(f"{name!r}: {value}" for name, value in {**fields, **changes}.items())
    call = f"call(namespace='egress', operation='connect', kwargs={{{kwargs}}})"
    return Attempt(
        f"asks for a connection with {what}",
        "the broker checks every field; a violator is killed",
        f"send(frame({call}))\ntime.sleep(1)\n'alive'",
        CRASHED,
        setups=SETUPS[:1],
    )


ATTEMPTS = (
    Attempt(
        "connects to a server that is not listed",
        BROKER,
        """
        import socket
        addresses = [("127.0.0.1", HOST["tcp"]), ("127.0.0.1", HOST["open"] + 1), ("127.0.0.2", HOST["open"]),
                     ("169.254.169.254", 80), ("example.org", 80), ("::1", HOST["open"])]
        [tried(lambda a=a: socket.create_connection(a, 1)) for a in addresses]
        """,
    ),
    Attempt(
        "connects to a listed name that leads inside",
        BROKER,
        """
        import socket
        names = ["inside.test", "metadata.test", "private.test", "nowhere.test"]
        [tried(lambda n=n, p=p: socket.create_connection((n, p), 1)) for n in names for p in (80, HOST["tcp"])]
        """,
    ),
    Attempt(
        "asks for a name that changes its address from time to time",
        "the broker connects to the address that it checked",
        _asking("""
        [said(ask(host="turning.test", port=HOST["tcp"], address=a)) for a in ("127.0.0.1", "", "::1") * 10]
        """),
    ),
    Attempt(
        "writes an address in every other form",
        "a host is a plain name, or an address in its usual form",
        _asking("""
        forms = ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.01", "127.0.0.1.",
                 "::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "[::1]", "::1%lo", "fe80::1%1", "0", "127.0.0.1\\0",
                 "127.0.0.1\\n", " 127.0.0.1", "127.0.0.1#", "user@127.0.0.1", "127\u30020\u30020\u30021",
                 "\uff11\uff12\uff17.0.0.1", "\u217cocalhost",
                 "LOCALHOST", "localhost.", "open.test\\0.evil", "evil\\nopen.test", "open.test/", "x" * 10**5, "", ".", "*"]
        [said(ask(host=form, port=HOST["tcp"])) for form in forms]
        """),
    ),
    Attempt(
        "asks for an address that was never looked up",
        "the address a guest names only chooses among those that are permitted",
        _asking("""
        wishes = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "x" * 10**5, "\\0"]
        [said(ask(host=h, port=HOST["tcp"], address=w)) for w in wishes for h in ("inside.test", "metadata.test")]
        """),
    ),
    _forges("a host of bytes", host="b'open.test'"),
    _forges("a port of 70,000", port="70000"),
    _forges("a port that is text", port="'80'"),
    _forges("no port", port="0"),
    _forges("a list for an address", address="[]"),
    _forges("a patience of minus one", timeout_s="-1.0"),
    _forges("an integer for its patience", timeout_s="10**9"),
    _forges("a token of 64 bits", token="2**64-1"),
    _forges("a field too many", uid="0"),
    Attempt(
        "asks the broker to listen",
        "the broker knows two operations; a violator is killed",
        "send(frame(call(namespace='egress', operation='listen')))\ntime.sleep(1)\n'alive'",
        CRASHED,
    ),
    Attempt(
        "sends bytes and descriptors to the broker's socket",
        "the host has shut its end for reading",
        _asking("""
        import array, socket
        sock = socket.socket(fileno=os.dup(second()))
        rights = [(1, 1, array.array("i", [0] * 100))]
        [tried(lambda: sock.send(b"x")), tried(lambda: sock.send(b"")), tried(lambda: sock.sendmsg([b"x"], rights)),
         tried(lambda: sock.send(bytes(10**4)))]
        """),
        frozenset({"EPIPE"}),
    ),
    Attempt(
        "closes the broker's socket and asks",
        "nothing: it harms itself; the answer is an error",
        _asking("""
        fd = second()
        for other in range(4, 1024):
            if other == fd: os.close(other)
        [said(ask())]
        """),
        frozenset({"EPIPE", "ECONNRESET", "done: {}"}),
    ),
    Attempt(
        "asks for 60 connections and takes none",
        "the host lets a few descriptors wait, and closes the others",
        _asking("""
        frames = [frame(call(id=10**6 + n, namespace="egress", operation="connect", kwargs={"host": "127.0.0.1",
                  "port": HOST["open"], "version": 0, "address": "", "timeout_s": 0.5, "token": n})) for n in range(60)]
        send(b"".join(frames))
        time.sleep(1.5); "fine"
        """),
        FINE,
    ),
    Attempt(
        "asks for 20,000 connections at once",
        "the broker keeps a pace, and the host reads no more while many calls wait",
        """
        one = frame(call(namespace="egress", operation="connect", kwargs={"host": "evil.example",
              "port": 80, "version": 0, "address": "", "timeout_s": 9.0, "token": 1}))
        for _ in range(20_000): send(one)
        "fine"
        """,
        FINE | CRASHED | frozenset({"ExecutionTimeoutError", "lost: ExecutionTimeoutError"}),
        timeout_s=1.5,
        setups=SETUPS[:1],
    ),
    Attempt(
        "keeps connections until there is no room for more",
        "the limit of open files",
        """
        import socket
        kept = []
        def more():
            while True: kept.append(socket.create_connection(("127.0.0.1", HOST["open"]), 2))
        word = tried(more); kept.clear(); word
        """,
        frozenset({"EMFILE"}),
        setups=SETUPS[:1],
    ),
    Attempt(
        "makes something else of a granted socket",
        "seccomp: no connect, bind, listen, accept, fast open; a short list of options",
        """
        import socket, _socket
        granted = socket.create_connection(("127.0.0.1", HOST["open"]), 2)
        fd = granted.fileno()
        inet = struct.pack("!2sHI8x", struct.pack("=H", 2), HOST["tcp"], 0x7F000001)
        [syscall("connect", fd, bytes(16), 16), syscall("connect", fd, inet, 16), syscall("bind", fd, inet, 16),
         syscall("listen", fd, 1), syscall("accept4", fd, 0, 0, 0), syscall("sendto", fd, b"x", 1, 0, inet, 16),
         syscall("sendto", fd, b"x", 1, 0x20000000, inet, 16), tried(lambda: granted.setsockopt(6, 31, b"tls")),
         tried(lambda: granted.setsockopt(1, 26, bytes(16))), tried(lambda: granted.setsockopt(0, 10, 1))]
        """,
    ),
    Attempt(
        "makes sockets past the library",
        "seccomp: no call makes a socket",
        """
        import socket, _socket
        [syscall("socket", 2, 1, 0), syscall("socket", 2, 2, 0), syscall("socket", 10, 3, 58), syscall("socket", 16, 3, 0),
         syscall("socket", 1, 1, 0), tried(lambda: _socket.socket(2, 1)), tried(lambda: _socket.getaddrinfo("open.test", 80)),
         tried(lambda: socket.socket(2, 2)), tried(lambda: socket.socket(2, 1, 262)), tried(lambda: socket.socket(1, 1))]
        """,
        REFUSED,
    ),
    Attempt(
        "connects from a thread after its answer",
        "calls outside of a run are refused",
        """
        import socket
        words = []
        def later():
            time.sleep(0.2)
            words.append(tried(lambda: socket.create_connection(("127.0.0.1", HOST["open"]), 1)))
            if words != ["EPERM"]: os._exit(1)
        threading.Thread(target=later, daemon=True).start(); "fine"
        """,
        FINE,
        wait_s=0.5,
    ),
)


async def test_a_guest_reaches_only_what_is_listed(ground: Arena, attempt: Attempt) -> None:
    await ground.survive(attempt)


async def test_what_is_listed_is_reached(ground: Arena) -> None:
    code = f"import socket; socket.create_connection(('open.test', {ground.facts['open']}), 2).getpeername()"
    result = await ground.run(code, timeout_s=5)
    assert result.value == ["127.0.0.1", ground.facts["open"]], result.error
