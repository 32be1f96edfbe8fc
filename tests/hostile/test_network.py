"""The network, and every other kind of socket, towards servers that really listen."""

from __future__ import annotations

import pytest

from hostile.arena import Arena
from hostile.attempt import ALL, REFUSED, Attempt

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETUPS = ALL
NO_SOCKET = "seccomp: no call makes a socket"

ATTEMPTS = (
    Attempt(
        "connects with the library's own functions",
        "seccomp: no call makes a socket; an audit hook says so in words",
        """
        import socket, urllib.request, http.client
        address = ("127.0.0.1", HOST["tcp"])
        [tried(lambda: socket.create_connection(address, 1)), tried(lambda: socket.socket()),
         tried(lambda: http.client.HTTPConnection(*address, timeout=1).connect()),
         tried(lambda: socket.getaddrinfo("localhost", 80)),
         tried(lambda: socket.gethostbyname("example.org"))]
        """,
        REFUSED,
    ),
    Attempt(
        "fetches an address with urllib and asyncio",
        NO_SOCKET,
        """
        import asyncio, urllib.request, urllib.error
        def fetch():
            try: urllib.request.urlopen(f"http://127.0.0.1:{HOST['tcp']}/", timeout=1)
            except urllib.error.URLError as error: raise error.reason
        [tried(fetch), tried(lambda: asyncio.run(asyncio.open_connection("127.0.0.1", HOST["tcp"])))]
        """,
    ),
    *(
        Attempt(
            f"makes a socket for {what}",
            NO_SOCKET,
            f"""[syscall("socket", {family}, kind, {protocol}) for kind in ({kinds})]""",
        )
        for what, family, kinds, protocol in (
            ("TCP", 2, "1, 1 | 0o4000, 5", 0),
            ("TCP over IPv6", 10, "1, 5", 0),
            ("UDP, as a name look-up would", 2, "2,", 0),
            ("raw IP", 2, "3,", 1),
            ("raw frames of the link", 17, "2, 3", 768),
            ("netlink", 16, "2, 3", 0),
            ("the hypervisor", 40, "1, 2", 0),
            ("the kernel's crypto", 38, "5,", 0),
            ("Bluetooth, CAN, TIPC's neighbours", 31, "3, 5", 0),
            ("multipath TCP", 2, "1,", 262),
            ("Unix sockets", 1, "1, 2, 5", 0),
            ("express data paths", 44, "3,", 0),
        )
    ),
    Attempt(
        "connects a pair's end to servers at a path and at an abstract name",
        "seccomp: no connect; Landlock scopes from ABI 6",
        """
        import socket
        a, b = socket.socketpair()
        addresses = [HOST["stream"], HOST["abstract_stream"], HOST["dgram"], HOST["abstract_dgram"]]
        [tried(lambda x=x: a.connect(x)) for x in addresses]
        """,
    ),
    Attempt(
        "makes a pair that can send to any path",
        "seccomp: pairs of Unix streams only",
        """
        pair = (ctypes.c_int * 2)()
        [syscall("socketpair", family, kind, 0, pair) for family, kind in
         ((1, 2), (1, 2 | 0o4000), (1, 5), (1, 3), (2, 1), (16, 3), (30, 1))]
        """,
    ),
    Attempt(
        "sends to an address through a connected pair",
        "seccomp: no address; the kernel ignores one behind a pointer on a connected stream",
        """
        import socket
        a, b = socket.socketpair()
        unix = struct.pack("=H", 1) + HOST["dgram"].encode()
        inet = struct.pack("!2sHI8x", struct.pack("=H", 2), HOST["tcp"], 0x7F000001)
        [tried(lambda: a.sendto(b"x", HOST["dgram"])), tried(lambda: a.sendto(b"x", HOST["abstract_dgram"])),
         syscall("sendto", a.fileno(), b"x", 1, 0, unix, len(unix)),
         syscall("sendto", a.fileno(), b"x", 1, 0x20000000, inet, 16),
         syscall("sendto", 3, b"x", 1, 0x20000000, inet, 16),
         tried(lambda: a.sendmsg([b"x"], [], 0x20000000, HOST["stream"])),
         tried(lambda: a.sendmsg([b"x"], [], 0, HOST["dgram"]))]
        """,
        REFUSED | {"EISCONN"},
    ),
    Attempt(
        "sends many messages with flags of their own",
        "seccomp: no sendmmsg",
        """syscall("sendmmsg", 3, ctypes.create_string_buffer(128), 1, 0x20000000)""",
    ),
    Attempt(
        "listens on an address and at a path",
        "seccomp: neither bind nor listen nor accept",
        """
        import socket
        a, b = socket.socketpair()
        inet = struct.pack("!2sHI8x", struct.pack("=H", 2), 0, 0)
        [tried(lambda: a.bind("own")), tried(lambda: a.bind("\\0own")), tried(lambda: a.listen()),
         syscall("bind", a.fileno(), inet, 16), syscall("listen", 3, 1), syscall("accept4", 3, 0, 0, 0),
         tried(lambda: socket.create_server(("127.0.0.1", 0)))]
        """,
        REFUSED,
    ),
    Attempt(
        "turns its own socket into another by options",
        "seccomp: a short list of options",
        """
        import socket
        a, b = socket.socketpair()
        [tried(lambda o=o: a.setsockopt(1, o, 1)) for o in (25, 26, 27, 36, 49, 50, 51, 60)] + [
         tried(lambda: a.setsockopt(6, 31, b"tls")), tried(lambda: a.setsockopt(6, 23, 1))]
        """,
        REFUSED,
    ),
    Attempt(
        "sends urgent data to the host",
        "seccomp: no MSG_OOB, whose code in the kernel has let sandboxes be escaped",
        """
        import socket
        a, b = socket.socketpair()
        [tried(lambda: a.send(b"x", 1)), syscall("sendto", a.fileno(), b"x", 1, 1, 0, 0),
         tried(lambda: a.sendmsg([b"x"], [], 1))]
        """,
    ),
)


async def test_a_guest_reaches_no_server(ground: Arena, attempt: Attempt) -> None:
    await ground.survive(attempt)
