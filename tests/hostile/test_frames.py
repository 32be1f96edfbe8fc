"""The wire: a guest that writes to its own socket what no guest of ours would."""

from __future__ import annotations

import pytest

from hostile.arena import Arena
from hostile.attempt import CRASHED, OWN_UID, UNPRIVILEGED, Attempt

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETUPS = (OWN_UID, UNPRIVILEGED)
FINE = frozenset({"fine"})
_LISTS = "b'\\xdd' + struct.pack('>I', 4 << 20) + b'\\x90' * (4 << 20)"
FORGED = frozenset({"forged"})
CHECKED = "the host checks every frame; a violator is killed"


def _sends(name: str, *sent: str, hole: str = "", growth_mb: int = 64) -> Attempt:
    """An attempt that sends something for which its worker is killed."""
    lines = "\n".join(f"send({one})" for one in sent)
    code = f"{lines}\ntime.sleep(1)\n'alive'"
    return Attempt(name, CHECKED, code, CRASHED, hole=hole, growth_mb=growth_mb)


ATTEMPTS = (
    _sends("announces a frame of 4 GiB", r"b'\xff\xff\xff\xff' + bytes(1000)"),
    _sends("announces a frame one byte over the limit", "struct.pack('<I', (64 << 20) + 1)"),
    _sends("sends garbage", r"b'\xff\xff\xff\xff' + os.urandom(100_000)", "bytes(100)"),
    _sends("sends a text protocol", r"b'GET / HTTP/1.1\r\n\r\n' * 100"),
    _sends("sends a frame of nothing", r"bytes(4)"),
    _sends(
        "sends a million-deep nesting", "struct.pack('<I', 1_000_001) + b'\\x91' * 10**6 + b'\\xc0'"
    ),
    _sends(
        "sends a nesting of maps",
        "struct.pack('<I', 3 * 10**5 + 1) + b'\\x81\\xa1a' * 10**5 + b'\\xc0'",
    ),
    _sends(
        "nests a value deeper than any guest does",
        "frame(done(value=__import__('functools').reduce(lambda x, _: [x], range(200), 1)))",
    ),
    _sends(
        "sends a pickle",
        "(lambda p: struct.pack('<I', len(p)) + p)(__import__('pickle').dumps(os.system))",
    ),
    _sends(
        "packs a pickle into an extension",
        "frame(call(args=[msgpack.ExtType(4, b'cos\\nsystem\\n.')]))",
    ),
    _sends("sends a timestamp", "frame(call(args=[msgpack.Timestamp(1, 2)]))"),
    _sends(
        "sends a record, which only hosts send", "frame(call(args=[msgpack.ExtType(2, b'\\x80')]))"
    ),
    _sends(
        "sends a blob as a value",
        "frame(done(value=msgpack.ExtType(3, msgpack.packb(['a/b', b'x']))))",
    ),
    _sends("sends a broken blob", "frame(call(args=[msgpack.ExtType(3, b'\\xc1')]))"),
    _sends(
        "sends an integer of a million bytes", "frame(done(value=msgpack.ExtType(1, bytes(10**6))))"
    ),
    _sends(
        "sends an array that claims four billion items",
        "struct.pack('<I', 5) + b'\\xdd\\xff\\xff\\xff\\xff'",
    ),
    _sends("sends text that is not UTF-8", "struct.pack('<I', 3) + b'\\xa2\\xff\\xfe'"),
    _sends("sends two messages in one frame", "struct.pack('<I', 2) + b'\\xc0\\xc0'"),
    _sends("sends a frame that is no map", "frame([1, 2])"),
    _sends("sends a type that nobody knows", "frame({'type': 'exec', 'code': 'x'})"),
    _sends("sends a frame without a type", "frame({'id': 1})"),
    _sends("sends keys that are no text", "frame({1: 2, None: 3})"),
    _sends("sends a second ready", "frame({'type': 'ready'})"),
    _sends("sends a late failure", "frame({'type': 'failed', 'reason': 'x'})"),
    _sends("sends what only the host sends", "frame({'type': 'reply', 'id': 1, 'value': 1})"),
    _sends("answers another run", "frame(done(id=run_id() + 1))"),
    _sends("answers the last run again", "frame(done(id=run_id() - 1))"),
    *(
        _sends(f"sends {what}", f"frame({message})")
        for what, message in (
            ("a call whose id is text", "call(id='1')"),
            ("a call whose arguments are a map", "call(args={'a': 1})"),
            ("a call whose namespace is a list", "call(namespace=['artifacts'])"),
            ("a call with a name of a megabyte", "call(operation='x' * 2**20)"),
            ("a call with a field too many", "call(uid=0)"),
            ("an answer without its output", "{'type': 'done', 'id': run_id(), 'value': 1}"),
            ("an answer whose error is text", "done(error='x')"),
            ("output for another stream", "{'type': 'output', 'parts': [['stdlog', 'x']]}"),
            ("output that is a number", "{'type': 'output', 'parts': [['stdout', 1]]}"),
            ("a display that is a list", "{'type': 'display', 'bundle': [1]}"),
            ("a display of numbers", "{'type': 'display', 'bundle': {'text/plain': 1}}"),
        )
    ),
    _sends(
        "floods a run with output",
        *["frame({'type': 'output', 'parts': [['stdout', 'x' * 10**6]]})"] * 4,
    ),
    _sends(
        "floods a run with displays",
        *["frame({'type': 'display', 'bundle': {'text/plain': 'x' * 10**6}})"] * 4,
    ),
    _sends(
        "hides a flood in the media types of displays",
        "frame({'type': 'display', 'bundle': {'x' * 10**7: ''}})",
        "frame({'type': 'display', 'bundle': {'x' * 10**7: ''}})",
    ),
    _sends(
        "floods a run with displays of nothing",
        "frame({'type': 'display', 'bundle': {}}) * 50_000",
    ),
    _sends(
        "answers with 20 MiB of value",
        "frame(done(value='x' * (20 << 20)))",
    ),
    _sends(
        "answers with 20 MiB of traceback",
        "frame(done(error={'type': 'E', 'traceback': 'x' * (20 << 20)}))",
    ),
    _sends(
        "answers with keys that are bytes",
        "frame(done(value={b'a': 1}))",
    ),
    _sends(
        "calls with keys that are bytes",
        "frame(call(kwargs={b'a': 1}))",
    ),
    _sends(
        "calls with an id of 80 bits",
        "frame(call(id=msgpack.ExtType(1, (1 << 80).to_bytes(20, 'big'))))",
    ),
    _sends(
        "sends millions of empty lists, each of which the host has to make",
        "(lambda b: struct.pack('<I', len(b)) + b)(b'\\x86' + b''.join(map(msgpack.packb, ['type', 'call',"
        " 'id', 7, 'namespace', 'artifacts', 'operation', 'list', 'kwargs', {}, 'args']))"
        " + b'\\xdd' + struct.pack('>I', 4 << 20) + b'\\x90' * (4 << 20))",
    ),
    *(
        _sends(
            f"hides millions of empty lists in {where}",
            f"(lambda b: struct.pack('<I', len(b)) + b)({frame})",
        )
        for where, frame in (
            (
                "a key",
                f"b'\\x81' + {_LISTS} + b'\\xc0'",
            ),
            (
                "a blob",
                "msgpack.packb(call(args=[msgpack.ExtType(3, b'\\x92' + "
                + _LISTS
                + " + b'\\xc0')]))",
            ),
            (
                "many small arguments",
                "b'\\x86' + b''.join(map(msgpack.packb, ['type', 'call', 'id', 7, 'namespace', 'artifacts',"
                " 'operation', 'list', 'kwargs', {}, 'args'])) + b'\\xdc' + struct.pack('>H', 256)"
                " + (b'\\xdd' + struct.pack('>I', 16000) + b'\\x90' * 16000) * 256",
            ),
        )
    ),
    Attempt(
        "forges its own answer and ends",
        "nothing: it is the session's answer; the second one, from our code, is a violation",
        """send(frame(done())); "real" """,
        FORGED,
        wait_s=0.5,
        loses=True,
    ),
    Attempt(
        "answers after its answer, when no run is under way",
        CHECKED,
        """
        late = frame(done(id=run_id() + 1))
        threading.Timer(0.2, send, (late,)).start(); "fine"
        """,
        FINE,
        wait_s=0.7,
        loses=True,
    ),
    Attempt(
        "sends frames from threads after its answer",
        "calls outside of a run are refused, output is counted",
        """
        calls = frame(call()) * 20
        def later():
            for _ in range(20): send(calls); time.sleep(0.01)
        threading.Thread(target=later, daemon=True).start(); "fine"
        """,
        FINE,
        wait_s=0.6,
    ),
    Attempt(
        "floods the host with output after its answer",
        CHECKED,
        """
        flood = frame({"type": "output", "parts": [["stdout", "x" * 10**5]]})
        def later():
            time.sleep(0.3)
            while True: send(flood)
        threading.Thread(target=later, daemon=True).start(); "fine"
        """,
        FINE,
        wait_s=1.0,
        loses=True,
    ),
    Attempt(
        "calls what is not there",
        "the host checks names at each call; the answer is an error",
        """
        for n, o in (("artifacts", "__class__"), ("artifacts", "_store"), ("os", "system"), ("", ""),
                     ("artifacts", "list.__globals__"), ("skills", "describe")):
            send(frame(call(namespace=n, operation=o)))
        time.sleep(0.2); "fine"
        """,
        FINE,
    ),
    Attempt(
        "calls with arguments that the operation does not take",
        "the host binds arguments to the signature first",
        """
        for kwargs in ({"self": 1}, {"origin": "config"}, {"name": ["x"]}, {"name": None}, {"x": 1}):
            send(frame(call(operation="load", kwargs=kwargs)))
        time.sleep(0.2); "fine"
        """,
        FINE,
    ),
    Attempt(
        "takes an artifact from outside of the store",
        "names of artifacts are checked, and never leave their root",
        """
        names = ("../../etc/passwd", "/etc/passwd", "a/../../b", "..", "a\\0b", "a\\nb", "x" * 10**5)
        words = {tried(lambda n=n: artifacts.load(n)) for n in names}
        words |= {tried(lambda n=n: artifacts.save(n, 1)) for n in names}
        "fine" if words <= {"InvalidArtifactNameError", "ArtifactNotFoundError"} else str(words)
        """,
        FINE,
    ),
    Attempt(
        "says that it is the operator, to change protected skills",
        "the origin is bound to the session by the host, and is no argument",
        """
        word = tried(lambda: skills.create("mine", '"d"\\ndef run(): pass', origin="config"))
        "fine" if word in ("TypeError", "InvalidArgumentError") else word
        """,
        FINE,
    ),
    Attempt(
        "makes 10,000 calls at once",
        "the host reads no more while too many wait",
        """
        for i in range(10): send(b"".join(frame(call(id=10**6 + 1000 * i + j)) for j in range(1000)))
        time.sleep(1); "fine"
        """,
        FINE,
        timeout_s=8,
    ),
    Attempt(
        "calls for ever and reads no reply",
        "the host reads no more while its replies are not read",
        """
        from py_code_mode_guest import wire
        os.set_blocking(3, False)
        many, end = frame(call(operation="nothing" * 20)) * 100, time.monotonic() + 1.0
        rest = memoryview(many)
        while time.monotonic() < end:
            try: rest = rest[os.write(3, rest):] or memoryview(many)
            except BlockingIOError: time.sleep(0.01)
        os.set_blocking(3, True)
        os._exit(0)
        """,
        CRASHED,
    ),
    Attempt(
        "asks 300 times for an artifact of a megabyte and reads no reply",
        "the host holds no more replies than a guest reads",
        """
        artifacts.save("big", bytes(1 << 20))
        send(b"".join(frame(call(id=10**6 + i, operation="load", args=["big"])) for i in range(300)))
        time.sleep(1.5); "fine"
        """,
        FINE | CRASHED,
        growth_mb=160,
    ),
    Attempt(
        "asks 12 times at once for an artifact of 40 MB",
        "large answers are made one at a time, within the memory of all guests",
        """
        artifacts.save("big", bytes(40_000_000))
        send(b"".join(frame(call(id=10**6 + i, operation="load", args=["big"])) for i in range(12)))
        time.sleep(1.5); "fine"
        """,
        FINE | CRASHED,
        timeout_s=10.0,
        growth_mb=320,
    ),
    Attempt(
        "saves JSON that takes forty times its size when it is read",
        "a session reads its JSON itself, with its own memory",
        """
        from py_code_mode_guest.records import Blob
        import msgpack
        body = b"[" + b"[]," * 15_000_000 + b"[]]"
        blob = msgpack.ExtType(3, bytes([16]) + b"application/json" + body)
        send(frame(call(id=10**6, operation="save", args=["deep", blob])))
        tried(lambda: artifacts.load("deep"))
        """,
        frozenset({"MemoryError"}),
        timeout_s=20.0,
        growth_mb=256,
    ),
    Attempt(
        "makes the host look at a hundred thousand arguments beside a large one",
        CHECKED,
        """
        send(frame(call(args=[bytes(3 << 20), *[1] * 200_000])))
        time.sleep(1); "alive"
        """,
        CRASHED,
    ),
    Attempt(
        "floods its socket with descriptors",
        "the host takes none, and the kernel counts those under way",
        """
        import array, socket
        wire = socket.socket(1, 1, 0, os.dup(3))
        rights = [(1, 1, array.array("i", [0] * 200))]
        header = frame({"type": "output", "parts": []})
        for _ in range(200): wire.sendmsg([header], rights)
        wire.close(); "fine"
        """,
        FINE | frozenset({"OSError"}),
    ),
    Attempt(
        "closes its socket",
        "a guest without a socket is ended",
        """os.close(3); time.sleep(3)""",
        CRASHED,
    ),
    Attempt(
        "shuts its socket down half",
        "a guest without a socket is ended",
        """
        import socket
        socket.socket(1, 1, 0, 3).shutdown(socket.SHUT_WR); time.sleep(3)
        """,
        CRASHED,
    ),
    Attempt(
        "puts another file in place of its socket",
        "a guest without a socket is ended",
        """os.dup2(0, 3); time.sleep(0.2)""",
        CRASHED,
    ),
    Attempt(
        "tears a frame: half now, half never",
        "the deadline",
        """send(struct.pack("<I", 1000) + b"x" * 10); "fine" """,
        CRASHED | frozenset({"lost: ExecutionTimeoutError", "ExecutionTimeoutError"}),
        timeout_s=1.0,
    ),
    Attempt(
        "steals the replies of its own calls",
        "nothing: it harms itself; the deadline ends it",
        """
        def thief():
            while True: os.read(3, 1 << 20)
        threading.Timer(1.2, os._exit, (0,)).start()
        threading.Thread(target=thief, daemon=True).start(); time.sleep(0.1)
        artifacts.list(); "fine"
        """,
        FINE | frozenset({"ExecutionTimeoutError"}),
        timeout_s=0.5,
        wait_s=1.5,
        loses=True,
    ),
)


async def test_a_hostile_frame_harms_its_sender_alone(ground: Arena, attempt: Attempt) -> None:
    await ground.survive(attempt)
